"""Hidden Markov models against the package that others use."""

from typing import Any

import numpy as np

from bench.measure import Figure, benchmark, interleaved, released, seconds_each
from trisagion.market.types import Float64Array
from trisagion.regime.hmm import HmmModel, begin, decode, log_likelihood, update
from trisagion.regime.hmm_fit import HmmFit, Rules, baum_welch

STATES = 6
DAYS = 5_000
ITERATIONS = 20
YEAR_DAYS = 250
DECODINGS = 200


def _returns() -> Float64Array:
    """Draw daily returns with fat tails and calm and rough stretches."""
    rng = np.random.default_rng(1)
    volatility = 0.01 * np.exp(np.cumsum(rng.normal(size=DAYS)) * 0.02)
    return volatility * rng.standard_normal(DAYS)


def _model(x: Float64Array) -> HmmModel:
    """Start from persistent states that differ in mean and variance."""
    transition = np.full((STATES, STATES), 0.05 / (STATES - 1))
    np.fill_diagonal(transition, 0.95)
    return HmmModel(
        start=np.full(STATES, 1 / STATES),
        transition=transition,
        mean=np.quantile(x, np.linspace(0.2, 0.8, STATES))[:, None],
        scale=(x.var() * np.geomspace(0.1, 4.0, STATES))[:, None, None],
        dof=np.full(STATES, np.inf),
    )


def _theirs(model: HmmModel, implementation: str) -> Any:
    """Make the same model of hmmlearn, without its priors, so that it maximises the same likelihood."""
    from hmmlearn.hmm import GaussianHMM

    theirs = GaussianHMM(
        STATES,
        covariance_type="diag",
        implementation=implementation,
        n_iter=ITERATIONS,
        tol=-np.inf,
        init_params="",
        covars_prior=0.0,
        covars_weight=0.0,
    )
    theirs.startprob_, theirs.transmat_ = model.start, model.transition
    theirs.means_, theirs.covars_ = model.mean, model.scale[:, :, 0]
    return theirs


def _fit_against(implementation: str) -> Figure:
    x = _returns()
    model = _model(x)
    rules = Rules(iterations_max=ITERATIONS, tolerance=0.0)

    def ours() -> HmmFit:
        return baum_welch(model, x, rules)

    def theirs() -> Any:
        return _theirs(model, implementation).fit(x[:, None])

    mine, fitted = ours(), theirs()
    assert mine.iterations == fitted.monitor_.iter == ITERATIONS
    expected = fitted.score(x[:, None])
    assert abs(mine.log_likelihood - expected) < 1e-6 * abs(expected), (mine.log_likelihood, expected)
    return interleaved(seconds_each(ours), seconds_each(theirs), f"{released('hmmlearn')}, {implementation}")


@benchmark("regime.hmm_fit", "s", 5.0)
def hmm_fit() -> Figure:
    """Twenty Baum–Welch iterations of six states over twenty years of days; the peer as it comes, in logarithms."""
    return _fit_against("log")


@benchmark("regime.hmm_fit_scaled", "s", 1.0)
def hmm_fit_scaled() -> Figure:
    """The same against the peer's scaled implementation, which underflows where ours does not."""
    return _fit_against("scaling")


@benchmark("regime.viterbi_250", "s", "value <= 20e-6")
def viterbi_250() -> Figure:
    """The best path of six states through a year of days."""
    x = _returns()[:YEAR_DAYS]
    model = _model(x)
    peer = _theirs(model, "log")
    expected, path = peer.decode(x[:, None])
    mine, reached = decode(model, x)
    assert (mine == path).all()
    assert abs(reached - expected) < 1e-9 * abs(expected), (reached, expected)
    assert reached < log_likelihood(model, x)

    def ours() -> None:
        for _ in range(DECODINGS):
            decode(model, x)

    def theirs() -> None:
        for _ in range(DECODINGS):
            peer.decode(x[:, None])

    return interleaved(seconds_each(ours, DECODINGS), seconds_each(theirs, DECODINGS), released("hmmlearn"))


@benchmark("regime.hmm_update", "s", "value <= 20e-6")
def hmm_update() -> Figure:
    """One live sample of six states."""
    x = _returns()[:YEAR_DAYS]
    model = _model(x)

    def ours() -> None:
        state = begin(model)
        for sample in x:
            state = update(model, state, sample)

    return interleaved(seconds_each(ours, len(x)))
