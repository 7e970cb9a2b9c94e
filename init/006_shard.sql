-- A checkpoint of the runs of one shard, true at at_ns. Written by compare-and-set on version.
CREATE TABLE IF NOT EXISTS shard (
    number  BIGINT   NOT NULL,
    epoch   BIGINT   NOT NULL,
    at_ns   BIGINT   NOT NULL,
    version BIGINT   NOT NULL,
    state   LONGBLOB NOT NULL,
    PRIMARY KEY (number)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;
