"""Two instruments: features that come when they come, shards that hold runs on both, and what is decided of each."""

import shutil
import tempfile
import threading
from collections import Counter
from contextlib import closing
from dataclasses import replace
from decimal import Decimal
from itertools import accumulate
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.builders import (
    ACCOUNT,
    CAPITAL,
    COHORT_RULES,
    CYCLE_RULES,
    ES,
    LIMITS,
    NQ,
    PATIENT,
    TUESDAY_NS,
    Desk,
    a_step,
    qty,
    states,
    voting,
)
from trisagion.adapters.db import SqlDatabase, open_database, retrying, tables
from trisagion.adapters.db.census import census
from trisagion.clock import MINUTE_NS
from trisagion.cohort.advance import advance as advance_shard
from trisagion.cohort.state import Shard, from_bytes, to_bytes
from trisagion.errors import DataError, StateError
from trisagion.ids import RunId, cl_ord_id, cycle_id, intent_key
from trisagion.ledger.take_profit import STEPS, TakeProfitRules
from trisagion.market.types import MarketState
from trisagion.orders.types import Side
from trisagion.ports import Cycle, Replay
from trisagion.services import detect_regime
from trisagion.services.advance_cohort import ShardCopies, advance, supervise_cohort
from trisagion.services.detect_regime import detect
from trisagion.services.ingest_market import ingest
from trisagion.services.outcome import Outcome
from trisagion.services.reconcile import cycle
from trisagion.services.replay import begin
from trisagion.services.take_profit import WatchRules, watch

T0 = TUESDAY_NS
BOTH = (ES, NQ)
CHECKPOINT_NS = 10 * MINUTE_NS
MINUTES = 25
READY = (Outcome("ready", ("0", "1")), Outcome("priced", ("",)))
NOTHING = (Outcome("nothing"),)


@pytest.fixture
def pair(database: SqlDatabase) -> Desk:
    """Give an account with two instruments and a cohort of two shards, on SQLite, then on MariaDB."""
    return Desk(database).found(instruments=BOTH).people()


def at(minute: int) -> int:
    """Return the instant of a minute."""
    return T0 + minute * MINUTE_NS


def market(symbol: str, minutes: int = MINUTES) -> list[MarketState]:
    """Return the states of a symbol."""
    return states(minutes, T0, 1 if symbol == "ES" else 2, symbol)


