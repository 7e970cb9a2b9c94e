"""What the FIX engine calls for every message and event of a session, and its secrets out of the engine's own store.

The engine's message store keeps what we send, a Logon's password too, and the log hears of it only after that. So the
secret is overwritten there at once, and at the next start if the process ended in between. Nobody misses it: a Logon is
never sent again.
"""

import os
import re
from pathlib import Path
from typing import Any, Final

import quickfix as fix

from trisagion.adapters.venues.messages import SECRET, SECRETS, MessageFiles, hidden

_CHECKSUM: Final = re.compile(rb"\x0110=[0-9]{3}\x01")
_BEGIN: Final = re.compile(rb"8=FIX[^\x01]*\x019=")
_LOGS_ON: Final = re.compile(rb"\x0135=(A|BE)\x01")


def scrub(store: Path) -> None:
    """Overwrite the secrets in the engine's store of sent messages, each message with its length and a true checksum.

    Where one message ends and the next begins only the engine's index knows; what looks like a beginning is one here.
    Only what logs on or changes a password is touched: the engine never sends it again.
    """
    for path in store.glob("*.body"):
        content = path.read_bytes()
        if not SECRET.search(content):
            continue
        starts = [found.start() for found in _BEGIN.finditer(content)]
        with path.open("r+b", buffering=0) as file:
            for start, end in zip(starts, [*starts[1:], len(content)], strict=True):
                message = content[start:end]
                if _LOGS_ON.search(message) and (masked := hidden(message)) != message:
                    os.pwrite(file.fileno(), _summed(masked), start)


def _summed(message: bytes) -> bytes:
    """Return a message with the CheckSum(10) that its bytes have."""
    ends = list(_CHECKSUM.finditer(message))
    if not ends:
        return message
    body = message[: ends[-1].start() + 1]
    return b"%b10=%03d\x01%b" % (body, sum(body) % 256, message[ends[-1].end() :])


class MessageLog(fix.Log):  # type: ignore[misc]
    """What the engine calls; `guard` ends the process where a line cannot be written."""

    def __init__(self, files: MessageFiles, store: Path, guard: Any) -> None:
        super().__init__()
        self._files = files
        self._store = store
        self._guard = guard

    def clear(self) -> None:
        """Nothing is ever cleared: a reset of the numbers does not undo what was said."""

    def backup(self) -> None:
        """Nothing is moved aside either."""

    def onIncoming(self, text: str) -> None:  # noqa: N802
        """Keep what came, before it is processed."""
        with self._guard():
            self._files.write("in", text)

    def onOutgoing(self, text: str) -> None:  # noqa: N802
        """Keep what goes, before it is on the socket."""
        with self._guard():
            self._files.write("out", text)
            if any(secret in text for secret in SECRETS):
                scrub(self._store)

    def onEvent(self, text: str) -> None:  # noqa: N802
        """Keep what the engine says of itself."""
        with self._guard():
            self._files.write("event", text)


class MessageLogFactory(fix.LogFactory):  # type: ignore[misc]
    """Makes the engine's logs, one for each session and one for what belongs to none; all write to the same files.

    The engine takes each for its own and neither side deletes any: measured, a log that both knew was freed twice. The
    factory keeps them alive and must itself outlive the engine.
    """

    def __init__(self, files: MessageFiles, store: Path, guard: Any) -> None:
        super().__init__()
        self._made: list[MessageLog] = []
        self._arguments = (files, store, guard)

    def create(self, *_: Any) -> MessageLog:
        """Make a log, of a session or of none."""
        log = MessageLog(*self._arguments)
        log.this.disown()
        self._made.append(log)
        return log

    def destroy(self, _: Any) -> None:
        """Leave it to the end of the process."""
