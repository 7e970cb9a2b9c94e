"""`trisagion orders` on a run's directory."""

import getpass
import json
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.builders import Desk, an_order
from tests.databases import founded_run
from trisagion.cli import orders
from trisagion.errors import ConfigError, StateError, TrisagionError
from trisagion.orders.state import OrderState
from trisagion.units import Price

WHY: dict[str, Any] = {"reason": "not told after midnight", "evidence": "trade log of 3 June"}


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    """Lay an account out as the newest run of a state directory, with an order in doubt and one that works."""
    database = founded_run(tmp_path)
    desk = Desk(database).found()
    for name, state in (("T1", OrderState.UNKNOWN), ("T2", OrderState.NEW)):
        desk.put(an_order(name, state=state, session="IB", price=Price(Decimal("4000.25")), intent=f"C1:{name}"))
    yield desk
    database.close()


def test_orders_in_doubt_are_shown_and_any_other_by_its_name(
    desk: Desk, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """For people a line each, for machines a list."""
    orders.show(state=tmp_path, as_json=True)
    [row] = json.loads(capsys.readouterr().out)
    assert (row["cl_ord_id"], row["state"], row["qty"], row["cum_qty"]) == ("T1", "unknown", "3", "0")
    orders.show("T2", state=tmp_path)
    assert capsys.readouterr().out.startswith("cl_ord_id=T2  session=IB  symbol=ES  side=sell  qty=3")
    with pytest.raises(StateError, match="expected the ClOrdID of an order, found 'T3'"):
        orders.show("T3", state=tmp_path)


def test_an_order_is_ended_in_the_name_of_whoever_says_so(
    desk: Desk, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """After that none is in doubt; one that works is left to the venue, and a word that is no end is refused."""
    with pytest.raises(ConfigError, match="--as: expected one of filled, canceled, expired, rejected, found 'gone'"):
        orders.resolve("T1", "gone", **WHY, state=tmp_path)
    with pytest.raises(TrisagionError, match="order T2: expected one that is unknown, found new"):
        orders.resolve("T2", "canceled", **WHY, state=tmp_path)
    orders.resolve("T1", "canceled", **WHY, state=tmp_path)
    assert "state=canceled" in capsys.readouterr().out
    assert desk.order("T1").state is OrderState.CANCELED
    [event] = desk.events("order.resolved")
    assert getpass.getuser() in event
    orders.show(state=tmp_path)
    assert capsys.readouterr().out == "no order is in doubt\n"
