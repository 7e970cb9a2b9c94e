"""What the owner of a venue session does with the outbox: commit first, send after, never send again.

An order is `PENDING_NEW` in the database before its message exists. If the process dies between the two, the next
owner asks the venue; it does not send.

After each logon the venue is asked about every order that it may hold, and until it has spoken of all of them nothing
new leaves, and no replace; cancels do. Nor does anything new while our clock is far off.
"""

import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from functools import partial
from threading import Lock
from typing import Final

from trisagion.clock import SECOND_NS
from trisagion.errors import StaleOwner, UnreadableRow
from trisagion.gateway.ib_guard import VenueRule
from trisagion.gateway.pace import TokenBucket
from trisagion.gateway.settling import SETTLE_S_MAX, Settling
from trisagion.ids import ClOrdId
from trisagion.market.calendar import closing_of, closing_reason
from trisagion.orders.state import AT_VENUE, IN_DOUBT, UNSENT, WORKING, OrderState, check_transition
from trisagion.orders.types import ExecutionReport, Order, OrderLink
from trisagion.ports import Database, Transaction
from trisagion.safety.modes import Mode, Standing, cancels_working
from trisagion.safety.skew import WINDOW_S, Skew, judge, offset_between
from trisagion.services import orphans
from trisagion.services.control import shut_gate
from trisagion.services.deny_unsent import deny_unsent
from trisagion.services.fingerprint import expect_current
from trisagion.services.last_look import LastLook
from trisagion.services.outcome import Outcome
from trisagion.services.watch_flag import Flag, demanded, never
from trisagion.services.wire import Wire
from trisagion.session_ports import VenueSession

LEASE_S: Final = 6.0
"""Renewed every 2 s; the successor of an owner that died waits this long at most."""
PRESENT_S: Final = 2.0
"""How long an instant is the present, and a look at mode, gate and rest the last one.

Our choice: a third of the lease, so that a slow disk loses no order."""
CLAIM_MAX: Final = 64
"""Orders that are claimed in one transaction: so many may be in doubt after a crash. Our choice: at the default share
of messages they are asked about within a third of a second, and a burst of 500 costs eight commits."""
OUTBOX_MAX: Final = 1000
"""Orders that one drain sends; the next one follows within a guard's turn."""
LOGON_S_MAX: Final = 60.0
"""Sixty attempts at a logon, one a second: beyond that a person has to look."""
_KINDS: Final = (OrderState.PENDING_CANCEL, OrderState.PENDING_REPLACE, OrderState.PENDING_NEW)
"""What is asked for, in this order: what takes risk away is not behind what adds it."""
FULL: Final = TokenBucket(1000, Decimal("0.2"), tokens=1000.0, at_s=0.0)
"""The share of a session that was given none of its own: a second's worth of a loopback venue."""


