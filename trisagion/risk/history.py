"""What happened lately, as far back as a verdict looks: orders alike, messages and trades, where the market traded.

Nothing in here widens what the other facts allow; without it, as for an account that has done nothing yet, all of it
is in order.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Final

from trisagion.clock import MINUTE_NS, SECOND_NS
from trisagion.features.atr import average_true_range, minutes_needed
from trisagion.market.types import Bar
from trisagion.units import SCALE, Price, times

ALIKE_NS: Final = 5 * SECOND_NS
"""So long an order is one that another may repeat by mistake; ours."""

RATIO_NS: Final = 15 * MINUTE_NS
"""Over which messages and trades are counted; ours."""

VWAP_NS: Final = 5 * MINUTE_NS
ATR_BARS: Final = 14
"""True ranges of a minute each; as many as Wilder takes."""

BARS: Final = minutes_needed(1, ATR_BARS)
"""How many one-minute bars `references` reads."""

_STEP: Final = Decimal(1).scaleb(-SCALE)


@dataclass(frozen=True, slots=True)
class History:
    """What one intent is judged beside.

    `alike` has the price of each order of another intent, made in the last `ALIKE_NS`, of the same symbol, side and
    quantity: None where it has none yet. `messages` were sent and `trades` told on the account's sessions within
    `RATIO_NS`. `vwap` is the mean price of the last five minutes by volume and `atr` the average true range of a
    minute, in points; None where the market has traded too little to know.
    """

    alike: Sequence[Price | None] = ()
    messages: int = 0
    trades: int = 0
    vwap: Decimal | None = None
    atr: Decimal | None = None


NOTHING: Final = History()


def references(bars: Sequence[Bar], now_ns: int) -> tuple[Decimal | None, Decimal | None]:
    """Return the volume-weighted mean price of five minutes and the average true range of a minute, in points.

    Parameters
    ----------
    bars : sequence of Bar
        Closed one-minute bars up to `now_ns`, oldest first; `BARS` are enough.
    now_ns : int

    Returns
    -------
    tuple of Decimal or None
        To `units.SCALE` places. The first is None where nothing traded in five minutes, the second as
        `features.atr.average_true_range`.

    Notes
    -----
    A bar does not say at which price what traded: its typical price ``(H + L + C) / 3`` stands for all of it.
    """
    lately = [bar for bar in bars if now_ns - VWAP_NS < bar.close_ns <= now_ns and bar.volume > 0]
    volume = sum(bar.volume for bar in lately)
    typical = sum((bar.high + bar.low + bar.close) / 3 * bar.volume for bar in lately)
    return _exact(typical / volume if lately else None), _exact(average_true_range(bars[-BARS:], MINUTE_NS, ATR_BARS))


def repeats(alike: Iterable[Price | None], price: Price) -> int:
    """Return how many of some orders alike stand at a price, or may yet."""
    return sum(other is None or other == price for other in alike)


def too_many_messages(history: History, ratio_max: Decimal) -> bool:
    """Tell whether messages are more than `ratio_max` for each trade; before the first trade as if there was one."""
    return history.messages > times(ratio_max, history.trades or 1)


def _exact(number: float | None) -> Decimal | None:
    return None if number is None else Decimal(repr(number)).quantize(_STEP, rounding=ROUND_HALF_EVEN)
