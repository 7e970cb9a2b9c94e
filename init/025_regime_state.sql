-- The state of a market at the close of a minute: probabilities of trending, mean_reverting, noisy and crisis.
CREATE TABLE IF NOT EXISTS regime_state (
    symbol         VARCHAR(64) NOT NULL,
    at_ns          BIGINT      NOT NULL,
    state          VARCHAR(16) NOT NULL,
    trending       DOUBLE      NOT NULL,
    mean_reverting DOUBLE      NOT NULL,
    noisy          DOUBLE      NOT NULL,
    crisis         DOUBLE      NOT NULL,
    reasons        TEXT        NOT NULL,
    PRIMARY KEY (symbol, at_ns)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;
