-- What a cycle decided for one symbol; reasons is a JSON list, in order of precedence.
CREATE TABLE IF NOT EXISTS decision (
    cycle_id   VARCHAR(64)    NOT NULL,
    symbol     VARCHAR(64)    NOT NULL,
    direction  BIGINT         NOT NULL,
    live_pnl   DOUBLE         NOT NULL,
    kelly_now  DOUBLE         NULL,
    kelly_past DOUBLE         NULL,
    desired    DECIMAL(38,12) NOT NULL,
    actual     DECIMAL(38,12) NULL,
    delta      DECIMAL(38,12) NOT NULL,
    intent     VARCHAR(128)   NULL,
    reasons    TEXT           NOT NULL,
    PRIMARY KEY (cycle_id, symbol)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;
