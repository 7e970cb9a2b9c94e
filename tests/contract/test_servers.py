"""The private servers: they answer when they are given out, keep their data, and leave nothing behind."""

import os
from pathlib import Path

import pytest
import redis as client
import sqlalchemy as sa

from init import create
from trisagion.adapters import servers
from trisagion.adapters.db import open_database
from trisagion.errors import ConfigError, StateError


@pytest.mark.mariadb
def test_a_mariadb_keeps_its_data_and_its_password(
    tmp_path: Path, short_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Started again on the same folder it has the same rows; stopped, it is gone; no other user reads the password.

    The folder may be given from where we stand, read otherwise by MariaDB, and have a space, split by its script.
    """
    monkeypatch.chdir(tmp_path)
    with servers.mariadb(Path("m m"), short_directory / "b") as url:
        create(url)
        database = open_database(url)
        with database.transaction() as tx:
            tx.control.add_event("kind", "subject", {}, 1)
        database.close()
        pid = int((tmp_path / "m m" / "pid").read_text(encoding="ascii"))
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    with servers.mariadb(tmp_path / "m m", short_directory / "b") as again:
        assert sa.make_url(again).password == sa.make_url(url).password
        database = open_database(again)
        with database.snapshot() as tx:
            assert tx.session.scalar(sa.text("SELECT COUNT(*) FROM event")) == 1
            settings = tx.session.row(
                sa.text("SELECT @@innodb_flush_log_at_trx_commit, @@innodb_snapshot_isolation, @@max_connections")
            )
        database.close()
    assert tuple(settings) == (1, 1, servers.CONNECTIONS_MAX)
    assert [(tmp_path / "m m" / name).stat().st_mode & 0o777 for name in ("password", "users.sql")] == [0o600, 0o600]


@pytest.mark.mariadb
def test_the_users_of_a_mariadb_have_their_budgets(tmp_path: Path, short_directory: Path) -> None:
    """Each may work on the database with the same password, and have so many connections; all together fit."""
    with servers.mariadb(tmp_path / "m", short_directory / "e", budget={"trisagion_writer": 7}) as url:
        create(url)
        database = open_database(url.replace("//trisagion:", "//trisagion_writer:"))
        with database.snapshot() as tx:
            grants = [str(row[0]) for row in tx.session.rows(sa.text("SHOW GRANTS"))]
    assert "MAX_USER_CONNECTIONS 7" in grants[0]
    with (
        pytest.raises(ConfigError, match=f"max_connections, {servers.CONNECTIONS_MAX}, found 20000"),
        servers.mariadb(tmp_path / "n", short_directory / "e", budget={"trisagion_writer": 20_000}),
    ):
        pass


@pytest.mark.redis
def test_a_redis_keeps_its_data_and_refuses_when_full(tmp_path: Path, short_directory: Path) -> None:
    """An append-only file and `noeviction`: a broker must not forget, and must not evict."""
    for expected in (None, b"1"):
        with servers.redis(tmp_path / "r", short_directory / "c") as url:
            connection = client.Redis(unix_socket_path=url.removeprefix("redis+socket://"))
            assert connection.get("key") == expected
            connection.set("key", "1")
            assert connection.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
            connection.close()
    assert not (short_directory / "c" / "redis.sock").exists()


@pytest.mark.redis
def test_a_server_that_does_not_start_is_told_with_its_log(tmp_path: Path, short_directory: Path) -> None:
    """The end of the log is in the error."""
    (tmp_path / "r" / "appendonlydir").mkdir(parents=True)
    (tmp_path / "r" / "appendonlydir" / "appendonly.aof.manifest").write_text("nonsense\n", encoding="ascii")
    (tmp_path / "r" / "appendonly.aof").write_text("nonsense\n", encoding="ascii")
    with pytest.raises(StateError, match="redis did not start"), servers.redis(tmp_path / "r", short_directory / "d"):
        pass


def test_a_missing_program_is_told_with_its_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What to install."""
    monkeypatch.setattr("shutil.which", lambda *_args, **_kwargs: None)
    with pytest.raises(ConfigError, match="apt-get install mariadb-server"), servers.mariadb(tmp_path, tmp_path):
        pass


def test_a_path_too_long_for_a_socket_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before anything is started."""
    monkeypatch.setattr(servers, "_redis_program", lambda: "redis-server")
    with (
        pytest.raises(ConfigError, match="too long for a socket"),
        servers.redis(tmp_path / "r", tmp_path / ("x" * 100)),
    ):
        pass
