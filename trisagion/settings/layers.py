"""From the layers to one `Settings`, and back to what a child process or a file is given."""

import difflib
import hashlib
import json
import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, Final, get_origin

from pydantic import ValidationError

from trisagion.errors import ConfigError
from trisagion.settings.fields import shown
from trisagion.settings.section import Section
from trisagion.settings.sections import CONTENT, KEYS, PEOPLE, PLACE, SECRETS, SECTIONS, TABLES, Settings
from trisagion.units import plain

FILE: Final = "trisagion.toml"
"""Read from the working directory when no other file is named."""

FILE_VARIABLE: Final = "TRISAGION_CONFIG"
PREFIX: Final = "TRISAGION__"

_REPLAYED: Final = frozenset(key for key in KEYS if key.startswith("replay."))


@dataclass(frozen=True, slots=True)
class _Given:
    value: Any
    source: str


def load(config_path: Path | None, environ: Mapping[str, str], overrides: Mapping[str, object]) -> Settings:
    """Read all layers into one `Settings`.

    Parameters
    ----------
    config_path
        A file that must exist; None: the one that `TRISAGION_CONFIG` names, else `trisagion.toml` if there is one.
    environ
        The environment; only `TRISAGION_CONFIG` and `TRISAGION__SECTION__KEY` are looked at.
    overrides
        From the command line: `section.key` to a value, or to its text as in the environment.

    Raises
    ------
    ConfigError
        With one line for each problem: its source, the setting, what was expected, what was found.
    """
    given, problems = _layers(config_path, environ, overrides)
    tree: dict[str, dict[str, Any]] = {}
    for key, item in given.items():
        section, name = key.split(".", 1)
        tree.setdefault(section, {})[name] = item.value
    try:
        settings = Settings.model_validate(tree)
    except ValidationError as error:
        problems += [_problem(detail, given) for detail in error.errors(include_url=False)]
        raise ConfigError("\n".join(problems)) from None
    if problems:
        raise ConfigError("\n".join(problems))
    return settings


def origins(config_path: Path | None, environ: Mapping[str, str], overrides: Mapping[str, object]) -> dict[str, str]:
    """Tell of each setting where its value comes from: "default", "FILE:LINE", a variable's name or "command line"."""
    load(config_path, environ, overrides)
    given, _ = _layers(config_path, environ, overrides)
    return {key: given[key].source if key in given else "default" for key in KEYS}


def flatten(settings: Settings) -> dict[str, Any]:
    """Return `section.key` → value for every setting, in the order of the sections."""
    return {key: getattr(getattr(settings, section), name) for key in KEYS for section, name in [key.split(".", 1)]}


def references(settings: Settings) -> dict[str, str]:
    """Return every setting that refers to a secret, with its reference; an empty one refers to nothing."""
    flat = flatten(settings)
    proxies = {f"egress.paths.{name}.password": proxy.password for name, proxy in settings.egress.paths.items()}
    observers = {
        f"observe.sources.{name}.{key}": getattr(source, key)
        for name, source in settings.observe.sources.items()
        for key in ("private_key", "token")
    }
    return {**{key: flat[key] for key in sorted(SECRETS)}, **proxies, **observers}


