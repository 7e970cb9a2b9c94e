"""Reads what a certificate is made of: executions in the order of their booking, and the orders that they name."""

from collections.abc import Iterator
from typing import Any, Final

import sqlalchemy as sa

from trisagion.adapters.db import tables as t
from trisagion.adapters.db.engine import Unit
from trisagion.adapters.db.orders import read_execution, read_order
from trisagion.orders.types import Order
from trisagion.reports.certificate import Certificate, certify

_REPORTED: Final = tuple(column for column in t.execution.c if column.name not in {"seq", "learned_ns"})
_COLUMNS: Final = (*_REPORTED, t.execution.c.learned_ns)
_EXECUTIONS: Final = sa.select(*_COLUMNS).order_by(t.execution.c.seq)
_ORDERS: Final = sa.select(t.orders)
_LINKS: Final = sa.select(t.order_link.c.cl_ord_id, t.order_link.c.first_id)


def certificate(unit: Unit) -> Certificate:
    """Return the certificate of a run's database."""
    rows = unit.session.rows(_EXECUTIONS)
    orders: dict[str, Order] = {order.cl_ord_id: order for order in map(read_order, unit.session.rows(_ORDERS))}
    orders |= {name: orders[first] for name, first in unit.session.rows(_LINKS) if first in orders}
    return certify([read_execution(row[:-1]) for row in rows], _named(rows), orders)


def _named(rows: Any) -> Iterator[dict[str, object]]:
    """Yield the rows as the chain is over them: without a column that came later where it says nothing."""
    names = [column.name for column in _COLUMNS]
    for row in rows:
        named = dict(zip(names, row, strict=True))
        if named["fee_currency"] is None:
            del named["fee_currency"]
        yield named
