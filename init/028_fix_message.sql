-- Every message of a FIX session as it was on the wire, in and out, and every event of its engine; secrets are masked.
-- number counts the lines of a session without a hole; at_ns is the machine's time; text has the engine's separators.
CREATE TABLE IF NOT EXISTS fix_message (
    session   VARCHAR(128) NOT NULL,
    number    BIGINT       NOT NULL,
    direction VARCHAR(8)   NOT NULL,
    msg_type  VARCHAR(8)   NULL,
    seq_num   BIGINT       NULL,
    at_ns     BIGINT       NOT NULL,
    text      LONGBLOB     NOT NULL,
    PRIMARY KEY (session, number),
    KEY fix_message_by_time (at_ns)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;
