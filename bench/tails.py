"""The dependence of ten assets over a year of days, against a limit."""

import math

import numpy as np
from scipy.stats import multivariate_t
from scipy.stats import t as student

from bench.measure import Figure, benchmark, interleaved, seconds_each
from trisagion.regime.dependence import StudentCopula, fit_student_copula, sample_student_copula

ASSETS = 10
DAYS = 252
CORRELATION = 0.3
FREEDOM = 4.0


@benchmark("regime.tcopula_10", "s", "value <= 10e-3")
def tcopula_10() -> Figure:
    """Ranks, Kendall's tau of 45 pairs, repair, and the degrees of freedom by likelihood."""
    matrix = np.full((ASSETS, ASSETS), CORRELATION)
    np.fill_diagonal(matrix, 1.0)
    returns = sample_student_copula(np.random.default_rng(1), matrix, FREEDOM, DAYS)
    fitted = fit_student_copula(returns)
    # No peer fits this copula: SciPy's densities must give the likelihood found, and no more beside it.
    assert fitted.converged
    uniforms = (np.argsort(np.argsort(returns, axis=0), axis=0) + 1.0) / (DAYS + 1.0)

    def log_likelihood(freedom: float) -> float:
        z = student.ppf(uniforms, freedom)
        joint = multivariate_t.logpdf(z, shape=fitted.correlation, df=freedom).sum()
        return float(joint - student.logpdf(z, freedom).sum())

    assert math.isclose(log_likelihood(fitted.freedom), fitted.log_likelihood, rel_tol=1e-9)
    assert all(log_likelihood(fitted.freedom * beside) < fitted.log_likelihood for beside in (0.99, 1.01))

    def ours() -> StudentCopula:
        return fit_student_copula(returns)

    return interleaved(seconds_each(ours))
