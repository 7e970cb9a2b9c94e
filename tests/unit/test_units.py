"""Exact numbers: what is read, what is refused, and which way each rounding goes."""

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trisagion.errors import DataError
from trisagion.units import (
    Price,
    Quantity,
    lots_toward_zero,
    money,
    notional,
    on_grid,
    parse_decimal,
    plain,
    price,
    quantity,
    round_money,
    tick_down,
    tick_up,
)

STEPS = st.sampled_from([Decimal("0.01"), Decimal("0.25"), Decimal("0.03125"), Decimal("0.3"), Decimal(1), Decimal(5)])
NUMBERS = st.decimals(min_value=Decimal(-(10**8)), max_value=Decimal(10**8), places=8)
ABOVE_ZERO = st.decimals(min_value=Decimal("0.00000001"), max_value=Decimal(10**8), places=8)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1", "1"),
        ("-0.5", "-0.5"),
        (" 5 ", "5"),
        ("1e-5", "0.00001"),
        (7, "7"),
        (Decimal("1.10"), "1.1"),
        ("123456789012345678", "123456789012345678"),
        ("1000000000000000000000", "1000000000000000000000"),
    ],
)
def test_exact_numbers_are_read_as_they_are_written(text: str | int | Decimal, value: str) -> None:
    """Text, whole numbers and decimals are read without any change of value; trailing zeros are not digits."""
    assert parse_decimal(text, what="x") == Decimal(value)


@pytest.mark.parametrize(
    "bad",
    [
        0.1,
        True,
        None,
        b"1",
        "",
        "one",
        "NaN",
        "sNaN",
        "Infinity",
        "-Inf",
        Decimal("NaN"),
        Decimal("Infinity"),
        "٣",
        "１",
        "1,5",
        "0x10",
        "1\x00",
        "1\x01",
        "1234567890123456789",
        "0.1234567890123456789",
    ],
)
def test_what_is_no_exact_number_is_refused_by_name(bad: object) -> None:
    """Floats, booleans, NaN, infinities, foreign digits, more than 18 digits: refused, and the text says whose."""
    with pytest.raises(DataError, match=r"^margin: "):
        parse_decimal(bad, what="margin")  # type: ignore[arg-type]


@pytest.mark.parametrize("digits", [61, 100, 5000])
def test_a_number_of_any_length_is_refused_as_bad_data(digits: int) -> None:
    """However long the text, the refusal is a `DataError`."""
    with pytest.raises(DataError):
        parse_decimal("1" * digits, what="x")


@pytest.mark.parametrize("text", ["0", "-1", "-0"])
def test_a_price_is_above_zero(text: str) -> None:
    """Zero and negative prices are refused."""
    with pytest.raises(DataError):
        price(text)


def test_quantities_and_money_may_be_negative() -> None:
    """A short position and a debt are ordinary numbers."""
    assert quantity("-3") == -3
    assert money("-20.5") == Decimal("-20.5")


@given(ABOVE_ZERO, NUMBERS, ABOVE_ZERO)
def test_notional_is_exact(px: Decimal, qty: Decimal, multiplier: Decimal) -> None:
    """The product equals that of rational arithmetic, and has the quantity's sign."""
    worth = notional(Price(px), Quantity(qty), multiplier)
    assert Fraction(worth) == Fraction(px) * Fraction(qty) * Fraction(multiplier)


@pytest.mark.parametrize(
    ("amount", "rounded"),
    [
        ("1.0000000000005", "1"),
        ("1.0000000000015", "1.000000000002"),
        ("-1.0000000000005", "-1"),
        ("-0.0000000000001", "0"),
        ("1000", "1000"),
        ("0.123456789012", "0.123456789012"),
        ("999999999999999.123456789012", "999999999999999.123456789012"),
    ],
)
def test_money_is_rounded_half_even_to_twelve_places(amount: str, rounded: str) -> None:
    """A tie goes to the even digit, and no minus zero or exponent remains."""
    assert str(round_money(Decimal(amount))) == rounded


@given(NUMBERS, STEPS)
def test_rounding_to_lots_never_adds_exposure(qty: Decimal, lot: Decimal) -> None:
    """The result is whole lots, of the same sign, not larger, and less than a lot away."""
    lots = lots_toward_zero(qty, lot)
    assert on_grid(lots, lot)
    assert lots * qty >= 0
    assert 0 <= abs(qty) - abs(lots) < lot


@given(ABOVE_ZERO, STEPS)
def test_ticks_bracket_the_price(px: Decimal, tick: Decimal) -> None:
    """Down is at or below, up at or above, both on the grid, and equal only when the price is on it."""
    below, above = tick_down(px, tick), tick_up(px, tick)
    assert below <= px <= above
    assert on_grid(below, tick)
    assert on_grid(above, tick)
    assert above - below == (0 if on_grid(px, tick) else tick)


@pytest.mark.parametrize(
    ("value", "text"),
    [("1E+3", "1000"), ("1.500", "1.5"), ("-0", "0"), ("-0.00", "0"), ("1E-7", "0.0000001"), ("100", "100")],
)
def test_plain_text_has_no_exponent_and_no_idle_zero(value: str, text: str) -> None:
    """One number has one text."""
    assert plain(Decimal(value)) == text


@given(NUMBERS)
def test_plain_text_reads_back_the_same(value: Decimal) -> None:
    """Writing and reading changes nothing."""
    assert Decimal(plain(value)) == value
