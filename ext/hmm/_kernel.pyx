"""Recursions of hidden Markov models, fast; docstrings with formulae and sources are in the plain twin, `_reference`.

Inner loops run over the states that are entered, which lie side by side in memory, so that the C compiler makes vector
instructions of them; sums run over the states that are left, in their order. The best path needs no table of
predecessors: their scores are kept, and a predecessor is looked up only where the path went through.
"""

import numpy as np

from libc.math cimport INFINITY, M_PI, exp, fabs, isfinite, isinf, lgamma, log, log1p
from libc.stdint cimport int64_t

from ext.hmm import _reference

cdef enum:
    STATES_MAX = 32
    VARIABLES_MAX = 32
    BLOCK = 256  # samples whose densities are kept at a time: they stay in the first-level cache

cdef double VALUE_MAX = 1e100
cdef double PRIOR_MIN = 1e-280
cdef double FAR_OUT = 1e-200

assert (
    _reference.STATES_MAX, _reference.VARIABLES_MAX, _reference.VALUE_MAX, _reference.PRIOR_MIN, _reference.FAR_OUT
) == (STATES_MAX, VARIABLES_MAX, VALUE_MAX, PRIOR_MIN, FAR_OUT), "the twins disagree"


cdef struct Model:
    # One series' parameters: `constant` is each state's log-density at its centre.
    Py_ssize_t k
    Py_ssize_t d
    const double* transition
    const double* mean
    const double* whiten
    const double* dof
    double[STATES_MAX] constant


cdef inline int check_model(
    Py_ssize_t d,
    Py_ssize_t k,
    Py_ssize_t[2] transition,
    Py_ssize_t[2] mean,
    Py_ssize_t[3] whiten,
    Py_ssize_t dof,
) except -1:
    """Raise what the plain twin's check raises, but ask it only where something is wrong: it costs a microsecond."""
    if not (
        1 <= d <= VARIABLES_MAX
        and 1 <= k <= STATES_MAX
        and transition[0] == k
        and transition[1] == k
        and mean[0] == k
        and mean[1] == d
        and whiten[0] == k
        and whiten[1] == d
        and whiten[2] == d
        and dof == k
    ):
        _reference.check(
            (d,), (k,), (transition[0], transition[1]), (mean[0], mean[1]), (whiten[0], whiten[1], whiten[2]), (dof,)
        )
    return 0


cdef void prepare(Model* model) noexcept nogil:
    """Compute the constants of the log-densities."""
    cdef Py_ssize_t j, a
    cdef Py_ssize_t d = model.d
    cdef double log_det, nu
    for j in range(model.k):
        nu = model.dof[j]
        log_det = 0.0
        for a in range(d):
            log_det += log(model.whiten[(j * d + a) * d + a])
        if isinf(nu):
            model.constant[j] = log_det - 0.5 * d * log(2 * M_PI)
        else:
            model.constant[j] = log_det + lgamma(0.5 * (nu + d)) - lgamma(0.5 * nu) - 0.5 * d * log(nu * M_PI)


cdef inline double square(const Model* model, Py_ssize_t j, const double* x) noexcept nogil:
    """Return Mahalanobis' δ² of a sample in state j."""
    cdef Py_ssize_t d = model.d
    cdef const double* mean = model.mean + j * d
    cdef const double* row = model.whiten + j * d * d
    cdef double total = 0.0
    cdef double z
    cdef Py_ssize_t a, b
    for a in range(d):
        z = 0.0
        for b in range(a + 1):
            z += row[b] * (x[b] - mean[b])
        total += z * z
        row += d
    return total


cdef void log_densities(const Model* model, const double* x, Py_ssize_t n, double* out) noexcept nogil:
    """Write the log-densities of n samples, a row each."""
    cdef Py_ssize_t k = model.k
    cdef Py_ssize_t d = model.d
    cdef Py_ssize_t t, j
    cdef double constant, nu, half, z
    for j in range(k):
        constant = model.constant[j]
        nu = model.dof[j]
        half = 0.5 * (nu + d)
        if not isinf(nu):
            for t in range(n):
                out[t * k + j] = constant - half * log1p(square(model, j, x + t * d) / nu)
        elif d == 1:
            # One variable is the common case, and without a call in the loop the compiler makes vectors of it.
            for t in range(n):
                z = model.whiten[j] * (x[t] - model.mean[j])
                out[t * k + j] = constant - 0.5 * (z * z)
        else:
            for t in range(n):
                out[t * k + j] = constant - 0.5 * square(model, j, x + t * d)


