"""Why an order, or a whole cycle, came out as it did: from the market and the votes to the messages and the books."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from trisagion.ledger.postings import entry_of, fee_entry_of, refunding, undoing
from trisagion.ledger.types import Posting
from trisagion.orders.rejects import REMEDIES
from trisagion.orders.state import IN_DOUBT, TERMINAL, OrderState
from trisagion.orders.types import ExecutionReport, Order, OrderLink
from trisagion.reports.why import NOT_RECORDED, Part, Step, find_reason, legible, of_part, spoken, told
from trisagion.units import plain

SUPERSEDED: Final = "superseded"
"""Why a cycle withdraws the orders of the one before it."""


@dataclass(frozen=True, slots=True)
class Decided:
    """A row of table decision; `intent` is None where nothing was to be done or it was refused."""

    cycle_id: str
    symbol: str
    direction: int
    live_pnl: float
    kelly_now: float | None
    kelly_past: float | None
    desired: Decimal
    actual: Decimal | None
    delta: Decimal
    intent: str | None
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class CycleSeen:
    """A row of table reconcile_cycle without its version."""

    cycle_id: str
    due_ns: int
    stage: str
    outcome: str | None


@dataclass(frozen=True, slots=True)
class MarketSeen:
    """What was recorded of a symbol's market at a cycle's instant, each group None where it was not.

    `step` is (at_ns, last trade, its instant); `features` (at_ns, regime of the gate, price, weight, volatility,
    entropy of 15 minutes at order 3 and delay 1, its samples) of the last tick; `state` the reading (at_ns, state,
    probabilities of trending, mean-reverting, noisy and crisis, reasons), where the platform judges markets at all.
    """

    step: tuple[int, Decimal, int] | None
    features: tuple[int, str, float, float, float, float, int] | None
    state: tuple[int, str, tuple[float, ...], tuple[str, ...]] | None


@dataclass(frozen=True, slots=True)
class Said:
    """A message of a session; `at_ns` is the machine's time, which a replay's is not."""

    at_ns: int
    session: str
    direction: str
    text: str


@dataclass(frozen=True, slots=True)
class Happened:
    """A row of table event."""

    at_ns: int
    kind: str
    subject: str
    detail: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class OrderStory:
    """All that was recorded of an order and of the decision that made it.

    `attempts` are all of its intent, `others` the decisions of its cycle on other symbols, `later` is the next cycle
    that was begun, `said` are its messages in order, `reports` its executions in the order of booking, `postings`
    those of each entry by the entry's name.
    """

    order: Order
    attempts: Sequence[Order]
    links: Sequence[OrderLink]
    cycle: CycleSeen | None
    later: CycleSeen | None
    decision: Decided | None
    others: Sequence[Decided]
    market: MarketSeen | None
    said: Sequence[Said]
    reports: Sequence[ExecutionReport]
    postings: Mapping[str, Sequence[Posting]]
    events: Sequence[Happened]


@dataclass(frozen=True, slots=True)
class CycleStory:
    """All that was recorded of a cycle; `later` is the next one that was begun, `markets` are by symbol."""

    cycle: CycleSeen
    later: CycleSeen | None
    decisions: Sequence[Decided]
    markets: Mapping[str, MarketSeen]
    orders: Sequence[Order]
    events: Sequence[Happened]


def explain_order(story: OrderStory) -> Step:
    """Return the chain of an order, in the order in which it came to be."""
    order = story.order
    decided = story.decision
    due_ns = None if story.cycle is None else story.cycle.due_ns
    parts = [_cycle_line(story.cycle, order.cycle)]
    if decided is None:
        parts.append(Step(f"the decision: {NOT_RECORDED}"))
    else:
        parts += _chain(decided, story.market, due_ns)
    parts += [
        *_listed("what the cycle decided on other symbols", map(_other, story.others)),
        *_listed("attempts at this intent", (_attempt(each, order) for each in story.attempts)),
        _routing(order, story.links),
        _messages(story.said),
        *_listed("reports booked", (_report(each, story.postings) for each in story.reports)),
        *_listed("events", map(_event, story.events)),
        _end(order, story.later),
    ]
    what = f"order {order.cl_ord_id}: {order.side} {plain(order.qty)} {order.symbol}, {order.state}"
    return Step(what, at_ns=order.created_ns, parts=tuple(parts))


def explain_cycle(story: CycleStory) -> Step:
    """Return what a cycle decided on each symbol, what came of it, and who abandoned it if anybody did."""
    cycle = story.cycle
    orders = {order.symbol: [each for each in story.orders if each.symbol == order.symbol] for order in story.orders}
    parts = [
        Step(
            f"{each.symbol}: {_in_short(each)}",
            parts=(
                *_chain(each, story.markets.get(each.symbol), cycle.due_ns),
                *(_attempt(order, None) for order in orders.get(each.symbol, ())),
            ),
        )
        for each in story.decisions
    ]
    why: tuple[str, ...] = ()
    if cycle.outcome is not None and cycle.outcome.startswith("abandoned"):
        by = NOT_RECORDED if story.later is None else f"{story.later.cycle_id}, the next that is recorded"
        why = (f"{cycle.outcome}: {by}",)
    elif not story.decisions:
        why = (f"no symbol was decided on: {cycle.outcome or f'it stands at {cycle.stage}'}",)
    facts = (("stage", cycle.stage), ("outcome", cycle.outcome or "none yet"), ("orders", str(len(story.orders))))
    parts += _listed("events", map(_event, story.events))
    return Step(f"cycle {cycle.cycle_id}", at_ns=cycle.due_ns, facts=facts, why=why, parts=tuple(parts))


def _listed(what: str, found: Iterable[Step]) -> list[Step]:
    """Return a step with others below it, none where there are none."""
    parts = tuple(found)
    return [Step(what, parts=parts)] if parts else []


def _cycle_line(cycle: CycleSeen | None, name: str) -> Step:
    if cycle is None:
        return Step(f"cycle {name}: {NOT_RECORDED}")
    facts = (("stage", cycle.stage), ("outcome", cycle.outcome or "none yet"))
    return Step(f"cycle {cycle.cycle_id}", at_ns=cycle.due_ns, facts=facts)


def _chain(decided: Decided, market: MarketSeen | None, due_ns: int | None) -> tuple[Step, ...]:
    """Return the steps of a decision: market, votes, size, consensus, intent, verdict."""
    reasons = decided.reasons
    return (
        _market(market, reasons, due_ns),
        _step(
            "votes",
            reasons,
            Part.VOTES,
            ("direction D", str(decided.direction)),
            ("live P&L P", f"{decided.live_pnl:.6g}"),
            ("Kelly now", _kelly(decided.kelly_now)),
            ("Kelly of past epochs", _kelly(decided.kelly_past)),
            ("votes that did not count", _recorded(find_reason(reasons, "VOTES_LEFT_OUT"))),
        ),
        _step(
            "size",
            reasons,
            Part.SIZE,
            ("desired position", plain(decided.desired)),
            ("account", _recorded(find_reason(reasons, "ACCOUNT"))),
        ),
        _step(
            "consensus",
            reasons,
            Part.CONSENSUS,
            ("actual position", "no consensus" if decided.actual is None else plain(decided.actual)),
            ("witnesses", _recorded(find_reason(reasons, "WITNESSES"))),
        ),
        _step("intent", reasons, Part.INTENT, ("delta", plain(decided.delta)), ("intent", decided.intent or "none")),
        _step(
            "verdict",
            reasons,
            Part.VERDICT,
            ("risk", "approved" if decided.intent else "no order"),
            ("judged under", _recorded(find_reason(reasons, "JUDGED_UNDER"))),
        ),
    )


_SHOWN_AS_FACTS: Final = ("QUOTE", "VOTES_LEFT_OUT", "ACCOUNT", "WITNESSES", "JUDGED_UNDER")


def _step(what: str, reasons: Sequence[str], part: Part, *facts: tuple[str, str]) -> Step:
    left = [reason for reason in reasons if reason.partition(":")[0] not in _SHOWN_AS_FACTS]
    why, rejected = of_part(left, part)
    return Step(what, facts=facts, why=why, rejected=rejected)


def _market(market: MarketSeen | None, reasons: Sequence[str], due_ns: int | None) -> Step:
    missing = any(reason.startswith("QUOTE_MISSING") for reason in reasons)
    facts = [("quote used", "none" if missing else _recorded(find_reason(reasons, "QUOTE")))]
    if market is None or market.step is None:
        facts.append(("minute's last trade", NOT_RECORDED))
    else:
        at_ns, last, last_ns = market.step
        facts.append(("minute's last trade", f"{plain(last)}, traded_ns={last_ns} minute_ns={at_ns}"))
    if market is None or market.features is None:
        facts.append(("features", NOT_RECORDED))
    else:
        at_ns, regime, price, weight, volatility, entropy, samples = market.features
        facts += [
            ("regime gate", f"{regime}, minute_ns={at_ns}"),
            ("features", f"price={price:g} weight={weight:.6g} volatility={volatility:.6g}"),
            ("entropy, 15 min", f"{entropy:.6g} of {samples} samples, order 3, delay 1"),
        ]
    why, rejected = of_part([reason for reason in reasons if not reason.startswith("QUOTE:")], Part.MARKET)
    if market is not None and market.state is not None:
        at_ns, state, chances, evidence = market.state
        named = zip(("trending", "mean_reverting", "noisy", "crisis"), chances, strict=True)
        odds = " ".join(f"{name}={chance:.3f}" for name, chance in named)
        facts.append(("state of the market", f"{state}: {odds} at_ns={at_ns}"))
        why += evidence
    else:
        facts.append(("state of the market", "not judged"))
    return Step("market", at_ns=due_ns, facts=tuple(facts), why=why, rejected=rejected)


def _in_short(decided: Decided) -> str:
    if decided.intent is not None:
        return f"an order for {plain(decided.delta)}"
    return "no order" if decided.actual is not None else "no order, for there was no consensus"


def _other(decided: Decided) -> Step:
    left = [reason for reason in decided.reasons if reason.partition(":")[0] not in _SHOWN_AS_FACTS]
    said = tuple(told(reason) for reason in left)
    took = decided.intent is not None
    return Step(
        f"{decided.symbol}: {_in_short(decided)}",
        facts=(("desired", plain(decided.desired)), ("delta", plain(decided.delta))),
        why=said if took else (),
        rejected=() if took else said,
    )


def _attempt(order: Order, own: Order | None) -> Step:
    this = ", this order" if own is not None and order.cl_ord_id == own.cl_ord_id else ""
    price = "no price yet" if order.price is None else f"at {plain(order.price)}"
    ended = order.state in TERMINAL and order.state is not OrderState.FILLED
    return Step(
        f"attempt {order.attempt}: {order.cl_ord_id} {order.state}{this}",
        at_ns=order.created_ns,
        facts=(("order", f"{order.side} {plain(order.qty)} {price}"), ("filled", plain(order.cum_qty))),
        rejected=(told(order.reason),) if order.reason and ended else (),
    )


def _routing(order: Order, links: Sequence[OrderLink]) -> Step:
    routed = order.price is not None and order.session is not None
    facts = [
        ("session", order.session or "none: it was not routed"),
        ("price", plain(order.price) if order.price is not None else "none: it was not priced"),
        ("kind", "takes liquidity: an Emergency flattens" if order.taker else "post-only, joins the best quote"),
        ("quote it joined", NOT_RECORDED if routed else "none"),
        (
            "instant of the claim",
            f"{NOT_RECORDED}; TransactTime (60) of the order's message is it" if routed else "none",
        ),
        ("venue's name for it", order.order_id or "none"),
    ]
    asked = tuple(
        Step(
            f"replace {link.link}: {link.cl_ord_id}",
            at_ns=link.asked_ns,
            facts=(("asked for", f"{plain(link.qty)} at {plain(link.price)}"),),
        )
        for link in links
    )
    return Step("routing and claim", facts=tuple(facts), parts=asked)


def _messages(said: Sequence[Said]) -> Step:
    if not said:
        return Step(f"messages: {NOT_RECORDED}, or none was sent; FIX sessions alone keep theirs")
    lines = tuple(Step(f"{each.session}  {spoken(each.direction, each.text)}", at_ns=each.at_ns) for each in said)
    return Step("messages, by the machine's time", parts=lines)


def _report(report: ExecutionReport, postings: Mapping[str, Sequence[Posting]]) -> Step:
    facts = [("now", f"{report.ord_status}, filled {plain(report.cum_qty)}, left {plain(report.leaves_qty)}")]
    if report.fills and report.last_px is not None:
        how = NOT_RECORDED if report.liquidity is None else report.liquidity.value
        trade = f"{report.side} {plain(report.last_qty)} at {plain(report.last_px)}, fee {plain(report.fee)}"
        trade += f" {report.fee_currency}" if report.fee_currency else ""
        facts.append(("trade", f"{trade}, {how}"))
    if report.ref_exec_id is not None:
        facts.append(("about", report.ref_exec_id))
    rejected = [] if report.reason is None else [legible(report.reason)]
    if report.reject is not None:
        rejected.append(f"{report.reject}, to which the platform answers: {REMEDIES[report.reject]}")
    names = [name(report.venue, str(report.exec_id)) for name in (entry_of, fee_entry_of)]
    names += [name(report.venue, str(report.ref_exec_id)) for name in (undoing, refunding)]
    booked = tuple(_posting(each) for name in names for each in postings.get(name, ()))
    return Step(
        f"{report.exec_type} {report.venue}/{report.exec_id}",
        at_ns=report.happened_ns,
        facts=tuple(facts),
        rejected=tuple(rejected),
        parts=booked,
    )


def _posting(posting: Posting) -> Step:
    qty = f", {plain(posting.qty)} {posting.symbol}" if posting.qty else ""
    return Step(f"posted {posting.entry} {posting.line}: {posting.account} {plain(posting.amount)}{qty}")


def _event(event: Happened) -> Step:
    detail = tuple((legible(name), legible(value)) for name, value in event.detail.items())
    return Step(f"{event.kind} {legible(event.subject)}", at_ns=event.at_ns, facts=detail)


def _end(order: Order, later: CycleSeen | None) -> Step:
    facts = [
        ("state", order.state.value),
        ("filled", f"{plain(order.cum_qty)} of {plain(order.qty)}"),
        ("average price", plain(order.avg_px) if order.cum_qty else "none"),
    ]
    words = dict.fromkeys(text for text in (order.cancel_reason, order.reason) if text)
    by = f" by {later.cycle_id}, the next cycle that is recorded" if later is not None else ""
    why = [f"{word}{by}" if word == SUPERSEDED else told(legible(word)) for word in words]
    what = "how it ended" if order.state in TERMINAL else "where it stands"
    rejected = ("the venue has not answered what was asked last",) if order.state in IN_DOUBT else ()
    return Step(what, at_ns=order.updated_ns, facts=tuple(facts), why=tuple(why), rejected=rejected)


def _kelly(value: float | None) -> str:
    return "undefined: too few runs, or no wins or no losses" if value is None else f"{value:.6g}"


def _recorded(text: str | None) -> str:
    return NOT_RECORDED if text is None else text
