"""Permutation entropy, fast; the docstrings with formula and source are in the plain twin, `_reference`.

A pattern's code is the lexicographic index of its ranks, from the Lehmer code: for each sample but the last, the number
of later samples strictly below it, times the factorial of what remains. "Strictly" ranks ties by order of appearance.
The sum is built comparison by comparison over a block of starts, which the C compiler turns into vector instructions.

Order 3 needs no codes. With a = (x1 < x0), b = (x2 < x1), c = (x2 < x0), order is total, so that a and b imply c, and c
implies a or b: six of the eight combinations occur, and how often each did follows from Σa, Σb, Σc, Σab and Σac.

Moving windows, with equal weights: N·H = N log N − Σ c log c over the counts c. One sample changes two counts by one.
c log c comes from a table in fixed point, so that the sum is one of integers: no error builds up, however long the
stream, and the value depends on the window alone. The table's scale is the largest power of two with which N log N fits
62 bits: rounding is then below 1e-13 of H for any window up to the limit.

Moving windows, weighted by variance: subtracting the weight that leaves would leave the rounding of a large weight
behind among small ones. Nothing is subtracted: the window is the end of one block of N patterns and the beginning of
the next. For the ending block the sums from each pattern to the block's end are made once, backwards, when it is
complete; for the beginning block they grow. Σ W log(W/U) over the patterns' weights W, U a recent total, is kept as a
sum of two doubles (error 2⁻¹⁰⁴ of its largest value), and made anew when the total has left [U/2¹⁶, U·2¹⁶].
"""

import math

import numpy as np

cimport cython
from cpython.exc cimport PyErr_CheckSignals
from libc.math cimport INFINITY, NAN, fabs, ldexp, llrint, log
from libc.stdint cimport int64_t, uint16_t
from libc.string cimport memcpy, memset

from ext.entropy import _reference

cdef extern from *:
    """
    #include <math.h>
    #include <stddef.h>
    #include <stdint.h>

    /* Comparisons give the same on any machine: where the loader can choose, it takes the wider vectors. */
    #if defined(__GNUC__) && !defined(__clang__) && defined(__x86_64__) && defined(__gnu_linux__)
    #define WIDEST __attribute__((target_clones("avx2", "default")))
    #else
    #define WIDEST
    #endif

    /* How many samples are NaN or of a magnitude above `largest`. */
    WIDEST static int64_t count_unusable(const double *x, ptrdiff_t count, double largest)
    {
        int64_t unusable = 0;
        for (ptrdiff_t i = 0; i < count; i++)
            unusable += !(fabs(x[i]) <= largest);
        return unusable;
    }

    /* Add Σa, Σb, Σc, Σab, Σac over `count` starts. */
    WIDEST static void add_triples(const double *x, ptrdiff_t delay, ptrdiff_t count, int64_t *sums)
    {
        int64_t sum_a = 0, sum_b = 0, sum_c = 0, sum_ab = 0, sum_ac = 0;
        for (ptrdiff_t i = 0; i < count; i++) {
            int64_t a = x[i + delay] < x[i];
            int64_t b = x[i + 2 * delay] < x[i + delay];
            int64_t c = x[i + 2 * delay] < x[i];
            sum_a += a;
            sum_b += b;
            sum_c += c;
            sum_ab += a & b;
            sum_ac += a & c;
        }
        sums[0] += sum_a;
        sums[1] += sum_b;
        sums[2] += sum_c;
        sums[3] += sum_ab;
        sums[4] += sum_ac;
    }

    /* Add `place` to the code of each start whose sample `later` behind is below the one `earlier` behind. */
    WIDEST static void add_falls(
        const double *x, ptrdiff_t earlier, ptrdiff_t later, ptrdiff_t count, uint16_t place, uint16_t *codes)
    {
        for (ptrdiff_t i = 0; i < count; i++)
            codes[i] += x[i + later] < x[i + earlier] ? place : 0;
    }
    """
    int64_t count_unusable(const double *x, Py_ssize_t count, double largest) nogil
    void add_triples(const double *x, Py_ssize_t delay, Py_ssize_t count, int64_t *sums) nogil
    void add_falls(
        const double *x, Py_ssize_t earlier, Py_ssize_t later, Py_ssize_t count, uint16_t place, uint16_t *codes
    ) nogil

