"""An honest venue in every race: whatever is lost, repeated or late, our books end as its books are.

The venue is a small model of FIX 4.4's order state matrices, with one book entry for each order. Its words queue on a
wire and are heard one by one; the process may die before it has heard one, which is then told again, and a message of
ours may be lost with the connection. The services are the real ones, on SQLite.
"""

import shutil
from dataclasses import dataclass, field, replace
from decimal import Decimal
from itertools import count
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from tests.builders import BOOK_RULES, LIMITS, TUESDAY_NS, Desk, a_report, an_intended_order, qty
from trisagion.adapters.db import open_database
from trisagion.clock import SECOND_NS
from trisagion.ids import ClOrdId
from trisagion.orders.rejects import Reject
from trisagion.orders.state import IN_DOUBT, LIVE, TERMINAL, OrderState
from trisagion.orders.types import ExecType, ExecutionReport, Liquidity, Order, Side
from trisagion.safety.modes import Mode
from trisagion.services.amend_orders import amend
from trisagion.services.book_fills import book
from trisagion.services.drive_session import SessionDriver
from trisagion.services.route_orders import route
from trisagion.services.sweep import sweep
from trisagion.units import Money, Price

_S, _X = OrderState, ExecType
ORDERS_MAX = 4
PRICE = Price(Decimal("4000.25"))


@dataclass(slots=True)
class Entry:
    """An order in the venue's book: every ClOrdID that names it, the newest last."""

    names: list[ClOrdId]
    side: Side
    qty: Decimal
    state: OrderState = _S.NEW
    cum: Decimal = Decimal(0)
    wanted: tuple[ClOrdId, Decimal] | None = None

    @property
    def leaves(self) -> Decimal:
        """What may still be filled."""
        return Decimal(0) if self.state in TERMINAL else self.qty - self.cum


