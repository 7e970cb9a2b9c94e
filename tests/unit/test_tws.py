"""The simulated TWS as a value: what is asked of it in `ib_async`'s words, and what is heard."""

from typing import Any

import pytest
from ib_async.contract import Contract, TagValue
from ib_async.objects import ExecutionFilter
from ib_async.order import Order, TimeCondition

from tests.tws import CLOCK_NS, DU, ES, T0, Talk, at, limit, market, short, tape
from trisagion.clock import HOUR_NS, SECOND_NS
from trisagion.errors import VenueMistake
from trisagion.market.bars import market_steps
from trisagion.simulate.tws import ACTIVE_MAX

NEW = ["open PreSubmitted", "PreSubmitted 0/5", "open Submitted", "Submitted 0/5"]
VERSIONS = (157, 158, 159, 160, 162, 163, 164, 166, 169, 170, 176, 177, 178)


@pytest.mark.parametrize("version", VERSIONS)
def test_each_version_is_written_as_its_client_reads_it(version: int) -> None:
    """Order, execution, account and contract come back with what went in, field by field, in every version spoken."""
    talk = Talk(version=version)
    talk.play(1)
    [opened, _, _, status] = talk.say("placeOrder", 7, ES, limit(outsideRth=True))
    order_id, contract, order, state = opened[1]
    assert (order_id, contract.symbol, contract.secType, contract.multiplier) == (7, "ES", "FUT", "50")
    assert (order.action, order.totalQuantity, order.lmtPrice, order.tif) == ("BUY", 5, 99.75, "GTC")
    assert (order.orderRef, order.account, order.clientId, order.outsideRth) == ("a", DU, 1, True)
    assert (state.status, state.commissionCurrency, order.whatIf) == ("PreSubmitted", "USD", False)
    assert status[1][:6] == (7, "Submitted", 0, 5, 0, order.permId)
    heard = talk.heard(talk.tws.play(at(11)))
    assert short(heard) == ["exec 2@99.75 +", "open Submitted", "Submitted 2/5", "fee"]
    execution = heard[0][1][2]
    assert (execution.orderId, execution.orderRef, execution.side, execution.cumQty) == (7, "a", "BOT", 2)
    assert int(execution.time.timestamp()) * SECOND_NS == at(10)
    assert heard[3][1][0].execId == execution.execId
    assert heard[3][1][0].commission == pytest.approx(2 * 99.75 * 50 * 0.0004)
    talk.cancel(7)
    [completed, end] = talk.say("reqCompletedOrders", False)
    assert (completed[1][1].permId, completed[1][1].filledQuantity) == (order.permId, 2)
    assert (completed[1][2].status, completed[1][1].orderRef, end[0]) == ("Cancelled", "a", "completedOrdersEnd")
    [details, _] = talk.say("reqContractDetails", 9, ES)
    assert (details[1][0], details[1][1].minTick, details[1][1].contract) == (9, 0.25, contract)


REFUSED: list[tuple[str, Order, Contract, int]] = [
    ("another symbol", limit(), Contract(symbol="NQ"), 200),
    ("another kind", limit(), Contract(symbol="ES", secType="STK"), 200),
    ("another currency", limit(), Contract(symbol="ES", currency="EUR"), 200),
    ("another conId", limit(), Contract(conId=7), 200),
    ("not transmitted", limit(transmit=False), ES, 201),
    ("a bracket", limit(parentId=3), ES, 201),
    ("a group", limit(ocaGroup="g"), ES, 201),
    ("an algorithm", limit(algoStrategy="Vwap", algoParams=[TagValue("a", "1")]), ES, 201),
    ("a scale", limit(scalePriceIncrement=0.5, scaleInitLevelSize=1), ES, 201),
    ("hedging", limit(hedgeType="D"), ES, 201),
    ("delta-neutral", limit(deltaNeutralOrderType="LMT"), ES, 201),
    ("a condition", limit(conditions=[TimeCondition(time="20300101 00:00:00 UTC")]), ES, 201),
    ("all or none", limit(allOrNone=True), ES, 201),
    ("a discretionary amount", limit(discretionaryAmt=0.5), ES, 201),
    ("a later start", limit(goodAfterTime="20300101 00:00:00 UTC"), ES, 201),
    ("another account", limit(account="DU9"), ES, 321),
    ("no action", limit(action="HOLD"), ES, 321),
    ("no time in force", limit(tif="OPG"), ES, 321),
    ("a half-open date", limit(tif="GTD", goodTillDate="soon"), ES, 321),
    ("a date before all", limit(tif="GTD", goodTillDate="19600101 00:00:00 UTC"), ES, 321),
    ("a date after all", limit(tif="GTD", goodTillDate="99991231 00:00:00 UTC"), ES, 321),
    ("a past date", limit(tif="GTD", goodTillDate="20000101 00:00:00 UTC"), ES, 201),
    ("no size", limit(qty=0), ES, 434),
    ("half a lot", limit(qty=0.5), ES, 321),
    ("a negative size", limit(qty=-1), ES, 321),
    ("an endless size", limit(qty=1e308), ES, 321),
    ("not a number", limit(qty=float("nan")), ES, 320),
    ("infinite", limit(px=float("inf")), ES, 320),
    ("off the tick", limit(px=99.8), ES, 110),
    ("below zero", limit(px=-1), ES, 110),
    ("no limit", limit(px=0), ES, 110),
    ("a stop", Order(action="BUY", totalQuantity=1, orderType="STP", auxPrice=99, tif="GTC"), ES, 387),
]


