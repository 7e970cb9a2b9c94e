"""From the settings to what a session with TWS is given: `[ib]`, and of each instrument what `[ib]` leaves open."""

from collections.abc import Iterable
from decimal import Decimal
from pathlib import Path

from trisagion.adapters.venues.ib.connection import Where
from trisagion.adapters.venues.ib.ears import IbContract
from trisagion.adapters.venues.ib.session import IbConfig
from trisagion.errors import ConfigError
from trisagion.gateway.ib_guard import Making, ResetWindow, VenueRule, check_environment
from trisagion.market.types import Instrument
from trisagion.settings import Ib, IbTerms


def ib_config(given: Ib, instruments: Iterable[Instrument], address: tuple[str, int], store_dir: Path) -> IbConfig:
    """Return the session's configuration; `address` is TWS', or that of the forwarder before it.

    Raises
    ------
    ConfigError
        Account, port and environment do not belong together.
    """
    # The port that was configured: that of a forwarder says nothing of what is behind it.
    check_environment(given.environment, given.account, given.port)
    host, port = address
    return IbConfig(
        host=host,
        port=port,
        client_id=given.client_id,
        account=given.account,
        environment=given.environment,
        contracts={each.symbol: _contract(each, given.contracts.get(each.symbol, IbTerms())) for each in instruments},
        store_dir=store_dir,
        heartbeat_s=given.heartbeat_s,
        messages_per_s=given.messages_per_s,
        reset_windows=tuple(ResetWindow.parse(f"{window} {given.reset_zone}") for window in given.reset_windows),
    )


def reader_of(given: Ib, client_id: int, named: str) -> Where:
    """Return where a client that only asks connects; `named` is the setting of its client id.

    Raises
    ------
    ConfigError
        There is no port, or the client id is the session's.
    """
    if given.port == 0:
        raise ConfigError("ib.port: expected the port of a TWS, found 0, which is a free one of the simulator's")
    if client_id == given.client_id:
        raise ConfigError(f"{named}: expected another than {client_id}, which is the session's")
    contracts = {
        symbol: IbContract(
            symbol=symbol,
            sec_type=terms.sec_type,
            exchange=terms.exchange,
            currency=terms.currency,
            local_symbol=terms.local_symbol,
            last_trade_date=terms.last_trade_date,
            multiplier=terms.multiplier or Decimal(1),
            tick=terms.tick_size,
        )
        for symbol, terms in given.contracts.items()
    }
    return Where(given.host, given.port, client_id, given.account, contracts, given.reset_zone)


def ib_rule(given: Ib, config: IbConfig) -> VenueRule:
    """Return what an order must keep to before it may go there."""
    routes = {symbol: contract.exchange for symbol, contract in config.contracts.items()}
    return VenueRule(Making(given.maker), routes, config.reset_windows)


def _contract(instrument: Instrument, terms: IbTerms) -> IbContract:
    """What has a multiplier is taken for a future, anything else for a stock, as the bundled TWS takes it."""
    return IbContract(
        symbol=instrument.symbol,
        sec_type=terms.sec_type or ("STK" if instrument.multiplier == 1 else "FUT"),
        exchange=terms.exchange or instrument.venue,
        currency=terms.currency or instrument.currency,
        local_symbol=terms.local_symbol,
        last_trade_date=terms.last_trade_date,
        multiplier=terms.multiplier or instrument.multiplier,
        tick=terms.tick_size or instrument.tick_size,
    )
