-- A generation of the cohort. The open one has no closed_ns.
CREATE TABLE IF NOT EXISTS epoch (
    number    BIGINT      NOT NULL,
    opened_ns BIGINT      NOT NULL,
    closed_ns BIGINT      NULL,
    reason    VARCHAR(32) NULL,
    baseline  VARCHAR(64) NULL,
    PRIMARY KEY (number)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;
