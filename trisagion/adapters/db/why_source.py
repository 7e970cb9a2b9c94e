"""Reads what an explanation is made of, in one consistent snapshot: rows as they were recorded, nothing computed."""

import json
from collections.abc import Iterable, Sequence
from typing import Any, Final

import sqlalchemy as sa

from trisagion.adapters.db import tables as t
from trisagion.adapters.db.cycles import read_decision
from trisagion.adapters.db.engine import Unit
from trisagion.adapters.db.market import unpack
from trisagion.adapters.db.orders import read_execution, read_order
from trisagion.clock import SECOND_NS, iso
from trisagion.errors import StateError, quoted
from trisagion.ids import ClOrdId, link_cl_ord_id
from trisagion.ledger.postings import entry_of, fee_entry_of, refunding, undoing
from trisagion.ledger.types import Account, Posting
from trisagion.market.calendar import CLOSING_NS, rest_parts
from trisagion.orders.state import LIVE, OrderState
from trisagion.orders.types import ExecutionReport, Order, OrderLink
from trisagion.ports import Decision
from trisagion.reports.why_halt import Beat, HaltStory, Held, RestSeen, Witness
from trisagion.reports.why_order import CycleSeen, CycleStory, Decided, Happened, MarketSeen, OrderStory, Said
from trisagion.risk.limits import LimitBook, Limits
from trisagion.settings import Settings
from trisagion.units import plain

NEAR_MAX: Final = 5
"""Names that are offered where none, or more than one, begins as the user said."""

MESSAGES_MAX: Final = 2000
ALARMS_MAX: Final = 10
ROWS_MAX: Final = 200
"""Rows of a kind that one explanation holds: an order with more is told up to there."""

ALARMS: Final = (
    "clock.alarm",
    "consensus.alert",
    "consensus.missing",
    "cycle.abandoned",
    "cycle.failed",
    "cycle.missed",
    "execution.contradicted",
    "execution.quarantined",
    "execution.uncopied",
    "gate.shut",
    "ledger.alarm",
    "message.quarantined",
    "order.alarm",
    "limit.refused",
    "order.denied",
    "order.foreign",
    "order.refused",
    "order.reprices_spent",
    "order.unreadable",
    "panic.errors",
    "panic.losses",
    "panic.quote_age",
    "panic.repeated",
    "panic.slippage",
    "panic.spread",
    "position.alarm",
    "session.alarm",
    "session.throttled",
)
"""Kinds of events that tell of something in the way of orders, of which a person may have to hear."""

STOPS: Final = ("control.engaged", "control.released")
STOPS_MAX: Final = 5

_AFTER: Final = "~"
"""A sign after every other that stands in a name of ours."""

_CYCLE_COLUMNS: Final = (
    t.reconcile_cycle.c.cycle_id,
    t.reconcile_cycle.c.due_ns,
    t.reconcile_cycle.c.stage,
    t.reconcile_cycle.c.outcome,
)
_CYCLES: Final = sa.select(*_CYCLE_COLUMNS).order_by(t.reconcile_cycle.c.due_ns)
_EVENTS: Final = sa.select(t.event.c.at_ns, t.event.c.kind, t.event.c.subject, t.event.c.detail)
_REPORTS: Final = sa.select(*(column for column in t.execution.c if column.name not in {"seq", "learned_ns"}))
_LINKS: Final = sa.select(t.order_link).order_by(t.order_link.c.link)


def order_story(unit: Unit, given: str) -> OrderStory:
    """Return the story of the order that bears a ClOrdID, or that alone has one beginning so.

    Raises
    ------
    StateError
        No order, or more than one, has such a name; the text offers the nearest.
    """
    order = _order(unit, given)
    names = [order.cl_ord_id, *(link_cl_ord_id(order.cl_ord_id, number + 1) for number in range(order.links))]
    cycle = _cycle(unit, order.cycle)
    decisions = _decisions(unit, order.cycle)
    reports = _reports(unit, names)
    attempts = unit.orders.attempts(order.intent)
    return OrderStory(
        order=order,
        attempts=attempts,
        links=[OrderLink(*row) for row in unit.session.rows(_LINKS.where(t.order_link.c.first_id == order.cl_ord_id))],
        cycle=cycle,
        later=None if cycle is None else _later(unit, cycle),
        decision=next((each for each in decisions if each.symbol == order.symbol), None),
        others=[each for each in decisions if each.symbol != order.symbol],
        market=None if cycle is None else _market(unit, order.symbol, cycle.due_ns),
        said=[
            Said(each.at_ns, each.session, each.direction, each.text)
            for each in unit.messages.messages(None, names, 0, (0, "", 0), MESSAGES_MAX)
        ],
        reports=reports,
        postings=_postings(unit, reports),
        events=_events(
            unit,
            [*names, *(each.cl_ord_id for each in attempts), *(report.exec_id for report in reports if report.exec_id)],
        ),
    )


