"""What a session leaves of its messages: masked, in files and in the database, whole after every crash."""

import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import quickfix as fix

from init import create
from tests.databases import founded_run
from tests.integration.fix_market import WAIT_S, Market, Sink, at, kill, order
from tests.leaks import CANARY, leaks
from trisagion.adapters.db import SqlDatabase, open_database
from trisagion.adapters.password import Password
from trisagion.adapters.venues import messages as message_files
from trisagion.adapters.venues.fix.messages import scrub
from trisagion.adapters.venues.fix.session import Application
from trisagion.adapters.venues.messages import MessageFiles, masked
from trisagion.cli import messages as cli
from trisagion.errors import ConfigError, StateError
from trisagion.services.keep_messages import keep, last_kept

TALKER = """
import sys, time
from pathlib import Path
from tests.integration.fix_market import at, order
from trisagion.adapters.venues.fix.initiator import FixSession
from trisagion.adapters.venues.fix.session import FixConfig
from workers.app import house
from workers.sessions.keeper import Keeper

class Sink:
    def on_logon(self):
        print("logon", flush=True)
    def on_logout(self):
        pass
    def on_positions(self, reports):
        pass
    def on_report(self, report):
        pass

port, store, sender = int(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
session = FixSession(FixConfig("127.0.0.1", port, sender, "SIM", "ACC", store), Sink(), "SIM")
kept = house().last_kept("SIM")
session.start(kept)
Keeper(session.messages, "SIM", kept).start()
while True:
    session.ask_status(order("a"), at(1))
    time.sleep(0.002)
"""


@pytest.fixture
def market(tmp_path: Path) -> Iterator[Market]:
    """A venue that has played one second."""
    made = Market(tmp_path)
    made.start()
    made.control.play(at(1))
    yield made
    made.close()


def soh(text: str) -> str:
    """Write a message with | for the separator."""
    return text.replace("|", "\x01")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("8=FIX.4.4|35=A|553=me|554=secret|10=001|", "8=FIX.4.4|35=A|553=me|554=******|10=001|"),
        ("8=FIX.4.4|35=BE|554=old|925=newer|10=001|", "8=FIX.4.4|35=BE|554=***|925=*****|10=001|"),
        ("35=A|95=3|96=a|b|98=0|", "35=A|95=3|96=***|98=0|"),
        ("35=A|95=99|96=a|b|98=0|", "35=A|95=99|96=*********"),
        ("35=A|95=2|96=abcdef|98=0|", "35=A|95=2|96=************"),
        ("35=A|96=abc|98=0|", "35=A|96=*********"),
        ("Session not found for incoming message: 35=A|554=secret|10=1|", None),
        ("554=secret", "554=******"),
        ("35=A|554=é|10=1|", "35=A|554=**|10=1|"),
        ("35=8|1554=a|196=b|44=99.96|58=x|", "35=8|1554=a|196=b|44=99.96|58=x|"),
        ("35=A|554=|98=0|", "35=A|554=|98=0|"),
        ("35=A|1401=3|1402=a|b|1403=2|1404=cd|98=0|", "35=A|1401=3|1402=***|1403=2|1404=**|98=0|"),
        ("35=A|95=3|1402=abc|98=0|", "35=A|95=3|1402=*********"),
    ],
)
def test_secrets_are_stars_and_nothing_else_is(text: str, expected: str | None) -> None:
    """Wherever they stand; raw data by its length, and to the end where the length lies."""
    expected = expected or text.replace("secret", "******")
    assert masked(soh(text)) == soh(expected)


def test_a_password_that_the_venue_repeats_is_stars_in_its_words_too(tmp_path: Path) -> None:
    """In whatever field, and in the middle of it, the one before it too; one that any number would be is left."""
    passwords = iter(("2", CANARY, "another"))
    password = Password(lambda: next(passwords))
    assert [password() for _ in range(3)] == ["2", CANARY, "another"]
    files = MessageFiles(tmp_path, password=password)
    files.write("in", soh(f"35=5|58=wrong password '{CANARY}', not another {CANARY}?|10=002|"))
    (line,) = files.after(0, 10)
    hidden = "*" * len(CANARY)
    assert line.text == soh(f"35=5|58=wrong password '{hidden}', not ******* {hidden}?|10=002|")
    files.close()
    assert leaks(tmp_path, CANARY) == []


