"""`advance_cohort`, `ingest_market`, `detect_regime`: minutes in, runs advanced, whoever does it and how often."""

import json
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from tests.builders import COHORT_RULES, ES, TUESDAY_NS, Desk, a_step, states, words
from trisagion.adapters.db import retrying
from trisagion.clock import MINUTE_NS
from trisagion.cohort.advance import advance as advance_shard
from trisagion.cohort.state import from_bytes, to_bytes
from trisagion.errors import DataError
from trisagion.ids import cycle_id
from trisagion.ports import Cycle
from trisagion.services.advance_cohort import ShardCopies, advance, found_cohort, supervise_cohort
from trisagion.services.detect_regime import detect
from trisagion.services.ingest_market import ingest, read_step, write_step
from trisagion.services.outcome import Outcome

T0 = TUESDAY_NS
CHECKPOINT_NS = 10 * MINUTE_NS
MINUTES = 25


def peopled(desk: Desk, minutes: int = MINUTES) -> Desk:
    """Found a cohort of two shards and publish the market states that follow."""
    with desk.database.transaction() as tx:
        found_cohort(tx, COHORT_RULES, ES, 1, 7, T0)
        for state in states(minutes, T0):
            tx.market.put_state(state)
    return desk


def checkpoint(desk: Desk, number: int = 0) -> tuple[int, int, bytes]:
    """Return instant, version and bytes of a shard's checkpoint."""
    with desk.database.snapshot() as tx:
        row = tx.cohort.shard(number)
    return row.at_ns, row.version, row.state


def walk(desk: Desk, copies: Callable[[int], ShardCopies], minutes: int = MINUTES) -> None:
    """Advance both shards minute by minute, each with the copies of whichever worker it is."""
    for minute in range(1, minutes + 1):
        for number in (0, 1):
            outcome = advance(desk.database, copies(minute), number, T0 + minute * MINUTE_NS, CHECKPOINT_NS)
            assert outcome == Outcome("advanced")


@pytest.mark.parametrize("workers", ["one", "a new one each minute", "two in turns"])
def test_whoever_advances_a_shard_it_ends_the_same_to_the_bit(desk: Desk, workers: str) -> None:
    """A copy in memory saves time; checkpoint and states since give the undisturbed course, and the same progress."""
    peopled(desk)
    first = from_bytes(checkpoint(desk)[2])
    held = [ShardCopies(), ShardCopies()]
    pick = {"one": lambda _: held[0], "two in turns": lambda minute: held[minute % 2]}
    walk(desk, pick.get(workers, lambda _: ShardCopies()))
    undisturbed = advance_shard(first, states(MINUTES, T0)[:20])
    at_ns, version, state = checkpoint(desk)
    assert (at_ns, version) == (T0 + 20 * MINUTE_NS, 2)
    assert state == to_bytes(undisturbed)
    assert undisturbed.state["iterations"].sum() > 0
    with desk.database.snapshot() as tx:
        for minute in range(1, MINUTES + 1):
            assert [progress.shard for progress in tx.cohort.progress(T0 + minute * MINUTE_NS)] == [0, 1]


def test_an_advance_repeated_changes_nothing(desk: Desk) -> None:
    """Also at a checkpoint, also by a worker that knows nothing, also late."""
    peopled(desk)
    copies = ShardCopies()
    walk(desk, lambda _: copies)
    before = desk.everything()
    for known in (copies, ShardCopies()):
        for minute in (25, 10, 20, 1):
            assert advance(desk.database, known, 0, T0 + minute * MINUTE_NS, CHECKPOINT_NS).word == "advanced"
            assert desk.everything() == before


