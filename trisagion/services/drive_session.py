"""What the owner of a venue session does with the outbox: commit first, send after, never send again.

An order is `PENDING_NEW` in the database before its message exists. If the process dies between the two, the next
owner asks the venue; it does not send.

After each logon the venue is asked about every order that it may hold, and until it has spoken of all of them nothing
new leaves, and no replace; cancels do.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from functools import partial
from threading import Lock
from typing import Final

from trisagion.clock import SECOND_NS
from trisagion.errors import StaleOwner
from trisagion.gateway.pace import TokenBucket
from trisagion.gateway.settling import SETTLE_S_MAX, Settling
from trisagion.ids import ClOrdId
from trisagion.market.calendar import rest_reason
from trisagion.orders.state import AT_VENUE, IN_DOUBT, LIVE, WORKING, OrderState, check_transition
from trisagion.orders.types import ExecutionReport, Intent, Order, OrderLink
from trisagion.ports import Database, Transaction, VenueSession
from trisagion.risk.check import only_reduces
from trisagion.safety.modes import Mode, cancels_working
from trisagion.services.outcome import Outcome

LEASE_S: Final = 6.0
"""Renewed every 2 s; the successor of an owner that died waits this long at most."""
FULL: Final = TokenBucket(1000, Decimal("0.2"), tokens=1000.0, at_s=0.0)
"""The share of a session that was given none of its own: a second's worth of a loopback venue."""


