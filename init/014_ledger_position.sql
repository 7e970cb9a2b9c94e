-- Signed quantity, cost and profit so far of one symbol, as the postings make them.
CREATE TABLE IF NOT EXISTS ledger_position (
    symbol       VARCHAR(64)    NOT NULL,
    qty          DECIMAL(38,12) NOT NULL,
    cost         DECIMAL(38,12) NOT NULL,
    realised     DECIMAL(38,12) NOT NULL,
    fees         DECIMAL(38,12) NOT NULL,
    confirmed_ns BIGINT         NOT NULL,
    PRIMARY KEY (symbol)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;
