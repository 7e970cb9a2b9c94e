"""`trisagion limits` on a run's directory, given by two users of the machine."""

import json
import os
from collections.abc import Callable, Iterator
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.builders import TUESDAY_NS, Desk, an_intended_order
from tests.databases import founded_run
from trisagion.adapters.db import open_database
from trisagion.adapters.witness import person
from trisagion.cli import limits
from trisagion.errors import DataError, TrisagionError
from trisagion.orders.state import OrderState
from trisagion.risk.limits import KEYS, Scope
from trisagion.services import limits as service
from trisagion.settings import Settings
from trisagion.wiring import House

NEXT = len(KEYS) + 1
"""The version after those that the configuration made."""


@pytest.fixture
def state(tmp_path: Path) -> Iterator[Path]:
    """Lay an account out as the newest run of a state directory, with the limits that its configuration founds."""
    database = founded_run(tmp_path)
    Desk(database)
    with database.transaction() as tx:
        service.found(tx, House(Settings()).limits, "abc", 0)
    yield tmp_path
    database.close()


@pytest.fixture
def told(capsys: pytest.CaptureFixture[str], state: Path) -> Callable[..., Any]:
    """Give a function that runs a command on the state directory, for machines, and returns what it told."""

    def run(command: Callable[..., None], **arguments: Any) -> Any:
        capsys.readouterr()
        command(state=state, as_json=True, **arguments)
        return json.loads(capsys.readouterr().out)

    return run


def test_two_users_of_the_machine_change_a_limit(told: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """One proposes, whatever name the environment gives him, and cannot approve it; the other one can."""
    change: dict[str, Any] = {"name": "orders_max", "value": "3", "reason": "quiet hours", "subject": ""}
    proposed = told(limits.propose, scope=Scope.ACCOUNT, **change)
    assert (proposed["value"], proposed["ceiling"], proposed["holds"]) == ("3", "50", False)
    assert (proposed["proposed_by"], proposed["version"]) == (person(), NEXT)
    monkeypatch.setenv("LOGNAME", "somebody-else")
    monkeypatch.setenv("USER", "somebody-else")
    with pytest.raises(TrisagionError, match="another person"):
        told(limits.approve, version=NEXT)
    monkeypatch.setattr(os, "getuid", lambda: 4_000_000)
    assert told(limits.approve, version=NEXT)["approved_by"] == "uid 4000000"
    shown = told(limits.show)
    assert (shown["version"], shown["unknown"]) == (NEXT, None)
    assert {row["limit"]: row["value"] for row in shown["in_force"]}["orders_max"] == "3"
    assert [row["version"] for row in told(limits.history)] == list(range(1, NEXT + 1))


def test_what_may_not_be_proposed_is_refused_with_a_sentence(state: Path) -> None:
    """Above what the run was founded with, and for a limit that there is not."""
    with pytest.raises(DataError, match="at most 50"):
        limits.propose("orders_max", "51", "more", state=state)
    with pytest.raises(DataError, match="expected a limit of"):
        limits.propose("speed_max", "1", "more", state=state)


def test_a_limit_of_what_there_is_not_is_refused(told: Callable[..., Any], state: Path) -> None:
    """It would bind nothing, and two people would rely on it."""
    with closing(open_database(f"sqlite:///{state / 'trisagion.sqlite3'}")) as database:
        Desk(database).found()
    change: dict[str, Any] = {"name": "order_qty_max", "value": "2", "reason": "thin books"}
    parts = {Scope.SYMBOL: ("ES", "es"), Scope.VENUE: ("SIM", "SIM2"), Scope.STRATEGY: ("flatten", "house")}
    for scope, (known, unknown) in parts.items():
        with pytest.raises(DataError, match=f"^{scope}: expected .*{known}.*, found '{unknown}'$"):
            told(limits.propose, scope=scope, subject=unknown, **change)
        assert told(limits.propose, scope=scope, subject=known, **change)["of"] == known
    assert len(told(limits.history)) == len(KEYS) + len(parts)


def test_people_see_what_is_in_force_and_what_is_not(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each version has a line; one that nobody approved says so."""
    limits.propose("price_collar", "0.01", "calm", state=state)
    limits.history(state=state)
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1].endswith(": calm  NOT IN FORCE")
    assert f"price_collar = {Decimal('0.01')} of 0.05" in lines[-1]
    limits.show(state=state)
    assert "calm" not in capsys.readouterr().out


def test_whoever_proposes_and_whoever_approves_is_told_what_it_would_refuse(
    state: Path, told: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    """In numbers of orders, by control, before anything is in force."""
    change: dict[str, Any] = {"name": "order_qty_max", "value": "2", "reason": "thin books", "subject": ""}
    nothing = {"intents": 0, "within": 0, "refused": {}}
    effect = told(limits.propose, scope=Scope.ACCOUNT, **change)["effect"]
    assert effect == {"live": nothing, "day": nothing, "cut": False}
    with closing(open_database(f"sqlite:///{state / 'trisagion.sqlite3'}")) as database:
        desk = Desk(database).found()
        desk.put(an_intended_order(TUESDAY_NS, OrderState.NEW))
        assert told(limits.effect, version=NEXT)["live"] == {"intents": 1, "within": 1, "refused": {"ORDER_QTY": 1}}
    limits.effect(version=NEXT, state=state)
    assert capsys.readouterr().out.splitlines() == [
        "live orders: 1, within what is in force 1, of these it would refuse 1 (ORDER_QTY 1)",
        "approved in the last day: 0, within what is in force 0, of these it would refuse 0",
    ]
    limits.propose("order_qty_max", "1", "thinner", state=state)
    assert "of these it would refuse 1 (ORDER_QTY 1)" in capsys.readouterr().out
    limits.propose("alike_orders_max", "0", "quiet", state=state)
    assert "what it would refuse is not known" in capsys.readouterr().out
    with pytest.raises(DataError, match="found 77"):
        limits.effect(version=77, state=state)
