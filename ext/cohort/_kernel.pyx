"""The evaluation of virtual runs, fast; what it means is told in the plain twin, `_reference`.

The loop goes run by run and within a run tick by tick, so that a run's state stays in registers. Every operation on
doubles is the plain twin's, in its order; the only liberty is not to take a power whose result cannot change the
decision.
"""

from libc.math cimport fabs, pow
from libc.stdint cimport int64_t

from ext.cohort import _columns, _reference

cdef extern from *:
    """
    #define prefetch(address) __builtin_prefetch((address), 1)
    """
    void prefetch(const void* address) noexcept nogil

cdef enum:
    PARAMS_WHOLE = 11
    PARAMS_REAL = 13
    STATE_WHOLE = 9
    STATE_REAL = 11
    STATE_RING_FIRST = 5
    STATE_RING_COUNT = 6
    AHEAD = 4  # runs between the asking for a ring's memory and its use
    RING = 181
    DIRECTION_MAX = 1024
    SYSTEM_SWING = 1
    ENTRY_WEIGHT = 0
    PERIODS_MIN = 10
    ALIVE = 0
    EXIT_MAX_DURATION = 1
    EXIT_APR_TARGET = 2
    EXIT_REVERSAL = 3

cdef int64_t SECOND_NS = 1_000_000_000
cdef int64_t MINUTE_NS = 60 * SECOND_NS

# The names of codes and limits are the plain twin's; here they are constants of the C compiler.
assert (
    _reference.RING,
    _reference.DIRECTION_MAX,
    _reference.SYSTEM_SWING,
    _reference.ENTRY_WEIGHT,
    _reference.PERIODS_MIN,
    _reference.ALIVE,
    _reference.EXIT_MAX_DURATION,
    _reference.EXIT_APR_TARGET,
    _reference.EXIT_REVERSAL,
) == (
    RING,
    DIRECTION_MAX,
    SYSTEM_SWING,
    ENTRY_WEIGHT,
    PERIODS_MIN,
    ALIVE,
    EXIT_MAX_DURATION,
    EXIT_APR_TARGET,
    EXIT_REVERSAL,
), "the twins disagree"

# One record each, the fields of `Columns.whole` before those of `Columns.real`, in their order.
ctypedef struct Params:
    int64_t system_type
    int64_t entry
    int64_t max_duration_s
    int64_t entropy_window_min
    int64_t entropy_min_samples
    int64_t entropy_order
    int64_t entropy_delay
    int64_t rolling_apr_min
    int64_t breakout_periods
    int64_t swing_periods
    int64_t decision_distance_s
    double max_direction_reversal_s
    double balance_divisor
    double pos_scaler
    double pos_weight
    double max_cross_margin_ratio
    double apr_target
    double min_goal
    double max_goal
    double min_goal_weight
    double max_goal_weight
    double entropy_max
    double swing_z
    double leverage

ctypedef struct State:
    int64_t born_ns
    int64_t direction
    int64_t trades
    int64_t iterations
    int64_t evaluated_ns
    int64_t ring_first
    int64_t ring_count
    int64_t exit_code
    int64_t ended_ns
    double start
    double fee_rate
    double position
    double entry_value
    double fees
    double balance
    double live_pnl
    double apr
    double rolling_apr
    double apr_sum
    double apr_sum_low

ctypedef struct Tick:
    int64_t ns
    double price
    double volatility
    int64_t side  # 0 in noise, too


cdef Params _params
cdef State _state
for _layout, _record, _sizes in (
    (_reference.PARAMS_DTYPE, _params, (PARAMS_WHOLE, PARAMS_REAL)),
    (_reference.STATE_DTYPE, _state, (STATE_WHOLE, STATE_REAL)),
):
    _whole, _real = (_columns.fields(_layout, kind) for kind in (_columns.WHOLE, _columns.REAL))
    assert (*_whole, *_real) == tuple(_record), "the twins disagree on the fields"
    assert (len(_whole), len(_real)) == _sizes, "the twins disagree on the fields"
assert (_whole[STATE_RING_FIRST], _whole[STATE_RING_COUNT]) == ("ring_first", "ring_count"), _whole


cdef inline void mark(State* run, double price) noexcept nogil:
    run.balance = run.start + run.position * price - run.entry_value - run.fees
    run.live_pnl = run.balance - run.start


cdef inline void end(State* run, int64_t code, int64_t now) noexcept nogil:
    run.exit_code = code
    run.ended_ns = now


