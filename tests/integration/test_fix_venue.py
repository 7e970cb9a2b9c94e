"""What the bundled venue can do and get wrong, over a FIX session on loopback: its messages as they come."""

import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import quickfix as fix

from tests.integration.fix_market import WAIT_S, Market, Sink, at, every_version, kill, made, order, with_positions
from trisagion.adapters.venues.fix import initiator
from trisagion.adapters.venues.fix.engine import decode
from trisagion.adapters.venues.fix.initiator import FixSession
from trisagion.errors import VenueMistake
from trisagion.gateway.requests import cancel_request, new_order, status_request
from trisagion.gateway.words import Fields, timestamp
from trisagion.orders.types import Side

ACCEPTED = {35: "8", 150: "0"}


class Tap(FixSession):
    """A session that keeps every message as it comes; what opens the session still does."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.heard: list[dict[int, str]] = []

    def on_message(self, fields: Fields) -> bool:
        """Keep."""
        if fields[35] == "AP" or fields.get(45) == self._gap_number or fields.get(11) == self._gap_question:
            return super().on_message(fields)
        self.heard.append(dict(fields))
        return True

    def on_report(self, _: object) -> None:
        """Nothing is handed up."""

    def say(self, fields: Fields) -> None:
        """Send a message."""
        assert self._send(fields)

    def new(self, name: str, now_s: float = 1, **changes: Any) -> None:
        """Send an order of the session tests; `fields` are put over its own."""
        fields = changes.pop("fields", {})
        self.say({**new_order(order(name, **changes), account="ACC", now_ns=at(now_s)), **fields})

    def cancel(self, name: str, now_s: float = 1) -> None:
        """Ask for a cancel."""
        self.say(cancel_request(order(name), account="ACC", now_ns=at(now_s)))

    def wait(self, until: Callable[[], bool]) -> None:
        """Wait for something heard."""
        deadline = time.monotonic() + WAIT_S
        while not until():
            assert time.monotonic() < deadline, self.heard
            time.sleep(0.002)

    def next(self, *expected: Fields) -> list[dict[int, str]]:
        """Wait for as many messages; each must have the fields expected of it."""
        self.wait(lambda: len(self.heard) >= len(expected))
        heard, self.heard = self.heard[: len(expected)], self.heard[len(expected) :]
        old = self.config.profile.version == "4.2"
        for message, fields in zip(heard, map(coarse, expected) if old else expected, strict=True):
            assert {tag: message.get(tag) for tag in fields} == fields, message
        return heard

    def quiet(self, name: str = "quiet") -> None:
        """Make sure that nothing else was said: the next answer is to this question."""
        self.say(status_request(order(name), account="ACC"))
        self.next({35: "8", 150: "I", 11: name})


def coarse(expected: Fields) -> Fields:
    """Return what is left of refusals in FIX 4.2, which has fewer codes for them."""
    coarser = {102: {"6": "2", "99": "2"}, 103: {"13": "0", "99": "0"}}
    return {tag: coarser.get(tag, {}).get(value, value) for tag, value in expected.items()}


@pytest.fixture
def market(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Market]:
    """A venue not yet started."""
    yield from made(request, tmp_path)


@contextmanager
def talking(market: Market, *extra: str) -> Iterator[Tap]:
    """A started venue that has played one second, and a session with it."""
    market.run("-m", "trisagion.adapters.venues.fix.venue", *market.arguments(), *extra)
    market.control.play(at(1))
    with tapped(market) as tap:
        yield tap


@contextmanager
def tapped(market: Market) -> Iterator[Tap]:
    """A session that has logged on. The venue is ended before it: a goodbye would take a second."""
    sink = Sink()
    tap = Tap(market.config(), sink, "SIM")
    tap.start()
    try:
        sink.wait(lambda: sink.logons > 0)
        yield tap
    finally:
        for process in market.processes:
            process.kill()
            process.wait(WAIT_S)
        tap.stop()


def replacement(old: str, new: str, px: str = "99.75", qty: int = 5, now_s: float = 1) -> dict[int, str]:
    """An OrderCancelReplaceRequest."""
    return {**new_order(order(new, px=px), account="ACC", now_ns=at(now_s)), 35: "G", 41: old, 38: str(qty)}


@every_version
def test_an_order_is_replaced_and_goes_by_its_new_name(market: Market) -> None:
    """35=G: replaced, refused for each reason with the order as it was, filled under the new name."""
    with talking(market) as tap:
        tap.new("a")
        tap.next(ACCEPTED)
        tap.say(replacement("a", "b", qty=4))
        tap.next({35: "8", 150: "5", 11: "b", 41: "a", 39: "0", 38: "4", 37: "O1", 17: "E2"})
        refused = [
            ("a", "c", "99.75", 5, {102: "1", 39: "8", 37: "NONE"}),
            ("b", "a", "99.75", 5, {102: "6", 39: "0", 37: "O1"}),
            ("b", "c", "100.25", 5, {102: "99", 39: "0", 58: "POST_ONLY_WOULD_CROSS"}),
            ("b", "c", "99.80", 5, {102: "99", 39: "0", 58: "BAD_PRICE"}),
            ("b", "c", "99.75", 0, {102: "99", 39: "0", 58: "BAD_QUANTITY"}),
        ]
        for old, new, px, qty, expected in refused:
            tap.say(replacement(old, new, px, qty))
            tap.next({35: "9", 11: new, 41: old, 434: "2", **expected})
        market.control.play(at(15))
        tap.next({150: "F", 11: "b", 32: "2"}, {150: "F", 32: "2", 39: "2", 14: "4"})
        tap.say(replacement("b", "d"))
        tap.next({35: "9", 102: "0", 39: "2"})
        tap.say(status_request(order("a"), account="ACC"))
        tap.next({150: "I", 11: "b", 37: "O1", 39: "2"})


@every_version
def test_orders_end_as_their_time_in_force_says(market: Market) -> None:
    """IOC, FOK and GTD; an end that is missing, over or beyond reckoning."""
    with talking(market) as tap:
        sell: dict[str, Any] = {"px": "99", "side": Side.SELL, "taker": True}
        tap.new("ioc", qty=3, **sell)
        tap.next(ACCEPTED, {150: "F", 32: "1", 851: "2"}, {150: "4", 58: "IOC_REMAINDER"})
        tap.new("fok", qty=3, fields={59: "4"}, **sell)
        tap.next(ACCEPTED, {150: "4", 58: "FOK_UNFILLED", 14: "0"})
        tap.new("fok1", qty=1, fields={59: "4"}, **sell)
        tap.next(ACCEPTED, {150: "F", 39: "2"})
        tap.new("gtd", fields={59: "6", 126: timestamp(at(11))})
        tap.next(ACCEPTED)
        tap.new("late", fields={59: "6", 126: timestamp(at(1))})
        tap.next({150: "8", 58: "BAD_INSTRUCTIONS", 103: "99"})
        for end in ({}, {126: "99991231-00:00:00"}):
            tap.new("none", fields={59: "6", **end})
            tap.next({35: "j", 380: "5"})
        tap.new("auction", fields={59: "2"})
        tap.next({35: "j", 380: "5"})
        market.control.play(at(15))
        tap.next({150: "F", 11: "gtd", 32: "2"}, {150: "C", 11: "gtd", 39: "C", 151: "0", 60: timestamp(at(11))})


@with_positions
def test_all_orders_are_asked_about_and_cancelled_at_once(market: Market) -> None:
    """35=AF counts its answers; 35=q is answered by 35=r and a report each; both know one symbol from all."""
    with talking(market) as tap:
        everything = {35: "AF", 584: "M1", 585: "7"}
        tap.say(everything)
        tap.next({35: "8", 150: "I", 584: "M1", 911: "0", 912: "Y", 37: "NONE"})
        for name in ("a", "b", "c"):
            tap.new(name)
        tap.next(*[ACCEPTED] * 3)
        tap.cancel("b")
        tap.next({150: "4"})
        tap.say(everything)
        tap.next(*[{150: "I", 11: name, 911: "2", 912: last} for name, last in (("a", "N"), ("c", "Y"))])
        tap.say({**everything, 585: "1", 55: "XX"})
        tap.next({911: "0"})
        tap.say({**everything, 1: "OTHER"})
        tap.next({911: "0"})
        cancel = {35: "q", 11: "Q1", 530: "1", 55: "XX", 60: timestamp(at(1))}
        tap.say(cancel)
        tap.next({35: "r", 530: "1", 531: "1", 533: "0"})
        tap.say({35: "q", 11: "Q2", 530: "7", 60: timestamp(at(1))})
        tap.next(
            {35: "r", 11: "Q2", 531: "7", 533: "2"},
            {35: "8", 150: "4", 11: "Q2", 41: "a"},
            {35: "8", 150: "4", 11: "Q2", 41: "c"},
        )
        assert market.control.status()["working"] == []


def quote_request(name: str, entry: str, kind: str = "1", **changes: str) -> dict[int, str]:
    """A MarketDataRequest for one entry."""
    return {35: "V", 262: name, 263: kind, 264: changes.get("depth", "1"), 265: "1", 267: "1", 269: entry, 146: "1",
            55: changes.get("symbol", "ES")}  # fmt: skip


@every_version
def test_market_data_follow_the_tape_one_tick_around_the_last_trade(market: Market) -> None:
    """Snapshots, then increments where the price moved; refusals; the end of a subscription."""
    with talking(market) as tap:
        for entry, px in (("0", "99.75"), ("1", "100.25"), ("2", "100")):
            tap.say(quote_request(f"R{entry}", entry))
            tap.next({35: "W", 262: f"R{entry}", 268: "1", 269: entry, 270: px})
        for asked, why in (
            (quote_request("R0", "0"), "1"),
            (quote_request("x", "0", symbol="XX"), "0"),
            (quote_request("x", "0", depth="5"), "5"),
            (quote_request("x", "4"), "8"),
        ):
            tap.say(asked)
            tap.next({35: "Y", 281: why})
        market.control.play(at(10.5))
        increment = {35: "X", 268: "1", 279: "1", 55: "ES"}
        tap.next(
            *[{**increment, 262: f"R{entry}", 270: px} for entry, px in (("0", "99.5"), ("1", "100"), ("2", "99.75"))]
        )
        tap.say(quote_request("R0", "0", "2"))
        tap.say(quote_request("R1", "1", "2"))
        tap.say(quote_request("once", "2", "0"))
        tap.next({35: "W", 262: "once", 270: "99.75"})
        market.control.play(at(13))
        tap.next({**increment, 262: "R2", 270: "99.5"})
        market.control.play(at(19))
        tap.quiet()


def test_orders_go_with_the_session_where_the_switch_says_so(market: Market) -> None:
    """Cut without a word, and the venue killed and started again: the cancel is heard at the next logon, once."""
    switch = "--cancel-on-disconnect"
    with talking(market, switch) as tap:
        tap.new("a")
        tap.next(ACCEPTED)
        market.control.fault("disconnect")
        tap.next({150: "4", 11: "a", 39: "4", 17: "E2"})
        tap.wait(tap.logged_on)
        tap.new("b")
        tap.next(ACCEPTED)
        kill(market.processes[0])
        market.run("-m", "trisagion.adapters.venues.fix.venue", *market.arguments(), switch)
        # The venue repeats the reports of its last command, here the acceptance.
        tap.next({**ACCEPTED, 11: "b", 17: "E3"}, {150: "4", 11: "b", 39: "4", 17: "E4"})
        assert market.control.status()["working"] == []


def test_a_message_with_a_tag_twice_is_refused_and_the_venue_goes_on(
    market: Market, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two kinds of entries in one request: a group of two."""
    with talking(market) as tap:
        # Our own side would not let such a message out.
        monkeypatch.setattr(initiator, "decode", partial(decode, groups=True))
        assert tap._store is not None
        text = "8=FIX.4.4|35=V|262=R|263=0|264=1|267=2|269=0|269=1|146=1|55=ES|10=0|".replace("|", "\x01")
        assert fix.Session.sendToTarget(tap._store.dictionary.message(text), tap._id)
        (answer,) = tap.next({35: "j", 372: "V", 380: "0"})
        assert "expected each tag once" in answer[58]
        tap.quiet()


