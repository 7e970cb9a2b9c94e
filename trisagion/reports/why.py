"""An explanation: a tree of what happened, when, with which numbers, why, and what was not done instead.

It is made of what was recorded when it happened. What was not recorded then is said to be so; nothing is computed
again from what is known today. One tree, two faces: text for people, JSON for machines.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from trisagion.clock import iso

NOT_RECORDED: Final = "not recorded"

_ARROWS: Final = {"in": "<", "out": ">", "event": "*"}


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a chain: `why` are reasons for it, `rejected` what did not come to be and for what reason."""

    what: str
    at_ns: int | None = None
    facts: tuple[tuple[str, str], ...] = ()
    why: tuple[str, ...] = ()
    rejected: tuple[str, ...] = ()
    parts: tuple["Step", ...] = ()


class Part(StrEnum):
    """Which step of a decision a reason belongs to."""

    MARKET = "market"
    VOTES = "votes"
    SIZE = "size"
    CONSENSUS = "consensus"
    INTENT = "intent"
    VERDICT = "verdict"


@dataclass(frozen=True, slots=True)
class _Code:
    """What a reason's code means; `stops` says that it left something undone."""

    part: Part
    words: str
    stops: bool = False


CODES: Final[Mapping[str, _Code]] = {
    "QUOTE": _Code(Part.MARKET, "the quote that it was decided on"),
    "QUOTE_MISSING": _Code(Part.MARKET, "the symbol had no price yet", stops=True),
    "VOTES_COUNTED": _Code(Part.VOTES, "runs that live, and those of them that win and vote"),
    "VOTES_LEFT_OUT": _Code(Part.VOTES, "runs whose votes did not count", stops=True),
    "VOTES_STALE": _Code(Part.VOTES, "no run was updated lately: nothing is known", stops=True),
    "VOTES_NO_WINNERS": _Code(Part.VOTES, "no living run in a position earns enough", stops=True),
    "VOTES_UNDECIDED": _Code(Part.VOTES, "the winners' votes cancel out, or earn nothing together", stops=True),
    "FLATTEN": _Code(Part.SIZE, "everything is to be flat, whatever the votes"),
    "ACCOUNT": _Code(Part.SIZE, "equity at the decision, and the symbol's share of the margin budget"),
    "KELLY_FACTOR": _Code(Part.SIZE, "the size per vote, by the cohort's Kelly percentage over that of past epochs"),
    "KELLY_PROBATION": _Code(Part.SIZE, "no Kelly percentage yet: a quarter of the size per vote"),
    "MARGIN_CAPPED": _Code(Part.SIZE, "the margin budget carries no more", stops=True),
    "DESIRED_FLAT": _Code(Part.SIZE, "the votes want no position", stops=True),
    "DESIRED_UNKNOWN": _Code(Part.SIZE, "nothing is known, so nothing may be traded", stops=True),
    "CLAMPS": _Code(Part.SIZE, "what each clamp saw, and its limit"),
    "KELLY_CLAMPED": _Code(Part.SIZE, "the runs' record carries no larger stake", stops=True),
    "VOLATILITY_CLAMPED": _Code(Part.SIZE, "the market moves more than the target, or too little is known", stops=True),
    "CRISIS_CLAMPED": _Code(Part.SIZE, "the market is in crisis, or nobody knows that it is not", stops=True),
    "CONCENTRATION_CLAMPED": _Code(Part.SIZE, "too much of the equity in one symbol", stops=True),
    "CORRELATION_CLAMPED": _Code(Part.SIZE, "with the positions that are the same bet, too much in one", stops=True),
    "HEAT_CLAMPED": _Code(Part.SIZE, "all positions together would have too much to lose", stops=True),
    "LEVERAGE_CLAMPED": _Code(Part.SIZE, "the positions at the venue would be worth too much", stops=True),
    "TAIL_CLAMPED": _Code(Part.SIZE, "a bad day would cost too much, or too little is known to tell", stops=True),
    "TRAILING_STOP": _Code(Part.SIZE, "the price came back to the trailing stop: nothing may stay", stops=True),
    "BREAK_EVEN_STOP": _Code(Part.SIZE, "the price came back to entry and fees: nothing may stay", stops=True),
    "TIME_STOP": _Code(Part.SIZE, "too long without profit: nothing may stay", stops=True),
    "SCALED_OUT": _Code(Part.SIZE, "a part of the gain is taken: less may stay", stops=True),
    "LONG_FORBIDDEN": _Code(Part.SIZE, "long positions are switched off", stops=True),
    "SHORT_FORBIDDEN": _Code(Part.SIZE, "short positions are switched off", stops=True),
    "EQUITY_SPENT": _Code(Part.SIZE, "there is no equity to risk", stops=True),
    "WITNESSES": _Code(Part.CONSENSUS, "the position by the ledger and by each observer"),
    "LEDGER_STALE": _Code(Part.CONSENSUS, "the ledger was not confirmed for too long", stops=True),
    "OBSERVER_SILENT": _Code(Part.CONSENSUS, "an observer never spoke", stops=True),
    "OBSERVER_STALE": _Code(Part.CONSENSUS, "an observer's word is too old to count", stops=True),
    "OBSERVER_BEHIND": _Code(Part.CONSENSUS, "an observer's word is from before the position last moved", stops=True),
    "OBSERVER_DISAGREES": _Code(Part.CONSENSUS, "an observer saw another position than the ledger", stops=True),
    "QUORUM_MISSED": _Code(Part.CONSENSUS, "too few observers agree with the ledger", stops=True),
    "STAGED": _Code(Part.INTENT, "the limits on an order or a position allow only a part of the way", stops=True),
    "REDUCED": _Code(Part.INTENT, "the mode lets a position shrink only, by a quarter at once", stops=True),
    "DELTA_BELOW_LOT": _Code(Part.INTENT, "the position is where it should be, to the lot", stops=True),
    "NOTIONAL_BELOW_MIN": _Code(Part.INTENT, "the change is too small to be worth an order", stops=True),
    "FAILED": _Code(Part.VERDICT, "the symbol could not be decided on; the others were", stops=True),
    "WAITED": _Code(Part.VERDICT, "the next cycle began before it could be decided on", stops=True),
    "JUDGED_UNDER": _Code(Part.VERDICT, "the control mode, and the limits by their name"),
    "CONTROL": _Code(Part.VERDICT, "the part of the platform that this mode is for"),
    "MODE_FORBIDS": _Code(Part.VERDICT, "the control mode forbids it", stops=True),
    "REST": _Code(Part.VERDICT, "nothing is traded at this time", stops=True),
    "NUMBER_INSANE": _Code(Part.VERDICT, "a number is none that can be traded", stops=True),
    "LIMITS_UNKNOWN": _Code(Part.VERDICT, "a limit is not known, so only what reduces is approved", stops=True),
    "INSTRUMENT_UNKNOWN": _Code(Part.VERDICT, "the symbol is not traded here", stops=True),
    "RESTRICTED": _Code(Part.VERDICT, "the symbol is on the restricted list", stops=True),
    "LOT_VIOLATED": _Code(Part.VERDICT, "the quantity is no whole number of lots", stops=True),
    "QUOTE_STALE": _Code(Part.VERDICT, "the quote is missing or too old", stops=True),
    "PRICE_COLLAR": _Code(Part.VERDICT, "the price is too far from the market", stops=True),
    "DYNAMIC_COLLAR": _Code(Part.VERDICT, "the price is too far from where the market traded lately", stops=True),
    "ORDER_QTY": _Code(Part.VERDICT, "the order is for more than one may be", stops=True),
    "ORDER_NOTIONAL": _Code(Part.VERDICT, "the order is worth more than one may be", stops=True),
    "POSITION_LIMIT": _Code(Part.VERDICT, "the position could become worth more than it may", stops=True),
    "SHORT_QTY": _Code(Part.VERDICT, "more could be short than may be", stops=True),
    "TOO_MANY_ORDERS": _Code(Part.VERDICT, "as many orders live as may", stops=True),
    "OPEN_NOTIONAL": _Code(Part.VERDICT, "all live orders together would be worth more than they may", stops=True),
    "CAPITAL": _Code(Part.VERDICT, "more would be at stake than the equity carries, or it is not known", stops=True),
    "DUPLICATE": _Code(Part.VERDICT, "an order alike was made seconds ago; the next cycle decides anew", stops=True),
    "ORDER_TO_TRADE": _Code(Part.VERDICT, "too many messages for the trades that came of them", stops=True),
    "SELF_MATCH": _Code(Part.VERDICT, "it would trade with an order of our own", stops=True),
    "TAKER_FORBIDDEN": _Code(Part.VERDICT, "only Emergency may take liquidity", stops=True),
    "GATE_SHUT": _Code(Part.VERDICT, "the gate of the session is shut", stops=True),
    "LIMITS_CHANGED": _Code(Part.VERDICT, "two people changed a limit, and it was decided before", stops=True),
    "TOO_LATE": _Code(Part.VERDICT, "it waited too long and was decided on another market", stops=True),
    "OFF_GRID": _Code(Part.VERDICT, "price or quantity is off the instrument's grid", stops=True),
}
"""Every code that a decision or a refusal of ours bears."""


