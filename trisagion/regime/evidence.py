"""What the bars of a symbol say about its state: evidence now, and the models that are fitted to the past for it.

Everything here is a function of bars that have closed: what comes later cannot change it, and a worker that starts anew
comes to the same numbers.
"""

import json
import math
import zlib
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any, Final, TypeVar

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from ext.entropy import permutation_entropy
from trisagion.errors import StateError, quoted
from trisagion.features.momentum import DEAD_BAND, WEIGHT_BARS, market_weight
from trisagion.market.types import Float64Array
from trisagion.regime.classify import Evidence
from trisagion.regime.garch import GarchParams, conditional_variance
from trisagion.regime.garch_fit import GarchSpec
from trisagion.regime.garch_fit import fit as fit_garch
from trisagion.regime.hmm import HmmModel, filter_states
from trisagion.regime.hmm_fit import Rules
from trisagion.regime.hmm_preset import fit_six_states, name_states
from trisagion.regime.hurst import detrended_fluctuation_batch
from trisagion.regime.types import Fit

T = TypeVar("T")

ENTROPY_BARS: Final = 15
"""The longest `entropy_window_min` of a run (domain, section 3); the headline's order 3 and delay 1 go with it."""
ENTROPY_ORDER: Final = 3

HURST_BARS: Final = 256
"""Returns that the Hurst exponent is taken over: four hours of minutes."""
_HURST_SCALES: Final = np.unique(np.rint(np.geomspace(10, HURST_BARS // 8, 20)).astype(np.int64))
"""Those that `regime.hurst` takes by itself: to find them anew at each bar takes as long as the estimate."""
HURST_ERROR: Final = 0.09
"""Standard deviation of the estimate on as many samples of white noise (`regime.hurst`, its table)."""

FILTER_BARS: Final = 512
"""Returns over which the fitted models are run up to the present: what lies further back has been forgotten."""

EVIDENCE_BARS: Final = FILTER_BARS + 1
"""Closes that evidence is made of."""

BLOCK_BARS: Final = 16
"""A usual variance is the median of those of 32 blocks: it forgets a burst that fills less than half of them."""

DECAY: Final = 0.94
"""Of the weights of squared returns (J.P. Morgan, RiskMetrics technical document, 4th ed., 1996, section 5.3)."""
_DECAY: Final = (1 - DECAY) * DECAY ** np.arange(FILTER_BARS - 1, -1, -1)

FIT_BARS: Final = 2_000
FIT_BARS_MIN: Final = 500
"""Returns that a model is fitted to; with fewer than the latter, six states would be fitted to noise."""

RESTARTS: Final = 4

_SIX_STATES: Final = Rules(tolerance=0.1)
"""A tenth of a nat is far below what two starts differ by; a hundredth was not reached in a thousand iterations on two
of six stretches of AAPL, for six states are more than most markets have."""

MODELS_KEPT: Final = 64
"""Models whose states' names are remembered."""


@dataclass(frozen=True, slots=True, eq=False)
class Models:
    """The models that evidence is read with; None where there is none."""

    garch: GarchParams | None = None
    six_states: HmmModel | None = None


def evidence(closes: Float64Array, at_ns: int, models: Models) -> Evidence:
    """Return what is known of a market.

    Parameters
    ----------
    closes : float64, shape (n,)
        Closes above 0, oldest first, up to now; at most the last `EVIDENCE_BARS` count.
    at_ns : int
        When the last of them closed.
    models : Models
        Fitted to closes up to then at the latest.

    Returns
    -------
    Evidence
        With None for what too few closes, a model that is missing, or a price that does not move leave unknown.

    Raises
    ------
    ValueError
        For closes that are not finite and above 0.
    """
    closes = _checked(closes)[-EVIDENCE_BARS:]
    returns = np.diff(np.log(closes))
    hurst = _hurst(returns)
    return Evidence(
        at_ns,
        entropy=_entropy(closes),
        hurst=hurst,
        hurst_error=None if hurst is None else HURST_ERROR,
        volatility_ratio=_volatility_ratio(returns, models.garch),
        states=_hidden(returns, models.six_states),
    )


def fit(model: str, closes: Float64Array, symbol: str) -> Fit:
    """Fit one of `MODELS` to the last closes.

    Parameters
    ----------
    model : str
        A name of `MODELS`.
    closes : float64, shape (n,)
        Closes above 0, oldest first; at most the last `FIT_BARS` + 1 count.
    symbol : str
        Seeds the starts of the search, with the closes themselves: the same bars give the same fit.

    Raises
    ------
    ValueError
        For closes that are not finite and above 0.
    """
    closes = _checked(closes)[-FIT_BARS - 1 :]
    returns = np.diff(np.log(closes))
    if len(returns) < FIT_BARS_MIN:
        return Fit(None, f"expected {FIT_BARS_MIN} returns at least, found {len(returns)}")
    rng = np.random.default_rng([zlib.crc32(symbol.encode()), zlib.crc32(closes.tobytes())])
    try:
        return MODELS[model](returns, rng)
    except ValueError as error:
        return Fit(None, str(error))


def models(garch: str | None, six_states: str | None) -> Models:
    """Return the models of what `fit` wrote; `StateError` for other text."""
    try:
        return Models(
            None if garch is None else GarchParams(**_numbers(json.loads(garch))),
            None
            if six_states is None
            else HmmModel(**{k: np.array(v) for k, v in _numbers(json.loads(six_states)).items()}),
        )
    except (ValueError, TypeError, KeyError) as error:
        raise StateError(
            f"fitted models: expected what `fit` wrote, found {quoted(garch)}, {quoted(six_states)} ({error})"
        ) from None


def _fit_garch(returns: Float64Array, _rng: np.random.Generator) -> Fit:
    found = fit_garch(returns, GarchSpec("gjr", errors="student"))
    if not found.converged:
        return Fit(None, f"did not converge: {found.message}")
    return Fit(json.dumps(_finite(asdict(found.params))), found.message)


def _fit_six_states(returns: Float64Array, rng: np.random.Generator) -> Fit:
    found = fit_six_states(returns, rng, rules=_SIX_STATES, restarts=RESTARTS)
    if not found.fit.converged:
        return Fit(None, f"did not converge: {found.fit.reason}")
    model = found.fit.model
    arrays = {name: getattr(model, name).tolist() for name in ("start", "transition", "mean", "scale", "dof")}
    return Fit(json.dumps(_finite(arrays)), found.fit.reason)


MODELS: Final[dict[str, Callable[[Float64Array, np.random.Generator], Fit]]] = {
    "garch": _fit_garch,
    "six_states": _fit_six_states,
}
"""What is fitted to the past: a GJR model with Student's t errors, and six hidden states."""


def _finite(tree: Any) -> Any:
    """Return the tree with infinities as None: JSON has none."""
    if isinstance(tree, dict):
        return {name: _finite(value) for name, value in tree.items()}
    if isinstance(tree, list):
        return [_finite(value) for value in tree]
    return None if isinstance(tree, float) and math.isinf(tree) else tree


def _numbers(tree: Any) -> Any:
    """Undo `_finite`."""
    if isinstance(tree, dict):
        return {name: _numbers(value) for name, value in tree.items()}
    if isinstance(tree, list):
        return [_numbers(value) for value in tree]
    return math.inf if tree is None else tree


def _entropy(closes: Float64Array) -> float | None:
    """Return the normalised permutation entropy of the signs of the last market weights; each needs two closes."""
    count = min(ENTROPY_BARS, len(closes) - 1)
    if count <= ENTROPY_ORDER:
        return None
    value = permutation_entropy(np.sign(_weights(closes, count)), ENTROPY_ORDER, 1)
    return None if math.isnan(value) else value


def _weights(closes: Float64Array, count: int) -> Float64Array:
    """Return `market_weight` at each of the last closes."""
    if len(closes) < count + WEIGHT_BARS - 1:
        ends = range(len(closes) - count + 1, len(closes) + 1)
        return np.array([market_weight(closes[max(0, end - WEIGHT_BARS) : end]) for end in ends])
    # All at once, for this is done at each bar; rows lie side by side so that each is summed in the same order.
    windows = np.ascontiguousarray(sliding_window_view(closes[1 - count - WEIGHT_BARS :], WEIGHT_BARS))
    change = np.diff(windows, axis=1)
    moved = np.abs(change) > DEAD_BAND * windows.mean(axis=1, keepdims=True)
    return np.asarray(np.where(moved, np.sign(change), 0.0).mean(axis=1))


def _hurst(returns: Float64Array) -> float | None:
    """Return the exponent by detrended fluctuation analysis; None where nothing moves, or it is that of no noise."""
    if len(returns) < HURST_BARS:
        return None
    estimate = float(detrended_fluctuation_batch(returns[None, -HURST_BARS:], scales=_HURST_SCALES)[0][0])
    return None if math.isnan(estimate) else estimate


def _volatility_ratio(returns: Float64Array, params: GarchParams | None) -> float | None:
    """Return the deviation expected of the next return over that of a usual block; None before there are enough.

    Expected is the larger of the fitted model's forecast and the average that RiskMetrics takes: a model that was
    fitted to calm bars knows no burst, and one that was fitted to bursts is quicker.
    """
    if len(returns) < FILTER_BARS:
        return None
    blocks = returns[-FILTER_BARS:].reshape(-1, BLOCK_BARS)
    # Not the model's long-run variance, which is anything where the model is next to integrated.
    usual = float(np.median((blocks**2).mean(axis=1)))
    if usual == 0:
        return None
    expected = float(_DECAY @ returns[-FILTER_BARS:] ** 2)
    if params is not None:
        path = _or_none(lambda: conditional_variance(returns, params, start=usual))
        expected = max(expected, expected if path is None else float(path[-1]))
    return math.sqrt(expected / usual)


def _hidden(returns: Float64Array, model: HmmModel | None) -> dict[str, float] | None:
    """Return the filtered probabilities of the states that are what their name says."""
    if model is None or len(returns) == 0:
        return None
    filtered = _or_none(lambda: filter_states(model, returns))
    if filtered is None:
        return None
    now = filtered.probability[-1]
    return {name: float(now[index]) for name, index in _typical(model)}


@lru_cache(maxsize=MODELS_KEPT)
def _typical(model: HmmModel) -> tuple[tuple[str, int], ...]:
    """Return name and number of the states that are what their name says; naming costs more than a bar's filtering."""
    return tuple((named.regime, named.index) for named in name_states(model) if named.typical)


def _or_none(work: Callable[[], T]) -> T | None:
    try:
        return work()
    except ValueError:
        return None


def _checked(closes: Float64Array) -> Float64Array:
    values = np.asarray(closes, dtype=np.float64)
    if values.ndim != 1 or not (np.isfinite(values) & (values > 0)).all():
        raise ValueError(f"closes: expected finite prices above 0 in one row, found shape {values.shape}")
    return values
