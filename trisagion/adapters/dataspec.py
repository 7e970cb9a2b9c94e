"""What is to be loaded, as the processes of a run tell each other; it loads nothing itself."""

import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from trisagion.errors import DataError, quoted
from trisagion.market.instruments import BUNDLED
from trisagion.units import parse_decimal, plain

SYMBOL: Final = re.compile(r"[A-Z0-9._-]{1,32}")

NAMED: Final = re.compile(rf"({SYMBOL.pattern})=(.+)", re.DOTALL)
"""An entry that names its instrument; `./A=b.csv` is the way to write a file of such a name."""

DATASET_CHARACTERS_MAX: Final = 128
"""As many as the database keeps of a data set's name."""


@dataclass(frozen=True, slots=True)
class DataSpec:
    """What to load: a bundled set ("es", "aapl") or a path, and what the file itself does not say.

    One specification is one instrument.
    """

    source: str
    zone: str | None = None
    symbol: str | None = None
    tick_size: Decimal | None = None
    lot_size: Decimal | None = None
    multiplier: Decimal | None = None
    leverage_max: Decimal | None = None
    fee_rate: Decimal | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot describe an instrument."""
        if self.symbol is not None and not SYMBOL.fullmatch(self.symbol):
            raise DataError(f"symbol: expected 1 to 32 of A-Z 0-9 . _ -, found {quoted(self.symbol)}")
        for name in ("tick_size", "lot_size", "multiplier", "leverage_max"):
            value = getattr(self, name)
            if value is not None and parse_decimal(value, what=name) <= 0:
                raise DataError(f"{name}: expected above 0, found {value}")
        if self.fee_rate is not None and not 0 <= parse_decimal(self.fee_rate, what="fee_rate") < 1:
            raise DataError(f"fee_rate: expected a share of the notional, from 0 to below 1, found {self.fee_rate}")

    @property
    def bundled(self) -> bool:
        """Whether the data come with the platform."""
        return self.source in BUNDLED

    @property
    def name(self) -> str:
        """The instrument's symbol: the one given, else the bundled set's, else one made of the file's name."""
        if self.symbol is not None:
            return self.symbol
        if self.bundled:
            return BUNDLED[self.source].symbol
        stem = re.sub(r"(\.(csv|tsv|txt|parquet|pq|gz|zst))+$", "", Path(self.source).name, flags=re.IGNORECASE)
        symbol = re.sub(r"[^A-Z0-9._-]", "", stem.upper())[:32]
        if not symbol:
            raise DataError(
                f"{self.source}: no symbol can be made of the file's name: give one with --data NAME={self.source}"
            )
        return symbol

    def to_json(self) -> str:
        """Write the specification for another process, which may run in another folder."""
        values = self.said()
        if not self.bundled:
            values["source"] = str(Path(self.source).absolute())
        return json.dumps(values, sort_keys=True)

    def said(self) -> dict[str, str]:
        """Return what was said, by name, as text that is the same for equal numbers."""
        given = {name: value for name, value in asdict(self).items() if value is not None}
        return {name: plain(value) if isinstance(value, Decimal) else value for name, value in given.items()}

    @classmethod
    def from_json(cls, text: str) -> "DataSpec":
        """Read what `to_json` wrote; DataError for anything else."""
        known = {item.name for item in fields(cls)}
        try:
            values: Any = json.loads(text)
        except ValueError:
            raise DataError(f"data specification: expected JSON, found {quoted(text)}") from None
        if not isinstance(values, dict) or "source" not in values or not set(values) <= known:
            raise DataError(f"data specification: expected source and some of {sorted(known)}, found {quoted(text)}")
        if not all(isinstance(value, str) for value in values.values()):
            raise DataError(f"data specification: expected texts, found {quoted(text)}")
        decimals = (known - {"source", "zone", "symbol"}) & set(values)
        return cls(**values | {name: parse_decimal(values[name], what=name) for name in decimals})


def entry(text: str) -> tuple[str | None, str]:
    """Return symbol, where one is given, and source of an entry of `replay.data`: SOURCE or SYMBOL=SOURCE."""
    named = NAMED.fullmatch(text)
    return (named[1], named[2]) if named else (None, text)


def dataset(specs: Sequence[DataSpec]) -> str:
    """Name what is replayed, in order of symbol: one source by itself, several with their symbols."""
    if len(specs) == 1:
        name = specs[0].source
    else:
        sources = {spec.name: spec.source if spec.bundled else Path(spec.source).name for spec in specs}
        name = ", ".join(f"{symbol}={sources[symbol]}" for symbol in sorted(sources))
    return name if len(name) <= DATASET_CHARACTERS_MAX else f"{name[: DATASET_CHARACTERS_MAX - 1]}…"
