"""Whoever proposes a limit is told what it would refuse: of the live orders, and of what the last day approved."""

from dataclasses import replace
from decimal import Decimal

import pytest
import sqlalchemy as sa

from tests.builders import CYCLE_RULES, LIMITS, TUESDAY_NS, Desk, an_intended_order, qty, voting
from trisagion.adapters.db import tables as t
from trisagion.clock import HOUR_NS, MINUTE_NS, SECOND_NS
from trisagion.errors import DataError
from trisagion.orders.state import OrderState
from trisagion.orders.types import Side
from trisagion.risk.controls import Refusal
from trisagion.risk.limits import LimitRow
from trisagion.services import limit_effects
from trisagion.services.limit_effects import UNTRIED, Effect, Effects, effects
from trisagion.services.limits import approve, propose
from trisagion.services.reconcile import cycle
from trisagion.units import Price

T0 = TUESDAY_NS
NONE = Effect(0, 0, {})
TEN_MINUTES_NS = 600 * SECOND_NS


def tried(desk: Desk, name: str, value: str, now_ns: int = T0) -> Effects:
    """Propose a limit; return what it would do."""
    wish = LimitRow(0, name, "account", "", Decimal(value), "ann", "a wild market", now_ns)
    row = propose(desk.database, LIMITS, wish)
    with desk.database.snapshot() as tx:
        found = effects(tx, LIMITS, row.version, now_ns)
    assert found is not None
    return found


def working(desk: Desk, *lots: int, side: Side = Side.SELL) -> None:
    """Put working orders there, a minute apart, the newest now; a contract is worth 200,012.5."""
    for number, count in enumerate(lots):
        due_ns = T0 - (len(lots) - 1 - number) * MINUTE_NS
        desk.quote(due_ns)
        desk.put(replace(an_intended_order(due_ns, OrderState.NEW), side=side, qty=qty(count)))


@pytest.mark.parametrize(
    ("name", "value", "refused"),
    [
        ("order_notional_max", "800050", {}),
        ("order_notional_max", "800049", {Refusal.ORDER_NOTIONAL: 1}),
        ("order_qty_max", "1", {Refusal.ORDER_QTY: 2}),
        ("orders_max", "1", {Refusal.TOO_MANY_ORDERS: 2}),
        ("open_notional_max", "1000062.5", {Refusal.OPEN_NOTIONAL: 1}),
        ("position_notional_max", "1000062.5", {Refusal.POSITION_LIMIT: 1}),
        ("price_collar", "0", {}),
    ],
)
def test_live_orders_are_counted_that_would_be_refused(
    shared: Desk, name: str, value: str, refused: dict[Refusal, int]
) -> None:
    """One after the other, each beside those that pass: of 2, 4 and 1, what the 4 do not take is left for the 1."""
    working(shared, 2, 4, 1)
    found = tried(shared, name, value)
    assert found == Effects(Effect(3, 3, refused), NONE, cut=False)


def test_a_proposal_changes_nothing_by_being_tried(desk: Desk) -> None:
    """Approved it does what was said, and what an older version of the same limit refuses is not its doing."""
    working(desk, 2, 4, 1)
    before = desk.everything()
    assert tried(desk, "order_qty_max", "3").live == Effect(3, 3, {Refusal.ORDER_QTY: 1})
    after = desk.everything()
    assert {name for name in before if before[name] != after[name]} == {"risk_limit", "event"}
    with desk.database.snapshot() as tx:
        version = tx.limits.rows()[-1].version
    approve(desk.database, LIMITS, version, "bob", T0)
    assert tried(desk, "order_qty_max", "1").live == Effect(3, 2, {Refusal.ORDER_QTY: 1})


def test_an_order_off_the_collar_is_told_of_beside_the_rest(desk: Desk) -> None:
    """A price three ticks off is within five per cent and not within none."""
    working(desk, 1)
    off = an_intended_order(T0, OrderState.NEW, attempt=1, side=Side.SELL, price=Price(Decimal("4000.75")))
    desk.put(off)
    assert tried(desk, "price_collar", "0").live == Effect(2, 2, {Refusal.PRICE_COLLAR: 1})


def test_an_order_off_where_the_market_traded_is_told_of(desk: Desk) -> None:
    """By the minutes before it was made: they went two points up and down around 4000."""
    for number in range(20, 0, -1):
        desk.quote(T0 - number * MINUTE_NS, "4002" if number % 2 else "3998")
    desk.quote(T0, "4000")
    desk.put(an_intended_order(T0, OrderState.NEW, side=Side.SELL, price=Price(Decimal("4000.75"))))
    assert tried(desk, "collar_atr_max", "0").live == Effect(1, 1, {Refusal.DYNAMIC_COLLAR: 1})
    assert tried(desk, "collar_atr_max", "1").live == Effect(1, 1, {})


def traded(desk: Desk, *dues_ns: int) -> None:
    """Let cycles decide to buy four each, which are cancelled unfilled."""
    for due_ns in dues_ns:
        desk.quote(due_ns)
        desk.enter(voting(due_ns, 20), at_ns=due_ns)
        desk.mark(due_ns)
        desk.observe(due_ns)
        [decided, _] = cycle(desk.database, CYCLE_RULES, "tester", due_ns)
        assert decided.word == "decided", decided
        with desk.database.transaction() as tx:
            tx.session.write(sa.update(t.orders).values(state=OrderState.CANCELED), {})


def test_what_the_last_day_approved_is_judged_as_it_was(shared: Desk) -> None:
    """Cycles that did decide: what stands alone in its cycle meets no other; an older day does not count."""
    first, second = T0, T0 + TEN_MINUTES_NS
    traded(shared, first, second)
    assert tried(shared, "order_qty_max", "3", second).day == Effect(2, 2, {Refusal.ORDER_QTY: 2})
    assert tried(shared, "open_notional_max", "800050", second).day == Effect(2, 2, {})
    assert tried(shared, "gross_leverage_max", "0.0080004", second).day == Effect(2, 2, {Refusal.CAPITAL: 2})
    assert tried(shared, "gross_leverage_max", "0.0080005", second).day == Effect(2, 2, {})
    assert tried(shared, "orders_max", "0", first + 24 * HOUR_NS).day == Effect(1, 1, {Refusal.TOO_MANY_ORDERS: 1})
    assert tried(shared, "orders_max", "0", second + 24 * HOUR_NS).day == NONE


def test_a_day_of_more_intents_than_are_judged_says_so(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """The newest are."""
    traded(desk, T0, T0 + TEN_MINUTES_NS)
    monkeypatch.setattr(limit_effects, "INTENTS_MAX", 1)
    found = tried(desk, "order_qty_max", "3", T0 + TEN_MINUTES_NS)
    assert found == Effects(NONE, Effect(1, 1, {Refusal.ORDER_QTY: 1}), cut=True)


@pytest.mark.parametrize("name", sorted(UNTRIED))
def test_what_looks_at_the_minutes_before_is_not_tried(desk: Desk, name: str) -> None:
    """Nothing is said rather than that it would refuse none."""
    row = propose(desk.database, LIMITS, LimitRow(0, name, "account", "", Decimal(0), "ann", "a wild market", T0))
    with desk.database.snapshot() as tx:
        assert effects(tx, LIMITS, row.version, T0) is None


def test_a_version_that_nobody_proposed_is_refused(desk: Desk) -> None:
    """With its number."""
    with desk.database.snapshot() as tx, pytest.raises(DataError, match="found 99"):
        effects(tx, LIMITS, 99, T0)
