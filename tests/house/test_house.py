"""The repository keeps its own rules, and each rule can be broken."""

import importlib.util
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.house import rules
from trisagion.cli.main import COMMANDS

ROOT = Path(__file__).resolve().parents[2]

GOOD_MIGRATION = """\
-- Why: more.
-- How long: a second.
-- Locks: nothing.
-- Safe while trading: yes.
-- Check: SELECT COUNT(*) FROM information_schema.columns
--     WHERE table_name = 'run' AND column_name = 'x'
-- Check on SQLite: SELECT COUNT(*) FROM pragma_table_info('run') WHERE name = 'x'
-- Undo: 0002.
ALTER TABLE run ADD COLUMN x INT;
"""


@pytest.mark.parametrize("rule", rules.RULES, ids=lambda rule: rule.__name__)
def test_the_repository_keeps_the_rule(rule: Callable[[Path], Iterator[str]]) -> None:
    """No file breaks it; the complaints name the places."""
    assert list(rule(ROOT)) == []


BROKEN = [
    (rules.sizes, "trisagion/long.py", "x = 1\n" * (rules.FILE_LINES_MAX + 1)),
    (rules.sizes, "trisagion/f.py", "def f():\n" + "    x = 1\n" * (rules.FUNCTION_LINES_MAX + 1)),
    (rules.kernels_behind_doors, "trisagion/a.py", "from ext.entropy._kernel import grid\n"),
    (rules.kernels_behind_doors, "trisagion/b.py", "from ext.entropy import _kernel\n"),
    (rules.kernels_behind_doors, "workers/c.py", "import ext.entropy._kernel\n"),
    (rules.kernels_have_four_files, "ext/lonely/_kernel.pyx", "def f(): pass\n"),
    (rules.kernels_have_four_files, "ext/rash/_kernel.pyx", "# cython: boundscheck=False\n"),
    (rules.only_risk_approves, "trisagion/services/s.py", "order = Approved(intent)\n"),
    (rules.only_risk_approves, "workers/w.py", "order = risk.Approved(intent)\n"),
    (rules.init_only_creates, "init/01.sql", "CREATE TABLE a (b INT);\nDROP TABLE c;\n"),
    (rules.init_only_creates, "init/02.sql", "CREATE TABLE a (b INT);\n"),
    (rules.init_only_creates, "init/03.sql", "UPDATE a SET b = 1;\n"),
    (rules.init_only_creates, "init/users/a.sql", "GRANT ALL ON a TO b;\n"),
    (rules.init_only_creates, "init/users/b.sql", "GRANT SELECT ON a TO b WITH GRANT OPTION;\n"),
    (rules.init_only_creates, "init/__main__.py", 'SQL = "alter table a add b int"\n'),
    (rules.migrations_are_numbered, "migrations_manual/0002_before_x.sql", GOOD_MIGRATION),
    (rules.migrations_are_numbered, "migrations_manual/0001_during_x.sql", GOOD_MIGRATION),
    (rules.migrations_are_numbered, "migrations_manual/0001_after_x.sql", GOOD_MIGRATION + "DROP TABLE y;\n"),
    (rules.migrations_are_numbered, "migrations_manual/0001_after_x.sql", "DROP TABLE y;\n"),
    (rules.migrations_are_numbered, "migrations_manual/0001_after_x.sql", GOOD_MIGRATION.replace("Locks", "Lock")),
    (rules.migrations_are_numbered, "migrations_manual/0001_after_x.sql", GOOD_MIGRATION.replace("COUNT(*)", "1")),
    (rules.migrations_are_numbered, "migrations_manual/0001_after_x.sql", GOOD_MIGRATION.replace("ADD", "MODIFY")),
    (rules.no_machine_paths, "docs/a.md", "see /" + "home/somebody/notes\n"),
    (rules.tests_promise, "tests/test_a.py", "def test_a():\n    assert 1 + 1 == 2\n"),
    (rules.tests_promise, "tests/test_b.py", 'def test_b():\n    """It holds."""\n    assert True\n'),
]


@pytest.mark.parametrize(("rule", "name", "text"), BROKEN, ids=lambda value: getattr(value, "__name__", ""))
def test_the_rule_finds_what_breaks_it(
    rule: Callable[[Path], Iterator[str]], name: str, text: str, tmp_path: Path
) -> None:
    """A tree with one offence gets at least one complaint, and it names the offender."""
    for folder in (*rules.SOURCE, "tests", "migrations_manual"):
        (tmp_path / folder).mkdir()
    assert list(rule(tmp_path)) == []
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    complaints = list(rule(tmp_path))
    assert complaints
    assert all(str(path) in complaint or str(path.parent) in complaint for complaint in complaints)


def test_a_migration_with_a_full_head_is_accepted(tmp_path: Path) -> None:
    """The rule can be kept."""
    (tmp_path / "migrations_manual").mkdir()
    (tmp_path / "migrations_manual" / "0001_before_more.sql").write_text(GOOD_MIGRATION, encoding="utf-8")
    assert list(rules.migrations_are_numbered(tmp_path)) == []


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_of_the_table_has_its_module(name: str) -> None:
    """The console offers nothing that does not exist, and each module has its function or its group."""
    module, _ = COMMANDS[name]
    spec = importlib.util.find_spec(module)
    assert spec is not None, module
    loaded = importlib.import_module(module)
    assert hasattr(loaded, "command") or hasattr(loaded, "app")
