"""Risk verdicts: each refusal in its order of precedence, and what each limit counts."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.builders import ES
from trisagion.clock import MINUTE_NS, SECOND_NS
from trisagion.errors import ConfigError
from trisagion.ids import ClOrdId, CycleId, intent_key
from trisagion.market.types import Bar, Instrument, Quote
from trisagion.orders.state import LIVE, TERMINAL, OrderState
from trisagion.orders.types import Intent, Order, Side
from trisagion.reports.why import CODES
from trisagion.risk.check import Approved, Refused, explain, judge
from trisagion.risk.controls import CONTROLS, Facts, Refusal
from trisagion.risk.history import NOTHING, VWAP_NS, History, references
from trisagion.risk.limits import KEYS, QUOTE_AGE_NS_MAX, Limits
from trisagion.risk.load import Account, Load
from trisagion.safety.modes import Mode
from trisagion.units import Money, Price, Quantity

TUESDAY_NS = int(datetime(2024, 6, 11, 12, tzinfo=UTC).timestamp()) * SECOND_NS
SATURDAY_NS = int(datetime(2024, 6, 15, 12, tzinfo=UTC).timestamp()) * SECOND_NS
CYCLE = CycleId("C1")
LIMITS = Limits("SIM-1", Decimal(1_000_000), Decimal(2_000_000), 3)
"""At 5000 a contract is worth 250,000: four to an order, eight to a position."""


def qty(number: object) -> Quantity:
    """Make a quantity."""
    return Quantity(Decimal(str(number)))


def intend(number: object = 1, side: Side = Side.BUY, *, symbol: str = "ES", taker: bool = False) -> Intent:
    """Make an intent."""
    return Intent(intent_key(CYCLE, symbol), CYCLE, symbol, side, qty(number), taker)


def working(
    number: int,
    side: Side,
    state: OrderState = OrderState.NEW,
    *,
    filled: int = 0,
    symbol: str = "ES",
    cycle: str = "C0",
) -> Order:
    """Make a live order of another cycle."""
    key = intent_key(CycleId(cycle), symbol)
    order = Order(ClOrdId("T1"), key, CycleId(cycle), 0, symbol, side, qty(number), False, state, 0, 0)
    return replace(order, cum_qty=qty(filled))


def at(price: str, order: Order, wanted: str | None = None) -> Order:
    """Put an order at a price, and ask for another one."""
    return replace(order, price=Price(Decimal(price)), wanted_price=None if wanted is None else Price(Decimal(wanted)))


def quoted(*, bid: str = "4999.75", ask: str = "5000", learned_ns: int = TUESDAY_NS, symbol: str = "ES") -> Quote:
    """Make a quote."""
    return Quote(symbol, Price(Decimal(bid)), Price(Decimal(ask)), Price(Decimal(bid)), learned_ns, learned_ns)


def traded(vwap: str) -> History:
    """Return what is known of a market that traded at a price, a point up and down each minute."""
    return History(vwap=Decimal(vwap), atr=Decimal(1))


ORDINARY, USUAL, FLAT = intend(), quoted(), qty(0)
UNBORROWED = replace(LIMITS, short_qty_max=Decimal(0))
RICH = Account(Money(Decimal(10**7)), Decimal(0), Decimal(0))


@dataclass(frozen=True)
class Case:
    """What one verdict is about; what is not given is in order."""

    intent: Intent = ORDINARY
    instrument: Instrument | None = ES
    quote: Quote | None = USUAL
    position: Quantity = FLAT
    live_orders: tuple[Order, ...] = ()
    account: Account = RICH
    mode: Mode = Mode.NORMAL
    limits: Limits = LIMITS
    now_ns: int = TUESDAY_NS
    price: Price | None = None
    history: History = NOTHING

    def judge(self) -> Approved | Refused:
        """Give the verdict."""
        return judge(*self.facts())

    def facts(self) -> tuple[Facts, Load, Account]:
        """Return what a verdict is given."""
        market = (self.instrument, self.quote, self.position)
        facts = Facts(self.intent, *market, self.mode, self.limits, self.now_ns, self.price, self.history)
        return facts, Load.of(self.live_orders, self.intent), self.account


def reason(verdict: Approved | Refused) -> Refusal | None:
    """Return why it was refused; the text must begin with the code."""
    if isinstance(verdict, Approved):
        return None
    assert verdict.text.startswith(f"{verdict.reason}: ")
    return verdict.reason


def test_an_intent_in_order_is_approved_as_it_is() -> None:
    """The verdict carries the intent unchanged, the account, and the version of the limits."""
    assert Case().judge() == Approved(intend(), "SIM-1", LIMITS.version)


REFUSALS: list[tuple[Refusal, Case]] = [
    (Refusal.MODE_FORBIDS, Case(mode=Mode.PAUSE)),
    (Refusal.MODE_FORBIDS, Case(mode=Mode.PAUSE, position=qty(-1))),
    (Refusal.MODE_FORBIDS, Case(mode=Mode.REDUCE)),
    (Refusal.MODE_FORBIDS, Case(mode=Mode.EMERGENCY, intent=intend(taker=True))),
    (Refusal.REST, Case(now_ns=SATURDAY_NS, quote=quoted(learned_ns=SATURDAY_NS))),
    (Refusal.NUMBER_INSANE, Case(intent=intend(0))),
    (Refusal.NUMBER_INSANE, Case(intent=intend(-1))),
    (Refusal.NUMBER_INSANE, Case(intent=intend("NaN"))),
    (Refusal.NUMBER_INSANE, Case(intent=intend("Infinity"))),
    (Refusal.NUMBER_INSANE, Case(intent=intend("1.0000000000000000001"))),
    (Refusal.NUMBER_INSANE, Case(intent=intend("1E+400"))),
    (Refusal.NUMBER_INSANE, Case(intent=intend("1E+26"))),
    (Refusal.NUMBER_INSANE, Case(position=qty("-1E+400"))),
    (Refusal.NUMBER_INSANE, Case(quote=quoted(bid="1E-30"))),
    (Refusal.NUMBER_INSANE, Case(intent=replace(intend(), qty=1.0))),  # type: ignore[arg-type]
    (Refusal.NUMBER_INSANE, Case(intent=replace(intend(), qty=True))),  # type: ignore[arg-type]
    (Refusal.NUMBER_INSANE, Case(position=qty("NaN"))),
    (Refusal.NUMBER_INSANE, Case(quote=quoted(bid="0"))),
    (Refusal.NUMBER_INSANE, Case(quote=quoted(ask="NaN"))),
    (Refusal.NUMBER_INSANE, Case(quote=replace(quoted(), last=Price(Decimal("NaN"))))),
    (Refusal.NUMBER_INSANE, Case(price=Price(Decimal("NaN")))),
    (Refusal.NUMBER_INSANE, Case(price=Price(Decimal(0)))),
    (Refusal.LIMITS_UNKNOWN, Case(limits=replace(LIMITS, unknown="no version of orders_max"))),
    (Refusal.INSTRUMENT_UNKNOWN, Case(instrument=None)),
    (Refusal.INSTRUMENT_UNKNOWN, Case(instrument=replace(ES, symbol="NQ"))),
    (Refusal.INSTRUMENT_UNKNOWN, Case(intent=intend(symbol="e s"), instrument=replace(ES, symbol="e s"))),
    (Refusal.RESTRICTED, Case(limits=replace(LIMITS, restricted=frozenset({"ES"})))),
    (Refusal.LOT_VIOLATED, Case(intent=intend("1.5"))),
    (Refusal.QUOTE_STALE, Case(quote=None)),
    (Refusal.QUOTE_STALE, Case(quote=quoted(symbol="NQ"))),
    (Refusal.QUOTE_STALE, Case(quote=quoted(learned_ns=TUESDAY_NS - QUOTE_AGE_NS_MAX - 1))),
    (Refusal.QUOTE_STALE, Case(quote=quoted(learned_ns=TUESDAY_NS + 1))),
    (Refusal.PRICE_COLLAR, Case(quote=quoted(bid="4499.75", ask="5000"))),
    (Refusal.PRICE_COLLAR, Case(quote=replace(quoted(), last=Price(Decimal("5263.25"))))),
    (Refusal.PRICE_COLLAR, Case(price=Price(Decimal("4749.5")))),
    (Refusal.PRICE_COLLAR, Case(price=Price(Decimal("5250.25")))),
    (Refusal.DYNAMIC_COLLAR, Case(history=traded("4993.49"))),
    (Refusal.DYNAMIC_COLLAR, Case(history=traded("5006.01"))),
    (Refusal.DYNAMIC_COLLAR, Case(history=traded("4990"), price=Price(Decimal("4996.5")))),
    (Refusal.ORDER_QTY, Case(intent=intend(4), limits=replace(LIMITS, order_qty_max=Decimal(3)))),
    (Refusal.ORDER_NOTIONAL, Case(intent=intend(5))),
    (Refusal.ORDER_NOTIONAL, Case(intent=intend(4), quote=quoted(ask="5000.25"))),
    (Refusal.POSITION_LIMIT, Case(position=qty(8))),
    (Refusal.POSITION_LIMIT, Case(position=qty(-8), intent=intend(side=Side.SELL))),
    (Refusal.POSITION_LIMIT, Case(position=qty(4), live_orders=(working(4, Side.BUY),))),
    (Refusal.SHORT_QTY, Case(intent=intend(side=Side.SELL), limits=UNBORROWED)),
    (Refusal.SHORT_QTY, Case(intent=intend(3, Side.SELL), position=qty(2), limits=UNBORROWED)),
    (
        Refusal.SHORT_QTY,
        Case(
            intent=intend(side=Side.SELL),
            position=qty(2),
            live_orders=(working(2, Side.SELL),),
            limits=UNBORROWED,
        ),
    ),
    (Refusal.TOO_MANY_ORDERS, Case(live_orders=(working(1, Side.SELL),) * 3)),
    (Refusal.OPEN_NOTIONAL, Case(account=replace(RICH, open=Decimal("24750000.01")))),
    (Refusal.CAPITAL, Case(account=replace(RICH, gross=Decimal("29750000.01")))),
    (Refusal.CAPITAL, Case(account=replace(RICH, gross=Decimal(20_000_000), open=Decimal("9750000.01")))),
    (Refusal.CAPITAL, Case(account=replace(RICH, equity=None))),
    (Refusal.CAPITAL, Case(account=replace(RICH, equity=Money(Decimal(-1))))),
    (Refusal.DUPLICATE, Case(history=History([Price(Decimal("4999.75"))]))),
    (Refusal.DUPLICATE, Case(history=History([None]))),
    (Refusal.DUPLICATE, Case(history=History([None] * 2), limits=replace(LIMITS, alike_orders_max=2))),
    (Refusal.DUPLICATE, Case(limits=replace(LIMITS, alike_orders_max=0), history=History([None]))),
    (Refusal.ORDER_TO_TRADE, Case(history=History(messages=101))),
    (Refusal.ORDER_TO_TRADE, Case(history=History(messages=201, trades=2))),
    (Refusal.SELF_MATCH, Case(live_orders=(at("4999.75", working(1, Side.SELL)),))),
    (Refusal.SELF_MATCH, Case(live_orders=(at("5001", working(1, Side.SELL), wanted="4999.75"),))),
    (Refusal.SELF_MATCH, Case(intent=intend(side=Side.SELL), live_orders=(at("5000", working(1, Side.BUY)),))),
    (Refusal.TAKER_FORBIDDEN, Case(intent=intend(taker=True))),
    (Refusal.TAKER_FORBIDDEN, Case(intent=intend(taker=True), mode=Mode.REDUCE, position=qty(-1))),
]


@pytest.mark.parametrize(("refusal", "case"), REFUSALS)
def test_each_control_refuses_what_it_is_for(refusal: Refusal, case: Case) -> None:
    """One fault at a time: the control that is for it answers."""
    assert reason(case.judge()) is refusal


def test_every_refusal_has_a_row_in_order_of_precedence() -> None:
    """The table above leaves no refusal out, and stands in the order of the enumeration."""
    assert list(dict.fromkeys(refusal for refusal, _ in REFUSALS)) == list(Refusal)


def test_the_first_fault_in_order_of_precedence_answers() -> None:
    """Everything is wrong at once; fault after fault is mended, and each time the next in order answers."""
    case = Case(
        intent=intend("NaN", taker=True),
        instrument=None,
        quote=None,
        position=qty(8),
        live_orders=(working(1, Side.BUY),) * 2 + (at("5000", working(1, Side.SELL)),),
        account=Account(None, Decimal(0), Decimal(25_000_000)),
        limits=replace(LIMITS, order_qty_max=Decimal(4), unknown="no version", restricted=frozenset({"ES"})),
        mode=Mode.PAUSE,
        now_ns=SATURDAY_NS,
        history=History([None], messages=101, vwap=Decimal(1), atr=Decimal(1)),
    )
    mending: list[tuple[Refusal, dict[str, Any]]] = [
        (Refusal.MODE_FORBIDS, {"mode": Mode.NORMAL}),
        (Refusal.REST, {"now_ns": TUESDAY_NS}),
        (Refusal.NUMBER_INSANE, {"intent": intend("5.5", taker=True)}),
        (Refusal.LIMITS_UNKNOWN, {"limits": replace(case.limits, order_qty_max=Decimal(5), unknown="")}),
        (Refusal.INSTRUMENT_UNKNOWN, {"instrument": ES}),
        (Refusal.RESTRICTED, {"limits": replace(LIMITS, order_qty_max=Decimal(5))}),
        (Refusal.LOT_VIOLATED, {"intent": intend(6, taker=True)}),
        (Refusal.QUOTE_STALE, {"quote": quoted(bid="4000")}),
        (Refusal.PRICE_COLLAR, {"quote": quoted(), "intent": intend(6)}),
        (Refusal.DYNAMIC_COLLAR, {"history": replace(case.history, vwap=None)}),
        (Refusal.ORDER_QTY, {"intent": intend(5)}),
        (Refusal.ORDER_NOTIONAL, {"intent": intend(4)}),
        (Refusal.POSITION_LIMIT, {"position": qty(0), "intent": intend(4, Side.SELL), "limits": UNBORROWED}),
        (Refusal.SHORT_QTY, {"intent": intend(4), "limits": LIMITS}),
        (Refusal.TOO_MANY_ORDERS, {"live_orders": case.live_orders[2:]}),
        (Refusal.OPEN_NOTIONAL, {"account": replace(RICH, equity=None)}),
        (Refusal.CAPITAL, {"account": RICH}),
        (Refusal.DUPLICATE, {"history": History(messages=101)}),
        (Refusal.ORDER_TO_TRADE, {"history": NOTHING, "intent": intend(4, taker=True)}),
        (Refusal.SELF_MATCH, {"live_orders": ()}),
        (Refusal.TAKER_FORBIDDEN, {"intent": intend(4)}),
    ]
    assert [refusal for refusal, _ in mending] == list(Refusal)
    for refusal, mended in mending:
        assert reason(case.judge()) is refusal
        case = replace(case, **mended)
    assert isinstance(case.judge(), Approved)


@pytest.mark.parametrize(
    "case",
    [
        Case(intent=intend(4)),
        Case(position=qty(7)),
        Case(position=qty(20), intent=intend(4, Side.SELL)),
        Case(position=qty(-20), intent=intend(4)),
        Case(position=qty(3), live_orders=(working(4, Side.BUY),)),
        Case(position=qty(3), live_orders=(working(6, Side.BUY, filled=2),)),
        Case(position=qty(7), live_orders=(working(4, Side.SELL),)),
        Case(position=qty(7), live_orders=(working(4, Side.BUY, symbol="NQ"),)),
        Case(live_orders=(working(1, Side.SELL),) * 2),
        Case(quote=quoted(learned_ns=TUESDAY_NS - QUOTE_AGE_NS_MAX)),
        Case(quote=quoted(bid="4750", ask="5250", learned_ns=TUESDAY_NS), price=Price(Decimal("4987.5"))),
        Case(quote=replace(quoted(), last=Price(Decimal("5262.75")))),
        Case(price=Price(Decimal("4750.25"))),
        Case(intent=intend(4), limits=replace(LIMITS, order_qty_max=Decimal(4))),
        Case(account=replace(RICH, open=Decimal(24_750_000))),
        Case(account=replace(RICH, gross=Decimal(29_750_000))),
        Case(account=replace(RICH, gross=Decimal(20_000_000), open=Decimal(9_750_000))),
        Case(account=replace(RICH, equity=None), position=qty(-1)),
        Case(limits=replace(LIMITS, unknown="no version"), position=qty(-1)),
        Case(limits=replace(LIMITS, restricted=frozenset({"ES"})), position=qty(-1)),
        Case(limits=replace(LIMITS, restricted=frozenset({"NQ"}))),
        Case(history=traded("4993.5")),
        Case(history=traded("5006")),
        Case(history=History(vwap=Decimal(1))),
        Case(history=History(atr=Decimal(1))),
        Case(mode=Mode.EMERGENCY, intent=intend(taker=True), position=qty(-1), history=traded("1")),
        Case(intent=intend(2, Side.SELL), position=qty(2), limits=UNBORROWED),
        Case(intent=intend(2), position=qty(-2), limits=UNBORROWED),
        Case(history=History([Price(Decimal("4999.5"))])),
        Case(history=History([None]), limits=replace(LIMITS, alike_orders_max=2)),
        Case(mode=Mode.EMERGENCY, intent=intend(taker=True), position=qty(-1), history=History([None])),
        Case(history=History(messages=100)),
        Case(history=History(messages=200, trades=2)),
        Case(history=History(messages=101), position=qty(-1)),
        Case(live_orders=(at("5000", working(1, Side.SELL)),)),
        Case(live_orders=(at("4999.75", working(1, Side.SELL, symbol="NQ")),)),
        Case(live_orders=(at("4999.75", working(1, Side.SELL, OrderState.CANCELED)),)),
        Case(live_orders=(at("5000", working(1, Side.BUY)),)),
        Case(mode=Mode.EMERGENCY, intent=intend(taker=True), position=qty(-1)),
        Case(mode=Mode.EMERGENCY, intent=intend(), position=qty(-1)),
    ],
)
def test_what_reaches_a_limit_without_passing_it_is_approved(case: Case) -> None:
    """At the limit is within it; the other side, other symbols and filled quantity do not count; going home is free."""
    assert isinstance(case.judge(), Approved)


@pytest.mark.parametrize("state", sorted(LIVE | TERMINAL))
def test_live_orders_count_in_full_and_ended_ones_not_at_all(state: OrderState) -> None:
    """Also an order in doubt, or one not yet sent, may still fill."""
    verdict = Case(position=qty(4), live_orders=(working(4, Side.BUY, state),)).judge()
    assert reason(verdict) is (Refusal.POSITION_LIMIT if state in LIVE else None)


@pytest.mark.parametrize("state", sorted(LIVE))
def test_an_order_is_not_counted_against_itself_before_it_is_sent(state: OrderState) -> None:
    """The gateway's check meets the order it judges; an earlier attempt that may be at the venue counts."""
    verdict = Case(position=qty(4), intent=intend(4), live_orders=(working(4, Side.BUY, state, cycle="C1"),)).judge()
    itself = state in {OrderState.RISK_CHECKED, OrderState.ROUTED}
    assert reason(verdict) is (None if itself else Refusal.POSITION_LIMIT)


