"""Environment and file become one frozen `Settings`; nothing else of the platform reads either.

A value comes from the highest layer that gives it: command line, then `TRISAGION__SECTION__KEY`, then
`trisagion.toml`, then the default here. What is unknown, misplaced or out of bounds is refused, all of it at once,
each with its source. Secrets come by reference only (`env:NAME`, `file:PATH`); the secret itself is never in a
`Settings`, so it can be shown, hashed and logged. There is no setting for rest periods: they are the platform's rule.

Defaults are those of the domain page. The outer bounds are sanity bounds of ours: they stop a slipped digit, they are
no advice.
"""

import difflib
import hashlib
import json
import math
import os
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Final, Literal
from urllib.parse import parse_qsl, urlsplit
from zoneinfo import ZoneInfo

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
)

from trisagion.errors import ConfigError, DataError
from trisagion.units import parse_decimal, plain

FILE: Final = "trisagion.toml"
"""Read from the working directory when no other file is named."""

FILE_VARIABLE: Final = "TRISAGION_CONFIG"
PREFIX: Final = "TRISAGION__"

_DATABASE_SCHEMES: Final = ("sqlite", "mysql", "mysql+mysqldb", "mysql+pymysql", "mariadb", "mariadb+pymysql")
_BROKER_SCHEMES: Final = ("redis", "rediss", "redis+socket", "amqp", "amqps")

SECRETS: Final = frozenset({"database.url", "broker.url", "fix.password"})
"""Refused values of these are not repeated: they may hold what should have been a reference."""

PLACE: Final = frozenset(
    {
        "platform.profile",
        "platform.state",
        "database.url",
        "broker.url",
        "fix.host",
        "fix.port",
        "fix.heartbeat_s",
        "fix.password",
        "fleet.cohort_workers",
        "replay.speed",
    }
)
"""Where, with how many hands and how fast: none of these may change a decision, so they are no part of the digest."""

CONTENT: Final = frozenset({"cohort.survivors"})
"""Names of files: what they hold is part of the digest, not where they lie."""


def _decimal(value: Any) -> Decimal:
    try:
        return parse_decimal(value, what="value")
    except DataError as error:
        raise ValueError(str(error).removeprefix("value: ")) from None


def _empty_is_none(value: object) -> object:
    return None if value == "" else value


def _number(value: object) -> float:
    try:
        if not isinstance(value, bool) and isinstance(value, int | float | Decimal) and math.isfinite(value):
            return float(value)
    except OverflowError:
        pass
    raise ValueError(f"expected a finite number, found {_show(value)}")


def _speed(value: object) -> float | Literal["max"]:
    if value == "max":
        return "max"
    if isinstance(value, str) or (speed := _number(value)) <= 0:
        raise ValueError(f'expected "max" or a number above 0, found {_show(value)}')
    return speed


def _zone(value: str) -> str:
    try:
        return value and ZoneInfo(value).key
    except (KeyError, ValueError, OSError):
        raise ValueError(f'expected a time zone such as "America/New_York", found {value!r}') from None


def _is_reference(value: str) -> bool:
    return value.startswith(("env:", "file:"))


def _secret(value: str) -> str:
    if value and not _is_reference(value):
        raise ValueError('expected a reference to the secret, "env:NAME" or "file:PATH", found the secret itself')
    return value


def _url(schemes: tuple[str, ...]) -> Callable[[str], str]:
    def check(value: str) -> str:
        if not value or _is_reference(value):
            return value
        try:
            parts = urlsplit(value)
            hidden = parts.password is not None or any("pass" in key.lower() for key, _ in parse_qsl(parts.query))
        except ValueError:
            raise ValueError("expected a URL, found something else") from None
        if hidden:
            raise ValueError('expected no password: give the whole URL as "env:NAME" or "file:PATH", found a password')
        if parts.scheme not in schemes:
            raise ValueError(f"expected a URL of {', '.join(schemes)}, found {_show(value)}")
        return value

    return check


