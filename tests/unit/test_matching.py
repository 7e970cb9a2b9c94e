"""The matching engine: its rules one by one, then all together against a model that moves single lots."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from trisagion.clock import SECOND_NS
from trisagion.errors import OurMistake
from trisagion.market.instruments import ES
from trisagion.market.types import Tape
from trisagion.orders.state import OrderState
from trisagion.orders.types import ExecType, Liquidity, Side
from trisagion.simulate.matching import IOC_REMAINDER, QUEUE_WINDOW_NS, Event, MatchingEngine, Refusal
from trisagion.units import Money

BUY, SELL = Side.BUY, Side.SELL
T0 = 1_378_000_000 * SECOND_NS


def tape(prints: Sequence[tuple[float, int, int]], symbol: str = "ES") -> Tape:
    """Prints as (seconds after T0, price in ticks, lots)."""
    columns = np.array([(T0 + int(s * SECOND_NS), p, q) for s, p, q in prints], dtype=np.int64).reshape(-1, 3)
    return Tape(replace(ES, symbol=symbol), *np.ascontiguousarray(columns.T))


def at(seconds: float) -> int:
    """An instant."""
    return T0 + int(seconds * SECOND_NS)


class Desk:
    """An engine with the arguments that do not matter left out."""

    def __init__(self, prints: Sequence[tuple[float, int, int]], played_s: float = 0) -> None:
        self.engine = MatchingEngine([tape(prints)])
        self.engine.play(at(played_s))

    def order(
        self,
        name: str,
        side: Side,
        ticks: int,
        lots: int,
        *,
        owner: str = "us",
        kind: str = "post",
        now_s: float = 0,
        symbol: str = "ES",
    ) -> tuple[Event, ...]:
        """Submit an order; `kind` is "post", "ioc", "limit" or "both"."""
        return self.engine.submit(
            cl_ord_id=name,
            owner=owner,
            symbol=symbol,
            side=side,
            price_ticks=ticks,
            lots=lots,
            post_only=kind in {"post", "both"},
            immediate_or_cancel=kind in {"ioc", "both"},
            now_ns=at(now_s),
        )

    def fills(self, until_s: float) -> list[tuple[str, int]]:
        """Play on; the fills as (order, lots)."""
        return told(self.engine.play(at(until_s)))


def told(events: Sequence[Event]) -> list[tuple[str, int]]:
    """Trades as (order, lots)."""
    return [(event.order.cl_ord_id, event.last_lots) for event in events if event.exec_type is ExecType.TRADE]


@pytest.mark.parametrize(
    ("side", "ticks", "refused"),
    [(BUY, 99, False), (BUY, 100, False), (BUY, 101, True), (SELL, 101, False), (SELL, 100, False), (SELL, 99, True)],
)
def test_post_only_is_refused_exactly_when_it_reaches_the_opposite_quote(side: Side, ticks: int, refused: bool) -> None:
    """The quotes stand one tick around the last trade, here 100."""
    (event,) = Desk([(0, 100, 1)], played_s=1).order("a", side, ticks, 1, now_s=1)
    assert event.reason == (Refusal.POST_ONLY_WOULD_CROSS if refused else None)
    assert event.order.state is (OrderState.REJECTED if refused else OrderState.NEW)


def test_post_only_is_refused_when_it_reaches_the_order_of_another_owner() -> None:
    """A resting offer inside the market is the best offer; one's own is none."""
    desk = Desk([(0, 100, 1)], played_s=1)
    desk.order("offer", SELL, 100, 1, owner="them", now_s=1)
    assert desk.order("a", BUY, 100, 1, now_s=1)[0].reason == Refusal.POST_ONLY_WOULD_CROSS
    assert desk.order("b", BUY, 100, 1, owner="them", now_s=1)[0].reason is None


def test_refusals_come_in_their_order_of_precedence() -> None:
    """One order with every fault is mended fault by fault."""
    desk = Desk([(0, 100, 1)], played_s=1)
    desk.order("a", BUY, 90, 1, now_s=1)
    rows = [
        (("a", BUY, -1, 0), "both", "XX", Refusal.DUPLICATE),
        (("b", BUY, -1, 0), "both", "XX", Refusal.UNKNOWN_SYMBOL),
        (("c", BUY, -1, 0), "both", "ES", Refusal.BAD_QUANTITY),
        (("d", BUY, -1, 1), "both", "ES", Refusal.BAD_PRICE),
        (("e", BUY, 101, 1), "both", "ES", Refusal.BAD_INSTRUCTIONS),
        (("f", BUY, 101, 1), "post", "ES", Refusal.POST_ONLY_WOULD_CROSS),
    ]
    assert [row[-1] for row in rows] == list(Refusal)
    for row, kind, symbol, refusal in rows:
        (event,) = desk.order(*row, kind=kind, symbol=symbol, now_s=1)
        assert (event.exec_type, event.reason) == (ExecType.REJECTED, refusal)


