"""What must hold before a run begins: data that can be replayed, room on the disk, a broker that answers.

All of it is asked before anything is made or started, so that a run that cannot be leaves nothing behind.
"""

import math
import os
import shutil
import socket
import time
from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from importlib import import_module
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from trisagion.adapters.dataspec import DataSpec, entry
from trisagion.adapters.exchanges import expect_exchanges
from trisagion.cli.worker import refuse_what_has_no_line
from trisagion.clock import iso
from trisagion.errors import ConfigError, DataError, StateError
from trisagion.gateway.ib_guard import check_environment
from trisagion.market.instruments import BUNDLED
from trisagion.market.types import Instrument, Tape
from trisagion.services.reconcile import DROP_COPY, VENUE
from trisagion.settings import DIRECT, FIX_SIM, IB_SIM, Replay, Settings, Terms, references, resolve
from trisagion.units import plain

MIB: Final = 1 << 20

BEGIN_BYTES_MIN: Final = 128 * MIB
"""Free space without which no run begins. Measured: a replay of the bundled ES data writes 60 MiB."""

STOP_BYTES_MIN: Final = 32 * MIB
"""Free space below which a run is stopped in order: what cancels orders and books their reports writes far less."""

BROKER_S_MAX: Final = 5.0

SIMULATED_MAKER: Final = "guarded"
"""How maker orders go to the bundled TWS: refusing them all, as is usual, there would be nothing to simulate."""


def examine(settings: Settings) -> list[str]:
    """Refuse what cannot be run; return what a person should know about what can."""
    if settings.platform.profile == "fleet" and find_spec("flower") is None:
        raise ConfigError(
            "platform.profile: fleet needs Flower, which is not installed; "
            "start it with `make fleet`, or pip install 'trisagion[fleet]'"
        )
    if DROP_COPY in settings.reconcile.observers and not settings.fix.drop_copy:
        raise ConfigError(
            f"reconcile.observers: {DROP_COPY} can only observe where there is one; name its CompID in fix.drop_copy"
        )
    unknown = [
        name for name in settings.reconcile.observers if name not in {VENUE, DROP_COPY, *settings.observe.sources}
    ]
    if unknown:
        raise ConfigError(
            f"reconcile.observers: expected {VENUE}, {DROP_COPY} or names of [observe.sources.NAME], "
            f"found {', '.join(unknown)}"
        )
    _refuse_a_venue_that_cannot_be(settings)
    _refuse_clamps_that_cannot_be(settings)
    state = Path(settings.platform.state).absolute()
    if "?" in str(state):
        raise ConfigError(f"platform.state: {state} has a '?', which the URL of its database cannot hold; name another")
    _refuse_a_full_disk(state)
    refuse_what_has_no_line(settings)
    for name in settings.egress.use:
        if name != DIRECT:
            resolve(settings.egress.paths[name].password, os.environ)
    if settings.broker.url:
        _refuse_a_silent_broker(resolve(settings.broker.url, os.environ))
    specs = specs_of(settings)
    notes = _guarded(settings) + _aged(settings)
    if specs[0].bundled and specs == [DataSpec(specs[0].source)]:
        instruments = [BUNDLED[specs[0].source]]
    else:
        tapes, warned = _read(specs)
        notes += warned
        refuse_strangers(tapes)
        instruments = [tape.instrument for tape in tapes]
    expect_exchanges(settings.calendar.exchanges, {each.symbol for each in instruments})
    return notes + _crowd(settings, instruments) + _survivors(settings, instruments)


