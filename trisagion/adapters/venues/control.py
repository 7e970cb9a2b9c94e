"""The other end of the venue's control socket: play, fault, status, stop. One request, one connection, a line each way.

Every request but a fault may be repeated: playing to the same instant again changes nothing. So a venue that is being
started, or started again, is waited for. A fault is sent once, to a venue that is there; if its answer does not come,
the venue's books say whether it was made.
"""

import json
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from trisagion.errors import StepTimeout, VenueMistake

RETRY_S: Final = 0.02


@dataclass(frozen=True, slots=True)
class Played:
    """How far the venue has come: `executions` counts all reports with an ExecID, `working` the resting orders."""

    played_ns: int
    executions: int
    working: int


class VenueControl:
    """Drives the bundled venue through its socket."""

    def __init__(self, path: Path, timeout_s: float = 30.0) -> None:
        self._path = path
        self._timeout_s = timeout_s

    def play(self, until_ns: int) -> Played:
        """Play the tape up to, not including, an instant; the reports have been sent when this returns."""
        answer = self._ask({"op": "play", "until_ns": until_ns})
        try:
            return Played(int(answer["played_ns"]), int(answer["executions"]), int(answer["working"]))
        except (KeyError, TypeError, ValueError):
            raise VenueMistake(
                f"venue at {self._path}: expected played_ns, executions, working, found {answer}"
            ) from None

    def fault(self, kind: str, **arguments: str | float) -> int:
        """Let the venue make a mistake; return how many reports with an ExecID it has made by then.

        The kinds and their arguments are those of `SimulatedVenue.fail`, and for the session itself `disconnect`, `gap`
        and `reset`, these with the number of `messages` that go missing.
        """
        return int(self._ask({"op": "fault", "fault": {"kind": kind, **arguments}}, once=True)["executions"])

    def status(self) -> Mapping[str, Any]:
        """Return the venue's own books: see `SimulatedVenue.snapshot`."""
        return self._ask({"op": "status"})

    def stop(self) -> None:
        """Ask the venue to stop; it answers first and goes then."""
        self._ask({"op": "stop"})

    def _ask(self, request: Mapping[str, Any], *, once: bool = False) -> dict[str, Any]:
        """Send a line and read a line.

        Raises
        ------
        StepTimeout
            No venue, or no answer, within the timeout.
        VenueMistake
            The venue refused the request, or what it said is no answer.
        """
        deadline = time.monotonic() + self._timeout_s
        while True:
            try:
                line = self._exchange(json.dumps(request).encode() + b"\n", deadline)
            except (FileNotFoundError, ConnectionError):
                # Not there yet, or gone while it had our question: both mend when it is started again.
                line = b""
            except TimeoutError:
                line = None
            if line:
                return self._read(line)
            if once or line is None or time.monotonic() + RETRY_S > deadline:
                raise StepTimeout(f"venue at {self._path}: no answer to {request['op']} within {self._timeout_s:g} s")
            time.sleep(RETRY_S)

    def _exchange(self, line: bytes, deadline: float) -> bytes:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(max(RETRY_S, deadline - time.monotonic()))
            connection.connect(str(self._path))
            connection.sendall(line)
            with connection.makefile("rb") as answers:
                return answers.readline()

    def _read(self, line: bytes) -> dict[str, Any]:
        try:
            answer = json.loads(line)
        except ValueError:
            answer = None
        if not isinstance(answer, dict) or "ok" not in answer:
            raise VenueMistake(f"venue at {self._path}: expected a JSON object with ok, found {line[:200]!r}")
        if not answer["ok"]:
            raise VenueMistake(f"venue at {self._path}: {answer.get('error')}")
        return answer