@pytest.mark.parametrize("mode", [Mode.REDUCE, Mode.EMERGENCY])
@pytest.mark.parametrize(
    ("position", "side", "number", "live", "allowed"),
    [
        (3, Side.SELL, 3, (), True),
        (3, Side.SELL, 1, (), True),
        (3, Side.SELL, 4, (), False),
        (3, Side.BUY, 1, (), False),
        (-3, Side.BUY, 3, (), True),
        (-3, Side.BUY, 4, (), False),
        (-3, Side.SELL, 1, (), False),
        (0, Side.BUY, 1, (), False),
        (0, Side.SELL, 1, (), False),
        (3, Side.SELL, 1, (working(2, Side.SELL),), True),
        (3, Side.SELL, 2, (working(2, Side.SELL),), False),
        (3, Side.SELL, 2, (working(2, Side.SELL, OrderState.UNKNOWN),), False),
        (3, Side.SELL, 2, (working(2, Side.SELL, OrderState.CANCELED),), True),
        (3, Side.SELL, 2, (working(2, Side.SELL, filled=1),), True),
        (3, Side.SELL, 2, (working(2, Side.SELL, symbol="NQ"),), True),
        (3, Side.SELL, 3, (working(2, Side.BUY),), True),
    ],
)
def test_strict_modes_allow_only_what_lowers_the_position(
    *, mode: Mode, position: int, side: Side, number: int, live: tuple[Order, ...], allowed: bool
) -> None:
    """Never away from zero and never through it, even when all that works on the same side fills first."""
    verdict = Case(mode=mode, position=qty(position), intent=intend(number, side), live_orders=live).judge()
    assert reason(verdict) is (None if allowed else Refusal.MODE_FORBIDS)


