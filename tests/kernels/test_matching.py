"""The matching core: both twins against rules worked out by hand, and against each other on any messages."""

import importlib.util
import sys
import time
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import ext.matching
from ext.matching import VALUE_MAX, Column, Happening, Kind, Manner, Message, Reason, State, _kernel, _reference

WINDOW_NS = 60
Tape = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]
POST, IOC, FOK = Manner.POST_ONLY, Manner.IMMEDIATE_OR_CANCEL, Manner.FILL_OR_KILL
H = Happening


@pytest.fixture(params=[_reference, _kernel], ids=["reference", "kernel"])
def twin(request: pytest.FixtureRequest) -> ModuleType:
    """Each twin in turn."""
    module: ModuleType = request.param
    return module


def tape(*prints: tuple[int, int, int]) -> Tape:
    """Prints as (instant, ticks, lots)."""
    ts_ns, ticks, lots = np.array(prints, dtype=np.int64).reshape(-1, 3).T
    return ts_ns.copy(), ticks.copy(), lots.copy()


def ask(kind: Kind, number: int = 0, **columns: int) -> list[int]:
    """One message: an order is a buyer's of the first owner, of one lot, unless said otherwise."""
    row = dict.fromkeys(Message, 0) | {Message.SIDE: 1, Message.LOTS: 1, Message.KIND: kind, Message.NUMBER: number}
    return list((row | {Message[name.upper()]: value for name, value in columns.items()}).values())


def run(matcher: Any, *messages: list[int], steps_max: int = 2**40) -> list[list[int]]:
    """Hand messages in until all are done; the events."""
    rows = np.array(messages, dtype=np.int64).reshape(-1, len(Message))
    events: list[list[int]] = []
    calls = 0
    while len(rows):
        told, done = matcher.run(rows, steps_max)
        events += told.tolist()
        rows = rows[done:]
        calls += 1
        assert calls < 10_000
    return events


def short(events: list[list[int]]) -> list[tuple[int, ...]]:
    """(what, order) and for a trade its lots and ticks, else the reason."""
    trade = (Column.LAST_LOTS, Column.LAST_TICKS)
    return [
        (event[0], event[1], *((event[c] for c in trade) if event[0] == H.TRADE else (event[Column.REASON],)))
        for event in events
    ]


def market(twin: ModuleType) -> Any:
    """A venue where three lots traded at 100 at instant 0, and that has played up to 1."""
    matcher = twin.Matcher([tape((0, 100, 3), (50, 99, 2), (60, 98, 9))], WINDOW_NS)
    assert run(matcher, ask(Kind.PLAY, at=1)) == []
    return matcher


def test_the_compiled_kernel_is_loaded() -> None:
    """Where the kernels were built, the door gives them, and says so."""
    assert ext.matching.COMPILED
    assert ext.matching.Matcher.__module__ == _kernel.__name__


