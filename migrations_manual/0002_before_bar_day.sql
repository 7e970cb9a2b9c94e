-- Why: the history of bars is kept, a day to a row
-- How long: at once, the table is new
-- Locks: nothing that a process uses
-- Safe while trading: yes
-- Check: SELECT COUNT(*) FROM information_schema.tables
--     WHERE table_schema = DATABASE() AND table_name = 'bar_day'
-- Check on SQLite: SELECT COUNT(*) FROM sqlite_master WHERE type = 'table' AND name = 'bar_day'
-- Undo: DROP TABLE bar_day
CREATE TABLE bar_day (
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
