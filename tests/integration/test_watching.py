"""What the console shows, read from a database: how late the minute in work is."""

import pytest

from tests.builders import COHORT_RULES, ES, LIMITS, TUESDAY_NS, Desk, states
from trisagion.cli.watching import frames
from trisagion.clock import MINUTE_NS, SECOND_NS
from trisagion.ports import Replay
from trisagion.services.replay import begin, mark
from trisagion.units import money

T0 = TUESDAY_NS
SPEED = 60.0
ORIGIN_NS = 1_700_000_000 * SECOND_NS


@pytest.mark.parametrize(
    ("speed", "wall_s", "done", "lag_s"),
    [
        (SPEED, 5.0, 0, 240.0),
        (SPEED, 1.0, 0, 0.0),
        (SPEED, 0.5, 0, 0.0),
        (SPEED, 5.0, 1, 0.0),
        (0.0, 5.0, 0, 0.0),
    ],
    ids=["late", "on time", "early", "complete", "not paced"],
)
def test_a_minute_that_is_not_complete_is_late_by_the_clock_of_the_replay(
    empty: Desk, monkeypatch: pytest.MonkeyPatch, speed: float, wall_s: float, done: int, lag_s: float
) -> None:
    """At 60 data seconds a second the first minute is due after one; at full speed nothing is ever late."""
    replay = Replay("es", "d", 1, "s", T0, T0 + 60 * MINUTE_NS, T0, speed, ORIGIN_NS, finished=False)
    begin(empty.database, replay, [ES], money("1000"), COHORT_RULES, LIMITS)
    with empty.database.transaction() as tx:
        tx.market.put_state(states(1, T0)[0])
    if done:
        mark(empty.database, T0 + MINUTE_NS)
    monkeypatch.setattr("trisagion.clock.time.time_ns", lambda: ORIGIN_NS + int(wall_s * SECOND_NS))
    frame = next(frames(empty.database, 0.0, "USD"))
    assert frame is not None
    assert frame.lag_s == lag_s
