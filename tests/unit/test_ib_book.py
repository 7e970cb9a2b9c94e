"""What TWS tells in pieces becomes reports: each fill once and with its fee, nothing before what it counts."""

from decimal import Decimal

from tests.builders import TUESDAY_NS, an_order, qty
from trisagion.gateway import ib_book
from trisagion.gateway.ib_book import Book, Output
from trisagion.gateway.ib_census import COMPLETED, EXECUTIONS, OPEN, AllTold
from trisagion.gateway.ib_words import Commission, Executed, OpenOrder, Problem, StatusTold
from trisagion.orders.state import OrderState
from trisagion.orders.types import ExecType, ExecutionReport, Liquidity, Order, Side, Unreadable
from trisagion.units import Price

_S, _E = OrderState, ExecType
PERM = 1500


def a_book() -> Book:
    """A book of one symbol."""
    return Book("IB", 7, ("ES",), 5.0, "America/New_York")


def an(name: str = "A") -> Order:
    """An order of five."""
    return an_order(name, symbol="ES", qty=qty(5), price=Price(qty("99.75")), side=Side.BUY)


def opened(state: OrderState = _S.NEW, ref: str = "A", perm: int = PERM, order_id: int = 1) -> OpenOrder:
    """An open order as TWS tells it."""
    return OpenOrder(order_id, 7, perm, ref, "ES", Side.BUY, Decimal(5), Decimal("99.75"), state)


def status(word: str, filled: int = 0) -> StatusTold:
    """A status as TWS tells it."""
    return StatusTold(PERM, word, Decimal(filled), Decimal("99.75"))


def execution(number: int, cum: int, count: int = 1, version: int = 1, ref: str = "A") -> Executed:
    """An execution as TWS tells it."""
    return Executed(
        exec_id=f"x.{number}.{version:02d}",
        at_ns=TUESDAY_NS,
        order_id=1,
        client_id=7,
        perm_id=PERM,
        ref=ref,
        symbol="ES",
        side=Side.BUY,
        qty=Decimal(count),
        price=Decimal("99.75"),
        cum_qty=Decimal(cum),
        avg_px=Decimal("99.75"),
        liquidity=Liquidity.MAKER,
        currency="USD",
    )


def fee(number: int, version: int = 1, currency: str = "USD") -> Commission:
    """What it cost."""
    return Commission(f"x.{number}.{version:02d}", Decimal(number), currency)


def told(*outputs: list[Output]) -> list[tuple[ExecType, int]]:
    """Reports in short: kind, and what is filled."""
    return [
        (each.exec_type, int(each.cum_qty)) for some in outputs for each in some if isinstance(each, ExecutionReport)
    ]


def begun() -> Book:
    """A book with an order that works."""
    book = a_book()
    book.placing(an(), 1, TUESDAY_NS, 0.0)
    assert told(book.open_order(opened(), 0.1)) == [(_E.NEW, 0)]
    return book


def census(book: Book, *orders: OpenOrder, now_s: float = 10.0) -> list[Output]:
    """Answer what the book asks, with these orders."""
    assert book.begin(now_s) == {OPEN, COMPLETED}
    outputs: list[Output] = []
    for each in orders:
        outputs += book.completed_order(each) if each.completed else book.open_order(each, now_s)
    assert book.answered(OPEN, now_s) == ([], False)
    assert book.answered(COMPLETED, now_s) == ([], True)
    book.asking_executions()
    return outputs + book.answered(EXECUTIONS, now_s)[0]


def test_a_fill_waits_for_its_fee_and_for_the_fill_before_it() -> None:
    """Fees come before, between and after, as they like; an execution that is told twice goes up once."""
    book = begun()
    assert not told(book.commission(fee(2)))
    assert not told(book.executed(execution(1, 1), 1.0), book.executed(execution(2, 2), 1.0))
    assert told(book.commission(fee(1))) == [(_E.TRADE, 1), (_E.TRADE, 2)]
    assert not told(book.executed(execution(1, 1), 2.0), book.commission(fee(1)))


def test_a_cancel_waits_for_the_fills_that_it_counts() -> None:
    """Its status came first. Repeated, it says nothing."""
    book = begun()
    assert not told(book.status(status("Cancelled", 1), 1.0))
    assert not told(book.status(status("Cancelled", 1), 1.0), book.executed(execution(1, 1), 1.0))
    assert told(book.commission(fee(1))) == [(_E.TRADE, 1), (_E.CANCELED, 1)]


def test_fills_that_tws_has_forgotten_do_not_hold_an_end_back_for_ever() -> None:
    """It tells executions since midnight only: once it has told all, what it counts beyond them is older."""
    book = begun()
    assert not told(book.status(status("Cancelled", 2), 1.0))
    assert book.overdue(6.0)[1]
    book.asking_executions()
    assert told(book.answered(EXECUTIONS, 7.0)[0]) == [(_E.CANCELED, 2)]


def test_a_fee_that_does_not_come_is_asked_for_and_then_a_person_hears_of_it_once() -> None:
    """It is never guessed; in another currency it is none."""
    book = begun()
    book.executed(execution(1, 1), 1.0)
    assert book.overdue(5.9) == ([], False)
    assert book.overdue(6.1) == ([], True)
    alarms, hungry = book.overdue(11.1)
    assert hungry
    assert [type(each) for each in alarms] == [Unreadable]
    assert book.overdue(12.0) == ([], True)
    assert not told(book.commission(fee(1, currency="")))
    assert told(book.commission(fee(1))) == [(_E.TRADE, 1)]


