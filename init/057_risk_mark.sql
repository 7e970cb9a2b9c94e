-- From where the account's losses are counted: one row.
CREATE TABLE IF NOT EXISTS risk_mark (
    id         BIGINT         NOT NULL PRIMARY KEY,
    peak       DECIMAL(38,12) NOT NULL,
    day_ns     BIGINT         NOT NULL,
    day_equity DECIMAL(38,12) NOT NULL,
    since_ns   BIGINT         NOT NULL
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;
