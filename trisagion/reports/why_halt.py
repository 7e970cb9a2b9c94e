"""Why nothing is traded: the rest that an instant lies in, and everything that stands in the way of an order now."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from trisagion.clock import SECOND_NS, iso
from trisagion.market.calendar import local_time, next_rest_ns, rest_ends_ns, rest_parts, rest_reason
from trisagion.market.closures import Closures
from trisagion.market.types import Instrument
from trisagion.orders.incidents import Incident, View
from trisagion.orders.state import IN_DOUBT, LIVE, OrderState
from trisagion.orders.types import Order
from trisagion.reports.format import duration
from trisagion.reports.why import NOT_RECORDED, Step, legible, told
from trisagion.reports.why_order import CycleSeen, Decided, Happened
from trisagion.safety.gates import Gate
from trisagion.safety.modes import Control, Level, Mode, Standing
from trisagion.safety.release import release_commands
from trisagion.units import plain

BEAT_S_MAX: Final = 60
"""A process that said nothing for a minute is taken for dead; it speaks several times in one."""

RULES: Final = {
    "weekend": "trading is from Monday 00:00 to Friday 23:00 on the clocks of Europe/Vatican",
    "Good Friday": "nothing is traded on the Friday before the Gregorian Easter",
    "1 January": "nothing is traded on the first day of the year",
    "25 December": "nothing is traded on Christmas Day",
}


@dataclass(frozen=True, slots=True)
class Held:
    """A lease as the database has it; `left_s` is how long it still runs by the database's own clock, below 0 not."""

    name: str
    owner: str
    token: int
    left_s: float


@dataclass(frozen=True, slots=True)
class Beat:
    """How long ago a process gave its last word, by the database's clock."""

    name: str
    pid: int
    ago_s: float


@dataclass(frozen=True, slots=True)
class Witness:
    """A symbol's position by the ledger, and by one observer; `seen` is None where that one never spoke.

    `moved_ns` is when the ledger's position changed last.
    """

    symbol: str
    ledger: Decimal
    confirmed_ns: int
    observer: str
    seen: Decimal | None
    seen_ns: int
    moved_ns: int


@dataclass(frozen=True, slots=True)
class HaltStory:
    """All that may stand in the way of an order at `now_ns`, as the database has it.

    `session` is the one that orders go to, `orders_max` how many may live; `observer_age_s` and `ledger_age_s` are the
    ages up to which a word counts. `decisions` are the newest on each symbol, `alarms` the newest events that tell a
    person of something, `stops` those that changed the control mode. `limits_unknown` says why no limit is known, empty
    where all are. `finished` says that a replay has come to its end. `worth` is what the account is and was worth.
    `people` are needed for a release; `signed` says that each has a key.
    """

    now_ns: int
    session: str
    orders_max: int
    limits_unknown: str
    ledger_age_s: int
    observer_age_s: int
    finished: bool
    standing: Standing
    gates: Sequence[Gate]
    orders: Sequence[Order]
    leases: Sequence[Held]
    beats: Sequence[Beat]
    witnesses: Sequence[Witness]
    unquoted: Sequence[str]
    cycles: Sequence[CycleSeen]
    decisions: Sequence[Decided]
    alarms: Sequence[Happened]
    instruments: Sequence[Instrument]
    incidents: Sequence[Incident]
    stops: Sequence[Happened]
    worth: tuple[tuple[str, str], ...]
    people: int
    signed: bool


@dataclass(frozen=True, slots=True)
class RestSeen:
    """What a run has of a rest: its instruments, the cycles that came due in it so far, the orders that ended in it."""

    instruments: Sequence[Instrument]
    cycles: Sequence[CycleSeen]
    orders: Sequence[Order]


