"""`series_ports.SeriesStore`, the service above it, and the months below it: on SQLite and on MariaDB."""

import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import pairwise

import numpy as np
import polars as pl
import pytest
import sqlalchemy as sa

from tests.mysql_server import MYSQLD
from trisagion.adapters.db import Conflict, SqlDatabase, Unreachable, partitions, tables
from trisagion.clock import HOUR_NS, MINUTE_NS
from trisagion.errors import OurMistake, StateError, UnreadableRow
from trisagion.market.history import BAR_NUMBERS, DAY_NS, INTERVALS, Changes, Known, known_quotes, rolled_up
from trisagion.market.months import months, shifted
from trisagion.market.types import Bars, Quotes
from trisagion.services import keep_series

DAY = int(datetime(2024, 1, 31, tzinfo=UTC).timestamp()) * 1_000_000_000
JANUARY, FEBRUARY, MARCH = months(DAY, DAY + 40 * DAY_NS)


def minutes(first_ns: int, count: int, learned: int = 1, seed: int = 1) -> Known:
    """Return minute bars one after another, with whole volumes."""
    draw = np.random.default_rng(seed)
    low = draw.integers(400, 500, count) / 4
    numbers = (low + 1, low + 3, low, low + 2, draw.integers(0, 100, count).astype(np.float64))
    return Known(first_ns + np.arange(count) * MINUTE_NS, np.stack(numbers), np.full(count, learned, dtype=np.int64))


def corrected(known: Known, index: int, close: float, learned: int) -> Known:
    """Return the one bar of an index with another close."""
    numbers = known.numbers[:, index : index + 1].copy()
    numbers[3] = close
    return Known(known.at_ns[index : index + 1], numbers, np.array([learned], dtype=np.int64))


def keep(database: SqlDatabase, told: Known, symbol: str = "ES") -> tuple[Changes, int]:
    """Keep minutes of some days."""
    changes, rolled = Changes(), 0
    for _, block in told.blocks(DAY_NS):
        one, longer = keep_series.keep_bars(database, symbol, MINUTE_NS, block)
        changes, rolled = changes + one, rolled + longer
    return changes, rolled


def read(database: SqlDatabase, interval_ns: int, from_ns: int = 0, until_ns: int = 2**62, symbol: str = "ES") -> Bars:
    """Read bars of a symbol."""
    with database.snapshot() as tx:
        return tx.series.bars(symbol, interval_ns, from_ns, until_ns)


def rows(bars: Bars) -> list[tuple[float, ...]]:
    """Return bars as rows that compare."""
    columns = (bars.close_ns - bars.interval_ns, *(getattr(bars, name) for name in BAR_NUMBERS))
    return list(zip(*(column.tolist() for column in columns), strict=True))


@pytest.fixture
def database_url(owned_url: str) -> str:
    """Give the database to somebody who may make partitions, as the importer of history must."""
    return owned_url


@pytest.fixture
def unparted(database: SqlDatabase) -> Iterator[SqlDatabase]:
    """Give a database whose history has one partition, whatever a test makes of it."""
    _join(database)
    yield database
    _join(database)


def _join(database: SqlDatabase) -> None:
    if database.engine.dialect.name == "sqlite":
        return
    for table in partitions.BEGINS:
        with database.engine.connect() as connection:
            names = [found.name for found in partitions.listed(database) if found.table == table.name]
            if len(names) > 1:
                connection.exec_driver_sql(
                    f"ALTER TABLE {table.name} REORGANIZE PARTITION {', '.join(names)} "
                    "INTO (PARTITION later VALUES LESS THAN MAXVALUE)"
                )


def test_bars_come_back_as_they_were_told(database: SqlDatabase) -> None:
    """To the last bit, over days, in order of time, of their symbol and interval alone."""
    told = minutes(DAY - 7 * MINUTE_NS, 1500)
    told.numbers[0, 3] = 100 + 1 / 3
    told.numbers[1, 3] = 1.7976931348623157e15
    assert keep(database, told) == (Changes(new=1500), (2 + 288 + 11) + (1 + 96 + 4) + (1 + 24 + 1) + (1 + 1 + 1))
    keep(database, minutes(DAY, 5, seed=2), symbol="NQ")
    found = read(database, MINUTE_NS)
    assert (found.symbol, found.interval_ns) == ("ES", MINUTE_NS)
    assert found.close_ns.tolist() == (told.at_ns + MINUTE_NS).tolist()
    for name, values in zip(BAR_NUMBERS, told.numbers, strict=True):
        assert getattr(found, name).tobytes() == values.tobytes()
    assert len(read(database, MINUTE_NS, symbol="CL")) == 0


