"""One reconciliation cycle: from what wins now to approved orders in the outbox.

A cycle is a row that moves opened → cancelling → observing → decided → done under a lease row that serialises the whole
fleet; whoever is rung next takes it up where it stands, so a cycle survives any crash and a repeat does nothing twice.
Nothing waits in here: the venue session rings the cycle again when it has something for it.

Symbols do not wait for each other. Each is decided, by a row of its own, as soon as its older orders are gone and its
observers have spoken; the cycle's stage is that of the last ones: cancelling while any of them waits for a cancel,
observing while any waits for a word. One that cannot be decided is recorded as failed, with the reason, and the others
go on.
"""

from collections.abc import Callable, Container, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from decimal import Decimal
from functools import cache
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from trisagion.clock import SECOND_NS
from trisagion.cohort.state import Shard, from_bytes, votes
from trisagion.errors import DataError, OurMistake, UnreadableRow, harmless
from trisagion.ids import CycleId, cl_ord_id, cycle_id, intent_key
from trisagion.ledger.take_profit import LAST_STEP
from trisagion.ledger.types import Position
from trisagion.market.calendar import closing_of, closing_reason
from trisagion.market.types import Instrument, Quote
from trisagion.orders.incidents import Incident
from trisagion.orders.intents import ReconcileRules, consensus, make_intent, reduced, staged
from trisagion.orders.state import AT_VENUE, LIVE, OrderState
from trisagion.orders.types import Intent, Order
from trisagion.portfolio.sizing import SizingRules, desired_position, margin_shares
from trisagion.ports import Cycle, Database, Decision, Transaction
from trisagion.risk.check import Approved, judge
from trisagion.risk.controls import Facts
from trisagion.risk.limits import Limits
from trisagion.risk.load import Load
from trisagion.safety.modes import Control, Level, Mode, Standing
from trisagion.selection.votes import Selection, SelectionRules, left_out, select
from trisagion.services.adjust_incidents import AdoptRules, adopt
from trisagion.services.clamp import Book, Clamping, History
from trisagion.services.fingerprint import expect_current
from trisagion.services.hear_observers import take
from trisagion.services.incidents import LEASE, LEASE_S, note, note_foreign
from trisagion.services.lately import Lately
from trisagion.services.outcome import Outcome
from trisagion.services.protect import Protection, bound, exposed, is_protective
from trisagion.services.stakes import LimitsNow, Stakes, marked_equity
from trisagion.units import Money, Quantity, plain

VENUE: Final = "venue"
"""The observer that is the venue's own report over our session."""

DROP_COPY: Final = "drop_copy"
"""The observer that is the sum of the fills that the venue told on a second session."""


SYMBOLS_MAX: Final = 250
"""Symbols that are decided on in one transaction: so long their positions stay locked for whoever books fills."""

FAILURES: Final = (UnreadableRow, DataError, OurMistake, ArithmeticError, AssertionError, LookupError, ValueError)
"""What may be wrong with the rows or numbers of one symbol; a database that is away is nobody's own."""

REASON_MAX: Final = 400


@dataclass(frozen=True, slots=True)
class CycleRules:
    """All that a cycle is configured with; `drop_copy` is the session of that observer, empty when there is none.

    A cycle that is not due by `interval_ns` while a part of the platform is in Emergency is for that part alone. `keys`
    are those by which the observers outside the platform sign; `fingerprint` is this process' build and configuration.
    Without `protection` no position has exits, without `clamping` no size is clamped.
    """

    account: str
    session: str
    reconcile: ReconcileRules
    selection: SelectionRules
    sizing: SizingRules
    limits: Limits
    alert_after: int
    drop_copy: str = ""
    interval_ns: int = 0
    keys: Mapping[str, Ed25519PublicKey] = field(default_factory=dict)
    adopt: AdoptRules = field(default_factory=AdoptRules)
    fingerprint: str = ""
    protection: Protection | None = None
    clamping: Clamping | None = None

    @property
    def sessions(self) -> tuple[str, str]:
        """The sessions of the observers that can be asked: the venue's, the drop copy's."""
        return self.session, self.drop_copy

    @property
    def asked(self) -> Mapping[str, str]:
        """The observers that are configured and can be asked, each with its session."""
        every = zip((VENUE, DROP_COPY), self.sessions, strict=True)
        return {observer: session for observer, session in every if session and observer in self.reconcile.observers}


