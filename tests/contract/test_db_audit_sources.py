"""What the audit chain tells of: rows that come late, orders that change, tables that were changed; what it costs."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace

import pytest
import sqlalchemy as sa

from tests.builders import (
    BOOK_RULES,
    LIMITS,
    SESSION,
    TUESDAY_NS,
    Desk,
    a_report,
    an_intended_order,
    an_order,
    qty,
    said,
)
from trisagion.adapters.db import SqlDatabase, Unit, open_database
from trisagion.adapters.db import audit_tables as own
from trisagion.adapters.db import control_tables as stops
from trisagion.adapters.db import tables as t
from trisagion.adapters.db.audit import AT_MAX
from trisagion.clock import MINUTE_NS
from trisagion.errors import DataError
from trisagion.ids import ClOrdId, CycleId, link_cl_ord_id
from trisagion.orders.state import OrderState
from trisagion.orders.types import ExecType, Order, OrderLink
from trisagion.ports import Cycle, Decision, TakeProfitStep
from trisagion.safety.audit import Link, Witness
from trisagion.safety.commands import Command
from trisagion.safety.gates import Gate
from trisagion.safety.modes import Control, Level, Mode
from trisagion.services import keep_audit
from trisagion.services.book_fills import book
from trisagion.services.route_orders import route
from trisagion.units import price

T0 = TUESDAY_NS
PRICE = price("4000.25")
_S = OrderState


def links(database: SqlDatabase, shard: str = "orders") -> list[Link]:
    """Return a shard's chain."""
    with database.snapshot() as tx:
        return [Link(*row) for row in tx.audit.rows(shard, 0, 100_000)]


def chained(database: SqlDatabase, source: str) -> list[str]:
    """Link what is there; return the keys of a table's rows that are in the chain."""
    keep_audit.chain_all(database, "test")
    shard = "control" if source in keep_audit.SOURCES["control"] else "orders"
    return [link.row_key for link in links(database, shard) if link.source == source]


def flaws(database: SqlDatabase) -> list[tuple[str, str, str]]:
    """Verify all; return what was found, in short."""
    found = keep_audit.verify(database, [], lambda _shard, _rows: None)
    return [(flaw.shard, flaw.what, flaw.text) for flaw in found.flaws]


def tamper(database: SqlDatabase, *statements: sa.Executable) -> None:
    """Do what nobody may."""
    with database.transaction() as tx:
        for statement in statements:
            tx.session.write(statement, {})


@pytest.fixture
def owned(owned_url: str) -> Desk:
    """Give a founded account to whom all rights are given, also to tamper."""
    return Desk(open_database(owned_url)).found()


@pytest.fixture
def lived(owned: Desk) -> Desk:
    """Give one in which a row was added to each table that the chain tells of, and linked."""
    order = an_order("T1", state=_S.NEW, order_id="V1", price=PRICE, session="SIM", links=1)
    owned.put(order)
    with owned.database.transaction() as tx:
        tx.orders.add_link(OrderLink(link_cl_ord_id(order.cl_ord_id, 1), order.cl_ord_id, 1, order.qty, PRICE, T0))
        tx.cycles.open_cycle(Cycle(CycleId("C1"), T0, "done", None, 0))
        tx.cycles.add_decision(
            Decision(CycleId("C1"), "ES", 1, 0.1, 0.5, None, order.qty, None, order.qty, order.intent, ("why",))
        )
        tx.control.set_gate(Gate("SIM", True, "ann", "why", T0))
        tx.control.set_mode(Control(Mode.PAUSE, "ann", "why", T0, Level.SYMBOL, "ES"))
        tx.releases.keep(Command("ann", "release", "{}", "why", "n1", T0, "ab"), T0)
        tx.control.add_event("order.alarm", "T1", {"text": "x"}, T0)
        tx.ledger.add_step(TakeProfitStep(1, "detected", T0))
        assert tx.limits.approve(1, "bob", T0)
    book(owned.database, BOOK_RULES, said(order, ExecType.TRADE, happened_ns=T0 + 1))
    keep_audit.note_login(owned.database, Witness("host", "actor", "build", "config"), "ann", "kill", {})
    keep_audit.chain_all(owned.database, "test")
    assert flaws(owned.database) == []
    return owned


