-- What each run of a shard had earned at a checkpoint: arrays of run numbers (u4) and P&L (f4), little-endian.
CREATE TABLE IF NOT EXISTS shard_mark (
    at_ns BIGINT   NOT NULL,
    shard BIGINT   NOT NULL,
    runs  LONGBLOB NOT NULL,
    pnl   LONGBLOB NOT NULL,
    PRIMARY KEY (at_ns, shard)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;
