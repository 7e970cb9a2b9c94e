"""A real slice of the bundled tape, platforms that end with their test, and one undisturbed run to compare with."""

import csv
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest

from tests.e2e.platforms import EARLY, Platform
from trisagion.adapters.dataspec import DataSpec
from trisagion.adapters.files import load
from trisagion.clock import SECOND_NS

BEGIN = datetime(2013, 9, 3, 14, 0, tzinfo=UTC)
END = datetime(2013, 9, 3, 15, 0, tzinfo=UTC)


def cut(path: Path, begin: datetime, end: datetime, *, price: Callable[[Decimal], Decimal], every: int = 1) -> Path:
    """Write a part of the bundled ES ticks, one of so many, at other prices, to a file as a user would have it."""
    whole = load(DataSpec("es"))
    first, last = (np.searchsorted(whole.ts_ns, int(at.timestamp()) * SECOND_NS) for at in (begin, end))
    tick = whole.instrument.tick_size
    with path.open("w", newline="", encoding="ascii") as file:
        writer = csv.writer(file)
        writer.writerow(["time", "price", "size"])
        for at_ns, ticks, lots in zip(
            whole.ts_ns[first:last:every].tolist(),
            whole.price_ticks[first:last:every].tolist(),
            whole.size_lots[first:last:every].tolist(),
            strict=True,
        ):
            writer.writerow([at_ns, price(ticks * tick), lots])
    return path


@pytest.fixture(scope="session")
def tape(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write an hour of the bundled ES ticks to a file as a user would have it."""
    return cut(tmp_path_factory.mktemp("tape") / "es.csv", BEGIN, END, price=lambda px: px)


@pytest.fixture(scope="session")
def second_tape(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write another instrument: it falls where ES rises, trades a third as often, and begins and ends later."""
    begin, end = BEGIN + timedelta(minutes=5, seconds=30), END + timedelta(minutes=2)
    return cut(tmp_path_factory.mktemp("tape") / "nq.csv", begin, end, price=lambda px: 20_000 - 8 * px, every=3)


@pytest.fixture
def platform(tmp_path: Path) -> Iterator[Callable[[str], Platform]]:
    """Make platforms by name; whatever happens, none outlives the test."""
    made: list[Platform] = []

    def make(name: str = "state") -> Platform:
        made.append(Platform(tmp_path / name))
        return made[-1]

    yield make
    for each in made:
        each.stop()


@pytest.fixture(scope="session")
def undisturbed(tape: Path, tmp_path_factory: pytest.TempPathFactory) -> Platform:
    """Run the slice once, from begin to end, with nobody in the way."""
    made = Platform(tmp_path_factory.mktemp("undisturbed") / "state")
    try:
        made.go("--data", str(tape), sets=EARLY).end()
    finally:
        made.stop()
    return made
