"""The worker of fits, with one model whose fit lasts for minutes: real iterations in the compiled kernel."""

import numpy as np

from trisagion.market.types import Float64Array
from trisagion.regime import evidence
from trisagion.regime.hmm_fit import Rules, fit
from trisagion.regime.types import Fit
from workers.worker import app

SAMPLES = 300_000


def _endless(_returns: Float64Array, rng: np.random.Generator) -> Fit:
    long = rng.standard_normal(SAMPLES)
    found = fit(long, 6, rng, rules=Rules(tolerance=0.0, iterations_max=100_000))
    return Fit("endless", found.reason)


evidence.MODELS["garch"] = _endless

__all__ = ["app"]