def specs_of(settings: Settings) -> list[DataSpec]:
    """Return what is replayed, in order of symbol where there are several.

    What is said of one symbol goes before what is said of all.
    """
    given = settings.replay
    specs = [_spec(given, *entry(text)) for text in given.data]
    if len(specs) == 1 and not given.instruments:
        return specs
    sources: dict[str, list[str]] = {}
    for spec in specs:
        sources.setdefault(spec.name, []).append(spec.source)
    problems = [
        f"replay.data: expected each symbol once, found {name} for {' and '.join(found)}; name them apart: SYMBOL=FILE"
        for name, found in sources.items()
        if len(found) > 1
    ]
    problems += [
        f"replay.instruments.{name}: expected a symbol of the data ({', '.join(sources)}), found none"
        for name in given.instruments
        if name not in sources
    ]
    if problems:
        raise ConfigError("\n".join(problems))
    return sorted((_on_its_terms(spec, given) for spec in specs), key=lambda spec: spec.name)


def resolved(text: str) -> str:
    """Return an entry of `replay.data` with the whole path of its file."""
    symbol, source = entry(text)
    place = source if DataSpec(source).bundled else str(Path(source).resolve())
    return place if symbol is None else f"{symbol}={place}"


def _spec(given: Replay, symbol: str | None, source: str) -> DataSpec:
    if symbol is not None and given.symbol:
        raise ConfigError(f"replay.symbol: expected none beside {symbol}={source}, found {given.symbol!r}")
    return DataSpec(
        source=source,
        zone=given.zone or None,
        symbol=symbol or given.symbol or None,
        tick_size=given.tick_size,
        multiplier=given.multiplier,
        fee_rate=given.fee_rate,
    )


def _on_its_terms(spec: DataSpec, given: Replay) -> DataSpec:
    own = dict(given.instruments.get(spec.name, Terms()))
    return replace(spec, **{name: value for name, value in own.items() if value is not None})


def _read(specs: Sequence[DataSpec]) -> tuple[list[Tape], list[str]]:
    """Return the tapes and what is to be known of them; the last row of a user's file may be the bad one."""
    from trisagion.adapters.files import read, warnings

    tapes, notes, problems = [], [], []
    for spec in specs:
        try:
            tape, found = read(spec)
        except DataError as error:
            problems.append(str(error))
        else:
            tapes.append(tape)
            notes += warnings(found)
    if problems:
        raise DataError("\n".join(problems))
    return tapes, notes


def refuse_strangers(tapes: Sequence[Tape]) -> None:
    """Refuse instruments that cannot share one account and one clock, naming each problem."""
    currencies: dict[str, list[str]] = {}
    for tape in tapes:
        currencies.setdefault(tape.instrument.currency, []).append(tape.instrument.symbol)
    problems = []
    if len(currencies) > 1:
        told = "; ".join(f"{' and '.join(symbols)} in {currency}" for currency, symbols in currencies.items())
        problems.append(f"replay.data: expected instruments in one currency, found {told}")
    spans = sorted((int(tape.ts_ns[0]), int(tape.ts_ns[-1]), tape.instrument.symbol) for tape in tapes)
    last = spans[0]
    for span in spans[1:]:
        if span[0] > last[1]:
            told = " and ".join(f"{symbol} from {iso(begin)} to {iso(end)}" for begin, end, symbol in (last, span))
            problems.append(f"replay.data: expected data that overlap in time, found {told}")
        last = max(last, span, key=lambda each: each[1])
    if problems:
        raise ConfigError("\n".join(problems))


def room(folder: Path) -> str | None:
    """Say that a folder's disk is so full that a run must stop, None while it is not."""
    free = shutil.disk_usage(folder).free
    return f"{folder.absolute()}: {free // MIB} MiB are left on its disk" if free < STOP_BYTES_MIN else None


