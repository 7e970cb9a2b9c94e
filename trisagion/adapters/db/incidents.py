"""Table incident."""

import json
from collections.abc import Sequence
from decimal import Decimal, InvalidOperation
from typing import Any, Final

import sqlalchemy as sa

from trisagion.adapters.db import tables as t
from trisagion.adapters.db.session import Session
from trisagion.errors import UnreadableRow
from trisagion.orders.incidents import Incident, IncidentKind, View
from trisagion.units import Quantity, plain

_i: Final = t.incident.c
_COLUMNS: Final = [column for column in _i if column.name != "seq"]
_ADD: Final = sa.insert(t.incident)
_SAVE: Final = (
    sa.update(t.incident)
    .where(_i.seq == sa.bindparam("its_seq"))
    .values({column.name: sa.bindparam(column.name) for column in _COLUMNS})
)
_ONE: Final = sa.select(t.incident).where(_i.seq == sa.bindparam("its_seq"))
_OPEN: Final = sa.select(t.incident).where(_i.closed_ns.is_(None)).order_by(_i.seq)
_OF_SYMBOL: Final = _OPEN.where(_i.symbol == sa.bindparam("its_symbol"))
_NEWEST: Final = sa.select(t.incident).order_by(_i.seq.desc()).limit(sa.bindparam("count", type_=sa.Integer()))


class Incidents:
    """`observer_ports.IncidentStore`."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def add(self, incident: Incident) -> Incident:
        """Record a new incident; return it with its number."""
        self._session.write(_ADD, _values(incident))
        added = self.unsettled(incident.symbol)
        assert added is not None, incident.symbol
        return added

    def save(self, incident: Incident) -> None:
        """Replace the incident of that number."""
        self._session.write(_SAVE, {**_values(incident), "its_seq": incident.number})

    def incident(self, number: int) -> Incident | None:
        """Return an incident."""
        row = self._session.row(_ONE, {"its_seq": number})
        return None if row is None else _read(row)

    def unsettled(self, symbol: str) -> Incident | None:
        """Return the open incident of a symbol."""
        row = self._session.row(_OF_SYMBOL, {"its_symbol": symbol})
        return None if row is None else _read(row)

    def open_ones(self) -> Sequence[Incident]:
        """Return all open incidents, oldest first."""
        return [_read(row) for row in self._session.rows(_OPEN)]

    def newest(self, count: int) -> Sequence[Incident]:
        """Return the newest `count` incidents, open and closed, oldest first."""
        return [_read(row) for row in reversed(self._session.rows(_NEWEST, {"count": count}))]


def _values(incident: Incident) -> dict[str, Any]:
    values = {column.name: getattr(incident, column.name) for column in _COLUMNS}
    return values | {
        "began": _written(incident.began),
        "views": _written(incident.views),
        "reasons": json.dumps(incident.reasons, ensure_ascii=False),
    }


def _written(views: Sequence[View]) -> str:
    return json.dumps([[view.witness, plain(view.qty), view.at_ns] for view in views], ensure_ascii=False)


def _read(row: Any) -> Incident:
    try:
        return Incident(
            row.seq,
            row.symbol,
            IncidentKind(row.kind),
            row.opened_ns,
            row.updated_ns,
            row.closed_ns,
            row.cycles,
            _views(row.began),
            _views(row.views),
            tuple(json.loads(row.reasons)),
            row.outcome,
        )
    except (ValueError, TypeError, InvalidOperation) as error:
        raise UnreadableRow(f"incident {row.seq}: expected words of ours, found {error}") from None


def _views(text: str) -> tuple[View, ...]:
    return tuple(View(witness, Quantity(Decimal(qty)), at_ns) for witness, qty, at_ns in json.loads(text))
