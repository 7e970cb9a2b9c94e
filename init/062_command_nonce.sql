-- The number, used once, of every signed command that was taken: shown again it is refused.
CREATE TABLE IF NOT EXISTS command_nonce (
    nonce      VARCHAR(64)  NOT NULL PRIMARY KEY,
    person     VARCHAR(128) NOT NULL,
    expires_ns BIGINT       NOT NULL
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;
