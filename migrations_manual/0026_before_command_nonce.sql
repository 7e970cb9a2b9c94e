-- Why: a signed command that is shown again must not be obeyed again
-- How long: at once, the table is new
-- Locks: nothing that a process uses
-- Safe while trading: yes
-- Check: SELECT COUNT(*) FROM information_schema.tables
--     WHERE table_schema = DATABASE() AND table_name = 'command_nonce'
-- Check on SQLite: SELECT COUNT(*) FROM sqlite_master WHERE type = 'table' AND name = 'command_nonce'
-- Undo: DROP TABLE command_nonce
CREATE TABLE command_nonce (
    nonce      VARCHAR(64)  NOT NULL PRIMARY KEY,
    person     VARCHAR(128) NOT NULL,
    expires_ns BIGINT       NOT NULL
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;