def test_lost_and_late_acknowledgements_follow_from_the_seed_across_a_restart(market: Market) -> None:
    """What is lost never comes, what is late comes with the tape; killed in between, the rest is as without."""
    names = [f"n{number}" for number in range(24)]

    def told(tap: Tap, some: list[str]) -> list[str]:
        for name in some:
            tap.new(name, px="90")
        tap.say(status_request(order("end"), account="ACC"))
        tap.wait(lambda: bool(tap.heard) and tap.heard[-1].get(11) == "end")
        heard, tap.heard = tap.heard, []
        return [message[11] for message in heard[:-1]]

    with talking(market) as tap:
        market.control.fault("acknowledgements", lost=0.3, late=0.3, late_s=2, seed=5)
        first = told(tap, names[:12])
        kill(market.processes[0])
    market.start()
    market.control.play(at(1))
    with tapped(market) as tap:
        tap.say(status_request(order("mark"), account="ACC"))
        tap.wait(lambda: any(message.get(11) == "mark" for message in tap.heard))
        tap.heard = []
        second = told(tap, names[12:])
        market.control.play(at(3.5))
        tap.say(status_request(order("end"), account="ACC"))
        tap.wait(lambda: bool(tap.heard) and tap.heard[-1].get(11) == "end")
        assert len(market.control.status()["working"]) == 24
        late = [message[11] for message in tap.heard[:-1]]
    luck = np.random.default_rng(5).random(24).tolist()
    assert first + second == [name for name, drawn in zip(names, luck, strict=True) if drawn >= 0.6]
    assert late == [name for name, drawn in zip(names, luck, strict=True) if 0.3 <= drawn < 0.6]


