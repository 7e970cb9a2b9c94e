-- Why: the sweep verifies each entry once and makes lots of it
-- How long: at once, the table is new
-- Locks: nothing that a process uses
-- Safe while trading: yes
-- Check: SELECT COUNT(*) FROM information_schema.tables
--     WHERE table_schema = DATABASE() AND table_name = 'ledger_mark'
-- Check on SQLite: SELECT COUNT(*) FROM sqlite_master WHERE type = 'table' AND name = 'ledger_mark'
-- Undo: DROP TABLE ledger_mark
CREATE TABLE ledger_mark (
    id       BIGINT NOT NULL,
    upto_seq BIGINT NOT NULL,
    seen_seq BIGINT NOT NULL,
    seen_ns  BIGINT NOT NULL,
    PRIMARY KEY (id)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;
