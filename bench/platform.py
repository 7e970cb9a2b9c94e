"""The whole platform, measured from outside: a default run as a user starts it, and its installation."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

from bench.measure import ROOT, Figure, benchmark

SAMPLE_S: Final = 0.5
RUN_S_MAX: Final = 600.0


@dataclass(frozen=True, slots=True)
class _Run:
    """What a default run needed; memory is the greatest sum over all its processes."""

    seconds: float
    first_movement_s: float
    bytes_max: int


@cache
def _measured(*arguments: str) -> _Run:
    """Run it once for all figures of these arguments."""
    with tempfile.TemporaryDirectory(prefix="trisagion-") as state:
        begun = time.monotonic()
        moved_s = sampled_s = 0.0
        bytes_max = 0
        argv = [sys.executable, "-m", "trisagion.cli.main", "run", "--json", "--state", state, *arguments]
        with subprocess.Popen(argv, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
            # One that hangs is ended; the assertions below then say that it had not finished.
            ended = threading.Timer(RUN_S_MAX, process.terminate)
            ended.start()
            assert process.stdout is not None
            said: dict[str, object] = {}
            for line in process.stdout:
                said = json.loads(line)
                now_s = time.monotonic() - begun
                if not moved_s and "at" in said and said["at"] != said["start"]:
                    moved_s = now_s
                if now_s - sampled_s >= SAMPLE_S:
                    sampled_s = now_s
                    bytes_max = max(bytes_max, _proportional_bytes(process.pid))
            process.wait()
            ended.cancel()
        assert process.returncode == 0, process.returncode
        assert said["outcome"] == "finished", said
        return _Run(time.monotonic() - begun, moved_s, bytes_max)


def _proportional_bytes(root: int) -> int:
    """Sum the proportional set size of a process and all its descendants: shared pages count once."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                # Behind the last bracket of the name: state, parent, …
                parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue
    family = {root}
    while more := {pid for pid, parent in parents.items() if parent in family} - family:
        family |= more
    return sum(_pss(pid) for pid in family)


def _pss(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))


@benchmark("platform.run_seconds", "s", "value <= 120")
def run_seconds() -> Figure:
    """`trisagion run` with nothing said, from start to the report."""
    return Figure([_measured().seconds])


@benchmark("platform.first_movement_s", "s", "value <= 5")
def first_movement() -> Figure:
    """Until the console shows the first minute of data done."""
    return Figure([_measured().first_movement_s])


@benchmark("platform.rss_bytes", "bytes", "value <= 1610612736")
def memory() -> Figure:
    """All processes of the run together, at the worst of the samples."""
    return Figure([_measured().bytes_max])


@benchmark("platform.run_12000_seconds", "s", "value <= 300")
def run_12000_seconds() -> Figure:
    """The same with 12,000 virtual runs instead of 500."""
    return Figure([_measured("--runs", "12000", "--set", "cohort.runs_per_leverage_max=600").seconds])


@benchmark("platform.setup_seconds", "s", "value <= 180")
def setup() -> Figure:
    """`make install` in a fresh clone whose path has a space; packages come from the usual index or pip's cache."""
    folder = Path(tempfile.mkdtemp(prefix="a b "))
    try:
        clone = folder / "fresh clone"
        subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
        environment = {name: value for name, value in os.environ.items() if name not in {"VIRTUAL_ENV", "MAKEFLAGS"}}
        begun = time.monotonic()
        subprocess.run(["make", "install"], cwd=clone, env=environment, check=True, stdout=subprocess.DEVNULL)
        return Figure([time.monotonic() - begun])
    finally:
        shutil.rmtree(folder)
