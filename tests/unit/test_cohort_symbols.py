"""The supervisor with several instruments: how runs are spread, who is cloned where, and what comes later."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.builders import ES, NQ, states
from trisagion.clock import MINUTE_NS
from trisagion.cohort.advance import advance
from trisagion.cohort.space import draw, fitted, params_of
from trisagion.cohort.state import Shard, to_bytes
from trisagion.cohort.supervise import (
    CohortRules,
    Supervision,
    end_all,
    first_shards,
    runs_kept,
    supervise,
    survivors_max,
)
from trisagion.cohort.survivors import Survivor
from trisagion.cohort.types import ExitReason
from trisagion.ids import RunId, run_id
from trisagion.market.types import Instrument

NOW_NS = 5000 * MINUTE_NS
RULES = CohortRules(desired_runs=60, shards=4, start_balance=1000.0)
BOTH = (ES, NQ)


def listed(*leverages: float | str) -> list[Instrument]:
    """Return instruments of these maximum leverages, named in order of the alphabet."""
    return [
        replace(ES, symbol=chr(ord("A") + place), leverage_max=Decimal(str(leverage)))
        for place, leverage in enumerate(leverages)
    ]


def founded(instruments: Sequence[Instrument] = BOTH, rules: CohortRules = RULES) -> Supervision:
    """Return a fresh cohort."""
    return first_shards(rules, instruments, epoch=2, seed=7, next_number=100, now_ns=NOW_NS)


def again(
    shards: tuple[Shard, ...], rules: CohortRules = RULES, instruments: Sequence[Instrument] = BOTH, minutes: int = 10
) -> Supervision:
    """Supervise some minutes later."""
    return supervise(shards, rules, instruments, epoch=2, seed=7, next_number=500, now_ns=NOW_NS + minutes * MINUTE_NS)


def runs_on(result: Supervision) -> dict[str, int]:
    """Return how many runs each symbol has."""
    symbols = {symbol for shard in result.shards for symbol in shard.symbols}
    return {symbol: sum(int(shard.on(symbol).sum()) for shard in result.shards) for symbol in sorted(symbols)}


@pytest.mark.parametrize(
    ("leverages", "desired", "cap", "kept"),
    [
        pytest.param([20], 500, 45, [500], id="one instrument has all"),
        pytest.param([20, 20], 50, 45, [25, 25], id="equals share equally"),
        pytest.param([20, 10], 60, 45, [40, 20], id="twice the leverage, twice the runs"),
        pytest.param([20, 10], 50, 45, [33, 17], id="the larger remainder, two thirds, has the odd run"),
        pytest.param([20, 10, 5], 50, 45, [29, 14, 7], id="28.57, 14.29 and 7.14"),
        pytest.param([1, 1, 1], 50, 45, [17, 17, 16], id="of equal remainders the first"),
        pytest.param([1, 1, 1], 2, 45, [1, 1, 0], id="fewer runs than instruments"),
        pytest.param([100, 1], 3, 45, [3, 0], id="a share below a half run is none"),
        pytest.param([1, 100], 3, 45, [0, 3], id="wherever it stands"),
        pytest.param([3, 7, 11, 13], 0, 45, [0, 0, 0, 0], id="nobody is desired"),
        pytest.param(["0.1", "0.1", "0.1"], 6, 45, [2, 2, 2], id="tenths that binary cannot write"),
        pytest.param([20, 1], 5000, 45, [900, 45], id="both at what their leverage carries"),
        pytest.param([20, 1], 100, 3, [60, 3], id="what one cannot carry goes to nobody else"),
        pytest.param(["0.5", 20], 5000, 45, [22, 900], id="half a unit of leverage carries 22"),
        pytest.param([20, "0.02"], 2000, 45, [900, 0], id="too little leverage for a single run"),
    ],
)
def test_runs_are_spread_in_proportion_to_leverage(
    leverages: list[float | str], desired: int, cap: int, kept: list[int]
) -> None:
    """By the largest remainder, never more than the leverage carries; and so a cohort is founded."""
    instruments = listed(*leverages)
    rules = replace(RULES, desired_runs=desired, runs_per_leverage_max=cap)
    assert list(runs_kept(rules, instruments).items()) == [
        (instrument.symbol, count) for instrument, count in zip(instruments, kept, strict=True)
    ]
    result = founded(instruments, rules)
    assert [runs_on(result)[instrument.symbol] for instrument in instruments] == kept


@given(
    leverages=st.lists(st.decimals("0.05", "125", places=2), min_size=1, max_size=8),
    desired=st.integers(0, 3000),
    cap=st.sampled_from([1, 45, 100_000]),
)
@example(leverages=[Decimal("0.07")] * 3, desired=100, cap=100_000)
def test_a_spread_is_whole_fair_and_bounded(leverages: list[Decimal], desired: int, cap: int) -> None:
    """It sums to what is desired unless a bound cuts it, none is a run off its share, and the order is the list's."""
    instruments = [replace(ES, symbol=f"S{place}", leverage_max=each) for place, each in enumerate(leverages)]
    rules = replace(RULES, desired_runs=desired, runs_per_leverage_max=cap)
    kept = runs_kept(rules, instruments)
    assert kept == runs_kept(rules, instruments)
    assert list(kept) == [instrument.symbol for instrument in instruments]
    free = runs_kept(replace(rules, runs_per_leverage_max=1_000_000), instruments)
    assert sum(free.values()) == desired
    for instrument in instruments:
        share = desired * instrument.leverage_max / sum(leverages)
        carried = int(cap * instrument.leverage_max)
        assert abs(free[instrument.symbol] - share) < 1
        assert kept[instrument.symbol] == min(free[instrument.symbol], carried)


