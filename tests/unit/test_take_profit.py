"""Take-profit and draw-down: the baseline, the crossing, and the steps."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trisagion.errors import ConfigError, StateError
from trisagion.ledger.take_profit import LAST_STEP, STEPS, TakeProfitRules, baseline, crossing, next_step
from trisagion.units import Money


def money(*amounts: str) -> list[Money]:
    """Make amounts."""
    return [Money(Decimal(amount)) for amount in amounts]


@pytest.mark.parametrize(
    ("samples", "expected"),
    [
        ([], None),
        (["1", "2", "3", "4"], None),
        (["5", "1", "4", "2", "3"], "3"),
        (["100", "100", "0", "100", "999999"], "100"),
        (["1", "2", "3", "4", "5", "0", "0", "0"], "3"),
    ],
)
def test_the_baseline_is_the_median_of_the_first_five(samples: list[str], expected: str | None) -> None:
    """Fewer are not enough, later ones do not count, and one bad mark does not move it."""
    assert baseline(money(*samples)) == (None if expected is None else Decimal(expected))


@pytest.mark.parametrize(
    ("equity", "base", "rules", "kind"),
    [
        ("200", "100", TakeProfitRules(), "take_profit"),
        ("199.999999999999", "100", TakeProfitRules(), None),
        ("100", "100", TakeProfitRules(), None),
        ("80", "100", TakeProfitRules(), None),
        ("79.999999999999", "100", TakeProfitRules(), "draw_down"),
        ("-5", "100", TakeProfitRules(), "draw_down"),
        ("110", "100", TakeProfitRules(threshold=Decimal("0.1")), "take_profit"),
        ("98", "100", TakeProfitRules(threshold=Decimal("0.1")), None),
        ("97.99", "100", TakeProfitRules(threshold=Decimal("0.1")), "draw_down"),
        ("200", "300", TakeProfitRules(reward_multiple=Decimal(3)), None),
        ("199.999999999999", "300", TakeProfitRules(reward_multiple=Decimal(3)), "draw_down"),
        ("5", "0", TakeProfitRules(), None),
        ("5", "-1", TakeProfitRules(), None),
    ],
)
def test_a_crossing_is_judged_to_the_last_digit(
    equity: str, base: str, rules: TakeProfitRules, kind: str | None
) -> None:
    """The profit at the threshold, the loss only below its own; thirds are exact too."""
    (worth, start) = money(equity, base)
    assert crossing(worth, start, rules) == kind


@pytest.mark.parametrize("name", ["threshold", "reward_multiple"])
@pytest.mark.parametrize("value", ["0", "-1", "NaN", "Infinity"])
def test_rules_without_sense_are_refused(name: str, value: str) -> None:
    """A threshold or multiple of zero or less would fire at once or never."""
    with pytest.raises(ConfigError, match=name):
        TakeProfitRules(**{name: Decimal(value)})


def test_the_steps_follow_each_other_to_the_end() -> None:
    """Flat all the way: every step comes once, in order, and then no more."""
    done: list[str] = []
    while (step := next_step(done, flat=True)) is not None:
        done.append(step)
    assert tuple(done) == STEPS
    assert done[-1] == LAST_STEP


@pytest.mark.parametrize("count", range(len(STEPS) + 1))
def test_only_reconciled_waits_until_we_are_flat(count: int) -> None:
    """With a position, every step but that one goes on."""
    done = STEPS[:count]
    flat, held = next_step(done, flat=True), next_step(done, flat=False)
    assert held == (None if flat == "Reconciled" else flat)


@given(st.lists(st.sampled_from([*STEPS, "Sold"]), max_size=8))
def test_a_damaged_record_stops_the_sequence(done: list[str]) -> None:
    """What is not the beginning of the sequence is an error; nothing is guessed."""
    if tuple(done) == STEPS[: len(done)]:
        assert next_step(done, flat=True) == (STEPS[len(done)] if len(done) < len(STEPS) else None)
        return
    with pytest.raises(StateError, match="take-profit"):
        next_step(done, flat=True)