def explain_rest(now_ns: int, seen: RestSeen | None) -> Step:
    """Return whether an instant is in a rest, by which rule or exchange, since when and until when.

    `seen` is None where there is no run to look at.
    """
    parts = rest_parts(now_ns)
    here = ("instant", _both(now_ns))
    traded = () if seen is None else seen.instruments
    kept = [(each, each.closures) for each in traded if each.closures is not None]
    exchanges = tuple(_exchange(each.symbol, closures, now_ns) for each, closures in kept)
    if not parts:
        begins_ns = next_rest_ns(now_ns)
        why = rest_reason(begins_ns) or ""
        then = (("next rest", why), ("begins", _both(begins_ns)), ("ends", _both(rest_ends_ns(begins_ns))))
        shut = [each.symbol for each, closures in kept if closures.reason(now_ns) is not None]
        what = f"no rest of the platform's; closed: {', '.join(shut)}" if shut else "no rest: the calendar allows trade"
        below = [Step("exchanges", parts=exchanges)] if exchanges else []
        below += [_ended(seen.orders)] if seen is not None and shut else []
        return Step(what, at_ns=now_ns, facts=(here, *then), why=(RULES[why],), parts=tuple(below))
    begin_ns, end_ns = parts[0][1], parts[-1][2]
    facts = (here, ("since", _both(begin_ns)), ("until", _both(end_ns)), ("left", duration(end_ns - now_ns)))
    spans = tuple(
        Step(why, facts=(("from", _both(since_ns)), ("to", _both(until_ns))), why=(RULES[why],))
        for why, since_ns, until_ns in parts
    )
    rested = [
        Step(f"cycle {each.cycle_id}", at_ns=each.due_ns, facts=(("outcome", each.outcome or each.stage),))
        for each in (() if seen is None else seen.cycles)
    ]
    looked = Step("cycles that came due in it" if rested else "no cycle came due in it", parts=tuple(rested))
    below = [
        Step("rules", parts=spans),
        *([Step("exchanges", parts=exchanges)] if exchanges else []),
        *([Step("there is no run to look at")] if seen is None else [looked, _ended(seen.orders)]),
        Step("positions rest too: they are not flattened"),
    ]
    return Step(f"rest: {rest_reason(now_ns)}", at_ns=now_ns, facts=facts, parts=tuple(below))


def _exchange(symbol: str, closures: Closures, now_ns: int) -> Step:
    """Return whether the exchange of an instrument is closed, for what, and until when; else when it closes next."""
    why, span = closures.reason(now_ns), closures.next_span(now_ns)
    if why is not None and (span is None or not span[0] <= now_ns):
        known = (("known from", _both(closures.from_ns)), ("known to", _both(closures.until_ns)))
        return Step(f"{symbol}: {why}", facts=known)
    if why is not None and span is not None:
        facts = (("since", _both(span[0])), ("until", _both(span[1])), ("left", duration(span[1] - now_ns)))
        return Step(f"{symbol}: {why}", facts=facts)
    next_one = () if span is None else (("next", span[2]), ("begins", _both(span[0])), ("ends", _both(span[1])))
    return Step(f"{symbol}: {closures.exchange} is open", facts=next_one)


def _ended(orders: Sequence[Order]) -> Step:
    """Return the orders that were withdrawn or denied in a rest."""
    gone = [
        Step(
            f"order {order.cl_ord_id}: {order.side} {plain(order.qty)} {order.symbol}, {order.state}",
            at_ns=order.updated_ns,
            facts=(("filled", plain(order.cum_qty)),),
            why=tuple(told(legible(text)) for text in dict.fromkeys((order.cancel_reason, order.reason)) if text),
        )
        for order in orders
    ]
    return Step("orders withdrawn or denied in it" if gone else "no order was withdrawn in it", parts=tuple(gone))


def explain_halt(story: HaltStory) -> Step:
    """Return everything that stands in the way of an order now, each with how it is lifted; then the newest alarms."""
    found = [
        *_time(story),
        *_control(story),
        *_limits(story),
        *_doubts(story),
        # Of a replay that is over nobody has to be there, and nothing has to be fresh.
        *([] if story.finished else _session(story)),
        *_positions(story),
        *map(_incident, story.incidents),
        *_cycles(story),
    ]
    alarms, stops = (
        tuple(Step(f"{each.kind} {legible(each.subject)}", at_ns=each.at_ns, facts=_detail(each)) for each in events)
        for events in (story.alarms, story.stops)
    )
    last = tuple(_last(decided) for decided in story.decisions)
    what = f"{len(found)} things stand" if len(found) > 1 else "one thing stands" if found else "nothing stands"
    parts = (
        *found,
        Step("the newest decision on each symbol" if last else "no symbol was decided on yet", parts=last),
        Step("stops and releases, the newest last" if stops else "nothing was ever stopped", parts=stops),
        Step("alarms, the newest last" if alarms else "no alarm was ever raised", parts=alarms),
    )
    return Step(f"{what} in the way of an order", at_ns=story.now_ns, parts=parts)


def _obstacle(what: str, why: str, lift: str, since_ns: int | None = None) -> Step:
    return Step(what, at_ns=since_ns, facts=(("lift", lift),), why=(why,))


def _time(story: HaltStory) -> list[Step]:
    found = []
    why = rest_reason(story.now_ns)
    if why is not None:
        until = f"nobody can: it ends {_both(rest_ends_ns(story.now_ns))}"
        found.append(_obstacle(f"rest: {why}", RULES[why], until, rest_parts(story.now_ns)[0][1]))
    found += [
        _closed(each.symbol, each.closures, story.now_ns)
        for each in story.instruments
        if each.closures is not None and each.closures.reason(story.now_ns) is not None
    ]
    if story.finished:
        lift = "start another run: `trisagion run`"
        found.append(_obstacle("the replay is at its end", "there is no market after its data", lift))
    return found


