"""`trisagion cohort` on a run's directory, and what `trisagion run` does with the file that it exports."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from init import create
from tests.builders import ES, NQ, TUESDAY_NS, states
from tests.databases import lay_out_run
from trisagion.adapters.db.census import census
from trisagion.adapters.db.engine import SqlDatabase, open_database
from trisagion.cli import cohort, preflight, rundir
from trisagion.clock import MINUTE_NS
from trisagion.cohort.advance import advance
from trisagion.cohort.census import By
from trisagion.cohort.state import to_bytes
from trisagion.cohort.supervise import CohortRules, Supervision, first_shards, supervise
from trisagion.cohort.types import Epoch, ShardRow
from trisagion.errors import DataError, StateError
from trisagion.ports import Replay
from trisagion.settings import Settings, load

MINUTES = 25
NOW_NS = TUESDAY_NS + MINUTES * MINUTE_NS
REPLAY = Replay("es", "ab" * 32, 3, "cd" * 32, TUESDAY_NS, 0, NOW_NS, 0.0, 0, finished=False)
RULES = CohortRules(desired_runs=12, shards=2, clone_share=0.9, fee_rate=0.0)


def lived() -> tuple[Supervision, Supervision]:
    """Return a cohort at its founding, and after run 0 won, run 3 ended, and 48 more were wanted."""
    first = first_shards(RULES, [ES], epoch=1, seed=3, next_number=0, now_ns=TUESDAY_NS)
    a, b = first.shards
    a.state["live_pnl"][0], a.state["trades"][0], a.state["direction"][0] = 3.0, 2, -2
    b.state["exit_code"][1], b.state["ended_ns"][1], b.state["live_pnl"][1] = 2, TUESDAY_NS + MINUTE_NS, 7.5
    b.state["trades"][1], b.state["iterations"][1] = 5, 9
    rules = replace(RULES, desired_runs=60)
    return first, supervise(first.shards, rules, [ES], epoch=1, seed=3, next_number=12, now_ns=NOW_NS)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[SqlDatabase]:
    """Open a database with that cohort."""
    url = f"sqlite:///{tmp_path / 'trisagion.sqlite3'}"
    create(url)
    opened = open_database(url)
    first, then = lived()
    with opened.transaction() as tx:
        tx.market.add_instrument(ES)
        tx.cohort.put_epoch(Epoch(1, TUESDAY_NS, None, None, None))
        tx.cohort.add_runs([*first.born, *then.born])
        tx.cohort.end_runs(then.ended)
        for shard in then.shards:
            seen = replace(shard, seen_ns={"ES": NOW_NS})
            tx.cohort.add_shard(ShardRow(shard.number, 1, NOW_NS, 0, to_bytes(seen)))
        tx.control.put_replay(REPLAY)
    yield opened
    opened.close()


@pytest.fixture
def state(database: SqlDatabase, tmp_path: Path) -> Path:
    """Lay the database out as the newest run of a state directory."""
    lay_out_run(tmp_path, str(database.engine.url))
    return tmp_path


def told(capsys: pytest.CaptureFixture[str]) -> Any:
    """Return the one object that a command printed."""
    return json.loads(capsys.readouterr().out)


def test_top_shows_the_best_that_live(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A line each, the best first, then how many there are."""
    cohort.top(count=3, state=state, by=By.LIVE_PNL)
    head, first, *_, last = capsys.readouterr().out.splitlines()
    assert head.split()[:4] == ["run", "parent", "age", "direction"]
    assert first.split()[:6] == ["R1-0", "25", "min", "-2", "2", "+3.00"]
    assert "+1.5000" in first
    assert last == "3 of 60 alive, by live_pnl"