def refuse_a_taken_port(setting: str, port: int) -> None:
    """Refuse a port on which somebody on this machine listens."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("", port))
        except OSError as error:
            raise ConfigError(
                f"{setting}: port {port} cannot be listened to ({error.strerror}); choose another, or 0 for a free one"
            ) from None


def _refuse_a_venue_that_cannot_be(settings: Settings) -> None:
    """Refuse what the settings say of the venue where there is no such venue, or no way to log on to it."""
    from trisagion.wiring import House

    refuse_unfit_secrets(settings)
    if settings.platform.venue == FIX_SIM:
        _ = House(settings).profile
        resolve(settings.fix.password, os.environ)
    if settings.platform.venue == IB_SIM:
        check_environment(settings.ib.environment, settings.ib.account, settings.ib.port)


def _refuse_clamps_that_cannot_be(settings: Settings) -> None:
    """Refuse clamps that wait for what nobody will tell them."""
    from trisagion.wiring import House

    _ = House(settings).clamping


def _guarded(settings: Settings) -> list[str]:
    """Say that the simulated TWS is sent maker orders, which IB's protocol cannot mark as such."""
    if settings.platform.venue != IB_SIM or settings.ib.maker == SIMULATED_MAKER:
        return []
    how = "IB's protocol has no post-only, so an order is sent only at least one tick behind the opposite quote"
    return [f"ib.maker: {SIMULATED_MAKER} on the bundled TWS: {how}"]


def uses_vault(settings: Settings) -> bool:
    """Tell whether a setting refers to an entry of the vault."""
    return any(reference.startswith("vault:") for reference in references(settings).values())


def _aged(settings: Settings) -> list[str]:
    """Say which keys and secrets of the vault are too old."""
    if not uses_vault(settings):
        return []
    from trisagion.settings.vault import Vault

    return Vault.of(os.environ).aged(time.time_ns())


def refuse_unfit_secrets(settings: Settings) -> None:
    """Refuse entries of the vault that are for another environment or another venue."""
    given = references(settings)
    if uses_vault(settings):
        from trisagion.settings.vault import refuse_unfit

        refuse_unfit(given, settings.platform.environment, settings.fix.target, os.environ)


def _refuse_a_full_disk(state: Path) -> None:
    folder = next(folder for folder in (state, *state.parents) if folder.is_dir())
    free = shutil.disk_usage(folder).free
    if free < BEGIN_BYTES_MIN:
        raise StateError(
            f"{folder}: {free // MIB} MiB are left on its disk, a run needs {BEGIN_BYTES_MIN // MIB} to begin; "
            "free some space, or name another directory with --state"
        )


def _crowd(settings: Settings, instruments: Sequence[Instrument]) -> list[str]:
    """Refuse more runs than the instruments carry, rather than keep fewer; say which instrument gets none."""
    from trisagion.cohort.supervise import runs_kept
    from trisagion.wiring import House

    rules = House(settings).cohort_rules
    asked, each = rules.desired_runs, rules.runs_per_leverage_max
    kept = runs_kept(rules, instruments)
    carried = sum(kept.values())
    if asked > carried:
        leverage = sum((instrument.leverage_max for instrument in instruments), Decimal(0))
        enough = next(
            more
            for more in count(math.ceil(asked / leverage))
            if sum(runs_kept(replace(rules, runs_per_leverage_max=more), instruments).values()) == asked
        )
        whose = "its" if len(instruments) == 1 else "their"
        raise ConfigError(
            f"cohort.runs: expected at most {carried} runs on {' and '.join(kept)} ({each} for each of {whose} "
            f"{plain(leverage)} units of leverage), found {asked}; for more, set "
            f"cohort.runs_per_leverage_max to {enough}"
        )
    return [
        f"{symbol}: none of the {asked} runs falls on it, so it is not traded; its share goes by leverage_max"
        for symbol, runs in kept.items()
        if not runs
    ]


def _survivors(settings: Settings, instruments: Sequence[Instrument]) -> list[str]:
    """Refuse a file of survivors that cannot be used; say so when not all of it will be."""
    if not settings.cohort.survivors:
        return []
    from trisagion.cohort.supervise import survivors_max
    from trisagion.wiring import House

    house = House(settings)
    found, taken = len(house.survivors(instruments)), survivors_max(house.cohort_rules, instruments)
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
