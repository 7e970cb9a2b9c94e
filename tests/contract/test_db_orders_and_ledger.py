"""`ports.CycleStore`, `OrderStore`, `LedgerStore`, `ControlStore`: one suite, on SQLite and on MariaDB."""

import json
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
import sqlalchemy as sa

from tests.builders import a_report, an_order
from trisagion.adapters.db import SqlDatabase, open_database, tables
from trisagion.errors import DataError, OurMistake, StaleOwner
from trisagion.ids import ClOrdId, CycleId, IntentKey
from trisagion.ledger.types import Account, Entry, EquitySample, Kind, Position, Posting, Strategy
from trisagion.observer_ports import Observation
from trisagion.orders.rejects import Reject
from trisagion.orders.state import OrderState
from trisagion.orders.types import ExecType, OrderLink, Side
from trisagion.ports import Cycle, Decision, ProcessBeat, Replay, TakeProfitStep
from trisagion.safety.gates import Gate
from trisagion.safety.modes import Control, Mode, Standing
from trisagion.units import Money, Price, Quantity

NOW = 1_700_000_000_000_000_000

HARD_DECIMALS = [
    Decimal("0.1") + Decimal("0.2"),
    Decimal("-0.000000000001"),
    Decimal("99999999999999999999999999.999999999999"),
    Decimal("-99999999999999999999999999.999999999999"),
    Decimal(12345678901234567890123456),
    Decimal("1E+5"),
    Decimal("-0"),
    Decimal("1.500"),
]


def a_decision(cycle: str, symbol: str = "ES", **changes: object) -> Decision:
    """Return a decision to do nothing."""
    zero = Quantity(Decimal(0))
    decision = Decision(
        CycleId(cycle), symbol, -3, 0.1 + 0.2, None, -1 / 3, zero, None, zero, None, ("KELLY: 'é' \"10 %\"", "REST")
    )
    return replace(decision, **changes)  # type: ignore[arg-type]


def test_a_cycle_is_opened_once_and_saved_by_version(database: SqlDatabase) -> None:
    """Also with a stage that this store has never heard of; the unfinished come oldest first."""
    with database.transaction() as tx:
        for due in (30, 10, 20):
            assert tx.cycles.open_cycle(Cycle(CycleId(f"C{due}"), due, "opened", None, 0))
        assert not tx.cycles.open_cycle(Cycle(CycleId("C10"), 99, "opened", None, 0))
        assert tx.cycles.save_cycle(Cycle(CycleId("C10"), 10, "done", "rest: weekend", 1))
        assert not tx.cycles.save_cycle(Cycle(CycleId("C20"), 20, "done", None, 2))
        assert tx.cycles.save_cycle(Cycle(CycleId("C20"), 20, "zzz", None, 1))
    with database.snapshot() as tx:
        assert tx.cycles.cycle(CycleId("C10")) == Cycle(CycleId("C10"), 10, "done", "rest: weekend", 1)
        assert tx.cycles.cycle(CycleId("C11")) is None
        assert [cycle.due_ns for cycle in tx.cycles.unfinished()] == [20, 30]


def test_decisions_come_back_newest_first(database: SqlDatabase) -> None:
    """By the cycle's due instant, not by its name; reasons with any character; the first word on a cycle stays."""
    full = a_decision("C9", kelly_now=0.25, actual=Quantity(Decimal("1.5")), intent=IntentKey("C9:ES"))
    with database.transaction() as tx:
        for due in (9, 10, 8):
            tx.cycles.open_cycle(Cycle(CycleId(f"C{due}"), due, "done", None, 0))
        tx.cycles.add_decision(full)
        tx.cycles.add_decision(a_decision("C9", direction=77))
        tx.cycles.add_decision(a_decision("C10"))
        tx.cycles.add_decision(a_decision("C8", "AAPL"))
    with database.snapshot() as tx:
        assert tx.cycles.last_decisions("ES", 5) == [a_decision("C10"), full]
        assert tx.cycles.last_decisions("ES", 1) == [a_decision("C10")]
        assert tx.cycles.last_decisions("MSFT", 1) == []