@every_version
def test_the_line_is_cut_and_numbers_go_missing_and_nothing_is_lost(market: Market) -> None:
    """A disconnect in the middle, a gap, a sequence reset: after each the session goes on, fills once each."""
    with talking(market) as tap:
        tap.new("a")
        tap.next(ACCEPTED)
        market.control.fault("gap", messages=7)
        market.control.play(at(10.5))
        tap.next({150: "F", 17: "E2"})
        market.control.fault("reset", messages=50)
        market.control.play(at(11.5))
        (fill,) = tap.next({150: "F", 17: "E3"})
        assert int(fill[34]) > 57
        market.control.fault("disconnect")
        market.control.play(at(12.5))
        tap.next({150: "F", 17: "E4"})
        tap.wait(tap.logged_on)
        tap.quiet()
        with pytest.raises(VenueMistake, match="expected messages of 1 to 10000, found 0"):
            market.control.fault("gap", messages=0)


@every_version
def test_reports_are_repeated_busted_and_corrected(market: Market) -> None:
    """The same ExecID under a new number; ExecType H and G name the trade; sums and positions follow."""
    with talking(market) as tap:
        tap.new("a")
        tap.next(ACCEPTED)
        market.control.play(at(10.5))
        (fill,) = tap.next({150: "F", 17: "E2", 14: "2"})
        market.control.fault("repeat", exec_id="E2")
        (again,) = tap.next({150: "F", 17: "E2"})
        session = {9, 10, 34, 52}
        assert {tag: fill[tag] for tag in fill if tag not in session} == {
            tag: again[tag] for tag in again if tag not in session
        }
        assert int(again[34]) > int(fill[34])
        market.control.fault("correct", exec_id="E2", px="99.5", qty="1")
        tap.next({150: "G", 17: "E3", 19: "E2", 31: "99.5", 32: "1", 14: "1", 151: "4", 39: "1", 6: "99.5"})
        market.control.fault("bust", exec_id="E3")
        tap.next({150: "H", 17: "E4", 19: "E3", 14: "0", 151: "5", 39: "0", 6: "0"})
        for exec_id in ("E2", "E3", "E9"):
            with pytest.raises(VenueMistake, match="expected a trade that stands"):
                market.control.fault("bust", exec_id=exec_id)
        assert market.control.status()["positions"] == {"ES": "0"}
        before = market.control.status()
        kill(market.processes[0])
    market.start()
    assert market.control.status() == before


