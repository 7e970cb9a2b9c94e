"""Who lives and who has lived: the best runs, and of one run its ancestors, its descendants and what mutated."""

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

from trisagion.cohort.types import ExitReason
from trisagion.ids import RunId

Value: TypeAlias = float | str


class By(StrEnum):
    """What makes a run better than another."""

    LIVE_PNL = "live_pnl"
    APR = "apr"
    PNL_PER_TRADE = "pnl_per_trade"


@dataclass(frozen=True, slots=True)
class Member:
    """A run as it stands, or as it ended.

    `live_pnl` is in the run's own money, `apr` a multiple per year; NaN while no time has passed. `direction` is None
    of a run whose end is recorded: what it held then is not kept. `params` is the parameter set as JSON. `parent` may
    be the foreign name of a survivor (`cohort.survivors`).
    """

    run_id: RunId
    epoch: int
    symbol: str
    parent: RunId | None
    born_ns: int
    ended_ns: int | None
    reason: ExitReason | None
    direction: int | None
    trades: int
    iterations: int
    live_pnl: float
    apr: float
    params: str

    @property
    def alive(self) -> bool:
        """Whether it has not ended."""
        return self.ended_ns is None

    @property
    def pnl_per_trade(self) -> float:
        """Return the P&L over the number of trades, NaN before the first."""
        return self.live_pnl / self.trades if self.trades else math.nan

    def age_ns(self, now_ns: int) -> int:
        """Return how long it has lived."""
        return (now_ns if self.ended_ns is None else self.ended_ns) - self.born_ns


@dataclass(frozen=True, slots=True)
class Change:
    """A parameter that a clone does not have from its parent."""

    name: str
    old: Value
    new: Value


@dataclass(frozen=True, slots=True)
class Kin:
    """One run of a lineage: how many generations it is from the eldest, and what changed from its parent."""

    member: Member
    generation: int
    changes: tuple[Change, ...]


@dataclass(frozen=True, slots=True)
class Lineage:
    """The line from the eldest known ancestor down to a run, and the run's descendants, each behind its parent."""

    line: tuple[Kin, ...]
    descendants: tuple[Kin, ...]


def best(members: Sequence[Member], by: By, count: int) -> list[Member]:
    """Return the `count` best, the best first; those without a figure last, equals in the order given."""

    def badness(member: Member) -> tuple[bool, float]:
        value = float(getattr(member, by))
        return (True, 0.0) if math.isnan(value) else (False, -value)

    return sorted(members, key=badness)[:count]


def winners(members: Sequence[Member]) -> list[Member]:
    """Return those that live and have gained, the best first."""
    gained = [member for member in members if member.alive and member.live_pnl > 0]
    return best(gained, By.LIVE_PNL, len(gained))


def lineage(members: Sequence[Member], run_id: RunId) -> Lineage | None:
    """Return the lineage of a run; None when it is not among the members.

    The eldest ancestor is a random draw or a survivor, or, were births missing, the first that is known.
    """
    by_id = {member.run_id: member for member in members}
    if run_id not in by_id:
        return None
    upward = [by_id[run_id]]
    while (parent := by_id.get(upward[-1].parent or RunId(""))) is not None:
        assert parent.born_ns <= upward[-1].born_ns, f"{parent.run_id} is younger than its clone"
        assert len(upward) <= len(by_id), f"{run_id} descends from itself"
        upward.append(parent)
    line = [Kin(member, generation, _changes(by_id, member)) for generation, member in enumerate(reversed(upward))]
    children: dict[RunId, list[Member]] = {}
    for member in members:
        if member.parent is not None:
            children.setdefault(member.parent, []).append(member)
    return Lineage(tuple(line), tuple(_descendants(by_id, children, line[-1])))


def _descendants(by_id: dict[RunId, Member], children: dict[RunId, list[Member]], head: Kin) -> Iterator[Kin]:
    """Yield all descendants, each before its own and behind its elder siblings and theirs."""
    waiting = [(member, head.generation + 1) for member in reversed(children.get(head.member.run_id, []))]
    while waiting:
        member, generation = waiting.pop()
        yield Kin(member, generation, _changes(by_id, member))
        waiting += [(child, generation + 1) for child in reversed(children.get(member.run_id, []))]


def _changes(by_id: dict[RunId, Member], member: Member) -> tuple[Change, ...]:
    parent = by_id.get(member.parent or RunId(""))
    return () if parent is None else changes(parent.params, member.params)


def changes(old: str, new: str) -> tuple[Change, ...]:
    """Return the parameters in which two sets, as JSON, differ, in the order of the sets."""
    before, after = json.loads(old), json.loads(new)
    return tuple(Change(name, before[name], after[name]) for name in before if before[name] != after[name])
