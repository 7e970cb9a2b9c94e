"""The tables of `init/*.sql` as SQLAlchemy Core sees them. The SQL is the truth; a test holds this file against it.

There are no foreign keys. What a venue reports is recorded even when it points at nothing we know, and a foreign key
would make every insert lock its parent's row on MySQL.
"""

from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy import Boolean, Column

from trisagion.adapters.db.columns import BLOB, Exact, Id, Note, Real, Whole
from trisagion.adapters.db.table_parts import key, may, must, seq, table

schema_migration: Final = table(
    "schema_migration",
    key("number", Whole()),
    must("name", Id(128)),
    must("checksum", Id(64)),
    must("state", Id(16)),
    must("operator", Id(128)),
    must("at_ns", Whole()),
)


def _report() -> "list[Column[Any]]":
    """Return the first columns of an execution report, which stands in more than one table."""
    return [
        must("venue", Id(64)),
        must("exec_id", Id(128)),
        must("cl_ord_id", Id(64)),
        must("order_id", Id(128)),
        must("exec_type", Id(32)),
        must("ord_status", Id(32)),
        must("symbol", Id(64)),
        must("side", Id(8)),
        must("last_qty", Exact()),
        may("last_px", Exact()),
        must("cum_qty", Exact()),
        must("leaves_qty", Exact()),
        must("avg_px", Exact()),
        must("fee", Exact()),
        may("liquidity", Id(8)),
        may("reason", Note()),
        must("unknown_order", Boolean()),
        must("happened_ns", Whole()),
        may("request_id", Id(64)),
        may("ref_exec_id", Id(128)),
        may("reject", Id(32)),
        must("learned_ns", Whole()),
    ]


instrument: Final = table(
    "instrument",
    key("symbol", Id(64)),
    must("venue", Id(64)),
    must("currency", Id(16)),
    must("tick_size", Exact()),
    must("lot_size", Exact()),
    must("multiplier", Exact()),
    must("leverage_max", Exact()),
    must("fee_rate", Exact()),
)

trading_hours: Final = table(
    "trading_hours",
    key("symbol", Id(64)),
    must("exchange", Id(32)),
    must("from_ns", Whole()),
    must("until_ns", Whole()),
    must("digest", Id(64)),
    must("closed", BLOB),
)

bar: Final = table(
    "bar",
    key("symbol", Id(64)),
    key("close_ns", Whole()),
    must("interval_ns", Whole()),
    must("open", Real()),
    must("high", Real()),
    must("low", Real()),
    must("close", Real()),
    must("volume", Real()),
    must("trades", Whole()),
)

market_step: Final = table(
    "market_step",
    key("symbol", Id(64)),
    key("at_ns", Whole()),
    must("last", Exact()),
    must("last_ns", Whole()),
    must("tick_ns", BLOB),
    must("tick_price", BLOB),
)

market_state: Final = table(
    "market_state",
    key("symbol", Id(64)),
    key("at_ns", Whole()),
    must("n", Whole()),
    must("regime", Id(16)),
    must("ts_ns", BLOB),
    must("price", BLOB),
    must("weight", BLOB),
    must("volatility", BLOB),
    must("entropy", BLOB),
    must("samples", BLOB),
    must("channel_high", BLOB),
    must("channel_low", BLOB),
    must("z", BLOB),
)

bar_day: Final = table(
    "bar_day",
    key("symbol", Id(64)),
    key("interval_ns", Whole()),
    key("day_ns", Whole()),
    must("n", Whole()),
    must("open_ns", BLOB),
    must("numbers", BLOB),
    must("learned_ns", BLOB),
)

quote_hour: Final = table(
    "quote_hour",
    key("symbol", Id(64)),
    key("hour_ns", Whole()),
    must("n", Whole()),
    must("at_ns", BLOB),
    must("numbers", BLOB),
    must("learned_ns", BLOB),
)

regime_fit: Final = table(
    "regime_fit",
    key("symbol", Id(64)),
    key("model", Id(32)),
    key("last_ns", Whole()),
    may("fit", Note()),
    must("note", Note()),
)

