"""Losses from the peak and of the day: what each demands at its limit and beyond it, and when counting begins anew."""

from dataclasses import replace
from decimal import Decimal

import pytest

from tests.builders import TUESDAY_NS
from trisagion.clock import HOUR_NS
from trisagion.errors import ConfigError
from trisagion.risk.losses import LossMark, LossRules, follow, moved, stop
from trisagion.safety.modes import Mode
from trisagion.units import Money

NOON = TUESDAY_NS
MIDNIGHT = NOON - 12 * HOUR_NS


def usd(amount: object) -> Money:
    """Make an amount."""
    return Money(Decimal(str(amount)))


MARK = LossMark(usd(1000), MIDNIGHT, usd(900), NOON)


@pytest.mark.parametrize(
    ("peak", "day", "equity", "mode"),
    [
        (1000, 1000, 1000, None),
        (1000, 1000, 990, None),
        (1000, 1000, "989.99", Mode.PAUSE),
        (1000, 850, 850, None),
        (1000, 850, "849.99", Mode.REDUCE),
        (1000, 900, "849.99", Mode.PAUSE),
        (1000, 800, 800, Mode.REDUCE),
        (1000, 800, "799.99", Mode.EMERGENCY),
        (1000, 1000, 700, Mode.EMERGENCY),
        (0, 0, 0, Mode.EMERGENCY),
        (-1, -1, -1, Mode.EMERGENCY),
    ],
)
def test_a_loss_demands_its_mode_beyond_its_limit(peak: int, day: int, equity: object, mode: Mode | None) -> None:
    """At the limit is within it; of several the strictest is demanded, with the numbers."""
    found = stop(replace(MARK, peak=usd(peak), day_equity=usd(day)), usd(equity), LossRules())
    assert (None if found is None else found.mode) is mode
    assert found is None or f"equity={equity}" in found.reason


@pytest.mark.parametrize(
    ("equity", "now_ns", "released_ns", "after"),
    [
        (950, NOON + 1, 0, MARK),
        (1001, NOON + 1, 0, replace(MARK, peak=usd(1001))),
        (950, MIDNIGHT + 24 * HOUR_NS, 0, replace(MARK, day_ns=MIDNIGHT + 24 * HOUR_NS, day_equity=usd(950))),
        (950, NOON + 3, NOON, MARK),
        (950, NOON + 3, NOON + 2, LossMark(usd(950), MIDNIGHT, usd(950), NOON + 3)),
    ],
)
def test_the_peak_rises_the_day_turns_and_a_release_begins_anew(
    equity: int, now_ns: int, released_ns: int, after: LossMark
) -> None:
    """A release counts once: the next sample is compared with what it found."""
    assert follow(MARK, usd(equity), now_ns, released_ns) == after
    assert follow(after, usd(equity), now_ns, released_ns) == after


def test_the_first_sample_is_peak_and_day() -> None:
    """Nothing was lost before anything was known."""
    assert follow(None, usd(7), NOON, 0) == LossMark(usd(7), MIDNIGHT, usd(7), NOON)


@pytest.mark.parametrize(
    ("amount", "equity", "peak", "day"),
    [
        # Half of 880 is withdrawn, or as much paid in: 12 % are lost from the peak as before.
        (-440, 440, 500, 450),
        (880, 1760, 2000, 1800),
        (-600, 300, "333.333333333333", 300),
        # Nothing is known of the account, or nothing is left of it: then the money counts.
        (-300, None, 700, 600),
        (-880, 0, 120, 20),
        (-900, -20, 100, 0),
        (500, 480, 1500, 1400),
    ],
)
def test_a_transfer_is_neither_gain_nor_loss(amount: int, equity: int | None, peak: object, day: object) -> None:
    """The part that was lost stays the same: a withdrawal must not make a draw-down of what was none."""
    found = moved(MARK, usd(amount), None if equity is None else usd(equity))
    assert found == replace(MARK, peak=usd(peak), day_equity=usd(day))


@pytest.mark.parametrize(
    "wrong", [("0", "0.2", "0.1"), ("0.2", "0.2", "0.1"), ("0.1", "1", "0.1"), ("0.1", "0.2", "0")]
)
def test_limits_that_limit_nothing_are_refused(wrong: tuple[str, str, str]) -> None:
    """Each lies between nothing and everything, the soft one below the hard one."""
    with pytest.raises(ConfigError, match="expected"):
        LossRules(*map(Decimal, wrong))
