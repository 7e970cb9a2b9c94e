-- The newest heart-beat of each hardware kill switch, written and signed by the switch alone.
CREATE TABLE IF NOT EXISTS killswitch_beat (
    name      VARCHAR(32)  NOT NULL PRIMARY KEY,
    number    BIGINT       NOT NULL,
    at_ns     BIGINT       NOT NULL,
    state     VARCHAR(16)  NOT NULL,
    word      VARCHAR(8)   NOT NULL,
    reason    TEXT         NOT NULL,
    signature VARCHAR(128) NOT NULL
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;
