"""Shards: advancing, checkpoints, votes and progress."""

import math
import re
import zlib
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from ext.cohort import RING
from tests.builders import ES
from tests.builders import states as states_after
from trisagion.clock import MINUTE_NS, SECOND_NS
from trisagion.cohort.advance import advance, progress
from trisagion.cohort.state import BYTES_PER_RUN_MAX, Shard, from_bytes, to_bytes, votes
from trisagion.cohort.supervise import CohortRules, first_shards
from trisagion.errors import DataError, StateError
from trisagion.market.types import TICK_NS, MarketState

BORN_NS = 1000 * MINUTE_NS


def market(minutes: int, seed: int = 1) -> list[MarketState]:
    """Return the states of some minutes after the birth."""
    return states_after(minutes, BORN_NS, seed)


def shard_of(runs: int) -> Shard:
    """Return one shard of new runs without fees, so that some win."""
    rules = CohortRules(desired_runs=runs, shards=1, fee_rate=0.0)
    return first_shards(rules, [ES], epoch=3, seed=7, next_number=0, now_ns=BORN_NS).shards[0]


def rings(shard: Shard) -> list[tuple[list[int], list[bytes]]]:
    """Return what each run's ring holds, oldest first; what an unused slot holds is nobody's."""
    held = []
    for row, state in enumerate(shard.state):
        slots = [(state["ring_first"] + n) % RING for n in range(state["ring_count"])]
        held.append((shard.ring_ns[row, slots].tolist(), [apr.tobytes() for apr in shard.ring_apr[row, slots]]))
    return held


def assert_same(a: Shard, b: Shard) -> None:
    """Check that two shards are equal to the bit."""
    assert (a.number, a.symbol, a.epoch, a.at_ns, a.run_ids) == (b.number, b.symbol, b.epoch, b.at_ns, b.run_ids)
    for name in ("params", "state"):
        assert getattr(a, name).tobytes() == getattr(b, name).tobytes(), name
    assert rings(a) == rings(b)


def test_continuing_from_a_checkpoint_equals_the_undisturbed_course() -> None:
    """Saved and read back between all steps, a shard ends as one that was never touched, to the bit."""
    states = market(90)
    undisturbed = advance(shard_of(40), states)
    resumed = shard_of(40)
    for state in states:
        resumed = from_bytes(to_bytes(advance(resumed, [state])))
    assert_same(resumed, undisturbed)
    assert undisturbed.state["trades"].sum() > 100


def test_advancing_leaves_the_given_shard_as_it_was() -> None:
    """A new shard is returned; the old one can be advanced again, to the same end."""
    shard = shard_of(20)
    before = to_bytes(shard)
    states = market(10)
    first = advance(shard, states)
    assert to_bytes(shard) == before
    assert_same(advance(shard, states), first)


def test_what_was_seen_is_not_seen_again() -> None:
    """Repeated and overlapping calls do no harm: states up to the shard's own instant are skipped."""
    states = market(20)
    shard = advance(shard_of(20), states[:12])
    assert shard.at_ns == states[11].at_ns
    assert advance(shard, states[:12]) is shard
    assert_same(advance(shard, states), advance(shard_of(20), states))


def test_ticks_before_the_shards_instant_are_skipped_inside_a_state() -> None:
    """A shard that is true at the middle of a minute sees the minute's later ticks only."""
    shard = replace(shard_of(5), at_ns=BORN_NS + 3 * TICK_NS)
    after = advance(shard, market(1))
    assert (after.state["iterations"] <= 3).all()
    assert (after.state["iterations"] >= 1).all()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda state: replace(state, symbol="NQ"), "symbol"),
        (lambda state: replace(state, ts_ns=state.ts_ns - np.arange(6) * SECOND_NS), "apart"),
        (lambda state: replace(state, ts_ns=state.ts_ns[::-1].copy()), "apart"),
        (lambda state: replace(state, price=state.price * math.nan), "prices above 0"),
        (lambda state: replace(state, price=-state.price), "prices above 0"),
        (lambda state: replace(state, weight=state.weight * math.nan), "finite features"),
        (lambda state: replace(state, volatility=state.volatility * math.inf), "finite features"),
    ],
)
def test_a_state_that_cannot_be_is_refused(damage: Callable[[MarketState], MarketState], message: str) -> None:
    """The message names the shard and what was expected; nothing was advanced."""
    with pytest.raises(DataError, match=message):
        advance(shard_of(5), [damage(market(1)[0])])


def test_a_shard_that_is_consumed_ends_as_one_that_is_copied() -> None:
    """Its own arrays are moved on, minute by minute, without another copy of them."""
    states = market(45)
    moved = shard_of(20)
    arrays = moved.params, moved.state, moved.ring_ns, moved.ring_apr
    for state in states:
        moved = advance(moved, [state], consume=True)
    assert_same(moved, advance(shard_of(20), states))
    after = (moved.params, moved.state, moved.ring_ns, moved.ring_apr)
    assert all(one is other for one, other in zip(arrays, after, strict=True))


