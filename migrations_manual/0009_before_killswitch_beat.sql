-- Why: the heart-beats of a hardware kill switch
-- How long: at once, the table is new
-- Locks: nothing that a process uses
-- Safe while trading: yes
-- Check: SELECT COUNT(*) FROM information_schema.tables
--     WHERE table_schema = DATABASE() AND table_name = 'killswitch_beat'
-- Check on SQLite: SELECT COUNT(*) FROM sqlite_master WHERE type = 'table' AND name = 'killswitch_beat'
-- Undo: DROP TABLE killswitch_beat
CREATE TABLE killswitch_beat (
    name      VARCHAR(32)  NOT NULL PRIMARY KEY,
    number    BIGINT       NOT NULL,
    at_ns     BIGINT       NOT NULL,
    state     VARCHAR(16)  NOT NULL,
    word      VARCHAR(8)   NOT NULL,
    reason    TEXT         NOT NULL,
    signature VARCHAR(128) NOT NULL
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;