def test_a_fee_keeps_the_currency_that_tws_tells_of_it() -> None:
    """None where it is the instrument's; with a text that is no currency it is as good as not told."""
    book = begun()
    for number, currency in enumerate(("USD", "EUR", "eur"), 1):
        book.executed(execution(number, number), 1.0)
        outputs = book.commission(fee(number, currency=currency))
        found = [(each.fee, each.fee_currency) for each in outputs if isinstance(each, ExecutionReport)]
        assert found == {"USD": [(1, None)], "EUR": [(2, "EUR")], "eur": []}[currency]
    assert isinstance(book.overdue(11.1)[0][0], Unreadable)


def test_a_status_without_an_order_of_that_perm_id_is_nobodys() -> None:
    """It is kept for the open order that may follow, and is not given to whoever has the order id."""
    book = a_book()
    book.placing(an(), 1, TUESDAY_NS, 0.0)
    assert not book.status(status("Cancelled"), 0.1)
    assert told(book.open_order(opened(ref="B"), 0.2)) == [(_E.CANCELED, 0)]
    assert told(book.open_order(opened(perm=PERM + 1), 0.3)) == [(_E.NEW, 0)]


def test_two_orders_of_one_name_are_an_alarm() -> None:
    """The one thing that must never be."""
    book = begun()
    (alarm,) = book.open_order(opened(perm=PERM + 1, order_id=2), 1.0)
    assert isinstance(alarm, Unreadable)
    assert alarm.names == ("A",)


def test_a_correction_alone_is_told_as_what_it_corrects_first() -> None:
    """Booked by an earlier process the first is a duplicate; by none, it is what the second corrects."""
    book = begun()
    book.commission(fee(1, version=2))
    outputs = book.executed(execution(1, 1, version=2), 1.0)
    reports = [each for each in outputs if isinstance(each, ExecutionReport)]
    assert [(each.exec_id, each.exec_type, each.ref_exec_id) for each in reports] == [
        ("x.1.01", _E.TRADE, None),
        ("x.1.02", _E.TRADE_CORRECT, "x.1.01"),
    ]


def test_a_correction_counts_the_fills_that_came_since() -> None:
    """TWS repeats the count of its time."""
    book = begun()
    for number in (1, 2):
        book.executed(execution(number, 2 * number, 2), 1.0)
        book.commission(fee(number))
    book.commission(fee(1, version=2))
    assert told(book.executed(execution(1, 1, 1, version=2), 2.0)) == [(_E.TRADE_CORRECT, 3)]


def test_a_refusal_of_a_replace_is_not_one_of_the_order() -> None:
    """201 while a replace is asked for; without one it is the end."""
    book = begun()
    line = book.line_of(an())
    assert line is not None
    wish = an_order("A", symbol="ES", qty=qty(5), links=1, wanted_qty=qty(7), wanted_price=Price(qty("99.5")))
    book.changing(line, wish, TUESDAY_NS, 1.0)
    (refused,) = book.problem(Problem(1, 201, "no"), 1.0)
    assert isinstance(refused, ExecutionReport)
    assert (refused.exec_type, refused.request_id) == (_E.REPLACE_REJECTED, wish.asked_id)
    assert told(book.problem(Problem(1, 201, "no"), 2.0)) == [(_E.REJECTED, 0)]
    assert not book.problem(Problem(99, 201, "another's"), 3.0)


def test_an_order_that_somebody_else_changed_is_told_with_what_it_became() -> None:
    """The price is held against ours, and a person hears of it."""
    book = begun()
    changed = OpenOrder(1, 7, PERM, "A", "ES", Side.BUY, Decimal(5), Decimal(98), _S.NEW)
    (report,) = book.open_order(changed, 1.0)
    assert isinstance(report, ExecutionReport)
    assert (report.exec_type, report.price) == (_E.ORDER_STATUS, Decimal(98))


def test_an_order_without_a_word_is_in_doubt_and_not_yet_unknown() -> None:
    """Doubt after five seconds; a question before that waits, for TWS may not have taken it in."""
    book = a_book()
    book.placing(an(), 1, TUESDAY_NS, 0.0)
    book.ask(an(), TUESDAY_NS)
    assert book.begin(ib_book.UNHEARD_S - 0.1) == frozenset()
    (doubt,) = book.overdue(ib_book.UNHEARD_S)[0]
    assert isinstance(doubt, ExecutionReport)
    assert (doubt.symbol, doubt.ord_status) == ("", _S.UNKNOWN)
    (unknown,) = census(book)
    assert isinstance(unknown, ExecutionReport)
    assert unknown.unknown_order


def test_the_end_of_an_answer_comes_after_all_that_it_counts() -> None:
    """An execution whose fee is still to come holds it back."""
    book = begun()
    book.executed(execution(1, 1), 1.0)
    book.status(status("Submitted", 1), 1.0)
    book.ask_all("M")
    assert not census(book, opened())
    *reports, end = book.commission(fee(1))
    assert told(reports) == [(_E.TRADE, 1), (_E.ORDER_STATUS, 1)]
    assert end == AllTold("M")


def test_questions_of_a_lost_connection_have_no_answer() -> None:
    """A late end is not taken for the next one's."""
    book = begun()
    book.ask_all("M")
    assert book.begin(10.0)
    book.lost()
    assert book.answered(OPEN, 11.0) == ([], False)
    assert book.line_of(an()) is None, "its order id was of that connection"
