"""All rows that there are, by number: a module of rows is added here."""

from typing import Final

from tests.e2e.faults import deliveries, kills, lines, paths, servers
from tests.e2e.faults.rows import Row

ROWS: Final[dict[int, Row]] = {
    row.number: row for module in (kills, servers, lines, deliveries, paths) for row in module.ROWS
}
