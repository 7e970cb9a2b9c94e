-- The history of bars: those of one symbol and interval that opened on one UTC day, n of them, in order of time.
-- Little-endian arrays in C order: int64 open_ns (n), float64 numbers (5, n): open, high, low, close in points, volume in
-- lots; int64 learned_ns (n): when each bar's numbers were learned. A partition is a month (docs/data.md).
CREATE TABLE IF NOT EXISTS bar_day (
    symbol      VARCHAR(64) NOT NULL,
    interval_ns BIGINT      NOT NULL,
    day_ns      BIGINT      NOT NULL,
    n           BIGINT      NOT NULL,
    open_ns     LONGBLOB    NOT NULL,
    numbers     LONGBLOB    NOT NULL,
    learned_ns  LONGBLOB    NOT NULL,
    PRIMARY KEY (symbol, interval_ns, day_ns)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin
PARTITION BY RANGE (day_ns) (PARTITION later VALUES LESS THAN MAXVALUE);