def test_a_first_cohort_is_spread_from_its_first_run_on() -> None:
    """However many are born yet, none is more than two runs off its share; shards are even, each with all symbols."""
    instruments = listed(20, 10, 5)
    result = founded(instruments, replace(RULES, desired_runs=350, shards=4))
    share = {"A": 20 / 35, "B": 10 / 35, "C": 5 / 35}
    counts = Counter[str]()
    for number, record in enumerate(result.born, start=1):
        counts[record.symbol] += 1
        assert all(abs(counts[symbol] - number * share[symbol]) < 2 for symbol in share)
    assert sorted(len(shard.run_ids) for shard in result.shards) == [87, 87, 88, 88]
    for shard in result.shards:
        assert shard.seen_ns == dict.fromkeys("ABC", NOW_NS)
        assert all(shard.on(symbol).any() for symbol in share)


def test_founding_again_founds_the_same() -> None:
    """Symbols, shards, names and parameters, to the bit."""
    one, other = founded(listed(20, 10, 5)), founded(listed(20, 10, 5))
    assert one.born == other.born
    assert [to_bytes(shard) for shard in one.shards] == [to_bytes(shard) for shard in other.shards]


def test_the_record_of_a_birth_is_the_run_on_its_symbol() -> None:
    """Shard, symbol, parameters and leverage of each record are those of the row that lives."""
    result = founded()
    leverage = {each.symbol: float(each.leverage_max) for each in BOTH}
    for record in result.born:
        shard = result.shards[record.shard]
        row = shard.run_ids.index(record.run_id)
        assert shard.symbols[shard.symbol[row]] == record.symbol
        assert params_of(json.loads(record.params)).tobytes() == shard.params.record(row).tobytes()
        assert shard.params["leverage"][row] == leverage[record.symbol]
    assert sum(len(shard.run_ids) for shard in result.shards) == len(result.born) == 60


def test_a_run_that_ended_is_replaced_on_its_symbol() -> None:
    """The other symbol has all of its own; the shard that lost the runs has them again."""
    result = founded()
    shard = result.shards[1]
    gone = np.flatnonzero(shard.on("NQ"))[:3]
    shard.state["exit_code"][gone] = 1
    after = again(result.shards)
    assert [(record.symbol, record.shard) for record in after.born] == [("NQ", 1)] * len(gone)
    assert {end.run_id for end in after.ended} == {shard.run_ids[row] for row in gone}
    assert runs_on(after) == runs_on(result) == {"ES": 40, "NQ": 20}
    assert all(after.shards[1].on("NQ")[-len(gone) :])


def winning(result: Supervision, symbol: str) -> set[RunId]:
    """Let the first two runs on a symbol of each shard win; return them."""
    winners: set[RunId] = set()
    for shard in result.shards:
        for row in np.flatnonzero(shard.on(symbol))[:2]:
            shard.state["live_pnl"][row], shard.state["direction"][row] = 5.0 + row, 3
            winners.add(shard.run_ids[row])
    return winners


@pytest.mark.parametrize("where", [("ES",), ("NQ",), ("ES", "NQ")], ids="+".join)
def test_winners_are_cloned_on_their_own_symbol_only(where: tuple[str, ...]) -> None:
    """What wins on one market says nothing of another: there, without winners, all are random draws."""
    result = founded()
    winners = {symbol: winning(result, symbol) for symbol in where}
    rules = replace(RULES, desired_runs=600, clone_share=1.0, random_share_min=0.0)
    born = again(result.shards, rules).born
    assert Counter(record.symbol for record in born) == {"ES": 360, "NQ": 180}
    for symbol in ("ES", "NQ"):
        parents = {record.parent for record in born if record.symbol == symbol}
        assert parents == winners.get(symbol, {None})


def test_a_clone_has_the_leverage_of_its_symbol() -> None:
    """Mutation does not move it."""
    result = founded()
    for symbol in ("ES", "NQ"):
        winning(result, symbol)
    born = again(result.shards, replace(RULES, desired_runs=300, clone_share=1.0, random_share_min=0.0)).born
    found = {(record.symbol, float(params_of(json.loads(record.params))["leverage"])) for record in born}
    assert found == {("ES", 20.0), ("NQ", 10.0)}


