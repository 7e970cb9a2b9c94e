-- Who owns what until when, by the database's own clock (ms since 1970). The token fences off earlier owners.
CREATE TABLE IF NOT EXISTS lease (
    name     VARCHAR(128) NOT NULL,
    owner    VARCHAR(128) NOT NULL,
    token    BIGINT       NOT NULL,
    until_ms BIGINT       NOT NULL,
    PRIMARY KEY (name)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;