def test_orders_trade_where_none_may(market: Market) -> None:
    """An over-fill, a fill after the cancel, a post-only order that took: all are told and in the position."""
    with talking(market) as tap:
        for name in "abc":
            tap.new(name)
        tap.next(*[ACCEPTED] * 3)
        tap.cancel("b")
        tap.next({150: "4"})
        for name, qty, liquidity, expected in (
            ("a", "7", "maker", {39: "2", 14: "7", 151: "0", 851: "1"}),
            ("b", "5", "maker", {39: "4", 14: "5", 151: "0", 851: "1"}),
            ("c", "1", "taker", {39: "1", 14: "1", 151: "4", 851: "2"}),
        ):
            market.control.fault("fill", cl_ord_id=name, qty=qty, liquidity=liquidity)
            tap.next({35: "8", 150: "F", 32: qty, 31: "99.75", 11: name, **expected})
        books = market.control.status()
    assert books["positions"] == {"ES": "13"}
    assert [row["cl_ord_id"] for row in books["working"]] == ["c"]


def test_too_many_messages_in_a_second_are_refused(market: Market) -> None:
    """Two a second by TransactTime; questions are free; the refused leave no trace; then the limit is lifted."""
    with talking(market) as tap:
        market.control.fault("rate_limit", per_second=2)
        for name in "abc":
            tap.new(name)
        tap.next(ACCEPTED, ACCEPTED, {35: "j", 372: "D", 380: "0", 58: "RATE_LIMIT"})
        tap.cancel("a")
        tap.next({35: "j", 372: "F", 58: "RATE_LIMIT"})
        tap.say(status_request(order("c"), account="ACC"))
        tap.next({150: "I", 103: "5"})
        tap.new("d", now_s=2)
        tap.next(ACCEPTED)
        market.control.fault("rate_limit", per_second=0)
        for name in "efg":
            tap.new(name, now_s=2)
        tap.next(*[ACCEPTED] * 3)


