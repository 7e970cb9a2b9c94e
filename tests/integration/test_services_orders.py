"""Replaces, busts and corrections, refusals, the gate and the share of messages, each through the real services."""

import json
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from tests.builders import BOOK_RULES, LIMITS, TUESDAY_NS, Desk, a_report, an_intended_order, qty, said, words
from tests.fakes import FakeSession
from trisagion.adapters.db import tables
from trisagion.adapters.db.certificate import certificate
from trisagion.errors import OurMistake, TrisagionError
from trisagion.gateway.pace import TokenBucket
from trisagion.gateway.requests import cancel_request, new_order, replace_request
from trisagion.gateway.settling import SETTLED
from trisagion.ids import ClOrdId, link_cl_ord_id
from trisagion.ledger.types import Account
from trisagion.orders.rejects import Reject
from trisagion.orders.state import OrderState
from trisagion.orders.types import ExecType, ExecutionReport, Liquidity, Order
from trisagion.reports.certificate import as_json, as_text
from trisagion.safety.modes import Mode
from trisagion.services import control
from trisagion.services.amend_orders import amend
from trisagion.services.book_fills import book
from trisagion.services.drive_session import SessionDriver
from trisagion.services.outcome import Outcome
from trisagion.services.route_orders import route
from trisagion.units import Money, Price

_S, _X = OrderState, ExecType
NEW_PRICE = Price(Decimal("4000.25"))


def working(desk: Desk, **changes: Any) -> Order:
    """Put an order to sell three at 4000.25 that works at the venue."""
    order = an_intended_order(TUESDAY_NS, _S.NEW, **changes)
    desk.put(order)
    return order


def owner(desk: Desk, **changes: Any) -> tuple[SessionDriver, FakeSession]:
    """Return a driver that holds the lease, and its session."""
    session = FakeSession()
    driver = SessionDriver(desk.database, session, "SIM", "one", **{"settling": SETTLED, **changes})
    driver.lease()
    return driver, session


def replacing(desk: Desk, lots: int = 5) -> tuple[Order, ClOrdId, SessionDriver, FakeSession]:
    """Ask for a working order to become one of `lots`; return it, its next ClOrdID and who asked."""
    order = working(desk)
    driver, session = owner(desk)
    outcome = amend(desk.database, LIMITS, order.cl_ord_id, qty=qty(lots), price=NEW_PRICE, now_ns=TUESDAY_NS)
    assert outcome == Outcome("amended", ("SIM",))
    driver.drain(TUESDAY_NS)
    return order, link_cl_ord_id(order.cl_ord_id, 1), driver, session


def hear(desk: Desk, *reports: ExecutionReport) -> list[str]:
    """Book reports; return the words of the last one."""
    return [words(book(desk.database, BOOK_RULES, report)) for report in reports][-1]


def spoken(order: Order, kind: ExecType, number: int, **changes: Any) -> ExecutionReport:
    """Return a report on an order of which nothing is filled unless it says so."""
    return said(order, kind, f"E{number}", **changes)


def test_a_replace_is_committed_with_its_name_before_it_is_sent_and_sent_once(desk: Desk) -> None:
    """Pending, the new ClOrdID in the books, and the greater quantity counted."""
    order, name, driver, session = replacing(desk)
    driver.drain(TUESDAY_NS)
    assert session.asked == [("replace", order.cl_ord_id)]
    after = desk.order(order.cl_ord_id)
    assert (after.state, str(after.asked_id), after.venue_id, int(after.leaves_qty)) == (
        _S.PENDING_REPLACE, name, order.cl_ord_id, 5,
    )  # fmt: skip
    fields = replace_request(after, account="A", now_ns=TUESDAY_NS)
    assert (fields[35], fields[11], fields[41], fields[38], fields[44], fields[18]) == (
        "G", name, order.cl_ord_id, "5", "4000.25", "6",
    )  # fmt: skip
    assert desk.rows(tables.order_link.c.cl_ord_id, tables.order_link.c.first_id) == [(name, order.cl_ord_id)]