@dataclass(slots=True)
class SessionDriver:
    """Drives one session. `name` is the session's, `owner` this process'; `token` fences off every earlier owner.

    It is called on several threads. Between the commit that says "asked" and the sending nobody may ask what became of
    the order: the venue would not know it, and it would be taken for lost.

    `bucket` is the session's share of messages by `clock`, a count of seconds that never goes back. It is held here and
    nowhere else, for whoever holds the lease is the only sender. `settling` is what the present logon waits for, None
    before the first one and whenever the session is down.
    """

    database: Database
    session: VenueSession
    name: str
    owner: str
    token: int | None = None
    bucket: TokenBucket = FULL
    clock: Callable[[], float] = time.monotonic
    settling: Settling | None = None
    _asking: Lock = field(default_factory=Lock, init=False)
    # Held for a moment only, never while something is sent: the engine calls with its session locked.
    _counting: Lock = field(default_factory=Lock, init=False)
    _logons: int = field(default=0, init=False)
    _waiting: bool = field(default=False, init=False)
    _unasked: dict[ClOrdId, None] = field(default_factory=dict, init=False)

    def lease(self) -> None:
        """Take or renew the session's lease; `StaleOwner` when somebody else holds it."""
        with self.database.transaction() as tx:
            token = tx.control.acquire(f"session:{self.name}", self.owner, LEASE_S)
        if token is None or (self.token is not None and token != self.token):
            raise StaleOwner(f"session {self.name}: the lease is held by another process; this one must stop")
        self.token = token

    def drain(self, now_ns: int) -> Outcome:
        """Send every cancel that is asked for, then every replace, then every routed order, each in its order.

        Where the session's share of messages is used up, the rest waits as it is; `pump` sends it later. So does all
        but the cancels while the session is settling.
        """
        if not self.session.logged_on():
            return Outcome("logged_off")
        with self.database.snapshot() as tx:
            working = self._mine(tx, WORKING)
            to_cancel = [order for order in working if order.cancel_reason is not None]
            to_replace = [order for order in working if order.cancel_reason is None and order.wanted_qty is not None]
            to_send = self._mine(tx, frozenset({OrderState.ROUTED}))
        settled = self.settled
        asked = [(order, OrderState.PENDING_CANCEL) for order in to_cancel]
        if settled:
            asked += [(order, OrderState.PENDING_REPLACE) for order in to_replace]
            asked += [(order, OrderState.PENDING_NEW) for order in to_send]
        for number, (order, state) in enumerate(asked):
            # A message that comes late must not date what was decided since to its own instant.
            if not self._send(order, state, max(now_ns, order.updated_ns)):
                self._throttled(len(asked) - number, now_ns)
                return Outcome("throttled")
        self._waiting = not settled and bool(to_replace or to_send)
        return Outcome("settling" if self._waiting else "drained")

    def pump(self, now_ns: int) -> None:
        """Send and ask what had to wait: for its share of messages, for the settling, for an answer that is overdue."""
        if self._waiting:
            self.drain(now_ns)
        settling = self.settling
        if settling is not None and settling.overdue(self.clock()) and self.session.logged_on():
            self._ask_again(settling, now_ns)
        if self._unasked:
            with self._asking:
                self._ask_next(now_ns)

    @property
    def settled(self) -> bool:
        """Tell whether the venue has spoken of every order that it may hold."""
        settling = self.settling
        return settling is not None and settling.done

    def settle(self, now_ns: int) -> Outcome:
        """After a logon: ask the venue about every order that it may hold.

        By one question for all where it knows that, and then order by order about those that it has not named.
        """
        with self._asking:
            orders = self._doubted(AT_VENUE, now_ns)
            self._logons += 1
            request = f"M{self.token}-{self._logons}"
            with self._counting:
                # Before the question: its answer is heard on another thread.
                self.settling = Settling.of(orders, request, self.clock())
            if self.bucket.room(self.clock(), urgent=True) and self.session.ask_all_statuses(request):
                self._take(1)
            else:
                self._advance(lambda settling: settling.complete(request, self.clock()), now_ns)
                self._unasked = dict.fromkeys(order.cl_ord_id for order in orders)
                self._ask_next(now_ns)
        return Outcome("settled", (self.name,)) if self.settled else Outcome("settling")

    def unsettle(self) -> None:
        """After a logout: nothing new leaves before the next logon has been settled."""
        with self._counting:
            self.settling = None

    def heard(self, report: ExecutionReport, now_ns: int) -> Outcome:
        """Count a report that has been booked, where it is an answer that is waited for."""
        return self._advance(lambda settling: settling.heard(report, self.clock()), now_ns)

    def heard_all(self, request: str, now_ns: int) -> Outcome:
        """Ask about the orders that a complete answer about all orders has not named."""
        outcome = self._advance(lambda settling: settling.complete(request, self.clock()), now_ns)
        settling = self.settling
        if settling is not None and settling.left:
            with self._asking:
                self._unasked |= dict.fromkeys(settling.left)
                self._ask_next(now_ns)
        return outcome

    def _advance(self, change: Callable[[Settling], Settling], now_ns: int) -> Outcome:
        with self._counting:
            before = self.settling
            if before is None or before.done:
                return Outcome("nothing")
            after = self.settling = change(before)
        if not after.done:
            return Outcome("settling")
        with self.database.transaction() as tx:
            told = {"orders": str(len(after.names)), "seconds": f"{self.clock() - after.begun_s:.3f}"}
            tx.control.add_event("session.settled", self.name, told, now_ns)
        return Outcome("settled", (self.name,))

    def _ask_again(self, settling: Settling, now_ns: int) -> None:
        """Tell a person that the venue is silent, and ask about each order by itself: it may not know the question."""
        text = f"UNSETTLED: no word on {len(settling.left)} orders for {SETTLE_S_MAX:g} s, and nothing new is sent"
        with self.database.transaction() as tx:
            tx.control.add_event("session.alarm", self.name, {"text": text}, now_ns)
        with self._asking:
            self._unasked |= dict.fromkeys(settling.left)
        self._advance(lambda present: present.repeated(self.clock()), now_ns)

    def _throttled(self, count: int, now_ns: int) -> None:
        if self._waiting:
            return
        self._waiting = True
        with self.database.transaction() as tx:
            told = {"waiting": str(count), "messages_per_s": str(self.bucket.per_s)}
            tx.control.add_event("session.throttled", self.name, told, now_ns)

    def _send(self, order: Order, asked: OrderState, now_ns: int) -> bool:
        """Ask the venue for something, or find that it must not be asked; False when the share is used up."""
        with self._asking:
            bucket = self.bucket.take(self.clock(), urgent=asked is OrderState.PENDING_CANCEL)
            if bucket is None:
                return False
            settling = self.settling
            claimed = self._claim(order, asked, now_ns)
            if claimed is None:
                return True
            self.bucket = bucket
            if asked is not OrderState.PENDING_CANCEL and (settling is not self.settling or not self.settled):
                # The line was down in between: what is asked after the logon has to include this one.
                return True
            if asked is OrderState.PENDING_NEW:
                self.session.send_new(claimed, now_ns)
            elif asked is OrderState.PENDING_REPLACE:
                self.session.send_replace(claimed, now_ns)
            else:
                self.session.send_cancel(claimed, now_ns)
        return True

    def _claim(self, order: Order, state: OrderState, now_ns: int) -> Order | None:
        """Commit the state that says "asked" and return the order as it then is; None when it must not be asked."""
        with self.database.transaction() as tx:
            self._fence(tx)
            present = tx.orders.order(order.cl_ord_id)
            # A fill between the look and the lock is no reason to let an order work on.
            still = WORKING if order.state in WORKING else frozenset({order.state})
            if present is None or present.state not in still:
                return None
            if state is OrderState.PENDING_REPLACE:
                return self._claim_replace(tx, present, now_ns)
            if state is OrderState.PENDING_NEW:
                why = _forbidden(tx, present, now_ns)
                if why is not None:
                    tx.orders.save(_to(present, OrderState.DENIED, now_ns, why))
                    tx.control.add_event("order.denied", present.cl_ord_id, {"reason": why}, now_ns)
                    return None
            # What is withdrawn is not to become anything else.
            present = replace(present, wanted_qty=None, wanted_price=None)
            claimed = _to(present, state, now_ns, present.reason)
            tx.orders.save(claimed)
        return claimed

    def _claim_replace(self, tx: Transaction, present: Order, now_ns: int) -> Order | None:
        qty, price = present.wanted_qty, present.wanted_price
        if qty is None or price is None or present.cancel_reason is not None:
            return None
        why = _forbidden(tx, present, now_ns) if qty > present.cum_qty else f"FILLED: cum_qty={present.cum_qty}"
        if why is not None:
            as_it_is = replace(present, wanted_qty=None, wanted_price=None, version=present.version + 1)
            tx.orders.save(replace(as_it_is, updated_ns=max(now_ns, present.updated_ns)))
            tx.control.add_event("order.amend_denied", present.cl_ord_id, {"reason": why}, now_ns)
            return None
        claimed = _to(replace(present, links=present.links + 1), OrderState.PENDING_REPLACE, now_ns, present.reason)
        name = claimed.asked_id
        assert name is not None, present.cl_ord_id
        tx.orders.add_link(OrderLink(name, present.cl_ord_id, claimed.links, qty, price, now_ns))
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
            self._unasked |= dict.fromkeys(order.cl_ord_id for order in self._doubted(IN_DOUBT, now_ns))
            self._ask_next(now_ns)
        return Outcome("asked")

    def _doubted(self, states: frozenset[OrderState], now_ns: int) -> Sequence[Order]:
        """Return the session's orders in some states; what was asked and not answered is UNKNOWN from now on."""
        with self.database.transaction() as tx:
            self._fence(tx)
            found = []
            for order in self._mine(tx, states):
                # Read again one by one, locked: a report may be booking one of them at this moment.
                present = tx.orders.order(order.cl_ord_id) if order.state in IN_DOUBT else order
                if present is None or present.state not in states:
                    continue
                if present.state in IN_DOUBT - {OrderState.UNKNOWN}:
                    present = _to(present, OrderState.UNKNOWN, now_ns, present.reason)
                    tx.orders.save(present)
                found.append(present)
        return found

    def _ask_next(self, now_ns: int) -> None:
        """Ask about orders, as far as the session's share of messages goes; the others are asked about later."""
        room = self.bucket.room(self.clock(), urgent=True)
        names = list(self._unasked)[:room]
        with self.database.snapshot() as tx:
            found = [(name, tx.orders.order(name)) for name in names]
        for name, order in found:
            settling = self.settling
            waited_for = settling is not None and bool(settling.names.get(name, frozenset()) & settling.waiting)
            if order is None or order.state not in (AT_VENUE if waited_for else IN_DOUBT):
                self._advance(partial(Settling.ended, order=name), now_ns)
            elif not self._take(1 if order.asked_id is None else 2):
                break
            else:
                if waited_for:
                    self._advance(partial(Settling.asked, order=order, now_s=self.clock()), now_ns)
                self.session.ask_status(order, now_ns)
            del self._unasked[name]

    def _take(self, count: int) -> bool:
        """Take a question's share of messages, all of it or nothing."""
        bucket: TokenBucket | None = self.bucket
        for _ in range(count):
            bucket = bucket.take(self.clock(), urgent=True) if bucket is not None else None
        self.bucket = bucket or self.bucket
        return bucket is not None

    def observe(self, now_ns: int) -> Outcome:
        """Ask for the venue's view of our positions; the request carries the instant it is asked for."""
        with self._asking:
            bucket = self.bucket.take(self.clock(), urgent=True)
            if bucket is None:
                return Outcome("throttled")
            self.bucket = bucket
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
    """Say why an order, or what is wanted of it, must not go out now: the last look, right before the socket."""
    mode = tx.control.control().mode
    resting = rest_reason(now_ns)
    if resting is not None:
        return f"REST: {resting}"
    if mode is Mode.PAUSE or order.taker is not (mode is Mode.EMERGENCY):
        return f"MODE_FORBIDS: mode={mode}"
    shut = tx.control.gate(order.session or "").forbids(taker=order.taker)
    if shut is not None:
        return shut
    if mode is Mode.REDUCE:
        position = tx.ledger.position(order.symbol).qty
        left = Intent(order.intent, order.cycle, order.symbol, order.side, order.leaves_qty, order.taker)
        others = [other for other in tx.orders.in_states(LIVE) if other.cl_ord_id != order.cl_ord_id]
        if not only_reduces(left, position, others):
            return f"MODE_FORBIDS: mode={mode} position={position}"
    since_ns = order.created_ns if order.state is OrderState.ROUTED else order.updated_ns
    if now_ns - since_ns > 60 * SECOND_NS:
        return f"TOO_LATE: since_ns={since_ns}"
    return None


def _to(order: Order, state: OrderState, now_ns: int, reason: str | None) -> Order:
    check_transition(order.state, state, cl_ord_id=order.cl_ord_id)
    at_ns = max(now_ns, order.updated_ns)
    return replace(order, state=state, reason=reason, updated_ns=at_ns, version=order.version + 1)