regime_state: Final = table(
    "regime_state",
    key("symbol", Id(64)),
    key("at_ns", Whole()),
    must("state", Id(16)),
    must("trending", Real()),
    must("mean_reverting", Real()),
    must("noisy", Real()),
    must("crisis", Real()),
    must("reasons", Note()),
)

epoch: Final = table(
    "epoch",
    key("number", Whole()),
    must("opened_ns", Whole()),
    may("closed_ns", Whole()),
    may("reason", Id(32)),
    may("baseline", Id(64)),
)

shard: Final = table(
    "shard",
    key("number", Whole()),
    must("epoch", Whole()),
    must("at_ns", Whole()),
    must("version", Whole()),
    must("state", BLOB),
)

shard_progress: Final = table(
    "shard_progress",
    Column("shard", Whole(), nullable=False, autoincrement=False),
    Column("at_ns", Whole(), nullable=False, autoincrement=False),
    must("alive", Whole()),
    must("in_market", Whole()),
    may("best_apr", Real()),
    may("median_apr", Real()),
    sa.PrimaryKeyConstraint("at_ns", "shard"),
)

shard_mark: Final = table(
    "shard_mark",
    key("at_ns", Whole()),
    key("shard", Whole()),
    must("runs", BLOB),
    must("pnl", BLOB),
)

run: Final = table(
    "run",
    key("run_id", Id(64)),
    must("epoch", Whole()),
    must("shard", Whole()),
    must("symbol", Id(64)),
    may("parent", Id(64)),
    must("born_ns", Whole()),
    must("params", Note()),
    may("ended_ns", Whole()),
    may("reason", Id(32)),
    may("pnl", Real()),
    may("iterations", Whole()),
    may("trades", Whole()),
    sa.Index("run_by_epoch", "epoch", "symbol"),
)

reconcile_cycle: Final = table(
    "reconcile_cycle",
    key("cycle_id", Id(64)),
    must("due_ns", Whole()),
    must("stage", Id(16)),
    may("outcome", Note()),
    must("version", Whole()),
    sa.Index("reconcile_cycle_by_due", "due_ns"),
    sa.Index("reconcile_cycle_by_stage", "stage", "due_ns"),
)

decision: Final = table(
    "decision",
    key("cycle_id", Id(64)),
    key("symbol", Id(64)),
    must("direction", Whole()),
    must("live_pnl", Real()),
    may("kelly_now", Real()),
    may("kelly_past", Real()),
    must("desired", Exact()),
    may("actual", Exact()),
    must("delta", Exact()),
    may("intent", Id(128)),
    must("reasons", Note()),
)

orders: Final = table(
    "orders",
    key("cl_ord_id", Id(64)),
    must("intent", Id(128)),
    must("cycle", Id(64)),
    must("attempt", Whole()),
    must("symbol", Id(64)),
    must("side", Id(8)),
    must("qty", Exact()),
    must("taker", Boolean()),
    must("state", Id(32)),
    must("created_ns", Whole()),
    must("updated_ns", Whole()),
    must("version", Whole()),
    may("price", Exact()),
    may("session", Id(128)),
    may("order_id", Id(128)),
    must("cum_qty", Exact()),
    must("avg_px", Exact()),
    may("cancel_reason", Note()),
    may("reason", Note()),
    must("link", Whole()),
    must("links", Whole()),
    may("wanted_qty", Exact()),
    may("wanted_price", Exact()),
    must("replace_unknown", Boolean()),
    sa.Index("orders_by_intent", "intent", "attempt"),
    sa.Index("orders_by_state", "state", "created_ns"),
)

order_link: Final = table(
    "order_link",
    key("cl_ord_id", Id(64)),
    must("first_id", Id(64)),
    must("link", Whole()),
    must("qty", Exact()),
    must("price", Exact()),
    must("asked_ns", Whole()),
)

execution: Final = table(
    "execution",
    seq(),
    *_report(),
    may("fee_currency", Id(16)),
    sa.UniqueConstraint("venue", "exec_id", name="execution_once"),
    sa.Index("execution_by_order", "cl_ord_id"),
    sa.Index("execution_by_fill", "symbol", "side", "happened_ns"),
)

