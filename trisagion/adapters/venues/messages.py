"""Every message and event of a session, with its secrets masked, in files that only grow: the outbox of `fix_message`.

Theory of operation. The engine calls the log on its own thread, for what comes in before it is processed and for what
goes out before it is on the socket. A line is one write to the file, so it outlives the process from then on; like the
engine's own store it is not synced, so not the machine. Somebody else copies the lines to the database and then says up
to which number that is done (`forget`); a file is deleted when all of it is. Without such a somebody (`files_max`) the
oldest files go, which bounds what the bundled venue leaves.

A line that cannot be written ends the process: what leaves no trace does not leave at all, and what came in is sent
again by the peer.
"""

import os
import re
import threading
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Final

from trisagion.adapters.password import Password
from trisagion.errors import StateError
from trisagion.session_ports import MessageLine

FILE_BYTES: Final = 4 * 2**20
"""A file that has reached this size is followed by another."""

SECRETS: Final = ("554=", "925=", "96=", "1402=", "1404=")
"""Password, NewPassword, RawData, EncryptedPassword, EncryptedNewPassword; the lengths of the data (95, 1401, 1403)
stay. IB's messages have none."""
SECRET: Final = re.compile(rb"(?<![0-9])(554|925|96|1402|1404)=")
_LENGTHS: Final = {
    data: re.compile(rb"(?<![0-9])%b=([0-9]{1,9})\x01\Z" % length)
    for data, length in ((b"96", b"95"), (b"1402", b"1401"), (b"1404", b"1403"))
}
_SOH: Final = b"\x01"


_NONE: Final = Password()


def masked(text: str, password: Password = _NONE) -> str:
    """Return a message or an event with a star in the place of every byte of a secret.

    Data has the length that the field before gives it, whatever stands in it; where that cannot be, all of the rest is
    taken for the secret. So is the password itself, wherever somebody repeats it.
    """
    if any(secret in text for secret in SECRETS):
        text = hidden(text.encode(errors="surrogateescape")).decode(errors="surrogateescape")
    return password.stars(text)


def hidden(content: bytes) -> bytes:
    """Return a message with a star in the place of every byte of a secret."""
    at, parts = 0, []
    while (found := SECRET.search(content, at)) is not None:
        end = _end(content, found)
        parts += [content[at : found.end()], b"*" * (end - found.end())]
        at = end
    return b"".join([*parts, content[at:]])


def _end(content: bytes, found: "re.Match[bytes]") -> int:
    """Return where the value of a secret ends."""
    length_of = _LENGTHS.get(found[1])
    if length_of is None:
        end = content.find(_SOH, found.end())
        return len(content) if end < 0 else end
    length = length_of.search(content, 0, found.start())
    end = found.end() + int(length[1]) if length else len(content)
    return end if content[end : end + 1] == _SOH else len(content)


