-- The one replay that a database may hold: at most the row with id 1.
CREATE TABLE IF NOT EXISTS replay (
    id              BIGINT       NOT NULL,
    dataset         VARCHAR(128) NOT NULL,
    digest          VARCHAR(128) NOT NULL,
    seed            BIGINT       NOT NULL,
    settings_digest VARCHAR(128) NOT NULL,
    start_ns        BIGINT       NOT NULL,
    end_ns          BIGINT       NOT NULL,
    now_ns          BIGINT       NOT NULL,
    speed           DOUBLE       NOT NULL,
    origin_ns       BIGINT       NOT NULL,
    finished        BOOLEAN      NOT NULL,
    PRIMARY KEY (id)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;