@pytest.mark.parametrize("number", ["NaN", "0", "-1"])
def test_what_cannot_be_judged_is_not_taken_for_a_reduction(number: str) -> None:
    """In a strict mode an insane quantity is forbidden by the mode, not compared."""
    verdict = Case(mode=Mode.REDUCE, position=qty(3), intent=intend(number, Side.SELL)).judge()
    assert reason(verdict) is Refusal.MODE_FORBIDS


SIDES = st.sampled_from(Side)
ORDERS = st.lists(
    st.builds(working, st.integers(1, 4), SIDES, st.sampled_from(sorted(LIVE)), symbol=st.sampled_from(["ES", "NQ"])),
    max_size=4,
)


@given(
    position=st.integers(-8, 8),
    side=SIDES,
    number=st.integers(1, 5),
    orders=ORDERS,
    mode=st.sampled_from(Mode),
    data=st.data(),
)
def test_no_choice_of_fills_leads_past_the_limit(
    *, position: int, side: Side, number: int, orders: list[Order], mode: Mode, data: st.DataObject
) -> None:
    """Whichever orders of its side fill with an approved one, the position keeps its limit, and shrinks if strict."""
    case = Case(intent=intend(number, side), position=qty(position), live_orders=tuple(orders), mode=mode)
    verdict = case.judge()
    if not isinstance(verdict, Approved):
        return
    same = [order for order in orders if order.symbol == "ES" and order.side is side]
    filled = data.draw(st.lists(st.sampled_from(same), unique_by=id)) if same else []
    after = position + side.sign * sum((order.leaves_qty for order in filled), Decimal(number))
    assert after <= 8 if side is Side.BUY else after >= -8
    assert len(orders) < LIMITS.orders_max
    if mode is not Mode.NORMAL:
        assert abs(after) < abs(position)
        assert after * position >= 0


