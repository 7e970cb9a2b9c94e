-- Why: who obeys a release or a limit checks the signatures that it was made by, and so they have to be kept
-- How long: at once, the table is new
-- Locks: nothing that a process uses
-- Safe while trading: yes
-- Check: SELECT COUNT(*) FROM information_schema.tables
--     WHERE table_schema = DATABASE() AND table_name = 'signed_command'
-- Check on SQLite: SELECT COUNT(*) FROM sqlite_master WHERE type = 'table' AND name = 'signed_command'
-- Undo: DROP TABLE signed_command
CREATE TABLE signed_command (
    seq        BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY,
    person     VARCHAR(128) NOT NULL,
    action     VARCHAR(32)  NOT NULL,
    subject    TEXT         NOT NULL,
    reason     TEXT         NOT NULL,
    nonce      VARCHAR(64)  NOT NULL,
    expires_ns BIGINT       NOT NULL,
    signature  VARCHAR(128) NOT NULL,
    taken_ns   BIGINT       NOT NULL,
    CONSTRAINT signed_command_once UNIQUE (nonce)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;
