-- What a shard looked like at one instant. An APR is NULL where no run is alive.
CREATE TABLE IF NOT EXISTS shard_progress (
    shard      BIGINT NOT NULL,
    at_ns      BIGINT NOT NULL,
    alive      BIGINT NOT NULL,
    in_market  BIGINT NOT NULL,
    best_apr   DOUBLE NULL,
    median_apr DOUBLE NULL,
    PRIMARY KEY (at_ns, shard)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;