@pytest.mark.parametrize(
    "wrong",
    [
        {"order_notional_max": Decimal(-1)},
        {"position_notional_max": Decimal("NaN")},
        {"order_notional_max": Decimal("Infinity")},
        {"orders_max": -1},
        {"quote_age_ns_max": -1},
    ],
)
def test_limits_are_finite_and_not_below_zero(wrong: dict[str, Any]) -> None:
    """A limit that limits nothing is a mistake in the configuration, and the text names it."""
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        replace(LIMITS, **wrong)


@pytest.mark.parametrize("side", Side)
def test_a_notional_beyond_its_limit_by_the_last_of_35_digits_is_refused(side: Side) -> None:
    """No sum, product or sign of a verdict loses a digit, whichever side the position is of."""
    long = Decimal(10**17 + 1)
    quote, instrument = quoted(bid=str(long), ask=str(long)), replace(ES, multiplier=Decimal(1))
    far = Decimal(10) ** 40
    worth = Decimal("100000000000000002E+17")
    limits = Limits("SIM-1", far, worth, 1, order_qty_max=far, open_notional_max=far, short_qty_max=far)
    account = replace(RICH, equity=Money(far))
    case = Case(intend(long, side), instrument, quote, account=account, limits=limits)
    assert reason(case.judge()) is Refusal.POSITION_LIMIT
    larger = replace(limits, position_notional_max=Decimal("100000000000000003E+17"))
    assert isinstance(replace(case, limits=larger).judge(), Approved)


