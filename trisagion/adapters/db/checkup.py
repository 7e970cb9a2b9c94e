"""What a server must be, and should be, for the platform: version, strictness, durability, room, and whose rights.

A finding that is not ok stops or endangers trading; what is only advised is ok, and its detail says what is better.
"""

import re
import time
from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

import sqlalchemy as sa

from trisagion.adapters.db import tables as t
from trisagion.adapters.db.engine import open_engine
from trisagion.adapters.db.migrations import expect_schema
from trisagion.adapters.db.partitions import kept_until
from trisagion.adapters.db.table_parts import METADATA
from trisagion.errors import StateError
from trisagion.market.months import month_of, named, shifted

MARIADB_MIN: Final = (10, 6)
"""SKIP LOCKED is new in 10.6: https://mariadb.com/kb/en/changes-improvements-in-mariadb-106/"""

MYSQL_MIN: Final = (8, 0)
SQLITE_MIN: Final = (3, 35)
"""DROP COLUMN is new in 3.35: https://sqlite.org/releaselog/3_35_0.html"""

SKEW_S_ADVISED: Final = 1.0
SKEW_S_MAX: Final = 5.0
"""The bounds at which a clock is alarmed about, and at which the gate is shut."""

MONTHS_AHEAD: Final = 2
"""Months of history after the present one that are to be made: time for a monthly job to fail once."""

KIB: Final = 1024
_VARIABLES: Final = (
    "max_connections",
    "max_allowed_packet",
    "innodb_flush_log_at_trx_commit",
    "innodb_snapshot_isolation",
    "log_bin",
    "sync_binlog",
    "sql_mode",
)
_GRANT: Final = re.compile(r"GRANT (.+?) ON (\S+) TO ")
MADE_ANEW: Final = {t.ledger_lot.name}
"""What is made of other tables, and so may be deleted."""
ADDED_TO: Final = {table.name for table in (t.execution, t.ledger_entry, t.posting, t.control, t.gate, t.event)}
"""What nobody changes: a user that may is told."""
_MORE_THAN_NEEDED: Final = {"ALL PRIVILEGES", "ALL", "DROP", "ALTER", "CREATE", "DELETE", "SUPER"}


class Found(NamedTuple):
    """What one check found."""

    name: str
    ok: bool
    detail: str


def examine_database(
    url: str, *, connections: int, packet_bytes: int, budget: Mapping[str, int] | None = None
) -> Iterator[Found]:
    """Look at a database as the user of the URL, for a platform with so many connections and values so large.

    `budget` is how many connections each of its users is to have.
    """
    try:
        with open_engine(url).connect() as connection:
            if connection.dialect.name == "sqlite":
                yield _version(
                    "SQLite", str(connection.exec_driver_sql("SELECT sqlite_version()").scalar_one()), SQLITE_MIN
                )
            else:
                yield from _server(connection, connections, packet_bytes)
                if budget is not None:
                    yield _budget(connection, budget)
            schema = _schema(connection)
            yield schema
            if schema.ok and connection.dialect.name != "sqlite":
                yield _months(connection)
    except StateError as error:
        yield Found("db connection", False, str(error))


def _server(connection: sa.Connection, connections: int, packet_bytes: int) -> Iterator[Found]:
    server = _pairs(connection, "GLOBAL", _VARIABLES)
    ours = _pairs(connection, "SESSION", ("sql_mode", "time_zone", "tx_isolation", "transaction_isolation"))
    version = str(connection.exec_driver_sql("SELECT VERSION()").scalar_one())
    maria = "mariadb" in version.lower()
    yield _version("MariaDB" if maria else "MySQL", version, MARIADB_MIN if maria else MYSQL_MIN)
    yield _strict(ours, server)
    yield _clock(connection, ours)
    level = ours.get("transaction_isolation", ours.get("tx_isolation", "unknown"))
    yield Found("db isolation", level == "READ-COMMITTED", f"{level} on our connections (READ-COMMITTED is expected)")
    yield _snapshots(server, maria=maria)
    yield _durable(server)
    room = int(server["max_connections"])
    yield Found(
        "db room", room >= connections, f"max_connections is {room}, this machine's processes need {connections}"
    )
    size = int(server["max_allowed_packet"])
    yield Found(
        "db packet",
        size >= packet_bytes,
        f"max_allowed_packet is {size // KIB} KiB, a shard of this cohort may need {packet_bytes // KIB} KiB",
    )
    yield _rights(connection)


def _pairs(connection: sa.Connection, scope: str, names: tuple[str, ...]) -> dict[str, str]:
    listed = ", ".join(f"'{name}'" for name in names)
    rows = connection.exec_driver_sql(f"SHOW {scope} VARIABLES WHERE Variable_name IN ({listed})")
    return {name: value for name, value in rows}  # noqa: C416 # rows are no pairs to a type checker


def _version(name: str, text: str, least: tuple[int, int]) -> Found:
    numbers = tuple(int(part) for part in re.findall(r"\d+", text)[:2])
    return Found("db version", numbers >= least, f"{name} {text} ({least[0]}.{least[1]} or newer is needed)")


def _strict(ours: Mapping[str, str], server: Mapping[str, str]) -> Found:
    strict = "STRICT_ALL_TABLES" in ours["sql_mode"]
    detail = f"{'strict' if strict else 'not strict'} on our connections"
    if "STRICT" not in server["sql_mode"]:
        detail += "; the server's own is not: what is written by hand may be cut without an error"
    return Found("db sql_mode", strict, detail)


