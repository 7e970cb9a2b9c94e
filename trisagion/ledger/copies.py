"""The position that a drop copy's reports make: a second witness, which asks neither our ledger nor our orders."""

from collections.abc import Iterable
from decimal import Decimal, localcontext

from trisagion.orders.types import ExecType, ExecutionReport
from trisagion.units import WIDE, Quantity


def copied_positions(reports: Iterable[ExecutionReport]) -> dict[str, Quantity]:
    """Return the signed sum of the fills that stand, by symbol.

    A bust takes the fill away that it names (ExecRefID, 19), a correction puts its own in that one's place; one that
    names a fill that does not stand takes nothing away.
    """
    standing: dict[str | None, tuple[str, Decimal]] = {}
    for report in reports:
        if report.exec_type is not ExecType.TRADE:
            standing.pop(report.ref_exec_id, None)
        if report.fills:
            standing[report.exec_id] = (report.symbol, report.side.sign * report.last_qty)
    sums: dict[str, Quantity] = {}
    with localcontext(WIDE):
        for symbol, qty in standing.values():
            sums[symbol] = Quantity(sums.get(symbol, Decimal(0)) + qty)
    return sums
