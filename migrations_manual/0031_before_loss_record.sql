-- Why: a cluster of losses is told from the account's own record, which outlives every process
-- How long: at once, the table is new
-- Locks: nothing that a process uses
-- Safe while trading: yes
-- Check: SELECT COUNT(*) FROM information_schema.tables
--     WHERE table_schema = DATABASE() AND table_name = 'loss_record'
-- Check on SQLite: SELECT COUNT(*) FROM sqlite_master WHERE type = 'table' AND name = 'loss_record'
-- Undo: DROP TABLE loss_record
CREATE TABLE loss_record (
    id     BIGINT         NOT NULL PRIMARY KEY,
    at_ns  BIGINT         NOT NULL,
    equity DECIMAL(38,12) NOT NULL,
    marks  BIGINT         NOT NULL,
    losses BIGINT         NOT NULL,
    recent VARCHAR(512)   NOT NULL
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;
