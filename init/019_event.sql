-- What happened, for people; detail is a JSON object of strings.
CREATE TABLE IF NOT EXISTS event (
    seq     BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY,
    at_ns   BIGINT       NOT NULL,
    kind    VARCHAR(64)  NOT NULL,
    subject VARCHAR(200) NOT NULL,
    detail  TEXT         NOT NULL
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;
