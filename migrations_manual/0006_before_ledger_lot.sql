-- Why: open and closed lots are kept, the oldest closed first
-- How long: at once, the table is new
-- Locks: nothing that a process uses
-- Safe while trading: yes
-- Check: SELECT COUNT(*) FROM information_schema.tables
--     WHERE table_schema = DATABASE() AND table_name = 'ledger_lot'
-- Check on SQLite: SELECT COUNT(*) FROM sqlite_master WHERE type = 'table' AND name = 'ledger_lot'
-- Undo: DROP TABLE ledger_lot
CREATE TABLE ledger_lot (
    seq         BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY,
    entry       VARCHAR(200)   NOT NULL,
    symbol      VARCHAR(64)    NOT NULL,
    opened_qty  DECIMAL(38,12) NOT NULL,
    opened_cost DECIMAL(38,12) NOT NULL,
    qty         DECIMAL(38,12) NOT NULL,
    cost        DECIMAL(38,12) NOT NULL,
    realised    DECIMAL(38,12) NOT NULL,
    opened_ns   BIGINT         NOT NULL,
    closed_ns   BIGINT         NULL,
    CONSTRAINT ledger_lot_once UNIQUE (entry),
    KEY ledger_lot_open (closed_ns, seq)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;
