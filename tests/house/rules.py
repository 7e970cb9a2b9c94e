"""The house rules that no linter knows, each a function from a tree of files to complaints."""

import ast
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from trisagion.adapters.db.migrations import read_migrations
from trisagion.errors import DataError

SOURCE: Final = ("trisagion", "workers", "ext", "init")

FILE_LINES_MAX: Final = 600
"""A file is still one thing; above this it is split."""

FUNCTION_LINES_MAX: Final = 70
"""A function fits on a screen (TigerBeetle's limit); its docstring does not count."""

KERNEL_FILES: Final = frozenset({"__init__.py", "_reference.py", "_kernel.pyx", "_kernel.pyi"})

_CHANGING_DDL: Final = re.compile(
    r"\b(ALTER|DROP|RENAME|TRUNCATE)\s+(TABLE|INDEX|VIEW|COLUMN|DATABASE|TRIGGER)\b", re.IGNORECASE
)
_CREATING: Final = re.compile(
    r"(CREATE (TABLE|DATABASE|USER) IF NOT EXISTS|GRANT (?!ALL\b)(?!.*\bGRANT OPTION\b)|INSERT IGNORE INTO)\b.*",
    re.DOTALL,
)
_MACHINE_PATH: Final = re.compile(r"(?<![\w./-])/(root|work|farm|home/\w+|Users/\w+)/")
_NOT_OURS: Final = frozenset({"build", "__pycache__"})
_HIDDEN_BUT_OURS: Final = frozenset({".ci", ".github"})


def _ours(path: Path, root: Path) -> bool:
    folders = path.relative_to(root).parts[:-1]
    return not any(name in _NOT_OURS or (name[0] == "." and name not in _HIDDEN_BUT_OURS) for name in folders)


def _files(root: Path, *folders: str, suffix: str) -> Iterator[Path]:
    for folder in folders:
        yield from (path for path in sorted((root / folder).rglob(f"*{suffix}")) if _ours(path, root))


def _parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def sizes(root: Path) -> Iterator[str]:
    """Files and functions stay small."""
    for path in _files(root, *SOURCE, "tests", suffix=".py"):
        lines = path.read_text(encoding="utf-8").count("\n")
        if lines > FILE_LINES_MAX:
            yield f"{path}: {lines} lines, at most {FILE_LINES_MAX}"
        for node in ast.walk(_parse(path)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                body = node.body[1:] if ast.get_docstring(node) else node.body
                count = (node.end_lineno or 0) - body[0].lineno + 1 if body else 0
                if count > FUNCTION_LINES_MAX:
                    yield f"{path}:{node.lineno}: {node.name} has {count} lines, at most {FUNCTION_LINES_MAX}"


def kernels_behind_doors(root: Path) -> Iterator[str]:
    """Only a kernel's own door and its tests import `_kernel`."""
    for path in _files(root, *SOURCE, suffix=".py"):
        if path.name == "__init__.py" and path.parent.parent == root / "ext":
            continue
        for node in ast.walk(_parse(path)):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [f"{node.module or ''}.{alias.name}" for alias in node.names]
            else:
                continue
            if any("_kernel" in name.split(".") for name in names):
                yield f"{path}:{node.lineno}: imports a kernel past its door"


def kernels_have_four_files(root: Path) -> Iterator[str]:
    """A kernel is a door, a reference, a fast twin and its stub, beside what its arrays are made of, if need be.

    Bounds checks are the build's choice.
    """
    for folder in sorted(path for path in (root / "ext").iterdir() if path.is_dir() and path.name not in _NOT_OURS):
        names = {path.name for path in folder.iterdir() if path.suffix in {".py", ".pyx", ".pyi", ".pxd"}}
        if names - {"_columns.py"} != KERNEL_FILES:
            yield f"{folder}: expected {', '.join(sorted(KERNEL_FILES))}, found {', '.join(sorted(names))}"
    for path in _files(root, "ext", suffix=".pyx"):
        if "boundscheck" in path.read_text(encoding="utf-8"):
            yield f"{path}: boundscheck is decided in setup.py, so that the checked build can turn it on"


def only_risk_approves(root: Path) -> Iterator[str]:
    """Nothing but the risk room makes an `Approved`."""
    for path in _files(root, *SOURCE, suffix=".py"):
        if path.is_relative_to(root / "trisagion" / "risk"):
            continue
        for node in ast.walk(_parse(path)):
            if isinstance(node, ast.Call) and getattr(node.func, "id", getattr(node.func, "attr", "")) == "Approved":
                yield f"{path}:{node.lineno}: makes an Approved"


def init_only_creates(root: Path) -> Iterator[str]:
    """What `python -m init` runs creates what is missing, grants single rights, and never changes what is there."""
    for path in _files(root, "init", suffix=".sql"):
        for statement in re.sub(r"--.*", "", path.read_text(encoding="utf-8")).split(";"):
            if statement.strip() and not _CREATING.fullmatch(statement.strip()):
                yield f"{path}: {statement.strip()[:80]}"
    for path in _files(root, "init", suffix=".py"):
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
            if found := _CHANGING_DDL.search(line):
                yield f"{path}:{number}: {found[0]}"


def migrations_are_numbered(root: Path) -> Iterator[str]:
    """Migrations are numbered without holes, hold one DDL statement each, and answer the operator's questions."""
    try:
        read_migrations(root / "migrations_manual")
    except DataError as error:
        yield f"{root / 'migrations_manual'}: {error}"


def no_machine_paths(root: Path) -> Iterator[str]:
    """No file names a folder of somebody's machine."""
    for path in sorted(root.rglob("*")):
        if not _ours(path, root) or not path.is_file():
            continue
        if path.suffix in {".gz", ".so", ".c", ".png", ".pyc"}:
            continue
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        for number, line in enumerate(text.splitlines(), start=1):
            if found := _MACHINE_PATH.search(line):
                yield f"{path}:{number}: {found[0]}"


def tests_promise(root: Path) -> Iterator[str]:
    """Every test has a docstring, its promise, and does more than `assert True`."""
    for path in _files(root, "tests", suffix=".py"):
        for node in ast.walk(_parse(path)):
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) or not node.name.startswith("test_"):
                continue
            if ast.get_docstring(node) is None:
                yield f"{path}:{node.lineno}: {node.name} promises nothing"
            for inner in ast.walk(node):
                if isinstance(inner, ast.Assert) and isinstance(inner.test, ast.Constant):
                    yield f"{path}:{inner.lineno}: asserts a constant"


RULES: Final[tuple[Callable[[Path], Iterator[str]], ...]] = (
    sizes,
    kernels_behind_doors,
    kernels_have_four_files,
    only_risk_approves,
    init_only_creates,
    migrations_are_numbered,
    no_machine_paths,
    tests_promise,
)