def test_an_outage_refuses_everything_and_tells_afterwards_what_happened_in_it(market: Market) -> None:
    """Ten seconds of the tape: the fill in them is heard at their end."""
    with talking(market) as tap:
        tap.new("a")
        tap.next(ACCEPTED)
        market.control.fault("outage", seconds=10)
        tap.new("b")
        tap.say(status_request(order("a"), account="ACC"))
        tap.next({35: "j", 372: "D", 380: "4", 58: "OUTAGE"}, {35: "j", 372: "H", 380: "4"})
        assert market.control.play(at(10.5)).executions == 2
        tap.say(status_request(order("a"), account="ACC"))
        tap.next({35: "j", 372: "H", 380: "4"})
        market.control.play(at(11.5))
        tap.next({150: "F", 17: "E2", 60: timestamp(at(10))}, {150: "F", 17: "E3"})


BAD_FAULTS: list[tuple[str, dict[str, Any], str]] = [
    ("dance", {}, "expected a kind of fault that there is, found 'dance'"),
    ("bust", {}, "expected exec_id as str, found None"),
    ("correct", {"exec_id": "E9", "px": "1", "qty": "1"}, "expected an ExecID of ours"),
    ("fill", {"cl_ord_id": "never", "qty": "1", "liquidity": "maker"}, "expected an order that was accepted"),
    ("rate_limit", {"per_second": -1}, "at least 0"),
    ("rate_limit", {"per_second": True}, "expected per_second as int, found True"),
    ("outage", {"seconds": 1e9}, "expected seconds of 0 to"),
    ("acknowledgements", {"lost": 0.6, "late": 0.6, "late_s": 1, "seed": 1}, "expected shares of 0 to 1"),
    ("disconnect", {}, "expected a session that is logged on"),
]


def test_a_fault_without_meaning_is_refused_with_a_reason_and_changes_nothing(market: Market) -> None:
    """And a restart still reads the journal."""
    market.start()
    market.control.play(at(1))
    for kind, arguments, message in BAD_FAULTS:
        with pytest.raises(VenueMistake, match=message):
            market.control.fault(kind, **arguments)
    kill(market.processes[0])
    process: subprocess.Popen[str] = market.start()
    assert market.control.play(at(2)).executions == 0
    assert process.poll() is None
