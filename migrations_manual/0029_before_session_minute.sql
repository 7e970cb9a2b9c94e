-- Why: the ratio of messages to trades is counted over minutes, and outlives whoever owns the session
-- How long: at once, the table is new
-- Locks: nothing that a process uses
-- Safe while trading: yes
-- Check: SELECT COUNT(*) FROM information_schema.tables
--     WHERE table_schema = DATABASE() AND table_name = 'session_minute'
-- Check on SQLite: SELECT COUNT(*) FROM sqlite_master WHERE type = 'table' AND name = 'session_minute'
-- Undo: DROP TABLE session_minute
CREATE TABLE session_minute (
    session   VARCHAR(128) NOT NULL,
    minute_ns BIGINT       NOT NULL,
    messages  BIGINT       NOT NULL,
    trades    BIGINT       NOT NULL,
    PRIMARY KEY (minute_ns, session)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;
