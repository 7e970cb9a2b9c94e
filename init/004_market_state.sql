-- Features of the n ticks of one step: little-endian arrays, int64 (ts_ns, samples) and float64, in C order.
CREATE TABLE IF NOT EXISTS market_state (
    symbol       VARCHAR(64) NOT NULL,
    at_ns        BIGINT      NOT NULL,
    n            BIGINT      NOT NULL,
    regime       VARCHAR(16) NOT NULL,
    ts_ns        LONGBLOB    NOT NULL,
    price        LONGBLOB    NOT NULL,
    weight       LONGBLOB    NOT NULL,
    volatility   LONGBLOB    NOT NULL,
    entropy      LONGBLOB    NOT NULL,
    samples      LONGBLOB    NOT NULL,
    channel_high LONGBLOB    NOT NULL,
    channel_low  LONGBLOB    NOT NULL,
    z            LONGBLOB    NOT NULL,
    PRIMARY KEY (symbol, at_ns)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;
