"""A replay's own book-keeping: what it is, how far it has come, and what its present step still waits for."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from trisagion.clock import iso
from trisagion.cohort.supervise import CohortRules
from trisagion.cohort.survivors import Survivor
from trisagion.errors import StateError
from trisagion.ids import cycle_id
from trisagion.ledger.postings import opening
from trisagion.ledger.take_profit import next_step
from trisagion.market.types import Instrument
from trisagion.orders.state import OrderState
from trisagion.ports import Database, Replay, Transaction
from trisagion.risk.limits import Limits
from trisagion.safety.modes import REPLAY, Control, Mode
from trisagion.safety.release import way_back
from trisagion.services.advance_cohort import found_cohort
from trisagion.services.control import release
from trisagion.services.limits import found
from trisagion.services.take_profit import ending_epoch, is_flat
from trisagion.units import Money

UNSETTLED = frozenset(
    {
        OrderState.RISK_CHECKED,
        OrderState.ROUTED,
        OrderState.PENDING_NEW,
        OrderState.PENDING_CANCEL,
        OrderState.PENDING_REPLACE,
        OrderState.UNKNOWN,
    }
)

DIGEST_SHOWN = 19
"""Characters that tell two digests apart for a person, and that hold every seed."""


def begin(
    database: Database,
    replay: Replay,
    instruments: Sequence[Instrument],
    capital: Money,
    rules: CohortRules,
    limits: Limits,
    survivors: Sequence[Survivor] = (),
) -> Replay:
    """Found account, cohort and replay in one transaction; a replay that is there already is checked and taken up."""
    with database.transaction() as tx:
        known = tx.control.replay()
        if known is not None:
            _refuse_another(known, replay)
            resumed = replace(known, speed=replay.speed, origin_ns=replay.origin_ns)
            tx.control.put_replay(resumed)
            present = tx.control.control()
            # An operator's word stays, for the driver to obey: it may have come while this one was being started.
            if present.mode is not Mode.NORMAL and present.operator == REPLAY:
                tx.control.set_mode(Control(Mode.NORMAL, REPLAY, "replay resumed", known.now_ns))
            return resumed
        for instrument in instruments:
            tx.market.add_instrument(instrument)
            if instrument.closures is not None:
                read = {"exchange": instrument.closures.exchange, "digest": instrument.closures.digest}
                tx.control.add_event("hours.read", instrument.symbol, read, replay.start_ns)
        tx.ledger.post(opening(capital, replay.start_ns, instruments[0].currency))
        found_cohort(tx, rules, 1, replay.seed, replay.start_ns, survivors)
        found(tx, limits, replay.settings_digest[:DIGEST_SHOWN], replay.start_ns)
        tx.control.set_mode(Control(Mode.NORMAL, REPLAY, "replay begun", replay.start_ns))
        tx.control.put_replay(replay)
        return replay


def _refuse_another(known: Replay, asked: Replay) -> None:
    for what, name in (("digest", "other data"), ("seed", "another seed"), ("settings_digest", "other settings")):
        then, now = (str(getattr(replay, what)) for replay in (known, asked))
        if then != now:
            raise StateError(
                f"this run replays {known.dataset} and began with {name} ({_short(then)} then, {_short(now)} now): "
                "go on with what it began with, or start a new run with `trisagion run`"
            )


def _short(text: str) -> str:
    return text if len(text) <= DIGEST_SHOWN else f"{text[:DIGEST_SHOWN]}…"


def take_up(database: Database, operator: str, reason: str | None, people: int = 1, *, signed: bool = False) -> None:
    """Let a replay go on that somebody stopped: with the reason of the operator who takes it up, `StateError` without.

    Where a release takes two people, or is `signed`, a reason is not enough.
    Once for each resumption, not at each start of a driver: a mode that is set later stays.
    """
    with database.snapshot() as tx:
        replay = tx.control.replay()
        if replay is None:
            return
        if reason is None or people > 1 or signed:
            _refuse_if_stopped(tx, people, signed=signed)
            return
    release(database, operator, reason, replay.now_ns)


def _refuse_if_stopped(tx: Transaction, people: int, *, signed: bool) -> None:
    present = tx.control.control()
    if present.mode is not Mode.NORMAL and present.operator != REPLAY:
        lift = way_back(people, signed=signed)
        raise StateError(f"{present.operator} stopped this run ({present.mode}: {present.reason}); go on with: {lift}")


def flattening(database: Database, account: str, venue: str, now_ns: int) -> bool:
    """Tell whether something waits to be flat, so that each minute has its cycle.

    A take-profit or draw-down, or a part of the platform that is in Emergency.
    """
    with database.snapshot() as tx:
        if ending_epoch(tx) is not None:
            return True
        standing = tx.control.standing()
        if not any(other.mode is Mode.EMERGENCY for other in standing.at(now_ns)):
            return False
        held = [position.symbol for position in tx.ledger.positions() if position.qty]
    modes = [standing.over(account=account, venue=venue, symbol=each, now_ns=now_ns).mode for each in held]
    return Mode.EMERGENCY in modes


def protecting(database: Database, now_ns: int) -> bool:
    """Tell whether exits have opened a cycle at an instant."""
    with database.snapshot() as tx:
        return tx.cycles.cycle(cycle_id(now_ns)) is not None


def mark(database: Database, now_ns: int, *, finished: bool = False) -> None:
    """Record that every step up to `now_ns` is complete."""
    with database.transaction() as tx:
        replay = tx.control.replay()
        assert replay is not None, "a replay that was never begun cannot be marked"
        tx.control.put_replay(replace(replay, now_ns=now_ns, finished=finished))


def otherwise_held(database: Database, observers: Mapping[str, str]) -> tuple[str, ...]:
    """Return the sessions of the observers whose last word on a position is another than the ledger's.

    `observers` are those that can be asked, each with its session.
    """
    with database.snapshot() as tx:
        found = {
            observers[seen.observer]
            for symbol in (instrument.symbol for instrument in tx.market.instruments())
            for seen in tx.ledger.observations(symbol)
            if seen.observer in observers and seen.qty != tx.ledger.position(symbol).qty
        }
    return tuple(sorted(found))


def unsettled(
    database: Database,
    venue: str,
    executions: int,
    *,
    cohort_ns: int | None = None,
    equity_ns: int | None = None,
    cycle_ns: int | None = None,
) -> str | None:
    """Say the first thing that a step still waits for, None when there is nothing."""
    with database.snapshot() as tx:
        if tx.orders.execution_count(venue) < executions:
            return f"execution reports of {venue} up to number {executions}"
        if cohort_ns is not None:
            here = len(tx.cohort.progress(cohort_ns))
            shards = len(tx.cohort.shard_numbers())
            if here < shards:
                return f"{shards - here} of {shards} cohort shards at {iso(cohort_ns)}"
        if equity_ns is not None:
            sample = tx.ledger.last_equity()
            if sample is None or sample.at_ns < equity_ns:
                return f"the equity at {iso(equity_ns)}"
            epoch = ending_epoch(tx)
            if epoch is not None and (step := _next_step(tx, epoch)) is not None:
                return f"step {step} of the end of epoch {epoch}"
        if cycle_ns is not None:
            cycle = tx.cycles.cycle(cycle_id(cycle_ns))
            if cycle is None or cycle.stage != "done":
                return f"the cycle of {iso(cycle_ns)} ({cycle.stage if cycle else 'not begun'})"
            unfinished = tx.cycles.unfinished()
            if unfinished:
                return f"the cycle of {iso(unfinished[0].due_ns)} ({unfinished[0].stage})"
        for order in tx.orders.in_states(UNSETTLED):
            return f"order {order.cl_ord_id} ({order.state})"
    return None


def _next_step(tx: Transaction, epoch: int) -> str | None:
    """Return the step that can be taken now, None while the sequence has to wait until we are flat."""
    return next_step([step.step for step in tx.ledger.steps(epoch)], flat=is_flat(tx))