@pytest.mark.parametrize("version", [176, 178])
@pytest.mark.parametrize(("order", "contract", "number"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED])
def test_what_cannot_be_an_order_is_refused_by_number(
    order: Order, contract: Contract, number: int, version: int
) -> None:
    """Nothing of it is live, and the id is used up; before and after the field that left the protocol at 177."""
    talk = Talk(version=version)
    talk.play(1)
    assert talk.place(1, order, contract)[0] == f"error {number}"
    assert talk.tws.working == 0
    assert talk.place(1, limit()) == ["error 103"]
    assert talk.say("reqIds", 1) == [("nextValidId", (2,))]


def test_statuses_follow_an_order_as_a_tws_tells_them() -> None:
    """PreSubmitted, Submitted, partial executions, PendingCancel, 202, Cancelled with what was not executed."""
    talk = Talk()
    talk.play(1)
    assert talk.place(1, limit()) == NEW
    assert talk.play(11) == ["exec 2@99.75 +", "open Submitted", "Submitted 2/5", "fee"]
    assert talk.cancel(1) == ["PendingCancel 2/5", "error 202", "Cancelled 2/5"]
    assert talk.place(2, limit(px=99.5, ref="b"))[-1] == "Submitted 0/5"
    assert talk.play(13)[-2:] == ["Filled 5/5", "fee"]
    [row] = [row for row in talk.rows("orders") if row["cl_ord_id"] == "b"]
    assert (row["state"], row["cum_qty"], row["leaves_qty"]) == ("filled", "5", "0")


def test_an_order_that_crosses_takes() -> None:
    """There is no post-only in this protocol: lastLiquidity is 2, and the snapshot says taker."""
    talk = Talk()
    talk.play(1)
    crossing = talk.place(1, limit(qty=1, px=100.25))
    assert crossing[-4:] == ["exec 1@100.25 -", "open Filled", "Filled 1/1", "fee"]
    assert [row["liquidity"] for row in talk.rows("fills")] == ["taker"]


@pytest.mark.parametrize(
    ("tif", "heard"),
    [
        ("IOC", ["exec 1@100.25 -", "open Submitted", "Submitted 1/5", "fee", "error 202", "Cancelled 1/5"]),
        ("FOK", ["error 202", "Cancelled 0/5"]),
        ("DAY", ["exec 1@100.25 -", "open Submitted", "Submitted 1/5", "fee"]),
    ],
)
def test_a_time_in_force_says_what_becomes_of_the_rest(tif: str, heard: list[str]) -> None:
    """The tape's market has one lot: the rest is cancelled, nothing is taken, or it stays."""
    talk = Talk()
    talk.play(1)
    assert talk.place(1, limit(px=100.25, tif=tif)) == [*NEW, *heard]


def test_a_good_till_date_ends_an_order() -> None:
    """It leaves when the tape has come so far, with 202."""
    talk = Talk()
    talk.play(1)
    talk.place(1, limit(px=50, tif="GTD", goodTillDate="20130901 01:46:45 UTC"))
    assert talk.play(4.9) == []
    assert talk.play(5) == ["error 202", "Cancelled 0/5"]


