"""Sizing: the Kelly factor, the margin cap, and what is wanted when something is not known."""

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from trisagion.market.types import Instrument
from trisagion.portfolio.sizing import Desired, SizingRules, desired_position, exact_factor, kelly_factor, margin_shares
from trisagion.selection.votes import Selection
from trisagion.units import Money, Price

RULES = SizingRules()
ALONE = Decimal(1)


def instrument(symbol: str = "ES", multiplier: str = "50", leverage: str = "20") -> Instrument:
    """Make an instrument."""
    return Instrument(
        symbol, "SIM", "USD", Decimal("0.25"), Decimal(1), Decimal(multiplier), Decimal(leverage), Decimal("0.0004")
    )


def selection(
    direction: int = 3,
    *,
    live_pnl: float = 1.0,
    kelly_now: float | None = None,
    kelly_past: float | None = None,
    stale: bool = False,
) -> Selection:
    """Make a selection; without Kelly percentages it is on probation."""
    return Selection("ES", direction, live_pnl, abs(direction), kelly_now, kelly_past, stale, ())


def size(
    chosen: Selection, equity: str | None = "100000", rules: SizingRules = RULES, share: Decimal = ALONE
) -> Desired:
    """Size at a price of 5000.25."""
    money = None if equity is None else Money(Decimal(equity))
    return desired_position(chosen, money, Price(Decimal("5000.25")), instrument(), rules, share=share)


@pytest.mark.parametrize(
    ("h_now", "h_past", "factor"),
    [
        (None, 0.2, 0.25),
        (0.2, None, 0.25),
        (None, None, 0.25),
        (0.3, 0.0, 1.0),
        (0.2, 0.2, 1.0),
        (0.24, 0.2, 1.2),
        (0.16, 0.2, 0.8),
        (9.0, 0.2, 1.5),
        (-9.0, 0.2, 0.5),
        (-0.1, -0.2, 1.5),
        (-0.24, -0.2, 0.8),
        (-0.16, -0.2, 1.2),
        (0.3, -0.2, 1.5),
        (-0.3, 0.2, 0.5),
        (0.0, 0.2, 0.5),
        (0.0, -0.2, 1.5),
        (0.0, 0.0, 1.0),
        (-0.3, 0.0, 1.0),
        (-0.3, -0.0, 1.0),
        (None, 0.0, 0.25),
        (None, -0.2, 0.25),
    ],
)
def test_the_kelly_factor_leans_within_its_clip(h_now: float | None, h_past: float | None, factor: float) -> None:
    """Better than the past raises the size, worse lowers it, by at most τ; without a record there is probation."""
    assert kelly_factor(h_now, h_past, RULES) == pytest.approx(factor, abs=1e-15)


@given(
    h_now=st.floats(-50, 1),
    h_past=st.floats(-50, 1).filter(lambda value: abs(value) > 1e-9),
    clip=st.floats(0, 3),
    floor=st.floats(-0.98, 0),
)
@example(h_now=0.3, h_past=-0.2, clip=3.0, floor=-0.98)
@example(h_now=-0.3, h_past=0.2, clip=3.0, floor=-0.98)
def test_the_factor_is_the_formula_in_fractions_whatever_the_signs(
    h_now: float, h_past: float, clip: float, floor: float
) -> None:
    """Exact arithmetic agrees; above one exactly when now is better than the past, and never down to zero."""
    factor = kelly_factor(h_now, h_past, SizingRules(kelly_clip=clip, kelly_floor=floor))
    change = (Fraction(h_now) - Fraction(h_past)) / abs(Fraction(h_past))
    clipped = sorted((-Fraction(clip), change, Fraction(clip)))[1]
    assert factor == pytest.approx(float(1 + max(clipped, Fraction(floor))), rel=1e-12)
    assert factor >= 1 + max(-clip, floor) > 0
    assert factor <= 1 + clip
    if clip > 1e-6 and floor < -1e-6 and abs(change) > 1e-6:
        assert (factor > 1) == (h_now > h_past)


@given(st.lists(st.floats(-50, 1), min_size=2, max_size=8), st.floats(-50, 1))
def test_a_better_present_never_gives_a_smaller_size(presents: list[float], h_past: float) -> None:
    """Against the same past, of either sign or none, the factor does not fall as the present rises."""
    factors = [kelly_factor(h_now, h_past, RULES) for h_now in sorted(presents)]
    assert factors == sorted(factors)


def test_the_floor_keeps_a_wide_clip_above_zero() -> None:
    """Even with a clip wider than one, the factor keeps two hundredths and never turns a direction round."""
    assert kelly_factor(-9.0, 0.2, SizingRules(kelly_clip=5.0)) == pytest.approx(0.02, abs=1e-15)


