"""Row 17: a venue whose session is in order and whose reports are not.

The books of the peer hold what is true. A case ends with both books equal, with the alarms that were promised, with the
gate shut where that was promised, and with another order traded from begin to end.
"""

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Final, TypeAlias

from tests.builders import SESSION
from tests.e2e.faults.peer import Held, Message, Wrong
from tests.e2e.faults.wire import Bench
from trisagion.ledger.types import Account
from trisagion.orders.state import OrderState

Play: TypeAlias = Callable[[Bench, Held], None]

_S = OrderState
_ONE: Final = Decimal(1)


@dataclass(frozen=True, slots=True)
class Mistake:
    """What the venue does with a working order of four; `alarms` are parts of the events that must come of it."""

    name: str
    play: Play
    alarms: tuple[str, ...] = ()
    shuts: bool = False


def run_mistake(bench: Bench, mistake: Mistake) -> None:
    """Play a case; raise `Wrong` where it does not end as it should."""
    order, told = bench.work(), len(bench.desk.events())
    ends = bench.peer.ends
    mistake.play(bench, order)
    bench.alive()

    def missing() -> list[str]:
        fresh = bench.desk.events()[told:]
        return [alarm for alarm in mistake.alarms if not any(alarm in event for event in fresh)]

    bench.until(lambda: not missing(), f"the alarms {missing()}")
    with bench.desk.database.snapshot() as tx:
        shut = tx.control.gate(SESSION).shut
    if shut != mistake.shuts:
        raise Wrong(f"expected the gate {'shut' if mistake.shuts else 'open'}, found it otherwise")
    bench.reopen()
    bench.complete(order)
    bench.complete(bench.work())
    if bench.peer.ends != ends:
        raise Wrong("the connection has ended")


def _partly(bench: Bench, order: Held) -> None:
    bench.comes_to(order.first, _S.PARTIALLY_FILLED, cum=order.cum)


def _over_fill(bench: Bench, order: Held) -> None:
    bench.fill(order, 6)
    bench.comes_to(order.first, _S.FILLED, cum=Decimal(6))


def _fee_abroad(bench: Bench, order: Held) -> None:
    name = f"{SESSION}/{bench.fill(order, 1, t479='EUR', t12='0.75')[17]}/fee"
    _partly(bench, order)
    with bench.desk.database.snapshot() as tx:
        heads = [each.entry for each in tx.ledger.entries(0, tx.ledger.last_seq()) if each.entry.name == name]
    lines = [(p.account, p.amount) for entry in heads for p in entry.postings if entry.currency == "EUR"]
    if lines != [(Account.FEES, Decimal("0.75")), (Account.CASH, Decimal("-0.75"))]:
        raise Wrong(f"expected the fee in its own currency, found {lines}")


def _fill_after_end(bench: Bench, order: Held) -> None:
    bench.fill(order, 4)
    bench.fill(order, 1)
    bench.comes_to(order.first, _S.FILLED, cum=Decimal(5))


def _fill_after_cancel(bench: Bench, order: Held) -> None:
    _cancelled(bench, order)
    bench.fill(order, 1)
    bench.comes_to(order.first, _S.CANCELED, cum=_ONE)


def _cancelled(bench: Bench, order: Held) -> None:
    order.status = "4"
    bench.peer.say(bench.peer.books.report(order, "4"))
    bench.comes_to(order.first, _S.CANCELED)


def _fill_before_ack(bench: Bench, _: Held) -> None:
    peer = bench.peer

    def filled(message: Message) -> None:
        peer.books.news.append(message[11])
        order = Held(message[11], message[11], message[54], Decimal(message[38]), message[44])
        peer.books.orders[order.name] = order
        acknowledged = peer.books.report(order, "0")
        bench.fill(order, 1)
        peer.say(acknowledged)

    peer.instead["D"] = filled
    order = bench.put()
    bench.comes_to(order.cl_ord_id, _S.PARTIALLY_FILLED, cum=_ONE)
    del peer.instead["D"]
    bench.complete(peer.books.orders[order.cl_ord_id])


def _out_of_order(bench: Bench, order: Held) -> None:
    first, second = (bench.peer.books.trade(order, _ONE) for _ in range(2))
    bench.peer.say(second)
    bench.peer.say(first)
    _partly(bench, order)


