"""What the last minutes say of several symbols: how much each moves, and which of them move together.

All symbols share one grid, the last minutes at which any of them had a bar. Who did not trade in a minute has a return
of zero in it. That makes correlations of symbols that seldom trade too small (Epps, J. American Statistical Association
74, 1979), so a symbol counts as known only by the bars of its own.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from trisagion.market.types import Float64Array, Int64Array

RETURNS_MIN: Final = 60
"""An hour: with fewer, a deviation is known to no better than a tenth of itself (its error is ``1/sqrt(2n)``)."""

TAIL_RETURNS_MIN: Final = 250
"""With fewer, the worst hundredth of them is two."""

Closes = Mapping[str, tuple[Int64Array, Float64Array]]
"""Of each symbol the closes of its bars and their instants, oldest first."""


@dataclass(frozen=True, slots=True, eq=False)
class Returns:
    """Returns of several symbols.

    Attributes
    ----------
    column : mapping
        The column of each symbol.
    values : float64, shape (n, k)
        Relative changes of the price, oldest first; 0 before a symbol's first bar.
    first : int64, shape (k,)
        The row from which a symbol has a price.
    known : int64, shape (k,)
        How many of its returns end with a bar of its own.
    squares : float64, shape (n + 1, k)
        The sum of the squares from each row on.
    """

    column: Mapping[str, int]
    values: Float64Array
    first: Int64Array
    known: Int64Array
    squares: Float64Array

    @staticmethod
    def of(closes: Closes, count: int) -> "Returns":
        """Return the last `count` returns; a symbol with a price that is none has no known ones."""
        symbols = sorted(closes)
        column = {symbol: at for at, symbol in enumerate(symbols)}
        stamps = [closes[symbol][0] for symbol in symbols]
        grid = np.unique(np.concatenate([np.zeros(0, dtype=np.int64), *stamps]))[-count - 1 :]
        rows = max(len(grid) - 1, 0)
        values = np.zeros((rows, len(symbols)))
        first, known = np.full(len(symbols), rows), np.zeros(len(symbols), dtype=np.int64)
        for symbol, at in column.items():
            at_ns, close = closes[symbol]
            if not rows or not len(close) or not (np.isfinite(close) & (close > 0)).all():
                continue
            seen = np.searchsorted(at_ns, grid, side="right") - 1
            begin = int(np.searchsorted(seen, 0))
            price = close[seen[begin:]]
            values[begin:, at] = price[1:] / price[:-1] - 1.0
            first[at] = begin
            known[at] = len(np.unique(seen[begin:])) - 1
        squares = np.zeros((rows + 1, len(symbols)))
        squares[:-1] = np.cumsum((values * values)[::-1], axis=0)[::-1]
        return Returns(column, values, first, known, squares)

    def deviations(self, half_life: int) -> Float64Array:
        """Return the deviation of each symbol's next return, shape (k,); NaN where it is unknown or nothing moved.

        ``sqrt(Σ w r²/Σ w)``, w halved every `half_life` returns: the exponentially weighted average of RiskMetrics
        (J.P. Morgan, Technical Document, 1996, chapter 5), which takes the mean for 0.
        """
        rows = len(self.values)
        weight = 0.5 ** (np.arange(rows, 0, -1) / half_life)
        # The sum of the weights from each row on.
        whole = np.append(np.cumsum(weight[::-1])[::-1], 0.0)
        with np.errstate(invalid="ignore"):
            found = np.sqrt(np.einsum("i,ij->j", weight, self.values * self.values) / whole[self.first])
        found[(self.known < RETURNS_MIN) | ~(found > 0.0)] = np.nan
        return np.asarray(found)

    def correlations(self) -> Float64Array:
        """Return the correlation of each pair of symbols, shape (k, k); NaN where one of them is unknown.

        ``Σ xy/sqrt(Σ x² Σ y²)`` over the minutes in which both have a price: a minute's mean is taken for 0. To nine
        places, so that it does not matter in which order a machine adds up.
        """
        # Before a first price returns are 0 and add nothing to the products; the squares are summed from there.
        both = np.maximum(self.first[:, None], self.first[None, :])
        squares = self.squares[both, np.arange(len(self.first))[:, None]]
        with np.errstate(invalid="ignore", divide="ignore"):
            found = (self.values.T @ self.values) / np.sqrt(squares * squares.T)
        unknown = self.known < RETURNS_MIN
        found[unknown, :] = found[:, unknown] = np.nan
        return np.asarray(found.round(9))
