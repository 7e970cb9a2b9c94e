"""Volatility recursions, fast; the docstrings with formulas and sources are in the plain twin, `_reference`.

One walk over the observations carries the variance, the derivatives of it, and the sums. Six derivative recursions run
beside the one of the variance: they do not wait for each other, so that six cost little more than one. Logarithms are
taken of products of many variances, not of each, unless the caller wants the terms one by one.
"""

import numpy as np

from libc.math cimport INFINITY, NAN, exp, fabs, isfinite, isinf, log, log1p, sqrt

from ext.garch import _reference

cdef enum:
    LANES = 4  # interleaved sums: an addition need not wait for the one before
    K = 6
    MU = 0
    OMEGA = 1
    ALPHA = 2
    GAMMA = 3
    BETA = 4
    NU = 5

cdef double VARIANCE_MIN = _reference.VARIANCE_MIN
cdef double VARIANCE_MAX = _reference.VARIANCE_MAX
cdef double LOG_MIN = log(VARIANCE_MIN)
cdef double LOG_MAX = log(VARIANCE_MAX)

assert _reference.PARAMETERS == ("mu", "omega", "alpha", "gamma", "beta", "nu"), "the twins disagree on the parameters"


cdef struct Product:
    # A product of positive numbers as (the logarithm of some of them) + (the product of the others).
    double logs
    double rest


cdef struct Sums:
    Product variances
    Product tails  # of 1 + z²/(ν − 2)
    double squares
    double gradient[K]


cdef inline void multiply(Product* product, double factor) noexcept nogil:
    # Both lie within [1e-100, 1e100] before, so that their product is a normal number.
    if factor > 1e100:
        product.logs += log(factor)
        return
    product.rest *= factor
    if not 1e-100 <= product.rest <= 1e100:
        product.logs += log(product.rest)
        product.rest = 1.0


cdef inline double logarithm(Product product) noexcept nogil:
    return product.logs + log(product.rest)


cdef inline void observe(
    double e, double h, double scale, const double* slope, double nu, Sums* sums, double* term, double* row
) noexcept nogil:
    """Add one observation to the sums, or write its term and its row; `scale · slope` are the derivatives of ln h."""
    cdef double inverse = 1.0 / h
    cdef double square = e * e * inverse
    cdef double weight = 1.0
    cdef double tail = 0.0
    cdef double direct, factor
    cdef bint student = not isinf(nu)
    cdef int k
    if student:
        weight = (nu + 1.0) / (nu - 2.0 + square)
    direct = weight * e * inverse
    factor = 0.5 * (weight * square - 1.0) * scale
    if row == NULL:
        multiply(&sums.variances, h)
        if student:
            multiply(&sums.tails, 1.0 + square / (nu - 2.0))
            sums.gradient[NU] += 0.5 * weight * square / (nu - 2.0)
        else:
            sums.squares += square
        for k in range(K):
            sums.gradient[k] += factor * slope[k]
        sums.gradient[MU] += direct
        return
    for k in range(K):
        row[k] = factor * slope[k]
    row[MU] += direct
    if student:
        tail = log1p(square / (nu - 2.0))
        row[NU] += 0.5 * (weight * square / (nu - 2.0) - tail)
        term[0] = -0.5 * log(h) - 0.5 * (nu + 1.0) * tail
    else:
        term[0] = -0.5 * log(h) - 0.5 * square


cdef bint walk_variance(
    const double[::1] y, const double* theta, double v, double v_slope, Sums* sums, double* terms, double* rows
) noexcept nogil:
    """Walk GARCH or GJR; return whether the variance of every observation was in bounds."""
    cdef double mu = theta[MU]
    cdef double omega = theta[OMEGA]
    cdef double alpha = theta[ALPHA]
    cdef double gamma = theta[GAMMA]
    cdef double beta = theta[BETA]
    cdef double nu = theta[NU]
    cdef double h = omega + (alpha + 0.5 * gamma) * v + beta * v
    cdef double[K] slope
    cdef double e, square, reaction, fallen
    cdef Py_ssize_t t
    slope[MU] = (alpha + 0.5 * gamma + beta) * v_slope
    slope[OMEGA] = 1.0
    slope[ALPHA] = v
    slope[GAMMA] = 0.5 * v
    slope[BETA] = v
    slope[NU] = 0.0
    for t in range(y.shape[0]):
        if not VARIANCE_MIN <= h <= VARIANCE_MAX:
            return False
        e = y[t] - mu
        observe(
            e, h, 1.0 / h, slope, nu, sums,
            NULL if rows == NULL else terms + t, NULL if rows == NULL else rows + K * t,
        )
        square = e * e
        fallen = square if e < 0.0 else 0.0
        reaction = alpha + gamma if e < 0.0 else alpha
        slope[MU] = -2.0 * reaction * e + beta * slope[MU]
        slope[OMEGA] = 1.0 + beta * slope[OMEGA]
        slope[ALPHA] = square + beta * slope[ALPHA]
        slope[GAMMA] = fallen + beta * slope[GAMMA]
        slope[BETA] = h + beta * slope[BETA]
        h = omega + reaction * square + beta * h
    return True


