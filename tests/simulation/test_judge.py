"""The judge is judged: each way in which the platform could be broken is found, and by which invariant."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from typing import Any, Final
from unittest.mock import patch

import pytest

from tests.simulation import market
from tests.simulation.run import Verdict, run
from trisagion.adapters.db.control import ControlRoom
from trisagion.adapters.db.orders import Orders
from trisagion.adapters.venues.fix.initiator import FixSession
from trisagion.errors import StateError
from trisagion.gateway import decide
from trisagion.orders.evidence import NEVER_RECEIVED
from trisagion.orders.state import OrderState
from trisagion.orders.types import ExecutionReport
from trisagion.risk.check import Approved, Refused, judge
from trisagion.risk.controls import Facts
from trisagion.risk.load import Account, Load
from trisagion.services import book_fills, drive_session
from trisagion.services.drive_session import SessionDriver
from trisagion.services.last_look import LastLook
from trisagion.services.outcome import Outcome
from trisagion.wiring import House
from workers.sessions import venue as session_venue

SEEDS_MAX: Final = 60
"""Within so many seeds each breakage is found; most are found within three."""
_S: Final = OrderState

Patches = list[tuple[Any, str, Any]]


def _save_as(driver: SessionDriver, before: frozenset[OrderState], state: OrderState, reason: str | None) -> Outcome:
    with driver.database.transaction() as tx:
        for order in tx.orders.in_states(before):
            tx.orders.save(replace(order, state=state, reason=reason, version=order.version + 1))
    return Outcome("asked")


def sends_before_it_commits() -> Patches:
    """The message first, the state that says so afterwards."""

    def drain(driver: SessionDriver, now_ns: int) -> Outcome:
        if not driver.session.logged_on():
            return Outcome("logged_off")
        with driver.database.snapshot() as tx:
            routed = tx.orders.in_states(frozenset({_S.ROUTED}))
        for order in routed:
            driver.session.send_new(order, now_ns)
            with driver.database.transaction() as tx:
                tx.orders.save(replace(order, state=_S.PENDING_NEW, version=order.version + 1))
        return Outcome("drained")

    return [(SessionDriver, "drain", drain)]


def sends_again_instead_of_asking() -> Patches:
    """What was not answered is put back into the outbox."""

    def resolve(driver: SessionDriver, _now_ns: int) -> Outcome:
        return _save_as(driver, frozenset({_S.PENDING_NEW}), _S.ROUTED, None)

    return [(SessionDriver, "resolve", resolve)]


def guesses_rejected() -> Patches:
    """What was not answered is taken for refused."""

    def resolve(driver: SessionDriver, _now_ns: int) -> Outcome:
        return _save_as(driver, frozenset({_S.PENDING_NEW, _S.UNKNOWN}), _S.REJECTED, NEVER_RECEIVED)

    return [(SessionDriver, "resolve", resolve)]


def books_a_repeated_report() -> Patches:
    """Nobody looks whether an ExecID was there before."""
    honest = Orders.add_execution

    def add_execution(orders: Orders, report: ExecutionReport, learned_ns: int) -> bool:
        honest(orders, report, learned_ns)
        return True

    return [(Orders, "add_execution", add_execution)]


def books_twice() -> Patches:
    """Each fill once more under another name."""

    def book(house: House, report: ExecutionReport) -> tuple[Outcome, ...]:
        outcomes = book_fills.book(house.database, house.book_rules, report)
        if report.fills:
            book_fills.book(house.database, house.book_rules, replace(report, exec_id=f"{report.exec_id}b"))
        return outcomes

    return [(House, "book", book)]


def _sure_of_its_lease() -> Patches:
    honest = SessionDriver.lease

    def lease(driver: SessionDriver) -> None:
        honest(driver)
        driver._ours_until_s = 1e9

    return [(SessionDriver, "lease", lease), (drive_session, "PRESENT_S", 1e9)]


def believes_its_lease_for_ever() -> Patches:
    """Neither the token nor the process' own clock is looked at."""
    return [(ControlRoom, "holds", lambda *_: True), *_sure_of_its_lease()]


def sends_however_long_ago_it_looked() -> Patches:
    """The token is compared in the claim alone."""
    return _sure_of_its_lease()


def takes_no_last_look() -> Patches:
    """Mode, gate, rest and age are not looked at before the socket."""
    return [(LastLook, "over", lambda _look, _tx, orders, _now_ns: [(order, None) for order in orders])]


