"""The directories of a platform on one machine: `<state>/runs/<id>/`, one for each run, and `<state>/latest`."""

import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from trisagion.adapters.servers import mariadb
from trisagion.errors import StateError
from trisagion.settings import Settings, load, resolve

if TYPE_CHECKING:
    from trisagion.wiring import House

LATEST: Final = "latest"
DATABASE: Final = "trisagion.sqlite3"
MARIADB: Final = "mariadb"
ASKED: Final = "asked.toml"
"""The settings as the user gave them: whoever resumes a run places its servers anew."""

SETTINGS: Final = "trisagion.toml"
"""The settings as the run's processes have them: with the places of database, broker and venue."""

SURVIVORS: Final = "survivors.json"
"""A copy of the file of survivors with which the run began: what becomes of the original does not matter to it."""

VENUE_LEDGER: Final = "venue-ledger.json"
"""The venue's own books at the end of a run."""


def state_of(state: Path | None) -> Path:
    """Return the state directory: the one given, else the configured one."""
    return state or Path(load(None, os.environ, {}).platform.state)


@contextmanager
def held(state: Path) -> Iterator[None]:
    """Hold the state directory for one platform; `StateError` when another holds it."""
    try:
        state.mkdir(parents=True, exist_ok=True)
        handle = os.open(state / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise StateError(
            f"{state}: the state directory cannot be written ({error.strerror}); name another with --state"
        ) from None
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pid = os.pread(handle, 32, 0).decode(errors="replace").strip() or "unknown"
            raise StateError(
                f"{state}: a platform (pid {pid}) is running on this state directory; "
                "stop it with `trisagion kill` or Ctrl-C, or name another with --state"
            ) from None
        os.ftruncate(handle, 0)
        os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(handle)


@contextmanager
def new_run(state: Path) -> Iterator[Path]:
    """Make the directory of a new run and point `latest` at it; a run that ends before it has `SETTINGS` never was."""
    latest = state / LATEST
    before = latest.read_text(encoding="utf-8") if latest.exists() else None
    run = _made(state)
    try:
        _replace(latest, f"{run.name}\n")
        yield run
    finally:
        if not (run / SETTINGS).exists():
            shutil.rmtree(run, ignore_errors=True)
            if before is None:
                latest.unlink(missing_ok=True)
            else:
                _replace(latest, before)


@contextmanager
def resumed(state: Path) -> Iterator[Path]:
    """Give the directory of the newest run, as `new_run` gives that of a new one."""
    yield latest_run(state)


def _replace(path: Path, text: str) -> None:
    """Write a file whole or not at all: a disk that is full must not cost us its old content."""
    new = path.with_name(f"{path.name}.new")
    try:
        new.write_text(text, encoding="utf-8")
        new.replace(path)
    finally:
        new.unlink(missing_ok=True)


def _made(state: Path) -> Path:
    name = time.strftime("%Y%m%d-%H%M%S", time.gmtime())
    number = 0
    while True:
        run = state / "runs" / (f"{name}-{number}" if number else name)
        try:
            run.mkdir(parents=True)
            return run
        except FileExistsError:
            number += 1
        except OSError as error:
            raise StateError(f"{run}: cannot be made ({error.strerror}); name another directory with --state") from None


def latest_run(state: Path) -> Path:
    """Return the newest run's directory; `StateError` when there is none."""
    try:
        run = state / "runs" / (state / LATEST).read_text(encoding="utf-8").strip()
    except OSError:
        raise StateError(f"{state}: there is no run here yet; start one with `trisagion run`") from None
    if not run.is_dir():
        raise StateError(f"{run}: the newest run is gone; start another with `trisagion run`")
    return run


def settings_of(run: Path, file: str = SETTINGS, overrides: Mapping[str, object] = MappingProxyType({})) -> Settings:
    """Return the settings of a run, some replaced; `StateError` when it has none yet."""
    if not (run / file).exists():
        raise StateError(f"{run}: this run has not begun; wait a moment, or start another with `trisagion run`")
    return load(run / file, {}, overrides)


def asked_of(run: Path, overrides: Mapping[str, object]) -> Settings:
    """Return the settings as the user gave them at the beginning of a run, some replaced."""
    # The state directory may have been moved since, and the run's own copy with it.
    own = run / SURVIVORS
    return settings_of(run, ASKED, {**overrides, **({"cohort.survivors": str(own.resolve())} if own.exists() else {})})


def with_own_survivors(settings: Settings, run: Path) -> Settings:
    """Keep a copy of the file of survivors in the run's directory, where it is not yet; return settings naming it."""
    given = settings.cohort.survivors
    if not given:
        return settings
    own = run / SURVIVORS
    if not own.exists():
        shutil.copyfile(given, own)
    cohort = settings.cohort.model_copy(update={"survivors": str(own.resolve())})
    return settings.model_copy(update={"cohort": cohort})


def run_of(state: Path, name: str | None) -> Path:
    """Return the directory of a run by its name, the newest when None; `StateError` when there is none."""
    if name is None:
        return latest_run(state)
    run = state / "runs" / name
    if not run.is_dir():
        known = sorted(entry.name for entry in (state / "runs").glob("*")) or ["none"]
        raise StateError(f"{run}: there is no such run; there are: {', '.join(known)}")
    return run


@contextmanager
def short_directory() -> Iterator[Path]:
    """Make a directory for sockets whose path is short (a Unix socket's path holds 107 bytes) and only ours."""
    made = Path(tempfile.mkdtemp(prefix="trisagion-"))
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)


@contextmanager
def database_of(run: Path) -> Iterator[str]:
    """Give the URL of a run's database; a private MariaDB that ended with its run is started for as long."""
    url = resolve(settings_of(run).database.url, os.environ)
    with ExitStack() as stack:
        if (run / MARIADB).is_dir():
            try:
                stack.enter_context(held(run.parent.parent))
            except StateError:
                pass  # its platform lives, and with it the server
            else:
                url = stack.enter_context(mariadb(run / MARIADB, stack.enter_context(short_directory())))
        yield url


def present_database(settings: Settings, state: Path | None) -> Callable[[], str]:
    """Return what tells the URL of the platform's database as it stands: the configured one, else the newest run's.

    A configured reference that leads nowhere is a `ConfigError` at once.
    """
    configured = partial(resolve, settings.database.url, os.environ)
    configured()
    where = state or Path(settings.platform.state)
    return lambda: configured() or resolve(settings_of(latest_run(where)).database.url, os.environ)


def running_house(state: Path | None) -> "House":
    """Return the wiring of the newest run, as its own processes have it."""
    from trisagion.wiring import House

    return House(settings_of(latest_run(state_of(state))))