def digest(settings: Settings) -> str:
    """Hash (SHA-256, hex) everything that can change a decision: two replays of one digest must come out equal.

    Raises
    ------
    ConfigError
        When a file of `CONTENT` cannot be read.
    """
    facts = {key: _toml(value) for key, value in flatten(settings).items() if key not in PLACE}
    for key in CONTENT:
        if path := flatten(settings)[key]:
            facts[key] = _content(key, Path(path))
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def trading_digest(settings: Settings) -> str:
    """Hash (SHA-256, hex) what every process of one platform must agree on to trade.

    Of all that can change a decision the data of a replay are left out, which its driver alone reads, and the content
    of files, which only it has: their first use is recorded. Who may loosen what was stopped is put in: it changes no
    decision, but a process that asks for no signatures must not take part.
    """
    left_out = (PLACE - PEOPLE) | CONTENT | (_REPLAYED - {"replay.seed"})
    facts = {key: _toml(value) for key, value in flatten(settings).items() if key not in left_out}
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def _content(key: str, path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ConfigError(f"{key}: {path}: expected a readable file, found: {error.strerror}") from None


def to_environment(settings: Settings) -> dict[str, str]:
    """Return the variables from which a child's `load` makes equal settings, whatever file lies beside it.

    References to secrets stay references: the child must be given the environment or the file they point to.
    """
    return {variable(key): _toml(value) for key, value in flatten(settings).items()} | {FILE_VARIABLE: os.devnull}


def variable(key: str) -> str:
    """Name the environment variable of a setting, `section.key`."""
    return PREFIX + key.upper().replace(".", "__")


def resolve(text: str, environ: Mapping[str, str]) -> str:
    """Follow a reference (`env:NAME`, `file:PATH`, `vault:NAME`) to its secret; any other text is its own value.

    Raises
    ------
    ConfigError
        When the variable is not set, the file cannot be read, or the vault has no such entry.
    StateError
        When the vault's entry does not open.
    """
    kind, _, target = text.partition(":")
    if kind == "env":
        if target not in environ:
            raise ConfigError(f"{text}: expected the environment variable {target}, found none")
        return environ[target]
    if kind == "file":
        try:
            return Path(target).read_text(encoding="utf-8").rstrip("\r\n")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"{text}: expected a readable text file, found: {error}") from None
    if kind == "vault":
        # Most processes have none, and are spared its library.
        from trisagion.settings.vault import Vault  # noqa: PLC0415

        return Vault.of(environ).open(target)
    return text


def _layers(
    config_path: Path | None, environ: Mapping[str, str], overrides: Mapping[str, object]
) -> tuple[dict[str, _Given], list[str]]:
    """Merge the layers, the strongest last; return what was given and the problems with names."""
    given: dict[str, _Given] = {}
    problems: list[str] = []
    for key, item in (*_from_file(config_path, environ), *_from_environment(environ), *_from_overrides(overrides)):
        table = next((table for table in TABLES if key.startswith(f"{table}.")), None)
        if key in KEYS:
            given[key] = item
        elif table is not None:
            given[table] = _reached_into(given.get(table), key.removeprefix(f"{table}."), item)
        else:
            problems.append(f"{item.source}: {_unknown(key)}")
    # One underscore too few would be silently without effect.
    singles = {variable(key).replace("__", "_"): variable(key) for key in KEYS}
    problems += [f"{name}: expected {singles[name]}" for name in sorted(singles.keys() & environ.keys())]
    return given, problems


def _reached_into(table: _Given | None, key: str, item: _Given) -> _Given:
    """Return a table of tables with one row of it, or one value of a row (`ROW.NAME`), replaced."""
    rows = table.value if table is not None and isinstance(table.value, dict) else {}
    row, _, name = key.rpartition(".")
    if not row:
        return _Given({**rows, name: item.value}, item.source)
    before = rows.get(row)
    return _Given({**rows, row: {**(before if isinstance(before, dict) else {}), name: item.value}}, item.source)


def _from_file(config_path: Path | None, environ: Mapping[str, str]) -> Iterator[tuple[str, _Given]]:
    named = config_path or (Path(environ[FILE_VARIABLE]) if environ.get(FILE_VARIABLE) else None)
    path = named or Path(FILE)
    try:
        text = path.read_text(encoding="utf-8")
        tree = tomllib.loads(text, parse_float=Decimal)
    except FileNotFoundError:
        if named is None:
            return
        raise ConfigError(f"{path}: expected a configuration file, found none") from None
    except OSError as error:
        raise ConfigError(f"{path}: expected a readable text file, found: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: expected text in UTF-8, found: {error}") from None
    except RecursionError:
        raise ConfigError(f"{path}: expected TOML, found one too deeply nested") from None
    except ValueError as error:
        # TOMLDecodeError is one; so is a whole number of more digits than Python reads.
        raise ConfigError(f"{path}: expected TOML, found: {error}") from None
    lines = _line_numbers(text)
    for section, table in tree.items():
        line = lines.get(section)
        if not isinstance(table, dict) or section not in SECTIONS:
            yield section, _Given(table, _place(path, line))
            continue
        for name, value in table.items():
            key = f"{section}.{name}"
            rows = (number for place, number in lines.items() if place.startswith(f"{key}."))
            yield key, _Given(value, _place(path, lines.get(key) or next(rows, line)))


def _place(path: Path, line: int | None) -> str:
    return str(path) if line is None else f"{path}:{line}"


