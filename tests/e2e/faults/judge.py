"""The judge: our books against the venue's own, each difference a sentence.

It holds what reliability calls I1 (an intent is at the venue once, and filled at most as far as it was wanted), I2
(every order has an end), I3 (orders, fills and positions are the venue's), I4 (no maker-only order took), I6 as far as
it is recorded (nothing was sent later than an order may be, or after it was denied) and I8 (each fill is booked once,
and what is booked sums to zero).
"""

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import sqlalchemy as sa

from trisagion.adapters.db import SqlDatabase, tables
from trisagion.adapters.db.engine import Unit
from trisagion.clock import SECOND_NS
from trisagion.gateway.words import NEW_ORDER_SINGLE, ORDER_CANCEL_REPLACE_REQUEST, Tag, instant
from trisagion.ids import ClOrdId, link_cl_ord_id
from trisagion.orders.evidence import NEVER_RECEIVED
from trisagion.orders.state import TERMINAL, OrderState
from trisagion.orders.types import ExecType, Liquidity
from trisagion.simulate.tws_words import PLACE_ORDER

VALID_NS: Final = 60 * SECOND_NS
"""How long after its making an order may be sent: the last look before the socket."""

ONCE: Final = frozenset({NEW_ORDER_SINGLE, ORDER_CANCEL_REPLACE_REQUEST})
"""Messages that the venue may get once for each ClOrdID; a cancel may be asked for again after a status."""

FILLS: Final = (ExecType.TRADE, ExecType.TRADE_CORRECT)
ORDER_REF: Final = 26
"""Where a placeOrder of server versions 157 to 178 has its orderRef."""

