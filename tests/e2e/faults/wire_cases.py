"""Row 16: what a FIX 4.4 acceptor can do wrong on the session layer, case by case, and what our initiator does then.

The names are those of the FIX Trading Community's session test cases as QuickFIX has them (AT definitions, fix44), from
the acceptor's end. Each case begins with an order of ours working at the venue and ends with it filled, one more order
traded, and both books equal. `note` says where our side does other than the case asks, and what it does; it was
measured with quickfix 1.16.
"""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Final, TypeAlias

from tests.e2e.faults.peer import Held, Message, body_of, framed, stamp
from tests.e2e.faults.wire import Bench
from trisagion.orders.state import OrderState

Play: TypeAlias = Callable[[Bench, Held], None]

_ONE: Final = Decimal(1)


@dataclass(frozen=True, slots=True)
class Case:
    """What the venue does, whether the connection ends over it, and where we differ from the case."""

    name: str
    play: Play
    closes: bool = False
    note: str = ""


def run_case(bench: Bench, case: Case) -> None:
    """Play a case; raise `Wrong` where it does not end as its row says."""
    peer = bench.peer
    order = bench.work()
    ends, logons = peer.ends, peer.logons
    case.play(bench, order)
    if case.closes:
        bench.until(lambda: peer.ends > ends, "the end of the connection")
        peer.at_logon, peer.mute = None, False
        bench.await_logon(logons)
    else:
        assert peer.ends == ends, "the connection has ended"
        bench.alive()
    bench.complete(order)
    bench.complete(bench.work())


def hears(wanted: Message, play: Play) -> Play:
    """Play, and hear an answer."""

    def played(bench: Bench, order: Held) -> None:
        mark = len(bench.peer.heard)
        play(bench, order)
        bench.hears(mark, wanted)

    return played


def edited(bench: Bench, fields: Message, edit: Callable[[bytes], bytes] | None = None, **framing: int | str) -> int:
    """Send a message whose body was edited, under the next number; return the number."""
    peer = bench.peer
    number = peer.skip(fields)
    body = body_of(peer.whole(fields, number))
    peer.raw(framed(edit(body) if edit else body, **framing))  # type: ignore[arg-type]
    return number


def garbled(edit: Callable[[bytes], bytes] | None = None, **framing: int | str) -> Play:
    """A fill that is no message at all: not counted, noticed by the gap behind it, and then sent again."""

    def play(bench: Bench, order: Held) -> None:
        mark = len(bench.peer.heard)
        number = edited(bench, bench.peer.books.trade(order, _ONE), edit, **framing)
        bench.peer.say({35: "0"})
        bench.hears(mark, {35: "2", 7: str(number)})

    return play


def refused(answer: Message, edit: Callable[[bytes], bytes] | None = None, **changes: str) -> Play:
    """A fill with a mistake: refused, its order in doubt; then the venue tells it as it should have."""

    def play(bench: Bench, order: Held) -> None:
        mark, told = len(bench.peer.heard), len(bench.desk.events("message.quarantined"))
        good = bench.peer.books.trade(order, _ONE)
        number = edited(bench, {**good, **{int(t[1:]): v for t, v in changes.items()}}, edit)
        bench.hears(mark, {**answer, 45: str(number)})
        bench.until(lambda: len(bench.desk.events("message.quarantined")) > told, "the message to be put aside")
        bench.comes_to(order.first, OrderState.UNKNOWN)
        bench.peer.say(good)
        bench.comes_to(order.first, OrderState.PARTIALLY_FILLED, cum=order.cum)

    return play


def at_logon(answer: Callable[[Bench, Message], bool], *, ends: bool = True) -> Play:
    """Cut the line, and answer the next logon in a way of one's own; once, unless it says so."""

    def play(bench: Bench, order: Held) -> None:
        peer, logons = bench.peer, bench.peer.logons
        once: list[bool] = []

        def answered(message: Message) -> bool:
            if once:
                return False
            once.append(True)
            return answer(bench, message)

        peer.at_logon = answered
        before = peer.ends
        peer.cut()
        bench.until(lambda: bool(once), "the next logon")
        if ends:
            bench.until(lambda: peer.ends > before + 1, "the end of that connection")
        bench.await_logon(logons)

    return play


