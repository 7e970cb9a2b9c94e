-- Every proposal to release what was stopped; another person's confirmation is written beside it, once.
-- was: the word that it is to lift, so that it does not lift a later one; proposed_ns: by the database's clock.
CREATE TABLE IF NOT EXISTS control_release (
    seq          BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY,
    level        VARCHAR(16)  NOT NULL,
    name         VARCHAR(128) NOT NULL,
    was          TEXT         NOT NULL,
    proposed_by  VARCHAR(128) NOT NULL,
    reason       TEXT         NOT NULL,
    proposed_ns  BIGINT       NOT NULL,
    confirmed_by VARCHAR(128) NULL,
    confirmed_ns BIGINT       NULL
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;