def cycle(database: Database, rules: CycleRules, owner: str, due_ns: int) -> tuple[Outcome, ...]:
    """Move the cycle due at `due_ns` as far as it can go now.

    In one transaction, or in several where there are many symbols; each looks anew at what there is to do, so that it
    does not matter who had the lease in between. Each gives it back, so that nobody waits for one who died.
    """
    history = History()
    while True:
        with database.transaction() as tx:
            token = tx.control.acquire(LEASE, owner, LEASE_S)
            if token is None:
                return (Outcome("busy"),)
            expect_current(tx, rules.fingerprint)
            outcomes = _move(tx, rules, history, due_ns)
            tx.control.release(LEASE, token)
        if outcomes:
            return outcomes


def _move(tx: Transaction, rules: CycleRules, history: History, due_ns: int) -> tuple[Outcome, ...]:
    """Return what the move came to, nothing while more symbols can be decided than one transaction takes."""
    name = cycle_id(due_ns)
    now = tx.cycles.cycle(name)
    if now is not None and now.stage in {"decided", "done"}:
        return _announce(tx, now)
    resting = closing_reason(due_ns)
    exits = resting is None and is_protective(tx, rules.protection, due_ns) and not _flattening(tx)
    if not _ready(tx, rules, due_ns, exits=exits, resting=resting is not None):
        return (Outcome("waiting"),)
    if now is None:
        now = Cycle(name, due_ns, "opened", None, 0)
        tx.cycles.open_cycle(now)
    _abandon_older(tx, rules, due_ns)
    everything = tx.market.instruments()
    instruments = _concerned(tx, rules, due_ns, exits=exits)
    symbols = {each.symbol for each in instruments} if exits or len(instruments) < len(everything) else None
    withdrawn = withdraw(tx, name, "superseded", due_ns, symbols)
    if resting is not None:
        if withdrawn:
            _save(tx, now, "cancelling")
            return (Outcome("cancelling", (rules.session,)),)
        now = _save(tx, now, "decided", f"rest: {resting}")
        return _announce(tx, now)
    before = tx.cycles.decided(name)
    left = [instrument for instrument in instruments if instrument.symbol not in before]
    free = [instrument for instrument in left if instrument.symbol not in withdrawn]
    # A venue need not speak while it is closed.
    silent = _unheard(tx, rules, [each for each in free if closing_of(each, due_ns) is None], due_ns)
    ready = [instrument for instrument in free if instrument.symbol not in silent]
    if ready:
        take(tx, rules.keys, rules.reconcile.observer_age_s_max * SECOND_NS, due_ns)
        _decide_each(tx, rules, name, ready[:SYMBOLS_MAX], everything, history, due_ns)
    if len(ready) > SYMBOLS_MAX:
        return ()
    if len(free) < len(left) or silent:
        cancelling = [Outcome("cancelling", (rules.session,))] if len(free) < len(left) else []
        sessions = sorted(frozenset[str]().union(*silent.values()), key=rules.sessions.index)
        observing = [Outcome("observing", tuple(sessions))] if silent else []
        _save(tx, now, "cancelling" if cancelling else "observing")
        checked = _checked(tx, name)
        return (*([Outcome("decided", checked)] if checked else []), *cancelling, *observing)
    intents = sum(intent is not None for intent in tx.cycles.decided(name).values())
    _note_foreign(tx, rules, name, due_ns)
    if exits:
        return _announce(tx, _save(tx, now, "done", f"exits: {intents}"))
    return _announce(tx, _save(tx, now, "decided", f"intents: {intents}"))


def _note_foreign(tx: Transaction, rules: CycleRules, name: CycleId, due_ns: int) -> None:
    """Note what is seen in symbols that are none of ours; what cannot be read of them stops none of ours."""
    try:
        with tx.part():
            note_foreign(tx, rules.reconcile, due_ns)
    except FAILURES as error:
        tx.control.add_event("cycle.failed", "foreign", {"cycle": name, "text": _failed(error)}, due_ns)


def _failed(error: Exception) -> str:
    return f"FAILED: {type(error).__name__}: {harmless(' '.join(str(error).split()), REASON_MAX)}"


def _concerned(tx: Transaction, rules: CycleRules, due_ns: int, *, exits: bool) -> Sequence[Instrument]:
    """Return the instruments that a cycle is for: all, unless it comes between two to flatten or protect some."""
    every = tx.market.instruments()
    if not exits and (not _is_between(rules, due_ns) or _flattening(tx)):
        return every
    some = _stopped(tx, rules, due_ns)
    if exits and rules.protection:
        some |= {each.symbol for each in exposed(tx, rules.protection)}
    concerned = [each for each in every if each.symbol in some]
    return concerned if exits else concerned or every