SOURCES = {
    "execution": ("orders", t.execution.c.last_qty, qty(2)),
    "orders": ("orders", t.orders.c.qty, qty(7)),
    "order_link": ("orders", t.order_link.c.asked_ns, 1),
    "decision": ("orders", t.decision.c.reasons, "[]"),
    "event": ("control", t.event.c.detail, "{}"),
    "control": ("control", t.control.c.reason, "another"),
    "control_level": ("control", stops.control_level.c.until_ns, 1),
    "gate": ("control", t.gate.c.operator, "bob"),
    "signed_command": ("control", stops.signed_command.c.subject, "another"),
    "take_profit": ("control", t.take_profit.c.at_ns, 1),
    "risk_limit": ("control", t.risk_limit.c.value, qty(9)),
    "risk_limit_approval": ("control", t.risk_limit_approval.c.approved_by, "eve"),
    "audit_note": ("control", own.audit_note.c.actor, "bob"),
}


@pytest.mark.parametrize("source", SOURCES)
def test_what_is_changed_or_deleted_in_a_table_itself_is_found(lived: Desk, source: str) -> None:
    """The chain says what stood there: with the first row that differs, then with the one that is gone."""
    shard, column, value = SOURCES[source]
    tamper(lived.database, sa.update(column.table).values({column.name: value}))
    assert [found[:2] for found in flaws(lived.database)] == [(shard, "rewritten")]
    assert f"of table {source} is not as it was" in flaws(lived.database)[0][2]
    tamper(lived.database, sa.delete(column.table))
    assert [found[:2] for found in flaws(lived.database)] == [(shard, "erased")]


def test_a_row_that_is_put_in_behind_the_writer_is_found(lived: Desk) -> None:
    """An old decision, a closed order of last year: what the chain should have had."""
    with lived.database.transaction() as tx:
        tx.cycles.open_cycle(Cycle(CycleId("C9"), T0 - 100 * 60 * MINUTE_NS, "done", None, 0))
        tx.cycles.add_decision(Decision(CycleId("C9"), "ES", 1, 0.1, None, None, qty(3), None, qty(3), None, ()))
    lived.put(an_order("OLD", state=_S.FILLED, created_ns=T0 - 100 * 60 * MINUTE_NS))
    keep_audit.chain_all(lived.database, "test")
    assert [found[1:] for found in flaws(lived.database)] == [
        ("unrecorded", "row C9 ES of table decision is in no record"),
        ("unrecorded", "row OLD of table orders is in no record"),
    ]


def test_an_order_is_told_of_by_version_until_it_is_at_rest_and_beyond(shared_desk: Desk) -> None:
    """As it is at each turn; its last version always, also when it is closed by a report long after, or by none."""
    desk = shared_desk
    first = an_order("T1", state=_S.NEW, order_id="V1", price=PRICE, session="SIM")
    second = an_order("T2", created_ns=T0 + 1)
    desk.put(first, second)
    assert chained(desk.database, "orders") == ["T1/0", "T2/0"]
    assert chained(desk.database, "orders") == ["T1/0", "T2/0"]
    desk.put(an_order("T3", created_ns=T0 + 60 * MINUTE_NS, state=_S.DENIED))
    with desk.database.transaction() as tx:
        tx.orders.save(replace(second, state=_S.DENIED, version=1))
    assert chained(desk.database, "orders") == ["T1/0", "T2/0", "T2/1", "T3/0"]
    for number in (1, 2, 3):
        order = desk.order("T1")
        book(desk.database, BOOK_RULES, said(order, ExecType.TRADE, f"E{number}", happened_ns=T0 + number))
    assert desk.order("T1").state is _S.FILLED
    assert chained(desk.database, "orders")[4:] == [f"T1/{desk.order('T1').version}"]
    assert len(chained(desk.database, "execution")) == 3
    order = desk.order("T1")
    book(desk.database, BOOK_RULES, a_report("LATE", last_qty=order.qty, happened_ns=T0 + 9))
    assert desk.order("T1").version > order.version
    assert flaws(desk.database) == [], "what waits to be linked is no flaw"
    assert chained(desk.database, "orders")[5:] == [f"T1/{desk.order('T1').version}"]
    assert flaws(desk.database) == []


@pytest.fixture
def shared_desk(database: SqlDatabase) -> Desk:
    """Give a founded account on SQLite, then on MariaDB, as the platform's own user."""
    return Desk(database).found()


