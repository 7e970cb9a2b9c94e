"""Several instruments in one run: one account, one cohort, one clock, and still the same history every time."""

from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pytest

from tests.e2e.platforms import EARLY, Platform, agree

pytestmark = [pytest.mark.e2e, pytest.mark.redis, pytest.mark.timeout(300)]

NQ = ("tick_size=2", "multiplier=2", "leverage_max=10")
SETS = (*EARLY, *(f"replay.instruments.NQ.{term}" for term in NQ))


def test_two_instruments_trade_on_one_account_and_give_the_same_history_at_any_speed(
    tape: Path, second_tape: Path, platform: Callable[..., Platform]
) -> None:
    """To the last digit, paced or not and with a shard's worker killed; both trade, and the books are the venue's."""
    data = ("--data", str(tape), "--data", f"NQ={second_tape}")
    first = platform("first").go(*data, sets=SETS)
    summary = first.end()["summary"]
    assert summary["symbols"] == ["ES", "NQ"]
    assert all(summary["positions"][symbol]["fills"] > 10 for symbol in ("ES", "NQ"))
    assert [check for check in summary["checks"] if not check["ok"]] == []
    parts = summary["positions"].values()
    assert Decimal(summary["account"]["fees"]) == sum(Decimal(part["fees"]) for part in parts)

    paced = platform("paced").go(*data[2:], *data[:2], "--speed", "600", sets=SETS)
    with paced.trading() as database:
        paced.moves_on(database, 10)
        paced.kill("cohort1")
    again = paced.end()["summary"]
    assert again["account"] == summary["account"]
    assert again["positions"] == summary["positions"]
    assert paced.traded() == first.traded()
    assert agree(paced) == agree(first)
