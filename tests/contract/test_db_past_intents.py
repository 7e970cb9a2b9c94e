"""What a proposed limit is tried on: the intents that cycles approved, and what the account was worth then."""

from dataclasses import replace
from decimal import Decimal

from tests.builders import an_order, qty
from trisagion.adapters.db import SqlDatabase
from trisagion.ids import ClOrdId, CycleId, IntentKey
from trisagion.ledger.types import EquitySample
from trisagion.orders.types import Intent, Side
from trisagion.ports import Cycle, Decision, Transaction
from trisagion.risk_ports import PastIntent
from trisagion.units import Money, Price


def decide(tx: Transaction, due_ns: int, symbol: str, delta: int | None, *attempts: str, taker: bool = False) -> None:
    """Record what a cycle decided on a symbol, with the orders that were made of it."""
    cycle, key = CycleId(f"C{due_ns}"), IntentKey(f"C{due_ns}:{symbol}")
    zero, intent = qty(0), None if delta is None else key
    tx.cycles.add_decision(
        Decision(cycle, symbol, 0, 0.0, None, None, zero, qty("1.5"), qty(delta or 0), intent, ("REST",))
    )
    for attempt, session in enumerate(attempts):
        order = an_order(f"T{due_ns}{symbol}{attempt}", intent=key, cycle=cycle, attempt=attempt, symbol=symbol)
        tx.orders.add(replace(order, cl_ord_id=ClOrdId(order.cl_ord_id), taker=taker, session=session or None))


def test_what_cycles_approved_comes_in_order_of_time_the_newest_of_it(database: SqlDatabase) -> None:
    """An intent once however often it was attempted, as the decision had it; nothing where none was approved."""
    with database.transaction() as tx:
        for due_ns in (20, 10, 30):
            tx.cycles.open_cycle(Cycle(CycleId(f"C{due_ns}"), due_ns, "done", None, 0))
        decide(tx, 20, "NQ", -3, "SIM", "SIM")
        decide(tx, 20, "ES", 2, "")
        decide(tx, 20, "ZN", None)
        decide(tx, 10, "ES", 1, "SIM")
        decide(tx, 30, "ES", 7, "IB", taker=True)

    def past(due_ns: int, symbol: str, side: Side, lots: int, session: str | None, taker: bool = False) -> PastIntent:
        intent = Intent(IntentKey(f"C{due_ns}:{symbol}"), CycleId(f"C{due_ns}"), symbol, side, qty(lots), taker)
        return PastIntent(due_ns, intent, qty("1.5"), session)

    expected = [
        past(20, "ES", Side.BUY, 2, None),
        past(20, "NQ", Side.SELL, 3, "SIM"),
        past(30, "ES", Side.BUY, 7, "IB", taker=True),
    ]
    with database.snapshot() as tx:
        assert tx.cycles.approved(10, 9) == expected
        assert tx.cycles.approved(0, 2) == expected[1:]
        assert tx.cycles.approved(30, 9) == []


def test_all_samples_of_an_instant_come_in_order_of_symbol(database: SqlDatabase) -> None:
    """Those of no other instant."""

    def sample(at_ns: int, symbol: str) -> EquitySample:
        return EquitySample(at_ns, Money(Decimal(7)), Money(Decimal(5)), symbol, qty(-1), Price(Decimal("4500.25")))

    with database.transaction() as tx:
        for at_ns, symbol in ((10, "NQ"), (10, "ES"), (20, "ES")):
            tx.ledger.add_equity(sample(at_ns, symbol))
        assert tx.ledger.equities(10) == [sample(10, "ES"), sample(10, "NQ")]
        assert tx.ledger.equities(15) == []
