"""The worker that owns the paper venue: `celery -A workers.sessions.paper worker -P solo -Q session.<NAME>`."""

import os
from pathlib import Path

from trisagion.adapters.dataspec import DataSpec
from trisagion.adapters.venues.paper import PaperConfig, PaperSession
from trisagion.session_ports import ReportSink
from workers.app import house
from workers.sessions.venue import VenueOwner, serve


class PaperOwner(VenueOwner):
    """Owns a session whose venue is in this process, on the tapes of the run."""

    def session(self, sink: ReportSink) -> PaperSession:
        """Make the session, not yet started."""
        config = PaperConfig(
            specs=tuple(DataSpec.from_json(text) for text in os.environ["TRISAGION_DATA_SPEC"].split("\n")),
            account=house().settings.platform.account,
            store_dir=Path(os.environ["TRISAGION_SESSION_STORE"]),
            control=Path(os.environ["TRISAGION_VENUE_CONTROL"]),
        )
        return PaperSession(config, sink, venue=house().session_name)


serve(PaperOwner)
