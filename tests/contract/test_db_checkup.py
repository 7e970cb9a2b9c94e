"""What the doctor says of a database: the server as it is, and each thing that endangers trading."""

import json
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa
import typer

from init import create
from tests.databases import make_base
from tests.mysql_server import MYSQLD
from trisagion.adapters.db import open_database
from trisagion.adapters.db.budget import set_budget
from trisagion.adapters.db.checkup import Found, examine_database
from trisagion.adapters.db.engine import open_engine
from trisagion.adapters.db.partitions import make
from trisagion.cli import doctor
from trisagion.market.months import month_of, shifted


def look(
    url: str, connections: int = 10, packet_bytes: int = 1 << 20, budget: dict[str, int] | None = None
) -> dict[str, Found]:
    """Examine a database; give the findings by name."""
    found = examine_database(url, connections=connections, packet_bytes=packet_bytes, budget=budget)
    return {one.name: one for one in found}


def test_a_database_of_ours_is_well(database_url: str) -> None:
    """Every check passes on the private server and on SQLite, as the writer."""
    found = look(database_url)
    assert [one for one in found.values() if not one.ok] == []
    assert {"db version", "db schema"} <= set(found)
    if "mysql" in database_url:
        assert "has what it needs, table by table" in found["db rights"].detail
        told = "MySQL has no innodb_snapshot_isolation" if MYSQLD else "innodb_snapshot_isolation is ON"
        assert told in found["db snapshots"].detail
        assert found["db version"].detail.startswith("MySQL" if MYSQLD else "MariaDB")


@contextmanager
def set_global(url: str, name: str, value: str) -> Iterator[None]:
    """Set a variable of the server for a while."""
    with open_engine(url).connect() as connection:
        before = connection.exec_driver_sql(f"SELECT @@GLOBAL.{name}").scalar_one()
        connection.exec_driver_sql(f"SET GLOBAL {name} = {value}")
        try:
            yield
        finally:
            shown = f"'{before}'" if isinstance(before, str) else before
            connection.exec_driver_sql(f"SET GLOBAL {name} = {shown}")


@pytest.mark.mariadb
@pytest.mark.parametrize(
    ("variable", "value", "name", "ok", "told"),
    [
        ("innodb_flush_log_at_trx_commit", "2", "db durability", False, "it must be 1"),
        ("max_connections", "20", "db room", False, "max_connections is 20, this machine's processes need 30"),
        ("sql_mode", "''", "db sql_mode", True, "the server's own is not"),
        pytest.param(
            *("innodb_snapshot_isolation", "OFF", "db snapshots", True, "OFF; ON is advised"),
            marks=pytest.mark.skipif(MYSQLD is not None, reason="MariaDB's alone"),
        ),
    ],
)
def test_each_danger_is_told(mariadb_elsewhere: str, variable: str, value: str, name: str, ok: bool, told: str) -> None:
    """A server that loses commits or has no room is bad; what our connections set for themselves is advice."""
    create(mariadb_elsewhere)
    with set_global(mariadb_elsewhere, variable, value):
        found = look(mariadb_elsewhere, connections=30)[name]
    assert (found.ok, told in found.detail) == (ok, True), found


@pytest.mark.mariadb
def test_a_packet_too_small_for_a_shard_and_too_many_rights_are_told(mariadb_elsewhere: str) -> None:
    """The administrator may do more than a platform needs; 2 GiB are more than a statement may have."""
    create(mariadb_elsewhere)
    found = look(mariadb_elsewhere, packet_bytes=2 << 30)
    assert not found["db packet"].ok
    assert found["db rights"].ok
    assert "more than a platform needs" in found["db rights"].detail


@pytest.mark.mariadb
@pytest.mark.parametrize(("user", "ok", "told"), [("reader", True, "to read only"), ("audit", False, "may not read")])
def test_the_rights_of_the_user_in_use_are_read(mariadb_users: dict[str, str], user: str, ok: bool, told: str) -> None:
    """Whoever may not read a table cannot run a platform."""
    found = look(mariadb_users[user])
    assert told in found["db rights"].detail if "db rights" in found else told in str(found)
    assert all(one.ok for one in found.values()) == ok