def test_a_span_has_the_bars_that_lie_within_it(database: SqlDatabase) -> None:
    """Those that opened at its begin or later and were closed by its end: what was closed by the present is in it."""
    keep(database, minutes(DAY - 3 * MINUTE_NS, 66))
    found = read(database, MINUTE_NS, DAY - 2 * MINUTE_NS, DAY + 3 * MINUTE_NS - 1)
    assert found.close_ns.tolist() == [DAY + k * MINUTE_NS for k in (-1, 0, 1, 2)]
    assert [len(read(database, HOUR_NS, until_ns=DAY + HOUR_NS + k)) for k in (-1, 0)] == [1, 2]
    assert len(read(database, DAY_NS, until_ns=DAY + HOUR_NS)) == 1


def test_told_again_it_changes_nothing(database: SqlDatabase) -> None:
    """Neither rows nor when they were learned; nor do longer bars change."""
    told = minutes(DAY, 100, learned=5)
    keep(database, told)
    with database.snapshot() as tx:
        before = tx.session.rows(sa.select(tables.bar_day))
    again = Known(told.at_ns, told.numbers, told.learned_ns + 3)
    assert keep(database, again) == (Changes(same=100), 0)
    assert keep_series.roll_day(database, "ES", DAY) == 0
    with database.snapshot() as tx:
        assert tx.session.rows(sa.select(tables.bar_day)) == before


def test_a_correction_replaces_and_an_older_word_does_not(database: SqlDatabase) -> None:
    """The later word stands, in whatever order they come; the longer bars around it follow, and no others."""
    told = minutes(DAY, 120, learned=5)
    keep(database, told)
    before = {name: rows(read(database, interval_ns)) for name, interval_ns in INTERVALS.items()}
    assert keep(database, corrected(told, 59, 777.0, 4)) == (Changes(older=1), 0)
    assert {name: rows(read(database, interval_ns)) for name, interval_ns in INTERVALS.items()} == before
    assert keep(database, corrected(told, 59, 126.375, 6)) == (Changes(corrected=1), 3)
    after = {name: rows(read(database, interval_ns)) for name, interval_ns in INTERVALS.items()}
    differ = {name: [i for i, row in enumerate(after[name]) if row != before[name][i]] for name in INTERVALS}
    assert differ == {"1m": [59], "5m": [11], "15m": [3], "1h": [0], "1d": []}
    assert [after[name][i][4] for name, i in (("5m", 11), ("15m", 3), ("1h", 0))] == [126.375] * 3


def test_a_late_minute_changes_its_longer_bars(database: SqlDatabase) -> None:
    """As if it had been there from the start."""
    told = minutes(DAY, 1440)
    late = told.within(DAY + 600 * MINUTE_NS, DAY + 601 * MINUTE_NS)
    late.numbers[1] += 500
    keep(database, told.within(DAY, DAY + 600 * MINUTE_NS))
    keep(database, told.within(DAY + 601 * MINUTE_NS, DAY + DAY_NS))
    assert read(database, DAY_NS).high.max() < 200
    assert keep(database, late) == (Changes(new=1), 4)
    for shorter_ns, longer_ns in pairwise(INTERVALS.values()):
        with database.snapshot() as tx:
            made = rolled_up(tx.series.known_bars("ES", shorter_ns, DAY), longer_ns)
            kept = tx.series.known_bars("ES", longer_ns, DAY)
        assert (kept.at_ns.tolist(), kept.numbers.tolist()) == (made.at_ns.tolist(), made.numbers.tolist())
    assert read(database, DAY_NS).high.tolist() == [late.numbers[1, 0]]


