"""Mark the account, and carry a take-profit or draw-down through its recorded steps.

Each step is one transaction that also records it, so whichever process is rung next goes on from the last step
recorded, and a crossing fires once. Nothing sleeps: flattening is done by reconciliation cycles, and this service is
rung again each minute.
"""

from dataclasses import dataclass, replace

from trisagion.cohort.advance import advance
from trisagion.cohort.state import from_bytes
from trisagion.cohort.supervise import CohortRules, end_all
from trisagion.cohort.types import Epoch, ExitReason
from trisagion.ledger.take_profit import (
    BASELINE_SAMPLES,
    LAST_STEP,
    TakeProfitRules,
    baseline,
    crossing,
    next_step,
)
from trisagion.ledger.types import EquitySample
from trisagion.orders.state import LIVE
from trisagion.ports import Database, TakeProfitStep, Transaction
from trisagion.risk.losses import LossRules, follow, stop
from trisagion.safety.modes import REPLAY, Mode
from trisagion.services import control
from trisagion.services.advance_cohort import found_cohort
from trisagion.services.control import PLATFORM
from trisagion.services.fingerprint import expect_current
from trisagion.services.outcome import Outcome
from trisagion.services.protect import Protection, is_rung, watch_exits
from trisagion.services.stakes import booked_cash, marked_equity
from trisagion.services.watch_panic import Panic, at_mark
from trisagion.units import Money, money, plain


@dataclass(frozen=True, slots=True)
class WatchRules:
    """What the watch is configured with; `seed` draws the cohort that follows an epoch.

    `fingerprint` is this process' build and configuration: a threshold of old must not end an epoch. Without
    `protection` no position has protective exits, without `panic` nothing is looked for.
    """

    take_profit: TakeProfitRules
    cohort: CohortRules
    seed: int
    losses: LossRules
    fingerprint: str = ""
    protection: Protection | None = None
    panic: Panic | None = None


def watch(database: Database, rules: WatchRules, now_ns: int) -> tuple[Outcome, ...]:
    """Record the equity at `now_ns`, detect a crossing, and take the next steps of a sequence that is under way."""
    with database.transaction() as tx:
        expect_current(tx, rules.fingerprint)
        # Held before the account is read: a transfer moves cash and baseline, and half of one would be a crossing.
        tx.cohort.epoch()
        if not _look(tx, rules, now_ns):
            return (Outcome("nothing"),)
        number = ending_epoch(tx)
        if number is None:
            return _watched(tx, rules.protection, now_ns)
    return _carry_on(database, rules, number, now_ns)


def ending_epoch(tx: Transaction) -> int | None:
    """Return the epoch whose sequence is under way; its last step comes after the next epoch was opened."""
    for epoch in tx.cohort.epochs()[-2:]:
        steps = tx.ledger.steps(epoch.number)
        if steps and steps[-1].step != LAST_STEP:
            return epoch.number
    return None


def is_flat(tx: Transaction) -> bool:
    """Tell whether nothing is held and no order lives that could fill.

    Orders are looked at first: a fill takes one away and gives a position in one commit.
    """
    return not tx.orders.in_states(LIVE) and all(position.qty == 0 for position in tx.ledger.positions())


def _watched(tx: Transaction, protection: Protection | None, now_ns: int) -> tuple[Outcome, ...]:
    if is_rung(tx, protection, now_ns):
        return (Outcome("exiting", (str(now_ns),)),)
    return (Outcome("watched"),)


def _look(tx: Transaction, rules: WatchRules, now_ns: int) -> bool:
    """Mark the account at an instant and judge the mark; False where there is nothing to be marked, or no epoch.

    Once: a message that comes again finds the mark judged. Its equity must not be held against a baseline or a peak
    that a transfer has moved since, nor may what came after be marked with old prices.
    """
    epochs, last = tx.cohort.epochs(), tx.ledger.last_equity()
    if last is not None and last.at_ns >= now_ns:
        return last.at_ns == now_ns and bool(epochs)
    equity = _mark(tx, rules.protection, now_ns)
    if equity is None or not epochs:
        return False
    _guard(tx, rules.losses, equity, now_ns)
    if rules.panic is not None:
        at_mark(tx, rules.panic, equity, now_ns)
    if epochs[-1].reason is None:
        _detect(tx, rules, epochs[-1], equity, now_ns)
    return True


