-- When an instrument's exchange is closed between two instants, as it was read when the run was founded; outside of them
-- it counts as closed. closed: JSON, a list of [begin_ns, end_ns, why]; digest: the SHA-256 of all but the symbol.
CREATE TABLE IF NOT EXISTS trading_hours (
    symbol   VARCHAR(64) NOT NULL,
    exchange VARCHAR(32) NOT NULL,
    from_ns  BIGINT      NOT NULL,
    until_ns BIGINT      NOT NULL,
    digest   VARCHAR(64) NOT NULL,
    closed   LONGBLOB    NOT NULL,
    PRIMARY KEY (symbol)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;
