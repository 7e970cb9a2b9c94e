"""A user's budget of connections on a real server: bulk work never takes the gateway's, and waits for its own."""

import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy as sa

from trisagion.adapters.budget import budget_of
from trisagion.adapters.db import Crowded, SqlDatabase, engine, open_database
from trisagion.adapters.db.budget import set_budget
from trisagion.errors import ConfigError
from trisagion.settings import load

pytestmark = pytest.mark.mariadb

BUDGET = {"crowd_gateway": 3, "crowd_writer": 4}
BULK_THREADS = 50
UNITS = 3
HELD_S = 0.02
_AT_WORK = sa.text("SELECT COUNT(*) FROM information_schema.processlist WHERE user = :user AND info LIKE '%SLEEP%'")


@pytest.fixture
def root(on_mariadb: SqlDatabase, short_directory: Path) -> Iterator[SqlDatabase]:
    """Give the database to whoever manages users."""
    path = short_directory / "mariadb.sock"
    with closing(open_database(f"mysql://root@localhost/{on_mariadb.engine.url.database}?unix_socket={path}")) as root:
        yield root


@pytest.fixture
def urls(root: SqlDatabase, mariadb_url: str) -> Iterator[dict[str, str]]:
    """Give the URL of each user with a budget."""
    url = sa.make_url(mariadb_url)
    with root.transaction() as tx:
        for user in BUDGET:
            tx.session.connection.exec_driver_sql(f"CREATE USER '{user}'@'127.0.0.1' IDENTIFIED BY 'canary'")
            tx.session.connection.exec_driver_sql(f"GRANT ALL ON {url.database}.* TO '{user}'@'127.0.0.1'")
        assert set_budget(tx.session, BUDGET) == sorted(BUDGET)
    yield {user: url.set(username=user, password="canary").render_as_string(hide_password=False) for user in BUDGET}
    with root.transaction() as tx:
        for user in BUDGET:
            tx.session.connection.exec_driver_sql(f"DROP USER '{user}'@'127.0.0.1'")


def test_bulk_work_at_its_limit_neither_fails_nor_keeps_the_gateway_out(
    urls: dict[str, str], root: SqlDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """50 threads share 4 connections and all do their work; meanwhile the gateway connects whenever it tries."""
    monkeypatch.setattr(engine, "CROWDED_S_MAX", 120.0)
    bulk, gateway = open_database(urls["crowd_writer"]), open_database(urls["crowd_gateway"])
    done, failed, busy = [0], [], threading.Lock()

    def work() -> None:
        for _ in range(UNITS):
            try:
                with bulk.transaction() as tx:
                    tx.session.scalar(sa.text(f"SELECT SLEEP({HELD_S})"))
            except Exception as error:  # noqa: BLE001 # whatever it is, the test is to say it
                failed.append(error)
            with busy:
                done[0] += 1

    threads = [threading.Thread(target=work) for _ in range(BULK_THREADS)]
    for thread in threads:
        thread.start()
    most, connected = 0, 0
    while any(thread.is_alive() for thread in threads):
        gateway.engine.connect().close()  # not through the wait: refused would be refused here
        connected += 1
        with root.snapshot() as tx:
            most = max(most, tx.session.scalar(_AT_WORK, {"user": "crowd_writer"}))
    assert failed == []
    assert done == [BULK_THREADS * UNITS]
    assert connected > 0
    assert 1 < most <= BUDGET["crowd_writer"]


def test_who_is_over_budget_waits_with_jitter_and_is_then_told(
    urls: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pauses that grow, none like another, and one sentence; as soon as a connection ends, the next may come."""
    monkeypatch.setattr(engine, "CROWDED_S_MAX", 1.0)
    pauses: list[float] = []
    really_sleep = time.sleep

    def sleep(seconds: float) -> None:
        pauses.append(seconds)
        really_sleep(seconds)

    monkeypatch.setattr("time.sleep", sleep)
    gateway = open_database(urls["crowd_gateway"])
    held = [gateway.engine.connect() for _ in range(BUDGET["crowd_gateway"])]

    def look() -> int:
        with gateway.snapshot() as tx:
            found: int = tx.session.scalar(sa.text("SELECT 7"))
        return found

    begun_s = time.monotonic()
    with pytest.raises(Crowded, match="expected a connection within this user's limit, found all taken") as told:
        look()
    assert time.monotonic() - begun_s >= 1.0
    assert "canary" not in str(told.value)
    assert len(set(pauses)) == len(pauses) >= 3
    assert all(0 < pause <= engine.CROWDED_PAUSE_S_MAX for pause in pauses)
    monkeypatch.setattr(engine, "CROWDED_S_MAX", 60.0)
    threading.Timer(0.2, held.pop().close).start()
    assert look() == 7
    for connection in held:
        connection.close()


def test_a_budget_above_the_servers_room_is_refused(root: SqlDatabase, urls: dict[str, str]) -> None:
    """Together the users would starve each other after all; nothing is changed."""
    too_much = dict.fromkeys(BUDGET, 10_000)
    with (
        pytest.raises(ConfigError, match="expected together less than the server's max_connections"),
        root.transaction() as tx,
    ):
        set_budget(tx.session, too_much)
    with closing(open_database(urls["crowd_gateway"])) as gateway, gateway.snapshot() as tx:
        assert tx.session.scalar(sa.text("SELECT @@SESSION.max_user_connections")) == BUDGET["crowd_gateway"]


def test_the_settings_have_a_budget_for_each_user_of_a_database() -> None:
    """The roles are those of `init/users/`; bulk work has the most, and the private server has room for all."""
    budget = budget_of(load(None, {}, {"database.writer_connections": 9_000}), "shop")
    assert budget == {"shop_gateway": 200, "shop_writer": 9_000, "shop_audit": 20, "shop_reader": 50}