def _from_environment(environ: Mapping[str, str]) -> Iterator[tuple[str, _Given]]:
    for variable in sorted(environ):
        if variable.startswith(PREFIX):
            key = variable.removeprefix(PREFIX).lower().replace("__", ".", 1)
            yield key, _Given(_read(key, environ[variable]), variable)


def _from_overrides(overrides: Mapping[str, object]) -> Iterator[tuple[str, _Given]]:
    for key, value in overrides.items():
        yield key, _Given(_read(key, value) if isinstance(value, str) else value, "command line")


def _read(key: str, text: str) -> object:
    """Read a value's text as TOML; what is no TOML, and anything unquoted where text is wanted, is the text itself.

    A list of texts may be given by its only one.
    """
    section, _, name = key.partition(".")
    field = SECTIONS[section].model_fields.get(name) if section in SECTIONS else None
    try:
        tree = tomllib.loads(f"value = {text}", parse_float=Decimal)
    except (ValueError, RecursionError):
        return text
    wanted: type | tuple[type, ...] = object
    if field is not None and field.annotation is str:
        wanted = str
    elif field is not None and get_origin(field.annotation) is tuple:
        wanted = (str, list)
    if list(tree) != ["value"] or not isinstance(tree["value"], wanted):
        return text
    return tree["value"]


_HEADER: Final = re.compile(r"\s*\[\s*([\w.\"'-]+)\s*\]")
_ASSIGNMENT: Final = re.compile(r"\s*([\w.\"'-]+)\s*=")


def _line_numbers(text: str) -> dict[str, int]:
    """Find the line of each table and key; a key inside an inline table or a multi-line value has none of its own."""
    lines: dict[str, int] = {}
    section = ""
    for number, line in enumerate(text.splitlines(), start=1):
        if header := _HEADER.match(line):
            section = re.sub(r"[\"']", "", header[1])
            lines.setdefault(section, number)
        elif assignment := _ASSIGNMENT.match(line):
            name = re.sub(r"[\"']", "", assignment[1])
            lines.setdefault(f"{section}.{name}" if section else name, number)
    return lines


def _unknown(key: str) -> str:
    section, _, name = key.partition(".")
    if section.startswith("rest") or name.startswith("rest"):
        return f"{key}: rest periods are the platform's rule, there is no setting for them"
    if section in SECTIONS and not name:
        return f"{section}: expected a table of settings, found a single value"
    same_name = [known for known in KEYS if known.split(".", 1)[1] == (name or section)]
    near = same_name or difflib.get_close_matches(key, [*KEYS, *SECTIONS], n=1)
    return f"{key}: there is no such setting" + (f"; did you mean {near[0]}?" if near else "")


def _problem(detail: Any, given: Mapping[str, _Given]) -> str:
    key = ".".join(str(part) for part in detail["loc"][:2])
    source = given[key].source if key in given else "default"
    if key in TABLES:
        key = ".".join(str(part) for part in detail["loc"] if part != "[key]")
    message = str(detail["msg"])
    if detail["type"] == "extra_forbidden":
        return f"{source}: {key}: there is no such setting"
    if detail["type"] == "missing":
        return f"{source}: {key}: expected a value, found none"
    if detail["type"] == "value_error":
        return f"{source}: {key}: {message.removeprefix('Value error, ')}"
    expected = re.sub(r"^(Input|String|Tuple|Value) should (be |have |match )?", "", message)
    found = "something that is not shown" if _may_hold_a_secret(key, detail["input"]) else shown(detail["input"])
    return f"{source}: {key}: expected {expected}, found {found}"


def _may_hold_a_secret(key: str, value: object) -> bool:
    # What stands where a proxy's table should be may be a URL with its password, an observer's the key itself.
    a_row = key.startswith(("egress.paths", "observe.sources")) and (key.count(".") < 3 or isinstance(value, dict))
    return key in SECRETS or key.endswith((".password", ".private_key", ".token")) or a_row


def _toml(value: object) -> str:
    if value is None:
        return '""'
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Decimal):
        return f'"{plain(value)}"'
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, Section):
        return _toml({name: item for name, item in value if item is not None})
    if isinstance(value, dict):
        return f"{{{', '.join(f'{_toml(name)} = {_toml(value[name])}' for name in sorted(value))}}}"
    if isinstance(value, tuple):
        return f"[{', '.join(map(_toml, value))}]"
    # JSON's strings are TOML's, but for the delete character.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
