"""`trisagion worker`: one Celery worker of a fleet, on this or any machine that reaches database and broker."""

import os
import sys
from contextlib import closing, suppress
from pathlib import Path
from typing import Annotated

import typer

from trisagion.errors import ConfigError, StaleBuild
from trisagion.settings import FIX_SIM, IB_SIM, PAPER, Settings, load, resolve, to_environment

SESSIONS = {FIX_SIM: "workers.sessions.fix", IB_SIM: "workers.sessions.ib", PAPER: "workers.sessions.paper"}
"""The module that owns the session of each venue."""

OWNERS = ("session", "drop_copy")
"""The roles that own a venue connection, by the module of the venue or by that of the drop copy."""

QUEUES = {
    "cohort": "market,cohort",
    "desk": "reconcile,orders,control",
    "regime": "regime",
    "all": "market,cohort,reconcile,orders,control,regime",
}
"""What a worker serves, by role; the owner of a session or of a drop copy serves the queue of its session.

A fit is stopped at its time limit by a pool of processes (`--pool prefork`) alone.
"""


def command(
    role: Annotated[
        str, typer.Option(help="cohort, desk, regime, all, or session, drop_copy (own a venue connection).")
    ] = "all",
    profile: Annotated[str, typer.Option(help="embedded or fleet.")] = "fleet",
    pool: Annotated[str, typer.Option(help="Celery's pool: solo, prefork, threads.")] = "solo",
    concurrency: Annotated[int, typer.Option(min=1, help="Slots of the pool.")] = 1,
    name: Annotated[str, typer.Option(help="The worker's name; the host's name is added.")] = "",
    config: Annotated[Path | None, typer.Option(help="A trisagion.toml.")] = None,
) -> None:
    """Become a Celery worker; stop it with SIGTERM (it finishes its task first)."""
    settings = load(config, os.environ, {"platform.profile": profile})
    for key, url in (("database.url", settings.database.url), ("broker.url", settings.broker.url)):
        if not resolve(url, os.environ):
            raise ConfigError(f"{key}: a worker needs the URL of its platform's, found none; set it in trisagion.toml")
    if role not in {*QUEUES, *OWNERS}:
        raise ConfigError(f"--role: expected {', '.join([*QUEUES, *OWNERS])}, found {role!r}")
    if role == "drop_copy" and not settings.fix.drop_copy:
        raise ConfigError("fix.drop_copy: expected the CompID of the drop copy for --role drop_copy, found none")
    from trisagion.cli.preflight import refuse_unfit_secrets

    refuse_unfit_secrets(settings)
    os.environ.update(to_environment(settings))
    refuse_what_has_no_line(settings)
    refuse_another_platform(settings)
    argv = worker_argv(role, name or f"{role}-{os.getpid()}", settings, pool, concurrency)
    os.execv(argv[0], argv)  # noqa: S606 – no shell is wanted


def refuse_what_has_no_line(settings: Settings) -> None:
    """Refuse paths or a drop copy where the venue has no line for them.

    A drop copy beside paths has no forwarder, and would go to the venue by itself.
    """
    venue = settings.platform.venue
    if settings.egress.use and settings.line is None:
        raise ConfigError(
            f"egress.use: expected none beside platform.venue {venue}, to which no line leads, found "
            + ", ".join(settings.egress.use)
        )
    if settings.fix.drop_copy and venue != FIX_SIM:
        raise ConfigError(
            f"fix.drop_copy: expected none beside platform.venue {venue}, found {settings.fix.drop_copy!r}"
        )
    if settings.egress.use and settings.fix.drop_copy:
        raise ConfigError(
            "fix.drop_copy: expected none beside egress.use, for the drop copy would not take these paths, found "
            f"{settings.fix.drop_copy!r}"
        )


def refuse_another_platform(settings: Settings) -> None:
    """Refuse a database that this release cannot use, or that is traded by another build or configuration.

    Before any task is taken; a database that is away is looked at later.
    """
    from trisagion.adapters.db import Unreachable
    from trisagion.services.fingerprint import expect_current
    from trisagion.wiring import House

    house = House(settings)
    with closing(house.database) as database, suppress(Unreachable), database.snapshot() as tx:
        try:
            expect_current(tx, house.fingerprint)
        except StaleBuild as error:
            raise ConfigError(f"{error}: install what the others run, with the same settings") from None


def worker_argv(role: str, name: str, settings: Settings, pool: str = "solo", concurrency: int = 1) -> list[str]:
    """Return the command line of a worker; the owner of a connection is always a single process."""
    owned = {
        "session": (SESSIONS[settings.platform.venue], f"session.{settings.session}"),
        "drop_copy": ("workers.sessions.drop_copy", f"session.{settings.fix.drop_copy}"),
    }
    alone = role in OWNERS
    module, queues = owned[role] if alone else ("workers.worker", QUEUES[role])
    return [
        *(sys.executable, "-m", "workers.serve", module),
        *("--queues", queues, "--name", name),
        *("--pool", "solo" if alone else pool, "--concurrency", str(1 if alone else concurrency)),
    ]
