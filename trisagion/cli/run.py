"""`trisagion run`: start the whole platform on this machine, show it, and stop it in order.

The supervisor starts a broker, the bundled FIX venue, Celery workers, the session's owner, the replay driver, beat when
the replay is paced, and a forwarder when the session has paths of its own, each as a process of its own, restarts what
dies, and draws what the database says. It decides nothing.
"""

import json
import os
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from threading import Thread
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Final

import typer

from trisagion.adapters.budget import budget_of
from trisagion.adapters.dataspec import DataSpec
from trisagion.adapters.killfile import KillFile
from trisagion.adapters.processes import Child, Children, tail
from trisagion.adapters.servers import DATABASE, mariadb, redis
from trisagion.cli import preflight, rundir, starts
from trisagion.cli.config import overrides, to_toml
from trisagion.cli.console import Console, Frame, columns
from trisagion.cli.stop import Stop
from trisagion.cli.worker import worker_argv
from trisagion.errors import ConfigError, StateError, StepTimeout, TrisagionError
from trisagion.ports import Database, Replay
from trisagion.reports.why_halt import released
from trisagion.safety.modes import Mode
from trisagion.settings import (
    KILL_FILE,
    LINES,
    Fix,
    Ib,
    Settings,
    flatten,
    load,
    references,
    resolve,
    to_environment,
    variable,
)

if TYPE_CHECKING:
    from trisagion.wiring import House

LOOK_S: Final = 0.2
ANCHOR_S: Final = 3_600.0
"""How often the heads of the audit chains are signed outside the database, and at every end."""

STOP_S_MAX: Final = 45.0
"""How long a stop may take to cancel all orders and have it confirmed before the processes are ended regardless."""

RESUME_MAY_SET: Final = frozenset({"platform.state", "replay.speed"})

SIGNAL: Final = "signal"
"""The operator of what a signal demands."""

EXIT_INTERRUPTED: Final = 130
EXIT_KILLED: Final = 3


