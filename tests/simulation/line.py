"""The wire, and a FIX engine at each end of it, as measured of QuickFIX; messages are plain mappings of tag and text.

* Both ends number what they send and keep it. What the other end has not had by the next logon is sent again then, in
  order, with PossDupFlag; the application may refuse that (`DoNotSend`), and the gap is filled.
* The engine numbers and keeps a message also while nobody is logged on, and says that it was sent.
* A message counts as received when the application's callback has returned. If the process ends in it, the message
  comes again to the next process.
* A broken connection loses what is under way; of what we sent, some may still arrive. Either end may learn of it late.
* The venue lets nobody on while it thinks that somebody is.
* A venue that has lost its store, resets its numbers or fills a gap with nothing never says again what was not heard.
"""

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Any, Final

import quickfix

from tests.fakes import Died
from tests.simulation.plan import Plan
from tests.simulation.world import Process, World, seconds
from trisagion.gateway.words import Fields, Tag, timestamp

RECONNECT_S: Final = 1.0
HEARTBEAT_S: Final = 10.0
HEARTBEATS_S: Final = 2.4 * HEARTBEAT_S
"""When an end notices that the other one is silent."""


@dataclass(slots=True)
class Numbers:
    """What one end has on its disk."""

    next_out: int = 1
    next_in: int = 1
    sent: dict[int, dict[int, str]] = field(default_factory=dict)


@dataclass(eq=False, slots=True)
class Connection:
    """A TCP connection; nothing arrives at an end after its instant."""

    engine: "Engine"
    out_until_ns: int = 2**63
    in_until_ns: int = 2**63
    out_last_ns: int = 0
    in_last_ns: int = 0
    logged_on: bool = False


class Wire:
    """Between our engine and the venue's. `receive` is the venue's application, `sent` watches what we put on it."""

    def __init__(self, world: World, plan: Plan, receive: Callable[[Fields], None]) -> None:
        self.world = world
        self.plan = plan
        self.random = world.stream("wire")
        self.receive = receive
        self.sent: Callable[[Process, Fields, bool], None] = lambda process, fields, alive: None
        self.ours = Numbers()
        self.theirs = Numbers()
        self.store_owner: Process | None = None
        self.current: Connection | None = None
        self.healed = False
        self.swallowed: set[str] = set()

    def swallow(self) -> None:
        """Let the venue forget what we have not heard yet."""
        numbers = range(self.ours.next_in, self.theirs.next_out)
        self.ours.next_in = self.theirs.next_out
        lost = [self.theirs.sent[number] for number in numbers]
        if lost:
            self.world.tell(f"the venue forgets {'; '.join(map(spoken, lost))}")
        self.swallowed |= {fields[Tag.EXEC_ID] for fields in lost if Tag.EXEC_ID in fields}

    def forget(self) -> None:
        """Let either end drop what the other one has had: it is never sent again, and a year of it is much."""
        for sender, hearer in ((self.ours, self.theirs), (self.theirs, self.ours)):
            for number in [number for number in sender.sent if number < hearer.next_in]:
                del sender.sent[number]

    def latency_ns(self) -> int:
        """Draw how long a message is under way."""
        return seconds(0.002 if self.healed else self.random.choice([0.001, 0.002, 0.005, 0.05]))

    def connect(self, engine: "Engine") -> Connection | None:
        """Open a connection, unless the venue has one."""
        if self.current is not None:
            return None
        self.current = Connection(engine)
        return self.current

    def cut(self, connection: Connection, *, venue_s: float, ours_s: float, arrives: bool) -> None:
        """Break a connection, which each end notices in its time."""
        now_ns = self.world.now_ns
        self.world.tell(f"the line breaks: venue notices in {venue_s:.1f} s, we in {ours_s:.1f} s")
        tail_ns = seconds(self.random.random() * 0.05) if arrives and not venue_s else 0
        connection.in_until_ns = min(connection.in_until_ns, now_ns)
        connection.out_until_ns = min(connection.out_until_ns, now_ns + tail_ns)
        # The venue reads what there is before it hears that there is no more.
        self.world.after(max(seconds(venue_s), tail_ns), lambda: self._venue_notices(connection))
        engine = connection.engine
        self.world.after(seconds(ours_s), lambda: engine.lost(connection), engine.process)

    def _venue_notices(self, connection: Connection) -> None:
        if self.current is connection:
            self.world.tell("the venue is alone")
            connection.out_until_ns = min(connection.out_until_ns, self.world.now_ns)
            self.current = None

    def push_out(self, connection: Connection, number: int, fields: Mapping[int, str]) -> bool:
        """Put a message of ours on the wire; tell whether it may arrive."""
        now_ns = self.world.now_ns
        at_ns = connection.out_last_ns = max(connection.out_last_ns, now_ns + self.latency_ns())
        self.world.after(at_ns - now_ns, lambda: self._arrive(connection, number, fields))
        return connection.out_until_ns > now_ns

    def _arrive(self, connection: Connection, number: int, fields: Mapping[int, str]) -> None:
        if self.world.now_ns > connection.out_until_ns or number < self.theirs.next_in:
            return
        # Numbers between were filled: what they stood for was not to be sent again.
        self.theirs.next_in = number + 1
        self.receive(fields)

    def say(self, fields: Fields) -> None:
        """Send what the venue says, now or at the next logon."""
        number = self.theirs.next_out
        self.theirs.next_out += 1
        self.theirs.sent[number] = {**fields, Tag.MSG_SEQ_NUM: str(number)}
        if self.current is not None and self.current.logged_on:
            self.push_in(self.current, number, self.theirs.sent[number])

    def push_in(self, connection: Connection, number: int, fields: Mapping[int, str]) -> None:
        """Put a message of the venue's on the wire."""
        now_ns = self.world.now_ns
        at_ns = connection.in_last_ns = max(connection.in_last_ns, now_ns + self.latency_ns())
        engine, stamped = connection.engine, {**fields, Tag.SENDING_TIME: timestamp(now_ns)}
        self.world.after(at_ns - now_ns, lambda: self._come(connection, number, stamped), engine.process)

    def _come(self, connection: Connection, number: int, fields: Mapping[int, str]) -> None:
        if self.world.now_ns <= connection.in_until_ns and connection.engine.connection is connection:
            connection.engine.inbox.append((number, fields))
            connection.engine.work()


