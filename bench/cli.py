"""How long a person waits for the help."""

import os
import subprocess
import sys

from bench.measure import ROOT, Figure, benchmark, interleaved


@benchmark("cli.help", "s CPU", "value <= 0.3")
def cli_help() -> Figure:
    """Processor seconds of `trisagion --help`, from start to exit."""
    return interleaved(_cpu_s)


def _cpu_s() -> float:
    before = os.times()
    subprocess.run(
        [sys.executable, "-m", "trisagion.cli.main", "--help"], cwd=ROOT, check=True, stdout=subprocess.DEVNULL
    )
    after = os.times()
    return after.children_user - before.children_user + after.children_system - before.children_system
