"""Row 26: the worker that carries it dies at each of its steps, and it is carried on, once.

The lane's minutes stand in for the replay's driver: a price is published and the watch is rung, again each minute. A
price that only the platform believes in makes the crossing; the tape's own lets the flattening orders fill.
"""

import random
import time
from decimal import Decimal
from functools import partial
from typing import Final

import sqlalchemy as sa

from tests.e2e.faults.lane import FILLS_END_NS, LAST, ROUND_NS, SYMBOL, Lane, Late
from tests.e2e.faults.rows import LaneRow, die
from trisagion.adapters.db import tables
from trisagion.clock import SECOND_NS
from trisagion.ids import cycle_id
from trisagion.ledger.take_profit import BASELINE_SAMPLES, STEPS
from trisagion.units import Price

WHO: Final = "gateway"
JUMP: Final = Decimal(50)
"""A lot gains this at the crossing: five times the threshold of a lane."""
MINUTE_S_MAX: Final = 4.0
"""A minute that is not done by then had its message lost; the next one makes up for it."""
MINUTES_MAX: Final = 20
RECOVERY_S_MAX: Final = 30.0


def carried_on(lane: Lane, case: str, draw: random.Random) -> float:
    """Kill the worker before or after the commit of a step; return the seconds until a minute was done again."""
    hold(lane, draw)
    for _ in range(BASELINE_SAMPLES):
        _minute(lane)
    lane.work(draw, 1)
    held, number, since_ns = position(lane), _epoch(lane), lane.now_ns
    crossing = Price(LAST + JUMP.copy_sign(held))
    blow = die(lane, WHO, WHO, case, lambda: _carry_on(lane, number, crossing))
    _minute(lane, Price(LAST) if _steps(lane, number) else crossing)
    recovery_s = time.monotonic() - blow.at_s
    _carry_on(lane, number, crossing)
    assert _steps(lane, number) == STEPS, f"expected all steps of epoch {number}, found {_steps(lane, number)}"
    assert _epoch(lane) == number + 1, f"expected epoch {number + 1} after {number}, found {_epoch(lane)}"
    _flattened_once(lane, held, since_ns)
    return recovery_s


def _carry_on(lane: Lane, number: int, crossing: Price) -> None:
    """Let minutes pass, the crossing first, and the tape come to what flattens, until all is done or the worker stops.

    Nothing is filled before the crossing is detected.
    """
    for _ in range(MINUTES_MAX):
        if _steps(lane, number) == STEPS:
            return
        if lane.fills_over():
            lane.begin_round()
        detected = bool(_steps(lane, number))
        _minute(lane, Price(LAST) if detected else crossing)
        if lane.stopped(WHO) is not None:
            return
        if detected:
            lane.play(FILLS_END_NS)


def hold(lane: Lane, draw: random.Random) -> None:
    """Have a position, and a round that has just begun."""
    for _ in range(MINUTES_MAX):
        if position(lane):
            return
        lane.work(draw, 1)
        lane.end_round()
        lane.begin_round()
    raise Late("expected a position after so many rounds")


def _minute(lane: Lane, price: Price = Price(LAST)) -> None:
    """Let a minute pass: a price, the watch, and what follows from it; again the next one where the message is lost."""
    for _ in range(MINUTES_MAX):
        at_ns = lane.now_ns + SECOND_NS
        lane.go_to(at_ns)
        lane.publish(at_ns, price)
        lane.ring_at("take_profit.watch", at_ns)
        try:
            lane.until(
                partial(_done, lane, at_ns),
                "the minute is done",
                MINUTE_S_MAX,
            )
        except Late:
            continue
        return
    raise Late(f"expected a minute of {MINUTES_MAX} to be done")


def _done(lane: Lane, at_ns: int) -> bool:
    """Tell whether the account is marked and the cycle of a flattening done, or the worker has stopped."""
    if lane.stopped(WHO) is not None:
        return True
    with lane.database.snapshot() as tx:
        sample = tx.ledger.last_equity()
        epochs = tx.cohort.epochs()
        waiting = [steps[-1].step for epoch in epochs[-2:] if (steps := tx.ledger.steps(epoch.number))][-1:]
        cycle = tx.cycles.cycle(cycle_id(at_ns))
    if sample is None or sample.at_ns != at_ns or (waiting and waiting[0] not in {"Flattening", "Done"}):
        return False
    return (waiting != ["Flattening"] or (cycle is not None and cycle.stage == "done")) and lane.settled()


def position(lane: Lane, symbol: str = SYMBOL) -> Decimal:
    """Return what is held."""
    with lane.database.snapshot() as tx:
        return tx.ledger.position(symbol).qty


def _epoch(lane: Lane) -> int:
    with lane.database.snapshot() as tx:
        return tx.cohort.epochs()[-1].number


def _steps(lane: Lane, number: int) -> tuple[str, ...]:
    with lane.database.snapshot() as tx:
        return tuple(step.step for step in tx.ledger.steps(number))


def _flattened_once(lane: Lane, held: Decimal, since_ns: int) -> None:
    """What was filled since the crossing is the position that was held, no more, and all of it one way."""
    fills = sa.select(tables.execution).where(
        tables.execution.c.happened_ns >= since_ns, tables.execution.c.last_qty > Decimal(0)
    )
    with lane.database.snapshot() as unit:
        signed = [fill.last_qty if fill.side == "buy" else -fill.last_qty for fill in unit.session.rows(fills)]
    assert sum(signed) == -held, f"expected fills of {-held} to flatten {held}, found {signed}"
    assert all((qty > 0) is (held < 0) for qty in signed), f"expected one way of flattening {held}, found {signed}"


assert FILLS_END_NS + (MINUTES_MAX + 1) * SECOND_NS < ROUND_NS, "minutes after the fills stay within the round"


ROWS: Final = (
    LaneRow(
        number=26,
        what="`kill -9` of the worker before and after the commit of each step of a take-profit (T1 to T6)",
        must="I1 I2 I3 I8; all steps once; exactly one flattening for each crossing",
        cases={f"T{step}{side}": 50 for step in range(1, 7) for side in "<>"},
        short=("T4>",),
        play=carried_on,
        recovery_s_max=RECOVERY_S_MAX,
    ),
)
