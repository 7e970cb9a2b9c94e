"""The clamps: what each lets pass, what it takes, what it takes the unknown for; and what holds for all of them."""

from dataclasses import replace
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from trisagion.portfolio.clamps import CLAMPS, Clamped, ClampRules, Facts, clamped, unit_risk
from trisagion.portfolio.tails import Tail, worst
from trisagion.units import Money

OFF = ClampRules(heat_max=None, leverage_max=None)
ALL = ClampRules(
    kelly_max=Decimal("0.25"),
    volatility_max=Decimal("0.15"),
    crisis_share=Decimal("0.5"),
    concentration_max=Decimal("0.05"),
    heat_max=Decimal("0.25"),
    leverage_max=Decimal(3),
    var_max=Decimal("0.02"),
    es_max=Decimal("0.03"),
)
FACTS = Facts(Money(Decimal(100_000)), unit=Decimal(100), held=Decimal(0), risk=Decimal(10))
"""A unit is a thousandth of the equity, and may lose a tenth of its worth."""


def linear(pnl: np.ndarray, _: int) -> Tail | None:
    """Measure a P&L by its sum, so that a test can reckon: the shortfall is twice the value at risk; NaN is unknown."""
    risk = abs(float(pnl.sum()))
    return None if np.isnan(risk) else Tail(risk, 2 * risk, "sum")


def part(rules: dict[str, str], facts: dict[str, Any], wanted: str) -> tuple[str, str]:
    """Return what one clamp leaves of a wish, and what it saw."""
    named: dict[str, Any] = {name: Decimal(value) for name, value in rules.items()}
    known: dict[str, Any] = {
        name: Decimal(value) if isinstance(value, str) and name != "regime" else value for name, value in facts.items()
    }
    left = clamped(Decimal(wanted), replace(FACTS, **known), replace(OFF, **named), linear)
    bound = [reason for reason in left.reasons if not reason.startswith("CLAMPS")]
    seen = [item for item in left.reasons[0].split()[1:] if not item.endswith("=off")]
    assert len(bound) == (left.qty != Decimal(wanted))
    return format(left.qty.normalize(), "f"), seen[-1]


UNIT = np.ones(1)
KELLY = {"kelly_max": "0.25"}
YEAR = 252**0.5
VOLATILITY = {"volatility_max": "0.15"}
CRISIS = {"crisis_share": "0.5"}
CONCENTRATION = {"concentration_max": "0.05"}
HEAT = {"heat_max": "0.25"}
LEVERAGE = {"leverage_max": "3"}
TAIL = {"var_max": "0.02", "es_max": "0.03"}

