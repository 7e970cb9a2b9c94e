"""The policy of paths: which one is taken, when it is left, and what a broken one costs."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trisagion.clock import SECOND_NS
from trisagion.gateway.egress import (
    BACKOFF_NS_MAX,
    STRANDED_NS,
    WHY_MAX,
    Asked,
    Breaker,
    Connected,
    EgressCount,
    EgressEvent,
    End,
    Ended,
    Event,
    Failed,
    Fault,
    Looked,
    Note,
    Probed,
    Rules,
    State,
    Step,
    Traffic,
    What,
    begin,
    only_heartbeats,
    standings,
    step,
)

RULES = Rules(heartbeat_ns=10 * SECOND_NS, probe_ns=30 * SECOND_NS, quiet_ns=60 * SECOND_NS, healthy_ns=120 * SECOND_NS)
T0 = 1_000_000 * SECOND_NS


def at(seconds: float) -> int:
    """An instant."""
    return T0 + int(seconds * SECOND_NS)


class Session:
    """A session whose paths fail on command; the longest back-off is drawn, unless said otherwise."""

    def __init__(self, *names: str, rules: Rules = RULES) -> None:
        self.rules = rules
        self.state = begin(names or ("a", "b"), at(0))
        self.notes: list[Note] = []

    def do(self, event: Event) -> Step:
        """Take a step."""
        done = step(self.state, event, self.rules)
        self.state = done.state
        self.notes += done.notes
        return done

    def ask(self, s: float) -> str | None:
        """Ask for a connection."""
        return self.do(Asked(at(s))).take

    def connect(self, s: float) -> str:
        """Ask for a connection that then comes up."""
        name = self.ask(s)
        assert name is not None
        self.do(Connected(at(s)))
        return name

    def fail(self, s: float, fault: Fault | None = Fault.REFUSED, draw: float = 1.0) -> None:
        """Let the path that was taken not lead to the venue."""
        self.do(Failed(at(s), fault, "no", draw))

    def end(self, s: float, end: End, traffic: Traffic, draw: float = 1.0) -> Step:
        """Let the connection end."""
        return self.do(Ended(at(s), end, traffic, "", draw))

    def told(self) -> list[tuple[str, What]]:
        """What was recorded."""
        return [(note.path, note.what) for note in self.notes]


def lively(since: float, now: float) -> Traffic:
    """A connection on which heartbeats pass both ways, and nothing else since it is up."""
    return Traffic(at(since), read_ns=at(now), written_ns=at(now - 1), active_ns=at(since))


def test_the_first_path_is_taken_first_and_again() -> None:
    """A venue that closes a session in order says nothing about the path."""
    session = Session()
    assert session.connect(1) == "a"
    session.end(100, End.FAR, lively(1, 99))
    assert session.connect(101) == "a"
    assert session.told() == [("a", What.CONNECTED), ("a", What.LEFT), ("a", What.CONNECTED)]


@pytest.mark.parametrize("fault", [Fault.REFUSED, Fault.TIMEOUT, Fault.RESET, Fault.PROXY, Fault.TLS])
def test_a_path_that_does_not_lead_to_the_venue_is_down_at_once(fault: Fault) -> None:
    """The next connection takes the other one, and stays there when the first comes back."""
    session = Session()
    session.ask(1)
    session.fail(1, fault)
    assert session.connect(2) == "b"
    session.do(Probed(at(30), "a", None, "", 0.5))
    session.end(31, End.FAR, lively(2, 30))
    assert session.connect(32) == "b"
    assert session.notes[0] == Note("a", What.DOWN, f"{fault}: no")
    assert ("a", What.UP) in session.told()


@pytest.mark.parametrize(
    ("end", "age", "traffic", "down"),
    [
        (End.CLIENT, 300, lively(0, 299), False),
        (End.CLIENT, 1, Traffic(at(0)), False),
        (End.CLIENT, 4, Traffic(at(0), written_ns=at(0)), False),
        (End.CLIENT, 10, Traffic(at(0), written_ns=at(0)), True),
        (End.CLIENT, 24, Traffic(at(0), read_ns=at(1), written_ns=at(12)), True),
        (End.LEFT, 300, lively(0, 299), False),
        (End.LEFT, 24, Traffic(at(0), read_ns=at(1), written_ns=at(12)), True),
        (End.FAR, 300, lively(0, 299), False),
        (End.FAR, 1, lively(0, 1), False),
        (End.RESET, 300, lively(0, 299), True),
        (End.TLS, 0, Traffic(at(0), written_ns=at(0)), True),
    ],
)
def test_the_end_of_a_connection_says_whether_its_path_is_to_blame(
    end: End, age: float, traffic: Traffic, down: bool
) -> None:
    """A client that goes is no fault unless nobody answered it; a reset is one, and so is a silence."""
    session = Session()
    session.connect(0)
    session.end(age, end, traffic)
    assert (session.state.path("a").breaker is Breaker.OPEN) is down
    assert session.connect(age + 1) == ("b" if down else "a")


def test_a_path_on_which_the_far_end_hangs_up_early_is_left_at_the_third_time() -> None:
    """Once may be a venue that starts; a longer life in between forgives it."""
    session = Session()
    for s, age in ((0, 1), (10, 1), (20, 50), (100, 1), (110, 1)):
        assert session.connect(s) == "a"
        session.end(s + age, End.FAR, lively(s, s + age))
    assert session.connect(120) == "a"
    session.end(121, End.FAR, Traffic(at(120), written_ns=at(120)))
    assert session.connect(122) == "b"


def test_after_a_silence_a_venue_may_hang_up_for_as_long_as_it_holds_the_lost_connection() -> None:
    """It takes the new logon for a second one: 24 s with heartbeats of 10 s; no path is blamed for it."""
    session = Session()
    session.connect(0)
    session.end(20, End.LEFT, Traffic(at(0), read_ns=at(0), written_ns=at(10)))
    for s in range(21, 44):
        assert session.connect(s) == "b", s
        session.end(s + 0.1, End.FAR, Traffic(at(s), written_ns=at(s)))
    assert session.state.path("b").early == 0
    for s in (45, 46, 47):
        assert session.connect(s) == "b"
        session.end(s + 0.1, End.FAR, Traffic(at(s), written_ns=at(s)))
    assert session.state.path("b").breaker is Breaker.OPEN


@pytest.mark.parametrize(
    ("heartbeat", "traffic", "now", "left"),
    [
        (10, Traffic(at(0), read_ns=at(5), written_ns=at(15)), 24.9, False),
        (10, Traffic(at(0), read_ns=at(5), written_ns=at(15)), 25, True),
        (10, Traffic(at(0), read_ns=at(5), written_ns=at(4)), 100, False),
        (10, Traffic(at(0), written_ns=at(0)), 20, True),
        (10, Traffic(at(0)), 100, False),
        (1, Traffic(at(0), read_ns=at(0), written_ns=at(1)), 3.9, False),
        (1, Traffic(at(0), read_ns=at(0), written_ns=at(1)), 4, True),
    ],
)
def test_a_path_is_left_when_nothing_is_read_for_two_heartbeats(
    heartbeat: int, traffic: Traffic, now: float, left: bool
) -> None:
    """Only when something was written that wants an answer; a short heartbeat may be late by QuickFIX's second."""
    session = Session(rules=replace(RULES, heartbeat_ns=heartbeat * SECOND_NS))
    session.connect(0)
    assert (session.do(Looked(at(now), traffic)).leave is not None) is left


