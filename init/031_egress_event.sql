-- What became of a session's paths to its venue, by the machine's clock; path is empty where it is about all of them.
CREATE TABLE IF NOT EXISTS egress_event (
    seq     BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY,
    session VARCHAR(128) NOT NULL,
    at_ns   BIGINT       NOT NULL,
    path    VARCHAR(64)  NOT NULL,
    what    VARCHAR(16)  NOT NULL,
    why     TEXT         NOT NULL,
    CONSTRAINT egress_event_once UNIQUE (session, at_ns, path, what)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;
