"""What an account may do: every limit there is, where it may be narrowed, and the numbers that are in force.

The configuration is the ceiling, fixed when a run is founded. Within it, versioned rows say what holds now: version 1
is the configuration's, and a later one is proposed by one person and approved by another. What a row says for a symbol,
a venue or a strategy narrows what holds for the account, and never widens it. Zero forbids, where it limits how much or
how many orders; of a price, an age, or what comes in a row it is the narrowest that there is: a tick, this instant, the
first.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from decimal import Decimal
from enum import StrEnum
from typing import Any, Final

from trisagion.clock import MILLISECOND_NS
from trisagion.errors import ConfigError, DataError, quoted
from trisagion.safety.audit import canonical
from trisagion.safety.commands import Signers, Taken
from trisagion.units import fits, plain

QUOTE_AGE_NS_MAX: Final = 250 * MILLISECOND_NS
"""A maker joins a quote that is younger than a quarter of a second, or does not trade."""


class Scope(StrEnum):
    """What a limit is about."""

    ACCOUNT = "account"
    STRATEGY = "strategy"
    SYMBOL = "symbol"
    VENUE = "venue"


EVERY_ORDER: Final = frozenset(Scope)
"""The limit is of one order or one position, so that it can be narrower for some of them."""
WHOLE_ACCOUNT: Final = frozenset({Scope.ACCOUNT})
"""The limit is of a sum over the account."""


@dataclass(frozen=True, slots=True)
class Key:
    """A limit: its name, its unit in words, the default of reliability 4.3 for tests, and where a row may set it."""

    name: str
    unit: str
    test_default: str
    scopes: frozenset[Scope]
    whole: bool = False


KEYS: Final = {
    key.name: key
    for key in (
        Key("order_qty_max", "units of the instrument", "1,000", EVERY_ORDER),
        Key("order_notional_max", "money", "50,000", EVERY_ORDER),
        Key("position_notional_max", "money", "per symbol", EVERY_ORDER),
        Key("orders_max", "live orders", "50", WHOLE_ACCOUNT, whole=True),
        Key("open_notional_max", "money", "250,000", WHOLE_ACCOUNT),
        Key("gross_leverage_max", "multiple of equity", "0.5", WHOLE_ACCOUNT),
        Key("quote_age_ns_max", "nanoseconds", "250 ms", EVERY_ORDER, whole=True),
        Key("price_collar", "fraction of the reference", "0.05", EVERY_ORDER),
        Key("collar_atr_max", "average true ranges", "6", EVERY_ORDER),
        Key("short_qty_max", "units of the instrument", "hook", EVERY_ORDER),
        Key("alike_orders_max", "orders in 5 s", "1", EVERY_ORDER, whole=True),
        Key("order_trade_ratio_max", "messages for a trade, over 15 min", "100", WHOLE_ACCOUNT),
        Key("same_side_fills_max", "orders of one side filled in 60 s", "20", EVERY_ORDER, whole=True),
        Key("rejects_max", "refusals in a row in 60 s", "5", frozenset({Scope.ACCOUNT, Scope.VENUE}), whole=True),
    )
}


@dataclass(frozen=True, slots=True)
class Limits:
    """What one account may do. Notionals are in the instrument's currency.

    `restricted` are the symbols in which nothing is added to, which no row changes.
    `unknown` says why nothing is known of what is in force; then these are the ceilings, and good for reducing alone.
    Raises `ConfigError` for a limit below zero or not finite.
    """

    account: str
    order_notional_max: Decimal
    position_notional_max: Decimal
    orders_max: int
    quote_age_ns_max: int = QUOTE_AGE_NS_MAX
    order_qty_max: Decimal = Decimal(1_000_000)
    open_notional_max: Decimal = Decimal(25_000_000)
    gross_leverage_max: Decimal = Decimal(3)
    price_collar: Decimal = Decimal("0.05")
    collar_atr_max: Decimal = Decimal(6)
    short_qty_max: Decimal = Decimal(1_000_000)
    alike_orders_max: int = 1
    order_trade_ratio_max: Decimal = Decimal(100)
    same_side_fills_max: int = 20
    rejects_max: int = 5
    restricted: frozenset[str] = frozenset()
    unknown: str = ""
    version: str = field(init=False, compare=False)
    """The name of these limits by their content, so that a verdict says under which limits it was given."""

    def __post_init__(self) -> None:
        parts: dict[str, Decimal | int] = {name: getattr(self, name) for name in KEYS}
        for name, part in parts.items():
            value = Decimal(part)
            if not value.is_finite() or value < 0:
                raise ConfigError(f"limits of {self.account}: expected {name} of 0 or more, found {value}")
        told = (f"{name}={plain(Decimal(part))}" for name, part in sorted(parts.items()))
        text = "|".join((self.account, *told, *sorted(self.restricted), self.unknown))
        object.__setattr__(self, "version", hashlib.sha256(text.encode()).hexdigest()[:12])


_NO_NUMBERS: Final = {"account", "restricted", "unknown", "version"}
assert set(KEYS) == {each.name for each in fields(Limits)} - _NO_NUMBERS, "a limit has no key"


@dataclass(frozen=True, slots=True)
class LimitRow:
    """A version of one limit. `subject` is the symbol, venue or strategy, empty for the account.

    `proposed_by` is a person, or `configuration` and the digest of the settings that founded the run: such versions
    are the first ones, and nobody has to approve them. `approved_by` is None while nobody has.
    """

    version: int
    name: str
    scope: str
    subject: str
    value: Decimal
    proposed_by: str
    reason: str
    proposed_ns: int
    approved_by: str | None = None
    approved_ns: int | None = None

    @property
    def holds(self) -> bool:
        """Tell whether it was approved as it must be: by another person, or made when the run was founded."""
        if is_configuration(self.proposed_by):
            return self.version <= len(KEYS)
        return self.approved_by is not None and not same_person(self.proposed_by, self.approved_by)

    @property
    def text(self) -> str:
        """What is signed of it, beside who proposes it and why."""
        said = {"name": self.name, "scope": str(self.scope), "of": self.subject, "value": plain(self.value)}
        return canonical({"version": self.version, "proposed_ns": str(self.proposed_ns), **said})


LIMIT: Final = "limit"
"""The action of the command that proposes a version; its subject is the version's text."""


