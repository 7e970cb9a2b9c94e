-- Why: a version of a limit is in force when another person has approved it
-- How long: at once, the table is new
-- Locks: nothing that a process uses
-- Safe while trading: yes
-- Check: SELECT COUNT(*) FROM information_schema.tables
--     WHERE table_schema = DATABASE() AND table_name = 'risk_limit_approval'
-- Check on SQLite: SELECT COUNT(*) FROM sqlite_master WHERE type = 'table' AND name = 'risk_limit_approval'
-- Undo: DROP TABLE risk_limit_approval
CREATE TABLE risk_limit_approval (
    version     BIGINT       NOT NULL PRIMARY KEY,
    approved_by VARCHAR(128) NOT NULL,
    approved_ns BIGINT       NOT NULL
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;
