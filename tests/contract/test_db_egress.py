"""The record of paths, on both servers."""

from trisagion.adapters.db import SqlDatabase
from trisagion.gateway.egress import EgressCount, EgressEvent, What

NOW = 1_700_000_000_000_000_000


def event(number: int, path: str, what: What, session: str = "SIM") -> EgressEvent:
    """An event at its own instant."""
    return EgressEvent(session, NOW + number, path, what, f"because of {number}: ü ‘’")


def test_an_event_is_recorded_once(database: SqlDatabase) -> None:
    """A commit that was kept although it seemed to fail is written again: that changes nothing."""
    with database.transaction() as tx:
        for _ in range(2):
            tx.egress.add(event(1, "a", What.DOWN))
        tx.egress.add(event(1, "b", What.DOWN))
    with database.snapshot() as tx:
        assert tx.egress.events("SIM", 10) == [event(1, "a", What.DOWN), event(1, "b", What.DOWN)]


def test_events_are_counted_by_path_and_kind(database: SqlDatabase) -> None:
    """Each with the newest of its kind, oldest first; sessions are kept apart."""
    with database.transaction() as tx:
        tx.egress.add(event(1, "", What.STARTED))
        for number in (2, 4, 6):
            tx.egress.add(event(number, "a", What.CONNECTED))
            tx.egress.add(event(number + 1, "a", What.LEFT))
        tx.egress.add(event(8, "b", What.CONNECTED))
        tx.egress.add(event(9, "b", What.CONNECTED, "OTHER"))
    with database.snapshot() as tx:
        assert tx.egress.counts("SIM") == [
            EgressCount(event(1, "", What.STARTED), 1),
            EgressCount(event(6, "a", What.CONNECTED), 3),
            EgressCount(event(7, "a", What.LEFT), 3),
            EgressCount(event(8, "b", What.CONNECTED), 1),
        ]
        assert tx.egress.counts("NONE") == []
        assert tx.egress.sessions() == ["OTHER", "SIM"]
        assert [row.at_ns - NOW for row in tx.egress.events("SIM", 2)] == [7, 8]
