"""Detrended fluctuation analysis, fast; the docstring with formula and source is in the plain twin, `_reference`.

The residual of a window of s samples needs four sums only: with v the profile and t the place in the window, counted
from its middle, Σv, Σtv, Σt²v and Σv². Running sums over the series give those of any window as a difference, so that a
scale costs its n/s windows, not n samples. Two things keep the differences honest:

Running sums start anew, places and profile from 0, in each block of 128 samples. A window takes them block by block,
shifts each to its own middle and to the profile at the beginning of its first block, and adds them up. Numbers stay as
small as the window and its block are, wherever the profile wandered before.

A window that follows its trend closely has a residual far below the squares that it is the difference of. Rounding of
the running sums is at most 128·(3 + 6·128/s)·2⁻⁵³ of those squares: with |v| ≤ V in its block, Σv and Σtv are off by no
more than 128 and 128² roundings of V. A residual that is not a million times above this is computed anew from the
samples: first the trend, then the squares of what is left.
"""

import numpy as np

from cpython.exc cimport PyErr_CheckSignals
from libc.math cimport NAN, fabs, sqrt
from libc.stdint cimport int64_t

from ext.hurst import _reference

cdef enum:
    BLOCK = 128
    SUMS = 3  # of v, kv and v², with v the profile and k the place in the block; for order 2 also of k²v

cdef double MAGNITUDE_MAX = _reference.MAGNITUDE_MAX
cdef double ROUNDINGS_MIN = 1e6
cdef double ROUNDING = 2.0 ** -53


cdef struct Window:
    # Its samples, the middle place, and the sums of squares of t and of t² − their mean.
    Py_ssize_t length
    double middle
    double place_squares
    double square_mean
    double square_squares


cdef struct Moments:
    # Of v, tv, t²v and v²; and the size of the numbers whose difference the last one is.
    double level
    double slope
    double bend
    double squares
    double size


cdef Window window_of(Py_ssize_t length) noexcept nogil:
    cdef double s = <double> length
    cdef Window window
    window.length = length
    window.middle = (s - 1.0) / 2.0
    window.place_squares = s * (s * s - 1.0) / 12.0
    window.square_mean = (s * s - 1.0) / 12.0
    window.square_squares = s * (s * s - 1.0) * (s * s - 4.0) / 180.0
    return window


