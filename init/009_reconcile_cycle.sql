-- A reconciliation cycle. Written by compare-and-set on version.
CREATE TABLE IF NOT EXISTS reconcile_cycle (
    cycle_id VARCHAR(64) NOT NULL,
    due_ns   BIGINT      NOT NULL,
    stage    VARCHAR(16) NOT NULL,
    outcome  TEXT        NULL,
    version  BIGINT      NOT NULL,
    PRIMARY KEY (cycle_id),
    KEY reconcile_cycle_by_due (due_ns),
    KEY reconcile_cycle_by_stage (stage, due_ns)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;