def test_a_better_path_is_gone_back_to_when_it_is_well_and_the_session_quiet() -> None:
    """Both, for as long as the rules say; a path that lost a connection has to be well for twice as long."""
    session = Session()
    session.connect(0)
    session.end(10, End.RESET, lively(0, 9))
    assert session.connect(11) == "b"
    session.do(Probed(at(12), "a", None, "", 0.5))
    busy = replace(lively(11, 400), active_ns=at(399))
    assert session.do(Looked(at(251), lively(11, 251))).leave is None
    assert session.do(Looked(at(400), busy)).leave is None
    assert session.do(Looked(at(252), lively(11, 252))).leave == "a is well again"
    session.end(253, End.LEFT, lively(11, 252))
    assert session.connect(254) == "a"


def test_a_probe_does_not_vouch_for_a_path_that_lost_a_connection() -> None:
    """It goes no further than the venue's port; of such paths the one that failed longer ago is taken."""
    session = Session()
    session.connect(0)
    session.end(20, End.LEFT, Traffic(at(0), read_ns=at(0), written_ns=at(10)))
    session.do(Probed(at(20.5), "a", None, "", 0.5))
    assert session.connect(21) == "b"
    session.end(30, End.FAR, lively(21, 30))
    assert session.connect(31) == "b"
    session.end(32, End.RESET, lively(31, 31))
    session.do(Probed(at(32.5), "b", None, "", 0.5))
    assert session.connect(33) == "a"
    session.end(34, End.RESET, lively(33, 33))
    session.do(Probed(at(34.5), "a", None, "", 0.5))
    assert session.connect(35) == "b"


