"""Shards: advancing, checkpoints, votes and progress."""

import math
import re
import zlib
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ext.cohort import RING
from tests.builders import ES, NQ
from tests.builders import states as states_after
from trisagion.clock import MINUTE_NS, SECOND_NS
from trisagion.cohort.advance import advance, progress
from trisagion.cohort.state import BYTES_PER_RUN_MAX, Shard, from_bytes, to_bytes, votes
from trisagion.cohort.supervise import CohortRules, first_shards
from trisagion.errors import DataError, StateError
from trisagion.market.types import TICK_NS, Instrument, MarketState

BORN_NS = 1000 * MINUTE_NS


def market(minutes: int, seed: int = 1, symbol: str = "ES") -> list[MarketState]:
    """Return the states of some minutes after the birth."""
    return states_after(minutes, BORN_NS, seed, symbol)


def markets(minutes: int) -> list[MarketState]:
    """Return the states of two symbols, minute by minute, now the one first and now the other."""
    pairs = zip(market(minutes), market(minutes, 2, "NQ"), strict=True)
    return [state for number, pair in enumerate(pairs) for state in (pair if number % 2 else reversed(pair))]


def shard_of(runs: int, instruments: Sequence[Instrument] = (ES,)) -> Shard:
    """Return one shard of new runs without fees, so that some win."""
    rules = CohortRules(desired_runs=runs, shards=1, fee_rate=0.0)
    return first_shards(rules, instruments, epoch=3, seed=7, next_number=0, now_ns=BORN_NS).shards[0]


def rings(shard: Shard) -> list[tuple[list[int], list[bytes]]]:
    """Return what each run's ring holds, oldest first; what an unused slot holds is nobody's."""
    held = []
    for row, (first, count) in enumerate(zip(shard.state["ring_first"], shard.state["ring_count"], strict=True)):
        slots = [(first + n) % RING for n in range(count)]
        held.append((shard.ring_ns[row, slots].tolist(), [apr.tobytes() for apr in shard.ring_apr[row, slots]]))
    return held


def assert_same(a: Shard, b: Shard) -> None:
    """Check that two shards are equal to the bit."""
    assert (a.number, a.epoch, a.run_ids) == (b.number, b.epoch, b.run_ids)
    assert list(a.seen_ns.items()) == list(b.seen_ns.items()), "symbols are known by their places"
    for name in ("symbol", "params", "state"):
        assert getattr(a, name).tobytes() == getattr(b, name).tobytes(), name
    assert rings(a) == rings(b)


def test_continuing_from_a_checkpoint_equals_the_undisturbed_course() -> None:
    """Saved and read back between all steps, a shard ends as one that was never touched, to the bit."""
    states = market(90)
    undisturbed = advance(shard_of(40), states)
    resumed = shard_of(40)
    for state in states:
        resumed = from_bytes(to_bytes(advance(resumed, [state])))
    assert_same(resumed, undisturbed)
    assert undisturbed.state["trades"].sum() > 100


def test_advancing_leaves_the_given_shard_as_it_was() -> None:
    """A new shard is returned; the old one can be advanced again, to the same end."""
    shard = shard_of(20)
    before = to_bytes(shard)
    states = market(10)
    first = advance(shard, states)
    assert to_bytes(shard) == before
    assert_same(advance(shard, states), first)


def test_what_was_seen_is_not_seen_again() -> None:
    """Repeated and overlapping calls do no harm: states up to the shard's own instant are skipped."""
    states = market(20)
    shard = advance(shard_of(20), states[:12])
    assert shard.at_ns == states[11].at_ns
    assert advance(shard, states[:12]) is shard
    assert_same(advance(shard, states), advance(shard_of(20), states))


def test_ticks_before_the_shards_instant_are_skipped_inside_a_state() -> None:
    """A shard that is true at the middle of a minute sees the minute's later ticks only."""
    shard = replace(shard_of(5), seen_ns={"ES": BORN_NS + 3 * TICK_NS})
    after = advance(shard, market(1))
    assert (after.state["iterations"] <= 3).all()
    assert (after.state["iterations"] >= 1).all()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda state: replace(state, symbol="NQ"), "expected states of ES, found NQ"),
        (lambda state: replace(state, ts_ns=state.ts_ns - np.arange(6) * SECOND_NS), "apart"),
        (lambda state: replace(state, ts_ns=state.ts_ns[::-1].copy()), "apart"),
        (lambda state: replace(state, price=state.price * math.nan), "prices above 0"),
        (lambda state: replace(state, price=-state.price), "prices above 0"),
        (lambda state: replace(state, weight=state.weight * math.nan), "finite features"),
        (lambda state: replace(state, volatility=state.volatility * math.inf), "finite features"),
    ],
)
def test_a_state_that_cannot_be_is_refused(damage: Callable[[MarketState], MarketState], message: str) -> None:
    """The message names the shard and what was expected; nothing was advanced."""
    with pytest.raises(DataError, match=message):
        advance(shard_of(5), [damage(market(1)[0])])