def _is_between(rules: CycleRules, due_ns: int) -> bool:
    """Tell whether a cycle comes between two slots of the schedule."""
    return bool(rules.interval_ns) and due_ns % rules.interval_ns != 0


def _stopped(tx: Transaction, rules: CycleRules, due_ns: int) -> set[str]:
    """Return the symbols that an Emergency flattens."""
    standing = tx.control.standing()
    symbols = [each.symbol for each in tx.market.instruments()]
    return {each for each in symbols if _binding(standing, rules, each, due_ns).mode is Mode.EMERGENCY}


def _binding(standing: Standing, rules: CycleRules, symbol: str, now_ns: int) -> Control:
    """Return the control that binds the orders in a symbol."""
    return standing.over(account=rules.account, venue=rules.session, symbol=symbol, now_ns=now_ns)


def _announce(tx: Transaction, now: Cycle) -> tuple[Outcome, ...]:
    return (
        Outcome("decided", _checked(tx, now.cycle_id)),
        Outcome("closing" if now.stage == "decided" else "done", (str(now.due_ns),)),
    )


def _checked(tx: Transaction, name: CycleId) -> tuple[str, ...]:
    """Return the orders of a cycle that wait for the gateway."""
    checked = tx.orders.in_states(frozenset({OrderState.RISK_CHECKED}))
    return tuple(order.cl_ord_id for order in checked if order.cycle == name)


def _save(tx: Transaction, now: Cycle, stage: str, outcome: str | None = None) -> Cycle:
    if now.stage == stage:
        return now
    after = replace(now, stage=stage, outcome=outcome, version=now.version + 1)
    tx.cycles.save_cycle(after)
    return after


def _abandon_older(tx: Transaction, rules: CycleRules, due_ns: int) -> None:
    for older in tx.cycles.unfinished():
        if older.due_ns < due_ns and older.stage != "decided":
            before = tx.cycles.decided(older.cycle_id)
            exits = is_protective(tx, rules.protection, older.due_ns)
            for instrument in _concerned(tx, rules, older.due_ns, exits=exits):
                if instrument.symbol not in before:
                    waited = f"WAITED: stage={older.stage}"
                    tx.cycles.add_decision(_undecided(older.cycle_id, instrument.symbol, waited))
            _save(tx, older, "done", "abandoned: a later cycle began")
            tx.control.add_event("cycle.abandoned", older.cycle_id, {"stage": older.stage}, due_ns)


def withdraw(
    tx: Transaction, keep: CycleId | None, why: str, now_ns: int, symbols: Container[str] | None = None
) -> AbstractSet[str]:
    """Ask for the cancel of all orders but one cycle's; return the symbols of which the venue may still know one.

    Orders in other than some `symbols` are left alone, where these are named.
    """
    at_venue, ended = set[str](), False
    for found in tx.orders.in_states(LIVE):
        if found.cycle == keep or (symbols is not None and found.symbol not in symbols):
            continue
        # Read again, locked: the session may be sending it, or booking a report on it, at this moment.
        order = tx.orders.order(found.cl_ord_id)
        if order is None or order.state not in LIVE:
            ended = True
            continue
        if symbols is not None and order.symbol not in symbols:
            continue
        changed = replace(order, updated_ns=max(now_ns, order.updated_ns), version=order.version + 1)
        if order.state not in AT_VENUE:
            tx.orders.save(replace(changed, state=OrderState.DENIED, reason=why))
            continue
        at_venue.add(order.symbol)
        if order.cancel_reason is None:
            tx.orders.save(replace(changed, cancel_reason=why))
    # A refusal that was booked since the look has left another attempt; what is locked now can leave none.
    return at_venue | withdraw(tx, keep, why, now_ns, symbols) if ended else at_venue


def _unheard(
    tx: Transaction, rules: CycleRules, instruments: Sequence[Instrument], due_ns: int
) -> Mapping[str, AbstractSet[str]]:
    """Return the symbols of which somebody who can be asked has not spoken since the cycle began, with the sessions.

    Venue and drop copy are the observers that can be asked, and are waited for where they are named; the others speak
    when they do, and consensus looks at the age of their word.
    """
    asked, heard = rules.asked.items(), tx.ledger.heard(due_ns)
    silent = {
        instrument.symbol: {session for observer, session in asked if (observer, instrument.symbol) not in heard}
        for instrument in instruments
    }
    return {symbol: sessions for symbol, sessions in silent.items() if sessions}


