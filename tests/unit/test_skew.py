"""How far a clock is off, as values."""

import pytest

from trisagion.clock import SECOND_NS
from trisagion.safety.skew import WINDOW_S, Skew, Window, judge, offset_between


@pytest.mark.parametrize(
    ("off_s", "known", "found"),
    [
        (0.0, Skew.NONE, Skew.NONE),
        (0.999, Skew.NONE, Skew.NONE),
        (1.0, Skew.NONE, Skew.ALARM),
        (-1.0, Skew.NONE, Skew.ALARM),
        (4.999, Skew.NONE, Skew.ALARM),
        (5.0, Skew.NONE, Skew.SHUT),
        (-5.0, Skew.ALARM, Skew.SHUT),
        (0.6, Skew.ALARM, Skew.ALARM),
        (0.6, Skew.SHUT, Skew.ALARM),
        (0.4, Skew.SHUT, Skew.NONE),
    ],
)
def test_an_offset_asks_for_an_alarm_at_one_second_and_a_shut_gate_at_five(
    off_s: float, known: Skew, found: Skew
) -> None:
    """Either way; what is known ends below half of a second."""
    assert judge(int(off_s * SECOND_NS), known) is found


@pytest.mark.parametrize(
    ("before", "theirs", "after", "offset"), [(10, 12, 15, 0), (10, 10, 15, 0), (10, 7, 15, 3), (10, 20, 15, -5)]
)
def test_an_answer_proves_no_more_than_it_must(before: int, theirs: int, after: int, offset: int) -> None:
    """What lies between our two looks proves nothing; else the distance from the nearer one."""
    assert offset_between(before, theirs, after) == offset


def test_the_least_of_the_last_while_is_the_offset() -> None:
    """A slow message hides none that was quick; what is older than the window says nothing."""
    window = Window()
    assert window.offset_ns(0.0) is None
    for at_s, offset_ns in ((0.0, 50), (0.5, 20), (0.6, 90), (7.0, 40), (7.5, 45)):
        window = window.seen(at_s, offset_ns)
    assert window.offset_ns(7.9) == 20
    assert window.offset_ns(WINDOW_S + 0.5) == 40
    assert window.offset_ns(WINDOW_S + 8.0) is None


def test_the_window_is_bounded() -> None:
    """One entry a second, whatever is heard."""
    window = Window()
    for step in range(100 * WINDOW_S):
        window = window.seen(step / 10, step)
    assert len(window.least) <= WINDOW_S
