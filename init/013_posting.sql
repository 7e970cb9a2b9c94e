-- One line of an entry of the double-entry ledger. Rows are only ever added.
CREATE TABLE IF NOT EXISTS posting (
    entry       VARCHAR(200)   NOT NULL,
    line        BIGINT         NOT NULL,
    account     VARCHAR(16)    NOT NULL,
    symbol      VARCHAR(64)    NULL,
    amount      DECIMAL(38,12) NOT NULL,
    qty         DECIMAL(38,12) NOT NULL,
    happened_ns BIGINT         NOT NULL,
    PRIMARY KEY (entry, line),
    KEY posting_by_account (account)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;
