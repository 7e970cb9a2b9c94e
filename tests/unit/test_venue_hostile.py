"""The bundled venue under anything that may be said to it: it does not break, forget or lose count."""

import json
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st

from trisagion.clock import SECOND_NS
from trisagion.errors import VenueMistake
from trisagion.gateway.words import timestamp
from trisagion.market.types import Instrument, Tape
from trisagion.simulate.venue import SimulatedVenue

T0 = 1_378_000_000 * SECOND_NS
PRINTS = 300

NAMES = st.integers(0, 20).map("n{}".format)
QUANTITIES = st.sampled_from(
    ["0.1", "0.3", "5", "0", "-1", "0.05", "1.5", "214748364.7", "99999999999999999", "9" + "0" * 60]
)
PRICES = st.sampled_from(
    ["24.75", "25", "25.25", "24.5", "0", "-5", "25.1", "536870911.75", "9" + "0" * 60, "0." + "0" * 60 + "1"]
)
INSTANTS = st.one_of(
    st.integers(0, 400).map(lambda second: timestamp(T0 + second * SECOND_NS)),
    st.sampled_from(["19600101-00:00:00", "99991231-00:00:00", "20990101-00:00:00"]),
)
MESSAGES = st.fixed_dictionaries(
    {
        35: st.sampled_from("DDDDFGGqVHxy"),
        11: NAMES,
        41: NAMES,
        1: st.sampled_from("AB"),
        55: st.sampled_from(["COIN", "COIN", "COIN", "XX"]),
        54: st.sampled_from("12"),
        38: QUANTITIES,
        44: PRICES,
        40: st.just("2"),
        18: st.sampled_from(["0", "0", "6"]),
        59: st.sampled_from("001346"),
        126: INSTANTS,
        60: INSTANTS,
        530: st.sampled_from("1117"),
        262: NAMES,
        263: st.sampled_from("012"),
        264: st.just("1"),
        269: st.sampled_from("0129"),
    },
).map(lambda fields: ("message", fields))
FAULTS = st.fixed_dictionaries(
    {
        "kind": st.sampled_from(
            ["repeat", "bust", "correct", "fill", "fill", "rate_limit", "outage", "acknowledgements", "swallow", []]
        ),
        "exec_id": st.integers(0, 40).map("E{}".format),
        "trades": st.integers(-1, 3),
        "px": PRICES,
        "qty": QUANTITIES,
        "cl_ord_id": NAMES,
        "liquidity": st.sampled_from(["maker", "taker", "neither"]),
        "per_second": st.sampled_from([0, 0, 20, -1]),
        "seconds": st.sampled_from([0, 1, 3, 1e12, 10**400, float("nan")]),
        "lost": st.sampled_from([0, 0.2]),
        "late": st.just(0.2),
        "late_s": st.sampled_from([0, 5]),
        "seed": st.integers(0, 3),
    }
).map(lambda fault: ("fault", fault))
PLAYS = st.integers(0, 330).map(lambda second: ("play", T0 + second * SECOND_NS))


def venue() -> SimulatedVenue:
    """A venue whose tape prints each second for five minutes."""
    decimals = map(Decimal, ("0.25", "0.1", "10", "20", "0.001"))
    random = np.random.default_rng(1)
    columns = T0 + np.arange(PRINTS) * SECOND_NS, random.integers(97, 104, PRINTS), random.integers(1, 9, PRINTS)
    return SimulatedVenue([Tape(Instrument("COIN", "SIM", "USD", *decimals), *columns)])


def told(commands: list[tuple[str, Any]]) -> tuple[list[object], Mapping[str, Any]]:
    """Everything that a fresh venue says to some commands, and its books after them."""
    sim = venue()
    said: list[object] = []
    for kind, what in commands:
        say: dict[str, Callable[[Any], object]] = {"message": sim.answer, "fault": sim.fail, "play": sim.play}
        try:
            said.append(say[kind](what))
        except VenueMistake as mistake:
            assert kind == "fault"
            said.append(str(mistake))
    return said, json.loads(json.dumps(sim.snapshot()))


@settings(max_examples=200, deadline=None)
@given(commands=st.lists(st.one_of(MESSAGES, MESSAGES, FAULTS, PLAYS), max_size=60))
@example(commands=[("fault", {"kind": "correct", "exec_id": "E1", "px": "25", "qty": "1"})])
@example(
    commands=[
        ("play", T0 + 100 * SECOND_NS),
        ("message", {35: "D", 11: "n0", 1: "A", 55: "XX", 54: "1", 38: "1", 44: "25", 40: "2", 60: timestamp(T0)}),
        ("fault", {"kind": "correct", "exec_id": "E1", "px": "25", "qty": "1"}),
        ("fault", {"kind": "fill", "cl_ord_id": "n0", "qty": "1", "liquidity": "maker"}),
    ]
)
def test_the_same_said_again_gives_the_same_and_positions_are_the_sum_of_the_trades_that_stand(
    commands: list[tuple[str, Any]],
) -> None:
    """A working order has something left, and the orders' sums are those of the trades."""
    said, books = told(commands)
    assert told(commands) == (said, books)
    standing: dict[str, Decimal] = {}
    for fill in books["fills"]:
        sign = 1 if fill["side"] == "buy" else -1
        if "exec_ref" in fill:
            del standing[fill["exec_ref"]]
        if fill.get("exec_type") != "trade_cancel":
            standing[fill["exec_id"]] = sign * Decimal(fill["qty"])
    assert Decimal(books["positions"]["COIN"]) == sum(standing.values(), Decimal(0))
    for row in books["working"]:
        assert Decimal(row["leaves_qty"]) == Decimal(row["qty"]) - Decimal(row["cum_qty"]) > 0
    filled = sum(Decimal(order["cum_qty"]) for order in books["orders"])
    assert filled == sum(abs(qty) for qty in standing.values())
