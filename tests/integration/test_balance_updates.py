"""What changes the account's worth is heard at least once and applied once, whoever is killed, and wherever.

Each kind of update is delivered to a process that is killed by SIGKILL at one of its commits, before it or after it,
and then to another one, twice. The account must be that of a twin to which everything was delivered once, in peace.
"""

import shutil
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests.builders import BOOK_RULES, COHORT_RULES, PATIENT, SESSION, TUESDAY_NS, Desk, an_order, qty, said
from tests.integration.killed import Counted, books, killed
from trisagion.adapters.db import SqlDatabase, open_database
from trisagion.clock import MINUTE_NS, SECOND_NS
from trisagion.cohort.types import Epoch
from trisagion.errors import StateError
from trisagion.ids import IntentKey
from trisagion.ledger.take_profit import TakeProfitRules
from trisagion.ledger.types import Kind, Voucher
from trisagion.orders.state import OrderState
from trisagion.orders.types import ExecType, ExecutionReport, Order
from trisagion.safety.snapshots import Snapshot, sign
from trisagion.services import ledger_enter
from trisagion.services.book_fills import book
from trisagion.services.compare_copies import GRACE_NS, compare, record
from trisagion.services.hear_observers import take
from trisagion.services.take_profit import WatchRules, watch
from trisagion.units import Money, Price

NOW = TUESDAY_NS
WALL_NS = 1_800_000_000 * SECOND_NS
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
WATCH = WatchRules(TakeProfitRules(), COHORT_RULES, seed=7, losses=PATIENT)
TWO_EUR = {"fee": Money(Decimal(2)), "fee_currency": "EUR"}


def by(number: int) -> Voucher:
    """Return evidence of its own."""
    return Voucher("anna", "the statement of the day", f"statement {number}")


def once(entered: Callable[[], object]) -> None:
    """Enter something by hand as a person does who does not know whether it was entered: told so is answer enough."""
    try:
        entered()
    except StateError as error:
        assert "is booked already" in str(error)  # noqa: PT017 # both ways are good


def working(desk: Desk, number: int) -> Order:
    """Put an order to sell three to work."""
    there = {"state": OrderState.NEW, "session": SESSION, "price": Price(Decimal("4000.25")), "order_id": f"V{number}"}
    order = an_order(f"T{number}", intent=IntentKey(f"C1:{number}"), **there)
    desk.put(order)
    return order


def fill_of(number: int, **changes: Any) -> ExecutionReport:
    """Return the first fill of an order."""
    return said(an_order(f"T{number}"), ExecType.TRADE, f"E{number}", order_id=f"V{number}", **changes)


def bust_of(number: int) -> ExecutionReport:
    """Return the word that takes it back."""
    return said(an_order(f"T{number}"), ExecType.TRADE_CANCEL, f"B{number}", ref_exec_id=f"E{number}")


@dataclass(frozen=True, slots=True)
class Update:
    """One kind: what has to be there before, and what its delivery does, both by the number of the case."""

    before: Callable[[Desk, int], object]
    deliver: Callable[..., object]


def _filled(desk: Desk, number: int) -> None:
    working(desk, number)
    book(desk.database, BOOK_RULES, fill_of(number))


def _copied(desk: Desk, number: int) -> None:
    working(desk, number)
    record(desk.database, fill_of(number), WALL_NS)


def _worded(desk: Desk, number: int) -> None:
    with desk.database.transaction() as tx:
        tx.snapshots.add(sign(Snapshot("broker", number, NOW, True, "", (("ES", qty(number)),)), KEY))


def _looked(database: Any, number: int) -> None:
    with database.transaction() as tx:
        take(tx, {"broker": KEY.public_key()}, MINUTE_NS, NOW)


UPDATES = {
    "a fill": Update(working, lambda database, number: book(database, BOOK_RULES, fill_of(number))),
    "a fee in another currency": Update(
        working, lambda database, number: book(database, BOOK_RULES, fill_of(number, **TWO_EUR))
    ),
    "a bust": Update(_filled, lambda database, number: book(database, BOOK_RULES, bust_of(number))),
    "a fill that only the drop copy told": Update(
        _copied, lambda database, number: compare(database, BOOK_RULES, SESSION, WALL_NS + GRACE_NS, NOW)
    ),
    "a deposit": Update(
        lambda desk, number: None,
        lambda database, number: once(lambda: ledger_enter.transfer(database, Money(Decimal(500)), NOW, by(number))),
    ),
    "interest": Update(
        lambda desk, number: None,
        lambda database, number: once(
            lambda: ledger_enter.charge(database, Kind.FINANCING, Money(Decimal(3)), NOW, by(number))
        ),
    ),
    "a mark of the account": Update(
        lambda desk, number: desk.quote(NOW + number * MINUTE_NS, f"{4000 + number}"),
        lambda database, number: watch(database, WATCH, NOW + number * MINUTE_NS),
    ),
    "an observer's statement": Update(_worded, _looked),
}


@pytest.mark.parametrize("kind", UPDATES)
def test_an_update_is_applied_once_wherever_a_process_is_killed(
    kind: str, database_url: str, database: SqlDatabase, sqlite_template: Path, tmp_path: Path
) -> None:
    """At each commit, before and after it; what is delivered again books what is missing and nothing else."""
    update, number = UPDATES[kind], 0
    with closing(open_database(f"sqlite:///{shutil.copy(sqlite_template, tmp_path / 'twin.sqlite3')}")) as peaceful:
        twin, desk = Desk(peaceful), Desk(database)
        for each in (twin, desk):
            each.found()
            with each.database.transaction() as tx:
                tx.cohort.put_epoch(Epoch(1, NOW, None, None, "100000000"))
        commits = 1
        for dies_at in range(1, 9):
            if dies_at > commits:
                break
            for kept in (False, True):
                number += 1
                for each in (twin, desk):
                    update.before(each, number)
                counted, before = Counted(peaceful), books(desk)
                update.deliver(counted, number=number)
                commits = counted.begun
                killed(database_url, partial(update.deliver, number=number), dies_at, kept=kept)
                assert (books(desk) == before) == (dies_at == 1 and not kept), "it was killed where it should be"
                for _ in range(2):
                    update.deliver(database, number=number)
                assert books(desk) == books(twin), (dies_at, kept)
    assert number == 2 * commits
    assert commits == (3 if kind == "a fill that only the drop copy told" else 1)
