-- What a venue's drop copy told, once per (venue, exec_id), in the order of hearing. learned_ns is the machine's time.
-- verdict: "open" until compared with table execution, then "agreed", "recovered" or "quarantined"; "recovering" is
-- between the two when it was missing there.
CREATE TABLE IF NOT EXISTS drop_copy (
    seq           BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY,
    venue         VARCHAR(64)    NOT NULL,
    exec_id       VARCHAR(128)   NOT NULL,
    cl_ord_id     VARCHAR(64)    NOT NULL,
    order_id      VARCHAR(128)   NOT NULL,
    exec_type     VARCHAR(32)    NOT NULL,
    ord_status    VARCHAR(32)    NOT NULL,
    symbol        VARCHAR(64)    NOT NULL,
    side          VARCHAR(8)     NOT NULL,
    last_qty      DECIMAL(38,12) NOT NULL,
    last_px       DECIMAL(38,12) NULL,
    cum_qty       DECIMAL(38,12) NOT NULL,
    leaves_qty    DECIMAL(38,12) NOT NULL,
    avg_px        DECIMAL(38,12) NOT NULL,
    fee           DECIMAL(38,12) NOT NULL,
    liquidity     VARCHAR(8)     NULL,
    reason        TEXT           NULL,
    unknown_order BOOLEAN        NOT NULL,
    happened_ns   BIGINT         NOT NULL,
    request_id    VARCHAR(64)    NULL,
    ref_exec_id   VARCHAR(128)   NULL,
    reject        VARCHAR(32)    NULL,
    learned_ns    BIGINT         NOT NULL,
    verdict       VARCHAR(16)    NOT NULL,
    fee_currency  VARCHAR(16)    NULL,
    CONSTRAINT drop_copy_once UNIQUE (venue, exec_id),
    KEY drop_copy_by_verdict (venue, verdict, seq)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;
