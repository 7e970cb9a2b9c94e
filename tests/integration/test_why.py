"""`trisagion why`: the chain of an order, a cycle, a rest and a standstill, from a database that the services wrote."""

import json
from dataclasses import replace
from typing import Any, Final

import pytest

from tests.builders import (
    BOOK_RULES,
    CYCLE_RULES,
    ES,
    LIMITS,
    NQ,
    SATURDAY_NS,
    SESSION,
    TUESDAY_NS,
    Desk,
    an_order,
    said,
    states,
    voting,
)
from tests.fakes import FakeSession
from trisagion.adapters.db import SqlDatabase
from trisagion.adapters.db.why_source import cycle_story, halt_story, order_story, rest_story
from trisagion.clock import HOUR_NS, MINUTE_NS, SECOND_NS, iso
from trisagion.errors import StateError
from trisagion.gateway.settling import SETTLED
from trisagion.ids import IntentKey, cancel_cl_ord_id, cl_ord_id, cycle_id, intent_key
from trisagion.market.closures import Closures
from trisagion.orders.intents import Consensus
from trisagion.orders.rejects import Reject
from trisagion.orders.state import OrderState
from trisagion.orders.types import ExecType
from trisagion.regime.classify import Reading
from trisagion.reports.why import NOT_RECORDED, Step, as_json, as_text
from trisagion.reports.why_halt import explain_halt, explain_rest
from trisagion.reports.why_order import explain_cycle, explain_order
from trisagion.safety.gates import Gate
from trisagion.safety.modes import Control, Level, Mode
from trisagion.services.book_fills import book
from trisagion.services.control import release, stop
from trisagion.services.drive_session import SessionDriver
from trisagion.services.incidents import note
from trisagion.services.reconcile import cycle
from trisagion.services.route_orders import route
from trisagion.session_ports import SessionMessage
from trisagion.settings import Settings, load
from trisagion.units import plain

DUE = TUESDAY_NS
NEXT = DUE + MINUTE_NS
FIRST, SECOND = (cl_ord_id("SIM-1", intent_key(cycle_id(DUE), "ES"), attempt) for attempt in (0, 1))


def in_json(step: Step, *path: str) -> Any:
    """Return a step by how its name, and those of the steps above it, begin."""
    found = as_json(step)
    for name in path:
        found = next(part for part in found["parts"] if part["what"].startswith(name))
    return found


def arrive(desk: Desk, due_ns: int, *directions: int) -> None:
    """Bring prices, cohort, account and the venue's word to an instant, and move its cycle."""
    for symbol in ("ES", "NQ"):
        desk.quote(due_ns, symbol=symbol)
        desk.observe(due_ns, symbol=symbol)
    desk.enter(voting(due_ns, *directions, instruments=(ES, NQ)), at_ns=due_ns)
    desk.mark(due_ns)
    cycle(desk.database, CYCLE_RULES, "tester", due_ns)


@pytest.fixture
def traded(database: SqlDatabase) -> Desk:
    """Give what `trade` makes, on SQLite, then on MariaDB."""
    return trade(Desk(database))


@pytest.fixture
def robbed(empty: Desk) -> Desk:
    """Give what `trade` makes, where rows can be taken away: on MariaDB no user of ours has that right."""
    return trade(empty)


def trade(desk: Desk) -> Desk:
    """Decide on two symbols; the order is refused, tried again, filled in part, and withdrawn by the next cycle."""
    database = desk.found(instruments=(ES, NQ)).database
    desk.publish(states(1, DUE - MINUTE_NS))
    with database.transaction() as tx:
        tx.regime.put_reading("ES", Reading(DUE, "trending", (0.7, 0.1, 0.1, 0.1), ("entropy: 0.5 trending",)))
    arrive(desk, DUE, 20, 0)
    driver = SessionDriver(database, FakeSession(), SESSION, "one", settling=SETTLED)
    driver.lease()
    for name in (FIRST, SECOND):
        route(database, LIMITS, SESSION, name, DUE)
        driver.drain(DUE)
        if name == FIRST:
            refusal = said(
                desk.order(FIRST), ExecType.REJECTED, "E1", reject=Reject.POST_ONLY_WOULD_CROSS, reason="post only"
            )
            book(database, BOOK_RULES, refusal)
    book(database, BOOK_RULES, said(desk.order(SECOND), ExecType.NEW, "E2"))
    book(database, BOOK_RULES, said(desk.order(SECOND), ExecType.TRADE, "E3"))
    arrive(desk, NEXT, 20, 0)
    driver.drain(NEXT)
    book(database, BOOK_RULES, said(desk.order(SECOND), ExecType.CANCELED, "E4"))
    raw = f"8=FIX.4.4\x0135=D\x0111={SECOND}\x01554=***\x0110=001\x01"
    away = f"8=FIX.4.4\x0135=F\x0111={cancel_cl_ord_id(SECOND)}\x0141={SECOND}\x0110=002\x01"
    other = f"8=FIX.4.4\x0135=D\x0111={FIRST}\x0110=003\x01"
    with database.transaction() as tx:
        for number, text in enumerate((raw, away, other), start=1):
            tx.messages.add([SessionMessage(SESSION, number, "out", "D", number, DUE + number, text)])
    return desk