def say(fields: Message) -> Play:
    """Say something as it should be said."""
    return lambda bench, _: _ignored(bench.peer.say(fields))


def silent(play: Play) -> Play:
    """Play, and hear nothing but heartbeats."""

    def played(bench: Bench, order: Held) -> None:
        mark = len(bench.peer.heard)
        play(bench, order)
        bench.alive()
        odd = [message for message in bench.peer.heard[mark:] if message[35] in "235j"]
        assert odd == [], odd

    return played


def _ignored(_: object) -> None:
    return None


# ---- sequence numbers


def _too_high(bench: Bench, order: Held) -> None:
    peer, mark = bench.peer, len(bench.peer.heard)
    lost = peer.skip(peer.books.trade(order, _ONE))
    bench.fill(order, 1)
    bench.hears(mark, {35: "2", 7: str(lost)})
    bench.comes_to(order.first, OrderState.PARTIALLY_FILLED, cum=order.cum)


def _too_low(bench: Bench, order: Held) -> None:
    mark = len(bench.peer.heard)
    bench.peer.raw(bench.peer.frame({35: "0"}, bench.peer.out - 1))
    bench.hears(mark, {35: "5"})
    bench.peer.cut()


def _logon_too_high(bench: Bench, order: Held) -> None:
    peer, logons, mark = bench.peer, bench.peer.logons, len(bench.peer.heard)
    peer.cut()
    missed = peer.skip(peer.books.trade(order, _ONE))
    bench.await_logon(logons)
    bench.hears(mark, {35: "2", 7: str(missed)})


def _venue_forgot(bench: Bench, message: Message) -> bool:
    """Answer as a venue that lost its numbers, until somebody restores them."""
    peer, kept = bench.peer, bench.peer.out
    peer.raw(peer.frame({35: "A", 98: "0", 108: message[108]}, 1))
    peer.out, peer.expected = kept, int(message[34]) + 2
    return True


def _reset_at_logon(bench: Bench, order: Held) -> None:
    """The venue forces both numbers to 1; what it had to say meanwhile it says again, of its own accord."""
    peer, logons = bench.peer, bench.peer.logons
    missed = peer.books.trade(order, _ONE)

    def answer(message: Message) -> bool:
        if message.get(141) == "Y":
            # Ours is the answer to the venue's wish.
            peer.at_logon = None
            peer.logons = peer.ends + 1
            return True
        peer.stored.clear()
        peer.out, peer.expected = 1, 2
        peer.say({35: "A", 98: "0", 108: message[108], 141: "Y"})
        return True

    peer.at_logon = answer
    peer.cut()
    bench.await_logon(logons)
    peer.say(missed)


def _our_store_lost(bench: Bench, order: Held) -> None:
    """Our numbers begin at 1; the venue turns us away until an operator has it start anew, and tells what we missed."""
    peer = bench.peer
    bench.stop()
    shutil.rmtree(bench.store)
    missed = peer.books.trade(order, _ONE)
    turned: list[int] = []

    def answer(message: Message) -> bool:
        if int(message[34]) >= peer.expected:
            return False
        turned.append(1)
        peer.raw(peer.frame({35: "5", 58: f"MsgSeqNum too low, expecting {peer.expected}"}, peer.out))
        peer.cut()
        return True

    peer.at_logon = answer
    bench.start()
    bench.until(lambda: bool(turned), "the venue to turn us away")
    bench.stop()
    shutil.rmtree(bench.store)
    with peer._changed:
        peer.stored.clear()
        peer.out = peer.expected = 1
        peer.at_logon = None
    logons = peer.logons
    bench.start()
    bench.await_logon(logons)
    peer.say(missed)


