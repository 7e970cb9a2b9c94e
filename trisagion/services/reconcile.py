"""One reconciliation cycle: from what wins now to approved orders in the outbox.

A cycle is a row that moves opened → cancelling → observing → decided → done, one transaction a step, under a lease row
that serialises the whole fleet; whoever is rung next takes it up where it stands, so a cycle survives any crash and a
repeat does nothing twice. Nothing waits in here: the venue
session rings the cycle again when it has something for it.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Final

from trisagion.cohort.state import Shard, from_bytes, votes
from trisagion.ids import CycleId, cl_ord_id, cycle_id, intent_key
from trisagion.ledger.postings import OUTSIDE, cash, equity
from trisagion.ledger.take_profit import LAST_STEP
from trisagion.ledger.types import Position
from trisagion.market.calendar import rest_reason
from trisagion.market.types import Instrument, Quote
from trisagion.orders.incidents import Incident
from trisagion.orders.intents import ReconcileRules, consensus, make_intent, staged
from trisagion.orders.state import AT_VENUE, LIVE, OrderState
from trisagion.orders.types import Intent, Order
from trisagion.portfolio.sizing import SizingRules, desired_position, margin_share
from trisagion.ports import Cycle, Database, Decision, Transaction
from trisagion.risk.check import Approved, Limits, check
from trisagion.safety.modes import Mode
from trisagion.selection.votes import Selection, SelectionRules, left_out, select
from trisagion.services.incidents import note, note_foreign
from trisagion.services.outcome import Outcome
from trisagion.services.protect import Protection, bound, exposed, is_protective
from trisagion.units import Money, Price, Quantity, plain

VENUE: Final = "venue"
"""The observer that is the venue's own report over our session."""

DROP_COPY: Final = "drop_copy"
"""The observer that is the sum of the fills that the venue told on a second session."""

LEASE: Final = "reconcile"
LEASE_S: Final = 15.0


@dataclass(frozen=True, slots=True)
class CycleRules:
    """All that a cycle is configured with; `drop_copy` is the session of that observer, empty when there is none.

    Without `protection` no position has protective exits.
    """

    account: str
    session: str
    reconcile: ReconcileRules
    selection: SelectionRules
    sizing: SizingRules
    limits: Limits
    alert_after: int
    drop_copy: str = ""
    protection: Protection | None = None


def cycle(database: Database, rules: CycleRules, owner: str, due_ns: int) -> tuple[Outcome, ...]:
    """Move the cycle due at `due_ns` as far as it can go now."""
    with database.transaction() as tx:
        token = tx.control.acquire(LEASE, owner, LEASE_S)
        if token is None:
            return (Outcome("busy"),)
        outcomes = _move(tx, rules, due_ns)
        tx.control.release(LEASE, token)
        return outcomes


def _move(tx: Transaction, rules: CycleRules, due_ns: int) -> tuple[Outcome, ...]:
    name = cycle_id(due_ns)
    now = tx.cycles.cycle(name)
    if now is not None and now.stage in {"decided", "done"}:
        return _announce(tx, now)
    protective = is_protective(tx, rules.protection, due_ns) and not _flattening(tx)
    if not _ready(tx, due_ns, protective=protective):
        return (Outcome("waiting"),)
    if now is None:
        now = Cycle(name, due_ns, "opened", None, 0)
        tx.cycles.open_cycle(now)
    _abandon_older(tx, due_ns)
    decided = exposed(tx, rules.protection) if protective and rules.protection else tx.market.instruments()
    asked = _withdraw_older(tx, name, due_ns, {instrument.symbol for instrument in decided})
    if asked:
        _save(tx, now, "cancelling")
        return (Outcome("cancelling", (rules.session,)),)
    resting = rest_reason(due_ns)
    if resting is not None:
        now = _save(tx, now, "decided", f"rest: {resting}")
        return _announce(tx, now)
    silent = _unheard(tx, rules, due_ns)
    if silent:
        _save(tx, now, "observing")
        return (Outcome("observing", silent),)
    # Nobody is asked whether to flatten; the runs may not have come to this minute yet.
    unasked = protective or _flattening(tx)
    shards = [] if unasked else [from_bytes(row.state) for row in tx.cohort.shards()]
    intents = sum(_decide(tx, rules, name, instrument, shards, due_ns, protective=protective) for instrument in decided)
    note_foreign(tx, rules.reconcile, due_ns)
    if protective:
        return _announce(tx, _save(tx, now, "done", f"exits: {intents}"))
    return _announce(tx, _save(tx, now, "decided", f"intents: {intents}"))


