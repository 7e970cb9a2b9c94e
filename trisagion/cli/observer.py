"""`trisagion observer`: look at an independent source of our positions, and say what is there, signed."""

import json
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable
from contextlib import closing, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from trisagion.cli.config import ConfigOption, SetOption, overrides
from trisagion.cli.keys import new_key, private_key
from trisagion.cli.rundir import present_database
from trisagion.clock import iso
from trisagion.errors import ConfigError, DataError, StateError, harmless
from trisagion.settings import Settings, Source, load, resolve
from trisagion.units import plain

if TYPE_CHECKING:
    from trisagion.adapters.db.engine import SqlDatabase
    from trisagion.observer_ports import Seen
    from trisagion.safety.snapshots import Snapshot
    from trisagion.services.observe_source import Watcher

LOOK_S_MAX: Final = 60.0
"""A look at any source is over before, its answer or its failure written."""
LINE_MAX: Final = 1000


def command(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The observer: a table observe.sources.NAME.")],
    once: Annotated[
        bool, typer.Option("--once", help="Look once; exit code 1 unless all that is held was seen.")
    ] = False,
    key: Annotated[
        Path | None,
        typer.Option("--new-key", metavar="FILE", help="Make the observer's key in a new file, print the public one."),
    ] = None,
    config: ConfigOption = None,
    sets: SetOption = None,
    state: Annotated[
        Path | None, typer.Option(help="The state directory, where no database.url is configured.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """Be an observer until SIGTERM: look every period, and write a signed snapshot of what is held."""
    if key is not None:
        print(f'public_key = "{new_key(key)}"')
        return
    from trisagion.services.observe_source import Watcher

    settings = load(config, os.environ, overrides(sets))
    source = settings.observe.sources.get(name)
    if source is None:
        known = ", ".join(settings.observe.sources) or "none"
        raise ConfigError(f"observe.sources: expected a table [observe.sources.{name}], found {known}")
    signer = private_key(f"observe.sources.{name}", source.private_key, source.public_key)
    owner = f"{socket.gethostname()}:{os.getpid()}"
    watcher = Watcher(name, signer, owner, source.period_s + LOOK_S_MAX)
    look = looker(settings, name, source)
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    well = keep_looking(
        watcher, look, present_database(settings, state), stopping, 0 if once else source.period_s, as_json
    )
    if once and not well:
        raise typer.Exit(1)


def looker(settings: Settings, name: str, source: Source) -> "Callable[[], Seen]":
    """Return what looks at a source."""
    if source.kind == "ib":
        from trisagion.adapters.observers import ib
        from trisagion.adapters.venues.ib.configured import reader_of

        found = reader_of(settings.ib, source.client_id, f"observe.sources.{name}.client_id")
        return partial(ib.look, found, settings.ib.environment)
    from trisagion.adapters.observers import statement
    from trisagion.adapters.password import Password

    if not source.at:
        raise ConfigError(f"observe.sources.{name}.at: expected a file or URL of a statement, found none")
    token = Password(partial(resolve, source.token, os.environ))
    token()  # one that cannot be read is an error of the start; later there is an older one
    return lambda: statement.look(source.at, source.account, token())


def keep_looking(
    watcher: "Watcher",
    look: "Callable[[], Seen]",
    where: Callable[[], str],
    stopping: threading.Event,
    period_s: float,
    as_json: bool,
) -> bool:
    """Look and say so every `period_s`, once where that is 0; tell whether the last look saw all that is held.

    A platform that is not there is waited for; `StaleOwner` ends it.
    """
    from trisagion.adapters.db.engine import open_database, retrying

    complaint = ""
    while True:
        seen = None
        try:
            with closing(open_database(where())) as database:
                # Before the look: what is seen is as of this instant, or later.
                now_ns = retrying(lambda: watcher.lease(database))
                seen, said = put_down(watcher, database, look(), now_ns)
                tell(watcher.name, seen, said, as_json)
            complaint = ""
        except StateError as error:
            if not period_s:
                raise
            if str(error) != complaint:
                complaint = str(error)
                print(f"the platform is not told: {harmless(complaint, LINE_MAX)}", file=sys.stderr, flush=True)
        if not period_s or stopping.wait(period_s):
            with suppress(StateError), closing(open_database(where())) as database:
                retrying(partial(watcher.leave, database))
            return seen is not None and not seen.reason


def put_down(watcher: "Watcher", database: "SqlDatabase", seen: "Seen", now_ns: int) -> "tuple[Seen, Snapshot | None]":
    """Write what was seen; what the database cannot hold is a look that failed."""
    from trisagion.adapters.db.engine import retrying
    from trisagion.observer_ports import Seen

    try:
        return seen, retrying(lambda: watcher.say(database, seen, now_ns))
    except DataError as error:
        failed = Seen(reason=str(error))
        return failed, retrying(lambda: watcher.say(database, failed, now_ns))


def tell(name: str, seen: "Seen", said: "Snapshot | None", as_json: bool) -> None:
    """Print what was seen and what was written of it."""
    held = {symbol: plain(qty) for symbol, qty in sorted(seen.positions.items())}
    if as_json:
        told = None if said is None else {"number": said.number, "at": iso(said.at_ns)}
        print(json.dumps({"observer": name, "positions": held, "failed": seen.reason, "said": told}), flush=True)
        return
    text = f"failed: {seen.reason}" if seen.reason else " ".join(f"{symbol}={qty}" for symbol, qty in held.items())
    end = "nothing new" if said is None else f"snapshot {said.number} as of {iso(said.at_ns)}"
    print(harmless(f"{name}  {text or 'flat'}  {end}", LINE_MAX), flush=True)
