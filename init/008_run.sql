-- A virtual run: its birth, and from its end on what it had earned.
CREATE TABLE IF NOT EXISTS run (
    run_id     VARCHAR(64) NOT NULL,
    epoch      BIGINT      NOT NULL,
    shard      BIGINT      NOT NULL,
    symbol     VARCHAR(64) NOT NULL,
    parent     VARCHAR(64) NULL,
    born_ns    BIGINT      NOT NULL,
    params     TEXT        NOT NULL,
    ended_ns   BIGINT      NULL,
    reason     VARCHAR(32) NULL,
    pnl        DOUBLE      NULL,
    iterations BIGINT      NULL,
    trades     BIGINT      NULL,
    PRIMARY KEY (run_id),
    KEY run_by_epoch (epoch, symbol)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;