def believes_the_instant_of_a_message() -> Patches:
    """However late a message comes, it is taken for the present."""
    return [(House, "present_ns", lambda _, rung_ns: rung_ns)]


def lets_the_engine_send_again() -> Patches:
    """What the line swallowed goes out with PossDupFlag."""
    return [(FixSession, "on_sending", lambda *_: True)]


def outlives_what_it_could_not_book() -> Patches:
    """A report that could not be booked at once counts as received."""
    honest = session_venue.Sink.on_report

    def on_report(sink: session_venue.Sink, report: ExecutionReport) -> None:
        with suppress(StateError):
            honest(sink, report)

    return [(session_venue.Sink, "on_report", on_report), (House, "retrying", lambda _, use_case: use_case())]


def forgets_its_limits() -> Patches:
    """Ten times as much may be held and ordered."""

    def lax(facts: Facts, load: Load, account: Account) -> Approved | Refused:
        most = facts.limits.position_notional_max
        facts.limits = replace(facts.limits, position_notional_max=most * 10, orders_max=100)
        return judge(facts, load, account)

    return [(market, "judge", lax), (decide, "judge", lax)]


def shrugs_at_a_taker_fill() -> Patches:
    """The gate stays open, and nobody is told."""
    return [(book_fills, "_guard", lambda *_: [])]


def never_sweeps() -> Patches:
    """What a lost message left undone stays undone."""
    return [(House, "sweep", lambda *_: ())]


def never_looks_at_the_mode() -> Patches:
    """What works goes on working in every mode."""
    return [(SessionDriver, "enforce", lambda *_: False)]


def keeps_no_record_of_denials() -> Patches:
    """An order ends without a word."""
    honest = ControlRoom.add_event

    def add_event(room: ControlRoom, kind: str, *told: Any) -> None:
        if kind != "order.denied":
            honest(room, kind, *told)

    return [(ControlRoom, "add_event", add_event)]


@contextmanager
def broken(patches: Patches) -> Iterator[None]:
    """Break the platform."""
    with ExitStack() as stack:
        for owner, name, value in patches:
            stack.enter_context(patch.object(owner, name, value))
        yield


@pytest.mark.parametrize(
    ("breakage", "invariants"),
    [
        (sends_before_it_commits, {"I6"}),
        (sends_again_instead_of_asking, {"I1"}),
        (guesses_rejected, {"I3"}),
        (books_a_repeated_report, {"I3"}),
        (books_twice, {"I3", "I8"}),
        (believes_its_lease_for_ever, {"I6"}),
        (sends_however_long_ago_it_looked, {"I6"}),
        (takes_no_last_look, {"I6"}),
        (believes_the_instant_of_a_message, {"I6"}),
        (lets_the_engine_send_again, {"I1"}),
        (outlives_what_it_could_not_book, {"I8"}),
        (forgets_its_limits, {"I5"}),
        (shrugs_at_a_taker_fill, {"I4"}),
        (never_sweeps, {"I9"}),
        (never_looks_at_the_mode, {"I2"}),
        (keeps_no_record_of_denials, {"I7"}),
    ],
)
def test_each_breakage_is_found(breakage: Callable[[], Patches], invariants: set[str]) -> None:
    """Within a bounded number of seeds, by the invariant that it breaks; unbroken, those seeds are as they must be."""
    with broken(breakage()):
        for seed in range(SEEDS_MAX):
            verdict = run(seed)
            if invariants <= {invariant for invariant, _, _ in verdict.violations}:
                break
        else:
            pytest.fail(f"{breakage.__name__} was not found in {SEEDS_MAX} seeds")
    print(f"{breakage.__name__}: seed {verdict.seed}, {sorted({one for one, _, _ in verdict.violations})}")
    assert not run(verdict.seed).violations, run(verdict.seed).explain()


def test_a_violation_is_told_with_seed_step_and_story() -> None:
    """What is printed is enough to begin with, and names the command that tells the rest."""
    with broken(takes_no_last_look()):
        verdict: Verdict = next(found for found in map(run, range(SEEDS_MAX)) if found.violations)
    [(invariant, text, step), *_] = verdict.violations
    told = verdict.explain()
    assert f"--seed {verdict.seed} -v" in told
    assert f"{invariant} at step {step}: {text}" in told
    assert verdict.story[step] in told and verdict.story[max(0, step - 40)] in told