cdef double mean_of(const double[::1] x) except? -1.0 nogil:
    """Return the mean, or NaN for a series with a sample that may not be used."""
    cdef Py_ssize_t n = x.shape[0]
    cdef Py_ssize_t i, lane
    cdef double[4] sums = [0.0, 0.0, 0.0, 0.0]
    cdef bint usable = True
    for i in range(n // 4):
        for lane in range(4):
            sums[lane] += x[4 * i + lane]
            usable &= fabs(x[4 * i + lane]) <= MAGNITUDE_MAX
    for i in range(n // 4 * 4, n):
        sums[0] += x[i]
        usable &= fabs(x[i]) <= MAGNITUDE_MAX
    return (sums[0] + sums[1] + sums[2] + sums[3]) / <double> n if usable else NAN


cdef int run(const double[::1] x, double mean, int order, double[:, ::1] sums, double[::1] climbs) except -1 nogil:
    """Write the running sums before each place of each block, after its last too, and how far the profile climbs."""
    cdef Py_ssize_t n = x.shape[0]
    cdef Py_ssize_t block, k, row
    cdef double v, level, slope, bend, squares
    for block in range(climbs.shape[0]):
        v = level = slope = bend = squares = 0.0
        row = block * (BLOCK + 1)
        for k in range(sums.shape[1]):
            sums[row, k] = 0.0
        for k in range(min(<Py_ssize_t> BLOCK, n - block * BLOCK)):
            v += x[block * BLOCK + k] - mean
            level += v
            slope += <double> k * v
            bend += <double> (k * k) * v
            squares += v * v
            row += 1
            sums[row, 0] = level
            sums[row, 1] = slope
            sums[row, 2] = squares
            if order == 2:
                sums[row, 3] = bend
        climbs[block] = v
    return 0


cdef inline Moments within(const double *low, const double *high, double first, int order) noexcept nogil:
    """Return the moments of samples of one block; `first` is the place in the window at which the block begins."""
    cdef double level = high[0] - low[0]
    cdef double slope = high[1] - low[1]
    cdef Moments found
    found.level = level
    found.slope = slope + first * level
    found.bend = high[3] - low[3] + first * (2.0 * slope + first * level) if order == 2 else 0.0
    found.squares = high[2] - low[2]
    found.size = high[2]
    return found


cdef Moments across(
    Py_ssize_t start, const Window *window, int order, const double[:, ::1] sums, const double[::1] climbs
) noexcept nogil:
    """Return the moments of a window that reaches over several blocks."""
    cdef Py_ssize_t end = start + window.length
    cdef Py_ssize_t block = start // BLOCK
    cdef Py_ssize_t low = start - block * BLOCK
    cdef Py_ssize_t high
    cdef double climb = 0.0
    cdef double count, first, place, places
    cdef Moments whole
    cdef Moments part
    whole.level = whole.slope = whole.bend = whole.squares = whole.size = 0.0
    while block * BLOCK < end:
        high = min(<Py_ssize_t> BLOCK, end - block * BLOCK)
        first = <double> (block * BLOCK - start) - window.middle
        part = within(&sums[block * (BLOCK + 1) + low, 0], &sums[block * (BLOCK + 1) + high, 0], first, order)
        count = <double> (high - low)
        place = first + (<double> (low + high) - 1.0) / 2.0
        places = count * (place * place + (count * count - 1.0) / 12.0)
        whole.level += part.level + climb * count
        whole.slope += part.slope + climb * count * place
        whole.bend += part.bend + climb * places
        whole.squares += part.squares + climb * (2.0 * part.level + climb * count)
        whole.size += part.size + climb * climb * count
        climb += climbs[block]
        block += 1
        low = 0
    return whole


cdef double anew(const double[::1] x, double mean, Py_ssize_t start, const Window *window, int order) noexcept nogil:
    """Return the residual of a window from its samples: first the trend, then the squares of what is left."""
    cdef double v = 0.0
    cdef double level = 0.0
    cdef double slope = 0.0
    cdef double bend = 0.0
    cdef double residual = 0.0
    cdef double t, off
    cdef Py_ssize_t i
    for i in range(window.length):
        t = <double> i - window.middle
        v += x[start + i] - mean
        level += v
        slope += t * v
        bend += (t * t - window.square_mean) * v
    level /= <double> window.length
    slope /= window.place_squares
    bend = bend / window.square_squares if order == 2 else 0.0
    v = 0.0
    for i in range(window.length):
        t = <double> i - window.middle
        v += x[start + i] - mean
        off = v - level - slope * t - bend * (t * t - window.square_mean)
        residual += off * off
    return residual


cdef double fluctuation(
    const double[::1] x, double mean, Py_ssize_t scale, int order, const double[:, ::1] sums, const double[::1] climbs
) except? -1.0 nogil:
    cdef Py_ssize_t windows = x.shape[0] // scale
    cdef Py_ssize_t w, start, block, low
    cdef double total = 0.0
    cdef double bend, residual
    cdef Window window = window_of(scale)
    # Three divisions a window would take longer than all the rest.
    cdef double per_level = 1.0 / <double> scale
    cdef double per_slope = 1.0 / window.place_squares
    cdef double per_bend = 1.0 / window.square_squares
    cdef double least = ROUNDINGS_MIN * ROUNDING * BLOCK * (3.0 + 6.0 * BLOCK / <double> scale)
    cdef Moments found
    for w in range(windows):
        start = w * scale
        block = start // BLOCK
        low = start - block * BLOCK
        if low + scale <= BLOCK:
            found = within(
                &sums[block * (BLOCK + 1) + low, 0],
                &sums[block * (BLOCK + 1) + low + scale, 0],
                -<double> low - window.middle,
                order,
            )
        else:
            found = across(start, &window, order, sums, climbs)
        residual = found.squares - found.level * found.level * per_level - found.slope * found.slope * per_slope
        if order == 2:
            bend = found.bend - window.square_mean * found.level
            residual -= bend * bend * per_bend
        if residual < least * found.size:
            residual = anew(x, mean, start, &window, order)
        total += residual
    return sqrt(total / <double> (windows * scale))


def dfa_fluctuations(x, scales, int order=1):
    """Return the detrended fluctuations F(s) of each of m series; see the plain twin."""
    checked = _reference.check_dfa(x, scales, order)
    cdef const double[:, ::1] series = checked[0]
    cdef const int64_t[::1] lengths = checked[1]
    cdef double[::1] means = np.empty(series.shape[0])
    cdef Py_ssize_t blocks = (series.shape[1] + BLOCK - 1) // BLOCK
    fluctuations = np.empty((series.shape[0], lengths.shape[0]))
    cdef double[:, ::1] out = fluctuations
    cdef double[:, ::1] sums = np.empty((blocks * (BLOCK + 1), SUMS if order == 1 else SUMS + 1))
    cdef double[::1] climbs = np.empty(blocks)
    cdef Py_ssize_t row, column
    # All rows before the first is worked on, as the plain twin does.
    for row in range(series.shape[0]):
        means[row] = mean_of(series[row])
        if means[row] != means[row]:
            _reference.check_values(checked[0][row])
    for row in range(series.shape[0]):
        with nogil:
            run(series[row], means[row], order, sums, climbs)
        for column in range(lengths.shape[0]):
            PyErr_CheckSignals()
            with nogil:
                out[row, column] = fluctuation(series[row], means[row], lengths[column], order, sums, climbs)
    return fluctuations
