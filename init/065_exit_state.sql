-- What protective exits remember of a strategy's position in a symbol, as of the bar that closed at seen_ns: see
-- trisagion/portfolio/exits.py. side: 1, -1, or 0 without a position to protect; cause: why all of it has to go, NULL while
-- it may stay.
CREATE TABLE IF NOT EXISTS exit_state (
    strategy  VARCHAR(16)    NOT NULL,
    symbol    VARCHAR(64)    NOT NULL,
    seen_ns   BIGINT         NOT NULL,
    side      BIGINT         NOT NULL,
    qty       DECIMAL(38,12) NOT NULL,
    cost      DECIMAL(38,12) NOT NULL,
    opened_ns BIGINT         NOT NULL,
    entry     DECIMAL(38,12) NOT NULL,
    atr       DECIMAL(38,12) NULL,
    peak      DECIMAL(38,12) NOT NULL,
    stop      DECIMAL(38,12) NULL,
    armed     BOOLEAN        NOT NULL,
    full_qty  DECIMAL(38,12) NOT NULL,
    legs      BIGINT         NOT NULL,
    idle_ns   BIGINT         NOT NULL,
    cause     VARCHAR(16)    NULL,
    caused_ns BIGINT         NULL,
    PRIMARY KEY (strategy, symbol)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;
