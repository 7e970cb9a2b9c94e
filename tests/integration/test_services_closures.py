"""An exchange's closure rests its own instrument at each of the three looks, and keeps no other from trading."""

from dataclasses import replace

import pytest
import sqlalchemy as sa

from tests.builders import (
    CYCLE_RULES,
    ES,
    LIMITS,
    NQ,
    TUESDAY_NS,
    Desk,
    an_intended_order,
    an_order,
    qty,
    voting,
    words,
)
from tests.integration.owned import owner, routed
from trisagion.adapters.db import SqlDatabase, tables
from trisagion.clock import HOUR_NS, MINUTE_NS
from trisagion.ids import ClOrdId, IntentKey
from trisagion.market.calendar import CLOSING_NS
from trisagion.market.closures import Closures
from trisagion.orders.state import OrderState
from trisagion.orders.types import Side
from trisagion.ports import Decision
from trisagion.services.close_symbols import close_symbols
from trisagion.services.reconcile import cycle
from trisagion.services.route_orders import route
from trisagion.units import Price

_S = OrderState
DUE = TUESDAY_NS
NIGHT = Closures("XNEW", DUE - HOUR_NS, DUE + 9 * HOUR_NS, ((DUE + CLOSING_NS, DUE + 8 * HOUR_NS, "Good Friday"),))
"""It begins a minute after the instant that the tests are at: at that instant it is closing."""
WHY = "XNEW: Good Friday"


def founded(database: SqlDatabase, closures: Closures) -> Desk:
    """Found an account with two instruments that the cohort wants, one of them with closures."""
    both = (replace(ES, closures=closures), NQ)
    desk = Desk(database).found(instruments=both)
    desk.enter(voting(DUE, *[5] * 8, instruments=both), at_ns=DUE)
    desk.mark(DUE)
    return desk


@pytest.fixture
def pair(database: SqlDatabase) -> Desk:
    """Give an account with two instruments, one of which is closing."""
    return founded(database, NIGHT)


def decision(desk: Desk, symbol: str) -> Decision:
    """Return the newest decision on a symbol."""
    with desk.database.snapshot() as tx:
        [newest] = tx.cycles.last_decisions(symbol, 1)
    return newest


def ended(desk: Desk, name: ClOrdId) -> None:
    """Let the venue confirm a cancel."""
    with desk.database.transaction() as tx:
        order = tx.orders.order(name)
        assert order is not None
        tx.orders.save(replace(order, state=_S.CANCELED, version=order.version + 1))


def test_a_cycle_rests_what_is_closing_and_trades_the_other(pair: Desk) -> None:
    """Its order is withdrawn first; then it is decided without a word of the venue, which is closed."""
    earlier = an_intended_order(DUE - MINUTE_NS, _S.NEW)
    pair.put(earlier)
    pair.observe(DUE, symbol="NQ")
    assert words(cycle(pair.database, CYCLE_RULES, "tester", DUE)) == ["decided", "cancelling"]
    assert pair.order(earlier.cl_ord_id).cancel_reason == "superseded"
    ended(pair, earlier.cl_ord_id)
    assert words(cycle(pair.database, CYCLE_RULES, "tester", DUE)) == ["decided", "closing"]
    assert decision(pair, "ES").reasons == (f"REST: {WHY}",)
    assert (decision(pair, "ES").intent, decision(pair, "ES").actual) == (None, None)
    assert decision(pair, "NQ").intent is not None
    assert [order.symbol for order in pair.orders() if order.state is _S.RISK_CHECKED] == ["NQ"]


def test_a_cycle_before_the_last_minute_trades_both(database: SqlDatabase) -> None:
    """The same account a nanosecond earlier: it is the closure that rested the one."""
    pair = founded(database, replace(NIGHT, spans=((DUE + CLOSING_NS + 1, NIGHT.spans[0][1], "Good Friday"),)))
    for symbol in ("ES", "NQ"):
        pair.observe(DUE, symbol=symbol)
    assert words(cycle(pair.database, CYCLE_RULES, "tester", DUE)) == ["decided", "closing"]
    assert sorted(order.symbol for order in pair.orders()) == ["ES", "NQ"]


