"""`services.clamp`: what the clamps see of a real account, and what a cycle makes of it."""

from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.builders import (
    ACCOUNT,
    BOOK_RULES,
    CYCLE_RULES,
    ES,
    NQ,
    SESSION,
    TUESDAY_NS,
    Desk,
    a_step,
    an_intended_order,
    qty,
    said,
    voting,
)
from tests.fakes import FakeSession
from trisagion.adapters.dataspec import DataSpec
from trisagion.adapters.db import SqlDatabase
from trisagion.adapters.db.market import Market
from trisagion.adapters.db.why_source import cycle_story
from trisagion.adapters.files import load as load_data
from trisagion.clock import MINUTE_NS
from trisagion.gateway.settling import SETTLED
from trisagion.ids import cycle_id
from trisagion.ledger.postings import opening
from trisagion.ledger.types import EquitySample
from trisagion.market.bars import minutes
from trisagion.market.instruments import AAPL
from trisagion.orders.state import OrderState
from trisagion.orders.types import ExecType, Order, Side
from trisagion.portfolio.clamps import CLAMPS, ClampRules
from trisagion.portfolio.exits import Cause, ExitRules, ExitState
from trisagion.portfolio.tails import worst
from trisagion.ports import Decision
from trisagion.regime.classify import Reading
from trisagion.reports.why import as_text
from trisagion.reports.why_order import explain_cycle
from trisagion.safety.modes import Control, Mode
from trisagion.services import limits as limit_book
from trisagion.services import reconcile
from trisagion.services.book_fills import book
from trisagion.services.clamp import Clamping
from trisagion.services.drive_session import SessionDriver
from trisagion.services.protect import Protection
from trisagion.services.reconcile import CycleRules, cycle
from trisagion.services.route_orders import route
from trisagion.services.stakes import booked_cash, marked_equity
from trisagion.settings import load
from trisagion.units import Money
from trisagion.wiring import House

DUE = TUESDAY_NS
MINUTES = 260
OFF = ClampRules(heat_max=None, leverage_max=None)
BOTH = (ES, NQ)


def rules(**limits: Any) -> CycleRules:
    """Return how a cycle decides with some clamps."""
    named: dict[str, Any] = {
        name: Decimal(value) if isinstance(value, str) else value for name, value in limits.items()
    }
    return replace(CYCLE_RULES, clamping=Clamping(replace(OFF, **named), worst))


def paths(minutes: int, seed: int = 3) -> np.ndarray:
    """Return prices of two symbols that move by a thousandth in a minute, nearly together; whole quarters."""
    rng = np.random.default_rng(seed)
    moves = rng.normal(0.0, 0.001, (minutes, 1)) + rng.normal(0.0, 0.0003, (minutes, 2))
    walk = np.cumsum(moves, axis=0)
    return np.asarray(np.round(4000 * np.exp(walk - walk[-1]) * 4) / 4)


def traded(desk: Desk) -> Desk:
    """Found an account with two symbols that have traded for more than four hours."""
    desk.found(instruments=BOTH, quoted_ns=None)
    with desk.database.transaction() as tx:
        for minute, prices in enumerate(paths(MINUTES), start=1 - MINUTES):
            for instrument, price in zip(BOTH, prices.tolist(), strict=True):
                tx.market.add_step(a_step(DUE + minute * MINUTE_NS, str(price), instrument.symbol))
    return desk


@pytest.fixture
def market(database: SqlDatabase) -> Desk:
    """Give such an account on SQLite, then on MariaDB."""
    return traded(Desk(database))


@pytest.fixture
def lite(empty: Desk) -> Desk:
    """Give such an account on SQLite."""
    return traded(empty)


def move(desk: Desk, how: CycleRules, minute: int, *directions: int) -> dict[str, Decision]:
    """Bring all to a minute after the first cycle, move the cycle, and return its decisions."""
    due_ns = DUE + minute * MINUTE_NS
    for instrument in BOTH:
        desk.quote(due_ns, symbol=instrument.symbol)
        desk.observe(due_ns, symbol=instrument.symbol)
    desk.enter(voting(due_ns, *directions, instruments=BOTH), at_ns=due_ns)
    desk.mark(due_ns)
    cycle(desk.database, how, "tester", due_ns)
    with desk.database.snapshot() as tx:
        found = [each for instrument in BOTH for each in tx.cycles.last_decisions(instrument.symbol, 1)]
    return {decision.symbol: decision for decision in found}