posting: Final = table(
    "posting",
    key("entry", Id(200)),
    key("line", Whole()),
    must("account", Id(16)),
    may("symbol", Id(64)),
    must("amount", Exact()),
    must("qty", Exact()),
    must("happened_ns", Whole()),
    sa.Index("posting_by_account", "account"),
)

ledger_entry: Final = table(
    "ledger_entry",
    seq(),
    must("entry", Id(200)),
    must("kind", Id(16)),
    must("strategy", Id(16)),
    must("currency", Id(16)),
    must("happened_ns", Whole()),
    must("line_count", Whole()),
    may("book", Id(64)),
    may("fx_rate", Exact()),
    may("operator", Id(128)),
    may("reason", Note()),
    may("evidence", Note()),
    sa.UniqueConstraint("entry", name="ledger_entry_once"),
    sa.Index("ledger_entry_by_kind", "kind"),
)

ledger_lot: Final = table(
    "ledger_lot",
    seq(),
    must("entry", Id(200)),
    must("symbol", Id(64)),
    must("opened_qty", Exact()),
    must("opened_cost", Exact()),
    must("qty", Exact()),
    must("cost", Exact()),
    must("realised", Exact()),
    must("opened_ns", Whole()),
    may("closed_ns", Whole()),
    sa.UniqueConstraint("entry", name="ledger_lot_once"),
    sa.Index("ledger_lot_open", "closed_ns", "seq"),
)

ledger_mark: Final = table(
    "ledger_mark",
    key("id", Whole()),
    must("upto_seq", Whole()),
    must("seen_seq", Whole()),
    must("seen_ns", Whole()),
)

ledger_position: Final = table(
    "ledger_position",
    key("symbol", Id(64)),
    must("qty", Exact()),
    must("cost", Exact()),
    must("realised", Exact()),
    must("fees", Exact()),
    must("confirmed_ns", Whole()),
)

observation: Final = table(
    "observation",
    Column("observer", Id(64), nullable=False),
    Column("symbol", Id(64), nullable=False),
    must("qty", Exact()),
    must("at_ns", Whole()),
    sa.PrimaryKeyConstraint("symbol", "observer"),
)

equity: Final = table(
    "equity",
    key("at_ns", Whole()),
    must("equity", Exact()),
    must("cash", Exact()),
    key("symbol", Id(64)),
    must("qty", Exact()),
    must("price", Exact()),
)

take_profit: Final = table(
    "take_profit",
    seq(),
    must("epoch", Whole()),
    must("step", Id(64)),
    must("at_ns", Whole()),
    sa.UniqueConstraint("epoch", "step", name="take_profit_once"),
)

control: Final = table(
    "control",
    seq(),
    must("mode", Id(16)),
    must("operator", Id(128)),
    must("reason", Note()),
    must("set_ns", Whole()),
)

gate: Final = table(
    "gate",
    seq(),
    must("session", Id(128)),
    must("shut", Boolean()),
    must("operator", Id(128)),
    must("reason", Note()),
    must("set_ns", Whole()),
    sa.Index("gate_by_session", "session", "seq"),
)

event: Final = table(
    "event",
    seq(),
    must("at_ns", Whole()),
    must("kind", Id(64)),
    must("subject", Id(200)),
    must("detail", Note()),
)

lease: Final = table(
    "lease",
    key("name", Id(128)),
    must("owner", Id(128)),
    must("token", Whole()),
    must("until_ms", Whole()),
)

replay: Final = table(
    "replay",
    key("id", Whole()),
    must("dataset", Id(128)),
    must("digest", Id(128)),
    must("seed", Whole()),
    must("settings_digest", Id(128)),
    must("start_ns", Whole()),
    must("end_ns", Whole()),
    must("now_ns", Whole()),
    must("speed", Real()),
    must("origin_ns", Whole()),
    must("finished", Boolean()),
)

process: Final = table(
    "process",
    key("name", Id(128)),
    must("pid", Whole()),
    must("wall_ns", Whole()),
    must("tasks", Whole()),
    must("rss_bytes", Whole()),
)

