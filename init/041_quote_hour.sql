-- The history of quotes: those of one symbol in one UTC hour, n of them, in order of time, one an instant.
-- Little-endian arrays in C order: int64 at_ns (n), float64 numbers (4, n): bid, ask in points, their sizes in lots; int64
-- learned_ns (n): when each quote was learned. A partition is a month (docs/data.md).
CREATE TABLE IF NOT EXISTS quote_hour (
    symbol     VARCHAR(64) NOT NULL,
    hour_ns    BIGINT      NOT NULL,
    n          BIGINT      NOT NULL,
    at_ns      LONGBLOB    NOT NULL,
    numbers    LONGBLOB    NOT NULL,
    learned_ns LONGBLOB    NOT NULL,
    PRIMARY KEY (symbol, hour_ns)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin
PARTITION BY RANGE (hour_ns) (PARTITION later VALUES LESS THAN MAXVALUE);
