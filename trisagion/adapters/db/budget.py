"""Sets the budget of connections at a server that is not ours alone; see `trisagion.adapters.budget`."""

from collections.abc import Mapping

import sqlalchemy as sa

from trisagion.adapters.budget import check_budget
from trisagion.adapters.db.session import Session

_ACCOUNTS = sa.text("SELECT user, host FROM mysql.user WHERE user = :user")
_ROOM = sa.text("SELECT @@max_connections")


def set_budget(session: Session, budget: Mapping[str, int]) -> list[str]:
    """Limit those of the users that the server has, on every host they come from; return their names.

    The session's own user must be one who manages users.

    Raises
    ------
    ConfigError
        The server may not have as many connections as all users together.
    """
    check_budget(budget, int(session.scalar(_ROOM)))
    accounts = [account for user in budget for account in session.rows(_ACCOUNTS, {"user": user})]
    for user, host in accounts:
        # A limit cannot be a parameter of this statement.
        limited = sa.text(f"ALTER USER :user@:host WITH MAX_USER_CONNECTIONS {budget[user]:d}")
        session.connection.execute(limited, {"user": user, "host": host})
    return sorted({user for user, _ in accounts})
