"""Limits, and the verdict on an intent: no order exists that did not pass `check`, or is sent without passing again.

The same function judges when a cycle decides and again when the gateway routes, for what was true then need not be now.
A refusal is a value: it is part of the business. Where something cannot be judged, it is refused.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from typing import Final

from trisagion.clock import MILLISECOND_NS
from trisagion.errors import ConfigError
from trisagion.market.calendar import closing_reason
from trisagion.market.types import Instrument, Quote
from trisagion.orders.state import AT_VENUE, LIVE
from trisagion.orders.types import Intent, Order, Side
from trisagion.safety.modes import Mode
from trisagion.units import EXACT, WIDE, Price, Quantity, fits, notional, on_grid, plain

NOT_SENT: Final = LIVE - AT_VENUE
_NUMBERS: Final = ("order_notional_max", "position_notional_max", "orders_max", "quote_age_ns_max")
_ZERO: Final = Quantity(Decimal(0))

QUOTE_AGE_NS_MAX: Final = 250 * MILLISECOND_NS
"""A maker joins a quote that is younger than a quarter of a second, or does not trade."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What one account may do. Notionals are in the instrument's currency; a limit of zero forbids.

    Raises `ConfigError` for a limit below zero or not finite.
    """

    account: str
    order_notional_max: Decimal
    position_notional_max: Decimal
    orders_max: int
    quote_age_ns_max: int = QUOTE_AGE_NS_MAX
    version: str = field(init=False, compare=False)
    """The name of these limits by their content, so that a verdict says under which limits it was given."""

    def __post_init__(self) -> None:
        parts: tuple[Decimal | int, ...] = tuple(getattr(self, name) for name in _NUMBERS)
        for name, part in zip(_NUMBERS, parts, strict=True):
            value = Decimal(part)
            if not value.is_finite() or value < 0:
                raise ConfigError(f"limits of {self.account}: expected {name} of 0 or more, found {value}")
        text = "|".join(plain(part) if isinstance(part, Decimal) else str(part) for part in (self.account, *parts))
        object.__setattr__(self, "version", hashlib.sha256(text.encode()).hexdigest()[:12])


class Refusal(StrEnum):
    """Why an intent was refused, ordered by descending precedence: the first that applies is the one that is given."""

    MODE_FORBIDS = "MODE_FORBIDS"
    REST = "REST"
    NUMBER_INSANE = "NUMBER_INSANE"
    INSTRUMENT_UNKNOWN = "INSTRUMENT_UNKNOWN"
    LOT_VIOLATED = "LOT_VIOLATED"
    QUOTE_STALE = "QUOTE_STALE"
    ORDER_NOTIONAL = "ORDER_NOTIONAL"
    POSITION_LIMIT = "POSITION_LIMIT"
    TOO_MANY_ORDERS = "TOO_MANY_ORDERS"
    TAKER_FORBIDDEN = "TAKER_FORBIDDEN"


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
class Load:
    """What the account's live orders beside an intent amount to.

    `orders` is their number, `leaves` the most that those of each symbol and side may still fill.
    """

    orders: int
    leaves: Mapping[tuple[str, Side], Quantity]

    @staticmethod
    def of(live_orders: Sequence[Order], intent: Intent) -> "Load":
        """Add up; what is not live does not count, nor does an order of the same intent that was not sent yet."""
        leaves: dict[tuple[str, Side], Quantity] = {}
        count = 0
        for order in live_orders:
            if order.state in LIVE and not (order.intent == intent.key and order.state in NOT_SENT):
                count += 1
                which = (order.symbol, order.side)
                leaves[which] = Quantity(WIDE.add(leaves.get(which, _ZERO), order.leaves_qty))
        return Load(count, leaves)

    def less(self, part: "Load") -> "Load":
        """Return what is left without a part of it."""
        leaves = dict(self.leaves)
        for which, qty in part.leaves.items():
            leaves[which] = Quantity(WIDE.subtract(leaves[which], qty))
        return Load(self.orders - part.orders, leaves)


def check(
    intent: Intent,
    *,
    instrument: Instrument | None,
    quote: Quote | None,
    position: Quantity,
    live_orders: Sequence[Order],
    mode: Mode,
    limits: Limits,
    now_ns: int,
) -> Approved | Refused:
    """Judge an intent beside the account's orders, as `judge` does beside what they amount to.

    An order of this same intent that was not sent yet is the intent itself, and is not counted a second time.
    """
    load = Load.of(live_orders, intent)
    return judge(
        intent,
        instrument=instrument,
        quote=quote,
        position=position,
        load=load,
        mode=mode,
        limits=limits,
        now_ns=now_ns,
    )


def judge(
    intent: Intent,
    *,
    instrument: Instrument | None,
    quote: Quote | None,
    position: Quantity,
    load: Load,
    mode: Mode,
    limits: Limits,
    now_ns: int,
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
    mode : Mode
        PAUSE allows nothing; REDUCE and EMERGENCY only what lowers ``|position|`` even when every live order of the
        same side fills first, and never carries it through zero.
    limits : Limits
    now_ns : int

    Notes
    -----
    Position limit: ``position + Σ live buys + qty ≤ L`` for a buy, ``position − Σ live sells − qty ≥ −L`` for a sell,
    L in notional at the higher of bid and ask. Only the side that the intent adds to is judged: a position that is over
    its limit already must not lock out the order that brings it back.

    RTS 6 (EU 2017/589, Art. 15) and SEC 15c3-5 are the origin of the controls; unknown orders count in full.
    """
    above_zero = (intent.qty,) if quote is None else (intent.qty, quote.bid, quote.ask)
    sane = fits(position) and all(map(fits, above_zero)) and min(above_zero) > 0
    worst = _worst(intent, position, load) if sane else None
    if mode is Mode.PAUSE or (mode is not Mode.NORMAL and not _reduces(intent, worst)):
        return _refused(Refusal.MODE_FORBIDS, mode=mode, side=intent.side, qty=intent.qty, position=position)
    resting = closing_reason(now_ns)
    if resting is not None:
        return _refused(Refusal.REST, rest=resting)
    if worst is None:
        return _refused(Refusal.NUMBER_INSANE, position=repr(position), qty_bid_ask=repr(above_zero))
    if instrument is None or instrument.symbol != intent.symbol:
        return _refused(Refusal.INSTRUMENT_UNKNOWN, symbol=intent.symbol)
    if not on_grid(intent.qty, instrument.lot_size):
        return _refused(Refusal.LOT_VIOLATED, qty=intent.qty, lot=instrument.lot_size)
    if quote is None or quote.symbol != intent.symbol:
        return _refused(Refusal.QUOTE_STALE, quote="none")
    if not 0 <= now_ns - quote.learned_ns <= limits.quote_age_ns_max:
        return _refused(Refusal.QUOTE_STALE, age_ns=now_ns - quote.learned_ns, max_ns=limits.quote_age_ns_max)
    mark = max(quote.bid, quote.ask)
    worth = notional(mark, intent.qty, instrument.multiplier)
    if worth > limits.order_notional_max:
        return _refused(Refusal.ORDER_NOTIONAL, notional=worth, max=limits.order_notional_max)
    exposure = _exposure(intent.side, mark, worst, instrument)
    if exposure > limits.position_notional_max:
        return _refused(Refusal.POSITION_LIMIT, notional=exposure, max=limits.position_notional_max, worst=worst)
    if load.orders + 1 > limits.orders_max:
        return _refused(Refusal.TOO_MANY_ORDERS, live=load.orders, max=limits.orders_max)
    if intent.taker and mode is not Mode.EMERGENCY:
        return _refused(Refusal.TAKER_FORBIDDEN, mode=mode)
    return Approved(intent, limits.account, limits.version)