def test_an_instrument_that_comes_later_gets_its_share() -> None:
    """At the next supervision, on shards that now know it from then on; runs of the others live on as they are."""
    result = founded([ES])
    assert runs_on(result) == {"ES": 60}
    after = again(result.shards)
    later_ns = NOW_NS + 10 * MINUTE_NS
    assert runs_on(after) == {"ES": 60, "NQ": 20}
    assert {record.symbol for record in after.born} == {"NQ"}
    assert not after.ended
    for before, shard in zip(result.shards, after.shards, strict=True):
        assert shard.seen_ns == {"ES": NOW_NS, "NQ": later_ns}
        old = len(before.run_ids)
        assert shard.run_ids[:old] == before.run_ids
        assert shard.state.take(slice(0, old)).tobytes() == before.state.tobytes()
        assert not shard.symbol[:old].any()
        assert (shard.symbol[old:] == 1).all()
        assert (shard.state["born_ns"][old:] == later_ns).all()


def test_the_runs_that_are_too_many_go_as_they_end() -> None:
    """Nobody is sent away for a newcomer; whoever ends is not replaced until its symbol is below its share."""
    shards = again(founded([ES]).shards).shards
    for shard, ending in zip(shards, (10, 10, 0, 0), strict=True):
        shard.state["exit_code"][:ending] = 1
    after = again(shards, minutes=20)
    assert (len(after.ended), after.born) == (20, ())
    assert runs_on(after) == {"ES": 40, "NQ": 20}
    after.shards[3].state["exit_code"][:2] = 1
    assert [record.symbol for record in again(after.shards, minutes=30).born] == ["ES", "ES"]


def test_the_runs_of_a_newcomer_see_what_comes_after_their_birth() -> None:
    """A shard that is behind on the old symbol goes on there from where it is, and on the new one from the birth."""
    [shard] = again(founded([ES], replace(RULES, shards=1)).shards, replace(RULES, shards=1)).shards
    known = [*states(30, NOW_NS), *states(30, NOW_NS, 2, "NQ")]
    after = advance(shard, known)
    assert after.seen_ns == dict.fromkeys(("ES", "NQ"), NOW_NS + 30 * MINUTE_NS)
    assert (after.state["evaluated_ns"][after.on("NQ")] > NOW_NS + 10 * MINUTE_NS).all()
    fast = after.params["decision_distance_s"] <= 10
    lived = after.state["iterations"][after.alive & fast]
    which = after.on("NQ")[after.alive & fast]
    assert set(lived[which].tolist()) == {20 * 6}
    assert set(lived[~which].tolist()) == {30 * 6}


def test_survivors_come_to_any_symbol_with_its_leverage() -> None:
    """Each as it was but for the leverage, which is its new instrument's; the least share of draws is of all runs."""
    rng = np.random.default_rng(3)
    survivors = [Survivor(RunId(f"0123456789ab/R4-{number}"), draw(rng, ES)) for number in range(80)]
    result = first_shards(RULES, BOTH, epoch=2, seed=7, next_number=100, now_ns=NOW_NS, survivors=survivors)
    taken = [record for record in result.born if record.parent]
    assert len(taken) == survivors_max(RULES, BOTH) == 54
    assert Counter(record.symbol for record in taken) == {"ES": 36, "NQ": 18}
    for record, survivor in zip(taken, survivors, strict=False):
        instrument = ES if record.symbol == "ES" else NQ
        assert record.parent == survivor.parent
        assert params_of(json.loads(record.params)).tobytes() == fitted(survivor.params, instrument).tobytes()
        assert float(fitted(survivor.params, instrument)["leverage"]) == instrument.leverage_max
    assert {float(survivor.params["leverage"]) for survivor in survivors} == {20.0}


def test_flat_runs_are_purged_on_every_symbol() -> None:
    """Those in the market stay, whatever they trade; each symbol has its share again."""
    result = founded()
    kept = {run for symbol in ("ES", "NQ") for run in winning(result, symbol)}
    after = again(result.shards, minutes=181)
    assert {end.reason for end in after.ended} == {ExitReason.PURGED}
    assert len(after.ended) == len(after.born) == 60 - len(kept)
    assert runs_on(after) == {"ES": 40, "NQ": 20}
    assert kept <= {run for shard in after.shards for run in shard.run_ids}


def test_closing_a_cohort_ends_the_runs_of_every_symbol() -> None:
    """In order of shard and row."""
    result = founded()
    ends = end_all(result.shards, ExitReason.EPOCH, NOW_NS)
    assert [end.run_id for end in ends] == [run for shard in result.shards for run in shard.run_ids]
    assert {end.run_id for end in ends} == {run_id(2, number) for number in range(100, 160)}
