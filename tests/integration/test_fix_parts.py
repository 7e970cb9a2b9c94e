"""The parts of the FIX adapter that need no venue: their refusals, one by one."""

import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from tests.integration.fix_market import WAIT_S
from tests.leaks import leaks
from trisagion.adapters.password import Password
from trisagion.adapters.venues.control import VenueControl
from trisagion.adapters.venues.edge import EXIT_UNPROCESSED
from trisagion.adapters.venues.fix.dictionary import RAW_LENGTHS, Dictionary
from trisagion.adapters.venues.fix.engine import Store, decode, encode
from trisagion.adapters.venues.fix.initiator import FixSession
from trisagion.adapters.venues.fix.session import FixConfig
from trisagion.adapters.venues.journal import Journal
from trisagion.errors import OurMistake, StateError, StepTimeout, VenueMistake
from trisagion.gateway.dialect import VERSIONS, Profile
from trisagion.orders.state import OrderState
from trisagion.orders.types import ExecutionReport, PositionReport, Unreadable
from trisagion.settings import resolve


class Sink:
    """Counts logons; keeps reports and what is unreadable; nothing else is to come."""

    def __init__(self) -> None:
        self.logons = 0
        self.reports: list[ExecutionReport] = []
        self.unreadable: list[Unreadable] = []

    def on_logon(self) -> None:
        """Count."""
        self.logons += 1

    def on_logout(self) -> None:
        """Not expected."""
        raise AssertionError

    def on_report(self, report: ExecutionReport) -> None:
        """Keep."""
        self.reports.append(report)

    def on_all_statuses(self, request_id: str) -> None:
        """Not expected."""
        raise AssertionError(request_id)

    def on_positions(self, reports: Sequence[PositionReport]) -> None:
        """Not expected."""
        raise AssertionError(reports)

    def on_unreadable(self, word: Unreadable) -> None:
        """Keep."""
        self.unreadable.append(word)


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


def test_a_venue_that_cannot_be_asked_for_positions_is_asked_about_an_order_that_never_was(tmp_path: Path) -> None:
    """Its answer opens the session and is nobody's report; who asks for positions all the same is told."""
    sink = Sink()
    session = FixSession(replace(config(tmp_path), profile=Profile(positions=False)), sink, "SIM")
    session.on_logon()
    assert session.on_sending({35: "H", 34: "2", 11: session._gap_question})
    assert session.on_message({35: "8", 150: "I", 39: "8", 11: session._gap_question})
    assert session.on_message({35: "j", 45: "2", 372: "H", 380: "3"})
    assert sink.logons == 1
    with pytest.raises(OurMistake, match="venue SIM: expected one that can be asked for positions"):
        session.ask_positions("R1", 1)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_logon_says_who_we_are_and_which_version_we_speak(tmp_path: Path, version: str) -> None:
    """As it comes off the wire; nothing of it is in what the session keeps once the line is cut."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(WAIT_S)
        port = server.getsockname()[1]
        given = replace(config(tmp_path), port=port, profile=Profile.of(version), username="us")
        given = replace(given, password=Password(lambda: "hunter2"))
        session = FixSession(given, Sink(), "SIM")
        session.start()
        line, _ = server.accept()
        with line:
            line.settimeout(WAIT_S)
            logon = line.recv(4096)
    fields = dict(pair.split(b"=", 1) for pair in logon.split(b"\x01")[:-1])
    begin = {"4.2": b"FIX.4.2", "4.4": b"FIX.4.4", "5.0SP2": b"FIXT.1.1"}[version]
    assert (fields[b"8"], fields[b"35"], fields[b"553"], fields[b"554"]) == (begin, b"A", b"us", b"hunter2")
    assert fields.get(b"1137") == (b"9" if version == "5.0SP2" else None)
    (body,) = tmp_path.glob("*.body")
    deadline = time.monotonic() + WAIT_S
    while b"554=*******\x01" not in (kept := body.read_bytes()):
        assert time.monotonic() < deadline, kept
        time.sleep(0.01)
    session.stop()


def test_each_logon_says_the_password_as_it_stands_then(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A new one without a restart; where none can be read any more, the one before. Neither stands in what is kept."""
    secret = tmp_path / "secret"
    secret.write_text("first-canary\n")
    said = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(WAIT_S)
        password = Password(lambda: resolve(f"file:{secret}", {}))
        port, store = server.getsockname()[1], tmp_path / "store"
        session = FixSession(replace(config(store), port=port, username="us", password=password), Sink(), "SIM")
        session.start()
        for then in (lambda: secret.write_text("second-canary"), secret.unlink, lambda: None):
            line, _ = server.accept()
            with line:
                line.settimeout(WAIT_S)
                said.append(dict(pair.split(b"=", 1) for pair in line.recv(4096).split(b"\x01")[:-1])[b"554"])
                then()
        session.stop()
    assert said == [b"first-canary", b"second-canary", b"second-canary"]
    assert "a password cannot be read, the one before is used" in caplog.text
    assert leaks(store, "first-canary") + leaks(store, "second-canary") == []


