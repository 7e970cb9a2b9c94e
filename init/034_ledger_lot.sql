-- What an entry opened of a symbol in the platform's own account, and what is left of it when the oldest is closed first,
-- as the entries up to ledger_mark.upto_seq make it. The order of seq is that of opening.
CREATE TABLE IF NOT EXISTS ledger_lot (
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
