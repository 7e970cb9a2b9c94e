-- What no other table tells: who came and by which command, and that a run began, under which build and settings. Rows
-- are only ever added.
CREATE TABLE IF NOT EXISTS audit_note (
    seq          BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY,
    at_ns        BIGINT       NOT NULL,
    monotonic_ns BIGINT       NOT NULL,
    host         VARCHAR(64)  NOT NULL,
    actor        VARCHAR(128) NOT NULL,
    build        VARCHAR(64)  NOT NULL,
    config       VARCHAR(64)  NOT NULL,
    kind         VARCHAR(64)  NOT NULL,
    subject      VARCHAR(200) NOT NULL,
    detail       TEXT         NOT NULL
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;