def _gap_fill(offset: int, *, dup: bool = False) -> Play:
    """SequenceReset-GapFill at the expected number, or beside it, to two further."""

    def play(bench: Bench, order: Held) -> None:
        peer = bench.peer
        number = peer.out + offset
        flag = {43: "Y", 122: stamp()} if dup else {}
        peer.raw(peer.frame({35: "4", 123: "Y", 36: str(number + 2), **flag}, number))
        if offset == 0:
            peer.out += 2

    return play


def _gap_fill_above(bench: Bench, order: Held) -> None:
    mark, wanted = len(bench.peer.heard), bench.peer.out
    bench.peer.out += 1
    bench.peer.say({35: "4", 123: "Y", 36: str(wanted + 2)})
    bench.hears(mark, {35: "2", 7: str(wanted)})


def _reset_to(offset: int) -> Play:
    """SequenceReset-Reset to a number beside the expected one."""

    def play(bench: Bench, order: Held) -> None:
        peer = bench.peer
        fresh = peer.out + offset
        peer.raw(peer.frame({35: "4", 123: "N", 36: str(fresh)}, peer.out))
        peer.out = max(peer.out, fresh)

    return play


# ---- possible duplicates


def _dup_known(bench: Bench, order: Held) -> None:
    fields = bench.fill(order, 1)
    bench.comes_to(order.first, OrderState.PARTIALLY_FILLED, cum=order.cum)
    bench.peer.raw(bench.peer.frame({**fields, 43: "Y", 122: stamp()}, bench.peer.out - 1))


def _dup_new(bench: Bench, order: Held) -> None:
    fields = bench.peer.books.trade(order, _ONE)
    bench.peer.say({35: "8", 43: "Y", 122: stamp(), **fields})


_OLD_ONLY: Final = (
    "only below the expected number; a new message with the flag is taken whatever its OrigSendingTime(122)"
)


_TIME_IS_WATCHED: Final = (
    "taken: a Reject would lose the report for good, and the wrong clock may be ours; whether clocks are off is watched"
    " over thirty seconds, and shuts the gate"
)


_TAKEN_AND_LOST: Final = "the number counts as received: the engine loses the fill; all orders at the venue are doubted"


def _dup_from_the_future(bench: Bench, order: Held) -> None:
    fields, mark = bench.fill(order, 1), len(bench.peer.heard)
    bench.comes_to(order.first, OrderState.PARTIALLY_FILLED, cum=order.cum)
    bench.peer.raw(bench.peer.frame({**fields, 43: "Y", 122: stamp(3600)}, bench.peer.out - 1))
    bench.hears(mark, {35: "3", 373: "10"})
    bench.hears(mark, {35: "5"})


def _dup_without_time(bench: Bench, order: Held) -> None:
    fields, mark = bench.fill(order, 1), len(bench.peer.heard)
    bench.comes_to(order.first, OrderState.PARTIALLY_FILLED, cum=order.cum)
    bench.peer.raw(bench.peer.frame({**fields, 43: "Y"}, bench.peer.out - 1))
    bench.hears(mark, {35: "3", 373: "1", 371: "122"})


def _other_version(bench: Bench, order: Held) -> None:
    mark, logons = len(bench.peer.heard), bench.peer.logons
    good = bench.peer.books.trade(order, _ONE)
    edited(bench, good, begin="FIX.4.2")
    bench.hears(mark, {35: "5"})
    bench.comes_to(order.first, OrderState.UNKNOWN)
    bench.await_logon(logons)
    bench.peer.say(good)


def _off_time(seconds: int) -> Play:
    """A fill whose SendingTime is off by so much."""

    def play(bench: Bench, order: Held) -> None:
        edited(bench, {**bench.peer.books.trade(order, _ONE), 52: stamp(seconds)})
        bench.comes_to(order.first, OrderState.PARTIALLY_FILLED, cum=order.cum)

    return play


def _resend_known(bench: Bench, order: Held) -> None:
    bench.peer.say({**bench.fill(order, 1), 97: "Y"})


