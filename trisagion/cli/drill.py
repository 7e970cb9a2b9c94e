"""`trisagion drill`: engage the kill switch on a private slice of the platform while something of it has failed.

A drill puts orders to work at the bundled venue, plays a failure, engages by the fastest door that this failure leaves
open, and measures on the machine's clock, from the moment that the door is touched: until the session wrote its last
new order on the wire (blocked), and until no order works by the venue's own books and by our ledger (zero). More orders
than are waited for are on their way all the while, so that there is something to block.
"""

import json
import os
import random
import signal
import sys
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from trisagion import __version__
from trisagion.adapters.build import build_hash
from trisagion.adapters.witness import person
from trisagion.cli.config import ConfigOption
from trisagion.cli.drills import Drill, add, past, shown
from trisagion.clock import MILLISECOND_NS
from trisagion.errors import StepTimeout
from trisagion.safety.modes import Mode
from trisagion.services import control
from trisagion.settings import load

if TYPE_CHECKING:
    from trisagion.cli.rehearsal import Rehearsal
    from trisagion.settings import Settings


class Failure(StrEnum):
    """What has failed when the switch is engaged; `RANDOM` draws one of the others."""

    NONE = "none"
    BROKER = "broker"
    WORKER = "worker"
    SESSION = "session"
    DATABASE = "database"
    PROXY = "proxy"
    RANDOM = "random"


BLOCKED_MS_MAX: Final = 250.0
ZERO_S_MAX: Final = 5.0
"""Reliability, 4.5: with a worker, the broker or the proxy dead at the time."""
NOTICED_HEARTBEATS: Final = 2.4
AGAIN_S: Final = 1.0
"""After so many heart-beats without a word a session gives up its line (QuickFIX); it tries another each second."""
ZERO_S_WAIT: Final = 60.0
"""How long is waited for what may have missed its target long since, so that the record says by how much."""
QUIET_S: Final = 0.5
"""How long is listened at the end for a new order that must not come: five looks of the session's owner."""
POLL_S: Final = 0.02
ORDERS_MAX: Final = 1_000
RUNS_MAX: Final = 1_000