def test_a_stale_copy_is_dropped(desk: Desk) -> None:
    """Supervision wrote another checkpoint: the copy is not advanced any further."""
    peopled(desk)
    copies, other = ShardCopies(), ShardCopies()
    walk(desk, lambda _: copies, 9)
    at_ns, version, state = checkpoint(desk)
    changed = from_bytes(state)
    changed.state["trades"] += 77
    desk.enter(changed, at_ns=at_ns)
    for known in (copies, other):
        advance(desk.database, known, 0, T0 + 10 * MINUTE_NS, CHECKPOINT_NS)
    assert checkpoint(desk)[1] == version + 2
    assert checkpoint(desk)[2] == to_bytes(advance_shard(changed, states(MINUTES, T0)[:10]))


def test_a_shard_that_is_not_there_is_nothing(desk: Desk) -> None:
    """A message may outlive what it names."""
    assert advance(desk.database, ShardCopies(), 9, T0, CHECKPOINT_NS) == Outcome("nothing")


def test_a_checkpoint_written_meanwhile_makes_the_advance_stale(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between look and write another wrote: nothing of ours is kept, the copy is gone, and it is rung again."""
    peopled(desk)
    copies = ShardCopies()

    def meanwhile(shard: Any, market: Any) -> Any:
        desk.enter(shard, at_ns=T0)
        return advance_shard(shard, market)

    monkeypatch.setattr("trisagion.services.advance_cohort.advance_shard", meanwhile)
    assert advance(desk.database, copies, 0, T0 + MINUTE_NS, CHECKPOINT_NS) == Outcome("stale", ("0",))
    assert copies.held == {}
    with desk.database.snapshot() as tx:
        assert tx.cohort.progress(T0 + MINUTE_NS) == []


def test_many_workers_advance_one_shard_at_once_to_one_checkpoint(shared: Desk) -> None:
    """On either server: one version more, the same bytes, and nobody fails."""
    peopled(shared, 10)
    expected = to_bytes(advance_shard(from_bytes(checkpoint(shared)[2]), states(10, T0)))
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
    assert set(said) <= {"advanced", "stale"} and "advanced" in said and len(said) == 4
    assert checkpoint(shared) == (T0 + 10 * MINUTE_NS, 1, expected)


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
    at_ns, _, state = checkpoint(desk)
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
    at_ns, _, state = checkpoint(desk)
    dying = from_bytes(state)
    dying.state["exit_code"][:2] = 1
    desk.enter(dying, at_ns=at_ns)
    before = desk.everything()
    monkeypatch.setattr("trisagion.adapters.db.cohort.Cohort.save_shard", lambda *_: False)
    assert supervise_cohort(desk.database, COHORT_RULES, 7, due_ns) == Outcome("stale", (str(due_ns),))
    assert desk.everything() == before


def test_a_minute_is_stored_once_and_announced_each_time(desk: Desk) -> None:
    """Its first announcement may have been lost; what came first stays."""
    step = a_step(T0 + MINUTE_NS)
    assert ingest(desk.database, step) == Outcome("stored", ("ES",))
    before = desk.everything()
    assert ingest(desk.database, a_step(T0 + MINUTE_NS, "9999")) == Outcome("stored", ("ES",))
    assert desk.everything() == before


def test_a_minute_survives_its_message() -> None:
    """To the last digit."""
    step = a_step(T0, "4000.25")
    step = replace(step, bar=replace(step.bar, close=0.1 + 0.2, volume=1 / 3))
    assert read_step(write_step(step)) == step


def broken(**changes: Any) -> str:
    """Write a minute with other fields; a change to None leaves the field out."""
    fields = json.loads(write_step(a_step(T0)))
    bar = changes.pop("bar", {})
    if isinstance(bar, dict):
        fields["bar"] |= bar
    else:
        fields["bar"] = bar
    fields |= changes
    return json.dumps({key: value for key, value in fields.items() if value is not None})


@pytest.mark.parametrize(
    "text",
    [
        "",
        "null",
        "[]",
        "7",
        '"ES"',
        "{",
        "{}",
        "[" * 5000,
        broken(symbol=None),
        broken(symbol=7),
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
    """With `DataError`, whatever is wrong with it."""
    with pytest.raises(DataError):
        read_step(text)


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
