-- How the account's marks went, for the panic condition "losses": one row. recent has L or G for each mark of the window,
-- oldest first; marks and losses count those before it.
CREATE TABLE IF NOT EXISTS loss_record (
    id     BIGINT         NOT NULL PRIMARY KEY,
    at_ns  BIGINT         NOT NULL,
    equity DECIMAL(38,12) NOT NULL,
    marks  BIGINT         NOT NULL,
    losses BIGINT         NOT NULL,
    recent VARCHAR(512)   NOT NULL
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;
