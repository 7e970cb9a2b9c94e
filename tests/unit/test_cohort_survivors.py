"""The file of survivors: what one cohort writes another reads to the bit; anything else is refused with its place."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.builders import ES, NQ
from trisagion.adapters.survivors import load_survivors, save_survivors
from trisagion.cohort.space import draw, params_json, params_of
from trisagion.cohort.survivors import PROBLEMS_TOLD, Exported, Origin, read, write
from trisagion.errors import DataError, StateError
from trisagion.ids import RunId

DIGEST = "ab" * 32
ORIGIN = Origin("es", "cd" * 32, ("ES", "NQ"), 1, "ef" * 32, 2, 1_378_234_320_000_000_000)


def exported(count: int) -> tuple[Exported, ...]:
    """Return runs to export; the second is itself a clone."""
    rng = np.random.default_rng(5)
    parents = [None, RunId("R2-1"), *[None] * count]
    return tuple(
        Exported(RunId(f"R2-{number}"), parents[number], 5.0 - number, 10, 4, params_json(draw(rng, ES)))
        for number in range(count)
    )


def damaged(damage: Callable[[Any], object]) -> str:
    """Return a file of three in which something was changed."""
    tree = json.loads(write(ORIGIN, exported(3)))
    damage(tree)
    return json.dumps(tree)


def test_what_was_written_is_read_to_the_bit() -> None:
    """In its order; the parent's name is that of the file and its own."""
    runs = exported(3)
    found = read(write(ORIGIN, runs), "f", DIGEST, 20.0)
    assert [one.parent for one in found] == [f"abababababab/{run.run_id}" for run in runs]
    assert [one.params.tobytes() for one in found] == [params_of(json.loads(run.params)).tobytes() for run in runs]


def test_a_file_of_the_first_version_is_read_as_ever() -> None:
    """It named one symbol where a later one lists them."""
    old = damaged(
        lambda tree: tree.update(version=1, origin=tree["origin"] | {"symbol": tree["origin"].pop("symbols")})
    )
    found, now = read(old, "f", DIGEST, 20.0), read(write(ORIGIN, exported(3)), "f", DIGEST, 20.0)
    assert [one.params.tobytes() for one in found] == [one.params.tobytes() for one in now]


def test_on_several_instruments_any_leverage_will_do(tmp_path: Path) -> None:
    """A run lands on any of them and is given its leverage then; on one alone it must have come from its like."""
    path = tmp_path / "s.json"
    save_survivors(path, ORIGIN, exported(2))
    assert len(load_survivors(path, [NQ, ES])) == len(load_survivors(path, [ES])) == 2
    with pytest.raises(DataError, match="leverage: expected 10, the instrument's, found '20"):
        load_survivors(path, [NQ])


def test_the_file_says_where_its_runs_come_from() -> None:
    """Replay, epoch and instant once; parent, P&L and work of each run."""
    tree = json.loads(write(ORIGIN, exported(2)))
    assert (tree["format"], tree["version"]) == ("trisagion survivors", 2)
    assert tree["origin"]["symbols"] == ["ES", "NQ"]
    assert tree["origin"]["at"] == "2013-09-03T18:52:00.000Z"
    assert (tree["origin"]["seed"], tree["origin"]["epoch"], tree["origin"]["settings_digest"]) == (1, 2, "ef" * 32)
    second = tree["survivors"][1]
    assert [second[name] for name in ("run", "parent", "live_pnl", "iterations", "trades")] == [
        *("R2-1", "R2-1", 4.0),
        *(10, 4),
    ]


def params(tree: Any, entry: int = 1) -> Any:
    """Return the parameters of an entry, the first is 0."""
    return tree["survivors"][entry]["params"]


