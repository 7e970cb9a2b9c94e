"""Child processes of one platform on one machine: started, watched, restarted within bounds, stopped by process id."""

import ctypes
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import IO, Final

from trisagion.errors import StateError

RESTARTS_MAX: Final = 20
"""A child that dies more often than this in one run is broken, not unlucky."""

RESTART_PAUSE_S: Final = 0.25
STOP_S_MAX: Final = 10.0
TAIL_BYTES: Final = 16_384
PR_SET_PDEATHSIG: Final = 1

PERMANENT: Final = frozenset({2, 4})
"""Exit codes that a restart does not cure: wrong usage, wrong configuration or data."""


@dataclass(slots=True)
class Child:
    """One process and how to make it again. `once`: when it ends by itself its work is done; killed, it comes back."""

    name: str
    argv: Sequence[str]
    env: Mapping[str, str]
    log: Path
    once: bool = False
    popen: "subprocess.Popen[bytes] | None" = None
    restarts: int = 0
    down_since: float = 0.0

    @property
    def pid(self) -> int | None:
        """The process id while it runs."""
        return self.popen.pid if self.popen is not None and self.popen.poll() is None else None

    @property
    def result(self) -> int | None:
        """The exit code of a `once` process that ended by itself."""
        code = self.popen.poll() if self.popen is not None and self.once else None
        return code if code is not None and code >= 0 else None


@dataclass(slots=True)
class Children:
    """All children of a supervisor."""

    kept: list[Child] = field(default_factory=list)

    def start(self, child: Child) -> Child:
        """Start a child; it outlives neither `stop` nor this process."""
        self.kept.append(child)
        _spawn(child)
        return child

    def watch(self) -> list[str]:
        """Restart what died; return what happened, a line each; `StateError` when a child cannot be kept alive."""
        happened = []
        for child in self.kept:
            assert child.popen is not None, f"{child.name} was never started"
            code = child.popen.poll()
            if code is None or child.result is not None:
                continue
            if code in PERMANENT:
                raise StateError(tail(child.log).removeprefix(f"{child.name}: "))
            if child.restarts >= RESTARTS_MAX:
                raise StateError(f"{child.name} ended with exit code {code}: {tail(child.log)}")
            if not child.down_since:
                child.down_since = time.monotonic()
                happened.append(f"{child.name} ended ({_reason(code)}), restarting")
            elif time.monotonic() - child.down_since > RESTART_PAUSE_S:
                child.down_since = 0.0
                child.restarts += 1
                _spawn(child)
        return happened

    def stop(self, *only: Child) -> None:
        """Stop all children, or only some, the newest first: politely, then not."""
        leaving = [child for child in reversed(self.kept) if not only or child in only]
        for child in leaving:
            if child.pid is not None:
                child.popen.terminate()  # type: ignore[union-attr]
        deadline = time.monotonic() + STOP_S_MAX
        for child in leaving:
            if child.popen is None:
                continue
            try:
                child.popen.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                child.popen.kill()
                child.popen.wait()
        self.kept = [child for child in self.kept if child not in leaving]


def tail(log: Path) -> str:
    """Return the last line that a child wrote."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - TAIL_BYTES))
            lines = [line for line in file.read().decode(errors="replace").splitlines() if line.strip()]
    except OSError as error:
        return f"its log {log} cannot be read ({error})"
    return lines[-1] if lines else f"it wrote nothing to {log}"


def _spawn(child: Child) -> None:
    with _opened(child.log) as log:
        # A new session: Ctrl-C in the terminal must reach the supervisor alone, which stops the others in order.
        child.popen = subprocess.Popen(
            child.argv,
            env=dict(child.env),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            preexec_fn=partial(_die_with, os.getpid()),  # noqa: PLW1509 – children are started before this process has threads
        )


def _opened(log: Path) -> IO[bytes]:
    log.parent.mkdir(parents=True, exist_ok=True)
    return log.open("ab")


def _die_with(parent: int) -> None:
    """Have the kernel end this process when its supervisor is killed: no orphan may hold a session or a port.

    At once, for nobody is left to stop it in order: everything here survives a kill, and an orphan that takes its time
    would meet those who are started in its place.
    """
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it was killed before the kernel knew
        os._exit(1)


def _reason(code: int) -> str:
    return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