def told(reason: str) -> str:
    """Write a reason with the words of its code; one that is not ours as it is."""
    code = CODES.get(code_of(reason))
    return reason if code is None else f"{reason} ({code.words})"


def code_of(reason: str) -> str:
    """Return the code of a reason: the word before its first colon."""
    return reason.partition(":")[0]


def of_part(reasons: Iterable[str], part: Part) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return a part's reasons: why something was done, and why something was not. The verdict has the unknown codes."""
    why: list[str] = []
    rejected: list[str] = []
    for reason in reasons:
        code = CODES.get(code_of(reason), _Code(Part.VERDICT, "", stops=True))
        if code.part is part:
            (rejected if code.stops else why).append(told(reason))
    return tuple(why), tuple(rejected)


def find_reason(reasons: Iterable[str], code: str) -> str | None:
    """Return the text behind a code, None where the code is not among the reasons."""
    return next((reason.partition(": ")[2] for reason in reasons if code_of(reason) == code), None)


def legible(text: str) -> str:
    """Return the text of a message with | for the separator, harmless to a terminal."""
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text.replace("\x01", "|"))


def spoken(direction: str, text: str) -> str:
    """Write a message with the way it went: in (<), out (>) or an event of the session (*)."""
    return f"{_ARROWS.get(direction, '?')} {legible(text)}"


def as_text(step: Step) -> str:
    """Write an explanation for people: one step after the other, each with its numbers and reasons below it.

    Venues and operators wrote some of it: what would act on a terminal is spelt out.
    """
    return "\n".join(map(legible, _lines(step, "")))


def _lines(step: Step, indent: str) -> Iterator[str]:
    yield f"{indent}{step.what}" + ("" if step.at_ns is None else f"  [{iso(step.at_ns)}]")
    below = f"{indent}    "
    width = max((len(name) for name, _ in step.facts), default=0)
    for name, value in step.facts:
        yield f"{below}{name:<{width}}  {value}"
    for reason in step.why:
        yield f"{below}because  {reason}"
    for reason in step.rejected:
        yield f"{below}not      {reason}"
    for part in step.parts:
        yield from _lines(part, below)


def as_json(step: Step) -> dict[str, Any]:
    """Return an explanation as plain values; every step has every key."""
    return {
        "what": step.what,
        "at_ns": step.at_ns,
        "at": None if step.at_ns is None else iso(step.at_ns),
        "facts": dict(step.facts),
        "why": list(step.why),
        "rejected": list(step.rejected),
        "parts": [as_json(part) for part in step.parts],
    }