def test_a_duplicate_is_rejected_with_the_state_of_the_first_which_lives_on() -> None:
    """The answer names the first order and its state."""
    desk = Desk([(0, 100, 1), (10, 98, 9)], played_s=1)
    desk.order("a", BUY, 99, 2, now_s=1)
    (event,) = desk.order("a", SELL, 120, 5, now_s=2)
    assert (event.reason, event.order.order_id, event.order.state) == (Refusal.DUPLICATE, "O1", OrderState.NEW)
    assert desk.fills(11) == [("a", 2)]


def test_an_order_without_form_is_on_record_as_rejected() -> None:
    """A price off the grid is refused; its id is used up; a known id stays what it was."""
    desk = Desk([])
    for reason in (Refusal.BAD_PRICE, Refusal.DUPLICATE):
        (event,) = desk.engine.refuse(
            cl_ord_id="a", owner="us", symbol="ES", side=BUY, reason=Refusal.BAD_PRICE, now_ns=at(0)
        )
        assert (event.reason, event.order.state) == (reason, OrderState.REJECTED)


QUEUES = [
    # The minute before arrival at 60 s, and the lots that must trade at 100 before our first.
    ([(1, 100, 4), (2, 100, 3), (3, 101, 9)], 7),
    ([(-1, 100, 50), (1, 100, 4)], 4),
    ([(0, 100, 5)], 5),
    ([(1, 99, 4), (2, 101, 3), (3, 101, 2)], 5),
    ([(1, 99, 1), (2, 101, 1), (3, 102, 1)], 1),
    ([], 1),
]


@pytest.mark.parametrize(("before", "queue"), QUEUES)
def test_the_queue_is_what_traded_at_the_price_in_the_minute_before(
    before: list[tuple[int, int, int]], queue: int
) -> None:
    """Else the mean per price of that minute, rounded up; else one lot."""
    desk = Desk([*before, (70, 100, queue), (71, 100, 1), (72, 100, 9)], played_s=60)
    desk.order("a", BUY, 100, 3, kind="limit" if before and before[-1][1] < 100 else "post", now_s=60)
    assert desk.fills(71) == []
    assert desk.fills(72) == [("a", 1)]
    assert desk.fills(73) == [("a", 2)]


def test_a_print_through_the_price_fills_up_to_its_size_and_clears_the_queue() -> None:
    """Fifty lots stood before us; a seller who hit 99 had to pass 100."""
    desk = Desk([(0, 100, 50), (2, 99, 3), (3, 100, 1), (4, 99, 9)], played_s=1)
    desk.order("a", BUY, 100, 5, now_s=1)
    assert desk.fills(3) == [("a", 3)]
    assert desk.fills(4) == [("a", 1)]
    (event,) = desk.engine.play(at(5))
    assert (event.last_ticks, event.last_lots, event.order.state) == (100, 1, OrderState.FILLED)


def test_prints_fill_by_price_then_time_and_each_lot_once() -> None:
    """Six lots through two bids leave the worse bid what is left."""
    desk = Desk([(0, 100, 1), (5, 97, 6), (6, 98, 1), (7, 97, 20)], played_s=1)
    for name, ticks in (("worse", 98), ("better", 99), ("later", 99)):
        desk.order(name, BUY, ticks, 3, now_s=1)
    assert desk.fills(6) == [("better", 3), ("later", 3)]
    assert desk.fills(7) == [("worse", 1)]
    assert desk.fills(8) == [("worse", 2)]


def test_a_later_order_at_the_price_waits_for_the_earlier_one_and_for_the_strangers_between() -> None:
    """At 62 s the earlier order gets its lot, and one of the four strangers before the later one is passed."""
    desk = Desk([(0, 100, 2), (30, 100, 2), (62, 100, 2), (63, 100, 3), (64, 100, 1)], played_s=1)
    desk.order("a", BUY, 100, 1, now_s=1)
    assert desk.fills(31) == []
    desk.order("b", BUY, 100, 1, now_s=31)
    assert desk.fills(63) == [("a", 1)]
    assert desk.fills(64) == []
    assert desk.fills(65) == [("b", 1)]


