-- Why: closures of exchanges add rest, and every process has to know the same ones
-- How long: at once, the table is new
-- Locks: nothing that a process uses
-- Safe while trading: yes
-- Check: SELECT COUNT(*) FROM information_schema.tables
--     WHERE table_schema = DATABASE() AND table_name = 'trading_hours'
-- Check on SQLite: SELECT COUNT(*) FROM sqlite_master WHERE type = 'table' AND name = 'trading_hours'
-- Undo: DROP TABLE trading_hours
CREATE TABLE trading_hours (
    symbol   VARCHAR(64) NOT NULL PRIMARY KEY,
    exchange VARCHAR(32) NOT NULL,
    from_ns  BIGINT      NOT NULL,
    until_ns BIGINT      NOT NULL,
    digest   VARCHAR(64) NOT NULL,
    closed   LONGBLOB    NOT NULL
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;
