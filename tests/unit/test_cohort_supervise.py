"""The supervisor: numbers, shares, parents, purges and ends."""

import json
from collections import Counter
from dataclasses import replace
from decimal import Decimal

import numpy as np
import pytest

from tests.builders import ES
from trisagion.clock import MINUTE_NS
from trisagion.cohort.space import draw, params_of
from trisagion.cohort.state import Shard
from trisagion.cohort.supervise import (
    FIRST,
    Births,
    CohortRules,
    Supervision,
    end_all,
    first_shards,
    supervise,
    survivors_max,
)
from trisagion.cohort.survivors import Survivor
from trisagion.cohort.types import ExitReason
from trisagion.ids import RunId, run_id

NOW_NS = 5000 * MINUTE_NS
RULES = CohortRules(desired_runs=50, shards=4, start_balance=1000.0)


def founded(rules: CohortRules = RULES, seed: int = 7) -> Supervision:
    """Return a fresh cohort."""
    return first_shards(rules, [ES], epoch=2, seed=seed, next_number=100, now_ns=NOW_NS)


def again(
    shards: tuple[Shard, ...], rules: CohortRules = RULES, minutes: int = 10, births: Births = FIRST
) -> Supervision:
    """Supervise some minutes later."""
    now_ns = NOW_NS + minutes * MINUTE_NS
    return supervise(shards, rules, [ES], epoch=2, seed=7, next_number=150, now_ns=now_ns, births=births)


def sizes(result: Supervision) -> list[int]:
    """Return the number of runs of each shard."""
    return [len(shard.run_ids) for shard in result.shards]


def test_a_fresh_cohort_has_the_desired_runs_spread_evenly() -> None:
    """Numbers go on from the next one, shards take turns, accounts begin flat with the start balance."""
    result = founded()
    assert sizes(result) == [13, 13, 12, 12]
    assert [shard.number for shard in result.shards] == [0, 1, 2, 3]
    assert [record.run_id for record in result.born] == [run_id(2, number) for number in range(100, 150)]
    assert not result.ended
    for shard in result.shards:
        assert (shard.seen_ns, shard.epoch) == ({"ES": NOW_NS}, 2)
        assert not shard.symbol.any()
        assert (shard.state["balance"] == 1000.0).all()
        assert (shard.state["born_ns"] == NOW_NS).all()
        assert not shard.state["direction"].any()


def test_the_record_of_a_birth_is_the_run_in_its_shard() -> None:
    """Shard, name and parameters of each record are those of a row; a random draw has no parent."""
    result = founded()
    rows = {
        run: (shard.number, shard.params.record(row).tobytes())
        for shard in result.shards
        for row, run in enumerate(shard.run_ids)
    }
    assert len(rows) == len(result.born)
    for record in result.born:
        assert rows[record.run_id] == (record.shard, params_of(json.loads(record.params)).tobytes())
        assert (record.parent, record.epoch, record.symbol, record.born_ns) == (None, 2, "ES", NOW_NS)


def test_a_draw_is_a_function_of_seed_epoch_and_number() -> None:
    """The same again gives the same runs; another seed others; who else is born at the time does not matter."""
    params = {record.run_id: record.params for record in founded().born}
    assert {record.run_id: record.params for record in founded().born} == params
    assert not set(params.values()) & {record.params for record in founded(seed=8).born}
    fewer = founded(replace(RULES, desired_runs=3, shards=1))
    assert [record.params for record in fewer.born] == [params[record.run_id] for record in fewer.born]


def test_leverage_caps_the_runs() -> None:
    """There are never more than 45 runs per unit of leverage."""
    low = replace(ES, leverage_max=Decimal("0.5"))
    result = first_shards(RULES, [low], epoch=1, seed=7, next_number=0, now_ns=NOW_NS)
    assert sum(sizes(result)) == 22


def test_the_default_instrument_carries_900_runs() -> None:
    """45 for each of its 20 units of leverage, however many are desired, at the founding and ever after."""
    rules = replace(RULES, desired_runs=5000, shards=2)
    first = founded(rules)
    assert sizes(first) == [450, 450]
    first.shards[0].state["exit_code"][:30] = 1
    assert sizes(again(first.shards, rules)) == [450, 450]


def test_a_full_cohort_is_left_alone() -> None:
    """Nobody ended, nobody sleeps: nobody is born, and the runs are the same."""
    before = founded()
    after = again(before.shards)
    assert (after.born, after.ended) == ((), ())
    for a, b in zip(before.shards, after.shards, strict=True):
        assert a.run_ids == b.run_ids
        assert a.state.tobytes() == b.state.tobytes()