def cycle_story(unit: Unit, given: str) -> CycleStory:
    """Return the story of a cycle by its name, by how its name alone begins, or of the "last" one.

    Raises
    ------
    StateError
        No cycle, or more than one, has such a name; the text offers the nearest.
    """
    if given == "last":
        row = unit.session.row(_CYCLES.order_by(None).order_by(t.reconcile_cycle.c.due_ns.desc()).limit(1))
        if row is None:
            raise StateError("no cycle was begun in this run yet")
        cycle = CycleSeen(*row)
    else:
        name = _named(unit, t.reconcile_cycle.c.cycle_id, given, "cycle")
        found = _cycle(unit, name)
        assert found is not None, name
        cycle = found
    decisions = _decisions(unit, cycle.cycle_id)
    orders = [
        read_order(row)
        for row in unit.session.rows(
            sa.select(t.orders)
            .where(t.orders.c.cycle == cycle.cycle_id)
            .order_by(t.orders.c.symbol, t.orders.c.attempt)
            .limit(ROWS_MAX)
        )
    ]
    return CycleStory(
        cycle=cycle,
        later=_later(unit, cycle),
        decisions=decisions,
        markets={each.symbol: _market(unit, each.symbol, cycle.due_ns) for each in decisions},
        orders=orders,
        events=[
            *_events(unit, [cycle.cycle_id, *(order.cl_ord_id for order in orders)]),
            *_of_symbols(unit, [each.symbol for each in decisions], cycle.due_ns),
        ],
    )


def rest_story(unit: Unit, now_ns: int) -> RestSeen:
    """Return what a run has of the rest of an instant, or of the closures of its exchanges, up to then.

    An order's last change is recorded and no earlier one: it was withdrawn in the rest when it changed last within it,
    or in the minute before, in which the rest is made ready.
    """
    instruments = unit.market.instruments()
    parts = rest_parts(now_ns)
    spans = {each.symbol: each.closures.next_span(now_ns) for each in instruments if each.closures is not None}
    began = {symbol: span[0] for symbol, span in spans.items() if span is not None and span[0] <= now_ns}
    if parts:
        began = dict.fromkeys((each.symbol for each in instruments), parts[0][1])
    if not began:
        return RestSeen(instruments, (), ())
    first_ns = min(began.values())
    due, changed = t.reconcile_cycle.c.due_ns, t.orders.c.updated_ns
    cycles = unit.session.rows(_CYCLES.where(due >= first_ns, due <= now_ns).limit(ROWS_MAX)) if parts else ()
    gone = (
        sa.select(t.orders)
        .where(
            changed >= first_ns - CLOSING_NS,
            changed <= now_ns,
            t.orders.c.symbol.in_(began),
            sa.or_(t.orders.c.cancel_reason.is_not(None), t.orders.c.state == OrderState.DENIED),
        )
        .order_by(changed, t.orders.c.cl_ord_id)
        .limit(ROWS_MAX)
    )
    orders = [read_order(row) for row in unit.session.rows(gone)]
    within = [order for order in orders if order.updated_ns >= began[order.symbol] - CLOSING_NS]
    return RestSeen(instruments, [CycleSeen(*row) for row in cycles], within)


