-- Why: who comes, and what a run begins with, is recorded
-- How long: at once, the table is new
-- Locks: nothing that a process uses
-- Safe while trading: yes
-- Check: SELECT COUNT(*) FROM information_schema.tables
--     WHERE table_schema = DATABASE() AND table_name = 'audit_note'
-- Check on SQLite: SELECT COUNT(*) FROM sqlite_master WHERE type = 'table' AND name = 'audit_note'
-- Undo: DROP TABLE audit_note
CREATE TABLE audit_note (
    seq          BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY,
    at_ns        BIGINT       NOT NULL,
    monotonic_ns BIGINT       NOT NULL,
    host         VARCHAR(64)  NOT NULL,
    actor        VARCHAR(128) NOT NULL,
    build        VARCHAR(64)  NOT NULL,
    config       VARCHAR(64)  NOT NULL,
    kind         VARCHAR(64)  NOT NULL,
    subject      VARCHAR(200) NOT NULL,
    detail       TEXT         NOT NULL
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;
