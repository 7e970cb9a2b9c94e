-- The order ids that a session with Interactive Brokers may have used: next_id is above all of them.
CREATE TABLE IF NOT EXISTS ib_order_id (
    session VARCHAR(128) NOT NULL PRIMARY KEY,
    next_id BIGINT       NOT NULL
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;
