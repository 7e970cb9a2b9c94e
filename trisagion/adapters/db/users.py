"""The users of a database with few rights: what each may do stands in `init/users/`, table by table.

Their names are the database's with `_writer` and so on behind it, so two databases of one server share none. Passwords
are the settings', by reference. SQLite has no users.
"""

import re
from collections.abc import Mapping
from typing import Final

import sqlalchemy as sa

from trisagion.adapters.db.sql import INIT, statement_of
from trisagion.errors import ConfigError
from trisagion.settings import Settings, resolve

USERS: Final = ("writer", "gateway", "audit", "reader")

_NAME: Final = re.compile(r"[A-Za-z0-9_]{1,24}")
"""Of a database: with what comes behind it, a user's name fits MySQL's 32 characters, and nothing needs quotes."""


def user_passwords(settings: Settings, environ: Mapping[str, str]) -> dict[str, str]:
    """Return the password of each user for which the settings have one.

    Raises
    ------
    ConfigError
        A reference leads nowhere, or there is none at all.
    """
    given = {user: getattr(settings.database, f"{user}_password") for user in USERS}
    found = {user: resolve(reference, environ) for user, reference in given.items() if reference}
    if not found:
        names = ", ".join(f"database.{user}_password" for user in USERS)
        raise ConfigError(f"database: expected a password for one of the users to be created ({names}), found none")
    return found


def make_users(connection: sa.Connection, passwords: Mapping[str, str]) -> None:
    """Create the users that are missing and grant what their files say; a password that is set stays as it is."""
    name = expected_name(connection.engine.url.database)
    for user, password in passwords.items():
        text = (INIT / "users" / f"{user}.sql").read_text(encoding="utf-8")
        for statement in statement_of(text).split(";\n"):
            # The driver quotes the password, and takes any other % for its own.
            filled = statement.replace("{database}", name).replace("%", "%%").replace("{password}", "%s")
            connection.exec_driver_sql(filled, (password,) if "{password}" in statement else ())


def expected_name(name: str | None) -> str:
    """Return a database's name that fits into statements; `ConfigError` for any other."""
    if not _NAME.fullmatch(name or ""):
        raise ConfigError(f"database: expected a name of at most 24 letters, digits and _, found {name!r}")
    return str(name)
