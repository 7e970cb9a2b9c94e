"""`python -m init [URL]`: create what the database lacks. Without a URL, the environment's TRISAGION_DATABASE."""

import os
import sys

from init import create
from trisagion.errors import TrisagionError


def main(arguments: list[str]) -> int:
    """Run the command; return its exit code."""
    url = arguments[0] if arguments else os.environ.get("TRISAGION_DATABASE")
    if url is None or len(arguments) > 1 or url.startswith("-"):
        print("usage: python -m init [URL]    (or set TRISAGION_DATABASE)", file=sys.stderr)
        return 2
    try:
        files = create(url)
    except TrisagionError as error:
        print(f"init: {error}", file=sys.stderr)
        return error.exit_code
    print(f"init: {len(files)} tables are there")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
