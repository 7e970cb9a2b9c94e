-- How far the sweep has verified the entries and made lots of them: all up to upto_seq; seen_seq was the last one at
-- seen_ns (the machine's time). At most the row with id 1.
CREATE TABLE IF NOT EXISTS ledger_mark (
    id       BIGINT NOT NULL,
    upto_seq BIGINT NOT NULL,
    seen_seq BIGINT NOT NULL,
    seen_ns  BIGINT NOT NULL,
    PRIMARY KEY (id)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;
