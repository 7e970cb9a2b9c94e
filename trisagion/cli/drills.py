"""The drills that were held: a line of JSON each, in `drills.jsonl` of the state directory."""

import json
import os
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from trisagion.errors import StateError, quoted

HISTORY: Final = "drills.jsonl"

SHOWN: Final = 10
"""The newest drills that are shown one by one."""

AGE_MAX: Final = timedelta(days=7)
"""Reliability, 4.5: a drill each week."""


@dataclass(frozen=True, slots=True)
class Drill:
    """One drill. Durations are counted from the moment that the door was touched.

    Attributes
    ----------
    at
        When it was held, ISO 8601, UTC.
    failure, door
        What had failed, and how the switch was engaged: "kill" writes the mode to the database, "file" makes the file.
    orders, working
        How many orders were asked to work, and how many did by the venue's books when the door was touched.
    engaged_ms
        Until the door was done.
    blocked_ms
        Until the session wrote its last new order on the wire; 0 where it wrote none.
    venue_s
        Until no order worked by the venue's books.
    zero_s
        Until no order was live by our ledger either; with the database down `venue_s` again.
    booked_s
        With the database down: from its return until our ledger says so, too.
    load
        Processes that wanted a core of the machine, the mean of the last minute, by the number of cores.
    version, build
        Of the platform.
    notes
        Who ended by itself, as an owner whose lease runs out on a machine that is too slow, and was started again.
    missed
        The targets that were missed, a sentence each.
    """

    at: str
    failure: str
    door: str
    orders: int
    working: int
    engaged_ms: float
    blocked_ms: float
    venue_s: float
    zero_s: float
    booked_s: float | None
    load: float
    version: str
    build: str
    notes: tuple[str, ...]
    missed: tuple[str, ...]

    @property
    def passed(self) -> bool:
        """Tell whether every target was met."""
        return not self.missed

    def row(self) -> dict[str, Any]:
        """Return it as a line of the history says it."""
        return {**asdict(self), "passed": self.passed}

    def __str__(self) -> str:
        """Say it in a line."""
        booked = "" if self.booked_s is None else f", booked {self.booked_s:.2f} s after the database's return"
        what = f"{self.at}  {self.failure:<8} {self.working} working, by {self.door}"
        told = f"{what}: blocked {self.blocked_ms:.0f} ms, venue {self.venue_s:.2f} s, zero {self.zero_s:.2f} s{booked}"
        return f"{told}  {'; '.join((*self.notes, *self.missed)) or 'passed'}"


def add(state: Path, drill: Drill) -> None:
    """Append a drill to the history."""
    try:
        state.mkdir(parents=True, exist_ok=True)
        with (state / HISTORY).open("a", encoding="utf-8") as file:
            file.write(json.dumps(drill.row()) + "\n")
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise StateError(f"{state / HISTORY}: the drill cannot be recorded ({error.strerror})") from None


def past(state: Path) -> list[Drill]:
    """Return the drills that were held, oldest first; `StateError` for a line that is none."""
    try:
        lines = (state / HISTORY).read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return []
    except (OSError, ValueError) as error:
        raise StateError(f"{state / HISTORY}: expected a file that can be read, found {error}") from None
    return [_read(line, state / HISTORY, number) for number, line in enumerate(lines, start=1)]


def _read(line: str, path: Path, number: int) -> Drill:
    try:
        row = json.loads(line)
        datetime.fromisoformat(row["at"])
        known = {field.name: row[field.name] for field in fields(Drill)}
        for name in ("engaged_ms", "blocked_ms", "venue_s", "zero_s"):
            known[name] = float(known[name])
        return Drill(**{**known, "notes": tuple(known["notes"]), "missed": tuple(known["missed"])})
    except (ValueError, KeyError, TypeError):
        raise StateError(f"{path}, line {number}: expected a drill, found {quoted(line)}") from None


def shown(drills: Sequence[Drill]) -> str:
    """Write the history: a line for each failure, then the newest drills."""
    if not drills:
        return "no drill was held here yet; hold one: trisagion drill"
    head = f"{'failure':<10}{'held':>6}{'failed':>8}{'blocked ms':>22}{'zero s':>18}  last"
    lines = [head, f"{'':<24}{'p50      p99':>22}{'p50    p99':>18}"]
    for failure in dict.fromkeys(drill.failure for drill in drills):
        mine = [drill for drill in drills if drill.failure == failure]
        blocked, zero = [drill.blocked_ms for drill in mine], [drill.zero_s for drill in mine]
        counts = f"{failure:<10}{len(mine):>6}{sum(not drill.passed for drill in mine):>8}"
        figures = (
            f"{share(blocked, 50):>13.0f}{share(blocked, 99):>9.0f}{share(zero, 50):>11.2f}{share(zero, 99):>7.2f}"
        )
        lines.append(f"{counts}{figures}  {mine[-1].at}")
    return "\n".join([*lines, "", *(str(drill) for drill in drills[-SHOWN:])])


def share(values: Iterable[float], percent: int) -> float:
    """Return a percentile of some values, by linear interpolation between the two next to it."""
    found = sorted(values)
    if len(found) == 1:
        return found[0]
    return statistics.quantiles(found, n=100, method="inclusive")[percent - 1]


def judged(drills: Sequence[Drill], now: datetime) -> tuple[bool, str]:
    """Say whether the newest drill is well, and young enough."""
    if not drills:
        return True, "none was held here yet; hold one each week: trisagion drill"
    last = drills[-1]
    at = datetime.fromisoformat(last.at)
    age = now - (at if at.tzinfo else at.replace(tzinfo=UTC))
    if not last.passed:
        return False, f"the last one, of {last.at}, failed: {'; '.join(last.missed)}"
    told = f"passed, {last.failure}, {last.at}"
    return (True, told) if age <= AGE_MAX else (False, f"{told}: {age.days} days ago; hold one each week")