@dataclass(slots=True)
class ModelVenue:
    """A `session_ports.VenueSession` and the venue behind it; `wire` holds what it said and we have not heard."""

    book: list[Entry] = field(default_factory=list)
    wire: list[ExecutionReport] = field(default_factory=list)
    fills: dict[str, tuple[Entry, Decimal]] = field(default_factory=dict)
    sent: list[ClOrdId] = field(default_factory=list)
    losing: bool = False
    executions: Any = field(default_factory=count)

    def find(self, name: ClOrdId) -> Entry | None:
        """Return the order that a ClOrdID names."""
        return next((entry for entry in self.book if name in entry.names), None)

    def send_new(self, order: Order, now_ns: int) -> bool:
        """Take an order, unless the line breaks."""
        self.sent.append(order.cl_ord_id)
        if not self.losing:
            entry = Entry([order.cl_ord_id], order.side, order.qty)
            self.book.append(entry)
            self.say(entry, _X.NEW)
        return not self.losing

    def send_cancel(self, order: Order, now_ns: int) -> bool:
        """Cancel an order, or say that it is too late."""
        entry = self.find(order.venue_id)
        if self.losing or entry is None:
            return False
        if entry.state in TERMINAL:
            self.say(entry, _X.CANCEL_REJECTED, cl_ord_id=order.venue_id, reject=Reject.CANCEL_TOO_LATE)
        else:
            entry.state = _S.CANCELED
            self.say(entry, _X.CANCELED)
        return True

    def send_replace(self, order: Order, now_ns: int) -> bool:
        """Say that a replace is pending; a rule decides what becomes of it."""
        entry, asked = self.find(order.venue_id), order.asked_id
        assert asked is not None, order
        assert asked not in self.sent, "a ClOrdID was used twice"
        self.sent.append(asked)
        if self.losing or entry is None:
            return False
        assert order.wanted_qty is not None, order
        entry.wanted = (asked, order.wanted_qty)
        if entry.state in TERMINAL:
            self.settle(entry, accept=False)
        else:
            told = {"request_id": asked, "cl_ord_id": order.venue_id, "ord_status": _S.PENDING_REPLACE}
            self.say(entry, _X.PENDING_REPLACE, **told)
        return True

    def settle(self, entry: Entry, *, accept: bool) -> None:
        """Confirm or refuse a replace; what has ended or is filled beyond it is refused."""
        assert entry.wanted is not None, entry
        name, wanted = entry.wanted
        entry.wanted = None
        old = entry.names[-1]
        if not accept or entry.state in TERMINAL or wanted < entry.cum:
            self.say(entry, _X.REPLACE_REJECTED, cl_ord_id=old, request_id=name, reject=Reject.CANCEL_REFUSED)
            return
        entry.names.append(name)
        entry.qty = wanted
        entry.state = _S.FILLED if entry.cum == wanted else _S.PARTIALLY_FILLED if entry.cum else _S.NEW
        self.say(entry, _X.REPLACED, cl_ord_id=old, request_id=name)

    def ask_status(self, order: Order, now_ns: int) -> bool:
        """Answer about each ClOrdID by which we ask, each as this venue names it: only the newest one is known."""
        if self.losing:
            return False
        for name in (order.venue_id,) if order.asked_id is None else (order.asked_id, order.venue_id):
            entry = self.find(name)
            if entry is not None and entry.names[-1] == name:
                pending = {"ord_status": _S.PENDING_REPLACE} if entry.wanted else {}
                self.say(entry, _X.ORDER_STATUS, cl_ord_id=name, **pending)
            else:
                nothing = {"cum_qty": qty(0), "leaves_qty": qty(0), "avg_px": Decimal(0), "last_qty": qty(0)}
                told = {"unknown_order": True, "ord_status": _S.REJECTED, "last_px": None, "liquidity": None}
                self.wire.append(
                    a_report(
                        None, cl_ord_id=name, exec_type=_X.ORDER_STATUS, side=order.side, fee=0, **{**nothing, **told}
                    )
                )
        return True

    def ask_all_statuses(self, request_id: str) -> bool:
        """The model is asked order by order."""
        return False

    def ask_positions(self, request_id: str, now_ns: int) -> bool:
        """Not asked here."""
        raise AssertionError(request_id)

    def offset_ns(self) -> int | None:
        """The model has no clock."""
        return None

    def logged_on(self) -> bool:
        """The line breaks only while something is sent."""
        return True

    def trade(self, entry: Entry, lots: Decimal) -> None:
        """Fill a part of an order."""
        entry.cum += lots
        entry.state = _S.FILLED if entry.cum == entry.qty else _S.PARTIALLY_FILLED
        told = {"last_qty": qty(lots), "last_px": PRICE, "liquidity": Liquidity.MAKER, "fee": Money(Decimal("1.8"))}
        report = self.say(entry, _X.TRADE, **told)
        assert report.exec_id is not None
        self.fills[report.exec_id] = (entry, lots)

    def bust(self, exec_id: str) -> None:
        """Take a fill back. An order that has ended does not work again: what was filled is now cancelled."""
        entry, lots = self.fills.pop(exec_id)
        entry.cum -= lots
        if entry.state is _S.FILLED:
            entry.state = _S.CANCELED
        if entry.state not in TERMINAL:
            entry.state = _S.PARTIALLY_FILLED if entry.cum else _S.NEW
        self.say(entry, _X.TRADE_CANCEL, ref_exec_id=exec_id)

    def say(self, entry: Entry, kind: ExecType, **changes: Any) -> ExecutionReport:
        """Put a report on the wire."""
        bare = kind in {_X.CANCEL_REJECTED, _X.REPLACE_REJECTED}
        told = {
            "cl_ord_id": entry.names[-1],
            "exec_type": kind,
            "ord_status": entry.state,
            "symbol": "" if bare else "ES",
            "side": entry.side,
            "last_qty": qty(0),
            "last_px": None,
            "liquidity": None,
            "fee": Money(Decimal(0)),
            "cum_qty": qty(0 if bare else entry.cum),
            "leaves_qty": qty(0 if bare else entry.leaves),
            "avg_px": PRICE if entry.cum and not bare else Decimal(0),
        }
        nameless = bare or kind is _X.ORDER_STATUS
        report = a_report(None if nameless else f"E{next(self.executions)}", **{**told, **changes})
        self.wire.append(report)
        return report


