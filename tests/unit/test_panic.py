"""Panic conditions: from where on each holds, and that what is ordinary leaves it alone."""

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from tests.builders import ES, TUESDAY_NS
from trisagion.clock import MILLISECOND_NS, MINUTE_NS
from trisagion.errors import ConfigError
from trisagion.market.types import Quote
from trisagion.orders.types import Side
from trisagion.risk.panic import (
    LOSS_RECORD_MIN,
    SPREADS_MIN,
    LossRecord,
    PanicRules,
    at_least,
    cascades,
    clustered,
    follow,
    silent,
    slipped,
    widened,
)
from trisagion.units import Money, Price

RULES = PanicRules()


def price(text: str) -> Price:
    """Make a price."""
    return Price(Decimal(text))


def quoted(bid: str = "4999.75", ask: str = "5000.25", learned_ns: int = TUESDAY_NS) -> Quote:
    """Make a quote."""
    return Quote("ES", price(bid), price(ask), price("5000"), learned_ns, learned_ns)


@pytest.mark.parametrize(
    ("side", "filled", "decided", "slips"),
    [
        (Side.BUY, "4999.75", quoted(), False),
        (Side.BUY, "5000.5", quoted(), False),
        (Side.BUY, "5000.75", quoted(), True),
        (Side.BUY, "4000", quoted(), False),
        (Side.SELL, "5000.25", quoted(), False),
        (Side.SELL, "4999.5", quoted(), False),
        (Side.SELL, "4999.25", quoted(), True),
        (Side.SELL, "6000", quoted(), False),
        (Side.BUY, "5005", quoted("4999", "5003"), False),
        (Side.BUY, "5005.25", quoted("4999", "5003"), True),
        (Side.BUY, "5000.75", quoted("5000", "5000.25"), False),
        (Side.BUY, "5001", quoted("5000", "5000.25"), True),
    ],
)
def test_a_fill_may_be_three_half_spreads_worse_than_what_was_decided_on(
    *, side: Side, filled: str, decided: Quote, slips: bool
) -> None:
    """Counted from the maker's own side; at the limit is within it, better is always right, a tick is the least."""
    found = slipped(side, price(filled), decided, ES, RULES)
    assert (found is not None) is slips
    assert found is None or found.startswith("SLIPPAGE: price=")


def test_a_quote_is_too_old_after_half_a_second() -> None:
    """Or where there is none at all."""
    late_ns = TUESDAY_NS + 500 * MILLISECOND_NS
    assert silent(quoted(), late_ns, RULES) is None
    assert silent(quoted(), late_ns + 1, RULES) == "QUOTE_AGE: age_ns=500000001 max_ns=500000000"
    assert silent(None, late_ns, RULES) == "QUOTE_AGE: there is no quote"


@pytest.mark.parametrize(
    ("spreads", "found"),
    [
        ([0.5] * SPREADS_MIN + [1.5], None),
        ([0.5] * SPREADS_MIN + [1.75], "SPREAD: spread=1.75 normal=0.5 max=3"),
        ([0.5] * (SPREADS_MIN - 1) + [1.75], None),
        ([0.5] * 20 + [9.0] * 10 + [1.75], "SPREAD: spread=1.75 normal=0.5 max=3"),
        ([9.0] * SPREADS_MIN + [1.75], None),
        ([], None),
    ],
)
def test_a_spread_is_held_against_the_median_of_those_before_it(spreads: list[float], found: str | None) -> None:
    """A few wide ones before it do not make it normal; without enough of them nothing is known."""
    assert widened(spreads, RULES) == found


def test_errors_are_too_many_from_their_number_on() -> None:
    """Ten are."""
    assert cascades(9, RULES) is None
    assert cascades(10, RULES) == "ERRORS: errors=10 max=10"


def marked(*changes: int, rules: PanicRules = RULES) -> LossRecord:
    """Return the record of an account whose equity changed so, mark after mark."""
    record, worth = follow(None, Money(Decimal(1000)), TUESDAY_NS, rules), 1000
    for number, change in enumerate(changes, start=1):
        worth += change
        record = follow(record, Money(Decimal(worth)), TUESDAY_NS + number * MINUTE_NS, rules)
    return record


def test_a_record_counts_what_has_left_the_window_and_no_mark_that_changed_nothing() -> None:
    """Of forty marks thirty are the window, oldest first; ten are the record."""
    record = marked(*([-1, 0, 2] * 20))
    assert (record.marks, record.losses) == (10, 5)
    assert record.recent == "LG" * 15
    assert record.at_ns == TUESDAY_NS + 60 * MINUTE_NS
    assert record.anew() == replace(record, marks=40, losses=20, recent="")


EVEN = (1, -1) * (LOSS_RECORD_MIN // 2)
"""A record that loses as often as it gains."""


@pytest.mark.parametrize(
    ("changes", "holds"),
    [
        ((*EVEN, *[-1] * 30), True),
        ((*EVEN, *[-1] * 28, 1, 1), True),
        ((*EVEN, *[-1] * 27, 1, 1, 1), False),
        ((*EVEN[2:], *[-1] * 30), False),
        ((*EVEN, *[1] * 30), False),
        ((*EVEN, *EVEN[:30]), False),
        ((*[-1] * 100, *[-1] * 30), False),
        ((*[-9, *[1] * 9] * 10, *[-1] * 14, *[1] * 16), True),
        ((*[-9, *[1] * 9] * 10, *[-1] * 12, *[1] * 18), False),
    ],
)
def test_losses_cluster_where_the_accounts_own_record_makes_them_all_but_impossible(
    *, changes: tuple[int, ...], holds: bool
) -> None:
    """Of who loses half the time 28 of 30, of who loses a tenth 14; of who always loses nothing is remarkable."""
    found = clustered(marked(*changes), RULES)
    assert (found is not None) is holds
    assert found is None or found.startswith("LOSSES: losing=")


@given(st.integers(1, 512), st.integers(0, 512), st.floats(0.01, 0.99))
def test_the_chance_is_the_tail_of_the_binomial_distribution(count: int, successes: int, share: float) -> None:
    """As scipy has it."""
    found = at_least(min(successes, count), count, share)
    assert found == pytest.approx(binom.sf(min(successes, count) - 1, count, share), rel=1e-6, abs=1e-12)


@pytest.mark.parametrize(
    "wrong",
    [
        {"slippage_max": Decimal("0.9")},
        {"spread_max": Decimal(0)},
        {"quote_age_ns_max": 0},
        {"errors_max": 0},
        {"loss_marks": 0},
        {"loss_alpha": 0.0},
        {"loss_alpha": 1.0},
    ],
)
def test_rules_that_would_hold_for_what_is_ordinary_are_refused(wrong: dict[str, Any]) -> None:
    """With what was expected."""
    with pytest.raises(ConfigError, match="expected multiples and counts"):
        PanicRules(**wrong)
