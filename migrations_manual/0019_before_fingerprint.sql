-- Why: a worker of another build or configuration than the operator's must not trade
-- How long: at once, the table is new
-- Locks: nothing that a process uses
-- Safe while trading: yes
-- Check: SELECT COUNT(*) FROM information_schema.tables
--     WHERE table_schema = DATABASE() AND table_name = 'fingerprint'
-- Check on SQLite: SELECT COUNT(*) FROM sqlite_master WHERE type = 'table' AND name = 'fingerprint'
-- Undo: DROP TABLE fingerprint
CREATE TABLE fingerprint (
    seq      BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY,
    print    VARCHAR(64)  NOT NULL,
    operator VARCHAR(128) NOT NULL,
    set_ns   BIGINT       NOT NULL
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;
