"""Count what the living runs on a symbol say now. Virtual runs vote; no run ever sends an order."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trisagion.clock import SECOND_NS
from trisagion.cohort.types import Votes
from trisagion.selection.kelly import KELLY_RUNS_MIN, kelly


@dataclass(frozen=True, slots=True)
class SelectionRules:
    """Who votes: runs that earned more than `live_pnl_min` (the run's money) and were updated within `stale_s`."""

    live_pnl_min: float = 0.2
    stale_s: int = 600
    kelly_runs_min: int = KELLY_RUNS_MIN


@dataclass(frozen=True, slots=True)
class Selection:
    """What the winners on one symbol say.

    `direction` and `live_pnl` are the sums D and P over the `winners`. `stale`: no living run was updated lately, so
    nothing is known and nothing may be traded; that is not the same as no winners, which means "be flat".
    """

    symbol: str
    direction: int
    live_pnl: float
    winners: int
    kelly_now: float | None
    kelly_past: float | None
    stale: bool
    reasons: tuple[str, ...]

    @property
    def wins(self) -> bool:
        """Tell whether the vote asks for a position: P > 0 and |D| ≥ 1."""
        return self.live_pnl > 0 and self.direction != 0


def select(votes: Votes, past_pnls: Sequence[float], rules: SelectionRules, now_ns: int) -> Selection:
    """Sum the votes of the runs that win now.

    A run lives when it is not exiting and its last update is within `rules.stale_s` of `now_ns`. It wins when it lives,
    has ``|direction| ≥ 1`` and ``live_pnl > rules.live_pnl_min``. ``D = Σ direction``, ``P = Σ live_pnl`` over winners.

    Parameters
    ----------
    votes : Votes
        All runs on the symbol; arrays of shape (n,), n may be 0.
    past_pnls : sequence of float
        P&L of the runs of the symbol's past epochs whose total was positive.
    rules : SelectionRules
    now_ns : int
        The instant of the decision.

    Returns
    -------
    Selection
        `kelly_now` is over all living runs, winners or not, `kelly_past` over `past_pnls`.

    Raises
    ------
    DataError
        When the P&L of a living or past run is not finite.

    Notes
    -----
    The distance to `now_ns` counts in both directions: a cycle that comes late carries its due instant, and meets
    runs that are ahead of it; an update further ahead than that is a broken clock, not news.
    """
    runs = len(votes.direction)
    assert runs == len(votes.live_pnl) == len(votes.exiting) == len(votes.updated_ns), f"{votes.symbol}: ragged votes"
    living = ~votes.exiting & _fresh(votes, rules, now_ns)
    winning = living & (votes.direction != 0) & (votes.live_pnl > rules.live_pnl_min)
    alive = int(living.sum())
    winners = int(winning.sum())
    direction = int(votes.direction[winning].sum())
    live_pnl = float(votes.live_pnl[winning].sum())
    counted = f"VOTES_COUNTED: living={alive} winners={winners} direction={direction} live_pnl={live_pnl:.6g}"
    reasons: tuple[str, ...] = (counted,)
    if not alive:
        reasons = (f"VOTES_STALE: runs={runs} living=0 stale_s={rules.stale_s}",)
    elif not winners:
        reasons = (f"VOTES_NO_WINNERS: living={alive} live_pnl_min={rules.live_pnl_min:g}",)
    elif not direction or live_pnl <= 0:
        reasons = (f"VOTES_UNDECIDED: direction={direction} live_pnl={live_pnl:.6g}", counted)
    return Selection(
        symbol=votes.symbol,
        direction=direction,
        live_pnl=live_pnl,
        winners=winners,
        kelly_now=kelly(votes.live_pnl[living], runs_min=rules.kelly_runs_min),
        kelly_past=kelly(np.asarray(past_pnls, dtype=np.float64), runs_min=rules.kelly_runs_min),
        stale=not alive,
        reasons=reasons,
    )


def left_out(votes: Votes, rules: SelectionRules, now_ns: int) -> str:
    """Say how many runs' votes do not count, each by the first of the rules that keeps it out; exiting ones apart.

    "stale" were not updated within ``rules.stale_s``, "flat" have no direction, "poor" have not earned enough.
    """
    fresh, flat = _fresh(votes, rules, now_ns), votes.direction == 0
    stale = int((~votes.exiting & ~fresh).sum())
    living = ~votes.exiting & fresh
    poor = int((living & ~flat & ~(votes.live_pnl > rules.live_pnl_min)).sum())
    return f"exiting={int(votes.exiting.sum())} stale={stale} flat={int((living & flat).sum())} poor={poor}"


def _fresh(votes: Votes, rules: SelectionRules, now_ns: int) -> NDArray[np.bool_]:
    found: NDArray[np.bool_] = np.abs(votes.updated_ns - now_ns) <= rules.stale_s * SECOND_NS
    return found
