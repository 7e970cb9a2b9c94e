"""The judge of a long life: beside what each message must hold to, what must be so whenever nothing is under way.

What is judged by is the venue's own books, the database, the rest calendar and what people planted. Numbers are summed
and crossings found here again, in words of their own; no service is asked.

    L1  ledger and venue agree, but for what somebody planted or the line swallowed; that becomes an incident
    L2  each crossing ends one epoch, by all steps, once and in order; no epoch ends without one
    L3  while an epoch ends, nothing is wanted but to be flat
    L4  nothing new is sent in the rest, nor in the minute before it
    L5  nothing works at the venue in the rest
    L6  an intent has one order at a time, of one side, and fills no more than was wanted; it has its decision
    L7  a protective stop only ratchets, and so does what was scaled out
    L8  what has to go is gone after a number of healthy cycles
    L9  in the calm every slot has its cycle and comes to rest; a slot that passed without one is told, once
    L10 each planted disagreement opens an incident, and in the calm nothing else does
"""

from collections import Counter
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any, Final

from tests.simulation.judge import LATE_S_MAX, Judge
from tests.simulation.line import Wire, spoken
from tests.simulation.office import CLEARER, HAND, LongMarket, Office
from tests.simulation.store import Server
from tests.simulation.world import Process, World, seconds
from trisagion.clock import SECOND_NS, iso
from trisagion.gateway.words import NEW_ORDER_SINGLE, ORDER_CANCEL_REPLACE_REQUEST, Tag
from trisagion.ids import IntentKey
from trisagion.market.calendar import closing_reason, rest_reason

SLOT_NS: Final = 600 * SECOND_NS
STEPS: Final = ("Detected", "EpochClosed", "RunsExited", "Flattening", "Reconciled", "Rebased", "Done")
GONE_AFTER: Final = 12
"""Healthy cycles within which a maker gets rid of a position: two hours of a market that prints each twenty seconds."""
TOLD_AFTER_NS: Final = 2 * SLOT_NS
LIE_NS: Final = 2 * SLOT_NS


