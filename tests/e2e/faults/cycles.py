"""Row 27: the worker that moves a cycle dies at each of its stages, and the next one brings the cycle to its end.

Two symbols are traded, by the votes of a cohort whose checkpoints the lane writes. A cycle has put orders to work; of
the one that follows it, whose votes want other positions, the worker dies. Then either whoever comes next finds that
cycle where it stands, or a minute has passed meanwhile, the account is marked anew, and the next slot's cycle ends it.
Another slot follows, the tape fills what that one wanted, and what is held is what was voted for.
"""

import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final

import numpy as np
import sqlalchemy as sa

from tests.e2e.faults.epochs import hold, position
from tests.e2e.faults.lane import FILLS_END_NS, SYMBOL, Lane, Late
from tests.e2e.faults.rows import LaneRow
from trisagion.adapters.db import tables
from trisagion.clock import SECOND_NS
from trisagion.cohort.state import from_bytes, to_bytes
from trisagion.cohort.types import ShardRow
from trisagion.ids import CycleId, cycle_id
from trisagion.orders.state import LIVE
from trisagion.orders.types import Side

WHO: Final = "gateway"
DIRECTIONS: Final = (-4, -3, -2, -1, 1, 2, 3, 4)
VOTE_LOTS: Final = 2.5
"""What a vote is worth by a lane's settings, but for what was earned."""
UNOPENED: Final = "S1<"
"""Nothing is recorded of the cycle: its message is all there is, and comes again."""
TRIES_MAX: Final = 10
"""Cycles until one goes by way of the stage; a venue that is quick enough leaves one of them out."""
RECOVERY_S_MAX: Final = 30.0


@dataclass(frozen=True, slots=True)
class Slot:
    """A slot of the schedule, and what the cohort wants in it: the direction of each symbol."""

    due_ns: int
    voted: Mapping[str, int]

    @property
    def name(self) -> CycleId:
        """The cycle's name."""
        return cycle_id(self.due_ns)


def cycled(lane: Lane, case: str, draw: random.Random) -> float:
    """Kill the worker at a stage of a cycle; return the seconds until all that was begun is done."""
    hold(lane, draw)
    _begin_epoch(lane)
    before = _undisturbed(lane, draw, {})
    for _ in range(TRIES_MAX):
        hit, reached = _hit(lane, case, draw, before)
        if reached:
            return _recovered(lane, case, draw, hit)
        _expect_decided(lane, hit)
        before = hit
    raise Late(f"expected a cycle of {TRIES_MAX} to come to {case}")


def _hit(lane: Lane, case: str, draw: random.Random, before: Slot) -> tuple[Slot, bool]:
    """Ring a slot's cycle with the worker armed; return the slot, and whether the worker came to the stage and died."""
    lane.arm(WHO, case)
    try:
        slot = _rung(lane, draw, before.voted)
        lane.until(lambda: lane.stopped(WHO) is not None or done(lane, slot), f"{WHO} comes to {case}")
        reached = lane.stopped(WHO) is not None
        if reached:
            lane.kill(WHO)
    finally:
        lane.disarm(WHO)
    return slot, reached


def _recovered(lane: Lane, case: str, draw: random.Random, hit: Slot) -> float:
    """See the cycle that was hit and the next slot's to their ends; return the seconds since the blow."""
    begun_s = time.monotonic()
    lane.sweep_now()
    overtaken = draw.random() < 0.5
    if overtaken:
        after = _rung(lane, draw, hit.voted)
        lane.until(lambda: done(lane, after) and _none_is_open(lane), "the cycles are done")
        recovery_s = time.monotonic() - begun_s
    else:
        if case == UNOPENED:
            lane.ring_at("reconcile.cycle", hit.due_ns)
        lane.until(lambda: done(lane, hit), "the cycle is done")
        recovery_s = time.monotonic() - begun_s
        _expect_decided(lane, hit)
        _expect_alone(lane, hit)
        after = _undisturbed(lane, draw, hit.voted)
    _expect_once(lane, hit)
    _expect_decided(lane, after)
    _expect_alone(lane, after)
    _expect_filled(lane, after)
    return recovery_s


def _begin_epoch(lane: Lane) -> None:
    """Count the epoch from now on: what earlier rounds earned is no crossing of this one."""
    with lane.database.transaction() as tx:
        epoch = tx.cohort.epochs()[-1]
        tx.cohort.put_epoch(replace(epoch, opened_ns=lane.now_ns, baseline=None))


def _undisturbed(lane: Lane, draw: random.Random, other: Mapping[str, int]) -> Slot:
    """Have a slot's cycle decide and its orders work."""
    slot = _rung(lane, draw, other)
    lane.until(lambda: done(lane, slot), "the cycle is done")
    _expect_decided(lane, slot)
    return slot


def _rung(lane: Lane, draw: random.Random, other: Mapping[str, int]) -> Slot:
    """Let a minute pass in which the cohort comes to want something else, and ring its cycle."""
    at_ns = lane.now_ns + SECOND_NS
    slot = Slot(at_ns, {symbol: _direction(lane, draw, symbol, other) for symbol in lane.symbols})
    lane.go_to(at_ns)
    lane.publish(at_ns)
    vote(lane, slot)
    lane.ring_at("take_profit.watch", at_ns)
    lane.until(partial(marked, lane, at_ns), "the account is marked")
    lane.ring_at("reconcile.cycle", at_ns)
    return slot


