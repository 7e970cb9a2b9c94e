"""Tables orders (the outbox), order_link (its further ClOrdIDs) and execution (the inbox)."""

from collections import Counter
from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Any, Final

import sqlalchemy as sa

from trisagion.adapters.db import tables as t
from trisagion.adapters.db.session import Params, Session, insert_new, insert_once, params
from trisagion.errors import StaleOwner, UnreadableRow, quoted
from trisagion.ids import ClOrdId, IntentKey
from trisagion.orders.rejects import Reject
from trisagion.orders.state import LIVE, UNSENT, WORKING, OrderState
from trisagion.orders.types import ExecType, ExecutionReport, Liquidity, Order, OrderLink, Side, leaves_of
from trisagion.risk.load import NOT_SENT, Load, better
from trisagion.units import WIDE, Price, Quantity, round_money

_NAME_LENGTH_MAX: Final = 128
"""As the columns have it; SQLite does not hold anybody to it."""

_SIDES: Final = [side.value for side in Side]
_STATES: Final = frozenset(state.value for state in OrderState)

_ADD: Final = insert_once(t.orders)
_ORDER: Final = sa.select(t.orders).where(t.orders.c.cl_ord_id == sa.bindparam("cl_ord_id"))
_ORDER_LOCKED: Final = _ORDER.with_for_update()
_SAVE: Final = (
    sa.update(t.orders)
    .where(t.orders.c.cl_ord_id == sa.bindparam("its_id"), t.orders.c.version == sa.bindparam("its_version"))
    .values({column.name: sa.bindparam(column.name) for column in t.orders.c if not column.primary_key})
)
_IN_STATES: Final = (
    sa.select(t.orders)
    .where(t.orders.c.state.in_(sa.bindparam("states", expanding=True)))
    .order_by(t.orders.c.created_ns, t.orders.c.cl_ord_id)
)
_OWN: Final = sa.case(
    (
        t.orders.c.intent.in_(sa.bindparam("intents", expanding=True)) & t.orders.c.state.in_(sorted(NOT_SENT)),
        t.orders.c.intent,
    )
)
_ALIKE: Final = tuple(
    t.orders.c[name] for name in ("symbol", "side", "qty", "cum_qty", "wanted_qty", "price", "wanted_price")
)
_LOADS: Final = (
    sa.select(*_ALIKE, sa.func.count(), _OWN).where(t.orders.c.state.in_(sorted(LIVE))).group_by(*_ALIKE, _OWN)
)
"""Grouped and not summed: SQLite has no exact decimals to sum."""
_OUTBOX: Final = (
    sa.select(t.orders)
    .where(
        t.orders.c.session == sa.bindparam("session"),
        sa.or_(
            t.orders.c.state == OrderState.ROUTED,
            t.orders.c.state.in_(sorted(WORKING))
            & (t.orders.c.cancel_reason.is_not(None) | t.orders.c.wanted_qty.is_not(None)),
        ),
    )
    .order_by(t.orders.c.state == OrderState.ROUTED, t.orders.c.created_ns, t.orders.c.cl_ord_id)
    .limit(sa.bindparam("limit"))
)
_LOCKED: Final = (
    sa.select(t.orders)
    .where(t.orders.c.cl_ord_id.in_(sa.bindparam("names", expanding=True)))
    .order_by(t.orders.c.created_ns, t.orders.c.cl_ord_id)
    # A server may look through all rows for these, and would wait for whoever holds any of them, dead or alive.
    .with_for_update(skip_locked=True)
)
_ASK: Final = (
    sa.update(t.orders)
    .where(t.orders.c.cl_ord_id.in_(sa.bindparam("names", expanding=True)))
    .values(
        state=sa.bindparam("asked"),
        updated_ns=sa.case(
            (t.orders.c.updated_ns > sa.bindparam("now_ns"), t.orders.c.updated_ns), else_=sa.bindparam("now_ns")
        ),
        version=t.orders.c.version + 1,
        wanted_qty=None,
        wanted_price=None,
    )
)
_WAITING: Final = (
    sa.select(t.orders)
    .where(t.orders.c.state == OrderState.RISK_CHECKED, t.orders.c.attempt == 0)
    .order_by(t.orders.c.created_ns, t.orders.c.cl_ord_id)
    .limit(sa.bindparam("limit"))
    .with_for_update(skip_locked=True)
)
_ROUTE: Final = (
    sa.update(t.orders)
    .where(t.orders.c.cl_ord_id.in_(sa.bindparam("names", expanding=True)))
    .values(
        state=OrderState.ROUTED,
        session=sa.bindparam("its_session"),
        price=sa.bindparam("its_price"),
        updated_ns=sa.bindparam("now_ns"),
        version=t.orders.c.version + 1,
    )
)
_IDS_IN_NO_STATE: Final = sa.select(t.orders.c.cl_ord_id, t.orders.c.state).where(
    t.orders.c.state.not_in(sa.bindparam("states", sorted(OrderState), expanding=True))
)
_SET_ASIDE: Final = (
    sa.update(t.orders)
    .where(t.orders.c.cl_ord_id == sa.bindparam("its_id"))
    .values({name: sa.bindparam(name) for name in ("state", "reason", "updated_ns")})
)
_ATTEMPTS: Final = sa.select(t.orders).where(t.orders.c.intent == sa.bindparam("intent")).order_by(t.orders.c.attempt)
_ADD_EXECUTION: Final = insert_new(t.execution)
_ADD_LINK: Final = insert_once(t.order_link)
_LINK: Final = sa.select(t.order_link).where(t.order_link.c.cl_ord_id == sa.bindparam("cl_ord_id"))
_REPORTED: Final = tuple(column.name for column in t.execution.c if column.name not in {"seq", "learned_ns"})
_EXECUTION: Final = sa.select(*(t.execution.c[name] for name in _REPORTED)).where(
    t.execution.c.venue == sa.bindparam("venue"), t.execution.c.exec_id == sa.bindparam("exec_id")
)
_EXECUTION_COUNT: Final = (
    sa.select(sa.func.count()).select_from(t.execution).where(t.execution.c.venue == sa.bindparam("venue"))
)