def _ready(tx: Transaction, rules: CycleRules, due_ns: int, *, exits: bool, resting: bool) -> bool:
    """Tell whether account and cohort are as of the cycle's instant; to flatten, and for exits, the account is enough.

    A cycle whose minute is over is never ready: a message that comes late must not decide on what came after.
    """
    sample = tx.ledger.last_equity()
    if sample is None or sample.at_ns != due_ns:
        return False
    if exits or _flattening(tx):
        return True
    # The cohort is written down at the slots: a cycle between two of them that asks nobody must not wait for that.
    if _is_between(rules, due_ns) and (resting or _stopped(tx, rules, due_ns)):
        return True
    heads = [tx.cohort.shard_head(number) for number in tx.cohort.shard_numbers()]
    return all(head is not None and head[0] >= due_ns for head in heads)


def _flattening(tx: Transaction) -> bool:
    """Tell whether a take-profit or draw-down is under way, or an operator wants everything flat."""
    if tx.control.control().mode is Mode.EMERGENCY:
        return True
    epochs = tx.cohort.epochs()
    steps = tx.ledger.steps(epochs[-1].number) if epochs else ()
    return bool(steps) and steps[-1].step != LAST_STEP


@dataclass(frozen=True, slots=True)
class _Account:
    """What the decisions of one transaction have in common; `live` grows with them, `lately` is read when asked for.

    `shares` are the symbols' of the margin budget.
    """

    shares: Mapping[str, Decimal]
    shards: Sequence[Shard]
    flatten: bool
    standing: Standing
    exits: bool
    worth: Money | None
    stakes: Stakes
    limits: LimitsNow
    live: list[Order]
    book: Book | None
    lately: Callable[[], Lately]


def _decide_each(
    tx: Transaction,
    rules: CycleRules,
    name: CycleId,
    ready: Sequence[Instrument],
    instruments: Sequence[Instrument],
    history: History,
    due_ns: int,
) -> None:
    """Decide for each symbol by itself; what one that fails has written is undone, and the failure recorded."""
    flatten = _flattening(tx)
    exits = is_protective(tx, rules.protection, due_ns) and not flatten
    live = list(tx.orders.in_states(LIVE))
    known = {instrument.symbol for instrument in instruments} & {order.symbol for order in live}
    stakes = Stakes.read(tx, known.union(instrument.symbol for instrument in ready), due_ns)
    book = None
    if rules.clamping is not None and not flatten and not exits:
        strategy = None if rules.protection is None else rules.protection.strategy
        book = Book(rules.clamping, history, instruments, stakes.worth, live, due_ns, strategy)
    account = _Account(
        shares=margin_shares(instruments),
        # Nobody is asked whether to flatten or to protect; the runs may not have come to this minute yet.
        shards=[] if flatten or exits else [from_bytes(row.state) for row in tx.cohort.shards()],
        flatten=flatten,
        standing=tx.control.standing(),
        exits=exits,
        worth=None if flatten or exits else marked_equity(tx, due_ns),
        stakes=stakes,
        limits=LimitsNow(tx, rules.limits),
        live=live,
        book=book,
        lately=cache(lambda: Lately(tx, [each.symbol for each in ready], due_ns, due_ns)),
    )
    for instrument in ready:
        resting = closing_of(instrument, due_ns)
        if resting is not None:
            tx.cycles.add_decision(_undecided(name, instrument.symbol, f"REST: {resting}"))
            continue
        try:
            with tx.part():
                order = _decide(tx, rules, name, instrument, account, due_ns)
            account.live.extend(() if order is None else (order,))
        except FAILURES as error:
            reason = _failed(error)
            tx.cycles.add_decision(_undecided(name, instrument.symbol, reason))
            tx.control.add_event("cycle.failed", instrument.symbol, {"cycle": name, "text": reason}, due_ns)


