"""The judge of a long life is judged: each way in which cycles, epochs, exits and people could be failed is found."""

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from typing import Any, Final

import pytest

from tests.simulation.life import live
from tests.simulation.test_judge import Patches, books_twice, broken
from trisagion.adapters.db.cycles import Cycles
from trisagion.adapters.db.ledger import Ledger
from trisagion.ledger.take_profit import crossing
from trisagion.orders.intents import Consensus, consensus
from trisagion.portfolio import exits
from trisagion.portfolio.exits import ExitState
from trisagion.ports import TakeProfitStep, Transaction
from trisagion.risk import controls
from trisagion.services import drive_session, last_look, protect, reconcile, take_profit, tell_missed
from trisagion.services.drive_session import SessionDriver
from trisagion.units import Quantity

LIVES_MAX: Final = 12
"""Within so many days each breakage is found; most within three."""


def forgets_the_rest() -> Patches:
    """Nobody knows of a rest: not the cycle, not the gateway, not the session."""
    everywhere = [(room, "closing_reason", lambda _: None) for room in (reconcile, drive_session)]
    rooms = (controls, last_look, reconcile, drive_session, protect)
    return [*everywhere, *((room, "closing_of", lambda *_: None) for room in rooms)]


def leaves_orders_in_the_rest() -> Patches:
    """Neither the cycle nor the session withdraws what works."""
    return [(SessionDriver, "enforce", lambda *_: False), (reconcile, "withdraw", lambda *_: frozenset())]


def never_detects_a_crossing() -> Patches:
    """The account may gain and lose whatever it will."""
    return [(take_profit, "crossing", lambda *_: None)]


def detects_what_is_none() -> Patches:
    """A tenth of the threshold is enough."""

    def hasty(equity: Any, base: Any, rules: Any) -> str | None:
        return crossing(equity, base, replace(rules, threshold=rules.threshold / 10))

    return [(take_profit, "crossing", hasty)]


def leaves_a_step_out() -> Patches:
    """Nobody records that the books were flat."""
    honest = Ledger.add_step

    def add_step(ledger: Ledger, step: TakeProfitStep) -> None:
        honest(ledger, replace(step, step="Rebased") if step.step == "Reconciled" else step)

    return [(Ledger, "add_step", add_step)]


def trades_on_while_an_epoch_ends() -> Patches:
    """Cycles go by the votes, whatever sequence is under way."""
    return [(reconcile, "_flattening", lambda _: False)]


def lets_a_stop_fall_back() -> Patches:
    """The stop follows the price to both sides."""
    honest = exits._ratcheted

    def ratcheted(state: ExitState, *rest: Any) -> Decimal | None:
        return honest(replace(state, stop=None), *rest)

    return [(exits, "_ratcheted", ratcheted)]


def never_lets_go() -> Patches:
    """What a stop wants gone is kept."""

    def bound(
        tx: Transaction,
        protection: Any,
        symbol: str,
        _voted: Decimal,
        desired: Decimal,
        actual: Quantity | None,
        *,
        known: bool,
    ) -> tuple[Decimal, bool, tuple[str, ...]]:
        stopped = tx.exits.state(protection.strategy, symbol).cause is not None
        return (actual, True, ()) if stopped and actual else (desired, known, ())

    return [(reconcile, "bound", bound)]


def tells_no_missed_slot() -> Patches:
    """A slot without a cycle passes in silence."""
    return [(tell_missed, "tell_missed", lambda *_: 0)]


def forgets_a_cycle() -> Patches:
    """A cycle that waits for somebody is never rung again."""
    return [(Cycles, "unfinished", lambda _: ())]


def opens_no_incident() -> Patches:
    """Nobody hears that a witness contradicts."""

    def trusting(symbol: str, ledger: Any, *_: Any, **__: Any) -> Consensus:
        return Consensus(ledger.qty, ())

    return [(reconcile, "consensus", trusting)]


def sees_ghosts() -> Patches:
    """Now and then a cycle finds a contradiction where there is none."""

    def doubting(symbol: str, ledger: Any, *rest: Any, **more: Any) -> Consensus:
        agreed = consensus(symbol, ledger, *rest, **more)
        return agreed if rest[3] // 600_000_000_000 % 5 else Consensus(None, ("OBSERVER_DISAGREES: observer=nobody",))

    return [(reconcile, "consensus", doubting)]


def decides_nothing_and_orders() -> Patches:
    """Orders come from nowhere: the decision does not know of its intent."""
    honest = Cycles.add_decision

    def add_decision(cycles: Cycles, decision: Any) -> None:
        honest(cycles, replace(decision, intent=None))

    return [(Cycles, "add_decision", add_decision)]


@pytest.mark.parametrize(
    ("breakage", "invariants", "first"),
    [
        (books_twice, {"L1"}, 0),
        (forgets_the_rest, {"L4"}, 0),
        (leaves_orders_in_the_rest, {"L5"}, 0),
        (never_detects_a_crossing, {"L2"}, 2),
        (detects_what_is_none, {"L2"}, 0),
        (leaves_a_step_out, {"L2"}, 2),
        (trades_on_while_an_epoch_ends, {"L3"}, 2),
        (decides_nothing_and_orders, {"L6"}, 0),
        (lets_a_stop_fall_back, {"L7"}, 1),
        (never_lets_go, {"L8"}, 0),
        (tells_no_missed_slot, {"L9"}, 2),
        (forgets_a_cycle, {"L9"}, 0),
        (opens_no_incident, {"L10"}, 2),
        (sees_ghosts, {"L10"}, 0),
    ],
)
def test_each_breakage_of_a_life_is_found(breakage: Callable[[], Patches], invariants: set[str], first: int) -> None:
    """Within a bounded number of days, by the invariant that it breaks; `first` is where it was found last time."""
    with broken(breakage()):
        for seed in (first, *range(LIVES_MAX)):
            life = live(seed, 1, violations_max=3)
            if invariants <= {invariant for invariant, _, _ in life.violations}:
                break
        else:
            pytest.fail(f"{breakage.__name__} was not found in {LIVES_MAX} lives")
    print(f"{breakage.__name__}: seed {life.seed}, {sorted({one for one, _, _ in life.violations})}")
