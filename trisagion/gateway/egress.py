"""Which path a session's connection takes to its venue, and when it leaves it.

Theory of operation. A session has a list of paths, the best first. Each has a circuit breaker: closed, connections may
take the path; open, they may not before an instant that backs off at each failure; half open, one trial is on its way.
`step` is the whole policy: a state and what happened become a state and what is to be done. It opens no socket, reads
no clock and draws nothing: instants, and the share of a back-off that was drawn, come with the event.

* The choice is sticky. A path is left because it failed, or, for a better one, while nothing but heartbeats passes and
  after the better one has been well for a time that doubles with each connection that it lost before. Until then a path
  that lost a connection is taken only when there is no other: a probe cannot tell that it will carry one.
* A path fails at once when it refuses, times out, resets, presents a wrong certificate, or is silent: something was
  written, and nothing was read for two heartbeats. A peer that lives sends a heartbeat after one, and answers the
  TestRequest that the engine sends after 1.2 (FIX 4.4, "Heartbeat"; the engine itself gives up at 2.4).
* A connection that the far end closes early fails its path at the third time in a row: a venue closes a logon that it
  does not want, and on every path alike. After a silence it does not count at all for 2.4 heartbeats, for so long the
  venue may hold the lost connection for live, and then it must close the new one (FIX session test case 1b).
* A change of path is always a disconnect. Nothing that was written on one path is ever written again on another.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final, TypeAlias

from trisagion.clock import SECOND_NS

SILENT_HEARTBEATS: Final = 2
LATE_NS: Final = 3 * SECOND_NS
"""What a heartbeat may be late: QuickFIX looks once a second. It matters below three seconds of heartbeat alone."""

HELD_HEARTBEATS: Final = 2.4
"""After which the other end gives up a connection on which it hears nothing, as QuickFIX does."""

BACKOFF_NS_MIN: Final = SECOND_NS
BACKOFF_NS_MAX: Final = 15 * SECOND_NS
"""The bound of a back-off doubles from one to the other; the wait is drawn evenly below it ("full jitter", M. Brooker,
Exponential Backoff and Jitter, AWS Architecture Blog, 2015)."""

STRANDED_NS: Final = 2 * SECOND_NS
"""A session without any path that is up tries one this often: back-off is for choosing, not for standing still."""

EARLY_NS: Final = 10 * SECOND_NS
EARLY_MAX: Final = 3
UNANSWERED_NS: Final = 5 * SECOND_NS
"""A client that gives up after so long without an answer has found the path dumb, not changed its mind."""

DOUBLINGS_MAX: Final = 5
WHY_MAX: Final = 200
"""Characters of a reason that are kept."""


class Breaker(StrEnum):
    """Whether a path may be taken."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class Fault(StrEnum):
    """What is wrong with a path."""

    REFUSED = "refused"
    TIMEOUT = "timeout"
    RESET = "reset"
    PROXY = "proxy"
    TLS = "tls"
    EARLY = "ended early"
    SILENT = "silent"


class End(StrEnum):
    """How a connection that was up came to its end."""

    CLIENT = "the client closed it"
    FAR = "the far end closed it"
    RESET = "reset"
    TLS = "TLS failed"
    LEFT = "left"


class What(StrEnum):
    """The kinds of events that are recorded."""

    STARTED = "started"
    CONNECTED = "connected"
    LEFT = "left"
    DOWN = "down"
    UP = "up"
    STRANDED = "stranded"
    LOST = "lost"


@dataclass(frozen=True, slots=True)
class EgressEvent:
    """A row of the record. `path` is empty where the event is about all of them."""

    session: str
    at_ns: int
    path: str
    what: What
    why: str


@dataclass(frozen=True, slots=True)
class Rules:
    """The durations of the policy. `probe_ns` 0: idle paths are never probed."""

    heartbeat_ns: int
    probe_ns: int
    quiet_ns: int
    healthy_ns: int

    @property
    def silence_ns(self) -> int:
        """How long nothing may be read after something was written."""
        return max(SILENT_HEARTBEATS * self.heartbeat_ns, self.heartbeat_ns + LATE_NS)


@dataclass(frozen=True, slots=True)
class Traffic:
    """A connection: up since when, when bytes were last read from the venue, written to it, and were no heartbeat."""

    since_ns: int
    read_ns: int | None = None
    written_ns: int | None = None
    active_ns: int = 0

    def silent_ns(self, now_ns: int) -> int:
        """Return for how long the venue has not answered what was written; 0 while nothing waits for an answer."""
        heard_ns = self.since_ns if self.read_ns is None else self.read_ns
        return now_ns - heard_ns if self.written_ns is not None and self.written_ns >= heard_ns else 0