def _decide(
    tx: Transaction, rules: CycleRules, name: CycleId, instrument: Instrument, account: _Account, due_ns: int
) -> Order | None:
    """Decide for one symbol and write decision and order."""
    symbol = instrument.symbol
    control = _binding(account.standing, rules, symbol, due_ns)
    mode = control.mode
    flatten = account.flatten or mode is Mode.EMERGENCY
    limits = account.limits.of(symbol, rules.session, taker=mode is Mode.EMERGENCY)
    voted = votes(account.shards, symbol)
    selection = select(voted, tx.cohort.past_pnls(symbol), rules.selection, due_ns)
    quote = account.stakes.quotes.get(symbol)
    position = tx.ledger.position(symbol)
    seen = tx.ledger.observations(symbol)
    observations = [(each.observer, each.qty, each.at_ns) for each in seen]
    moved_ns = _moved_ns(tx, rules, symbol)
    agreed = consensus(symbol, position, observations, rules.reconcile, instrument, due_ns, moved_ns)
    facts = [
        f"JUDGED_UNDER: mode={mode} limits={limits.version}",
        *(() if control.level is Level.ALL else (f"CONTROL: level={control.level} name={control.name}",)),
        *_quoted(quote),
        *(() if flatten or account.exits else (f"VOTES_LEFT_OUT: {left_out(voted, rules.selection, due_ns)}",)),
        _witnesses(rules, position, observations),
    ]
    reasons = [*(() if account.exits else selection.reasons), *agreed.reasons]
    desired = wished = Decimal(0)
    known = False
    intent: Intent | None = None
    delta = Quantity(Decimal(0))
    if quote is None:
        reasons.append("QUOTE_MISSING")
    elif flatten:
        known = True
        reasons.append(f"FLATTEN: mode={mode}")
    elif not account.exits:
        wished, desired, known = _sized(tx, rules, selection, instrument, quote, account, facts, reasons)
    kept: tuple[str, ...] = ()
    if rules.protection is not None and quote is not None and not flatten:
        desired, known, kept = bound(tx, rules.protection, symbol, wished, desired, agreed.qty, known=known)
        reasons += kept
    if quote is not None and known and agreed.qty is not None:
        taker = mode is Mode.EMERGENCY
        # A residue must not keep a position from ever being flat, nor its size.
        churn = replace(rules.reconcile, min_trade_notional=Decimal(0)) if flatten or kept else rules.reconcile
        goal = _staged(desired, agreed.qty, quote, instrument, limits, reasons)
        # Who has to get out is not held back to a quarter of the way.
        if mode is Mode.REDUCE and not kept:
            goal = _reduced(goal, agreed.qty, instrument, reasons)
        intent, delta, why = make_intent(name, symbol, goal, agreed.qty, quote.last, instrument, churn, taker)
        reasons += why
    incident = note(tx, position, seen, agreed, due_ns)
    if incident is not None:
        _alert(tx, rules, name, incident, due_ns)
        adopt(tx, rules.reconcile, rules.adopt, incident, rules.alert_after, due_ns)
    order = _approve(tx, rules, intent, instrument, quote, agreed.qty, account, limits, reasons, due_ns)
    # What was looked at comes first, then what followed from it: a refusal is the last word.
    tx.cycles.add_decision(_decision(name, selection, desired, agreed.qty, delta, order, (*facts, *reasons)))
    return order


def _sized(
    tx: Transaction,
    rules: CycleRules,
    selection: Selection,
    instrument: Instrument,
    quote: Quote,
    account: _Account,
    facts: list[str],
    reasons: list[str],
) -> tuple[Decimal, Decimal, bool]:
    """Return the position that the votes are worth, what the clamps leave of it, and whether it is known."""
    share = account.shares[instrument.symbol]
    worth = account.worth
    facts.append(f"ACCOUNT: equity={'unknown' if worth is None else plain(worth)} margin_share={plain(share)}")
    sized = desired_position(selection, worth, quote.last, instrument, rules.sizing, share=share)
    reasons += sized.reasons
    if account.book is None or not sized.known:
        return sized.qty, sized.qty, sized.known
    left = account.book.clamp(tx, instrument, sized.qty, worth, selection.kelly_now)
    reasons += left.reasons
    return sized.qty, left.qty, True


def _staged(
    desired: Decimal, actual: Quantity, quote: Quote, instrument: Instrument, limits: Limits, reasons: list[str]
) -> Decimal:
    goal = staged(
        desired,
        actual,
        quote.ask,
        instrument,
        order_notional_max=limits.order_notional_max,
        position_notional_max=limits.position_notional_max,
    )
    if goal != desired:
        reasons.append(f"STAGED: desired={plain(desired)} goal={plain(goal)}")
    return goal