def test_a_path_that_comes_back_and_is_down_again_waits_longer() -> None:
    """The bound of the wait doubles up to 15 s; a path that was well for a while begins anew; the draw is a share."""
    session = Session("a", "b")
    session.ask(0)
    waits = []
    now = 0.0
    session.fail(now)
    for _ in range(7):
        wait = (session.state.path("a").retry_ns - at(now)) / SECOND_NS
        assert "a" not in session.do(Looked(at(now + wait - 0.01), None)).probe
        now += wait
        assert "a" in session.do(Looked(at(now), None)).probe
        session.do(Probed(at(now), "a", Fault.TIMEOUT, "no", 1.0))
        waits.append(wait)
    assert waits == [1, 2, 4, 8, 15, 15, 15]
    assert session.told() == [("a", What.DOWN)]
    session.do(Looked(at(now + 15), None))
    session.do(Probed(at(now + 15), "a", None, "", 0.5))
    assert session.ask(now + 200) == "a"
    session.fail(now + 200, draw=0.25)
    assert session.state.path("a").retry_ns == at(now + 200.25)


def test_a_session_whose_paths_are_all_down_tries_one_every_two_seconds() -> None:
    """The one that failed longest ago, whatever its back-off; the record says once that the session is stranded."""
    session = Session()
    taken = []
    for s in range(9):
        name = session.ask(s)
        taken.append(name)
        if name is not None:
            session.do(Failed(at(s), Fault.REFUSED, "no", 0.99))
    assert taken == ["a", "b", "a", "b", "a", "b", "a", "b", "a"]
    assert session.told() == [("a", What.DOWN), ("b", What.DOWN)]
    alone = Session("a")
    tried = []
    for s in range(9):
        if alone.ask(s) is not None:
            alone.fail(s)
            tried.append(s)
    assert tried == [0, 1, 3, 5, 7]
    assert alone.told() == [("a", What.DOWN), ("", What.STRANDED)]


def test_a_trial_that_was_not_finished_may_be_made_again() -> None:
    """The client went before it was known where the path leads."""
    session = Session("a")
    session.ask(0)
    session.fail(0)
    assert session.ask(1) == "a"
    assert session.state.path("a").breaker is Breaker.HALF_OPEN
    session.fail(1, None)
    assert session.ask(1) == "a"
    session.do(Connected(at(1)))
    assert session.state.path("a").breaker is Breaker.HALF_OPEN
    session.do(Looked(at(2), lively(1, 2)))
    assert session.state.path("a").breaker is Breaker.CLOSED


