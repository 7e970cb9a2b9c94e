"""Keep protective exits: follow the market at each mark, bound what cycles want, ring a cycle at once where need be.

The state of an exit moves in the transaction that marks the account, and the cycle that a crossing rings is opened in
it: whoever dies after that leaves a cycle to be found by the sweep, whoever dies before leaves a minute that was not
marked. Such a cycle decides only on what has to go; the others' orders rest. Orders are those of any cycle: they make.
"""

from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from trisagion.clock import MINUTE_NS, SECOND_NS
from trisagion.ids import cycle_id
from trisagion.ledger.types import Strategy
from trisagion.market.calendar import closing_of
from trisagion.market.types import Instrument
from trisagion.orders.state import LIVE
from trisagion.orders.types import Side
from trisagion.portfolio.exits import ExitRules, ExitState, allowance, bounded, follow, released
from trisagion.ports import Cycle, Transaction
from trisagion.safety.modes import Mode
from trisagion.units import Quantity, plain

CATCH_UP_BARS: Final = 1440
"""A day of minutes: more that were not followed are not gone through again."""

YIELD_NS: Final = 120 * SECOND_NS
"""An unfinished cycle has so long before one of ours may overtake it and end it."""


@dataclass(frozen=True, slots=True)
class Protection:
    """What exits are kept with; a cycle due at a multiple of `interval_ns` decides on everything, any other on exits.

    `account` and `session` are those that orders are for: a pause may be theirs alone. `strategy` is whose positions
    are protected: the cohort's, which are all that there are.
    """

    exits: ExitRules
    interval_ns: int
    account: str
    session: str
    strategy: str = Strategy.COHORT


def watch_exits(tx: Transaction, protection: Protection, now_ns: int) -> None:
    """Bring every exit up to the bars and positions of an instant; open a cycle where something has to go at once."""
    urgent = False
    for instrument in tx.market.instruments():
        before = tx.exits.state(protection.strategy, instrument.symbol)
        after = _followed(tx, protection, before, instrument, now_ns)
        if after != before:
            tx.exits.put(after)
            _tell(tx, protection, before, after)
        urgent = urgent or _must_go(tx, protection, after, instrument, now_ns)
    if urgent and _may_open(tx, protection, now_ns):
        tx.cycles.open_cycle(Cycle(cycle_id(now_ns), now_ns, "opened", None, 0))


def is_protective(tx: Transaction, protection: Protection | None, due_ns: int) -> bool:
    """Tell whether the cycle of an instant was opened for exits, and is for nothing else."""
    if protection is None or due_ns % protection.interval_ns == 0:
        return False
    return tx.cycles.cycle(cycle_id(due_ns)) is not None


def is_rung(tx: Transaction, protection: Protection | None, due_ns: int) -> bool:
    """Tell whether a cycle that was opened for exits is still to be done."""
    if not is_protective(tx, protection, due_ns):
        return False
    found = tx.cycles.cycle(cycle_id(due_ns))
    return found is not None and found.stage != "done"


def exposed(tx: Transaction, protection: Protection) -> list[Instrument]:
    """Return the instruments of which more is held than may stay."""
    found = []
    for instrument in tx.market.instruments():
        state = tx.exits.state(protection.strategy, instrument.symbol)
        most = allowance(state, protection.exits)
        held = tx.ledger.position(instrument.symbol).qty
        if most is not None and held * state.side - most >= instrument.lot_size:
            found.append(instrument)
    return found


def bound(
    tx: Transaction,
    protection: Protection,
    symbol: str,
    voted: Decimal,
    desired: Decimal,
    actual: Quantity | None,
    *,
    known: bool,
) -> tuple[Decimal, bool, tuple[str, ...]]:
    """Return the desired position within what may be held, whether it is known then, and why it has to be less.

    Where it is not known what is wanted, what is held is wanted: it stays, but for what has to go. What the votes want
    frees a side that is barred, not what the clamps leave of it.
    """
    state = tx.exits.state(protection.strategy, symbol)
    if known:
        free = released(state, voted)
        if free != state:
            tx.exits.put(free)
            state = free
    within, reason = bounded(state, protection.exits, desired if known or actual is None else actual)
    return (desired, known, ()) if reason is None else (within, True, (reason,))


def _followed(
    tx: Transaction, protection: Protection, state: ExitState, instrument: Instrument, now_ns: int
) -> ExitState:
    position = tx.ledger.position(instrument.symbol)
    if not position.qty and not state.qty:
        return state
    unseen = min((now_ns - state.seen_ns) // MINUTE_NS, CATCH_UP_BARS) if state.qty else 0
    bars = tx.market.bars(instrument.symbol, now_ns, protection.exits.minutes + unseen)
    return follow(state, qty=position.qty, cost=position.cost, bars=bars, rules=protection.exits, instrument=instrument)


def _must_go(tx: Transaction, protection: Protection, state: ExitState, instrument: Instrument, now_ns: int) -> bool:
    """Tell whether more is held than may stay, beyond what orders at the best price are about to take away.

    Not where nothing can be done about it now: in a rest, in a pause of all or of a part that the symbol belongs to.
    """
    most = allowance(state, protection.exits)
    if most is None or not state.qty or closing_of(instrument, now_ns) is not None:
        return False
    of = {"account": protection.account, "venue": protection.session, "symbol": instrument.symbol}
    if tx.control.standing().over(**of, now_ns=now_ns).mode is Mode.PAUSE:
        return False
    quote = tx.market.quote(instrument.symbol, now_ns)
    if quote is None:
        return False
    side = Side.SELL if state.side > 0 else Side.BUY
    best = quote.ask if side is Side.SELL else quote.bid
    going = sum(
        (
            order.leaves_qty
            for order in tx.orders.in_states(LIVE)
            if (order.symbol, order.side, order.cancel_reason) == (instrument.symbol, side, None)
            and (order.price is None or (order.price - best) * state.side <= 0)
        ),
        Decimal(0),
    )
    return state.qty * state.side - most - going >= instrument.lot_size


def _may_open(tx: Transaction, protection: Protection, now_ns: int) -> bool:
    if now_ns % protection.interval_ns == 0:
        return False
    under_way = (cycle for cycle in tx.cycles.unfinished() if cycle.stage != "decided")
    return all(cycle.due_ns < now_ns - YIELD_NS for cycle in under_way)


def _tell(tx: Transaction, protection: Protection, before: ExitState, after: ExitState) -> None:
    """Record that a stop was crossed or a scale-out reached, once each."""
    same = before.opened_ns == after.opened_ns
    told = {"strategy": protection.strategy, **_words(after)}
    for leg in range(before.legs if same else 0, after.legs):
        tx.control.add_event("exit.scale_out", after.symbol, {**told, "leg": str(leg + 1)}, after.seen_ns)
    if after.cause is not None and not (same and before.cause is after.cause):
        tx.control.add_event(f"exit.{after.cause}", after.symbol, told, after.seen_ns)


def _words(state: ExitState) -> dict[str, str]:
    numbers = {"qty": state.qty, "entry": state.entry, "peak": state.peak, "stop": state.stop, "atr": state.atr}
    return {name: "none" if number is None else plain(number) for name, number in numbers.items()}
