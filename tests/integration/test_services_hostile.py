"""A venue that says anything at all, at any time: the books stay whole, and no word of it is a crash."""

import shutil
from dataclasses import replace
from decimal import Decimal
from itertools import count
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from tests.builders import BOOK_RULES, LIMITS, TUESDAY_NS, Desk, a_report, an_intended_order, qty
from tests.fakes import FakeSession
from trisagion.adapters.db import open_database, tables
from trisagion.clock import SECOND_NS
from trisagion.gateway.settling import SETTLED
from trisagion.gateway.words import ORD_STATUSES
from trisagion.ids import ClOrdId, link_cl_ord_id
from trisagion.ledger.postings import rebuild
from trisagion.ledger.types import Account, Posting
from trisagion.orders.rejects import Reject
from trisagion.orders.state import LIVE, TERMINAL, TRANSITIONS, OrderState
from trisagion.orders.types import ExecType, ExecutionReport, Liquidity, Order, Side
from trisagion.safety.modes import Mode
from trisagion.services.amend_orders import amend
from trisagion.services.book_fills import RESTATING, book
from trisagion.services.drive_session import SessionDriver
from trisagion.services.route_orders import route
from trisagion.services.stakes import booked_cash
from trisagion.services.sweep import sweep
from trisagion.units import Money, Price, Quantity

NUMBERS = st.decimals("0", "999999", places=2)
SOME = st.sampled_from([Decimal(n) for n in (0, 1, 2, 3, 5)])
STATUSES = st.sampled_from([*ORD_STATUSES.values(), OrderState.UNKNOWN])
KINDS = st.sampled_from([*ExecType, ExecType.TRADE, ExecType.TRADE])