def test_a_market_order_filled_at_once_has_no_status() -> None:
    """As with a TWS: only openOrder, execution and commission tell of it."""
    talk = Talk()
    talk.play(1)
    assert talk.place(1, market()) == ["open PreSubmitted", "exec 1@100.25 -", "open Filled", "fee"]


def test_what_is_left_of_a_market_order_goes_on_taking() -> None:
    """One lot now; when the market has moved, what the tape offers there."""
    talk = Talk()
    talk.play(1)
    talk.place(1, market(qty=3))
    assert [row["leaves_qty"] for row in talk.rows("working")] == ["2"]
    assert talk.play(21)[-3:] == ["open Filled", "Filled 3/3", "fee"]
    assert [row["liquidity"] for row in talk.rows("fills")] == ["taker", "maker"]


def test_a_market_order_before_the_first_trade_is_rejected() -> None:
    """There is nothing to price it by."""
    assert Talk().place(1, market())[:2] == ["error 201", "open Inactive"]


def test_the_same_id_changes_a_live_order_and_nothing_else_of_it() -> None:
    """Quantity and price are the new ones, names and orderRef the old; another side is another order: 105."""
    talk = Talk()
    talk.play(1)
    talk.place(1, limit())
    [opened, _] = talk.say("placeOrder", 1, ES, limit(qty=6, px=99.5, ref="other"))
    assert (opened[1][2].totalQuantity, opened[1][2].lmtPrice, opened[1][2].orderRef) == (6, 99.5, "a")
    assert talk.place(1, limit("SELL")) == ["error 105"]
    assert talk.place(1, limit(px=99.8)) == ["error 110"]
    [row] = talk.rows("working")
    assert (row["qty"], row["price"], row["cl_ord_id"]) == ("6", "99.5", "a")
    talk.play(13)
    assert talk.place(1, limit(qty=6, px=99.5, ref="again")) == ["error 103"]


def test_a_change_below_what_is_filled_is_refused_and_the_order_lives() -> None:
    """321, which a client may take for a warning: the order is what it was."""
    talk = Talk()
    talk.play(1)
    talk.place(1, limit())
    talk.play(11)
    assert talk.place(1, limit(qty=2)) == ["error 321"]
    assert [row["leaves_qty"] for row in talk.rows("working")] == ["3"]


def test_a_cancel_that_cannot_be_is_answered_by_number() -> None:
    """Unknown or another client's 10147, cancelled 10148, filled 161; the order of the other client lives."""
    talk = Talk(clients=(1, 2))
    talk.play(1)
    talk.place(1, limit(), client=2)
    assert talk.cancel(1) == ["error 10147"]
    assert talk.cancel(9) == ["error 10147"]
    talk.cancel(1, client=2)
    assert talk.cancel(1, client=2) == ["error 10148"]
    talk.place(2, market(), client=2)
    assert talk.cancel(2, client=2) == ["error 161"]


def test_orders_of_others_are_seen_by_all_open_orders_only() -> None:
    """ReqOpenOrders has the client's own; reqGlobalCancel asks nobody whose they are."""
    talk = Talk(clients=(1, 2))
    talk.play(1)
    talk.place(1, limit(), client=2)
    assert talk.say("reqOpenOrders") == [("openOrderEnd", ())]
    [opened, _, end] = talk.say("reqAllOpenOrders")
    assert (opened[1][2].clientId, end[0]) == (2, "openOrderEnd")
    assert talk.say("reqGlobalCancel") == []
    assert talk.rows("working") == []


def test_orders_made_in_the_tws_are_client_zeros() -> None:
    """Client 0 is told of them once it has asked, by an id below zero, and may cancel them; others may not."""
    talk = Talk(clients=(0, 1))
    talk.play(1)
    arguments = {"symbol": "ES", "side": "BUY", "qty": "5", "px": "99.75", "account": DU}
    assert talk.fail("manual", client=0, **arguments) == []
    talk.say("reqAutoOpenOrders", True, client=0)
    assert talk.fail("manual", client=0, **arguments) == NEW
    [opened, *_] = talk.say("reqOpenOrders", client=0)
    assert opened[1][0] < 0
    assert talk.cancel(opened[1][0]) == ["error 10147"]
    assert talk.cancel(opened[1][0], client=0)[-1] == "Cancelled 0/5"