def test_ended_runs_are_replaced_where_they_are_missing() -> None:
    """Each ended run is reported once with its own reason; the new ones go to the shards that lack them."""
    shards = founded().shards
    state = shards[2].state
    state["exit_code"][:3] = [1, 2, 3]
    state["ended_ns"][:3] = NOW_NS + MINUTE_NS
    state["live_pnl"][:3] = [0.5, 7.0, -2.0]
    state["iterations"][:3] = 9
    state["trades"][:3] = 4
    gone = shards[2].run_ids[:3]
    result = again(shards)
    assert [(end.run_id, end.reason, end.pnl) for end in result.ended] == [
        (gone[0], ExitReason.MAX_DURATION, 0.5),
        (gone[1], ExitReason.APR_TARGET, 7.0),
        (gone[2], ExitReason.REVERSAL, -2.0),
    ]
    assert {(end.ended_ns, end.iterations, end.trades) for end in result.ended} == {(NOW_NS + MINUTE_NS, 9, 4)}
    assert [(record.run_id, record.shard) for record in result.born] == [(run_id(2, n), 2) for n in range(150, 153)]
    assert sizes(result) == [13, 13, 12, 12]
    assert not set(gone) & set(result.shards[2].run_ids)


@pytest.mark.parametrize(("minutes", "purged"), [(180, 0), (181, 49)])
def test_runs_flat_for_too_long_are_purged(minutes: int, purged: int) -> None:
    """Older than 180 minutes and flat: purged; in the market, or just 180 minutes old: kept."""
    shards = founded().shards
    shards[0].state["direction"][0] = -1
    result = again(shards, minutes=minutes)
    assert len(result.ended) == len(result.born) == purged
    assert {(end.reason, end.ended_ns) for end in result.ended} <= {(ExitReason.PURGED, NOW_NS + minutes * MINUTE_NS)}
    assert shards[0].run_ids[0] in result.shards[0].run_ids
    assert sorted(sizes(result)) == [12, 12, 13, 13]


def with_winners(pnls: dict[int, float], rules: CohortRules) -> tuple[Supervision, dict[RunId, int]]:
    """Return what is born beside winners with these P&Ls on shard 0, and the winners' ranks."""
    shards = founded().shards
    for row, pnl in pnls.items():
        shards[0].state["live_pnl"][row] = pnl
        shards[0].state["direction"][row] = 3
    best_first = sorted((row for row in pnls if pnls[row] > 0), key=lambda row: -pnls[row])
    return again(shards, rules), {shards[0].run_ids[row]: rank for rank, row in enumerate(best_first)}


def test_without_winners_all_new_runs_are_random() -> None:
    """Nobody is cloned for losing less than others."""
    result, _ = with_winners({0: -1.0, 1: 0.0}, replace(RULES, desired_runs=200, clone_share=1.0, random_share_min=0.0))
    assert len(result.born) == 150
    assert {record.parent for record in result.born} == {None}


def test_an_ended_winner_has_no_more_clones() -> None:
    """Parents are live runs."""
    shards = founded().shards
    shards[0].state["live_pnl"][0] = 9.0
    shards[0].state["exit_code"][0] = 2
    result = again(shards, replace(RULES, desired_runs=200, clone_share=1.0, random_share_min=0.0))
    assert {record.parent for record in result.born} == {None}


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_a_share_of_the_new_runs_are_clones(share: float) -> None:
    """About the configured share has a parent among the winners; the rest are the draws they would be anyway."""
    rules = replace(RULES, desired_runs=850, clone_share=share, random_share_min=0.0)
    result, ranks = with_winners({0: 5.0, 1: 3.0, 2: 1.0, 3: -1.0}, rules)
    parents = [record.parent for record in result.born]
    assert len(parents) == 800
    assert {parent for parent in parents if parent} == (set(ranks) if share else set())
    assert sum(parent is not None for parent in parents) / 800 == pytest.approx(share, abs=0.05)


def test_a_share_of_the_random_draws_enters_by_the_channel() -> None:
    """The cohort's rule reaches its draws; a clone has its parent's entry, but for the few that flip."""
    rules = replace(RULES, desired_runs=850, channel_share=0.3)
    result, _ = with_winners({0: 5.0}, rules)
    entries = {run: shard.params["entry"][row] for shard in result.shards for row, run in enumerate(shard.run_ids)}
    drawn = [entries[record.run_id] for record in result.born if record.parent is None]
    cloned = [entries[record.run_id] for record in result.born if record.parent is not None]
    assert np.mean(drawn) == pytest.approx(0.3, abs=0.07)
    # The parent is of a cohort without channel entries; the worst winner's rate is 0.1.
    assert 0.02 < np.mean(cloned) < 0.2


def test_clones_that_leave_no_room_for_random_draws_are_refused() -> None:
    """At the bound they are not."""
    assert replace(RULES, clone_share=0.9).clone_share == 0.9
    with pytest.raises(AssertionError):
        replace(RULES, clone_share=0.91)


@pytest.mark.parametrize("floor", [0.05, 0.1, 0.4])
def test_random_draws_keep_their_share_beside_as_many_clones_as_may_be(floor: float) -> None:
    """They are the draws that their numbers would have been without any winner."""
    rules = replace(RULES, desired_runs=850, clone_share=1 - floor, random_share_min=floor)
    result, _ = with_winners({0: 5.0, 1: 3.0}, rules)
    drawn = {record.run_id: record.params for record in result.born if record.parent is None}
    assert len(drawn) / len(result.born) == pytest.approx(floor, abs=0.04)
    alone = {record.run_id: record.params for record in again(founded().shards, rules).born}
    assert drawn.items() <= alone.items()


