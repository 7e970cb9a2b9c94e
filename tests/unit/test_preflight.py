"""What is refused before anything is made: more runs than the instruments carry, and instruments that do not fit."""

from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest

from trisagion.adapters.dataspec import DataSpec
from trisagion.cli import preflight
from trisagion.errors import ConfigError, DataError
from trisagion.gateway.dialect import Profile
from trisagion.market.instruments import ES
from trisagion.market.types import Tape
from trisagion.settings import load
from trisagion.wiring import House

SECOND_PRICES = (10, 11, 10, 12)


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


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"fix.version": "4.2"}, r"reconcile.observers: .* this venue \(FIX 4\.2\) cannot be asked .*, found venue$"),
        ({"fix.positions": False}, r"reconcile.observers: .* this venue \(FIX 4\.4\) cannot be asked .*, found venue$"),
        (
            {
                "fix.positions": False,
                "fix.drop_copy": "DC",
                "reconcile.observers": ["venue", "drop_copy"],
                "reconcile.quorum": 1,
            },
            "found venue, drop_copy$",
        ),
        ({"fix.version": "4.2", "fix.positions": True}, r"^fix.positions: expected false, for FIX 4\.2 has no"),
        ({"fix.post_only": "44=P"}, "^fix.post_only: expected TAG=VALUE, the tag 18, 59 or user-defined"),
        ({"fix.password": "env:NOT_THERE"}, "^env:NOT_THERE: expected the environment variable"),
    ],
)
def test_a_venue_that_there_cannot_be_is_refused(tmp_path: Path, given: dict[str, object], why: str) -> None:
    """Nothing that it is configured with could ever confirm a position, or let us in."""
    state = {"platform.state": str(tmp_path / "state"), "cohort.runs": 10}
    with pytest.raises(ConfigError, match=why):
        preflight.examine(load(None, {}, {**state, **given}))


def test_a_venue_of_fix_42_will_do_where_another_observer_confirms(tmp_path: Path) -> None:
    """What the settings leave open is as usual in that version; an empty text leaves it open too."""
    given = {"fix.version": "4.2", "fix.drop_copy": "DC", "reconcile.observers": ["drop_copy"]}
    empty = {"fix.post_only_code": "", "fix.positions": ""}
    settings = load(None, {}, {"platform.state": str(tmp_path / "state"), **given, **empty})
    assert preflight.examine(settings) == []
    assert House(settings).profile == Profile.of("4.2") == Profile("4.2", "18=6", "0", 9730, False, False)
    own = {"fix.post_only": "59=P", "fix.liquidity_tag": "1057", "fix.post_only_code": "8", "fix.mass_status": "false"}
    assert House(load(None, {}, own)).profile == Profile("4.4", "59=P", "8", 1057, mass_status=False)
    assert House(load(None, {}, {})).profile == Profile()


def several(tmp_path: Path, *entries: str, **given: object) -> list[str]:
    """Examine a run on several entries; `a` stands for a file that begins a minute before `b`, both overlap."""
    data = []
    for text in entries:
        symbol, _, name = text.rpartition("=")
        path = tmp_path / f"{name}.csv"
        start = 1_706_711_400 + {"a": 0, "b": 60, "late": 3600}.get(name, 0)
        rows = "".join(f"{start + 60 * n},{px},1\n" for n, px in enumerate(SECOND_PRICES))
        path.write_text("time,price,size\n" + ("broken\n" if name == "broken" else rows), encoding="ascii")
        data.append(f"{symbol}={path}" if symbol else str(path))
    keys = {key.replace("__", "."): value for key, value in given.items()}
    state = {"platform.state": str(tmp_path / "state"), "replay.data": data}
    return preflight.examine(load(None, {}, {**state, **keys}))


def test_instruments_that_overlap_are_accepted(tmp_path: Path) -> None:
    """As many runs as all of them carry, spread by leverage."""
    assert several(tmp_path, "a", "NQ=b") == []
    assert several(tmp_path, "a", "NQ=b", cohort__runs=1800) == []
    with pytest.raises(
        ConfigError,
        match=r"at most 1800 runs on A and NQ \(45 for each of their 40 units of leverage\), found 1801; .* to 46$",
    ):
        several(tmp_path, "a", "NQ=b", cohort__runs=1801)


def test_an_instrument_on_which_no_run_falls_is_told(tmp_path: Path) -> None:
    """Its leverage is too small a part of all."""
    terms = {"NQ": {"leverage_max": "0.01"}}
    assert several(tmp_path, "a", "NQ=b", replay__instruments=terms, cohort__runs=100) == [
        "NQ: none of the 100 runs falls on it, so it is not traded; its share goes by leverage_max"
    ]


def test_data_that_do_not_overlap_are_refused_with_both_ranges(tmp_path: Path) -> None:
    """They could never be held at one time."""
    with pytest.raises(ConfigError) as refused:
        several(tmp_path, "a", "late")
    assert str(refused.value) == (
        "replay.data: expected data that overlap in time, found "
        "A from 2024-01-31T14:30:00.000Z to 2024-01-31T14:33:00.000Z and "
        "LATE from 2024-01-31T15:30:00.000Z to 2024-01-31T15:33:00.000Z"
    )


