"""The order state machine: the table, and what must be true of any table of orders."""

from collections.abc import Iterable
from itertools import product

import pytest

from trisagion.errors import OurMistake
from trisagion.orders.state import AT_VENUE, IN_DOUBT, LIVE, TERMINAL, TRANSITIONS, OrderState, check_transition

S = OrderState
NOT_SENT = {S.RISK_CHECKED, S.ROUTED}


def reachable(start: Iterable[OrderState]) -> set[OrderState]:
    """Return every state that the table leads to from any of `start`, these included."""
    seen: set[OrderState] = set()
    ahead = set(start)
    while ahead:
        seen |= ahead
        ahead = {after for before in ahead for after in TRANSITIONS[before]} - seen
    return seen


@pytest.mark.parametrize(("before", "after"), list(product(OrderState, OrderState)))
def test_a_transition_passes_only_when_the_table_has_it(before: OrderState, after: OrderState) -> None:
    """Every pair of states: in the table it passes, else it is our mistake, and the text names order and states."""
    if after in TRANSITIONS[before]:
        check_transition(before, after, cl_ord_id="T1")
        return
    with pytest.raises(OurMistake, match=rf"T1.*{before} → {after}"):
        check_transition(before, after, cl_ord_id="T1")


def test_every_state_has_a_row_and_is_reached() -> None:
    """No state is an orphan: each has its row and lies on a way from the first."""
    assert set(TRANSITIONS) == set(OrderState)
    assert reachable({S.RISK_CHECKED}) == set(OrderState)


@pytest.mark.parametrize("state", sorted(LIVE))
def test_every_live_order_can_end(state: OrderState) -> None:
    """From each live state there is a way to a terminal one."""
    assert reachable({state}) & TERMINAL


def test_an_order_is_live_or_ended_and_never_both() -> None:
    """Live and terminal states share nothing and leave nothing out; what is in doubt may be at the venue."""
    assert set(OrderState) == LIVE | TERMINAL
    assert not LIVE & TERMINAL
    assert LIVE - AT_VENUE == NOT_SENT
    assert IN_DOUBT < AT_VENUE


def test_what_ended_is_over() -> None:
    """No order leaves a terminal state: a late fill is booked with an alarm, and the state stays."""
    assert all(TRANSITIONS[state] == frozenset() for state in TERMINAL)


def test_nothing_the_venue_may_know_is_ever_sent_again() -> None:
    """No way leads from a state at the venue back to one before sending, nor to a second PendingNew."""
    assert not reachable(AT_VENUE) & NOT_SENT
    assert all(S.PENDING_NEW not in TRANSITIONS[state] for state in OrderState if state is not S.ROUTED)


def test_only_an_order_that_was_not_sent_can_be_denied() -> None:
    """Denied is our word; at the venue an order is refused by the venue."""
    assert {before for before in OrderState if S.DENIED in TRANSITIONS[before]} == NOT_SENT


def test_doubt_is_open_to_whatever_the_venue_answers() -> None:
    """Unknown leads to every state that a venue can report, but Denied and PendingNew, which are ours."""
    assert TRANSITIONS[S.UNKNOWN] >= (AT_VENUE | TERMINAL) - {S.DENIED, S.PENDING_NEW}
