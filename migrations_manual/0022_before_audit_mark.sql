-- Why: the writer of the audit chain knows how far it has read
-- How long: at once, the table is new
-- Locks: nothing that a process uses
-- Safe while trading: yes
-- Check: SELECT COUNT(*) FROM information_schema.tables
--     WHERE table_schema = DATABASE() AND table_name = 'audit_mark'
-- Check on SQLite: SELECT COUNT(*) FROM sqlite_master WHERE type = 'table' AND name = 'audit_mark'
-- Undo: DROP TABLE audit_mark
CREATE TABLE audit_mark (
    source  VARCHAR(32) NOT NULL,
    version BIGINT      NOT NULL,
    upto    BIGINT      NOT NULL,
    state   LONGBLOB    NOT NULL,
    PRIMARY KEY (source)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;
