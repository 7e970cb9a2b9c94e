-- Why: heart-beats that were taken already must not be taken again
-- How long: at once, the table is new
-- Locks: nothing that a process uses
-- Safe while trading: yes
-- Check: SELECT COUNT(*) FROM information_schema.tables
--     WHERE table_schema = DATABASE() AND table_name = 'killswitch_mark'
-- Check on SQLite: SELECT COUNT(*) FROM sqlite_master WHERE type = 'table' AND name = 'killswitch_mark'
-- Undo: DROP TABLE killswitch_mark
CREATE TABLE killswitch_mark (
    name    VARCHAR(32) NOT NULL PRIMARY KEY,
    number  BIGINT      NOT NULL,
    at_ns   BIGINT      NOT NULL,
    word    VARCHAR(8)  NOT NULL,
    refused VARCHAR(64) NOT NULL
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;