class HonestVenue(RuleBasedStateMachine):
    """Two orders and their replaces between our workers and the model."""

    template: Path
    folder: Path
    numbers = count()

    def __init__(self) -> None:
        super().__init__()
        self.path = shutil.copy(self.template, self.folder / f"{next(self.numbers)}.sqlite3")
        self.desk = Desk(open_database(f"sqlite:///{self.path}")).found()
        self.venue = ModelVenue()
        self.heard: list[ExecutionReport] = []
        self.booked: dict[str, Decimal] = {}
        self.begin()
        self.names: list[ClOrdId] = []
        self.order(Side.BUY, heard=True)
        self.order(Side.SELL, heard=False)

    def teardown(self) -> None:
        """Let everything come to rest, and hold our books against the venue's."""
        for _ in range(12):
            for open_still in self.venue.book:
                if open_still.wanted is not None:
                    self.venue.settle(open_still, accept=True)
            while self.venue.wire:
                self.hear()
            if not any(order.state in IN_DOUBT for order in self.desk.orders()):
                break
            self.driver.resolve(TUESDAY_NS)
        for order in self.desk.orders():
            entry = self.venue.find(order.cl_ord_id)
            if entry is None:
                assert order.state in {_S.RISK_CHECKED, _S.ROUTED, _S.DENIED, _S.REJECTED}, order
                continue
            busted = order.state is _S.FILLED and entry.state is _S.CANCELED and entry.cum < entry.qty
            assert busted or order.state is entry.state, (order, entry)
            assert (order.qty, order.cum_qty) == (entry.qty, entry.cum), (order, entry)
            assert order.venue_id == entry.names[-1], (order, entry)
            assert order.state in TERMINAL or order.leaves_qty == max(entry.leaves, (order.wanted_qty or 0) - entry.cum)
        assert self.desk.position.qty == sum(entry.side.sign * entry.cum for entry in self.venue.book)
        self.desk.database.close()
        Path(self.path).unlink()

    def begin(self) -> None:
        """Come up as a process that owns the session."""
        self.driver = SessionDriver(self.desk.database, self.venue, "SIM", "one")
        self.driver.lease()
        self.driver.settle(TUESDAY_NS)

    def hear(self) -> None:
        """Hear the next word and do what follows from it."""
        report = self.venue.wire.pop(0)
        outcomes = book(self.desk.database, BOOK_RULES, report)
        self.driver.heard(report, TUESDAY_NS)
        self.heard.append(report)
        words = {outcome.word for outcome in outcomes}
        assert "quarantined" not in words, report
        sign = report.side.sign
        if report.exec_type is _X.TRADE and "booked" in words:
            self.booked[str(report.exec_id)] = sign * report.last_qty
        if report.exec_type is _X.TRADE_CANCEL and "booked" in words:
            del self.booked[str(report.ref_exec_id)]
        if "doubtful" in words:
            self.driver.resolve(TUESDAY_NS)
        if "undone" in words:
            self.driver.drain(TUESDAY_NS)

    @precondition(lambda self: len(self.names) < ORDERS_MAX)
    @rule(side=st.sampled_from(Side), heard=st.booleans())
    def order(self, side: Side, heard: bool) -> None:
        """A cycle wants another order; our workers bring it to the venue."""
        order = an_intended_order(TUESDAY_NS - len(self.names) * SECOND_NS, _S.RISK_CHECKED, side=side, qty=qty(4))
        self.desk.put(order)
        self.names.append(order.cl_ord_id)
        self.work()
        while heard and self.venue.wire:
            self.hear()

    @rule()
    def work(self) -> None:
        """Sweep, route and drain, as our workers do."""
        for outcome in sweep(self.desk.database):
            for name in outcome.subjects if outcome.word == "unrouted" else ():
                route(self.desk.database, LIMITS, "SIM", ClOrdId(name), TUESDAY_NS)
        self.driver.drain(TUESDAY_NS)

    @precondition(lambda self: self.venue.wire)
    @rule(words=st.integers(1, 4))
    def listen(self, words: int) -> None:
        """Hear some words."""
        for _ in range(min(words, len(self.venue.wire))):
            self.hear()

    @precondition(lambda self: self.heard)
    @rule(data=st.data())
    def repeat(self, data: st.DataObject) -> None:
        """Hear an execution again: it changes nothing."""
        known = [report for report in self.heard if report.exec_id is not None]
        before = self.desk.everything()
        for report in data.draw(st.lists(st.sampled_from(known), max_size=2)) if known else ():
            book(self.desk.database, BOOK_RULES, report)
        assert self.desk.everything() == before

    @rule(which=st.integers(0, ORDERS_MAX), lots=st.integers(1, 3))
    def fill(self, which: int, lots: int) -> None:
        """Somebody trades with an order of ours."""
        entry = self.venue.find(self.names[which % len(self.names)])
        if entry is not None and entry.leaves > 0:
            self.venue.trade(entry, min(Decimal(lots), entry.leaves))

    @precondition(lambda self: self.venue.fills)
    @rule(data=st.data())
    def bust(self, data: st.DataObject) -> None:
        """The venue takes a fill back."""
        self.venue.bust(data.draw(st.sampled_from(sorted(self.venue.fills))))

    @rule(which=st.integers(0, ORDERS_MAX), lots=st.integers(1, 7), ticks=st.integers(0, 2), lost=st.booleans())
    def amend(self, which: int, lots: int, ticks: int, lost: bool) -> None:
        """Somebody wants an order changed; the message may be lost with the line."""
        order = self.desk.order(self.names[which % len(self.names)])
        price = Price(Decimal(4000) - order.side.sign * ticks * Decimal("0.25"))
        amend(self.desk.database, LIMITS, order.cl_ord_id, qty=qty(lots), price=price, now_ns=TUESDAY_NS)
        self.venue.losing = lost and which == 0
        self.driver.drain(TUESDAY_NS)
        self.venue.losing = False

    @rule(which=st.integers(0, ORDERS_MAX), accept=st.booleans())
    def settle(self, which: int, accept: bool) -> None:
        """The venue decides about a replace."""
        entry = self.venue.find(self.names[which % len(self.names)])
        if entry is not None and entry.wanted is not None:
            self.venue.settle(entry, accept=accept)

    @rule(which=st.integers(0, ORDERS_MAX), how=st.sampled_from([_X.CANCELED, _X.EXPIRED, _X.DONE_FOR_DAY]))
    def end(self, which: int, how: ExecType) -> None:
        """The venue ends an order on its own; a replace that hangs on it is refused."""
        entry = self.venue.find(self.names[which % len(self.names)])
        if entry is not None and entry.state not in TERMINAL:
            entry.state = OrderState(how.value)
            self.venue.say(entry, how)
            if entry.wanted is not None:
                self.venue.settle(entry, accept=False)

    @rule(which=st.integers(0, ORDERS_MAX))
    def withdraw(self, which: int) -> None:
        """A later cycle wants an order gone."""
        order = self.desk.order(self.names[which % len(self.names)])
        if order.state in LIVE and order.cancel_reason is None:
            with self.desk.database.transaction() as tx:
                tx.orders.save(replace(order, cancel_reason="superseded", version=order.version + 1))

    @rule(mode=st.sampled_from([Mode.NORMAL, Mode.NORMAL, Mode.REDUCE, Mode.PAUSE]))
    def switch(self, mode: Mode) -> None:
        """An operator changes the mode, and the guard looks at it."""
        self.desk.switch(mode)
        self.driver.enforce(TUESDAY_NS)

    @rule()
    def restart(self) -> None:
        """The process dies; the next one asks about all that the venue may hold, and waits for the answers."""
        self.begin()

    @rule(
        which=st.integers(0, ORDERS_MAX),
        lots=st.integers(2, 7),
        fills=st.lists(st.integers(1, 4), max_size=2),
        accept=st.booleans(),
        dies=st.sampled_from(["not", "before", "between", "after"]),
    )
    def race(self, which: int, lots: int, fills: list[int], accept: bool, dies: str) -> None:
        """A replace, fills while it is pending, the venue's word on it, and a process that may die at any point."""
        self.desk.switch(Mode.NORMAL)
        while self.venue.wire:
            self.hear()
        self.amend(which, lots, ticks=1, lost=False)
        if dies == "before":
            self.restart()
        for number in fills:
            self.fill(which, number)
        if dies == "between":
            self.restart()
        self.settle(which, accept=accept)
        self.listen_all(until=None if dies == "not" else 2)
        if dies == "after":
            self.restart()

    def listen_all(self, until: int | None) -> None:
        """Hear everything, or only the first words."""
        left = len(self.venue.wire) if until is None else min(until, len(self.venue.wire))
        for _ in range(left):
            self.hear()

    @rule()
    def lose(self) -> None:
        """The line breaks while the outbox is drained: what was to be sent is lost."""
        self.venue.losing = True
        self.driver.drain(TUESDAY_NS)
        self.venue.losing = False

    @invariant()
    def the_position_is_what_was_heard(self) -> None:
        """Each fill once, less those that were taken back."""
        assert self.desk.position.qty == sum(self.booked.values())

    @invariant()
    def nothing_is_sent_twice(self) -> None:
        """Not an order, nor a ClOrdID of a replace."""
        assert len(self.venue.sent) == len(set(self.venue.sent))

    @invariant()
    def no_order_counts_for_less_than_the_venue_may_fill(self) -> None:
        """Whatever has been heard: what may still come is never more than what is counted against the limits."""
        for name in self.names:
            order, entry = self.desk.order(name), self.venue.find(name)
            ahead = [report for report in self.venue.wire if report.exec_type is _X.TRADE_CANCEL]
            if entry is not None and order.state in LIVE and not ahead:
                wanted = entry.wanted[1] if entry.wanted is not None and entry.state not in TERMINAL else entry.qty
                assert order.cum_qty + order.leaves_qty >= (max(entry.qty, wanted) if entry.leaves else entry.cum)


def test_our_books_end_as_an_honest_venues_books_are(sqlite_template: Path, tmp_path: Path) -> None:
    """New, ack, partial, fill, cancel, replace, refusal, bust, repetition, loss and restart in any order."""
    HonestVenue.template, HonestVenue.folder = sqlite_template, tmp_path
    run_state_machine_as_test(
        HonestVenue,
        settings=settings(
            max_examples=60, stateful_step_count=30, suppress_health_check=list(HealthCheck), deadline=None
        ),
    )
