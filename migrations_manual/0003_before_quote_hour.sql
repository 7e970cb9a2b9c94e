-- Why: the history of quotes is kept, an hour to a row
-- How long: at once, the table is new
-- Locks: nothing that a process uses
-- Safe while trading: yes
-- Check: SELECT COUNT(*) FROM information_schema.tables
--     WHERE table_schema = DATABASE() AND table_name = 'quote_hour'
-- Check on SQLite: SELECT COUNT(*) FROM sqlite_master WHERE type = 'table' AND name = 'quote_hour'
-- Undo: DROP TABLE quote_hour
CREATE TABLE quote_hour (
    symbol     VARCHAR(64) NOT NULL,
    hour_ns    BIGINT      NOT NULL,
    n          BIGINT      NOT NULL,
    at_ns      LONGBLOB    NOT NULL,
    numbers    LONGBLOB    NOT NULL,
    learned_ns LONGBLOB    NOT NULL,
    PRIMARY KEY (symbol, hour_ns)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin
PARTITION BY RANGE (hour_ns) (PARTITION later VALUES LESS THAN MAXVALUE);