def test_the_twenty_first_order_of_a_side_is_rejected() -> None:
    """The limit is for each contract, side and account."""
    talk = Talk()
    talk.play(1)
    for number in range(ACTIVE_MAX):
        talk.place(number + 1, limit(px=50))
    assert talk.place(50, limit(px=50))[0] == "error 201"
    assert talk.place(51, limit("SELL", px=150)) == NEW
    assert talk.place(52, limit(px=50, account="DU2")) == NEW


def test_a_what_if_tells_the_margin_and_places_nothing() -> None:
    """Notional over the greatest leverage: 2 · 100 · 50 / 20."""
    talk = Talk()
    talk.play(1)
    [opened] = talk.say("placeOrder", 1, ES, limit(qty=2, px=100, whatIf=True))
    assert (opened[1][2].whatIf, opened[1][3].initMarginChange) == (True, "500")
    assert talk.rows("orders") == []


# Questions -----------------------------------------------------------------------------------------------------------


def test_executions_are_those_since_midnight_that_pass_the_filter() -> None:
    """By client, account, time, symbol, kind, exchange and side; the day is the tape's, in UTC."""
    day = 22.5 * 3600
    talk = Talk(tape([(0, "100", 1), (10, "99.5", 9), (day, "99.5", 9), (day + 9, "99", 9)]), clients=(1, 2))
    talk.play(1)
    talk.place(1, limit(qty=1))
    talk.play(11)

    def asked(**wanted: Any) -> int:
        return short(talk.say("reqExecutions", 5, ExecutionFilter(**wanted))).count("exec 1@99.75 +")

    assert asked() == asked(clientId=1, acctCode=DU, symbol="ES", secType="FUT", exchange="SIM", side="BUY") == 1
    assert asked(time="20130901-01:46:50") == asked(side="BOT") == 1
    others: list[dict[str, Any]] = [
        {"clientId": 2},
        {"acctCode": "DU2"},
        {"symbol": "NQ"},
        {"secType": "STK"},
        {"exchange": "CME"},
        {"side": "SELL"},
        {"time": "20130901 01:46:51 UTC"},
    ]
    for wanted in others:
        assert asked(**wanted) == 0, wanted
    talk.play(day)
    assert asked() == 0
    assert short(talk.say("reqExecutions", 5, ExecutionFilter())) == ["execDetailsEnd"]
    assert short(talk.say("reqCompletedOrders", False)) == ["completedOrdersEnd"]


def test_an_account_is_worth_what_its_trades_made_it() -> None:
    """Cash less fees, profit at the last trade, margin of what is held; positions with the multiplier in their cost."""
    talk = Talk()
    talk.play(1)
    talk.say("reqPositions")
    assert talk.place(1, limit(qty=1, px=100.25))[-1] == "position"
    talk.play(21)
    fee = 100.25 * 50 * 0.0004
    heard = talk.say("reqAccountUpdates", True, DU)
    values = {args[0]: args[1] for name, args in heard if name == "updateAccountValue"}
    assert float(values["NetLiquidation"]) == pytest.approx(100_000 - fee + 0.75 * 50, abs=0.01)
    assert float(values["UnrealizedPnL"]) == 37.5
    assert float(values["AvailableFunds"]) == pytest.approx(100_000 - fee + 37.5 - 101 * 50 / 20, abs=0.01)
    [portfolio] = [args for name, args in heard if name == "updatePortfolio"]
    assert portfolio[1:5] == (1, 101, 5050, 5012.5)
    [position, _] = talk.say("reqPositions")
    assert position[1][2:] == (1, 5012.5)
    summary = talk.say("reqAccountSummary", 3, "All", "NetLiquidation,TotalCashValue")
    assert [args[1:3] for name, args in summary if name == "accountSummary"][:2] == [
        (DU, "NetLiquidation"),
        (DU, "TotalCashValue"),
    ]
    assert short(talk.say("reqAccountUpdatesMulti", 4, DU, "", False))[-1] == "accountUpdateMultiEnd"
    assert short(talk.say("reqAccountUpdatesMulti", 4, "DU9", "", False)) == ["error 321"]


def test_what_closes_a_position_tells_its_profit() -> None:
    """The commission report of the closing half has the realised profit, less its fee; the opening one has none."""
    talk = Talk()
    talk.play(1)
    opening = talk.say("placeOrder", 1, ES, limit(qty=1, px=100.25))
    talk.play(21)
    closing = talk.say("placeOrder", 2, ES, limit("SELL", qty=1, px=100.75))
    reports = [args[0] for heard in (opening, closing) for name, args in heard if name == "commissionReport"]
    assert reports[0].realizedPNL > 1e300
    assert reports[1].realizedPNL == pytest.approx((100.75 - 100.25) * 50 - 100.75 * 50 * 0.0004)


