-- The head of an entry of the ledger, in order of booking: what it is of, on whose decision, in which currency, and of how
-- many lines. book is the account at the broker, NULL for the platform's own; fx_rate is worth in the account's currency.
-- What a person entered says who, why and by what evidence. Rows are only ever added.
CREATE TABLE IF NOT EXISTS ledger_entry (
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
