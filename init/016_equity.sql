-- The account marked at one instant: equity and cash are the account's, in each of the instant's rows; quantity and price
-- are the symbol's.
CREATE TABLE IF NOT EXISTS equity (
    at_ns  BIGINT         NOT NULL,
    equity DECIMAL(38,12) NOT NULL,
    cash   DECIMAL(38,12) NOT NULL,
    symbol VARCHAR(64)    NOT NULL,
    qty    DECIMAL(38,12) NOT NULL,
    price  DECIMAL(38,12) NOT NULL,
    PRIMARY KEY (at_ns, symbol)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;