cdef void shift_and_exponentiate(double* rows, Py_ssize_t n, Py_ssize_t k, double* shift) noexcept nogil:
    """Turn rows of log-densities into densities relative to each row's largest, whose logarithm is the shift."""
    cdef Py_ssize_t t, j
    cdef double largest
    for t in range(n):
        largest = rows[t * k]
        for j in range(1, k):
            largest = rows[t * k + j] if rows[t * k + j] > largest else largest
        shift[t] = largest
        # Without a finite shift the step that follows finds no mass and does the sample in logarithms.
        if isfinite(largest):
            for j in range(k):
                rows[t * k + j] = exp(rows[t * k + j] - largest)
        else:
            for j in range(k):
                rows[t * k + j] = 0.0


cdef double far_out(
    const Model* model, const double* x, const double* prior, double* joint, double* shift
) noexcept nogil:
    """Redo a sample in logarithms; return the joint probabilities' sum, 0 where every possible state excludes it."""
    cdef double[STATES_MAX] logs
    cdef double total = 0.0
    cdef Py_ssize_t j
    log_densities(model, x, 1, logs)
    shift[0] = -INFINITY
    for j in range(model.k):
        logs[j] += log(prior[j])
        shift[0] = logs[j] if logs[j] > shift[0] else shift[0]
    if not isfinite(shift[0]):
        return 0.0
    for j in range(model.k):
        joint[j] = exp(logs[j] - shift[0])
        total += joint[j]
    return total


cdef inline Py_ssize_t filter_rows(
    Py_ssize_t k,
    const Model* model,
    const double* x,
    Py_ssize_t n,
    double* prior,
    double* filtered,
    double* predicted,
    double* log_density,
    double* densities,
    double* shift,
) noexcept nogil:
    """Filter a block of relative densities; return the number of the sample that the model excludes, −1 if none."""
    cdef Py_ssize_t t, i, j
    cdef double total, mass
    # Local, so that the compiler knows that nothing else writes there.
    cdef double[STATES_MAX] ahead
    cdef double[STATES_MAX] joint
    for j in range(k):
        ahead[j] = prior[j]
    for t in range(n):
        total = 0.0
        for j in range(k):
            ahead[j] = 0.0 if ahead[j] < PRIOR_MIN else ahead[j]
            predicted[j] = ahead[j]
            joint[j] = ahead[j] * densities[j]
            total += joint[j]
        if not total >= FAR_OUT:
            total = far_out(model, x + t * model.d, predicted, joint, &shift[t])
            if not total > 0.0:
                return t
        log_density[t] = shift[t] + log(total)
        for j in range(k):
            joint[j] /= total
            filtered[j] = joint[j]
            ahead[j] = 0.0
        for i in range(k):
            mass = joint[i]
            for j in range(k):
                ahead[j] += mass * model.transition[i * k + j]
        densities += k
        filtered += k
        predicted += k
    for j in range(k):
        prior[j] = ahead[j]
    return -1


