-- Why: observers write signed snapshots of what is held
-- How long: at once, the table is new
-- Locks: nothing that a process uses
-- Safe while trading: yes
-- Check: SELECT COUNT(*) FROM information_schema.tables
--     WHERE table_schema = DATABASE() AND table_name = 'observer_snapshot'
-- Check on SQLite: SELECT COUNT(*) FROM sqlite_master WHERE type = 'table' AND name = 'observer_snapshot'
-- Undo: DROP TABLE observer_snapshot
CREATE TABLE observer_snapshot (
    seq       BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY,
    observer  VARCHAR(32)  NOT NULL,
    number    BIGINT       NOT NULL,
    at_ns     BIGINT       NOT NULL,
    complete  BOOLEAN      NOT NULL,
    reason    TEXT         NOT NULL,
    positions TEXT         NOT NULL,
    key_id    VARCHAR(16)  NOT NULL,
    signature VARCHAR(128) NOT NULL,
    KEY observer_snapshot_by_observer (observer, seq)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;
