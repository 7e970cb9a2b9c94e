"""`advance_cohort`, `ingest_market`, `detect_regime`: minutes in, runs advanced, whoever does it and how often."""

import json
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.builders import COHORT_RULES, ES, TUESDAY_NS, Desk, a_step, states, words
from trisagion.adapters.db import open_database, retrying
from trisagion.adapters.db.cohort import Cohort
from trisagion.clock import MINUTE_NS
from trisagion.cohort.advance import advance as advance_shard
from trisagion.cohort.state import from_bytes, to_bytes
from trisagion.cohort.supervise import first_shards
from trisagion.cohort.types import ShardRow
from trisagion.errors import DataError, StateError
from trisagion.ids import cycle_id
from trisagion.ports import Cycle
from trisagion.services.advance_cohort import ShardCopies, advance, supervise_cohort
from trisagion.services.detect_regime import detect
from trisagion.services.ingest_market import ingest, read_steps, write_steps
from trisagion.services.outcome import Outcome

T0 = TUESDAY_NS
CHECKPOINT_NS = 10 * MINUTE_NS
MINUTES = 25


def peopled(desk: Desk, minutes: int = MINUTES) -> Desk:
    """Found a cohort of two shards and publish the market states that follow."""
    return publish(desk.people(), range(minutes), minutes)


def publish(desk: Desk, minutes: Iterable[int], of: int = MINUTES) -> Desk:
    """Publish some of the market states that follow the founding."""
    known = states(of, T0)
    return desk.publish(known[minute] for minute in minutes)


def walk(desk: Desk, copies: Callable[[int], ShardCopies], minutes: int = MINUTES) -> None:
    """Publish minute by minute and advance both shards, each with the copies of whichever worker it is."""
    for minute in range(1, minutes + 1):
        publish(desk, [minute - 1])
        for number in (0, 1):
            outcome = advance(desk.database, copies(minute), number, T0 + minute * MINUTE_NS, CHECKPOINT_NS)
            assert outcome == Outcome("advanced")


@pytest.mark.parametrize("workers", ["one", "a new one each minute", "two in turns"])
def test_whoever_advances_a_shard_it_ends_the_same_to_the_bit(desk: Desk, workers: str) -> None:
    """A copy in memory saves time; checkpoint and states since give the undisturbed course, and the same progress."""
    peopled(desk, 0)
    first = from_bytes(desk.checkpoint()[2])
    held = [ShardCopies(), ShardCopies()]
    pick = {"one": lambda _: held[0], "two in turns": lambda minute: held[minute % 2]}
    walk(desk, pick.get(workers, lambda _: ShardCopies()))
    undisturbed = advance_shard(first, states(MINUTES, T0)[:20])
    at_ns, version, state = desk.checkpoint()
    assert (at_ns, version) == (T0 + 20 * MINUTE_NS, 2)
    assert state == to_bytes(undisturbed)
    assert undisturbed.state["iterations"].sum() > 0
    with desk.database.snapshot() as tx:
        for minute in range(1, MINUTES + 1):
            assert [progress.shard for progress in tx.cohort.progress(T0 + minute * MINUTE_NS)] == [0, 1]


@settings(max_examples=15)
@given(cuts=st.sets(st.integers(1, MINUTES), max_size=6), checkpoint_min=st.sampled_from([1, 3, 10]))
def test_wherever_a_worker_dies_a_fresh_one_ends_the_same_to_the_bit(
    sqlite_template: Path, cuts: set[int], checkpoint_min: int
) -> None:
    """Its copies are lost at random minutes; runs, rings and progress of each minute are those of a quiet course."""
    quiet, killed = ShardCopies(), ShardCopies()
    shard = first_shards(COHORT_RULES, [ES], epoch=1, seed=7, next_number=0, now_ns=T0).shards[0]
    with (
        tempfile.TemporaryDirectory() as folder,
        closing(open_database(f"sqlite:///{shutil.copy(sqlite_template, folder)}")) as database,
    ):
        desk = Desk(database).found()
        for number in (0, 1):
            desk.enter(replace(shard, number=number), at_ns=T0)
        for minute in range(1, MINUTES + 1):
            publish(desk, [minute - 1])
            if minute in cuts:
                killed = ShardCopies()
            now_ns = T0 + minute * MINUTE_NS
            assert advance(desk.database, quiet, 0, now_ns, CHECKPOINT_NS).word == "advanced"
            assert advance(desk.database, killed, 1, now_ns, checkpoint_min * MINUTE_NS).word == "advanced"
            with desk.database.snapshot() as tx:
                one, other = tx.cohort.progress(now_ns)
            assert repr(replace(other, shard=0)) == repr(one)
    undisturbed, resumed = quiet.held[0][1], killed.held[1][1]
    assert (
        to_bytes(replace(resumed, number=0))
        == to_bytes(undisturbed)
        == to_bytes(advance_shard(shard, states(MINUTES, T0)))
    )


