"""The judge: what must hold at every message that leaves us, at every one that the venue gets, and when all is quiet.

The numbers are those of the reliability page. What is judged by is the venue's own books, what went over the wire, and
the record that a trigger keeps inside the database; the services are asked nothing.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from typing import Any, Final

from tests.simulation.line import Connection, Wire, spoken
from tests.simulation.market import INSTRUMENTS, TICKS_AROUND, TICKS_AWAY_MAX, Desk, Market
from tests.simulation.store import Server
from tests.simulation.world import Process, World, seconds
from trisagion.clock import SECOND_NS
from trisagion.gateway.words import (
    NEW_ORDER_SINGLE,
    ORDER_CANCEL_REPLACE_REQUEST,
    ORDER_CANCEL_REQUEST,
    SIDES,
    Fields,
    Tag,
)
from trisagion.ids import IntentKey, cl_ord_id
from trisagion.market.calendar import rest_reason
from trisagion.orders.evidence import NEVER_RECEIVED
from trisagion.orders.types import Side
from trisagion.safety.modes import Mode
from trisagion.services.drive_session import PRESENT_S

AGE_S_MAX: Final = 60.0
"""An order that waited longer than this is too late (reliability, 4.3: staleness)."""
SEND_S_MAX: Final = PRESENT_S
"""How long after its claim a message may leave: a process that was stopped in between must not send it."""
LATE_S_MAX: Final = 2 * PRESENT_S
"""What the clock may have moved since it was read, and since the claim."""
ATTEMPTS: Final = 3
_ORDERS: Final = frozenset({NEW_ORDER_SINGLE, ORDER_CANCEL_REPLACE_REQUEST})
_ACTIONS: Final = _ORDERS | {ORDER_CANCEL_REQUEST}
_MS: Final = 1_000_000


@dataclass(slots=True)
class Flight:
    """What an order or replace under way may add at the venue."""

    symbol: str
    side: Side
    qty: Decimal
    fresh: bool
    connection: Connection | None


@cache
def _rest(minute: int) -> str | None:
    return rest_reason(minute * 60 * SECOND_NS)


class Judge:
    """Watches one world."""

    def __init__(self, world: World, server: Server, market: Market, wire: Wire, desk: Desk) -> None:
        self.world = world
        self.server = server
        self.market = market
        self.wire = wire
        self.desk = desk
        self.account = desk.limits.account
        self.sent: set[str] = set()
        self.fills = 0
        self._flying: dict[str, Flight] = {}
        self._intents: dict[str, IntentKey] = {}
        lowest = Decimal(TICKS_AROUND - TICKS_AWAY_MAX) / 4
        self._lots_max = {
            one.symbol: int(desk.limits.position_notional_max / lowest / one.multiplier) for one in INSTRUMENTS
        }
        wire.sent = self._leaves
        market.looking = self._arrives

    def _violated(self, invariant: str, text: str) -> None:
        self.world.violated(invariant, text)

    # What leaves us.

    def _leaves(self, process: Process, fields: Mapping[int, str], alive: bool) -> None:
        """Look at a message of ours on its way to the wire."""
        kind = fields[Tag.MSG_TYPE]
        if kind not in _ACTIONS:
            return
        name = fields[Tag.CL_ORD_ID]
        if Tag.POSS_DUP_FLAG in fields:
            self._violated("I1", f"{spoken(fields)} is sent again by the engine")
        self._lease(process, fields)
        if kind not in _ORDERS:
            return
        if name in self.sent:
            self._violated("I1", f"{name} is sent a second time")
        self.sent.add(name)
        self._claim(process, name, kind)
        # Also by a clock that was read a moment ago, when the rest may not have begun, or not have ended.
        minutes = {(self.world.now_ns - late_ns) // (60 * SECOND_NS) for late_ns in (0, seconds(LATE_S_MAX))}
        if all(_rest(minute) is not None for minute in minutes):
            self._violated("I6", f"{name} is sent in the rest")
        if alive:
            self._exposed(name, fields)

    def _lease(self, process: Process, fields: Mapping[int, str]) -> None:
        [(token,)] = self.server.rows("SELECT token FROM lease WHERE name = 'session:SIM'")
        if process.driver.token != token:
            self._violated("I6", f"{spoken(fields)} by token {process.driver.token}, the newest is {token}")

    def _claim(self, process: Process, name: str, kind: str) -> None:
        """Hold what is sent against the commit that allowed it."""
        state = "pending_new" if kind == NEW_ORDER_SINGLE else "pending_replace"
        first = name
        if kind != NEW_ORDER_SINGLE:
            found = self.server.rows("SELECT first_id FROM order_link WHERE cl_ord_id = ?", name)
            if not found:
                self._violated("I6", f"{name} is sent before it is committed")
                return
            first = found[0][0]
        claims = self.server.rows(
            "SELECT at_ms, claim.created_ns, mode, flattens, gate, token, until_ms, taker "
            "FROM claim JOIN orders ON claim.cl_ord_id = orders.cl_ord_id "
            "WHERE claim.cl_ord_id = ? AND claim.state = ? ORDER BY claim.rowid DESC LIMIT 1",
            *(first, state),
        )
        if not claims:
            self._violated("I6", f"{name} is sent before {state} is committed")
            return
        at_ms, created_ns, mode, flattens, gate, token, until_ms, taker = claims[0]
        age_s = (at_ms * _MS - created_ns) / SECOND_NS
        waited_s = (self.world.now_ns - at_ms * _MS) / SECOND_NS
        # A symbol that is to be flat becomes so while all else is paused: the most severe word binds.
        if (mode == Mode.PAUSE and not (flattens and taker)) or (mode == Mode.EMERGENCY and not taker):
            self._violated("I6", f"{name} was claimed in mode {mode}")
        if gate and not taker:
            self._violated("I6", f"{name} was claimed at a shut gate")
        if token != process.driver.token or until_ms < at_ms:
            self._violated("I6", f"{name} was claimed under token {token} until {until_ms - at_ms} ms later")
        if kind == NEW_ORDER_SINGLE and age_s > AGE_S_MAX + LATE_S_MAX:
            self._violated("I6", f"{name} was claimed {age_s:.1f} s after it was made")
        if waited_s > SEND_S_MAX:
            self._violated("I6", f"{name} is sent {waited_s:.1f} s after it was claimed")

    # What the venue may do with it.

    def _exposed(self, name: str, fields: Mapping[int, str]) -> None:
        """Add up the worst that may happen at the venue from now on."""
        symbol, side, qty = fields[Tag.SYMBOL], SIDES[fields[Tag.SIDE]], Decimal(fields[Tag.ORDER_QTY])
        books = self.market.venue._engine
        working = [order for order in books.working() if order.symbol == symbol and order.side is side]
        old = fields.get(Tag.ORIG_CL_ORD_ID)
        replaced = next((order for order in working if order.cl_ord_id == old), None)
        if old is not None:
            known = books.status(old)
            qty = max(qty - Decimal(known.cum_lots if known else 0), Decimal(0))
            qty = max(qty - replaced.leaves_lots, Decimal(0)) if replaced else qty
        self._flying = {
            key: one
            for key, one in self._flying.items()
            if one.connection is None or one.connection.out_until_ns >= self.world.now_ns
        }
        self._flying[name] = Flight(symbol, side, qty, old is None, self.wire.current)
        ahead = sum(
            (one.qty for one in self._flying.values() if (one.symbol, one.side) == (symbol, side)),
            sum((Decimal(order.leaves_lots) for order in working), Decimal(0)),
        )
        worst = books.positions(self.account)[symbol] * side.sign + ahead
        most = self._lots_max[symbol] + self._commanded(symbol)
        if worst > most:
            self._violated("I5", f"{name} to {side} {qty} {symbol} may make it {worst}, at most {most}")
        count = len(books.working()) + sum(one.fresh for one in self._flying.values())
        if count > self.desk.limits.orders_max and not self.market.commanded:
            self._violated("I5", f"{count} orders at the venue, at most {self.desk.limits.orders_max}")

    def _commanded(self, symbol: str) -> Decimal:
        """Return how much the venue was told to do wrong; what is taken back counts and may be filled again."""
        books = self.market.venue._engine
        found = [(books.status(one["cl_ord_id"]), Decimal(one["qty"])) for one in self.market.commanded]
        return sum((2 * qty for order, qty in found if order and order.symbol == symbol), Decimal(0))

    def _arrives(self, fields: Fields) -> None:
        """Look at the venue after a message of ours."""
        name = fields.get(Tag.CL_ORD_ID, "")
        self._flying.pop(name, None)
        if fields[Tag.MSG_TYPE] != NEW_ORDER_SINGLE:
            return
        alive = Counter(self.intent_of(order.cl_ord_id) for order in self.market.venue._engine.working())
        intent = self.intent_of(name)
        if alive[intent] > 1 and not self.market.commanded:
            self._violated("I1", f"{alive[intent]} orders of intent {intent} are alive")

    def intent_of(self, name: str) -> IntentKey | None:
        """Return the intent of an order, by any name it ever had."""
        if name not in self._intents:
            for key in self.desk.intents:
                for attempt in range(ATTEMPTS):
                    self._intents[cl_ord_id(self.account, key, attempt)] = key
            for link, first in self.server.rows("SELECT cl_ord_id, first_id FROM order_link"):
                self._intents[link] = self._intents[first]
        return self._intents.get(name)

    # When it is quiet.

    def _alarmed(self) -> set[str]:
        return {subject for (subject,) in self.server.rows("SELECT subject FROM event WHERE kind = 'order.alarm'")}

    def settled(self) -> None:
        """A minute after the last fault nothing hangs: what cannot be known has an alarm."""
        alarmed = self._alarmed()
        for name, state, cancel in self.server.rows(
            "SELECT cl_ord_id, state, cancel_reason FROM orders WHERE state IN "
            "('risk_checked', 'routed', 'pending_new', 'pending_cancel', 'pending_replace', 'unknown') "
            "OR (state IN ('new', 'partially_filled') AND (cancel_reason IS NOT NULL OR wanted_qty IS NOT NULL))"
        ):
            if state != "unknown" or name not in alarmed:
                self._violated("I9", f"{name} is still {state}, to be cancelled: {cancel}")

    def ended(self) -> None:
        """Everything was withdrawn: both sides' books are the same, and closed."""
        books: Any = self.market.venue.snapshot()
        self.fills = len(books["fills"])
        for order in books["working"]:
            self._violated("I6", f"{order['cl_ord_id']} works at the venue in spite of the kill")
        self._orders(books)
        self._bookings(books)
        self._intents_done(books)
        self._liquidity(books)
        self._events()

    def _orders(self, books: Mapping[str, Any]) -> None:
        """I2, I3: every order has ended, as the venue says, or its difference is known: put aside, or never told."""
        alarmed = self._alarmed()
        aside = self.server.rows("SELECT subject FROM event WHERE kind = 'execution.quarantined'")
        quarantined = {self._first(subject) for (subject,) in aside}
        quarantined |= {self._first(fill["cl_ord_id"]) for fill in books["fills"] if self._swallowed(fill)}
        theirs = {order["cl_ord_id"]: order for order in books["orders"]}
        first = dict(self.server.rows("SELECT cl_ord_id, first_id FROM order_link"))
        by_first = {first.get(name, name): order for name, order in theirs.items()}
        ours = self.server.rows("SELECT cl_ord_id, state, cum_qty, reason FROM orders")
        for name in set(by_first) - {row[0] for row in ours}:
            self._violated("I3", f"{name} is at the venue, and not with us")
        for name, state, cum, reason in ours:
            order = by_first.get(name)
            if state == "unknown" and name in alarmed:
                continue
            if state not in {"filled", "canceled", "rejected", "expired", "done_for_day", "denied"}:
                self._violated("I2", f"{name} has not ended: {state}")
            elif order is None:
                if state != "denied" and reason != NEVER_RECEIVED:
                    self._violated("I3", f"{name} is {state} with us, and unknown at the venue")
            elif name in quarantined:
                # Its fills are counted one by one; what was put aside is in neither its state nor its sum.
                continue
            elif (state, Decimal(str(cum))) != (order["state"], Decimal(order["cum_qty"])):
                text = f"{name} is {state} {cum} with us, {order['state']} {order['cum_qty']} at the venue"
                self._violated("I3", text)

    def _bookings(self, books: Mapping[str, Any]) -> None:
        """I3, I7, I8: each fill booked once, each bust taken back once, entries sum to zero, positions equal."""
        quarantined = " ".join(
            text for (text,) in self.server.rows("SELECT detail FROM event WHERE kind = 'execution.quarantined'")
        )
        fills = {fill["exec_id"]: fill for fill in books["fills"]}
        expected = Counter(["opening"])
        positions = {symbol: Decimal(held) for symbol, held in books["positions"].items()}
        for name, fill in fills.items():
            if f" exec_id='{name}'" in quarantined or self._swallowed(fill):
                before = fills[fill["exec_ref"]]["qty"] if "exec_ref" in fill else "0"
                sign = 1 if fill["side"] == Side.BUY else -1
                positions[fill["symbol"]] -= sign * (Decimal(fill["qty"]) - Decimal(before))
                continue
            if fill.get("exec_type") != "trade_cancel":
                expected[f"SIM/{name}"] += 1
            if "exec_ref" in fill:
                expected[f"SIM/{fill['exec_ref']}/undo"] += 1
        entries = {entry for (entry,) in self.server.rows("SELECT DISTINCT entry FROM posting")}
        for entry in sorted(entries ^ set(expected)):
            self._violated("I8", f"{entry} is {'booked, and not at the venue' if entry in entries else 'not booked'}")
        sums: Counter[str] = Counter()
        held: Counter[str] = Counter()
        for entry, symbol, amount, qty in self.server.rows("SELECT entry, symbol, amount, qty FROM posting"):
            sums[entry] += Decimal(str(amount))  # type: ignore[assignment]
            held[symbol] += Decimal(str(qty))  # type: ignore[assignment]
        for entry, amount in sums.items():
            if amount:
                self._violated("I7", f"{entry} sums to {amount}")
        ours = {
            symbol: Decimal(str(qty)) for symbol, qty in self.server.rows("SELECT symbol, qty FROM ledger_position")
        }
        for symbol, theirs in positions.items():
            if not ours.get(symbol, Decimal(0)) == held[symbol] == theirs:
                text = f"{symbol}: position {ours.get(symbol)}, postings {held[symbol]}, venue {theirs}"
                self._violated("I3", text)

    def _swallowed(self, fill: Mapping[str, Any]) -> bool:
        """Tell whether the venue never told us of a fill; then the order has an alarm, if it was asked about at all.

        An order that had ended is not asked about again: what a venue does to it then, and forgets to say, is seen in
        the position alone.
        """
        # It may have been booked by a process that died with the message unprocessed, or told again later.
        heard = self.server.rows("SELECT 1 FROM execution WHERE exec_id = ?", fill["exec_id"])
        if heard or fill["exec_id"] not in self.wire.swallowed:
            return False
        name = self._first(fill["cl_ord_id"])
        told = any(self._first(one["cl_ord_id"]) == name for one in self.market.commanded)
        if name not in self._alarmed() and not told:
            self._violated("I3", f"{fill['exec_id']} of {name} was never told, and nobody knows")
        return True

    def _first(self, name: str) -> str:
        """Return the first of an order's names."""
        found = self.server.rows("SELECT first_id FROM order_link WHERE cl_ord_id = ?", name)
        return str(found[0][0]) if found else name

    def _intents_done(self, books: Mapping[str, Any]) -> None:
        """I1: no intent was filled beyond what was ever wanted of it, but by what the venue was told to do."""
        filled: Counter[IntentKey | None] = Counter()
        for order in books["orders"]:
            filled[self.intent_of(order["cl_ord_id"])] += Decimal(order["cum_qty"])  # type: ignore[assignment]
        extra: Counter[IntentKey | None] = Counter()
        for one in self.market.commanded:
            if one["kind"] == "fill":
                extra[self.intent_of(one["cl_ord_id"])] += Decimal(one["qty"])  # type: ignore[assignment]
        for intent, qty in filled.items():
            if intent is None:
                self._violated("I1", "the venue has an order of no intent of ours")
                continue
            wanted = max(self.desk.intents[intent].qty, self.desk.amended.get(intent, Decimal(0)))
            if qty > wanted + extra[intent]:
                self._violated("I1", f"{intent}: filled {qty}, wanted {wanted}")

    def _liquidity(self, books: Mapping[str, Any]) -> None:
        """I4: nothing takes that was to make, but by command, and then the gate was shut and somebody told."""
        takers = dict(self.server.rows("SELECT cl_ord_id, taker FROM orders"))
        first = dict(self.server.rows("SELECT cl_ord_id, first_id FROM order_link"))
        told = {one["cl_ord_id"] for one in self.market.commanded if one["kind"] == "fill"}
        alarms = {
            subject
            for (subject,) in self.server.rows(
                "SELECT subject FROM event WHERE kind = 'order.alarm' AND detail LIKE '%TAKER_FILL%'"
            )
        }
        shut = {row[0] for row in self.server.rows("SELECT reason FROM gate WHERE shut")}
        for fill in books["fills"]:
            name = first.get(fill["cl_ord_id"], fill["cl_ord_id"])
            if fill["liquidity"] != "taker" or takers.get(name) or fill.get("exec_type") == "trade_cancel":
                continue
            if not {fill["cl_ord_id"], name} & told:
                self._violated("I4", f"{fill['exec_id']} of {name} took liquidity")
            if (name not in alarms or not shut) and not self._swallowed(fill):
                self._violated("I4", f"{fill['exec_id']} of {name} took liquidity by command, and nobody heard of it")

    def _events(self) -> None:
        """I7: what is denied, shut, opened, engaged and released has an event of its own."""
        by_people = "SELECT COUNT(*) FROM control WHERE operator <> 'platform' AND mode"
        for what, rows, kind in (
            ("denied orders", "SELECT COUNT(*) FROM orders WHERE state = 'denied'", "order.denied"),
            ("shut gates", "SELECT COUNT(*) FROM gate WHERE shut", "gate.shut"),
            ("opened gates", "SELECT COUNT(*) FROM gate WHERE NOT shut", "gate.opened"),
            ("engaged modes", f"{by_people} <> 'normal'", "control.engaged"),
            ("released modes", f"{by_people} = 'normal'", "control.released"),
        ):
            [(effects,)] = self.server.rows(rows)
            [(events,)] = self.server.rows("SELECT COUNT(*) FROM event WHERE kind = ?", kind)
            if effects != events:
                self._violated("I7", f"{effects} {what}, and {events} events {kind}")
