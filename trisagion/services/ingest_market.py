"""Take one minute of market data into the database."""

import json
from dataclasses import asdict

from trisagion.errors import DataError
from trisagion.market.types import Bar, MarketStep
from trisagion.ports import Database
from trisagion.services.outcome import Outcome
from trisagion.units import plain, price


def ingest(database: Database, step: MarketStep) -> Outcome:
    """Store a step; a step that is there already is announced again, for its first announcement may have been lost."""
    with database.transaction() as tx:
        tx.market.add_step(step)
    return Outcome("stored", (step.symbol,))


def write_step(step: MarketStep) -> str:
    """Write a step as the JSON text that travels in a message; floats round-trip exactly, `last` is exact text."""
    fields = asdict(step)
    return json.dumps({**fields, "last": plain(step.last)}, separators=(",", ":"))


def read_step(text: str) -> MarketStep:
    """Read a step from a message; `DataError` when it is not one."""
    try:
        fields = json.loads(text)
        return MarketStep(
            symbol=fields["symbol"],
            at_ns=int(fields["at_ns"]),
            bar=Bar(**fields["bar"]),
            ticks=tuple((int(at), float(px)) for at, px in fields["ticks"]),
            last=price(fields["last"]),
            last_ns=int(fields["last_ns"]),
        )
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"market.ingest: expected a market step as JSON, found {text[:80]!r} ({error})") from None