def test_every_problem_with_the_entries_is_told(tmp_path: Path) -> None:
    """A symbol twice and terms of a symbol that is not there; and of files that cannot be read each."""
    terms = {"NQX": {"tick_size": "1"}}
    with pytest.raises(ConfigError) as refused:
        several(tmp_path, "A=b", "a", "NQ=b", replay__instruments=terms)
    assert str(refused.value).splitlines() == [
        (
            f"replay.data: expected each symbol once, found A for {tmp_path / 'b.csv'} and {tmp_path / 'a.csv'}; "
            "name them apart: SYMBOL=FILE"
        ),
        "replay.instruments.NQX: expected a symbol of the data (A, NQ), found none",
    ]
    with pytest.raises(DataError) as refused_data:
        several(tmp_path, "X=broken", "a", "Y=broken")
    assert len(str(refused_data.value).splitlines()) == 2


def test_a_symbol_is_given_in_one_place(tmp_path: Path) -> None:
    """Beside the file, or by the setting."""
    with pytest.raises(ConfigError, match=r"replay\.symbol: expected none beside NQ=.*a\.csv, found 'ES'"):
        several(tmp_path, "NQ=a", replay__symbol="ES")


def test_what_is_said_of_one_symbol_goes_before_what_is_said_of_all(tmp_path: Path) -> None:
    """Value by value, in order of symbol."""
    given: dict[str, object] = {
        "replay.data": ["NQ=nq.csv", "es"],
        "replay.multiplier": 3,
        "replay.fee_rate": 0,
        "replay.zone": "UTC",
        "replay.instruments": {"NQ": {"multiplier": 20, "tick_size": "0.5", "leverage_max": 7}},
    }
    assert preflight.specs_of(load(None, {}, given)) == [
        DataSpec("es", zone="UTC", multiplier=Decimal(3), fee_rate=Decimal(0)),
        DataSpec(
            "nq.csv",
            zone="UTC",
            symbol="NQ",
            tick_size=Decimal("0.5"),
            multiplier=Decimal(20),
            leverage_max=Decimal(7),
            fee_rate=Decimal(0),
        ),
    ]


def test_instruments_of_two_currencies_are_refused() -> None:
    """One account holds one; both are told."""
    stamps = np.array([1, 2], dtype=np.int64)
    one = Tape(ES, stamps, stamps, stamps)
    other = Tape(replace(ES, symbol="DAX", currency="EUR"), stamps + 5, stamps, stamps)
    with pytest.raises(ConfigError) as refused:
        preflight.refuse_strangers([one, other])
    currency, overlap = str(refused.value).splitlines()
    assert currency == "replay.data: expected instruments in one currency, found ES in USD; DAX in EUR"
    assert overlap.startswith("replay.data: expected data that overlap in time")


@pytest.mark.parametrize(
    ("text", "whole"), [("es", "es"), ("NQ=es", "NQ=es"), ("x.csv", "{here}/x.csv"), ("NQ=x.csv", "NQ={here}/x.csv")]
)
def test_a_file_is_named_by_its_whole_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, whole: str
) -> None:
    """Whoever resumes the run may stand elsewhere; bundled sets lie where they lie."""
    monkeypatch.chdir(tmp_path)
    assert preflight.resolved(text) == whole.format(here=tmp_path.resolve())


def test_a_drop_copy_that_there_is_none_of_cannot_observe(tmp_path: Path) -> None:
    """Nobody would ever hear it, and no symbol would be traded."""
    given: dict[str, object] = {"platform.state": str(tmp_path), "reconcile.observers": ["venue", "drop_copy"]}
    with pytest.raises(ConfigError, match=r"name its CompID in fix.drop_copy"):
        preflight.examine(load(None, {}, given))
    assert preflight.examine(load(None, {}, {**given, "fix.drop_copy": "TRISAGION-DC"})) == []


def test_an_observer_that_nobody_is_cannot_be_named(tmp_path: Path) -> None:
    """Its vote could never be had."""
    given: dict[str, object] = {"platform.state": str(tmp_path), "reconcile.observers": ["venue", "broker"]}
    with pytest.raises(ConfigError, match=r"names of \[observe.sources.NAME\], found broker$"):
        preflight.examine(load(None, {}, given))
    source = {"broker": {"public_key": "0" * 64, "at": "statement.csv"}}
    assert preflight.examine(load(None, {}, {**given, "observe.sources": source})) == []


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"egress.use": ["direct"], "fix.drop_copy": "COPY"}, "fix.drop_copy: expected none beside egress.use"),
        (
            {
                "egress.use": ["p"],
                "egress.paths.p": {"kind": "http", "host": "h", "port": 1, "password": "env:NOBODY_SET_THIS"},
            },
            "env:NOBODY_SET_THIS: expected the environment variable",
        ),
    ],
)
def test_paths_that_cannot_be_gone_are_refused(tmp_path: Path, given: dict[str, object], told: str) -> None:
    """A secret that is not there, and a session that would go past them."""
    with pytest.raises(ConfigError, match=f"^{told}"):
        preflight.examine(load(None, {}, {"platform.state": str(tmp_path / "state"), **given}))


def test_a_crisis_that_nobody_would_tell_of_is_refused(tmp_path: Path) -> None:
    """The clamp waits for the classifier's word, which the gate of entropies does not have; the prudent file has it."""
    given: dict[str, object] = {"platform.state": str(tmp_path / "state"), "portfolio.crisis_share": "0.5"}
    with pytest.raises(ConfigError, match=r'crisis_share: expected none without regime.gate = "state", found 0\.5'):
        preflight.examine(load(None, {}, given))
    prudent = load(Path(__file__).parents[2] / "deploy" / "prudent.toml", {}, {"platform.state": str(tmp_path / "s")})
    assert preflight.examine(prudent) == []
    assert House(prudent).clamping.measure is not None
    assert House(load(None, {}, {})).clamping.measure is None