def bound(decision: Decision) -> list[str]:
    """Return the codes of the clamps that took something."""
    codes = [reason.partition(":")[0] for reason in decision.reasons]
    return [code for code in codes if code.endswith("_CLAMPED")]


def judged(desk: Desk, minute: int, state: str) -> None:
    """Have the classifier say something of ES."""
    with desk.database.transaction() as tx:
        tx.regime.put_reading("ES", Reading(DUE + minute * MINUTE_NS, state, (0.1, 0.1, 0.1, 0.7), ("told",)))


def test_each_clamp_binds_in_a_cycle_and_why_tells_of_it(market: Desk) -> None:
    """Of eight contracts of ES that the votes are worth, 200,000 each; of ten of NQ, 80,000 each, that come after."""
    limits: dict[str, tuple[dict[str, Any], str, str]] = {
        "kelly": ({"kelly_max": "0.01"}, "ES", "1.25"),
        "volatility": ({"volatility_max": "0.15"}, "ES", ""),
        "crisis": ({"crisis_share": "0.5"}, "ES", "4.045"),
        "concentration": ({"concentration_max": "0.005"}, "ES", "2.5"),
        "correlation": ({"concentration_max": "0.0175"}, "NQ", "1.87"),
        "heat": ({"heat_max": "0.001"}, "ES", ""),
        "leverage": ({"leverage_max": "0.0181"}, "NQ", "2.62"),
        "tail": ({"es_max": "0.0005"}, "ES", ""),
    }
    for minute, clamp in enumerate(CLAMPS):
        given, symbol, left = limits[clamp.name]
        judged(market, minute, "crisis" if clamp.name == "crisis" else "noisy")
        decisions = move(market, rules(**given), minute, *[20] * 3)
        decision = decisions[symbol]
        assert bound(decision) == [clamp.code], (clamp.name, decision.reasons)
        if left:
            assert float(decision.desired) == pytest.approx(float(left), abs=0.01), (clamp.name, decision.reasons)
        assert 0 < decision.desired < 8
        told = as_text(explain_cycle(_story(market, minute)))
        assert f"{clamp.code}: wanted=" in told
        seen = next(reason for reason in decision.reasons if reason.startswith("CLAMPS: ")).split()[1:]
        assert [item.partition("=")[0] for item in seen] == [each.name for each in CLAMPS]


def _story(desk: Desk, minute: int) -> Any:
    with desk.database.snapshot() as unit:
        return cycle_story(unit, cycle_id(DUE + minute * MINUTE_NS))


STRICT = {
    "volatility_max": "0.4",
    "concentration_max": "0.015",
    "heat_max": "0.001",
    "leverage_max": "0.012",
    "es_max": "0.0009",
}


def _count(monkeypatch: pytest.MonkeyPatch, read: list[Sequence[str]]) -> None:
    """Note whose closes are read."""
    closes = Market.closes

    def counted(market: Market, symbols: Sequence[str], until_ns: int, count: int) -> Any:
        read.append(symbols)
        return closes(market, symbols, until_ns, count)

    monkeypatch.setattr(Market, "closes", counted)