def _mark(tx: Transaction, protection: Protection | None, now_ns: int) -> Money | None:
    """Record the equity at an instant and move the exits.

    All instruments are marked at once, those that have not traded yet left out. None when none has, or when one that is
    held has no price.
    """
    quotes = [tx.market.quote(instrument.symbol, now_ns) for instrument in tx.market.instruments()]
    known = [quote for quote in quotes if quote is not None]
    # Locked before the account is read: an adjustment, too, moves a position and what stands against it.
    held = {quote.symbol: tx.ledger.position(quote.symbol).qty for quote in known}
    equity = marked_equity(tx, now_ns)
    if equity is None or not known:
        return None
    cash = booked_cash(tx)
    for quote in known:
        tx.ledger.add_equity(EquitySample(now_ns, equity, cash, quote.symbol, held[quote.symbol], quote.last))
    if protection is not None:
        watch_exits(tx, protection, now_ns)
    return equity


def _guard(tx: Transaction, rules: LossRules, equity: Money, now_ns: int) -> None:
    """Count the account's losses, and stop the platform where they are too large."""
    present = tx.control.control()
    by_person = present.mode is Mode.NORMAL and present.operator not in {PLATFORM, REPLAY}
    before = tx.limits.mark()
    mark = follow(before, equity, now_ns, present.set_ns if by_person else 0)
    if mark != before:
        tx.limits.put_mark(mark)
    found = stop(mark, equity, rules)
    if found is not None:
        control.stop(tx, found.mode, found.reason, now_ns)


def _detect(tx: Transaction, rules: WatchRules, epoch: Epoch, equity: Money, now_ns: int) -> None:
    base = None if epoch.baseline is None else money(epoch.baseline)
    if base is None:
        base = baseline([s.equity for s in tx.ledger.first_equities(epoch.opened_ns, BASELINE_SAMPLES)])
        if base is None:
            return
        epoch = replace(epoch, baseline=plain(base))
        tx.cohort.put_epoch(epoch)
    kind = crossing(equity, base, rules.take_profit)
    if kind is None:
        return
    tx.cohort.put_epoch(replace(epoch, reason=kind))
    tx.ledger.add_step(TakeProfitStep(epoch.number, "Detected", now_ns))
    tx.control.add_event(kind, str(epoch.number), {"equity": plain(equity), "baseline": plain(base)}, now_ns)


def _carry_on(database: Database, rules: WatchRules, number: int, now_ns: int) -> tuple[Outcome, ...]:
    """Take steps until one has to wait; each in its own transaction."""
    while True:
        with database.transaction() as tx:
            expect_current(tx, rules.fingerprint)
            tx.cohort.epoch()  # held, as above
            done = [step.step for step in tx.ledger.steps(number)]
            step = next_step(done, flat=is_flat(tx))
            if step is None:
                waiting = bool(done) and done[-1] == "Flattening"
                return (Outcome("flattening" if waiting else "watched", (str(now_ns),) if waiting else ()),)
            epoch = next(e for e in tx.cohort.epochs() if e.number == number)
            _take(tx, rules, epoch, step, now_ns)
            tx.ledger.add_step(TakeProfitStep(number, step, now_ns))


def _take(tx: Transaction, rules: WatchRules, epoch: Epoch, step: str, now_ns: int) -> None:
    match step:
        case "EpochClosed":
            tx.cohort.put_epoch(replace(epoch, closed_ns=now_ns))
        case "RunsExited":
            _exit_runs(tx, epoch, now_ns)
        case "Rebased":
            found_cohort(tx, rules.cohort, epoch.number + 1, rules.seed, now_ns)
        case "Flattening" | "Reconciled" | "Done":
            pass
        case _:
            raise AssertionError(f"no such step of a take-profit: {step}")


def _exit_runs(tx: Transaction, epoch: Epoch, now_ns: int) -> None:
    reason = ExitReason.EPOCH if epoch.reason == "take_profit" else ExitReason.DRAW_DOWN
    shards = [from_bytes(row.state) for row in tx.cohort.shards()]
    shards = [advance(shard, tx.market.new_states(shard.seen_ns, now_ns), consume=True) for shard in shards]
    tx.cohort.end_runs(end_all(shards, reason, now_ns))
