"""Detrended fluctuation analysis in plain numpy: the truth that the compiled twin must repeat to 1e-7."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

ORDERS: Final = (1, 2)
"""The degree of the polynomial that is taken out of each window: a line, or a parabola."""

SAMPLES_MAX: Final = 2**22
"""The longest series: the compiled twin keeps four sums for each sample, some 140 MB at this length."""

MAGNITUDE_MAX: Final = 1e100
"""The largest magnitude of a sample: squares of sums of as many as that stay finite."""


def dfa_fluctuations(x: NDArray[np.float64], scales: NDArray[np.int64], order: int = 1) -> NDArray[np.float64]:
    """Return the detrended fluctuations F(s) of each of m series.

    Parameters
    ----------
    x : float64, shape (m, n)
        A series of increments (returns, intervals) a row, in any unit, of magnitudes up to 1e100.
    scales : int64, shape (k,)
        Window lengths s in samples, rising, order + 2 … n.
    order : int
        The degree of the trend, 1 or 2.

    Returns
    -------
    float64, shape (m, k)
        In the unit of x. A window that follows its trend exactly leaves rounding, not 0: some 1e-16 of its profile.

    Raises
    ------
    ValueError
        For a NaN, an infinity or too large a magnitude, or for arguments of another type, shape or range.

    Notes
    -----
    With the profile Y(i) = Σ_{j≤i} (x_j − mean) cut from its beginning into ⌊n/s⌋ windows of s samples,

        F²(s) = mean over windows of (1/s) Σ (Y − the window's least squares polynomial)².

    Peng, Buldyrev, Havlin, Simons, Stanley & Goldberger, "Mosaic organization of DNA nucleotides", Phys. Rev. E 49,
    1685 (1994), equations 1 and 2, order 1; Kantelhardt, Koscielny-Bunde, Rego, Havlin & Bunde, "Detecting long-range
    correlations with detrended fluctuation analysis", Physica A 295, 441 (2001), for order 2. We differ from Peng in
    the mean over windows of equal length only, as Kantelhardt does: what is left at the end belongs to no window. The
    profile is summed in each window anew: polynomials of degree 1 and more take up where it starts.
    """
    series, lengths = check_dfa(x, scales, order)
    check_values(series)
    steps = series - series.mean(axis=1, keepdims=True)
    fluctuations = np.empty((len(series), len(lengths)))
    for column, scale in enumerate(lengths.tolist()):
        windows = series.shape[1] // scale
        profile = np.cumsum(steps[:, : windows * scale].reshape(len(series), windows, scale), axis=2)
        basis, _ = np.linalg.qr(np.vander(np.linspace(-1.0, 1.0, scale), order + 1))
        trendless = profile - (profile @ basis) @ basis.T
        fluctuations[:, column] = np.sqrt((trendless**2).mean(axis=(1, 2)))
    return fluctuations


def check_dfa(
    x: NDArray[np.float64], scales: NDArray[np.int64], order: int
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return the arrays in C order and 64 bits; `ValueError` unless types and shapes are what is asked for."""
    series, lengths = np.asarray(x), np.asarray(scales)
    if order not in ORDERS:
        raise ValueError(f"order: expected 1 or 2, found {order}")
    if series.dtype.kind not in "biuf" or series.ndim != 2:
        raise ValueError(f"x: expected real numbers in two dimensions, found {series.dtype}, shape {series.shape}")
    if series.shape[1] > SAMPLES_MAX:
        raise ValueError(f"x: expected at most {SAMPLES_MAX} samples a series, found {series.shape[1]}")
    if lengths.dtype.kind not in "iu" or lengths.ndim != 1:
        raise ValueError(f"scales: expected integers in one dimension, found {lengths.dtype}, shape {lengths.shape}")
    outside = (lengths < order + 2) | (lengths > series.shape[1])
    if outside.any():
        raise ValueError(f"scales: expected {order + 2} to {series.shape[1]} samples, found {lengths[outside][0]}")
    if (np.diff(lengths.astype(np.int64)) <= 0).any():
        raise ValueError(f"scales: expected rising lengths, found {lengths.tolist()}")
    return np.ascontiguousarray(series, dtype=np.float64), np.ascontiguousarray(lengths, dtype=np.int64)


def check_values(series: NDArray[np.float64]) -> None:
    """Raise `ValueError` for a sample that is NaN, infinite or too large."""
    unusable = ~(np.abs(series) <= MAGNITUDE_MAX)
    if unusable.any():
        raise ValueError(f"x: expected numbers of a magnitude up to {MAGNITUDE_MAX:g}, found {series[unusable][0]}")
