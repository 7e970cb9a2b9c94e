-- How far the platform has looked at the snapshots of each observer, and what it took last: one that is not newer is
-- refused. at_ns is that of the newest complete one.
CREATE TABLE IF NOT EXISTS observer_mark (
    observer VARCHAR(32) NOT NULL PRIMARY KEY,
    seen_seq BIGINT      NOT NULL,
    number   BIGINT      NOT NULL,
    at_ns    BIGINT      NOT NULL
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;