def test_an_order_comes_back_as_it_was(database: SqlDatabase) -> None:
    """Every field, empty and full; the same id again is refused and changes nothing."""
    full = an_order(
        "T2",
        attempt=1,
        side=Side.BUY,
        taker=True,
        state=OrderState.UNKNOWN,
        price=Price(Decimal("4500.25")),
        session="SESSION",
        order_id="V2",
        cum_qty=Quantity(Decimal(1)),
        avg_px=Decimal("4500.125"),
        cancel_reason="superseded",
        reason="größer",
    )
    with database.transaction() as tx:
        assert tx.orders.add(an_order())
        assert tx.orders.add(full)
        assert not tx.orders.add(an_order(qty=Quantity(Decimal(9))))
    with database.snapshot() as tx:
        assert tx.orders.order(ClOrdId("T1")) == an_order()
        assert tx.orders.order(ClOrdId("T2")) == full
        assert tx.orders.order(ClOrdId("t1")) is None
        assert tx.orders.attempts(IntentKey("C1:ES")) == [an_order(), full]


def test_an_order_is_saved_over_its_own_version_only(database: SqlDatabase, other: SqlDatabase) -> None:
    """A writer that was overtaken hears `StaleOwner`, and none of its work is kept."""
    with database.transaction() as tx:
        tx.orders.add(an_order())
    routed = an_order(state=OrderState.ROUTED, price=Price(Decimal("4500.5")), version=1)
    with other.transaction() as tx:
        tx.orders.save(routed)

    def overtaken() -> None:
        with database.transaction() as tx:
            tx.control.add_event("kind", "T1", {}, NOW)
            tx.orders.save(an_order(state=OrderState.DENIED, version=1))

    with pytest.raises(StaleOwner, match="order T1: version 0"):
        overtaken()
    with database.snapshot() as tx:
        assert tx.orders.order(ClOrdId("T1")) == routed
        assert tx.session.scalar(sa.text("SELECT COUNT(*) FROM event")) == 0


def test_orders_in_states_come_in_order_of_creation_then_id(database: SqlDatabase) -> None:
    """Of the states asked for and no others; none asked for, none found."""
    with database.transaction() as tx:
        for name, created in (("Tc", 2), ("Tb", 1), ("Ta", 2), ("Td", 0)):
            tx.orders.add(an_order(name, created_ns=created, intent=IntentKey(name)))
        tx.orders.save(an_order("Td", created_ns=0, intent=IntentKey("Td"), state=OrderState.NEW, version=1))
    with database.snapshot() as tx:
        found = tx.orders.in_states(frozenset({OrderState.RISK_CHECKED, OrderState.FILLED}))
        assert [order.cl_ord_id for order in found] == ["Tb", "Ta", "Tc"]
        assert [order.cl_ord_id for order in tx.orders.in_states(frozenset({OrderState.NEW}))] == ["Td"]
        assert tx.orders.in_states(frozenset()) == []


def test_an_execution_is_taken_once_per_venue_and_id(database: SqlDatabase, other: SqlDatabase) -> None:
    """Whatever else it says and whoever tries; ids differ by case, and another venue's are its own."""
    with database.transaction() as tx:
        assert tx.orders.add_execution(a_report(), NOW + 1)
        assert not tx.orders.add_execution(a_report(last_qty=Quantity(Decimal(2))), NOW + 2)
        assert tx.orders.add_execution(a_report("e1"), NOW + 1)
        assert tx.orders.add_execution(a_report(venue="XSIM"), NOW + 1)
    with other.transaction() as tx:
        assert not tx.orders.add_execution(a_report(), NOW + 3)
        assert tx.orders.execution_count("SIM") == 2
        assert tx.orders.execution_count("NONE") == 0


