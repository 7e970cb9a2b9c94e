"""The average true range of one symbol, from closed one-minute bars."""

from collections.abc import Sequence
from itertools import pairwise

from trisagion.clock import floor_ns
from trisagion.market.types import Bar


def minutes_needed(bar_min: int, count: int) -> int:
    """Return how many one-minute bars are enough for `count` true ranges, however the minutes lie within the bars."""
    return (count + 2) * bar_min


def average_true_range(minutes: Sequence[Bar], bar_ns: int, count: int) -> float | None:
    """Return the mean of the last true ranges of bars made of minutes.

    Parameters
    ----------
    minutes : sequence of Bar
        Closed one-minute bars, oldest first; a minute without trades has none.
    bar_ns : int
        The length of the bars in ns, whole minutes; they begin at multiples of it since 1970. The one that has not
        ended with the last minute is left out, and so is one without trades.
    count : int
        True ranges, at least 1.

    Returns
    -------
    float or None
        In points, above 0. None while there are not ``count + 1`` such bars, or when no price moved in them.

    Notes
    -----
    True range: ``max(H, C_before) − min(L, C_before)`` (Wilder, "New Concepts in Technical Trading Systems", 1978). He
    smooths it over all the past; here it is the plain mean, so that it depends on the last bars alone and whoever
    computes it after a restart finds the same.
    """
    if not minutes:
        return None
    ended_ns = minutes[-1].close_ns
    whole: dict[int, tuple[float, float, float]] = {}
    for minute in minutes:
        begin_ns = floor_ns(minute.open_ns, bar_ns)
        if begin_ns + bar_ns <= ended_ns:
            high, low, _ = whole.get(begin_ns, (minute.high, minute.low, minute.close))
            whole[begin_ns] = (max(high, minute.high), min(low, minute.low), minute.close)
    if len(whole) <= count:
        return None
    last = list(whole.values())[-count - 1 :]
    ranges = [max(high, close) - min(low, close) for (_, _, close), (high, low, _) in pairwise(last)]
    return sum(ranges) / count or None
