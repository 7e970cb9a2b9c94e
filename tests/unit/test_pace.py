"""The share of messages of a session."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trisagion.errors import ConfigError
from trisagion.gateway.pace import RollingSecond, TokenBucket

RESERVE = Decimal("0.2")


def sent(bucket: TokenBucket, now_s: float, count: int, *, urgent: bool) -> tuple[TokenBucket, int]:
    """Return the bucket after trying to send some messages at one instant, and how many went out."""
    done = 0
    for _ in range(count):
        after = bucket.take(now_s, urgent=urgent)
        if after is not None:
            bucket, done = after, done + 1
    return bucket, done


def test_new_orders_leave_the_reserve_to_cancels() -> None:
    """Of ten a second, two are kept: eight new orders, then two cancels, then nothing."""
    bucket, new = sent(TokenBucket(10, RESERVE, 10.0, 5.0), 5.0, 20, urgent=False)
    bucket, cancels = sent(bucket, 5.0, 20, urgent=True)
    assert (new, cancels) == (8, 2)
    assert sent(bucket, 5.1, 5, urgent=True)[1] == 1


def test_an_owner_begins_with_nothing() -> None:
    """Its predecessor may have used up the second that it comes up in."""
    bucket = TokenBucket.empty(10, RESERVE, 100.0)
    assert bucket.take(100.0, urgent=True) is None
    assert sent(bucket, 101.0, 20, urgent=True)[1] == 10


def test_a_single_message_a_second_is_not_eaten_by_its_reserve() -> None:
    """Or nothing new could ever be sent."""
    assert sent(TokenBucket.empty(1, Decimal("0.9"), 0.0), 1.0, 3, urgent=False)[1] == 1


def test_a_minute_has_its_own_share_and_its_own_reserve() -> None:
    """Of sixty a minute twelve are kept for cancels; then one goes out each second, whatever a second could take."""
    bucket = TokenBucket(100, RESERVE, 100.0, 0.0, 60, 60.0)
    assert bucket.room(0.0, urgent=False) == 48
    bucket, new = sent(bucket, 0.0, 80, urgent=False)
    bucket, cancels = sent(bucket, 0.0, 80, urgent=True)
    assert (new, cancels) == (48, 12)
    assert bucket.room(1.0, urgent=True) == 1
    assert bucket.room(1.0, urgent=False) == 0
    assert bucket.room(30.0, urgent=False) == 18
    assert TokenBucket.empty(100, RESERVE, 0.0, 60).room(1.0, urgent=True) == 1


@pytest.mark.parametrize(("per_s", "reserve"), [(0, "0"), (-1, "0"), (1, "1"), (1, "-0.1")])
def test_a_share_that_lets_nothing_pass_is_refused(per_s: int, reserve: str) -> None:
    """With what was expected."""
    with pytest.raises(ConfigError, match="at least 1 message a second"):
        TokenBucket.empty(per_s, Decimal(reserve), 0.0)
    with pytest.raises(ConfigError, match="1 a minute"):
        TokenBucket.empty(1, Decimal(0), 0.0, 0)


@given(
    st.integers(1, 50),
    st.decimals("0", "0.9", places=1),
    st.lists(st.tuples(st.floats(0.0, 0.7), st.booleans(), st.integers(1, 30)), max_size=20),
)
def test_no_span_of_time_sees_more_than_a_burst_and_the_rate(
    per_s: int, reserve: Decimal, tries: list[tuple[float, bool, int]]
) -> None:
    """Between any two instants at most a second's worth and the rate times the time, whatever is asked for."""
    bucket, now_s, log = TokenBucket.empty(per_s, reserve, 0.0), 0.0, [(0.0, 0)]
    for wait_s, urgent, count in tries:
        now_s += wait_s
        bucket, done = sent(bucket, now_s, count, urgent=urgent)
        log.append((now_s, done))
    for first, (begin_s, _) in enumerate(log):
        total = 0
        for end_s, done in log[first:]:
            total += done
            assert total <= per_s * min(end_s, 1.0 + end_s - begin_s) + 1e-6


@given(
    st.integers(8, 50),
    st.lists(st.tuples(st.floats(0.0, 0.4), st.integers(1, 5), st.integers(0, 3)), min_size=1, max_size=100),
)
def test_no_second_sees_more_than_its_messages(per_s: int, tries: list[tuple[float, int, int]]) -> None:
    """Whoever waits as long as it is told may speak then, and whatever is to be kept is left."""
    pace, now_s, log = RollingSecond(per_s), 100.0, []
    for pause_s, count, keep in tries:
        now_s += pause_s
        now_s += pace.wait_s(now_s, count=count, keep=keep)
        now_s += pace.wait_s(now_s, count=count, keep=keep)  # A sum of floats may fall short of its last bit.
        assert not pace.wait_s(now_s, count=count, keep=keep)
        pace.say(now_s, count)
        log.append((now_s, count))
        assert sum(said for at_s, said in log if now_s - at_s < 1.0) + keep <= per_s


def test_what_is_more_than_a_second_takes_goes_after_silence() -> None:
    """Or it would wait for ever."""
    pace = RollingSecond(2)
    pace.say(10.0)
    assert pace.wait_s(10.25, count=5) == 0.75
    assert not pace.wait_s(11.0, count=5)
