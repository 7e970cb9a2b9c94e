-- Why: what was stopped is released by two people, one of whom proposes
-- How long: at once, the table is new
-- Locks: nothing that a process uses
-- Safe while trading: yes
-- Check: SELECT COUNT(*) FROM information_schema.tables
--     WHERE table_schema = DATABASE() AND table_name = 'control_release'
-- Check on SQLite: SELECT COUNT(*) FROM sqlite_master WHERE type = 'table' AND name = 'control_release'
-- Undo: DROP TABLE control_release
CREATE TABLE control_release (
    seq          BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY,
    level        VARCHAR(16)  NOT NULL,
    name         VARCHAR(128) NOT NULL,
    was          TEXT         NOT NULL,
    proposed_by  VARCHAR(128) NOT NULL,
    reason       TEXT         NOT NULL,
    proposed_ns  BIGINT       NOT NULL,
    confirmed_by VARCHAR(128) NULL,
    confirmed_ns BIGINT       NULL
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;