@dataclass(slots=True)
class SessionDriver:
    """Drives one session. `name` is the session's, `owner` this process'; `token` fences off every earlier owner.

    It is called on several threads. Between the commit that says "asked" and the sending nobody may ask what became of
    the order: the venue would not know it, and it would be taken for lost.

    `wall` is the machine's clock, which is watched; what is dated is so by the platform's.

    `rule` is what this venue forbids besides, as one that knows no post-only order does. `fingerprint` is this process'
    build and configuration: where another one is registered, only cancels and questions leave.

    `account` is the one that the orders are for: a control mode may be for it alone. `flag` is up where a file demands
    a pause, whatever the database says.

    `bucket` is the session's share of messages by `clock`, a count of seconds that never goes back. It is held here and
    nowhere else, for whoever holds the lease is the only sender. `settling` is what the present logon waits for, None
    before the first one and whenever the session is down; `skewed` says that our clock is too far off to send by.

    What adds risk leaves by the `wire`, which a stop shuts without the database; `read_s` is when what
    is in force was read last, with the orders that it concerns.
    """

    database: Database
    session: VenueSession
    name: str
    owner: str
    token: int | None = None
    bucket: TokenBucket = FULL
    clock: Callable[[], float] = time.monotonic
    settling: Settling | None = None
    wall: Callable[[], int] = time.time_ns
    rule: VenueRule | None = None
    account: str = ""
    flag: Flag = never
    fingerprint: str = ""
    _asking: Lock = field(default_factory=Lock, init=False)
    # Held for a moment only, never while something is sent: the engine calls with its session locked.
    _counting: Lock = field(default_factory=Lock, init=False)
    _logons: int = field(default=0, init=False)
    _waiting: bool = field(default=False, init=False)
    _passed_over: bool = field(default=False, init=False)
    # Claimed, or perhaps claimed, and not sent: nothing will be said of them before they are asked about.
    _left: set[ClOrdId] = field(default_factory=set, init=False)
    _unasked: dict[ClOrdId, None] = field(default_factory=dict, init=False)
    _orphans: dict[ClOrdId, ExecutionReport] = field(default_factory=dict, init=False)
    skewed: bool = field(default=False, init=False)
    _offset_ns: int = field(default=0, init=False)
    _ours_until_s: float = field(default=0.0, init=False)
    _watched_s: float | None = field(default=None, init=False)
    _blind_until_s: float = field(default=0.0, init=False)
    _skews: dict[str, Skew] = field(default_factory=dict, init=False)
    _down_s: float | None = field(default=None, init=False)
    _told_down: bool = field(default=False, init=False)
    wire: Wire = field(init=False)
    read_s: float = field(init=False)
    _present_ns: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        self.wire, self.read_s = Wire(self.session), self.clock()

    def lease(self) -> None:
        """Take or renew the session's lease, and look at the database's clock; `StaleOwner` when another has it."""
        asked_s = self.clock()
        with self.database.transaction() as tx:
            token = tx.control.acquire(f"session:{self.name}", self.owner, LEASE_S)
            before_ns = self.wall()
            theirs_ns = tx.control.wall_ns()
            self._offset_ns = offset_between(before_ns, theirs_ns, self.wall())
        if token is None or (self.token is not None and token != self.token):
            raise StaleOwner(f"session {self.name}: the lease is held by another process; this one must stop")
        self.token = token
        self._ours_until_s = asked_s + LEASE_S

    def drain(self, now_ns: int) -> Outcome:
        """Send every cancel that is asked for, then every replace, then every routed order, each in its order.

        Where the session's share of messages is used up, or `now_ns` has become the past, the rest waits as it is;
        `pump` sends it later. So does all but the cancels while the session is settling.
        """
        told_s = self.clock()
        if not self.session.logged_on():
            return Outcome("logged_off")
        with self.database.snapshot() as tx:
            found = tx.orders.outbox(self.name, OUTBOX_MAX)
        settled = self.settled and not self.skewed
        asked = {kind: [order for order in found if _wish(order) is kind] for kind in _KINDS}
        left = sum(len(orders) for kind, orders in asked.items() if settled or kind is OrderState.PENDING_CANCEL)
        self._passed_over = False
        for kind, orders in asked.items():
            if not settled and kind is not OrderState.PENDING_CANCEL:
                break
            while orders:
                if self.clock() - told_s > PRESENT_S:
                    self._waiting = True
                    return Outcome("throttled")
                with self._asking:
                    count = min(self.bucket.room(self.clock(), urgent=kind is OrderState.PENDING_CANCEL), CLAIM_MAX)
                    self._send(orders[:count], kind, now_ns)
                if count == 0:
                    self._throttled(left, now_ns)
                    return Outcome("throttled")
                left -= len(orders[:count])
                del orders[:count]
        kept = not settled and any(asked.values())
        self._waiting = kept or self._passed_over or len(found) == OUTBOX_MAX
        return Outcome("settling" if kept else "drained")

    def stop_unread(self) -> int:
        """Ask without the database for the cancel of all that the venue may hold; return how many were asked for."""
        # Whoever else takes of the share of messages waits for the database meanwhile.
        return self.wire.cancel_all(lambda: self._take(1), self._present_ns)

    def pump(self, now_ns: int) -> None:
        """Send and ask what had to wait: for its share of messages, for the settling, for an answer that is overdue."""
        if self._waiting:
            self.drain(now_ns)
        if self._left and self.settled:
            with self._asking:
                found = self._doubted(IN_DOUBT, now_ns, self._left)
                self._unasked |= dict.fromkeys(order.cl_ord_id for order in found)
                self._left.clear()
        settling = self.settling
        if settling is not None and settling.overdue(self.clock()) and self.session.logged_on():
            self._ask_again(settling, now_ns)
        if self._unasked:
            with self._asking:
                self._ask_next(now_ns)
        for name in list(self._orphans):
            self._cancel_orphan(name, now_ns)

    def watch(self, now_ns: int) -> None:
        """Look at the clocks and at the line; what a person must hear of is said once for each time."""
        present_s = self.clock()
        if self._watched_s is not None and present_s - self._watched_s > PRESENT_S:
            # The process stood still, or the database held it up: what waited for it meanwhile looks like a skew.
            self._blind_until_s = present_s + WINDOW_S
        self._watched_s = present_s
        found = dict(self._skews)
        heard_ns = self.session.offset_ns() if present_s >= self._blind_until_s else None
        offsets = {"venue": heard_ns, "database": self._offset_ns}
        for whose, offset_ns in offsets.items():
            # Where nothing is heard any more, what was heard last holds.
            if offset_ns is not None:
                found[whose] = judge(offset_ns, known=self._skews.get(whose, Skew.NONE))
        # Nothing new leaves from now on, whatever becomes of the transactions.
        self.skewed = Skew.SHUT in found.values()
        for whose, skew in found.items():
            if skew > self._skews.get(whose, Skew.NONE):
                off_s = (offsets[whose] or 0) / SECOND_NS
                self._tell_skew(f"CLOCK: ours less the {whose}'s is {off_s:.3f} s", skew, now_ns)
            self._skews[whose] = skew
        self._watch_line(now_ns)

    def _tell_skew(self, text: str, skew: Skew, now_ns: int) -> None:
        with self.database.transaction() as tx:
            tx.control.add_event("clock.alarm", self.name, {"text": text}, now_ns)
            if skew is Skew.SHUT:
                shut_gate(tx, self.name, text, now_ns)

    def _watch_line(self, now_ns: int) -> None:
        if self.session.logged_on():
            self._down_s, self._told_down = None, False
            return
        if self._down_s is None:
            self._down_s = self.clock()
        if not self._told_down and self.clock() - self._down_s >= LOGON_S_MAX:
            text = (
                f"LOGGED_OFF: no session with the venue for {LOGON_S_MAX:g} s; `trisagion messages` shows its words. "
                "Should it refuse each logon without a word, look at the clocks: one that is off by more than 120 s "
                "looks exactly so"
            )
            with self.database.transaction() as tx:
                tx.control.add_event("session.alarm", self.name, {"text": text}, now_ns)
            self._told_down = True

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
            self._left.clear()
            self.wire.found(orders)
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

    def orphan(self, report: ExecutionReport) -> None:
        """Remember an order at the venue that is not ours; `pump` asks for its cancel: the session is locked here."""
        self._orphans.setdefault(report.cl_ord_id, report)

    def _cancel_orphan(self, name: ClOrdId, now_ns: int) -> None:
        """Ask for the cancel of an order that is not ours; should it live, the venue names it again after a logon."""
        order = orphans.as_order(self._orphans[name])
        with self._asking:
            if not self.session.logged_on() or not self._take(1):
                return
            with self.database.transaction() as tx:
                self._fence(tx)
                orphans.told(tx, order, "ORPHAN: its cancel is asked for", now_ns, alarm=False)
            sent = self.session.send_cancel(order, now_ns)
            del self._orphans[name]
        if not sent and self.session.logged_on():
            with self.database.transaction() as tx:
                text = "ORPHAN: it cannot be cancelled from here; cancel it at the venue"
                orphans.told(tx, order, text, now_ns, alarm=True)

    def heard(self, report: ExecutionReport, now_ns: int) -> Outcome:
        """Count a report that has been booked, where it is an answer that is waited for."""
        self.wire.heard(report)
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

    def _send(self, orders: Sequence[Order], kind: OrderState, now_ns: int) -> None:
        """Ask the venue for one kind of thing about several orders, or find that it must not be asked."""
        settling, looked_s = self.settling, self.clock()
        names = {order.cl_ord_id for order in orders}
        # A commit that ended in an error may have been kept.
        self._left |= names
        claimed = self._claim(orders, kind, now_ns)
        self._left = self._left - names | {order.cl_ord_id for order in claimed}
        for order in claimed:
            urgent = kind is OrderState.PENDING_CANCEL
            if not urgent and (settling is not self.settling or not self.settled or self.skewed):
                # The line was down in between: after the logon these are asked about, like all others.
                return
            if self.clock() >= self._ours_until_s:
                # The process stood still after its claim: by now another one may have asked what became of the order.
                raise StaleOwner(f"session {self.name}: the lease ran out between the claim and the sending")
            if self.clock() - looked_s > PRESENT_S:
                # A kill may have come meanwhile; like any question without an answer these are asked about.
                return
            self.bucket = self.bucket.take(self.clock(), urgent=urgent) or self.bucket
            # A message that comes late must not date what was decided since to its own instant.
            passed = True
            if kind is OrderState.PENDING_NEW:
                passed = self.wire.send_new(order)
            elif kind is OrderState.PENDING_REPLACE:
                passed = self.wire.send_replace(order)
            else:
                self.wire.send_cancel(order)
            if passed:
                self._left.discard(order.cl_ord_id)

    def _claim(self, orders: Sequence[Order], kind: OrderState, now_ns: int) -> Sequence[Order]:
        """Commit the state that says "asked"; return the orders as they then are, without those not to be asked for.

        All in one transaction, with the last look: an order costs a share of a commit. Should the process die before
        it has sent the last of them, those are asked about, and none is sent again.
        """
        if not orders:
            return ()
        with self.database.transaction() as tx:
            self._fence(tx)
            locked = tx.orders.locked([order.cl_ord_id for order in orders])
            # Somebody has the others in hand: their turn comes with the next drain.
            self._passed_over |= len(locked) < len(orders)
            # A fill between the look and the lock is no reason to let an order work on.
            present = [order for order in locked if _wish(order) is kind]
            if kind is not OrderState.PENDING_CANCEL:
                expect_current(tx, self.fingerprint)
            look = None if kind is OrderState.PENDING_CANCEL else LastLook.at(tx, self, now_ns)
            claimed: list[Order] = []
            for order, why in [(order, None) for order in present] if look is None else look.over(tx, present, now_ns):
                if kind is OrderState.PENDING_REPLACE:
                    claimed += self._claim_replace(tx, order, why, now_ns)
                elif why is not None:
                    tx.orders.save(_to(order, OrderState.DENIED, now_ns, why))
                    tx.control.add_event("order.denied", order.cl_ord_id, {"reason": why}, now_ns)
                else:
                    # What is withdrawn is not to become anything else.
                    still = replace(order, wanted_qty=None, wanted_price=None)
                    claimed.append(_to(still, kind, now_ns, order.reason))
            if kind is not OrderState.PENDING_REPLACE:
                tx.orders.ask([order.cl_ord_id for order in claimed], kind, now_ns)
            if claimed:
                tx.lately.count(self.name, now_ns, messages=len(claimed))
        self.read_s = self.clock()
        return claimed

    def _claim_replace(self, tx: Transaction, present: Order, why: str | None, now_ns: int) -> list[Order]:
        qty, price = present.wanted_qty, present.wanted_price
        assert qty is not None and price is not None, present.cl_ord_id
        if qty <= present.cum_qty:
            why = f"FILLED: cum_qty={present.cum_qty}"
        if why is not None:
            as_it_is = replace(present, wanted_qty=None, wanted_price=None, version=present.version + 1)
            tx.orders.save(replace(as_it_is, updated_ns=max(now_ns, present.updated_ns)))
            tx.control.add_event("order.amend_denied", present.cl_ord_id, {"reason": why}, now_ns)
            return []
        claimed = _to(replace(present, links=present.links + 1), OrderState.PENDING_REPLACE, now_ns, present.reason)
        name = claimed.asked_id
        assert name is not None, present.cl_ord_id
        tx.orders.add_link(OrderLink(name, present.cl_ord_id, claimed.links, qty, price, now_ns))
        tx.orders.save(claimed)
        return [claimed]

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

    def _doubted(
        self, states: frozenset[OrderState], now_ns: int, names: Collection[ClOrdId] | None = None
    ) -> Sequence[Order]:
        """Return the session's orders in some states; what was asked and not answered is UNKNOWN from now on.

        Of some `names` alone, where these are given.
        """
        with self.database.transaction() as tx:
            self._fence(tx)
            found = []
            for order in self._mine(tx, states):
                if names is not None and order.cl_ord_id not in names:
                    continue
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
        """Withdraw orders at the venue where the control mode says so, or a rest that is or begins within a minute.

        Tell whether any had to be. Nobody else needs to ring for it: what is withdrawn is drained here too, again until
        the venue could be asked. What is in doubt may work there as well, and is asked to cancel once. What was
        approved and not sent is denied: the gateway that would do so may be dead, and a stop ends when nothing waits.
        """
        with self.database.snapshot() as tx:
            standing, closing = self.standing(tx, now_ns), closing_reason(now_ns)
            self._present_ns = now_ns
            asked = (standing.everything, *standing.at(now_ns))
            shut: dict[str, str | None] = {}
            try:
                shut = {each.symbol: closing_of(each, now_ns) for each in tx.market.instruments()}
            except UnreadableRow:
                # What it was may be closed by now; and a kill must not wait for anything.
                closing = closing or "an instrument cannot be read"
            if not any([closing, *shut.values()]) and not any(cancels_working(each.mode) for each in asked):
                self.read_s = self.clock()
                return False
            found = [order for order in self._mine(tx, WORKING | {OrderState.UNKNOWN}) if not order.taker]
            unsent = [order for order in tx.orders.in_states(UNSENT) if order.session in {None, self.name}]
        # Not before all of it was read: a stop that cannot be carried out is one that nobody has heard.
        self.read_s = self.clock()
        modes = {order.cl_ord_id: self.mode_of(order, standing, now_ns) for order in (*found, *unsent)}
        rests = {order.cl_ord_id: closing or shut.get(order.symbol) for order in found}
        why = {
            name: f"mode {modes[name]}" if cancels_working(modes[name]) else f"rest: {rest}"
            for name, rest in rests.items()
            if cancels_working(modes[name]) or rest is not None
        }
        there = [order for order in found if order.cl_ord_id in why]
        working = [order for order in there if order.state in WORKING]
        wishless = [order.cl_ord_id for order in working if order.cancel_reason is None]
        for start in range(0, len(wishless), CLAIM_MAX):
            with self.database.transaction() as tx:
                for present in tx.orders.locked(wishless[start : start + CLAIM_MAX]):
                    if present.state in WORKING and present.cancel_reason is None:
                        at_ns = max(now_ns, present.updated_ns)
                        wish = replace(present, cancel_reason=why[present.cl_ord_id], version=present.version + 1)
                        tx.orders.save(replace(wish, updated_ns=at_ns))
            self.read_s = self.clock()
        doubtful = [order for order in there if order.state is OrderState.UNKNOWN and order.cancel_reason is None]
        for order in doubtful:
            self._cancel_in_doubt(order, why[order.cl_ord_id], now_ns)
        if working:
            self.drain(now_ns)
        forbidden = {
            order.cl_ord_id: f"MODE_FORBIDS: mode={modes[order.cl_ord_id]}"
            for order in unsent
            if cancels_working(modes[order.cl_ord_id]) and not order.taker
        }
        deny_unsent(self.database, forbidden, now_ns)
        return bool(working or doubtful)

    def standing(self, tx: Transaction, now_ns: int) -> Standing:
        """Return all modes that are in force, with what the flag demands."""
        found = tx.control.standing()
        return replace(found, others=(*found.others, *demanded(self.flag, now_ns)))

    def mode_of(self, order: Order, standing: Standing, now_ns: int) -> Mode:
        """Return the mode that binds an order of this session."""
        return standing.over(account=self.account, venue=self.name, symbol=order.symbol, now_ns=now_ns).mode

    def _cancel_in_doubt(self, order: Order, why: str, now_ns: int) -> None:
        with self._asking:
            if not self.session.logged_on() or not self.bucket.room(self.clock(), urgent=True):
                return
            with self.database.transaction() as tx:
                self._fence(tx)
                present = tx.orders.order(order.cl_ord_id)
                if present is None or present.state is not OrderState.UNKNOWN or present.cancel_reason is not None:
                    return
                claimed = _to(replace(present, cancel_reason=why), OrderState.PENDING_CANCEL, now_ns, present.reason)
                tx.orders.save(claimed)
                tx.lately.count(self.name, now_ns, messages=1)
            self._take(1)
            self.wire.send_cancel(claimed)


def asked_ns(request_id: str) -> int:
    """Read the instant that a request for positions carries."""
    return int(request_id.removeprefix("P"))


def _wish(order: Order) -> OrderState | None:
    """Return what the venue is to be asked for about an order, as the state that says so; None for nothing."""
    if order.state is OrderState.ROUTED:
        return OrderState.PENDING_NEW
    if order.state not in WORKING:
        return None
    if order.cancel_reason is not None:
        return OrderState.PENDING_CANCEL
    return OrderState.PENDING_REPLACE if order.wanted_qty is not None else None


def _to(order: Order, state: OrderState, now_ns: int, reason: str | None) -> Order:
    check_transition(order.state, state, cl_ord_id=order.cl_ord_id)
    at_ns = max(now_ns, order.updated_ns)
    return replace(order, state=state, reason=reason, updated_ns=at_ns, version=order.version + 1)
