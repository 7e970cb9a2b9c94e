"""A venue that speaks another version of FIX is the same venue."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.platforms import EARLY, Platform, agree

pytestmark = [pytest.mark.e2e, pytest.mark.redis, pytest.mark.timeout(240)]


def test_fix_50_sp2_and_a_venues_own_marks_change_nothing(
    undisturbed: Platform, tape: Path, platform: Callable[..., Platform]
) -> None:
    """Decisions, orders, executions, postings, positions and equity are those of FIX 4.4."""
    own = ("fix.version=5.0SP2", "fix.post_only=9303=P", "fix.liquidity_tag=1057")
    other = platform().go("--data", str(tape), sets=(*EARLY, *own))
    other.end()
    assert other.traded() == undisturbed.traded()
    assert agree(other) == agree(undisturbed)


def test_fix_42_is_refused_where_only_the_venue_would_confirm_positions(
    tape: Path, platform: Callable[..., Platform]
) -> None:
    """Before anything is made: such a run would never trade."""
    refused = platform().go("--data", str(tape), sets=("fix.version=4.2",))
    refused.end(4)
    assert "reconcile.observers: expected others than venue, for this venue (FIX 4.2) cannot be asked" in refused.said