Text = Annotated[str, Field(strict=True)]
Flag = Annotated[bool, Field(strict=True)]
Count = Annotated[int, Field(strict=True, ge=1, le=100_000)]
Share = Annotated[float, BeforeValidator(_number), Field(ge=0, le=1)]
Number = Annotated[float, BeforeValidator(_number)]
Exact = Annotated[Decimal, BeforeValidator(_decimal)]
Amount = Annotated[Exact, Field(gt=0, le=10**15)]
Fraction = Annotated[Exact, Field(gt=0, le=1)]
Seconds = Annotated[int, Field(strict=True, ge=1, le=86_400)]
Name = Annotated[Text, Field(pattern=r"^[A-Za-z0-9._-]{1,32}$")]


class Section(BaseModel):
    """One table of the file."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)


class Platform(Section):
    """Which way of running, where the state is kept, and the account's name in order ids."""

    profile: Literal["embedded", "fleet"] = "embedded"
    state: Annotated[Text, Field(min_length=1)] = ".trisagion"
    account: Name = "TRIS1"


class Database(Section):
    """Empty: a SQLite file in the run's directory."""

    url: Annotated[Text, AfterValidator(_url(_DATABASE_SCHEMES))] = ""


class Broker(Section):
    """Empty: a private Redis on this machine."""

    url: Annotated[Text, AfterValidator(_url(_BROKER_SCHEMES))] = ""


class Account(Section):
    """What the account holds at the start of a replay."""

    equity: Amount = Decimal(10_000_000)
    currency: Annotated[Text, Field(pattern=r"^[A-Z]{3}$")] = "USD"


class Cohort(Section):
    """The live population; `channel_share` of the draws, `fee_rate` of the notional; `start_balance` in runs' money."""

    runs: Count = 500
    shards: Annotated[int, Field(strict=True, ge=1, le=1024)] = 2
    runs_per_leverage_max: Count = 45
    # What neither clones nor survivors may take from the random draws: exploration never dies.
    random_share_min: Annotated[Number, Field(gt=0, le=1)] = 0.1
    clone_share: Share = 0.5
    # The random draws that enter by Donchian channel or z-score; the others enter by the market weight.
    channel_share: Share = 0.0
    # A file that `trisagion cohort export` wrote: its runs are the first ones of the first cohort.
    survivors: Text = ""
    start_balance: Annotated[Number, Field(gt=0, le=1e12)] = 100_000_000.0
    fee_rate: Annotated[Number, Field(ge=0, le=0.1)] = 0.0004

    @field_validator("shards")
    @classmethod
    def _no_empty_shard(cls, shards: int, info: ValidationInfo) -> int:
        if shards > info.data.get("runs", shards):
            raise ValueError(f"expected at most as many shards as runs ({info.data['runs']}), found {shards}")
        return shards

    @field_validator("clone_share")
    @classmethod
    def _leaves_room_for_random_draws(cls, share: float, info: ValidationInfo) -> float:
        floor = info.data.get("random_share_min", 0.0)
        if share + floor > 1:
            raise ValueError(f"expected at most 1 - random_share_min ({1 - floor:g}), found {share:g}")
        return share


class Selection(Section):
    """Which runs have earned capital; `live_pnl_min` is in the runs' own money."""

    live_pnl_min: Annotated[Number, Field(ge=0)] = 0.2
    stale_s: Seconds = 600
    kelly_runs_min: Annotated[int, Field(strict=True, ge=2, le=100_000)] = 10


class Sizing(Section):
    """How much capital; all but the two switches are fractions."""

    risk_fraction: Fraction = Decimal("0.0016180339887")
    kelly_clip: Annotated[Number, Field(gt=0, le=1)] = 0.5
    kelly_floor: Annotated[Number, Field(gt=-1, le=0)] = -0.98
    probation: Share = 0.25
    allow_long: Flag = True
    allow_short: Flag = True
    margin_fraction: Fraction = Decimal("0.5")