def _announce(tx: Transaction, now: Cycle) -> tuple[Outcome, ...]:
    checked = tx.orders.in_states(frozenset({OrderState.RISK_CHECKED}))
    return (
        Outcome("decided", tuple(order.cl_ord_id for order in checked if order.cycle == now.cycle_id)),
        Outcome("closing" if now.stage == "decided" else "done", (str(now.due_ns),)),
    )


def _save(tx: Transaction, now: Cycle, stage: str, outcome: str | None = None) -> Cycle:
    if now.stage == stage:
        return now
    after = replace(now, stage=stage, outcome=outcome, version=now.version + 1)
    tx.cycles.save_cycle(after)
    return after


def _abandon_older(tx: Transaction, due_ns: int) -> None:
    for older in tx.cycles.unfinished():
        if older.due_ns < due_ns and older.stage != "decided":
            _save(tx, older, "done", "abandoned: a later cycle began")
            tx.control.add_event("cycle.abandoned", older.cycle_id, {"stage": older.stage}, due_ns)


def _withdraw_older(tx: Transaction, name: CycleId, due_ns: int, symbols: Collection[str]) -> bool:
    """Ask for the cancel of every order of another cycle in some symbols; tell whether the venue may still know one."""
    at_venue = False
    for found in tx.orders.in_states(LIVE):
        if found.symbol not in symbols:
            continue
        # Read again, locked: the session may be sending it, or booking a report on it, at this moment.
        order = tx.orders.order(found.cl_ord_id)
        if order is None or order.cycle == name or order.state not in LIVE:
            continue
        changed = replace(order, updated_ns=max(due_ns, order.updated_ns), version=order.version + 1)
        if order.state not in AT_VENUE:
            tx.orders.save(replace(changed, state=OrderState.DENIED, reason="superseded"))
            continue
        at_venue = True
        if order.cancel_reason is None:
            tx.orders.save(replace(changed, cancel_reason="superseded"))
    return at_venue


def _unheard(tx: Transaction, rules: CycleRules, due_ns: int) -> tuple[str, ...]:
    """Return the sessions whose observer has not spoken on every symbol since the cycle began.

    Venue and drop copy are the observers that can be asked, and are waited for where they are named; the others speak
    when they do, and consensus looks at the age of their word.
    """
    sessions = {VENUE: rules.session, DROP_COPY: rules.drop_copy}
    return tuple(
        session
        for observer, session in sessions.items()
        if session and observer in rules.reconcile.observers and not _observed(tx, observer, due_ns)
    )


def _observed(tx: Transaction, observer: str, due_ns: int) -> bool:
    return all(
        any(seen.observer == observer and seen.at_ns >= due_ns for seen in tx.ledger.observations(instrument.symbol))
        for instrument in tx.market.instruments()
    )


def _ready(tx: Transaction, due_ns: int, *, protective: bool) -> bool:
    """Tell whether account and cohort are as of the cycle's instant; to flatten or protect, the account is enough.

    A cycle whose minute is over is never ready: a message that comes late must not decide on what came after.
    """
    sample = tx.ledger.last_equity()
    if sample is None or sample.at_ns != due_ns:
        return False
    if protective or _flattening(tx):
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


