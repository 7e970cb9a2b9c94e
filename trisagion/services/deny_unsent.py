"""Deny what was approved and not sent, while a stop is in force: whoever else would deny it may be dead."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from trisagion.ids import ClOrdId
from trisagion.orders.state import UNSENT, OrderState, check_transition
from trisagion.ports import Database

DENY_MAX: Final = 64
"""Orders that are denied in one transaction: as many as a session claims in one."""


def deny_unsent(database: Database, forbidden: Mapping[ClOrdId, str], now_ns: int) -> None:
    """Deny orders, each with its reason; one that has left the outbox meanwhile is left alone."""
    names = list(forbidden)
    for start in range(0, len(names), DENY_MAX):
        with database.transaction() as tx:
            for order in tx.orders.locked(names[start : start + DENY_MAX]):
                if order.state not in UNSENT:
                    continue
                check_transition(order.state, OrderState.DENIED, cl_ord_id=order.cl_ord_id)
                why, at_ns = forbidden[order.cl_ord_id], max(now_ns, order.updated_ns)
                denied = replace(
                    order, state=OrderState.DENIED, reason=why, updated_ns=at_ns, version=order.version + 1
                )
                tx.orders.save(denied)
                tx.control.add_event("order.denied", order.cl_ord_id, {"reason": why}, at_ns)
