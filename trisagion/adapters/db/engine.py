"""Opens a database: direct connections, no pool, and transactions on them.

On a server each unit of work has a connection of its own, opened for it and closed at its end: thousands of workers
that mostly compute hold nothing while they do. What keeps one per thread says so (`SqlDatabase.keep`), and SQLite
always does, for it has no server. A kept connection is closed, and opened anew at the next use, after a block that
raised (closing rolls back on both servers, whatever state the conversation was in); a forked child opens its own and
leaves the parent's alone. Meeting a bound in time is an error that says so: nothing here waits for ever.
"""

import os
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, TypeVar

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.engine import URL, Engine, make_url
from sqlalchemy.pool import NullPool

from trisagion.adapters.db import dialect
from trisagion.adapters.db.audit import AuditBook
from trisagion.adapters.db.cohort import Cohort
from trisagion.adapters.db.control import ControlRoom
from trisagion.adapters.db.copies import Copies
from trisagion.adapters.db.cycles import Cycles
from trisagion.adapters.db.egress import Egress
from trisagion.adapters.db.exits import Exits
from trisagion.adapters.db.faults import ACCESS_DENIED, Conflict, Crowded, Unreachable, translated
from trisagion.adapters.db.incidents import Incidents
from trisagion.adapters.db.lately import Lately
from trisagion.adapters.db.ledger import ExactSum, Ledger
from trisagion.adapters.db.limits import LimitRows
from trisagion.adapters.db.market import Market
from trisagion.adapters.db.messages import Messages
from trisagion.adapters.db.migrations import expect_schema
from trisagion.adapters.db.order_ids import OrderIdRows
from trisagion.adapters.db.orders import Orders
from trisagion.adapters.db.regime import Regime
from trisagion.adapters.db.releases import Releases
from trisagion.adapters.db.series import Series
from trisagion.adapters.db.session import Session
from trisagion.adapters.db.snapshots import Snapshots
from trisagion.adapters.db.switches import Switches
from trisagion.adapters.password import Password
from trisagion.errors import ConfigError, OurMistake, StateError, TrisagionError
from trisagion.safety.commands import Signers

BUSY_S: Final = 10
"""How long SQLite waits for the write lock; the longest transaction of ours is far below a second."""

CONNECT_S: Final = 5
IO_S: Final = 5
"""Reliability: connection read and write time-outs of 5 s. The next is below it, so that the server answers first."""

LOCK_WAIT_S: Final = 3

SETTINGS: Final = (
    "SET SESSION sql_mode='STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION', time_zone='+00:00', "
    "innodb_lock_wait_timeout={lock_wait_s}, autocommit=0"
    "/*M! , tx_isolation='READ-COMMITTED' *//*!80000 , transaction_isolation='READ-COMMITTED' */"
)
"""What a connection to a server begins with: one statement, one round trip. MariaDB and MySQL 8 name the isolation
level differently, and each leaves out what is commented for the other."""

LOOPBACK: Final = frozenset({None, "localhost", "127.0.0.1", "::1"})

PING_AFTER_S: Final = 30.0
"""A kept connection that was idle longer is asked for a sign of life first: servers and routers drop idle ones."""

ATTEMPTS_MAX: Final = 5
BACKOFF_S: Final = 0.02
"""`retrying`: 5 attempts with 20, 40, 80, 160 ms (times a random half to one) between them."""

CROWDED_S_MAX: Final = 10.0
CROWDED_PAUSE_S_MAX: Final = 0.5
"""A user at its limit of connections waits for one to end so long, in pauses that grow from `BACKOFF_S` up to this
(times a random half to one), so that those who wait do not come back all at once."""

AWAY_S_MAX: Final = 10.0
AWAY_PAUSE_S: Final = 0.25
"""A server that is away is waited for so long: a MariaDB that was killed has replayed its log in a few seconds. Above
it, a session's peer would begin to ask whether we are there (FIX TestRequest)."""

T = TypeVar("T")


