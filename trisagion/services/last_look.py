"""The last look before the socket: what is in force when an order, or what is wanted of it, is claimed to be sent."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from trisagion.clock import SECOND_NS
from trisagion.market.calendar import closing_of
from trisagion.market.types import Instrument
from trisagion.orders.pricing import off_grid
from trisagion.orders.state import LIVE, OrderState
from trisagion.orders.types import Intent, Order
from trisagion.ports import Transaction
from trisagion.risk.check import only_reduces
from trisagion.safety.gates import Gate
from trisagion.safety.modes import Mode, Standing

if TYPE_CHECKING:
    from trisagion.services.drive_session import SessionDriver

ROUTED_NS_MAX: Final = 60 * SECOND_NS
"""An order that waited longer was decided on another market."""


@dataclass(frozen=True, slots=True)
class LastLook:
    """What is in force right before the socket: the control modes, the session's gate, and the venue's own rule."""

    driver: "SessionDriver"
    standing: Standing
    gate: Gate

    @staticmethod
    def at(tx: Transaction, driver: "SessionDriver", now_ns: int) -> "LastLook":
        """Read it."""
        return LastLook(driver, driver.standing(tx, now_ns), tx.control.gate(driver.name))

    def over(self, tx: Transaction, orders: Sequence[Order], now_ns: int) -> list[tuple[Order, str | None]]:
        """Return each order with the reason why it, or what is wanted of it, must not go out now."""
        modes = [self.driver.mode_of(order, self.standing, max(now_ns, order.updated_ns)) for order in orders]
        live: Sequence[Order] = tx.orders.in_states(LIVE) if Mode.REDUCE in modes else ()
        terms = {instrument.symbol: instrument for instrument in tx.market.instruments()} if orders else {}
        looked = []
        for order, mode in zip(orders, modes, strict=True):
            at_ns = max(now_ns, order.updated_ns)
            why = (
                self._forbids(order, terms.get(order.symbol), mode, at_ns)
                or off_grid(order, terms.get(order.symbol))
                or self._breaks_rule(tx, order, at_ns)
            )
            if why is None and mode is Mode.REDUCE:
                position = tx.ledger.position(order.symbol).qty
                left = Intent(order.intent, order.cycle, order.symbol, order.side, order.leaves_qty, order.taker)
                if not only_reduces(left, position, [other for other in live if other.cl_ord_id != order.cl_ord_id]):
                    why = f"MODE_FORBIDS: mode={mode} position={position}"
            if why is not None and order.state is OrderState.ROUTED:
                live = [other for other in live if other.cl_ord_id != order.cl_ord_id]
            looked.append((order, why))
        return looked

    def _forbids(self, order: Order, instrument: Instrument | None, mode: Mode, now_ns: int) -> str | None:
        resting = closing_of(instrument, now_ns)
        if resting is not None:
            return f"REST: {resting}"
        if mode is Mode.PAUSE or order.taker is not (mode is Mode.EMERGENCY):
            return f"MODE_FORBIDS: mode={mode}"
        shut = self.gate.forbids(taker=order.taker)
        if shut is not None:
            return shut
        since_ns = order.created_ns if order.state is OrderState.ROUTED else order.updated_ns
        return f"TOO_LATE: since_ns={since_ns}" if now_ns - since_ns > ROUTED_NS_MAX else None

    def _breaks_rule(self, tx: Transaction, order: Order, now_ns: int) -> str | None:
        rule = self.driver.rule
        if rule is None:
            return None
        tick = tx.market.instrument(order.symbol).tick_size
        return rule.forbids(order, tx.market.quote(order.symbol, now_ns), tick, now_ns)