class Chronicle(Judge):
    """Watches one life."""

    def __init__(
        self, world: World, server: Server, market: LongMarket, wire: Wire, office: Office, threshold: Decimal
    ) -> None:
        super().__init__(world, server, market, wire, office)
        self.office = office
        self.threshold = threshold
        self.calm_since_ns = world.now_ns
        self._apart: dict[str, int] = {}
        self._causes = 0
        self._aside = 0
        self._event_seq = 0
        self._stops: dict[str, Any] = {}
        self._going: Counter[str] = Counter()
        self._sample_ns = 0
        self._epoch = 1
        self._order_seq = 0
        self._slot_ns = world.now_ns - world.now_ns % SLOT_NS
        self._incident_seq = 0

    def intent_of(self, name: str) -> IntentKey | None:
        """Return the intent of an order, by any name it ever had."""
        if name not in self._intents:
            found = self.server.rows(
                "SELECT intent FROM orders WHERE cl_ord_id = COALESCE("
                "(SELECT first_id FROM order_link WHERE cl_ord_id = ?), ?)",
                *(name, name),
            )
            if not found:
                return None
            self._intents[name] = found[0][0]
        return self._intents[name]

    def _leaves(self, process: Process, fields: Mapping[int, str], alive: bool) -> None:
        super()._leaves(process, fields, alive)
        if fields[Tag.MSG_TYPE] in {NEW_ORDER_SINGLE, ORDER_CANCEL_REPLACE_REQUEST}:
            why = self._in(closing_reason)
            if why is not None:
                self._violated("L4", f"{spoken(fields)} is sent when {why} is, or begins within a minute")

    def _in(self, reason: Callable[[int], str | None]) -> str | None:
        """Say why it is time of rest, or of the minute before one, also by a clock that was read a moment ago."""
        return reason(self.world.now_ns) and reason(self.world.now_ns - seconds(LATE_S_MAX))

    # Whenever the world has come to rest, or should have.

    def look(self, *, still: bool, stormy: bool) -> None:
        """Look at everything that is cheap to look at."""
        now_ns = self.world.now_ns
        if stormy or self._doubted():
            self.calm_since_ns = now_ns + SLOT_NS
        calm = now_ns >= self.calm_since_ns
        if not still:
            if calm:
                self._violated("L9", f"calm since {iso(self.calm_since_ns)}, and no rest: {self._under_way()}")
            return
        self._agree(calm)
        if self._in(rest_reason) is not None:
            for order in self.market.venue._engine.working():
                self._violated("L5", f"{order.cl_ord_id} works in the rest")
        self._ratchets()
        self._crossings()
        self._orders_made()
        slot_ns = now_ns - now_ns % SLOT_NS
        if slot_ns > self._slot_ns:
            self._slots(slot_ns, calm)
            self._incidents(calm)
            self._gone(slot_ns)
            self._slot_ns = slot_ns

    def _doubted(self) -> bool:
        """Tell whether an order has to be ended by a person, for the venue does not say what became of it."""
        unknown = {name for (name,) in self.server.rows("SELECT cl_ord_id FROM orders WHERE state = 'unknown'")}
        return bool(unknown) and bool(unknown & self._alarmed())

    def _under_way(self) -> str:
        orders = self.server.rows(
            "SELECT cl_ord_id, state, cancel_reason FROM orders WHERE state IN "
            "('risk_checked', 'routed', 'pending_new', 'pending_cancel', 'pending_replace', 'unknown') "
            "OR (state IN ('new', 'partially_filled') AND cancel_reason IS NOT NULL)"
        )
        cycles = self.server.rows("SELECT cycle_id, stage FROM reconcile_cycle WHERE stage <> 'done'")
        return f"{self.world.busy} events, orders {orders}, cycles {cycles}"

    def _held(self) -> dict[str, Decimal]:
        return {symbol: Decimal(qty) for symbol, qty in self.server.rows("SELECT symbol, qty FROM ledger_position")}

    def _agree(self, calm: bool) -> None:
        """L1: what differs has a cause that is no fault of ours, and an incident before long."""
        now_ns, held, theirs = self.world.now_ns, self._held(), self.office.positions()
        events = self.server.rows("SELECT seq, kind LIKE '%quarantined' FROM event WHERE seq > ?", self._event_seq)
        self._event_seq = max((seq for seq, _ in events), default=self._event_seq)
        self._aside += sum(aside for _, aside in events)
        [(doubtful,)] = self.server.rows("SELECT COUNT(*) FROM orders WHERE state = 'unknown'")
        causes = (
            self._aside
            + doubtful
            + len(self.wire.swallowed)
            + len(self.market.commanded)
            + len(self.office.record.hands)
        )
        for symbol, lots in theirs.items():
            if held.get(symbol, Decimal(0)) == lots:
                self._apart.pop(symbol, None)
                continue
            if symbol not in self._apart and causes == self._causes and calm:
                self._violated("L1", f"{symbol}: the ledger holds {held.get(symbol)}, the venue {lots}")
            self._apart.setdefault(symbol, now_ns)
        self._causes = causes

    def _ratchets(self) -> None:
        """L7."""
        for symbol, *now in self.server.rows("SELECT symbol, side, opened_ns, stop, legs, cause FROM exit_state"):
            side, opened_ns, stop, legs, cause = now
            before = self._stops.get(symbol)
            self._stops[symbol] = now
            if before is None or before[:2] != [side, opened_ns] or not side:
                continue
            if before[2] is not None and (stop is None or (Decimal(stop) - Decimal(before[2])) * side < 0):
                self._violated("L7", f"{symbol}: the stop goes from {before[2]} to {stop}, side {side}")
            if legs < before[3] or (before[4] is not None and cause != before[4]):
                self._violated("L7", f"{symbol}: {before[3]} legs, {before[4]} become {legs}, {cause}")

    def _crossings(self) -> None:
        """L2: found again from equity and baseline; L3: what is wanted meanwhile."""
        # A transfer or an adjustment moves the baseline: what was sampled before it was held against another one.
        samples = self.server.rows(
            "SELECT at_ns, equity FROM equity WHERE at_ns > "
            "(SELECT COALESCE(MAX(happened_ns), 0) FROM ledger_entry WHERE kind IN ('transfer', 'adjustment')) "
            "ORDER BY at_ns DESC LIMIT 1"
        )
        epochs = self.server.rows(
            "SELECT number, opened_ns, closed_ns, reason, baseline FROM epoch WHERE number >= ? ORDER BY number",
            self._epoch,
        )
        for number, _, closed_ns, reason, baseline in epochs:
            steps = self.server.rows("SELECT step, at_ns FROM take_profit WHERE epoch = ? ORDER BY seq", number)
            names = tuple(step for step, _ in steps)
            if names != STEPS[: len(names)]:
                self._violated("L2", f"epoch {number}: steps {names}")
            newest = number == epochs[-1][0]
            if not newest and names != STEPS:
                self._violated("L2", f"epoch {number} is over after {names}")
            if bool(steps) != (reason is not None) or (closed_ns is not None) != (len(steps) > 1):
                self._violated("L2", f"epoch {number}: reason {reason}, closed {closed_ns}, steps {names}")
            if steps:
                self._detected(number, steps, reason, Decimal(baseline))
            elif baseline is not None and samples and samples[0][0] > self._sample_ns:
                found = self._crosses(Decimal(samples[0][1]), Decimal(baseline))
                if found is not None:
                    self._violated("L2", f"epoch {number}: {found} at {samples[0]} of {baseline} is not detected")
        self._sample_ns = samples[0][0] if samples else self._sample_ns
        self._epoch = max(self._epoch, epochs[-1][0])

    def _crosses(self, equity: Decimal, baseline: Decimal) -> str | None:
        if equity - baseline >= baseline * self.threshold:
            return "take_profit"
        return "draw_down" if (baseline - equity) * 2 > baseline * self.threshold else None

    def _detected(self, number: int, steps: list[Any], reason: str, baseline: Decimal) -> None:
        begun_ns = steps[0][1]
        flat_ns = steps[4][1] if len(steps) > 4 else 2**63 - 1
        [(equity,)] = self.server.rows("SELECT DISTINCT equity FROM equity WHERE at_ns = ?", begun_ns)
        if self._crosses(Decimal(equity), baseline) != reason:
            self._violated("L2", f"epoch {number} ends by {reason} at {equity} of {baseline}")
        for cycle, symbol, desired in self.server.rows(
            "SELECT cycle_id, symbol, desired FROM decision NATURAL JOIN reconcile_cycle "
            "WHERE due_ns >= ? AND due_ns < ?",
            *(begun_ns, flat_ns),
        ):
            if Decimal(desired):
                self._violated("L3", f"{cycle} wants {desired} {symbol} while epoch {number} ends")

    def _orders_made(self) -> None:
        """L6, of the orders since the last look, whose intents may still get another attempt."""
        newest = self._order_seq
        commanded = {self.intent_of(one["cl_ord_id"]) for one in self.market.commanded}
        for intent, count, sides, qty, cum, last, decided in self.server.rows(
            "SELECT o.intent, COUNT(*), COUNT(DISTINCT side), MAX(CASE WHEN attempt = 0 THEN o.qty + 0 END), "
            "SUM(cum_qty + 0), MAX(o.rowid), "
            "(SELECT d.intent = o.intent FROM decision d WHERE d.cycle_id = o.cycle AND d.symbol = o.symbol) "
            "FROM orders o WHERE o.intent IN (SELECT intent FROM orders WHERE rowid > ?) GROUP BY o.intent",
            self._order_seq - 8,
        ):
            newest = max(newest, last)
            [(live,)] = self.server.rows(
                "SELECT COUNT(*) FROM orders WHERE intent = ? AND state IN ('new', 'partially_filled', 'unknown')",
                intent,
            )
            if not decided or sides != 1 or qty is None or live > 1:
                self._violated("L6", f"{intent}: {count} orders, {live} live, {sides} sides, decision {decided}")
            elif cum > qty and intent not in commanded:
                self._violated("L6", f"{intent}: filled {cum}, wanted {qty}")
        self._order_seq = newest

    def _slots(self, slot_ns: int, calm: bool) -> None:
        """L9: the slot that has come, and those that passed."""
        if rest_reason(slot_ns) is None and calm:
            row = self.server.rows("SELECT stage, outcome FROM reconcile_cycle WHERE cycle_id = ?", f"C{slot_ns}")
            told = row[0] if row else None
            planted = slot_ns in self.office.record.beatless
            if not planted and (told is None or told[0] != "done" or not told[1].startswith("intents:")):
                self._violated("L9", f"the calm slot of {iso(slot_ns)} has come to {told}")
        for due_ns in range(self._slot_ns + SLOT_NS, slot_ns + 1, SLOT_NS):
            late_ns = due_ns - TOLD_AFTER_NS
            if late_ns > self.world.start_ns + TOLD_AFTER_NS and rest_reason(late_ns) is None and calm:
                row = self.server.rows("SELECT 1 FROM reconcile_cycle WHERE cycle_id = ?", f"C{late_ns}")
                if not row and rest_reason(due_ns) is None:
                    self._violated("L9", f"nobody has told that the slot of {iso(late_ns)} was missed")

    def _incidents(self, calm: bool) -> None:
        """L10."""
        now_ns = self.world.now_ns
        resting = closing_reason(now_ns - 3 * SLOT_NS) is not None or closing_reason(now_ns) is not None
        for seq, symbol, kind, opened_ns in self.server.rows(
            "SELECT seq, symbol, kind, opened_ns FROM incident WHERE seq > ?", self._incident_seq
        ):
            self._incident_seq = seq
            if calm and opened_ns >= self.calm_since_ns and not self._is_planted(symbol, opened_ns):
                self._violated("L10", f"incident {seq} on {symbol} ({kind}) in the calm, and nobody planted it")
        unsettled = {symbol for (symbol,) in self.server.rows("SELECT symbol FROM incident WHERE closed_ns IS NULL")}
        wrong = {symbol for symbol, since_ns in self._apart.items() if now_ns - since_ns > LIE_NS}
        # Who cannot look contradicts nobody, from the next cycle on.
        [(heard_ns,)] = self.server.rows("SELECT MAX(at_ns) FROM observation WHERE observer = ?", CLEARER)
        if heard_ns is not None and now_ns - heard_ns < SLOT_NS:
            lies = [lie for lie in self.office.record.lies if not lie.end_ns and now_ns - lie.begin_ns > LIE_NS]
            wrong |= {lie.symbol for lie in lies if sum(each.lots for each in lies if each.symbol == lie.symbol)}
        if not calm or resting or self._was_beatless(now_ns):
            return
        for symbol in sorted(wrong - unsettled):
            self._violated("L10", f"{symbol}: the witnesses disagree for two slots, and there is no incident")

    def _is_planted(self, symbol: str, opened_ns: int) -> bool:
        if symbol in self._apart or any(
            hand == symbol for at_ns, hand in self.office.record.hands if at_ns <= opened_ns
        ):
            return True
        return any(
            lie.symbol == symbol and lie.begin_ns <= opened_ns and (not lie.end_ns or opened_ns - lie.end_ns <= SLOT_NS)
            for lie in self.office.record.lies
        )

    def _was_beatless(self, now_ns: int) -> bool:
        return any(now_ns - due_ns <= 3 * SLOT_NS for due_ns in self.office.record.beatless)

    def _gone(self, slot_ns: int) -> None:
        """L8: count the healthy cycles since a position has to go."""
        rows = self.server.rows
        [(mode,)] = rows("SELECT mode FROM control ORDER BY seq DESC LIMIT 1")
        [(parts,)] = rows(
            "SELECT COUNT(*) FROM control_level WHERE mode <> 'normal' AND (until_ns IS NULL OR until_ns > ?) "
            "AND seq IN (SELECT MAX(seq) FROM control_level GROUP BY level, name)",
            self.world.now_ns,
        )
        gate = rows("SELECT shut FROM gate ORDER BY seq DESC LIMIT 1")
        [(ending,)] = rows(
            "SELECT COUNT(*) FROM take_profit WHERE step = 'Flattening' AND epoch NOT IN "
            "(SELECT epoch FROM take_profit WHERE step = 'Reconciled')"
        )
        unsettled = {symbol for (symbol,) in rows("SELECT symbol FROM incident WHERE closed_ns IS NULL")}
        stopped = {symbol for (symbol,) in rows("SELECT symbol FROM exit_state WHERE cause IS NOT NULL")}
        decided = dict(rows("SELECT symbol, actual FROM decision WHERE cycle_id = ?", f"C{slot_ns}"))
        held = self._held()
        sick = mode != "normal" or parts or (gate and gate[0][0])
        for symbol in self.office.wanted:
            if not held.get(symbol) or not (ending or symbol in stopped):
                self._going[symbol] = 0
            elif not sick and symbol not in unsettled and decided.get(symbol) is not None:
                self._going[symbol] += 1
                if self._going[symbol] == GONE_AFTER:
                    self._violated("L8", f"{held[symbol]} {symbol} has to go, and has not in {GONE_AFTER} cycles")

    # At the end.

    def ended(self) -> None:
        """Everything was withdrawn: both sides' books are the same, and closed."""
        books: Any = dict(self.market.venue.snapshot())
        books["fills"] = [fill for fill in books["fills"] if not fill["cl_ord_id"].startswith(HAND)]
        books["orders"] = [order for order in books["orders"] if not order["cl_ord_id"].startswith(HAND)]
        self.fills = len(books["fills"])
        for order in books["working"]:
            self._violated("I6", f"{order['cl_ord_id']} works at the venue in spite of the kill")
        self._orders(books)
        self._booked(books)
        self._liquidity(books)
        self._events()
        self._told()

    def _booked(self, books: Mapping[str, Any]) -> None:
        """I3, I7, I8: what is booked are the venue's fills, each once, and what people entered; the sums are right."""
        aside = " ".join(
            text for (text,) in self.server.rows("SELECT detail FROM event WHERE kind LIKE '%quarantined'")
        )
        must: set[str] = set()
        may: set[str] = set()
        for fill in books["fills"]:
            name = fill["exec_id"]
            known = may if f" exec_id='{name}'" in aside or name in self.wire.swallowed else must
            if fill.get("exec_type") != "trade_cancel":
                known.add(f"SIM/{name}")
            if "exec_ref" in fill:
                # What was set aside cannot be taken back.
                (may if f" exec_id='{fill['exec_ref']}'" in aside else known).add(f"SIM/{fill['exec_ref']}/undo")
        entries = {
            entry for (entry,) in self.server.rows("SELECT entry FROM ledger_entry WHERE kind IN ('trade', 'undo')")
        }
        for entry in sorted(must - entries):
            self._violated("I8", f"{entry} is not booked")
        for entry in sorted(entries - must - may):
            self._violated("I8", f"{entry} is booked, and not at the venue")
        sums: dict[str, Decimal] = {}
        qtys: dict[str, Decimal] = {}
        for entry, symbol, amount, qty in self.server.rows("SELECT entry, symbol, amount, qty FROM posting"):
            sums[entry] = sums.get(entry, Decimal(0)) + Decimal(amount)
            if symbol is not None:
                qtys[symbol] = qtys.get(symbol, Decimal(0)) + Decimal(qty)
        for entry, amount in sums.items():
            if amount:
                self._violated("I7", f"{entry} sums to {amount}")
        theirs = self.office.positions()
        for symbol, qty in self._held().items():
            if qtys.get(symbol, Decimal(0)) != qty or (qty != theirs[symbol] and symbol not in self._apart):
                self._violated("I3", f"{symbol}: position {qty}, postings {qtys.get(symbol)}, venue {theirs[symbol]}")

    def _events(self) -> None:
        """I7: what is denied, shut, opened, engaged and released has an event of its own, for everything or a part."""
        people = "operator <> 'platform' AND mode"
        part = "SELECT COUNT(*) FROM control_level WHERE"
        all_of_it = "SELECT COUNT(*) FROM control WHERE"
        for what, queries, kind in (
            ("denied orders", ["SELECT COUNT(*) FROM orders WHERE state = 'denied'"], "order.denied"),
            # What became of a stranger's order is added to the reason of a gate that is shut.
            ("shut gates", ["SELECT COUNT(*) FROM gate WHERE shut AND reason NOT LIKE '%ORDER: %; %'"], "gate.shut"),
            ("opened gates", ["SELECT COUNT(*) FROM gate WHERE NOT shut"], "gate.opened"),
            (
                "engaged modes",
                [f"{all_of_it} {people} <> 'normal'", f"{part} {people} <> 'normal'"],
                "control.engaged",
            ),
            (
                "released modes",
                # Released by the book, a part is bound to reduce for a minute, and free after it.
                [f"{all_of_it} {people} = 'normal'", f"{part} {people} = 'normal' OR until_ns AND level <> 'all'"],
                "control.released",
            ),
        ):
            effects = sum(self.server.rows(query)[0][0] for query in queries)
            by_people = 'SELECT COUNT(*) FROM event WHERE kind = ? AND detail NOT LIKE \'%"operator": "platform"%\''
            [(events,)] = self.server.rows(by_people, kind)
            if effects != events:
                self._violated("I7", f"{effects} {what}, and {events} events {kind}")

    def _told(self) -> None:
        """L9, L10: each missed slot has one event, each refused word of an observer too."""
        missed = {
            cycle for (cycle,) in self.server.rows("SELECT cycle_id FROM reconcile_cycle WHERE outcome LIKE 'missed%'")
        }
        told = Counter(cycle for (cycle,) in self.server.rows("SELECT subject FROM event WHERE kind = 'cycle.missed'"))
        if set(told) != missed or any(count > 1 for count in told.values()):
            self._violated("L9", f"missed are {sorted(missed ^ set(told))}, told {told.most_common(1)}")
        [(refused,)] = self.server.rows("SELECT COUNT(*) FROM event WHERE kind = 'observer.refused'")
        if refused > self.office.record.refused:
            self._violated(
                "L10", f"{refused} words of an observer are refused, {self.office.record.refused} were wrong"
            )