def signed(rows: Iterable[LimitRow], signers: Signers, taken: Sequence[Taken]) -> list[LimitRow]:
    """Return versions without the approvals that lack the signature of who proposed or of who approved."""
    good = {
        (first.subject, first.person, first.reason, second.person)
        for first, second in signers.countersigned(LIMIT, taken)
    }
    return [
        row
        if row.approved_by is None or (row.text, row.proposed_by, row.reason, row.approved_by) in good
        else replace(row, approved_by=None, approved_ns=None)
        for row in rows
    ]


CONFIGURATION: Final = "configuration"


def is_configuration(who: str) -> bool:
    """Tell whether a version was made by the settings that founded the run, and by no person."""
    return who.split(" ", 1)[0] == CONFIGURATION


def same_person(one: str, other: str) -> bool:
    """Tell whether two names may be one person's: as they are typed does not tell people apart."""
    return " ".join(one.split()).casefold() == " ".join(other.split()).casefold()


def founding_rows(ceiling: Limits, digest: str, now_ns: int) -> tuple[LimitRow, ...]:
    """Return the first versions, one of each limit, for the whole account."""
    who = f"{CONFIGURATION} {digest}".strip()
    return tuple(
        LimitRow(number, name, Scope.ACCOUNT, "", Decimal(getattr(ceiling, name)), who, "the run was founded", now_ns)
        for number, name in enumerate(KEYS, start=1)
    )


def refuse_value(name: str, scope: str, subject: str, value: Decimal, ceiling: Limits) -> None:
    """Raise `DataError` unless a value may be proposed for a limit there."""
    key = KEYS.get(name)
    if key is None:
        raise DataError(f"expected a limit of {', '.join(KEYS)}, found {quoted(name)}")
    if scope not in key.scopes:
        raise DataError(f"{name}: expected a scope of {', '.join(sorted(key.scopes))}, found {quoted(scope)}")
    if (scope == Scope.ACCOUNT) != (subject == ""):
        raise DataError(f"{name}: expected a name for every scope but the account, found {scope} {quoted(subject)}")
    if not fits(value) or value < 0 or (key.whole and value != value.to_integral_value()):
        kind = "a whole number" if key.whole else "a number"
        raise DataError(f"{name}: expected {kind} of 0 or more, found {value}")
    most = Decimal(getattr(ceiling, name))
    if value > most:
        raise DataError(f"{name}: expected at most {plain(most)}, which the run was founded with, found {plain(value)}")


class LimitBook:
    """The limits in force, by strategy, symbol and venue; computed once for each of these.

    Among the versions of one limit in one place the newest that `holds` is in force. Where the account has none for
    some limit, or a row cannot be understood or read, nothing is known: see `Limits.unknown`.
    """

    __slots__ = ("_ceiling", "_found", "_rows", "_unknown")

    def __init__(self, ceiling: Limits, rows: Iterable[LimitRow], unreadable: str = "") -> None:
        newest: dict[tuple[str, str, str], LimitRow] = {}
        self._unknown = unreadable
        for row in sorted(rows, key=lambda row: row.version):
            if row.holds:
                self._unknown = self._unknown or _not_understood(row)
                newest[row.name, row.scope, row.subject] = row
        missing = [name for name in KEYS if (name, Scope.ACCOUNT, "") not in newest]
        if missing and not self._unknown:
            self._unknown = f"no version of {', '.join(missing)}"
        self._ceiling = ceiling
        self._rows = newest
        self._found: dict[tuple[str, str, str], Limits] = {}

    @property
    def in_force(self) -> Sequence[LimitRow]:
        """The rows in force, in order of name, scope and subject."""
        return [self._rows[place] for place in sorted(self._rows)]

    def of(self, symbol: str, *, venue: str, strategy: str) -> Limits:
        """Return what an order of a strategy in a symbol at a venue may do."""
        place = (symbol, venue, strategy)
        found = self._found.get(place)
        if found is None:
            found = self._found[place] = self._narrowed(
                {Scope.ACCOUNT: "", Scope.SYMBOL: symbol, Scope.VENUE: venue, Scope.STRATEGY: strategy}
            )
        return found

    def _narrowed(self, subjects: Mapping[Scope, str]) -> Limits:
        if self._unknown:
            return replace(self._ceiling, unknown=self._unknown)
        least: dict[str, Any] = {}
        for name, key in KEYS.items():
            rows = (self._rows.get((name, scope, subjects[scope])) for scope in key.scopes)
            value = min([Decimal(getattr(self._ceiling, name)), *(row.value for row in rows if row is not None)])
            least[name] = int(value) if key.whole else value
        return replace(self._ceiling, **least)


def _not_understood(row: LimitRow) -> str:
    key = KEYS.get(row.name)
    if key is None or row.scope not in key.scopes or not fits(row.value) or row.value < 0:
        return f"version {row.version} cannot be understood"
    return ""
