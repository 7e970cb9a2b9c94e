-- The audit chain: rows are only ever added, seq has no hole within a shard, and hash is SHA-256 over the hash before it
-- and the row as canonical JSON (trisagion/safety/audit.py). A row tells of one row of another table; at_ns is when the
-- chain's writer took it, UTC.
CREATE TABLE IF NOT EXISTS audit_event (
    shard     VARCHAR(32)  NOT NULL,
    seq       BIGINT       NOT NULL,
    at_ns     BIGINT       NOT NULL,
    source    VARCHAR(32)  NOT NULL,
    row_key   VARCHAR(200) NOT NULL,
    detail    TEXT         NOT NULL,
    prev_hash VARCHAR(64)  NOT NULL,
    hash      VARCHAR(64)  NOT NULL,
    PRIMARY KEY (shard, seq),
    CONSTRAINT audit_event_once UNIQUE (source, row_key)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;
