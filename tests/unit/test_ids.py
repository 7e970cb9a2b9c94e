"""Identifiers are pure functions of what they name."""

import re

import pytest

from trisagion.ids import (
    CL_ORD_ID_LENGTH,
    ClOrdId,
    IntentKey,
    cancel_cl_ord_id,
    cl_ord_id,
    cycle_id,
    intent_key,
    run_id,
    run_number,
)

KEY = IntentKey("C1:ES")


def test_cycles_intents_and_runs_are_named_after_what_they_are() -> None:
    """The names are readable, and the same whenever they are made."""
    assert cycle_id(1_700_000_000_000_000_000) == "C1700000000000000000"
    assert intent_key(cycle_id(1), "ES") == KEY
    assert run_id(3, 17) == "R3-17"
    assert run_number(run_id(3, 17)) == 17


# Pinned from outside: printf '%s' 'SIM|C1:ES|0' | openssl dgst -sha256 -binary | base32 | cut -c1-19
@pytest.mark.parametrize(("attempt", "name"), [(0, "T4GAPGYWCVCEG6KIFJAW"), (1, "T22K46RAE3ZCHROQYZD7")])
def test_a_client_order_id_is_the_same_for_ever(attempt: int, name: str) -> None:
    """A later version must make the ids that an earlier one has sent."""
    assert cl_ord_id("SIM", KEY, attempt) == name


def test_a_cancel_has_an_id_of_its_own_made_from_the_order() -> None:
    """The same order gives the same cancel id, and never the order's."""
    # printf '%s' 'cancel|TLX' | openssl dgst -sha256 -binary | base32 | cut -c1-19
    assert cancel_cl_ord_id(ClOrdId("TLX")) == "XQ627AQOG2E3LFCU6GF2"


def test_client_order_ids_fit_every_venue() -> None:
    """Twenty characters of capitals and digits."""
    names = [cl_ord_id("SIM", KEY, attempt) for attempt in range(100)]
    names += [cancel_cl_ord_id(name) for name in names]
    assert all(re.fullmatch(r"[TX][A-Z2-7]{19}", name) for name in names)
    assert {len(name) for name in names} == {CL_ORD_ID_LENGTH}


def test_ids_differ_when_anything_differs() -> None:
    """Account, cycle, symbol and attempt each make another id."""
    names = {
        cl_ord_id(account, intent_key(cycle_id(due), symbol), attempt)
        for account in ("A", "B")
        for due in range(10)
        for symbol in ("ES", "NQ")
        for attempt in range(10)
    }
    assert len(names) == 2 * 10 * 2 * 10