# What happens; what the venue says, as (kind, changes), NEW the new name; the end, the quantity, what is filled.
RACES: list[tuple[str, list[tuple[ExecType, dict[str, Any]]], OrderState, int, int]] = [
    ("confirmed", [(_X.REPLACED, {"request_id": "NEW", "leaves_qty": qty(5)})], _S.NEW, 5, 0),
    (
        "filled in part, then confirmed",
        [(_X.TRADE, {}), (_X.REPLACED, {"request_id": "NEW", "cum_qty": qty(1), "leaves_qty": qty(4)})],
        _S.PARTIALLY_FILLED, 5, 1,
    ),
    (
        "filled, then confirmed with more",
        [
            (_X.TRADE, {"last_qty": qty(3), "cum_qty": qty(3), "leaves_qty": qty(0), "ord_status": _S.FILLED}),
            (_X.REPLACED, {"request_id": "NEW", "cum_qty": qty(3), "leaves_qty": qty(2)}),
        ],
        _S.PARTIALLY_FILLED, 5, 3,
    ),
    (
        "filled, then refused",
        [
            (_X.TRADE, {"last_qty": qty(3), "cum_qty": qty(3), "leaves_qty": qty(0), "ord_status": _S.FILLED}),
            (_X.REPLACE_REJECTED, {"request_id": "NEW", "ord_status": _S.FILLED}),
            (_X.ORDER_STATUS, {"cum_qty": qty(3), "leaves_qty": qty(0), "ord_status": _S.FILLED}),
        ],
        _S.FILLED, 3, 3,
    ),
    ("refused", [(_X.REPLACE_REJECTED, {"request_id": "NEW"}), (_X.ORDER_STATUS, {})], _S.NEW, 3, 0),
    ("cancelled meanwhile", [(_X.CANCELED, {})], _S.CANCELED, 3, 0),
    ("expired, then refused", [(_X.EXPIRED, {}), (_X.REPLACE_REJECTED, {"request_id": "NEW"})], _S.EXPIRED, 3, 0),
    (
        "filled under the new name, the confirmation lost",
        [(_X.TRADE, {"cl_ord_id": "NEW", "leaves_qty": qty(4)})],
        _S.PARTIALLY_FILLED, 5, 1,
    ),
    ("confirmed twice", [(_X.REPLACED, {"request_id": "NEW", "leaves_qty": qty(5)})] * 2, _S.NEW, 5, 0),
    ("pending, and still so", [(_X.PENDING_REPLACE, {"request_id": "NEW"})], _S.PENDING_REPLACE, 3, 0),
    ("confirmed with fills unheard of", [(_X.REPLACED, {"request_id": "NEW", "cum_qty": qty(1)})], _S.UNKNOWN, 5, 0),
    ("confirmed, what nobody asked for", [(_X.REPLACED, {"request_id": "STRANGER"})], _S.UNKNOWN, 3, 0),
    (
        "status: known by the new name",
        [(_X.ORDER_STATUS, {}), (_X.ORDER_STATUS, {"cl_ord_id": "NEW", "leaves_qty": qty(5)})],
        _S.NEW, 5, 0,
    ),
    (
        "status: never heard of the new name, and working",
        [
            (_X.ORDER_STATUS, {"cl_ord_id": "NEW", "unknown_order": True, "ord_status": _S.REJECTED}),
            (_X.ORDER_STATUS, {}),
        ],
        _S.NEW, 3, 0,
    ),
    (
        "status: never heard of the new name, and yet pending",
        [
            (_X.ORDER_STATUS, {"cl_ord_id": "NEW", "unknown_order": True, "ord_status": _S.REJECTED}),
            (_X.ORDER_STATUS, {"ord_status": _S.PENDING_REPLACE}),
        ],
        _S.UNKNOWN, 3, 0,
    ),
    ("status of the old name alone", [(_X.ORDER_STATUS, {})], _S.UNKNOWN, 3, 0),
]  # fmt: skip


@pytest.mark.parametrize(("told", "state", "lots", "filled"), [row[1:] for row in RACES], ids=[row[0] for row in RACES])
def test_every_race_of_a_replace_ends_where_the_venue_is(
    desk: Desk, told: list[tuple[ExecType, dict[str, Any]]], state: OrderState, lots: int, filled: int
) -> None:
    """State, quantity and fills; nothing wanted any more unless the answer is still to come."""
    order, name, _, _ = replacing(desk)
    for number, (kind, changes) in enumerate(told):
        named = {key: name if value == "NEW" else value for key, value in changes.items()}
        hear(desk, spoken(order, kind, number, **named))
    after = desk.order(order.cl_ord_id)
    assert (after.state, int(after.qty), int(after.cum_qty)) == (state, lots, filled)
    assert after.venue_id == (name if lots == 5 else order.cl_ord_id)
    assert -desk.position.qty == filled
    answered = "pending" not in str(told) and told != [(_X.ORDER_STATUS, {})] and "STRANGER" not in str(told)
    assert (after.wanted_qty is None) == answered