egress_event: Final = table(
    "egress_event",
    seq(),
    must("session", Id(128)),
    must("at_ns", Whole()),
    must("path", Id(64)),
    must("what", Id(16)),
    must("why", Note()),
    sa.UniqueConstraint("session", "at_ns", "path", "what", name="egress_event_once"),
)

fix_message: Final = table(
    "fix_message",
    key("session", Id(128)),
    key("number", Whole()),
    must("direction", Id(8)),
    may("msg_type", Id(8)),
    may("seq_num", Whole()),
    must("at_ns", Whole()),
    must("text", BLOB),
    sa.Index("fix_message_by_time", "at_ns"),
)

drop_copy: Final = table(
    "drop_copy",
    seq(),
    *_report(),
    must("verdict", Id(16)),
    may("fee_currency", Id(16)),
    sa.UniqueConstraint("venue", "exec_id", name="drop_copy_once"),
    sa.Index("drop_copy_by_verdict", "venue", "verdict", "seq"),
)

copy_mark: Final = table(
    "copy_mark",
    key("venue", Id(64)),
    must("upto_seq", Whole()),
    must("heard_ns", Whole()),
    must("checked_seq", Whole()),
)

ib_order_id: Final = table(
    "ib_order_id",
    key("session", Id(128)),
    must("next_id", Whole()),
)

killswitch_beat: Final = table(
    "killswitch_beat",
    key("name", Id(32)),
    must("number", Whole()),
    must("at_ns", Whole()),
    must("state", Id(16)),
    must("word", Id(8)),
    must("reason", Note()),
    must("signature", Id(128)),
)

killswitch_mark: Final = table(
    "killswitch_mark",
    key("name", Id(32)),
    must("number", Whole()),
    must("at_ns", Whole()),
    must("word", Id(8)),
    must("refused", Id(64)),
)

fingerprint: Final = table(
    "fingerprint",
    seq(),
    must("print", Id(64)),
    must("operator", Id(128)),
    must("set_ns", Whole()),
)

incident: Final = table(
    "incident",
    seq(),
    must("symbol", Id(64)),
    must("kind", Id(16)),
    must("opened_ns", Whole()),
    must("updated_ns", Whole()),
    may("closed_ns", Whole()),
    must("cycles", Whole()),
    must("began", Note()),
    must("views", Note()),
    must("reasons", Note()),
    may("outcome", Note()),
    sa.Index("incident_open", "closed_ns", "symbol"),
)

exit_state: Final = table(
    "exit_state",
    key("strategy", Id(16)),
    key("symbol", Id(64)),
    must("seen_ns", Whole()),
    must("side", Whole()),
    must("qty", Exact()),
    must("cost", Exact()),
    must("opened_ns", Whole()),
    must("entry", Exact()),
    may("atr", Exact()),
    must("peak", Exact()),
    may("stop", Exact()),
    must("armed", Boolean()),
    must("full_qty", Exact()),
    must("legs", Whole()),
    must("idle_ns", Whole()),
    may("cause", Id(16)),
    may("caused_ns", Whole()),
)

observer_snapshot: Final = table(
    "observer_snapshot",
    seq(),
    must("observer", Id(32)),
    must("number", Whole()),
    must("at_ns", Whole()),
    must("complete", Boolean()),
    must("reason", Note()),
    must("positions", Note()),
    must("key_id", Id(16)),
    must("signature", Id(128)),
    sa.Index("observer_snapshot_by_observer", "observer", "seq"),
)

observer_mark: Final = table(
    "observer_mark",
    key("observer", Id(32)),
    must("seen_seq", Whole()),
    must("number", Whole()),
    must("at_ns", Whole()),
)

risk_limit: Final = table(
    "risk_limit",
    key("version", Whole()),
    must("name", Id(64)),
    must("scope", Id(16)),
    must("subject", Id(64)),
    must("value", Exact()),
    must("proposed_by", Id(128)),
    must("reason", Note()),
    must("proposed_ns", Whole()),
)

risk_limit_approval: Final = table(
    "risk_limit_approval",
    key("version", Whole()),
    must("approved_by", Id(128)),
    must("approved_ns", Whole()),
)
