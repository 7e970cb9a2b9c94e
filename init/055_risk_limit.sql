-- Every version of a limit, as the configuration founded it or a person proposed it; none is ever changed.
CREATE TABLE IF NOT EXISTS risk_limit (
    version     BIGINT         NOT NULL PRIMARY KEY,
    name        VARCHAR(64)    NOT NULL,
    scope       VARCHAR(16)    NOT NULL,
    subject     VARCHAR(64)    NOT NULL,
    value       DECIMAL(38,12) NOT NULL,
    proposed_by VARCHAR(128)   NOT NULL,
    reason      TEXT           NOT NULL,
    proposed_ns BIGINT         NOT NULL
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;
