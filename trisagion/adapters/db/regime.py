"""Tables regime_fit, regime_state."""

import json
from typing import Any, Final

import sqlalchemy as sa

from trisagion.adapters.db import tables as t
from trisagion.adapters.db.session import Session, insert_once
from trisagion.regime.classify import MarketRegime, Reading
from trisagion.regime.types import Fit

_symbol: Final[sa.BindParameter[Any]] = sa.bindparam("symbol")

_PUT_FIT: Final = insert_once(t.regime_fit)
_FIT: Final = sa.select(t.regime_fit.c.fit, t.regime_fit.c.note).where(
    t.regime_fit.c.symbol == _symbol,
    t.regime_fit.c.model == sa.bindparam("model"),
    t.regime_fit.c.last_ns == sa.bindparam("last_ns"),
)
_PUT_READING: Final = insert_once(t.regime_state)
_READING: Final = (
    sa.select(t.regime_state)
    .where(t.regime_state.c.symbol == _symbol, t.regime_state.c.at_ns <= sa.bindparam("until_ns"))
    .order_by(t.regime_state.c.at_ns.desc())
    .limit(1)
)


class Regime:
    """`market_ports.RegimeStore`."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def put_fit(self, symbol: str, model: str, last_ns: int, fit: Fit) -> None:
        """Record a fitted model; one of the same bars that is there already stays."""
        row = {"symbol": symbol, "model": model, "last_ns": last_ns, "fit": fit.text, "note": fit.note}
        self._session.write(_PUT_FIT, row)

    def fit(self, symbol: str, model: str, last_ns: int) -> Fit | None:
        """Return the model fitted to the bars up to an instant, None when nobody has tried."""
        row = self._session.row(_FIT, {"symbol": symbol, "model": model, "last_ns": last_ns})
        return None if row is None else Fit(row.fit, row.note)

    def put_reading(self, symbol: str, reading: Reading) -> None:
        """Record the state at an instant; the same again changes nothing."""
        row: dict[str, object] = {"symbol": symbol, "at_ns": reading.at_ns, "state": reading.state}
        row |= zip(map(str, MarketRegime), reading.probability, strict=True)
        self._session.write(_PUT_READING, {**row, "reasons": json.dumps(reading.reasons)})

    def reading(self, symbol: str, until_ns: int) -> Reading | None:
        """Return the newest reading at or before an instant."""
        row = self._session.row(_READING, {"symbol": symbol, "until_ns": until_ns})
        if row is None:
            return None
        probability = (row.trending, row.mean_reverting, row.noisy, row.crisis)
        return Reading(row.at_ns, row.state, probability, tuple(json.loads(row.reasons)))
