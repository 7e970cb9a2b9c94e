"""How many connections each user of a database server may have at once, counted by the server over all machines.

So thousands of bulk workers, who share a user, can never take what the gateway needs: theirs are refused at their own
limit, and `SqlDatabase` has them wait for one to end. Nothing is counted on our side, and no row is locked for it.
"""

from collections.abc import Mapping

from trisagion.errors import ConfigError
from trisagion.settings import Settings


def budget_of(settings: Settings, database: str) -> dict[str, int]:
    """Return the limit of each of a database's users, whose names are the database's with the role behind it."""
    given = settings.database
    return {
        f"{database}_gateway": given.gateway_connections,
        f"{database}_writer": given.writer_connections,
        f"{database}_audit": given.audit_connections,
        f"{database}_reader": given.reader_connections,
    }


def check_budget(budget: Mapping[str, int], room: int) -> None:
    """Raise `ConfigError` where the users together may take all connections of a server, and so starve each other."""
    wanted = sum(budget.values())
    if wanted >= room:
        raise ConfigError(
            f"database.*_connections: expected together less than the server's max_connections, {room}, found {wanted}"
        )
