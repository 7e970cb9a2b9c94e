-- How far a venue's drop copy is known to be complete: at heard_ns (the machine's time) it had told everything that table
-- execution held up to upto_seq; what lies above checked_seq is still to be looked for.
CREATE TABLE IF NOT EXISTS copy_mark (
    venue       VARCHAR(64) NOT NULL,
    upto_seq    BIGINT      NOT NULL,
    heard_ns    BIGINT      NOT NULL,
    checked_seq BIGINT      NOT NULL,
    PRIMARY KEY (venue)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;
