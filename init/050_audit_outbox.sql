-- What happened, written by the transaction in which it happened, until the writer of its shard has linked it: then the
-- row moves to audit_event. Numbers may have holes here and come out of order; there they do not.
CREATE TABLE IF NOT EXISTS audit_outbox (
    seq          BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY,
    shard        VARCHAR(32)  NOT NULL,
    at_ns        BIGINT       NOT NULL,
    monotonic_ns BIGINT       NOT NULL,
    host         VARCHAR(64)  NOT NULL,
    actor        VARCHAR(128) NOT NULL,
    build        VARCHAR(64)  NOT NULL,
    config       VARCHAR(64)  NOT NULL,
    kind         VARCHAR(64)  NOT NULL,
    subject      VARCHAR(200) NOT NULL,
    detail       TEXT         NOT NULL,
    KEY audit_outbox_by_shard (shard, seq)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;
