"""The simulated TWS under anything that may be said to it: it does not break, forget or lose count."""

import json
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.tws import CLOCK_NS, DU, ES, Pen, Talk, at, limit, market
from trisagion.errors import VenueMistake
from trisagion.simulate.tws import SimulatedTws

CLIENTS = (0, 1, 2)
PLACED = 90
"""Fields of a placeOrder message that this simulator reads."""


def written(order_id: int, order: Any) -> tuple[str, ...]:
    """The message of an order, as ib_async writes it."""
    pen: Any = Pen(178)
    pen.placeOrder(order_id, ES, order)
    message: tuple[str, ...] = pen.written[0]
    return message


CLIENT = st.sampled_from(CLIENTS)
ORDERS = st.builds(
    lambda order_id, action, qty, px, tif, kind: written(
        order_id, market(action, qty) if kind == "MKT" else limit(action, qty, px, ref=f"r{order_id}", tif=tif)
    ),
    st.integers(-1, 30),
    st.sampled_from(["BUY", "SELL"]),
    st.sampled_from([1, 2, 5, 40]),
    st.sampled_from([99.25, 99.5, 99.75, 100, 100.25, 101]),
    st.sampled_from(["GTC", "DAY", "IOC", "FOK"]),
    st.sampled_from(["LMT", "LMT", "MKT"]),
)
TEXTS = st.sampled_from(
    ["", "0", "1", "-1", "nan", "Infinite", "1e308", "1e-30", "9" * 60, "2147483647", "٣", "\x01", "'; DROP", "x" * 300]
)
HOSTILE = st.builds(
    lambda message, place, text: (*message[:place], text, *message[place + 1 :]), ORDERS, st.integers(1, PLACED), TEXTS
)
CUT = st.builds(lambda message, length: message[:length], ORDERS, st.integers(1, PLACED))
REQUESTS = st.builds(
    lambda number, fields: (str(number), *fields),
    st.sampled_from([1, 2, 4, 5, 6, 7, 8, 9, 15, 16, 17, 20, 49, 58, 61, 62, 64, 71, 74, 76, 91, 99, 999]),
    st.lists(TEXTS | st.integers(-1, 30).map(str), max_size=22),
)
CANCELS = st.integers(-1, 30).map(lambda order_id: ("4", "1", str(order_id), ""))
MESSAGES = st.tuples(CLIENT, st.one_of(ORDERS, ORDERS, CANCELS, HOSTILE, CUT, REQUESTS)).map(lambda it: ("message", it))
KINDS = (
    *("roll_back_ids", "acknowledgements", "servers_lost", "servers_back", "duplicate_status", "execution_silence"),
    *(
        "deaf",
        "market_data_farm",
        "held",
        "release",
        "reject",
        "swallow",
        "repeat",
        "bust",
        "correct",
        "fill",
        "cancel",
    ),
    *("manual", "restart"),
)
FAULTS = st.fixed_dictionaries(
    {
        "kind": st.sampled_from(KINDS),
        "client": CLIENT,
        "ids": st.integers(-1, 9),
        "lost": st.sampled_from([0.0, 0.3]),
        "late": st.just(0.3),
        "late_s": st.sampled_from([0, 3]),
        "seed": st.integers(0, 3),
        "data": st.sampled_from(["lost", "kept", "found"]),
        "on": st.sampled_from([0, 1]),
        "broken": st.sampled_from([0, 1]),
        "orders": st.integers(-1, 2),
        "trades": st.integers(0, 2),
        "text": st.just("why"),
        "exec_id": st.sampled_from(["the last", "the last", "the last", "0000e0d5.00000002.01.01"]),
        "px": st.sampled_from(["99.75", "100", "0", "1.1", "9" * 30]),
        "qty": st.sampled_from(["1", "3", "0", "-1", "2147483647"]),
        "cl_ord_id": st.integers(0, 30).map("r{}".format),
        "liquidity": st.sampled_from(["maker", "taker", "neither"]),
        "symbol": st.just("ES"),
        "side": st.sampled_from(["BUY", "SELL"]),
        "account": st.just(DU),
    }
).map(lambda fault: ("fault", fault))
PLAYS = st.integers(0, 25).map(lambda second: ("play", at(second)))
COMMANDS = st.lists(st.one_of(MESSAGES, MESSAGES, FAULTS, PLAYS), max_size=60)
FRESH = st.tuples(CLIENT, ORDERS).map(lambda it: ("fresh", it))
BUSY = st.lists(st.one_of(FRESH, FRESH, FRESH, MESSAGES, FAULTS, PLAYS), min_size=20, max_size=60)
"""Mostly orders whose ids were never used before, so that they get to the books."""