class MessageFiles:
    """The lines of one session's directory, numbered without a hole from 1, or from what follows `after`.

    `password` stands in none of them.

    Implements `ports.MessageOutbox`. One process writes; its threads may write and read at once.
    """

    def __init__(
        self, directory: Path, *, after: int = 0, files_max: int | None = None, password: Password = _NONE
    ) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._directory = directory
        self._password = password
        self._files_max = files_max
        self._lock = threading.Lock()
        self._handle = -1
        files = self._files()
        self._last = _mended(files[-1]) if files else 0
        self._place: tuple[int, Path, int] | None = None
        if files and self._last >= after:
            self._open(files[-1])
        else:
            self._last = max(self._last, after)
            self._begin()

    @property
    def last(self) -> int:
        """The number of the newest line, 0 before the first."""
        return self._last

    def write(self, direction: str, text: str) -> None:
        """Append a line; `StateError` when the disk does not take it whole."""
        content = masked(text, self._password).encode(errors="surrogateescape")
        if b"\n" in content or b"\\" in content:
            content = content.replace(b"\\", b"\\\\").replace(b"\n", b"\\n")
        with self._lock:
            number = self._last + 1
            line = b"%d\t%d\t%b\t%b\n" % (number, time.time_ns(), direction.encode(), content)
            try:
                written = os.write(self._handle, line)
            except OSError as error:
                raise StateError(f"{self._directory}: a message cannot be kept ({error.strerror})") from None
            if written != len(line):
                raise StateError(f"{self._directory}: {written} of {len(line)} bytes were written; is the disk full?")
            self._last = number
            self._size += len(line)
            if self._size >= FILE_BYTES:
                self._begin()

    def after(self, number: int, count: int) -> list[MessageLine]:
        """Return the lines that follow a number, in order, at most `count`; none when there is nothing new."""
        if number >= self._last:
            return []
        path, offset = self._where(number)
        found: list[MessageLine] = []
        for line, end in _lines(path, offset):
            offset = end
            if line.number > number:
                found.append(line)
            if len(found) == count:
                break
        if found:
            self._place = (found[-1].number, path, offset)
            return found
        # The rest is in the next file: nobody writes to this one any more.
        later = [file for file in self._files() if _first(file) > _first(path)]
        self._place = (number, later[0], 0) if later else None
        return self.after(number, count) if later else []

    def forget(self, number: int) -> None:
        """Delete the files of which every line up to a number is; the one that is written to stays."""
        for file, following in pairwise(self._files()):
            if _first(following) <= number + 1:
                file.unlink(missing_ok=True)
                if self._place is not None and self._place[1] == file:
                    self._place = None

    def close(self) -> None:
        """Close the file; a line that comes after that is one that cannot be written."""
        handle, self._handle = self._handle, -1
        os.close(handle)

    def _where(self, number: int) -> tuple[Path, int]:
        """Return the file that holds what follows a number, and where in it to begin."""
        if self._place is not None and self._place[0] == number:
            return self._place[1:]
        files = self._files()
        earlier = [file for file in files if _first(file) <= number + 1]
        return (earlier or files[:1])[-1], 0

    def _files(self) -> list[Path]:
        return sorted(self._directory.glob("[0-9]*.log"))

    def _begin(self) -> None:
        """Begin a file; it bears the number of its first line."""
        if self._handle >= 0:
            os.close(self._handle)
        self._open(self._directory / f"{self._last + 1:020d}.log")
        if self._files_max is not None:
            for file in self._files()[: -self._files_max]:
                file.unlink(missing_ok=True)

    def _open(self, path: Path) -> None:
        self._handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self._size = path.stat().st_size


def _first(path: Path) -> int:
    return int(path.stem)


def _mended(path: Path) -> int:
    """Cut off a torn last line, which was never whole anywhere; return the number of the one before."""
    content = path.read_bytes()
    whole = content.rfind(b"\n") + 1
    os.truncate(path, whole)
    begin = content.rfind(b"\n", 0, whole - 1) + 1 if whole else 0
    return _read(content[begin : whole - 1], path).number if whole else _first(path) - 1


def _lines(path: Path, offset: int) -> Iterator[tuple[MessageLine, int]]:
    """Yield the whole lines of a file from an offset on, each with the offset of its end."""
    with path.open("rb") as file:
        file.seek(offset)
        for line in file:
            if not line.endswith(b"\n"):
                return
            offset += len(line)
            yield _read(line[:-1], path), offset


_ESCAPE: Final = re.compile(rb"\\(.)")


def _read(line: bytes, path: Path) -> MessageLine:
    try:
        number, at_ns, direction, content = line.split(b"\t", 3)
        content = _ESCAPE.sub(lambda found: b"\n" if found[1] == b"n" else found[1], content)
        text = content.decode(errors="surrogateescape")
        return MessageLine(int(number), int(at_ns), direction.decode(), text)
    except ValueError:
        raise StateError(f"{path}: damaged: expected number, instant, direction, text, found {line[:80]!r}") from None