class Reconcile(Section):
    """When positions are compared, who observes them, and how many observers must agree with the ledger."""

    interval_s: Seconds = 600
    min_trade_notional: Annotated[Exact, Field(ge=0, le=10**15)] = Decimal("20.0")
    ledger_age_s: Seconds = 60
    observer_age_s: Seconds = 300
    observers: Annotated[tuple[Name, ...], Field(min_length=1, max_length=16)] = ("venue",)
    quorum: Count = 1
    alert_after: Count = 3

    @field_validator("observers")
    @classmethod
    def _each_once(cls, observers: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(observers)) != len(observers):
            raise ValueError(f"expected each observer once, found {', '.join(observers)}")
        return observers

    @field_validator("quorum")
    @classmethod
    def _attainable(cls, quorum: int, info: ValidationInfo) -> int:
        observers = info.data.get("observers")
        if observers is not None and quorum > len(observers):
            raise ValueError(f"expected at most the number of observers ({len(observers)}), found {quorum}")
        return quorum


class TakeProfit(Section):
    """`threshold` is a fraction of the baseline; the draw-down reset lies at `threshold / reward_multiple` below it."""

    threshold: Annotated[Exact, Field(gt=0, le=100)] = Decimal("1.0")
    reward_multiple: Annotated[Exact, Field(gt=0, le=1000)] = Decimal(5)

    @field_validator("reward_multiple")
    @classmethod
    def _draw_down_is_reachable(cls, multiple: Decimal, info: ValidationInfo) -> Decimal:
        threshold = info.data.get("threshold")
        if threshold is not None and threshold >= multiple:
            raise ValueError(f"expected above the threshold ({plain(threshold)}), found {plain(multiple)}")
        return multiple


class Risk(Section):
    """Hard limits, in the account's currency."""

    position_notional_max: Amount = Decimal(20_000_000)
    order_notional_max: Amount = Decimal(5_000_000)
    orders_max: Annotated[int, Field(strict=True, ge=1, le=10_000)] = 50
    quote_age_s: Seconds = 60
    reprices_max: Annotated[int, Field(strict=True, ge=0, le=100)] = 5

    @field_validator("order_notional_max")
    @classmethod
    def _within_the_position(cls, order: Decimal, info: ValidationInfo) -> Decimal:
        position = info.data.get("position_notional_max")
        if position is not None and order > position:
            raise ValueError(f"expected at most position_notional_max ({plain(position)}), found {plain(order)}")
        return order


class Fix(Section):
    """The FIX session; port 0 takes a free one."""

    sender: Name = "TRISAGION"
    target: Name = "SIM"
    host: Annotated[Text, Field(pattern=r"^[A-Za-z0-9.:_-]{1,253}$")] = "127.0.0.1"
    port: Annotated[int, Field(strict=True, ge=0, le=65_535)] = 0
    heartbeat_s: Annotated[int, Field(strict=True, ge=1, le=300)] = 10
    password: Annotated[Text, AfterValidator(_secret)] = ""


class Fleet(Section):
    """How many processes of this machine advance the cohort."""

    cohort_workers: Annotated[int, Field(strict=True, ge=1, le=1024)] = 2


class Replay(Section):
    """Which data is replayed: a bundled set's name or a file's path. What is empty is taken from it, or assumed."""

    data: Annotated[Text, Field(min_length=1)] = "es"
    zone: Annotated[Text, AfterValidator(_zone)] = ""
    symbol: Annotated[Text, Field(pattern=r"^[A-Z0-9._-]{0,32}$")] = ""
    tick_size: Annotated[Amount | None, BeforeValidator(_empty_is_none)] = None
    multiplier: Annotated[Amount | None, BeforeValidator(_empty_is_none)] = None
    fee_rate: Annotated[Annotated[Exact, Field(ge=0, lt=1)] | None, BeforeValidator(_empty_is_none)] = None
    seed: Annotated[int, Field(strict=True, ge=0, lt=2**63)] = 1
    speed: Annotated[Annotated[float, Field(gt=0)] | Literal["max"], BeforeValidator(_speed)] = "max"


class Settings(Section):
    """All settings of a process, and of every process that it starts."""

    platform: Platform = Platform()
    database: Database = Database()
    broker: Broker = Broker()
    account: Account = Account()
    cohort: Cohort = Cohort()
    selection: Selection = Selection()
    sizing: Sizing = Sizing()
    reconcile: Reconcile = Reconcile()
    take_profit: TakeProfit = TakeProfit()
    risk: Risk = Risk()
    fix: Fix = Fix()
    fleet: Fleet = Fleet()
    replay: Replay = Replay()


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
    return {key: given[key].source if key in given else "default" for key in _KEYS}


