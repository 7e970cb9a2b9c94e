-- The latest word of each observer on a position.
CREATE TABLE IF NOT EXISTS observation (
    observer VARCHAR(64)    NOT NULL,
    symbol   VARCHAR(64)    NOT NULL,
    qty      DECIMAL(38,12) NOT NULL,
    at_ns    BIGINT         NOT NULL,
    PRIMARY KEY (symbol, observer)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;
