"""`trisagion audit`: verify the audit chain of a run, export it, sign it."""

import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from trisagion.adapters.witness import person
from trisagion.cli.acting import noted
from trisagion.cli.messages import INSTANT_MAX_NS, instant
from trisagion.cli.rundir import database_of, run_of, settings_of, state_of
from trisagion.errors import DataError, StateError
from trisagion.safety.audit import Flaw, Link, Verifier, as_line, read_line
from trisagion.settings import Settings, resolve

if TYPE_CHECKING:
    from trisagion.adapters.anchors import AnchorFile
    from trisagion.services.keep_audit import Verified

app = typer.Typer(no_args_is_help=True)

RunArgument = Annotated[str | None, typer.Argument(metavar="[RUN]", help="A run's name; the newest when left out.")]
StateOption = Annotated[Path | None, typer.Option(help="The state directory.")]
JsonOption = Annotated[bool, typer.Option("--json", help="For machines.")]


@app.callback()
def _group() -> None:
    """The audit chain of a run: what happened, linked by hashes, and anchored by signatures outside the database."""


def anchors_for(settings: Settings, state: Path, run: str) -> "AnchorFile":
    """Return the anchors of a run under its settings."""
    from trisagion.adapters.anchors import anchors_of

    given = settings.audit
    return anchors_of(state, run, {"anchors": given.anchors, "key": resolve(given.key, os.environ)})


@app.command()
def verify(
    run: RunArgument = None,
    export_file: Annotated[
        Path | None, typer.Option("--export", metavar="FILE", help="Verify an export instead, without any database.")
    ] = None,
    keys: Annotated[
        list[Path] | None,
        typer.Option("--key", metavar="PEM", help="A public key that anchors are signed with; else audit.key's own."),
    ] = None,
    chain: Annotated[
        bool, typer.Option("--chain", help="The chains and their anchors alone, not the tables that they tell of.")
    ] = False,
    state: StateOption = None,
    as_json: JsonOption = False,
) -> None:
    """Recompute every hash, hold the chains against anchors and tables; exit code 1 at the first bad row of any."""
    from trisagion.adapters.db.engine import open_database
    from trisagion.services import keep_audit

    if export_file is not None:
        _tell(_verified_export(export_file), str(export_file), as_json=as_json)
        return
    home = run_of(state_of(state), run)
    anchors = _readable(home, state_of(state), keys or [])
    with database_of(home) as url, closing(open_database(url)) as database, _progress() as progress:
        found = keep_audit.verify(database, anchors.kept(), progress, sources=not chain)
    _tell(found, home.name, as_json=as_json)


def _readable(home: Path, state: Path, keys: list[Path]) -> "AnchorFile":
    """Return the anchors of a run, to be read with public keys where those are given."""
    from trisagion.adapters.anchors import AnchorFile, public_key

    settings = settings_of(home)
    if not keys:
        return anchors_for(settings, state, home.name)
    folder = Path(settings.audit.anchors) if settings.audit.anchors else state / "anchors"
    return AnchorFile(folder / f"{home.name}.jsonl", [public_key(path) for path in keys], None)


@contextmanager
def _progress() -> "Iterator[_Progress]":
    progress = _Progress()
    yield progress
    progress.done()


class _Progress:
    """Says on a terminal how far a verification has come."""

    def __init__(self) -> None:
        self._shown = False

    def __call__(self, shard: str, rows: int) -> None:
        if sys.stderr.isatty():
            self._shown = True
            print(f"\r{shard}  {rows:,} rows", end="", file=sys.stderr, flush=True)

    def done(self) -> None:
        if self._shown:
            print(file=sys.stderr)


