-- Every shutting and opening of a session's gate; the last row of a session is in force, and none means open.
CREATE TABLE IF NOT EXISTS gate (
    seq      BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY,
    session  VARCHAR(128) NOT NULL,
    shut     BOOLEAN      NOT NULL,
    operator VARCHAR(128) NOT NULL,
    reason   TEXT         NOT NULL,
    set_ns   BIGINT       NOT NULL,
    KEY gate_by_session (session, seq)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;
