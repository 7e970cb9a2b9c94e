"""The venue's memory: every command that changes it, one JSON line each, written before the command is applied.

A line is one unbuffered write: what was applied survives the death of the process, but nothing is synced, so not that
of the machine.
"""

import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from trisagion.errors import StateError


@contextmanager
def owned(directory: Path) -> Iterator[None]:
    """Make a directory and hold it for this process alone."""
    directory.mkdir(parents=True, exist_ok=True)
    with (directory / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StateError(f"{directory}: another process has this directory") from None
        yield


class Journal:
    """An append-only file of commands. Its first line says what they are about, and must say the same ever after."""

    def __init__(self, path: Path, subject: str) -> None:
        self._path = path
        found = self._read() if path.exists() else []
        first, *self._old = found or [{"subject": subject}]
        if first != {"subject": subject}:
            raise StateError(f"{path}: the journal is about {first.get('subject')}, not about {subject}")
        self._file = path.open("ab", buffering=0)
        if not found:
            self.append(first)

    @property
    def commands(self) -> list[dict[str, Any]]:
        """What was found in the file when it was opened."""
        return self._old

    def append(self, command: Mapping[str, Any]) -> None:
        """Write a command down."""
        line = json.dumps(command).encode() + b"\n"
        written = self._file.write(line)
        if written != len(line):
            raise StateError(f"{self._path}: {written} of {len(line)} bytes were written; is the disk full?")

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _read(self) -> list[dict[str, Any]]:
        """Read all whole lines and cut off a torn last one: what it says was never applied."""
        content = self._path.read_bytes()
        whole = content.rfind(b"\n") + 1
        os.truncate(self._path, whole)
        try:
            return [json.loads(line) for line in content[:whole].splitlines()]
        except ValueError as error:
            raise StateError(f"{self._path}: damaged before its last line: {error}") from None
