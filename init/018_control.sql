-- Every change of the control mode; the last row is in force.
CREATE TABLE IF NOT EXISTS control (
    seq      BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY,
    mode     VARCHAR(16)  NOT NULL,
    operator VARCHAR(128) NOT NULL,
    reason   TEXT         NOT NULL,
    set_ns   BIGINT       NOT NULL
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;
