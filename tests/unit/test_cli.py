"""The console's door: quick help, one sentence for a mistake, and the documented exit codes."""

import ast
import json
import os
import resource
import subprocess
import sys
import tomllib
from decimal import Decimal
from pathlib import Path
from types import ModuleType

import pytest

from trisagion import __version__
from trisagion.cli import config, doctor, main, run
from trisagion.errors import StateError, StepTimeout
from trisagion.settings import Settings, load
from trisagion.wiring import House

ROOT = Path(__file__).resolve().parents[2]


def trisagion(*arguments: str, cwd: Path, python: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    """Run the console as a user does."""
    return subprocess.run(
        [sys.executable, *python, "-m", "trisagion.cli.main", *arguments],
        cwd=cwd,
        env=os.environ | {"PYTHONPATH": str(ROOT), "NO_COLOR": "1", "COLUMNS": "100"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_process_that_crashes_leaves_nothing_of_its_memory() -> None:
    """Nor do those that it starts: a dump holds every secret."""
    code = "import resource; from trisagion.cli.main import leave_no_dump; leave_no_dump(); "
    code += "import subprocess; print(subprocess.run(['sh', '-c', 'ulimit -c'], capture_output=True).stdout)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    assert done.stdout == "b'0\\n'\n"


def test_help_names_every_command_and_loads_nothing_heavy(tmp_path: Path) -> None:
    """`--help` takes at most 0.3 s of CPU, because no command's module is imported for it."""
    probe = (
        "import sys, resource\n"
        "from trisagion.cli.main import main\n"
        "sys.argv = ['trisagion', '--help']\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert end.code == 0, end.code\n"
        "heavy = {'numpy', 'polars', 'celery', 'sqlalchemy', 'pydantic', 'quickfix', 'redis'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [sys.executable, "-c", probe],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.returncode == 0, done.stderr
    assert all(name in done.stdout for name in main.COMMANDS)
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime <= 0.3


def test_no_help_holds_a_bracket_that_the_console_would_take_for_markup() -> None:
    """What stands in brackets is not shown: it would be read as a style."""
    shown = [
        (path.name, text.value)
        for path in sorted((ROOT / "trisagion" / "cli").glob("*.py"))
        for call in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(call, ast.Call)
        for keyword in call.keywords
        if keyword.arg == "help"
        for text in ast.walk(keyword.value)
        if isinstance(text, ast.Constant) and isinstance(text.value, str)
    ]
    assert len(shown) > 100
    assert [each for each in shown if "[" in each[1]] == []


def test_version_is_the_packages(tmp_path: Path) -> None:
    """`--version` prints the version and nothing else."""
    done = trisagion("--version", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, f"trisagion {__version__}\n")


def test_optimised_python_is_refused(tmp_path: Path) -> None:
    """Under `python -O` the asserts are gone, so the platform does not start."""
    done = trisagion("--version", cwd=tmp_path, python=("-O",))
    assert done.returncode == 1
    assert "python -O" in done.stderr
    assert not done.stdout


@pytest.mark.parametrize(
    ("option", "value", "sentence"),
    [
        ("--config", "absent.toml", "absent.toml: expected a configuration file, found none"),
        ("--set", "fix.port=-1", "command line: fix.port: expected greater than or equal to 0, found -1"),
        ("--set", "cohort.runs", "--set cohort.runs: expected section.key=value, found no '='"),
        ("--set", "fix.password=env:NONE", "env:NONE: expected the environment variable NONE, found none"),
    ],
)
def test_a_users_mistake_is_one_sentence_and_exit_code_4(
    option: str, value: str, sentence: str, tmp_path: Path
) -> None:
    """No traceback: what was expected, what was found."""
    done = trisagion("config", "check", option, value, cwd=tmp_path)
    assert (done.returncode, done.stderr, done.stdout) == (4, f"{sentence}\n", "")


@pytest.mark.parametrize("arguments", [("frob",), ("--frob",), ("config", "frob"), ("config", "show", "--frob")])
def test_an_unknown_word_is_a_usage_error(arguments: tuple[str, ...], tmp_path: Path) -> None:
    """Exit code 2 and a hint, as with every command line tool."""
    done = trisagion(*arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert "frob" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("error", "code"), [(StateError("in use"), 4), (StepTimeout("too long"), 5), (KeyboardInterrupt(), 130)]
)
def test_errors_of_a_command_become_exit_codes(
    error: BaseException, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The family's own code and text; Ctrl-C is 130 and says nothing."""

    def command() -> None:
        raise error

    module = ModuleType("broken")
    module.command = command  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "broken", module)
    monkeypatch.setitem(main.COMMANDS, "broken", ("broken", "Breaks."))
    monkeypatch.setattr(sys, "argv", ["trisagion", "broken"])
    with pytest.raises(SystemExit) as ended:
        main.main()
    assert ended.value.code == code
    assert capsys.readouterr().err.strip() == str(error)


def test_the_written_file_holds_the_defaults(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`config init` writes what would be in force without it, and never overwrites."""
    monkeypatch.chdir(tmp_path)
    assert trisagion("config", "init", cwd=tmp_path).returncode == 0
    text = Path("trisagion.toml").read_text(encoding="utf-8")
    assert set(tomllib.loads(text)) == set(Settings.model_fields)
    assert load(None, {}, {}) == Settings()
    again = trisagion("config", "init", cwd=tmp_path)
    assert again.returncode == 4
    assert again.stderr == "trisagion.toml is there already and was left as it is\n"
    assert Path("trisagion.toml").read_text(encoding="utf-8") == text


def test_a_table_by_symbol_can_be_added_to_the_written_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As its explanation says; and a run's own file keeps the terms of every symbol."""
    monkeypatch.chdir(tmp_path)
    own = '\n[replay.instruments.NQ]\ntick_size = 0.25\n[replay.instruments."A.B"]\nfee_rate = 0\n'
    Path("trisagion.toml").write_text(config.to_toml(Settings()) + own, encoding="utf-8")
    found = load(None, {}, {"replay.data": ["es", "NQ=x.csv"]})
    assert found.replay.instruments["NQ"].tick_size == Decimal("0.25")
    Path("trisagion.toml").write_text(config.to_toml(found), encoding="utf-8")
    assert load(None, {}, {}) == found


def test_show_tells_values_and_origins(tmp_path: Path) -> None:
    """`config show --json --origin` is a machine's view of every setting."""
    (tmp_path / "trisagion.toml").write_text("[replay]\nseed = 9\n", encoding="utf-8")
    shown = json.loads(trisagion("config", "show", "--json", "--origin", cwd=tmp_path).stdout)
    assert shown["settings"]["replay.seed"] == {"value": "9", "origin": "trisagion.toml:2"}
    assert shown["settings"]["cohort.runs"] == {"value": "500", "origin": "default"}
    assert len(shown["digest"]) == 64


def test_overrides_keep_later_signs() -> None:
    """Only the first `=` divides."""
    assert config.overrides(["database.url=mysql://h/d?charset=utf8"]) == {"database.url": "mysql://h/d?charset=utf8"}


def test_the_doctor_finds_what_is_wrong(tmp_path: Path) -> None:
    """A broken configuration is a finding beside the others, and the exit code says so."""
    done = trisagion("doctor", "--json", "--set", "cohort.runs=0", cwd=tmp_path)
    told = json.loads(done.stdout)
    assert done.returncode == 1
    assert told["ok"] is False
    assert [check["name"] for check in told["checks"]] == ["configuration", *doctor.CHECKS]
    assert not told["checks"][0]["ok"]
    assert "cohort.runs" in told["checks"][0]["detail"]


def test_the_doctor_passes_a_state_it_can_write_and_fails_one_it_cannot(tmp_path: Path) -> None:
    """The state's folder need not exist; its nearest existing parent must take a file."""
    good = load(None, {}, {"platform.state": str(tmp_path / "new" / "state")})
    assert doctor.CHECKS["state"](good)[0]
    assert not doctor.CHECKS["state"](load(None, {}, {"platform.state": "/proc/nowhere"}))[0]


@pytest.mark.parametrize(
    ("outcome", "sets", "told"),
    [
        ("stopped", {"safety.release_people": 2}, "trisagion run --resume --state here"),
        ("killed", {}, "trisagion run --resume --state here --reason 'why it is safe'"),
        (
            "killed",
            {"safety.operators.ann.public_key": "0" * 64},
            (
                "`trisagion release --reason TEXT --state here --as NAME --key file:PATH`, "
                "then `trisagion run --resume --state here`"
            ),
        ),
        (
            "killed",
            {"safety.release_people": 2},
            (
                "`trisagion release --reason TEXT --state here`, then another person's `trisagion release "
                "--confirm NUMBER --state here`, then `trisagion run --resume --state here`"
            ),
        ),
    ],
)
def test_a_run_that_ended_says_how_it_goes_on(outcome: str, sets: dict[str, object], told: str) -> None:
    """By what works there: where a release takes two people, or keys, a reason alone is refused."""
    settings = load(None, {}, {"platform.state": "here", **sets})
    assert run._resume(House(settings), outcome) == told