def _twice(bench: Bench, order: Held) -> None:
    fields = bench.fill(order, 1)
    _partly(bench, order)
    bench.peer.say(fields)
    bench.peer.say({**fields, 97: "Y"})


def _undone(bench: Bench, order: Held, exec_type: str, ref: str, **changes: str) -> None:
    bench.peer.say(bench.peer.books.report(order, exec_type, t19=ref, **changes))


def _bust(bench: Bench, order: Held) -> None:
    ref = bench.fill(order, 2)[17]
    _partly(bench, order)
    order.cum, order.status = Decimal(0), "0"
    del bench.peer.books.trades[ref]
    _undone(bench, order, "H", ref)
    bench.comes_to(order.first, _S.NEW, cum=Decimal(0))


def _bust_of_nothing(bench: Bench, order: Held) -> None:
    _undone(bench, order, "H", "never")


def _correct(bench: Bench, order: Held) -> None:
    books = bench.peer.books
    ref = bench.fill(order, 2)[17]
    _partly(bench, order)
    order.cum = Decimal(0)
    order.status = "0"
    _, signed = books.trades.pop(ref)
    fields = books.trade(order, _ONE, t150="G", t19=ref)
    assert signed * books.trades[fields[17]][1] > 0
    bench.peer.say(fields)
    _partly(bench, order)


def _acknowledged_twice(bench: Bench, order: Held) -> None:
    bench.peer.say(bench.peer.books.report(order, "0"))
    bench.fill(order, 1)
    _partly(bench, order)
    bench.peer.say(bench.peer.books.report(order, "0", t39="0"))


def _restated(bench: Bench, order: Held) -> None:
    bench.peer.say(bench.peer.books.report(order, "D"))
    bench.comes_to(order.first, _S.UNKNOWN, _S.NEW)


def _fill_of_a_stranger(bench: Bench, order: Held) -> None:
    kept = bench.peer.books.report(order, "F", t11="STRANGER", t32="1", t31="4000.25", t851="1", t12="0", t13="3")
    bench.peer.say({**kept, 14: "1"})


def _fill_of_a_stranger_put_right(bench: Bench, order: Held) -> None:
    good = bench.peer.books.trade(order, _ONE)
    bench.peer.say({**good, 11: "STRANGER"})
    bench.peer.say(good)
    bench.comes_to(order.first, _S.UNKNOWN)
    # A person has the venue tell it under an ExecID of its own.
    fresh = bench.peer.books.next_id()
    bench.peer.books.trades[fresh] = bench.peer.books.trades.pop(good[17])
    bench.peer.say({**good, 17: fresh})
    _partly(bench, order)


def _fill_of_the_other_side(bench: Bench, order: Held) -> None:
    other = {"1": "2", "2": "1"}[order.side]
    bench.peer.say(
        {**bench.peer.books.report(order, "F", t54=other), 32: "1", 31: "4000", 14: "1", 851: "1", 12: "0", 13: "3"}
    )


def _other_order_id(bench: Bench, order: Held) -> None:
    bench.fill(order, 1, t37="SOMEBODY-ELSES")
    _partly(bench, order)


def _cum_goes_down(bench: Bench, order: Held) -> None:
    bench.fill(order, 2)
    bench.fill(order, 1, t14="1")
    _partly(bench, order)


def _duplicate_refused(bench: Bench, order: Held) -> None:
    bench.peer.say(bench.peer.books.report(order, "8", t39="0", t103="6"))
    bench.comes_to(order.first, _S.UNKNOWN, _S.NEW)


def _took(bench: Bench, order: Held) -> None:
    bench.fill(order, 1, t851="2")
    # The mode is PAUSE now, and what works is withdrawn.
    bench.comes_to(order.first, _S.CANCELED, cum=_ONE)


def _gap_filled(bench: Bench, order: Held) -> None:
    """Two fills get lost, and asked for them the venue has nothing but a gap; in the end it tells them after all."""
    peer, mark = bench.peer, len(bench.peer.heard)
    lost = [peer.books.trade(order, _ONE) for _ in range(2)]
    number, _ = (peer.skip(fields) for fields in lost)
    peer.gaps_only()
    peer.say({35: "0"})
    bench.hears(mark, {35: "2", 7: str(number)})
    bench.fill(order, 1)
    bench.comes_to(order.first, _S.UNKNOWN, cum=_ONE)
    for fields in lost:
        peer.say(fields)
    _partly(bench, order)


