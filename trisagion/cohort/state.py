"""A shard: a part of the cohort that one task advances, and its checkpoint as bytes.

A checkpoint holds the arrays as they are, so that continuing from one equals the undisturbed course bit for bit.
Layout, all little-endian: magic (4 bytes), CRC-32 of all that follows (u4), format (u4), length of the header (u4),
header (JSON), then symbols, params, state, ring instants and ring APRs, field by field. Of the rings only the slots in
use are written, run by run and in order of slot: most are not, and nothing ever reads what lies in those; they come
back as zeros. Nothing in a checkpoint is code: no pickle.
"""

import json
import math
import struct
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ext.cohort import (
    ALIVE,
    EXIT_APR_TARGET,
    EXIT_MAX_DURATION,
    EXIT_REVERSAL,
    PARAMS_DTYPE,
    RING,
    STATE_DTYPE,
    Columns,
)
from trisagion.cohort.types import ExitReason, Votes
from trisagion.errors import StateError
from trisagion.ids import RunId
from trisagion.market.types import Float64Array, Int64Array

EXIT_REASONS: Final = {
    EXIT_MAX_DURATION: ExitReason.MAX_DURATION,
    EXIT_APR_TARGET: ExitReason.APR_TARGET,
    EXIT_REVERSAL: ExitReason.REVERSAL,
}
"""What the kernel's exit codes mean."""

BYTES_PER_RUN_MAX: Final = 4096
assert 8 + PARAMS_DTYPE.itemsize + STATE_DTYPE.itemsize + RING * 16 < BYTES_PER_RUN_MAX

_MAGIC: Final = b"TRSH"
_FORMAT: Final = 3
_SEAL: Final = struct.Struct("<4sI")
_HEAD: Final = struct.Struct("<II")
_LAYOUT: Final = zlib.crc32(repr((PARAMS_DTYPE.descr, STATE_DTYPE.descr, RING)).encode())
"""Stands for the names, order and types of all fields: a checkpoint of another layout is refused, not misread."""


@dataclass(frozen=True, slots=True, eq=False)
class Shard:
    """The runs of one shard, on any symbols.

    `seen_ns` says of each symbol up to which instant all its ticks have been seen; its place there is its name.
    Row r of each array belongs to `run_ids[r]`. Shapes: `symbol` int64 (k,), the place of the symbol that the run
    trades; `params` and `state` structures of arrays of k records, PARAMS_DTYPE and STATE_DTYPE; `ring_ns` int64 and
    `ring_apr` float64 (k, 181). The arrays are never changed after the shard was made, except by an `advance` that
    consumes it.
    """

    number: int
    seen_ns: Mapping[str, int]
    epoch: int
    run_ids: tuple[RunId, ...]
    symbol: Int64Array
    params: Columns
    state: Columns
    ring_ns: Int64Array
    ring_apr: Float64Array

    @property
    def symbols(self) -> tuple[str, ...]:
        """The symbols, each in its place."""
        return tuple(self.seen_ns)

    @property
    def at_ns(self) -> int:
        """The newest instant up to which a symbol has been seen."""
        return max(self.seen_ns.values())

    @property
    def alive(self) -> NDArray[np.bool_]:
        """Which runs have not ended; shape (k,)."""
        alive: NDArray[np.bool_] = self.state["exit_code"] == ALIVE
        return alive

    def on(self, symbol: str) -> NDArray[np.bool_]:
        """Tell which runs trade a symbol; shape (k,)."""
        which: NDArray[np.bool_] = self.symbol == (self.symbols.index(symbol) if symbol in self.symbols else -1)
        return which


def empty_shard(number: int, symbols: Sequence[str], epoch: int, now_ns: int) -> Shard:
    """Return a shard without runs, for which the market begins now."""
    return Shard(
        number=number,
        seen_ns=dict.fromkeys(symbols, now_ns),
        epoch=epoch,
        run_ids=(),
        symbol=np.zeros(0, dtype=np.int64),
        params=Columns.zeros(PARAMS_DTYPE, 0),
        state=Columns.zeros(STATE_DTYPE, 0),
        ring_ns=np.zeros((0, RING), dtype=np.int64),
        ring_apr=np.zeros((0, RING)),
    )


def born_state(born_ns: int, start: float, fee_rate: float, count: int) -> Columns:
    """Return the state of runs at their birth: accounts of `start` without position or history."""
    state = Columns.zeros(STATE_DTYPE, count)
    state["born_ns"] = state["evaluated_ns"] = born_ns
    state["start"] = state["balance"] = start
    state["fee_rate"] = fee_rate
    return state