def _resend_new(bench: Bench, order: Held) -> None:
    bench.peer.say({**bench.peer.books.trade(order, _ONE), 97: "Y"})


def _resent_is_bad(bench: Bench, order: Held) -> None:
    """Of three fills the second is bad also when it is sent again: refused; the third is taken; then it comes well."""
    peer = bench.peer
    first, second = peer.books.trade(order, _ONE), peer.books.trade(order, _ONE)
    peer.skip(first)
    bad = peer.skip({**second, 54: "Z"})
    mark = len(peer.heard)
    peer.say({35: "0"})
    bench.hears(mark, {35: "3", 45: str(bad)})
    peer.say(second)
    bench.comes_to(order.first, OrderState.PARTIALLY_FILLED, cum=order.cum)


# ---- what is asked of us


def _ask_again(*, orders: bool) -> Play:
    """Ask for all that we ever said: questions come again, orders never."""

    def play(bench: Bench, order: Held) -> None:
        peer, mark = bench.peer, len(bench.peer.heard)
        last = peer.expected - 1
        begin = 1 if orders else last + 1
        peer.say({35: "2", 7: str(begin), 16: "0"})
        if orders:
            bench.hears(mark, {35: "4", 123: "Y", 43: "Y"})
        bench.alive()
        assert not [message for message in peer.heard[mark:] if message[35] in {"D", "F", "G"}]

    return play


def _both_ask(bench: Bench, order: Held) -> None:
    peer, mark = bench.peer, len(bench.peer.heard)
    lost = peer.skip(peer.books.trade(order, _ONE))
    peer.say({35: "2", 7: str(peer.expected - 1), 16: "0"})
    bench.hears(mark, {35: "2", 7: str(lost)})
    bench.hears(mark, {35: "4", 43: "Y"})


def _test_request(bench: Bench, order: Held) -> None:
    bench.alive()


def _we_beat(bench: Bench, order: Held) -> None:
    bench.hears(len(bench.peer.heard), {35: "0"})


def _silence(bench: Bench, order: Held) -> None:
    bench.peer.mute = True
    bench.peer.instead["1"] = _ignored
    try:
        ends = bench.peer.ends
        bench.hears(len(bench.peer.heard), {35: "1"})
        bench.until(lambda: bench.peer.ends > ends, "our side to end it")
    finally:
        del bench.peer.instead["1"]


def _logout(bench: Bench, order: Held) -> None:
    mark = len(bench.peer.heard)
    bench.peer.say({35: "5", 58: "good night"})
    bench.hears(mark, {35: "5"})
    bench.peer.cut()


def _routed(fields: Message, back: Message) -> Play:
    """A message with a mistake that bears routing tags: the refusal bears them the other way round."""

    def play(bench: Bench, order: Held) -> None:
        mark = len(bench.peer.heard)
        bench.peer.say({**bench.peer.books.report(order, "0", t54="Z"), **fields})
        answer = bench.hears(mark, {35: "3", **back})
        assert not {115, 116, 144} & answer.keys() - back.keys(), answer
        bench.comes_to(order.first, OrderState.NEW)

    return play


def _parties(bench: Bench, order: Held) -> None:
    """Two entries of a group, as many venues have them."""
    fields = bench.peer.books.trade(order, _ONE)
    edited(bench, fields, lambda b: b + b"453=2\x01448=A\x01447=D\x01452=1\x01448=B\x01447=D\x01452=7\x01")


def _latin(bench: Bench, order: Held) -> None:
    bench.fill(order, 1, t17="E\xe9", t58="r\xe9sum\xe9")
    del bench.peer.books.trades[f"E{bench.peer.books.numbers}"]
    bench.peer.books.trades["E\\xe9"] = (order.first, _ONE if order.side == "1" else -_ONE)


def _logon_with(**changes: str) -> Callable[[Bench, Message], bool]:
    def answer(bench: Bench, message: Message) -> bool:
        named = {int(tag[1:]): value for tag, value in changes.items()}
        peer = bench.peer
        peer.raw(peer.frame({35: "A", 98: "0", 108: message[108], **named}, peer.out))
        peer.expected = int(message[34]) + 1
        return True

    return answer