def test_the_gateway_denies_what_is_closing(pair: Desk) -> None:
    """Though the cycle approved it a moment before."""
    made = {
        symbol: an_order(symbol, intent=IntentKey(f"C1:{symbol}"), symbol=symbol, side=Side.BUY, qty=qty(1))
        for symbol in ("ES", "NQ")
    }
    pair.put(*made.values())
    assert words(route(pair.database, LIMITS, "SIM", ClOrdId("ES"), DUE)) == ["routed"]
    assert (pair.order("ES").state, pair.order("ES").reason) == (_S.DENIED, f"REST: rest={WHY}")
    assert pair.order("NQ").state is _S.ROUTED


def test_the_last_look_denies_what_is_closing(pair: Desk) -> None:
    """New orders and replaces of its own alone, whenever they were routed; cancels pass."""
    other = {"symbol": "NQ", "intent": IntentKey("C1:NQ")}
    wish = {"state": _S.NEW, "wanted_qty": qty(2), "wanted_price": Price(qty(4000))}
    pair.put(routed("T1"), routed("T2", **other), routed("T3", **wish), routed("T4", state=_S.NEW, cancel_reason="x"))
    driver, session = owner(pair)
    driver.drain(DUE)
    assert session.asked == [("cancel", "T4"), ("new", "T2")]
    assert (pair.order("T1").state, pair.order("T1").reason) == (_S.DENIED, f"REST: {WHY}")
    assert (pair.order("T3").state, pair.order("T3").wanted_qty) == (_S.NEW, None)


@pytest.mark.parametrize(("before_ns", "withdrawn"), [(0, True), (1, False)])
def test_what_works_is_withdrawn_a_minute_before_the_closure(pair: Desk, before_ns: int, *, withdrawn: bool) -> None:
    """By the session's guard, and the other instrument's order works on."""
    pair.put(routed("T1", state=_S.NEW), routed("T2", state=_S.NEW, symbol="NQ"))
    driver, session = owner(pair)
    assert driver.enforce(DUE - before_ns) == withdrawn
    assert session.asked == ([("cancel", "T1")] if withdrawn else [])
    assert pair.order("T1").cancel_reason == (f"rest: {WHY}" if withdrawn else None)
    assert pair.order("T2").cancel_reason is None


def test_hours_that_cannot_be_read_withdraw_everything(pair: Desk) -> None:
    """Nobody knows what is open; and the guard goes on to look at the mode."""
    pair.put(routed("T1", state=_S.NEW), routed("T2", state=_S.NEW, symbol="NQ"))
    with pair.database.transaction() as tx:
        tx.session.write(sa.update(tables.trading_hours).values(digest="0" * 64, closed=b"[]"), {})
    driver, session = owner(pair)
    assert driver.enforce(DUE - HOUR_NS // 2)
    assert sorted(session.asked) == [("cancel", "T1"), ("cancel", "T2")]


def test_a_replay_asks_for_what_its_guard_may_be_too_slow_for(pair: Desk) -> None:
    """What the venue may work is to be waited for; what was not sent is denied; the other instrument is let alone."""
    pair.put(routed("T1", state=_S.NEW), routed("T2"), routed("T3", state=_S.NEW, symbol="NQ"))
    assert close_symbols(pair.database, DUE - 1) == ()
    assert close_symbols(pair.database, DUE) == ("ES",)
    assert pair.order("T1").cancel_reason == f"rest: {WHY}"
    assert pair.order("T2").state is _S.DENIED
    assert pair.order("T3").cancel_reason is None


def test_where_no_hours_are_known_an_instrument_rests(pair: Desk) -> None:
    """The library's knowledge ends somewhere; beyond it nobody guesses that an exchange is open."""
    beyond_ns = NIGHT.until_ns + HOUR_NS
    pair.put(routed("T1", created_ns=beyond_ns, updated_ns=beyond_ns))
    driver, session = owner(pair)
    driver.drain(beyond_ns)
    assert session.asked == []
    assert pair.order("T1").reason == "REST: XNEW: its hours are not known"
