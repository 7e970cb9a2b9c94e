-- A model fitted to the bars of a symbol closed by last_ns. NULL: it could not be, and note says why.
CREATE TABLE IF NOT EXISTS regime_fit (
    symbol  VARCHAR(64) NOT NULL,
    model   VARCHAR(32) NOT NULL,
    last_ns BIGINT      NOT NULL,
    fit     TEXT        NULL,
    note    TEXT        NOT NULL,
    PRIMARY KEY (symbol, model, last_ns)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;
