"""Models, simulated and real series for the tests of hidden Markov models."""

import csv
import gzip
import math
from pathlib import Path

import numpy as np

from trisagion.market.types import Float64Array, Int64Array
from trisagion.regime.hmm import HmmModel

HAMILTON = np.genfromtxt(Path(__file__).with_name("hamilton_gnp.csv"), delimiter=",", skip_header=3)
"""Columns: growth of US GNP, filtered and smoothed probability of expansion; NaN where the lags are not yet known."""
GNP: Float64Array = HAMILTON[:, 0].copy()
DAILY = Path(__file__).with_name("aapl_daily.csv.gz")

MODEL = HmmModel(
    start=np.array([0.5, 0.3, 0.2]),
    transition=np.array([[0.95, 0.04, 0.01], [0.03, 0.94, 0.03], [0.02, 0.08, 0.9]]),
    mean=np.array([[0.06], [0.0], [-0.3]]),
    scale=np.array([0.5, 1.0, 9.0])[:, None, None],
    dof=np.array([math.inf, 8.0, 4.0]),
)
"""Calm, common and rough days, in per cent."""

PAIR = HmmModel(
    start=np.array([0.5, 0.5]),
    transition=np.array([[0.9, 0.1], [0.2, 0.8]]),
    mean=np.array([[0.1, 0.0], [-0.2, 0.3]]),
    scale=np.array([[[1.0, 0.4], [0.4, 0.5]], [[4.0, -1.0], [-1.0, 2.0]]]),
    dof=np.array([math.inf, 6.0]),
)
"""Two correlated variables."""


SIX = HmmModel(
    start=np.full(6, 1 / 6),
    transition=0.9 * np.eye(6) + 0.1 / 6,
    mean=np.array([0.1, 0.05, 0.0, -0.1, 0.2, -0.4])[:, None],
    scale=np.array([0.4, 0.6, 0.9, 1.3, 2.0, 3.0])[:, None, None] ** 2,
    dof=np.full(6, math.inf),
)
"""As many states as the preset has."""


def simulate(model: HmmModel, samples: int, seed: int) -> tuple[Int64Array, Float64Array]:
    """Draw a chain and its samples."""
    rng = np.random.default_rng(seed)
    edges, draws = model.transition.cumsum(axis=1), rng.random(samples)
    states = np.empty(samples, dtype=np.int64)
    states[0] = rng.choice(model.states, p=model.start)
    for t in range(1, samples):
        states[t] = min(int(np.searchsorted(edges[states[t - 1]], draws[t])), model.states - 1)
    white = np.einsum(
        "tab,tb->ta", np.linalg.cholesky(model.scale)[states], rng.normal(size=(samples, model.variables))
    )
    nu = model.dof[states]
    student = np.isfinite(nu)
    white[student] *= np.sqrt(nu[student] / rng.chisquare(nu[student]))[:, None]
    return states, model.mean[states] + white


def daily_returns() -> Float64Array:
    """Read three thousand daily log-returns of Apple."""
    with gzip.open(DAILY, "rt", encoding="utf-8") as file:
        rows = csv.DictReader(line for line in file if not line.startswith("#"))
        closes = np.array([float(row["close"]) for row in rows])
    return np.diff(np.log(closes))