class Engine:
    """Our end, in one process; what the adapter's module knows as a connection of QuickFIX's."""

    def __init__(self, wire: Wire, application: Any, process: Process, random: Random) -> None:
        self.wire = wire
        self.world = wire.world
        self.application = application
        self.process = process
        self.random = random
        self.connection: Connection | None = None
        self.inbox: deque[tuple[int, Mapping[int, str]]] = deque()
        self.hindered: Callable[[Mapping[int, str]], bool] = lambda fields: False
        self._working = False
        self._fresh: list[tuple[int, Mapping[int, str]]] | None = None
        process.engine = self
        process.on_death.append(self._gone)

    def start(self) -> None:
        """Connect, again and again."""
        self.world.after(seconds(0.01), self._connect, self.process)

    def stop(self) -> None:
        """Nobody stops an engine here: processes die."""
        raise AssertionError("no process of the simulation ends in good order")

    def is_logged_on(self) -> bool:
        """Tell what the engine would: it may not have noticed yet."""
        return self.connection is not None and self.connection.logged_on

    isLoggedOn = is_logged_on  # noqa: N815 - the engine's own name

    def _connect(self) -> None:
        self.connection = self.wire.connect(self)
        if self.connection is None:
            self.world.after(seconds(RECONNECT_S), self._connect, self.process)
            return
        connection = self.connection
        self.world.after(self.wire.latency_ns(), lambda: self._log_on(connection), self.process)

    def _log_on(self, connection: Connection) -> None:
        if self.connection is not connection or self.wire.current is not connection:
            return
        self.world.tell("logged on")
        connection.logged_on = True
        ours, theirs = self.wire.ours, self.wire.theirs
        if not self.wire.healed and self.random.random() < self.wire.plan.swallows:
            self.wire.swallow()
        for number in range(ours.next_in, theirs.next_out):
            again = {**theirs.sent[number], Tag.POSS_DUP_FLAG: "Y"}
            self.wire.push_in(connection, number, again)
        # What is new goes out behind what is missing: the venue would ask for that first.
        missing = range(theirs.next_in, ours.next_out)
        self._fresh = []
        self.application.onLogon(None)
        fresh, self._fresh = self._fresh, None
        for number in missing:
            if number in ours.sent:
                again = {**ours.sent[number], Tag.MSG_SEQ_NUM: str(number), Tag.POSS_DUP_FLAG: "Y"}
                if self._wanted(again):
                    self._put(number, again)
        for number, fields in fresh:
            self._put(number, fields)
        self._hear_heartbeat(connection)

    def _hear_heartbeat(self, connection: Connection) -> None:
        """Hear that the venue lives, and what its clock says, until the line breaks."""
        if self.connection is not connection or connection.in_until_ns <= self.world.now_ns:
            return
        if not self._working:
            self.application.fromAdmin({Tag.MSG_TYPE: "0", Tag.SENDING_TIME: timestamp(self.world.now_ns)}, None)
        self.world.after(seconds(HEARTBEAT_S), lambda: self._hear_heartbeat(connection), self.process, idle=True)

    def _wanted(self, fields: Mapping[int, str]) -> bool:
        try:
            self.application.toApp(fields, None)
        except quickfix.DoNotSend:
            return False
        return True

    def send(self, fields: Fields) -> bool:
        """Number, keep and send a message; true also when nobody is logged on."""
        number = self.wire.ours.next_out
        stamped = {**fields, Tag.MSG_SEQ_NUM: str(number)}
        dies = self.random.random() < self.wire.plan.dies_sending and not self.wire.healed
        if dies and self.random.random() < 0.5:
            self.world.tell(f"dies before sending {spoken(fields)}")
            raise Died
        if not self._wanted(stamped):
            return False
        self.wire.ours.next_out += 1
        self.wire.ours.sent[number] = dict(fields)
        if self._fresh is not None:
            self._fresh.append((number, stamped))
        elif self.is_logged_on():
            self._put(number, stamped)
        else:
            self.world.tell(f"keeps {spoken(fields)} for the next logon")
        if dies:
            self.world.tell("dies after sending")
            raise Died
        return True

    def _put(self, number: int, fields: Mapping[int, str]) -> None:
        assert self.connection is not None
        self.world.tell(f"says {spoken(fields)}")
        self.wire.sent(self.process, fields, self.wire.push_out(self.connection, number, fields))

    def work(self) -> None:
        """Hand up what has come, one after the other: the engine has one thread."""
        if self._working:
            return
        self._working = True
        try:
            while self.inbox:
                number, fields = self.inbox[0]
                if number >= self.wire.ours.next_in:
                    if self.hindered(fields):
                        self.world.after(seconds(0.01), self.work, self.process)
                        return
                    self.world.tell(f"hears {spoken(fields)}")
                    self._hand_up(fields)
                    self.wire.ours.next_in = number + 1
                if self.inbox and self.inbox[0][0] == number:
                    self.inbox.popleft()
        finally:
            self._working = False

    def _hand_up(self, fields: Mapping[int, str]) -> None:
        try:
            self.application.fromApp(fields, None)
        except quickfix.UnsupportedMessageType:
            self.world.tell("knows no such message")

    def lost(self, connection: Connection) -> None:
        """Notice that the connection is gone, and connect again."""
        if self.connection is not connection:
            return
        self.connection = None
        self.inbox.clear()
        self.world.tell("logged off")
        self.application.onLogout(None)
        self.world.after(seconds(RECONNECT_S), self._connect, self.process)

    def _gone(self) -> None:
        """The process died: its sockets are closed, and the directory of its store is free."""
        if self.wire.store_owner is self.process:
            self.wire.store_owner = None
        if self.connection is not None:
            self.wire.cut(self.connection, venue_s=0.0, ours_s=0.0, arrives=True)


