-- Every change of a mode that is for a part of the platform, or for a while; table control has the word for everything.
-- The last row of a level and name is in force, and none, or one whose instant until_ns has come, forbids nothing.
-- level: "all", "account", "venue", "strategy" or "symbol".
CREATE TABLE IF NOT EXISTS control_level (
    seq      BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY,
    level    VARCHAR(16)  NOT NULL,
    name     VARCHAR(128) NOT NULL,
    mode     VARCHAR(16)  NOT NULL,
    operator VARCHAR(128) NOT NULL,
    reason   TEXT         NOT NULL,
    set_ns   BIGINT       NOT NULL,
    until_ns BIGINT       NULL,
    KEY control_level_by_name (level, name, seq)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;