REFUSED: list[tuple[str, str, str]] = [
    ("nothing", "", "f: expected a file of `trisagion cohort export`, found an empty one"),
    ("blanks", " \n", "f: expected a file of `trisagion cohort export`, found an empty one"),
    ("no JSON", "{", "f: expected a file of `trisagion cohort export`, found no JSON ("),
    ("nested without end", "[" * 100_000, "f: expected a file of `trisagion cohort export`, found no JSON ("),
    ("a list", "[]", "with format 'trisagion survivors', found '[]'"),
    ("another format", '{"format": "x"}', "with format 'trisagion survivors', found 'x'"),
    ("another version", damaged(lambda tree: tree.update(version=3)), "f: version: expected 1 or 2, found '3'"),
    ("no entries", damaged(lambda tree: tree.update(survivors=[])), "survivors: expected 1 to 100000 entries, found"),
    ("no list", damaged(lambda tree: tree.update(survivors={})), "survivors: expected 1 to 100000 entries, found"),
    ("no entry", damaged(lambda tree: tree["survivors"].append(7)), "f: entry 4: expected a run and its params, found"),
    ("no run", damaged(lambda tree: tree["survivors"][1].pop("run")), "f: entry 2: run: expected a run's name such as"),
    ("a foreign run", damaged(lambda tree: tree["survivors"][0].update(run="x/R1-1")), "f: entry 1: run: expected a"),
    ("a run twice", damaged(lambda tree: tree["survivors"][2].update(run="R2-0")), "found R2-0 in entry 1 too"),
    ("no params", damaged(lambda tree: tree["survivors"][1].pop("params")), "f: entry 2: params: expected a table of"),
    ("unknown", damaged(lambda tree: params(tree).update(x=1)), "f: entry 2: 'x': there is no such parameter"),
    ("missing", damaged(lambda tree: params(tree).pop("swing_z")), "f: entry 2: swing_z: expected 0.5 to 2.5, found n"),
    (
        "out of range",
        damaged(lambda tree: params(tree, 2).update(entropy_max=0.2)),
        "f: entry 3: entropy_max: expected 0.05 to 0.15, found '0.2'",
    ),
    (
        "not a number",
        damaged(lambda tree: params(tree).update(entropy_max=float("nan"))),
        "f: entry 2: entropy_max: expected 0.05 to 0.15, found 'nan'",
    ),
    (
        "another leverage",
        damaged(lambda tree: params(tree).update(leverage=50.0)),
        "f: entry 2: leverage: expected 20, the instrument's, found '50.0'",
    ),
]


@pytest.mark.parametrize(("text", "told"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED])
def test_anything_else_is_refused_with_its_place(text: str, told: str) -> None:
    """File, entry, parameter, what was expected and what was found; on one line."""
    with pytest.raises(DataError) as refused:
        read(text, "f", DIGEST, 20.0)
    assert told in str(refused.value)
    assert "\n" not in str(refused.value)


def test_many_problems_are_told_up_to_a_bound() -> None:
    """A line each, then how many more there are."""
    runs = exported(PROBLEMS_TOLD + 5)
    with pytest.raises(DataError) as refused:
        read(write(ORIGIN, runs), "f", DIGEST, 50.0)
    lines = str(refused.value).splitlines()
    assert len(lines) == PROBLEMS_TOLD + 1
    assert lines[-1] == "f: and 5 more"


def test_a_file_is_never_written_over_and_read_back_from_the_disk(tmp_path: Path) -> None:
    """Survivors of two files that differ have parents of other names."""
    first, second = tmp_path / "a.json", tmp_path / "b.json"
    save_survivors(first, ORIGIN, exported(2))
    with pytest.raises(StateError, match=r"a.json: there is a file already"):
        save_survivors(first, ORIGIN, exported(1))
    save_survivors(second, ORIGIN, exported(1))
    a, b = load_survivors(first, [ES]), load_survivors(second, [ES])
    assert (len(a), len(b)) == (2, 1)
    assert a[0].params == b[0].params
    assert a[0].parent != b[0].parent
    with pytest.raises(StateError, match="cannot be written"):
        save_survivors(tmp_path / "no" / "c.json", ORIGIN, exported(1))


@pytest.mark.parametrize(
    ("content", "told"),
    [(None, "found: No such file or directory"), (b"\xff", "expected text in UTF-8, found"), (b"", "an empty one")],
)
def test_a_file_that_cannot_be_read_is_refused(content: bytes | None, told: str, tmp_path: Path) -> None:
    """With its name."""
    path = tmp_path / "s.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError, match=told) as refused:
        load_survivors(path, [ES])
    assert str(refused.value).startswith(f"{path}: ")
