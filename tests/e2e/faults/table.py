"""All rows that there are, by number: a module of rows is added here."""

from typing import Final

from tests.e2e.faults import kills, paths, servers
from tests.e2e.faults.rows import Row

ROWS: Final[dict[int, Row]] = {row.number: row for row in (*kills.ROWS, *servers.ROWS, *paths.ROWS)}