@dataclass(slots=True)
class Supervisor:
    """One platform on one machine, from start to stop."""

    settings: Settings
    run: Path
    sockets: Path
    specs: list[DataSpec]
    children: Children
    anchored: Callable[[], None]
    interrupts: int = 0
    why: str | None = None
    """Why the run is stopped although nobody asked for it."""

    def start(self) -> None:
        """Start every process; none waits for another, each asks until what it needs is there."""
        python = sys.executable
        env = self._environment()
        # Those who only compute can never take the connections of those on the way of an order.
        gateway, writer = self._as("gateway", env), self._as("writer", env)
        given = self.settings
        # It has most to do before anything moves.
        self._child("driver", [python, "-m", "workers.replay"], env, once=True)
        if given.line is not None:
            self._child("venue", [python, "-m", *self._venue(given.line)], env)
        if given.egress.use:
            self._child("egress", [python, "-m", "trisagion.adapters.egress.forwarder"], gateway)
        self._child("session", worker_argv("session", "session", given), gateway)
        if given.fix.drop_copy:
            self._child("drop_copy", worker_argv("drop_copy", "drop_copy", given), gateway)
        for number in range(1, given.fleet.cohort_workers + 1):
            self._child(f"cohort{number}", worker_argv("cohort", f"cohort{number}", given), writer)
        self._child("desk", worker_argv("desk", "desk", given), gateway)
        if given.regime.gate == "state":
            self._child("regime", worker_argv("regime", "regime", given, "prefork"), writer)
        if self.settings.replay.speed != "max":
            scheduler = "workers.schedule.SlotScheduler"
            schedule = str(self.run / "beat")
            beat = [
                python,
                "-m",
                "celery",
                "-A",
                "workers.worker",
                "beat",
                "-S",
                scheduler,
                "-s",
                schedule,
                "-l",
                "WARNING",
            ]
            self._child("beat", [*beat, "--pidfile="], env)
        if self.settings.platform.profile == "fleet":
            flower = [
                python,
                "-m",
                "celery",
                "-A",
                "workers.worker",
                "flower",
                "--address=127.0.0.1",
                f"--port={free_port()}",
            ]
            self._child("flower", flower, env)

    def _venue(self, line: Fix | Ib) -> list[str]:
        """Return module and arguments of the venue's process."""
        from trisagion.wiring import House

        shared = [
            *(part for spec in self.specs for part in ("--data-spec", spec.to_json())),
            *("--port", str(line.port), "--control", str(self._control), "--store", str(self.run / "venue")),
        ]
        if isinstance(line, Ib):
            return ["trisagion.adapters.venues.ib.venue", *shared, "--account", line.account]
        return [
            *("trisagion.adapters.venues.fix.venue", *shared, "--sender", line.target, "--target", line.sender),
            *(("--drop-copy", line.drop_copy) if line.drop_copy else ()),
            *("--profile", json.dumps(asdict(House(self.settings).profile))),
        ]

    @property
    def _control(self) -> Path:
        return self.sockets / "venue"

    @property
    def _stop(self) -> Path:
        """A file that asks the driver to stop: a driver that is being started again finds it too."""
        return self.sockets / "stop"

    def _environment(self) -> dict[str, str]:
        extra = {
            "TRISAGION_DATA_SPEC": "\n".join(spec.to_json() for spec in self.specs),
            "TRISAGION_VENUE_CONTROL": str(self._control),
            "TRISAGION_VENUE_LEDGER": str(self.run / rundir.VENUE_LEDGER),
            "TRISAGION_STOP": str(self._stop),
            "TRISAGION_SESSION_STORE": str(self.run / "session"),
            "TRISAGION_COPY_STORE": str(self.run / "drop_copy"),
            # Each process computes on one core; its libraries must not start a thread for each.
            "OMP_NUM_THREADS": "1",
            "OPENBLAS_NUM_THREADS": "1",
            "POLARS_MAX_THREADS": "1",
        }
        return {**os.environ, **to_environment(self.settings), **extra}

    def _as(self, role: str, env: dict[str, str]) -> dict[str, str]:
        """Return the environment of a process that shares the connections of a role, on a server of this run's own."""
        path = _url_of(self.run, f"{DATABASE}_{role}")
        return {**env, variable("database.url"): f"file:{path.resolve()}"} if path.exists() else env

    def _child(self, name: str, argv: list[str], env: dict[str, str], *, once: bool = False) -> None:
        self.children.start(Child(name, argv, env, self.run / "log" / f"{name}.log", once=once))

    def pause(self) -> None:
        """Engage Pause, on a thread of its own; by the kill file where the database does not answer."""
        from trisagion.wiring import House

        house = House(self.settings)
        reason = f"SIGUSR2 to the supervisor, pid {os.getpid()}"
        made = Stop(house, Mode.PAUSE, SIGNAL, reason, file=_kill_file(self.settings, self.run)).give()
        if made is None:  # else somebody may still be waiting for it
            house.database.close()

    def watch(self, console: Console, frames: Iterator[Frame | None]) -> str:
        """Show the run until the driver ends; return what it says: finished, stopped or killed."""
        driver = next(child for child in self.children.kept if child.name == "driver")
        deadline, anchor_s = 0.0, time.monotonic() + ANCHOR_S
        while driver.result is None:
            for event in self.children.watch():
                console.note(event)
            _show(console, next(frames))
            if time.monotonic() > anchor_s:
                anchor_s += ANCHOR_S
                try:
                    self.anchored()
                except TrisagionError as error:
                    console.note(f"the audit chain was not anchored: {error}")
            if not self.interrupts and (why := self._cannot_go_on(console)):
                self.why, self.interrupts = why, 1
                console.note(why)
            if self.interrupts and not deadline:
                console.note("stopping: cancelling working orders, waiting until the venue confirms none")
                self._stop.touch()
                deadline = time.monotonic() + STOP_S_MAX
            if deadline and (time.monotonic() > deadline or self.interrupts > 1):
                because = f"{self.why}; " if self.why else ""
                raise StateError(
                    f"{because}the stop was cut short: working orders are NOT confirmed cancelled; use `trisagion kill`"
                )
            time.sleep(LOOK_S)
        _show(console, next(frames))
        said = tail(driver.log)
        if driver.result:
            errors = {error.exit_code: error for error in (ConfigError, StepTimeout)}
            raise errors.get(driver.result, TrisagionError)(said.removeprefix("trisagion: "))
        return str(json.loads(said)["outcome"])

    def _cannot_go_on(self, console: Console) -> str | None:
        """Say why the run has to stop, in order while that can still be done; None while it can go on."""
        return "nobody takes the output any more" if console.lost else preflight.room(self.run)


