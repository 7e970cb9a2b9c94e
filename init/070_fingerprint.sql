-- The builds and configurations that an operator let trade; the last row is in force.
CREATE TABLE IF NOT EXISTS fingerprint (
    seq      BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY,
    print    VARCHAR(64)  NOT NULL,
    operator VARCHAR(128) NOT NULL,
    set_ns   BIGINT       NOT NULL
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;
