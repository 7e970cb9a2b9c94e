"""What a database can do to us, as errors of ours: one sentence for a person, with what to do."""

from typing import Final

from sqlalchemy.engine import URL

from trisagion.errors import StateError


class Conflict(StateError):
    """Another writer was in the way; nothing was written. The unit of work may be run again (`retrying`)."""


class Unreachable(StateError):
    """The server did not answer. A commit that ended so may have been kept: look before doing it again."""


class Crowded(StateError):
    """All connections that this user, or the server, may have are taken; nothing was asked of the database."""


ACCESS_DENIED: Final = 1045
"""The server does not know the user, or not by this password."""

_SQLITE_CONFLICT: Final = {5, 6}  # SQLITE_BUSY, SQLITE_LOCKED
_SQLITE_ADVICE: Final = {
    8: "is read-only: give this user the right to write the file and its folder",  # SQLITE_READONLY
    10: "cannot be read or written: check the disk and the system log",  # SQLITE_IOERR
    11: "is damaged: stop, keep a copy, restore the last good one",  # SQLITE_CORRUPT
    13: "cannot grow, the disk is full: free some space; nothing of the last transaction was kept",  # SQLITE_FULL
    14: "cannot be opened: check that its folder exists and may be written",  # SQLITE_CANTOPEN
    26: "is not a SQLite database: name another file",  # SQLITE_NOTADB
}

# https://mariadb.com/kb/en/mariadb-error-code-reference/ : record changed, lock wait timeout, deadlock
_MYSQL_CONFLICT: Final = {1020, 1205, 1213}
# too many connections: of the server, of any user, of this user
_MYSQL_CROWDED: Final = {1040, 1203, 1226}
# server shutdown, connection killed, cannot connect, gone away, lost during a query
_MYSQL_UNREACHABLE: Final = {1053, 1927, 2002, 2003, 2006, 2013, 2055}
_MYSQL_ADVICE: Final = {
    1021: "cannot grow, the disk is full: free some space",
    1044: "is refused to this user: grant the right",
    1142: "is refused to this user: grant the right",
    ACCESS_DENIED: "refuses the user or password: check the URL",
    1049: "does not exist: create it (CREATE DATABASE …), then run `python -m init`",
    1114: "cannot grow, a table is full: free some space",
    1146: "lacks a table: run `python -m init`",
    1194: "is damaged: restore the last good backup",
    1290: "is read-only (or restricted): use the primary server",
    1836: "is read-only: use the primary server",
}
_MYSQL_DISK_FULL: Final = ("errno: 28", "error 28")
"""The operating system's ENOSPC inside a message of the server: "Error writing file …", "Got error 28 from …"."""


def translated(error: BaseException, url: URL) -> StateError | None:
    """Return our error for a driver's, None when the driver complains about what we asked (a mistake of ours)."""
    where = f"database {url.render_as_string(hide_password=True)}"
    sqlite_code = getattr(error, "sqlite_errorcode", None)
    if sqlite_code is not None:
        primary = sqlite_code & 0xFF
        if primary in _SQLITE_CONFLICT:
            return Conflict(f"{where}: another process holds the write lock too long; try again")
        if primary in _SQLITE_ADVICE:
            return StateError(f"{where} {_SQLITE_ADVICE[primary]} ({error})")
        if "no such table" in str(error):
            return StateError(f"{where} lacks a table: run `python -m init` ({error})")
        return None
    code = error.args[0] if error.args and isinstance(error.args[0], int) else None
    if code in _MYSQL_CONFLICT:
        return Conflict(f"{where}: another transaction was in the way; try again ({error})")
    if code in _MYSQL_CROWDED:
        return Crowded(
            f"{where}: expected a connection within this user's limit, found all taken: run fewer workers, or raise "
            f"its budget (database.*_connections) and the server's max_connections ({error})"
        )
    if code in _MYSQL_UNREACHABLE:
        return Unreachable(f"{where} does not answer: check that the server runs ({error})")
    if code is not None and any(sign in str(error) for sign in _MYSQL_DISK_FULL):
        return StateError(f"{where} {_MYSQL_ADVICE[1021]} ({error})")
    if code in _MYSQL_ADVICE:
        return StateError(f"{where} {_MYSQL_ADVICE[code]} ({error})")
    return None