def test_at_no_birth_of_an_epoch_have_random_draws_less_than_their_share() -> None:
    """Not by a run of luck either: what was born before counts, and a clone that would take their share is drawn."""
    rules = replace(RULES, desired_runs=850, clone_share=0.5, random_share_min=0.5)
    shards = founded().shards
    shards[0].state["live_pnl"][0], shards[0].state["direction"][0] = 5.0, 3
    for before in (Births(50, 50), Births(50, 25), Births(50, 10)):
        born = again(shards, rules, births=before).born
        drawn = before.drawn + np.cumsum([record.parent is None for record in born])
        counts = before.count + np.arange(1, len(born) + 1)
        kept = drawn / counts >= 0.5
        caught_up = int(np.argmax(kept))
        assert kept[caught_up:].all()
        assert all(record.parent is None for record in born[:caught_up])
        assert any(record.parent is not None for record in born)


def foreign(count: int) -> tuple[Survivor, ...]:
    """Return survivors of another cohort."""
    rng = np.random.default_rng(3)
    return tuple(Survivor(RunId(f"0123456789ab/R4-{number}"), draw(rng, ES)) for number in range(count))


def test_survivors_are_the_first_runs_of_a_first_cohort_and_the_others_the_draws_they_would_be() -> None:
    """As they were, to the bit, on shards like any other, each with its foreign parent on record."""
    survivors = foreign(3)
    result = first_shards(RULES, [ES], epoch=2, seed=7, next_number=100, now_ns=NOW_NS, survivors=survivors)
    assert sizes(result) == sizes(founded())
    assert [record.parent for record in result.born[:3]] == [survivor.parent for survivor in survivors]
    for record, survivor in zip(result.born, survivors, strict=False):
        shard = result.shards[record.shard]
        assert shard.params.record(shard.run_ids.index(record.run_id)).tobytes() == survivor.params.tobytes()
        assert params_of(json.loads(record.params)).tobytes() == survivor.params.tobytes()
    assert result.born[3:] == founded().born[3:]


@pytest.mark.parametrize(("floor", "taken"), [(0.1, 45), (0.5, 25), (0.11, 44), (1.0, 0)])
def test_survivors_leave_random_draws_their_share(floor: float, taken: int) -> None:
    """Of 50 runs; what is too many stays out, the last of the file first."""
    rules = replace(RULES, random_share_min=floor, clone_share=0.0)
    survivors = foreign(60)
    result = first_shards(rules, [ES], epoch=2, seed=7, next_number=100, now_ns=NOW_NS, survivors=survivors)
    assert [record.parent for record in result.born if record.parent] == [one.parent for one in survivors[:taken]]
    assert len(result.born) == 50
    assert survivors_max(rules, [ES]) == taken


def test_better_winners_have_more_clones_that_differ_less() -> None:
    """Ranks 0, 1, 2 of three are chosen 3 : 2 : 1, and their clones step ever further."""
    rules = replace(RULES, desired_runs=850, clone_share=1.0, random_share_min=0.0)
    result, ranks = with_winners({4: 1.0, 5: 5.0, 6: 3.0}, rules)
    counts = Counter(ranks[record.parent] for record in result.born if record.parent)
    for rank, share in enumerate((3 / 6, 2 / 6, 1 / 6)):
        assert counts[rank] / 800 == pytest.approx(share, abs=0.05)
    by_id = {run: shard.params.record(row) for shard in result.shards for row, run in enumerate(shard.run_ids)}
    steps: dict[int, list[float]] = {0: [], 1: [], 2: []}
    for record in result.born:
        assert record.parent is not None
        step = abs(by_id[record.run_id]["swing_z"] - by_id[record.parent]["swing_z"])
        steps[ranks[record.parent]].append(float(step))
    means = [sum(values) / len(values) for values in steps.values()]
    assert 0.0 < means[0] < means[1] < means[2] < 2.0 * 0.1


def test_closing_a_cohort_ends_every_run() -> None:
    """Those alive end now for the reason given; those that had ended keep their own reason and instant."""
    shards = founded().shards
    shards[1].state["exit_code"][0] = 2
    shards[1].state["ended_ns"][0] = NOW_NS + 1
    ends = end_all(shards, ExitReason.EPOCH, NOW_NS + 9)
    assert [end.run_id for end in ends] == [run for shard in shards for run in shard.run_ids]
    own = ends[len(shards[0].run_ids)]
    assert (own.reason, own.ended_ns) == (ExitReason.APR_TARGET, NOW_NS + 1)
    assert {(end.reason, end.ended_ns) for end in ends if end is not own} == {(ExitReason.EPOCH, NOW_NS + 9)}