def test_lines_are_numbered_read_back_byte_for_byte_and_forgotten_in_whole_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Line ends, backslashes and bytes that are no text survive; the file that is written to stays."""
    monkeypatch.setattr(message_files, "FILE_BYTES", 200)
    texts = [f"{number}\x01\n\\n\\\\\udcff é" for number in range(40)]
    files = MessageFiles(tmp_path)
    for text in texts:
        files.write("in", text)
    assert files.last == 40
    found, number = [], 0
    while lines := files.after(number, 7):
        found += lines
        number = lines[-1].number
    assert [line.number for line in found] == list(range(1, 41))
    assert [line.text for line in found] == texts
    assert [line.at_ns for line in found] == sorted(line.at_ns for line in found)
    before = sorted(tmp_path.iterdir())
    for line in found[:20]:
        assert files.after(line.number, 1) == [found[line.number]]
        files.forget(line.number)
    assert files.after(20, 1) == found[20:21]
    files.forget(40)
    assert len(sorted(tmp_path.iterdir())) == 1 < len(before)
    files.close()


def test_a_torn_line_is_cut_and_numbers_go_on_without_a_hole(tmp_path: Path) -> None:
    """Also from where the database is, when the directory is new or older than that."""
    files = MessageFiles(tmp_path)
    files.write("out", "one")
    files.close()
    (path,) = tmp_path.iterdir()
    path.write_bytes(path.read_bytes() + b"2\t17\tou")
    again = MessageFiles(tmp_path)
    again.write("out", "two")
    assert [(line.number, line.text) for line in again.after(0, 9)] == [(1, "one"), (2, "two")]
    again.close()
    later = MessageFiles(tmp_path, after=10)
    later.write("out", "three")
    assert [line.number for line in later.after(2, 9)] == [11]
    later.close()


def test_a_bounded_log_keeps_its_newest_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The bundled venue's: nobody ever copies it."""
    monkeypatch.setattr(message_files, "FILE_BYTES", 100)
    files = MessageFiles(tmp_path, files_max=3)
    for number in range(100):
        files.write("in", str(number))
    assert len(list(tmp_path.iterdir())) == 3
    assert files.after(0, 1)[0].number > 80
    files.close()


def test_the_engines_store_is_scrubbed_in_place(tmp_path: Path) -> None:
    """The message keeps its length and has a true checksum, so the engine can still read it; its neighbours stay."""
    body = tmp_path / "FIX.4.4-US-SIM.body"
    logon = fix.Message()
    for tag, value in ((8, "FIX.4.4"), (35, "A"), (34, "1"), (49, "US"), (52, "20261121-20:48:28"), (56, "SIM")):
        logon.getHeader().setField(fix.StringField(tag, value))
    logon.setField(fix.StringField(554, "hunter2"))
    order_text = "8=FIX.4.4\x019=5\x0135=0\x0110=163\x01"
    text = logon.toString()
    body.write_text(order_text + text + order_text)
    scrub(tmp_path)
    after = body.read_text()
    assert "hunter2" not in after
    assert (after[: len(order_text)], after[-len(order_text) :]) == (order_text, order_text)
    hidden = after[len(order_text) : -len(order_text)]
    assert hidden == text.replace("hunter2", "*******").replace(text[-4:], hidden[-4:])
    assert fix.Message(hidden, True).getField(554) == "*******"