def command(
    failure: Annotated[
        Failure, typer.Option(help="What has failed by then; worker and database stand still, the others are dead.")
    ] = Failure.RANDOM,
    orders: Annotated[int, typer.Option(min=1, max=ORDERS_MAX, help="Orders that work when it is engaged.")] = 200,
    runs: Annotated[int, typer.Option(min=1, max=RUNS_MAX, help="How many drills, one after the other.")] = 1,
    seed: Annotated[int | None, typer.Option(help="Of the failures that are drawn; any when left out.")] = None,
    history: Annotated[bool, typer.Option("--history", help="Hold none; show those that were held.")] = False,
    config: ConfigOption = None,
    state: Annotated[Path | None, typer.Option(help="The state directory, where the history is.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """Engage the kill switch on a private slice of the platform, and measure; exit code 1 when a target is missed."""
    settings = load(config, os.environ, {})
    home = state or Path(settings.platform.state)
    if history:
        drills = past(home)
        print("\n".join(json.dumps(drill.row()) for drill in drills) if as_json else shown(drills))
        return
    past(home)  # a history that cannot be read is said now, not after the drill
    draw = random.Random(seed)
    well = True
    for _ in range(runs):
        one = failure if failure is not Failure.RANDOM else draw.choice([f for f in Failure if f is not Failure.RANDOM])
        drill = held(settings, one, orders)
        add(home, drill)
        print(json.dumps(drill.row()) if as_json else drill, flush=True)
        for sentence in drill.missed:
            _say(f"a target was missed: {sentence}")
        well = well and drill.passed
    raise typer.Exit(0 if well else 1)


def held(settings: "Settings", failure: Failure, orders: int) -> Drill:
    """Hold one drill."""
    from trisagion.cli.rehearsal import rehearsal, until

    _say(f"drill, {failure}: starting servers, venue, session and worker …")
    # Half a second's worth of messages beyond those that are to work: they are on their way when the door is touched.
    under_way = settings.fix.messages_per_s // 2
    with rehearsal(settings, orders + under_way, proxied=failure is Failure.PROXY) as slice_:

        def all_work() -> bool:
            slice_.tend()
            return slice_.working() >= orders

        until(all_work, f"{orders} orders work")
        working = slice_.working()
        _say(f"{working} orders work; playing the failure, engaging the switch")
        FAILURES[failure](slice_)
        return _measured(slice_, failure, orders, working)


def _measured(slice_: "Rehearsal", failure: Failure, orders: int, working: int) -> Drill:
    """Engage, and measure what comes of it."""
    from trisagion.cli.rehearsal import live, said_new, until

    down = failure is Failure.DATABASE
    begun_ns, begun_s = time.time_ns(), time.monotonic()

    def since(instant_s: float) -> float:
        return time.monotonic() - instant_s

    if down:
        slice_.kill_file.path.write_text("a drill\n", encoding="utf-8")
    else:
        control.engage(slice_.house.database, Mode.PAUSE, person(), "a drill", slice_.house.now_ns())
    engaged_s = since(begun_s)

    def works_nothing() -> bool:
        slice_.tend()
        return slice_.working() == 0

    def none_live() -> bool:
        slice_.tend()
        return live(slice_.house) == 0

    never: list[str] = []

    def reached(true: Callable[[], bool], what: str) -> None:
        try:
            until(true, what, ZERO_S_WAIT, POLL_S)
        except StepTimeout as error:
            never.append(str(error))

    reached(works_nothing, "no order works at the venue")
    venue_s = zero_s = since(begun_s)
    booked_s = None
    if down:
        slice_.signal("mariadb", signal.SIGCONT)
        back_s = time.monotonic()
        reached(none_live, "our ledger says so")
        booked_s = since(back_s)
    else:
        reached(none_live, "our ledger says so")
        zero_s = since(begun_s)
    time.sleep(QUIET_S)
    sent = said_new(slice_.session_store, begun_ns)
    blocked_ms = (sent[-1] - begun_ns) / MILLISECOND_NS if sent else 0.0
    return Drill(
        at=datetime.now(UTC).isoformat(timespec="seconds"),
        failure=failure,
        door="file" if down else "kill",
        orders=orders,
        working=working,
        engaged_ms=round(engaged_s * 1_000, 1),
        blocked_ms=round(blocked_ms, 1),
        venue_s=round(venue_s, 3),
        zero_s=round(zero_s, 3),
        booked_s=None if booked_s is None else round(booked_s, 3),
        load=round(os.getloadavg()[0] / (os.cpu_count() or 1), 2),
        version=__version__,
        build=build_hash()[:16],
        notes=tuple(slice_.notes),
        missed=(*never, *_missed(slice_, failure, blocked_ms, zero_s, booked_s)),
    )


def _missed(
    slice_: "Rehearsal", failure: Failure, blocked_ms: float, zero_s: float, booked_s: float | None
) -> list[str]:
    """Say which targets were missed."""
    heartbeat_s = slice_.settings.fix.heartbeat_s
    noticed_s = NOTICED_HEARTBEATS * heartbeat_s + AGAIN_S if failure is Failure.SESSION else 0.0
    zero_s_max = ZERO_S_MAX + noticed_s
    bounds = (
        ("blocked_ms", blocked_ms, BLOCKED_MS_MAX),
        ("zero_s", zero_s, zero_s_max),
        ("booked_s", booked_s, ZERO_S_MAX),
    )
    missed = [
        f"{name}: expected at most {bound:g}, found {found:.3f}"
        for name, found, bound in bounds
        if found is not None and found > bound
    ]
    with slice_.house.database.snapshot() as tx:
        mode = tx.control.control().mode
    if mode is not Mode.PAUSE:
        missed.append(f"mode: expected {Mode.PAUSE}, found {mode}")
    return missed


def _line_dies(slice_: "Rehearsal") -> None:
    slice_.line.freeze()


def _proxy_dies(slice_: "Rehearsal") -> None:
    next(iter(slice_.proxies.values())).close()


def _signalled(name: str, number: int) -> "Callable[[Rehearsal], None]":
    return lambda slice_: slice_.signal(name, number)


FAILURES: Final[Mapping[Failure, "Callable[[Rehearsal], None]"]] = {
    Failure.NONE: lambda _: None,
    Failure.BROKER: _signalled("redis", signal.SIGKILL),
    Failure.WORKER: _signalled("gateway", signal.SIGSTOP),
    Failure.SESSION: _line_dies,
    Failure.DATABASE: _signalled("mariadb", signal.SIGSTOP),
    Failure.PROXY: _proxy_dies,
}
"""How each is played. What stands still is worse than what is dead: whoever waits for it is told nothing."""


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