_NAMES: Final = {
    "D": "order",
    "F": "cancel",
    "G": "replace",
    "H": "status?",
    "8": "report",
    "9": "cancel reject",
    "j": "business reject",
    "AN": "positions?",
    "AP": "positions",
}
_SHOWN: Final = (
    (Tag.CL_ORD_ID, ""),
    (Tag.ORIG_CL_ORD_ID, "of "),
    (Tag.EXEC_ID, ""),
    (Tag.EXEC_TYPE, "150="),
    (Tag.ORD_STATUS, "39="),
    (Tag.SYMBOL, ""),
    (Tag.SIDE, "54="),
    (Tag.ORDER_QTY, "qty "),
    (Tag.PRICE, "at "),
    (Tag.LAST_QTY, "last "),
    (Tag.CUM_QTY, "cum "),
    (Tag.LEAVES_QTY, "leaves "),
    (Tag.LONG_QTY, "long "),
    (Tag.SHORT_QTY, "short "),
    (Tag.TEXT, ""),
    (Tag.POSS_DUP_FLAG, "PossDup "),
)


def spoken(fields: Mapping[int, str]) -> str:
    """Write a message for the story."""
    kind = fields[Tag.MSG_TYPE]
    said = " ".join(f"{label}{fields[tag]}" for tag, label in _SHOWN if tag in fields)
    return f"{_NAMES.get(kind, kind)} #{fields.get(Tag.MSG_SEQ_NUM, '-')} {said}"