def test_no_secret_of_a_logon_is_in_any_file_of_either_end_nor_in_the_database(
    market: Market, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A password and raw data, sent; the venue logs what it heard, the engine's store what was sent."""
    heard: list[str] = []

    def add_secrets(_: Any, message: Any, __: Any) -> None:
        if message.getHeader().getField(35) == "A":
            message.setField(fix.StringField(553, "me"))
            message.setField(fix.StringField(554, CANARY))
            message.setField(fix.StringField(95, str(len(CANARY) + 2)))
            message.setField(fix.StringField(96, f"{CANARY}\x01x"))
            heard.append(message.toString())

    monkeypatch.setattr(Application, "toAdmin", add_secrets)
    create(f"sqlite:///{tmp_path / 'kept.sqlite3'}")
    database = open_database(f"sqlite:///{tmp_path / 'kept.sqlite3'}")
    sink = Sink()
    with market.session(sink) as session:
        session.send_new(order("a"), at(1))
        sink.after(1)
        outbox, kept = session.messages, 0
        while outbox.last > kept:
            kept = keep(database, outbox, "SIM", kept)
    assert CANARY in heard[0]
    with database.snapshot() as tx:
        rows = tx.messages.messages("SIM", [], 0, (0, "", 0), 1000)
    logon = next(row for row in rows if row.msg_type == "A" and row.direction == "out")
    assert f"\x01554={'*' * len(CANARY)}\x01" in logon.text
    assert f"\x0195={len(CANARY) + 2}\x0196={'*' * (len(CANARY) + 2)}\x01" in logon.text
    assert any(row.msg_type == "D" and row.seq_num == 3 for row in rows)
    database.close()
    assert "554=****" in "".join(path.read_text() for path in (tmp_path / "v" / "messages").iterdir())
    assert leaks(tmp_path, CANARY) == []


def test_messages_wait_in_their_files_while_the_database_is_away(tmp_path: Path) -> None:
    """None is lost, and no file is deleted before it is copied."""
    files = MessageFiles(tmp_path / "m")
    for number in range(5):
        files.write("in", soh(f"8=FIX.4.4|35=8|34={number}|"))
    files.write("in", soh(f"8=FIX.4.4|35={'Z' * 99}|34={'9' * 99}|"))
    url = f"sqlite:///{tmp_path / 'away.sqlite3'}"
    database = open_database(url)
    with pytest.raises(StateError, match="does not exist"):
        keep(database, files, "SIM", 0)
    create(url)
    assert last_kept(database, "SIM") == 0
    assert keep(database, files, "SIM", 0) == 6
    assert keep(database, files, "SIM", 2) == 6, "copied again, they change nothing"
    with database.snapshot() as tx:
        rows = tx.messages.messages(None, [], 0, (0, "", 0), 100)
    assert [(row.number, row.msg_type, row.seq_num) for row in rows] == [
        *((number + 1, "8", number) for number in range(5)),
        (6, None, None),
    ]
    files.close()
    database.close()


def talk(market: Market, url: str) -> "subprocess.Popen[str]":
    """Start a session that asks and keeps, in a process of its own."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("URL_OF_THE_TALKER", url)
        environment.setenv("TRISAGION__DATABASE__URL", "env:URL_OF_THE_TALKER")
        return market.run("-c", TALKER, str(market.port), str(market.directory / "s"), market.sender)


def test_a_process_killed_between_file_and_table_leaves_no_hole_and_no_double(
    market: Market, database: SqlDatabase, database_url: str
) -> None:
    """Killed three times in the middle of it: every message that the venue got is in the table, once, as it was."""
    behind = []
    for goal in (300, 600, 900):
        talker = talk(market, database_url)
        deadline = time.monotonic() + 3 * WAIT_S
        while last_kept(database, "SIM") < goal:
            assert talker.poll() is None, talker.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.01)
        kill(talker)
        files = MessageFiles(market.directory / "s" / "messages")
        files.close()
        behind.append(files.last - last_kept(database, "SIM"))
    assert max(behind) > 0, "killed before it could copy its last lines"
    files = MessageFiles(market.directory / "s" / "messages")
    kept = last_kept(database, "SIM")
    while files.last > kept:
        kept = keep(database, files, "SIM", kept)
    files.close()
    with database.snapshot() as tx:
        rows = tx.messages.messages("SIM", [], 0, (0, "", 0), 10**6)
    assert [row.number for row in rows] == list(range(1, kept + 1))
    venue = MessageFiles(market.directory / "v" / "messages")
    got = [line.text for line in venue.after(0, 10**6) if line.direction == "in"]
    sent = [row.text for row in rows if row.direction == "out"]
    assert len(got) > 300
    assert set(got) <= set(sent)
    assert len(sent) == len(set(sent))
    venue.close()


def test_the_command_shows_messages_of_an_order_and_since_an_instant(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """By any ClOrdID of the order; as text with | and as JSON."""
    from tests.builders import Desk, an_order

    database = founded_run(tmp_path)
    Desk(database).put(an_order("T1"))
    files = MessageFiles(tmp_path / "m")
    for text in ("35=D|11=T1|", "35=D|11=T11|", "35=F|11=X1|41=T1|", "35=0|34=2|58=\x1b[31m|"):
        files.write("out", soh(f"8=FIX.4.4|{text}"))
    files.write("event", "Disconnecting")
    keep(database, files, "SIM", 0)
    files.close()
    database.close()

    def shown(**options: Any) -> list[str]:
        cli.command(**{"state": tmp_path, "as_json": False, **options})
        return capsys.readouterr().out.splitlines()

    assert [line.split("  ")[2:] for line in shown(order="T1")] == [
        ["1", ">", "8=FIX.4.4|35=D|11=T1|"],
        ["3", ">", "8=FIX.4.4|35=F|11=X1|41=T1|"],
    ]
    assert shown()[3].endswith("58=\\x1b[31m|")
    assert shown(since="2999-01-01") == []
    assert len(shown(since="2020-01-01T00:00", session="SIM")) == 5
    assert shown(session="other") == []
    assert json.loads(shown(as_json=True)[4])["direction"] == "event"
    with pytest.raises(StateError, match="no order"):
        shown(order="T9")
    with pytest.raises(ConfigError, match="--since"):
        shown(since="yesterday")