def _closed(symbol: str, closures: Closures, now_ns: int) -> Step:
    span = closures.next_span(now_ns)
    what, why = f"{symbol} rests: {closures.reason(now_ns)}", "its exchange is closed, and nothing is traded in it"
    if span is None or not span[0] <= now_ns:
        why = f"what its exchange does is known up to {_both(closures.until_ns)}; beyond it counts as closed"
        return _obstacle(what, why, "start another run: its hours are read when it is founded")
    return _obstacle(what, why, f"nobody can: it ends {_both(span[1])}", span[0])


def _incident(incident: Incident) -> Step:
    """Return an open incident with what each witness said when it began and says now."""
    number, reasons = incident.number, tuple(told(legible(reason)) for reason in incident.reasons)
    lift = (
        f"`trisagion incidents show {number}`; find who is right; `trisagion incidents adjust {number} --reason TEXT "
        "--evidence TEXT` books what the observers see"
    )
    views = (("at first", _views(incident.began)), ("now", _views(incident.views)))
    facts = (("lift", lift), ("cycles", str(incident.cycles)), *views)
    what = f"incident {number}: {incident.kind} on {legible(incident.symbol)}"
    return Step(what, incident.opened_ns, facts, reasons or (NOT_RECORDED,))


def _views(views: Sequence[View]) -> str:
    return "; ".join(f"{legible(each.text)} as of {_when(each.at_ns)}" for each in views)


def _limits(story: HaltStory) -> list[Step]:
    if not story.limits_unknown:
        return []
    why = f"nothing but what reduces is approved: {legible(story.limits_unknown)}"
    return [_obstacle("limits are not known", why, "look at `trisagion limits history`, and start another run")]


def _control(story: HaltStory) -> list[Step]:
    found = []
    everything = story.standing.everything
    others = story.standing.at(story.now_ns)
    for control in [everything, *others] if everything.mode is not Mode.NORMAL else others:
        words = {
            Mode.REDUCE: "only orders that reduce a position pass",
            Mode.PAUSE: "no new order passes, and working ones are withdrawn",
            Mode.EMERGENCY: "everything is withdrawn and made flat",
        }[control.mode]
        by = f"set by {legible(control.operator) or 'nobody'}: {legible(control.reason)}"
        lift = "nothing: the replay is over" if story.finished else _lifted(control, story)
        where = "" if control.level is Level.ALL else f" of {control.level} {legible(control.name)}"
        facts = (("lift", lift), *(story.worth if control.level is Level.ALL else ()))
        found.append(Step(f"control mode {control.mode}{where}", control.set_ns, facts, (words, by)))
    for gate in story.gates:
        if gate.shut:
            lift = f"`trisagion gate open {legible(gate.session)} --reason TEXT{_keys(story.signed)}`, when it is safe"
            why = f"shut by {legible(gate.operator)}: {legible(gate.reason)}"
            found.append(_obstacle(f"the gate of session {legible(gate.session)} is shut", why, lift, gate.set_ns))
    return found


def _lifted(control: Control, story: HaltStory) -> str:
    if control.until_ns is not None:
        return f"nothing: it passes by itself, {_both(control.until_ns)}"
    part = "" if control.level is Level.ALL else f"--{control.level} {legible(control.name)} "
    by_release = release_commands(story.people, f"{part}--reason TEXT", signed=story.signed)
    if part:
        return by_release
    if story.people > 1 or story.signed:
        return f"{by_release}; a replay goes on by `trisagion run --resume` then"
    return f"`trisagion run --resume --reason TEXT` for a replay, else {by_release}"


def _keys(signed: bool) -> str:
    return " --as NAME --key file:PATH" if signed else ""


def _doubts(story: HaltStory) -> list[Step]:
    live = [order for order in story.orders if order.state in LIVE]
    found = [
        _obstacle(
            f"order {order.cl_ord_id} is {order.state}",
            "the venue was asked and has not answered; until it has, its symbol's position cannot be confirmed",
            "the session asks again after each logon; `trisagion why order` shows what was said",
            order.updated_ns,
        )
        for order in live
        if order.state in IN_DOUBT
    ]
    if len(live) >= story.orders_max:
        why = f"{len(live)} orders live and {story.orders_max} may"
        found.append(_obstacle("no further order may live", why, "wait for one to end, or raise risk.orders_max"))
    waiting = [order for order in live if order.state in {OrderState.RISK_CHECKED, OrderState.ROUTED}]
    if waiting:
        why = f"{len(waiting)} approved orders wait to be sent, the oldest is {waiting[0].cl_ord_id}"
        lift = "the sweep rings for them; if they stay, look at the processes and the session below"
        found.append(_obstacle("the outbox is not empty", why, lift, waiting[0].created_ns))
    return found


