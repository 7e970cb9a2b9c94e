"""Parameter sets that leave a cohort and found another: the file of survivors, as values.

A survivor begins in another cohort as it was, unmutated, and is recorded as a clone whose parent lives elsewhere: the
parent's name is that of its file and its own. A file is refused as a whole: what is wrong with one entry is a sign that
something else than an export wrote it.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from trisagion.clock import iso
from trisagion.cohort.space import Params, params_of, problems
from trisagion.errors import DataError, quoted
from trisagion.ids import RunId

FORMAT: Final = "trisagion survivors"
VERSION: Final = 2

VERSIONS: Final = (1, VERSION)
"""What can be read: the first named one symbol of its origin, the second lists them."""

SURVIVORS_MAX: Final = 100_000
"""As many as a cohort has at most."""

PROBLEMS_TOLD: Final = 20
"""Problems told of a file; how many more there are is told too."""

FILE_DIGITS: Final = 12
"""Of the digest of a file: they tell files apart in the names of parents."""

_RUN: Final = re.compile(r"R[0-9]{1,18}-[0-9]{1,18}")


@dataclass(frozen=True, slots=True)
class Origin:
    """Where survivors come from: the replay, and the instant at which they were alive."""

    dataset: str
    dataset_digest: str
    symbols: tuple[str, ...]
    seed: int
    settings_digest: str
    epoch: int
    at_ns: int


@dataclass(frozen=True, slots=True)
class Exported:
    """A run as an export tells it. `params` is the parameter set as JSON, `live_pnl` is in the run's own money."""

    run_id: RunId
    parent: RunId | None
    live_pnl: float
    iterations: int
    trades: int
    params: str


@dataclass(frozen=True, slots=True)
class Survivor:
    """A parameter set that begins anew, and the foreign name of its parent: the file's digest, a slash, the run."""

    parent: RunId
    params: Params


def write(origin: Origin, runs: Sequence[Exported]) -> str:
    """Write the file of survivors, in the order given."""
    return json.dumps(
        {
            "format": FORMAT,
            "version": VERSION,
            "origin": {
                "dataset": origin.dataset,
                "dataset_digest": origin.dataset_digest,
                "symbols": list(origin.symbols),
                "seed": origin.seed,
                "settings_digest": origin.settings_digest,
                "epoch": origin.epoch,
                "at": iso(origin.at_ns),
                "at_ns": origin.at_ns,
            },
            "survivors": [
                {
                    "run": run.run_id,
                    "parent": run.parent,
                    "live_pnl": run.live_pnl,
                    "iterations": run.iterations,
                    "trades": run.trades,
                    "params": json.loads(run.params),
                }
                for run in runs
            ],
        },
        indent=1,
        allow_nan=False,
    )


def read(text: str, name: str, digest: str, leverage: float | None) -> tuple[Survivor, ...]:
    """Read the survivors of a file.

    Parameters
    ----------
    text : str
        What `write` wrote.
    name : str
        The file's name, for messages.
    digest : str
        The file's SHA-256 in hexadecimal digits.
    leverage : float or None
        That of the instrument on which they are to live; None: any will do.

    Returns
    -------
    tuple of Survivor
        In the order of the file, at least one.

    Raises
    ------
    DataError
        Naming the file and, a line each, the number of the entry (the first is 1), the parameter, the range that was
        expected and the value that was found.
    """
    entries = _entries(text, name)
    told = [
        f"{name}: entry {number}: {problem}"
        for number, entry in enumerate(entries, start=1)
        for problem in _entry_problems(entry, leverage)
    ]
    seen: dict[object, int] = {}
    for number, entry in enumerate(entries, start=1):
        run = entry.get("run") if isinstance(entry, dict) else None
        if isinstance(run, str) and seen.setdefault(run, number) != number:
            told.append(f"{name}: entry {number}: run: expected each run once, found {run} in entry {seen[run]} too")
    if told:
        more = len(told) - PROBLEMS_TOLD
        raise DataError("\n".join(told[:PROBLEMS_TOLD] + ([f"{name}: and {more} more"] if more > 0 else [])))
    return tuple(
        Survivor(RunId(f"{digest[:FILE_DIGITS]}/{entry['run']}"), params_of(entry["params"])) for entry in entries
    )


def _entries(text: str, name: str) -> list[Any]:
    """Return the entries of a file whose frame is as it should be."""
    expected = "expected a file of `trisagion cohort export`"
    if not text.strip():
        raise DataError(f"{name}: {expected}, found an empty one")
    try:
        tree = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{name}: {expected}, found no JSON ({error})") from None
    if not isinstance(tree, dict) or tree.get("format") != FORMAT:
        found = tree.get("format") if isinstance(tree, dict) else text[:80]
        raise DataError(f"{name}: {expected}, with format {FORMAT!r}, found {quoted(found)}")
    version = tree.get("version")
    if version not in VERSIONS or isinstance(version, bool):
        raise DataError(f"{name}: version: expected {' or '.join(map(str, VERSIONS))}, found {quoted(version)}")
    entries = tree.get("survivors")
    if not isinstance(entries, list) or not 1 <= len(entries) <= SURVIVORS_MAX:
        found = f"{len(entries)}" if isinstance(entries, list) else quoted(entries)
        raise DataError(f"{name}: survivors: expected 1 to {SURVIVORS_MAX} entries, found {found}")
    return entries


def _entry_problems(entry: object, leverage: float | None) -> list[str]:
    if not isinstance(entry, Mapping):
        return [f"expected a run and its params, found {quoted(entry)}"]
    told = []
    run, params = entry.get("run"), entry.get("params")
    if not isinstance(run, str) or not _RUN.fullmatch(run):
        told.append(f"run: expected a run's name such as R1-23, found {quoted(run)}")
    if not isinstance(params, Mapping):
        return [*told, f"params: expected a table of parameters, found {quoted(params)}"]
    return told + problems(params, leverage)