class Orders:
    """`ports.OrderStore`."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def add(self, order: Order) -> bool:
        """Insert an order; False when its id is there already."""
        return self._session.write(_ADD, _params(order)) == 1

    def order(self, cl_ord_id: ClOrdId) -> Order | None:
        """Return an order, locked against other writers until the transaction ends (a snapshot locks nothing)."""
        statement = _ORDER_LOCKED if self._session.writable else _ORDER
        row = self._session.row(statement, {"cl_ord_id": cl_ord_id})
        return None if row is None else read_order(row)

    def save(self, order: Order) -> None:
        """Replace the order whose version is `order.version - 1`; `StaleOwner` when another writer was first."""
        values = _params(order)
        values |= {"its_id": values.pop("cl_ord_id"), "its_version": order.version - 1}
        if self._session.write(_SAVE, values) != 1:
            raise StaleOwner(f"order {order.cl_ord_id}: version {order.version - 1} is not in the database any more")

    def in_states(self, states: frozenset[OrderState]) -> Sequence[Order]:
        """Return the orders in any of the states, in order of creation, then id.

        One that cannot be read and was never sent is left out, so that the others go on: `set_aside` denies it. One
        that the venue may know is `StateError`: what it counts against the limits is not known.
        """
        return self._readable(_IN_STATES, {"states": sorted(states)})

    def set_aside(self, now_ns: int) -> Sequence[tuple[str, str]]:
        """Deny the orders that cannot be read and were never sent; return each with what is wrong with it.

        One whose state is no word of ours becomes UNKNOWN: the venue is asked about it.
        """
        aside = [
            (name, OrderState.DENIED, str(read))
            for name, _ in self._names(_IN_STATES, {"states": sorted(UNSENT)})
            if isinstance(read := self._read(name), UnreadableRow)
        ]
        aside += [
            (name, OrderState.UNKNOWN, str(_unreadable(name, "state", "a word of ours", state)))
            for name, state in self._session.rows(_IDS_IN_NO_STATE)
        ]
        for name, state, why in aside:
            self._session.write(_SET_ASIDE, {"its_id": name, "state": state, "reason": why, "updated_ns": now_ns})
        return [(name, why) for name, _, why in aside]

    def _readable(self, query: sa.Select[Any], parameters: Params) -> list[Order]:
        try:
            return [read_order(row) for row in self._session.rows(query, parameters)]
        except UnreadableRow:
            found = [(state, self._read(name)) for name, state in self._names(query, parameters)]
            for state, order in found:
                if isinstance(order, UnreadableRow) and state not in UNSENT:
                    raise order from None
            return [order for _, order in found if isinstance(order, Order)]

    def _names(self, query: sa.Select[Any], parameters: Params) -> Sequence[tuple[str, str]]:
        which = query.with_only_columns(t.orders.c.cl_ord_id, t.orders.c.state, maintain_column_froms=True)
        return [(row.cl_ord_id, row.state) for row in self._session.rows(which, parameters)]

    def _read(self, name: str) -> Order | UnreadableRow | None:
        try:
            row = self._session.row(_ORDER, {"cl_ord_id": name})
            return None if row is None else read_order(row)
        except UnreadableRow as error:
            told = str(error)
            return error if told.startswith("orders ") else UnreadableRow(f"orders {quoted(name)}: {told}")

    def loads(self, intents: Sequence[IntentKey]) -> tuple[Load, dict[IntentKey, Load]]:
        """Return what all live orders amount to, and for each of some intents its part that was not sent yet."""
        try:
            rows = [(own, _beside(*row)) for *row, own in self._session.rows(_LOADS, {"intents": intents})]
        except (UnreadableRow, ValueError):
            # Read one by one, what cannot be read says whose it is.
            rows = [
                (
                    o.intent if o.intent in intents and o.state in NOT_SENT else None,
                    ((o.symbol, o.side), o.leaves_qty, (o.price, o.wanted_price), 1),
                )
                for o in self.in_states(LIVE)
            ]
        counts = Counter[IntentKey | None]()
        leaves: dict[IntentKey | None, dict[tuple[str, Side], Quantity]] = {key: {} for key in (None, *intents)}
        best: dict[tuple[str, Side], Price] = {}
        for own, (which, left, prices, alike) in rows:
            for price in prices:
                if price is not None:
                    best[which] = better(which[1], price, best.get(which))
            for key in {None, own}:
                counts[key] += alike
                before = leaves[key].get(which, Decimal(0))
                leaves[key][which] = Quantity(WIDE.add(before, WIDE.multiply(left, alike)))
        return Load(counts[None], leaves[None], best), {key: Load(counts[key], leaves[key]) for key in intents}

    def outbox(self, session: str, count: int) -> Sequence[Order]:
        """Return what a session has to send: working orders to be cancelled or replaced, then routed ones.

        Each in order of creation, then id, `count` at most.
        """
        return self._readable(_OUTBOX, {"session": session, "limit": count})

    def locked(self, names: Sequence[ClOrdId]) -> Sequence[Order]:
        """Return the orders of some ids in order of creation, locked against other writers as `order` does.

        Without those that another transaction holds.
        """
        return self._readable(_LOCKED, {"names": names})

    def ask(self, names: Sequence[ClOrdId], state: OrderState, now_ns: int) -> None:
        """Move orders that this transaction has locked to a state, in one write.

        With the next version, an instant of at least `now_ns`, and nothing wanted of them any more.
        """
        if names:
            changed = self._session.write(_ASK, {"names": names, "asked": state.value, "now_ns": now_ns})
            assert changed == len(names), (changed, names)

    def waiting(self, count: int) -> Sequence[Order]:
        """Return the oldest `count` first attempts that wait for the gateway, locked as `order` does.

        Without those that another transaction holds. Of equal age: in order of id.
        """
        return self._readable(_WAITING, {"limit": count})

    def route(self, names: Sequence[ClOrdId], session: str, price: Price, now_ns: int) -> None:
        """Move orders that this transaction has locked to ROUTED, to a session at a price, in one write."""
        values = {"names": names, "its_session": session, "its_price": price, "now_ns": now_ns}
        changed = self._session.write(_ROUTE, values)
        assert changed == len(names), (changed, names)

    def attempts(self, intent: IntentKey) -> Sequence[Order]:
        """Return the orders of an intent in order of attempt."""
        return [read_order(row) for row in self._session.rows(_ATTEMPTS, {"intent": intent})]

    def add_execution(self, report: ExecutionReport, learned_ns: int) -> bool:
        """Record an execution report by (venue, exec_id); False when it is there already: then it must not be booked.

        A report without an exec_id (a cancel reject) is news each time it comes: True, whatever was recorded before.
        """
        values = params(report) | {"learned_ns": learned_ns, "avg_px": round_money(report.avg_px)}
        del values["price"]
        if report.exec_id is None:
            values["exec_id"] = f"~{report.cl_ord_id}@{learned_ns}"
        return self._session.add(_ADD_EXECUTION, values) == 1 or report.exec_id is None

    def execution(self, venue: str, exec_id: str) -> ExecutionReport | None:
        """Return a recorded execution report."""
        row = self._session.row(_EXECUTION, {"venue": venue, "exec_id": exec_id})
        return None if row is None else read_execution(row)

    def add_link(self, link: OrderLink) -> None:
        """Record a ClOrdID that a replace gives to an order; the same again changes nothing."""
        self._session.write(_ADD_LINK, params(link))

    def link(self, cl_ord_id: ClOrdId) -> OrderLink | None:
        """Return what a ClOrdID beyond an order's first one belongs to."""
        row = self._session.row(_LINK, {"cl_ord_id": cl_ord_id})
        return None if row is None else OrderLink(*row)

    def execution_count(self, venue: str) -> int:
        """Return how many execution reports of a venue were recorded."""
        count: int = self._session.scalar(_EXECUTION_COUNT, {"venue": venue})
        return count


