"""A private MySQL in the place of the tests' MariaDB: `make test-mysql`, or MYSQLD=/path/to/mysqld for another one."""

import getpass
import os
import secrets
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy as sa

from trisagion.adapters.db.engine import open_engine
from trisagion.adapters.db.faults import Unreachable

START_S_MAX = 120.0

MYSQLD = os.environ.get("MYSQLD")
"""The MySQL that serves the tests; None: a MariaDB does."""


@contextmanager
def mysql(program: str, directory: Path, sockets: Path) -> Iterator[str]:
    """Run a MySQL on a new folder; give the URL, over TCP, of a user with all rights on its one database."""
    sockets.mkdir(mode=0o700, parents=True, exist_ok=True)
    alone = {**os.environ, "TMPDIR": str(sockets)}
    as_root = ["--user=root"] if os.geteuid() == 0 else []
    path, log, port = sockets / "mariadb.sock", directory / "mysql.log", _free_port()
    common = [program, "--no-defaults", *as_root, f"--datadir={directory / 'data'}", "--secure-file-priv=NULL"]
    with log.open("wb") as output:
        subprocess.run([*common, "--initialize-insecure"], env=alone, stdout=output, stderr=output, check=True)
        options = [
            *(f"--socket={path}", "--bind-address=127.0.0.1", f"--port={port}", "--mysqlx=OFF", "--skip-name-resolve"),
            *("--max-connections=500", "--max-allowed-packet=1G", "--performance-schema=OFF", "--skip-log-bin"),
            "--innodb-rollback-on-timeout=ON",
        ]
        server = subprocess.Popen([*common, *options], env=alone, stdout=output, stderr=output)
    try:
        owner = f"mysql://{getpass.getuser()}@localhost/{{}}?unix_socket={path}"
        password = secrets.token_urlsafe(24)
        _answered(server, owner.format("information_schema"), log)
        with open_engine(owner.format("information_schema")).connect() as connection:
            connection.exec_driver_sql("CREATE DATABASE trisagion CHARACTER SET utf8mb4 COLLATE utf8mb4_bin")
            connection.exec_driver_sql(f"CREATE USER 'trisagion'@'127.0.0.1' IDENTIFIED BY '{password}'")
            connection.exec_driver_sql("GRANT ALL ON trisagion.* TO 'trisagion'@'127.0.0.1'")
        yield f"mysql://trisagion:{password}@127.0.0.1:{port}/trisagion"
    finally:
        server.terminate()
        server.wait(START_S_MAX)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _answered(server: "subprocess.Popen[bytes]", url: str, log: Path) -> None:
    deadline = time.monotonic() + START_S_MAX
    while True:
        try:
            with open_engine(url).connect() as connection:
                assert connection.execute(sa.text("SELECT 1")).scalar_one() == 1
                return
        except Unreachable:
            if server.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(log.read_text(encoding="utf-8", errors="replace")[-2000:]) from None
            time.sleep(0.1)