def test_market_data_are_the_last_trade_and_a_tick_around_it() -> None:
    """At once, then whenever the price has moved, until it is cancelled; a snapshot once."""
    talk = Talk()
    talk.play(1)

    def prices(heard: list[tuple[str, tuple[Any, ...]]]) -> list[tuple[int, float]]:
        return [(args[1], args[2]) for name, args in heard if name == "priceSizeTick"]

    assert prices(talk.say("reqMktData", 3, ES, "", False, False, [])) == [(1, 99.75), (2, 100.25), (4, 100.0)]
    assert prices(talk.heard(talk.tws.play(at(11)))) == [(1, 99.5), (2, 100.0), (4, 99.75)]
    assert talk.play(11) == []
    assert short(talk.say("reqMktData", 4, ES, "", True, False, []))[-1] == "tickSnapshotEnd"
    assert short(talk.say("reqMktData", 5, Contract(symbol="NQ"), "", False, False, [])) == ["error 200"]
    talk.say("cancelMktData", 3)
    assert talk.play(30) == []


def test_bars_are_those_of_the_tape_and_none_is_told_before_its_end() -> None:
    """Minute bars equal the platform's own; a day's has a date; the minute that is not over is left out."""
    random = [(second * 7, str(100 + second * 13 % 11 * 0.25), 1 + second % 5) for second in range(600)]
    told = tape(random)
    talk = Talk(told)
    talk.play(3600)

    def bars(size: str, duration: str = "2 D", end: str = "", form: int = 2) -> list[Any]:
        asked: tuple[Any, ...] = ("reqHistoricalData", 3, ES, end, duration, size, "TRADES", False, form, False, [])
        return [args[1] for name, args in talk.say(*asked) if name == "historicalData"]

    expected = [step.bar for step in market_steps(told) if step.bar.close_ns <= at(3600)]
    found = bars("1 min")
    assert len(found) == len(expected) > 50
    for bar, step in zip(found, expected, strict=True):
        assert (int(bar.date) * SECOND_NS, bar.open, bar.high, bar.low, bar.close) == (
            step.open_ns,
            step.open,
            step.high,
            step.low,
            step.close,
        )
        assert (bar.volume, bar.barCount) == (step.volume, step.trades)
    assert bars("1 hour", form=1)[0].date == "20130901 01:00:00 UTC"
    assert bars("1 min", "60 S", "20130901 02:00:00 UTC")[-1].date == str((T0 // HOUR_NS + 1) * 3600 - 3600 + 59 * 60)
    talk.tws.play(T0 + 24 * HOUR_NS)
    assert [bar.date for bar in bars("1 day")] == ["20130901"]


@pytest.mark.parametrize(
    ("changes", "number"),
    [
        ({2: "7 mins"}, 321),
        ({1: "2 moons"}, 321),
        ({3: "BID"}, 162),
        ({0: "20000101 00:00:00 UTC"}, 162),
        ({0: "then"}, 321),
        ({6: True}, 321),
    ],
)
def test_bars_that_there_are_not_are_refused_by_number(changes: dict[int, Any], number: int) -> None:
    """A size, a span or a kind that does not exist 321, no data 162."""
    talk = Talk()
    talk.play(130)
    asked: list[Any] = ["", "1 D", "1 min", "TRADES", False, 1, False]
    for place, value in changes.items():
        asked[place] = value
    assert short(talk.say("reqHistoricalData", 3, ES, *asked, [])) == [f"error {number}"]


def test_what_is_not_simulated_is_refused_and_what_is_no_message_too() -> None:
    """So that nobody waits for an answer that never comes."""
    talk = Talk()
    [refused] = talk.say("reqHeadTimeStamp", 12, ES, "TRADES", False, 1)
    assert refused[1][:2] == (12, 321)
    for message, number in ((("999",), 505), (("3", "x"), 320), (("3", "1"), 320), (("7", "3", "1"), 320)):
        assert short(talk.heard(talk.tws.answer(1, message, CLOCK_NS))) == [f"error {number}"], message


# Faults --------------------------------------------------------------------------------------------------------------


def test_ids_roll_back_and_name_other_orders() -> None:
    """A done order's id is given again; a live one keeps its own, and who uses it changes that order."""
    talk = Talk()
    talk.play(1)
    talk.place(1, limit())
    talk.place(2, limit(ref="b"))
    talk.cancel(2)
    talk.tws.fail({"kind": "roll_back_ids", "client": 1, "ids": 2})
    assert talk.say("reqIds", 1) == [("nextValidId", (1,))]
    assert talk.place(2, limit(ref="c")) == NEW
    assert talk.place(1, limit(qty=4, ref="d")) == ["open Submitted", "Submitted 0/4"]
    assert [(row["cl_ord_id"], row["qty"]) for row in talk.rows("working")] == [("a", "4"), ("c", "5")]


def test_acknowledgements_are_lost_or_late_and_executions_are_not() -> None:
    """The order lives although nobody was told; what is late comes with the play that reaches its instant."""
    talk = Talk()
    talk.play(1)
    shares = {"late_s": 5, "seed": 1}
    talk.fail("acknowledgements", lost=1.0, late=0.0, **shares)
    assert talk.place(1, limit()) == []
    assert talk.play(11) == ["exec 2@99.75 +", "open Submitted", "Submitted 2/5", "fee"]
    assert talk.cancel(1) == []
    talk.fail("acknowledgements", lost=0.0, late=1.0, **shares)
    assert talk.place(2, limit(px=50)) == []
    assert talk.play(15.9)[:1] != NEW[:1]
    assert talk.play(16) == NEW


def test_lost_servers_answer_nothing_and_forget_what_they_are_told() -> None:
    """Orders and cancels vanish, executions go unseen; 1101 ends the market data, 1102 does not."""
    talk = Talk()
    talk.play(1)
    talk.place(1, limit())
    talk.say("reqMktData", 3, ES, "", False, False, [])
    assert talk.fail("servers_lost") == ["error 1100"]
    assert talk.place(2, limit(ref="gone")) == talk.cancel(1) == talk.play(11) == []
    assert talk.say("reqExecutions", 5, ExecutionFilter()) == talk.say("reqAllOpenOrders") == []
    assert short(talk.say("reqCurrentTime")) == ["currentTime"]
    assert talk.fail("servers_back", data="kept") == ["error 1102"]
    assert short(talk.say("reqExecutions", 5, ExecutionFilter()))[0] == "exec 2@99.75 +"
    assert [row["cl_ord_id"] for row in talk.rows("orders")] == ["a"]
    assert "priceSizeTick" in talk.play(12)
    talk.fail("servers_lost")
    talk.fail("servers_back", data="lost")
    assert "priceSizeTick" not in talk.play(21)


def test_switches_do_what_they_say_until_they_are_off() -> None:
    """Status twice, no executions, no time, no ticks."""
    talk = Talk()
    talk.play(1)
    talk.fail("duplicate_status", on=1)
    assert talk.place(1, limit()) == [NEW[0], NEW[1], NEW[1], NEW[2], NEW[3], NEW[3]]
    talk.fail("duplicate_status", on=0)
    for kind, request in (
        ("execution_silence", ("reqExecutions", 5, ExecutionFilter())),
        ("deaf", ("reqCurrentTime",)),
    ):
        talk.fail(kind, on=1)
        assert talk.say(*request) == [], kind
        talk.fail(kind, on=0)
        assert talk.say(*request) != [], kind
    talk.say("reqMktData", 3, ES, "", False, False, [])
    assert talk.fail("market_data_farm", broken=1) == ["error 2103"]
    assert "priceSizeTick" not in talk.play(11)
    assert talk.fail("market_data_farm", broken=0) == ["error 2104"]
    assert "priceSizeTick" in talk.play(11.5)


def test_orders_to_come_may_be_held_or_rejected() -> None:
    """Held: 399, PreSubmitted, changed and cancelled like others, at the exchange when released. Rejected: 201."""
    talk = Talk()
    talk.play(1)
    talk.fail("held", orders=2)
    assert talk.place(1, limit()) == [NEW[0], NEW[1], "error 399"]
    talk.place(2, limit(ref="b"))
    assert talk.play(11) == []
    assert talk.place(1, limit(qty=4, px=99.5)) == ["open PreSubmitted", "PreSubmitted 0/4"]
    assert talk.cancel(2) == ["PendingCancel 0/5", "error 202", "Cancelled 0/5"]
    assert talk.fail("release")[-1] == "Submitted 0/4"
    assert talk.play(13)[0] == "exec 4@99.5 +"
    talk.fail("reject", orders=1, text="no margin")
    assert talk.place(3, limit()) == ["error 201", "open Inactive", "Inactive 0/5"]
    assert [row["state"] for row in talk.rows("orders")] == ["filled", "canceled", "rejected"]


def test_an_execution_is_corrected_and_busted_under_its_next_number() -> None:
    """ExecId ….01 becomes ….02 with another price and quantity; a bust is a correction to nothing."""
    talk = Talk()
    talk.play(1)
    talk.place(1, limit())
    talk.play(11)
    [first] = [row["exec_id"] for row in talk.rows("fills")]
    assert first.endswith(".01.01")
    second = first[:-1] + "2"
    assert talk.fail("correct", exec_id=first, px="99.5", qty="1")[0] == "exec 1@99.5 +"
    assert [row["exec_id"] for row in talk.rows("fills")] == [first, second]
    assert talk.tws.snapshot()["positions"] == {"ES": "1"}
    assert talk.fail("bust", exec_id=second)[:3] == ["exec 0@99.5 +", "open Submitted", "Submitted 0/5"]
    assert talk.tws.snapshot()["positions"] == {"ES": "0"}
    assert [(row.get("exec_ref"), row.get("exec_type")) for row in talk.rows("fills")] == [
        (None, None),
        (first, "trade_correct"),
        (second, "trade_cancel"),
    ]
    assert talk.fail("repeat", exec_id=first) == ["exec 2@99.75 +"]
    with pytest.raises(VenueMistake):
        talk.fail("bust", exec_id=first)


def test_executions_may_be_swallowed_made_up_and_cancels_unasked() -> None:
    """A swallowed one is there for who asks; a fill comes whatever the order's state, as maker or taker."""
    talk = Talk()
    talk.play(1)
    talk.place(1, limit())
    talk.fail("swallow", trades=1)
    assert talk.play(11) == []
    assert short(talk.say("reqExecutions", 5, ExecutionFilter()))[0] == "exec 2@99.75 +"
    assert talk.fail("cancel", cl_ord_id="a") == ["error 202", "Cancelled 2/5"]
    assert talk.fail("fill", cl_ord_id="a", qty="4", liquidity="taker")[:3] == [
        "exec 4@99.75 -",
        "open Cancelled",
        "Cancelled 6/6",
    ]


def test_a_restart_ends_all_connections_and_rolls_ids_back() -> None:
    """The orders stay, at the exchange; whoever comes back is told lower ids."""
    talk = Talk(clients=(1, 2))
    talk.play(1)
    talk.place(5, limit())
    talk.cancel(5)
    ended = talk.tws.fail({"kind": "restart", "ids": 4})
    assert [(said.client, said.message) for said in ended] == [(1, ()), (2, ())]
    assert not talk.tws.is_connected(1)
    assert ("nextValidId", (2,)) in talk.heard(talk.tws.connect(1, talk.version))


@pytest.mark.parametrize(
    "command",
    [
        {},
        {"kind": "flood"},
        {"kind": "held", "orders": -1},
        {"kind": "reject", "orders": 1},
        {"kind": "deaf", "on": 2},
        {"kind": "deaf", "on": True},
        {"kind": "roll_back_ids", "client": 1, "ids": -1},
        {"kind": "servers_back", "data": "lost"},
        {"kind": "acknowledgements", "lost": 2.0, "late": 0.0, "late_s": 0.0, "seed": 0},
        {"kind": "bust", "exec_id": "E1"},
        {"kind": "fill", "cl_ord_id": "nobody", "qty": "1", "liquidity": "maker"},
        {"kind": "cancel", "cl_ord_id": "nobody"},
        {"kind": "manual", "symbol": "NQ", "side": "BUY", "qty": "1", "px": "1", "account": DU},
        {"kind": "manual", "symbol": "ES", "side": "BUY", "qty": "1", "px": "1.1", "account": DU},
    ],
)
def test_a_command_without_meaning_changes_nothing(command: dict[str, Any]) -> None:
    """It is refused, and the books are what they were."""
    talk = Talk()
    before = talk.tws.snapshot()
    with pytest.raises(VenueMistake):
        talk.tws.fail(command)
    assert talk.tws.snapshot() == before
