-- Why: what lacks consensus is kept as an incident, with both views
-- How long: at once, the table is new
-- Locks: nothing that a process uses
-- Safe while trading: yes
-- Check: SELECT COUNT(*) FROM information_schema.tables
--     WHERE table_schema = DATABASE() AND table_name = 'incident'
-- Check on SQLite: SELECT COUNT(*) FROM sqlite_master WHERE type = 'table' AND name = 'incident'
-- Undo: DROP TABLE incident
CREATE TABLE incident (
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
