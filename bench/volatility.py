"""Conditional volatility and correlation: a fit against the package that others use, an update against its limit."""

from typing import Final

import numpy as np

from bench.measure import Figure, benchmark, interleaved, released, seconds_each
from trisagion.market.types import Float64Array
from trisagion.regime.dcc import DccModel, DccState, fit_dcc, update
from trisagion.regime.garch import GarchParams, simulate
from trisagion.regime.garch_fit import GarchSpec, fit

OBSERVATIONS: Final = 1974
"""As many as the DM/GBP returns of Bollerslev & Ghysels, on which the estimates of packages are compared."""
FITS: Final = 5
ASSETS: Final = 10
UPDATES: Final = 500
GAIN_MIN: Final = -1e-6


def _marks() -> Float64Array:
    """Return a series like DM/GBP: drawn from the model that Fiorentini, Calzolari & Panattoni (1996) publish."""
    params = GarchParams("garch", mu=-0.00619041, omega=0.0107614, alpha=0.153134, beta=0.805974)
    return simulate(params, OBSERVATIONS, np.random.default_rng(1996))[0]


@benchmark("regime.garch_fit", "s/fit", 5.0)
def garch_fit() -> Figure:
    """GARCH(1,1) with a mean; ours with both kinds of standard errors, arch's before it computes any."""
    import arch

    returns = _marks()
    model = arch.arch_model(returns, mean="Constant", vol="GARCH", p=1, q=1, rescale=False)
    # arch begins at a weighted mean of the first squares: the same start makes the likelihoods comparable.
    start = float(model.volatility.backcast(returns - returns.mean()))
    ours, theirs = fit(returns, GarchSpec(), start), model.fit(disp="off", backcast=start)
    assert ours.converged, ours.message
    assert ours.log_likelihood - theirs.loglikelihood > GAIN_MIN, (ours.log_likelihood, theirs.loglikelihood)
    np.testing.assert_allclose(ours.estimates, theirs.params.to_numpy(), rtol=5e-3, atol=1e-4)
    np.testing.assert_allclose(ours.robust_se, theirs.std_err.to_numpy(), rtol=2e-2)

    def fit_ours() -> None:
        for _ in range(FITS):
            fit(returns, GarchSpec(), start)

    def fit_theirs() -> None:
        for _ in range(FITS):
            model.fit(disp="off", backcast=start)

    return interleaved(seconds_each(fit_ours, FITS), seconds_each(fit_theirs, FITS), released("arch"))


@benchmark("regime.dcc_update_10", "s/update", "value <= 50e-6")
def dcc_update_10() -> Figure:
    """Ten assets, one observation: their variances and correlations of the next, ready to be used."""
    rng = np.random.default_rng(10)
    returns = rng.standard_normal((OBSERVATIONS, ASSETS)) + rng.standard_normal((OBSERVATIONS, 1))
    fitted = fit_dcc(returns)
    assert fitted.converged, fitted.message
    rows = list(returns[:UPDATES])
    first = DccState(np.array([asset.variance[0] for asset in fitted.assets]), fitted.model.target)
    _assert_same(fitted.model, first, rows, np.array([asset.variance[UPDATES] for asset in fitted.assets]))

    def stream() -> None:
        state = first
        for row in rows:
            state = update(fitted.model, state, row)
            assert state.covariance[0, 0] > 0.0

    return interleaved(seconds_each(stream, UPDATES))


def _assert_same(model: DccModel, state: DccState, rows: list[Float64Array], variance: Float64Array) -> None:
    """Assert that the stream ends at the variances of the batch."""
    for row in rows:
        state = update(model, state, row)
    np.testing.assert_allclose(state.variance, variance, rtol=1e-9)