def halt_story(unit: Unit, settings: Settings, now_ns: int, people: int) -> HaltStory:
    """Return all that may stand in the way of an order at an instant; `people` are needed for a release."""
    replay = unit.control.replay()
    wall_ns = unit.control.wall_ns()
    instruments = unit.market.instruments()
    symbols = [instrument.symbol for instrument in instruments]
    alarms = _EVENTS.where(t.event.c.kind.in_(ALARMS)).order_by(t.event.c.seq.desc()).limit(ALARMS_MAX)
    stops = _EVENTS.where(t.event.c.kind.in_(STOPS)).order_by(t.event.c.seq.desc()).limit(STOPS_MAX)
    limits = _limits(unit, settings)
    return HaltStory(
        now_ns=now_ns,
        session=settings.session,
        orders_max=limits.orders_max,
        limits_unknown=limits.unknown,
        ledger_age_s=int(settings.reconcile.ledger_age_s),
        observer_age_s=int(settings.reconcile.observer_age_s),
        finished=replay is not None and replay.finished,
        standing=unit.control.standing(),
        gates=unit.control.gates(),
        orders=unit.orders.in_states(LIVE),
        leases=[
            Held(name, owner, token, (until_ms - wall_ns / 1_000_000) / 1000 if until_ms else float("-inf"))
            for name, owner, token, until_ms in unit.session.rows(sa.select(t.lease).order_by(t.lease.c.name))
        ],
        beats=[Beat(beat.name, beat.pid, max(wall_ns - beat.wall_ns, 0) / SECOND_NS) for beat in unit.control.beats()],
        witnesses=[each for symbol in symbols for each in _witnesses(unit, symbol, settings.reconcile.observers)],
        unquoted=[symbol for symbol in symbols if unit.market.quote(symbol, now_ns) is None],
        cycles=[CycleSeen(each.cycle_id, each.due_ns, each.stage, each.outcome) for each in unit.cycles.unfinished()],
        decisions=[_decided(each) for symbol in symbols for each in unit.cycles.last_decisions(symbol, 1)],
        alarms=[_happened(row) for row in reversed(unit.session.rows(alarms))],
        instruments=instruments,
        incidents=unit.incidents.open_ones(),
        stops=[_happened(row) for row in reversed(unit.session.rows(stops))],
        worth=_worth(unit),
        people=people,
        signed=bool(settings.safety.operators),
    )


def _worth(unit: Unit) -> tuple[tuple[str, str], ...]:
    """Return what the account was worth at its last mark, and what its losses are counted from."""
    sample, mark = unit.ledger.last_equity(), unit.limits.mark()
    now = () if sample is None else (("equity", f"{plain(sample.equity)} at {iso(sample.at_ns)}"),)
    since = () if mark is None else (("peak", plain(mark.peak)), ("the day began with", plain(mark.day_equity)))
    return (*now, *since)


def _limits(unit: Unit, settings: Settings) -> Limits:
    """Return the account's limits, as far as they are told here."""
    risk = settings.risk
    ceiling = Limits(settings.platform.account, risk.order_notional_max, risk.position_notional_max, risk.orders_max)
    try:
        book = LimitBook(ceiling, unit.limits.rows())
    except StateError as error:
        book = LimitBook(ceiling, (), str(error))
    return book.of("", venue="", strategy="")


def _order(unit: Unit, given: str) -> Order:
    name = ClOrdId(given)
    link = unit.orders.link(name)
    order = unit.orders.order(name if link is None else link.first_id)
    if order is None:
        order = unit.orders.order(ClOrdId(_named(unit, t.orders.c.cl_ord_id, given, "order")))
    assert order is not None, given
    return order


def _named(unit: Unit, column: "sa.Column[str]", given: str, what: str) -> str:
    """Return the one name in a column that begins so; `StateError` with the nearest where there is not just one."""
    for length in range(len(given), -1, -1):
        near = _beginning(unit, column, given[:length])
        if given in near:
            return given
        if length == len(given) > 0 and len(near) == 1:
            return near[0]
        if near:
            more = ", …" if len(near) > NEAR_MAX else ""
            offered = ", ".join(near[:NEAR_MAX]) + more
            if length == len(given) > 0:
                raise StateError(
                    f"expected one {what}, found several whose names begin with {quoted(given)}: {offered}"
                )
            raise StateError(f"there is no {what} {quoted(given)} in this run; the nearest are: {offered}")
    raise StateError(f"there is no {what} {quoted(given)} in this run: it has none at all")


def _beginning(unit: Unit, column: "sa.Column[str]", begin: str) -> list[str]:
    query = (
        sa.select(column).where(column >= begin, column < begin + _AFTER).order_by(column).limit(NEAR_MAX + 1)
        if begin
        else sa.select(column).order_by(column.desc()).limit(NEAR_MAX + 1)
    )
    return [name for (name,) in unit.session.rows(query)]


def _cycle(unit: Unit, name: str) -> CycleSeen | None:
    row = unit.session.row(sa.select(*_CYCLE_COLUMNS).where(t.reconcile_cycle.c.cycle_id == name))
    return None if row is None else CycleSeen(*row)


def _decided(decision: Decision) -> Decided:
    return Decided(**{name: getattr(decision, name) for name in Decided.__slots__})


