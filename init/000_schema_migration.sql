-- What was done to this schema: each file of migrations_manual/ once. state: "created" when init made the database as the
-- file leaves it, "begun" when it was about to be applied, "applied". at_ns is the machine's time.
CREATE TABLE IF NOT EXISTS schema_migration (
    number   BIGINT       NOT NULL,
    name     VARCHAR(128) NOT NULL,
    checksum VARCHAR(64)  NOT NULL,
    state    VARCHAR(16)  NOT NULL,
    operator VARCHAR(128) NOT NULL,
    at_ns    BIGINT       NOT NULL,
    PRIMARY KEY (number)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;