def _direction(lane: Lane, draw: random.Random, symbol: str, other: Mapping[str, int]) -> int:
    """Draw a direction that is not the last one's and that asks for an order of more than a lot."""
    held, last = position(lane, symbol), other.get(symbol)
    return draw.choice([each for each in DIRECTIONS if each != last and abs(int(VOTE_LOTS * each) - held) > 1])


def vote(lane: Lane, slot: Slot) -> None:
    """Write the checkpoints of a slot: of each symbol the first run that trades it wins, the others rest."""
    with lane.database.transaction() as tx:
        silent = dict(slot.voted)
        for number in tx.cohort.shard_numbers():
            tx.cohort.hold_shard(number)
            row = tx.cohort.shard(number)
            shard = from_bytes(row.state)
            shard.state["direction"] = 0
            shard.state["live_pnl"] = 0.0
            shard.state["evaluated_ns"] = slot.due_ns
            for symbol in list(silent):
                for run in np.flatnonzero(shard.alive & shard.on(symbol))[:1]:
                    shard.state["direction"][run] = silent.pop(symbol)
                    shard.state["live_pnl"][run] = 1.0
            fresh = ShardRow(number, shard.epoch, slot.due_ns, row.version + 1, to_bytes(shard))
            assert tx.cohort.save_shard(fresh), f"shard {number}: its row is held"
        assert not silent, f"expected a run on each symbol, found none on {', '.join(silent)}"


def marked(lane: Lane, at_ns: int) -> bool:
    """Tell whether the account was marked at an instant."""
    with lane.database.snapshot() as tx:
        sample = tx.ledger.last_equity()
    return sample is not None and sample.at_ns == at_ns


def done(lane: Lane, slot: Slot) -> bool:
    """Tell whether a cycle is done and its orders are where the venue says they are."""
    return (
        _ended(lane, slot) and lane.settled() and lane.confirmed(*(order.cl_ord_id for order in orders_of(lane, slot)))
    )


def _ended(lane: Lane, slot: Slot) -> bool:
    with lane.database.snapshot() as tx:
        cycle = tx.cycles.cycle(slot.name)
    return cycle is not None and cycle.stage == "done"


def _none_is_open(lane: Lane) -> bool:
    """Tell whether every cycle is done; one that was overtaken before it was opened has left nothing."""
    with lane.database.snapshot() as tx:
        return not tx.cycles.unfinished()


def _rows(lane: Lane, table: sa.Table, column: "sa.Column[Any]", slot: Slot) -> Sequence[Any]:
    with lane.database.snapshot() as unit:
        return unit.session.rows(sa.select(table).where(column == slot.name))


def orders_of(lane: Lane, slot: Slot) -> Sequence[Any]:
    """Return the orders of a slot's cycle."""
    return _rows(lane, tables.orders, tables.orders.c.cycle, slot)


def _expect_once(lane: Lane, slot: Slot) -> None:
    """Each symbol was decided once at most, and each decision has made the one order that it wanted, or none."""
    decisions = _rows(lane, tables.decision, tables.decision.c.cycle_id, slot)
    orders = orders_of(lane, slot)
    assert len({each.symbol for each in decisions}) == len(decisions), (
        f"expected a decision a symbol, found {decisions}"
    )
    wanted = sorted((each.intent, abs(each.delta)) for each in decisions if each.intent is not None)
    found = sorted((order.intent, order.qty) for order in orders)
    assert found == wanted, f"expected the orders of {slot.name} to be {wanted}, found {found}"
    failed = [each.reasons for each in decisions if "FAILED" in each.reasons]
    assert not failed, f"expected every symbol to be decided, found {failed}"


def _expect_decided(lane: Lane, slot: Slot) -> None:
    """Each symbol was decided by its own votes, with an order."""
    _expect_once(lane, slot)
    decisions = _rows(lane, tables.decision, tables.decision.c.cycle_id, slot)
    found = {each.symbol: each.direction for each in decisions}
    assert found == slot.voted, f"expected the votes of {slot.name} to be {slot.voted}, found {found}"
    idle = [each.reasons for each in decisions if each.intent is None]
    assert not idle, f"expected each symbol of {slot.name} to have an order, found none: {idle}"


def _expect_alone(lane: Lane, slot: Slot) -> None:
    """Nothing is left of earlier cycles; what is at work is this one's."""
    others = [order.cl_ord_id for order in lane.in_states(LIVE) if order.cycle != slot.name]
    assert not others, f"expected the orders of {slot.name} alone to work, found {', '.join(others)}"


def _expect_filled(lane: Lane, slot: Slot) -> None:
    """The tape comes to what was wanted: it is held then, to the lot."""
    [order] = [order for order in orders_of(lane, slot) if order.symbol == SYMBOL]
    leaves = order.qty - order.cum_qty
    goal = position(lane) + (leaves if order.side == Side.BUY else -leaves)
    lane.play(FILLS_END_NS)
    lane.until(lane.settled, "every report is booked")
    assert position(lane) == goal, f"expected {goal} {SYMBOL} to be held, found {position(lane)}"


ROWS: Final = (
    LaneRow(
        number=27,
        what="`kill -9` of the worker before and after the commit of each stage of a cycle (S1 to S5)",
        must="I1 I2 I3 I8; each symbol is decided once, with one order; nothing of earlier cycles works on; the next "
        "slot's cycle follows, and what it wants is held",
        cases={f"S{stage}{side}": 50 for stage in range(1, 6) for side in "<>"},
        short=("S3>", "S4<"),
        play=cycled,
        recovery_s_max=RECOVERY_S_MAX,
    ),
)