def test_an_execution_id_that_mysql_would_mistake_for_another_is_refused(database: SqlDatabase) -> None:
    """MySQL compares without trailing spaces: "E1 " must not be taken for "E1" and lost."""
    for exec_id in ("E1 ", "E1\0", "E" * 129):
        with pytest.raises(DataError, match="expected"), database.transaction() as tx:
            tx.orders.add_execution(a_report(exec_id), NOW)


def test_a_report_without_an_id_is_news_each_time(database: SqlDatabase) -> None:
    """A cancel reject has no exec_id: it is recorded and never taken for a repetition."""
    reject = a_report(None, exec_type=ExecType.ORDER_STATUS, last_px=None, liquidity=None, reason="too late")
    with database.transaction() as tx:
        assert tx.orders.add_execution(reject, NOW)
        assert tx.orders.add_execution(reject, NOW)
        assert tx.orders.add_execution(reject, NOW + 1)
        assert tx.orders.execution_count("SIM") == 2


def test_an_average_price_may_have_any_number_of_places(database: SqlDatabase) -> None:
    """It is the venue's quotient: rounded half-even to the twelfth place, and no fill is lost over it."""
    third = Decimal("4500.33333333333333333")
    with database.transaction() as tx:
        tx.orders.add(an_order(avg_px=third))
        assert tx.orders.add_execution(a_report(avg_px=third), NOW)
        order = tx.orders.order(ClOrdId("T1"))
    assert order is not None
    assert order.avg_px == Decimal("4500.333333333333")


def an_entry(name: str, *lines: tuple[Account, Decimal]) -> Entry:
    """Return an entry of some lines, balanced or not."""
    kind = Kind.OPENING if name == "opening" else Kind.TRANSFER
    zero = Quantity(Decimal(0))
    postings = [Posting(name, n, account, None, Money(amount), zero, NOW) for n, (account, amount) in enumerate(lines)]
    return Entry(name, kind, Strategy.HOUSE, "USD", NOW, tuple(postings))


def entry(name: str, amount: Decimal, account: Account = Account.CASH) -> Entry:
    """Return a balanced entry of two lines."""
    return an_entry(name, (account, amount), (Account.CAPITAL, amount.copy_negate()))


def test_money_is_exact(database: SqlDatabase) -> None:
    """38 digits and 0.1 + 0.2 come back equal, in plain form, and their sum is exact."""
    with database.transaction() as tx:
        tx.ledger.post(entry("opening", Decimal(0)))
        for number, value in enumerate(HARD_DECIMALS):
            tx.ledger.post(entry(f"E{number}", value))
            tx.ledger.save_position(
                Position(f"S{number}", Quantity(value), Money(value), Money(value), Money(value), 0)
            )
    with database.snapshot() as tx:
        back = [tx.ledger.position(f"S{number}").cost for number in range(len(HARD_DECIMALS))]
        assert back == HARD_DECIMALS
        assert [str(value) for value in back[-3:]] == ["100000", "0", "1.5"]
        assert tx.ledger.balance(Account.CASH) == Decimal("12345678901234567890223457.799999999999")


def test_a_sum_of_money_is_not_rounded_to_the_28_digits_of_python(database: SqlDatabase) -> None:
    """An entry off by the last of 38 digits does not balance."""
    wrong = an_entry(
        "wrong",
        (Account.CASH, Decimal("99999999999999999999999999.999999999999")),
        (Account.CAPITAL, Decimal("-99999999999999999999999999.999999999998")),
    )
    with pytest.raises(OurMistake, match="these sum to 1E-12"), database.transaction() as tx:
        tx.ledger.post(wrong)


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (Decimal("0.0000000000001"), "more than 12 places"),
        (Decimal(10) ** 26, "too large"),
        (Decimal("NaN"), "too large"),
        (Decimal("-Infinity"), "too large"),
        (Decimal("1E+999999"), "too large"),
        (0.1, "expected an exact decimal, found float"),
        (1, "expected an exact decimal, found int"),
    ],
)
def test_money_that_would_change_is_refused(database: SqlDatabase, value: Decimal, told: str) -> None:
    """What does not fit DECIMAL(38,12) exactly is an error, never a rounding."""
    with pytest.raises(DataError, match=told), database.transaction() as tx:
        tx.ledger.save_position(replace(Position.flat("ES"), cost=Money(value)))