class HostileVenue(RuleBasedStateMachine):
    """Three orders, one of them not sent, at a venue without shame; we go on doing what our workers do."""

    template: Path
    folder: Path
    numbers = count()

    def __init__(self) -> None:
        super().__init__()
        self.path = shutil.copy(self.template, self.folder / f"{next(self.numbers)}.sqlite3")
        self.desk = Desk(open_database(f"sqlite:///{self.path}")).found()
        self.session = FakeSession()
        self.driver = SessionDriver(self.desk.database, self.session, "SIM", "one", settling=SETTLED)
        self.driver.lease()
        orders = [
            an_intended_order(TUESDAY_NS - number * SECOND_NS, state, side=side)
            for number, (state, side) in enumerate(
                [(OrderState.ROUTED, Side.BUY), (OrderState.PENDING_NEW, Side.SELL), (OrderState.NEW, Side.BUY)]
            )
        ]
        self.desk.put(*orders)
        self.names = [order.cl_ord_id for order in orders]
        self.told: dict[str, ExecutionReport] = {}
        self.fills: dict[str, tuple[ClOrdId, Decimal]] = {}
        self.before = {order.cl_ord_id: order for order in orders}

    def teardown(self) -> None:
        """Give the file back."""
        self.desk.database.close()
        Path(self.path).unlink()

    @rule(
        which=st.integers(0, 3),
        kind=KINDS,
        status=STATUSES,
        last=st.sampled_from([Decimal(1), Decimal(2), Decimal(7), Decimal("0.5")]),
        px=NUMBERS,
        cum=SOME,
        leaves=SOME,
        fee=st.decimals("-5", "5", places=3),
        liquidity=st.sampled_from(Liquidity),
        reject=st.sampled_from([None, *Reject]),
        asked=st.booleans(),
        ref=st.integers(0, 9),
        symbol=st.sampled_from(["ES", "ES", "ES", "NQ"]),
        unknown=st.booleans(),
        late_s=st.integers(-90, 90),
    )
    def say(
        self,
        *,
        which: int,
        kind: ExecType,
        status: OrderState,
        last: Decimal,
        px: Decimal,
        cum: Decimal,
        leaves: Decimal,
        fee: Decimal,
        liquidity: Liquidity,
        reject: Reject | None,
        asked: bool,
        ref: int,
        symbol: str,
        unknown: bool,
        late_s: int,
    ) -> None:
        """Say anything that the gateway can read."""
        names = [order.cl_ord_id for order in self.desk.orders()]
        name = names[which] if which < len(names) else ClOrdId("stranger")
        order = self.before.get(name)
        trade = kind in {ExecType.TRADE, ExecType.TRADE_CORRECT}
        bare = kind in {ExecType.CANCEL_REJECTED, ExecType.REPLACE_REJECTED}
        about = f"E{ref}" if kind in RESTATING else None
        report = a_report(
            None if kind is ExecType.ORDER_STATUS or bare else f"E{len(self.told)}",
            cl_ord_id=name,
            exec_type=kind,
            ord_status=status,
            symbol=symbol,
            side=order.side if order else Side.BUY,
            last_qty=Quantity(last if trade else Decimal(0)),
            last_px=Price(px + 1) if trade else None,
            cum_qty=Quantity(max(cum, last) if trade else cum),
            leaves_qty=Quantity(leaves),
            avg_px=px,
            fee=Money(fee if trade else Decimal(0)),
            liquidity=liquidity if trade else None,
            reject=reject,
            request_id=link_cl_ord_id(name, 1) if asked else None,
            ref_exec_id=about,
            unknown_order=unknown and kind is ExecType.ORDER_STATUS,
            happened_ns=TUESDAY_NS + late_s * SECOND_NS,
        )
        if bare or (kind is ExecType.ORDER_STATUS and status is OrderState.UNKNOWN):
            # As a cancel reject comes: without symbol and quantities.
            report = replace(report, symbol="", cum_qty=qty(0), leaves_qty=qty(0), unknown_order=False)
        if report.exec_id is not None:
            self.told[report.exec_id] = report
        book(self.desk.database, BOOK_RULES, report)
        if order is None or symbol != order.symbol:
            return
        if kind in RESTATING and self.fills.get(str(about), ("", 0))[0] != name:
            return
        self.fills.pop(str(about), None)
        if trade:
            self.fills[str(report.exec_id)] = (name, order.side.sign * last)

    @precondition(lambda self: self.told)
    @rule(data=st.data())
    def repeat(self, data: st.DataObject) -> None:
        """Say something a second time, under the same exec_id."""
        before = self.desk.everything()
        book(self.desk.database, BOOK_RULES, self.told[data.draw(st.sampled_from(sorted(self.told)))])
        assert self.desk.everything() == before

    @precondition(lambda self: self.told)
    @rule(data=st.data())
    def repeat_otherwise(self, data: st.DataObject) -> None:
        """Say something else under an exec_id that was said: no fill is booked of it, and it is not passed over."""
        before = self.desk.everything()
        told = self.told[data.draw(st.sampled_from(sorted(self.told)))]
        book(self.desk.database, BOOK_RULES, replace(told, last_qty=Quantity(told.last_qty + 1)))
        after = self.desk.everything()
        assert after["posting"] == before["posting"]
        assert after["event"] != before["event"]

    @rule()
    def drain(self) -> None:
        """The session sends what there is."""
        self.driver.drain(TUESDAY_NS)

    @rule()
    def resolve(self) -> None:
        """The session asks about what is in doubt."""
        self.driver.resolve(TUESDAY_NS)

    @rule(mode=st.sampled_from(Mode))
    def switch(self, mode: Mode) -> None:
        """An operator changes the mode, and the guard looks at it."""
        self.desk.switch(mode)
        self.driver.enforce(TUESDAY_NS)

    @rule()
    def sweep_and_route(self) -> None:
        """The sweeper finds what is left, and the gateway routes it."""
        for outcome in sweep(self.desk.database):
            for name in outcome.subjects if outcome.word == "unrouted" else ():
                route(self.desk.database, LIMITS, "SIM", ClOrdId(name), TUESDAY_NS)

    @rule(which=st.integers(0, 2), lots=st.integers(1, 6), ticks=st.integers(-3, 3))
    def amend(self, which: int, lots: int, ticks: int) -> None:
        """A working order is to become another one."""
        price = Price(Decimal(4000) + ticks * Decimal("0.25"))
        amend(self.desk.database, LIMITS, self.names[which], qty=qty(lots), price=price, now_ns=TUESDAY_NS)

    @rule(which=st.integers(0, 2))
    def withdraw(self, which: int) -> None:
        """A later cycle wants an order gone."""
        order = self.desk.order(self.names[which])
        if order.state in LIVE and order.cancel_reason is None:
            with self.desk.database.transaction() as tx:
                tx.orders.save(replace(order, cancel_reason="superseded", version=order.version + 1))

    @invariant()
    def no_order_moved_as_it_must_not(self) -> None:
        """Each order stands where it stood, or where a chain of rows of the table leads; and no end is left."""
        after = {order.cl_ord_id: order for order in self.desk.orders()}
        for name, order in self.before.items():
            now = after[name]
            assert now.version >= order.version
            assert now.updated_ns >= order.updated_ns
            assert now.state is order.state or now.state in _reachable(order.state)
            assert order.state not in TERMINAL or now.state is order.state
        self.before = after

    @invariant()
    def position_is_the_sum_of_the_fills_booked_once(self) -> None:
        """And the orders' counts are theirs."""
        filled = sum(signed for _, signed in self.fills.values())
        assert self.desk.position.qty == filled
        assert sum(order.side.sign * order.cum_qty for order in self.before.values()) == filled

    @invariant()
    def the_ledger_balances(self) -> None:
        """Every entry sums to zero, the position is that of its postings, and cash is what its postings say."""
        with self.desk.database.snapshot() as unit:
            lines = [Posting(*row) for row in unit.session.rows(tables.posting.select())]
            cash, position = booked_cash(unit), unit.ledger.position("ES")
            posted = unit.ledger.balance(Account.CASH)
        entries: dict[str, Decimal] = {}
        for line in lines:
            entries[line.entry] = entries.get(line.entry, Decimal(0)) + line.amount
        assert not any(entries.values())
        assert replace(rebuild("ES", lines), confirmed_ns=position.confirmed_ns) == position
        assert cash == posted

    @invariant()
    def nothing_is_sent_twice(self) -> None:
        """Whatever the venue says, an order goes out once, and never more than the intent of its cycle."""
        sent = [name for what, name in self.session.asked if what == "new"]
        assert len(sent) == len(set(sent))
        with self.desk.database.snapshot() as unit:
            links = unit.session.rows(tables.order_link.select())
        assert len(links) == sum(what == "replace" for what, _ in self.session.asked)
        attempts: dict[str, list[Order]] = {}
        for order in self.before.values():
            attempts.setdefault(order.intent, []).append(order)
        for orders in attempts.values():
            assert sum(order.state in LIVE for order in orders) <= 1
            assert len(orders) <= 1 + BOOK_RULES.reprices_max


def _reachable(state: OrderState) -> set[OrderState]:
    found, edge = set[OrderState](), {state}
    while edge:
        found |= edge
        edge = {after for before in edge for after in TRANSITIONS[before]} - found
    return found


def test_a_hostile_venue_breaks_nothing(sqlite_template: Path, tmp_path: Path) -> None:
    """Any sequence of reports among our own doings: whole books, legal moves, no crash, nothing sent twice."""
    HostileVenue.template, HostileVenue.folder = sqlite_template, tmp_path
    run_state_machine_as_test(
        HostileVenue,
        settings=settings(
            max_examples=50, stateful_step_count=25, suppress_health_check=list(HealthCheck), deadline=None
        ),
    )
