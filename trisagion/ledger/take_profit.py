"""When an account has gained or lost enough to end its epoch, and the steps by which that is done.

The steps are recorded one by one, so that whoever comes up next goes on from the last one recorded; a draw-down takes
the same steps as a take-profit.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal, localcontext
from typing import Final, Literal

from trisagion.errors import ConfigError, StateError
from trisagion.units import WIDE, Money

BASELINE_SAMPLES: Final = 5
"""The baseline is the median of so many first samples (domain, section 7): one bad mark cannot set it."""

STEPS: Final = ("Detected", "EpochClosed", "RunsExited", "Flattening", "Reconciled", "Rebased", "Done")

LAST_STEP: Final = STEPS[-1]

_NEEDS_FLAT: Final = "Reconciled"


@dataclass(frozen=True, slots=True)
class TakeProfitRules:
    """Gain `threshold` of the baseline to take the profit; lose `threshold / reward_multiple` of it to start anew.

    Raises `ConfigError` unless both are above zero and finite.
    """

    threshold: Decimal = Decimal(1)
    reward_multiple: Decimal = Decimal(5)

    def __post_init__(self) -> None:
        for name in ("threshold", "reward_multiple"):
            value: Decimal = getattr(self, name)
            if not value.is_finite() or value <= 0:
                raise ConfigError(f"take_profit: expected {name} above 0, found {value}")


def baseline(equities: Sequence[Money]) -> Money | None:
    """Return the median of an epoch's first samples of equity, oldest first; None before there are enough of them."""
    if len(equities) < BASELINE_SAMPLES:
        return None
    return sorted(equities[:BASELINE_SAMPLES])[BASELINE_SAMPLES // 2]


def crossing(equity: Money, base: Money, rules: TakeProfitRules) -> Literal["take_profit", "draw_down"] | None:
    """Tell whether equity reached ``base·(1 + threshold)`` or fell below ``base·(1 − threshold/reward_multiple)``.

    A baseline of zero or less has no multiples: nothing crosses it.
    """
    if base <= 0:
        return None
    with localcontext(WIDE):
        if equity >= base * (1 + rules.threshold):
            return "take_profit"
        # The fraction is multiplied out: threshold/reward_multiple need not be an exact decimal.
        if equity * rules.reward_multiple < base * (rules.reward_multiple - rules.threshold):
            return "draw_down"
    return None


def next_step(done: Sequence[str], *, flat: bool) -> str | None:
    """Return the step that follows those recorded; None when all are done, or while it has to wait until we are flat.

    `StateError` when what is recorded is not the beginning of `STEPS`.
    """
    if tuple(done) != STEPS[: len(done)]:
        raise StateError(f"take-profit: expected the first of {', '.join(STEPS)}, found {', '.join(done)}")
    if len(done) == len(STEPS):
        return None
    step = STEPS[len(done)]
    return None if step == _NEEDS_FLAT and not flat else step
