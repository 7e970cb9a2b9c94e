"""How large a position the votes are worth: a share of equity per vote, scaled by the Kelly factor, capped by margin.

The votes' statistics are float64, the position is exact: the Kelly factor crosses over once, in `exact_factor`, so that
the same inputs give the same position to the last digit on any machine.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_DOWN, ROUND_HALF_EVEN, Decimal, localcontext
from typing import Final

from trisagion.market.types import Instrument
from trisagion.selection.votes import Selection
from trisagion.units import SCALE, WIDE, Money, Price, plain

_STEP: Final = Decimal(1).scaleb(-SCALE)


@dataclass(frozen=True, slots=True)
class SizingRules:
    """Domain, section 4. `kelly_clip` is τ; `margin_fraction` is the share of equity that may stand as margin."""

    risk_fraction: Decimal = Decimal("0.0016180339887")
    kelly_clip: float = 0.5
    probation: float = 0.25
    kelly_floor: float = -0.98
    allow_long: bool = True
    allow_short: bool = True
    margin_fraction: Decimal = Decimal("0.5")


@dataclass(frozen=True, slots=True)
class Desired:
    """The position wanted, signed, quantised to `SCALE` places toward zero but not yet to lots.

    `known` is False when nothing is known and so nothing may be traded; `qty` is 0 then, and is not a wish to be flat.
    """

    qty: Decimal
    known: bool
    reasons: tuple[str, ...]


def kelly_factor(h_now: float | None, h_past: float | None, rules: SizingRules) -> float:
    """Return what the size per vote is multiplied by.

    ``1 + P``, ``P = 0`` if `h_past` is 0, else ``max(clip((h_now − h_past)/|h_past|, −τ, τ), floor)``; the probation
    factor where either Kelly percentage is undefined.

    Parameters
    ----------
    h_now, h_past : float or None
        Kelly percentages of the living cohort and of past profitable epochs, as fractions.
    rules : SizingRules

    Returns
    -------
    float
        Above 0 for rules with ``floor > −1``: the factor scales a direction and never turns it round.
    """
    if h_now is None or h_past is None:
        return rules.probation
    if h_past == 0:
        return 1.0
    change = (h_now - h_past) / abs(h_past)
    return 1.0 + max(min(max(change, -rules.kelly_clip), rules.kelly_clip), rules.kelly_floor)


def exact_factor(factor: float) -> Decimal:
    """Turn a factor into a decimal: its shortest text that reads back the same, then half-even to `SCALE` places."""
    return Decimal(repr(factor)).quantize(_STEP, rounding=ROUND_HALF_EVEN)


def margin_shares(instruments: Sequence[Instrument]) -> Mapping[str, Decimal]:
    """Return each symbol's leverage-weighted share of the margin budget: its `leverage_max` over the sum of all.

    Rounded down to `SCALE` places, so that the shares never sum to more than 1.
    """
    with localcontext(WIDE):
        total = sum((each.leverage_max for each in instruments), Decimal(0))
        return {each.symbol: (each.leverage_max / total).quantize(_STEP, rounding=ROUND_DOWN) for each in instruments}


def desired_position(
    selection: Selection,
    equity: Money | None,
    price: Price,
    instrument: Instrument,
    rules: SizingRules,
    *,
    share: Decimal,
) -> Desired:
    """Return the position that the selection is worth.

    ``qty = D · S / (price · multiplier)``, ``S = equity · risk_fraction · factor``, and at most what the margin budget
    carries: ``|qty| · price · multiplier / leverage_max ≤ equity · margin_fraction · share``.

    Parameters
    ----------
    selection : Selection
    equity : Money or None
        None: not known. Then a vote for a position cannot be sized, and nothing is traded; a vote for none still can.
    price : Price
        Money per point is ``multiplier``.
    instrument : Instrument
    rules : SizingRules
    share : Decimal
        The symbol's share of the margin budget in [0, 1], from `margin_shares`.

    Returns
    -------
    Desired
        With the reasons in order of precedence. Equity of zero or less wants no position.
    """
    assert selection.symbol == instrument.symbol, f"votes on {selection.symbol} sized as {instrument.symbol}"
    assert price > 0, f"{instrument.symbol}: expected a price above 0, found {price}"
    assert 0 <= share <= 1, f"{instrument.symbol}: expected a share in [0, 1], found {share}"
    if selection.stale:
        return Desired(Decimal(0), known=False, reasons=("DESIRED_UNKNOWN: votes=stale",))
    if not selection.wins:
        return _flat(f"DESIRED_FLAT: winners={selection.winners} direction={selection.direction}")
    if selection.direction > 0 and not rules.allow_long:
        return _flat(f"LONG_FORBIDDEN: direction={selection.direction}")
    if selection.direction < 0 and not rules.allow_short:
        return _flat(f"SHORT_FORBIDDEN: direction={selection.direction}")
    if equity is None:
        return Desired(Decimal(0), known=False, reasons=("DESIRED_UNKNOWN: equity=unknown",))
    if equity <= 0:
        return _flat(f"EQUITY_SPENT: equity={plain(equity)}")
    factor = exact_factor(kelly_factor(selection.kelly_now, selection.kelly_past, rules))
    with localcontext(WIDE):
        point = price * instrument.multiplier
        wanted = abs(selection.direction) * equity * rules.risk_fraction * factor / point
        cap = equity * rules.margin_fraction * share * instrument.leverage_max / point
        size = min(wanted, cap).quantize(_STEP, rounding=ROUND_DOWN)
        qty = size if selection.direction > 0 else -size
    reasons = [_kelly_reason(selection, factor)]
    if wanted > cap:
        reasons.insert(0, f"MARGIN_CAPPED: wanted={wanted:.6f} cap={cap:.6f} share={plain(share)}")
    return Desired(qty, known=True, reasons=tuple(reasons))


def _flat(reason: str) -> Desired:
    return Desired(Decimal(0), known=True, reasons=(reason,))


def _kelly_reason(selection: Selection, factor: Decimal) -> str:
    if selection.kelly_now is None or selection.kelly_past is None:
        return f"KELLY_PROBATION: factor={plain(factor)}"
    return f"KELLY_FACTOR: now={selection.kelly_now:.6g} past={selection.kelly_past:.6g} factor={plain(factor)}"