class Unit:
    """`ports.Transaction`: the stores on one connection; `session` runs other statements in the same transaction."""

    def __init__(self, session: Session, signers: Signers | None = None) -> None:
        self.session = session
        self.market = Market(session)
        self.series = Series(session)
        self.regime = Regime(session)
        self.cohort = Cohort(session)
        self.cycles = Cycles(session)
        self.orders = Orders(session)
        self.ledger = Ledger(session)
        self.messages = Messages(session)
        self.copies = Copies(session)
        self.incidents = Incidents(session)
        self.snapshots = Snapshots(session)
        self.exits = Exits(session)
        self.lately = Lately(session)
        self.control = ControlRoom(session, signers)
        self.egress = Egress(session)
        self.order_ids = OrderIdRows(session)
        self.switches = Switches(session)
        self.releases = Releases(session)
        self.limits = LimitRows(session, signers)
        self.audit = AuditBook(session)

    @contextmanager
    def part(self) -> Iterator[None]:
        """Open a part of the transaction that is undone by itself when it raises.

        After `Conflict` and `Unreachable` nothing is left to be saved: the server has undone all of it.
        """
        saved = self.session.connection.begin_nested()
        try:
            yield
        except (Conflict, Unreachable):
            raise
        except BaseException:
            saved.rollback()
            raise
        saved.commit()


class _Link:
    """A connection that a thread uses, with its stores for writing and for reading only."""

    __slots__ = ("busy", "connection", "reader", "used_s", "writer")

    def __init__(self, connection: sa.Connection, signers: Signers | None) -> None:
        self.connection = connection
        self.writer = Unit(Session(connection, writable=True), signers)
        self.reader = Unit(Session(connection, writable=False), signers)
        self.used_s = time.monotonic()
        self.busy = False


class SqlDatabase:
    """`ports.Database` on SQLite, MariaDB or MySQL."""

    def __init__(self, engine: Engine, signers: Signers | None = None) -> None:
        self.engine = engine
        self._signers = signers
        self._is_sqlite = engine.dialect.name == "sqlite"
        self._keeps = self._is_sqlite
        self._pid = os.getpid()
        self._looked_at = False
        # By thread number, not in a threading.local: threads of a C++ library are new to Python at each callback.
        self._links: dict[int, _Link] = {}
        # The parent's connections in a forked child: closing them here would end them there.
        self._inherited: list[dict[int, _Link]] = []

    def keep(self) -> None:
        """Keep each thread's connection between its units of work from now on.

        For a process of few threads that never rests, as the owner of a venue session. Measured: so an order cost it
        1.8 ms of its core and the server 0.9 ms; with a connection for each unit of work it cost 2.7 ms and 1.4 ms, and
        1,190 orders left a second instead of 1,450.
        """
        self._keeps = True

    @contextmanager
    def transaction(self) -> Iterator[Unit]:
        """Open a unit of work that may write: it holds the write lock (SQLite) or reads what is committed (MySQL).

        Raises
        ------
        Conflict
            Another writer was in the way; nothing was written.
        Unreachable
            The server went away; if it happened at the commit, the work may have been kept.
        Crowded
            All connections that this user may have stayed taken.
        StateError
            The disk is full; the database is read-only, damaged, foreign, or of another release.
        """
        link = self._link()
        try:
            if self._is_sqlite:
                link.connection.exec_driver_sql("BEGIN IMMEDIATE")
            yield link.writer
            link.connection.commit()
        except BaseException:
            self._drop(link)
            raise
        self._done(link)

    @contextmanager
    def snapshot(self) -> Iterator[Unit]:
        """Open a unit of work that only reads; what it reads is consistent. It raises what `transaction` raises."""
        # It holds for the transaction that the first read opens, and what that sees, all others see.
        with self._reading("REPEATABLE READ") as unit:
            yield unit

    @contextmanager
    def uncommitted(self) -> Iterator[Unit]:
        """Open a unit of work that reads what others have written and not committed, too; on SQLite nobody sees that.

        It raises what `transaction` raises.
        """
        with self._reading("READ UNCOMMITTED") as unit:
            yield unit

    @contextmanager
    def _reading(self, isolation: str) -> Iterator[Unit]:
        link = self._link()
        try:
            if self._is_sqlite:
                link.connection.exec_driver_sql("BEGIN DEFERRED")
            else:
                link.connection.exec_driver_sql(f"SET TRANSACTION ISOLATION LEVEL {isolation}, READ ONLY")
            yield link.reader
            if self._keeps:
                link.connection.rollback()
        except BaseException:
            self._drop(link)
            raise
        self._done(link)

    def version(self) -> int | None:
        """Return a number that changes when another connection than this thread's has written; None on MySQL."""
        if not self._is_sqlite:
            return None
        link = self._link()
        try:
            number: int = link.connection.exec_driver_sql("PRAGMA data_version").scalar_one()
            link.connection.rollback()
        except BaseException:
            self._drop(link)
            raise
        self._done(link)
        return number

    def close(self) -> None:
        """Close the connections that are kept; the next use opens new ones."""
        if self._pid == os.getpid():
            for link in list(self._links.values()):
                self._drop(link)

    def _link(self) -> _Link:
        """Return a connection for this thread, ready for a transaction."""
        if self._pid != os.getpid():
            self._inherited.append(self._links)
            self._links, self._pid = {}, os.getpid()
        link = self._links.get(threading.get_ident())
        if link is not None and link.busy:
            raise OurMistake("a transaction is open in this thread already: use it, or end it first")
        now_s = time.monotonic()
        if link is not None and not self._is_sqlite and now_s - link.used_s > PING_AFTER_S:
            link = self._pinged(link)
        if link is None:
            link = self._links[threading.get_ident()] = _Link(self._connected(), self._signers)
        link.used_s, link.busy = now_s, True
        return link

    def _connected(self) -> sa.Connection:
        """Connect, the first time with a look at whether this release can use the database.

        Where all connections that the user may have are taken, wait until one ends.
        """
        connection = self._admitted()
        if not self._looked_at:
            try:
                expect_schema(connection)
                connection.rollback()
            except BaseException:
                connection.invalidate()
                connection.close()
                raise
            self._looked_at = True
        return connection

    def _admitted(self) -> sa.Connection:
        until_s, pause_s = time.monotonic() + CROWDED_S_MAX, BACKOFF_S
        while True:
            try:
                return self.engine.connect()
            except Crowded:
                if time.monotonic() >= until_s:
                    raise
            time.sleep(pause_s * random.uniform(0.5, 1.0))
            pause_s = min(2 * pause_s, CROWDED_PAUSE_S_MAX)

    def _done(self, link: _Link) -> None:
        """Give a connection back after a unit of work."""
        if self._keeps:
            link.busy = False
        else:
            self._drop(link)

    def _pinged(self, link: _Link) -> _Link | None:
        try:
            link.connection.exec_driver_sql("SELECT 1").scalar_one()
            link.connection.rollback()
        except StateError:
            self._drop(link)
            return None
        return link

    def _drop(self, link: _Link) -> None:
        """Close a connection without a word to the server beyond that: it rolls back what is open."""
        for ident, other in list(self._links.items()):
            if other is link:
                del self._links[ident]
        link.connection.invalidate()
        link.connection.close()


