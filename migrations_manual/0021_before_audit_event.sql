-- Why: rows of other tables are linked by hashes, without a hole
-- How long: at once, the table is new
-- Locks: nothing that a process uses
-- Safe while trading: yes
-- Check: SELECT COUNT(*) FROM information_schema.tables
--     WHERE table_schema = DATABASE() AND table_name = 'audit_event'
-- Check on SQLite: SELECT COUNT(*) FROM sqlite_master WHERE type = 'table' AND name = 'audit_event'
-- Undo: DROP TABLE audit_event
CREATE TABLE audit_event (
    shard     VARCHAR(32)  NOT NULL,
    seq       BIGINT       NOT NULL,
    at_ns     BIGINT       NOT NULL,
    source    VARCHAR(32)  NOT NULL,
    row_key   VARCHAR(200) NOT NULL,
    detail    TEXT         NOT NULL,
    prev_hash VARCHAR(64)  NOT NULL,
    hash      VARCHAR(64)  NOT NULL,
    PRIMARY KEY (shard, seq),
    CONSTRAINT audit_event_once UNIQUE (source, row_key)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;
