"""The worker that owns a FIX session: `celery -A workers.sessions.fix worker -P solo -Q session.<NAME>`."""

import os
from pathlib import Path

from trisagion.adapters.password import Password
from trisagion.adapters.venues.fix.initiator import FixSession
from trisagion.adapters.venues.fix.session import FixConfig
from trisagion.session_ports import ReportSink
from trisagion.settings import resolve
from workers.app import house
from workers.sessions.venue import VenueOwner, serve


def fix_session(sink: ReportSink) -> FixSession:
    """Make the session; its message store is in the directory of the run."""
    settings = house().settings
    given = settings.fix
    host, port = house().session_address
    config = FixConfig(
        host=host,
        port=port,
        sender=given.sender,
        target=given.target,
        store_dir=Path(os.environ["TRISAGION_SESSION_STORE"]),
        heartbeat_s=given.heartbeat_s,
        account=settings.platform.account,
        profile=house().profile,
        username=given.username,
        password=Password(lambda: resolve(given.password, os.environ)),
    )
    return FixSession(config, sink, venue=house().session_name)


class FixOwner(VenueOwner):
    """Owns a FIX session."""

    def session(self, sink: ReportSink) -> FixSession:
        """Make the session, not yet started."""
        return fix_session(sink)


serve(FixOwner)
