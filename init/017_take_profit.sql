-- The recorded steps of take-profit and draw-down sequences, each once per epoch.
CREATE TABLE IF NOT EXISTS take_profit (
    seq   BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY,
    epoch BIGINT      NOT NULL,
    step  VARCHAR(64) NOT NULL,
    at_ns BIGINT      NOT NULL,
    CONSTRAINT take_profit_once UNIQUE (epoch, step)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;
