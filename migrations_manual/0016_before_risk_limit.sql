-- Why: limits are rows with versions, and are changed while the platform trades
-- How long: at once, the table is new
-- Locks: nothing that a process uses
-- Safe while trading: yes
-- Check: SELECT COUNT(*) FROM information_schema.tables
--     WHERE table_schema = DATABASE() AND table_name = 'risk_limit'
-- Check on SQLite: SELECT COUNT(*) FROM sqlite_master WHERE type = 'table' AND name = 'risk_limit'
-- Undo: DROP TABLE risk_limit
CREATE TABLE risk_limit (
    version     BIGINT         NOT NULL PRIMARY KEY,
    name        VARCHAR(64)    NOT NULL,
    scope       VARCHAR(16)    NOT NULL,
    subject     VARCHAR(64)    NOT NULL,
    value       DECIMAL(38,12) NOT NULL,
    proposed_by VARCHAR(128)   NOT NULL,
    reason      TEXT           NOT NULL,
    proposed_ns BIGINT         NOT NULL
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;