def to_bytes(shard: Shard) -> bytes:
    """Write a shard down as a checkpoint."""
    header = json.dumps(
        {
            "layout": _LAYOUT,
            "number": shard.number,
            "seen_ns": shard.seen_ns,
            "epoch": shard.epoch,
            "run_ids": shard.run_ids,
        }
    ).encode()
    used = _used(shard.state)
    arrays = (shard.symbol, shard.params, shard.state, shard.ring_ns[used], shard.ring_apr[used])
    body = b"".join([_HEAD.pack(_FORMAT, len(header)), header, *(array.tobytes() for array in arrays)])
    return _SEAL.pack(_MAGIC, zlib.crc32(body)) + body


def from_bytes(data: bytes) -> Shard:
    """Read a checkpoint; `StateError` naming what is wrong when it is not exactly what `to_bytes` wrote."""
    if len(data) < _SEAL.size + _HEAD.size:
        raise StateError(f"shard checkpoint: expected at least {_SEAL.size + _HEAD.size} bytes, found {len(data)}")
    magic, crc = _SEAL.unpack_from(data)
    if magic != _MAGIC:
        raise StateError(f"shard checkpoint: expected magic {_MAGIC!r}, found {magic!r}")
    body = memoryview(data)[_SEAL.size :]
    if zlib.crc32(body) != crc:
        raise StateError(f"shard checkpoint: expected CRC-32 {crc:08x}, found {zlib.crc32(body):08x} (damaged)")
    version, header_size = _HEAD.unpack_from(body)
    if version != _FORMAT:
        raise StateError(f"shard checkpoint: expected format {_FORMAT}, found {version}")
    start = _HEAD.size + header_size
    header = json.loads(bytes(body[_HEAD.size : start]))
    if header["layout"] != _LAYOUT:
        raise StateError(f"shard checkpoint: expected field layout {_LAYOUT:08x}, found {header['layout']:08x}")
    run_ids = tuple(RunId(text) for text in header["run_ids"])
    k = len(run_ids)
    symbol = _take(body, start, "<i8", (k,))
    params = Columns.zeros(PARAMS_DTYPE, k)
    state = Columns.zeros(STATE_DTYPE, k)
    start += symbol.nbytes
    for columns in (params, state):
        columns.whole = _take(body, start, "<i8", columns.whole.shape)
        columns.real = _take(body, start + columns.whole.nbytes, "<f8", columns.real.shape)
        start += columns.nbytes
    used = _used(state)
    stamps = _take(body, start, "<i8", (int(used.sum()),))
    aprs = _take(body, start + stamps.nbytes, "<f8", stamps.shape)
    ring_ns, ring_apr = np.zeros((k, RING), dtype=np.int64), np.zeros((k, RING))
    ring_ns[used], ring_apr[used] = stamps, aprs
    return Shard(
        number=header["number"],
        seen_ns=header["seen_ns"],
        epoch=header["epoch"],
        run_ids=run_ids,
        symbol=symbol,
        params=params,
        state=state,
        ring_ns=ring_ns,
        ring_apr=ring_apr,
    )


def votes(shards: Sequence[Shard], symbol: str) -> Votes:
    """Return what selection reads of the runs on a symbol, in order of shards and rows; ended runs vote as exiting."""
    parts = [(shard.state, shard.on(symbol)) for shard in shards]

    def of(name: str) -> NDArray[Any]:
        return np.concatenate([np.zeros(0, STATE_DTYPE[name]), *(state[name][which] for state, which in parts)])

    return Votes(
        symbol=symbol,
        direction=of("direction"),
        live_pnl=of("live_pnl"),
        exiting=of("exit_code") != ALIVE,
        updated_ns=of("evaluated_ns"),
    )


def _used(state: Columns) -> NDArray[np.bool_]:
    """Tell which slots of the rings are in use: `ring_count` of them from `ring_first` on, round the end; (k, RING)."""
    after = np.arange(RING, dtype=np.int16) - state["ring_first"].astype(np.int16)[:, None]
    after[after < 0] += RING
    used: NDArray[np.bool_] = after < state["ring_count"][:, None]
    return used


def _take(body: memoryview, start: int, kind: str, shape: tuple[int, ...]) -> NDArray[Any]:
    """Copy an array out of a checkpoint: where it lies, its fields may not be aligned, and kernels want them so."""
    size = math.prod(shape) * np.dtype(kind).itemsize
    return np.frombuffer(body[start : start + size], dtype=kind).reshape(shape).copy()