cdef inline void add(State* run, double x) noexcept nogil:
    cdef double total = run.apr_sum + x
    cdef double part = total - run.apr_sum
    run.apr_sum_low += (run.apr_sum - (total - part)) + (x - part)
    run.apr_sum = total


cdef inline int roll(
    const Params* p, State* run, int64_t[::1] ring_ns, double[::1] ring_apr, int64_t now
) except -1 nogil:
    cdef int64_t oldest = now - p.rolling_apr_min * MINUTE_NS
    cdef int64_t last
    while run.ring_count == RING or (run.ring_count > 0 and ring_ns[run.ring_first] <= oldest):
        add(run, -ring_apr[run.ring_first])
        run.ring_first += 1
        if run.ring_first == RING:
            run.ring_first = 0
        run.ring_count -= 1
    if run.ring_count == 0:
        run.apr_sum = 0.0
        run.apr_sum_low = 0.0
    last = run.ring_first + run.ring_count
    if last >= RING:
        last -= RING
    ring_ns[last] = now
    ring_apr[last] = run.apr
    run.ring_count += 1
    add(run, run.apr)
    run.rolling_apr = (run.apr_sum + run.apr_sum_low) / <double> run.ring_count
    return 0


cdef inline bint at_goal(const Params* p, const State* run, const Tick* tick) noexcept nogil:
    """Tell whether the APR is above its target; the goal lies between its bounds, beyond them no power is needed."""
    cdef double low = min(p.min_goal, p.max_goal)
    cdef double high = max(p.min_goal, p.max_goal)
    cdef double span, s, goal
    if run.apr <= p.apr_target * low:
        return False
    if run.apr > p.apr_target * high:
        return True
    span = tick.price * p.max_goal_weight - tick.price * p.min_goal_weight
    if span == 0:
        return True
    s = (tick.volatility - tick.price * p.min_goal_weight) / span
    goal = low * pow(high / low, min(max(s, 0.0), 1.0))
    return run.apr > p.apr_target * min(max(goal, low), high)


cdef inline int evaluate(
    const Params* p, State* run, int64_t[::1] ring_ns, double[::1] ring_apr, const Tick* tick
) except -1 nogil:
    cdef int64_t age_ns = tick.ns - run.born_ns
    cdef double hours, size, value
    cdef int64_t side = tick.side
    cdef bint rises, reduces
    run.iterations += 1
    run.evaluated_ns = tick.ns
    mark(run, tick.price)
    if age_ns > p.max_duration_s * SECOND_NS:
        end(run, EXIT_MAX_DURATION, tick.ns)
        return 0

    hours = <double> age_ns / 3.6e12
    run.apr = run.live_pnl / hours * 24.0 * 365.24 / run.start if hours > 0 else 0.0
    # The sign of `apr_change` is all that is asked for: no quotient is needed.
    rises = run.rolling_apr != 0 and run.apr > run.rolling_apr
    roll(p, run, ring_ns, ring_apr, tick.ns)

    if at_goal(p, run, tick):
        end(run, EXIT_APR_TARGET, tick.ns)
        return 0

    if side == 0:
        return 0

    reduces = side * run.direction < 0
    if run.direction == 0:
        if <double> age_ns / 1e9 > p.max_direction_reversal_s:
            end(run, EXIT_REVERSAL, tick.ns)
            return 0
    elif rises == reduces:
        return 0

    if not reduces and fabs(run.entry_value) / p.leverage > p.max_cross_margin_ratio * run.balance:
        return 0

    if run.apr > 0 if reduces else run.apr < 0:
        return 0

    if not -DIRECTION_MAX <= run.direction + side <= DIRECTION_MAX:
        return 0
    size = side * (run.start * p.pos_weight / tick.price * p.pos_scaler / p.balance_divisor)
    value = tick.price * size
    run.position += size
    run.entry_value += value
    run.fees += fabs(value) * (2.0 * run.fee_rate)
    run.direction += side
    run.trades += 1
    mark(run, tick.price)
    return 0


cdef inline int64_t sign_of(bint up, bint down) noexcept nogil:
    return <int64_t> up - <int64_t> down


cdef inline int load_params(Params* p, const int64_t[:, ::1] whole, const double[:, ::1] real, Py_ssize_t r) \
        except -1 nogil:
    cdef int f
    for f in range(PARAMS_WHOLE):
        (<int64_t*> p)[f] = whole[f, r]
    for f in range(PARAMS_REAL):
        (<double*> p)[PARAMS_WHOLE + f] = real[f, r]
    return 0


