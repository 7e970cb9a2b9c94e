"""Control modes: their order, what they cancel, and how a broken switch reads."""

from itertools import product

import pytest

from trisagion.safety.modes import Mode, cancels_working, read_mode, stricter

BY_STRICTNESS = [Mode.NORMAL, Mode.REDUCE, Mode.PAUSE, Mode.EMERGENCY]


@pytest.mark.parametrize(("a", "b"), list(product(Mode, Mode)))
def test_modes_stand_in_one_order(a: Mode, b: Mode) -> None:
    """Normal, Reduce, Pause, Emergency: each forbids more than the one before, and none more than itself."""
    assert stricter(a, b) == (BY_STRICTNESS.index(a) > BY_STRICTNESS.index(b))


@pytest.mark.parametrize("mode", Mode)
def test_a_stored_mode_reads_back_the_same(mode: Mode) -> None:
    """What was written is what is in force."""
    assert read_mode(mode.value) is mode


@pytest.mark.parametrize("text", [None, "", "NORMAL", "normal ", "go", "\x00"])
def test_an_unreadable_mode_means_pause(text: str | None) -> None:
    """A switch that cannot be read never means go."""
    assert read_mode(text) is Mode.PAUSE


@pytest.mark.parametrize(
    ("mode", "cancels"),
    [(Mode.NORMAL, False), (Mode.REDUCE, False), (Mode.PAUSE, True), (Mode.EMERGENCY, True)],
)
def test_pause_and_emergency_cancel_what_works(mode: Mode, cancels: bool) -> None:
    """Working orders are withdrawn where nothing new, or only flattening, is allowed."""
    assert cancels_working(mode) is cancels
