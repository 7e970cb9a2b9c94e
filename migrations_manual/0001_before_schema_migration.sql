-- Why: the database records what was done to its schema, so that a process refuses one that it cannot use
-- How long: at once, the table is new
-- Locks: nothing that a process uses
-- Safe while trading: yes
-- Check: SELECT COUNT(*) FROM information_schema.tables
--     WHERE table_schema = DATABASE() AND table_name = 'schema_migration'
-- Check on SQLite: SELECT COUNT(*) FROM sqlite_master WHERE type = 'table' AND name = 'schema_migration'
-- Undo: DROP TABLE schema_migration
CREATE TABLE schema_migration (
    number   BIGINT       NOT NULL,
    name     VARCHAR(128) NOT NULL,
    checksum VARCHAR(64)  NOT NULL,
    state    VARCHAR(16)  NOT NULL,
    operator VARCHAR(128) NOT NULL,
    at_ns    BIGINT       NOT NULL,
    PRIMARY KEY (number)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;