def test_cash_is_the_sum_of_its_postings_alone(database: SqlDatabase) -> None:
    """Other accounts do not count; without a posting it is 0."""
    with database.transaction() as tx:
        assert tx.ledger.balance(Account.CASH) == 0
        tx.ledger.post(entry("opening", Decimal(100_000)))
        tx.ledger.post(entry("SIM/E1", Decimal("-0.3")))
        tx.ledger.post(entry("SIM/E2", Decimal(7), Account.FEES))
        assert tx.ledger.balance(Account.CASH) == Decimal("99999.7")


def test_an_entry_is_posted_once_and_balances(database: SqlDatabase) -> None:
    """The same again changes nothing; what does not sum to zero, or is two entries, is a mistake of ours."""
    with database.transaction() as tx:
        assert tx.ledger.post(entry("opening", Decimal(5)))
        assert not tx.ledger.post(entry("opening", Decimal(5)))
        assert not tx.ledger.post(entry("opening", Decimal(7)))
        assert tx.ledger.balance(Account.CASH) == 5
    lame = an_entry("lame", (Account.CASH, Decimal(5)))
    mixed = replace(entry("a", Decimal(5)), postings=entry("b", Decimal(5)).postings)
    empty = an_entry("empty")
    for wrong, told in (
        (lame, "lines that sum to 0 in the database.*these sum to 5"),
        (mixed, "postings of a"),
        (empty, "postings of empty"),
    ):
        with pytest.raises(OurMistake, match=told), database.transaction() as tx:
            tx.ledger.post(wrong)


def test_a_position_is_flat_before_its_first_fill(database: SqlDatabase) -> None:
    """Then it is what was saved last; all come in order of symbol."""
    long = Position("ES", Quantity(Decimal(2)), Money(Decimal(450_050)), Money(Decimal(-1)), Money(Decimal("1.8")), 7)
    with database.transaction() as tx:
        assert tx.ledger.position("ES") == Position.flat("ES")
        assert tx.ledger.positions() == []
        tx.ledger.save_position(replace(long, qty=Quantity(Decimal(1))))
        tx.ledger.save_position(long)
        tx.ledger.save_position(Position.flat("AAPL"))
        assert tx.ledger.positions() == [Position.flat("AAPL"), long]


def test_a_newer_observation_replaces_an_older_one(database: SqlDatabase) -> None:
    """And never the other way round, in whatever order they come; each observer has its own word."""

    def seen(qty: int, at_ns: int, observer: str = "fix", symbol: str = "ES") -> Observation:
        return Observation(observer, symbol, Quantity(Decimal(qty)), at_ns)

    with database.transaction() as tx:
        for observation in (seen(1, 10), seen(2, 30), seen(3, 20), seen(4, 5, "broker"), seen(5, 99, symbol="AAPL")):
            tx.ledger.observe(observation)
        assert tx.ledger.observations("ES") == [seen(4, 5, "broker"), seen(2, 30)]
        tx.ledger.observe(seen(6, 30))
        assert tx.ledger.observations("ES")[1] == seen(6, 30)
        assert tx.ledger.observations("MSFT") == []


