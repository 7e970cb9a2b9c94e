-- The ClOrdIDs that replaces gave to orders, each with what it asked for; all of them name the one order.
CREATE TABLE IF NOT EXISTS order_link (
    cl_ord_id VARCHAR(64)    NOT NULL,
    first_id  VARCHAR(64)    NOT NULL,
    link      BIGINT         NOT NULL,
    qty       DECIMAL(38,12) NOT NULL,
    price     DECIMAL(38,12) NOT NULL,
    asked_ns  BIGINT         NOT NULL,
    PRIMARY KEY (cl_ord_id)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;