def _later(unit: Unit, cycle: CycleSeen) -> CycleSeen | None:
    row = unit.session.row(_CYCLES.where(t.reconcile_cycle.c.due_ns > cycle.due_ns).limit(1))
    return None if row is None else CycleSeen(*row)


def _decisions(unit: Unit, cycle: str) -> list[Decided]:
    query = sa.select(t.decision).where(t.decision.c.cycle_id == cycle).order_by(t.decision.c.symbol)
    return [_decided(read_decision(row)) for row in unit.session.rows(query)]


def _market(unit: Unit, symbol: str, due_ns: int) -> MarketSeen:
    step = t.market_step.c
    minute = unit.session.row(
        sa.select(step.at_ns, step.last, step.last_ns)
        .where(step.symbol == symbol, step.at_ns <= due_ns)
        .order_by(step.at_ns.desc())
        .limit(1)
    )
    state = t.market_state.c
    columns = (state.at_ns, state.n, state.regime, state.price, state.weight, state.volatility, state.entropy)
    features = unit.session.row(
        sa.select(*columns, state.samples)
        .where(state.symbol == symbol, state.at_ns <= due_ns, state.n > 0)
        .order_by(state.at_ns.desc())
        .limit(1)
    )
    reading = unit.regime.reading(symbol, due_ns)
    return MarketSeen(
        step=None if minute is None else tuple(minute),
        features=None if features is None else _features(*features),
        state=None if reading is None else (reading.at_ns, reading.state, reading.probability, reading.reasons),
    )


def _features(
    at_ns: int, n: int, regime: str, price: bytes, weight: bytes, volatility: bytes, entropy: bytes, samples: bytes
) -> tuple[int, str, float, float, float, float, int]:
    last, weighed, moved = (float(unpack(raw, "f8", n)[-1]) for raw in (price, weight, volatility))
    longest = float(unpack(entropy, "f8", n, 15, 3, 3)[-1, -1, 0, 0])
    return at_ns, regime, last, weighed, moved, longest, int(unpack(samples, "i8", n, 15)[-1, -1])


def _reports(unit: Unit, names: Sequence[str]) -> list[ExecutionReport]:
    x = t.execution.c
    query = _REPORTS.where(sa.or_(x.cl_ord_id.in_(names), x.request_id.in_(names))).order_by(x.seq).limit(ROWS_MAX)
    return [read_execution(row) for row in unit.session.rows(query)]


def _postings(unit: Unit, reports: Iterable[ExecutionReport]) -> dict[str, list[Posting]]:
    made = [(report.venue, report.exec_id) for report in reports if report.exec_id]
    undone = [(report.venue, report.ref_exec_id) for report in reports if report.ref_exec_id]
    entries = [name(*of) for of in made for name in (entry_of, fee_entry_of)]
    entries += [name(*of) for of in undone for name in (undoing, refunding)]
    found: dict[str, list[Posting]] = {}
    query = sa.select(t.posting).where(t.posting.c.entry.in_(entries)).order_by(t.posting.c.entry, t.posting.c.line)
    for entry, line, account, *rest in unit.session.rows(query):
        found.setdefault(entry, []).append(Posting(entry, line, Account(account), *rest))
    return found


def _events(unit: Unit, subjects: Sequence[str]) -> list[Happened]:
    query = _EVENTS.where(t.event.c.subject.in_(subjects)).order_by(t.event.c.seq).limit(ROWS_MAX)
    return [_happened(row) for row in unit.session.rows(query)]


def _of_symbols(unit: Unit, symbols: Sequence[str], due_ns: int) -> list[Happened]:
    """Return what was told of symbols at a cycle's instant, as that one lacks consensus."""
    about = _EVENTS.where(t.event.c.subject.in_(symbols), t.event.c.at_ns == due_ns)
    return [_happened(row) for row in unit.session.rows(about.order_by(t.event.c.seq).limit(ROWS_MAX))]


def _happened(row: Any) -> Happened:
    at_ns, kind, subject, detail = row
    return Happened(at_ns, kind, subject, {name: str(value) for name, value in json.loads(detail).items()})


def _witnesses(unit: Unit, symbol: str, observers: Sequence[str]) -> list[Witness]:
    position = unit.ledger.position(symbol)
    words, moved_ns = {word.observer: word for word in unit.ledger.observations(symbol)}, unit.ledger.moved_ns(symbol)
    return [
        Witness(
            symbol,
            position.qty,
            position.confirmed_ns,
            name,
            word.qty if word else None,
            word.at_ns if word else 0,
            moved_ns,
        )
        for name in observers
        for word in (words.get(name),)
    ]