@pytest.mark.mariadb
def test_the_budget_of_connections_is_held_against_the_server(mariadb_elsewhere: str) -> None:
    """Users who may take each other's connections are bad; one who is not bounded as the settings say is told."""
    create(mariadb_elsewhere, {"writer": "secret"})
    writer = sa.make_url(mariadb_elsewhere).set(username="elsewhere_writer", password="secret")
    url = writer.render_as_string(hide_password=False)
    with open_engine(mariadb_elsewhere).connect() as connection:
        room = int(connection.exec_driver_sql("SELECT @@max_connections").scalar_one())
    fits = {"elsewhere_gateway": 2, "elsewhere_writer": 3}
    assert "elsewhere_writer is not bounded, 3 is expected" in look(url, budget=fits)["db budget"].detail
    with closing(open_database(mariadb_elsewhere)) as database, database.transaction() as tx:
        assert set_budget(tx.session, fits) == ["elsewhere_writer"]
    assert look(url, budget=fits)["db budget"] == Found(
        "db budget", True, f"the users may have 5 connections together, max_connections is {room}"
    )
    assert "is bounded to 3, 4 is expected" in look(url, budget={**fits, "elsewhere_writer": 4})["db budget"].detail
    found = look(url, budget={**fits, "elsewhere_gateway": room})["db budget"]
    assert (found.ok, "bulk work may take what orders need" in found.detail) == (False, True)
    assert look(mariadb_elsewhere, budget=fits)["db budget"].detail.endswith("nothing bounds it but the server")


@pytest.mark.mariadb
def test_months_of_history_that_are_not_made_ahead_are_told(mariadb_elsewhere: str) -> None:
    """Where there is history at all; nothing is lost without them, for the last partition has no end."""
    create(mariadb_elsewhere)
    assert look(mariadb_elsewhere)["db months"].detail == "no history is kept here"
    with open_engine(mariadb_elsewhere).connect() as connection:
        connection.exec_driver_sql("INSERT INTO bar_day VALUES ('ES', 1, 4102358400000000000, 1, '', '', '')")
        connection.commit()
        assert connection.exec_driver_sql("SELECT COUNT(*) FROM bar_day PARTITION (later)").scalar_one() == 1
    found = look(mariadb_elsewhere)["db months"]
    assert (found.ok, "bar_day none; 2 ahead are advised" in found.detail) == (True, True)
    present_ns = month_of(time.time_ns())
    with closing(open_database(mariadb_elsewhere)) as database:
        make(database, [present_ns, shifted(present_ns, 1)])
        assert "2 ahead are advised" in look(mariadb_elsewhere)["db months"].detail
        make(database, [shifted(present_ns, 2)])
    assert "advised" not in look(mariadb_elsewhere)["db months"].detail


@pytest.mark.mariadb
def test_a_right_to_change_what_is_only_added_to_is_told(mariadb_elsewhere: str) -> None:
    """Users of an earlier release have it, and `db init --users` takes no right away."""
    create(mariadb_elsewhere, {"writer": "secret"})
    writer = sa.make_url(mariadb_elsewhere).set(username="elsewhere_writer", password="secret")
    url = writer.render_as_string(hide_password=False)
    assert "table by table" in look(url)["db rights"].detail
    with open_engine(mariadb_elsewhere).connect() as connection:
        connection.exec_driver_sql("GRANT UPDATE ON posting TO 'elsewhere_writer'@'%%'")
    found = look(url)["db rights"]
    assert found.ok
    assert found.detail.endswith("may change posting, which are only added to: REVOKE UPDATE ON each")


def test_a_database_that_cannot_be_used_is_a_finding(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """None there, and one of an older release: the doctor goes on to the end, with exit code 1."""
    url = f"sqlite:///{tmp_path / 'base.sqlite3'}"
    assert "does not exist" in look(url)["db connection"].detail
    make_base(url)
    assert "of an older release, it lacks 0001" in look(url)["db schema"].detail
    with pytest.raises(typer.Exit) as end:
        doctor.command(sets=[f"database.url={url}"], json=True)
    told = {check["name"]: check["ok"] for check in json.loads(capsys.readouterr().out)["checks"]}
    assert end.value.exit_code == 1
    assert (told["db version"], told["db schema"]) == (True, False)
