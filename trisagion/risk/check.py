"""The verdict on an intent: no order exists that did not pass `check`, or is sent without passing again.

The same function judges when a cycle decides and again when the gateway routes, for what was true then need not be now.
A refusal is a value: it is part of the business. Where something cannot be judged, it is refused.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from trisagion.market.types import Instrument, Quote
from trisagion.orders.types import Intent, Order, Side
from trisagion.risk.controls import CONTROLS, Control, Facts, Refusal, worst_of
from trisagion.risk.history import NOTHING, History
from trisagion.risk.limits import Limits
from trisagion.risk.load import Account, Load
from trisagion.safety.modes import Mode
from trisagion.units import Price, Quantity, plain

_WALK: Final = tuple((control.fails, control) for control in CONTROLS)


@dataclass(frozen=True, slots=True)
class Approved:
    """An intent that passed every control. Made by `check` and nowhere else: a house test looks for any other maker."""

    intent: Intent
    account: str
    limits_version: str


@dataclass(frozen=True, slots=True)
class Refused:
    """A refusal; `text` is its code with the values that led to it."""

    reason: Refusal
    text: str


@dataclass(frozen=True, slots=True)
class Line:
    """What one control says: "passed", "refused", or "not judged" where a control that it needs has refused.

    `text` is what it looked at with its limit, empty where it has not judged.
    """

    number: int
    refusal: Refusal
    result: str
    text: str


def check(
    intent: Intent,
    *,
    instrument: Instrument | None,
    quote: Quote | None,
    position: Quantity,
    live_orders: Sequence[Order],
    account: Account,
    mode: Mode,
    limits: Limits,
    now_ns: int,
    price: Price | None = None,
    history: History = NOTHING,
) -> Approved | Refused:
    """Judge an intent beside the account's orders, as `judge` does beside what they amount to.

    An order of this same intent that was not sent yet is the intent itself, and is not counted a second time.
    """
    load = Load.of(live_orders, intent)
    return _verdict(Facts(intent, instrument, quote, position, load, account, mode, limits, now_ns, price, history))


def judge(
    intent: Intent,
    *,
    instrument: Instrument | None,
    quote: Quote | None,
    position: Quantity,
    load: Load,
    account: Account,
    mode: Mode,
    limits: Limits,
    now_ns: int,
    price: Price | None = None,
    history: History = NOTHING,
) -> Approved | Refused:
    """Judge an intent; the controls run in the order of `Refusal`, and the first that fails answers.

    Parameters
    ----------
    intent : Intent
        `qty` is what would be sent now.
    instrument : Instrument or None
        None: not in the master.
    quote : Quote or None
        None: no quote.
    position : Quantity
        The signed position in the intent's symbol.
    load : Load
        The account's other live orders, on all symbols.
    account : Account
        Its worth, and what stands open beside this intent.
    mode : Mode
    limits : Limits
        Those in force for the intent's symbol, venue and strategy.
    now_ns : int
    price : Price, optional
        Where the order would stand; without one it joins the best quote of its side, or, a taker, reaches the other.
    history : History, optional
        What happened lately.
    """
    return _verdict(Facts(intent, instrument, quote, position, load, account, mode, limits, now_ns, price, history))


def _verdict(facts: Facts) -> Approved | Refused:
    for fails, control in _WALK:
        if fails(facts):
            return Refused(control.refusal, _text(control, facts))
    return Approved(facts.intent, facts.limits.account, facts.limits.version)


def explain(facts: Facts) -> tuple[Line, ...]:
    """Return what every control says of an intent, also those behind the first that refuses."""
    lines, judged = [], True
    for number, control in enumerate(CONTROLS, start=1):
        if not judged and control.refusal is not Refusal.TAKER_FORBIDDEN:
            lines.append(Line(number, control.refusal, "not judged", ""))
            continue
        failed = control.fails(facts)
        judged = judged and not (failed and control.needed)
        lines.append(Line(number, control.refusal, "refused" if failed else "passed", _text(control, facts)))
    return tuple(lines)


def only_reduces(intent: Intent, position: Quantity, live_orders: Sequence[Order]) -> bool:
    """Tell whether an intent only lowers ``|position|``, even when every live order of its side fills first."""
    worst = worst_of(intent, position, Load.of(live_orders, intent))
    return worst <= 0 if intent.side is Side.BUY else worst >= 0


def _text(control: Control, facts: Facts) -> str:
    values = control.looked_at(facts).items()
    said = (f"{name}={plain(value) if isinstance(value, Decimal) else value}" for name, value in values)
    return f"{control.refusal}: {' '.join(said)}"