def apply(tws: SimulatedTws, commands: Sequence[tuple[str, Any]], *, only_changes: bool = False) -> list[object]:
    """What a TWS says to some commands; clients that a restart has sent away come back at their next message."""
    said: list[object] = []
    for number, (kind, what) in enumerate(commands, start=100):
        try:
            if kind == "play":
                said.append(tws.play(what))
            elif kind == "fault":
                last = [row["exec_id"] for row in books(tws)["fills"]][-1:] if what["exec_id"] == "the last" else []
                said.append(tws.fail({**what, "exec_id": last[0]} if last else what))
            else:
                client, message = what
                if kind == "fresh":
                    message = (message[0], str(number), *message[2:])
                if only_changes and not tws.changes(message):
                    continue
                if not tws.is_connected(client):
                    tws.connect(client, 178)
                said.append(tws.answer(client, message, CLOCK_NS))
        except VenueMistake as mistake:
            assert kind == "fault"
            said.append(str(mistake))
    return said


def books(tws: SimulatedTws) -> Mapping[str, Any]:
    """The snapshot as another process reads it."""
    snapshot: Mapping[str, Any] = json.loads(json.dumps(tws.snapshot()))
    return snapshot


@settings(max_examples=100, deadline=None)
@given(commands=COMMANDS | BUSY)
@example(commands=[("play", at(1)), ("message", (1, written(1, limit(qty=40)))), ("play", at(25))])
def test_whatever_is_said_the_books_hold_together(commands: list[tuple[str, Any]]) -> None:
    """It never breaks; each message is text; filled quantities and positions are sums of the executions that stand."""
    tws = Talk(clients=CLIENTS).tws
    for answers in apply(tws, commands):
        for said in answers if isinstance(answers, tuple) else ():
            assert all(isinstance(field, str) and "\0" not in field for field in said.message)
    snapshot = books(tws)
    gone = {row["exec_ref"] for row in snapshot["fills"] if "exec_ref" in row}
    standing = [
        row for row in snapshot["fills"] if row["exec_id"] not in gone and row.get("exec_type") != "trade_cancel"
    ]
    assert len({row["exec_id"] for row in snapshot["fills"]}) == len(snapshot["fills"]) == tws.executions
    net = sum(Decimal(row["qty"]) * (1 if row["side"] == "buy" else -1) for row in standing)
    assert Decimal(snapshot["positions"]["ES"]) == net
    bought = sum(Decimal(row["cum_qty"]) * (1 if row["side"] == "buy" else -1) for row in snapshot["orders"])
    assert bought == net
    assert len(snapshot["working"]) == tws.working


@settings(max_examples=60, deadline=None)
@given(commands=COMMANDS | BUSY)
def test_what_changes_the_books_makes_them_again(commands: list[tuple[str, Any]]) -> None:
    """Questions, and who was connected when, leave no trace: the rest of the commands gives the same books and ids."""
    first, second = Talk(clients=CLIENTS).tws, Talk(clients=()).tws
    apply(first, commands)
    apply(second, commands, only_changes=True)
    assert books(first) == books(second)
    for tws in (first, second):
        for client in CLIENTS:
            tws.disconnected(client)
    assert [first.connect(client, 178) for client in CLIENTS] == [second.connect(client, 178) for client in CLIENTS]