cdef inline int load_state(State* run, int64_t[:, ::1] whole, double[:, ::1] real, Py_ssize_t r) except -1 nogil:
    cdef int f
    for f in range(STATE_WHOLE):
        (<int64_t*> run)[f] = whole[f, r]
    for f in range(STATE_REAL):
        (<double*> run)[STATE_WHOLE + f] = real[f, r]
    return 0


cdef inline int save_state(const State* run, int64_t[:, ::1] whole, double[:, ::1] real, Py_ssize_t r) except -1 nogil:
    cdef int f
    for f in range(STATE_WHOLE):
        whole[f, r] = (<const int64_t*> run)[f]
    for f in range(STATE_REAL):
        real[f, r] = (<const double*> run)[STATE_WHOLE + f]
    return 0


cdef inline int fetch_ahead(
    const int64_t[:, ::1] state_whole, const int64_t[:, ::1] ring_ns, const double[:, ::1] ring_apr, Py_ssize_t r
) except -1 nogil:
    """Ask for the memory of a ring that is used soon: its oldest sample, and where its next ones go."""
    cdef Py_ssize_t oldest = state_whole[STATE_RING_FIRST, r]
    cdef Py_ssize_t last = oldest + state_whole[STATE_RING_COUNT, r]
    if last >= RING:
        last -= RING
    prefetch(&ring_ns[r, oldest])
    prefetch(&ring_apr[r, oldest])
    prefetch(&ring_ns[r, last])
    prefetch(&ring_apr[r, last])
    return 0


def advance(params, state, ring_ns, ring_apr, symbol, market):
    """Evaluate k runs, each at the ticks of its symbol, in place; see the plain twin."""
    _reference.check(params, state, ring_ns, ring_apr, symbol, market)
    cdef const int64_t[:, ::1] params_whole = params.whole
    cdef const double[:, ::1] params_real = params.real
    cdef int64_t[:, ::1] state_whole = state.whole
    cdef double[:, ::1] state_real = state.real
    cdef int64_t[:, ::1] rings_ns = ring_ns
    cdef double[:, ::1] rings_apr = ring_apr
    cdef const int64_t[::1] symbols = symbol
    cdef const int64_t[::1] first = market.first
    cdef const int64_t[::1] instants = market.ts_ns
    cdef const double[::1] prices = market.price
    cdef const double[::1] weights = market.weight
    cdef const double[::1] volatilities = market.volatility
    cdef const double[:, :, :, ::1] entropies = market.entropy
    cdef const int64_t[:, ::1] seen = market.samples
    cdef const double[:, ::1] highs = market.channel_high
    cdef const double[:, ::1] lows = market.channel_low
    cdef const double[:, ::1] z = market.z
    cdef Py_ssize_t r, t, window, order, delay, breakout, swing
    cdef Py_ssize_t k = symbols.shape[0]
    cdef bint inverts
    cdef Params p
    cdef State run
    cdef Tick tick
    with nogil:
        for r in range(k):
            if r + AHEAD < k:
                fetch_ahead(state_whole, rings_ns, rings_apr, r + AHEAD)
            load_params(&p, params_whole, params_real, r)
            load_state(&run, state_whole, state_real, r)
            window = p.entropy_window_min - 1
            order = p.entropy_order - 3
            delay = p.entropy_delay - 1
            breakout = p.breakout_periods - PERIODS_MIN
            swing = p.swing_periods - PERIODS_MIN
            inverts = p.system_type == SYSTEM_SWING
            for t in range(first[symbols[r]], first[symbols[r] + 1]):
                tick.ns = instants[t]
                if run.exit_code != ALIVE or tick.ns <= run.born_ns:
                    continue
                if run.iterations > 0 and tick.ns - run.evaluated_ns < p.decision_distance_s * SECOND_NS:
                    continue
                tick.price = prices[t]
                tick.volatility = volatilities[t]
                tick.side = 0
                if (
                    seen[t, window] > p.entropy_min_samples
                    and entropies[t, window, order, delay] < p.entropy_max
                ):
                    if p.entry == ENTRY_WEIGHT:
                        tick.side = 1 if weights[t] > 0 else -1
                    elif inverts:
                        tick.side = sign_of(z[t, swing] > p.swing_z, z[t, swing] < -p.swing_z)
                    else:
                        tick.side = sign_of(prices[t] > highs[t, breakout], prices[t] < lows[t, breakout])
                    if inverts:
                        tick.side = -tick.side
                evaluate(&p, &run, rings_ns[r], rings_apr[r], &tick)
            save_state(&run, state_whole, state_real, r)