cdef enum:
    BLOCK = 2048  # starts coded at a time: codes and samples of a block stay in the first-level cache
    STRIDE = 1 << 20  # samples between two looks at the process's signals: some 10 ms
    LANES = 4  # interleaved histograms: equal neighbours need not wait for each other's increment
    TRIPLES = 5
    GRID_WINDOWS = 15
    GRID_ORDERS = 3
    GRID_DELAYS = 3
    GRID_ORDER_MIN = 3
    GRID_PATTERNS = 120  # 5!

cdef int64_t MINUTE_NS = 60_000_000_000
cdef double WEIGHTED_MAX = _reference.WEIGHTED_MAX
cdef double TOTAL_RANGE = 65536.0

ctypedef fused weight_t:
    int64_t
    double

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
    cdef int k, j
    if count < 1:
        return 0
    memset(&codes[0], 0, count * sizeof(uint16_t))
    for k in range(order - 1):
        for j in range(k + 1, order):
            add_falls(&x[start], k * delay, j * delay, count, <uint16_t> factorial(order - 1 - k), &codes[0])
    return 0


cdef inline double variance(const double[::1] x, Py_ssize_t start, int order, Py_ssize_t delay) noexcept nogil:
    cdef double mean = 0.0
    cdef double squares = 0.0
    cdef double off
    cdef int k
    for k in range(order):
        mean += x[start + k * delay]
    mean /= order
    for k in range(order):
        off = x[start + k * delay] - mean
        squares += off * off
    return squares / order


cdef double entropy_of(const weight_t *weights, int64_t patterns, double scale) except? -1.0 nogil:
    cdef double nats = 0.0
    cdef double share
    cdef weight_t total = 0
    cdef int64_t i
    for i in range(patterns):
        total += weights[i]
    if total == 0:
        return NAN
    for i in range(patterns):
        share = <double> weights[i] / <double> total
        # A weight may be so small that its share is 0; the limit of p log p is 0.
        if share > 0.0:
            nats -= share * log(share)
    return nats / scale


