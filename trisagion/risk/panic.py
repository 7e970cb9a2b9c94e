"""Panic conditions: what is so far from ordinary that nobody should trade on before a person has looked.

Each is a function of a few numbers that says in a sentence what it found, None where all is ordinary. What follows is
always the same: a pause, for the symbol, venue or account that it is about, until people release it.

    slippage     a maker is filled at a price worse than the one that was decided on, by more than `slippage_max` times
                 the half of the spread at the decision (at least a tick): what a taker expects to pay at once
    quote age    an order works, and the quote that it works on is older than `quote_age_ns_max`
    spread       the newest spread is more than `spread_max` times the median of those before it
    errors       `errors_max` refusals, alarms and unreadable messages of a venue within `errors_ns`
    losses       so many of the last `loss_marks` marks of the account lost that its own record makes it all but
                 impossible: the binomial test below

The losses. A mark is a minute in which the equity changed; it loses or it gains. Were marks independent and each lost
with the probability p with which all earlier ones did, k losses of n or more would come with the probability
``sum(C(n, i) p^i (1 - p)^(n - i), i = k … n)``; below `loss_alpha` that is taken for impossible. p is ``(losses + 1) /
(marks + 2)`` over all marks before the window (Laplace's rule of succession), and before `LOSS_RECORD_MIN` marks there
is no record. A day has 1,440 windows, one a mark: with alpha at a millionth an account whose marks are chance is paused
once in two years. Marks are not quite independent, and a trend against the position is just what this is for; on both
bundled tapes no window, held long or short, was less probable than one in 440. It looks at signs alone: how much may be
lost is what `losses` bounds.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from enum import StrEnum
from math import comb
from statistics import median
from typing import Final

from trisagion.clock import MILLISECOND_NS, MINUTE_NS
from trisagion.errors import ConfigError
from trisagion.market.types import Instrument, Quote
from trisagion.orders.types import Side
from trisagion.units import WIDE, Money, Price, plain

LOSS_RECORD_MIN: Final = 100
"""Marks before the window without which nothing is known of how often the account loses; ours."""

SPREADS_MIN: Final = 30
"""Spreads without which nothing is known of what is normal; ours."""


class Condition(StrEnum):
    """What may be found."""

    SLIPPAGE = "slippage"
    QUOTE_AGE = "quote_age"
    SPREAD = "spread"
    ERRORS = "errors"
    LOSSES = "losses"


@dataclass(frozen=True, slots=True)
class PanicRules:
    """Which conditions are looked for, and from where on they hold; see above.

    Raises `ConfigError` unless multiples are at least 1, counts at least 1, and ``0 < loss_alpha < 1``.
    """

    conditions: frozenset[Condition] = frozenset(Condition)
    slippage_max: Decimal = Decimal(3)
    quote_age_ns_max: int = 500 * MILLISECOND_NS
    spread_max: Decimal = Decimal(3)
    spread_ns: int = 30 * MINUTE_NS
    errors_max: int = 10
    errors_ns: int = MINUTE_NS
    loss_marks: int = 30
    loss_alpha: float = 1e-6

    def __post_init__(self) -> None:
        multiples = (self.slippage_max, self.spread_max)
        counts = (self.quote_age_ns_max, self.spread_ns, self.errors_max, self.errors_ns, self.loss_marks)
        if min(multiples) < 1 or min(counts) < 1 or not 0 < self.loss_alpha < 1:
            raise ConfigError(
                "panic: expected multiples and counts of at least 1 and an alpha between 0 and 1, found "
                f"{', '.join(map(plain, multiples))}, {counts} and {self.loss_alpha}"
            )


def slipped(side: Side, price: Price, decided: Quote, instrument: Instrument, rules: PanicRules) -> str | None:
    """Say by how much a maker's fill is worse than the quote of its decision, where that is too much."""
    touch = decided.bid if side is Side.BUY else decided.ask
    expected = max(WIDE.divide(WIDE.subtract(decided.ask, decided.bid), Decimal(2)), instrument.tick_size)
    slip = WIDE.multiply(WIDE.subtract(price, touch), Decimal(side.sign))
    if slip <= WIDE.multiply(rules.slippage_max, expected):
        return None
    told = f"price={plain(price)} decided={plain(touch)} slip={plain(slip)} expected={plain(expected)}"
    return f"SLIPPAGE: {told} max={plain(rules.slippage_max)}"


