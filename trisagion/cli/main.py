"""The door of the console: one table of commands, and what becomes of errors.

A command's module is imported only when it is called, so `--help` stays quick. A module offers `command`, a function
with Typer parameters, or `app`, a Typer group of several.
"""

import os
import resource
import sys
from importlib import import_module
from io import TextIOWrapper
from pathlib import Path
from typing import Annotated, Final, NoReturn

import typer

from trisagion import __version__
from trisagion.errors import TrisagionError, harmless

COMMANDS: Final = {
    "run": ("trisagion.cli.run", "Run the platform: venue, cohort, reconciliation, orders and ledger."),
    "report": ("trisagion.cli.report", "Write the report of a run."),
    "cohort": ("trisagion.cli.cohort", "Show the best virtual runs and where they come from; export survivors."),
    "kill": ("trisagion.cli.kill", "Stop trading at once: cancel all working orders, and confirm it."),
    "dashboard": ("trisagion.cli.dashboard", "Watch a platform that runs, on a plain terminal; stop it by two keys."),
    "drill": ("trisagion.cli.drill", "Rehearse the kill switch on a private slice of the platform, and measure."),
    "release": ("trisagion.cli.release", "Let what was stopped trade again."),
    "operator": ("trisagion.cli.operator", "Make the keys by which people sign a release."),
    "killswitch": (
        "trisagion.cli.killswitch",
        "Be the daemon of a hardware kill switch, test one, tell how it stands.",
    ),
    "gate": ("trisagion.cli.gate", "Show the gates of the venue sessions; open one that was shut."),
    "limits": ("trisagion.cli.limits", "Show the limits in force and their history; propose and approve a change."),
    "incidents": ("trisagion.cli.incidents", "Show the symbols on which there is no consensus, with what each says."),
    "observer": (
        "trisagion.cli.observer",
        "Be an observer: look at a statement or an account, say what is held there.",
    ),
    "orders": ("trisagion.cli.orders", "Show the orders in doubt; end one of which a person has seen what became."),
    "egress": ("trisagion.cli.egress", "Show the paths of the venue sessions: which are up, which carries, and why."),
    "messages": ("trisagion.cli.messages", "Show what was said on the venue sessions, message by message."),
    "ib": ("trisagion.cli.ib", "Look at an account and a market at Interactive Brokers; sends no order."),
    "why": ("trisagion.cli.why", "Tell why an order, a cycle, a rest or a standstill is what it is."),
    "ledger": ("trisagion.cli.ledger", "Show, verify and correct the books: balances, positions, lots, postings."),
    "audit": ("trisagion.cli.audit", "Verify, export or sign the audit chain of a run."),
    "prove": ("trisagion.cli.prove", "Prove from a run's database what it promises."),
    "db": ("trisagion.cli.db", "Make the database, tell how its schema stands, and change it by a migration."),
    "data": ("trisagion.cli.data", "Check market data before it is used; keep its history in a database."),
    "regime": ("trisagion.cli.regime", "Tell the state of a market over its bars, why, and draw it."),
    "study": ("trisagion.cli.study", "Study a market or a run: does oscillation go with adverse excursions."),
    "config": ("trisagion.cli.config", "Show, check or write the configuration."),
    "vault": ("trisagion.cli.vault", "Keep secrets sealed in a file, for settings to refer to."),
    "doctor": ("trisagion.cli.doctor", "Tell whether this machine can run the platform."),
    "worker": ("trisagion.cli.worker", "Run one worker process of a fleet."),
}
"""Name → module, help line."""

SENTENCE_MAX: Final = 20_000
"""Characters of an error that are shown: all problems of a configuration, each a line, but no megabyte of one name."""

INTERRUPTED: Final = 130
"""The shell's code for an end by Ctrl-C: 128 + SIGINT."""


def main() -> None:
    """Run the command that the arguments name; a user's mistake is one sentence and an exit code, never a traceback."""
    refuse_optimised()
    leave_no_dump()
    _mend_streams()
    try:
        try:
            _app(sys.argv[1:])(prog_name="trisagion")
        finally:
            sys.stdout.flush()
    except TrisagionError as error:
        _end(str(error), error.exit_code)
    except BrokenPipeError:
        _end("", 1)
    except OSError as error:
        _end(": ".join(str(part) for part in (error.filename, error.strerror or error) if part), 1)
    except KeyboardInterrupt:
        _end("", INTERRUPTED)


def _mend_streams() -> None:
    """Have every text printable: a closed stream swallows it, one that cannot show a sign shows a question mark."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115 - open until the process ends
        elif isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")


def _end(text: str, code: int) -> NoReturn:
    """End with a sentence; what is still unwritten on a standard output that nobody takes is left behind."""
    try:
        if text:
            print(harmless(text, SENTENCE_MAX), file=sys.stderr, flush=True)
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(code)


def refuse_optimised() -> None:
    """End the process under `python -O`: the asserts it removes guard money."""
    if not __debug__:
        sys.exit("trisagion does not run under python -O or PYTHONOPTIMIZE: its asserts are part of its safety")


def leave_no_dump() -> None:
    """Have no process that begins here, nor any that it starts, leave its memory on the disk: it holds secrets."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _app(arguments: list[str]) -> typer.Typer:
    """Build the command tree, with the one command that is called for loaded, the others as names and help lines."""
    app = typer.Typer(
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_root)
    called = next((argument for argument in arguments if not argument.startswith("-")), None)
    for name, (module, line) in COMMANDS.items():
        loaded = import_module(module) if name == called else None
        if loaded is None:
            app.command(name, help=line)(_not_loaded)
        elif hasattr(loaded, "app"):
            app.add_typer(loaded.app, name=name, help=line)
        else:
            app.command(name, help=line)(loaded.command)
    return app


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"trisagion {__version__}")
        raise typer.Exit


def _root(
    _version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", is_eager=True, callback=_print_version)
    ] = False,
) -> None:
    """Trade through a live cohort: thousands of virtual traders decide, one gateway sends the orders."""


def _not_loaded() -> None:
    raise AssertionError("a command that was not named was called")


if __name__ == "__main__":
    main()