def open_database(url: str, signers: Signers | None = None, renewed: Callable[[], str] | None = None) -> SqlDatabase:
    """Open the database of a URL: `sqlite:////path/file.db`, `mysql://user:password@host/name`.

    `mysql://` picks mysqlclient where it is installed, else PyMySQL (`mysql+pymysql://` insists: under gevent it must).
    Nothing is connected before the first use, and nothing is created: that is `python -m init`. With `signers` releases
    and limits that they have not signed are read as not made. `renewed` gives the URL as it stands now, for
    its password.

    Raises
    ------
    ConfigError
        The URL cannot be used.
    """
    engine = open_engine(url)
    if renewed is not None and engine.dialect.name != "sqlite":
        _follow(engine, renewed)
    return SqlDatabase(engine, signers)


def open_engine(url: str, *, may_create: bool = False, io_s: int = IO_S) -> Engine:
    """Return an engine without a pool whose connections are set up as the platform needs them; errors are ours.

    A SQLite file that does not exist is an error unless it `may_create` it: a mistyped path must not make an empty one.
    `io_s` is how long a server may take for an answer.
    """
    parsed = _parsed(url)
    backend = parsed.get_backend_name()
    if backend == "sqlite":
        return _open_sqlite(parsed, may_create=may_create)
    if backend in {"mysql", "mariadb"}:
        return _open_mysql(parsed, io_s)
    raise ConfigError(f"database: expected sqlite:///file or mysql://user@host/name, found the scheme {backend!r}")


def _parsed(url: str) -> URL:
    try:
        return make_url(url)
    except (sa.exc.ArgumentError, ValueError):
        # What it is may hold a password, wherever in it.
        raise ConfigError("database: expected sqlite:///file or mysql://user@host/name, found no such URL") from None


