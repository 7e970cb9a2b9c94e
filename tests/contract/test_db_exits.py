"""What is remembered of protective exits, on both servers."""

from dataclasses import replace
from decimal import Decimal

import pytest
import sqlalchemy as sa

from tests.builders import TUESDAY_NS, qty
from trisagion.adapters.db import SqlDatabase, tables
from trisagion.errors import UnreadableRow
from trisagion.portfolio.exits import Cause, ExitState
from trisagion.units import Money

HELD = replace(
    ExitState.nothing("cohort", "ES", TUESDAY_NS),
    side=-1,
    qty=qty("-7.5"),
    cost=Money(Decimal("-1500000.123456789012")),
    opened_ns=TUESDAY_NS - 1,
    entry=Decimal("4000.000329218437"),
    peak=Decimal("3990.25"),
    armed=True,
    full_qty=qty(10),
    legs=1,
    idle_ns=60,
)
STATES = [
    HELD,
    replace(HELD, atr=Decimal("1.071428571429"), stop=Decimal("3999.5")),
    replace(HELD, qty=qty(0), cause=Cause.BREAK_EVEN, caused_ns=TUESDAY_NS),
    ExitState.nothing("cohort", "ES", TUESDAY_NS),
]


@pytest.mark.parametrize("state", STATES)
def test_a_state_is_found_as_it_was_put(database: SqlDatabase, state: ExitState) -> None:
    """To the last digit, beside that of another symbol; there is nothing before it was put."""
    other = replace(HELD, symbol="NQ")
    with database.transaction() as tx:
        assert tx.exits.state("cohort", "ES") == ExitState.nothing("cohort", "ES")
        tx.exits.put(state)
        tx.exits.put(other)
    with database.snapshot() as tx:
        assert tx.exits.state("cohort", "ES") == state
        assert tx.exits.state("cohort", "NQ") == other


def test_what_has_seen_later_bars_stays(database: SqlDatabase) -> None:
    """A worker that was away writes nothing over what was found meanwhile; of the same bar the last word stands."""
    older = replace(HELD, seen_ns=TUESDAY_NS - 1, legs=0)
    same = replace(HELD, cause=Cause.TIME, caused_ns=TUESDAY_NS)
    for put, found in ((HELD, HELD), (older, HELD), (same, same)):
        with database.transaction() as tx:
            tx.exits.put(put)
        with database.snapshot() as tx:
            assert tx.exits.state("cohort", "ES") == found


def test_a_cause_of_nobody_is_refused(database: SqlDatabase) -> None:
    """A row that another program wrote is no state of ours."""
    with database.transaction() as tx:
        tx.exits.put(HELD)
        tx.session.write(sa.update(tables.exit_state).values(cause="mood"), {})
    with database.snapshot() as tx, pytest.raises(UnreadableRow, match="expected a cause of ours"):
        tx.exits.state("cohort", "ES")
