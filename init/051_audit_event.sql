-- The audit chain: rows are only ever added, seq has no hole within a shard, and hash is SHA-256 over the hash before it
-- and the row as canonical JSON (trisagion/safety/audit.py). at_ns is UTC, monotonic_ns a clock that is never set.
CREATE TABLE IF NOT EXISTS audit_event (
    shard        VARCHAR(32)  NOT NULL,
    seq          BIGINT       NOT NULL,
    at_ns        BIGINT       NOT NULL,
    monotonic_ns BIGINT       NOT NULL,
    host         VARCHAR(64)  NOT NULL,
    actor        VARCHAR(128) NOT NULL,
    build        VARCHAR(64)  NOT NULL,
    config       VARCHAR(64)  NOT NULL,
    kind         VARCHAR(64)  NOT NULL,
    subject      VARCHAR(200) NOT NULL,
    detail       TEXT         NOT NULL,
    prev_hash    VARCHAR(64)  NOT NULL,
    hash         VARCHAR(64)  NOT NULL,
    PRIMARY KEY (shard, seq)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;