def test_a_state_of_a_symbol_that_the_shard_does_not_know_is_refused() -> None:
    """The message names those it knows and each that it does not; nothing was advanced, of the known ones either."""
    shard = shard_of(6, (ES, NQ))
    before = to_bytes(shard)
    strange = [*markets(2), *market(1, 3, "ZN"), *market(1, 4, "AAPL")]
    with pytest.raises(DataError, match=r"^shard 0: expected states of ES, NQ, found AAPL, ZN$"):
        advance(shard, strange, consume=True)
    assert to_bytes(shard) == before


def test_the_runs_of_a_symbol_see_its_market_alone() -> None:
    """Advanced over two symbols at once, the runs of each are those of a shard that never heard of the other."""
    shard = shard_of(30, (ES, NQ))
    both = advance(shard, markets(45))
    assert both.seen_ns == dict.fromkeys(("ES", "NQ"), BORN_NS + 45 * MINUTE_NS)
    for symbol in ("ES", "NQ"):
        alone = advance(shard, [state for state in markets(45) if state.symbol == symbol])
        which, others = shard.on(symbol), ~shard.on(symbol)
        assert both.state.take(which).tobytes() == alone.state.take(which).tobytes()
        assert both.ring_apr[which].tobytes() == alone.ring_apr[which].tobytes()
        assert alone.state.take(others).tobytes() == shard.state.take(others).tobytes()
        assert alone.state["trades"][which].any()


@given(course=st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), max_size=6))
@example(course=[(30, 5)])
@example(course=[(0, 30), (1, 30)])
@example(course=[(20, 0), (20, 20), (10, 10)])
def test_a_symbol_that_is_late_catches_up(course: list[tuple[int, int]]) -> None:
    """Each minute of each symbol is seen once, however they come: late, in one lump, again, or the one long before."""
    shard = shard_of(12, (ES, NQ))
    es, nq = market(30), market(30, 2, "NQ")
    seen = [0, 0]
    late = shard
    for upto in [*course, (30, 30)]:
        late = from_bytes(to_bytes(advance(late, [*es[: upto[0]], *nq[: upto[1]]])))
        seen = [max(pair) for pair in zip(seen, upto, strict=True)]
        assert late.seen_ns == {
            symbol: BORN_NS + minutes * MINUTE_NS for symbol, minutes in zip(("ES", "NQ"), seen, strict=True)
        }
        assert late.at_ns == BORN_NS + max(seen) * MINUTE_NS
    assert_same(late, advance(shard, markets(30)))


def test_runs_on_a_symbol_that_the_shard_does_not_know_are_none() -> None:
    """Asking is no mistake: another shard may hold them."""
    shard = shard_of(9, (ES, NQ))
    assert shard.symbols == ("ES", "NQ")
    assert (shard.on("ES").sum(), shard.on("NQ").sum(), shard.on("ZN").sum()) == (6, 3, 0)
    assert (shard.on("ES") != shard.on("NQ")).all()


def test_a_shard_that_is_consumed_ends_as_one_that_is_copied() -> None:
    """Its own arrays are moved on, minute by minute, without another copy of them."""
    states = market(45)
    moved = shard_of(20)
    arrays = moved.symbol, moved.params, moved.state, moved.ring_ns, moved.ring_apr
    for state in states:
        moved = advance(moved, [state], consume=True)
    assert_same(moved, advance(shard_of(20), states))
    after = (moved.symbol, moved.params, moved.state, moved.ring_ns, moved.ring_apr)
    assert all(one is other for one, other in zip(arrays, after, strict=True))


def test_rings_come_back_wherever_they_begin() -> None:
    """Empty, full, one slot, and round the end: each used slot to the bit, all others as zeros."""
    shard = shard_of(40)
    generator = np.random.default_rng(5)
    first = generator.integers(0, RING, 40)
    count = generator.integers(0, RING + 1, 40)
    count[:4], first[4:6], count[4:6] = (0, 1, RING, RING - 1), RING - 1, (2, RING)
    shard.state["ring_first"], shard.state["ring_count"] = first, count
    shard.ring_ns[:] = generator.integers(-(2**63), 2**63 - 1, shard.ring_ns.shape)
    shard.ring_apr[:] = generator.standard_normal(shard.ring_apr.shape)
    back = from_bytes(to_bytes(shard))
    assert_same(back, shard)
    assert (back.ring_ns != 0).sum() == count.sum()
    assert (back.ring_apr != 0).sum() == count.sum()


