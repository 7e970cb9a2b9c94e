-- What the feed published for one bar: its live ticks (little-endian int64 instants and float64 prices) and the
-- last trade. The bar is the row of table bar with close_ns = at_ns.
CREATE TABLE IF NOT EXISTS market_step (
    symbol      VARCHAR(64)    NOT NULL,
    at_ns       BIGINT         NOT NULL,
    last        DECIMAL(38,12) NOT NULL,
    last_ns     BIGINT         NOT NULL,
    tick_ns     LONGBLOB       NOT NULL,
    tick_price  LONGBLOB       NOT NULL,
    PRIMARY KEY (symbol, at_ns)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;
