"""Take one minute of market data into the database: the steps of all instruments that traded in it, all or none.

So whoever sees one of them knows from then on who else has a step at that instant.
"""

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, fields
from itertools import pairwise
from typing import Any, Final

from trisagion.clock import iso
from trisagion.errors import DataError
from trisagion.market.types import Bar, MarketStep
from trisagion.ports import Database
from trisagion.services.outcome import Outcome
from trisagion.units import plain, price

INSTANT_MAX: Final = 2**63 - 1


def ingest(database: Database, steps: Sequence[MarketStep]) -> Outcome:
    """Store a minute; one that is there already is announced again, for its first announcement may have been lost.

    Raises
    ------
    StateError
        For a symbol that no instrument has.
    DataError
        For a minute before the symbol's newest one that is not known yet: what was decided since did not see it.
    """
    with database.transaction() as tx:
        for step in steps:
            newest_ns, _ = tx.market.heads(tx.market.instrument(step.symbol).symbol)
            if tx.market.add_step(step) and step.at_ns < newest_ns:
                raise DataError(
                    f"market.ingest: {step.symbol}: expected a minute after {iso(newest_ns)}, found {iso(step.at_ns)}"
                )
    return Outcome("stored", tuple(step.symbol for step in steps))


def write_steps(steps: Sequence[MarketStep]) -> str:
    """Write a minute as the JSON text that travels in a message; floats round-trip exactly, `last` is exact text."""
    return json.dumps([{**asdict(step), "last": plain(step.last)} for step in steps], separators=(",", ":"))


def read_steps(text: str) -> tuple[MarketStep, ...]:
    """Read a minute from a message; `DataError` when it is none, or contradicts itself."""
    try:
        steps = tuple(_step(each) for each in json.loads(text))
    except (ValueError, KeyError, TypeError, RecursionError, DataError) as error:
        raise DataError(f"market.ingest: expected market steps as JSON, found {text[:80]!r} ({error!r:.200})") from None
    for step in steps:
        _refuse_contradictions(step)
    symbols = [step.symbol for step in steps]
    if len({step.at_ns for step in steps}) != 1 or len(set(symbols)) != len(symbols):
        found = ", ".join(f"{step.symbol} at {step.at_ns}" for step in steps) or "none"
        raise DataError(f"market.ingest: expected steps of one minute, each symbol once, found {found}")
    return steps


def _refuse_contradictions(step: MarketStep) -> None:
    stamps = [step.bar.open_ns, *(at_ns for at_ns, _ in step.ticks)]
    if (step.symbol, step.at_ns) != (step.bar.symbol, step.bar.close_ns) or stamps[-1] > step.at_ns:
        raise DataError(
            f"market.ingest: expected {step.symbol} at {step.at_ns} with its own bar and ticks, found {step}"
        )
    if any(later <= earlier for earlier, later in pairwise(stamps)):
        raise DataError(f"market.ingest: expected rising ticks within the minute of {step.at_ns}, found {stamps[1:]}")


def _step(read: Any) -> MarketStep:
    if set(read) != _STEP:
        raise ValueError(f"expected {', '.join(sorted(_STEP))}, found {', '.join(sorted(map(str, read)))[:80]}")
    bar = dict(read["bar"])
    return MarketStep(
        symbol=_text(read["symbol"]),
        at_ns=_whole(read["at_ns"]),
        bar=Bar(**{name: _BAR[name](value) for name, value in bar.items()}),
        ticks=tuple((_whole(at_ns), _positive(px)) for at_ns, px in read["ticks"]),
        last=price(_text(read["last"])),
        last_ns=_whole(read["last_ns"]),
    )


def _text(value: object) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError(f"expected a text, found {value!r:.80}")
    return value


def _whole(value: object) -> int:
    if type(value) is not int or abs(value) > INSTANT_MAX:
        raise ValueError(f"expected a whole number of 64 bits, found {value!r:.80}")
    return value


def _number(value: object) -> float:
    if type(value) not in {int, float} or not math.isfinite(value):  # type: ignore[arg-type]
        raise ValueError(f"expected a finite number, found {value!r:.80}")
    return float(value)  # type: ignore[arg-type]


def _positive(value: object) -> float:
    number = _number(value)
    if number <= 0:
        raise ValueError(f"expected a price above 0, found {number}")
    return number


_STEP: Final = {each.name for each in fields(MarketStep)}

_BAR: Final[dict[str, Callable[[object], Any]]] = {
    "symbol": _text,
    **dict.fromkeys(("open_ns", "interval_ns", "trades"), _whole),
    **dict.fromkeys(("open", "high", "low", "close"), _positive),
    "volume": _number,
}