def seen(desk: Desk, symbol: str) -> list[int]:
    """Return the minutes whose features are there."""
    with desk.database.snapshot() as tx:
        return [(state.at_ns - T0) // MINUTE_NS for state in tx.market.states(symbol, T0, at(1000))]


def shards_of(desk: Desk) -> list[Shard]:
    """Return all shards as their checkpoints are."""
    with desk.database.snapshot() as tx:
        return [from_bytes(row.state) for row in tx.cohort.shards()]


def test_a_cohort_is_founded_on_every_instrument(pair: Desk) -> None:
    """Twice the leverage, twice the runs; each shard holds runs on both."""
    shards = shards_of(pair)
    assert [(shard.on("ES").sum(), shard.on("NQ").sum()) for shard in shards] == [(4, 2), (4, 2)]
    assert {tuple(shard.seen_ns.items()) for shard in shards} == {(("ES", T0), ("NQ", T0))}
    assert Counter(symbol for _, symbol in pair.rows(tables.run.c.run_id, tables.run.c.symbol)) == {"ES": 8, "NQ": 4}


@pytest.mark.parametrize("order", [("ES", "NQ"), ("NQ", "ES")], ids=" then ".join)
def test_shards_are_announced_when_the_last_symbol_has_its_features(pair: Desk, order: tuple[str, str]) -> None:
    """The first symbol says nothing, in any order; a repeat of either announces again and changes nothing."""
    for minute in (1, 2, 3):
        for symbol in order:
            pair.quote(at(minute), symbol=symbol)
        for _ in range(2):
            assert detect(pair.database, order[0], at(minute)) == NOTHING
        assert detect(pair.database, order[1], at(minute)) == READY
        before = pair.everything()
        for symbol in order:
            assert detect(pair.database, symbol, at(minute)) == READY
        assert pair.everything() == before
    assert seen(pair, "ES") == seen(pair, "NQ") == [1, 2, 3]


@pytest.mark.parametrize("worst", [False, True], ids=["as it comes", "all look at once"])
def test_of_two_that_come_at_once_one_at_least_announces(
    pair: Desk, monkeypatch: pytest.MonkeyPatch, *, worst: bool
) -> None:
    """In processes of their own, minute after minute: no order of writing and looking leaves the shards unannounced."""
    together = threading.Barrier(2)
    learn = detect_regime._learn

    def both(*arguments: Any) -> bool:
        learned = learn(*arguments)
        together.wait(5)
        return learned

    if worst:
        monkeypatch.setattr(detect_regime, "_learn", both)
    for minute in range(1, 9):
        said: list[tuple[Outcome, ...]] = []

        def work(symbol: str, at_ns: int = at(minute), said: list[tuple[Outcome, ...]] = said) -> None:
            if not worst:
                together.wait(5)
            said.append(retrying(lambda: detect(pair.database, symbol, at_ns)))

        for instrument in BOTH:
            pair.quote(at(minute), symbol=instrument.symbol)
        threads = [threading.Thread(target=work, args=(instrument.symbol,)) for instrument in BOTH]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(said) == 2
        assert READY in said
        assert set(said) <= {READY, NOTHING}
        if worst:
            assert said == [READY, READY]
    assert seen(pair, "ES") == seen(pair, "NQ") == list(range(1, 9))


def test_a_minute_of_all_instruments_is_stored_whole(pair: Desk) -> None:
    """Each is announced; a minute whose second step cannot be stored leaves nothing of its first."""
    minute = [a_step(at(1)), a_step(at(1), symbol="NQ")]
    assert ingest(pair.database, minute) == Outcome("stored", ("ES", "NQ"))
    before = pair.everything()
    assert ingest(pair.database, minute) == Outcome("stored", ("ES", "NQ"))
    assert pair.everything() == before
    with pytest.raises(StateError, match="ZN"):
        ingest(pair.database, [a_step(at(2)), a_step(at(2), symbol="ZN")])
    assert pair.everything() == before


def test_a_minute_that_comes_after_its_successor_is_refused(pair: Desk) -> None:
    """Of any symbol: what was decided since did not see it. Nothing of it is stored; a known one may come again."""
    ingest(pair.database, [a_step(at(1))])
    ingest(pair.database, [a_step(at(3)), a_step(at(3), symbol="NQ")])
    before = pair.everything()
    for late in ([a_step(at(2))], [a_step(at(2), symbol="NQ")], [a_step(at(1)), a_step(at(1), symbol="NQ")]):
        with pytest.raises(DataError, match=rf"{late[-1].symbol}: expected a minute after .*, found"):
            ingest(pair.database, late)
        assert pair.everything() == before
    assert ingest(pair.database, [a_step(at(1))]) == Outcome("stored", ("ES",))
    assert pair.everything() == before


def test_a_symbol_without_a_step_in_a_minute_holds_nobody_up(pair: Desk) -> None:
    """Nobody traded it, or its message is late: the others are announced; when its step comes they are once more."""
    pair.quote(at(1))
    assert detect(pair.database, "ES", at(1)) == READY
    assert detect(pair.database, "NQ", at(1)) == NOTHING
    pair.quote(at(2))
    pair.quote(at(2), symbol="NQ")
    assert detect(pair.database, "ES", at(2)) == NOTHING
    assert detect(pair.database, "NQ", at(2)) == READY
    pair.quote(at(3))
    assert detect(pair.database, "ES", at(3)) == READY
    assert ingest(pair.database, [a_step(at(3), symbol="NQ")]) == Outcome("stored", ("NQ",))
    assert detect(pair.database, "NQ", at(3)) == READY
    assert (seen(pair, "ES"), seen(pair, "NQ")) == ([1, 2, 3], [2, 3])


def test_an_instrument_that_never_traded_holds_nobody_up(database: SqlDatabase) -> None:
    """It has neither step nor features."""
    desk = Desk(database).found(quoted_ns=None, instruments=BOTH).people()
    desk.quote(at(1))
    assert detect(database, "ES", at(1)) == READY


def test_a_minute_that_comes_late_is_seen_with_the_next(pair: Desk) -> None:
    """Its shard has passed the instant: nothing is done again, nothing is lost, and nothing counts twice."""
    first = from_bytes(pair.checkpoint()[2])
    copies = ShardCopies()
    pair.publish(market("ES")[:1])
    assert advance(pair.database, copies, 0, at(1), CHECKPOINT_NS).word == "advanced"
    assert copies.held[0][1].seen_ns == {"ES": at(1), "NQ": T0}
    pair.publish(market("NQ")[:1])
    before = pair.everything()
    assert advance(pair.database, copies, 0, at(1), CHECKPOINT_NS).word == "nothing"
    assert pair.everything() == before
    pair.publish([market("ES")[1], market("NQ")[1]])
    assert advance(pair.database, copies, 0, at(2), CHECKPOINT_NS).word == "advanced"
    expected = advance_shard(first, [*market("ES")[:2], *market("NQ")[:2]])
    assert to_bytes(copies.held[0][1]) == to_bytes(expected)
    assert (expected.state["iterations"] > 0).all()


def test_a_shard_that_is_behind_stops_where_the_features_of_a_symbol_stop(pair: Desk) -> None:
    """It goes beyond its message as far as both are complete: the minutes that follow are announced yet."""
    for minute in range(1, 9):
        pair.quote(at(minute))
        pair.quote(at(minute), symbol="NQ")
    pair.publish([*market("ES")[:8], *market("NQ")[:5]])
    copies = ShardCopies()
    assert advance(pair.database, copies, 0, at(1), CHECKPOINT_NS).word == "advanced"
    assert copies.held[0][1].seen_ns == {"ES": at(5), "NQ": at(5)}
    assert advance(pair.database, copies, 0, at(5), CHECKPOINT_NS).word == "nothing"
    pair.publish(market("NQ")[5:8])
    assert advance(pair.database, copies, 0, at(6), CHECKPOINT_NS).word == "advanced"
    assert copies.held[0][1].seen_ns == {"ES": at(8), "NQ": at(8)}


@settings(max_examples=20)
@given(
    cuts=st.sets(st.integers(1, MINUTES), max_size=6),
    late_min=st.lists(st.integers(0, 12), min_size=MINUTES, max_size=MINUTES),
    checkpoint_min=st.sampled_from([1, 3, 10]),
)
@example(cuts=set(), late_min=[0] * MINUTES, checkpoint_min=10)
@example(cuts={10, 11, 20}, late_min=[12] * MINUTES, checkpoint_min=10)
@example(cuts={11}, late_min=[0] * 9 + [1] + [0] * 15, checkpoint_min=1)
def test_wherever_workers_die_and_however_late_a_symbol_is_the_end_is_the_same_to_the_bit(
    sqlite_template: Path, cuts: set[int], late_min: list[int], checkpoint_min: int
) -> None:
    """Copies are lost at random minutes, one symbol is up to twelve minutes late: runs and rings of a quiet course."""
    known = {symbol: market(symbol) for symbol in ("ES", "NQ")}
    # What is there at a minute of the late symbol, in order of its minutes.
    there = [*accumulate((max(0, minute - late) for minute, late in enumerate(late_min, start=1)), max)][:-1]
    with (
        tempfile.TemporaryDirectory() as folder,
        closing(open_database(f"sqlite:///{shutil.copy(sqlite_template, folder)}")) as database,
    ):
        desk = Desk(database).found(instruments=BOTH).people()
        firsts = shards_of(desk)
        copies, published = ShardCopies(), 0
        for minute, upto in enumerate([*there, MINUTES], start=1):
            desk.publish([known["ES"][minute - 1], *known["NQ"][published:upto]])
            published = upto
            if minute in cuts:
                copies = ShardCopies()
            for number in (0, 1):
                said = advance(database, copies, number, at(minute), checkpoint_min * MINUTE_NS)
                assert said.word == "advanced"
                assert copies.held[number][1].seen_ns == {"ES": at(minute), "NQ": at(upto)}
        for number, first in enumerate(firsts):
            assert to_bytes(copies.held[number][1]) == to_bytes(advance_shard(first, known["ES"] + known["NQ"]))


def test_an_instrument_that_is_added_later_gets_runs_at_the_next_supervision(database: SqlDatabase) -> None:
    """They are on record, on shards that go on with both markets from there."""
    desk = Desk(database).found().people().publish(market("ES"))
    for number in (0, 1):
        assert advance(database, ShardCopies(), number, at(10), CHECKPOINT_NS).word == "advanced"
    with database.transaction() as tx:
        tx.market.add_instrument(NQ)
        tx.cycles.open_cycle(Cycle(cycle_id(at(10)), at(10), "decided", None, 0))
    assert supervise_cohort(database, COHORT_RULES, 7, at(10)) == Outcome("supervised")
    assert Counter(symbol for _, symbol in desk.rows(tables.run.c.run_id, tables.run.c.symbol)) == {"ES": 12, "NQ": 4}
    before = shards_of(desk)
    assert {tuple(shard.seen_ns.values()) for shard in before} == {(at(10), at(10))}
    desk.publish(market("NQ"))
    for number in (0, 1):
        assert advance(database, ShardCopies(), number, at(20), CHECKPOINT_NS).word == "advanced"
    for shard, earlier in zip(shards_of(desk), before, strict=True):
        assert to_bytes(shard) == to_bytes(advance_shard(earlier, [*market("ES")[:20], *market("NQ")[:20]]))
        assert (shard.state["iterations"][shard.on("NQ")] > 0).all()


def test_a_cycle_decides_for_every_symbol_from_one_mixed_shard(database: SqlDatabase) -> None:
    """Twenty votes to buy the one, ten to sell the other: an approved order each, by the votes on its own symbol."""
    desk = Desk(database).found(instruments=BOTH)
    desk.enter(voting(T0, 15, -10, 5, instruments=BOTH), at_ns=T0)
    desk.mark(T0)
    for instrument in BOTH:
        desk.observe(T0, symbol=instrument.symbol)
    names = tuple(cl_ord_id(ACCOUNT, intent_key(cycle_id(T0), symbol), 0) for symbol in ("ES", "NQ"))
    said = cycle(database, CYCLE_RULES, "tester", T0)
    assert [set(said[0].subjects), said[1]] == [set(names), Outcome("closing", (str(T0),))]
    # 20 · 100,000,000 · 0.0016180339887 / 4 / (4000 · 50) = 4.04, and 10 · … / (4000 · 20) = 5.06.
    assert {(order.symbol, order.side, order.qty) for order in desk.orders()} == {
        ("ES", Side.BUY, qty(4)),
        ("NQ", Side.SELL, qty(5)),
    }
    with database.snapshot() as tx:
        decisions = [tx.cycles.last_decisions(symbol, 9) for symbol in ("ES", "NQ")]
    assert [[(one.direction, one.delta) for one in each] for each in decisions] == [[(20, qty(4))], [(-10, qty(-5))]]
    before = desk.everything()
    assert cycle(database, CYCLE_RULES, "tester", T0) == said
    assert desk.everything() == before


def test_a_take_profit_exits_the_runs_of_every_symbol(pair: Desk) -> None:
    """With what they had earned on their own market by then; the next cohort is founded on both again."""
    rules = WatchRules(
        TakeProfitRules(threshold=Decimal("0.01"), reward_multiple=Decimal(2)), COHORT_RULES, seed=7, losses=PATIENT
    )
    pair.publish([*market("ES"), *market("NQ")])
    pair.hold(100)
    earned: dict[RunId, float] = {}
    for first in shards_of(pair):
        shard = advance_shard(first, [*market("ES")[:6], *market("NQ")[:6]])
        earned |= dict(zip(shard.run_ids, shard.state["live_pnl"].tolist(), strict=True))
    said: list[Outcome] = []
    for minute, price in enumerate(("4000", "4001", "3999", "4000", "4000", "4300"), start=1):
        pair.quote(at(minute), price)
        pair.quote(at(minute), symbol="NQ")
        said += watch(pair.database, rules, at(minute))
    assert said == [Outcome("watched")] * 5 + [Outcome("flattening", (str(at(6)),))]
    ended = pair.rows(tables.run.c.run_id, tables.run.c.symbol, tables.run.c.pnl)
    assert {run: pnl for run, _, pnl in ended} == earned
    assert any(pnl for _, symbol, pnl in ended if symbol == "NQ")
    pair.hold(-100, price="4300")
    pair.quote(at(7))
    watch(pair.database, rules, at(7))
    with pair.database.snapshot() as tx:
        assert [step.step for step in tx.ledger.steps(1)] == list(STEPS)
    assert [(shard.epoch, shard.seen_ns) for shard in shards_of(pair)] == [(2, {"ES": at(7), "NQ": at(7)})] * 2
    runs = Counter(row[1:] for row in pair.rows(tables.run.c.run_id, tables.run.c.symbol, tables.run.c.epoch))
    assert runs == {("ES", 1): 8, ("NQ", 1): 4, ("ES", 2): 8, ("NQ", 2): 4}


def test_every_instrument_with_a_price_is_marked_at_once(database: SqlDatabase) -> None:
    """All with the account's one equity; one that never traded is left out; a minute watched again adds nothing."""
    desk = Desk(database).found(quoted_ns=None, instruments=BOTH).people()
    rules = WatchRules(TakeProfitRules(), COHORT_RULES, seed=7, losses=PATIENT)
    desk.quote(at(1), "4000")
    desk.hold(2)
    assert watch(database, rules, at(1)) == (Outcome("watched"),)
    desk.quote(at(2), "4010")
    desk.quote(at(2), "18000", symbol="NQ")
    for _ in range(2):
        assert watch(database, rules, at(2)) == (Outcome("watched"),)
    marks = desk.rows(*(tables.equity.c[name] for name in ("at_ns", "symbol", "qty", "price", "equity", "cash")))
    assert [row[:4] for row in sorted(marks)] == [
        (at(1), "ES", 2, 4000),
        (at(2), "ES", 2, 4010),
        (at(2), "NQ", 0, 18000),
    ]
    (_, one), (_, another) = sorted((row[1], row[4:]) for row in marks if row[0] == at(2))
    assert one == another


REPLAY = Replay("es", "ab" * 32, 3, "cd" * 32, T0, 0, T0, 0.0, 0, finished=False)


def test_a_replay_begins_with_all_its_instruments(database: SqlDatabase) -> None:
    """Each is on record and has its runs; taken up again nothing is founded twice."""
    desk = Desk(database)
    begin(database, REPLAY, BOTH, CAPITAL, COHORT_RULES, LIMITS)
    with database.snapshot() as tx:
        assert {instrument.symbol: instrument for instrument in tx.market.instruments()} == {"ES": ES, "NQ": NQ}
    found = shards_of(desk)
    assert sum(int(shard.on("NQ").sum()) for shard in found) == 4
    begin(database, REPLAY, BOTH, CAPITAL, COHORT_RULES, LIMITS)
    assert [to_bytes(shard) for shard in shards_of(desk)] == [to_bytes(shard) for shard in found]


def test_the_census_tells_every_run_as_it_stands_on_its_own_market(pair: Desk) -> None:
    """Up to the replay's instant, also where a shard's checkpoint has seen one symbol further than the other."""
    [one, other] = shards_of(pair)
    ahead = advance_shard(one, market("ES")[:10])
    pair.enter(ahead, at_ns=at(10))
    pair.publish([*market("ES"), *market("NQ")])
    with pair.database.transaction() as tx:
        tx.control.put_replay(replace(REPLAY, now_ns=at(15)))
    with pair.database.snapshot() as tx:
        members = {member.run_id: member for member in census(tx)}
    for first in (one, other):
        shard = advance_shard(first, [*market("ES")[:15], *market("NQ")[:15]])
        for row, run in enumerate(shard.run_ids):
            state = shard.state.record(row)
            assert (members[run].iterations, members[run].live_pnl) == (state["iterations"], state["live_pnl"])
    assert len(members) == COHORT_RULES.desired_runs
