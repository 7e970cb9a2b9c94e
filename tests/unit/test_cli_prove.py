"""`trisagion prove maker` and `trisagion gate` on a run's directory."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer

from tests.builders import BOOK_RULES, TUESDAY_NS, Desk, an_intended_order, said
from tests.databases import founded_run
from trisagion.cli import gate, prove
from trisagion.errors import TrisagionError
from trisagion.orders.state import OrderState
from trisagion.orders.types import ExecType, Liquidity
from trisagion.services.book_fills import book


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    """Lay an account out as the newest run of a state directory."""
    database = founded_run(tmp_path)
    yield Desk(database).found()
    database.close()


def fill(desk: Desk, liquidity: Liquidity) -> None:
    """Fill one of a maker-only order."""
    order = an_intended_order(TUESDAY_NS, OrderState.NEW)
    desk.put(order)
    book(desk.database, BOOK_RULES, said(order, ExecType.TRADE, liquidity=liquidity))


def test_a_run_of_makers_is_certified(desk: Desk, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As text and as JSON, with the chain's head, and exit code 0."""
    fill(desk, Liquidity.MAKER)
    prove.maker("one", tmp_path, as_json=False)
    text = capsys.readouterr().out
    prove.maker(None, tmp_path, as_json=True)
    told = json.loads(capsys.readouterr().out)
    assert "maker-only holds" in text
    assert told["chain"]["head"] in text
    assert (told["run"], told["holds"], told["fills"], told["made"], told["exemptions"]) == ("one", True, 1, 1, [])


def test_a_taker_fill_ends_with_exit_code_1(desk: Desk, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """And names the fill; the gate that it shut is shown, and opened with a reason alone."""
    fill(desk, Liquidity.TAKER)
    with pytest.raises(typer.Exit) as end:
        prove.maker(None, tmp_path, as_json=False)
    assert end.value.exit_code == 1
    assert "SIM/E1" in capsys.readouterr().out
    gate.show(tmp_path, as_json=True)
    [shown] = json.loads(capsys.readouterr().out)
    assert (shown["session"], shown["shut"], shown["operator"]) == ("SIM", True, "platform")
    with pytest.raises(TrisagionError, match="named operator and a reason"):
        gate.opened("SIM", " ", tmp_path)
    gate.opened("SIM", "the venue explained it", tmp_path)
    assert "the gate of SIM is open" in capsys.readouterr().out
    gate.show(tmp_path, as_json=False)
    assert "SIM  open by " in capsys.readouterr().out
    with pytest.raises(TrisagionError, match="not shut"):
        gate.opened("SIM", "again", tmp_path)


def test_a_run_without_trouble_has_no_gate_to_show(
    desk: Desk, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """In words for people, as an empty list for machines."""
    gate.show(tmp_path, as_json=False)
    assert capsys.readouterr().out == "no gate was ever shut\n"
    gate.show(tmp_path, as_json=True)
    assert json.loads(capsys.readouterr().out) == []
    assert desk.orders() == []