CASES = [
    # The stake is a share of equity: 0.1 of it is a hundred units.
    (KELLY, {"kelly": 0.1}, "90", "90", "kelly=0.1/0.25"),
    (KELLY, {"kelly": 0.1}, "-120", "-100", "kelly=0.1/0.25"),
    (KELLY, {"kelly": 0.6}, "300", "250", "kelly=0.6/0.25"),
    (KELLY, {"kelly": -0.2}, "5", "0", "kelly=-0.2/0.25"),
    (KELLY, {}, "300", "62.5", "kelly=unknown/0.25"),
    (VOLATILITY, {"deviation": 0.1 / YEAR}, "8", "8", "volatility=0.1/0.15"),
    (VOLATILITY, {"deviation": 0.3 / YEAR}, "-8", "-4", "volatility=0.3/0.15"),
    (VOLATILITY, {}, "8", "2", "volatility=unknown/0.15"),
    (CRISIS, {"regime": "trending"}, "8", "8", "crisis=trending"),
    (CRISIS, {"regime": "noisy"}, "8", "8", "crisis=noisy"),
    (CRISIS, {"regime": "crisis"}, "-8", "-4", "crisis=crisis"),
    (CRISIS, {"regime": "unknown"}, "8", "4", "crisis=unknown"),
    (CRISIS, {}, "8", "4", "crisis=unknown"),
    # A twentieth of the equity is fifty units; alone a position is the only one of its bet.
    (CONCENTRATION, {}, "50", "50", "correlation=0.05/0.05"),
    (CONCENTRATION, {"alike": "2000"}, "50", "30", "correlation=0.07/0.05"),
    (CONCENTRATION, {"alike": "2000", "held": "-40"}, "-50", "-33.333333333333", "correlation=0.07/0.05"),
    (CONCENTRATION, {"alike": "6000"}, "-50", "0", "correlation=0.11/0.05"),
    # Held is cut in proportion: 40 of 40 and 60 alike are 100, twice what may be.
    (CONCENTRATION, {"alike": "6000", "held": "40"}, "50", "20", "correlation=0.11/0.05"),
    (CONCENTRATION, {"alike": "6000", "held": "40"}, "20", "20", "correlation=0.08/0.05"),
    (CONCENTRATION, {"alike": "6000", "held": "-40"}, "50", "0", "correlation=0.11/0.05"),
    # A quarter of the equity may be lost: 2500 units of 10.
    (HEAT, {}, "2500", "2500", "heat=0.25/0.25"),
    (HEAT, {}, "-2600", "-2500", "heat=0.26/0.25"),
    (HEAT, {"heat": "20000"}, "1000", "500", "heat=0.3/0.25"),
    (HEAT, {"heat": "30000", "held": "2000"}, "3000", "1000", "heat=0.6/0.25"),
    (HEAT, {"heat": "30000"}, "1000", "0", "heat=0.4/0.25"),
    (HEAT, {"heat": "30000", "risk": "0"}, "1000", "1000", "heat=0.3/0.25"),
    (LEVERAGE, {}, "3000", "3000", "leverage=3/3"),
    (LEVERAGE, {"gross": "100000"}, "-3000", "-2000", "leverage=4/3"),
    (LEVERAGE, {"gross": "400000", "held": "2000"}, "2000", "1000", "leverage=6/3"),
    # The shortfall's limit is the nearer one: 1500 units that lose 1 each.
    (TAIL, {"pnl": UNIT, "others": [0 * UNIT]}, "1500", "1500", "tail=0.015,0.03,sum/0.02/0.03"),
    (TAIL, {"pnl": UNIT, "others": [0 * UNIT]}, "-3000", "-1500", "tail=0.03,0.06,sum/0.02/0.03"),
    (TAIL, {"pnl": UNIT, "others": [500 * UNIT]}, "2000", "1000", "tail=0.025,0.05,sum/0.02/0.03"),
    # The worse of the others as they are and as they are about to be.
    (TAIL, {"pnl": UNIT, "others": [500 * UNIT, 1000 * UNIT]}, "1000", "500", "tail=0.02,0.04,sum/0.02/0.03"),
    (TAIL, {"pnl": UNIT, "others": [4500 * UNIT], "held": "1500"}, "2000", "375", "tail=0.065,0.13,sum/0.02/0.03"),
    (TAIL, {"pnl": UNIT, "others": [4500 * UNIT]}, "2000", "0", "tail=0.065,0.13,sum/0.02/0.03"),
    (TAIL, {"pnl": UNIT, "others": [4500 * UNIT]}, "-2000", "-2000", "tail=0.025,0.05,sum/0.02/0.03"),
    (TAIL, {"pnl": None, "others": [UNIT]}, "2000", "0", "tail=unknown/0.02/0.03"),
    (TAIL, {"pnl": UNIT, "others": None, "held": "70"}, "2000", "70", "tail=unknown/0.02/0.03"),
    (TAIL, {"pnl": UNIT, "others": None, "held": "-70"}, "2000", "0", "tail=unknown/0.02/0.03"),
    (TAIL, {"pnl": UNIT * np.nan, "others": [UNIT], "held": "70"}, "50", "50", "tail=unknown/0.02/0.03"),
    ({"var_max": "0.02"}, {"pnl": UNIT, "others": [0 * UNIT]}, "2500", "1992.1875", "tail=0.025,0.05,sum/0.02/off"),
    # Nothing wanted is nothing to clamp, and without equity nothing is left.
    (LEVERAGE, {"equity": "0"}, "5", "0", "tail=spent"),
    (LEVERAGE, {"equity": "-5"}, "-5", "0", "tail=spent"),
]


@pytest.mark.parametrize(("rules", "facts", "wanted", "left", "seen"), CASES)
def test_a_clamp_leaves_what_it_says(
    rules: dict[str, str], facts: dict[str, Any], wanted: str, left: str, seen: str
) -> None:
    """Binding and not, on both sides, with what is held, what others hold, and what is not known."""
    assert part(rules, facts, wanted) == (left, seen)


def test_all_eight_speak_in_their_order_and_each_that_takes_something_once_more() -> None:
    """The first line has every measure with its limit; the others what was wanted of each clamp, and what it left."""
    facts = replace(
        FACTS,
        kelly=0.9,
        deviation=0.3 / YEAR,
        regime="crisis",
        alike=Decimal(4800),
        heat=Decimal(24985),
        gross=Decimal(299880),
        pnl=UNIT,
        others=[-1499.5 * UNIT],
    )
    left = clamped(Decimal(-4000), facts, ALL, linear)
    assert left.qty == Decimal("-0.496875")
    assert left.reasons == (
        (
            "CLAMPS: kelly=0.9/0.25 volatility=0.3/0.15 crisis=crisis concentration=0.0625/0.05 correlation=0.098/0.05 "
            "heat=0.25005/0.25 leverage=3.0003/3 tail=0.015007,0.030014,sum/0.02/0.03"
        ),
        "KELLY_CLAMPED: wanted=-4000 allowed=-250 kelly=0.9/0.25",
        "VOLATILITY_CLAMPED: wanted=-250 allowed=-125 volatility=0.3/0.15",
        "CRISIS_CLAMPED: wanted=-125 allowed=-62.5 crisis=crisis",
        "CONCENTRATION_CLAMPED: wanted=-62.5 allowed=-50 concentration=0.0625/0.05",
        "CORRELATION_CLAMPED: wanted=-50 allowed=-2 correlation=0.098/0.05",
        "HEAT_CLAMPED: wanted=-2 allowed=-1.5 heat=0.25005/0.25",
        "LEVERAGE_CLAMPED: wanted=-1.5 allowed=-1.2 leverage=3.0003/3",
        "TAIL_CLAMPED: wanted=-1.2 allowed=-0.496875 tail=0.015007,0.030014,sum/0.02/0.03",
    )


