-- Trades of [close_ns - interval_ns, close_ns). Prices in points, volume in lots.
CREATE TABLE IF NOT EXISTS bar (
    symbol      VARCHAR(64) NOT NULL,
    close_ns    BIGINT      NOT NULL,
    interval_ns BIGINT      NOT NULL,
    open        DOUBLE      NOT NULL,
    high        DOUBLE      NOT NULL,
    low         DOUBLE      NOT NULL,
    close       DOUBLE      NOT NULL,
    volume      DOUBLE      NOT NULL,
    trades      BIGINT      NOT NULL,
    PRIMARY KEY (symbol, close_ns)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;