def test_equity_is_sampled_once_an_instant(database: SqlDatabase) -> None:
    """The first sample of an instant stays; first and last are by time."""

    def sample(at_ns: int, equity: str = "100000.000000000001") -> EquitySample:
        money = Money(Decimal(equity))
        return EquitySample(at_ns, money, money, "ES", Quantity(Decimal(-1)), Price(Decimal("4500.25")))

    with database.transaction() as tx:
        assert tx.ledger.last_equity() is None
        for at_ns in (30, 10, 20, 40):
            tx.ledger.add_equity(sample(at_ns))
        tx.ledger.add_equity(sample(10, "1"))
        assert tx.ledger.first_equities(10, 2) == [sample(20), sample(30)]
        assert tx.ledger.first_equities(0, 1) == [sample(10)]
        assert tx.ledger.first_equities(40, 9) == []
        assert tx.ledger.last_equity() == sample(40)


def test_every_symbol_is_marked_at_an_instant_and_one_sample_stands_for_it(database: SqlDatabase) -> None:
    """That of the first symbol that has one; instants are counted, not rows, and each symbol's is there once."""

    def sample(at_ns: int, symbol: str, qty: int = 1) -> EquitySample:
        worth = Money(Decimal(at_ns))
        return EquitySample(at_ns, worth, worth, symbol, Quantity(Decimal(qty)), Price(Decimal("4500.25")))

    with database.transaction() as tx:
        for at_ns, symbols in ((10, "NQ ES"), (20, "NQ"), (30, "ES NQ ZN"), (40, "ZN NQ")):
            for symbol in symbols.split():
                tx.ledger.add_equity(sample(at_ns, symbol))
        tx.ledger.add_equity(sample(30, "NQ", 9))
        assert tx.ledger.first_equities(0, 9) == [
            sample(10, "ES"),
            sample(20, "NQ"),
            sample(30, "ES"),
            sample(40, "NQ"),
        ]
        assert tx.ledger.first_equities(10, 2) == [sample(20, "NQ"), sample(30, "ES")]
        assert tx.ledger.last_equity() == sample(40, "NQ")


def test_a_step_of_a_take_profit_is_taken_once(database: SqlDatabase) -> None:
    """Steps come in the order of their recording, though all have one instant."""
    names = ["Detected", "EpochClosed", "RunsExited", "Flattening"]
    with database.transaction() as tx:
        for name in names:
            assert tx.ledger.add_step(TakeProfitStep(1, name, NOW))
            assert not tx.ledger.add_step(TakeProfitStep(1, name, NOW + 1))
        assert tx.ledger.add_step(TakeProfitStep(2, "Detected", NOW))
        assert tx.ledger.steps(1) == [TakeProfitStep(1, name, NOW) for name in names]
        assert tx.ledger.steps(3) == []


def test_the_mode_in_force_is_the_last_one_set(database: SqlDatabase) -> None:
    """None was set: PAUSE. What cannot be read: PAUSE. Every transition stays on record."""
    normal = Control(Mode.NORMAL, "ann", "start of day", 1)
    with database.transaction() as tx:
        assert tx.control.control().mode is Mode.PAUSE
        tx.control.set_mode(normal)
        assert tx.control.control() == normal
        tx.control.set_mode(Control(Mode.EMERGENCY, "bob", "fire", 1))
        assert tx.control.control().mode is Mode.EMERGENCY
        hyper = {"mode": "hyper", "operator": "eve", "reason": "fire", "set_ns": 1}
        tx.session.write(tables.control.insert(), hyper)
        assert tx.control.control() == Control(Mode.PAUSE, "eve", "fire", 1)
        assert tx.session.scalar(sa.text("SELECT COUNT(*) FROM control")) == 3


def test_events_keep_any_text(database: SqlDatabase) -> None:
    """Unicode, quotes and SQL in a detail come back as they were."""
    nasty = "Ω 😀 \" ' \\ %s :x ; DROP TABLE event;-- \u202e"
    with database.transaction() as tx:
        tx.control.add_event("kind", nasty, {"b": nasty, "a": ""}, NOW)
        row = tx.session.row(sa.text("SELECT subject, detail FROM event"))
    assert row.subject == nasty
    assert list(json.loads(row.detail).items()) == [("a", ""), ("b", nasty)]