def test_each_checkpoint_leaves_a_mark_of_what_its_runs_had_earned(desk: Desk) -> None:
    """At its own instant, once, with the numbers of the runs; minutes in between leave none."""
    peopled(desk, 0)
    copies = ShardCopies()
    walk(desk, lambda _: copies)
    _, _, state = desk.checkpoint(1)
    with desk.database.snapshot() as tx:
        marks = tx.cohort.marks()
    assert [((mark.at_ns - T0) // MINUTE_NS, mark.shard) for mark in marks] == [(10, 0), (10, 1), (20, 0), (20, 1)]
    shard = from_bytes(state)
    assert [f"R1-{number}" for number in marks[-1].runs.tolist()] == list(shard.run_ids)
    assert marks[-1].pnl.tolist() == shard.state["live_pnl"].astype("f4").tolist()
    assert marks[-1].pnl.any()


def test_an_advance_repeated_changes_nothing(desk: Desk) -> None:
    """Also at a checkpoint, also by a worker that knows nothing, also late."""
    peopled(desk, 0)
    copies = ShardCopies()
    walk(desk, lambda _: copies)
    before = desk.everything()
    for known in (copies, ShardCopies()):
        for minute in (25, 10, 20, 1):
            assert advance(desk.database, known, 0, T0 + minute * MINUTE_NS, CHECKPOINT_NS).word == "nothing"
            assert desk.everything() == before


@pytest.mark.parametrize("order", [range(1, 11), range(10, 0, -1)], ids=["oldest first", "newest first"])
@pytest.mark.parametrize("together", [True, False], ids=["one worker", "ten workers"])
def test_ten_late_messages_for_a_shard_cost_one_calculation(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, order: range, together: bool
) -> None:
    """Whoever takes the first brings the shard to where the market is; nine find it there, and read no checkpoint."""
    peopled(desk, 12)
    expected = to_bytes(advance_shard(from_bytes(desk.checkpoint()[2]), states(12, T0)[:10]))
    calls: list[int] = []
    reads: list[int] = []
    whole = Cohort.shard

    def counted(*arguments: Any, **options: Any) -> Any:
        calls.append(len(arguments[1]))
        return advance_shard(*arguments, **options)

    def read(store: Cohort, number: int) -> ShardRow:
        reads.append(number)
        return whole(store, number)

    monkeypatch.setattr("trisagion.services.advance_cohort.advance_shard", counted)
    monkeypatch.setattr(Cohort, "shard", read)
    copies = ShardCopies()
    for minute in order:
        advance(desk.database, copies if together else ShardCopies(), 0, T0 + minute * MINUTE_NS, CHECKPOINT_NS)
    assert (calls, reads) == ([10], [0])
    monkeypatch.undo()
    assert desk.checkpoint() == (T0 + 10 * MINUTE_NS, 1, expected)


def test_one_that_is_behind_stops_at_the_next_checkpoint(desk: Desk) -> None:
    """The cycle of that instant decides on the cohort as it stood then, however much is known by now."""
    peopled(desk)
    copies = ShardCopies()
    assert advance(desk.database, copies, 0, T0 + MINUTE_NS, CHECKPOINT_NS).word == "advanced"
    assert desk.checkpoint()[:2] == (T0 + 10 * MINUTE_NS, 1)
    with desk.database.snapshot() as tx:
        assert [progress.shard for progress in tx.cohort.progress(T0 + 10 * MINUTE_NS)] == [0]
    assert advance(desk.database, copies, 0, T0 + 11 * MINUTE_NS, CHECKPOINT_NS).word == "advanced"
    assert desk.checkpoint()[:2] == (T0 + 20 * MINUTE_NS, 2)


def test_a_stale_copy_is_dropped(desk: Desk) -> None:
    """Supervision wrote another checkpoint: the copy is not advanced any further."""
    peopled(desk, 0)
    copies, other = ShardCopies(), ShardCopies()
    walk(desk, lambda _: copies, 9)
    at_ns, version, state = desk.checkpoint()
    changed = from_bytes(state)
    changed.state["trades"] += 77
    desk.enter(changed, at_ns=at_ns)
    publish(desk, [9])
    for known in (copies, other):
        advance(desk.database, known, 0, T0 + 10 * MINUTE_NS, CHECKPOINT_NS)
    assert desk.checkpoint()[1] == version + 2
    assert desk.checkpoint()[2] == to_bytes(advance_shard(changed, states(MINUTES, T0)[:10]))


def test_a_shard_that_is_not_there_is_nothing(desk: Desk) -> None:
    """A message may outlive what it names."""
    assert advance(desk.database, ShardCopies(), 9, T0, CHECKPOINT_NS) == Outcome("nothing")


def a_damaged_checkpoint(desk: Desk) -> None:
    """Flip a bit in the middle of a checkpoint."""
    row = ShardRow(0, 1, T0, 1, desk.checkpoint()[2])
    state = bytearray(row.state)
    state[len(state) // 2] ^= 1
    with desk.database.transaction() as tx:
        assert tx.cohort.save_shard(replace(row, state=bytes(state)))


def a_state(desk: Desk, **changes: Any) -> None:
    """Publish the first minute with other features."""
    desk.publish([replace(states(1, T0)[0], **changes)])


@pytest.mark.parametrize(
    ("damage", "error", "sentence"),
    [
        (a_damaged_checkpoint, StateError, r"shard 0, version 1: shard checkpoint: expected CRC-32 \w+, found \w+"),
        (
            lambda desk: a_state(desk, price=states(1, T0)[0].price * float("nan")),
            DataError,
            rf"shard 0, ES, after {T0}: expected finite features and prices above 0, found \[nan",
        ),
        (
            lambda desk: a_state(desk, price=-states(1, T0)[0].price),
            DataError,
            rf"shard 0, ES, after {T0}: expected finite features and prices above 0, found \[-",
        ),
        (
            lambda desk: a_state(desk, ts_ns=states(1, T0)[0].ts_ns[::-1].copy()),
            DataError,
            rf"shard 0, ES, after {T0}: expected ticks at least 10000000000 ns apart, found -10000000000 ns",
        ),
    ],
    ids=["checkpoint", "nan", "negative", "backwards"],
)
def test_what_cannot_be_computed_on_is_refused_and_the_last_good_state_stays(
    desk: Desk, damage: Callable[[Desk], None], error: type[Exception], sentence: str
) -> None:
    """What, where and the expected range; nothing is written, and with good data the shard goes on."""
    peopled(desk, 0)
    damage(desk)
    before = desk.everything()
    copies = ShardCopies()
    for _ in range(2):
        with pytest.raises(error, match=sentence):
            advance(desk.database, copies, 0, T0 + MINUTE_NS, CHECKPOINT_NS)
        assert desk.everything() == before
        assert copies.held == {}


def test_a_shard_on_an_unknown_symbol_meets_no_market(desk: Desk) -> None:
    """Nobody else's prices are its own: its runs stay as they were born."""
    peopled(desk, 3)
    stranger = replace(from_bytes(desk.checkpoint()[2]), number=5, seen_ns={"ZN": T0})
    desk.enter(stranger, at_ns=T0)
    copies = ShardCopies()
    assert advance(desk.database, copies, 5, T0 + 3 * MINUTE_NS, CHECKPOINT_NS).word == "advanced"
    assert to_bytes(copies.held[5][1]) == to_bytes(stranger)


def test_many_workers_advance_one_shard_at_once_to_one_checkpoint(shared: Desk) -> None:
    """On either server: one calculates, one version more, the same bytes, and nobody fails."""
    peopled(shared, 10)
    expected = to_bytes(advance_shard(from_bytes(shared.checkpoint()[2]), states(10, T0)))
    together = threading.Barrier(4)
    said: list[str] = []

    def work() -> None:
        together.wait()
        due = T0 + 10 * MINUTE_NS
        said.append(retrying(lambda: advance(shared.database, ShardCopies(), 0, due, CHECKPOINT_NS)).word)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(said) == ["advanced", "nothing", "nothing", "nothing"]
    assert shared.checkpoint() == (T0 + 10 * MINUTE_NS, 1, expected)


def decided(desk: Desk, stage: str = "decided") -> int:
    """Bring a cycle to a stage; return its instant."""
    due_ns = T0 + 10 * MINUTE_NS
    with desk.database.transaction() as tx:
        tx.cycles.open_cycle(Cycle(cycle_id(due_ns), due_ns, stage, None, 0))
    return due_ns


def test_supervision_closes_its_cycle_once(desk: Desk) -> None:
    """Ended runs are recorded and replaced, numbers go on, and the second time it is closed already."""
    peopled(desk)
    due_ns = decided(desk)
    at_ns, _, state = desk.checkpoint()
    dying = from_bytes(state)
    dying.state["exit_code"][:2] = 1
    desk.enter(dying, at_ns=at_ns)
    assert supervise_cohort(desk.database, COHORT_RULES, 7, due_ns) == Outcome("supervised")
    with desk.database.snapshot() as tx:
        assert tx.cohort.run_count() == COHORT_RULES.desired_runs + 2
        shards = [from_bytes(row.state) for row in tx.cohort.shards()]
    assert sum(len(shard.run_ids) for shard in shards) == COHORT_RULES.desired_runs
    assert not set(dying.run_ids[:2]) & {run for shard in shards for run in shard.run_ids}
    before = desk.everything()
    assert supervise_cohort(desk.database, COHORT_RULES, 7, due_ns) == Outcome("nothing")
    assert desk.everything() == before


@pytest.mark.parametrize("stage", ["opened", "cancelling", "observing", "done"])
def test_only_a_decided_cycle_is_supervised(desk: Desk, stage: str) -> None:
    """Nor one that nobody began."""
    peopled(desk)
    due_ns = decided(desk, stage)
    before = desk.everything()
    for due in (due_ns, due_ns + 1):
        assert supervise_cohort(desk.database, COHORT_RULES, 7, due) == Outcome("nothing")
    assert desk.everything() == before


def test_supervision_of_nobody_closes_the_cycle(desk: Desk) -> None:
    """Without epoch or shards there is nothing to replace."""
    due_ns = decided(desk)
    assert supervise_cohort(desk.database, COHORT_RULES, 7, due_ns) == Outcome("supervised")


def test_half_a_supervision_is_none(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """A shard that was advanced meanwhile: no run is born, none ended, the cycle stays open and is rung again."""
    peopled(desk)
    due_ns = decided(desk)
    at_ns, _, state = desk.checkpoint()
    dying = from_bytes(state)
    dying.state["exit_code"][:2] = 1
    desk.enter(dying, at_ns=at_ns)
    before = desk.everything()
    monkeypatch.setattr("trisagion.adapters.db.cohort.Cohort.save_shard", lambda *_: False)
    assert supervise_cohort(desk.database, COHORT_RULES, 7, due_ns) == Outcome("stale", (str(due_ns),))
    assert desk.everything() == before


def test_a_minute_is_stored_once_and_announced_each_time(desk: Desk) -> None:
    """Its first announcement may have been lost; what came first stays."""
    assert ingest(desk.database, [a_step(T0 + MINUTE_NS)]) == Outcome("stored", ("ES",))
    before = desk.everything()
    assert ingest(desk.database, [a_step(T0 + MINUTE_NS, "9999")]) == Outcome("stored", ("ES",))
    assert desk.everything() == before


def test_a_minute_survives_its_message() -> None:
    """To the last digit."""
    step = a_step(T0, "4000.25")
    step = replace(step, bar=replace(step.bar, close=0.1 + 0.2, volume=1 / 3))
    for steps in ((step,), (a_step(T0, symbol="NQ"), step)):
        assert read_steps(write_steps(steps)) == steps


def broken(**changes: Any) -> str:
    """Write a minute with other fields; a change to None leaves the field out."""
    other, fields = json.loads(write_steps([a_step(T0, symbol="NQ"), a_step(T0)]))
    bar = changes.pop("bar", {})
    if isinstance(bar, dict):
        fields["bar"] |= bar
    else:
        fields["bar"] = bar
    fields |= changes
    return json.dumps([other, {key: value for key, value in fields.items() if value is not None}])


@pytest.mark.parametrize(
    "text",
    [
        "",
        "null",
        "[]",
        "[[]]",
        "[null]",
        "7",
        '"ES"',
        "{",
        "{}",
        "[" * 5000,
        broken(symbol=None),
        broken(symbol=7),
        write_steps([a_step(T0), a_step(T0)]),
        write_steps([a_step(T0), a_step(T0 + MINUTE_NS, symbol="NQ")]),
        write_steps([a_step(T0)])[1:-1],
        broken(at_ns="soon"),
        broken(at_ns=T0 + 1),
        broken(at_ns=2**70),
        broken(at_ns=float("nan")),
        broken(bar=None),
        broken(bar=[]),
        broken(bar={"symbol": "NQ"}),
        broken(bar={"color": "red"}),
        broken(bar={"close": "4000"}),
        broken(bar={"close": float("nan")}),
        broken(bar={"close": float("inf")}),
        broken(bar={"close": None}),
        broken(bar={"trades": 1.5}),
        broken(ticks=None),
        broken(ticks=[[T0]]),
        broken(ticks=[[T0, "x"]]),
        broken(ticks=[[T0, float("nan")]]),
        broken(ticks=[[T0, 0.0]]),
        broken(ticks=7),
        broken(last="-1"),
        broken(last="NaN"),
        broken(last=4000.25),
        broken(last="1" * 40),
        broken(last_ns="x"),
    ],
)
def test_a_message_that_is_no_minute_is_refused(text: str) -> None:
    """With `DataError`, whatever is wrong with any of its steps, or with how they go together."""
    with pytest.raises(DataError):
        read_steps(text)


def test_detecting_again_announces_again_and_changes_nothing(desk: Desk) -> None:
    """Features are computed once; every shard is rung each time, and the watch."""
    peopled(desk, 0)
    for minute in range(1, 4):
        desk.quote(T0 + minute * MINUTE_NS)
        for turn in range(2):
            before = desk.everything()
            outcomes = detect(desk.database, "ES", T0 + minute * MINUTE_NS)
            assert outcomes == (Outcome("ready", ("0", "1")), Outcome("priced", ("",)))
            assert (desk.everything() == before) == bool(turn)


def test_detecting_late_changes_nothing(desk: Desk) -> None:
    """A minute whose successor is there already keeps its features."""
    peopled(desk, 0)
    for minute in (1, 2):
        desk.quote(T0 + minute * MINUTE_NS)
        detect(desk.database, "ES", T0 + minute * MINUTE_NS)
    before = desk.everything()
    assert words(detect(desk.database, "ES", T0 + MINUTE_NS)) == ["ready", "priced"]
    assert desk.everything() == before


def test_a_minute_that_is_not_there_has_no_features(desk: Desk) -> None:
    """A message may come before its data."""
    assert detect(desk.database, "ES", T0 + MINUTE_NS) == (Outcome("nothing"),)
    assert detect(desk.database, "NQ", T0) == (Outcome("nothing"),)
