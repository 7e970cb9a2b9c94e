-- Why: snapshots that were taken already must not be taken again
-- How long: at once, the table is new
-- Locks: nothing that a process uses
-- Safe while trading: yes
-- Check: SELECT COUNT(*) FROM information_schema.tables
--     WHERE table_schema = DATABASE() AND table_name = 'observer_mark'
-- Check on SQLite: SELECT COUNT(*) FROM sqlite_master WHERE type = 'table' AND name = 'observer_mark'
-- Undo: DROP TABLE observer_mark
CREATE TABLE observer_mark (
    observer VARCHAR(32) NOT NULL PRIMARY KEY,
    seen_seq BIGINT      NOT NULL,
    number   BIGINT      NOT NULL,
    at_ns    BIGINT      NOT NULL
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;