def _session(story: HaltStory) -> list[Step]:
    found = []
    name = f"session:{story.session}"
    lease = next((lease for lease in story.leases if lease.name == name), None)
    if lease is None or lease.left_s <= 0:
        why = "nobody ever held its lease" if lease is None else _ran_out(lease)
        lift = "start the process that owns it: `trisagion run --resume`, or the fleet's session worker"
        found.append(_obstacle(f"nobody owns session {legible(story.session)}", why, lift))
    for beat in story.beats:
        if beat.ago_s > BEAT_S_MAX:
            why = f"pid {beat.pid} gave its last word {_ago(beat.ago_s)} ago"
            found.append(_obstacle(f"process {legible(beat.name)} is silent", why, "start it again; its log says more"))
    return found


def _ran_out(lease: Held) -> str:
    held = f"{legible(lease.owner)} held it under token {lease.token}"
    return (
        f"{held} and gave it back" if lease.left_s == float("-inf") else f"{held}; it ran out {_ago(-lease.left_s)} ago"
    )


def _positions(story: HaltStory) -> list[Step]:
    found = [
        _obstacle(f"{symbol} has no price", "no minute of its market is recorded", "wait for its market data")
        for symbol in story.unquoted
    ]
    stale: set[str] = set()
    for each in story.witnesses:
        apart_s = abs(story.now_ns - each.confirmed_ns) / SECOND_NS
        if not story.finished and apart_s > story.ledger_age_s and each.symbol not in stale:
            stale.add(each.symbol)
            why = f"the ledger's position was confirmed {_when(each.confirmed_ns)}; {story.ledger_age_s} s are allowed"
            lift = "the next cycle asks the venue; it is confirmed when the venue answers with nothing in doubt"
            found.append(_obstacle(f"{each.symbol} is not confirmed", why, lift))
        if each.seen is None:
            why = f"observer {each.observer} never spoke of it"
            found.append(_obstacle(f"{each.symbol} lacks a witness", why, "see that the observer's session is up"))
        elif each.seen != each.ledger and each.moved_ns > each.seen_ns:
            why = f"ledger {plain(each.ledger)} since {iso(each.moved_ns)}, {each.observer} {plain(each.seen)} before"
            lift = "the next cycle asks it"
            found.append(_obstacle(f"{each.symbol}: {each.observer} has not spoken since the last fill", why, lift))
        elif each.seen != each.ledger:
            why = f"ledger {plain(each.ledger)}, {each.observer} {plain(each.seen)} at {iso(each.seen_ns)}"
            lift = "find the fill that one of them lacks: `trisagion messages`, `trisagion ledger verify`"
            found.append(_obstacle(f"{each.symbol}: {each.observer} disagrees with the ledger", why, lift))
        elif not story.finished and abs(story.now_ns - each.seen_ns) > story.observer_age_s * SECOND_NS:
            why = f"{each.observer} spoke last {_when(each.seen_ns)}; {story.observer_age_s} s are allowed"
            found.append(_obstacle(f"{each.symbol}: the word of {each.observer} is old", why, "the next cycle asks it"))
    return found


def _cycles(story: HaltStory) -> list[Step]:
    waits = {
        "opened": "it waits for the account and the cohort to come to its minute",
        "cancelling": "it waits for the venue to confirm that orders of earlier cycles are cancelled",
        "observing": "it waits for its observers to speak",
        "decided": "it has decided, and waits to be closed",
    }
    return [
        _obstacle(
            f"cycle {each.cycle_id} stands at {each.stage}",
            waits.get(each.stage, "its stage is none of ours"),
            "the next cycle abandons it; if that repeats, look at the session and the cohort's workers",
            each.due_ns,
        )
        for each in story.cycles
    ]


def _last(decided: Decided) -> Step:
    took = decided.intent is not None
    reason = told(decided.reasons[-1]) if decided.reasons else NOT_RECORDED
    facts = (("desired", plain(decided.desired)), ("delta", plain(decided.delta)))
    what = f"{decided.symbol} in {decided.cycle_id}: {'an order' if took else 'no order'}"
    return Step(what, facts=facts, why=(reason,) if took else (), rejected=() if took else (reason,))


def _detail(event: Happened) -> tuple[tuple[str, str], ...]:
    return tuple((legible(name), legible(value)) for name, value in event.detail.items())


def _both(instant_ns: int) -> str:
    return f"{local_time(instant_ns)} Vatican, {iso(instant_ns)} UTC"


def _when(instant_ns: int) -> str:
    return iso(instant_ns) if instant_ns else "never"


def _ago(seconds: float) -> str:
    return duration(int(seconds) * SECOND_NS)
