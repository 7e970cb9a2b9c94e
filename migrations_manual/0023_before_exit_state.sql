-- Why: protective exits remember their stops, and find them again after a restart
-- How long: at once, the table is new
-- Locks: nothing that a process uses
-- Safe while trading: yes
-- Check: SELECT COUNT(*) FROM information_schema.tables
--     WHERE table_schema = DATABASE() AND table_name = 'exit_state'
-- Check on SQLite: SELECT COUNT(*) FROM sqlite_master WHERE type = 'table' AND name = 'exit_state'
-- Undo: DROP TABLE exit_state
CREATE TABLE exit_state (
    strategy  VARCHAR(16)    NOT NULL,
    symbol    VARCHAR(64)    NOT NULL,
    seen_ns   BIGINT         NOT NULL,
    side      BIGINT         NOT NULL,
    qty       DECIMAL(38,12) NOT NULL,
    cost      DECIMAL(38,12) NOT NULL,
    opened_ns BIGINT         NOT NULL,
    entry     DECIMAL(38,12) NOT NULL,
    atr       DECIMAL(38,12) NULL,
    peak      DECIMAL(38,12) NOT NULL,
    stop      DECIMAL(38,12) NULL,
    armed     BOOLEAN        NOT NULL,
    full_qty  DECIMAL(38,12) NOT NULL,
    legs      BIGINT         NOT NULL,
    idle_ns   BIGINT         NOT NULL,
    cause     VARCHAR(16)    NULL,
    caused_ns BIGINT         NULL,
    PRIMARY KEY (strategy, symbol)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;