def _clock(connection: sa.Connection, ours: Mapping[str, str]) -> Found:
    theirs = float(connection.exec_driver_sql("SELECT UNIX_TIMESTAMP(UTC_TIMESTAMP(6))").scalar_one())
    skew_s = abs(theirs - time.time())
    detail = f"time zone {ours['time_zone']} on our connections, the clocks differ by {skew_s:.1f} s"
    if skew_s > SKEW_S_ADVISED:
        detail += f" (up to {SKEW_S_ADVISED:g} s is expected, above {SKEW_S_MAX:g} s nothing is traded)"
    return Found("db clock", ours["time_zone"] == "+00:00" and skew_s <= SKEW_S_MAX, detail)


def _snapshots(server: Mapping[str, str], *, maria: bool) -> Found:
    if not maria:
        ours = "the platform keeps its updates by row locks and versions of its own"
        return Found("db snapshots", True, f"MySQL has no innodb_snapshot_isolation: {ours}")
    on = server.get("innodb_snapshot_isolation") == "ON"
    advice = "" if on else "; ON is advised: a lost update is then an error that is tried again"
    return Found("db snapshots", True, f"innodb_snapshot_isolation is {'ON' if on else 'OFF'}{advice}")


def _durable(server: Mapping[str, str]) -> Found:
    flush = server["innodb_flush_log_at_trx_commit"]
    detail = f"innodb_flush_log_at_trx_commit is {flush}"
    if flush != "1":
        detail += "; it must be 1, or a crash takes back orders that were told to be committed"
    elif server.get("log_bin") == "ON" and server.get("sync_binlog") != "1":
        detail += f"; sync_binlog is {server.get('sync_binlog')}, 1 is advised: a replica may lack what was committed"
    return Found("db durability", flush == "1", detail)


def _budget(connection: sa.Connection, budget: Mapping[str, int]) -> Found:
    """Look whether the users leave each other connections, and whether the server bounds this one as it is to be."""
    user = str(connection.exec_driver_sql("SELECT CURRENT_USER()").scalar_one()).partition("@")[0]
    # The session's own value is the bound of its user: https://mariadb.com/kb/en/server-system-variables/
    room, bound = connection.exec_driver_sql("SELECT @@global.max_connections, @@session.max_user_connections").one()
    wanted = sum(budget.values())
    detail = f"the users may have {wanted} connections together, max_connections is {room}"
    if user not in budget:
        return Found("db budget", True, f"{detail}; {user} is none of them, nothing bounds it but the server")
    if wanted >= room:
        return Found("db budget", False, f"{detail}: bulk work may take what orders need; lower the ones, or raise it")
    if bound != budget[user]:
        bounded = f"is bounded to {bound}" if bound else "is not bounded"
        detail += f"; {user} {bounded}, {budget[user]} is expected: `trisagion db init --users` sets it"
    return Found("db budget", True, detail)


def _months(connection: sa.Connection) -> Found:
    """Look whether the months to come are made; what has none is kept in the partition without an end."""
    try:
        kept = kept_until(connection)
    except StateError as error:
        return Found("db months", False, str(error))
    if not kept:
        return Found("db months", True, "no history is kept here")
    told = ", ".join(f"{table} until {named(until_ns)}" if until_ns else f"{table} none" for table, until_ns in kept)
    if min(until_ns for _, until_ns in kept) < shifted(month_of(time.time_ns()), MONTHS_AHEAD + 1):
        told += f"; {MONTHS_AHEAD} ahead are advised, or all rows gather in one: `trisagion data partitions --ahead 12`"
    return Found("db months", True, f"months are made: {told}")


def _rights(connection: sa.Connection) -> Found:
    user = str(connection.exec_driver_sql("SELECT CURRENT_USER()").scalar_one())
    rights = _rights_by_table(connection)
    lacking = sorted(name for name, given in rights.items() if not given & {"SELECT", "ALL PRIVILEGES", "ALL"})
    if lacking:
        return Found("db rights", False, f"{user} may not read {', '.join(lacking)}: grant it, or use the writer")
    given = set().union(*rights.values())
    if more := sorted(given & _MORE_THAN_NEEDED):
        return Found(
            "db rights", True, f"{user} has {', '.join(more)}: more than a platform needs; the writer is advised"
        )
    if open_ := sorted(name for name in ADDED_TO & rights.keys() if "UPDATE" in rights[name]):
        return Found(
            "db rights", True, f"{user} may change {', '.join(open_)}, which are only added to: REVOKE UPDATE ON each"
        )
    reads = "" if "INSERT" in given else " to read only"
    return Found("db rights", True, f"{user} has what it needs{reads}, table by table")


def _rights_by_table(connection: sa.Connection) -> dict[str, set[str]]:
    """Return what the user of a connection may do to each of our tables as a whole."""
    name = str(connection.engine.url.database)
    rights: dict[str, set[str]] = {table: set() for table in METADATA.tables}
    for (grant,) in connection.exec_driver_sql("SHOW GRANTS FOR CURRENT_USER()").all():
        if not (found := _GRANT.match(grant)):
            continue
        # Rights to single columns, as in UPDATE (symbol), are none to the table.
        words = {word.strip() for word in re.sub(r"\w+ \([^)]*\)", "", found[1]).split(",")} - {""}
        base, _, table = found[2].replace("`", "").replace("\\_", "_").rpartition(".")
        if base not in {"*", name}:
            continue
        if table in MADE_ANEW:
            words -= {"DELETE"}
        for one in rights if table == "*" else {table} & rights.keys():
            rights[one] |= words
    return rights


def _schema(connection: sa.Connection) -> Found:
    try:
        expect_schema(connection)
    except StateError as error:
        return Found("db schema", False, str(error))
    return Found("db schema", True, "of this release")