cdef bint walk_log_variance(
    const double[::1] y, const double* theta, double v, double v_slope, double abs_mean, double abs_mean_slope,
    Sums* sums, double* terms, double* rows
) noexcept nogil:
    """Walk EGARCH; return whether the variance of every observation was in bounds."""
    cdef double mu = theta[MU]
    cdef double omega = theta[OMEGA]
    cdef double alpha = theta[ALPHA]
    cdef double gamma = theta[GAMMA]
    cdef double beta = theta[BETA]
    cdef double nu = theta[NU]
    cdef double[K] slope
    cdef double e, h, z, deviation, log_h, pull, carry
    cdef Py_ssize_t t
    if not VARIANCE_MIN <= v <= VARIANCE_MAX:
        return False
    log_h = omega + beta * log(v)
    slope[MU] = beta * v_slope / v
    slope[OMEGA] = 1.0
    slope[ALPHA] = 0.0
    slope[GAMMA] = 0.0
    slope[BETA] = log(v)
    slope[NU] = 0.0
    for t in range(y.shape[0]):
        if not LOG_MIN <= log_h <= LOG_MAX:
            return False
        e = y[t] - mu
        h = exp(log_h)
        observe(
            e, h, 1.0, slope, nu, sums,
            NULL if rows == NULL else terms + t, NULL if rows == NULL else rows + K * t,
        )
        deviation = sqrt(h)
        z = e / deviation
        pull = gamma + (alpha if z > 0.0 else -alpha if z < 0.0 else 0.0)
        carry = beta - 0.5 * pull * z
        slope[MU] = -pull / deviation + carry * slope[MU]
        slope[OMEGA] = 1.0 + carry * slope[OMEGA]
        slope[ALPHA] = fabs(z) - abs_mean + carry * slope[ALPHA]
        slope[GAMMA] = z + carry * slope[GAMMA]
        slope[BETA] = log_h + carry * slope[BETA]
        slope[NU] = -alpha * abs_mean_slope + carry * slope[NU]
        log_h = omega + alpha * (fabs(z) - abs_mean) + gamma * z + beta * log_h
    return True