def flatten(settings: Settings) -> dict[str, Any]:
    """Return `section.key` → value for every setting, in the order of the sections."""
    return {key: getattr(getattr(settings, section), name) for key in _KEYS for section, name in [key.split(".", 1)]}


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
    """Follow a reference (`env:NAME`, `file:PATH`) to its secret; any other text is its own value.

    Raises
    ------
    ConfigError
        When the variable is not set or the file cannot be read.
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
    return text


def _section_model(section: str) -> type[Section]:
    model = Settings.model_fields[section].annotation
    assert isinstance(model, type), section
    assert issubclass(model, Section), section
    return model


SECTIONS: Final = {section: _section_model(section) for section in Settings.model_fields}
_KEYS: Final = tuple(f"{section}.{name}" for section, model in SECTIONS.items() for name in model.model_fields)
assert set(_KEYS) >= PLACE | SECRETS | CONTENT


def _layers(
    config_path: Path | None, environ: Mapping[str, str], overrides: Mapping[str, object]
) -> tuple[dict[str, _Given], list[str]]:
    """Merge the layers, the strongest last; return what was given and the problems with names."""
    given: dict[str, _Given] = {}
    problems: list[str] = []
    for key, item in (*_from_file(config_path, environ), *_from_environment(environ), *_from_overrides(overrides)):
        if key in _KEYS:
            given[key] = item
        else:
            problems.append(f"{item.source}: {_unknown(key)}")
    # One underscore too few would be silently without effect.
    singles = {variable(key).replace("__", "_"): variable(key) for key in _KEYS}
    problems += [f"{name}: expected {singles[name]}" for name in sorted(singles.keys() & environ.keys())]
    return given, problems


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
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: expected TOML, found: {error}") from None
    lines = _line_numbers(text)
    for section, table in tree.items():
        line = lines.get(section)
        if not isinstance(table, dict) or section not in SECTIONS:
            yield section, _Given(table, _place(path, line))
            continue
        for name, value in table.items():
            key = f"{section}.{name}"
            yield key, _Given(value, _place(path, lines.get(key, line)))


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
    """Read a value's text as TOML; what is no TOML, and anything unquoted where text is wanted, is the text itself."""
    section, _, name = key.partition(".")
    field = SECTIONS[section].model_fields.get(name) if section in SECTIONS else None
    try:
        tree = tomllib.loads(f"value = {text}", parse_float=Decimal)
    except tomllib.TOMLDecodeError:
        return text
    wants_text = field is not None and field.annotation is str
    if list(tree) != ["value"] or (wants_text and not isinstance(tree["value"], str)):
        return text
    return tree["value"]


_SHOWN_MAX: Final = 80
"""Characters of a refused value that are repeated in the message."""

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
    same_name = [known for known in _KEYS if known.split(".", 1)[1] == (name or section)]
    near = same_name or difflib.get_close_matches(key, [*_KEYS, *SECTIONS], n=1)
    return f"{key}: there is no such setting" + (f"; did you mean {near[0]}?" if near else "")


def _problem(detail: Any, given: Mapping[str, _Given]) -> str:
    key = ".".join(str(part) for part in detail["loc"][:2])
    source = given[key].source if key in given else "default"
    message = str(detail["msg"])
    if detail["type"] == "value_error":
        return f"{source}: {key}: {message.removeprefix('Value error, ')}"
    expected = re.sub(r"^(Input|String|Tuple|Value) should (be |have |match )?", "", message)
    found = "something that is not shown" if key in SECRETS else _show(detail["input"])
    return f"{source}: {key}: expected {expected}, found {found}"


def _show(value: object) -> str:
    text = str(value) if isinstance(value, Decimal) else repr(value)
    return text if len(text) <= _SHOWN_MAX else f"{text[:_SHOWN_MAX]}…"


def _toml(value: object) -> str:
    if value is None:
        return '""'
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Decimal):
        return f'"{plain(value)}"'
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, tuple):
        return f"[{', '.join(map(_toml, value))}]"
    # JSON's strings are TOML's, but for the delete character.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
