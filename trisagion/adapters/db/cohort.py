"""Tables shard, shard_progress, shard_mark, run, epoch."""

import math
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import sqlalchemy as sa

from trisagion.adapters.db import tables as t
from trisagion.adapters.db.market import pack, unpack
from trisagion.adapters.db.session import Session, insert_once, params, upsert
from trisagion.cohort.types import Epoch, Progress, RunEnd, RunRecord, ShardMark, ShardRow
from trisagion.errors import StateError

TAKE_PROFIT: Final = "take_profit"
"""The `reason` of an epoch that ended well."""

_number: Final[sa.BindParameter[Any]] = sa.bindparam("number")

_SHARD_NUMBERS: Final = sa.select(t.shard.c.number).order_by(t.shard.c.number)
_SHARD_HEAD: Final = sa.select(t.shard.c.at_ns, t.shard.c.version).where(t.shard.c.number == _number)
_HOLD_SHARD: Final = _SHARD_HEAD.with_for_update()
_SHARD: Final = sa.select(t.shard).where(t.shard.c.number == _number)
_SHARDS: Final = sa.select(t.shard).order_by(t.shard.c.number)
_ADD_SHARD: Final = insert_once(t.shard)
_SAVE_SHARD: Final = (
    sa.update(t.shard)
    .where(t.shard.c.number == sa.bindparam("its_number"), t.shard.c.version == sa.bindparam("its_version"))
    .values({name: sa.bindparam(name) for name in ("epoch", "at_ns", "version", "state")})
)
_PUT_PROGRESS: Final = insert_once(t.shard_progress)
_HAS_COME_TO: Final = (
    sa.select(sa.literal(1))
    .where(t.shard_progress.c.shard == _number, t.shard_progress.c.at_ns >= sa.bindparam("at_ns"))
    .limit(1)
)
_PROGRESS: Final = (
    sa.select(t.shard_progress)
    .where(t.shard_progress.c.at_ns == sa.bindparam("at_ns"))
    .order_by(t.shard_progress.c.shard)
)
_ADD_MARK: Final = insert_once(t.shard_mark)
_MARKS: Final = sa.select(t.shard_mark).order_by(t.shard_mark.c.at_ns, t.shard_mark.c.shard)
_ADD_RUN: Final = insert_once(t.run)
_END_RUN: Final = (
    sa.update(t.run)
    .where(t.run.c.run_id == sa.bindparam("its_id"), t.run.c.ended_ns.is_(None))
    .values({name: sa.bindparam(name) for name in ("ended_ns", "reason", "pnl", "iterations", "trades")})
)
_RUN_COUNT: Final = sa.select(sa.func.count()).select_from(t.run)
_BIRTHS: Final = sa.select(sa.func.count(), sa.func.count() - sa.func.count(t.run.c.parent)).where(
    t.run.c.epoch == sa.bindparam("epoch")
)
_PAST_RUNS: Final = (
    sa.select(t.run.c.epoch, t.run.c.run_id, t.run.c.pnl)
    .join(t.epoch, t.epoch.c.number == t.run.c.epoch)
    .where(
        t.epoch.c.closed_ns.is_not(None),
        t.epoch.c.reason == TAKE_PROFIT,
        t.run.c.symbol == sa.bindparam("symbol"),
        t.run.c.pnl.is_not(None),
    )
)
_NEWEST_EPOCH: Final = sa.select(t.epoch).order_by(t.epoch.c.number.desc()).limit(1)
_NEWEST_EPOCH_LOCKED: Final = _NEWEST_EPOCH.with_for_update()
_EPOCHS: Final = sa.select(t.epoch).order_by(t.epoch.c.number)
_PUT_EPOCH: Final = upsert(t.epoch)


def _or_nan(value: float | None) -> float:
    return math.nan if value is None else value


def run_order(run_id: str) -> tuple[int, str]:
    """Return what sorts run ids (`R<epoch>-<number>`) in order of draw."""
    number = run_id.rpartition("-")[2]
    return (int(number) if number.isdigit() else 0, run_id)