@dataclass(frozen=True, slots=True)
class Path:
    """What is known of a path: since when it is up or down, and how many connections it lost since it was steady."""

    name: str
    since_ns: int
    breaker: Breaker = Breaker.CLOSED
    failures: int = 0
    strikes: int = 0
    early: int = 0
    failed_ns: int = 0
    retry_ns: int = 0
    probed_ns: int = 0
    probing: bool = False


@dataclass(frozen=True, slots=True)
class State:
    """All paths of a session, the best first, which of them is taken, and which was taken last."""

    paths: tuple[Path, ...]
    taken: str | None = None
    last: str | None = None
    excused_ns: int = 0
    stranded: bool = False

    def path(self, name: str) -> Path:
        """Return a path by its name."""
        return next(path for path in self.paths if path.name == name)

    def having(self, path: Path) -> "State":
        """Return the state with one path replaced."""
        return replace(self, paths=tuple(path if path.name == known.name else known for known in self.paths))


@dataclass(frozen=True, slots=True)
class Asked:
    """The client wants a connection, and none is up."""

    at_ns: int


@dataclass(frozen=True, slots=True)
class Connected:
    """The taken path led to the venue."""

    at_ns: int


@dataclass(frozen=True, slots=True)
class Failed:
    """The taken path did not lead to the venue; None: the client went before that was known."""

    at_ns: int
    fault: Fault | None
    why: str
    draw: float


@dataclass(frozen=True, slots=True)
class Ended:
    """The connection that was up is closed on both sides."""

    at_ns: int
    end: End
    traffic: Traffic
    why: str
    draw: float


@dataclass(frozen=True, slots=True)
class Probed:
    """A probe of a path is over: `fault` None when the path led to the venue."""

    at_ns: int
    path: str
    fault: Fault | None
    why: str
    draw: float


@dataclass(frozen=True, slots=True)
class Looked:
    """Time has passed; `traffic` is that of the connection that is up."""

    at_ns: int
    traffic: Traffic | None


@dataclass(frozen=True, slots=True)
class EgressCount:
    """The newest event of its kind on its path, and how many of them there were."""

    newest: EgressEvent
    times: int


@dataclass(frozen=True, slots=True)
class Standing:
    """What the record says of a path. `since_ns` is of being up or down, None where that never changed."""

    path: str
    up: bool
    since_ns: int | None
    why: str
    carrying: bool
    carried: int
    left_ns: int | None
    left_why: str


Event: TypeAlias = Asked | Connected | Failed | Ended | Probed | Looked


@dataclass(frozen=True, slots=True)
class Note:
    """What is to be recorded of a step."""

    path: str
    what: What
    why: str


@dataclass(frozen=True, slots=True)
class Step:
    """A state, and what is to be done: take a path, leave the connection because of something, probe paths, record."""

    state: State
    notes: tuple[Note, ...] = ()
    take: str | None = None
    leave: str | None = None
    probe: tuple[str, ...] = ()


def begin(names: Sequence[str], now_ns: int) -> State:
    """Return the state of which nothing was tried: every path may be taken, the first one first."""
    assert len(set(names)) == len(names) > 0, names
    return State(tuple(Path(name, now_ns, probed_ns=now_ns) for name in names))


def step(state: State, event: Event, rules: Rules) -> Step:
    """Return what becomes of a state by an event, and what is to be done."""
    match event:
        case Asked():
            return _asked(state, event, rules)
        case Connected():
            assert state.taken is not None
            return Step(replace(state, stranded=False), (Note(state.taken, What.CONNECTED, ""),))
        case Failed():
            return _failed(state, event, rules)
        case Ended():
            return _ended(state, event, rules)
        case Probed():
            return _probed(state, event, rules)
        case Looked():
            return _looked(state, event, rules)


def standings(counts: Sequence[EgressCount], names: Sequence[str]) -> list[Standing]:
    """Read each path's standing off the record, first those of `names`, then others that the record knows.

    A forwarder that begins anew knows nothing of what was: all its paths are up, and none of its predecessor carries.
    """
    known = {(count.newest.path, count.newest.what): count for count in counts}
    started = known.get(("", What.STARTED))
    begun_ns = 0 if started is None else started.newest.at_ns
    others = sorted({path for path, _ in known} - {"", *names})
    return [_standing(known, path, begun_ns) for path in (*names, *others)]


def _standing(known: Mapping[tuple[str, What], EgressCount], path: str, begun_ns: int) -> Standing:
    def newest(what: What) -> EgressEvent | None:
        count = known.get((path, what))
        return None if count is None else count.newest

    changes = [event for event in (newest(What.UP), newest(What.DOWN)) if event is not None and event.at_ns >= begun_ns]
    change = max(changes, key=lambda event: event.at_ns, default=None)
    connected, left = newest(What.CONNECTED), newest(What.LEFT)
    return Standing(
        path=path,
        up=change is None or change.what is What.UP,
        since_ns=None if change is None else change.at_ns,
        why="" if change is None else change.why,
        carrying=connected is not None and connected.at_ns >= max(begun_ns, 0 if left is None else left.at_ns + 1),
        carried=0 if connected is None else known[path, What.CONNECTED].times,
        left_ns=None if left is None else left.at_ns,
        left_why="" if left is None else left.why,
    )