def _bad_fill(**changes: str) -> Play:
    """A fill that cannot be read, and then as it should have been."""

    def play(bench: Bench, order: Held) -> None:
        good = bench.peer.books.trade(order, _ONE)
        bench.peer.say({tag: v for tag, v in {**good, **{int(t[1:]): v for t, v in changes.items()}}.items() if v})
        bench.comes_to(order.first, _S.UNKNOWN)
        bench.peer.say(good)
        _partly(bench, order)

    return play


def _order_refused_as_message(reason: str) -> Play:
    def play(bench: Bench, _: Held) -> None:
        def refuse(message: Message) -> None:
            bench.peer.say({35: "3", 45: message[34], 372: "D", 373: reason, 58: "no"})

        bench.peer.instead["D"] = refuse
        name = bench.put().cl_ord_id
        bench.comes_to(name, _S.REJECTED)
        del bench.peer.instead["D"]

    return play


MISTAKES: Final = (
    Mistake("over-fill", _over_fill, ("OVER_FILL",)),
    Mistake("fill after the last", _fill_after_end, ("LATE_FILL", "OVER_FILL")),
    Mistake("fill after cancel", _fill_after_cancel, ("LATE_FILL",)),
    Mistake("fill before ack", _fill_before_ack),
    Mistake("fills out of order", _out_of_order, ("CUM_QTY_GAP",)),
    Mistake("ExecID again under a new number", _twice),
    Mistake("bust", _bust, ("TRADE_BUSTED",)),
    Mistake("bust of nothing", _bust_of_nothing, ("execution.quarantined",)),
    Mistake("correct", _correct, ("TRADE_CORRECTED",)),
    Mistake("unsolicited cancel", _cancelled),
    Mistake("restate", _restated, ("message.quarantined", "UNREADABLE")),
    Mistake("ack twice", _acknowledged_twice),
    Mistake("wrong ClOrdID", _fill_of_a_stranger, ("execution.quarantined", "order.foreign", "gate.shut"), shuts=True),
    Mistake(
        "wrong ClOrdID, then the right one under the same ExecID",
        _fill_of_a_stranger_put_right,
        ("execution.quarantined", "order.foreign", "execution.contradicted", "EXEC_ID_AGAIN", "gate.shut"),
        shuts=True,
    ),
    Mistake("wrong side", _fill_of_the_other_side, ("execution.quarantined",)),
    Mistake("unknown OrderID", _other_order_id),
    Mistake("CumQty goes down", _cum_goes_down, ("CUM_QTY_GAP",)),
    Mistake("150=8 39=0 103=6", _duplicate_refused, ("DUPLICATE_REJECTED",)),
    Mistake("taker fill on post-only", _took, ("TAKER_FILL", "gate.shut"), shuts=True),
    Mistake("gap-filled fills", _gap_filled, ("CUM_QTY_GAP",)),
    Mistake("fill without a price", _bad_fill(t31=""), ("message.quarantined", "UNREADABLE")),
    Mistake("fill of nothing", _bad_fill(t32="0"), ("message.quarantined", "UNREADABLE")),
    Mistake("fill of unknown liquidity", _bad_fill(t851=""), ("message.quarantined", "UNREADABLE")),
    Mistake(
        "fill of too many digits", _bad_fill(t31="4000.1234567890123456789"), ("message.quarantined", "UNREADABLE")
    ),
    Mistake("fill that the database cannot hold", _bad_fill(t17="E" * 200), ("execution.quarantined", "UNREADABLE")),
    Mistake("fee in no currency", _bad_fill(t479="eu"), ("message.quarantined", "UNREADABLE")),
    Mistake("fee in another currency", _fee_abroad, ("ledger.fee_abroad",)),
    Mistake("fill with raw data", _bad_fill(t354="1", t355="x"), ("message.quarantined", "UNREADABLE")),
    Mistake("order refused as a message", _order_refused_as_message("99")),
    Mistake("order refused as malformed", _order_refused_as_message("5"), ("gate.shut",), shuts=True),
)