_TRACEBACK: Final = re.compile(r"^Traceback \(most recent call last\):$", re.MULTILINE)
_RAISED: Final = re.compile(r"^\S.*$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Books:
    """Our own account of it, as rows of the database's tables."""

    orders: Sequence[Any]
    executions: Sequence[Any]
    positions: Mapping[str, Decimal]
    postings: Sequence[tuple[str, Decimal]]


def books(database: SqlDatabase) -> Books:
    """Read our books, in one snapshot."""
    with database.snapshot() as unit:
        return read_books(unit)


def read_books(unit: Unit) -> Books:
    """Read our books in a transaction that is open."""
    trades = sa.select(tables.execution).where(tables.execution.c.exec_type.in_(FILLS))
    rows = unit.session.rows
    positions = rows(sa.select(tables.ledger_position.c.symbol, tables.ledger_position.c.qty))
    postings = rows(sa.select(tables.posting.c.entry, tables.posting.c.amount))
    return Books(
        rows(sa.select(tables.orders)),
        rows(trades),
        {symbol: qty for symbol, qty in positions if qty},
        [(entry, amount) for entry, amount in postings],
    )


def violations(ours: Books, venue: Mapping[str, Any]) -> list[str]:
    """Hold our books against the venue's at rest: nothing doubled, nothing lost, each fill booked once."""
    return [
        *_ends(ours.orders, venue),
        *_orders(ours.orders, venue["orders"]),
        *_intents(ours.orders),
        *_fills(ours, venue["fills"]),
        *_positions(ours.positions, venue["positions"]),
        *_postings(ours.postings, venue["fills"]),
    ]


def _ends(orders: Sequence[Any], venue: Mapping[str, Any]) -> Iterator[str]:
    """I2: nothing is left open, on either side."""
    for order in orders:
        if order.state not in TERMINAL:
            yield f"I2: expected an end of order {order.cl_ord_id}, found {order.state}"
    for row in venue["working"]:
        yield f"I2: expected nothing to work at the venue, found {row['cl_ord_id']}"


def _orders(orders: Sequence[Any], theirs: Sequence[Mapping[str, str]]) -> Iterator[str]:
    """I1 and I3: an order is at the venue once, as we have it, under the last name it was given."""
    for name, count in Counter(row["cl_ord_id"] for row in theirs).items():
        if count > 1:
            yield f"I1: expected one order {name} at the venue, found {count}"
    at_venue = {row["cl_ord_id"]: row for row in theirs}
    known = {link_cl_ord_id(order.cl_ord_id, order.link): order for order in orders}
    for name in sorted(set(at_venue) - set(known)):
        yield f"I3: expected an order of ours, found {name} at the venue, which we do not know"
    for name, order in known.items():
        row = at_venue.get(name)
        if row is None:
            never_sent = order.state == OrderState.DENIED
            if not never_sent and (order.state, order.reason) != (OrderState.REJECTED, NEVER_RECEIVED):
                yield f"I3: expected order {name}, {order.state}, at the venue, found it unknown there"
            elif order.cum_qty:
                yield f"I3: expected no fill of order {name}, which was never there, found {order.cum_qty}"
        elif (order.state, order.cum_qty) != (row["state"], Decimal(row["cum_qty"])):
            yield (
                f"I3: expected order {name} as the venue has it, {row['state']} with {row['cum_qty']} filled, found "
                f"{order.state} with {order.cum_qty}"
            )


def _intents(orders: Sequence[Any]) -> Iterator[str]:
    """I1: attempts at an intent follow each other, and fill no more than it wanted."""
    intents: dict[str, list[Any]] = {}
    for order in orders:
        intents.setdefault(order.intent, []).append(order)
    for intent, attempts in intents.items():
        wanted = max(order.qty for order in attempts if order.attempt == 0)
        filled = sum(order.cum_qty for order in attempts)
        taken = [order.cl_ord_id for order in attempts if order.state != OrderState.REJECTED]
        if filled > wanted:
            yield f"I1: expected intent {intent} to fill {wanted} at most, found {filled}"
        if len(taken) > 1:
            yield f"I1: expected one order of intent {intent} that was not refused, found {', '.join(taken)}"


def _fills(ours: Books, fills: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """I3, I4 and I8: the same fills to the last digit, each once; a maker's were made, not taken."""
    booked = Counter(
        (e.exec_id, e.cl_ord_id, e.side, e.last_qty, e.last_px, e.fee, e.liquidity, e.happened_ns)
        for e in ours.executions
    )
    filled = Counter(
        (
            *(f[key] for key in ("exec_id", "cl_ord_id", "side")),
            *(Decimal(f[key]) for key in ("qty", "price", "fee")),
            *(f[key] for key in ("liquidity", "happened_ns")),
        )
        for f in fills
    )
    for exec_id, name, *said in (filled - booked).elements():
        yield f"I8: expected fill {exec_id} of {name} to be recorded as the venue says, {_said(said)}, found it missing"
    for exec_id, name, *said in (booked - filled).elements():
        yield f"I8: expected the venue to know what is recorded of {name}, {exec_id} {_said(said)}, found it does not"
    makers = {link_cl_ord_id(o.cl_ord_id, link) for o in ours.orders if not o.taker for link in range(o.links + 1)}
    for fill in fills:
        if fill["cl_ord_id"] in makers and fill["liquidity"] != Liquidity.MAKER:
            yield f"I4: expected order {fill['cl_ord_id']} to make, found that it took in {fill['exec_id']}"


def _said(parts: Iterable[object]) -> str:
    return " ".join(map(str, parts))


def _positions(ours: Mapping[str, Decimal], theirs: Mapping[str, str]) -> Iterator[str]:
    """I3: the same positions."""
    held = {symbol: Decimal(qty) for symbol, qty in theirs.items() if Decimal(qty)}
    for symbol in sorted({*ours, *held}):
        if ours.get(symbol, 0) != held.get(symbol, 0):
            yield f"I3: expected the venue's position of {held.get(symbol, 0)} {symbol}, found {ours.get(symbol, 0)}"


def _postings(postings: Iterable[tuple[str, Decimal]], fills: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """I8: an entry for each fill beside the opening, one more that undoes what was corrected; each sums to zero."""
    sums: dict[str, Decimal] = {}
    for entry, amount in postings:
        sums[entry] = sums.get(entry, Decimal(0)) + amount
    for entry, total in sums.items():
        if total:
            yield f"I8: expected entry {entry} to sum to zero, found {total}"
    entries = len(fills) + sum("exec_ref" in fill for fill in fills) + 1
    if len(sums) != entries:
        yield f"I8: expected {entries} entries of {len(fills)} fills and the opening, found {len(sums)}"


def sent(ours: Books, journal: Path) -> list[str]:
    """I1 and I6: what the venue got of us came once for each name, in time, and never of an order that was denied."""
    known = {link_cl_ord_id(o.cl_ord_id, link): o for o in ours.orders for link in range(o.links + 1)}
    found: list[str] = []
    times: Counter[tuple[str, str]] = Counter()
    for line in journal.read_text(encoding="utf-8").splitlines()[1:]:
        message = json.loads(line).get("message", {})
        asked = _placed(message) if isinstance(message, list) else _asked(message)
        if asked is None:
            continue
        kind, name, at_ns = asked
        times[kind, name] += 1
        order = known.get(ClOrdId(name))
        if kind == ORDER_CANCEL_REPLACE_REQUEST or order is None:
            continue
        late_ns = 0 if at_ns is None else at_ns - order.created_ns
        if late_ns > VALID_NS:
            found.append(f"I6: expected order {name} to be sent within 60 s, found {late_ns / SECOND_NS:.1f} s")
        if order.state == OrderState.DENIED:
            found.append(f"I6: expected order {name}, which was denied, never to be sent, found it at the venue")
    found += [f"I1: expected message {kind} {name} once, found {n} times" for (kind, name), n in times.items() if n > 1]
    return found


def _asked(message: Mapping[str, str]) -> tuple[str, str, int | None] | None:
    """Return what a FIX message asks for, under which name and when; None where it may come again."""
    fields = {int(tag): value for tag, value in message.items()}
    if fields.get(Tag.MSG_TYPE) not in ONCE:
        return None
    return fields[Tag.MSG_TYPE], fields[Tag.CL_ORD_ID], instant(fields, Tag.TRANSACT_TIME)


def _placed(message: Sequence[str]) -> tuple[str, str, None] | None:
    """Return what a message to a TWS asks for, and under which orderRef; the protocol dates nothing."""
    return (PLACE_ORDER, message[ORDER_REF], None) if message[0] == PLACE_ORDER else None


def tracebacks(logs: Path, expected: Sequence[str] = ()) -> list[str]:
    """Return what was raised in the logs of a folder and is not expected, a sentence each; `expected` are patterns."""
    found = []
    for path in sorted(logs.glob("*.log")):
        text = path.read_text(encoding="utf-8", errors="replace")
        for match in _TRACEBACK.finditer(text):
            raised = _RAISED.search(text, match.end() + 1)
            what = raised[0] if raised else "the end of the log"
            if not any(re.search(pattern, what) for pattern in expected):
                found.append(f"{path.name}: expected no exception, found {what}")
    return found
