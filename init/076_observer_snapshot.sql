-- What an observer says is held, as of at_ns, signed by its key; positions: a JSON list of symbols with quantities, in
-- order of symbol. complete: what is not in it is flat; otherwise what is not in it is unknown, and reason says why.
CREATE TABLE IF NOT EXISTS observer_snapshot (
    seq       BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY,
    observer  VARCHAR(32)  NOT NULL,
    number    BIGINT       NOT NULL,
    at_ns     BIGINT       NOT NULL,
    complete  BOOLEAN      NOT NULL,
    reason    TEXT         NOT NULL,
    positions TEXT         NOT NULL,
    key_id    VARCHAR(16)  NOT NULL,
    signature VARCHAR(128) NOT NULL,
    KEY observer_snapshot_by_observer (observer, seq)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;
