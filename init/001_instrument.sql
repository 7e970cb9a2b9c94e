-- What is traded.
CREATE TABLE IF NOT EXISTS instrument (
    symbol       VARCHAR(64)    NOT NULL,
    venue        VARCHAR(64)    NOT NULL,
    currency     VARCHAR(16)    NOT NULL,
    tick_size    DECIMAL(38,12) NOT NULL,
    lot_size     DECIMAL(38,12) NOT NULL,
    multiplier   DECIMAL(38,12) NOT NULL,
    leverage_max DECIMAL(38,12) NOT NULL,
    fee_rate     DECIMAL(38,12) NOT NULL,
    PRIMARY KEY (symbol)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;