def test_the_door_falls_back_to_the_plain_twin(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a compiled kernel the door gives the plain twin, and says so."""
    monkeypatch.setitem(sys.modules, "ext.matching._kernel", None)
    spec = importlib.util.spec_from_file_location("door", ext.matching.__file__)
    assert spec is not None
    assert spec.loader is not None
    door = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(door)
    assert not door.COMPILED
    assert door.Matcher is _reference.Matcher


def test_an_event_tells_all_of_an_order_after_it(twin: ModuleType) -> None:
    """A taker of five: three lots of the last window at 101, the rest rests."""
    events = run(market(twin), ask(Kind.NEW, 7, price=101, lots=5, at=2))
    assert events == [
        [H.NEW, 7, State.NEW, 101, 5, 0, 0, 0, 0, 0, Reason.NONE, 2],
        [H.TRADE, 7, State.PARTIALLY_FILLED, 101, 5, 3, 303, 3, 101, 0, Reason.NONE, 2],
    ]


REPLACED = [
    pytest.param({"price": 99, "lots": 1}, [1, 2], id="less at the same price keeps the place"),
    pytest.param({"price": 99, "lots": 2}, [1, 2], id="the same again keeps the place"),
    pytest.param({"price": 99, "lots": 3}, [2, 1], id="more goes to the end of the line"),
    pytest.param({"price": 98, "lots": 1}, [2, 1], id="a worse price waits for that price"),
    pytest.param({"price": 100, "lots": 1}, [1, 2], id="a better price goes first"),
]


@pytest.mark.parametrize(("wanted", "turns"), REPLACED)
def test_a_replaced_order_keeps_its_place_only_with_less_at_the_same_price(
    twin: ModuleType, wanted: dict[str, int], turns: list[int]
) -> None:
    """Two bids of two lots at 99; the first is replaced; whoever is filled first had the place."""
    matcher = market(twin)
    run(matcher, *(ask(Kind.NEW, number, price=99, lots=2, manner=POST, at=2) for number in (1, 2)))
    assert short(run(matcher, ask(Kind.REPLACE, 1, at=3, **wanted))) == [(H.REPLACED, 1, 0)]
    trades = [event[1] for event in run(matcher, ask(Kind.PLAY, at=99)) if event[0] == H.TRADE]
    assert list(dict.fromkeys(trades)) == turns


REFUSED = [
    (POST, {"price": 101, "lots": 2}, Reason.POST_ONLY_WOULD_CROSS),
    (0, {"price": 0, "lots": 2}, Reason.BAD_PRICE),
    (0, {"price": 0, "lots": 0}, Reason.BAD_QUANTITY),
    (0, {"price": 99, "lots": VALUE_MAX + 1}, Reason.BAD_QUANTITY),
    (0, {"price": VALUE_MAX + 1, "lots": 2}, Reason.BAD_PRICE),
    (0, {"price": 99, "lots": 2, "expire": 3}, Reason.BAD_INSTRUCTIONS),
]


@pytest.mark.parametrize(("manner", "wanted", "reason"), REFUSED)
def test_a_refused_replacement_leaves_the_order_as_it_was(
    twin: ModuleType, manner: int, wanted: dict[str, int], reason: Reason
) -> None:
    """It is filled afterwards as if nothing had been asked."""
    matcher = market(twin)
    run(matcher, ask(Kind.NEW, 1, price=99, lots=2, manner=manner, at=2))
    (event,) = run(matcher, ask(Kind.REPLACE, 1, at=3, **wanted))
    assert event == [H.REPLACE_REFUSED, 1, State.NEW, 99, 2, 0, 0, 0, 0, 0, reason, 3]
    assert short(run(matcher, ask(Kind.PLAY, at=99)))[-1] == (H.TRADE, 1, 2, 99)


def test_a_replacement_may_not_want_less_than_is_filled_and_may_trade_at_once(twin: ModuleType) -> None:
    """Two of three lots are filled, as a bid; then it is raised to the offer."""
    matcher = twin.Matcher([tape((0, 100, 1), (2, 98, 2), (4, 100, 7))], WINDOW_NS)
    run(matcher, ask(Kind.PLAY, at=1), ask(Kind.NEW, 1, price=99, lots=3, at=1), ask(Kind.PLAY, at=5))
    assert short(run(matcher, ask(Kind.REPLACE, 1, price=99, lots=2, at=5))) == [
        (H.REPLACE_REFUSED, 1, Reason.BAD_QUANTITY)
    ]
    assert short(run(matcher, ask(Kind.REPLACE, 1, price=101, lots=4, at=5))) == [
        (H.REPLACED, 1, 0),
        (H.TRADE, 1, 2, 101),
    ]
    assert run(matcher, ask(Kind.REPLACE, 1, price=99, lots=9, at=5), ask(Kind.CANCEL, 1, at=5)) == []


def test_an_order_in_the_offers_way_may_be_made_smaller_though_it_would_cross_as_a_newcomer(twin: ModuleType) -> None:
    """The market fell to the bid; with less at the same price it stays where it is."""
    matcher = twin.Matcher([tape((0, 100, 1), (2, 98, 1))], WINDOW_NS)
    run(matcher, ask(Kind.PLAY, at=1), ask(Kind.NEW, 1, price=99, lots=9, manner=POST, at=1), ask(Kind.PLAY, at=3))
    for price, what in ((99, H.REPLACED), (100, H.REPLACE_REFUSED)):
        assert run(matcher, ask(Kind.REPLACE, 1, price=price, lots=5, at=3))[0][0] == what


TAKEN = [(H.TRADE, 2, 2, 100), (H.TRADE, 5, 2, 100), (H.TRADE, 5, 3, 101), (H.TRADE, 3, 1, 102), (H.TRADE, 5, 1, 102)]


@pytest.mark.parametrize(("lots", "expected"), [(6, TAKEN), (7, [(H.CANCELED, 5, Reason.FOK_UNFILLED)])])
def test_fill_or_kill_takes_all_or_nothing(twin: ModuleType, lots: int, expected: list[tuple[int, ...]]) -> None:
    """Two lots of another's offer at 100, three of the tape's at 101, one more at 102, and its owner's own offer."""
    matcher = market(twin)
    offers = [(2, 1, 100, 2), (3, 1, 102, 1), (4, 0, 101, 9)]
    for number, owner, price, much in offers:
        run(matcher, ask(Kind.NEW, number, owner=owner, side=-1, price=price, lots=much, manner=POST, at=1))
    told = short(run(matcher, ask(Kind.NEW, 5, price=102, lots=lots, manner=FOK, at=1)))
    assert told == [(H.NEW, 5, 0), *expected]


def test_an_owner_never_trades_with_itself(twin: ModuleType) -> None:
    """The newcomer passes its own offer by and takes the stranger's behind it; both its orders rest."""
    matcher = twin.Matcher([tape()], WINDOW_NS)
    for number, owner, price in ((1, 0, 100), (2, 1, 101)):
        run(matcher, ask(Kind.NEW, number, owner=owner, side=-1, price=price))
    assert short(run(matcher, ask(Kind.NEW, 3, price=101, lots=3))) == [
        (H.NEW, 3, 0),
        (H.TRADE, 2, 1, 101),
        (H.TRADE, 3, 1, 101),
    ]
    assert short(run(matcher, ask(Kind.CANCEL, 1), ask(Kind.CANCEL, 3))) == [(H.CANCELED, 1, 0), (H.CANCELED, 3, 0)]


@pytest.mark.parametrize("steps", [(99,), (50, 99), (49, 50, 51, 99), (1, 2, 3)])
def test_an_order_is_good_until_its_end_and_no_longer(twin: ModuleType, steps: tuple[int, ...]) -> None:
    """The print of the very instant comes too late, however time is cut; the end is dated by itself."""
    matcher = market(twin)
    for number, expire in ((1, 50), (2, 51), (3, 50), (4, 0)):
        run(matcher, ask(Kind.NEW, number, price=99, lots=9, manner=POST, expire=expire, at=1))
    events = run(matcher, *(ask(Kind.PLAY, at=step) for step in (*steps, 99)))
    assert [(e[0], e[1], e[Column.AT]) for e in events if e[0] == H.EXPIRED] == [
        (H.EXPIRED, 1, 50),
        (H.EXPIRED, 3, 50),
        (H.EXPIRED, 2, 51),
    ]
    assert {e[1] for e in events if e[0] == H.TRADE} == {4}


def test_an_order_stamped_ahead_does_not_meet_what_has_ended_by_then(twin: ModuleType) -> None:
    """Nor does a fill-or-kill count it; but the tape before that end still may."""
    matcher = twin.Matcher([tape((5, 100, 9))], WINDOW_NS)
    run(matcher, ask(Kind.NEW, 1, owner=1, side=-1, price=99, expire=10))
    assert short(run(matcher, ask(Kind.NEW, 2, price=99, manner=FOK, at=10)))[1:] == [
        (H.CANCELED, 2, Reason.FOK_UNFILLED)
    ]
    assert run(matcher, ask(Kind.NEW, 3, price=99, manner=POST, at=10))[0][0] == H.NEW
    assert short(run(matcher, ask(Kind.PLAY, at=20))) == [(H.TRADE, 1, 1, 99)]


INSTRUCTIONS = [
    (POST | IOC, 0),
    (POST | FOK, 0),
    (IOC | FOK, 0),
    (IOC, 9),
    (FOK, 9),
    (0, 1),
]


@pytest.mark.parametrize(("manner", "expire"), INSTRUCTIONS)
def test_instructions_that_contradict_each_other_are_refused(twin: ModuleType, manner: int, expire: int) -> None:
    """Two ways at once, an end for what does not rest, an end that is over."""
    told = short(run(market(twin), ask(Kind.NEW, 1, price=90, manner=manner, expire=expire, at=1)))
    assert told == [(H.REJECTED, 1, Reason.BAD_INSTRUCTIONS)]


def test_amended_sums_put_lots_back_to_work_or_take_them_away(twin: ModuleType) -> None:
    """A working order with its fill taken back is filled again; over-filled it leaves; done, it stays as it was."""
    matcher = market(twin)
    run(matcher, ask(Kind.NEW, 1, price=99, lots=5, manner=POST, at=1), ask(Kind.PLAY, at=51))
    assert run(matcher, ask(Kind.AMEND, 1, lots=2, price=198, at=51))[0][2:7] == [2, 99, 5, 2, 198]
    assert run(matcher, ask(Kind.AMEND, 1, lots=-2, price=-198, at=51))[0][2:7] == [1, 99, 5, 0, 0]
    assert run(matcher, ask(Kind.AMEND, 1, lots=-1, price=-99, at=51)) == []
    assert run(matcher, ask(Kind.AMEND, 1, lots=7, price=693, at=51))[0][2:7] == [3, 99, 5, 7, 693]
    assert run(matcher, ask(Kind.PLAY, at=99)) == []
    assert run(matcher, ask(Kind.AMEND, 1, lots=-7, price=-693, at=99))[0][2:7] == [3, 99, 5, 0, 0]


BAD_TAPES: list[tuple[Any, str]] = [
    ((np.zeros(1), np.ones(1, int), np.ones(1, int)), "expected three int64 arrays of one length"),
    ((np.zeros(2, int), np.ones(1, int), np.ones(1, int)), "expected three int64 arrays of one length"),
    (tape((2, 1, 1), (1, 1, 1)), "instants from 0 on that never fall"),
    (tape((-1, 1, 1)), "instants from 0 on that never fall"),
    (tape((1, 0, 1)), "price_ticks: expected 1 to 2147483647, found 0 to 0"),
    (tape((1, 1, 2**31)), "size_lots: expected 1 to 2147483647, found 2147483648"),
]


@pytest.mark.parametrize(("bad", "message"), BAD_TAPES)
def test_what_is_no_tape_is_refused(twin: ModuleType, bad: Any, message: str) -> None:
    """The message says which tape, what was expected and what was found."""
    with pytest.raises(ValueError, match=rf"tape 1.*{message}"):
        twin.Matcher([tape((0, 1, 1)), bad], WINDOW_NS)
    with pytest.raises(ValueError, match="window_ns: expected 1 to"):
        twin.Matcher([tape()], 0)


BAD_MESSAGES = [
    ([9, *ask(Kind.PLAY)[1:]], "kinds of 0 to 4"),
    (ask(Kind.PLAY, at=-1), "instants from 0 on"),
    (ask(Kind.NEW, 5), "numbers of new orders that rise"),
    (ask(Kind.NEW, 2**40), "numbers of new orders that rise, by at most"),
    (ask(Kind.NEW, 6, book=1), "books of 0 to 0"),
    (ask(Kind.NEW, 6, side=0), "sides of 1 or -1"),
    (ask(Kind.NEW, 6, manner=8), "known manners"),
    (ask(Kind.REPLACE, 5, expire=-1), "ends from 0 on"),
    (ask(Kind.AMEND, 5, lots=2**31), "amendments in range"),
]


@pytest.mark.parametrize(("bad", "message"), BAD_MESSAGES)
def test_messages_without_meaning_are_refused_and_none_is_handled(
    twin: ModuleType, bad: list[int], message: str
) -> None:
    """Not even the good one before it."""
    matcher = market(twin)
    run(matcher, ask(Kind.NEW, 5, price=90, at=1))
    with pytest.raises(ValueError, match=f"expected {message}"):
        run(matcher, ask(Kind.CANCEL, 5, at=1), bad)
    assert short(run(matcher, ask(Kind.CANCEL, 5, at=1))) == [(H.CANCELED, 5, 0)]
    for rows in (np.zeros((1, 3), np.int64), np.zeros((1, 10)), np.zeros(10, np.int64)):
        with pytest.raises(ValueError, match=r"expected int64 of shape \(n, 10\)"):
            matcher.run(rows)
    assert matcher.run(np.zeros((0, 10), np.int64))[1] == 0


ORDERS = st.tuples(
    st.just(Kind.NEW),
    st.integers(0, 2),
    st.sampled_from([-1, 1]),
    st.integers(96, 104),
    st.integers(0, 6),
    st.sampled_from([0, 0, POST, POST, IOC, FOK]),
    st.sampled_from([0, 0, 0, 3, 40]),
)
CHANGES = st.tuples(
    st.sampled_from([Kind.CANCEL, Kind.REPLACE, Kind.REPLACE, Kind.AMEND]),
    st.integers(0, 30),
    st.integers(96, 104),
    st.integers(-3, 6),
    st.sampled_from([0, 0, 5, 40]),
)
PLAYS = st.tuples(st.just(Kind.PLAY), st.integers(0, 25))
PRINTS = st.lists(st.tuples(st.integers(0, 9), st.integers(97, 103), st.integers(1, 6)), max_size=40)


def messages(commands: list[tuple[int, ...]], ahead: list[int]) -> list[list[int]]:
    """Make messages of drawn commands: instants go on with the plays, some orders are stamped ahead."""
    rows, now, number = [], 0, 0
    for place, command in enumerate(commands):
        at = now + ahead[place % len(ahead)]
        match command:
            case (Kind.PLAY, step):
                now += step
                rows.append(ask(Kind.PLAY, at=now))
            case (Kind.NEW, owner, side, price, lots, manner, life):
                number += 1 + place % 2
                expire = at + life if life else 0
                rows.append(ask(Kind.NEW, number, book=place % 2, owner=owner, side=side, price=price, lots=lots,
                                manner=manner, expire=expire, at=at))  # fmt: skip
            case (kind, which, price, lots, life):
                expire = at + life if life else 0
                value = price * lots if kind == Kind.AMEND else price
                rows.append(ask(Kind(kind), which, price=value, lots=lots, expire=expire, at=at))
    return rows


@settings(max_examples=400, deadline=None)
@given(
    prints=st.tuples(PRINTS, PRINTS),
    commands=st.lists(st.one_of(ORDERS, ORDERS, CHANGES, PLAYS), max_size=40),
    ahead=st.lists(st.sampled_from([0, 0, 0, 7]), min_size=1, max_size=3),
    cuts=st.lists(st.integers(1, 7), min_size=1, max_size=4),
)
@example(
    prints=([(0, 100, 5), (1, 100, 9), (3, 98, 50)], []),
    commands=[(Kind.PLAY, 1), *[(Kind.NEW, 0, 1, 99, 2, POST, 3)] * 8, (Kind.REPLACE, 3, 100, 5, 0), (Kind.PLAY, 90)],
    ahead=[0, 7],
    cuts=[3],
)
@example(
    prints=([(0, 100, 5)], [(0, 100, 5)]),
    commands=[
        (Kind.PLAY, 1),
        *[(Kind.NEW, n, -1, 100 + n, 2, 0, 40) for n in (0, 1, 2)] * 3,
        (Kind.NEW, 0, 1, 104, 6, FOK, 0),
        (Kind.NEW, 1, 1, 104, 6, 0, 0),
        (Kind.AMEND, 1, 100, 6, 0),
        (Kind.PLAY, 200),
    ],
    ahead=[0],
    cuts=[1],
)
def test_the_twins_tell_the_same_however_the_messages_are_cut(
    prints: tuple[list[tuple[int, int, int]], ...], commands: list[tuple[int, ...]], ahead: list[int], cuts: list[int]
) -> None:
    """At once, in pieces, and with a single step in each call."""
    tapes = [tape(*zip(np.cumsum([gap for gap, _, _ in one]).tolist(), [p for _, p, _ in one], [q for _, _, q in one],
                       strict=True)) for one in prints]  # fmt: skip
    rows = messages(commands, ahead)
    plain = _reference.Matcher(tapes, WINDOW_NS)
    expected = run(plain, *rows)
    at_once, hurried, pieces = (_kernel.Matcher(tapes, WINDOW_NS) for _ in range(3))
    assert run(at_once, *rows) == expected
    assert run(hurried, *rows, steps_max=0) == expected
    told, begin = [], 0
    while begin < len(rows):
        size = cuts[begin % len(cuts)]
        told += run(pieces, *rows[begin : begin + size])
        begin += size
    assert told == expected
    assert run(_reference.Matcher(tapes, WINDOW_NS), *rows, steps_max=0) == expected
    for book in range(2):
        assert at_once.last_before(book, 20) == plain.last_before(book, 20)
    assert at_once.played_ns == plain.played_ns


def test_a_long_play_gives_control_back_in_time() -> None:
    """A hundred thousand prints at the price of a thousand orders with an endless queue: seconds of work."""
    count = 100_000
    prints = np.arange(count), np.full(count, 100), np.full(count, 1)
    matcher = _kernel.Matcher([(prints[0] + 1, prints[1], prints[2])], count)
    rows = [ask(Kind.NEW, number + 1, price=100, lots=VALUE_MAX, manner=POST) for number in range(2000)]
    run(matcher, *rows)
    play = np.array([ask(Kind.PLAY, at=count + 2)], dtype=np.int64)
    longest, calls, done = 0.0, 0, 0
    while not done and calls < 4:
        begun = time.perf_counter()
        _, done = matcher.run(play)
        longest = max(longest, time.perf_counter() - begun)
        calls += 1
    assert calls == 4
    assert longest < 0.2