def test_what_follows_a_replace_goes_by_the_new_name(desk: Desk) -> None:
    """Its cancel names the ClOrdID in force, and the next replace gets a name of its own."""
    order, name, driver, session = replacing(desk)
    hear(desk, spoken(order, _X.REPLACED, 1, request_id=name, leaves_qty=qty(5)))
    after = desk.order(order.cl_ord_id)
    assert cancel_request(after, account="A", now_ns=1)[41] == name
    assert cancel_request(after, account="A", now_ns=1)[11] != cancel_request(order, account="A", now_ns=1)[11]
    amend(desk.database, LIMITS, order.cl_ord_id, qty=qty(4), price=NEW_PRICE, now_ns=TUESDAY_NS)
    driver.drain(TUESDAY_NS)
    assert desk.order(order.cl_ord_id).asked_id == link_cl_ord_id(order.cl_ord_id, 2)
    assert [what for what, _ in session.asked] == ["replace", "replace"]


@pytest.mark.parametrize(
    ("changes", "lots", "price", "word"),
    [
        ({}, 4, "4000.25", "amended"),
        ({"cancel_reason": "x"}, 4, "4000.25", "nothing"),
        ({"state": _S.PENDING_NEW}, 4, "4000.25", "nothing"),
        ({"state": _S.FILLED}, 4, "4000.25", "nothing"),
        ({"taker": True}, 4, "4000.25", "nothing"),
        ({"cum_qty": qty(2), "state": _S.PARTIALLY_FILLED}, 2, "4000.25", "nothing"),
        ({}, 4, "3999.75", "denied"),
        ({}, 60, "4000.25", "denied"),
    ],
)
def test_only_a_working_maker_is_amended_to_what_may_be_sent(
    desk: Desk, changes: dict[str, Any], lots: int, price: str, word: str
) -> None:
    """Not one that is withdrawn, ended, in doubt or takes; not to cross, and not beyond a limit."""
    order = working(desk)
    with desk.database.transaction() as tx:
        order = replace(order, version=1, **changes)
        tx.orders.save(order)
    found = amend(desk.database, LIMITS, order.cl_ord_id, qty=qty(lots), price=Price(Decimal(price)), now_ns=TUESDAY_NS)
    assert found.word == word
    assert (desk.order(order.cl_ord_id).wanted_qty is not None) == (word == "amended")


def test_an_amendment_off_the_grid_is_our_mistake(desk: Desk) -> None:
    """It must not reach the wire."""
    order = working(desk)
    for lots, price in (("3.5", "4000.25"), ("4", "4000.1"), ("4", "-4000")):
        with pytest.raises(OurMistake, match="expected a quantity of lots"):
            amend(desk.database, LIMITS, order.cl_ord_id, qty=qty(lots), price=Price(Decimal(price)), now_ns=TUESDAY_NS)


def filled(desk: Desk, lots: int = 3) -> tuple[Order, ExecutionReport]:
    """Fill a working order of three in part or in full, at 4000.25 for a fee."""
    order = working(desk)
    state = _S.FILLED if lots == 3 else _S.PARTIALLY_FILLED
    told = {"last_qty": qty(lots), "cum_qty": qty(lots), "leaves_qty": qty(3 - lots), "ord_status": state}
    fill = spoken(order, _X.TRADE, 1, **told)
    hear(desk, fill)
    return order, fill


def restated(order: Order, kind: ExecType, name: str, ref: str | None, **changes: Any) -> ExecutionReport:
    """Return a bust or a correction."""
    told = {"ref_exec_id": ref, "cum_qty": qty(0), "leaves_qty": qty(0), "avg_px": Decimal(0)}
    return said(order, kind, name, **{**told, **changes})


def cash(desk: Desk) -> Decimal:
    """Return what the account holds in cash."""
    with desk.database.snapshot() as tx:
        return tx.ledger.balance(Account.CASH)


