"""What the owner of a venue session does with the outbox: commit first, send after, never send again.

An order is `PENDING_NEW` in the database before its message exists. If the process dies between the two, the next
owner asks the venue; it does not send.
"""

from dataclasses import dataclass, field, replace
from threading import Lock
from typing import Final

from trisagion.clock import SECOND_NS
from trisagion.errors import StaleOwner
from trisagion.market.calendar import rest_reason
from trisagion.orders.state import IN_DOUBT, LIVE, OrderState, check_transition
from trisagion.orders.types import Order
from trisagion.ports import Database, Transaction, VenueSession
from trisagion.risk.check import only_reduces
from trisagion.safety.modes import Mode, cancels_working
from trisagion.services.outcome import Outcome
from trisagion.services.route_orders import intent_of

LEASE_S: Final = 6.0
"""Renewed every 2 s; the successor of an owner that died waits this long at most."""
WORKING: Final = frozenset({OrderState.NEW, OrderState.PARTIALLY_FILLED})


@dataclass(slots=True)
class SessionDriver:
    """Drives one session. `name` is the session's, `owner` this process'; `token` fences off every earlier owner.

    It is called on several threads. Between the commit that says "asked" and the sending nobody may ask what became of
    the order: the venue would not know it, and it would be taken for lost.
    """

    database: Database
    session: VenueSession
    name: str
    owner: str
    token: int | None = None
    _asking: Lock = field(default_factory=Lock, init=False)

    def lease(self) -> None:
        """Take or renew the session's lease; `StaleOwner` when somebody else holds it."""
        with self.database.transaction() as tx:
            token = tx.control.acquire(f"session:{self.name}", self.owner, LEASE_S)
        if token is None or (self.token is not None and token != self.token):
            raise StaleOwner(f"session {self.name}: the lease is held by another process; this one must stop")
        self.token = token

    def drain(self, now_ns: int) -> Outcome:
        """Send every cancel that is asked for, then every routed order."""
        if not self.session.logged_on():
            return Outcome("logged_off")
        with self.database.snapshot() as tx:
            to_cancel = [order for order in self._mine(tx, WORKING) if order.cancel_reason is not None]
            to_send = self._mine(tx, frozenset({OrderState.ROUTED}))
        for order in (*to_cancel, *to_send):
            # A message that comes late must not date what was decided since to its own instant.
            self._send(order, max(now_ns, order.updated_ns))
        return Outcome("drained")

    def _send(self, order: Order, now_ns: int) -> None:
        asked = OrderState.PENDING_NEW if order.state is OrderState.ROUTED else OrderState.PENDING_CANCEL
        with self._asking:
            claimed = self._claim(order, asked, now_ns)
            if claimed is None:
                return
            if asked is OrderState.PENDING_NEW:
                self.session.send_new(claimed, now_ns)
            else:
                self.session.send_cancel(claimed, now_ns)

    def _claim(self, order: Order, state: OrderState, now_ns: int) -> Order | None:
        """Commit the state that says "asked" and return the order as it then is; None when it must not be asked."""
        with self.database.transaction() as tx:
            self._fence(tx)
            present = tx.orders.order(order.cl_ord_id)
            # A fill between the look and the lock is no reason to let an order work on.
            still = WORKING if order.state in WORKING else frozenset({order.state})
            if present is None or present.state not in still:
                return None
            if state is OrderState.PENDING_NEW:
                why = _forbidden(tx, present, now_ns)
                if why is not None:
                    tx.orders.save(_to(present, OrderState.DENIED, now_ns, why))
                    tx.control.add_event("order.denied", present.cl_ord_id, {"reason": why}, now_ns)
                    return None
            claimed = _to(present, state, now_ns, present.reason)
            tx.orders.save(claimed)
        return claimed

    def _mine(self, tx: Transaction, states: frozenset[OrderState]) -> list[Order]:
        return [order for order in tx.orders.in_states(states) if order.session == self.name]

    def _fence(self, tx: Transaction) -> None:
        if self.token is None or not tx.control.holds(f"session:{self.name}", self.token):
            raise StaleOwner(f"session {self.name}: fencing token {self.token} is no longer valid")

    def resolve(self, now_ns: int) -> Outcome:
        """Ask the venue about every order whose last question it never answered."""
        with self._asking:
            with self.database.transaction() as tx:
                self._fence(tx)
                # Read again one by one, locked: a report may be booking one of them at this moment.
                locked = [tx.orders.order(order.cl_ord_id) for order in self._mine(tx, IN_DOUBT)]
                doubtful = [order for order in locked if order is not None and order.state in IN_DOUBT]
                for order in doubtful:
                    if order.state is not OrderState.UNKNOWN:
                        tx.orders.save(_to(order, OrderState.UNKNOWN, now_ns, order.reason))
            for order in doubtful:
                self.session.ask_status(order, now_ns)
        return Outcome("asked")

    def observe(self, now_ns: int) -> Outcome:
        """Ask for the venue's view of our positions; the request carries the instant it is asked for."""
        return Outcome("asked" if self.session.ask_positions(f"P{now_ns}", now_ns) else "logged_off")

    def enforce(self, now_ns: int) -> bool:
        """Read the control mode and withdraw all working orders where it says so; tell whether any had to be.

        Nobody else needs to ring for it: what is withdrawn is drained here too, again until the venue could be asked.
        """
        with self.database.snapshot() as tx:
            mode = tx.control.control().mode
            if not cancels_working(mode):
                return False
            working = [order for order in self._mine(tx, WORKING) if not order.taker]
        for order in working:
            if order.cancel_reason is not None:
                continue
            with self.database.transaction() as tx:
                present = tx.orders.order(order.cl_ord_id)
                if present is not None and present.state in WORKING and present.cancel_reason is None:
                    at_ns = max(now_ns, present.updated_ns)
                    tx.orders.save(
                        replace(present, cancel_reason=f"mode {mode}", updated_ns=at_ns, version=present.version + 1)
                    )
        if working:
            self.drain(now_ns)
        return bool(working)


def asked_ns(request_id: str) -> int:
    """Read the instant that a request for positions carries."""
    return int(request_id.removeprefix("P"))


def _forbidden(tx: Transaction, order: Order, now_ns: int) -> str | None:
    """Say why an order must not go out now: the last look, right before the socket."""
    mode = tx.control.control().mode
    resting = rest_reason(now_ns)
    if resting is not None:
        return f"REST: {resting}"
    if mode is Mode.PAUSE or order.taker is not (mode is Mode.EMERGENCY):
        return f"MODE_FORBIDS: mode={mode}"
    if mode is Mode.REDUCE:
        position = tx.ledger.position(order.symbol).qty
        if not only_reduces(intent_of(order), position, tx.orders.in_states(LIVE)):
            return f"MODE_FORBIDS: mode={mode} position={position}"
    if now_ns - order.created_ns > 60 * SECOND_NS:
        return f"TOO_LATE: created_ns={order.created_ns}"
    return None


def _to(order: Order, state: OrderState, now_ns: int, reason: str | None) -> Order:
    check_transition(order.state, state, cl_ord_id=order.cl_ord_id)
    at_ns = max(now_ns, order.updated_ns)
    return replace(order, state=state, reason=reason, updated_ns=at_ns, version=order.version + 1)
