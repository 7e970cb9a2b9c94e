-- How far the chain's writer has read each table. `state` is JSON: numbers that were passed over, for a transaction may
-- still bring them, and the orders that were not at rest.
CREATE TABLE IF NOT EXISTS audit_mark (
    source  VARCHAR(32) NOT NULL,
    version BIGINT      NOT NULL,
    upto    BIGINT      NOT NULL,
    state   LONGBLOB    NOT NULL,
    PRIMARY KEY (source)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;