def test_an_order_asked_for_again_by_the_connection_it_was_sent_on_is_doubted_and_not_sent(tmp_path: Path) -> None:
    """It was lost on a line that loses nothing: it is asked about, and a question may be repeated."""
    sink = Sink()
    session = FixSession(config(tmp_path), sink, "SIM")
    sent = {35: "D", 11: "a", 60: "20130901-22:00:00", 34: "7"}
    assert not session.on_sending({**sent, 43: "Y"})
    assert session.on_sending(sent)
    assert sink.reports == []
    assert not session.on_sending({**sent, 43: "Y"})
    (doubt,) = sink.reports
    assert (doubt.cl_ord_id, doubt.ord_status) == ("a", OrderState.UNKNOWN)
    assert session.on_sending({35: "H", 11: "a", 34: "8", 43: "Y"})


@pytest.mark.parametrize(
    ("fields", "why", "names"),
    [
        ({35: "8", 11: "a", 41: "b", 150: "D", 554: "canary"}, "tag 150 (EXEC_TYPE)", ("b", "a")),
        ({35: "9", 11: "a"}, "tag 39 (ORD_STATUS)", ("a",)),
        ({35: "AP", 702: "1"}, "tag 710 (POS_REQ_ID)", ()),
    ],
)
def test_what_cannot_be_read_is_handed_up_as_such(
    tmp_path: Path, fields: dict[int, str], why: str, names: tuple[str, ...]
) -> None:
    """With whom it names, what is wrong with it, and its text without secrets."""
    sink = Sink()
    assert FixSession(config(tmp_path), sink, "SIM").on_message(fields)
    (word,) = sink.unreadable
    assert (word.venue, word.names, word.of_orders) == ("SIM", names, fields[35] != "AP")
    assert why in word.why
    assert f"35={fields[35]}" in word.text
    assert "canary" not in word.text


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
    assert decode(twice, groups=True)[704] == "1"
    raw = store.dictionary.message("8=FIX.4.4\x0135=8\x01354=6\x01355=a\x0139=2\x0110=0\x01")
    with pytest.raises(VenueMistake, match="expected no raw data, found tag 354"):
        decode(raw, groups=True)
    store.close()


@pytest.mark.parametrize("version", VERSIONS)
def test_no_message_may_hold_raw_data_that_reading_would_take_for_fields(tmp_path: Path, version: str) -> None:
    """Every length that a dictionary lets through is one at which reading stops; of the session's own none is read."""
    Dictionary(tmp_path, Profile.of(version))
    of_sessions = {9, 383, 1401, 1403}
    for path in tmp_path.glob("*.xml"):
        tree = ET.parse(path)  # noqa: S314 - our own
        fields = tree.iterfind("fields/field[@type='LENGTH']")
        lengths = {field.get("name"): int(field.get("number", "")) for field in fields}
        named = {part.get("name") for part in tree.iter() if part.get("number") is None}
        used = {tag for name, tag in lengths.items() if name in named}
        assert used & RAW_LENGTHS, path
        assert used - of_sessions <= RAW_LENGTHS, path


@pytest.mark.parametrize(
    ("profile", "messages", "tag", "value"),
    [
        (Profile.of("4.2", post_only="59=P"), "D G", "59", "P"),
        (Profile.of("4.2", post_only="9303=P"), "D G", "9303", None),
        (Profile.of("4.2"), "8", "9730", None),
        (Profile.of("4.2"), "A", "553", None),
        (Profile.of("4.2"), "A", "554", None),
        (Profile.of("4.2"), "8", "479", None),
        (Profile(liquidity_tag=1057), "8", "1057", None),
        (Profile(post_only_code="1004"), "8", "103", "1004"),
        (Profile.of("5.0SP2", post_only_code="1004"), "8", "103", "1004"),
        (Profile.of("5.0SP2", post_only="20001=Y"), "D G", "20001", None),
    ],
)
def test_a_venues_own_marks_may_stand_in_its_messages(
    tmp_path: Path, profile: Profile, messages: str, tag: str, value: str | None
) -> None:
    """And a tag of its own in no others; a code that is not in the dictionary is one now."""
    Dictionary(tmp_path, profile)
    path = next(path for path in tmp_path.glob("*.xml") if path.stem != "FIXT11")
    tree = ET.parse(path)  # noqa: S314 - our own
    field = tree.find(f"fields/field[@number='{tag}']")
    assert field is not None
    assert value is None or field.find(f"value[@enum='{value}']") is not None
    found = tree.iterfind("messages/message")
    own = {each.get("msgtype") for each in found if each.find(f"field[@name='{field.get('name')}']") is not None}
    assert own >= set(messages.split())
    assert int(tag) < 5000 or own == set(messages.split())


def test_a_journal_damaged_before_its_last_line_is_refused(tmp_path: Path) -> None:
    """Only the end of a file can be torn."""
    path = tmp_path / "journal"
    journal = Journal(path, "x")
    journal.append({"play": 1})
    journal.close()
    path.write_bytes(b"\xff" + path.read_bytes())
    with pytest.raises(StateError, match="damaged before its last line"):
        Journal(path, "x")


def test_a_message_that_was_not_processed_ends_the_process_even_where_that_cannot_be_said() -> None:
    """On a full disk the traceback cannot be written; the engine must not take the message for processed."""
    program = "from trisagion.adapters.venues.edge import edge\nwith edge():\n    raise ValueError('lost')"
    with Path("/dev/full").open("w") as full:
        done = subprocess.run([sys.executable, "-c", program], stderr=full, check=False)
    assert done.returncode == EXIT_UNPROCESSED