def explained(desk: Desk, name: str) -> Step:
    """Return the explanation of an order."""
    with desk.database.snapshot() as unit:
        return explain_order(order_story(unit, name))


def test_the_chain_of_an_order_is_whole(traded: Desk) -> None:
    """From the market over votes, size, consensus and verdict to the messages, the fill and its postings."""
    found = explained(traded, SECOND)
    market = in_json(found, "market")["facts"]
    assert market["quote used"].startswith("bid=3999.75 ask=4000.25 last=4000 ")
    assert market["regime gate"].startswith("noisy")
    assert market["state of the market"].startswith("trending: trending=0.700")
    votes = in_json(found, "votes")
    assert (votes["facts"]["direction D"], votes["facts"]["votes that did not count"]) == (
        "20",
        "exiting=0 stale=0 flat=0 poor=0",
    )
    assert votes["why"][0].startswith("VOTES_COUNTED: living=1 winners=1 direction=20")
    assert in_json(found, "size")["facts"]["account"].startswith("equity=100000000 margin_share=0.66")
    assert in_json(found, "consensus")["facts"] == {"actual position": "0", "witnesses": "ledger=0 venue=0"}
    assert in_json(found, "intent")["facts"]["delta"] == "4"
    assert in_json(found, "verdict")["facts"] == {
        "risk": "approved",
        "judged under": f"mode=normal limits={LIMITS.version}",
    }
    [other] = in_json(found, "what the cycle decided on other")["parts"]
    assert other["what"] == "NQ: no order"
    assert any(reason.startswith("VOTES_NO_WINNERS") for reason in other["rejected"])
    first, second = in_json(found, "attempts")["parts"]
    assert (first["rejected"], second["what"].endswith("this order")) == (["post only"], True)
    assert [part["what"][:8] for part in in_json(found, "messages")["parts"]] == ["SIM  > 8", "SIM  > 8"]
    assert "|554=***|" in in_json(found, "messages")["parts"][0]["what"]
    new, trade, canceled = in_json(found, "reports booked")["parts"]
    assert (new["parts"], canceled["parts"]) == ([], [])
    assert trade["facts"]["trade"] == "buy 1 at 4000.25, fee 1.8, maker"
    assert [part["what"].split(": ")[1].split(" ")[0] for part in trade["parts"]] == ["inventory", "fees", "cash"]
    end = in_json(found, "how it ended")
    assert (end["facts"]["filled"], end["facts"]["state"]) == ("1 of 4", "canceled")
    assert end["why"] == [f"superseded by {cycle_id(NEXT)}, the next cycle that is recorded"]


def test_the_text_says_what_the_json_says(traded: Desk) -> None:
    """Every fact and every reason of the tree is in the text."""
    found = explained(traded, SECOND)
    text = as_text(found)

    def walk(step: dict[str, Any]) -> None:
        assert all(line in text for line in [step["what"], *step["facts"].values(), *step["why"], *step["rejected"]])
        for part in step["parts"]:
            walk(part)

    walk(json.loads(json.dumps(as_json(found))))


def test_what_was_not_recorded_is_said_to_be_so(robbed: Desk) -> None:
    """Of a decision that wrote down its refusals alone, and of a database without its market and messages."""
    with robbed.database.transaction() as tx:
        for table in ("market_step", "market_state", "fix_message"):
            tx.session.connection.exec_driver_sql(f"DELETE FROM {table}")  # noqa: S608 # names of ours
        tx.session.connection.exec_driver_sql("UPDATE decision SET reasons = '[\"KELLY_PROBATION: factor=0.25\"]'")
    found = explained(robbed, SECOND)
    market = in_json(found, "market")["facts"]
    assert [market[name] for name in ("quote used", "minute's last trade", "features")] == [NOT_RECORDED] * 3
    assert in_json(found, "votes")["facts"]["votes that did not count"] == NOT_RECORDED
    assert in_json(found, "consensus")["facts"]["witnesses"] == NOT_RECORDED
    assert NOT_RECORDED in in_json(found, "messages")["what"]
    with robbed.database.transaction() as tx:
        tx.session.connection.exec_driver_sql("DELETE FROM decision")
    assert in_json(explained(robbed, SECOND), "the decision")["what"] == f"the decision: {NOT_RECORDED}"