def _show(console: Console, frame: Frame | None) -> None:
    if frame is not None:
        console.show(frame)


def command(
    data: Annotated[
        list[str] | None,
        typer.Option(
            help="es, aapl, or a CSV or Parquet file of ticks or bars, or SYMBOL=FILE; once for each instrument."
        ),
    ] = None,
    zone: Annotated[
        str | None, typer.Option(help="Time zone of a file without offsets, e.g. America/New_York.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of the cohort's draws.")] = None,
    runs: Annotated[int | None, typer.Option(help="Virtual traders in the cohort.")] = None,
    survivors: Annotated[
        Path | None, typer.Option(help="A file of `trisagion cohort export`: the first runs of the cohort.")
    ] = None,
    speed: Annotated[str | None, typer.Option(help="'max', or data seconds per second: 1 is real time.")] = None,
    profile: Annotated[str | None, typer.Option(help="embedded, or fleet: MariaDB, Redis and Flower.")] = None,
    venue: Annotated[
        str | None, typer.Option(help="fix-sim, ib-sim (a TWS), or paper (in the session's own process).")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the newest unfinished run.")] = False,
    reason: Annotated[str | None, typer.Option(help="Why a killed run may go on.")] = None,
    state: Annotated[Path | None, typer.Option(help="Where runs are kept.")] = None,
    config: Annotated[Path | None, typer.Option(help="A trisagion.toml.")] = None,
    sets: Annotated[list[str] | None, typer.Option("--set", help="section.key=value, as often as needed.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """Replay market data through the whole platform and write a report."""
    given = {
        "replay.data": data or None,
        "replay.zone": zone,
        "replay.seed": seed,
        "replay.speed": speed,
        "cohort.runs": runs,
        "cohort.survivors": None if survivors is None else str(survivors),
        "platform.profile": profile,
        "platform.venue": venue,
        "platform.state": None if state is None else str(state),
    }
    layers = {**overrides(sets), **{key: value for key, value in given.items() if value is not None}}
    settings = load(config, os.environ, layers)
    # Whoever resumes the run, and every process of it, may stand in another folder.
    placed = [preflight.resolved(text) for text in settings.replay.data]
    if not resume and placed != list(settings.replay.data):
        layers["replay.data"] = placed
        settings = load(config, os.environ, layers)
    home = Path(settings.platform.state)
    if resume:
        own = sorted(set(layers) - RESUME_MAY_SET)
        if own:
            raise ConfigError(f"--resume goes on with the settings that the run began with: leave out {', '.join(own)}")
        settings = rundir.asked_of(rundir.latest_run(home), {} if speed is None else {"replay.speed": speed})
    notes = preflight.examine(settings)
    with rundir.held(home), rundir.resumed(home) if resume else rundir.new_run(home) as run:
        outcome = supervise(settings, run, notes, as_json=as_json, reason=reason)
    if outcome == "stopped":
        raise typer.Exit(EXIT_INTERRUPTED)
    if outcome == "killed":
        raise typer.Exit(EXIT_KILLED)


def supervise(settings: Settings, run: Path, notes: list[str], *, as_json: bool, reason: str | None) -> str:
    """Run one platform in its directory and return how it ended."""
    from trisagion.adapters.db.report_source import collect
    from trisagion.adapters.witness import person
    from trisagion.cli.watching import frames
    from trisagion.reports.tearsheet import render, summary_json, summary_text
    from trisagion.services.fingerprint import register
    from trisagion.services.replay import take_up
    from trisagion.wiring import House

    begun = time.monotonic()
    resumed = (run / rundir.SETTINGS).exists()
    with ExitStack() as stack:
        console = stack.enter_context(Console(sys.stdout, json_lines=as_json))
        for note in notes:
            console.note(note)
        sockets = stack.enter_context(rundir.short_directory())
        children = Children()
        asked, settings = settings, rundir.with_own_survivors(settings, run)
        (run / rundir.ASKED).write_text(to_toml(settings), encoding="utf-8")
        placed = place(settings, run, sockets, children, stack)
        create_tables(resolve(placed.database.url, os.environ))
        house = House(placed)
        database = house.database
        stack.callback(database.close)
        known = _known(database, resumed=resumed)
        anchored = _anchored(house, run)
        supervisor = Supervisor(placed, run, sockets, preflight.specs_of(placed), children, anchored)
        (run / rundir.SETTINGS).write_text(to_toml(placed), encoding="utf-8")
        if known is not None and known.finished and (run / rundir.VENUE_LEDGER).exists():
            console.note("this run is finished; start another with `trisagion run`")
            outcome = "finished"
        else:
            house.note_start(person(), run.name, _facts(house, resumed=resumed))
            _tell_changes(house, run, asked)
            take_up(database, person(), reason, _people(house))
            now_ns = time.time_ns() if known is None else known.now_ns
            register(database, House(placed).fingerprint, person(), now_ns)
            anchored()
            stack.callback(children.stop)
            outcome = _live(supervisor, console, frames(database, begun, placed.account.currency))
            anchored()
        report = collect(database, time.monotonic() - begun)
        page = run / "report.html"
        page.write_text(render(report), encoding="utf-8")
    if supervisor.why:
        raise StateError(
            f"{supervisor.why}: the run was stopped in order; go on with: {_resume(settings, house, outcome)}"
        )
    if as_json:
        print(json.dumps({"outcome": outcome, "report": str(page), "summary": summary_json(report)}), flush=True)
        return outcome
    print(summary_text(report, columns(sys.stdout)))
    print(f"report    {page.resolve()}")
    if outcome != "finished":
        print(f"zero working orders confirmed; go on with: {_resume(settings, house, outcome)}")
    return outcome


def _anchored(house: "House", run: Path) -> Callable[[], None]:
    """Return what links and signs the audit chains of a run; `StateError` when earlier anchors were tampered with."""
    from trisagion.cli.audit import anchors_for
    from trisagion.services.keep_audit import anchor

    anchors = anchors_for(house.settings, run.parent.parent, run.name)
    anchors.kept()

    def anchored() -> None:
        anchor(house.database, anchors, f"pid:{os.getpid()}", time.time_ns())

    return anchored


def _facts(house: "House", *, resumed: bool) -> dict[str, str]:
    """Return what a start is recorded with: every setting, and the version of the limits."""
    texts = to_environment(house.settings)
    given = {key: texts[variable(key)] for key in flatten(house.settings)}
    return {**given, **_vaulted(house.settings), "resumed": str(resumed), "limits": house.limits.version}


def _tell_changes(house: "House", run: Path, asked: Settings) -> None:
    """Add an event for what changed since the last start on this state directory, and keep this one as the last."""
    state, now_ns = run.parent.parent, house.now_ns()
    start = starts.start_of(run.name, house.witness().build, asked)
    told = starts.changes(starts.last(state), start)
    with house.database.transaction() as tx:
        for kind, detail in told.items():
            tx.control.add_event(kind, run.name, detail, now_ns)
    starts.keep(state, start)


def _vaulted(settings: Settings) -> dict[str, str]:
    """Return which version of each entry of the vault is used, under which key."""
    if not preflight.uses_vault(settings):
        return {}
    from trisagion.settings.vault import Vault

    vault = Vault.of(os.environ)
    used = {text for text in references(settings).values() if text.startswith("vault:")}
    entries = [vault.entry(text.removeprefix("vault:")) for text in sorted(used)]
    return {f"vault:{entry.name}": f"version {entry.version}, key {entry.key}" for entry in entries}


def _known(database: Database, *, resumed: bool) -> Replay | None:
    """Return the replay that a database holds; a new run wants a database without one."""
    with database.snapshot() as tx:
        known = tx.control.replay()
    if known is not None and not resumed:
        raise StateError(
            f"database.url: this database holds a replay already (of {known.dataset}, seed {known.seed}); "
            "go on with it by --resume where it was begun, or name an empty database"
        )
    return known


def _live(supervisor: Supervisor, console: Console, looks: Iterator[Frame | None]) -> str:
    """Start the platform and show it until it ends or is interrupted."""
    listen(supervisor)
    supervisor.start()
    return supervisor.watch(console, looks)


def listen(supervisor: Supervisor) -> None:
    """Have signals reach the supervisor from now on."""

    def interrupted(_number: int, _frame: FrameType | None) -> None:
        supervisor.interrupts += 1

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:  # under nohup a terminal may go
            signal.signal(number, interrupted)
    signal.signal(signal.SIGUSR2, lambda _number, _frame: Thread(target=supervisor.pause, name="pause").start())


def _people(house: "House") -> int:
    """Return how many people take up a run that was killed; where people have keys, nobody does so alone."""
    return 2 if house.operators else house.release_people


def _resume(settings: Settings, house: "House", outcome: str) -> str:
    """Return the command that goes on with a run."""
    state, usual = settings.platform.state, type(settings.platform).model_fields["state"].default
    where = "" if state == usual else f" --state {shlex.quote(state)}"
    if outcome != "killed":
        return f"trisagion run --resume{where}"
    if _people(house) < 2:
        return f"trisagion run --resume{where} --reason 'why it is safe'"
    by_release = released(house.release_people, f"--reason TEXT{where}", signed=bool(house.operators))
    return f"trisagion run --resume{where}, after {by_release}"


def place(settings: Settings, run: Path, sockets: Path, children: Children, stack: ExitStack) -> Settings:
    """Fill in where database, broker and venue of this run are, starting the private servers that it needs."""
    if why := KillFile(_kill_file(settings, run)).raised():
        raise StateError(f"expected nothing that stops the platform, found that {why}; remove it when it is safe")
    fleet = settings.platform.profile == "fleet"
    lines: dict[str, object] = {}
    given = {"egress.port": settings.egress.port if settings.egress.use else 0}
    if (line := settings.line) is not None:
        section = LINES[settings.platform.venue]
        lines[section] = line.model_copy(update=_placed(line))
        given[f"{section}.port"] = line.port
    for setting, port in given.items():
        if port:
            preflight.refuse_a_taken_port(setting, port)
    url = settings.database.url
    if not url and fleet:
        budget = budget_of(settings, DATABASE)
        url = stack.enter_context(mariadb(run / rundir.MARIADB, sockets, children, budget))
        for user in budget:
            _kept_secret(_url_of(run, user), url.replace(f"//{DATABASE}:", f"//{user}:", 1))
        url = _kept_secret(run / "database.url", url)
    elif not url:
        url = f"sqlite:///{(run / rundir.DATABASE).resolve()}"
    broker = settings.broker.url or stack.enter_context(redis(run / "redis", sockets, children))
    forwarder = settings.egress.port or (free_port() if settings.egress.use else 0)
    return settings.model_copy(
        update={
            "database": settings.database.model_copy(update={"url": url}),
            "broker": settings.broker.model_copy(update={"url": broker}),
            **lines,
            "egress": settings.egress.model_copy(update={"port": forwarder}),
            "safety": settings.safety.model_copy(update={"kill_file": str(_kill_file(settings, run))}),
        }
    )


def _kill_file(settings: Settings, run: Path) -> Path:
    """Return the path of the file that stops the platform by being there, wherever whoever resumes a run stands."""
    return Path(settings.safety.kill_file or run.resolve().parents[1] / KILL_FILE).resolve()


def _placed(line: Fix | Ib) -> dict[str, object]:
    """Return what the bundled venue of a run changes in the section of its session."""
    here: dict[str, object] = {"port": line.port or free_port()}
    return {**here, "maker": preflight.SIMULATED_MAKER} if isinstance(line, Ib) else here


def _url_of(run: Path, user: str) -> Path:
    return run / f"database.{user}.url"


def _kept_secret(path: Path, url: str) -> str:
    """Keep a URL that holds a password in a file that only we can read, and return the reference to it."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
        file.write(url)
    return f"file:{path.resolve()}"


def create_tables(url: str) -> None:
    """Have `python -m init` create what the database lacks."""
    # By the environment, not the command line: every user of the machine can read the latter.
    env = {**os.environ, "TRISAGION_DATABASE": url}
    done = subprocess.run([sys.executable, "-m", "init"], capture_output=True, text=True, check=False, env=env)
    if done.returncode != 0:
        _, refusal, said = done.stderr.rpartition("init: ")
        last = (done.stderr.strip().splitlines() or [f"python -m init ended with {done.returncode}"])[-1]
        raise StateError(said.strip() if refusal else last)


def free_port() -> int:
    """Return a port that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
