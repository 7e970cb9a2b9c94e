"""The verdict on an intent: no order exists that did not pass `judge`, or is sent without passing again.

The same function judges when a cycle decides and again when the gateway routes, for what was true then need not be now.
A refusal is a value: it is part of the business. Where something cannot be judged, it is refused.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final, NamedTuple

from trisagion.orders.types import Intent, Order, Side
from trisagion.risk.controls import CONTROLS, Control, Facts, Refusal, refusals, worst_of
from trisagion.risk.load import Account, Load
from trisagion.units import Quantity, plain, plus

_CONTROL: Final = {control.refusal: control for control in CONTROLS}


class Approved(NamedTuple):
    """An intent that passed every control. Made by `judge` and nowhere else: a house test looks for any other maker."""

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


def judge(facts: Facts, load: Load, account: Account) -> Approved | Refused:
    """Judge an intent; the controls run in the order of `Refusal`, and the first that fails answers.

    `load` is what the account's other live orders amount to, on all symbols; `account` is its worth, and what stands
    open with those.
    """
    facts.beside(load, account)
    refusal = next(refusals(facts), None)
    if refusal is not None:
        return Refused(refusal, _text(_CONTROL[refusal], facts))
    limits = facts.limits
    return Approved(facts.intent, limits.account, limits.version)


def judge_all(intents: Iterable[Facts], load: Load, account: Account) -> list[Approved | Refused]:
    """Judge intents of one account in turn, each beside `load` and beside those before it that were approved.

    As `judge` does that is given all of these, added up anew, for each: but the time grows with the intents, and not
    with their square. An intent comes once. `load` and `account` stay as they are.
    """
    load, verdicts = load.copy(), []
    for facts in intents:
        verdict = judge(facts, load, account)
        verdicts.append(verdict)
        if isinstance(verdict, Approved):
            intent = facts.intent
            load.add(intent.symbol, intent.side, intent.qty, facts.touch)
            account = Account(account.equity, account.gross, plus(account.open, facts.worth))
    return verdicts


def explain(facts: Facts, load: Load, account: Account) -> tuple[Line, ...]:
    """Return what every control says of an intent, also those behind the first that refuses; see `judge`."""
    facts.beside(load, account)
    refused = frozenset(refusals(facts))
    lines, judged = [], True
    for number, control in enumerate(CONTROLS, start=1):
        if not judged and control.refusal is not Refusal.TAKER_FORBIDDEN:
            lines.append(Line(number, control.refusal, "not judged", ""))
            continue
        failed = control.refusal in refused
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