def test_rings_come_back_wherever_they_begin() -> None:
    """Empty, full, one slot, and round the end: each used slot to the bit, all others as zeros."""
    shard = shard_of(40)
    generator = np.random.default_rng(5)
    first = generator.integers(0, RING, 40)
    count = generator.integers(0, RING + 1, 40)
    count[:4], first[4:6], count[4:6] = (0, 1, RING, RING - 1), RING - 1, (2, RING)
    shard.state["ring_first"], shard.state["ring_count"] = first, count
    shard.ring_ns[:] = generator.integers(-(2**63), 2**63 - 1, shard.ring_ns.shape)
    shard.ring_apr[:] = generator.standard_normal(shard.ring_apr.shape)
    back = from_bytes(to_bytes(shard))
    assert_same(back, shard)
    assert (back.ring_ns != 0).sum() == count.sum()
    assert (back.ring_apr != 0).sum() == count.sum()


@pytest.mark.parametrize("runs", [0, 1, 40])
def test_a_checkpoint_reads_back_to_the_bit(runs: int) -> None:
    """All of a shard is in it, within the bytes that a run may take."""
    shard = advance(shard_of(runs), market(31))
    data = to_bytes(shard)
    assert_same(from_bytes(data), shard)
    assert len(data) <= 512 + BYTES_PER_RUN_MAX * runs


def test_any_changed_byte_of_a_checkpoint_is_noticed() -> None:
    """Wherever a bit flips, reading says that the checkpoint is damaged instead of running on it."""
    data = to_bytes(advance(shard_of(2), market(3)))
    for position in [*range(400), *range(400, len(data), 97), len(data) - 1]:
        damaged = bytearray(data)
        damaged[position] ^= 0x10
        with pytest.raises(StateError, match="shard checkpoint"):
            from_bytes(bytes(damaged))


def sealed(body: bytes) -> bytes:
    """Return a checkpoint of another version: magic and CRC are right, what follows is its own."""
    return b"TRSH" + zlib.crc32(body).to_bytes(4, "little") + body


def next_digit(found: re.Match[bytes]) -> bytes:
    """Return a digit one above the one found."""
    return bytes([found[0][0] + 1])


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda data: b"", "at least"),
        (lambda data: data[:10], "at least"),
        (lambda data: data[:-1], "CRC"),
        (lambda data: data + b"\0", "CRC"),
        (lambda data: b"ZIP!" + data[4:], "magic"),
        (lambda data: sealed(b"\x09\0\0\0" + data[12:]), "format"),
        (lambda data: sealed(re.sub(rb"[0-8](?=\d*, .number)", next_digit, data[8:], count=1)), "layout"),
    ],
)
def test_bytes_that_are_no_checkpoint_are_refused(damage: Callable[[bytes], bytes], message: str) -> None:
    """The message says what was expected and found."""
    with pytest.raises(StateError, match=message):
        from_bytes(damage(to_bytes(shard_of(1))))


def test_votes_are_the_runs_of_the_symbol() -> None:
    """Direction, P&L, end and last tick of all runs of all its shards, in order; other symbols do not vote."""
    first = advance(shard_of(10), market(60))
    first.state["exit_code"][3] = 1
    second = replace(first, number=1, symbol="NQ")
    found = votes([first, second, first], "ES")
    assert found.direction.tolist() == first.state["direction"].tolist() * 2
    assert found.live_pnl.tolist() == (first.state["balance"] - first.state["start"]).tolist() * 2
    assert found.exiting.tolist() == [row in {3, 13} or bool(first.state["exit_code"][row % 10]) for row in range(20)]
    assert found.updated_ns.tolist() == first.state["evaluated_ns"].tolist() * 2
    assert len(votes([second], "ES").direction) == 0


def test_progress_looks_at_the_market_first() -> None:
    """APRs are of the live runs in the market; of all live runs while none is; unknown when none lives."""
    shard = shard_of(4)
    shard.state["apr"] = [1.0, 2.0, 4.0, 9.0]
    none_in_market = progress(shard)
    assert (none_in_market.alive, none_in_market.in_market) == (4, 0)
    assert (none_in_market.best_apr, none_in_market.median_apr) == (9.0, 3.0)

    shard.state["direction"] = [1, -2, 5, 0]
    shard.state["exit_code"] = [0, 0, 1, 0]
    some = progress(shard)
    assert (some.shard, some.at_ns, some.alive, some.in_market) == (0, BORN_NS, 3, 2)
    assert (some.best_apr, some.median_apr) == (2.0, 1.5)

    shard.state["exit_code"] = 1
    dead = progress(shard)
    assert (dead.alive, dead.in_market) == (0, 0)
    assert math.isnan(dead.best_apr)
    assert math.isnan(dead.median_apr)
