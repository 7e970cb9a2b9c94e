"""Desired − actual → at most one intent a symbol and cycle; "actual" is a position that all witnesses agree on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, localcontext
from types import MappingProxyType
from typing import Final, Protocol

from trisagion.clock import SECOND_NS
from trisagion.errors import ConfigError
from trisagion.ids import CycleId, intent_key
from trisagion.market.types import Instrument
from trisagion.orders.types import Intent, Side
from trisagion.units import WIDE, Price, Quantity, lots_toward_zero, notional, plain

REDUCE_STEPS: Final = 4
"""In Reduce a cycle closes a quarter of what is held at most; our choice."""


@dataclass(frozen=True, slots=True)
class ReconcileRules:
    """Domain, section 5. `observers` are the names that count, `quorum` how many of them must have spoken.

    Raises `ConfigError` when the quorum is below 1, for the ledger is no witness of itself, or above what is there.
    """

    min_trade_notional: Decimal = Decimal("20.0")
    ledger_age_s_max: int = 60
    observer_age_s_max: int = 300
    observers: tuple[str, ...] = ("venue",)
    quorum: int = 1

    def __post_init__(self) -> None:
        named = len(set(self.observers))
        if named != len(self.observers) or not 1 <= self.quorum <= named:
            raise ConfigError(
                f"reconcile: expected distinct observers and a quorum of 1 to their number, found quorum {self.quorum} "
                f"of {', '.join(self.observers) or 'none'}"
            )


@dataclass(frozen=True, slots=True)
class Consensus:
    """The position that ledger and observers agree on; None: no agreement, so no trade."""

    qty: Quantity | None
    reasons: tuple[str, ...]


class LedgerPosition(Protocol):
    """What consensus reads of the ledger's position (`ledger.types.Position` is one; the ledger is downstream)."""

    @property
    def qty(self) -> Quantity:
        """Signed quantity."""
        ...

    @property
    def confirmed_ns(self) -> int:
        """The last instant at which nothing was in doubt."""
        ...


def consensus(
    symbol: str,
    ledger: LedgerPosition,
    observations: Sequence[tuple[str, Quantity, int]],
    rules: ReconcileRules,
    instrument: Instrument,
    now_ns: int,
    moved_ns: Mapping[str, int] = MappingProxyType({}),
) -> Consensus:
    """Return the ledger's position when it is fresh and a quorum of fresh observers confirms it.

    Each observation is (observer, qty, at_ns). Observers that are not configured do not count; one that is stale or
    silent only costs its vote; a fresh one that differs from the ledger by a lot or more breaks the consensus whatever
    the quorum: a witness against us is never outvoted. Ages count in both directions: a cycle that comes late carries
    its due instant and meets words spoken since, and a clock further ahead than that is broken, not fresh.

    `moved_ns` tells, of observers that speak when they like, the instant at which the ledger's position changed last. A
    word as of before that is about another position: it costs its vote only.
    """
    assert symbol == instrument.symbol, f"consensus on {symbol} with the lot of {instrument.symbol}"
    heard = {observer: (qty, at_ns) for observer, qty, at_ns in observations}
    assert len(heard) == len(observations), f"{symbol}: an observer spoke twice"
    ledger_age = abs(now_ns - ledger.confirmed_ns)
    broken = False
    agreeing = 0
    reasons: list[str] = []
    if ledger_age > rules.ledger_age_s_max * SECOND_NS:
        broken = True
        reasons.append(f"LEDGER_STALE: age_s={ledger_age // SECOND_NS} max_s={rules.ledger_age_s_max}")
    for observer in rules.observers:
        if observer not in heard:
            reasons.append(f"OBSERVER_SILENT: observer={observer}")
            continue
        qty, at_ns = heard[observer]
        age = abs(now_ns - at_ns)
        if age > rules.observer_age_s_max * SECOND_NS:
            reasons.append(
                f"OBSERVER_STALE: observer={observer} age_s={age // SECOND_NS} max_s={rules.observer_age_s_max}"
            )
        elif at_ns < moved_ns.get(observer, at_ns):
            reasons.append(f"OBSERVER_BEHIND: observer={observer} at_ns={at_ns} moved_ns={moved_ns[observer]}")
        elif abs(qty - ledger.qty) >= instrument.lot_size:
            broken = True
            reasons.append(f"OBSERVER_DISAGREES: observer={observer} seen={plain(qty)} ledger={plain(ledger.qty)}")
        else:
            agreeing += 1
    if agreeing < rules.quorum:
        broken = True
        reasons.append(f"QUORUM_MISSED: agreeing={agreeing} quorum={rules.quorum}")
    return Consensus(None if broken else ledger.qty, tuple(reasons))


def make_intent(
    cycle: CycleId,
    symbol: str,
    desired: Decimal,
    actual: Quantity,
    price: Price,
    instrument: Instrument,
    rules: ReconcileRules,
    taker: bool = False,
) -> tuple[Intent | None, Quantity, tuple[str, ...]]:
    """Return the intent that moves `actual` to `desired`, the signed difference in lots, and why there is no intent.

    The difference is rounded toward zero; one worth less than `rules.min_trade_notional` is churn and left alone.
    """
    assert symbol == instrument.symbol, f"intent for {symbol} with the lot of {instrument.symbol}"
    with localcontext(WIDE):
        difference = desired - actual
        delta = lots_toward_zero(difference, instrument.lot_size)
        worth = abs(notional(price, delta, instrument.multiplier))
    if delta == 0:
        return None, delta, (f"DELTA_BELOW_LOT: delta={plain(difference)} lot={plain(instrument.lot_size)}",)
    if worth < rules.min_trade_notional:
        return None, delta, (f"NOTIONAL_BELOW_MIN: notional={plain(worth)} min={plain(rules.min_trade_notional)}",)
    side = Side.BUY if delta > 0 else Side.SELL
    return Intent(intent_key(cycle, symbol), cycle, symbol, side, Quantity(abs(delta)), taker), delta, ()


def staged(
    desired: Decimal,
    actual: Quantity,
    price: Price,
    instrument: Instrument,
    *,
    order_notional_max: Decimal,
    position_notional_max: Decimal,
) -> Decimal:
    """Return the position to aim at now: as near to `desired` as the limits on position and on one order allow.

    What is left of a large change is the next cycle's: it goes in stages instead of being refused whole.
    """
    with localcontext(WIDE):
        worth = price * instrument.multiplier
        held = max(lots_toward_zero(position_notional_max / worth, instrument.lot_size), Decimal(0))
        step = lots_toward_zero(order_notional_max / worth, instrument.lot_size)
        capped = min(max(desired, -held), held)
        return min(max(capped, actual - step), actual + step)


def reduced(goal: Decimal, actual: Quantity, instrument: Instrument) -> Decimal:
    """Return the position to aim at in Reduce: towards `goal`, never beyond flat, never more, a quarter of it at once.

    At least a lot, so that it comes to an end.
    """
    with localcontext(WIDE):
        less = min(max(goal, min(actual, Decimal(0))), max(actual, Decimal(0)))
        step = max(lots_toward_zero(abs(actual) / REDUCE_STEPS, instrument.lot_size), instrument.lot_size)
        return min(max(less, actual - step), actual + step)
