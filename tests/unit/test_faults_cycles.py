"""The judge of a cycle: a decision and its order are of each other, and every vote has had its say."""

import json
from collections.abc import Mapping
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import pytest

from tests.e2e.faults.cycles import not_once, not_voted
from trisagion.orders.types import Side


def decided(symbol: str, delta: int, *reasons: str) -> Any:
    """Return a row of a decision that wants so many lots more; of none it makes no intent."""
    return SimpleNamespace(
        symbol=symbol,
        direction=delta,
        delta=Decimal(delta),
        intent=f"C1:{symbol}" if delta else None,
        reasons=json.dumps(reasons),
    )


def ordered(symbol: str, side: Side, qty: int) -> Any:
    """Return a row of an order that carries a symbol's intent."""
    return SimpleNamespace(symbol=symbol, intent=f"C1:{symbol}", side=side, qty=Decimal(qty))


BUY, SELL = ordered("CL", Side.BUY, 5), ordered("ES", Side.SELL, 3)
DECISIONS = [decided("CL", 5, "VOTES_COUNTED: winners=1"), decided("ES", -3)]


@pytest.mark.parametrize(
    ("decisions", "orders", "says"),
    [
        (DECISIONS, [BUY, SELL], ""),
        ([decided("ES", 0, "DELTA_BELOW_LOT")], [], ""),
        (DECISIONS, [BUY, BUY, SELL], "the orders of CL"),
        (DECISIONS, [BUY], "the orders of ES"),
        (DECISIONS, [BUY, ordered("ES", Side.SELL, 4)], "the orders of ES"),
        (DECISIONS, [BUY, ordered("ES", Side.BUY, 3)], "the orders of ES"),
        (DECISIONS[:1], [BUY, SELL], "no order in ES"),
        ([decided("ES", 0)], [SELL], "the orders of ES"),
        ([decided("ES", 0, "FAILED: OurMistake: so")], [], "ES to be decided"),
    ],
)
def test_a_decision_that_has_not_its_one_order_is_named(decisions: list[Any], orders: list[Any], says: str) -> None:
    """Doubled, lost, of another size, of the other side, of nothing that was decided, or of a failure."""
    found = not_once(decisions, orders)
    assert [says in sentence for sentence in found] == [True] * bool(says)


@pytest.mark.parametrize(
    ("voted", "says"),
    [
        ({"CL": 5, "ES": -3}, ""),
        ({"CL": 5, "ES": 3}, "expected the votes"),
        ({"CL": 5}, "expected the votes"),
    ],
)
def test_a_decision_by_other_votes_is_named(voted: Mapping[str, int], says: str) -> None:
    """A symbol that nobody voted on, or that was decided by what another slot wanted."""
    found = not_voted(DECISIONS, voted)
    assert [says in sentence for sentence in found] == [True] * bool(says)


def test_a_vote_without_an_order_is_named() -> None:
    """It asked for a change, and nothing came of it."""
    [sentence] = not_voted([decided("ES", 0, "DELTA_BELOW_LOT")], {"ES": 0})
    assert sentence.startswith("expected ES to have an order")
