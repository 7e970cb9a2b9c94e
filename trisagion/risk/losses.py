"""How much the account may lose before the platform stops by itself: from its peak, and in a day.

Peak and day are counted anew when an operator has released the platform: he has seen the loss, and without it the next
mark would stop it again. What is transferred in or out is no gain and no loss.
"""

from dataclasses import dataclass, replace
from decimal import Decimal, localcontext
from typing import Final

from trisagion.clock import HOUR_NS, floor_ns
from trisagion.errors import ConfigError
from trisagion.safety.modes import Mode
from trisagion.units import WIDE, Money, plain, round_money

DAY_NS: Final = 24 * HOUR_NS


@dataclass(frozen=True, slots=True)
class LossRules:
    """Fractions of the peak and of the day's first equity. Raises `ConfigError` unless 0 < soft < hard < 1."""

    drawdown_soft: Decimal = Decimal("0.15")
    drawdown_hard: Decimal = Decimal("0.20")
    daily_loss: Decimal = Decimal("0.01")

    def __post_init__(self) -> None:
        if not 0 < self.drawdown_soft < self.drawdown_hard < 1 or not 0 < self.daily_loss < 1:
            raise ConfigError(
                "losses: expected a daily loss and a soft draw-down below a hard one, all between 0 and 1, found "
                f"{plain(self.daily_loss)}, {plain(self.drawdown_soft)} and {plain(self.drawdown_hard)}"
            )


@dataclass(frozen=True, slots=True)
class LossMark:
    """The highest equity since `since_ns`, and the first one of the UTC day that began at `day_ns`, or since then."""

    peak: Money
    day_ns: int
    day_equity: Money
    since_ns: int


@dataclass(frozen=True, slots=True)
class Stop:
    """A mode that a loss demands, and the sentence for the log."""

    mode: Mode
    reason: str


def follow(mark: LossMark | None, equity: Money, now_ns: int, released_ns: int) -> LossMark:
    """Return the mark after another sample; `released_ns` is when an operator last released the platform, or 0."""
    day_ns = floor_ns(now_ns, DAY_NS)
    if mark is None or released_ns > mark.since_ns:
        return LossMark(equity, day_ns, equity, max(now_ns, released_ns))
    if day_ns > mark.day_ns:
        mark = replace(mark, day_ns=day_ns, day_equity=equity)
    return replace(mark, peak=equity) if equity > mark.peak else mark


def moved(mark: LossMark, amount: Money, equity: Money | None) -> LossMark:
    """Return the mark after a transfer in (+) or out (−) of the account, which is worth `equity` then.

    Peak and day keep their ratio to the equity, for ratios are limited. Where that is unknown, or was or is not above
    zero, they move by the amount.
    """
    with localcontext(WIDE):
        if equity is None or equity <= 0 or equity - amount <= 0:
            return replace(mark, peak=Money(mark.peak + amount), day_equity=Money(mark.day_equity + amount))
        before = equity - amount
        peak, day = round_money(mark.peak * equity / before), round_money(mark.day_equity * equity / before)
        return replace(mark, peak=peak, day_equity=day)


def stop(mark: LossMark, equity: Money, rules: LossRules) -> Stop | None:
    """Return what a loss demands, the strictest of all; reached is within, nothing is demanded before it is passed.

    A peak of zero or less has no fractions: then nothing but an emergency is left.
    """
    with localcontext(WIDE):
        if mark.peak <= 0 or equity < mark.peak * (1 - rules.drawdown_hard):
            return Stop(Mode.EMERGENCY, _text("DRAWDOWN_HARD", mark.peak, equity, rules.drawdown_hard))
        if equity < mark.day_equity * (1 - rules.daily_loss):
            return Stop(Mode.PAUSE, _text("DAILY_LOSS", mark.day_equity, equity, rules.daily_loss))
        if equity < mark.peak * (1 - rules.drawdown_soft):
            return Stop(Mode.REDUCE, _text("DRAWDOWN_SOFT", mark.peak, equity, rules.drawdown_soft))
    return None


def _text(what: str, before: Money, equity: Money, limit: Decimal) -> str:
    return f"{what}: from={plain(before)} equity={plain(equity)} max={plain(limit)}"
