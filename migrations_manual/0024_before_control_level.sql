-- Why: a control mode may be for a symbol, a venue, an account or a strategy alone; the one for everything stays where it is
-- How long: at once, the table is new
-- Locks: nothing that a process uses
-- Safe while trading: yes
-- Check: SELECT COUNT(*) FROM information_schema.tables
--     WHERE table_schema = DATABASE() AND table_name = 'control_level'
-- Check on SQLite: SELECT COUNT(*) FROM sqlite_master WHERE type = 'table' AND name = 'control_level'
-- Undo: DROP TABLE control_level
CREATE TABLE control_level (
    seq      BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY,
    level    VARCHAR(16)  NOT NULL,
    name     VARCHAR(128) NOT NULL,
    mode     VARCHAR(16)  NOT NULL,
    operator VARCHAR(128) NOT NULL,
    reason   TEXT         NOT NULL,
    set_ns   BIGINT       NOT NULL,
    until_ns BIGINT       NULL,
    KEY control_level_by_name (level, name, seq)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;