def test_the_strangers_before_an_earlier_order_stand_before_the_later_one_too() -> None:
    """Also when the earlier one is gone, and nothing traded there of late."""
    desk = Desk([(0, 100, 5), (90, 100, 5), (91, 100, 1)], played_s=1)
    desk.order("a", BUY, 100, 1, now_s=1)
    desk.engine.play(at(80))
    desk.order("b", BUY, 100, 1, now_s=80)
    desk.engine.cancel("a", at(81))
    assert desk.fills(91) == []
    assert desk.fills(92) == [("b", 1)]


def test_no_fill_without_volume() -> None:
    """Time alone and prints elsewhere fill nothing."""
    desk = Desk([(0, 100, 5), *((s, 101, 99) for s in range(1, 50))], played_s=0.5)
    desk.order("a", BUY, 100, 1, now_s=0.5)
    assert desk.fills(10_000) == []
    assert [order.cl_ord_id for order in desk.engine.working()] == ["a"]


def test_prints_before_an_orders_own_instant_do_not_fill_it() -> None:
    """An order stamped ahead of what was played sees the tape up to its stamp and trades only after it."""
    desk = Desk([(0, 100, 1), (5, 90, 100), (20, 90, 7)], played_s=1)
    (event,) = desk.order("a", SELL, 91, 1, now_s=10)
    assert event.exec_type is ExecType.NEW
    desk.order("b", BUY, 90, 1, now_s=10)
    assert desk.fills(20) == []
    assert desk.fills(21) == []


def test_a_taker_gets_the_opposite_quote_up_to_the_last_minutes_volume() -> None:
    """What is left is cancelled, and the same volume is not sold twice."""
    desk = Desk([(-5, 100, 40), (0, 100, 3), (59, 101, 4)], played_s=60)
    new, trade, cancel = desk.order("a", BUY, 110, 9, kind="ioc", now_s=60)
    assert new.exec_type is ExecType.NEW
    assert (trade.last_lots, trade.last_ticks, trade.liquidity) == (7, 102, Liquidity.TAKER)
    assert (cancel.exec_type, cancel.reason, cancel.order.leaves_lots) == (ExecType.CANCELED, IOC_REMAINDER, 0)
    assert told(desk.order("b", BUY, 110, 9, kind="ioc", now_s=61)) == [("b", 1)]
    assert desk.engine.working() == []


@pytest.mark.parametrize(("prints", "limit"), [([(0, 100, 3)], 100), ([], 100)])
def test_a_taker_without_a_quote_in_reach_is_cancelled(prints: list[tuple[int, int, int]], limit: int) -> None:
    """Limit below the offer, or no trade yet: nothing is invented."""
    events = Desk(prints, played_s=1).order("a", BUY, limit, 1, kind="ioc", now_s=1)
    assert [event.exec_type for event in events] == [ExecType.NEW, ExecType.CANCELED]


def test_crossing_orders_of_different_owners_match_by_price_then_time_before_the_tape() -> None:
    """Resting offers at 100, 101, 101, 103; the tape offers two lots at 101."""
    desk = Desk([(0, 100, 2)], played_s=1)
    for name, ticks in (("o103", 103), ("o101", 101), ("p101", 101), ("o100", 100)):
        desk.order(name, SELL, ticks, 1, owner="them", now_s=1)
    desk.order("own", SELL, 101, 1, now_s=1)
    events = desk.order("a", BUY, 103, 10, kind="limit", now_s=1)
    trades = [event for event in events if event.exec_type is ExecType.TRADE]
    assert [(event.order.cl_ord_id, event.last_ticks) for event in trades if event.order.cl_ord_id != "a"] == [
        ("o100", 100),
        ("o101", 101),
        ("p101", 101),
        ("o103", 103),
    ]
    assert {event.liquidity for event in trades if event.order.cl_ord_id != "a"} == {Liquidity.MAKER}
    assert desk.engine.positions("us") == {"ES": 6}
    assert desk.engine.positions("them") == {"ES": -4}
    assert [order.cl_ord_id for order in desk.engine.working()] == ["own", "a"]


