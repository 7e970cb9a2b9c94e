"""`trisagion why` on a run of the whole platform: every order's chain is whole, to the bytes and the books."""

import json
from contextlib import closing
from typing import Any

import pytest
import sqlalchemy as sa

from tests.e2e.platforms import Platform, trisagion
from trisagion.adapters.db import open_database, tables
from trisagion.cli import rundir
from trisagion.orders.state import OrderState
from trisagion.reports.why import NOT_RECORDED

pytestmark = [pytest.mark.e2e, pytest.mark.redis, pytest.mark.timeout(240)]

UNRECORDED = 2
"""The quote that the gateway joined, and the instant of the claim, which the order's own message has."""


def ended(platform: Platform, state: OrderState) -> str:
    """Return the first order that ended so."""
    with rundir.database_of(platform.run) as url, closing(open_database(url)) as database, database.snapshot() as unit:
        query = sa.select(tables.orders.c.cl_ord_id).where(tables.orders.c.state == state)
        return str(unit.session.scalar(query.order_by(tables.orders.c.created_ns).limit(1)))


def told(*arguments: str) -> dict[str, Any]:
    """Return what `trisagion why` says."""
    done = trisagion("why", *arguments, "--json")
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


@pytest.mark.parametrize("state", [OrderState.FILLED, OrderState.CANCELED])
def test_an_order_of_a_real_run_is_explained_from_the_quote_to_the_postings(
    undisturbed: Platform, state: OrderState
) -> None:
    """Its messages leave and come back, its fills are booked line by line, and all but two facts were recorded."""
    name, place = ended(undisturbed, state), str(undisturbed.state)
    found = told("order", name, "--state", place)
    parts = {part["what"].split(" ")[0]: part for part in found["parts"]}
    assert parts["market"]["facts"]["quote used"].startswith("bid=")
    messages = [part["what"] for part in parts["messages,"]["parts"]]
    assert "|35=D|" in messages[0]
    assert f"|11={name}|" in messages[0]
    assert any("|39=2|" in text or "|39=4|" in text for text in messages)
    reports = parts["reports"]["parts"]
    assert {bool(each["parts"]) for each in reports if each["what"].startswith("trade")} <= {True}
    assert any(each["parts"] for each in reports) == (state is OrderState.FILLED)
    assert json.dumps(found).count(NOT_RECORDED) == UNRECORDED


def test_the_end_of_a_replay_is_in_the_way_of_orders(undisturbed: Platform) -> None:
    """A run that is over says why nothing is traded any more; its last cycle was decided on its one symbol."""
    place = str(undisturbed.state)
    obstacles = [part["what"] for part in told("halt", "--state", place)["parts"]]
    assert {"the replay is at its end", "control mode pause"} <= set(obstacles)
    assert [part["what"].split(":")[0] for part in told("cycle", "--state", place)["parts"]] == ["ES"]
    assert told("rest", "--state", place)["what"] == "no rest: the calendar allows trade"
