"""The worker that owns a session with TWS: `celery -A workers.sessions.ib worker -P solo -Q session.<NAME>`."""

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from celery.worker import state

from trisagion.adapters.venues.ib.configured import ib_config, ib_rule
from trisagion.adapters.venues.ib.session import IbSession
from trisagion.errors import StateError
from trisagion.gateway.ib_guard import VenueRule
from trisagion.market.types import Instrument
from trisagion.services.reserve_ids import ReservedIds
from trisagion.session_ports import ReportSink
from workers.app import house
from workers.sessions.venue import VenueOwner, serve

POLL_S: Final = 0.25
FOUNDED_S_MAX: Final = 60.0
"""How long the account's instruments are waited for: whoever founds it starts when we do."""


def instruments() -> Sequence[Instrument]:
    """Return what is traded, once the account has been founded."""
    deadline = time.monotonic() + FOUNDED_S_MAX
    while True:
        state.maybe_shutdown()
        with house().database.snapshot() as tx:
            found = tx.market.instruments()
        if found:
            return found
        if time.monotonic() > deadline:
            raise StateError(f"expected the instruments of the account within {FOUNDED_S_MAX:.0f} s, found none")
        time.sleep(POLL_S)


class IbOwner(VenueOwner):
    """Owns a session with TWS, whose order ids are reserved in the database."""

    def session(self, sink: ReportSink) -> IbSession:
        """Make the session, not yet started."""
        store = Path(os.environ["TRISAGION_SESSION_STORE"])
        config = ib_config(house().settings.ib, instruments(), house().session_address, store)
        return IbSession(config, sink, house().session_name, ReservedIds(house().database))

    def rule(self, session: IbSession) -> VenueRule:
        """Return how a maker order is kept from taking, for the protocol has no order that only makes."""
        return ib_rule(house().settings.ib, session.config)


serve(IbOwner)
