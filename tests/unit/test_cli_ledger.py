"""`trisagion ledger` on a run's directory."""

import json
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
import typer

from tests.builders import BOOK_RULES, TUESDAY_NS, Desk, a_report, an_order, qty
from tests.databases import founded_run
from trisagion.adapters.db import tables as t
from trisagion.cli import ledger
from trisagion.errors import ConfigError, DataError, StateError
from trisagion.ledger.types import Kind
from trisagion.orders.state import OrderState
from trisagion.orders.types import Side
from trisagion.services.book_fills import book
from trisagion.units import Price

WHY: dict[str, Any] = {"reason": "statement differs", "evidence": "statement 1"}


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    """Lay an account out as the newest run of a state directory, with two bought and one sold."""
    database = founded_run(tmp_path, '[platform]\naccount = "SIM-1"\n')
    desk = Desk(database).found()
    for number, (side, size, px) in enumerate(((Side.BUY, 2, "4000.25"), (Side.SELL, 1, "4001"))):
        order = an_order(f"T{number}", state=OrderState.NEW, session="SIM", side=side, qty=qty(size))
        desk.put(order)
        facts: dict[str, Any] = {"last_qty": qty(size), "cum_qty": qty(size), "leaves_qty": qty(0)}
        facts |= {"ord_status": OrderState.FILLED, "last_px": Price(Decimal(px)), "avg_px": Decimal(px)}
        book(database, BOOK_RULES, a_report(f"E{number}", cl_ord_id=order.cl_ord_id, side=side, **facts))
    desk.mark(TUESDAY_NS)
    yield desk
    database.close()


