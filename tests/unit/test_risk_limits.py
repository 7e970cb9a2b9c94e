"""Limits as versions: what is in force, what narrows it, and what leaves nothing in force."""

from dataclasses import replace
from decimal import Decimal

import pytest

from trisagion.errors import DataError
from trisagion.risk.limits import KEYS, LimitBook, LimitRow, Limits, founding_rows, refuse_value

CEILING = Limits("SIM-1", Decimal(1000), Decimal(2000), 5)
FOUNDED = founding_rows(CEILING, "abc", 7)


def row(version: int, value: object, name: str = "order_notional_max", **changes: object) -> LimitRow:
    """Return a version for the account, proposed by one person and approved by another."""
    made = LimitRow(version, name, "account", "", Decimal(str(value)), "ann", "why", 8, "bob", 9)
    return replace(made, **changes)  # type: ignore[arg-type]


def of(*rows: LimitRow, symbol: str = "ES", venue: str = "SIM", strategy: str = "cohort") -> Limits:
    """Return the limits under some versions beside those of the founding."""
    return LimitBook(CEILING, [*FOUNDED, *rows]).of(symbol, venue=venue, strategy=strategy)


def test_what_the_configuration_founded_is_in_force_as_it_is() -> None:
    """The same numbers, and so the same name."""
    assert of() == CEILING
    assert of().version == CEILING.version
    assert [each.version for each in FOUNDED] == list(range(1, len(KEYS) + 1))


@pytest.mark.parametrize(
    ("rows", "value"),
    [
        ((row(20, 500),), 500),
        ((row(20, 500), row(21, 800)), 800),
        ((row(21, 800), row(20, 500)), 800),
        ((row(20, 0),), 0),
        ((row(20, 5000),), 1000),
        ((row(20, 500, approved_by=None),), 1000),
        ((row(20, 500, approved_by="ann"),), 1000),
        ((row(20, 500, approved_by=" ANN "),), 1000),
        ((row(20, 500, proposed_by="configuration abc"),), 1000),
        ((row(20, 500, scope="symbol", subject="ES"),), 500),
        ((row(20, 500, scope="symbol", subject="NQ"),), 1000),
        ((row(20, 500, scope="venue", subject="SIM"),), 500),
        ((row(20, 500, scope="strategy", subject="cohort"),), 500),
        ((row(20, 500, scope="strategy", subject="flatten"),), 1000),
        ((row(20, 300), row(21, 500, scope="symbol", subject="ES")), 300),
        ((row(20, 700), row(21, 500, scope="symbol", subject="ES")), 500),
    ],
)
def test_the_newest_version_that_two_people_made_is_in_force_and_the_narrowest_place_wins(
    rows: tuple[LimitRow, ...], value: int
) -> None:
    """Above the ceiling nothing widens; what one person made, or what plays the configuration, is void."""
    assert of(*rows).order_notional_max == value
    assert of(*rows).unknown == ""


@pytest.mark.parametrize(
    "rows",
    [
        [],
        FOUNDED[1:],
        [*FOUNDED, row(20, 1, name="order_speed_max")],
        [*FOUNDED, row(20, -1)],
        [*FOUNDED, row(20, "NaN")],
        [*FOUNDED, row(20, 1, scope="planet")],
        [*FOUNDED, row(20, 1, name="orders_max", scope="symbol", subject="ES")],
    ],
)
def test_what_is_missing_or_not_understood_leaves_nothing_known(rows: list[LimitRow]) -> None:
    """Then the ceiling is told with the reason, and is good for reducing alone."""
    found = LimitBook(CEILING, rows).of("ES", venue="SIM", strategy="cohort")
    assert found.unknown
    assert replace(found, unknown="") == CEILING


@pytest.mark.parametrize(
    ("name", "scope", "subject", "value"),
    [
        ("speed", "account", "", "1"),
        ("orders_max", "symbol", "ES", "1"),
        ("orders_max", "account", "", "1.5"),
        ("orders_max", "account", "", "6"),
        ("order_notional_max", "account", "", "1000.01"),
        ("order_notional_max", "account", "", "-1"),
        ("order_notional_max", "account", "", "NaN"),
        ("order_notional_max", "account", "ES", "1"),
        ("order_notional_max", "symbol", "", "1"),
    ],
)
def test_what_may_not_be_proposed_is_refused(name: str, scope: str, subject: str, value: str) -> None:
    """An unknown limit, a place that it has not, a number that is none or lies above the ceiling."""
    with pytest.raises(DataError, match="expected"):
        refuse_value(name, scope, subject, Decimal(value), CEILING)


def test_what_is_at_the_ceiling_may_be_proposed() -> None:
    """The ceiling itself is within it, and so is zero."""
    for name in KEYS:
        for value in (Decimal(getattr(CEILING, name)), Decimal(0)):
            refuse_value(name, "account", "", value, CEILING)
