"""`trisagion killswitch`: the daemon of a hardware kill switch, its self-test, its key, and what is heard of it."""

import json
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from trisagion.cli.keys import new_key, private_key
from trisagion.cli.rundir import present_database
from trisagion.clock import MILLISECOND_NS, SECOND_NS, iso
from trisagion.errors import ConfigError
from trisagion.settings import Settings, load

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from trisagion.cli.switching import Looker

app = typer.Typer(no_args_is_help=True)

ConfigOption = Annotated[Path | None, typer.Option("--config", help="A trisagion.toml.")]
StateOption = Annotated[Path | None, typer.Option(help="The state directory, where no database.url is configured.")]
SimulateOption = Annotated[
    Path | None,
    typer.Option("--simulate", metavar="FILE", help="Take the contacts from a file: lines as `estop closed`."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="For machines.")]


@app.command()
def run(
    config: ConfigOption = None, state: StateOption = None, simulate: SimulateOption = None, as_json: JsonOption = False
) -> None:
    """Be the switch: look at the contacts, light the lamps, and tell the platform, until SIGTERM."""
    from trisagion.cli.switching import Voice, keep_switch
    from trisagion.services.beat_switch import Speaker

    settings = _configured(config)
    given = settings.killswitch
    owner = f"{socket.gethostname()}:{os.getpid()}"
    speaker = Speaker(given.name, _private_key(settings), owner, given.deadline_s * SECOND_NS)

    def complain(text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    voice = Voice(speaker, present_database(settings, state), given.beat_ms / 1000, complain)
    with _stopping() as stopping, _looker(settings, simulate, as_json) as looker:
        keep_switch(looker, voice, stopping)


@app.command("self-test")
def self_test(config: ConfigOption = None, simulate: SimulateOption = None, as_json: JsonOption = False) -> None:
    """Test contacts, latch, lamps and key with a person at the switch; the platform is told nothing."""
    from trisagion.cli.switching import drill

    settings = load(config, os.environ, {})
    with _stopping() as stopping, _looker(settings, simulate, as_json) as looker:
        drill(looker, stopping)
    print(json.dumps({"passed": True}) if as_json else "the switch has passed")


@app.command()
def status(config: ConfigOption = None, state: StateOption = None, as_json: JsonOption = False) -> None:
    """Show the last heart-beat, what the platform took of it, and the mode in force; exit code 1 unless all is well."""
    from trisagion.adapters.db import open_database
    from trisagion.safety.beats import judge
    from trisagion.safety.modes import Mode
    from trisagion.wiring import House

    settings = _configured(config)
    house = House(settings)
    rules = house.switch_rules
    assert rules is not None, settings.killswitch
    with (
        closing(open_database(present_database(settings, state)(), house.signers)) as database,
        database.snapshot() as tx,
    ):
        beat, mark = tx.switches.beat(rules.name), tx.switches.mark(rules.name)
        wall_ns, control = tx.control.wall_ns(), tx.control.control()
    found = judge(beat, mark, wall_ns, rules)
    well = beat is not None and mark is not None and found.mode is Mode.NORMAL and found.refusal is None
    age_s = None if beat is None else (wall_ns - beat.at_ns) / SECOND_NS
    refused = None if found.refusal is None else found.refusal.name.lower()
    if as_json:
        told = {
            "name": rules.name,
            "state": None if beat is None else beat.state,
            "reason": None if beat is None else beat.reason,
            "number": None if beat is None else beat.number,
            "age_s": age_s,
            "refused": refused,
            "taken": None if mark is None else mark.number,
            "demands": found.mode,
            "why": found.reason,
            "mode": control.mode,
        }
        print(json.dumps(told))
    else:
        if beat is None:
            print(f"{rules.name}: no heart-beat was ever written here")
        else:
            print(f"{rules.name}: {beat.state} ({beat.reason}), beat {beat.number}, {age_s:.1f} s ago")
        if refused:
            print(f"the newest row is refused: {refused}")
        print("the platform has not looked yet" if mark is None else f"the platform took beat {mark.number}")
        print(f"it demands {found.mode}{f': {found.reason}' if found.reason else ''}")
        print(f"in force is {control.mode}, by {control.operator}, {iso(control.set_ns)}: {control.reason}")
    if not well:
        raise typer.Exit(1)


@app.command()
def key(
    file: Annotated[Path, typer.Argument(help="Where the private key is to lie; it must not be there yet.")],
) -> None:
    """Make the key of a switch: the private one into a file of its owner alone, the public one printed."""
    print(f'public_key = "{new_key(file)}"')


def _configured(config: Path | None) -> Settings:
    settings = load(config, os.environ, {})
    if not settings.killswitch.name:
        raise ConfigError("killswitch.name: expected the name of a switch, found none; see docs/killswitch.md")
    return settings


def _private_key(settings: Settings) -> "Ed25519PrivateKey":
    given = settings.killswitch
    return private_key("killswitch", given.private_key, given.public_key)


@contextmanager
def _looker(settings: Settings, simulate: Path | None, as_json: bool) -> "Iterator[Looker]":
    from trisagion.adapters.gpio import FilePins, Layout, open_pins
    from trisagion.cli.switching import Looker
    from trisagion.safety.killswitch import Switch, SwitchRules

    if simulate is not None:
        try:
            simulate.read_text(encoding="ascii")
        except (OSError, ValueError) as error:
            raise ConfigError(f"--simulate: expected a file of contacts that can be read, found {error}") from None
    given = settings.killswitch
    rules = SwitchRules(
        given.debounce_ms * MILLISECOND_NS, given.cool_down_s * SECOND_NS, given.self_test_s * SECOND_NS
    )
    layout = Layout(
        estop=given.estop_pin,
        tamper=given.tamper_pin,
        key=given.key_pin,
        red=given.red_pin,
        yellow=given.yellow_pin,
        green=given.green_pin,
        buzzer=given.buzzer_pin,
    )
    with closing(open_pins(given.driver, layout) if simulate is None else FilePins(simulate)) as pins:
        yield Looker(pins, rules, as_json, Switch.starting(time.monotonic_ns()))


@contextmanager
def _stopping() -> Iterator[threading.Event]:
    """Give an event that is set by SIGTERM and SIGINT."""
    event = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: event.set())
    yield event