def retrying(work: Callable[[], T]) -> T:
    """Run a unit of work, again when another writer was in the way or the server was away, within bounds.

    `work` opens its own transactions and is keyed: a commit that ended in an error may have been kept, so what comes
    again reads first, and what it finds done it does not do twice. Nor does it do anything outside the database that
    must not be done twice.
    """
    conflicts = 0
    away_until_s = None
    while True:
        try:
            return work()
        except Conflict:
            conflicts += 1
            if conflicts == ATTEMPTS_MAX:
                raise
            time.sleep(BACKOFF_S * 2 ** (conflicts - 1) * random.uniform(0.5, 1.0))
        except Unreachable:
            away_until_s = away_until_s or time.monotonic() + AWAY_S_MAX
            if time.monotonic() >= away_until_s:
                raise
            time.sleep(AWAY_PAUSE_S * random.uniform(0.5, 1.0))


def _open_sqlite(url: URL, *, may_create: bool) -> Engine:
    if url.database in {None, "", ":memory:"}:
        raise ConfigError("database: a SQLite database in memory cannot be shared by processes; name a file")
    engine = sa.create_engine(
        url.set(drivername="sqlite"), poolclass=NullPool, connect_args={"timeout": BUSY_S, "check_same_thread": False}
    )

    @event.listens_for(engine, "do_connect")
    def look(_dialect: Any, _record: Any, arguments: list[Any], _options: Any) -> None:
        path = str(arguments[0])
        if not (may_create or path.startswith("file:") or Path(path).exists()):
            raise StateError(f"database {path} does not exist: name the right file, or run `trisagion db init`")

    @event.listens_for(engine, "connect")
    def set_up(raw: Any, _record: Any) -> None:
        raw.create_aggregate("exact_sum", 1, ExactSum)
        raw.isolation_level = None  # transactions begin where this file says so, not where the driver thinks so
        try:
            raw.execute("PRAGMA journal_mode=WAL")
            raw.execute("PRAGMA synchronous=FULL")
        except engine.dialect.loaded_dbapi.Error as error:
            raw.close()
            raise translated(error, engine.url) or error from error

    _translate(engine)
    return engine


def _open_mysql(url: URL, io_s: int) -> Engine:
    driver = url.drivername.partition("+")[2] or _mysql_driver()
    dialect.register()
    tls = {"ssl_disabled": True} if driver == "pymysql" and _is_near(url) else {}
    engine = sa.create_engine(
        url.set(drivername=f"mysql+{driver}"),
        poolclass=NullPool,
        connect_args={
            "connect_timeout": CONNECT_S,
            "read_timeout": io_s,
            "write_timeout": io_s,
            "charset": "utf8mb4",
            "init_command": SETTINGS.format(lock_wait_s=LOCK_WAIT_S),
            # Without FOUND_ROWS, which SQLAlchemy asks for: a row that an insert found and left alone counts 0.
            "client_flag": 0,
            **tls,
        },
    )
    _translate(engine)
    return engine


def _follow(engine: Engine, renewed: Callable[[], str]) -> None:
    """Where the server refuses the password, read it again: it may be a new one since this process began."""
    password = Password(lambda: _parsed(renewed()).password or "")
    known = password()

    @event.listens_for(engine, "do_connect")
    def connect(driver: Any, _record: Any, arguments: list[Any], options: dict[str, Any]) -> Any:
        nonlocal known
        place = "passwd" if "passwd" in options else "password"  # each of the two drivers has its own word
        try:
            return driver.connect(*arguments, **{**options, place: known})
        except driver.loaded_dbapi.OperationalError as error:
            if error.args[0] != ACCESS_DENIED or (present := password()) == known:
                raise
        known = present
        return driver.connect(*arguments, **{**options, place: known})


def _is_near(url: URL) -> bool:
    """Tell whether nothing leaves this machine and TLS was not asked for.

    PyMySQL makes ready for TLS at each connection, also where the server has none: 40 ms, measured.
    """
    return url.host in LOOPBACK and not any(name.startswith("ssl") for name in url.query)


def _mysql_driver() -> str:
    try:
        import MySQLdb  # noqa: F401, PLC0415 # which of the two is installed is known only by trying
    except ImportError:
        return "pymysql"
    return "mysqldb"


def _translate(engine: Engine) -> None:
    """Make the engine raise our errors."""

    @event.listens_for(engine, "handle_error")
    def ours(context: sa.engine.ExceptionContext) -> None:
        error = context.original_exception
        if isinstance(error, TrisagionError):  # a column type refused a value, and SQLAlchemy wrapped the refusal
            raise error
        ours = translated(error, engine.url)
        if ours is not None:
            raise ours from error