@pytest.mark.parametrize("lots", [1, 2])
def test_a_bust_takes_a_fill_back_to_the_last_digit_and_once(desk: Desk, lots: int) -> None:
    """Cash, position and fees as before it; the order works again; every further bust of it is quarantined."""
    before = cash(desk)
    order, _ = filled(desk, lots)
    assert cash(desk) != before
    bust = restated(order, _X.TRADE_CANCEL, "B1", "E1", ord_status=_S.NEW, leaves_qty=qty(3))
    assert hear(desk, bust) == ["booked"]
    assert cash(desk) == before
    assert not any((desk.position.qty, desk.position.cost, desk.position.fees))
    after = desk.order(order.cl_ord_id)
    assert (after.state, int(after.cum_qty), int(after.avg_px)) == (_S.NEW, 0, 0)
    assert "TRADE_BUSTED" in desk.events("order.alarm")[0]
    assert hear(desk, bust) == ["duplicate"]
    assert hear(desk, replace(bust, exec_id="B2")) == ["quarantined"]
    assert (cash(desk), int(desk.position.qty)) == (before, 0)


def test_a_correction_books_what_is_right_in_place_of_what_was_not(desk: Desk) -> None:
    """As if the fill had come so at once; a second correction names the first."""
    order, fill = filled(desk, 2)
    told = {"last_qty": qty(1), "last_px": Price(Decimal(4001)), "cum_qty": qty(1), "leaves_qty": qty(2)}
    right = restated(order, _X.TRADE_CORRECT, "G1", "E1", ord_status=_S.PARTIALLY_FILLED, fee=Money(Decimal(2)),
                     liquidity=Liquidity.MAKER, **told)  # fmt: skip
    assert hear(desk, right) == ["booked"]
    after = desk.order(order.cl_ord_id)
    assert (after.state, str(after.cum_qty), str(after.avg_px)) == (_S.PARTIALLY_FILLED, "1", "4001")
    assert list(map(int, (desk.position.qty, desk.position.cost, desk.position.fees))) == [-1, -4001 * 50, 2]
    assert hear(desk, replace(right, exec_id="G2")) == ["quarantined"]
    assert hear(desk, replace(right, exec_id="G3", ref_exec_id="G1", last_px=Price(Decimal(4002)))) == ["booked"]
    assert desk.position.cost == -4002 * 50
    assert fill.last_px == Decimal("4000.25")


@pytest.mark.parametrize("ref", ["E9", "A1", None])
def test_a_bust_of_what_is_not_this_orders_fill_is_quarantined(desk: Desk, ref: str | None) -> None:
    """A fill that nobody heard of, an acknowledgement, or none at all: nothing moves but the inbox and the log."""
    order, _ = filled(desk, 1)
    hear(desk, said(desk.order(order.cl_ord_id), _X.NEW, "A1"))
    before = desk.everything()
    assert hear(desk, restated(order, _X.TRADE_CANCEL, "B1", ref)) == ["quarantined"]
    after = desk.everything()
    assert {name for name in after if after[name] != before[name]} == {"execution", "event"}


def test_a_bust_that_sets_an_ended_order_to_work_shuts_the_gate(desk: Desk) -> None:
    """We hold it for ended, and it is not."""
    order, _ = filled(desk)
    hear(desk, restated(order, _X.TRADE_CANCEL, "B1", "E1", ord_status=_S.NEW, leaves_qty=qty(3)))
    assert desk.order(order.cl_ord_id).state is _S.FILLED
    assert any("REINSTATED" in event for event in desk.events("order.alarm"))
    assert len(desk.events("gate.shut SIM")) == 1


@pytest.mark.parametrize(
    ("avg_px", "doubt"),
    [("4000.25", False), ("4000.5", False), ("4000.0", False), ("4001", True), ("0", True), ("3990", True)],
)
def test_an_average_that_no_fill_can_have_made_is_doubted_and_the_fill_booked(
    desk: Desk, avg_px: str, doubt: bool
) -> None:
    """It lies between the average before and the price now, give or take a tick; our own is kept where it does not."""
    order = working(desk)
    outcome = hear(desk, spoken(order, _X.TRADE, 1, avg_px=Decimal(avg_px)))
    after = desk.order(order.cl_ord_id)
    assert outcome == (["booked", "doubtful"] if doubt else ["booked"])
    assert (after.state, int(after.cum_qty)) == (_S.UNKNOWN if doubt else _S.PARTIALLY_FILLED, 1)
    assert after.avg_px == (Decimal("4000.25") if doubt else Decimal(avg_px))
    assert desk.position.qty == -1