def test_a_cancelled_order_is_out_of_the_book_and_stays_cancelled() -> None:
    """Cancelling what is unknown or done does nothing."""
    desk = Desk([(0, 100, 1), (5, 90, 99)], played_s=1)
    desk.order("a", BUY, 99, 1, now_s=1)
    (event,) = desk.engine.cancel("a", at(2))
    assert (event.exec_type, event.order.state, event.happened_ns) == (ExecType.CANCELED, OrderState.CANCELED, at(2))
    assert desk.engine.cancel("a", at(3)) == ()
    assert desk.engine.cancel("never", at(3)) == ()
    assert desk.fills(6) == []


def test_fees_are_exact_and_execution_ids_count_up() -> None:
    """100.25 points · 3 lots · 50 · 0.000025."""
    desk = Desk([(0, 402, 1), (5, 400, 3)], played_s=1)
    desk.order("a", BUY, 401, 3, now_s=1)
    desk.engine.play(at(6))
    new, trade = desk.engine.events
    assert (new.exec_id, trade.exec_id) == ("E1", "E2")
    assert trade.fee == Money(Decimal("0.3759375"))


def test_playing_to_the_past_or_twice_changes_nothing() -> None:
    """A driver may repeat its last step."""
    desk = Desk([(0, 100, 1), (5, 90, 3), (7, 90, 3)], played_s=1)
    desk.order("a", BUY, 99, 5, now_s=1)
    assert desk.fills(6) == [("a", 3)]
    assert desk.fills(6) == desk.fills(2) == []
    assert desk.engine.played_ns == at(6)


def test_each_symbol_has_one_tape() -> None:
    """Two tapes of one symbol are a mistake of ours."""
    with pytest.raises(OurMistake, match="one tape"):
        MatchingEngine([tape([]), tape([])])


def test_books_of_several_symbols_share_the_identifiers() -> None:
    """Symbols are played in order of name."""
    engine = MatchingEngine([tape([(0, 100, 1), (5, 90, 9)], "ZB"), tape([(0, 100, 1), (6, 90, 9)], "ES")])
    engine.play(at(1))
    for number, symbol in enumerate(("ZB", "ES")):
        engine.submit(
            cl_ord_id=f"a{number}",
            owner="us",
            symbol=symbol,
            side=BUY,
            price_ticks=99,
            lots=1,
            post_only=True,
            immediate_or_cancel=False,
            now_ns=at(1),
        )
    assert [(event.exec_id, event.order.symbol) for event in engine.play(at(9))] == [("E3", "ES"), ("E4", "ZB")]