def only_reduces(intent: Intent, position: Quantity, live_orders: Sequence[Order]) -> bool:
    """Tell whether an intent only lowers ``|position|``, even when every live order of its side fills first."""
    return _reduces(intent, _worst(intent, position, Load.of(live_orders, intent)))


def _worst(intent: Intent, position: Quantity, load: Load) -> Quantity:
    """Return the position should the intent and every live order of its side and symbol fill, and nothing else."""
    fills = WIDE.add(load.leaves.get((intent.symbol, intent.side), _ZERO), intent.qty)
    return Quantity(WIDE.add(position, fills) if intent.side is Side.BUY else WIDE.subtract(position, fills))


def _reduces(intent: Intent, worst: Quantity | None) -> bool:
    """Tell whether all that may fill comes from beyond zero: what buys up to zero at most was short before."""
    return worst is not None and intent.side.sign * worst <= 0


def _exposure(side: Side, mark: Price, worst: Quantity, instrument: Instrument) -> Decimal:
    """Return the worst position's notional as seen from the side that is added to; negative while it only reduces."""
    worth = notional(mark, worst, instrument.multiplier)
    return worth if side is Side.BUY else EXACT.minus(worth)


def _refused(reason: Refusal, **values: object) -> Refused:
    said = (f"{name}={plain(value) if isinstance(value, Decimal) else value}" for name, value in values.items())
    return Refused(reason, f"{reason}: {' '.join(said)}")
