-- The schema of 0.1.0, the release before the first migration. It is never changed: databases were made by it, and tests
-- hold this file and all migrations against init/.

-- What is traded.
CREATE TABLE IF NOT EXISTS instrument (
    symbol       VARCHAR(64)    NOT NULL,
    venue        VARCHAR(64)    NOT NULL,
    currency     VARCHAR(16)    NOT NULL,
    tick_size    DECIMAL(38,12) NOT NULL,
    lot_size     DECIMAL(38,12) NOT NULL,
    multiplier   DECIMAL(38,12) NOT NULL,
    leverage_max DECIMAL(38,12) NOT NULL,
    fee_rate     DECIMAL(38,12) NOT NULL,
    PRIMARY KEY (symbol)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

-- Trades of [close_ns - interval_ns, close_ns). Prices in points, volume in lots.
CREATE TABLE IF NOT EXISTS bar (
    symbol      VARCHAR(64) NOT NULL,
    close_ns    BIGINT      NOT NULL,
    interval_ns BIGINT      NOT NULL,
    open        DOUBLE      NOT NULL,
    high        DOUBLE      NOT NULL,
    low         DOUBLE      NOT NULL,
    close       DOUBLE      NOT NULL,
    volume      DOUBLE      NOT NULL,
    trades      BIGINT      NOT NULL,
    PRIMARY KEY (symbol, close_ns)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

-- What the feed published for one bar: its live ticks (little-endian int64 instants and float64 prices) and the
-- last trade. The bar is the row of table bar with close_ns = at_ns.
CREATE TABLE IF NOT EXISTS market_step (
    symbol      VARCHAR(64)    NOT NULL,
    at_ns       BIGINT         NOT NULL,
    last        DECIMAL(38,12) NOT NULL,
    last_ns     BIGINT         NOT NULL,
    tick_ns     LONGBLOB       NOT NULL,
    tick_price  LONGBLOB       NOT NULL,
    PRIMARY KEY (symbol, at_ns)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

-- Features of the n ticks of one step: little-endian arrays, int64 (ts_ns, samples) and float64, in C order.
CREATE TABLE IF NOT EXISTS market_state (
    symbol       VARCHAR(64) NOT NULL,
    at_ns        BIGINT      NOT NULL,
    n            BIGINT      NOT NULL,
    regime       VARCHAR(16) NOT NULL,
    ts_ns        LONGBLOB    NOT NULL,
    price        LONGBLOB    NOT NULL,
    weight       LONGBLOB    NOT NULL,
    volatility   LONGBLOB    NOT NULL,
    entropy      LONGBLOB    NOT NULL,
    samples      LONGBLOB    NOT NULL,
    channel_high LONGBLOB    NOT NULL,
    channel_low  LONGBLOB    NOT NULL,
    z            LONGBLOB    NOT NULL,
    PRIMARY KEY (symbol, at_ns)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

-- A generation of the cohort. The open one has no closed_ns.
CREATE TABLE IF NOT EXISTS epoch (
    number    BIGINT      NOT NULL,
    opened_ns BIGINT      NOT NULL,
    closed_ns BIGINT      NULL,
    reason    VARCHAR(32) NULL,
    baseline  VARCHAR(64) NULL,
    PRIMARY KEY (number)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

-- A checkpoint of the runs of one shard, true at at_ns. Written by compare-and-set on version.
CREATE TABLE IF NOT EXISTS shard (
    number  BIGINT   NOT NULL,
    epoch   BIGINT   NOT NULL,
    at_ns   BIGINT   NOT NULL,
    version BIGINT   NOT NULL,
    state   LONGBLOB NOT NULL,
    PRIMARY KEY (number)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

-- What a shard looked like at one instant. An APR is NULL where no run is alive.
CREATE TABLE IF NOT EXISTS shard_progress (
    shard      BIGINT NOT NULL,
    at_ns      BIGINT NOT NULL,
    alive      BIGINT NOT NULL,
    in_market  BIGINT NOT NULL,
    best_apr   DOUBLE NULL,
    median_apr DOUBLE NULL,
    PRIMARY KEY (at_ns, shard)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

-- A virtual run: its birth, and from its end on what it had earned.
CREATE TABLE IF NOT EXISTS run (
    run_id     VARCHAR(64) NOT NULL,
    epoch      BIGINT      NOT NULL,
    shard      BIGINT      NOT NULL,
    symbol     VARCHAR(64) NOT NULL,
    parent     VARCHAR(64) NULL,
    born_ns    BIGINT      NOT NULL,
    params     TEXT        NOT NULL,
    ended_ns   BIGINT      NULL,
    reason     VARCHAR(32) NULL,
    pnl        DOUBLE      NULL,
    iterations BIGINT      NULL,
    trades     BIGINT      NULL,
    PRIMARY KEY (run_id),
    KEY run_by_epoch (epoch, symbol)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

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

-- What a cycle decided for one symbol; reasons is a JSON list, in order of precedence.
CREATE TABLE IF NOT EXISTS decision (
    cycle_id   VARCHAR(64)    NOT NULL,
    symbol     VARCHAR(64)    NOT NULL,
    direction  BIGINT         NOT NULL,
    live_pnl   DOUBLE         NOT NULL,
    kelly_now  DOUBLE         NULL,
    kelly_past DOUBLE         NULL,
    desired    DECIMAL(38,12) NOT NULL,
    actual     DECIMAL(38,12) NULL,
    delta      DECIMAL(38,12) NOT NULL,
    intent     VARCHAR(128)   NULL,
    reasons    TEXT           NOT NULL,
    PRIMARY KEY (cycle_id, symbol)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

-- The outbox: one row per attempt at an intent. Written by compare-and-set on version.
CREATE TABLE IF NOT EXISTS orders (
    cl_ord_id     VARCHAR(64)    NOT NULL,
    intent        VARCHAR(128)   NOT NULL,
    cycle         VARCHAR(64)    NOT NULL,
    attempt       BIGINT         NOT NULL,
    symbol        VARCHAR(64)    NOT NULL,
    side          VARCHAR(8)     NOT NULL,
    qty           DECIMAL(38,12) NOT NULL,
    taker         BOOLEAN        NOT NULL,
    state         VARCHAR(32)    NOT NULL,
    created_ns    BIGINT         NOT NULL,
    updated_ns    BIGINT         NOT NULL,
    version       BIGINT         NOT NULL,
    price         DECIMAL(38,12) NULL,
    session       VARCHAR(128)   NULL,
    order_id      VARCHAR(128)   NULL,
    cum_qty       DECIMAL(38,12) NOT NULL,
    avg_px        DECIMAL(38,12) NOT NULL,
    cancel_reason TEXT           NULL,
    reason        TEXT           NULL,
    link          BIGINT         NOT NULL,
    links         BIGINT         NOT NULL,
    wanted_qty    DECIMAL(38,12) NULL,
    wanted_price  DECIMAL(38,12) NULL,
    replace_unknown BOOLEAN      NOT NULL,
    PRIMARY KEY (cl_ord_id),
    KEY orders_by_intent (intent, attempt),
    KEY orders_by_state (state, created_ns)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

-- The inbox: what a venue reported, once per (venue, exec_id), in order of booking. A report without an exec_id of its
-- own is kept under "~cl_ord_id@learned_ns".
CREATE TABLE IF NOT EXISTS execution (
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
    CONSTRAINT execution_once UNIQUE (venue, exec_id),
    KEY execution_by_order (cl_ord_id)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

-- One line of an entry of the double-entry ledger. Rows are only ever added.
CREATE TABLE IF NOT EXISTS posting (
    entry       VARCHAR(200)   NOT NULL,
    line        BIGINT         NOT NULL,
    account     VARCHAR(16)    NOT NULL,
    symbol      VARCHAR(64)    NULL,
    amount      DECIMAL(38,12) NOT NULL,
    qty         DECIMAL(38,12) NOT NULL,
    happened_ns BIGINT         NOT NULL,
    PRIMARY KEY (entry, line),
    KEY posting_by_account (account)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

-- Signed quantity, cost and profit so far of one symbol, as the postings make them.
CREATE TABLE IF NOT EXISTS ledger_position (
    symbol       VARCHAR(64)    NOT NULL,
    qty          DECIMAL(38,12) NOT NULL,
    cost         DECIMAL(38,12) NOT NULL,
    realised     DECIMAL(38,12) NOT NULL,
    fees         DECIMAL(38,12) NOT NULL,
    confirmed_ns BIGINT         NOT NULL,
    PRIMARY KEY (symbol)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

-- The latest word of each observer on a position.
CREATE TABLE IF NOT EXISTS observation (
    observer VARCHAR(64)    NOT NULL,
    symbol   VARCHAR(64)    NOT NULL,
    qty      DECIMAL(38,12) NOT NULL,
    at_ns    BIGINT         NOT NULL,
    PRIMARY KEY (symbol, observer)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

-- The account marked at one instant: equity and cash are the account's, in each of the instant's rows; quantity and price
-- are the symbol's.
CREATE TABLE IF NOT EXISTS equity (
    at_ns  BIGINT         NOT NULL,
    equity DECIMAL(38,12) NOT NULL,
    cash   DECIMAL(38,12) NOT NULL,
    symbol VARCHAR(64)    NOT NULL,
    qty    DECIMAL(38,12) NOT NULL,
    price  DECIMAL(38,12) NOT NULL,
    PRIMARY KEY (at_ns, symbol)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

-- The recorded steps of take-profit and draw-down sequences, each once per epoch.
CREATE TABLE IF NOT EXISTS take_profit (
    seq   BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY,
    epoch BIGINT      NOT NULL,
    step  VARCHAR(64) NOT NULL,
    at_ns BIGINT      NOT NULL,
    CONSTRAINT take_profit_once UNIQUE (epoch, step)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

-- Every change of the control mode; the last row is in force.
CREATE TABLE IF NOT EXISTS control (
    seq      BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY,
    mode     VARCHAR(16)  NOT NULL,
    operator VARCHAR(128) NOT NULL,
    reason   TEXT         NOT NULL,
    set_ns   BIGINT       NOT NULL
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

-- What happened, for people; detail is a JSON object of strings.
CREATE TABLE IF NOT EXISTS event (
    seq     BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY,
    at_ns   BIGINT       NOT NULL,
    kind    VARCHAR(64)  NOT NULL,
    subject VARCHAR(200) NOT NULL,
    detail  TEXT         NOT NULL
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

-- Who owns what until when, by the database's own clock (ms since 1970). The token fences off earlier owners.
CREATE TABLE IF NOT EXISTS lease (
    name     VARCHAR(128) NOT NULL,
    owner    VARCHAR(128) NOT NULL,
    token    BIGINT       NOT NULL,
    until_ms BIGINT       NOT NULL,
    PRIMARY KEY (name)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

-- The one replay that a database may hold: at most the row with id 1.
CREATE TABLE IF NOT EXISTS replay (
    id              BIGINT       NOT NULL,
    dataset         VARCHAR(128) NOT NULL,
    digest          VARCHAR(128) NOT NULL,
    seed            BIGINT       NOT NULL,
    settings_digest VARCHAR(128) NOT NULL,
    start_ns        BIGINT       NOT NULL,
    end_ns          BIGINT       NOT NULL,
    now_ns          BIGINT       NOT NULL,
    speed           DOUBLE       NOT NULL,
    origin_ns       BIGINT       NOT NULL,
    finished        BOOLEAN      NOT NULL,
    PRIMARY KEY (id)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

-- Each process' own word on itself.
CREATE TABLE IF NOT EXISTS process (
    name      VARCHAR(128) NOT NULL,
    pid       BIGINT       NOT NULL,
    wall_ns   BIGINT       NOT NULL,
    tasks     BIGINT       NOT NULL,
    rss_bytes BIGINT       NOT NULL,
    PRIMARY KEY (name)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

-- What each run of a shard had earned at a checkpoint: arrays of run numbers (u4) and P&L (f4), little-endian.
CREATE TABLE IF NOT EXISTS shard_mark (
    at_ns BIGINT   NOT NULL,
    shard BIGINT   NOT NULL,
    runs  LONGBLOB NOT NULL,
    pnl   LONGBLOB NOT NULL,
    PRIMARY KEY (at_ns, shard)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

-- A model fitted to the bars of a symbol closed by last_ns. NULL: it could not be, and note says why.
CREATE TABLE IF NOT EXISTS regime_fit (
    symbol  VARCHAR(64) NOT NULL,
    model   VARCHAR(32) NOT NULL,
    last_ns BIGINT      NOT NULL,
    fit     TEXT        NULL,
    note    TEXT        NOT NULL,
    PRIMARY KEY (symbol, model, last_ns)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

-- The state of a market at the close of a minute: probabilities of trending, mean_reverting, noisy and crisis.
CREATE TABLE IF NOT EXISTS regime_state (
    symbol         VARCHAR(64) NOT NULL,
    at_ns          BIGINT      NOT NULL,
    state          VARCHAR(16) NOT NULL,
    trending       DOUBLE      NOT NULL,
    mean_reverting DOUBLE      NOT NULL,
    noisy          DOUBLE      NOT NULL,
    crisis         DOUBLE      NOT NULL,
    reasons        TEXT        NOT NULL,
    PRIMARY KEY (symbol, at_ns)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

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

-- Every shutting and opening of a session's gate; the last row of a session is in force, and none means open.
CREATE TABLE IF NOT EXISTS gate (
    seq      BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY,
    session  VARCHAR(128) NOT NULL,
    shut     BOOLEAN      NOT NULL,
    operator VARCHAR(128) NOT NULL,
    reason   TEXT         NOT NULL,
    set_ns   BIGINT       NOT NULL,
    KEY gate_by_session (session, seq)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

-- Every message of a FIX session as it was on the wire, in and out, and every event of its engine; secrets are masked.
-- number counts the lines of a session without a hole; at_ns is the machine's time; text has the engine's separators.
CREATE TABLE IF NOT EXISTS fix_message (
    session   VARCHAR(128) NOT NULL,
    number    BIGINT       NOT NULL,
    direction VARCHAR(8)   NOT NULL,
    msg_type  VARCHAR(8)   NULL,
    seq_num   BIGINT       NULL,
    at_ns     BIGINT       NOT NULL,
    text      LONGBLOB     NOT NULL,
    PRIMARY KEY (session, number),
    KEY fix_message_by_time (at_ns)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

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
    CONSTRAINT drop_copy_once UNIQUE (venue, exec_id),
    KEY drop_copy_by_verdict (venue, verdict, seq)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

-- How far a venue's drop copy is known to be complete: at heard_ns (the machine's time) it had told everything that table
-- execution held up to upto_seq; what lies above checked_seq is still to be looked for.
CREATE TABLE IF NOT EXISTS copy_mark (
    venue       VARCHAR(64) NOT NULL,
    upto_seq    BIGINT      NOT NULL,
    heard_ns    BIGINT      NOT NULL,
    checked_seq BIGINT      NOT NULL,
    PRIMARY KEY (venue)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

-- What became of a session's paths to its venue, by the machine's clock; path is empty where it is about all of them.
CREATE TABLE IF NOT EXISTS egress_event (
    seq     BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY,
    session VARCHAR(128) NOT NULL,
    at_ns   BIGINT       NOT NULL,
    path    VARCHAR(64)  NOT NULL,
    what    VARCHAR(16)  NOT NULL,
    why     TEXT         NOT NULL,
    CONSTRAINT egress_event_once UNIQUE (session, at_ns, path, what)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;