def run_out(tx_owner: SqlDatabase, lease: str) -> None:
    """Let a lease run out, as the database's clock would."""
    with tx_owner.transaction() as tx:
        tx.session.write(sa.text("UPDATE lease SET until_ms = 1 WHERE name = :name"), {"name": lease})


def test_a_lease_has_one_owner(database: SqlDatabase, other: SqlDatabase) -> None:
    """Renewal keeps the token; others wait; released or run out, the next owner gets the next token."""
    with database.transaction() as tx:
        assert tx.control.acquire("fix", "ann", 30.0) == 1
        assert tx.control.acquire("fix", "ann", 30.0) == 1
        assert tx.control.acquire("other", "bob", 30.0) == 1
    with other.transaction() as tx:
        assert tx.control.acquire("fix", "bob", 30.0) is None
        assert tx.control.holds("fix", 1)
    run_out(database, "fix")
    with other.transaction() as tx:
        assert not tx.control.holds("fix", 1)
        assert tx.control.acquire("fix", "bob", 30.0) == 2
        assert tx.control.holds("fix", 2)
        assert not tx.control.holds("fix", 1)
        assert not tx.control.holds("nobody's", 1)
    with database.transaction() as tx:
        tx.control.release("fix", 1)
        assert tx.control.acquire("fix", "ann", 30.0) is None
        tx.control.release("fix", 2)
        assert not tx.control.holds("fix", 2)
        assert tx.control.acquire("fix", "ann", 30.0) == 3


def test_an_owner_that_came_too_late_gets_a_new_token(database: SqlDatabase) -> None:
    """What it did under the old one after the lease ran out is fenced off, though nobody else took it."""
    with database.transaction() as tx:
        assert tx.control.acquire("fix", "ann", 30.0) == 1
    run_out(database, "fix")
    with database.transaction() as tx:
        assert tx.control.acquire("fix", "ann", 30.0) == 2
        assert not tx.control.holds("fix", 1)


def test_a_lease_lasts_as_long_as_asked_by_the_database_s_clock(database: SqlDatabase) -> None:
    """The end is the server's now plus the term, to some milliseconds of the machine's clock, which it shares."""
    before_ms = time.time_ns() // 1_000_000
    with database.transaction() as tx:
        tx.control.acquire("fix", "ann", 12.5)
        until_ms = tx.session.scalar(sa.text("SELECT until_ms FROM lease"))
    after_ms = time.time_ns() // 1_000_000
    assert before_ms + 12_499 <= until_ms <= after_ms + 12_501


def test_the_replay_and_the_processes_are_kept_by_name(database: SqlDatabase) -> None:
    """Insert or replace; beats in order of name."""
    replay = Replay("es", "abc", 7, "def", 1, 2, 1, 60.0, 5, finished=False)
    done = replace(replay, now_ns=2, finished=True)
    with database.transaction() as tx:
        assert tx.control.replay() is None
        tx.control.put_replay(replay)
        assert tx.control.replay() == replay
        tx.control.put_replay(done)
        assert tx.control.replay() == done
        for beat in (ProcessBeat("w2", 12, 1, 1, 1), ProcessBeat("w1", 11, 1, 1, 1), ProcessBeat("w2", 13, 2, 5, 9)):
            tx.control.beat(beat)
        assert tx.control.beats() == [ProcessBeat("w1", 11, 1, 1, 1), ProcessBeat("w2", 13, 2, 5, 9)]


@pytest.mark.parametrize(
    "write",
    [
        lambda tx: tx.control.add_event("k", "s", {"text": "x" * 65_536}, NOW),
        lambda tx: tx.control.set_mode(Control(Mode.NORMAL, "o" * 129, "", NOW)),
        lambda tx: tx.orders.add(an_order("T" * 65)),
    ],
    ids=["a note", "a name", "an id"],
)
def test_text_that_would_be_cut_is_refused(database: SqlDatabase, write: Callable[..., object]) -> None:
    """Both servers refuse alike, with what was expected."""
    with pytest.raises(DataError, match="expected at most"), database.transaction() as tx:
        write(tx)