@pytest.mark.parametrize(
    ("reject", "said_words", "orders", "shut"),
    [
        (Reject.POST_ONLY_WOULD_CROSS, ["booked", "repriced"], 2, False),
        (Reject.STALE_ORDER, ["booked", "repriced"], 2, False),
        (Reject.EXCHANGE_CLOSED, ["booked", "postponed"], 2, False),
        (Reject.EXCEEDS_LIMIT, ["booked"], 1, False),
        (Reject.OTHER, ["booked"], 1, False),
        (Reject.DUPLICATE_ORDER, ["booked", "doubtful"], 1, False),
        (Reject.UNKNOWN_ACCOUNT, ["booked"], 1, True),
        (Reject.NOT_AUTHORISED, ["booked"], 1, True),
    ],
)
def test_a_refusal_is_answered_as_the_table_says(
    desk: Desk, reject: Reject, said_words: list[str], orders: int, shut: bool
) -> None:
    """A new attempt, one for the sweeper, none, a question, or a shut gate; nobody is told a network failed."""
    order = an_intended_order(TUESDAY_NS, _S.PENDING_NEW)
    desk.put(order)
    assert hear(desk, said(order, _X.REJECTED, reject=reject)) == said_words
    assert len(desk.orders()) == orders
    assert len(desk.events("gate.shut")) == shut
    assert len(desk.events("order.refused")) == (said_words == ["booked"])


def test_a_taker_fill_shuts_the_gate_until_an_operator_opens_it_with_a_reason(desk: Desk) -> None:
    """Not the mode alone: also after a release no order is routed or sent, an Emergency's excepted; cancels are."""
    order = working(desk)
    hear(desk, spoken(order, _X.TRADE, 1, liquidity=Liquidity.TAKER))
    assert len(desk.events("gate.shut SIM")) == 1
    control.release(desk.database, "anna", "looked at the mode only", TUESDAY_NS)
    fresh = an_intended_order(TUESDAY_NS + 1, _S.RISK_CHECKED)
    routed = an_intended_order(TUESDAY_NS + 2, _S.ROUTED)
    desk.put(fresh, routed)
    assert route(desk.database, LIMITS, "SIM", fresh.cl_ord_id, TUESDAY_NS) == Outcome("denied")
    assert (desk.order(fresh.cl_ord_id).reason or "").startswith("GATE_SHUT: TAKER_FILL")
    with desk.database.transaction() as tx:
        present = tx.orders.order(order.cl_ord_id)
        assert present is not None
        tx.orders.save(replace(present, cancel_reason="x", version=present.version + 1))
    driver, session = owner(desk)
    driver.drain(TUESDAY_NS)
    assert session.asked == [("cancel", order.cl_ord_id)]
    assert desk.order(routed.cl_ord_id).state is _S.DENIED
    for operator, reason in (("", "why"), ("anna", " "), ("platform", "why")):
        with pytest.raises(TrisagionError, match="named operator and a reason"):
            control.open_gate(desk.database, "SIM", operator, reason, TUESDAY_NS)
    with pytest.raises(TrisagionError, match="'NYSE' is not shut; shut are: SIM"):
        control.open_gate(desk.database, "NYSE", "anna", "why", TUESDAY_NS)
    control.open_gate(desk.database, "SIM", "anna", "the venue explained it", TUESDAY_NS)
    again = an_intended_order(TUESDAY_NS + 3, _S.RISK_CHECKED, qty=qty(1))
    desk.put(again)
    assert words(route(desk.database, LIMITS, "SIM", again.cl_ord_id, TUESDAY_NS)) == ["routed"]
    assert "the venue explained it" in desk.events("gate.opened SIM")[0]


def test_an_emergency_flattens_through_a_shut_gate(desk: Desk) -> None:
    """A gate that keeps us from being flat would be worse than what shut it."""
    desk.hold(3)
    with desk.database.transaction() as tx:
        control.shut_gate(tx, "SIM", "test", TUESDAY_NS)
    desk.switch(Mode.EMERGENCY)
    order = an_intended_order(TUESDAY_NS, _S.RISK_CHECKED, taker=True)
    desk.put(order)
    assert words(route(desk.database, LIMITS, "SIM", order.cl_ord_id, TUESDAY_NS)) == ["routed"]
    driver, session = owner(desk)
    driver.drain(TUESDAY_NS)
    assert session.asked == [("new", order.cl_ord_id)]
    assert new_order(desk.order(order.cl_ord_id), account="A", now_ns=1)[59] == "3"


