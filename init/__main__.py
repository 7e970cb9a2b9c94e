"""`python -m init [--users] [URL]`: create what the database lacks. Without a URL, that of TRISAGION_DATABASE.

`--users` creates the database's users too, those whose passwords the settings refer to.
"""

import getpass
import os
import sys

from init import create
from trisagion.adapters.db.users import user_passwords
from trisagion.errors import TrisagionError
from trisagion.settings import load


def main(arguments: list[str]) -> int:
    """Run the command; return its exit code."""
    users = "--users" in arguments
    rest = [argument for argument in arguments if argument != "--users"]
    url = rest[0] if rest else os.environ.get("TRISAGION_DATABASE")
    if url is None or len(rest) > 1 or url.startswith("-"):
        print("usage: python -m init [--users] [URL]    (or set TRISAGION_DATABASE)", file=sys.stderr)
        return 2
    try:
        passwords = user_passwords(load(None, os.environ, {}), os.environ) if users else {}
        files = create(url, passwords, operator=getpass.getuser())
    except TrisagionError as error:
        print(f"init: {error}", file=sys.stderr)
        return error.exit_code
    print(f"init: {len(files)} tables are there")
    if users and url.startswith("sqlite"):
        print("init: SQLite has no users; whoever may write the file may do everything")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
