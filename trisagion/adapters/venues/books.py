"""A simulated venue behind its journal: every command that changes it is written down before it is applied.

The venue is a function of its journal: killed at any moment, it comes back with the same book and the same ExecIDs.
Whoever has it lets one command in at a time.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

from trisagion.adapters.venues.journal import Journal
from trisagion.errors import VenueMistake
from trisagion.gateway.words import Fields
from trisagion.simulate.venue import INSTANT_MAX_NS, SimulatedVenue


class Books:
    """The venue and its journal."""

    def __init__(self, venue: SimulatedVenue, journal: Journal) -> None:
        self.venue = venue
        self._journal = journal

    def restored(self) -> Iterator[tuple[Fields | None, Sequence[Fields]]]:
        """Apply the journal; yield what each command was told, with the message where it was one."""
        for command in self._journal.commands:
            replies: Sequence[Fields] = ()
            # What was refused then is refused now.
            with suppress(VenueMistake):
                replies = self._apply(command)
            yield _message(command), replies

    def answer(self, fields: Fields) -> Sequence[Fields]:
        """Answer a message."""
        if not self.venue.changes(fields):
            return self.venue.answer(fields)
        return self._do({"message": {str(int(tag)): value for tag, value in fields.items()}})

    def play(self, until_ns: int) -> Sequence[Fields]:
        """Move time forward; an instant that was reached already changes nothing."""
        if not until_ns <= INSTANT_MAX_NS:
            raise VenueMistake(f"expected until_ns of at most {INSTANT_MAX_NS}, found {until_ns}")
        return self._do({"play": until_ns}) if until_ns > self.venue.played_ns else ()

    def fail(self, fault: Mapping[str, Any]) -> Sequence[Fields]:
        """Make a mistake of the books."""
        return self._do({"fault": fault})

    def end_session(self, *, cancel: bool) -> Sequence[Fields]:
        """Do what the end of a session asks for."""
        return self._do({"disconnected": cancel}) if self.venue.disconnection_changes(cancel=cancel) else ()

    @property
    def standing(self) -> Mapping[str, object]:
        """How far the venue has come."""
        venue = self.venue
        return {"played_ns": venue.played_ns, "executions": venue.executions, "working": venue.working}

    def _do(self, command: Mapping[str, Any]) -> Sequence[Fields]:
        self._journal.append(command)
        return self._apply(command)

    def _apply(self, command: Mapping[str, Any]) -> Sequence[Fields]:
        if "play" in command:
            return self.venue.play(command["play"])
        if "fault" in command:
            return self.venue.fail(command["fault"])
        if "disconnected" in command:
            return self.venue.disconnected(cancel=command["disconnected"])
        message = _message(command)
        assert message is not None, command
        return self.venue.answer(message)


def _message(command: Mapping[str, Any]) -> Fields | None:
    message = command.get("message")
    return None if message is None else {int(tag): value for tag, value in message.items()}