def test_a_report_comes_back_as_it_was_told(database: SqlDatabase) -> None:
    """With what it refers to and why it was refused; None for one that nobody told, or of another venue."""
    bust = a_report(
        "B1",
        exec_type=ExecType.TRADE_CANCEL,
        ref_exec_id="E1",
        request_id=ClOrdId("R1"),
        reject=Reject.CANCEL_TOO_LATE,
        last_px=None,
        liquidity=None,
    )
    with database.transaction() as tx:
        for report in (a_report(), bust):
            assert tx.orders.add_execution(report, NOW)
        assert not tx.orders.add_execution(bust, NOW + 1)
    with database.snapshot() as tx:
        assert tx.orders.execution("SIM", "E1") == a_report()
        assert tx.orders.execution("SIM", "B1") == bust
        assert tx.orders.execution("SIM", "E9") is tx.orders.execution("NYSE", "E1") is None


def test_a_further_id_names_its_order_and_what_it_asked_for(database: SqlDatabase) -> None:
    """Recorded once; an order's own first id is no such link. The order keeps what is wanted of it."""
    link = OrderLink(ClOrdId("R1"), ClOrdId("T1"), 1, Quantity(Decimal(5)), Price(Decimal("0.25")), NOW)
    wanted = an_order(
        link=1, links=2, wanted_qty=Quantity(Decimal(4)), wanted_price=Price(Decimal(1)), replace_unknown=True
    )
    with database.transaction() as tx:
        tx.orders.add(wanted)
        tx.orders.add_link(link)
        tx.orders.add_link(replace(link, first_id=ClOrdId("T2")))
    with database.snapshot() as tx:
        assert tx.orders.link(ClOrdId("R1")) == link
        assert tx.orders.link(ClOrdId("T1")) is None
        assert tx.orders.order(ClOrdId("T1")) == wanted


def test_a_gate_is_as_the_last_word_on_it_says(database: SqlDatabase) -> None:
    """Open when nothing was ever said; each session has its own."""
    shut = Gate("SIM", True, "platform", "TAKER_FILL", NOW)
    reduce = Control(Mode.REDUCE, "anna", "why", NOW)
    with database.transaction() as tx:
        assert tx.control.gate("SIM") == Gate.untouched("SIM")
        assert tx.control.gates() == []
        assert tx.control.in_force("SIM") == (Standing(tx.control.control()), Gate.untouched("SIM"))
        tx.control.set_mode(Control(Mode.NORMAL, "anna", "why", NOW))
        tx.control.set_mode(reduce)
        assert tx.control.in_force("SIM") == (Standing(reduce), Gate.untouched("SIM"))
        tx.control.set_gate(shut)
        tx.control.set_gate(replace(shut, session="B"))
        tx.control.set_gate(replace(shut, session="B", shut=False, operator="anna"))
    with database.snapshot() as tx:
        assert tx.control.gate("SIM") == shut
        assert tx.control.in_force("SIM") == (Standing(reduce), shut)
        assert tx.control.in_force("B") == (Standing(reduce), tx.control.gate("B"))
        assert [(gate.session, gate.shut) for gate in tx.control.gates()] == [("B", False), ("SIM", True)]


def test_an_entry_is_found_by_its_name(database: SqlDatabase) -> None:
    """So that a fill is taken back once, and only if it was booked."""
    with database.transaction() as tx:
        tx.ledger.post(entry("SIM/E1", Decimal(1)))
        assert tx.ledger.booked("SIM/E1")
        assert not tx.ledger.booked("SIM/E1/undo")


def test_the_database_tells_its_time(database: SqlDatabase) -> None:
    """Servers of this machine have its clock: the answer lies between two looks at it, but for what is rounded."""
    with database.transaction() as tx:
        before_ns = time.time_ns()
        theirs_ns = tx.control.wall_ns()
        after_ns = time.time_ns()
    assert before_ns - 2_000_000 <= theirs_ns <= after_ns + 2_000_000
    assert theirs_ns % 1000 == 0