def test_an_order_is_found_by_how_its_name_alone_begins(traded: Desk) -> None:
    """One that begins so is it; several, and none, are told with what there is."""
    assert explained(traded, SECOND[:8]).what.startswith(f"order {SECOND}: buy 4 ES, canceled")
    with pytest.raises(StateError, match=f"several whose names begin with 'T': .*{FIRST}"):
        explained(traded, "T")
    with pytest.raises(StateError, match=f"there is no order '{SECOND[:6]}~'.* the nearest are: {SECOND}"):
        explained(traded, f"{SECOND[:6]}~")
    with pytest.raises(StateError, match="there is no order '' in this run"):
        explained(traded, "")


def test_a_run_without_orders_has_none_to_offer(empty: Desk) -> None:
    """Nor is any name the beginning of one."""
    with pytest.raises(StateError, match="it has none at all"):
        explained(empty, SECOND)


def test_a_cycle_tells_each_symbol_and_who_abandoned_it(traded: Desk) -> None:
    """The one that traded with its orders; the newest, which waits; and one that a later cycle took the place of."""
    with traded.database.snapshot() as unit:
        first = explain_cycle(cycle_story(unit, cycle_id(DUE)))
        newest = explain_cycle(cycle_story(unit, "last"))
    assert [part.what for part in first.parts] == ["ES: an order for 4", "NQ: no order"]
    assert [part["what"][:9] for part in in_json(first, "ES")["parts"]][-2:] == ["attempt 0", "attempt 1"]
    # What needs no cancel is decided already.
    assert [part.what for part in newest.parts] == ["NQ: no order"]
    assert dict(newest.facts)["stage"] == "cancelling"
    arrive(traded, NEXT + MINUTE_NS, 20, 0)
    with traded.database.snapshot() as unit:
        left = explain_cycle(cycle_story(unit, cycle_id(NEXT)))
    assert left.why == (f"abandoned: a later cycle began: {cycle_id(NEXT + MINUTE_NS)}, the next that is recorded",)
    assert in_json(left, "events")["parts"][0]["facts"] == {"stage": "cancelling"}
    with pytest.raises(StateError, match="several"), traded.database.snapshot() as unit:
        cycle_story(unit, "C")


def test_a_rest_names_its_rules_and_what_was_withdrawn_in_it(traded: Desk) -> None:
    """A Saturday: since Friday 23:00 in the Vatican; the order that its first cycle withdrew, and no earlier one."""
    friday = SATURDAY_NS - 15 * HOUR_NS + MINUTE_NS
    order = replace(traded.order(SECOND), updated_ns=friday, version=traded.order(SECOND).version + 1)
    with traded.database.transaction() as tx:
        tx.orders.save(order)
    arrive(traded, SATURDAY_NS, 20, 0)
    with traded.database.snapshot() as unit:
        found = explain_rest(SATURDAY_NS, rest_story(unit, SATURDAY_NS))
        awake = explain_rest(DUE, rest_story(unit, DUE))
    facts = as_json(found)["facts"]
    assert (found.what, facts["left"]) == ("rest: weekend", "1 d 10 h")
    assert facts["since"] == "Fri 2024-06-14 23:00:00 +0200 Vatican, 2024-06-14T21:00:00.000Z UTC"
    [withdrawn] = in_json(found, "orders withdrawn")["parts"]
    assert (withdrawn["what"].split(":")[0], withdrawn["why"]) == (f"order {SECOND}", ["superseded"])
    [rested] = in_json(found, "cycles")["parts"]
    assert rested["facts"] == {"outcome": "rest: weekend"}
    assert (awake.what, as_json(awake)["facts"]["next rest"]) == ("no rest: the calendar allows trade", "weekend")


def halted(desk: Desk, now_ns: int, settings: Settings | None = None, people: int = 1) -> dict[str, Any]:
    """Return what stands in the way at an instant, by how each obstacle is named."""
    with desk.database.snapshot() as unit:
        found = as_json(explain_halt(halt_story(unit, settings or Settings(), now_ns, people)))
    assert all(part["facts"]["lift"] and part["why"] for part in found["parts"][:-3])
    return {part["what"]: part for part in found["parts"]} | {"": found}


