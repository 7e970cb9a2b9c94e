"""A TCP proxy of ours between session and venue: it forwards, and fails or makes up messages as told.

What it was told holds for the connections that are and for those that come, until `heal`.
"""

import struct
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from tests.e2e.faults.peer import FRAME
from trisagion.adapters.relay import Relay, Speaker

Mangle: TypeAlias = Callable[[Speaker, bytes], bytes]
"""What becomes of a whole FIX message; it is asked about one at a time."""

RESET: Final = struct.pack("ii", 1, 0)
"""SO_LINGER on, with no time: closing sends RST."""


@dataclass(slots=True)
class Faults:
    """What is wrong with the line. Bytes are counted from the moment that the fault was made, for each speaker."""

    stalled: bool = False
    swallowing: bool = False
    refusing: bool = False
    delay_s: float = 0.0
    cut_at: dict[Speaker, int] = field(default_factory=dict)
    flip_at: dict[Speaker, int] = field(default_factory=dict)
    mangle: Mangle | None = None


class Proxy(Relay):
    """Listens on a loopback port of its own and forwards to another one."""

    def __init__(self, target_port: int) -> None:
        self._faults = Faults()
        super().__init__(target_port)

    def stall(self) -> None:
        """Hold back what comes from now on; it goes out when healed."""
        self._fail(Faults(stalled=True))

    def half_open(self) -> None:
        """Take all and deliver nothing, without a word to either side: neither can tell that the other is gone."""
        self._fail(Faults(swallowing=True))

    def delay(self, seconds: float) -> None:
        """Deliver each piece later."""
        self._fail(Faults(delay_s=seconds))

    def cut(self, speaker: Speaker, after_bytes: int) -> None:
        """Close the connection once a speaker's next so many bytes were delivered."""
        self._fail(Faults(cut_at={speaker: after_bytes}))

    def flip(self, speaker: Speaker, after_bytes: int) -> None:
        """Flip the lowest bit of the byte that follows a speaker's next so many, once."""
        self._fail(Faults(flip_at={speaker: after_bytes}))

    def mangle(self, change: Mangle) -> None:
        """Deliver what becomes of each message; bytes before one that are none go with it."""
        self._fail(Faults(mangle=change))

    def heal(self) -> None:
        """Forward again."""
        self._fail(Faults())

    def refuse(self) -> None:
        """End every connection, whatever is on its way, and each that comes as soon as it is there, until healed."""
        self._fail(Faults(refusing=True))
        self._end()

    def drop(self) -> None:
        """End every connection without RST; the next ones are forwarded."""
        self.refuse()
        self.heal()

    def reset(self) -> None:
        """End every connection with RST to both sides; the next ones are forwarded."""
        # What a stalled line holds back goes with it.
        self._fail(Faults(swallowing=True))
        self._end(RESET)
        self.heal()

    def close(self) -> None:
        """End every connection and listen no more."""
        self.heal()
        super().close()

    def _fail(self, faults: Faults) -> None:
        with self._changed:
            self._faults = faults
            self._changed.notify_all()

    def _admits(self) -> bool:
        return not self._faults.refusing

    def _passed(self, speaker: Speaker, data: bytes) -> tuple[bytes, bool, bytes]:
        with self._changed:
            self._changed.wait_for(lambda: not self._faults.stalled)
            faults = self._faults
            if faults.swallowing or faults.refusing:
                return b"", True, b""
            if faults.mangle is not None:
                return _mangled(faults.mangle, speaker, data)
            if (left := faults.cut_at.get(speaker)) is not None:
                faults.cut_at[speaker] = left - len(data)
                if left <= len(data):
                    del faults.cut_at[speaker]
                    return data[:left], False, b""
            if (left := faults.flip_at.get(speaker)) is not None:
                faults.flip_at[speaker] = left - len(data)
                if left < len(data):
                    del faults.flip_at[speaker]
                    data = data[:left] + bytes([data[left] ^ 1]) + data[left + 1 :]
        time.sleep(faults.delay_s)
        return data, True, b""


def _mangled(mangle: Mangle, speaker: Speaker, data: bytes) -> tuple[bytes, bool, bytes]:
    told, at = [], 0
    while (found := FRAME.search(data, at)) is not None:
        told += [data[at : found.start()], mangle(speaker, found[0])]
        at = found.end()
    return b"".join(told), True, data[at:]
