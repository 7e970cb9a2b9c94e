"""A flag beside the database: whoever sees it sends nothing, and writes down that everything is paused."""

import os
import signal
import threading
from pathlib import Path

from tests.builders import TUESDAY_NS, Desk
from tests.integration.owned import owner, routed
from trisagion.adapters.killfile import KillFile
from trisagion.adapters.processes import Children
from trisagion.cli.run import Supervisor, listen
from trisagion.orders.state import OrderState
from trisagion.safety.modes import Mode
from trisagion.services import control
from trisagion.services.watch_flag import watch
from trisagion.settings import load

_S = OrderState
HEARD = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR2)
WAIT_S = 30.0


def _ended(name: str) -> None:
    """Wait for the thread of that name, which has been started."""
    for thread in threading.enumerate():
        if thread.name == name:
            thread.join(WAIT_S)
            assert not thread.is_alive()


def test_the_sessions_owner_claims_nothing_and_withdraws_what_works_while_the_file_is_there(
    desk: Desk, tmp_path: Path
) -> None:
    """Although the database says NORMAL; when it is gone again the database alone counts."""
    file = tmp_path / "KILL"
    desk.put(routed("T1"), routed("T2", intent="I2", state=_S.NEW))
    driver, session = owner(desk)
    driver.flag = KillFile(file).raised
    file.touch()
    driver.drain(TUESDAY_NS)
    assert driver.enforce(TUESDAY_NS)
    assert session.asked == [("cancel", "T2")]
    assert desk.order("T1").reason == "MODE_FORBIDS: mode=pause"
    assert desk.mode() is Mode.NORMAL
    file.unlink()
    desk.put(routed("T3", intent="I3"))
    driver.drain(TUESDAY_NS)
    assert session.asked == [("cancel", "T2"), ("new", "T3")]


def test_what_the_file_demands_is_written_down_and_outlives_it(desk: Desk, tmp_path: Path) -> None:
    """Once, with its words; a release under it is taken back at the next look, and an Emergency stays one."""
    file = tmp_path / "KILL"
    flag = KillFile(file).raised
    watch(desk.database, flag, TUESDAY_NS)
    assert desk.mode() is Mode.NORMAL
    file.write_text("smoke in the room\n", encoding="utf-8")
    for _ in range(3):
        watch(desk.database, flag, TUESDAY_NS)
    [event] = desk.events("control.engaged")
    assert "smoke in the room" in event
    control.release(desk.database, "bob", "aired", TUESDAY_NS)
    watch(desk.database, flag, TUESDAY_NS)
    assert desk.mode() is Mode.PAUSE
    file.unlink()
    watch(desk.database, flag, TUESDAY_NS)
    assert desk.mode() is Mode.PAUSE
    desk.switch(Mode.EMERGENCY)
    file.touch()
    watch(desk.database, flag, TUESDAY_NS)
    assert desk.mode() is Mode.EMERGENCY


def test_a_signal_pauses_by_the_database_and_by_the_file_where_that_does_not_answer(
    desk: Desk, sqlite_url: str, tmp_path: Path
) -> None:
    """SIGUSR2 to a supervisor that listens, as `trisagion run` does; the signal is a real one."""
    before = {number: signal.getsignal(number) for number in HEARD}
    for url, word in ((sqlite_url, Mode.PAUSE), (f"sqlite:///{tmp_path}/no/such.sqlite3", Mode.PAUSE)):
        settings = load(None, {}, {"database.url": url, "platform.state": str(tmp_path)})
        listen(Supervisor(settings, tmp_path / "runs" / "one", tmp_path, [], Children(), lambda: None))
        try:
            os.kill(os.getpid(), signal.SIGUSR2)
            _ended("pause")
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
        assert desk.mode() is word
    [event] = desk.events("control.engaged")
    assert f"SIGUSR2 to the supervisor, pid {os.getpid()}" in event
    assert (tmp_path / "KILL").read_text(encoding="utf-8").startswith("SIGUSR2")
