-- What was said to a venue in a minute of the platform's clock, new orders, replaces and cancels, and how many fills it
-- told: the ratio of messages to trades is made of it.
CREATE TABLE IF NOT EXISTS session_minute (
    session   VARCHAR(128) NOT NULL,
    minute_ns BIGINT       NOT NULL,
    messages  BIGINT       NOT NULL,
    trades    BIGINT       NOT NULL,
    PRIMARY KEY (minute_ns, session)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;