def test_their_order_is_fixed() -> None:
    """Each code is its name's, and each setting that it is held to exists."""
    names = ["kelly", "volatility", "crisis", "concentration", "correlation", "heat", "leverage", "tail"]
    assert [clamp.name for clamp in CLAMPS] == names
    assert [clamp.code for clamp in CLAMPS] == [f"{name.upper()}_CLAMPED" for name in names]
    assert all(hasattr(ALL, name) for clamp in CLAMPS for name in clamp.settings)


def test_without_limits_nothing_is_said() -> None:
    """A wish for nothing, or without any clamp, is left alone."""
    assert clamped(Decimal(7), FACTS, OFF) == Clamped(Decimal(7), ())
    assert clamped(Decimal(0), FACTS, ALL, linear) == Clamped(Decimal(0), ())


@pytest.mark.parametrize(
    ("stop", "deviation", "risk"),
    [
        (Decimal(3), 0.01, "3"),
        (Decimal(300), 0.01, "100"),
        (None, 0.01, "3"),
        (None, 0.5, "100"),
        (None, None, "5"),
    ],
)
def test_a_unit_may_lose_its_stop_or_three_deviations_or_the_venues_margin(
    stop: Decimal | None, deviation: float | None, risk: str
) -> None:
    """The stop first, and never more than all of it."""
    assert unit_risk(Decimal(100), stop, deviation, Decimal(20)) == Decimal(risk)


NUMBERS = st.decimals(-5000, 5000, places=3, allow_nan=False)
MONEY = st.decimals(0, 10**6, places=2, allow_nan=False)
MAYBE = st.none() | st.floats(-0.5, 1.5)
LIMIT = st.none() | st.decimals(Decimal("0.001"), 5, places=3, allow_nan=False)


@st.composite
def any_facts(draw: st.DrawFn) -> Facts:
    """Draw an account of any state."""
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    pnl = rng.standard_t(4, size=(3, draw(st.sampled_from([40, 300])))) * draw(st.sampled_from([0.0, 0.01, 1.0, 30.0]))
    deviation = draw(st.none() | st.floats(0, 2))
    unit = draw(st.decimals(Decimal("0.01"), 10**5, places=2))
    return Facts(
        equity=Money(draw(st.decimals(-10, 10**6, places=2))),
        unit=unit,
        held=draw(NUMBERS),
        risk=unit_risk(unit, None, deviation, Decimal(20)),
        kelly=draw(MAYBE),
        deviation=deviation,
        regime=draw(st.sampled_from([None, "unknown", "crisis", "noisy"])),
        alike=draw(MONEY),
        heat=draw(MONEY),
        gross=draw(MONEY),
        pnl=draw(st.sampled_from([None, pnl[0]])),
        others=draw(st.sampled_from([None, [pnl[1] * 50], [pnl[1], pnl[2] * 900]])),
    )


@settings(max_examples=60)
@given(
    wanted=NUMBERS,
    facts=any_facts(),
    limits=st.fixed_dictionaries(dict.fromkeys(("kelly_max", "concentration_max", "heat_max", "leverage_max"), LIMIT)),
    tails=st.tuples(LIMIT, LIMIT),
)
@example(Decimal(0), FACTS, {}, (None, None))
def test_caps_never_raise_or_turn_a_wish_and_take_nothing_a_second_time(
    wanted: Decimal, facts: Facts, limits: dict[str, Decimal | None], tails: tuple[Decimal | None, Decimal | None]
) -> None:
    """For any account, known or not: what is left is between zero and the wish, and passes again as it is."""
    named: dict[str, Any] = {**limits, "var_max": tails[0], "es_max": tails[1]}
    rules = replace(OFF, **named)
    left = clamped(wanted, facts, rules, worst)
    assert min(wanted, Decimal(0)) <= left.qty <= max(wanted, Decimal(0))
    assert clamped(left.qty, facts, rules, worst).qty == left.qty


@settings(max_examples=60)
@given(wanted=NUMBERS, facts=any_facts())
def test_all_of_them_together_never_raise_or_turn_a_wish(wanted: Decimal, facts: Facts) -> None:
    """Shares included; and of the opposite wish the first three leave the opposite."""
    left = clamped(wanted, facts, ALL, worst)
    assert min(wanted, Decimal(0)) <= left.qty <= max(wanted, Decimal(0))
    shares = replace(OFF, kelly_max=Decimal("0.25"), volatility_max=Decimal("0.15"), crisis_share=Decimal("0.5"))
    assert clamped(-wanted, facts, shares).qty == -clamped(wanted, facts, shares).qty