def test_who_is_decided_on_first_has_the_room(lite: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its order counts for the next symbol, in one transaction and in several; the minutes of each are read once."""
    read: list[Sequence[str]] = []
    _count(monkeypatch, read)
    whole = move(lite, rules(leverage_max="0.0181", heat_max="1"), 0, *[20] * 3)
    assert [order.qty for order in lite.orders()] == [8, 2]
    assert read == [["ES", "NQ"]]
    monkeypatch.setattr(reconcile, "SYMBOLS_MAX", 1)
    parts = move(lite, rules(leverage_max="0.0181", heat_max="1"), 1, *[20] * 3)
    assert [parts[name].desired for name in ("ES", "NQ")] == [whole[name].desired for name in ("ES", "NQ")]
    assert read[1:] == [["ES"], ["NQ"]]


@pytest.mark.parametrize(
    ("named", "is_read"),
    [
        ({}, False),
        ({"leverage_max": "3", "kelly_max": "0.25", "crisis_share": "0.5"}, False),
        ({"heat_max": "1"}, True),
    ],
)
def test_the_minutes_are_read_by_who_looks_at_them_only(
    lite: Desk, monkeypatch: pytest.MonkeyPatch, named: dict[str, Any], *, is_read: bool
) -> None:
    """Where every clamp is off, or none of those that are on needs them, no close is read."""
    asked: list[Sequence[str]] = []
    _count(monkeypatch, asked)
    decisions = move(lite, rules(**named), 0, *[20] * 3)
    assert bool(asked) is is_read
    clamps = [reason for reason in decisions["ES"].reasons if reason.startswith("CLAMPS")]
    assert bool(clamps) is bool(named)


def test_what_is_held_counts_for_the_others_and_orders_at_their_worst(lite: Desk) -> None:
    """Five of ES are held, and four more are on their way at the venue: a wish for NQ finds nine of them."""
    lite.hold(5)
    lite.put(an_intended_order(DUE - MINUTE_NS, OrderState.UNKNOWN, side=Side.BUY, qty=qty(4)))
    [decision] = move(lite, rules(leverage_max="0.02"), 0, *[20] * 3).values()
    assert decision.symbol == "NQ"
    assert float(decision.desired) == pytest.approx((2_000_000 - 9 * 200_012.5) / 80_005, abs=0.001)


def test_the_other_side_of_the_same_bet_is_no_part_of_it(lite: Desk) -> None:
    """Short of ES, with which NQ moves: long of NQ it is another bet, and short the same."""
    lite.hold(-8)
    for minute, direction, codes in ((0, 20, []), (1, -20, ["CORRELATION_CLAMPED"])):
        decisions = move(lite, rules(concentration_max="0.02"), minute, -20, direction, -20)
        wanted = {decision.symbol: decision.direction for decision in decisions.values()}
        assert wanted == {"ES": -40, "NQ": direction}
        assert bound(decisions["NQ"]) == codes


def test_what_has_no_history_may_not_grow(empty: Desk) -> None:
    """A symbol of one minute: a quarter of the wish, the venue's margin for its risk, and no more than is held."""
    desk = empty.found(instruments=BOTH)
    desk.hold(2)
    decision = move(desk, rules(**STRICT), 1, *[20] * 3)["ES"]
    assert bound(decision) == ["VOLATILITY_CLAMPED", "TAIL_CLAMPED"]
    line = next(reason for reason in decision.reasons if reason.startswith("CLAMPS"))
    seen = dict(item.split("=") for item in line.split()[1:])
    assert (seen["volatility"], seen["tail"]) == ("unknown/0.4", "unknown/off/0.0009")
    assert float(seen["heat"].split("/")[0]) == pytest.approx(200_012.5 / 20 * 2.0225425 / 1e8, rel=1e-4)


EXITS = Protection(ExitRules(atr_bars=2, bar_min=1, break_even_atr=Decimal(0)), 10 * MINUTE_NS, ACCOUNT, SESSION)


def stopped(desk: Desk, **changes: Any) -> None:
    """Put what the exits remember of ES."""
    nothing = ExitState.nothing(EXITS.strategy, "ES", DUE)
    with desk.database.transaction() as tx:
        tx.exits.put(replace(nothing, side=1, qty=qty(4), entry=Decimal(4000), peak=Decimal(4000), **changes))


def test_heat_goes_down_to_the_stop_where_there_is_one(lite: Desk) -> None:
    """Four contracts and a stop 25 points below: 1,250 each, of the four that are held and those that are to come."""
    lite.hold(4)
    stopped(lite, stop=Decimal(3975))
    how = replace(rules(heat_max="0.0001"), protection=EXITS)
    decision = move(lite, how, 0, *[20] * 3)["ES"]
    assert bound(decision) == ["HEAT_CLAMPED"]
    assert float(decision.desired) == pytest.approx(8.0, abs=1e-4)


def test_a_side_that_was_stopped_out_is_not_freed_by_a_clamp(lite: Desk) -> None:
    """The clamps leave nothing of the wish; the votes have not wanted anything else, so the side stays barred."""
    stopped(lite, cause=Cause.TRAIL, caused_ns=DUE)
    with lite.database.transaction() as tx:
        tx.exits.put(replace(tx.exits.state(EXITS.strategy, "ES"), qty=qty(0)))
    how = replace(rules(kelly_max="0.000000001"), protection=EXITS)
    assert move(lite, how, 0, *[20] * 3)["ES"].desired < 1
    with lite.database.snapshot() as tx:
        assert tx.exits.state(EXITS.strategy, "ES").cause is Cause.TRAIL


PRUDENT = Path(__file__).parents[2] / "deploy" / "prudent.toml"


def filled(desk: Desk, house: House, due_ns: int) -> list[Order]:
    """Send what a cycle has ordered; the venue fills it. Return the orders."""
    driver = SessionDriver(desk.database, FakeSession(), house.session_name, "one", settling=SETTLED)
    driver.lease()
    with desk.database.snapshot() as tx:
        names = [order.cl_ord_id for order in tx.orders.in_states(frozenset({OrderState.RISK_CHECKED}))]
    for name in names:
        route(desk.database, house.limits, house.session_name, name, due_ns)
        driver.drain(due_ns)
        order = desk.order(name)
        assert order.price is not None, order
        whole = {"last_qty": order.qty, "cum_qty": order.qty, "leaves_qty": qty(0), "ord_status": OrderState.FILLED}
        named = {"symbol": order.symbol, "venue": house.session_name, "happened_ns": due_ns}
        paid = {"last_px": order.price, "avg_px": Decimal(order.price), "fee": Money(Decimal("0.01"))}
        book(desk.database, BOOK_RULES, said(order, ExecType.TRADE, f"F{name}", **whole, **named, **paid))
    return [desk.order(name) for name in names]


def test_the_prudent_file_trades_and_keeps_its_word(empty: Desk) -> None:
    """Six hours of a real stock, with a vote that grows: it trades, and never more than a twentieth of the equity."""
    house = House(load(PRUDENT, {}, {}))
    how = replace(house.cycle_rules, fingerprint="")
    account, steps = house.settings.account, list(minutes([load_data(DataSpec("aapl"))]))[:390]
    with empty.database.transaction() as tx:
        tx.market.add_instrument(AAPL)
        tx.ledger.post(opening(Money(account.equity), 0, account.currency))
        tx.control.set_mode(Control(Mode.NORMAL, "tester", "test", 0))
        limit_book.found(tx, house.limits, "test", 0)
    orders, desired, codes = [], [], set()
    for number, (at_ns, of_minute) in enumerate(steps, start=1):
        with empty.database.transaction() as tx:
            for step in of_minute:
                tx.market.add_step(step)
            tx.regime.put_reading("AAPL", Reading(at_ns, "trending" if number < 370 else "crisis", (1, 0, 0, 0), ()))
        if at_ns % how.interval_ns:
            continue
        empty.enter(voting(at_ns, *[number] * 8, 8, pnl=1.0, instruments=[AAPL]), at_ns=at_ns)
        empty.observe(at_ns, symbol="AAPL")
        with empty.database.transaction() as tx:
            worth, held = marked_equity(tx, at_ns), tx.ledger.position("AAPL")
            assert worth is not None
            last = of_minute[0].last
            assert abs(held.qty) * last <= worth * Decimal("0.0501")
            tx.ledger.add_equity(EquitySample(at_ns, worth, booked_cash(tx), "AAPL", held.qty, last))
        cycle(empty.database, how, "tester", at_ns)
        orders += filled(empty, house, at_ns)
        with empty.database.snapshot() as tx:
            [decision] = tx.cycles.last_decisions("AAPL", 1)
        desired.append(decision.desired)
        codes |= set(bound(decision))
        [line] = [reason for reason in decision.reasons if reason.startswith("CLAMPS")]
        assert "off" not in line
    assert [order.side for order in orders] == [Side.BUY, Side.SELL, Side.SELL]
    # Nothing while the tail is unknown, then no more than a twentieth; in the crisis half of what volatility leaves.
    assert not any(desired[:25])
    assert min(desired[25:36]) > 14
    assert max(desired[36:]) < 8
    names = ("KELLY", "VOLATILITY", "CRISIS", "CONCENTRATION", "TAIL")
    assert codes == {f"{name}_CLAMPED" for name in names}
