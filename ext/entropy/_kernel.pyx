"""Permutation entropy, fast; the docstrings with formula and source are in the plain twin, `_reference`.

A pattern's code is the lexicographic index of its ranks, from the Lehmer code: for each sample but the last, the number
of later samples strictly below it, times the factorial of what remains. "Strictly" ranks ties by order of appearance.
The sum is built comparison by comparison over a block of starts, which the C compiler turns into vector instructions.
"""

import math

import numpy as np

from libc.math cimport NAN, log
from libc.stdint cimport int64_t, uint16_t
from libc.string cimport memset

from ext.entropy import _reference

cdef enum:
    BLOCK = 2048  # starts coded at a time: codes and samples of a block stay in the first-level cache
    LANES = 4  # interleaved histograms: equal neighbours need not wait for each other's increment
    GRID_WINDOWS = 15
    GRID_ORDERS = 3
    GRID_DELAYS = 3
    GRID_ORDER_MIN = 3
    GRID_PATTERNS = 120  # 5!

cdef int64_t MINUTE_NS = 60_000_000_000

assert (_reference.WINDOWS, _reference.ORDERS, _reference.DELAYS, _reference.MINUTE_NS) == (
    GRID_WINDOWS, (3, 4, 5), (1, 2, 3), MINUTE_NS
), "the twins disagree on the grid"


cdef inline int64_t factorial(int n) noexcept nogil:
    cdef int64_t product = 1
    cdef int k
    for k in range(2, n + 1):
        product *= k
    return product


cdef int code_block(
    const double[::1] x, Py_ssize_t start, Py_ssize_t count, int order, Py_ssize_t delay, uint16_t[::1] codes
) except -1 nogil:
    """Write the codes of the patterns that start at start … start + count − 1."""
    cdef Py_ssize_t i
    cdef int k, j
    cdef uint16_t place
    for i in range(count):
        codes[i] = 0
    for k in range(order - 1):
        place = <uint16_t> factorial(order - 1 - k)
        for j in range(k + 1, order):
            for i in range(count):
                codes[i] += place * <uint16_t> (x[start + i + j * delay] < x[start + i + k * delay])
    return 0


cdef double entropy_of(const int64_t[::1] counts, int64_t patterns, int64_t total, double scale) except? -1.0 nogil:
    cdef double nats = 0.0
    cdef double share
    cdef int64_t i
    for i in range(patterns):
        if counts[i] > 0:
            share = <double> counts[i] / <double> total
            nats -= share * log(share)
    return nats / scale


def permutation_entropy(x, int order, Py_ssize_t delay, double base=math.e, bint normalised=True):
    """Return the permutation entropy of a series; see the plain twin."""
    _reference.check(order, delay, base)
    cdef const double[::1] series = np.ascontiguousarray(x, dtype=np.float64)
    cdef Py_ssize_t n = series.shape[0]
    # A delay beyond the series would overflow the product; it means "no pattern" all the same.
    cdef Py_ssize_t total = n - (order - 1) * min(delay, n)
    if total < 1:
        return NAN
    cdef int64_t patterns = factorial(order)
    cdef double scale = log(<double> patterns) if normalised else log(base)
    cdef int64_t[::1] counts = np.zeros(patterns, dtype=np.int64)
    cdef int64_t[:, ::1] lanes = np.zeros((LANES, patterns), dtype=np.int64)
    cdef uint16_t[::1] codes = np.empty(BLOCK, dtype=np.uint16)
    cdef Py_ssize_t block, start, count, i
    cdef int lane
    cdef bint unknown = False
    cdef double result
    with nogil:
        for i in range(n):
            unknown |= series[i] != series[i]
    if unknown:
        return NAN
    with nogil:
        for block in range((total + BLOCK - 1) // BLOCK):
            start = block * BLOCK
            count = min(BLOCK, total - start)
            code_block(series, start, count, order, delay, codes)
            for i in range(count):
                lanes[i % LANES, codes[i]] += 1
        for lane in range(LANES):
            for i in range(patterns):
                counts[i] += lanes[lane, i]
        result = entropy_of(counts, patterns, total, scale)
    return result


def entropy_grid(ts_ns, x, tick_ns):
    """Return the entropies that any run may ask for at each of n ticks; see the plain twin."""
    _reference.check_history(ts_ns, x)
    cdef const int64_t[::1] instants = np.ascontiguousarray(ts_ns, dtype=np.int64)
    cdef const double[::1] series = np.ascontiguousarray(x, dtype=np.float64)
    cdef const int64_t[::1] ticks = np.ascontiguousarray(tick_ns, dtype=np.int64)
    cdef Py_ssize_t n = ticks.shape[0]
    cdef Py_ssize_t h = series.shape[0]
    entropy = np.empty((n, GRID_WINDOWS, GRID_ORDERS, GRID_DELAYS))
    samples = np.empty((n, GRID_WINDOWS), dtype=np.int64)
    cdef double[:, :, :, ::1] entropy_out = entropy
    cdef int64_t[:, ::1] samples_out = samples
    cdef uint16_t[::1] codes = np.empty(max(h, 1), dtype=np.uint16)
    cdef int64_t[::1] counts = np.empty(GRID_PATTERNS, dtype=np.int64)
    cdef int64_t[::1] ends = np.empty(max(n, 1), dtype=np.int64)
    cdef Py_ssize_t t, m, first, end, i, span
    cdef int o, d, order
    cdef int64_t patterns
    cdef double scale
    with nogil:
        for t in range(n):
            end = h
            while end > 0 and instants[end - 1] > ticks[t]:
                end -= 1
            ends[t] = end
            first = end
            for m in range(GRID_WINDOWS):
                while first > 0 and instants[first - 1] > ticks[t] - (m + 1) * MINUTE_NS:
                    first -= 1
                samples_out[t, m] = end - first
        for o in range(GRID_ORDERS):
            order = GRID_ORDER_MIN + o
            patterns = factorial(order)
            scale = log(<double> patterns)
            for d in range(GRID_DELAYS):
                span = (order - 1) * (d + 1)
                if h > span:
                    code_block(series, 0, h - span, order, d + 1, codes)
                for t in range(n):
                    memset(&counts[0], 0, GRID_PATTERNS * sizeof(int64_t))
                    # All windows end together: a longer one adds the patterns that start before the shorter one's.
                    first = ends[t] - span
                    for m in range(GRID_WINDOWS):
                        for i in range(ends[t] - samples_out[t, m], first):
                            counts[codes[i]] += 1
                        first = min(first, ends[t] - samples_out[t, m])
                        if samples_out[t, m] > span:
                            entropy_out[t, m, o, d] = entropy_of(counts, patterns, samples_out[t, m] - span, scale)
                        else:
                            entropy_out[t, m, o, d] = NAN
    return entropy, samples