@cython.internal
@cython.auto_pickle(False)
cdef class Tally:
    """The weights of each pattern of one series at a time; its arrays serve one series after the other."""

    cdef int order
    cdef Py_ssize_t delay
    cdef bint weighted
    cdef bint coded
    cdef double scale
    cdef int64_t patterns
    cdef int64_t[TRIPLES] triples
    cdef int64_t[:, ::1] lanes
    cdef double[::1] weights
    cdef uint16_t[::1] codes

    def __cinit__(self, int order, Py_ssize_t delay, double base, bint normalised, bint weighted):
        _reference.check(order, delay, base)
        self.order, self.delay, self.weighted = order, delay, weighted
        self.patterns = factorial(order)
        self.scale = log(<double> self.patterns) if normalised else log(base)
        self.coded = weighted or order != 3
        # Made only where they are used: on a short series they would cost more than the counting.
        if self.coded:
            self.codes = np.empty(BLOCK, dtype=np.uint16)
        if weighted:
            self.weights = np.empty(self.patterns)
        elif self.coded:
            self.lanes = np.empty((LANES, self.patterns), dtype=np.int64)

    cdef double of(self, const double[::1] x) except? -1.0:
        """Return the entropy of a series."""
        cdef Py_ssize_t n = x.shape[0]
        # A delay beyond the series would overflow the product; it means "no pattern" all the same.
        cdef Py_ssize_t span = (self.order - 1) * min(self.delay, n)
        cdef Py_ssize_t first
        cdef bint usable
        if n <= span:
            return NAN
        memset(&self.triples[0], 0, TRIPLES * sizeof(int64_t))
        if self.weighted:
            self.weights[:] = 0.0
        elif self.coded:
            self.lanes[:, :] = 0
        for first in range(0, n - span, STRIDE):
            PyErr_CheckSignals()
            with nogil:
                usable = self.add(x, first, min(first + STRIDE, n - span))
            if not usable:
                return NAN
        if count_unusable(&x[n - span], span, WEIGHTED_MAX if self.weighted else INFINITY) > 0:
            return NAN
        if self.weighted:
            return entropy_of(&self.weights[0], self.patterns, self.scale)
        if self.coded:
            self.merge()
            return entropy_of(&self.lanes[0, 0], self.patterns, self.scale)
        return self.entropy_of_triples(n - span)

    cdef bint add(self, const double[::1] x, Py_ssize_t first, Py_ssize_t end) except -1 nogil:
        """Add the patterns that start at first … end − 1; return whether all samples there may be used."""
        cdef double largest = WEIGHTED_MAX if self.weighted else INFINITY
        cdef Py_ssize_t block, start, count, i
        for block in range((end - first + BLOCK - 1) // BLOCK):
            start = first + block * BLOCK
            count = min(BLOCK, end - start)
            if count_unusable(&x[start], count, largest) > 0:
                return False
            if not self.coded:
                add_triples(&x[start], self.delay, count, &self.triples[0])
                continue
            code_block(x, start, count, self.order, self.delay, self.codes)
            if self.weighted:
                for i in range(count):
                    self.weights[self.codes[i]] += variance(x, start + i, self.order, self.delay)
            else:
                for i in range(count):
                    self.lanes[i % LANES, self.codes[i]] += 1
        return True

    cdef int merge(self) except -1:
        """Bring the interleaved histograms together in the first."""
        cdef int64_t i
        for i in range(self.patterns):
            self.lanes[0, i] += self.lanes[1, i] + self.lanes[2, i] + self.lanes[3, i]
        return 0

    cdef double entropy_of_triples(self, int64_t total) except? -1.0 nogil:
        """Return the entropy of order 3 from the sums of comparisons."""
        cdef int64_t a = self.triples[0]
        cdef int64_t b = self.triples[1]
        cdef int64_t c = self.triples[2]
        cdef int64_t ab = self.triples[3]
        cdef int64_t ac = self.triples[4]
        cdef int64_t[6] counts = [total - a - b + ab, b - ab - (c - ac), a - ac, c - ac, ac - ab, ab]
        return entropy_of(&counts[0], 6, self.scale)


def permutation_entropy(x, int order, Py_ssize_t delay, double base=math.e, bint normalised=True, bint weighted=False):
    """Return the permutation entropy of a series; see the plain twin."""
    cdef Tally tally = Tally(order, delay, base, normalised, weighted)
    return tally.of(_reference.series_of(x, 1))


def permutation_entropy_batch(
    x, int order, Py_ssize_t delay, double base=math.e, bint normalised=True, bint weighted=False
):
    """Return the permutation entropy of each of m series of one length; see the plain twin."""
    cdef Tally tally = Tally(order, delay, base, normalised, weighted)
    cdef const double[:, ::1] rows = _reference.series_of(x, 2)
    entropy = np.empty(rows.shape[0])
    cdef double[::1] out = entropy
    cdef Py_ssize_t row
    for row in range(rows.shape[0]):
        out[row] = tally.of(rows[row])
    return entropy


def rolling_permutation_entropy(
    x, Py_ssize_t window, int order, Py_ssize_t delay, double base=math.e, bint normalised=True, bint weighted=False
):
    """Return the permutation entropy of every window of a long series; see the plain twin."""
    return RollingPermutationEntropy(window, order, delay, base, normalised, weighted).extend(x)


@cython.auto_pickle(False)
cdef class RollingPermutationEntropy:
    """The permutation entropy of the last `window` samples of a stream; see the plain twin, and the notes above."""

    cdef int order
    cdef Py_ssize_t delay, window, span, starts
    cdef bint weighted
    cdef double scale
    # The stream: samples seen, the last that may not be used, the place of the oldest pattern in the ring.
    cdef int64_t seen, unusable_at
    cdef Py_ssize_t place
    cdef double[::1] recent  # the last `span` samples, then those of the block in work
    cdef uint16_t[::1] codes, ring
    # Equal weights.
    cdef int64_t[::1] counts, steps
    cdef int64_t nats, nats_max
    cdef double unit
    # Weights by variance; `after` and `total_after` belong to the pattern at the same place of the ring.
    cdef double[::1] weight_ring, after, total_after, old, new, terms
    cdef double old_total, new_total, total_unit, high, low

    def __cinit__(
        self,
        Py_ssize_t window,
        int order,
        Py_ssize_t delay,
        double base=math.e,
        bint normalised=True,
        bint weighted=False,
    ):
        _reference.check(order, delay, base)
        _reference.check_window(window, order, delay)
        self.order, self.delay, self.window, self.weighted = order, delay, window, weighted
        self.span = (order - 1) * delay
        self.starts = window - self.span
        self.scale = log(<double> factorial(order)) if normalised else log(base)
        self.seen, self.unusable_at, self.place = 0, -window, 0
        self.recent = np.zeros(self.span + BLOCK)
        self.codes = np.empty(BLOCK, dtype=np.uint16)
        self.ring = np.zeros(self.starts, dtype=np.uint16)
        if weighted:
            self.weight_ring, self.after, self.total_after = np.zeros((3, self.starts))
            self.old, self.new, self.terms = np.zeros((3, factorial(order)))
            self.old_total = self.new_total = self.total_unit = self.high = self.low = 0.0
        else:
            self.counts = np.zeros(factorial(order), dtype=np.int64)
            self.tabulate()

    cdef int tabulate(self) except -1:
        """Make the table of (c + 1) log(c + 1) − c log c, in fixed point."""
        cdef double most = <double> self.starts * log(<double> self.starts)
        cdef int bits = 61 - <int> math.ceil(math.log2(max(most, 2.0)))
        cdef int64_t before = 0
        cdef int64_t here
        cdef Py_ssize_t c
        self.steps = np.empty(self.starts, dtype=np.int64)
        for c in range(self.starts):
            here = llrint(ldexp(<double> (c + 1) * log(<double> (c + 1)), bits))
            self.steps[c] = here - before
            before = here
        self.nats, self.nats_max = 0, before
        self.unit = ldexp(<double> self.starts * self.scale, bits)
        return 0

    def update(self, double value):
        """Take in one sample; return the entropy of the window that it ends, NaN before there is a whole one."""
        cdef double entropy
        self.advance(&value, 1, &entropy)
        return entropy

    def extend(self, x):
        """Take in samples, shape (n,); return what `update` gives after each, shape (n,)."""
        cdef const double[::1] samples = _reference.series_of(x, 1)
        entropy = np.empty(samples.shape[0])
        cdef double[::1] out = entropy
        cdef Py_ssize_t first
        for first in range(0, samples.shape[0], STRIDE):
            PyErr_CheckSignals()
            with nogil:
                self.advance(&samples[first], min(STRIDE, samples.shape[0] - first), &out[first])
        return entropy

    cdef int advance(self, const double *samples, Py_ssize_t n, double *entropy) except -1 nogil:
        cdef double largest = WEIGHTED_MAX if self.weighted else INFINITY
        cdef Py_ssize_t block, first, count, i
        for block in range((n + BLOCK - 1) // BLOCK):
            first = block * BLOCK
            count = min(BLOCK, n - first)
            memcpy(&self.recent[self.span], samples + first, count * sizeof(double))
            code_block(self.recent, 0, count, self.order, self.delay, self.codes)
            for i in range(count):
                if not fabs(samples[first + i]) <= largest:
                    self.unusable_at = self.seen
                if self.seen >= self.span:
                    if self.weighted:
                        self.replace_weighted(i)
                    else:
                        self.replace(self.codes[i])
                    self.place = self.place + 1 if self.place + 1 < self.starts else 0
                self.seen += 1
                if self.seen >= self.window and self.seen - self.unusable_at > self.window:
                    entropy[first + i] = self.weighted_value() if self.weighted else (
                        <double> (self.nats_max - self.nats) / self.unit
                    )
                else:
                    entropy[first + i] = NAN
            # Forwards through overlapping places, which memmove would take as well, and memcpy may not.
            for i in range(self.span):
                self.recent[i] = self.recent[i + count]
        return 0

    cdef inline int replace(self, uint16_t code) except -1 nogil:
        """Let the newest pattern take the oldest one's place."""
        cdef uint16_t gone
        if self.seen >= self.window:
            gone = self.ring[self.place]
            self.counts[gone] -= 1
            self.nats -= self.steps[self.counts[gone]]
        self.nats += self.steps[self.counts[code]]
        self.counts[code] += 1
        self.ring[self.place] = code
        return 0

    cdef int replace_weighted(self, Py_ssize_t start) except -1 nogil:
        """Let the newest pattern take the oldest one's place; it begins at `start` of the recent samples."""
        cdef uint16_t code = self.codes[start]
        cdef uint16_t gone
        cdef double weight = 0.0
        if self.seen - self.unusable_at > self.span:
            weight = variance(self.recent, start, self.order, self.delay)
        if self.place == 0:
            self.close_block()
        if self.seen >= self.window:
            gone = self.ring[self.place]
            self.old[gone] = self.after[self.place]
            self.old_total = self.total_after[self.place]
            self.renew(gone)
        self.new[code] += weight
        self.new_total += weight
        self.renew(code)
        self.ring[self.place] = code
        self.weight_ring[self.place] = weight
        return 0

    cdef int close_block(self) except -1 nogil:
        """Turn the beginning block, now complete, into the ending one: sum backwards what follows each pattern."""
        cdef Py_ssize_t i
        cdef uint16_t code
        if self.seen < self.window:
            return 0
        for i in range(self.starts):
            self.old[self.ring[i]] = self.new[self.ring[i]] = 0.0
        self.old_total = self.new_total = 0.0
        for i in range(self.starts - 1, -1, -1):
            code = self.ring[i]
            self.after[i] = self.old[code]
            self.total_after[i] = self.old_total
            self.old[code] += self.weight_ring[i]
            self.old_total += self.weight_ring[i]
        return 0

    cdef int renew(self, uint16_t code) except -1 nogil:
        """Bring Σ W log(W/U) up to date with the weight of one pattern."""
        cdef double total = self.old_total + self.new_total
        cdef double term
        if not self.total_unit / TOTAL_RANGE <= total <= self.total_unit * TOTAL_RANGE:
            return self.renew_all(total)
        term = self.term(code)
        self.accumulate(-self.terms[code])
        self.accumulate(term)
        self.terms[code] = term
        return 0

    cdef int renew_all(self, double total) except -1 nogil:
        cdef Py_ssize_t code
        self.total_unit = total
        self.high = self.low = 0.0
        for code in range(self.terms.shape[0]):
            self.terms[code] = self.term(<uint16_t> code)
            self.accumulate(self.terms[code])
        return 0

    cdef inline double term(self, uint16_t code) noexcept nogil:
        cdef double weight = self.old[code] + self.new[code]
        cdef double share = weight / self.total_unit if weight > 0.0 else 0.0
        return weight * log(share) if share > 0.0 else 0.0

    cdef inline int accumulate(self, double term) noexcept nogil:
        """Add to a sum of two doubles: Knuth's error-free addition, its error into the low part."""
        cdef double total = self.high + term
        cdef double virtual = total - self.high
        self.low += (self.high - (total - virtual)) + (term - virtual)
        self.high = total
        return 0

    cdef inline double weighted_value(self) noexcept nogil:
        cdef double total = self.old_total + self.new_total
        if total == 0.0:
            return NAN
        return max(0.0, log(total / self.total_unit) - (self.high + self.low) / total) / self.scale


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
                        entropy_out[t, m, o, d] = entropy_of(&counts[0], patterns, scale)
    return entropy, samples