@pytest.fixture
def told(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Callable[..., Any]:
    """Give a function that runs a command on the state directory, for machines, and returns what it told."""

    def run(command: Callable[..., None], **arguments: Any) -> Any:
        capsys.readouterr()
        command(state=tmp_path, as_json=True, **arguments)
        return json.loads(capsys.readouterr().out)

    return run


def test_positions_and_lots_are_shown_with_their_profit(desk: Desk, told: Callable[..., Any]) -> None:
    """Average price, realised and unrealised; each lot with the fill that opened it."""
    [position] = told(ledger.positions)
    assert position == {
        "account": "SIM-1",
        "symbol": "ES",
        "qty": "1",
        "cost": "200012.5",
        "average": "4000.25",
        "realised": "37.5",
        "fees": "3.6002",
        "mark": "4000",
        "unrealised": "-12.5",
    }
    [lot] = told(ledger.lots, symbol="ES")
    assert (lot["entry"], lot["opened_qty"], lot["qty"], lot["realised"], lot["closed"]) == (
        *("SIM/E0", "2", "1", "37.5", None),
    )
    assert told(ledger.lots, symbol="NQ") == []
    assert int(desk.position.qty) == 1


def test_balances_sum_to_zero_and_can_be_told_apart(desk: Desk, told: Callable[..., Any]) -> None:
    """By account of the double entry; further by strategy and symbol."""
    ledger_accounts = {row["of"]: Decimal(row["amount"]) for row in told(ledger.balances)}
    assert sum(ledger_accounts.values()) == 0
    assert ledger_accounts["realised"] == Decimal("-37.5")
    rows = told(ledger.balances, by=[ledger.By.STRATEGY, ledger.By.SYMBOL])
    assert {(row["strategy"], row["symbol"]) for row in rows} == {("house", ""), ("cohort", "ES")}
    assert told(ledger.balances, account="BANK") == []
    assert desk.events("ledger.") == []


def test_what_was_gained_is_told_by_whose_decision_it_was(desk: Desk, told: Callable[..., Any]) -> None:
    """Realised less fees, rebates and financing, each currency for itself; nothing of what is open."""
    told(ledger.charge, kind=ledger.Charge.FINANCING, amount="1.5", symbol="ES", **WHY)
    told(ledger.charge, kind=ledger.Charge.FEE, amount="-2", currency="EUR", **WHY)
    rows = told(ledger.pnl, by=[ledger.By.STRATEGY])
    assert [tuple(row.values()) for row in rows] == [
        ("SIM-1", "USD", "cohort", "37.5", "3.6002", "0", "33.8998"),
        ("SIM-1", "USD", "house", "0", "0", "1.5", "-1.5"),
        ("SIM-1", "EUR", "house", "0", "-2", "0", "2"),
    ]
    assert list(rows[0]) == ["account", "currency", "strategy", "realised", "fees", "financing", "net"]
    assert [row["net"] for row in told(ledger.pnl)] == ["32.3998", "2"]
    assert told(ledger.pnl, account="BANK") == []
    assert len(desk.events("ledger.")) == 2


def test_what_is_entered_is_shown_and_in_the_event_log(desk: Desk, told: Callable[..., Any]) -> None:
    """Each command tells its lines, with who, why and by what; the platform's own account may be named."""
    [cash, capital] = told(ledger.transfer, amount="-500", account="SIM-1", **WHY)
    assert (cash["of"], cash["amount"], cash["account"], cash["evidence"]) == ("cash", "-500", "SIM-1", "statement 1")
    assert capital["amount"] == "500"
    charged = told(ledger.charge, kind=ledger.Charge.FEE, amount="2", currency="EUR", rate="1.1", symbol="ES", **WHY)
    assert [(row["currency"], row["fx_rate"]) for row in charged] == [("EUR", "1.1")] * 2 + [("USD", "1.1")] * 2
    told(ledger.adjust, amount="0.01", **WHY)
    told(ledger.adjust, symbol="ES", qty="1", at="4000", **WHY)
    told(ledger.adjust, symbol="ES", qty="5", at="4000", account="OTHER", **WHY)
    [line] = told(ledger.split, symbol="ES", ratio="2:1", **WHY)
    assert (line["amount"], line["qty"], line["kind"]) == ("0", "2", "split")
    assert [(row["account"], row["qty"]) for row in told(ledger.positions)] == [("SIM-1", "4"), ("OTHER", "5")]
    assert len(desk.events("ledger.")) == 6
    adjusted = told(ledger.postings, kind=Kind.ADJUSTMENT)
    assert len({row["entry"] for row in adjusted}) == 3
    assert told(ledger.postings, entry=line["entry"]) == [line]
    assert told(ledger.verify)["holds"]


def test_verification_ends_with_exit_code_1_and_a_rebuild_mends(
    desk: Desk, tmp_path: Path, capsys: pytest.CaptureFixture[str], told: Callable[..., Any]
) -> None:
    """As text and as JSON; --check writes nothing, and writing needs reason and evidence."""
    with desk.database.transaction() as tx:
        tx.session.write(sa.update(t.ledger_position).values(fees=Decimal(0)), {})
    before = desk.everything()
    for command in (ledger.verify, lambda **given: ledger.rebuild(check=True, **given)):
        with pytest.raises(typer.Exit) as end:
            command(state=tmp_path, as_json=False)
        assert end.value.exit_code == 1
        text = capsys.readouterr().out
        assert "position ES: expected fees 3.6002, found 0" in text
        assert "3 entries: THE BOOKS DO NOT HOLD" in text
    with pytest.raises(DataError, match="as reason"):
        ledger.rebuild(state=tmp_path)
    assert desk.everything() | {"audit_note": []} == before
    assert told(ledger.rebuild, **WHY) == {"entries": 3, "holds": True, "problems": []}
    assert len(desk.events("ledger.rebuilt")) == 1


def test_people_get_columns(desk: Desk, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A line of heads and one for each row; nothing is "none"."""
    ledger.positions(state=tmp_path)
    heads, row = capsys.readouterr().out.splitlines()
    assert heads.split()[:3] == ["account", "symbol", "qty"]
    assert row.split()[:3] == ["SIM-1", "ES", "1"]
    ledger.lots(symbol="NQ", state=tmp_path)
    assert capsys.readouterr().out == "none\n"
    assert desk.events("ledger.") == []


@pytest.mark.parametrize(
    ("act", "error", "text"),
    [
        (lambda **given: ledger.adjust(**WHY, **given), ConfigError, "--amount .*or --symbol"),
        (lambda **given: ledger.adjust(**WHY, amount="1", qty="1", **given), ConfigError, "--amount"),
        (lambda **given: ledger.adjust(**WHY, symbol="ES", qty="1", **given), ConfigError, "--amount"),
        (
            lambda **given: ledger.adjust(**WHY, symbol="ES", qty="1", at="1", currency="EUR", **given),
            ConfigError,
            "--amount",
        ),
        (lambda **given: ledger.adjust(**WHY, amount="0.1e", **given), DataError, "expected a decimal number"),
        (lambda **given: ledger.adjust(reason="why", evidence=" ", amount="1", **given), DataError, "as evidence"),
        (lambda **given: ledger.split(**WHY, symbol="ES", ratio="2", **given), ConfigError, "NEW:OLD"),
        (lambda **given: ledger.split(**WHY, symbol="ES", ratio="²:1", **given), ConfigError, "NEW:OLD"),
        (lambda **given: ledger.split(**WHY, symbol="NQ", ratio="2:1", **given), StateError, "'NQ' is not"),
        (lambda **given: ledger.transfer(**WHY, amount="1", counter="SIM-1", **given), ConfigError, "another account"),
        (
            lambda **given: ledger.charge(ledger.Charge.FEE, **WHY, amount="1", currency="EUR", rate="-1", **given),
            DataError,
            "above 0",
        ),
    ],
)
def test_what_cannot_be_entered_is_refused_and_leaves_no_trace(
    desk: Desk, tmp_path: Path, act: Callable[..., None], error: type[Exception], text: str
) -> None:
    """With what was expected; no entry, no event, at most that somebody came."""
    before = desk.everything()
    with pytest.raises(error, match=text):
        act(state=tmp_path)
    assert desk.everything() | {"audit_note": []} == before