def silent(quote: Quote | None, now_ns: int, rules: PanicRules) -> str | None:
    """Say how old the quote is that orders work on, where that is too old, or that there is none."""
    if quote is None:
        return "QUOTE_AGE: there is no quote"
    age_ns = now_ns - quote.learned_ns
    return f"QUOTE_AGE: age_ns={age_ns} max_ns={rules.quote_age_ns_max}" if age_ns > rules.quote_age_ns_max else None


def widened(spreads: Sequence[float], rules: PanicRules) -> str | None:
    """Say how wide the newest spread is, the last of them, where that is too wide; all in points, oldest first."""
    if len(spreads) <= SPREADS_MIN:
        return None
    normal, newest = median(spreads[:-1]), spreads[-1]
    if newest <= float(rules.spread_max) * normal:
        return None
    return f"SPREAD: spread={newest:.10g} normal={normal:.10g} max={plain(rules.spread_max)}"


def cascades(errors: int, rules: PanicRules) -> str | None:
    """Say how many errors there were, where those are too many."""
    return f"ERRORS: errors={errors} max={rules.errors_max}" if errors >= rules.errors_max else None


@dataclass(frozen=True, slots=True)
class LossRecord:
    """How the account's marks went: `recent` has a letter for each of the window, L or G, oldest first.

    `marks` and `losses` count those before the window. The last one was at `at_ns`, with `equity`.
    """

    at_ns: int
    equity: Money
    marks: int
    losses: int
    recent: str

    @property
    def losing(self) -> int:
        """How many of the window lost."""
        return self.recent.count("L")

    def anew(self) -> "LossRecord":
        """Return the record with an empty window: what was in it has been told."""
        marks, losses = self.marks + len(self.recent), self.losses + self.losing
        return replace(self, marks=marks, losses=losses, recent="")


def follow(record: LossRecord | None, equity: Money, now_ns: int, rules: PanicRules) -> LossRecord:
    """Return the record after another mark; one that changed nothing counts as none."""
    if record is None:
        return LossRecord(now_ns, equity, 0, 0, "")
    if equity == record.equity:
        return replace(record, at_ns=now_ns)
    window = record.recent + ("L" if equity < record.equity else "G")
    gone = window[: max(len(window) - rules.loss_marks, 0)]
    marks, losses = record.marks + len(gone), record.losses + gone.count("L")
    return LossRecord(now_ns, equity, marks, losses, window[len(gone) :])


def clustered(record: LossRecord, rules: PanicRules) -> str | None:
    """Say how many marks of the window lost, where the account's own record makes that all but impossible."""
    count, losing = len(record.recent), record.losing
    if count < rules.loss_marks or record.marks < LOSS_RECORD_MIN:
        return None
    share = (record.losses + 1) / (record.marks + 2)
    # At the mean or below it nothing is improbable, and most marks are there.
    chance = 1.0 if losing <= count * share else at_least(losing, count, share)
    if chance >= rules.loss_alpha:
        return None
    return f"LOSSES: losing={losing} of={count} record={share:.4f} chance={chance:.3g} alpha={rules.loss_alpha:g}"


def at_least(successes: int, count: int, share: float) -> float:
    """Return the probability of at least so many successes in `count` independent trials with one probability."""
    return sum(comb(count, i) * share**i * (1.0 - share) ** (count - i) for i in range(successes, count + 1))