SIGNED: Final = load(None, {}, {"safety.operators.ann.public_key": "0" * 64})
CONFIRMED: Final = ", then another person's `trisagion release --confirm NUMBER"


@pytest.mark.parametrize(
    ("settings", "people", "part", "everything"),
    [
        (
            Settings(),
            1,
            "`",
            "`trisagion run --resume --reason TEXT` for a replay, else `trisagion release --reason TEXT`",
        ),
        (Settings(), 2, f"`{CONFIRMED}`", f"`{CONFIRMED}`; a replay goes on by `trisagion run --resume` then"),
        (SIGNED, 1, "KEYS`", "KEYS`; a replay goes on by `trisagion run --resume` then"),
        (
            SIGNED,
            2,
            f"KEYS`{CONFIRMED}KEYS`",
            f"KEYS`{CONFIRMED}KEYS`; a replay goes on by `trisagion run --resume` then",
        ),
    ],
)
def test_a_stop_names_the_release_that_works_here(
    traded: Desk, settings: Settings, people: int, part: str, everything: str
) -> None:
    """One person alone or two, with keys where the configuration names people; what is refused is not suggested."""
    with traded.database.transaction() as tx:
        stop(tx, Mode.PAUSE, "why", NEXT)
        stop(tx, Mode.PAUSE, "why", NEXT, Level.SYMBOL, "ES")
    found = halted(traded, NEXT, settings, people)
    lifts = [found[f"control mode pause{of}"]["facts"]["lift"] for of in ("", " of symbol ES")]
    keyed = [text.replace("KEYS", " --as NAME --key file:PATH") for text in (everything, part)]
    assert lifts[0].removeprefix("`trisagion release --reason TEXT") == keyed[0]
    assert lifts[1].removeprefix("`trisagion release --symbol ES --reason TEXT") == keyed[1]


def test_everything_in_the_way_of_an_order_is_named_with_how_to_lift_it(traded: Desk) -> None:
    """Rest, mode, gate, doubt, disagreement, an unconfirmed position, a cycle that stands; and the alarms."""
    with traded.database.transaction() as tx:
        tx.control.set_mode(Control(Mode.PAUSE, "ann", "looks odd", DUE))
        tx.control.set_gate(Gate(SESSION, shut=True, operator="platform", reason="TAKER_FILL", set_ns=DUE))
        tx.control.add_event("order.alarm", SECOND, {"text": "OVERFILL"}, DUE)
        present = tx.orders.order(SECOND)
        assert present is not None
        tx.orders.save(replace(present, state=OrderState.UNKNOWN, version=present.version + 1))
    traded.observe(SATURDAY_NS, seen=7)
    found = halted(traded, SATURDAY_NS)
    assert "set by ann: looks odd" in found["control mode pause"]["why"]
    assert "trisagion gate open SIM" in found["the gate of session SIM is shut"]["facts"]["lift"]
    assert {
        "rest: weekend",
        f"order {SECOND} is unknown",
        "ES: venue disagrees with the ledger",
        "NQ is not confirmed",
        "NQ: the word of venue is old",
        f"cycle {cycle_id(NEXT)} stands at cancelling",
    } <= set(found)
    assert "ES is not confirmed" not in found
    [alarm] = found["alarms, the newest last"]["parts"]
    assert (alarm["what"], alarm["facts"]) == (f"order.alarm {SECOND}", {"text": "OVERFILL"})


def test_a_word_from_before_the_last_fill_is_no_disagreement(traded: Desk) -> None:
    """It is about another position, and the next cycle asks."""
    traded.observe(NEXT, seen=7)
    assert "ES: venue disagrees with the ledger" in halted(traded, NEXT)
    traded.hold(1, at_ns=NEXT + 1)
    found = halted(traded, NEXT)
    assert "ES: venue has not spoken since the last fill" in found
    assert "ES: venue disagrees with the ledger" not in found