def test_the_outbox_holds_what_a_session_has_to_send(database: SqlDatabase) -> None:
    """Withdrawn and amended orders that work, then routed ones, each in order of creation; no other session's."""
    here = {"session": "SIM", "price": Price(Decimal(4000))}
    routed, wanted = OrderState.ROUTED, {"wanted_qty": Quantity(Decimal(4)), "wanted_price": Price(Decimal(4000))}
    orders = [
        an_order("A", state=routed, created_ns=3, **here),
        an_order("B", state=routed, created_ns=1, **here),
        an_order("C", state=OrderState.NEW, cancel_reason="x", created_ns=9, **here),
        an_order("D", state=OrderState.PARTIALLY_FILLED, created_ns=8, **here, **wanted),
        an_order("E", state=OrderState.NEW, **here),
        an_order("F", state=OrderState.PENDING_CANCEL, cancel_reason="x", **here),
        an_order("G", state=routed, session="OTHER"),
        an_order("H", state=OrderState.CANCELED, cancel_reason="x", **here),
    ]
    with database.transaction() as tx:
        for order in orders:
            assert tx.orders.add(order)
    with database.snapshot() as tx:
        assert [order.cl_ord_id for order in tx.orders.outbox("SIM", 9)] == ["D", "C", "B", "A"]
        assert [order.cl_ord_id for order in tx.orders.outbox("SIM", 3)] == ["D", "C", "B"]
        assert tx.orders.outbox("NOBODY", 9) == []


@pytest.mark.mariadb
def test_orders_that_somebody_holds_are_passed_over(on_mariadb: SqlDatabase, mariadb_url: str) -> None:
    """A worker that stands still in a transaction keeps nobody from the others, though the server reads all rows."""
    orders = [an_order(f"{number:03}", state=OrderState.NEW) for number in range(60)]
    stopped = open_database(mariadb_url)
    with on_mariadb.transaction() as tx:
        for order in orders:
            assert tx.orders.add(order)
    names = [order.cl_ord_id for order in orders[:40]]
    with closing(stopped), stopped.transaction() as held:
        assert list(held.orders.locked([names[7], orders[50].cl_ord_id])) == [orders[7], orders[50]]
        with on_mariadb.transaction() as tx:
            assert list(tx.orders.locked(names)) == [*orders[:7], *orders[8:40]]


def test_locked_orders_are_asked_for_in_one_write(database: SqlDatabase) -> None:
    """State, version, a later instant and nothing wanted any more; nothing else of them moves, and no other order."""
    wanted = {"wanted_qty": Quantity(Decimal(4)), "wanted_price": Price(Decimal(4000))}
    orders = [
        an_order("A", state=OrderState.NEW, updated_ns=NOW - 1, version=3, cancel_reason="x", **wanted),
        an_order("B", state=OrderState.NEW, updated_ns=NOW + 1),
        an_order("C", state=OrderState.NEW),
    ]
    with database.transaction() as tx:
        for order in orders:
            assert tx.orders.add(order)
    names = [ClOrdId("B"), ClOrdId("A")]
    with database.transaction() as tx:
        assert list(tx.orders.locked([*names, ClOrdId("stranger")])) == orders[:2]
        tx.orders.ask(names, OrderState.PENDING_CANCEL, NOW)
        tx.orders.ask([], OrderState.PENDING_CANCEL, NOW)
    asked: dict[str, Any] = {"state": OrderState.PENDING_CANCEL, "wanted_qty": None, "wanted_price": None}
    expected = [
        replace(orders[0], updated_ns=NOW, version=4, **asked),
        replace(orders[1], updated_ns=NOW + 1, version=1, **asked),
        orders[2],
    ]
    with database.snapshot() as tx:
        assert [tx.orders.order(order.cl_ord_id) for order in orders] == expected
