"""A session with TWS through proxies, by the forwarder that knows of its venue nothing but an address."""

from pathlib import Path

from tests.contract.venues import IbStage, about, at, at_venue, booked, order
from tests.integration.proxies import LOOPBACK, FaultyProxy, free_port
from tests.integration.test_egress_fix import HEARTBEAT_S, Watched, forwarder
from trisagion.adapters.db import open_database
from trisagion.orders.state import OrderState
from trisagion.settings import load


def test_a_session_with_tws_changes_its_path_and_hears_of_what_was_filled_meanwhile(
    tmp_path: Path, sqlite_url: str
) -> None:
    """The first proxy resets everything and takes nobody; the second carries on, and each fill is booked once."""
    stage, database = IbStage(tmp_path), open_database(sqlite_url)
    with FaultyProxy() as first, FaultyProxy() as second:
        paths = {
            name: {"kind": "socks5", "host": LOOPBACK, "port": proxy.port}
            for name, proxy in (("first", first), ("second", second))
        }
        given: dict[str, object] = {
            "platform.venue": "ib-sim",
            "database.url": sqlite_url,
            "ib.port": stage.market.port,
            "ib.heartbeat_s": HEARTBEAT_S,
            "egress.port": free_port(),
            "egress.use": ["first", "second"],
            "egress.paths": paths,
        }
        configured = load(None, {}, given)
        stage.address = (LOOPBACK, configured.egress.port)
        try:
            with forwarder(configured):
                stage.open()
                line = Watched(stage.sink, database, "IB")
                line.until(lambda: line.carrier() == "first", "the first path")
                assert stage.session.send_new(order("a"), at(1))
                about(stage.sink, "a", lambda report: report.ord_status is OrderState.NEW)
                logons = stage.sink.logons
                first.refuse()
                stage.control.play(at(15))
                stage.sink.wait(lambda: stage.sink.logons > logons)
                about(stage.sink, "a", lambda report: report.fills and report.leaves_qty == 0)
                line.until(lambda: line.carrier() == "second", "the second path")
                told, made = booked(stage.sink), at_venue(stage)
        finally:
            stage.close()
            database.close()
    assert [one.exec_id for one in told] == [fill["exec_id"] for fill in made]
