-- A symbol on which there is no consensus: a cycle opens it, each one that still has none keeps it up, the first that has
-- one again closes it. kind: "disagreement", "unconfirmed" or "foreign". began and views: JSON lists of what ledger and
-- observers said at the beginning, and said last; reasons: a JSON list of those of the last cycle.
CREATE TABLE IF NOT EXISTS incident (
    seq        BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY,
    symbol     VARCHAR(64) NOT NULL,
    kind       VARCHAR(16) NOT NULL,
    opened_ns  BIGINT      NOT NULL,
    updated_ns BIGINT      NOT NULL,
    closed_ns  BIGINT      NULL,
    cycles     BIGINT      NOT NULL,
    began      TEXT        NOT NULL,
    views      TEXT        NOT NULL,
    reasons    TEXT        NOT NULL,
    outcome    TEXT        NULL,
    KEY incident_open (closed_ns, symbol)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;