def _decide(
    tx: Transaction,
    rules: CycleRules,
    name: CycleId,
    instrument: Instrument,
    shards: Sequence[Shard],
    due_ns: int,
    *,
    protective: bool,
) -> int:
    """Decide for one symbol and write decision and order; return the number of intents."""
    symbol = instrument.symbol
    flatten = _flattening(tx)
    voted = votes(shards, symbol)
    selection = select(voted, tx.cohort.past_pnls(symbol), rules.selection, due_ns)
    quote = tx.market.quote(symbol, due_ns)
    mode = tx.control.control().mode
    position = tx.ledger.position(symbol)
    seen = tx.ledger.observations(symbol)
    observations = [(each.observer, each.qty, each.at_ns) for each in seen]
    agreed = consensus(symbol, position, observations, rules.reconcile, instrument, due_ns)
    facts = [
        f"JUDGED_UNDER: mode={mode} limits={rules.limits.version}",
        *_quoted(quote),
        *(() if flatten or protective else (f"VOTES_LEFT_OUT: {left_out(voted, rules.selection, due_ns)}",)),
        _witnesses(rules, position, observations),
    ]
    reasons = [*(() if protective else selection.reasons), *agreed.reasons]
    desired, known = Decimal(0), False
    intent: Intent | None = None
    delta = Quantity(Decimal(0))
    if quote is None:
        reasons.append("QUOTE_MISSING")
    elif flatten:
        known = True
        reasons.append(f"FLATTEN: mode={mode}")
    elif not protective:
        share = margin_share(instrument, tx.market.instruments())
        worth = marked_equity(tx, due_ns)
        facts.append(f"ACCOUNT: equity={'unknown' if worth is None else plain(worth)} margin_share={plain(share)}")
        sized = desired_position(selection, worth, quote.last, instrument, rules.sizing, share=share)
        desired, known = sized.qty, sized.known
        reasons += sized.reasons
    kept: tuple[str, ...] = ()
    if rules.protection is not None and quote is not None and not flatten:
        bounded, kept = bound(tx, rules.protection, symbol, desired, agreed.qty, known=known)
        desired, known = (bounded, True) if kept else (desired, known)
        reasons += kept
    if quote is not None and known and agreed.qty is not None:
        taker = mode is Mode.EMERGENCY
        # A residue must not keep a position from ever being flat, nor its size.
        churn = replace(rules.reconcile, min_trade_notional=Decimal(0)) if flatten or kept else rules.reconcile
        goal = staged(
            desired,
            agreed.qty,
            quote.ask,
            instrument,
            order_notional_max=rules.limits.order_notional_max,
            position_notional_max=rules.limits.position_notional_max,
        )
        if goal != desired:
            reasons.append(f"STAGED: desired={plain(desired)} goal={plain(goal)}")
        intent, delta, why = make_intent(name, symbol, goal, agreed.qty, quote.last, instrument, churn, taker)
        reasons += why
    incident = note(tx, position, seen, agreed, due_ns)
    if incident is not None:
        _alert(tx, rules, name, incident, due_ns)
    order = _approve(tx, rules, intent, instrument, quote, agreed.qty, mode, reasons, due_ns)
    # What was looked at comes first, then what followed from it: a refusal is the last word.
    tx.cycles.add_decision(_decision(name, selection, desired, agreed.qty, delta, order, (*facts, *reasons)))
    return int(order is not None)


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
    mode: Mode,
    reasons: list[str],
    due_ns: int,
) -> Order | None:
    if intent is None or actual is None:
        return None
    verdict = check(
        intent,
        instrument=instrument,
        quote=quote,
        position=actual,
        live_orders=tx.orders.in_states(LIVE),
        mode=mode,
        limits=rules.limits,
        now_ns=due_ns,
    )
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


def marked_equity(tx: Transaction, now_ns: int) -> Money | None:
    """Return cash plus all positions at their last trades; None while a held symbol has no price."""
    positions = [position for position in tx.ledger.positions() if position.qty]
    prices: dict[str, Price] = {}
    multipliers: dict[str, Decimal] = {}
    for position in positions:
        quote = tx.market.quote(position.symbol, now_ns)
        if quote is None:
            return None
        prices[position.symbol] = quote.last
        multipliers[position.symbol] = tx.market.instrument(position.symbol).multiplier
    return equity(booked_cash(tx), positions, prices, multipliers)


def booked_cash(tx: Transaction) -> Money:
    """Return the account's money by its books: cash, and what foreign money was worth when it was booked."""
    return cash(Money(tx.ledger.balance(*OUTSIDE)), tx.ledger.positions())


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
