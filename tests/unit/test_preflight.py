"""What is refused before anything is made: more runs than the instrument carries."""

from pathlib import Path

import pytest

from trisagion.cli import preflight
from trisagion.errors import ConfigError
from trisagion.settings import load


def asked(tmp_path: Path, runs: int, each: int | None = None, data: str = "es") -> list[str]:
    """Examine a run of that many virtual runs."""
    given: dict[str, object] = {"cohort.runs": runs, "platform.state": str(tmp_path / "state"), "replay.data": data}
    if each is not None:
        given["cohort.runs_per_leverage_max"] = each
    return preflight.examine(load(None, {}, given))


@pytest.mark.parametrize(("runs", "each"), [(500, None), (900, None), (12_000, 600), (2, 1), (20, 1)])
def test_as_many_runs_as_the_instrument_carries_are_accepted(tmp_path: Path, runs: int, each: int | None) -> None:
    """45 for each of the 20 units of leverage, or what the setting says instead."""
    assert asked(tmp_path, runs, each) == []


@pytest.mark.parametrize(
    ("runs", "each", "carried", "enough"), [(901, None, 900, 46), (12_000, None, 900, 600), (12_001, 600, 12_000, 601)]
)
@pytest.mark.parametrize("own", [False, True], ids=["bundled", "own file"])
def test_one_run_too_many_is_refused_with_the_setting_that_allows_it(
    tmp_path: Path, runs: int, each: int | None, carried: int, enough: int, own: bool
) -> None:
    """In one sentence; what it asks for is enough, and nothing less is."""
    path = tmp_path / "own.csv"
    path.write_text("time,price,size\n1706711400,10,1\n1706711460,11,1\n", encoding="ascii")
    data = str(path) if own else "es"
    with pytest.raises(ConfigError, match=f"at most {carried} runs on (ES|OWN) .* found {runs}; .* to {enough}$"):
        asked(tmp_path, runs, each, data)
    asked(tmp_path, runs, enough, data)
    with pytest.raises(ConfigError):
        asked(tmp_path, runs, enough - 1, data)
