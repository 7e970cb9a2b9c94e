"""Look at what needs no database, while another thread waits for one that does not answer: unreadable means Pause.

The flag shuts the wire at this look. Where the database has said nothing for too long, or not what is in force, all
that works is cancelled without it, at once where the flag is up. What was done so is told as soon as it can be written
down.
"""

from dataclasses import dataclass, field

from trisagion.services.drive_session import PRESENT_S, SessionDriver
from trisagion.services.wire import FLAGGED_S, UNREAD_S


@dataclass(slots=True)
class Watchman:
    """Watches over one session's driver: `look` on a thread that never waits for the database, `tell` on one that does.

    `untold` are the cancels that were asked for without the database, since somebody was told.
    """

    driver: SessionDriver
    untold: int = field(default=0, init=False)
    _last_s: float | None = field(default=None, init=False)
    _since_s: float = field(default=0.0, init=False)

    def look(self) -> None:
        """Look once."""
        driver, present_s = self.driver, self.driver.clock()
        if self._last_s is None or present_s - self._last_s > PRESENT_S:
            # The process stood still, and with it whoever reads: that is no word on the database.
            self._since_s = present_s
        self._last_s = present_s
        up = driver.flag() is not None
        unread = present_s - max(driver.read_s, self._since_s) > (FLAGGED_S if up else UNREAD_S)
        driver.wire.shut = up or unread
        if unread:
            self.untold += driver.stop_unread()

    def tell(self, now_ns: int) -> None:
        """Write down what was done while that was not possible."""
        count = self.untold
        if count:
            text = (
                f"UNREAD: what is in force could not be read, and the cancel of {count} orders was asked for without it"
            )
            with self.driver.database.transaction() as tx:
                tx.control.add_event("session.alarm", self.driver.name, {"text": text}, now_ns)
            self.untold -= count