def _reduced(goal: Decimal, actual: Quantity, instrument: Instrument, reasons: list[str]) -> Decimal:
    less = reduced(goal, actual, instrument)
    if less != goal:
        reasons.append(f"REDUCED: wanted={plain(goal)} goal={plain(less)}")
    return less


def _moved_ns(tx: Transaction, rules: CycleRules, symbol: str) -> dict[str, int]:
    """Return since when a position is what it is, for the observers that are not asked at each cycle."""
    return dict.fromkeys(rules.keys, tx.ledger.moved_ns(symbol)) if rules.keys else {}


def _quoted(quote: Quote | None) -> list[str]:
    """Write the quote that a decision is made on; one that is missing is a reason of its own."""
    if quote is None:
        return []
    prices = f"bid={plain(quote.bid)} ask={plain(quote.ask)} last={plain(quote.last)}"
    return [f"QUOTE: {prices} happened_ns={quote.happened_ns} learned_ns={quote.learned_ns}"]


def _witnesses(rules: CycleRules, position: Position, observations: Sequence[tuple[str, Quantity, int]]) -> str:
    """Write what ledger and observers say; not when they said it, for two replays of one thing may hear it apart."""
    seen = {observer: plain(qty) for observer, qty, _ in observations}
    words = " ".join(f"{observer}={seen.get(observer, 'silent')}" for observer in rules.reconcile.observers)
    return f"WITNESSES: ledger={plain(position.qty)} {words}"


def _alert(tx: Transaction, rules: CycleRules, name: CycleId, incident: Incident, due_ns: int) -> None:
    """Record that a symbol lacks consensus; alert when it has lacked it in `alert_after` cycles in a row."""
    kind = "consensus.alert" if incident.cycles >= rules.alert_after else "consensus.missing"
    told = {"cycle": name, "incident": str(incident.number), "reasons": "; ".join(incident.reasons)}
    tx.control.add_event(kind, incident.symbol, told, due_ns)


def _approve(
    tx: Transaction,
    rules: CycleRules,
    intent: Intent | None,
    instrument: Instrument,
    quote: Quote | None,
    actual: Quantity | None,
    account: _Account,
    limits: Limits,
    reasons: list[str],
    due_ns: int,
) -> Order | None:
    if intent is None or actual is None:
        return None
    load = Load.of(account.live, intent)
    mode = _binding(account.standing, rules, intent.symbol, due_ns).mode
    facts = Facts(intent, instrument, quote, actual, mode, limits, due_ns, history=account.lately().of(intent))
    verdict = judge(facts, load, account.stakes.beside(load))
    if not isinstance(verdict, Approved):
        reasons.append(verdict.text)
        return None
    order = new_attempt(rules.account, verdict, 0, due_ns)
    tx.orders.add(order)
    if order.taker:
        tx.control.add_event("order.taker", order.cl_ord_id, {"mode": mode, "qty": plain(order.qty)}, due_ns)
    return order


def new_attempt(account: str, approved: Approved, attempt: int, now_ns: int) -> Order:
    """Make the order that carries an approved intent; the same intent and attempt give the same order."""
    intent = approved.intent
    return Order(
        cl_ord_id=cl_ord_id(account, intent.key, attempt),
        intent=intent.key,
        cycle=intent.cycle,
        attempt=attempt,
        symbol=intent.symbol,
        side=intent.side,
        qty=intent.qty,
        taker=intent.taker,
        state=OrderState.RISK_CHECKED,
        created_ns=now_ns,
        updated_ns=now_ns,
    )


def _undecided(name: CycleId, symbol: str, reason: str) -> Decision:
    """Return the record of a symbol that a cycle could not decide on: nothing is wanted, and nobody agreed."""
    zero = Quantity(Decimal(0))
    return Decision(name, symbol, 0, 0.0, None, None, zero, None, zero, None, (reason,))


def _decision(
    name: CycleId,
    selection: Selection,
    desired: Decimal,
    actual: Quantity | None,
    delta: Quantity,
    order: Order | None,
    reasons: tuple[str, ...],
) -> Decision:
    return Decision(
        cycle_id=name,
        symbol=selection.symbol,
        direction=selection.direction,
        live_pnl=selection.live_pnl,
        kelly_now=selection.kelly_now,
        kelly_past=selection.kelly_past,
        desired=Quantity(desired),
        actual=actual,
        delta=delta,
        intent=None if order is None else intent_key(name, order.symbol),
        reasons=reasons,
    )