def _beside(
    symbol: str,
    side: str,
    qty: Quantity,
    cum_qty: Quantity,
    wanted_qty: Quantity | None,
    price: Price | None,
    wanted_price: Price | None,
    alike: int,
) -> tuple[tuple[str, Side], Quantity, tuple[Price | None, Price | None], int]:
    if qty <= 0 or cum_qty < 0 or (wanted_qty is not None and wanted_qty <= 0):
        raise ValueError(f"expected quantities above 0, found {qty}, {cum_qty}, {wanted_qty}")
    return (symbol, Side(side)), leaves_of(qty, cum_qty, wanted_qty), (price, wanted_price), alike


def _params(order: Order) -> dict[str, Any]:
    # The average is the venue's quotient and may have any number of places; prices and quantities must fit as they are.
    return params(order) | {"avg_px": round_money(order.avg_px)}


def read_order(row: Sequence[Any]) -> Order:
    """Read the columns of table orders; `UnreadableRow` names row and column of what none of ours writes."""
    cl_ord_id, intent, cycle, attempt, symbol, side, qty, taker, state, *rest = row
    if side not in _SIDES:
        raise _unreadable(cl_ord_id, "side", " or ".join(_SIDES), side)
    if state not in _STATES:
        raise _unreadable(cl_ord_id, "state", "a word of ours", state)
    order = Order(cl_ord_id, intent, cycle, attempt, symbol, Side(side), qty, taker, OrderState(state), *rest)
    for column, expected, found in _impossible(order):
        raise _unreadable(cl_ord_id, column, expected, found)
    return order