def test_a_limit_of_zero_forbids() -> None:
    """Zero is a limit, not the absence of one."""
    assert reason(Case(limits=replace(LIMITS, orders_max=0)).judge()) is Refusal.TOO_MANY_ORDERS
    assert reason(Case(limits=replace(LIMITS, order_notional_max=Decimal(0))).judge()) is Refusal.ORDER_NOTIONAL


@pytest.mark.parametrize(
    "changed",
    [
        {"account": "SIM-2"},
        {"order_notional_max": Decimal(1)},
        {"position_notional_max": Decimal(1)},
        {"orders_max": 4},
        {"quote_age_ns_max": 1},
        {"order_qty_max": Decimal(1)},
        {"open_notional_max": Decimal(1)},
        {"gross_leverage_max": Decimal(1)},
        {"price_collar": Decimal(1)},
        {"collar_atr_max": Decimal(1)},
        {"short_qty_max": Decimal(1)},
        {"alike_orders_max": 2},
        {"order_trade_ratio_max": Decimal(1)},
        {"same_side_fills_max": 1},
        {"rejects_max": 1},
        {"restricted": frozenset({"ES"})},
        {"unknown": "no version"},
    ],
)
def test_limits_are_named_by_their_content(changed: dict[str, Any]) -> None:
    """Any change makes another version; another spelling of the same number does not."""
    assert replace(LIMITS, **changed).version != LIMITS.version
    assert replace(LIMITS, order_notional_max=Decimal("1000000.00")).version == LIMITS.version


