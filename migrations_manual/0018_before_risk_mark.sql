-- Why: the platform stops by itself when the account has lost too much, from its peak or in a day
-- How long: at once, the table is new
-- Locks: nothing that a process uses
-- Safe while trading: yes
-- Check: SELECT COUNT(*) FROM information_schema.tables
--     WHERE table_schema = DATABASE() AND table_name = 'risk_mark'
-- Check on SQLite: SELECT COUNT(*) FROM sqlite_master WHERE type = 'table' AND name = 'risk_mark'
-- Undo: DROP TABLE risk_mark
CREATE TABLE risk_mark (
    id         BIGINT         NOT NULL PRIMARY KEY,
    peak       DECIMAL(38,12) NOT NULL,
    day_ns     BIGINT         NOT NULL,
    day_equity DECIMAL(38,12) NOT NULL,
    since_ns   BIGINT         NOT NULL
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;
