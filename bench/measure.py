"""What a benchmark is, how it is timed, and the one form in which a figure is written down.

Ours and the peer take turns in one process after a warm-up, so that a change of the machine's pace meets both. A value
is the median of its repeats, its spread half the interquartile range over the median.
"""

import json
import os
import platform
import re
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import numpy as np

ROOT: Final = Path(__file__).resolve().parents[1]
RESULTS: Final = ROOT / "bench" / "results.jsonl"

REPEATS: Final = 9
BUSY_LOAD: Final = 0.5
"""Above this load average before the start somebody else was computing too; the row says so."""

LIBRARIES: Final = ("numpy", "celery", "redis", "SQLAlchemy", "Cython")


@dataclass(frozen=True, slots=True)
class Figure:
    """Samples of ours and of a peer, all in the benchmark's unit. `peer` names it; no peer: no ratio."""

    ours: Sequence[float]
    peers: Sequence[float] = ()
    peer: str | None = None


@dataclass(frozen=True, slots=True)
class Benchmark:
    """A name, the unit of its value, and what is wanted: a least ratio, or clauses such as `value <= 0.3`."""

    name: str
    unit: str
    target: float | str
    measure: Callable[[], Figure]

    @property
    def is_rate(self) -> bool:
        """Tell whether more is better."""
        return self.unit.endswith("/s")


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the results; the order of the fields is that of the line."""

    name: str
    value: float
    unit: str
    peer: str | None
    peer_value: float | None
    ratio: float | None
    better: str
    target: float | str
    repeats: int
    spread: float
    commit: str
    time: str
    machine: str
    versions: dict[str, str]

    def line(self) -> str:
        """Write it down."""
        return json.dumps(asdict(self), ensure_ascii=False, allow_nan=False)


REGISTERED: Final[list[Benchmark]] = []


def benchmark(name: str, unit: str, target: float | str) -> Callable[[Callable[[], Figure]], Callable[[], Figure]]:
    """Register a function as the measurement of a name."""

    def register(measure: Callable[[], Figure]) -> Callable[[], Figure]:
        REGISTERED.append(Benchmark(name, unit, target, measure))
        return measure

    return register


def seconds_each(work: Callable[[], object], count: int = 1) -> Callable[[], float]:
    """Return a sampler: the seconds of one of the `count` units that `work` does."""

    def sample() -> float:
        begun = time.perf_counter()
        work()
        return (time.perf_counter() - begun) / count

    return sample


def tail_of(work: Callable[[], object], calls: int, at: float = 0.99) -> Callable[[], float]:
    """Return a sampler: a quantile of the seconds of single calls, usually the 99th percentile."""

    def sample() -> float:
        took = np.empty(calls)
        for call in range(calls):
            begun = time.perf_counter()
            work()
            took[call] = time.perf_counter() - begun
        return float(np.quantile(took, at))

    return sample


def idle(like: Callable[[], object], calls: int) -> Callable[[], object]:
    """Return a loop that does nothing for as long as something takes at its median: its tail is the machine's own."""
    turns = 1_000

    def loop() -> None:
        for _ in range(turns):
            pass

    turns = round(turns * tail_of(like, calls, 0.5)() / tail_of(loop, calls, 0.5)())
    return loop


def interleaved(
    ours: Callable[[], float],
    theirs: Callable[[], float] | None = None,
    peer: str | None = None,
    repeats: int = REPEATS,
) -> Figure:
    """Warm both samplers up, then let them take turns."""
    ours()
    if theirs is None:
        return Figure([ours() for _ in range(repeats)])
    theirs()
    pairs = [(ours(), theirs()) for _ in range(repeats)]
    return Figure([pair[0] for pair in pairs], [pair[1] for pair in pairs], peer)


def released(distribution: str) -> str:
    """Name a peer with its version."""
    return f"{distribution} {version(distribution)}"


def row(bench: Benchmark, figure: Figure, machine: str) -> Row:
    """Make the line of a figure."""
    value = float(np.median(figure.ours))
    peer_value = float(np.median(figure.peers)) if figure.peers else None
    ratio = None
    if peer_value is not None:
        ratio = value / peer_value if bench.is_rate else peer_value / value
    low, high = np.quantile(figure.ours, (0.25, 0.75))
    return Row(
        name=bench.name,
        value=_short(value),
        unit=bench.unit,
        peer=figure.peer,
        peer_value=None if peer_value is None else _short(peer_value),
        ratio=None if ratio is None else _short(ratio),
        better="higher" if bench.is_rate or ratio is not None else "lower",
        target=bench.target,
        repeats=len(figure.ours),
        spread=_short(float(high - low) / 2 / value),
        commit=commit(),
        time=f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
        machine=machine,
        versions={"python": platform.python_version(), **{name: version(name) for name in LIBRARIES}},
    )


def measured(chosen: Sequence[Benchmark]) -> None:
    """Measure, print each figure, and write it down."""
    for bench in chosen:
        # The load is read before each, so that a neighbour who comes later is seen too.
        where = machine()
        result = row(bench, bench.measure(), where)
        with RESULTS.open("a", encoding="utf-8") as file:
            file.write(result.line() + "\n")
        against = f"  {result.ratio:g} × {result.peer}" if result.ratio is not None else ""
        print(f"{result.name:26} {result.value:.4g} {result.unit}{against}", flush=True)


def _short(number: float) -> float:
    return float(f"{number:.4g}")


def commit() -> str:
    """Name the commit that is measured; `+` behind it: with changes of the working tree."""

    def git(*words: str) -> str:
        done = subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=False)
        return done.stdout.strip()

    results = (":!bench/results.jsonl", ":!bench/faults.jsonl", ":!bench/simulation.jsonl")
    written = (*results, ":!docs/performance.md", ":!docs/faults.md")
    changed = git("status", "--porcelain", "--", ".", *written)
    return (git("rev-parse", "--short", "HEAD") or "unknown") + ("+" if changed else "")


def machine() -> str:
    """Describe the machine, and whether it was quiet: the load average of the last minute."""
    model = re.search(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text(encoding="utf-8"))
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    load = os.getloadavg()[0]
    quiet = "quiet" if load <= BUSY_LOAD else "NOT quiet"
    name = model[1].strip() if model else platform.machine()
    return f"{name}, {os.cpu_count()} cores, {memory:.0f} GiB, {quiet} (load {load:.1f})"


_CLAUSE: Final = re.compile(r"(value|ratio) (<=|>=) ([\d.eE+-]+)")


def missed(result: dict[str, Any]) -> list[str]:
    """Return the clauses of its target that a row does not meet; a bare number is the least ratio."""
    target = result["target"]
    text = target if isinstance(target, str) else f"ratio >= {target}"
    clauses = _CLAUSE.findall(text)
    assert clauses, f"{result['name']}: no clause in the target {text!r}"

    def kept(what: str, sign: str, limit: str) -> bool:
        found = result[what]
        if found is None:
            return False
        return bool(found <= float(limit) if sign == "<=" else found >= float(limit))

    return [" ".join(clause) for clause in clauses if not kept(*clause)]


def newest(path: Path = RESULTS) -> Iterator[dict[str, Any]]:
    """Give the newest row of each name, in order of name."""
    rows: dict[str, dict[str, Any]] = {}
    if path.exists():
        for line in path.read_text(encoding="utf-8").splitlines():
            found = json.loads(line)
            rows[found["name"]] = found
    yield from (rows[name] for name in sorted(rows))
