-- Why: the order ids of a session with Interactive Brokers must grow through crashes and roll-backs
-- How long: at once, the table is new
-- Locks: nothing that a process uses
-- Safe while trading: yes
-- Check: SELECT COUNT(*) FROM information_schema.tables
--     WHERE table_schema = DATABASE() AND table_name = 'ib_order_id'
-- Check on SQLite: SELECT COUNT(*) FROM sqlite_master WHERE type = 'table' AND name = 'ib_order_id'
-- Undo: DROP TABLE ib_order_id
CREATE TABLE ib_order_id (
    session VARCHAR(128) NOT NULL PRIMARY KEY,
    next_id BIGINT       NOT NULL
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;
