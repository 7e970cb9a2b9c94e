-- Who approved a version of a limit, once; a version that its own proposer approved is not in force.
CREATE TABLE IF NOT EXISTS risk_limit_approval (
    version     BIGINT       NOT NULL PRIMARY KEY,
    approved_by VARCHAR(128) NOT NULL,
    approved_ns BIGINT       NOT NULL
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;
