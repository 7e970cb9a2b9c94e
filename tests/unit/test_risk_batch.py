"""Many intents of one account are judged as one by one, each beside those before it that were approved."""

from dataclasses import replace
from decimal import Decimal
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tests.builders import ES, LIMITS, NQ, TUESDAY_NS, an_order, qty
from trisagion.ids import ClOrdId, CycleId, IntentKey
from trisagion.market.types import Quote
from trisagion.orders.state import OrderState
from trisagion.orders.types import Intent, Order, Side
from trisagion.risk.check import Approved, Refused, judge, judge_all
from trisagion.risk.controls import Facts
from trisagion.risk.limits import Limits
from trisagion.risk.load import Account, Load
from trisagion.safety.modes import Mode
from trisagion.services.stakes import Stakes
from trisagion.units import Money, Price, Quantity, exact_times


def quoted(symbol: str, bid: str, ask: str, last: str) -> Quote:
    """Make a quote."""
    return Quote(symbol, Price(Decimal(bid)), Price(Decimal(ask)), Price(Decimal(last)), TUESDAY_NS, TUESDAY_NS)


SYMBOLS = {
    "ES": (ES, quoted("ES", "3999.75", "4000.25", "4000")),
    # Of eighteen digits each.
    "NQ": (NQ, quoted("NQ", "4000.00000000000001", "4000.00000000000026", "4000.00000000000013")),
}
STALE = replace(SYMBOLS["ES"][1], learned_ns=0)


def mostly(usual: tuple[object, ...], *odd: object) -> st.SearchStrategy[Any]:
    """Draw what is in order four times of five: each control is to be met, and most intents are to pass it."""
    return st.integers(0, 4).flatmap(lambda number: st.sampled_from(usual if number else odd))


ASKED = st.tuples(
    st.sampled_from(sorted(SYMBOLS)),
    st.sampled_from(Side),
    mostly(("1", "2", "3"), "0", "1.5", "NaN", "999999999999999999", "1E+9"),
    mostly((None,), "3999.75", "4000", "4000.25", "4001", "1"),
    mostly((Mode.NORMAL,), Mode.REDUCE, Mode.PAUSE),
    mostly((False,), True),
)
STANDING = st.lists(
    st.builds(
        an_order,
        symbol=st.sampled_from(sorted(SYMBOLS)),
        side=st.sampled_from(Side),
        qty=st.sampled_from([qty(1), qty(3)]),
        state=st.sampled_from(OrderState),
        price=st.sampled_from([None, Price(Decimal(4000)), Price(Decimal(4001))]),
    ),
    max_size=3,
)


def reserved(facts: Facts) -> Order:
    """Return the order that an approved intent becomes."""
    intent = facts.intent
    made = an_order(intent.key, intent=intent.key, cycle=intent.cycle, symbol=intent.symbol, side=intent.side)
    return replace(made, cl_ord_id=ClOrdId(intent.key), qty=intent.qty, price=facts.touch)


@given(
    asked=st.lists(ASKED, min_size=2, max_size=8),
    standing=STANDING,
    positions=st.dictionaries(st.sampled_from(sorted(SYMBOLS)), st.integers(-9, 9)),
    equity=mostly((Decimal(10**6), Decimal(10**9)), None, Decimal(10**5)),
    orders_max=mostly((3, 4, 6, 9), 0, 1),
    open_max=mostly((10**6, 10**9), 10**5),
    large=st.booleans(),
    stale=mostly((False,), True),
)
def test_a_batch_says_of_each_what_one_verdict_after_the_other_says(
    *,
    asked: list[tuple[str, Side, str, str | None, Mode, bool]],
    standing: list[Order],
    positions: dict[str, int],
    equity: Decimal | None,
    orders_max: int,
    open_max: int,
    large: bool,
    stale: bool,
) -> None:
    """With its text, to the last digit: the one adds up all orders anew for each intent, the other goes on counting."""
    most = Decimal(10) ** 30 if large else LIMITS.order_notional_max
    limits = Limits("SIM-1", most, most, orders_max, order_qty_max=most, open_notional_max=Decimal(open_max))
    worth: dict[str, Decimal | None] = {
        symbol: exact_times(quote.ask, instrument.multiplier) for symbol, (instrument, quote) in SYMBOLS.items()
    }
    stakes = Stakes(None if equity is None else Money(equity), Decimal(12345), worth)

    def facts() -> list[Facts]:
        made = []
        for number, (symbol, side, number_of, price, mode, taker) in enumerate(asked):
            instrument, quote = SYMBOLS[symbol]
            intent = Intent(IntentKey(f"I{number}"), CycleId("C"), symbol, side, qty(number_of), taker)
            at = None if price is None else Price(Decimal(price))
            held = qty(positions.get(symbol, 0))
            used = STALE if stale and symbol == "ES" else quote
            made.append(Facts(intent, instrument, used, held, mode, limits, TUESDAY_NS, at))
        return made

    before = Load()
    for side in Side:
        other = Intent(IntentKey("nobody's"), CycleId("C"), "ES", side, Quantity(Decimal(1)))
        seen = Load.of(standing, other)
        before = Load(seen.orders, seen.leaves, before.best | seen.best)
    at_first = before.copy()
    account = stakes.beside(before)

    live, expected = list(standing), list[Approved | Refused]()
    for one in facts():
        load = Load.of(live, one.intent)
        expected.append(judge(one, load, stakes.beside(load)))
        if isinstance(expected[-1], Approved):
            live.append(reserved(one))
    assert judge_all(facts(), before, account) == expected
    assert before == at_first


def test_what_one_takes_is_not_there_for_the_next() -> None:
    """Each of three fits alone; the limit of open orders leaves room for two, and a refused one takes none."""
    instrument, quote = SYMBOLS["ES"]
    limits = replace(LIMITS, orders_max=9, open_notional_max=Decimal(500_000))
    asked = [
        Facts(
            Intent(IntentKey(f"I{number}"), CycleId("C"), "ES", Side.BUY, qty(lots)),
            instrument,
            quote,
            qty(0),
            Mode.NORMAL,
            limits,
            TUESDAY_NS,
        )
        for number, lots in enumerate((1, 2, 1, 1))
    ]
    verdicts = judge_all(asked, Load(), Account(Money(Decimal(10**9)), Decimal(0), Decimal(0)))
    assert [isinstance(verdict, Approved) for verdict in verdicts] == [True, False, True, False]
    refused = verdicts[-1]
    assert isinstance(refused, Refused)
    assert refused.text == "OPEN_NOTIONAL: open=400025 notional=200012.5 max=500000"