def test_idle_paths_are_probed_and_a_failed_probe_takes_them_down() -> None:
    """Each at its period, never the one that carries, never twice at once; down, when its back-off is over."""
    session = Session("a", "b", "c")
    session.connect(0)
    assert session.do(Looked(at(29), lively(0, 29))).probe == ()
    assert session.do(Looked(at(30), lively(0, 30))).probe == ("b", "c")
    assert session.do(Looked(at(90), lively(0, 90))).probe == ()
    session.do(Probed(at(91), "b", Fault.TIMEOUT, "no", 1.0))
    session.do(Probed(at(91), "c", None, "", 1.0))
    assert session.notes[-1] == Note("b", What.DOWN, "timeout: no")
    assert session.do(Looked(at(92), lively(0, 92))).probe == ("b", "c")
    session.do(Probed(at(93), "b", None, "", 1.0))
    assert session.notes[-1] == Note("b", What.UP, "a probe came through")


def test_a_venue_that_forbids_stray_connections_gets_none() -> None:
    """Then a path that is down is tried by the session alone, when the others are down too."""
    session = Session(rules=replace(RULES, probe_ns=0))
    session.ask(0)
    session.fail(0)
    assert session.connect(1) == "b"
    assert session.do(Looked(at(10_000), lively(1, 10_000))).probe == ()
    session.end(10_000, End.RESET, lively(1, 9_999))
    assert session.ask(10_000) == "a"


ASKS_TIME = b"\0\0\0\x0549\x001\0"
TELLS_TIME = b"\0\0\0\x1049\x001\x001378000000\0"
PULSE = b"8=FIX.4.4\x019=5\x0135=0\x0149=A\x0110=000\x01"


@pytest.mark.parametrize(
    ("chunk", "quiet"),
    [
        (PULSE, True),
        (PULSE + PULSE.replace(b"35=0", b"35=1"), True),
        (PULSE + PULSE.replace(b"35=0", b"35=8"), False),
        (PULSE.replace(b"35=0", b"35=D"), False),
        (PULSE[:-4], False),
        (PULSE[3:], False),
        (b"", False),
        (b"8=FIX.4.4\x019=5\x01", False),
        (ASKS_TIME, True),
        (TELLS_TIME + ASKS_TIME, True),
        (ASKS_TIME + b"\0\0\0\x0571\x002\0", False),
        (ASKS_TIME[:-1], False),
        (ASKS_TIME + b"\0", False),
        (b"API\0\0\0\0\tv157..178", False),
    ],
)
def test_heartbeats_and_test_requests_are_no_activity(chunk: bytes, quiet: bool) -> None:
    """Whole ones alone; what is not known to be a heartbeat is activity."""
    assert only_heartbeats(chunk) is quiet


def test_a_long_reason_is_cut() -> None:
    """A proxy may say anything."""
    session = Session()
    session.ask(0)
    session.do(Failed(at(0), Fault.PROXY, "x" * 10_000, 1.0))
    assert len(session.notes[0].why) == WHY_MAX


def counted(*events: tuple[int, str, What]) -> list[EgressCount]:
    """Count events as the store does."""
    newest: dict[tuple[str, What], EgressCount] = {}
    for ns, path, what in events:
        before = newest.get((path, what))
        newest[path, what] = EgressCount(
            EgressEvent("SIM", ns, path, what, f"{what} {ns}"), 1 + (before.times if before else 0)
        )
    return list(newest.values())


def test_the_record_tells_how_each_path_stands() -> None:
    """Configured paths first; of those that are no more, what they did."""
    found = standings(
        counted(
            (1, "", What.STARTED),
            (2, "old", What.CONNECTED),
            (3, "old", What.LEFT),
            (4, "a", What.CONNECTED),
            (5, "a", What.LEFT),
            (6, "a", What.DOWN),
            (7, "b", What.CONNECTED),
        ),
        ("a", "b", "c"),
    )
    assert [(path.path, path.up, path.carrying, path.carried) for path in found] == [
        ("a", False, False, 1),
        ("b", True, True, 1),
        ("c", True, False, 0),
        ("old", True, False, 1),
    ]
    assert (found[0].since_ns, found[0].why, found[0].left_ns, found[0].left_why) == (6, "down 6", 5, "left 5")