def _not_a_logon(bench: Bench, message: Message) -> bool:
    bench.peer.raw(bench.peer.frame({35: "0"}, bench.peer.out))
    bench.peer.expected = int(message[34]) + 1
    return True


def _swapped(body: bytes) -> bytes:
    """Put MsgSeqNum before MsgType."""
    first, second, rest = body.split(b"\x01", 2)
    return second + b"\x01" + first + b"\x01" + rest


def _header_last(body: bytes) -> bytes:
    """Put TargetCompID behind the body."""
    return body.replace(b"56=US\x01", b"", 1) + b"56=US\x01"


def _other_order(body: bytes) -> bytes:
    """Turn the body's fields about, and those of the header behind MsgType."""
    pairs = body.split(b"\x01")[:-1]
    head, rest = pairs[1:5], pairs[5:]
    return b"\x01".join([pairs[0], *reversed(head), *reversed(rest), b""])


CASES: Final = (
    Case("2a_MsgSeqNumCorrect", lambda bench, order: _ignored(bench.fill(order, 1))),
    Case("1a_ValidLogonMsgSeqNumTooHigh", _logon_too_high, closes=True),
    Case("1c_InvalidSenderCompID", at_logon(_logon_with(t49="OTHER")), closes=True),
    Case("1c_InvalidTargetCompID", at_logon(_logon_with(t56="OTHER")), closes=True),
    Case("1d_InvalidLogonBadSendingTime", at_logon(_logon_with(t52=stamp(-86400))), closes=True),
    Case("1e_NotLogonMessage", at_logon(_not_a_logon), closes=True),
    Case("venue's store lost: MsgSeqNumTooLow at logon", at_logon(_venue_forgot), closes=True),
    Case("venue's reset: 141=Y at logon", _reset_at_logon, closes=True),
    Case("our store lost", _our_store_lost, closes=True),
    Case("2b_MsgSeqNumTooHigh", _too_high),
    Case("2c_MsgSeqNumTooLow", _too_low, closes=True),
    Case("2d_GarbledMessage", garbled(lambda body: body.replace(b"=", b"", 3))),
    Case("2e_PossDupAlreadyReceived", silent(_dup_known)),
    Case("2e_PossDupNotReceived", silent(_dup_new)),
    Case("2f_PossDupOrigSendingTimeTooHigh", _dup_from_the_future, closes=True, note=_OLD_ONLY),
    Case("2g_PossDupNoOrigSendingTime", _dup_without_time, note=_OLD_ONLY),
    Case("2i_BeginStringValueUnexpected", _other_version, closes=True, note=_TAKEN_AND_LOST),
    Case("2k_CompIDDoesNotMatchProfile (49)", refused({35: "3", 373: "9"}, t49="OTHER"), closes=True),
    Case("2k_CompIDDoesNotMatchProfile (56)", refused({35: "3", 373: "9"}, t56="OTHER"), closes=True),
    Case("2m_BodyLengthValueNotCorrect", garbled(length=20)),
    Case("2o_SendingTimeValueOutOfRange (late)", silent(_off_time(-180)), note=_TIME_IS_WATCHED),
    Case("2o_SendingTimeValueOutOfRange (early)", silent(_off_time(180)), note=_TIME_IS_WATCHED),
    Case("2q_MsgTypeNotValid", refused({35: "3", 373: "11"}, t35="*")),
    Case("2r_UnregisteredMsgType", hears({35: "j", 380: "3"}, say({35: "B", 148: "news", 33: "1", 58: "text"}))),
    Case("2t_FirstThreeFieldsOutOfOrder", garbled(_swapped)),
    Case("3b_InvalidChecksum", garbled(checksum=1)),
    Case("4a_NoDataSentDuringHeartBtInt", _we_beat),
    Case("4b_ReceivedTestRequest", _test_request),
    Case("6_SendTestRequest", _silence, closes=True),
    Case("7_ReceiveRejectMessage", silent(say({35: "3", 45: "1", 373: "0"}))),
    Case("8_OnlyAdminMessages", _ask_again(orders=False)),
    Case("8_AdminAndApplicationMessages", _ask_again(orders=True)),
    Case("10_MsgSeqNumEqual", silent(_gap_fill(0))),
    Case("10_MsgSeqNumGreater", _gap_fill_above),
    Case("10_MsgSeqNumLess", hears({35: "5"}, _gap_fill(-1)), closes=True),
    Case("10_MsgSeqNumLess, PossDup", silent(_gap_fill(-1, dup=True))),
    Case("11a_NewSeqNoGreater", silent(_reset_to(5))),
    Case("11b_NewSeqNoEqual", silent(_reset_to(0))),
    Case("11c_NewSeqNoLess", hears({35: "3", 373: "5"}, _reset_to(-3))),
    Case("13b_UnsolicitedLogoutMessage", _logout, closes=True),
    Case("14a_BadField (unknown)", refused({35: "3", 373: "0"}, lambda b: b + b"4999=x\x01")),
    Case("14a_BadField (0)", refused({35: "3", 373: "0"}, lambda b: b + b"0=x\x01")),
    Case("14a_BadField (negative)", refused({35: "3", 373: "0"}, lambda b: b + b"-1=x\x01")),
    Case("14a_BadField (user)", refused({35: "3", 373: "0"}, lambda b: b + b"5001=x\x01")),
    Case("14b_RequiredFieldMissing", refused({35: "3", 373: "1", 371: "37"}, lambda b: _without(b, 37))),
    Case("14c_TagNotDefinedForMsgType", refused({35: "3", 373: "2"}, t108="30")),
    Case("14d_TagSpecifiedWithoutValue", refused({35: "3", 373: "4"}, lambda b: b + b"58=\x01")),
    Case("14e_IncorrectEnumValue", refused({35: "3", 373: "5"}, t54="Z")),
    Case("14f_IncorrectDataFormat", refused({35: "3", 373: "6"}, t38="+200.00")),
    Case("14g_HeaderBodyTrailerFieldsOutOfOrder", refused({35: "3", 373: "14"}, _header_last)),
    Case("14h_RepeatedTag", refused({35: "3", 373: "13"}, lambda b: b + b"55=ES\x01")),
    Case(
        "14i_RepeatingGroupCountNotEqual", refused({35: "3", 373: "16"}, lambda b: b + b"453=3\x01448=A\x01447=D\x01")
    ),
    Case(
        "15_HeaderAndBodyFieldsOrderedDifferently",
        silent(lambda bench, order: _ignored(edited(bench, bench.peer.books.trade(order, _ONE), _other_order))),
    ),
    Case("19a_PossResendMessageThatHasAlreadyBeenSent", silent(_resend_known)),
    Case("19b_PossResendMessageThatHasNotBeenSent", silent(_resend_new)),
    Case("20_SimultaneousResendRequest", _both_ask),
    Case(
        "21_RepeatingGroupSpecifierWithValueOfZero",
        silent(
            lambda bench, order: _ignored(
                edited(bench, bench.peer.books.trade(order, _ONE), lambda b: b + b"453=0\x01")
            )
        ),
    ),
    Case("a group of two", silent(_parties)),
    Case("bytes that are no UTF-8", silent(_latin)),
    Case("RejectResentMessage", _resent_is_bad),
    Case("ReverseRoute", _routed({115: "A", 116: "B", 144: "C"}, {128: "A", 129: "B", 145: "C"})),
    Case(
        "ReverseRouteEmptyRoutingTags",
        refused({35: "3", 373: "4"}, lambda b: b.replace(b"\x0156=", b"\x01115=\x0156=")),
    ),
    Case("SessionReset", _reset_at_logon, closes=True),
)


def _without(body: bytes, tag: int) -> bytes:
    return b"\x01".join(pair for pair in body.split(b"\x01") if not pair.startswith(b"%d=" % tag))
