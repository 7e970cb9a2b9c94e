"""Why nothing is traded: the rest that an instant lies in, and everything that stands in the way of an order now."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from trisagion.clock import SECOND_NS, iso
from trisagion.market.calendar import local_time, next_rest_ns, rest_ends_ns, rest_parts, rest_reason
from trisagion.orders.state import IN_DOUBT, LIVE, OrderState
from trisagion.orders.types import Order
from trisagion.reports.format import duration
from trisagion.reports.why import NOT_RECORDED, Step, legible, told
from trisagion.reports.why_order import CycleSeen, Decided, Happened
from trisagion.safety.gates import Gate
from trisagion.safety.modes import Control, Level, Mode, Standing
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
    """A symbol's position by the ledger, and by one observer; `seen` is None where that one never spoke."""

    symbol: str
    ledger: Decimal
    confirmed_ns: int
    observer: str
    seen: Decimal | None
    seen_ns: int


@dataclass(frozen=True, slots=True)
class HaltStory:
    """All that may stand in the way of an order at `now_ns`, as the database has it.

    `session` is the one that orders go to, `orders_max` how many may live; `observer_age_s` and `ledger_age_s` are the
    ages up to which a word counts. `decisions` are the newest on each symbol, `alarms` the newest events that tell a
    person of something. `limits_unknown` says why no limit is known, empty where all are. `finished` says that a replay
    has come to its end.
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


def explain_rest(now_ns: int, seen: tuple[Sequence[CycleSeen], Sequence[Order]] | None) -> Step:
    """Return whether an instant is in a rest, by which rule, since when and until when.

    `seen` are the cycles of a run that came due within the rest so far, and its orders that were withdrawn, or denied,
    in it; None where there is no run to look at.
    """
    parts = rest_parts(now_ns)
    here = ("instant", _both(now_ns))
    if not parts:
        begins_ns = next_rest_ns(now_ns)
        why = rest_reason(begins_ns) or ""
        then = (("next rest", why), ("begins", _both(begins_ns)), ("ends", _both(rest_ends_ns(begins_ns))))
        return Step("no rest: the calendar allows trade", at_ns=now_ns, facts=(here, *then), why=(RULES[why],))
    begin_ns, end_ns = parts[0][1], parts[-1][2]
    facts = (here, ("since", _both(begin_ns)), ("until", _both(end_ns)), ("left", duration(end_ns - now_ns)))
    spans = tuple(
        Step(why, facts=(("from", _both(since_ns)), ("to", _both(until_ns))), why=(RULES[why],))
        for why, since_ns, until_ns in parts
    )
    cycles, orders = seen or ((), ())
    rested = [
        Step(f"cycle {each.cycle_id}", at_ns=each.due_ns, facts=(("outcome", each.outcome or each.stage),))
        for each in cycles
    ]
    gone = [
        Step(
            f"order {order.cl_ord_id}: {order.side} {plain(order.qty)} {order.symbol}, {order.state}",
            at_ns=order.updated_ns,
            facts=(("filled", plain(order.cum_qty)),),
            why=tuple(told(legible(text)) for text in dict.fromkeys((order.cancel_reason, order.reason)) if text),
        )
        for order in orders
    ]
    looked = (
        Step("cycles that came due in it" if rested else "no cycle came due in it", parts=tuple(rested)),
        Step("orders withdrawn or denied in it" if gone else "no order was withdrawn in it", parts=tuple(gone)),
    )
    below = (
        Step("rules", parts=spans),
        *((Step("there is no run to look at"),) if seen is None else looked),
        Step("positions rest too: they are not flattened"),
    )
    return Step(f"rest: {rest_reason(now_ns)}", at_ns=now_ns, facts=facts, parts=below)


def explain_halt(story: HaltStory) -> Step:
    """Return everything that stands in the way of an order now, each with how it is lifted; then the newest alarms."""
    found = [
        *_time(story),
        *_control(story),
        *_limits(story),
        *_doubts(story),
        *_session(story),
        *_positions(story),
        *_cycles(story),
    ]
    alarms = tuple(
        Step(f"{each.kind} {legible(each.subject)}", at_ns=each.at_ns, facts=_detail(each)) for each in story.alarms
    )
    last = tuple(_last(decided) for decided in story.decisions)
    what = f"{len(found)} things stand" if len(found) > 1 else "one thing stands" if found else "nothing stands"
    parts = (
        *found,
        Step("the newest decision on each symbol" if last else "no symbol was decided on yet", parts=last),
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
    if story.finished:
        lift = "start another run: `trisagion run`"
        found.append(_obstacle("the replay is at its end", "there is no market after its data", lift))
    return found


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
        lift = "nothing: the replay is over" if story.finished else _lifted(control)
        where = "" if control.level is Level.ALL else f" of {control.level} {legible(control.name)}"
        found.append(Step(f"control mode {control.mode}{where}", control.set_ns, (("lift", lift),), (words, by)))
    for gate in story.gates:
        if gate.shut:
            lift = f"`trisagion gate open {legible(gate.session)} --reason TEXT`, when it is safe"
            why = f"shut by {legible(gate.operator)}: {legible(gate.reason)}"
            found.append(_obstacle(f"the gate of session {legible(gate.session)} is shut", why, lift, gate.set_ns))
    return found


def _lifted(control: Control) -> str:
    if control.until_ns is not None:
        return f"nothing: it passes by itself, {_both(control.until_ns)}"
    if control.level is Level.ALL:
        return "`trisagion run --resume --reason TEXT` for a replay, else `trisagion release`, by named people"
    return f"`trisagion release --{control.level} {legible(control.name)} --reason TEXT`, by a named person"


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
        if apart_s > story.ledger_age_s and each.symbol not in stale:
            stale.add(each.symbol)
            why = f"the ledger's position was confirmed {_when(each.confirmed_ns)}; {story.ledger_age_s} s are allowed"
            lift = "the next cycle asks the venue; it is confirmed when the venue answers with nothing in doubt"
            found.append(_obstacle(f"{each.symbol} is not confirmed", why, lift))
        if each.seen is None:
            why = f"observer {each.observer} never spoke of it"
            found.append(_obstacle(f"{each.symbol} lacks a witness", why, "see that the observer's session is up"))
        elif each.seen != each.ledger:
            why = f"ledger {plain(each.ledger)}, {each.observer} {plain(each.seen)} at {iso(each.seen_ns)}"
            lift = "find the fill that one of them lacks: `trisagion messages`, `trisagion ledger verify`"
            found.append(_obstacle(f"{each.symbol}: {each.observer} disagrees with the ledger", why, lift))
        elif abs(story.now_ns - each.seen_ns) > story.observer_age_s * SECOND_NS:
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