@pytest.mark.parametrize("runs", [0, 1, 40])
@pytest.mark.parametrize("instruments", [(ES,), (ES, NQ), (NQ, ES)], ids=lambda each: f"{len(each)} {each[0].symbol}")
def test_a_checkpoint_reads_back_to_the_bit(runs: int, instruments: Sequence[Instrument]) -> None:
    """All of a shard is in it, each run's symbol too, within the bytes that a run may take."""
    shard = shard_of(runs, instruments)
    shard = advance(shard, [state for state in markets(31)[:-1] if state.symbol in shard.symbols])
    data = to_bytes(shard)
    assert_same(from_bytes(data), shard)
    assert len(data) <= 512 + BYTES_PER_RUN_MAX * runs


def test_any_changed_byte_of_a_checkpoint_is_noticed() -> None:
    """Wherever a bit flips, reading says that the checkpoint is damaged instead of running on it."""
    data = to_bytes(advance(shard_of(2), market(3)))
    for position in [*range(400), *range(400, len(data), 97), len(data) - 1]:
        damaged = bytearray(data)
        damaged[position] ^= 0x10
        with pytest.raises(StateError, match="shard checkpoint"):
            from_bytes(bytes(damaged))


def sealed(body: bytes) -> bytes:
    """Return a checkpoint of another version: magic and CRC are right, what follows is its own."""
    return b"TRSH" + zlib.crc32(body).to_bytes(4, "little") + body


def next_digit(found: re.Match[bytes]) -> bytes:
    """Return a digit one above the one found."""
    return bytes([found[0][0] + 1])


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda data: b"", "at least"),
        (lambda data: data[:10], "at least"),
        (lambda data: data[:-1], "CRC"),
        (lambda data: data + b"\0", "CRC"),
        (lambda data: b"ZIP!" + data[4:], "magic"),
        (lambda data: sealed(b"\x09\0\0\0" + data[12:]), "format"),
        (lambda data: sealed(re.sub(rb"[0-8](?=\d*, .number)", next_digit, data[8:], count=1)), "layout"),
    ],
)
def test_bytes_that_are_no_checkpoint_are_refused(damage: Callable[[bytes], bytes], message: str) -> None:
    """The message says what was expected and found."""
    with pytest.raises(StateError, match=message):
        from_bytes(damage(to_bytes(shard_of(1))))


def test_votes_are_the_runs_of_the_symbol() -> None:
    """Direction, P&L, end and last tick of all its runs on all shards, in order; other symbols do not vote."""
    first = advance(shard_of(15, (ES, NQ)), markets(60))
    first.state["exit_code"][3] = 1
    first.state["direction"] = np.arange(15) - 20
    turned = replace(first, number=1, seen_ns={"NQ": first.at_ns, "ES": first.at_ns}, symbol=1 - first.symbol)
    stranger = replace(first, number=2, seen_ns={"ZN": BORN_NS}, symbol=np.zeros_like(first.symbol))
    for symbol, count in (("ES", 10), ("NQ", 5)):
        found = votes([first, stranger, turned], symbol)
        own = first.state.take(first.on(symbol))
        assert len(own) == count
        assert found.symbol == symbol
        assert found.direction.tolist() == own["direction"].tolist() * 2
        assert found.live_pnl.tolist() == (own["balance"] - own["start"]).tolist() * 2
        assert found.exiting.tolist() == (own["exit_code"] != 0).tolist() * 2
        assert found.updated_ns.tolist() == own["evaluated_ns"].tolist() * 2
    for shards in ([stranger], []):
        nobody = votes(shards, "ES")
        assert [len(nobody.direction), len(nobody.live_pnl), len(nobody.exiting), len(nobody.updated_ns)] == [0] * 4


def test_progress_looks_at_the_market_first() -> None:
    """APRs are of the live runs in the market; of all live runs while none is; unknown when none lives."""
    shard = shard_of(4)
    shard.state["apr"] = [1.0, 2.0, 4.0, 9.0]
    none_in_market = progress(shard)
    assert (none_in_market.alive, none_in_market.in_market) == (4, 0)
    assert (none_in_market.best_apr, none_in_market.median_apr) == (9.0, 3.0)

    shard.state["direction"] = [1, -2, 5, 0]
    shard.state["exit_code"] = [0, 0, 1, 0]
    some = progress(shard)
    assert (some.shard, some.at_ns, some.alive, some.in_market) == (0, BORN_NS, 3, 2)
    assert (some.best_apr, some.median_apr) == (2.0, 1.5)

    shard.state["exit_code"] = 1
    dead = progress(shard)
    assert (dead.alive, dead.in_market) == (0, 0)
    assert math.isnan(dead.best_apr)
    assert math.isnan(dead.median_apr)