@pytest.mark.parametrize("every", ["5m", "15m", "1h", "1d"])
def test_kept_longer_bars_are_those_of_polars(database: SqlDatabase, every: str) -> None:
    """Told in pieces, out of order, over a month's end, with gaps."""
    told = minutes(DAY - 2 * HOUR_NS, 2000)
    draw = np.random.default_rng(3)
    there = draw.random(2000) < 0.6
    told = Known(told.at_ns[there], told.numbers[:, there], told.learned_ns[there])
    for first in (1000, 0, 1500, 500):
        from_ns = int(told.at_ns[0]) + first * MINUTE_NS
        keep(database, told.within(from_ns, from_ns + 500 * MINUTE_NS))
    frame = pl.DataFrame({"at": told.at_ns, **dict(zip(BAR_NUMBERS, told.numbers, strict=True))})
    theirs = (
        frame.with_columns(pl.col("at").cast(pl.Datetime("ns", "UTC")))
        .group_by_dynamic("at", every=every)
        .agg(
            *(pl.col("open").first(), pl.col("high").max(), pl.col("low").min()),
            *(pl.col("close").last(), pl.col("volume").sum()),
        )
        .with_columns(pl.col("at").dt.epoch("ns"))
    )
    assert rows(read(database, INTERVALS[every])) == theirs.rows()


def test_rolling_up_again_mends_what_another_program_did(database: SqlDatabase) -> None:
    """It tells how many longer bars were missing; where both were told, the newest word stands."""
    told = minutes(DAY, 30, learned=5)
    keep(database, told)
    with database.transaction() as tx:
        tx.session.write(sa.delete(tables.bar_day).where(tables.bar_day.c.interval_ns > 5 * MINUTE_NS), {})
    assert keep_series.roll_day(database, "ES", DAY) == 2 + 1 + 1
    assert keep_series.roll_day(database, "ES", DAY) == 0
    daily = Known(np.array([DAY]), np.array([[1.0], [999.0], [1.0], [2.0], [3.0]]), np.array([6]))
    assert keep_series.keep_bars(database, "ES", DAY_NS, daily) == (Changes(corrected=1), 0)
    assert keep_series.roll_day(database, "ES", DAY) == 0
    assert read(database, DAY_NS).high.tolist() == [999.0]
    with database.snapshot() as tx:
        assert tx.series.bar_days() == [("ES", DAY)]
        assert tx.series.span("ES", DAY_NS) == (DAY, DAY + DAY_NS)
        assert tx.series.span("ES", None) is None


def test_a_block_that_fails_leaves_nothing_behind(database: SqlDatabase) -> None:
    """Neither bars nor longer bars, nor an empty day."""

    def fail_midway() -> None:
        with database.transaction() as tx:
            tx.series.put_bars("ES", MINUTE_NS, minutes(DAY, 3))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_midway()
    with database.snapshot() as tx:
        assert tx.series.bar_days() == []
        with pytest.raises(OurMistake, match="a snapshot only reads"):
            tx.series.put_bars("ES", MINUTE_NS, minutes(DAY, 3))


