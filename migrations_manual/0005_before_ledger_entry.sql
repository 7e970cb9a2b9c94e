-- Why: each entry of the ledger has a head: its kind, currency, number of lines, and who entered it
-- How long: at once, the table is new
-- Locks: nothing that a process uses
-- Safe while trading: yes
-- Check: SELECT COUNT(*) FROM information_schema.tables
--     WHERE table_schema = DATABASE() AND table_name = 'ledger_entry'
-- Check on SQLite: SELECT COUNT(*) FROM sqlite_master WHERE type = 'table' AND name = 'ledger_entry'
-- Undo: DROP TABLE ledger_entry
CREATE TABLE ledger_entry (
    seq         BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY,
    entry       VARCHAR(200)   NOT NULL,
    kind        VARCHAR(16)    NOT NULL,
    strategy    VARCHAR(16)    NOT NULL,
    currency    VARCHAR(16)    NOT NULL,
    happened_ns BIGINT         NOT NULL,
    line_count  BIGINT         NOT NULL,
    book        VARCHAR(64)    NULL,
    fx_rate     DECIMAL(38,12) NULL,
    operator    VARCHAR(128)   NULL,
    reason      TEXT           NULL,
    evidence    TEXT           NULL,
    CONSTRAINT ledger_entry_once UNIQUE (entry),
    KEY ledger_entry_by_kind (kind)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;