def test_more_orders_than_one_statement_asks_for_are_told_of_and_held_against_their_table(shared_desk: Desk) -> None:
    """In several turns."""
    count = AT_MAX + 10
    desk = shared_desk
    desk.put(*(an_order(f"T{n}", created_ns=T0 + n) for n in range(count)))
    assert len(chained(desk.database, "orders")) == count
    assert flaws(desk.database) == []


def test_of_two_that_read_the_same_one_links_it(
    shared_desk: Desk, other: SqlDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also what moves no mark, as a second version of an order: whoever comes second finds the chain grown."""
    desk = shared_desk
    desk.put(an_order("T1"))
    chained(desk.database, "orders")
    with desk.database.transaction() as tx:
        tx.orders.save(an_order("T1", version=1))
    read = keep_audit._batches
    late = read(desk.database)
    keep_audit.chain(other, "first")
    monkeypatch.setattr(keep_audit, "_batches", lambda _database: late)
    keep_audit.chain(desk.database, "second")
    monkeypatch.setattr(keep_audit, "_batches", read)
    assert chained(desk.database, "orders") == ["T1/0", "T1/1"]
    assert flaws(desk.database) == []


@pytest.mark.mariadb
def test_a_row_whose_transaction_lives_long_is_linked_when_it_commits(
    mariadb_desk: Desk, other_mariadb: SqlDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its number was passed over long ago; one of a transaction that is rolled back is given up, at once when old."""
    database = mariadb_desk.database
    with database.transaction() as tx:
        tx.orders.add_execution(a_report("first"), T0)
    for grace_s in (30.0, -1.0):
        monkeypatch.setattr(keep_audit, "GRACE_S", grace_s)
        chained(database, "execution")
    assert holes(database) == ()
    for ending in ("commits", "is rolled back"):
        with suppress(DataError), other_mariadb.transaction() as slow:
            slow.orders.add_execution(a_report(f"slow {ending}"), T0)
            with database.transaction() as tx:
                tx.orders.add_execution(a_report(f"quick, while it {ending}"), T0)
            count = len(chained(database, "execution"))
            monkeypatch.setattr(keep_audit, "GRACE_S", -1.0)
            for _ in range(5):
                assert len(chained(database, "execution")) == count
                assert len(holes(database)) == 1, "while it lives its number is waited for, however old"
            assert flaws(database) == []
            if ending == "is rolled back":
                raise DataError("no")
        monkeypatch.setattr(keep_audit, "GRACE_S", 30.0)
        assert len(chained(database, "execution")) == count + (ending == "commits")
        assert len(holes(database)) == (ending != "commits")
        monkeypatch.setattr(keep_audit, "GRACE_S", -1.0)
        chained(database, "execution")
        assert holes(database) == ()
        assert flaws(database) == []


def holes(database: SqlDatabase) -> tuple[object, ...]:
    """Return the numbers of executions that were passed over."""
    with database.snapshot() as tx:
        return tx.audit.marks(["execution"])["execution"].holes


@pytest.fixture
def mariadb_desk(on_mariadb: SqlDatabase) -> Desk:
    """Give a founded account on MariaDB."""
    return Desk(on_mariadb).found()


@pytest.fixture
def other_mariadb(on_mariadb: SqlDatabase, mariadb_url: str) -> SqlDatabase:
    """Give the same database once more."""
    return open_database(mariadb_url)


def add(tx: Unit, name: str) -> None:
    """Add an execution, unless it is there, and an event."""
    tx.orders.add_execution(a_report(name), T0)
    tx.control.add_event("order.alarm", name, {}, T0)


def writes(who: int, own: SqlDatabase) -> None:
    """Add sixty, each seventh a second time, and roll each fifth back."""
    for number in range(60):
        with suppress(DataError), own.transaction() as tx:
            add(tx, f"E{who}-{number - number % 7 // 6}")
            if number % 5 == 4:
                raise DataError("no")


def lingers(_who: int, own: SqlDatabase) -> None:
    """Add three, and be long about each."""
    for number in range(3):
        with own.transaction() as tx:
            add(tx, f"slow {number}")
            time.sleep(0.8)


@pytest.mark.mariadb
def test_no_row_is_missed_when_many_write_at_once(
    mariadb_desk: Desk, mariadb_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Four that commit, repeat what is there and roll back, one that is slow, and a writer that never stops."""
    monkeypatch.setattr(keep_audit, "GRACE_S", 0.5)
    database = mariadb_desk.database
    failures: list[BaseException] = []

    def running(work: Callable[[int, SqlDatabase], None], who: int) -> threading.Thread:
        def run() -> None:
            own = open_database(mariadb_url)
            try:
                work(who, own)
            except BaseException as error:
                failures.append(error)
                raise
            finally:
                own.close()

        return threading.Thread(target=run)

    threads = [running(writes, who) for who in range(4)] + [running(lingers, 9)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        keep_audit.chain(database, "test")
    for thread in threads:
        thread.join()
    assert failures == []
    deadline_s = time.monotonic() + 60
    while holes(database) and time.monotonic() < deadline_s:
        keep_audit.chain(database, "test")
    assert holes(database) == ()
    for table, source in ((t.execution, "execution"), (t.event, "event")):
        with database.snapshot() as tx:
            there = [str(seq) for (seq,) in tx.session.rows(sa.select(table.c.seq).order_by(table.c.seq))]
        assert len(there) > 3 + 4 * 30
        assert sorted(chained(database, source), key=int) == there
    assert flaws(database) == []


ROUTED = an_intended_order(T0, _S.RISK_CHECKED)
COSTS: dict[str, tuple[Callable[[Desk, Unit], object], int]] = {
    "an order is added": (lambda _, tx: tx.orders.add(an_order("T9")), 1),
    "an order is saved": (lambda _, tx: tx.orders.save(an_order("T1", version=1)), 1),
    "two are routed": (lambda _, tx: tx.orders.route([ClOrdId("T1"), ClOrdId("T2")], "SIM", PRICE, T0), 1),
    "two are asked about": (lambda _, tx: tx.orders.ask([ClOrdId("T1"), ClOrdId("T2")], _S.UNKNOWN, T0), 1),
    "an execution is recorded": (lambda _, tx: tx.orders.add_execution(a_report("E9"), T0), 1),
    "an event is added": (lambda _, tx: tx.control.add_event("a", "b", {}, T0), 1),
    "a mode is set": (lambda _, tx: tx.control.set_mode(Control(Mode.NORMAL, "ann", "why", T0)), 1),
}


@pytest.mark.parametrize("what", COSTS)
def test_a_statement_of_the_order_path_is_one_statement(shared_desk: Desk, what: str) -> None:
    """The chain adds none to the transaction in which something happens, nor to its commit."""
    work, expected = COSTS[what]
    shared_desk.put(an_order("T1"), an_order("T2"))
    with counted(shared_desk.database) as statements, shared_desk.database.transaction() as tx:
        work(shared_desk, tx)
    assert len(statements) == expected, statements


def test_routing_and_booking_touch_no_table_of_the_chain(shared_desk: Desk) -> None:
    """From an approved order to its fill: no statement is of the chain, and the last is the order's or its minute's."""
    desk = shared_desk
    desk.put(ROUTED)
    with counted(desk.database) as routing:
        assert route(desk.database, LIMITS, SESSION, ROUTED.cl_ord_id, T0).word == "routed"
    with desk.database.transaction() as tx:
        order = replace(desk_order(tx), state=_S.NEW, order_id="V1", version=2)
        tx.orders.save(order)
    with counted(desk.database) as booking:
        book(desk.database, BOOK_RULES, said(order, ExecType.TRADE, happened_ns=T0))
    assert not [each for each in (*routing, *booking) if "audit" in each]
    minute = "INSERT INTO session_minute"
    for part, last, statements in (
        ("SELECT orders", "UPDATE orders", routing),
        ("INSERT INTO execution", minute, booking),
    ):
        assert any(each.startswith(part) for each in statements), statements
        assert statements[-1].startswith(last), statements


def desk_order(tx: Unit) -> Order:
    """Return the order that was routed."""
    order = tx.orders.order(ROUTED.cl_ord_id)
    assert order is not None
    return order


@contextmanager
def counted(database: SqlDatabase) -> Iterator[list[str]]:
    """Give the statements that are sent meanwhile, without what begins a transaction."""
    statements: list[str] = []

    def sent(_connection: object, _cursor: object, statement: str, *_rest: object) -> None:
        if not statement.startswith(("BEGIN", "SET TRANSACTION", "SELECT 1 ")):
            statements.append(statement)

    sa.event.listen(database.engine, "before_cursor_execute", sent)
    yield statements
    sa.event.remove(database.engine, "before_cursor_execute", sent)