cdef (double, double) presample(const double[::1] y, double mu) noexcept nogil:
    """Return the mean of the squared residuals and its derivative by μ."""
    cdef double[LANES] squares
    cdef double[LANES] totals
    cdef double e
    cdef Py_ssize_t n = y.shape[0]
    cdef Py_ssize_t t
    cdef int lane
    for lane in range(LANES):
        squares[lane] = 0.0
        totals[lane] = 0.0
    for t in range(n // LANES):
        for lane in range(LANES):
            e = y[LANES * t + lane] - mu
            squares[lane] += e * e
            totals[lane] += e
    for t in range(n - n % LANES, n):
        e = y[t] - mu
        squares[0] += e * e
        totals[0] += e
    return (
        (squares[0] + squares[1] + (squares[2] + squares[3])) / n,
        -2.0 * (totals[0] + totals[1] + (totals[2] + totals[3])) / n,
    )


cdef bint usable(const double[::1] y, const double[::1] theta) noexcept nogil:
    """Tell whether the twin's `check` would refuse nothing: asking it costs a fifth of a likelihood."""
    cdef bint bad = y.shape[0] == 0 or theta.shape[0] != K
    cdef Py_ssize_t t
    if bad:
        return False
    # x − x is 0 but for NaN and infinities.
    for t in range(NU):
        bad |= theta[t] - theta[t] != 0.0
    for t in range(y.shape[0]):
        bad |= y[t] - y[t] != 0.0
    return not bad and theta[NU] > 2.0


def conditional_variance(returns, params, bint log_variance, start=None, double abs_mean=0.0):
    """Return the variance of every observation, and of the one after the last; see the plain twin."""
    if np.ndim(returns) != 1 or np.ndim(params) != 1:
        _reference.check(returns, params, start)
    cdef const double[::1] y = np.ascontiguousarray(returns, dtype=np.float64)
    cdef const double[::1] theta = np.ascontiguousarray(params, dtype=np.float64)
    if not usable(y, theta) or (start is not None and not 0.0 < start < INFINITY):
        _reference.check(returns, params, start)
    cdef Py_ssize_t n = y.shape[0]
    cdef double mu = theta[MU]
    cdef double omega = theta[OMEGA]
    cdef double alpha = theta[ALPHA]
    cdef double gamma = theta[GAMMA]
    cdef double beta = theta[BETA]
    cdef double v, h, e, z, log_h
    cdef Py_ssize_t t
    path = np.full(n + 1, NAN)
    cdef double[::1] out = path
    v = presample(y, mu)[0] if start is None else start
    with nogil:
        if log_variance and VARIANCE_MIN <= v <= VARIANCE_MAX:
            log_h = omega + beta * log(v)
            for t in range(n + 1):
                if not LOG_MIN <= log_h <= LOG_MAX:
                    break
                out[t] = exp(log_h)
                if t < n:
                    z = (y[t] - mu) / sqrt(out[t])
                    log_h = omega + alpha * (fabs(z) - abs_mean) + gamma * z + beta * log_h
        elif not log_variance:
            h = omega + (alpha + 0.5 * gamma) * v + beta * v
            for t in range(n + 1):
                if not VARIANCE_MIN <= h <= VARIANCE_MAX:
                    break
                out[t] = h
                if t < n:
                    e = y[t] - mu
                    h = omega + (alpha + gamma if e < 0.0 else alpha) * (e * e) + beta * h
    return path


def scores(returns, params, bint log_variance, start=None, double abs_mean=0.0, double abs_mean_slope=0.0):
    """Return each observation's part of the log-likelihood, and its gradient; see the plain twin."""
    if np.ndim(returns) != 1 or np.ndim(params) != 1:
        _reference.check(returns, params, start)
    cdef const double[::1] y = np.ascontiguousarray(returns, dtype=np.float64)
    cdef const double[::1] theta = np.ascontiguousarray(params, dtype=np.float64)
    if not usable(y, theta) or (start is not None and not 0.0 < start < INFINITY):
        _reference.check(returns, params, start)
    terms = np.full(y.shape[0], NAN)
    rows = np.full((y.shape[0], K), NAN)
    cdef double[::1] terms_out = terms
    cdef double[:, ::1] rows_out = rows
    cdef double v, v_slope
    cdef Sums sums
    v, v_slope = presample(y, theta[MU]) if start is None else (<double> start, 0.0)
    with nogil:
        if log_variance:
            walk_log_variance(
                y, &theta[0], v, v_slope, abs_mean, abs_mean_slope, &sums, &terms_out[0], &rows_out[0, 0]
            )
        else:
            walk_variance(y, &theta[0], v, v_slope, &sums, &terms_out[0], &rows_out[0, 0])
    return terms, rows


def log_likelihood(returns, params, bint log_variance, start=None, double abs_mean=0.0, double abs_mean_slope=0.0):
    """Return the sum of the terms of `scores`, and its gradient; see the plain twin."""
    if np.ndim(returns) != 1 or np.ndim(params) != 1:
        _reference.check(returns, params, start)
    cdef const double[::1] y = np.ascontiguousarray(returns, dtype=np.float64)
    cdef const double[::1] theta = np.ascontiguousarray(params, dtype=np.float64)
    if not usable(y, theta) or (start is not None and not 0.0 < start < INFINITY):
        _reference.check(returns, params, start)
    gradient = np.zeros(K)
    cdef double[::1] gradient_out = gradient
    cdef double v, v_slope, tails
    cdef double value = -INFINITY
    cdef double nu = theta[NU]
    cdef Sums sums
    cdef bint inside
    cdef int k
    v, v_slope = presample(y, theta[MU]) if start is None else (<double> start, 0.0)
    with nogil:
        sums.variances = Product(0.0, 1.0)
        sums.tails = Product(0.0, 1.0)
        sums.squares = 0.0
        for k in range(K):
            sums.gradient[k] = 0.0
        if log_variance:
            inside = walk_log_variance(y, &theta[0], v, v_slope, abs_mean, abs_mean_slope, &sums, NULL, NULL)
        else:
            inside = walk_variance(y, &theta[0], v, v_slope, &sums, NULL, NULL)
        if inside:
            tails = logarithm(sums.tails)
            value = -0.5 * logarithm(sums.variances) - 0.5 * sums.squares
            for k in range(K):
                gradient_out[k] = sums.gradient[k]
            if not isinf(nu):
                value -= 0.5 * (nu + 1.0) * tails
                gradient_out[NU] -= 0.5 * tails
            for k in range(K):
                inside = inside and isfinite(gradient_out[k])
        if not (inside and isfinite(value)):
            value = -INFINITY
            for k in range(K):
                gradient_out[k] = 0.0
    return value, gradient
