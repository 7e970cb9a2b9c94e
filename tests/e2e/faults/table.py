"""All rows that there are, by number: a module of rows is added here."""

from typing import Final

from tests.e2e.faults import (
    builds,
    clocks,
    cycles,
    deliveries,
    disks,
    epochs,
    exits,
    kills,
    lines,
    paths,
    servers,
    tws,
    wire_rows,
)
from tests.e2e.faults.rows import LaneRow, Row

LANE_ROWS: Final[dict[int, LaneRow]] = {
    row.number: row
    for module in (kills, servers, lines, deliveries, clocks, disks, paths, tws, builds, epochs, cycles, exits)
    for row in module.ROWS
}
ROWS: Final[dict[int, Row]] = {**LANE_ROWS, **{row.number: row for row in wire_rows.ROWS}}