_TWS_LENGTH: Final = 4
_TWS_TIME: Final = b"49\0"
"""reqCurrentTime and currentTime."""


def only_heartbeats(chunk: bytes) -> bool:
    """Tell whether bytes of a session are whole heartbeats; when in doubt they are not.

    FIX has Heartbeats and TestRequests. A TWS has none, so its time is asked for, under one number both ways.
    """
    if not chunk.startswith(b"8=FIX"):
        return _only_times(chunk)
    kinds = chunk.count(b"\x0135=")
    pulse = chunk.count(b"\x0135=0\x01") + chunk.count(b"\x0135=1\x01")
    return chunk.endswith(b"\x01") and kinds == pulse > 0


def _only_times(chunk: bytes) -> bool:
    """Tell whether bytes are whole messages of a TWS, each its length and its fields, and ask for or tell the time."""
    at = 0
    while len(chunk) - at >= _TWS_LENGTH:
        begin = at + _TWS_LENGTH
        at = begin + int.from_bytes(chunk[at:begin], "big")
        if not chunk.startswith(_TWS_TIME, begin):
            return False
    return at == len(chunk) > 0


def _asked(state: State, event: Asked, rules: Rules) -> Step:
    assert state.taken is None, state.taken
    name = _choice(state, event.at_ns, rules)
    if name is None:
        told = () if state.stranded else (Note("", What.STRANDED, "every path is down"),)
        return Step(replace(state, stranded=True), told)
    path = state.path(name)
    if path.breaker is Breaker.OPEN:
        state = state.having(replace(path, breaker=Breaker.HALF_OPEN))
    return Step(replace(state, taken=name, last=name), take=name)


def _choice(state: State, now_ns: int, rules: Rules) -> str | None:
    closed = [path for path in state.paths if path.breaker is Breaker.CLOSED]
    # A probe goes no further than the venue's port: it tells nothing of a path that lost a connection beyond that.
    trusted = [path for path in closed if path.strikes == 0 or _is_well(path, now_ns, rules)]
    names = [path.name for path in trusted]
    if state.last in names:
        return _better(state, state.last, now_ns, rules) or state.last
    if names:
        return names[0]
    if closed:
        return min(closed, key=lambda path: path.failed_ns).name
    down = [path for path in state.paths if path.breaker is Breaker.OPEN]
    due = (path for path in down if path.retry_ns <= now_ns)
    waited = (path for path in down if path.failed_ns + STRANDED_NS <= now_ns)
    path = next(due, None) or min(waited, key=lambda path: path.failed_ns, default=None)
    return None if path is None else path.name


def _better(state: State, than: str, now_ns: int, rules: Rules) -> str | None:
    """Return a path before another one that has been well for long enough."""
    before = state.paths[: [path.name for path in state.paths].index(than)]
    return next((path.name for path in before if _is_well(path, now_ns, rules)), None)


def _is_well(path: Path, now_ns: int, rules: Rules) -> bool:
    well_ns = rules.healthy_ns << min(path.strikes, DOUBLINGS_MAX)
    return path.breaker is Breaker.CLOSED and now_ns - path.since_ns >= well_ns


def _failed(state: State, event: Failed, rules: Rules) -> Step:
    assert state.taken is not None
    path, free = state.path(state.taken), replace(state, taken=None)
    if event.fault is None:
        # The trial was not finished: whoever comes next may make it.
        breaker = Breaker.OPEN if path.breaker is Breaker.HALF_OPEN else path.breaker
        return Step(free.having(replace(path, breaker=breaker)))
    return _down(free, path, event.at_ns, f"{event.fault}: {event.why}", event.draw, rules)


def _ended(state: State, event: Ended, rules: Rules) -> Step:
    assert state.taken is not None
    path, free = state.path(state.taken), replace(state, taken=None)
    fault = _fault(event, rules)
    left = Note(path.name, What.LEFT, _shortened(event.why or event.end))
    lasting = event.traffic.read_ns is not None and event.at_ns - event.traffic.since_ns >= EARLY_NS
    if fault is Fault.EARLY:
        early = path.early + (event.at_ns >= state.excused_ns)
        path = replace(path, early=early)
        fault = Fault.EARLY if early >= EARLY_MAX else None
    elif lasting:
        path = replace(path, early=0)
    if fault is None:
        # What was heard on it or not is settled by `_looked`; a trial that was never answered stays one.
        breaker = Breaker.OPEN if path.breaker is Breaker.HALF_OPEN else path.breaker
        return Step(free.having(replace(path, breaker=breaker)), (left,))
    if fault is Fault.SILENT:
        free = replace(free, excused_ns=event.at_ns + int(HELD_HEARTBEATS * rules.heartbeat_ns))
    struck = replace(path, strikes=path.strikes + 1, early=0)
    down = _down(free, struck, event.at_ns, f"{fault}: {event.why or event.end}", event.draw, rules)
    return replace(down, notes=(left, *down.notes))