def test_what_finds_no_share_of_messages_waits_in_its_order_and_is_seen(desk: Desk) -> None:
    """Cancels first and from the reserve; the rest stays routed, goes out later, and the log says so once."""
    routed = [an_intended_order(TUESDAY_NS + number, _S.ROUTED, qty=qty(1)) for number in range(12)]
    desk.put(*routed, *(
        an_intended_order(TUESDAY_NS + 100 + number, _S.NEW, cancel_reason="x") for number in range(3)
    ))  # fmt: skip
    clock = [50.0]
    driver, session = owner(desk, bucket=TokenBucket(10, Decimal("0.2"), 10.0, 50.0), clock=lambda: clock[0])
    assert driver.drain(TUESDAY_NS) == Outcome("throttled")
    driver.pump(TUESDAY_NS)
    assert [what for what, _ in session.asked] == ["cancel"] * 3 + ["new"] * 5
    assert sum(order.state is _S.ROUTED for order in desk.orders()) == 7
    [event] = desk.events("session.throttled SIM")
    assert json.loads(event.split(" ", 2)[2]) == {"messages_per_s": "10", "waiting": "7"}
    clock[0] += 1.0
    driver.pump(TUESDAY_NS)
    assert [name for what, name in session.asked if what == "new"] == [order.cl_ord_id for order in routed]
    driver.pump(TUESDAY_NS)
    assert len(session.asked) == 15


def test_questions_wait_for_their_share_too(desk: Desk) -> None:
    """Each order in doubt is asked about once, as soon as there is a token for it."""
    desk.put(*(an_intended_order(TUESDAY_NS + number, _S.UNKNOWN) for number in range(5)))
    clock = [0.0]
    driver, session = owner(desk, bucket=TokenBucket(3, Decimal(0), 3.0, 0.0), clock=lambda: clock[0])
    driver.resolve(TUESDAY_NS)
    assert len(session.asked) == 3
    assert driver.observe(TUESDAY_NS) == Outcome("throttled")
    clock[0] = 1.0
    driver.pump(TUESDAY_NS)
    assert len({name for _, name in session.asked}) == len(session.asked) == 5


def test_the_certificate_counts_makers_lists_exemptions_and_finds_a_taker(desk: Desk) -> None:
    """It holds with an Emergency's fills beside it, and not when a maker-only order took or a stranger was filled."""
    desk.switch(Mode.EMERGENCY)
    maker, urgent = working(desk), an_intended_order(TUESDAY_NS + 1, _S.NEW, taker=True)
    desk.put(urgent)
    hear(desk, spoken(maker, _X.TRADE, 1), spoken(urgent, _X.TRADE, 2, liquidity=Liquidity.TAKER))
    with desk.database.snapshot() as unit:
        good = certificate(unit)
    assert (good.holds, good.fills, good.made, good.taken, len(good.exemptions)) == (True, 2, 1, 1, 1)
    assert "maker-only holds" in as_text(good, "r")
    hear(desk, spoken(maker, _X.TRADE, 3, cum_qty=qty(2), leaves_qty=qty(1), liquidity=Liquidity.TAKER))
    hear(desk, a_report("E4", cl_ord_id=ClOrdId("stranger"), liquidity=Liquidity.TAKER))
    with desk.database.snapshot() as unit:
        bad = certificate(unit)
    assert (bad.holds, [fill.exec_id for fill in bad.violations]) == (False, ["SIM/E3", "SIM/E4"])
    assert "MAKER-ONLY WAS BROKEN" in as_text(bad, "r")
    assert as_json(bad)["taken"] == 3
    assert bad.head != good.head


@pytest.mark.parametrize(
    "forgery",
    [
        "UPDATE execution SET liquidity = 'maker' WHERE exec_id = 'E2'",
        "DELETE FROM execution WHERE exec_id = 'E1'",
        "UPDATE execution SET seq = 4 - seq",
        "UPDATE execution SET last_px = '4000.5' WHERE exec_id = 'E3'",
    ],
)
def test_whoever_touches_the_executions_changes_the_chains_head(desk: Desk, forgery: str) -> None:
    """A flipped value, a row gone, two rows swapped."""
    order = working(desk)
    for number in (1, 2, 3):
        hear(desk, said(desk.order(order.cl_ord_id), _X.TRADE, f"E{number}", liquidity=Liquidity.TAKER))
    with desk.database.snapshot() as unit:
        before = certificate(unit)
    with desk.database.transaction() as tx:
        if "4 - seq" in forgery:
            tx.session.connection.exec_driver_sql("UPDATE execution SET seq = -seq")
            forgery = "UPDATE execution SET seq = 4 + seq"
        tx.session.connection.exec_driver_sql(forgery)
    with desk.database.snapshot() as unit:
        assert certificate(unit).head != before.head
    assert before.executions == 3
