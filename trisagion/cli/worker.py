"""`trisagion worker`: one Celery worker of a fleet, on this or any machine that reaches database and broker."""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from trisagion.errors import ConfigError
from trisagion.settings import Settings, load, resolve, to_environment

OWNERS = {"session": "workers.sessions.fix", "drop_copy": "workers.sessions.drop_copy"}
"""The module of each role that owns a venue connection."""

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
    refuse_a_copy_past_the_paths(settings)
    session = settings.fix.drop_copy if role == "drop_copy" else settings.fix.target
    argv = worker_argv(role, name or f"{role}-{os.getpid()}", session, pool, concurrency)
    os.execv(argv[0], argv)  # noqa: S606 – no shell is wanted


def refuse_a_copy_past_the_paths(settings: Settings) -> None:
    """Refuse a drop copy beside paths: it has no forwarder, and would go to the venue by itself."""
    if settings.egress.use and settings.fix.drop_copy:
        raise ConfigError(
            "fix.drop_copy: expected none beside egress.use, for the drop copy would not take these paths, found "
            f"{settings.fix.drop_copy!r}"
        )


def worker_argv(role: str, name: str, session: str, pool: str = "solo", concurrency: int = 1) -> list[str]:
    """Return the command line of a worker; the owner of a connection is always a single process."""
    alone = role in OWNERS
    return [
        *(sys.executable, "-m", "workers.serve", OWNERS.get(role, "workers.worker")),
        *("--queues", f"session.{session}" if alone else QUEUES[role], "--name", name),
        *("--pool", "solo" if alone else pool, "--concurrency", str(1 if alone else concurrency)),
    ]