def _fault(event: Ended, rules: Rules) -> Fault | None:
    """Tell what the end of a connection says about its path."""
    age_ns = event.at_ns - event.traffic.since_ns
    unheard = event.traffic.read_ns is None
    if event.end in {End.RESET, End.TLS}:
        return Fault.RESET if event.end is End.RESET else Fault.TLS
    if event.traffic.silent_ns(event.at_ns) >= SILENT_HEARTBEATS * rules.heartbeat_ns:
        return Fault.SILENT
    if event.end is End.CLIENT and unheard and event.traffic.silent_ns(event.at_ns) >= UNANSWERED_NS:
        return Fault.SILENT
    if event.end is End.FAR and (unheard or age_ns < EARLY_NS):
        return Fault.EARLY
    return None


def _probed(state: State, event: Probed, rules: Rules) -> Step:
    path = replace(state.path(event.path), probing=False)
    if event.path == state.taken:
        return Step(state.having(path))  # its own connection tells more
    if event.fault is not None:
        return _down(state, path, event.at_ns, f"{event.fault}: {event.why}", event.draw, rules)
    return _up(state, path, event.at_ns, "a probe came through")


def _looked(state: State, event: Looked, rules: Rules) -> Step:
    notes: tuple[Note, ...] = ()
    leave = None
    if state.taken is not None and event.traffic is not None:
        path, traffic = state.path(state.taken), event.traffic
        if traffic.read_ns is not None:
            heard = _up(state, path, event.at_ns, "it carries the session")
            state, notes, path = heard.state, heard.notes, heard.state.path(path.name)
            if event.at_ns - traffic.since_ns >= rules.healthy_ns:
                state = state.having(replace(path, failures=0, strikes=0, early=0))
        leave = _leave(state, path.name, traffic, event.at_ns, rules)
    probe = tuple(path.name for path in state.paths if rules.probe_ns and _is_due(state, path, event.at_ns, rules))
    for name in probe:
        path = state.path(name)
        breaker = Breaker.HALF_OPEN if path.breaker is Breaker.OPEN else path.breaker
        state = state.having(replace(path, breaker=breaker, probing=True, probed_ns=event.at_ns))
    return Step(state, notes, leave=leave, probe=probe)


def _leave(state: State, name: str, traffic: Traffic, now_ns: int, rules: Rules) -> str | None:
    silent_ns = traffic.silent_ns(now_ns)
    if silent_ns >= rules.silence_ns:
        return f"nothing was read for {silent_ns / SECOND_NS:.1f} s"
    quiet = now_ns - max(traffic.active_ns, traffic.since_ns) >= rules.quiet_ns
    better = _better(state, name, now_ns, rules) if quiet else None
    return None if better is None else f"{better} is well again"


def _is_due(state: State, path: Path, now_ns: int, rules: Rules) -> bool:
    if path.probing or path.name == state.taken or path.breaker is Breaker.HALF_OPEN:
        return False
    return now_ns >= (path.retry_ns if path.breaker is Breaker.OPEN else path.probed_ns + rules.probe_ns)


def _up(state: State, path: Path, now_ns: int, why: str) -> Step:
    if path.breaker is Breaker.CLOSED:
        return Step(state.having(path))
    path = replace(path, breaker=Breaker.CLOSED, since_ns=now_ns, probed_ns=now_ns)
    return Step(state.having(path), (Note(path.name, What.UP, why),))


def _down(state: State, path: Path, now_ns: int, why: str, draw: float, rules: Rules) -> Step:
    was_up = path.breaker is Breaker.CLOSED
    well = was_up and now_ns - path.since_ns >= rules.healthy_ns
    failures = 1 if well else path.failures + 1
    bound_ns = min(BACKOFF_NS_MIN << min(failures - 1, DOUBLINGS_MAX), BACKOFF_NS_MAX)
    path = replace(
        path,
        breaker=Breaker.OPEN,
        since_ns=now_ns if was_up else path.since_ns,
        failures=failures,
        failed_ns=now_ns,
        retry_ns=now_ns + int(draw * bound_ns),
    )
    # The record tells that a path went down, not each time that it was found so.
    return Step(state.having(path), (Note(path.name, What.DOWN, _shortened(why)),) if was_up else ())


def _shortened(why: str) -> str:
    return why if len(why) <= WHY_MAX else f"{why[: WHY_MAX - 1]}…"
