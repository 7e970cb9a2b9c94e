"""Change points by PELT, fast; the theory, formula and source are in the plain twin, `_reference`.

The starts in the race lie side by side, so that adding a point to all their segments is one loop without branches,
which the C compiler turns into vector instructions.
"""

from libc.math cimport INFINITY, M_PI, log
from libc.stdint cimport INT64_MAX, int64_t

from ext.changepoint import _reference

cdef enum:
    MEAN = 0
    MEAN_MBIC = 1
    MEAN_VARIANCE = 2
    # Rows of the segments.
    COUNT = 0
    AVERAGE = 1
    SQUARES = 2
    BASE = 3
    VALUE = 4

assert (_reference.MEAN, _reference.MEAN_MBIC, _reference.MEAN_VARIANCE, _reference.NEVER) == (
    MEAN, MEAN_MBIC, MEAN_VARIANCE, INT64_MAX
), "the twins disagree on the costs"
assert (_reference.COUNT, _reference.AVERAGE, _reference.SQUARES, _reference.BASE, _reference.VALUE) == (
    COUNT, AVERAGE, SQUARES, BASE, VALUE
), "the twins disagree on the rows"


cdef void see(double x, Py_ssize_t active, double[:, ::1] segments) noexcept nogil:
    """Add the newest point to the moments of every segment, and offer the cost that needs no logarithm."""
    cdef double *count = &segments[COUNT, 0]
    cdef double *average = &segments[AVERAGE, 0]
    cdef double *squares = &segments[SQUARES, 0]
    cdef const double *base = &segments[BASE, 0]
    cdef double *value = &segments[VALUE, 0]
    cdef double away
    cdef Py_ssize_t i
    for i in range(active):
        away = x - average[i]
        count[i] += 1.0
        average[i] += away / count[i]
        squares[i] += away * (x - average[i])
        value[i] = base[i] + squares[i]


cdef void price(
    int cost, double length, double variance_min, Py_ssize_t ripe, double[:, ::1] segments
) noexcept nogil:
    """Replace the offered costs by those that need a logarithm."""
    cdef double variance, count, squares
    cdef Py_ssize_t i
    for i in range(ripe):
        count = segments[COUNT, i]
        squares = segments[SQUARES, i]
        if cost == MEAN_MBIC:
            segments[VALUE, i] = segments[BASE, i] + (squares + log(count / length))
        else:
            variance = max(squares / count, variance_min)
            segments[VALUE, i] = segments[BASE, i] + (count * log(2.0 * M_PI * variance) + squares / variance)


cdef Py_ssize_t close_ranks(
    Py_ssize_t active, int64_t t, int64_t[::1] starts, int64_t[::1] forget_at, double[:, ::1] segments
) noexcept nogil:
    """Move the starts that stay to the front; the newest cost is not read again. Return how many there are."""
    cdef Py_ssize_t i
    cdef Py_ssize_t kept = 0
    for i in range(active):
        if forget_at[i] > t + 1:
            starts[kept] = starts[i]
            forget_at[kept] = forget_at[i]
            segments[COUNT, kept] = segments[COUNT, i]
            segments[AVERAGE, kept] = segments[AVERAGE, i]
            segments[SQUARES, kept] = segments[SQUARES, i]
            segments[BASE, kept] = segments[BASE, i]
            kept += 1
    return kept


def pelt_advance(state, int64_t evaluations_max):
    """Carry a search on, and tell whether it is over; see the plain twin."""
    if evaluations_max < 1:
        raise ValueError(f"evaluations_max: expected at least 1, found {evaluations_max}")
    cdef const double[::1] x = state.x
    cdef double[::1] best = state.best
    cdef int64_t[::1] previous = state.previous
    cdef int64_t[::1] starts = state.starts
    cdef int64_t[::1] forget_at = state.forget_at
    cdef double[:, ::1] segments = state.segments
    cdef int cost = state.cost
    cdef double penalty = state.penalty
    cdef double variance_min = state.variance_min
    cdef int64_t min_size = state.min_size
    cdef int64_t t = state.t
    cdef Py_ssize_t active = state.active
    cdef int64_t n = x.shape[0]
    cdef double slack = log(4.0) if cost == MEAN_MBIC else 0.0
    cdef int64_t evaluations = 0
    cdef double lowest
    cdef Py_ssize_t i, ripe, argmin
    cdef bint leaves
    assert best.shape[0] == previous.shape[0] == starts.shape[0] == forget_at.shape[0] == segments.shape[1] == n + 1
    assert segments.shape[0] == 5 and 0 <= active <= t <= n
    with nogil:
        while t < n and evaluations < evaluations_max:
            t += 1
            if best[t - 1] < INFINITY:
                starts[active] = t - 1
                forget_at[active] = INT64_MAX
                segments[COUNT, active] = 0.0
                segments[AVERAGE, active] = 0.0
                segments[SQUARES, active] = 0.0
                segments[BASE, active] = best[t - 1]
                active += 1
            see(x[t - 1], active, segments)
            ripe = active
            while ripe > 0 and t - starts[ripe - 1] < min_size:
                ripe -= 1
            if cost != MEAN:
                price(cost, <double> n, variance_min, ripe, segments)
            lowest = INFINITY
            argmin = -1
            for i in range(ripe):
                if segments[VALUE, i] < lowest:
                    lowest = segments[VALUE, i]
                    argmin = i
            if argmin >= 0:
                previous[t] = starts[argmin]
            best[t] = lowest + penalty
            evaluations += active
            leaves = False
            for i in range(ripe):
                if segments[VALUE, i] + slack >= best[t] and forget_at[i] == INT64_MAX:
                    forget_at[i] = t + min_size
                leaves |= forget_at[i] <= t + 1
            if leaves:
                active = close_ranks(active, t, starts, forget_at, segments)
    state.t = t
    state.active = active
    return t == n
