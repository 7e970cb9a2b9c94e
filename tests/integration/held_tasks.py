"""Tasks for a real worker: one that lasts for as long as a test wants, one that leaves a mark."""

import time
from pathlib import Path

from workers.app import app

POLL_S = 0.01


@app.task(name="test.hold")
def hold(now_ns: int, subject: str) -> None:
    """Say that it has begun, and end when told to."""
    folder = Path(subject)
    (folder / "begun").touch()
    while not (folder / "go").exists():
        time.sleep(POLL_S)


@app.task(name="test.mark")
def mark(now_ns: int, subject: str) -> None:
    """Leave a mark."""
    Path(subject).touch()


__all__ = ["app"]
