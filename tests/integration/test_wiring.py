"""`trisagion.wiring`: which instant the tasks of a process judge by."""

import pytest

from tests.builders import TUESDAY_NS, Desk
from trisagion import wiring
from trisagion.clock import SECOND_NS
from trisagion.ports import Replay
from trisagion.settings import Settings
from trisagion.wiring import House
from workers.app import app
from workers.tasks import gateway, session

HOUR_NS = 3600 * SECOND_NS


class Noon:
    """A clock that stands still."""

    def now_ns(self) -> int:
        """Return the instant."""
        return TUESDAY_NS


@pytest.mark.parametrize("rung_ns", [0, TUESDAY_NS - HOUR_NS, TUESDAY_NS])
def test_a_message_that_comes_late_is_judged_by_the_present(
    desk: Desk, rung_ns: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A broker may hold it back until a rest has begun, or until an order is too old."""
    monkeypatch.setattr(wiring, "SystemClock", Noon)
    house = House(Settings())
    vars(house)["database"] = desk.database
    assert house.present_ns(rung_ns) == TUESDAY_NS


@pytest.mark.parametrize(("come_to_ns", "present_ns"), [(TUESDAY_NS - HOUR_NS, TUESDAY_NS), (TUESDAY_NS, TUESDAY_NS)])
def test_in_a_replay_the_present_is_what_was_rung(desk: Desk, come_to_ns: int, present_ns: int) -> None:
    """The data have come no further; a message of an earlier minute is judged by the present one."""
    replay = Replay("es", "d", 1, "s", 0, 2 * TUESDAY_NS, come_to_ns, 60.0, 0, finished=False)
    with desk.database.transaction() as tx:
        tx.control.put_replay(replay)
    house = House(Settings())
    vars(house)["database"] = desk.database
    assert house.present_ns(TUESDAY_NS) == present_ns
    assert house.present_ns(0) == come_to_ns


@pytest.mark.parametrize("task", ["gateway.route", "gateway.amend", "session.drain"])
def test_every_task_on_the_way_to_the_socket_judges_by_the_present(task: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What may send or price an order is not told the instant of the message."""
    told: list[int] = []

    class Watched:
        """A wiring and a driver that remember the instant."""

        name = "x"

        def expect_instant(self, now_ns: int) -> None:
            assert now_ns == 3

        def present_ns(self, _rung_ns: int) -> int:
            return 7

        def retrying(self, use_case: object) -> tuple[()]:
            assert callable(use_case)
            use_case()
            return ()

        def route(self, _subject: str, now_ns: int) -> None:
            told.append(now_ns)

        amend = route

        def drain(self, now_ns: int) -> None:
            told.append(now_ns)

    for module in (gateway, session):
        monkeypatch.setattr(module, "house", Watched)
    monkeypatch.setattr("workers.app.house", Watched)
    monkeypatch.setattr("workers.sessions.owner.driver", Watched)
    app.tasks[task].run(3, "x")
    assert told == [7]
