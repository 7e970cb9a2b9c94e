"""A shard: a part of the cohort that one task advances, and its checkpoint as bytes.

A checkpoint holds the arrays as they are, so that continuing from one equals the undisturbed course bit for bit.
Layout, all little-endian: magic (4 bytes), CRC-32 of all that follows (u4), format (u4), length of the header (u4),
header (JSON), then params, state, ring instants and ring APRs. Of the rings only the slots in use are written, run by
run and in order of slot: most are not, and nothing ever reads what lies in those; they come back as zeros. Nothing in a
checkpoint is code: no pickle.
"""

import json
import math
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ext.cohort import ALIVE, EXIT_APR_TARGET, EXIT_MAX_DURATION, EXIT_REVERSAL, PARAMS_DTYPE, RING, STATE_DTYPE
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
assert PARAMS_DTYPE.itemsize + STATE_DTYPE.itemsize + RING * 16 < BYTES_PER_RUN_MAX

_MAGIC: Final = b"TRSH"
_FORMAT: Final = 2
_SEAL: Final = struct.Struct("<4sI")
_HEAD: Final = struct.Struct("<II")
_LAYOUT: Final = zlib.crc32(repr((PARAMS_DTYPE.descr, STATE_DTYPE.descr, RING)).encode())
"""Stands for the names, order and types of all fields: a checkpoint of another layout is refused, not misread."""


@dataclass(frozen=True, slots=True, eq=False)
class Shard:
    """The runs of one shard, true at `at_ns`: every tick up to then has been seen.

    Row r of each array belongs to `run_ids[r]`. Shapes: `params` PARAMS_DTYPE (k,), `state` STATE_DTYPE (k,), `ring_ns`
    int64 and `ring_apr` float64 (k, 181). The arrays are never changed after the shard was made, except by an `advance`
    that consumes it.
    """

    number: int
    symbol: str
    epoch: int
    at_ns: int
    run_ids: tuple[RunId, ...]
    params: NDArray[np.void]
    state: NDArray[np.void]
    ring_ns: Int64Array
    ring_apr: Float64Array

    @property
    def alive(self) -> NDArray[np.bool_]:
        """Which runs have not ended; shape (k,)."""
        alive: NDArray[np.bool_] = self.state["exit_code"] == ALIVE
        return alive


def born_state(born_ns: int, start: float, fee_rate: float) -> np.void:
    """Return the state of a run at its birth: an account of `start` without position or history."""
    made = np.zeros(1, dtype=STATE_DTYPE)
    made["born_ns"] = made["evaluated_ns"] = born_ns
    made["start"] = made["balance"] = start
    made["fee_rate"] = fee_rate
    state: np.void = made[0]
    return state


def to_bytes(shard: Shard) -> bytes:
    """Write a shard down as a checkpoint."""
    header = json.dumps(
        {
            "layout": _LAYOUT,
            "number": shard.number,
            "symbol": shard.symbol,
            "epoch": shard.epoch,
            "at_ns": shard.at_ns,
            "run_ids": shard.run_ids,
        }
    ).encode()
    used = _used(shard.state)
    arrays = (shard.params, shard.state, shard.ring_ns[used], shard.ring_apr[used])
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
    params = _take(body, start, PARAMS_DTYPE, (k,))
    state = _take(body, start + params.nbytes, STATE_DTYPE, (k,))
    used = _used(state)
    start += params.nbytes + state.nbytes
    stamps = _take(body, start, np.dtype("<i8"), (int(used.sum()),))
    aprs = _take(body, start + stamps.nbytes, np.dtype("<f8"), stamps.shape)
    ring_ns, ring_apr = np.zeros((k, RING), dtype=np.int64), np.zeros((k, RING))
    ring_ns[used], ring_apr[used] = stamps, aprs
    return Shard(
        number=header["number"],
        symbol=header["symbol"],
        epoch=header["epoch"],
        at_ns=header["at_ns"],
        run_ids=run_ids,
        params=params,
        state=state,
        ring_ns=ring_ns,
        ring_apr=ring_apr,
    )


def votes(shards: Sequence[Shard], symbol: str) -> Votes:
    """Return what selection reads of the runs on a symbol, in order of shards and rows; ended runs vote as exiting."""
    states = [shard.state for shard in shards if shard.symbol == symbol]
    state = np.concatenate([np.zeros(0, dtype=STATE_DTYPE), *states])
    return Votes(
        symbol=symbol,
        direction=state["direction"].copy(),
        live_pnl=state["live_pnl"].copy(),
        exiting=state["exit_code"] != ALIVE,
        updated_ns=state["evaluated_ns"].copy(),
    )


def _used(state: NDArray[np.void]) -> NDArray[np.bool_]:
    """Tell which slots of the rings are in use: `ring_count` of them from `ring_first` on, round the end; (k, RING)."""
    after = np.arange(RING, dtype=np.int16) - state["ring_first"].astype(np.int16)[:, None]
    after[after < 0] += RING
    used: NDArray[np.bool_] = after < state["ring_count"][:, None]
    return used


def _take(body: memoryview, start: int, dtype: np.dtype[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    """Copy an array out of a checkpoint: where it lies, its fields may not be aligned, and kernels want them so."""
    size = math.prod(shape) * dtype.itemsize
    return np.frombuffer(body[start : start + size], dtype=dtype).reshape(shape).copy()