def _tell(found: "Verified", name: str, *, as_json: bool) -> None:
    if as_json:
        flaws = [{"shard": flaw.shard, "seq": flaw.seq, "what": flaw.what, "text": flaw.text} for flaw in found.flaws]
        told = {"rows": found.rows, "heads": found.heads, "anchors": found.anchors, "waiting": found.waiting}
        print(json.dumps({"of": name, "whole": not flaws, **told, "flaws": flaws}))
    else:
        for shard, rows in found.rows.items():
            flaws_of = [each for each in found.flaws if each.shard == shard]
            said = [_said(each) for each in flaws_of] or [f"whole, head {found.heads[shard]}"]
            for line in said:
                print(f"{shard:8} {rows:>9,} rows  {line}")
        print(f"anchors  {found.anchors:>9,}; {found.waiting:,} rows wait to be linked")
    if found.flaws:
        raise typer.Exit(1)


def _said(flaw: Flaw) -> str:
    where = f" at {flaw.seq}" if flaw.seq else ""
    return f"BROKEN{where}: {flaw.what}, {flaw.text}"


def _verified_export(path: Path) -> "Verified":
    """Verify the lines of an export by themselves: each shard from its first line on."""
    from trisagion.services.keep_audit import Verified

    verifiers: dict[str, Verifier] = {}
    flaws: dict[str, Flaw] = {}
    for number, link in _lines(path):
        if link.shard in flaws:
            continue
        try:
            verifier = verifiers.setdefault(link.shard, Verifier(link.shard, {}, None if link.seq == 1 else link))
        except ValueError:
            raise DataError(f"{path}, line {number}: expected a hash in prev_hash, found something else") from None
        flaw = verifier.take([link])
        if flaw is not None:
            flaws[link.shard] = flaw
    rows = {shard: verifier.seq for shard, verifier in verifiers.items()}
    heads = {shard: verifier.head for shard, verifier in verifiers.items() if shard not in flaws}
    return Verified(rows, heads, 0, 0, list(flaws.values()))


def _lines(path: Path) -> Iterator[tuple[int, Link]]:
    try:
        with path.open(encoding="utf-8") as file:
            for number, line in enumerate(file, 1):
                try:
                    yield number, read_line(line)
                except DataError as error:
                    raise DataError(f"{path}, line {number}: {error}") from None
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: expected text in UTF-8, found: {error}") from None
    except OSError as error:
        raise DataError(f"{path}: expected a readable export, found: {error.strerror}") from None


@app.command()
def export(
    run: RunArgument = None,
    since: Annotated[str | None, typer.Option(help="Not older than this instant, as 2026-11-21T14:30; UTC.")] = None,
    until: Annotated[str | None, typer.Option(help="Older than this instant.")] = None,
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="A new file; else standard output.")] = None,
    state: StateOption = None,
) -> None:
    """Write the chains as JSON lines; `trisagion audit verify --export FILE` verifies them by themselves."""
    from trisagion.adapters.db.engine import open_database
    from trisagion.services import keep_audit

    since_ns = instant(since, "--since") if since else 0
    until_ns = instant(until, "--until") if until else INSTANT_MAX_NS
    with database_of(run_of(state_of(state), run)) as url, closing(open_database(url)) as database:
        links = keep_audit.export(database, since_ns, until_ns)
        if out is None:
            for link in links:
                print(as_line(link))
            return
        try:
            with out.open("x", encoding="utf-8") as file:
                count = sum(bool(file.write(f"{as_line(link)}\n")) for link in links)
        except FileExistsError:
            raise StateError(f"{out} is there already and was left as it is") from None
    print(f"{out}: {count:,} rows")


@app.command()
def anchor(run: RunArgument = None, state: StateOption = None) -> None:
    """Link what waits, and sign the head of each chain now; `trisagion run` does so every hour and when it ends."""
    from trisagion.adapters.db.engine import open_database
    from trisagion.services import keep_audit
    from trisagion.wiring import House

    home = run_of(state_of(state), run)
    anchors = anchors_for(settings_of(home), state_of(state), home.name)
    with database_of(home) as url, closing(open_database(url)) as database:
        noted(House(settings_of(home)), database, "audit anchor")
        signed = keep_audit.anchor(database, anchors, f"{person()}:{os.getpid()}", time.time_ns())
    for each in signed:
        print(f"{each.shard}  {each.seq}  {each.hash}")
    print(f"{anchors.path}: {len(signed)} anchors added")
