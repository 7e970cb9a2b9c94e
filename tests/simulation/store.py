"""The database as one process sees it: the real adapter on SQLite in memory, and what a server and a network add to it.

Its clock is the world's. A trigger, in the same transaction as what it sees, keeps a record of every claim: at which
instant an order was committed as asked, under which control mode, gate and lease. No service knows of it.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from random import Random
from typing import Any, Final

from sqlalchemy import event

from init import create
from tests.fakes import Died
from tests.simulation.plan import Plan
from tests.simulation.world import Process, World, seconds
from trisagion.adapters.db import SqlDatabase, Unit, open_database
from trisagion.adapters.db.engine import IO_S
from trisagion.adapters.db.faults import Conflict, Unreachable
from trisagion.clock import SECOND_NS

WITNESS: Final = """
CREATE TABLE claim (
    cl_ord_id TEXT, before TEXT, state TEXT, at_ms INTEGER, created_ns INTEGER, version INTEGER,
    mode TEXT, flattens INTEGER, gate INTEGER, token INTEGER, until_ms INTEGER
);
CREATE INDEX claim_of ON claim (cl_ord_id);
CREATE TRIGGER claimed AFTER UPDATE OF state ON orders
WHEN NEW.state IN ('pending_new', 'pending_replace', 'pending_cancel') AND NEW.state <> OLD.state
BEGIN
    INSERT INTO claim SELECT
        NEW.cl_ord_id, OLD.state, NEW.state, CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER),
        NEW.created_ns, NEW.version,
        (SELECT mode FROM control ORDER BY seq DESC LIMIT 1),
        COALESCE((
            SELECT mode = 'emergency' FROM control_level WHERE level = 'symbol' AND name = NEW.symbol
            ORDER BY seq DESC LIMIT 1
        ), 0),
        COALESCE((SELECT shut FROM gate WHERE session = NEW.session ORDER BY seq DESC LIMIT 1), 0),
        (SELECT token FROM lease WHERE name = 'session:' || NEW.session),
        (SELECT until_ms FROM lease WHERE name = 'session:' || NEW.session);
END;
"""

DOUBT_NS: Final = 120 * SECOND_NS
"""What is in doubt for longer waits for a person."""

_UNFINISHED: Final = """
SELECT EXISTS (
    SELECT 1 FROM orders WHERE state IN
    ('risk_checked', 'routed', 'pending_new', 'pending_cancel', 'pending_replace')
) OR EXISTS (
    SELECT 1 FROM orders WHERE state = 'unknown' AND updated_ns > ?
) OR EXISTS (
    SELECT 1 FROM orders WHERE state IN ('new', 'partially_filled')
    AND (cancel_reason IS NOT NULL OR wanted_qty IS NOT NULL)
) OR EXISTS (
    SELECT 1 FROM reconcile_cycle WHERE stage IN ('opened', 'cancelling', 'observing', 'decided')
)
"""

_NAMES: Final = count()
_TEMPLATES: Final[list[sqlite3.Connection]] = []


def _memory() -> tuple[str, sqlite3.Connection]:
    """Return the path of an empty database, which lives as long as the connection."""
    path = f"file:/simulation-{next(_NAMES)}?vfs=memdb"
    return path, sqlite3.connect(path, uri=True)


def _template() -> sqlite3.Connection:
    if not _TEMPLATES:
        path, kept = _memory()
        create(f"sqlite:///{path}&uri=true")
        kept.executescript(WITNESS)
        _TEMPLATES.append(kept)
    return _TEMPLATES[0]


class Server:
    """The one database of a world."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.down_until_ns = 0
        self.healed = False
        self.transactions = 0
        path, self._kept = _memory()
        _template().backup(self._kept)
        self.database: SqlDatabase = open_database(f"sqlite:///{path}&uri=true")

        @event.listens_for(self.database.engine, "connect")
        def set_clock(raw: Any, _record: Any) -> None:
            raw.create_function("julianday", 1, self._julian_day)

    def _julian_day(self, _when: str) -> float:
        return self.world.now_ns / SECOND_NS / 86400 + 2440587.5

    def rows(self, query: str, *values: object) -> list[Any]:
        """Ask the database as it is, beside all that may go wrong."""
        return self._kept.execute(query, values).fetchall()

    def unfinished(self) -> bool:
        """Tell whether an order or a cycle waits for something that is to come by itself, soon."""
        [(found,)] = self.rows(_UNFINISHED, self.world.now_ns - DOUBT_NS)
        return bool(found)

    def skip(self, delta_ns: int) -> None:
        """Leave time out: who holds a lease has renewed it all the while."""
        with self._kept:
            self._kept.execute("UPDATE lease SET until_ms = until_ms + ? WHERE until_ms > 0", (delta_ns // 1_000_000,))

    def close(self) -> None:
        """Let it go."""
        self.database.close()
        self._kept.close()


class Door:
    """`ports.Database` of one process, through which its transactions go wrong."""

    def __init__(self, server: Server, process: Process, plan: Plan, random: Random) -> None:
        self.server = server
        self.process = process
        self.plan = plan
        self.random = random
        self.engine = server.database.engine

    @contextmanager
    def transaction(self) -> Iterator[Unit]:
        """Open a unit of work that may fail, be lost, or be kept without a word."""
        self._reach("transaction")
        plan, world = self.plan, self.server.world
        fate = self._fate(plan.conflict, plan.raises_lost, plan.dies_before, plan.raises_kept, plan.dies_after)
        with self.server.database.transaction() as tx:
            yield tx
            if fate == 0:
                world.tell("the transaction meets another writer")
                raise Conflict("database simulation: another transaction was in the way; try again")
            if fate == 1:
                world.tell("the commit fails, and was not kept")
                raise Unreachable("database simulation does not answer: check that the server runs")
            if fate == 2:
                world.tell("dies before the commit")
                raise Died
        self.server.transactions += 1
        if fate == 3:
            world.tell("the commit fails, and was kept")
            raise Unreachable("database simulation does not answer: check that the server runs")
        if fate == 4:
            world.tell("dies after the commit")
            raise Died
        self._linger()

    @contextmanager
    def snapshot(self) -> Iterator[Unit]:
        """Open a unit of work that only reads."""
        self._reach("snapshot")
        with self.server.database.snapshot() as tx:
            yield tx
        self._linger()

    def version(self) -> int | None:
        """Return what a server without such a number says."""
        return None

    def _fate(self, *chances: float) -> int | None:
        if self.server.healed:
            return None
        luck = self.random.random()
        for number, chance in enumerate(chances):
            if luck < chance:
                return number
            luck -= chance
        return None

    def _reach(self, what: str) -> None:
        world = self.server.world
        if self.server.down_until_ns > world.now_ns:
            # Refused at once, or silent until the time-out.
            world.pause(seconds(self.random.choice([0.001, IO_S])))
            world.tell(f"{what}: the database does not answer")
            raise Unreachable("database simulation does not answer: check that the server runs")
        self._linger()

    def _linger(self) -> None:
        """Let time pass between two things that the process does: as a rule too little to matter."""
        if not self.server.healed and self.random.random() < self.plan.pause:
            self.server.world.pause(seconds(0.002 * 10 ** (4 * self.random.random())))