def test_an_open_incident_and_a_stop_of_the_platforms_own_come_with_their_evidence(traded: Desk) -> None:
    """What each witness said when it began and says now; who stopped what, by which numbers, and who released it."""
    traded.observe(NEXT, seen=7)
    with traded.database.transaction() as tx:
        note(
            tx,
            tx.ledger.position("ES"),
            tx.ledger.observations("ES"),
            Consensus(None, ("OBSERVER_DISAGREES: venue=7",)),
            NEXT,
        )
        stop(tx, Mode.REDUCE, "DRAWDOWN_SOFT: from=100 equity=80 max=0.15", NEXT)
    release(traded.database, "ann", "seen", NEXT)
    with traded.database.transaction() as tx:
        stop(tx, Mode.PAUSE, "DAILY_LOSS: from=100 equity=90 max=0.01", NEXT)
    found = halted(traded, NEXT)
    [(named, incident)] = [(what, step) for what, step in found.items() if what.startswith("incident ")]
    number = named.removeprefix("incident ").removesuffix(": disagreement on ES")
    held = plain(traded.position.qty)
    assert incident["facts"]["now"].startswith(f"ledger={held} as of ")
    assert f"; venue=7 as of {iso(NEXT)}" in incident["facts"]["now"]
    assert f"trisagion incidents adjust {number}" in incident["facts"]["lift"]
    assert incident["why"] == ["OBSERVER_DISAGREES: venue=7 (an observer saw another position than the ledger)"]
    paused = found["control mode pause"]
    assert "set by platform: DAILY_LOSS: from=100 equity=90 max=0.01" in paused["why"]
    assert paused["facts"]["equity"].endswith(f"at {iso(NEXT)}")
    told = [(part["what"], part["facts"]["operator"]) for part in found["stops and releases, the newest last"]["parts"]]
    assert told == [("control.engaged reduce", "platform"), ("control.released normal", "ann"),
                    ("control.engaged pause", "platform")]  # fmt: skip


def test_a_closure_is_told_with_its_exchange_and_what_was_withdrawn_for_it(empty: Desk) -> None:
    """Since when, until when and for which reason; an open one with its next closure; and where nothing is known."""
    night = Closures("XNEW", DUE - HOUR_NS, DUE + 9 * HOUR_NS, ((DUE, DUE + 8 * HOUR_NS, "Good Friday"),))
    empty.found(instruments=(replace(ES, closures=night), NQ))
    gone = {"state": OrderState.CANCELED, "cancel_reason": "rest: XNEW: Good Friday", "updated_ns": DUE - SECOND_NS}
    empty.put(an_order("T1", **gone), an_order("T2", **{**gone, "intent": IntentKey("C1:NQ"), "symbol": "NQ"}))

    def rest(now_ns: int) -> dict[str, Any]:
        with empty.database.snapshot() as unit:
            return as_json(explain_rest(now_ns, rest_story(unit, now_ns)))

    closed = rest(DUE + HOUR_NS)
    assert closed["what"] == "no rest of the platform's; closed: ES"
    [exchange], [withdrawn] = (part["parts"] for part in closed["parts"])
    assert (exchange["what"], exchange["facts"]["left"]) == ("ES: XNEW: Good Friday", "7 h")
    assert (withdrawn["what"].split(":")[0], withdrawn["why"]) == ("order T1", ["rest: XNEW: Good Friday"])
    awake = rest(DUE - 1)
    assert awake["what"] == "no rest: the calendar allows trade"
    assert awake["parts"][0]["parts"][0]["facts"]["next"] == "Good Friday"
    unknown = rest(DUE + 10 * HOUR_NS)
    assert unknown["parts"][0]["parts"][0]["what"] == "ES: XNEW: its hours are not known"
    found = halted(empty, DUE + HOUR_NS)
    assert "nobody can: it ends" in found["ES rests: XNEW: Good Friday"]["facts"]["lift"]
    beyond = halted(empty, DUE + 10 * HOUR_NS)["ES rests: XNEW: its hours are not known"]
    assert "start another run" in beyond["facts"]["lift"]


def test_nothing_stands_in_the_way_of_a_platform_that_is_well(traded: Desk) -> None:
    """At an instant of trade, in Normal, with witnesses that agree, and a session that is owned."""
    cycle(traded.database, CYCLE_RULES, "tester", NEXT)
    traded.observe(NEXT)
    cycle(traded.database, CYCLE_RULES, "tester", NEXT)
    with traded.database.transaction() as tx:
        for order in tx.orders.in_states(frozenset({OrderState.RISK_CHECKED})):
            tx.orders.save(replace(order, state=OrderState.DENIED, reason="test", version=order.version + 1))
        for due in tx.cycles.unfinished():
            tx.cycles.save_cycle(replace(due, stage="done", version=due.version + 1))
        assert tx.control.acquire(f"session:{SESSION}", "one", 600.0) is not None
    found = halted(traded, NEXT)
    assert found[""]["what"] == "nothing stands in the way of an order", found[""]
    assert [part["what"][:2] for part in found["the newest decision on each symbol"]["parts"]] == ["ES", "NQ"]
