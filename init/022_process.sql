-- Each process' own word on itself.
CREATE TABLE IF NOT EXISTS process (
    name      VARCHAR(128) NOT NULL,
    pid       BIGINT       NOT NULL,
    wall_ns   BIGINT       NOT NULL,
    tasks     BIGINT       NOT NULL,
    rss_bytes BIGINT       NOT NULL,
    PRIMARY KEY (name)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;