def test_a_forwarder_that_begins_anew_carries_nothing_and_holds_nothing_down() -> None:
    """Its predecessor was killed and recorded no end."""
    [path] = standings(counted((4, "a", What.CONNECTED), (6, "a", What.DOWN), (9, "", What.STARTED)), ("a",))
    assert (path.up, path.since_ns, path.carrying, path.carried) == (True, None, False, 1)


NAMES = ("a", "b", "c")
MOVES = st.lists(
    st.tuples(
        st.floats(0.0, 40.0),
        st.sampled_from(["ask", "look", "end"]),
        st.sampled_from([None, *Fault]),
        st.sampled_from(list(End)),
        st.booleans(),
        st.floats(0.0, 1.0, exclude_max=True),
    ),
    max_size=60,
)


@given(MOVES, st.sampled_from([0, 30 * SECOND_NS]))
def test_whatever_fails_a_session_has_one_path_at_most_and_finds_one_that_works(
    moves: Sequence[tuple[float, str, Fault | None, End, bool, float]], probe_ns: int
) -> None:
    """No path before its back-off is over, none probed twice at once, nobody turned away while one is up."""
    rules = replace(RULES, probe_ns=probe_ns)
    state, now, traffic, probing = begin(NAMES, at(0)), 0.0, Traffic(at(0)), list[str]()
    up = False

    def do(event: Event) -> Step:
        nonlocal state
        before, done = state, step(state, event, rules)
        state = done.state
        holds(before, done, event, rules)
        return done

    for wait, move, fault, end, heard, draw in moves:
        now += wait
        if probing:
            do(Probed(at(now), probing.pop(), fault, "no", draw))
        if move == "ask" and not up:
            up = _tries(do, at(now), fault, draw)
            traffic = Traffic(at(now), read_ns=at(now) if heard else None, written_ns=at(now), active_ns=at(now))
        elif move == "look" or not up:
            probing += do(Looked(at(now), traffic if up else None)).probe
        else:
            do(Ended(at(now), end, traffic, "", draw))
            up = False
    if up:
        do(Ended(at(now), End.CLIENT, Traffic(at(now)), "", 0.0))
    for name in probing:
        do(Probed(at(now), name, None, "", 0.0))
    assert _tries(do, at(now) + STRANDED_NS, None, 0.0)


def _tries(do: Callable[[Event], Step], at_ns: int, fault: Fault | None, draw: float) -> bool:
    taken = do(Asked(at_ns)).take
    if taken is not None:
        do(Connected(at_ns) if fault is None else Failed(at_ns, fault, "no", draw))
    return taken is not None and fault is None


def holds(before: State, done: Step, event: Event, rules: Rules) -> None:
    """Assert what must hold of every step."""
    now_ns = event.at_ns
    assert [path.name for path in done.state.paths] == list(NAMES)
    if isinstance(event, Asked):
        closed = [path.name for path in before.paths if path.breaker is Breaker.CLOSED]
        assert done.take is not None or not closed
        if done.take is not None and done.take not in closed:
            assert not closed
            path = before.path(done.take)
            assert min(path.retry_ns, path.failed_ns + STRANDED_NS) <= now_ns
            assert done.state.path(done.take).breaker is Breaker.HALF_OPEN
    if isinstance(event, Failed | Ended):
        assert done.state.taken is None
    for path in done.state.paths:
        assert path.retry_ns <= max(now_ns + BACKOFF_NS_MAX, before.path(path.name).retry_ns)
    for name in done.probe:
        assert rules.probe_ns
        assert name != before.taken
        assert not before.path(name).probing
    if done.leave is not None:
        assert before.taken is not None
        assert isinstance(event, Looked)
