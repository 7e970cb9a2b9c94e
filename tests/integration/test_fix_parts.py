"""The parts of the FIX adapter that need no venue: their refusals, one by one."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from trisagion.adapters.venues.fix.control import VenueControl
from trisagion.adapters.venues.fix.engine import Store, decode, encode
from trisagion.adapters.venues.fix.initiator import FixConfig, FixSession
from trisagion.adapters.venues.fix.journal import Journal
from trisagion.errors import OurMistake, StateError, StepTimeout, VenueMistake
from trisagion.gateway.dialect import Profile
from trisagion.orders.types import ExecutionReport, PositionReport


class Sink:
    """Counts logons; nothing else is to come."""

    logons = 0

    def on_logon(self) -> None:
        """Count."""
        self.logons += 1

    def on_logout(self) -> None:
        """Not expected."""
        raise AssertionError

    def on_report(self, report: ExecutionReport) -> None:
        """Not expected."""
        raise AssertionError(report)

    def on_positions(self, reports: Sequence[PositionReport]) -> None:
        """Not expected."""
        raise AssertionError(reports)


def config(directory: Path) -> FixConfig:
    """A session that is not started."""
    return FixConfig("127.0.0.1", 1, "US", "SIM", "ACC", directory)


def test_a_venue_that_does_not_know_the_question_after_logon_opens_the_session_by_saying_so(tmp_path: Path) -> None:
    """One answer is as good as the other: it came in sequence."""
    sink = Sink()
    session = FixSession(config(tmp_path), sink, "SIM")
    session.on_logon()
    assert session.on_sending({35: "AN", 34: "2", 710: session._gap_question})
    for number, logons in (("1", 0), ("2", 1), ("2", 1)):
        assert session.on_message({35: "j", 45: number, 372: "AN", 380: "3"})
        assert sink.logons == logons


def test_an_order_asked_for_again_by_the_connection_it_was_sent_on_is_an_error(tmp_path: Path) -> None:
    """It was lost on a line that loses nothing: the process starts over and asks what became of it."""
    session = FixSession(config(tmp_path), Sink(), "SIM")
    sent = {35: "D", 11: "a", 60: "20130901-22:00:00", 34: "7"}
    assert not session.on_sending({**sent, 43: "Y"})
    assert session.on_sending(sent)
    with pytest.raises(VenueMistake, match="message 7 was asked for again"):
        session.on_sending({**sent, 43: "Y"})
    assert session.on_sending({35: "H", 11: "a", 34: "8", 43: "Y"})


def test_a_venue_that_is_not_there_is_waited_for_only_so_long(tmp_path: Path) -> None:
    """The bound is in the message."""
    with pytest.raises(StepTimeout, match=r"no answer to status within 0\.1 s"):
        VenueControl(tmp_path / "none", timeout_s=0.1).status()


def test_a_store_has_one_owner_until_it_is_closed(tmp_path: Path) -> None:
    """A second session on the same sequence numbers would corrupt them."""
    store = Store(tmp_path, Profile())
    with pytest.raises(StateError, match="one session has one owner"):
        Store(tmp_path, Profile())
    store.close()
    Store(tmp_path, Profile()).close()


def test_a_setting_or_value_that_would_break_its_frame_is_refused(tmp_path: Path) -> None:
    """Line ends in the engine's file, separators in a message, a tag twice."""
    store = Store(tmp_path, Profile())
    with pytest.raises(StateError, match="FIX setting SenderCompID: expected printable text"):
        store.settings("A\n[SESSION]", "B", {})
    with pytest.raises(OurMistake, match="field separator"):
        encode({35: "H", 11: "a\x0144=1"}, store.dictionary)
    twice = store.dictionary.message("8=FIX.4.4\x0135=AP\x01702=2\x01703=TQ\x01704=1\x01703=TQ\x01704=2\x0110=0\x01")
    with pytest.raises(VenueMistake, match="expected each tag once"):
        decode(twice)
    store.close()


def test_a_journal_damaged_before_its_last_line_is_refused(tmp_path: Path) -> None:
    """Only the end of a file can be torn."""
    path = tmp_path / "journal"
    journal = Journal(path, "x")
    journal.append({"play": 1})
    journal.close()
    path.write_bytes(b"\xff" + path.read_bytes())
    with pytest.raises(StateError, match="damaged before its last line"):
        Journal(path, "x")