def test_two_writers_of_a_day_lose_nothing(database: SqlDatabase, other: SqlDatabase) -> None:
    """Each tells every second minute, one by one, at once; all are there, and the longer bars are of all."""
    told = minutes(DAY, 60)
    failed: list[BaseException] = []

    def write(which: SqlDatabase, parity: int) -> None:
        try:
            for index in range(parity, 60, 2):
                at_ns = int(told.at_ns[index])
                for _ in range(50):
                    try:
                        keep(which, told.within(at_ns, at_ns + 1))
                    except (Conflict, Unreachable):
                        continue
                    break
        except BaseException as error:  # noqa: BLE001 - told to the test
            failed.append(error)

    threads = [threading.Thread(target=write, args=(which, n)) for n, which in enumerate((database, other))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert len(read(database, MINUTE_NS)) == 60
    hour = rolled_up(told, HOUR_NS)
    assert [row[1:] for row in rows(read(database, HOUR_NS))] == [tuple(hour.numbers[:, 0].tolist())]
    assert keep_series.roll_day(database, "ES", DAY) == 0


def test_quotes_come_back_as_they_were_told(database: SqlDatabase) -> None:
    """By the hour, with a correction, and only of the span asked for."""
    at_ns = DAY + np.array([1, HOUR_NS - 1, HOUR_NS, 5 * HOUR_NS])
    bid = np.array([100.25, 100.5, 1 / 3, 7.0])
    sizes = np.array([1.0, 0.0, 2.5, 3.0])
    known = known_quotes(Quotes("ES", at_ns, bid, bid + 0.25, sizes, sizes + 1), 5)
    changes = [keep_series.keep_quotes(database, "ES", block) for _, block in known.blocks(HOUR_NS)]
    assert changes == [Changes(new=2), Changes(new=1), Changes(new=1)]
    again = known_quotes(Quotes("ES", at_ns[:2], bid[:2], bid[:2] + 1, sizes[:2], sizes[:2] + 1), 6)
    assert keep_series.keep_quotes(database, "ES", again) == Changes(corrected=2)
    with database.snapshot() as tx:
        found = tx.series.quotes("ES", DAY + 1, DAY + 5 * HOUR_NS)
        assert found.at_ns.tolist() == at_ns[:3].tolist()
        assert found.bid.tolist() == bid[:3].tolist()
        assert found.ask.tolist() == [101.25, 101.5, 1 / 3 + 0.25]
        assert (found.bid_size.tolist(), found.ask_size.tolist()) == ([1.0, 0.0, 2.5], [2.0, 1.0, 3.5])
        assert len(tx.series.quotes("NQ", 0, 2**62)) == 0
        assert tx.series.span("ES", None) == (DAY, DAY + 6 * HOUR_NS)


@pytest.mark.parametrize("damage", [{"n": 4}, {"open_ns": b"1"}, {"numbers": b""}, {"open_ns": b"\0" * 24}])
def test_a_damaged_block_is_told_and_not_read(database: SqlDatabase, damage: dict[str, object]) -> None:
    """An array of another length, or instants of another day: the sentence says where."""
    keep(database, minutes(DAY, 3))
    with database.transaction() as tx:
        tx.session.write(sa.update(tables.bar_day).where(tables.bar_day.c.interval_ns == MINUTE_NS).values(damage), {})
    with pytest.raises(
        UnreadableRow, match=r"bar_day 'ES' of 2024-01-31T00:00:00.000Z: expected arrays of \d instants"
    ):
        read(database, MINUTE_NS)


def by_month(database: SqlDatabase, table: str = "bar_day") -> dict[str, int]:
    """Return what each partition of a table holds, those that hold nothing left out."""
    return {found.name: found.count for found in partitions.listed(database) if found.count and found.table == table}


def test_rows_go_to_the_partition_of_their_month(unparted: SqlDatabase) -> None:
    """Made before or after the rows come, in any order, twice; what lies outside all months is kept too."""
    on_server = unparted.engine.dialect.name != "sqlite"
    assert partitions.make(unparted, [FEBRUARY]) == (
        [f"{table}.{name}" for table in ("bar_day", "quote_hour") for name in ("before_202402", "before_202403")]
        if on_server
        else []
    )
    assert partitions.make(unparted, [FEBRUARY]) == []
    keep(unparted, minutes(DAY, 1440 + 10))
    keep(unparted, minutes(DAY - 50 * DAY_NS, 5))
    keep(unparted, minutes(MARCH + 40 * DAY_NS, 5))
    longer = {"jan": 288 + 96 + 24 + 1, "feb": 2 + 1 + 1 + 1, "few": 1 + 1 + 1 + 1}
    assert len(partitions.make(unparted, [JANUARY, shifted(JANUARY, -1)])) == (4 if on_server else 0)
    assert len(partitions.make(unparted, [shifted(MARCH, 1)])) == (4 if on_server else 0)
    assert by_month(unparted) == {
        "before_202401": 5 + longer["few"],
        "before_202402": 1440 + longer["jan"],
        "before_202403": 10 + longer["feb"],
        "before_202405": 5 + longer["few"],
    }
    assert len(read(unparted, MINUTE_NS)) == 1460
    found = [(p.name, p.from_ns, p.until_ns) for p in partitions.listed(unparted) if p.table == "bar_day"]
    assert ("before_202403", FEBRUARY, MARCH) in found
    assert all(earlier[2] == later[1] for earlier, later in pairwise(found)) or not on_server
    assert all(partition.size_bytes > 0 for partition in partitions.listed(unparted))


def test_dropping_removes_whole_months_and_tells_it(unparted: SqlDatabase) -> None:
    """What ends by the month goes, the rest stays; the event log has who, what and how much."""
    partitions.make(unparted, [JANUARY, FEBRUARY])
    keep(unparted, minutes(DAY, 1440 + 10))
    quote = Known(np.array([DAY]), np.ones((4, 1)), np.array([1]))
    keep_series.keep_quotes(unparted, "ES", quote)
    assert [found.count for found in partitions.due(unparted, JANUARY) if found.count] == []
    chosen = partitions.due(unparted, FEBRUARY)
    assert {(found.table, found.count) for found in chosen if found.count} == {("bar_day", 1849), ("quote_hour", 1)}
    assert len(read(unparted, MINUTE_NS)) == 1450, "looking drops nothing"
    partitions.drop(unparted, chosen, "ann", 77)
    assert read(unparted, MINUTE_NS).close_ns.min() == FEBRUARY + MINUTE_NS
    partitions.drop(unparted, chosen[:1], "bob", 78)
    assert by_month(unparted) == {"before_202403": 15}, "what is gone already is gone"
    assert by_month(unparted, "quote_hour") == {}
    with unparted.snapshot() as tx:
        events = [(row.kind, row.subject, row.at_ns) for row in tx.session.rows(sa.select(tables.event))]
        detail = tx.session.scalar(sa.select(tables.event.c.detail).limit(1))
    told = [(f"history.{kind}", table, 77) for table in ("bar_day", "quote_hour") for kind in ("dropping", "dropped")]
    assert events[:4] == told
    assert '"before": "2024-02-01T00:00:00.000Z"' in detail
    assert '"count": "1849", "operator": "ann"' in detail
    partitions.make(unparted, [JANUARY])
    keep(unparted, minutes(DAY, 1440))
    assert by_month(unparted)["before_202402"] == 1849, "a month that was dropped can be told again"


@pytest.mark.mariadb
def test_a_table_in_use_is_waited_for_and_then_let_be(on_mariadb: SqlDatabase) -> None:
    """A reader that does not end keeps its partitions; the error says so, and nothing is lost."""
    _join(on_mariadb)
    keep(on_mariadb, minutes(DAY, 3))
    reading, done = threading.Event(), threading.Event()

    def reader() -> None:
        with on_mariadb.snapshot() as tx:
            tx.series.bars("ES", MINUTE_NS, 0, 2**62)
            reading.set()
            done.wait(60)

    thread = threading.Thread(target=reader)
    thread.start()
    try:
        assert reading.wait(30)
        with pytest.raises(Conflict, match="another transaction was in the way"):
            partitions.make(on_mariadb, [JANUARY])
    finally:
        done.set()
        thread.join()
    assert partitions.make(on_mariadb, [JANUARY]) != []
    assert len(read(on_mariadb, MINUTE_NS)) == 3
    _join(on_mariadb)


@pytest.mark.mariadb
def test_two_that_make_partitions_take_turns(on_mariadb: SqlDatabase) -> None:
    """The second waits a little and is told; a table that another program made without partitions is told too."""
    _join(on_mariadb)
    with partitions._alone(on_mariadb), pytest.raises(Conflict, match="another process is making or dropping"):
        partitions.make(on_mariadb, [JANUARY])
    with on_mariadb.engine.connect() as connection:
        connection.exec_driver_sql("ALTER TABLE quote_hour REMOVE PARTITIONING")
    try:
        with pytest.raises(StateError, match="table quote_hour has no partitions: another program made it"):
            partitions.make(on_mariadb, [JANUARY])
    finally:
        with on_mariadb.engine.connect() as connection:
            connection.exec_driver_sql(
                "ALTER TABLE quote_hour PARTITION BY RANGE (hour_ns) (PARTITION later VALUES LESS THAN MAXVALUE)"
            )
        _join(on_mariadb)


@pytest.mark.mariadb
def test_a_month_is_read_from_its_partition_alone(on_mariadb: SqlDatabase) -> None:
    """The server prunes the others: its plan for a month of one symbol names one partition."""
    _join(on_mariadb)
    partitions.make(on_mariadb, [JANUARY, FEBRUARY])
    # MySQL's table of a plan always has the partitions; it knows no word for them any more.
    explain = "EXPLAIN FORMAT=TRADITIONAL" if MYSQLD else "EXPLAIN PARTITIONS"
    with on_mariadb.snapshot() as tx:
        plan = tx.session.row(
            sa.text(
                f"{explain} SELECT open_ns, numbers FROM bar_day WHERE symbol = 'ES' AND interval_ns = :every "  # noqa: S608 # its own words
                "AND day_ns >= :from_ns AND day_ns < :until_ns ORDER BY day_ns"
            ),
            {"every": MINUTE_NS, "from_ns": FEBRUARY, "until_ns": MARCH - MINUTE_NS + 1},
        )
    assert plan.partitions == "before_202403"
    _join(on_mariadb)