@pytest.mark.parametrize(("refusal", "case"), REFUSALS)
def test_the_whole_verdict_has_a_line_for_each_control_and_agrees_with_the_answer(refusal: Refusal, case: Case) -> None:
    """In order, numbered; the first that refuses is the answer, with its text; none is judged on what is not known."""
    lines = explain(*case.facts())
    assert [line.refusal for line in lines] == list(Refusal)
    assert [line.number for line in lines] == list(range(1, len(Refusal) + 1))
    first = next(line for line in lines if line.result == "refused")
    verdict = case.judge()
    assert isinstance(verdict, Refused)
    assert (first.refusal, first.text) == (refusal, verdict.text)
    assert all((line.result == "not judged") is (line.text == "") for line in lines)


def test_an_approved_order_passes_every_line() -> None:
    """Nothing refuses, nothing is left out, and each line says what was looked at."""
    lines = explain(*Case().facts())
    assert {line.result for line in lines} == {"passed"}
    texts = {line.refusal: line.text for line in lines}
    assert texts[Refusal.ORDER_NOTIONAL] == "ORDER_NOTIONAL: notional=250000 max=1000000"


def test_every_limit_belongs_to_a_control_and_every_named_limit_exists() -> None:
    """No number is kept that limits nothing; two are of what the venue has told."""
    told = ["rejects_max", "same_side_fills_max"]
    assert sorted([control.key for control in CONTROLS if control.key] + told) == sorted(KEYS)


