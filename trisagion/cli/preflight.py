"""What must hold before a run begins: data that can be replayed, room on the disk, a broker that answers.

All of it is asked before anything is made or started, so that a run that cannot be leaves nothing behind.
"""

import math
import os
import shutil
import socket
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from trisagion.adapters.dataspec import DataSpec
from trisagion.errors import ConfigError, StateError
from trisagion.market.instruments import BUNDLED
from trisagion.market.types import Instrument
from trisagion.settings import Settings, resolve
from trisagion.units import plain

MIB: Final = 1 << 20

BEGIN_BYTES_MIN: Final = 128 * MIB
"""Free space without which no run begins. Measured: a replay of the bundled ES data writes 60 MiB."""

STOP_BYTES_MIN: Final = 32 * MIB
"""Free space below which a run is stopped in order: what cancels orders and books their reports writes far less."""

BROKER_S_MAX: Final = 5.0


def examine(settings: Settings) -> list[str]:
    """Refuse what cannot be run; return what a person should know about what can."""
    if settings.platform.profile == "fleet" and find_spec("flower") is None:
        raise ConfigError(
            "platform.profile: fleet needs Flower, which is not installed; "
            "start it with `make fleet`, or pip install 'trisagion[fleet]'"
        )
    state = Path(settings.platform.state).absolute()
    if "?" in str(state):
        raise ConfigError(f"platform.state: {state} has a '?', which the URL of its database cannot hold; name another")
    _refuse_a_full_disk(state)
    if settings.broker.url:
        _refuse_a_silent_broker(resolve(settings.broker.url, os.environ))
    spec = spec_of(settings)
    if spec.bundled:
        _refuse_a_crowd(settings, BUNDLED[spec.source])
        return _survivors(settings, BUNDLED[spec.source])
    # The last row of a user's file may be the bad one, so it is read whole.
    from trisagion.adapters.files import read, warnings

    tape, found = read(spec)
    _refuse_a_crowd(settings, tape.instrument)
    return warnings(found) + _survivors(settings, tape.instrument)


def spec_of(settings: Settings) -> DataSpec:
    """Return what is replayed."""
    given = settings.replay
    return DataSpec(
        source=given.data,
        zone=given.zone or None,
        symbol=given.symbol or None,
        tick_size=given.tick_size,
        multiplier=given.multiplier,
        fee_rate=given.fee_rate,
    )


def room(folder: Path) -> str | None:
    """Say that a folder's disk is so full that a run must stop, None while it is not."""
    free = shutil.disk_usage(folder).free
    return f"{folder.absolute()}: {free // MIB} MiB are left on its disk" if free < STOP_BYTES_MIN else None


def refuse_a_taken_port(port: int) -> None:
    """Refuse a port on which somebody on this machine listens."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("", port))
        except OSError as error:
            raise ConfigError(
                f"fix.port: port {port} cannot be listened to ({error.strerror}); choose another, or 0 for a free one"
            ) from None


def _refuse_a_full_disk(state: Path) -> None:
    folder = next(folder for folder in (state, *state.parents) if folder.is_dir())
    free = shutil.disk_usage(folder).free
    if free < BEGIN_BYTES_MIN:
        raise StateError(
            f"{folder}: {free // MIB} MiB are left on its disk, a run needs {BEGIN_BYTES_MIN // MIB} to begin; "
            "free some space, or name another directory with --state"
        )


def _refuse_a_crowd(settings: Settings, instrument: Instrument) -> None:
    """Refuse more runs than the instrument carries, rather than keep fewer than were asked for."""
    asked, each = settings.cohort.runs, settings.cohort.runs_per_leverage_max
    carried = int(each * instrument.leverage_max)
    if asked > carried:
        raise ConfigError(
            f"cohort.runs: expected at most {carried} runs on {instrument.symbol} ({each} for each of its "
            f"{plain(instrument.leverage_max)} units of leverage), found {asked}; for more, set "
            f"cohort.runs_per_leverage_max to {math.ceil(asked / instrument.leverage_max)}"
        )


def _survivors(settings: Settings, instrument: Instrument) -> list[str]:
    """Refuse a file of survivors that cannot be used; say so when not all of it will be."""
    if not settings.cohort.survivors:
        return []
    from trisagion.cohort.supervise import survivors_max
    from trisagion.wiring import House

    house = House(settings)
    found, taken = len(house.survivors(instrument)), survivors_max(house.cohort_rules, [instrument])
    if found <= taken:
        return []
    floor = settings.cohort.random_share_min
    told = f"the first {taken} of {found} survivors begin: at least {floor:.4g} of the cohort is drawn at random"
    return [f"{settings.cohort.survivors}: {told} (cohort.random_share_min)"]


def _refuse_a_silent_broker(url: str) -> None:
    """Ask a configured broker for one answer: without it every process would only wait."""
    kombu = import_module("kombu")  # half typed, and needed only here
    parts = urlsplit(url)
    where = f"{parts.scheme}://{parts.hostname or ''}{f':{parts.port}' if parts.port else ''}{parts.path}"
    options = (
        {"socket_connect_timeout": BROKER_S_MAX, "socket_timeout": BROKER_S_MAX} if "redis" in parts.scheme else {}
    )
    connection = kombu.Connection(url, connect_timeout=BROKER_S_MAX, transport_options=options)
    try:
        connection.connect()
    except (OSError, kombu.exceptions.KombuError, *connection.connection_errors, *connection.channel_errors) as error:
        raise ConfigError(f"broker.url: {where} does not answer: check that it runs and lets us in ({error})") from None
    finally:
        connection.release()