cdef Py_ssize_t filter_series(
    const Model* model,
    const double* x,
    Py_ssize_t n,
    double* prior,
    double* filtered,
    double* predicted,
    double* log_density,
    double* block,
    double* shift,
) noexcept nogil:
    """Filter one series; return the number of the sample that it excludes, −1 if none."""
    cdef Py_ssize_t k = model.k
    cdef Py_ssize_t number, start, count, at, excluded
    cdef const double* x_block
    for number in range((n + BLOCK - 1) // BLOCK):
        start = number * BLOCK
        count = min(<Py_ssize_t> BLOCK, n - start)
        at = start * k
        log_densities(model, x + start * model.d, count, block)
        shift_and_exponentiate(block, count, k, shift)
        x_block = x + start * model.d
        # The compiler makes a copy without loops of each number of states that it sees written down.
        if k == 2:
            excluded = filter_rows(
                2, model, x_block, count, prior, filtered + at, predicted + at, log_density + start, block, shift
            )
        elif k == 3:
            excluded = filter_rows(
                3, model, x_block, count, prior, filtered + at, predicted + at, log_density + start, block, shift
            )
        elif k == 6:
            excluded = filter_rows(
                6, model, x_block, count, prior, filtered + at, predicted + at, log_density + start, block, shift
            )
        else:
            excluded = filter_rows(
                k, model, x_block, count, prior, filtered + at, predicted + at, log_density + start, block, shift
            )
        if excluded >= 0:
            return start + excluded
    return -1


cdef bint all_known(const double* x, Py_ssize_t count) noexcept nogil:
    """Tell whether all values are numbers within the bound."""
    cdef bint known = True
    cdef Py_ssize_t i
    for i in range(count):
        known &= fabs(x[i]) <= VALUE_MAX
    return known


def forward(
    const double[:, :, ::1] x,
    const double[:, ::1] prior,
    const double[:, :, ::1] transition,
    const double[:, :, ::1] mean,
    const double[:, :, :, ::1] whiten,
    const double[:, ::1] dof,
):
    """Filter a block of samples of several series; see the plain twin."""
    cdef Py_ssize_t series = x.shape[0]
    cdef Py_ssize_t n = x.shape[1]
    cdef Py_ssize_t d = x.shape[2]
    cdef Py_ssize_t k = prior.shape[1]
    check_model(
        d,
        k,
        [transition.shape[1], transition.shape[2]],
        [mean.shape[1], mean.shape[2]],
        [whiten.shape[1], whiten.shape[2], whiten.shape[3]],
        dof.shape[1],
    )
    if not (
        series == prior.shape[0] == transition.shape[0] == mean.shape[0] == whiten.shape[0] == dof.shape[0]
    ):
        _reference.check_series(
            (series,), (prior.shape[0],), (transition.shape[0],), (mean.shape[0],), (whiten.shape[0],), (dof.shape[0],)
        )
    filtered = np.empty((series, n, k))
    predicted = np.empty((series, n, k))
    log_density = np.empty((series, n))
    next_prior = np.array(prior)
    if series == 0 or n == 0:
        return filtered, predicted, log_density, next_prior
    cdef double[:, :, ::1] filtered_out = filtered
    cdef double[:, :, ::1] predicted_out = predicted
    cdef double[:, ::1] log_density_out = log_density
    cdef double[:, ::1] prior_out = next_prior
    cdef double[BLOCK * STATES_MAX] block
    cdef double[BLOCK] shift
    cdef Py_ssize_t s = 0
    cdef Py_ssize_t excluded = -1
    cdef bint known
    cdef Model model
    model.k = k
    model.d = d
    with nogil:
        known = all_known(&x[0, 0, 0], series * n * d)
        if known:
            for s in range(series):
                model.transition = &transition[s, 0, 0]
                model.mean = &mean[s, 0, 0]
                model.whiten = &whiten[s, 0, 0, 0]
                model.dof = &dof[s, 0]
                prepare(&model)
                excluded = filter_series(
                    &model,
                    &x[s, 0, 0],
                    n,
                    &prior_out[s, 0],
                    &filtered_out[s, 0, 0],
                    &predicted_out[s, 0, 0],
                    &log_density_out[s, 0],
                    block,
                    shift,
                )
                if excluded >= 0:
                    break
    if not known:
        raise ValueError(_reference.values_expected())
    if excluded >= 0:
        raise ValueError(_reference.impossible(s, excluded))
    return filtered, predicted, log_density, next_prior


cdef inline void smooth_rows(
    Py_ssize_t k,
    Py_ssize_t n,
    const double* filtered,
    const double* predicted,
    const double* entering,
    double* ratio,
    double* smoothed,
    double* flows,
    bint ends,
) noexcept nogil:
    """Smooth a block; `entering` is the transition matrix transposed, `ends` tells that nothing follows."""
    cdef Py_ssize_t t, i, j
    cdef double mass
    # Local, so that the compiler knows that nothing else writes there.
    cdef double[STATES_MAX] quotient
    cdef double[STATES_MAX] sums
    cdef double[STATES_MAX] update
    filtered += n * k
    predicted += n * k
    smoothed += n * k
    for j in range(k):
        quotient[j] = ratio[j]
    for t in range(n - 1, -1, -1):
        filtered -= k
        predicted -= k
        smoothed -= k
        # Divided before the sums are known, so that no step waits for the division of the one before. What is
        # impossible has 0 above the line too.
        for i in range(k):
            update[i] = filtered[i] / (predicted[i] if predicted[i] > 0.0 else 1.0)
        for i in range(k):
            sums[i] = 1.0 if ends and t == n - 1 else 0.0
        if not (ends and t == n - 1):
            for j in range(k):
                mass = quotient[j]
                for i in range(k):
                    sums[i] += entering[j * k + i] * mass
            for i in range(k):
                mass = filtered[i]
                for j in range(k):
                    flows[i * k + j] += mass * quotient[j]
        for i in range(k):
            smoothed[i] = filtered[i] * sums[i]
            quotient[i] = update[i] * sums[i]
    for j in range(k):
        ratio[j] = quotient[j]


def smooth(
    const double[:, ::1] filtered, const double[:, ::1] predicted, const double[:, ::1] transition, ratio
):
    """Smooth a block of one series; see the plain twin."""
    cdef Py_ssize_t n = filtered.shape[0]
    cdef Py_ssize_t k = filtered.shape[1]
    _reference.check_block(
        (n, k),
        (predicted.shape[0], predicted.shape[1]),
        (transition.shape[0], transition.shape[1]),
        None if ratio is None else ratio.shape,
    )
    smoothed = np.empty((n, k))
    flows = np.zeros((k, k))
    before = np.ones(k) if ratio is None else np.array(ratio, dtype=np.float64)
    cdef double[:, ::1] smoothed_out = smoothed
    cdef double[:, ::1] flows_out = flows
    cdef double[::1] ratio_out = before
    # Transposed, the sum over the states that are entered has its inner loop over those that are left.
    cdef const double[:, ::1] entering = np.ascontiguousarray(np.asarray(transition).T)
    cdef const double* rows = &filtered[0, 0]
    cdef const double* priors = &predicted[0, 0]
    cdef const double* into = &entering[0, 0]
    cdef double* quotient = &ratio_out[0]
    cdef double* out = &smoothed_out[0, 0]
    cdef double* moved = &flows_out[0, 0]
    cdef bint ends = ratio is None
    with nogil:
        if k == 2:
            smooth_rows(2, n, rows, priors, into, quotient, out, moved, ends)
        elif k == 3:
            smooth_rows(3, n, rows, priors, into, quotient, out, moved, ends)
        elif k == 6:
            smooth_rows(6, n, rows, priors, into, quotient, out, moved, ends)
        else:
            smooth_rows(k, n, rows, priors, into, quotient, out, moved, ends)
    flows *= np.asarray(transition)
    return smoothed, flows, before


def moments(
    const double[:, ::1] x,
    const double[:, ::1] smoothed,
    const double[:, ::1] mean,
    const double[:, :, ::1] whiten,
    const double[::1] dof,
):
    """Sum up what the M-step needs of a block; see the plain twin."""
    cdef Py_ssize_t n = x.shape[0]
    cdef Py_ssize_t d = x.shape[1]
    cdef Py_ssize_t k = smoothed.shape[1]
    check_model(
        d,
        k,
        [k, k],
        [mean.shape[0], mean.shape[1]],
        [whiten.shape[0], whiten.shape[1], whiten.shape[2]],
        dof.shape[0],
    )
    _reference.check_lengths(n, smoothed.shape[0])
    weight, scaled, log_term = np.zeros(k), np.zeros(k), np.zeros(k)
    first, second = np.zeros((k, d)), np.zeros((k, d, d))
    if n == 0:
        return weight, scaled, first, second, log_term
    cdef double[::1] weight_out = weight
    cdef double[::1] scaled_out = scaled
    cdef double[:, ::1] first_out = first
    cdef double[:, :, ::1] second_out = second
    cdef double[::1] log_out = log_term
    cdef Py_ssize_t t, j, a, b
    cdef double probability, u, part, nu
    cdef bint known
    cdef Model model
    model.k = k
    model.d = d
    model.mean = &mean[0, 0]
    model.whiten = &whiten[0, 0, 0]
    with nogil:
        known = all_known(&x[0, 0], n * d)
        if known:
            for t in range(n):
                for j in range(k):
                    probability = smoothed[t, j]
                    nu = dof[j]
                    weight_out[j] += probability
                    u = 1.0
                    if not isinf(nu):
                        u = (nu + d) / (nu + square(&model, j, &x[t, 0]))
                        log_out[j] += probability * (log(u) - u)
                    else:
                        log_out[j] -= probability
                    scaled_out[j] += probability * u
                    for a in range(d):
                        part = probability * u * (x[t, a] - mean[j, a])
                        first_out[j, a] += part
                        for b in range(a + 1):
                            second_out[j, a, b] += part * (x[t, b] - mean[j, b])
            for j in range(k):
                for a in range(d):
                    for b in range(a):
                        second_out[j, b, a] = second_out[j, a, b]
    if not known:
        raise ValueError(_reference.values_expected())
    return weight, scaled, first, second, log_term


def scores(
    const double[:, ::1] x,
    const double[::1] entry,
    const double[:, ::1] transition,
    const double[:, ::1] mean,
    const double[:, :, ::1] whiten,
    const double[::1] dof,
):
    """Score the best paths through a block; see the plain twin."""
    cdef Py_ssize_t n = x.shape[0]
    cdef Py_ssize_t d = x.shape[1]
    cdef Py_ssize_t k = entry.shape[0]
    check_model(
        d,
        k,
        [transition.shape[0], transition.shape[1]],
        [mean.shape[0], mean.shape[1]],
        [whiten.shape[0], whiten.shape[1], whiten.shape[2]],
        dof.shape[0],
    )
    delta = np.empty((n, k))
    best = np.array(entry)
    if n == 0:
        return delta, best
    cdef double[:, ::1] delta_out = delta
    cdef double[::1] best_out = best
    cdef double[STATES_MAX * STATES_MAX] log_a
    # Local, so that the compiler knows that nothing else writes there.
    cdef double[STATES_MAX] into
    cdef double* row
    cdef Py_ssize_t t, i, j
    cdef double here, candidate
    cdef bint known
    cdef Model model
    model.k = k
    model.d = d
    model.mean = &mean[0, 0]
    model.whiten = &whiten[0, 0, 0]
    model.dof = &dof[0]
    with nogil:
        known = all_known(&x[0, 0], n * d)
        if known:
            prepare(&model)
            log_densities(&model, &x[0, 0], n, &delta_out[0, 0])
            for i in range(k):
                for j in range(k):
                    log_a[i * k + j] = log(transition[i, j])
            for j in range(k):
                into[j] = entry[j]
            for t in range(n):
                row = &delta_out[t, 0]
                for j in range(k):
                    row[j] += into[j]
                    into[j] = -INFINITY
                for i in range(k):
                    here = row[i]
                    for j in range(k):
                        candidate = here + log_a[i * k + j]
                        into[j] = candidate if candidate > into[j] else into[j]
            for j in range(k):
                best_out[j] = into[j]
    if not known:
        raise ValueError(_reference.values_expected())
    return delta, best


def trace(const double[:, ::1] delta, const double[:, ::1] transition, Py_ssize_t last):
    """Follow the best path back through a block; see the plain twin."""
    cdef Py_ssize_t n = delta.shape[0]
    cdef Py_ssize_t k = delta.shape[1]
    _reference.check_block((n, k), (n, k), (transition.shape[0], transition.shape[1]), None)
    _reference.check_state(last, k)
    path = np.empty(n, dtype=np.int64)
    cdef int64_t[::1] path_out = path
    cdef double[STATES_MAX * STATES_MAX] log_into
    cdef double largest, candidate
    cdef Py_ssize_t t, i, j
    with nogil:
        for i in range(k):
            for j in range(k):
                log_into[j * k + i] = log(transition[i, j])
        path_out[n - 1] = last
        j = last
        for t in range(n - 2, -1, -1):
            largest = delta[t, 0] + log_into[j * k]
            last = 0
            for i in range(1, k):
                candidate = delta[t, i] + log_into[j * k + i]
                if candidate > largest:
                    largest = candidate
                    last = i
            path_out[t] = last
            j = last
    return path
