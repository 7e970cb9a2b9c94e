"""What the doctor says of a database: the server as it is, and each thing that endangers trading."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa
import typer

from init import create
from tests.databases import make_base
from trisagion.adapters.db.checkup import Found, examine_database
from trisagion.adapters.db.engine import open_engine
from trisagion.cli import doctor


def look(url: str, connections: int = 10, packet_bytes: int = 1 << 20) -> dict[str, Found]:
    """Examine a database; give the findings by name."""
    return {found.name: found for found in examine_database(url, connections=connections, packet_bytes=packet_bytes)}


def test_a_database_of_ours_is_well(database_url: str) -> None:
    """Every check passes on the private MariaDB and on SQLite, as the writer."""
    found = look(database_url)
    assert [one for one in found.values() if not one.ok] == []
    assert {"db version", "db schema"} <= set(found)
    if "mysql" in database_url:
        assert "has what it needs, table by table" in found["db rights"].detail
        assert "innodb_snapshot_isolation is ON" in found["db snapshots"].detail


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
        ("innodb_snapshot_isolation", "OFF", "db snapshots", True, "OFF; ON is advised"),
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