class Cohort:
    """`ports.CohortStore`."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def shard_numbers(self) -> Sequence[int]:
        """Return the numbers of all shards, in order."""
        return [number for (number,) in self._session.rows(_SHARD_NUMBERS)]

    def shard_head(self, number: int) -> tuple[int, int] | None:
        """Return (at_ns, version) of a shard's checkpoint without its state, None when there is no such shard."""
        row = self._session.row(_SHARD_HEAD, {"number": number})
        return None if row is None else (row.at_ns, row.version)

    def hold_shard(self, number: int) -> tuple[int, int] | None:
        """Return what `shard_head` does; until the transaction's end nobody else writes the checkpoint."""
        row = self._session.row(_HOLD_SHARD, {"number": number})
        return None if row is None else (row.at_ns, row.version)

    def shard(self, number: int) -> ShardRow:
        """Return a shard's checkpoint; `StateError` when there is none."""
        row = self._session.row(_SHARD, {"number": number})
        if row is None:
            raise StateError(f"shard {number} is not in the database: let the supervisor populate the cohort first")
        return ShardRow(*row)

    def shards(self) -> Sequence[ShardRow]:
        """Return all checkpoints in order of number."""
        return [ShardRow(*row) for row in self._session.rows(_SHARDS)]

    def add_shard(self, row: ShardRow) -> None:
        """Record a new shard; the same number again changes nothing."""
        self._session.write(_ADD_SHARD, params(row))

    def save_shard(self, row: ShardRow) -> bool:
        """Replace the checkpoint whose version is `row.version - 1`; False when another writer was first."""
        values: dict[str, Any] = params(row)
        values |= {"its_number": values.pop("number"), "its_version": row.version - 1}
        return self._session.write(_SAVE_SHARD, values) == 1

    def put_progress(self, progress: Progress) -> None:
        """Record a shard's progress; the same shard and instant again changes nothing."""
        self._session.write(_PUT_PROGRESS, params(progress))

    def has_come_to(self, number: int, at_ns: int) -> bool:
        """Tell whether a shard's progress at an instant, or at a later one, is recorded."""
        return self._session.scalar(_HAS_COME_TO, {"number": number, "at_ns": at_ns}) is not None

    def progress(self, at_ns: int) -> Sequence[Progress]:
        """Return the progress of all shards at an instant, in order of shard."""
        return [
            Progress(row.shard, row.at_ns, row.alive, row.in_market, _or_nan(row.best_apr), _or_nan(row.median_apr))
            for row in self._session.rows(_PROGRESS, {"at_ns": at_ns})
        ]

    def add_mark(self, mark: ShardMark) -> None:
        """Record what a shard's runs had earned; the same shard and instant again changes nothing."""
        self._session.write(_ADD_MARK, params(mark) | {"runs": pack(mark.runs, "u4"), "pnl": pack(mark.pnl, "f4")})

    def marks(self) -> Sequence[ShardMark]:
        """Return all marks in order of instant, then shard; P&L with the precision of float32."""
        return [
            ShardMark(at_ns, shard, unpack(runs, "u4", -1).astype(np.int64), unpack(pnl, "f4", -1).astype(np.float64))
            for at_ns, shard, runs, pnl in self._session.rows(_MARKS)
        ]

    def add_runs(self, runs: Sequence[RunRecord]) -> None:
        """Record births; a known run changes nothing."""
        if runs:
            self._session.write(_ADD_RUN, [params(run) for run in runs])

    def end_runs(self, ends: Sequence[RunEnd]) -> None:
        """Record ends; the first end of a run stays."""
        if ends:
            rows = [params(end) for end in ends]
            for row in rows:
                row["its_id"] = row.pop("run_id")
            self._session.write(_END_RUN, rows)

    def run_count(self) -> int:
        """Return how many runs were ever born: the next draw's number.

        In a transaction the newest epoch stays locked until its end, so that no two writers draw the same number.
        """
        if self._session.writable and not self._session.is_sqlite:
            self._session.row(_NEWEST_EPOCH_LOCKED)
        count: int = self._session.scalar(_RUN_COUNT)
        return count

    def births(self, epoch: int) -> tuple[int, int]:
        """Return how many runs were born in an epoch, and how many of them were random draws."""
        row = self._session.row(_BIRTHS, {"epoch": epoch})
        assert row is not None, "a count has a row"
        return row[0], row[1]

    def past_pnls(self, symbol: str) -> Sequence[float]:
        """Return the P&L of the runs of the symbol's past take-profit epochs with a positive total, in order of run."""
        by_epoch: dict[int, list[tuple[tuple[int, str], float]]] = {}
        for number, run_id, pnl in self._session.rows(_PAST_RUNS, {"symbol": symbol}):
            by_epoch.setdefault(number, []).append((run_order(run_id), pnl))
        return [
            pnl
            for _, runs in sorted(by_epoch.items())
            if math.fsum(pnl for _, pnl in runs) > 0
            for _, pnl in sorted(runs)
        ]

    def epoch(self) -> Epoch | None:
        """Return the newest epoch where it is open; in a transaction it is locked until the end, open or not."""
        row = self._session.row(_NEWEST_EPOCH_LOCKED if self._session.writable else _NEWEST_EPOCH)
        return None if row is None or row.closed_ns is not None else Epoch(*row)

    def epochs(self) -> Sequence[Epoch]:
        """Return all epochs in order."""
        return [Epoch(*row) for row in self._session.rows(_EPOCHS)]

    def put_epoch(self, epoch: Epoch) -> None:
        """Insert or update an epoch by its number."""
        self._session.write(_PUT_EPOCH, params(epoch))