@pytest.mark.parametrize(
    ("factor", "exact"),
    [
        (0.1, "0.1"),
        (1.0, "1"),
        (1.1, "1.1"),
        (0.1 + 0.2, "0.3"),
        (0.0000000000005, "0"),
        (0.0000000000015, "0.000000000002"),
        (1 / 3, "0.333333333333"),
    ],
)
def test_a_factor_becomes_exact_by_its_shortest_text(factor: float, exact: str) -> None:
    """The text that reads back the same, half-even to twelve places: 0.1 is 0.1, on any machine."""
    assert exact_factor(factor) == Decimal(exact)


@pytest.mark.parametrize(("direction", "sign"), [(3, 1), (-3, -1)])
def test_the_size_is_the_formula_cut_to_twelve_places(direction: int, sign: int) -> None:
    """D·S/(price·multiplier) as rational arithmetic has it, and less than one unit of the last place toward zero."""
    desired = size(selection(direction, kelly_now=0.24, kelly_past=0.2))
    risk, price = Fraction("0.0016180339887"), Fraction("5000.25")
    expected = 3 * 100000 * risk * Fraction("1.2") / (price * 50)
    assert desired.qty * sign > 0
    assert 0 <= expected - abs(Fraction(desired.qty)) < Fraction(1, 10**12)
    assert desired.reasons == ("KELLY_FACTOR: now=0.24 past=0.2 factor=1.2",)


def test_the_same_inputs_give_the_same_digits() -> None:
    """A golden size: 3 · 100000 · 0.0016180339887 · 0.25 / (5000.25 · 50), by `bc` with scale=12."""
    desired = size(selection())
    assert str(desired.qty) == "0.000485385927"
    assert desired.reasons == ("KELLY_PROBATION: factor=0.25",)


@pytest.mark.parametrize(
    ("chosen", "equity", "rules", "known", "code"),
    [
        (selection(stale=True), None, RULES, False, "DESIRED_UNKNOWN: votes=stale"),
        (selection(0), None, RULES, True, "DESIRED_FLAT"),
        (selection(live_pnl=0.0), None, RULES, True, "DESIRED_FLAT"),
        (selection(3), None, SizingRules(allow_long=False), True, "LONG_FORBIDDEN"),
        (selection(-3), None, SizingRules(allow_short=False), True, "SHORT_FORBIDDEN"),
        (selection(3), None, RULES, False, "DESIRED_UNKNOWN: equity=unknown"),
        (selection(3), "0", RULES, True, "EQUITY_SPENT"),
        (selection(3), "-5", RULES, True, "EQUITY_SPENT"),
    ],
)
def test_no_position_is_wanted_or_nothing_is_known(
    chosen: Selection, equity: str | None, rules: SizingRules, known: bool, code: str
) -> None:
    """In order of precedence; "be flat" and "nothing is known" are told apart."""
    desired = size(chosen, equity, rules)
    assert (desired.qty, desired.known) == (Decimal(0), known)
    assert desired.reasons[0].startswith(code)


def test_one_side_switched_off_leaves_the_other() -> None:
    """Shorts off still allows longs, and the reverse."""
    assert size(selection(3), rules=SizingRules(allow_short=False)).qty > 0
    assert size(selection(-3), rules=SizingRules(allow_long=False)).qty < 0


@given(
    direction=st.integers(-(10**6), 10**6).filter(bool),
    equity=st.decimals(min_value=Decimal("0.01"), max_value=Decimal(10**9), places=2),
    share=st.decimals(min_value=0, max_value=1, places=6),
)
def test_the_margin_never_exceeds_the_budget(direction: int, equity: Decimal, share: Decimal) -> None:
    """|qty|·price·multiplier/leverage stays within equity·fraction·share, and a capped size is the cap."""
    desired = size(selection(direction, kelly_now=0.2, kelly_past=0.2), str(equity), share=share)
    used = abs(Fraction(desired.qty)) * Fraction("5000.25") * 50 / 20
    cap = Fraction(equity) * Fraction(1, 2) * Fraction(share)
    assert used <= cap
    assert desired.qty * direction >= 0
    if desired.reasons[0].startswith("MARGIN_CAPPED"):
        assert cap - used < Fraction("5000.25") * 50 / 20 / 10**12


def test_a_share_of_the_budget_caps_the_size() -> None:
    """A vote far above the budget is cut to it: 0.5·0.25·100000·20/(5000.25·50) contracts."""
    desired = size(selection(10**6), share=Decimal("0.25"))
    assert desired.qty == Decimal("0.999950002499")
    assert desired.reasons[0].startswith("MARGIN_CAPPED: ")


def test_shares_follow_leverage_and_never_exceed_the_whole() -> None:
    """A symbol's share is its leverage over all leverages, rounded down."""
    traded = [instrument("ES", leverage="20"), instrument("NQ", leverage="20"), instrument("CL", leverage="20")]
    assert margin_shares(traded) == dict.fromkeys(("ES", "NQ", "CL"), Decimal("0.333333333333"))
    assert margin_shares([instrument("ES")]) == {"ES": Decimal(1)}