def test_top_for_machines_has_every_fact(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What is not known is null: the figures of a run without a trade, the position of one that ended."""
    cohort.top(count=100, by=By.PNL_PER_TRADE, state=state, run="one", as_json=True)
    living = told(capsys)
    assert len(living) == 60
    best, worst = living[0], living[-1]
    facts = ("run", "parent", "age_s", "direction", "trades", "live_pnl", "pnl_per_trade", "ended_ns")
    assert [best[name] for name in facts] == ["R1-0", None, MINUTES * 60.0, -2, 2, 3.0, 1.5, None]
    assert best["system_type"] == best["params"]["system_type"]
    assert worst["pnl_per_trade"] is None
    cohort.top(count=100, ended=True, by=By.APR, state=state, as_json=True)
    (ended,) = told(capsys)
    assert (ended["run"], ended["reason"], ended["live_pnl"], ended["age_s"]) == ("R1-3", "apr_target", 7.5, 60.0)
    assert ended["direction"] is None
    assert ended["apr"] == pytest.approx(7.5 * 60 * 24 * 365.24 / RULES.start_balance)


def test_a_run_is_told_as_it_stands_and_not_as_its_checkpoint_is(database: SqlDatabase) -> None:
    """The market since the checkpoint is in its figures, up to the replay's last complete step and no further."""
    shard = replace(lived()[1].shards[0], seen_ns={"ES": NOW_NS})
    since = states(MINUTES + 9, TUESDAY_NS)[MINUTES:]
    with database.transaction() as tx:
        tx.control.put_replay(replace(REPLAY, now_ns=NOW_NS + 5 * MINUTE_NS))
        for one in since:
            tx.market.put_state(one)
    with database.snapshot() as unit:
        found = {member.run_id: member for member in census(unit)}
    now = advance(shard, since[:5])
    assert (now.state["iterations"] > 0).all()
    for number, run in enumerate(now.run_ids):
        member, row = found[run], now.state.record(number)
        assert [member.iterations, member.trades, member.live_pnl, member.apr, member.alive] == [
            *(row["iterations"], row["trades"], row["live_pnl"], row["apr"]),
            row["exit_code"] == 0,
        ]


def test_lineage_shows_where_a_clone_comes_from_and_what_mutated(
    state: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The tree for people and the list for machines tell the same parameters."""
    child = next(record for record in lived()[1].born if record.parent == "R1-0")
    cohort.lineage_of(child.run_id, state=state, as_json=True)
    value = told(capsys)
    assert [kin["run"] for kin in value["line"]] == ["R1-0", child.run_id]
    assert value["descendants"] == []
    (parent, one) = value["line"]
    assert {change["parameter"]: change["new"] for change in one["mutated"]} == {
        name: new for name, new in json.loads(child.params).items() if new != parent["params"][name]
    }
    cohort.lineage_of(child.run_id, state=state)
    root, line, changed = capsys.readouterr().out.splitlines()
    assert root.startswith("R1-0  P&L +3.00, 2 trades, alive, random draw")
    assert line.startswith(f"└─ {child.run_id}  <<  P&L 0.00, 0 trades, alive")
    assert all(f"{change['parameter']} " in changed for change in one["mutated"])


def test_a_family_is_drawn_as_a_tree(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each clone of the one winner hangs on it, the last on a corner."""
    children = [record.run_id for record in lived()[1].born if record.parent == "R1-0"]
    assert len(children) > 30
    cohort.lineage_of("R1-0", state=state)
    lines = [line for line in capsys.readouterr().out.splitlines() if "P&L" in line]
    assert [line.split()[0] for line in lines] == ["R1-0", *["├─"] * (len(children) - 1), "└─"]
    assert [line.split()[1] for line in lines[1:]] == children


def test_a_run_that_never_was_is_a_sentence(state: Path) -> None:
    """With the names there are."""
    with pytest.raises(StateError, match=r"R1-99: expected a virtual run of this replay \(R1-0 to R1-60\)"):
        cohort.lineage_of("R1-99", state=state)


def test_what_is_exported_can_be_run(state: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The winner's parameters, ready for another cohort of the same leverage; the file says where they come from."""
    file = tmp_path / "s.json"
    cohort.export(file, state=state, as_json=True)
    assert told(capsys) == {"file": str(file.resolve()), "survivors": 1}
    tree = json.loads(file.read_text(encoding="utf-8"))
    assert (tree["origin"]["seed"], tree["origin"]["epoch"], tree["origin"]["at_ns"]) == (3, 1, NOW_NS)
    assert tree["survivors"][0]["params"] == json.loads(lived()[0].born[0].params)
    assert preflight.examine(asked(file)) == []


def test_nothing_is_exported_when_nobody_has_gained(database: SqlDatabase, state: Path, tmp_path: Path) -> None:
    """And no file is made."""
    with database.transaction() as tx:
        for row in tx.cohort.shards():
            shard = lived()[1].shards[row.number]
            shard.state["live_pnl"] = 0.0
            tx.cohort.save_shard(replace(row, version=row.version + 1, state=to_bytes(shard)))
    with pytest.raises(StateError, match="no survivors to export"):
        cohort.export(tmp_path / "s.json", state=state)
    assert not (tmp_path / "s.json").exists()


def asked(file: Path, **cohort_settings: object) -> Settings:
    """Return the settings of a run with survivors."""
    return load(None, {}, {"cohort.survivors": str(file), **cohort_settings})


@pytest.fixture
def file(state: Path, tmp_path: Path) -> Path:
    """Export a file of one survivor."""
    path = tmp_path / "survivors of mine.json"
    cohort.export(path, state=state)
    return path


def test_a_file_that_cannot_be_used_is_refused_before_a_run_begins(file: Path) -> None:
    """With the file's name, the entry, the parameter, its value and its range."""
    text = file.read_text(encoding="utf-8")
    tree = json.loads(text)
    tree["survivors"][0]["params"]["entropy_delay"] = 4
    file.write_text(json.dumps(tree), encoding="utf-8")
    with pytest.raises(DataError) as refused:
        preflight.examine(asked(file))
    assert str(refused.value) == f"{file}: entry 1: entropy_delay: expected a whole number 1 to 3, found '4'"


def test_survivors_that_find_no_room_are_told(file: Path) -> None:
    """With how many begin, and the setting that decides it."""
    settings = asked(file, **{"cohort.random_share_min": 1.0, "cohort.clone_share": 0.0})
    (note,) = preflight.examine(settings)
    assert note.startswith(f"{file}: the first 0 of 1 survivors begin: at least 1 of the cohort is drawn at random")


def test_a_run_keeps_its_own_copy_of_the_survivors(file: Path, tmp_path: Path) -> None:
    """What becomes of the original, or of the place of the state directory, does not matter to whoever resumes it."""
    run = tmp_path / "runs" / "two"
    run.mkdir()
    kept = rundir.with_own_survivors(asked(file), run)
    assert kept.cohort.survivors == str(run / rundir.SURVIVORS)
    content = file.read_bytes()
    file.write_text("something else", encoding="utf-8")
    assert rundir.with_own_survivors(kept, run) == kept
    assert (run / rundir.SURVIVORS).read_bytes() == content
    (run / rundir.ASKED).write_text('[cohort]\nsurvivors = "/nowhere/survivors.json"\n', encoding="utf-8")
    assert rundir.asked_of(run, {"replay.speed": "7"}).cohort.survivors == str(run / rundir.SURVIVORS)
    assert rundir.with_own_survivors(Settings(), run) == Settings()


def test_with_several_instruments_each_run_is_told_with_its_symbol(
    database: SqlDatabase, state: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """An export takes those of one symbol alone, when asked; of one that nobody trades it is refused with the names."""
    with database.transaction() as tx:
        tx.market.add_instrument(NQ)
    cohort.top(count=3, state=state, by=By.LIVE_PNL)
    head, first, *_ = capsys.readouterr().out.splitlines()
    assert (head.split()[:3], first.split()[:2]) == (["run", "symbol", "parent"], ["R1-0", "ES"])
    cohort.export(tmp_path / "s.json", symbol="ES", state=state)
    assert json.loads((tmp_path / "s.json").read_text(encoding="utf-8"))["origin"]["symbols"] == ["ES"]
    cohort.export(tmp_path / "all.json", state=state)
    assert json.loads((tmp_path / "all.json").read_text(encoding="utf-8"))["origin"]["symbols"] == ["ES", "NQ"]
    with pytest.raises(StateError, match="no virtual run on NQ that lives has gained"):
        cohort.export(tmp_path / "nq.json", symbol="NQ", state=state)
    with pytest.raises(StateError, match="--symbol ZN: expected one of ES, NQ, which this run trades"):
        cohort.export(tmp_path / "zn.json", symbol="ZN", state=state)
