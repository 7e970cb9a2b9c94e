"""How many connections each user of a server may have at once, counted by the server over all machines.

So thousands of bulk workers, who share a user, can never take what the gateway needs: theirs are refused at their own
limit, and `SqlDatabase` has them wait for one to end. Nothing is counted on our side, and no row is locked for it.
"""

from collections.abc import Mapping

import sqlalchemy as sa

from trisagion.adapters.db.session import Session
from trisagion.errors import ConfigError
from trisagion.settings import Settings

_ACCOUNTS = sa.text("SELECT user, host FROM mysql.user WHERE user = :user")
_ROOM = sa.text("SELECT @@max_connections")


def budget_of(settings: Settings, database: str) -> dict[str, int]:
    """Return the limit of each of a database's users, whose names are the database's with the role behind it."""
    given = settings.database
    return {
        f"{database}_gateway": given.gateway_connections,
        f"{database}_writer": given.writer_connections,
        f"{database}_audit": given.audit_connections,
        f"{database}_reader": given.reader_connections,
    }


def set_budget(session: Session, budget: Mapping[str, int]) -> list[str]:
    """Limit those of the users that the server has, on every host they come from; return their names.

    The session's own user must be one who manages users.

    Raises
    ------
    ConfigError
        The server may not have as many connections as all users together.
    """
    room, wanted = int(session.scalar(_ROOM)), sum(budget.values())
    if wanted >= room:
        raise ConfigError(
            f"database.*_connections: expected together less than the server's max_connections, {room}, found {wanted}"
        )
    accounts = [account for user in budget for account in session.rows(_ACCOUNTS, {"user": user})]
    for user, host in accounts:
        # A limit cannot be a parameter of this statement.
        limited = sa.text(f"ALTER USER :user@:host WITH MAX_USER_CONNECTIONS {budget[user]:d}")
        session.connection.execute(limited, {"user": user, "host": host})
    return sorted({user for user, _ in accounts})
