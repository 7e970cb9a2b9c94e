"""A certificate that maker-only orders added liquidity: what was filled, how, what was exempt, and a chain of hashes.

The chain is SHA-256 over all executions in the order of their booking: ``h(0) = SHA-256(GENESIS)``,
``h(n) = SHA-256(h(n-1) ‖ row n)``, a row being its columns as canonical JSON (`safety.audit`; decimals as their
shortest text). Whoever changes, drops, adds or swaps a row gets another head; who keeps an earlier certificate
can see that the later chain goes on from it, for its head is the chain's value after its count of executions.
"""

import hashlib
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from trisagion.orders.types import ExecType, ExecutionReport, Liquidity, Order
from trisagion.safety.audit import canonical, linked
from trisagion.units import plain

GENESIS: Final = b"trisagion executions 1"


@dataclass(frozen=True, slots=True)
class CertifiedFill:
    """A fill as the certificate lists it. `exempt` says that its order was an Emergency's and might take liquidity."""

    exec_id: str
    cl_ord_id: str
    symbol: str
    side: str
    qty: Decimal
    price: Decimal | None
    liquidity: str | None
    exempt: bool
    undone: bool
    happened_ns: int


@dataclass(frozen=True, slots=True)
class Certificate:
    """What a run's executions prove. `made` adds up with `taken` to `fills`; quantities are of all symbols together.

    `violations` are fills that removed liquidity, or do not say that they added it, and whose order was no Emergency's
    taker, or is not known at all.
    """

    executions: int
    head: str
    fills: int
    made: int
    taken: int
    undone: int
    exemptions: tuple[CertifiedFill, ...]
    violations: tuple[CertifiedFill, ...]

    @property
    def holds(self) -> bool:
        """Tell whether no maker-only order was filled as a taker."""
        return not self.violations


def certify(
    executions: Sequence[ExecutionReport], rows: Iterable[Mapping[str, object]], orders: Mapping[str, Order]
) -> Certificate:
    """Return the certificate of all executions, in the order of their booking.

    Parameters
    ----------
    executions : sequence of ExecutionReport
        All that were recorded. A bust or a correction undoes the fill that its `ref_exec_id` names; an undone fill is
        counted as undone, and it counts against the certificate all the same.
    rows : iterable of mappings
        The same as they stand in the database, one mapping of columns for each: what the chain is over.
    orders : mapping
        The orders by each of their ClOrdIDs.
    """
    undone = {(report.venue, report.ref_exec_id) for report in executions if report.ref_exec_id is not None}
    fills = [_fill(report, orders.get(report.cl_ord_id), undone) for report in executions if report.fills]
    made = sum(fill.liquidity == Liquidity.MAKER for fill in fills)
    count, head = chain(rows)
    assert count == len(executions), (count, len(executions))
    return Certificate(
        executions=count,
        head=head,
        fills=len(fills),
        made=made,
        taken=len(fills) - made,
        undone=sum(fill.undone for fill in fills),
        exemptions=tuple(fill for fill in fills if fill.exempt),
        violations=tuple(fill for fill in fills if fill.liquidity != Liquidity.MAKER and not fill.exempt),
    )


def chain(rows: Iterable[Mapping[str, object]]) -> tuple[int, str]:
    """Return how many rows there are, and the chain's value after the last one in hexadecimal digits."""
    count, value = 0, hashlib.sha256(GENESIS).digest()
    for row in rows:
        value = linked(value, canonical({name: _text(value_of) for name, value_of in row.items()}))
        count += 1
    return count, value.hex()


def _fill(report: ExecutionReport, order: Order | None, undone: Container[tuple[str, str | None]]) -> CertifiedFill:
    assert report.exec_type in {ExecType.TRADE, ExecType.TRADE_CORRECT}, report.exec_type
    return CertifiedFill(
        exec_id=f"{report.venue}/{report.exec_id}",
        cl_ord_id=report.cl_ord_id,
        symbol=report.symbol,
        side=report.side.value,
        qty=report.last_qty,
        price=report.last_px,
        liquidity=None if report.liquidity is None else report.liquidity.value,
        exempt=order is not None and order.taker,
        undone=(report.venue, report.exec_id) in undone,
        happened_ns=report.happened_ns,
    )


def _text(value: object) -> str | None:
    if value is None:
        return None
    if isinstance(value, bool):
        return "1" if value else "0"
    return plain(value) if isinstance(value, Decimal) else str(value)


def as_json(certificate: Certificate) -> dict[str, object]:
    """Return the certificate as JSON values, decimals as text."""
    return {
        "holds": certificate.holds,
        "executions": certificate.executions,
        "chain": {"algorithm": "SHA-256", "genesis": GENESIS.decode(), "head": certificate.head},
        "fills": certificate.fills,
        "made": certificate.made,
        "taken": certificate.taken,
        "undone": certificate.undone,
        "exemptions": [_row(fill) for fill in certificate.exemptions],
        "violations": [_row(fill) for fill in certificate.violations],
    }


def _row(fill: CertifiedFill) -> dict[str, object]:
    return {
        "exec_id": fill.exec_id,
        "cl_ord_id": fill.cl_ord_id,
        "symbol": fill.symbol,
        "side": fill.side,
        "qty": plain(fill.qty),
        "price": None if fill.price is None else plain(fill.price),
        "liquidity": fill.liquidity,
        "undone": fill.undone,
        "happened_ns": fill.happened_ns,
    }


def as_text(certificate: Certificate, run: str) -> str:
    """Return the certificate for a person."""
    lines = [
        f"run         {run}",
        f"verdict     {'maker-only holds' if certificate.holds else 'MAKER-ONLY WAS BROKEN'}",
        f"fills       {certificate.fills}: {certificate.made} made, {certificate.taken} taken",
        f"undone      {certificate.undone}",
        f"exempt      {len(certificate.exemptions)} (Emergency)",
        *(f"  {_line(fill)}" for fill in certificate.exemptions),
        f"violations  {len(certificate.violations)}",
        *(f"  {_line(fill)}" for fill in certificate.violations),
        f"chain       SHA-256 over {certificate.executions} executions: {certificate.head}",
    ]
    return "\n".join(lines)


def _line(fill: CertifiedFill) -> str:
    price = "?" if fill.price is None else plain(fill.price)
    how = fill.liquidity or "of unknown liquidity"
    return f"{fill.exec_id} {fill.cl_ord_id} {fill.side} {plain(fill.qty)} {fill.symbol} at {price}, {how}"