def test_every_refusal_is_told_in_words() -> None:
    """`trisagion why` knows each of them, and that it stopped something."""
    for refusal in Refusal:
        assert CODES[refusal].stops
        assert CODES[refusal].words


def minute(close_min: int, price: float, volume: float = 1.0, swing: float = 0.5) -> Bar:
    """Return the bar of a minute that closes so many minutes before noon."""
    open_ns = TUESDAY_NS - (close_min + 1) * MINUTE_NS
    return Bar("ES", open_ns, MINUTE_NS, price, price + swing, price - swing, price, volume, 5)


def test_where_the_market_traded_is_the_mean_of_five_minutes_by_volume() -> None:
    """Older minutes, later ones and those without volume do not count; the range is that of fourteen minutes."""
    bars = [minute(20 - number, 100.0, 1000.0) for number in range(16)]
    bars += [minute(4, 200.0, 3.0), minute(3, 100.0, 1.0), minute(2, 999.0, 0.0), minute(0, 100.0, 0.0)]
    assert references(bars, TUESDAY_NS)[0] == Decimal(175)
    quiet = [minute(number, 100.0) for number in range(20, -1, -1)]
    assert references(quiet, TUESDAY_NS) == (Decimal(100), Decimal(1))


def test_a_market_that_traded_too_little_has_no_collar_of_its_own() -> None:
    """Nothing in five minutes leaves no mean, fewer than fifteen minutes no range."""
    assert references([], TUESDAY_NS) == (None, None)
    assert references([minute(0, 100.0)], TUESDAY_NS) == (Decimal(100), None)
    assert references([minute(0, 100.0)], TUESDAY_NS + VWAP_NS) == (None, None)