@dataclass
class LotByLot:
    """The same venue, told in single lots: a price level is a list of names, None for a stranger."""

    prints: list[tuple[int, int, int]]
    played: int = 0
    now_s: int = 0
    levels: dict[tuple[Side, int], list[str | None]] = field(default_factory=lambda: defaultdict(list))
    owners: dict[str, str] = field(default_factory=dict)

    def submit(self, name: str, owner: str, side: Side, price: int, lots: int) -> bool:
        """Rest a post-only order, or refuse it."""
        past = self.prints[: self.played]
        opposite = [p for (s, p), level in self.levels.items() if s is not side and self._others(level, owner)]
        if past:
            opposite.append(past[-1][1] + side.sign)
        if any(side.sign * (price - p) >= 0 for p in opposite):
            return False
        minute = [(p, q) for s, p, q in past if s >= self.now_s - QUEUE_WINDOW_NS // SECOND_NS]
        here = sum(q for p, q in minute if p == price)
        distinct = len({p for p, _ in minute})
        queue = here or (max(1, -(-sum(q for _, q in minute) // distinct)) if minute else 1)
        level = self.levels[side, price]
        level += [None] * max(0, queue - level.count(None)) + [name] * lots
        self.owners[name] = owner
        return True

    def cancel(self, name: str) -> None:
        """Take an order's lots out."""
        for level in self.levels.values():
            level[:] = [lot for lot in level if lot != name]
        self._strip()

    def play(self, until_s: int) -> Iterator[tuple[int, str]]:
        """Yield (number of the print, order) for each lot filled."""
        while self.played < len(self.prints) and self.prints[self.played][0] < until_s:
            _, price, lots = self.prints[self.played]
            for (side, level_price), level in self.levels.items():
                if side.sign * (level_price - price) > 0:
                    level[:] = [lot for lot in level if lot is not None]
            for _ in range(lots):
                filled = self._lot(price)
                if filled is not None:
                    yield self.played, filled
                self._strip()
            self.played += 1
        self.now_s = max(self.now_s, until_s)

    def _lot(self, price: int) -> str | None:
        for side in (BUY, SELL):
            reached = [
                p for (s, p), level in self.levels.items() if s is side and level and side.sign * (p - price) >= 0
            ]
            if reached:
                return self.levels[side, max(reached, key=lambda p: side.sign * p)].pop(0)
        return None

    def _others(self, level: list[str | None], owner: str) -> bool:
        return any(lot is not None and self.owners[lot] != owner for lot in level)

    def _strip(self) -> None:
        for level in self.levels.values():
            while level and level[-1] is None:
                level.pop()


PRINTS = st.lists(st.tuples(st.integers(0, 15), st.integers(97, 103), st.integers(1, 6)), max_size=30)
COMMANDS = st.lists(
    st.one_of(
        st.tuples(
            st.just("order"),
            st.sampled_from(["us", "them"]),
            st.sampled_from([BUY, SELL]),
            st.integers(96, 104),
            st.integers(1, 5),
        ),
        st.tuples(st.just("cancel"), st.integers(0, 12)),
        st.tuples(st.just("play"), st.integers(0, 60)),
    ),
    max_size=25,
)


@settings(max_examples=300, deadline=None)
@given(gaps=PRINTS, commands=COMMANDS)
@example(
    gaps=[(0, 100, 5), (1, 100, 9)],
    commands=[("play", 1), ("order", "us", BUY, 100, 2), ("order", "us", BUY, 100, 2), ("play", 9)],
)
def test_the_engine_agrees_with_a_model_of_single_lots(
    gaps: list[tuple[int, int, int]], commands: list[tuple[object, ...]]
) -> None:
    """Same acceptances, same fills print by print; no lot of the tape is used twice."""
    seconds = np.cumsum([gap for gap, _, _ in gaps]).tolist() if gaps else []
    prints = [(int(s), p, q) for s, (_, p, q) in zip(seconds, gaps, strict=True)]
    desk, model = Desk(prints), LotByLot(prints)
    for number, command in enumerate([*commands, ("play", 10_000)]):
        match command:
            case ("order", str(owner), Side() as side, int(price), int(lots)):
                events = desk.order(f"n{number}", side, price, lots, owner=owner, now_s=model.now_s)
                assert (events[0].exec_type is ExecType.NEW) == model.submit(f"n{number}", owner, side, price, lots)
            case ("cancel", int(which)):
                desk.engine.cancel(f"n{which}", at(model.now_s))
                model.cancel(f"n{which}")
            case ("play", int(step)):
                expected: dict[tuple[int, str], int] = defaultdict(int)
                for print_number, name in model.play(model.now_s + step):
                    expected[print_number, name] += 1
                fills = desk.fills(model.now_s)
                assert sorted(fills) == sorted((name, lots) for (_, name), lots in expected.items())
    volume = sum(lots for _, _, lots in prints)
    assert sum(lots for _, lots in told(desk.engine.events)) <= volume
    for order in desk.engine.orders():
        assert 0 <= order.cum_lots <= order.lots


@settings(max_examples=60, deadline=None)
@given(gaps=PRINTS, commands=COMMANDS, step=st.integers(1, 40))
def test_how_far_each_play_goes_does_not_change_the_fills(
    gaps: list[tuple[int, int, int]], commands: list[tuple[object, ...]], step: int
) -> None:
    """One long play and many short ones give the same events, identifiers included."""
    seconds = np.cumsum([gap for gap, _, _ in gaps]).tolist() if gaps else []
    prints = [(int(s), p, q) for s, (_, p, q) in zip(seconds, gaps, strict=True)]
    long, short = Desk(prints, played_s=20), Desk(prints, played_s=20)
    for number, command in enumerate(commands):
        match command:
            case ("order", str(owner), Side() as side, int(price), int(lots)):
                for desk in (long, short):
                    desk.order(f"n{number}", side, price, lots, owner=owner, now_s=20)
    for until_s in range(20, 1000, step):
        short.engine.play(at(until_s))
    for desk in (long, short):
        desk.engine.play(at(1000))
    assert list(long.engine.events) == list(short.engine.events)
