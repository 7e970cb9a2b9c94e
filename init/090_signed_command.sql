-- Every signed command that loosened something or changed a limit, as it was signed: whoever obeys checks the signatures
-- again, by the keys of its own configuration. taken_ns: by the database's clock.
CREATE TABLE IF NOT EXISTS signed_command (
    seq        BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY,
    person     VARCHAR(128) NOT NULL,
    action     VARCHAR(32)  NOT NULL,
    subject    TEXT         NOT NULL,
    reason     TEXT         NOT NULL,
    nonce      VARCHAR(64)  NOT NULL,
    expires_ns BIGINT       NOT NULL,
    signature  VARCHAR(128) NOT NULL,
    taken_ns   BIGINT       NOT NULL,
    CONSTRAINT signed_command_once UNIQUE (nonce)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;
