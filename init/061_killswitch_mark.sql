-- What the platform took last of each hardware kill switch: a heart-beat that is not newer is refused.
CREATE TABLE IF NOT EXISTS killswitch_mark (
    name    VARCHAR(32) NOT NULL PRIMARY KEY,
    number  BIGINT      NOT NULL,
    at_ns   BIGINT      NOT NULL,
    word    VARCHAR(8)  NOT NULL,
    refused VARCHAR(64) NOT NULL
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;