def _unreadable(name: object, column: str, expected: str, found: object) -> UnreadableRow:
    return UnreadableRow(f"orders {quoted(name)}: {column}: expected {expected}, found {quoted(found)}")


def _impossible(order: Order) -> Iterator[tuple[str, str, object]]:
    """Yield column, what is expected and what is found, for each value that no order of ours has."""
    for column in ("cl_ord_id", "symbol", "session"):
        text = getattr(order, column)
        if text is not None and not (isinstance(text, str) and text.isascii() and text.isprintable()):
            yield column, "printable ASCII", text
        elif text is not None and not 0 < len(text) <= _NAME_LENGTH_MAX:
            yield column, f"1 to {_NAME_LENGTH_MAX} characters", text
    for column in ("attempt", "created_ns", "updated_ns", "version", "link", "links"):
        number = getattr(order, column)
        if type(number) is not int or number < 0:
            yield column, "a whole number from 0", number
    for column in ("qty", "price", "wanted_qty", "wanted_price"):
        amount = getattr(order, column)
        if amount is not None and amount <= 0:
            yield column, "above 0", amount
    if order.cum_qty < Decimal(0):
        yield "cum_qty", "0 or more", order.cum_qty
    if order.state is OrderState.ROUTED and order.price is None:
        yield "price", "a price of what is routed", order.price


def read_execution(row: Sequence[Any]) -> ExecutionReport:
    """Read the columns of table execution but its first and its last."""
    values = dict(zip(_REPORTED, row, strict=True))
    liquidity, reject = values["liquidity"], values["reject"]
    values |= {
        "exec_type": ExecType(values["exec_type"]),
        "ord_status": OrderState(values["ord_status"]),
        "side": Side(values["side"]),
        "liquidity": None if liquidity is None else Liquidity(liquidity),
        "reject": None if reject is None else Reject(reject),
    }
    return ExecutionReport(**values)
