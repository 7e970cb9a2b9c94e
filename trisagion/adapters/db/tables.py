"""The tables of `init/*.sql` as SQLAlchemy Core sees them. The SQL is the truth; a test holds this file against it.

There are no foreign keys. What a venue reports is recorded even when it points at nothing we know, and a foreign key
would make every insert lock its parent's row on MySQL.
"""

from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy import Boolean, Column

from trisagion.adapters.db.columns import BLOB, Exact, Id, Note, Real, Whole

METADATA: Final = sa.MetaData()


def _key(name: str, kind: sa.types.TypeEngine[Any]) -> "Column[Any]":
    return Column(name, kind, primary_key=True, nullable=False, autoincrement=False)


def _must(name: str, kind: sa.types.TypeEngine[Any]) -> "Column[Any]":
    return Column(name, kind, nullable=False)


def _may(name: str, kind: sa.types.TypeEngine[Any]) -> "Column[Any]":
    return Column(name, kind, nullable=True)


def _table(name: str, *parts: sa.schema.SchemaItem) -> sa.Table:
    return sa.Table(name, METADATA, *parts, implicit_returning=False)


def _seq() -> "Column[int]":
    kind = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    return Column("seq", kind, primary_key=True, nullable=False, autoincrement=True)


schema_migration: Final = _table(
    "schema_migration",
    _key("number", Whole()),
    _must("name", Id(128)),
    _must("checksum", Id(64)),
    _must("state", Id(16)),
    _must("operator", Id(128)),
    _must("at_ns", Whole()),
)


def _report() -> "list[Column[Any]]":
    """Return the first columns of an execution report, which stands in more than one table."""
    return [
        _must("venue", Id(64)),
        _must("exec_id", Id(128)),
        _must("cl_ord_id", Id(64)),
        _must("order_id", Id(128)),
        _must("exec_type", Id(32)),
        _must("ord_status", Id(32)),
        _must("symbol", Id(64)),
        _must("side", Id(8)),
        _must("last_qty", Exact()),
        _may("last_px", Exact()),
        _must("cum_qty", Exact()),
        _must("leaves_qty", Exact()),
        _must("avg_px", Exact()),
        _must("fee", Exact()),
        _may("liquidity", Id(8)),
        _may("reason", Note()),
        _must("unknown_order", Boolean()),
        _must("happened_ns", Whole()),
        _may("request_id", Id(64)),
        _may("ref_exec_id", Id(128)),
        _may("reject", Id(32)),
        _must("learned_ns", Whole()),
    ]


instrument: Final = _table(
    "instrument",
    _key("symbol", Id(64)),
    _must("venue", Id(64)),
    _must("currency", Id(16)),
    _must("tick_size", Exact()),
    _must("lot_size", Exact()),
    _must("multiplier", Exact()),
    _must("leverage_max", Exact()),
    _must("fee_rate", Exact()),
)

bar: Final = _table(
    "bar",
    _key("symbol", Id(64)),
    _key("close_ns", Whole()),
    _must("interval_ns", Whole()),
    _must("open", Real()),
    _must("high", Real()),
    _must("low", Real()),
    _must("close", Real()),
    _must("volume", Real()),
    _must("trades", Whole()),
)

market_step: Final = _table(
    "market_step",
    _key("symbol", Id(64)),
    _key("at_ns", Whole()),
    _must("last", Exact()),
    _must("last_ns", Whole()),
    _must("tick_ns", BLOB),
    _must("tick_price", BLOB),
)

market_state: Final = _table(
    "market_state",
    _key("symbol", Id(64)),
    _key("at_ns", Whole()),
    _must("n", Whole()),
    _must("regime", Id(16)),
    _must("ts_ns", BLOB),
    _must("price", BLOB),
    _must("weight", BLOB),
    _must("volatility", BLOB),
    _must("entropy", BLOB),
    _must("samples", BLOB),
    _must("channel_high", BLOB),
    _must("channel_low", BLOB),
    _must("z", BLOB),
)

bar_day: Final = _table(
    "bar_day",
    _key("symbol", Id(64)),
    _key("interval_ns", Whole()),
    _key("day_ns", Whole()),
    _must("n", Whole()),
    _must("open_ns", BLOB),
    _must("numbers", BLOB),
    _must("learned_ns", BLOB),
)

quote_hour: Final = _table(
    "quote_hour",
    _key("symbol", Id(64)),
    _key("hour_ns", Whole()),
    _must("n", Whole()),
    _must("at_ns", BLOB),
    _must("numbers", BLOB),
    _must("learned_ns", BLOB),
)

regime_fit: Final = _table(
    "regime_fit",
    _key("symbol", Id(64)),
    _key("model", Id(32)),
    _key("last_ns", Whole()),
    _may("fit", Note()),
    _must("note", Note()),
)

regime_state: Final = _table(
    "regime_state",
    _key("symbol", Id(64)),
    _key("at_ns", Whole()),
    _must("state", Id(16)),
    _must("trending", Real()),
    _must("mean_reverting", Real()),
    _must("noisy", Real()),
    _must("crisis", Real()),
    _must("reasons", Note()),
)

epoch: Final = _table(
    "epoch",
    _key("number", Whole()),
    _must("opened_ns", Whole()),
    _may("closed_ns", Whole()),
    _may("reason", Id(32)),
    _may("baseline", Id(64)),
)

shard: Final = _table(
    "shard",
    _key("number", Whole()),
    _must("epoch", Whole()),
    _must("at_ns", Whole()),
    _must("version", Whole()),
    _must("state", BLOB),
)

shard_progress: Final = _table(
    "shard_progress",
    Column("shard", Whole(), nullable=False, autoincrement=False),
    Column("at_ns", Whole(), nullable=False, autoincrement=False),
    _must("alive", Whole()),
    _must("in_market", Whole()),
    _may("best_apr", Real()),
    _may("median_apr", Real()),
    sa.PrimaryKeyConstraint("at_ns", "shard"),
)

shard_mark: Final = _table(
    "shard_mark",
    _key("at_ns", Whole()),
    _key("shard", Whole()),
    _must("runs", BLOB),
    _must("pnl", BLOB),
)

run: Final = _table(
    "run",
    _key("run_id", Id(64)),
    _must("epoch", Whole()),
    _must("shard", Whole()),
    _must("symbol", Id(64)),
    _may("parent", Id(64)),
    _must("born_ns", Whole()),
    _must("params", Note()),
    _may("ended_ns", Whole()),
    _may("reason", Id(32)),
    _may("pnl", Real()),
    _may("iterations", Whole()),
    _may("trades", Whole()),
    sa.Index("run_by_epoch", "epoch", "symbol"),
)

reconcile_cycle: Final = _table(
    "reconcile_cycle",
    _key("cycle_id", Id(64)),
    _must("due_ns", Whole()),
    _must("stage", Id(16)),
    _may("outcome", Note()),
    _must("version", Whole()),
    sa.Index("reconcile_cycle_by_due", "due_ns"),
    sa.Index("reconcile_cycle_by_stage", "stage", "due_ns"),
)

decision: Final = _table(
    "decision",
    _key("cycle_id", Id(64)),
    _key("symbol", Id(64)),
    _must("direction", Whole()),
    _must("live_pnl", Real()),
    _may("kelly_now", Real()),
    _may("kelly_past", Real()),
    _must("desired", Exact()),
    _may("actual", Exact()),
    _must("delta", Exact()),
    _may("intent", Id(128)),
    _must("reasons", Note()),
)

orders: Final = _table(
    "orders",
    _key("cl_ord_id", Id(64)),
    _must("intent", Id(128)),
    _must("cycle", Id(64)),
    _must("attempt", Whole()),
    _must("symbol", Id(64)),
    _must("side", Id(8)),
    _must("qty", Exact()),
    _must("taker", Boolean()),
    _must("state", Id(32)),
    _must("created_ns", Whole()),
    _must("updated_ns", Whole()),
    _must("version", Whole()),
    _may("price", Exact()),
    _may("session", Id(128)),
    _may("order_id", Id(128)),
    _must("cum_qty", Exact()),
    _must("avg_px", Exact()),
    _may("cancel_reason", Note()),
    _may("reason", Note()),
    _must("link", Whole()),
    _must("links", Whole()),
    _may("wanted_qty", Exact()),
    _may("wanted_price", Exact()),
    _must("replace_unknown", Boolean()),
    sa.Index("orders_by_intent", "intent", "attempt"),
    sa.Index("orders_by_state", "state", "created_ns"),
)

order_link: Final = _table(
    "order_link",
    _key("cl_ord_id", Id(64)),
    _must("first_id", Id(64)),
    _must("link", Whole()),
    _must("qty", Exact()),
    _must("price", Exact()),
    _must("asked_ns", Whole()),
)

execution: Final = _table(
    "execution",
    _seq(),
    *_report(),
    _may("fee_currency", Id(16)),
    sa.UniqueConstraint("venue", "exec_id", name="execution_once"),
    sa.Index("execution_by_order", "cl_ord_id"),
)

posting: Final = _table(
    "posting",
    _key("entry", Id(200)),
    _key("line", Whole()),
    _must("account", Id(16)),
    _may("symbol", Id(64)),
    _must("amount", Exact()),
    _must("qty", Exact()),
    _must("happened_ns", Whole()),
    sa.Index("posting_by_account", "account"),
)

ledger_entry: Final = _table(
    "ledger_entry",
    _seq(),
    _must("entry", Id(200)),
    _must("kind", Id(16)),
    _must("strategy", Id(16)),
    _must("currency", Id(16)),
    _must("happened_ns", Whole()),
    _must("line_count", Whole()),
    _may("book", Id(64)),
    _may("fx_rate", Exact()),
    _may("operator", Id(128)),
    _may("reason", Note()),
    _may("evidence", Note()),
    sa.UniqueConstraint("entry", name="ledger_entry_once"),
    sa.Index("ledger_entry_by_kind", "kind"),
)

ledger_lot: Final = _table(
    "ledger_lot",
    _seq(),
    _must("entry", Id(200)),
    _must("symbol", Id(64)),
    _must("opened_qty", Exact()),
    _must("opened_cost", Exact()),
    _must("qty", Exact()),
    _must("cost", Exact()),
    _must("realised", Exact()),
    _must("opened_ns", Whole()),
    _may("closed_ns", Whole()),
    sa.UniqueConstraint("entry", name="ledger_lot_once"),
    sa.Index("ledger_lot_open", "closed_ns", "seq"),
)

ledger_mark: Final = _table(
    "ledger_mark",
    _key("id", Whole()),
    _must("upto_seq", Whole()),
    _must("seen_seq", Whole()),
    _must("seen_ns", Whole()),
)

ledger_position: Final = _table(
    "ledger_position",
    _key("symbol", Id(64)),
    _must("qty", Exact()),
    _must("cost", Exact()),
    _must("realised", Exact()),
    _must("fees", Exact()),
    _must("confirmed_ns", Whole()),
)

observation: Final = _table(
    "observation",
    Column("observer", Id(64), nullable=False),
    Column("symbol", Id(64), nullable=False),
    _must("qty", Exact()),
    _must("at_ns", Whole()),
    sa.PrimaryKeyConstraint("symbol", "observer"),
)

equity: Final = _table(
    "equity",
    _key("at_ns", Whole()),
    _must("equity", Exact()),
    _must("cash", Exact()),
    _key("symbol", Id(64)),
    _must("qty", Exact()),
    _must("price", Exact()),
)

take_profit: Final = _table(
    "take_profit",
    _seq(),
    _must("epoch", Whole()),
    _must("step", Id(64)),
    _must("at_ns", Whole()),
    sa.UniqueConstraint("epoch", "step", name="take_profit_once"),
)

control: Final = _table(
    "control",
    _seq(),
    _must("mode", Id(16)),
    _must("operator", Id(128)),
    _must("reason", Note()),
    _must("set_ns", Whole()),
)

gate: Final = _table(
    "gate",
    _seq(),
    _must("session", Id(128)),
    _must("shut", Boolean()),
    _must("operator", Id(128)),
    _must("reason", Note()),
    _must("set_ns", Whole()),
    sa.Index("gate_by_session", "session", "seq"),
)

event: Final = _table(
    "event",
    _seq(),
    _must("at_ns", Whole()),
    _must("kind", Id(64)),
    _must("subject", Id(200)),
    _must("detail", Note()),
)

lease: Final = _table(
    "lease",
    _key("name", Id(128)),
    _must("owner", Id(128)),
    _must("token", Whole()),
    _must("until_ms", Whole()),
)

replay: Final = _table(
    "replay",
    _key("id", Whole()),
    _must("dataset", Id(128)),
    _must("digest", Id(128)),
    _must("seed", Whole()),
    _must("settings_digest", Id(128)),
    _must("start_ns", Whole()),
    _must("end_ns", Whole()),
    _must("now_ns", Whole()),
    _must("speed", Real()),
    _must("origin_ns", Whole()),
    _must("finished", Boolean()),
)

process: Final = _table(
    "process",
    _key("name", Id(128)),
    _must("pid", Whole()),
    _must("wall_ns", Whole()),
    _must("tasks", Whole()),
    _must("rss_bytes", Whole()),
)

egress_event: Final = _table(
    "egress_event",
    _seq(),
    _must("session", Id(128)),
    _must("at_ns", Whole()),
    _must("path", Id(64)),
    _must("what", Id(16)),
    _must("why", Note()),
    sa.UniqueConstraint("session", "at_ns", "path", "what", name="egress_event_once"),
)

fix_message: Final = _table(
    "fix_message",
    _key("session", Id(128)),
    _key("number", Whole()),
    _must("direction", Id(8)),
    _may("msg_type", Id(8)),
    _may("seq_num", Whole()),
    _must("at_ns", Whole()),
    _must("text", BLOB),
    sa.Index("fix_message_by_time", "at_ns"),
)

drop_copy: Final = _table(
    "drop_copy",
    _seq(),
    *_report(),
    _must("verdict", Id(16)),
    _may("fee_currency", Id(16)),
    sa.UniqueConstraint("venue", "exec_id", name="drop_copy_once"),
    sa.Index("drop_copy_by_verdict", "venue", "verdict", "seq"),
)

copy_mark: Final = _table(
    "copy_mark",
    _key("venue", Id(64)),
    _must("upto_seq", Whole()),
    _must("heard_ns", Whole()),
    _must("checked_seq", Whole()),
)

ib_order_id: Final = _table(
    "ib_order_id",
    _key("session", Id(128)),
    _must("next_id", Whole()),
)

killswitch_beat: Final = _table(
    "killswitch_beat",
    _key("name", Id(32)),
    _must("number", Whole()),
    _must("at_ns", Whole()),
    _must("state", Id(16)),
    _must("word", Id(8)),
    _must("reason", Note()),
    _must("signature", Id(128)),
)

killswitch_mark: Final = _table(
    "killswitch_mark",
    _key("name", Id(32)),
    _must("number", Whole()),
    _must("at_ns", Whole()),
    _must("word", Id(8)),
    _must("refused", Id(64)),
)

fingerprint: Final = _table(
    "fingerprint",
    _seq(),
    _must("print", Id(64)),
    _must("operator", Id(128)),
    _must("set_ns", Whole()),
)

audit_note: Final = _table(
    "audit_note",
    _seq(),
    _must("at_ns", Whole()),
    _must("monotonic_ns", Whole()),
    _must("host", Id(64)),
    _must("actor", Id(128)),
    _must("build", Id(64)),
    _must("config", Id(64)),
    _must("kind", Id(64)),
    _must("subject", Id(200)),
    _must("detail", Note()),
)

audit_event: Final = _table(
    "audit_event",
    _key("shard", Id(32)),
    _key("seq", Whole()),
    _must("at_ns", Whole()),
    _must("source", Id(32)),
    _must("row_key", Id(200)),
    _must("detail", Note()),
    _must("prev_hash", Id(64)),
    _must("hash", Id(64)),
    sa.UniqueConstraint("source", "row_key", name="audit_event_once"),
)

audit_mark: Final = _table(
    "audit_mark", _key("source", Id(32)), _must("version", Whole()), _must("upto", Whole()), _must("state", BLOB)
)

incident: Final = _table(
    "incident",
    _seq(),
    _must("symbol", Id(64)),
    _must("kind", Id(16)),
    _must("opened_ns", Whole()),
    _must("updated_ns", Whole()),
    _may("closed_ns", Whole()),
    _must("cycles", Whole()),
    _must("began", Note()),
    _must("views", Note()),
    _must("reasons", Note()),
    _may("outcome", Note()),
    sa.Index("incident_open", "closed_ns", "symbol"),
)

exit_state: Final = _table(
    "exit_state",
    _key("strategy", Id(16)),
    _key("symbol", Id(64)),
    _must("seen_ns", Whole()),
    _must("side", Whole()),
    _must("qty", Exact()),
    _must("cost", Exact()),
    _must("opened_ns", Whole()),
    _must("entry", Exact()),
    _may("atr", Exact()),
    _must("peak", Exact()),
    _may("stop", Exact()),
    _must("armed", Boolean()),
    _must("full_qty", Exact()),
    _must("legs", Whole()),
    _must("idle_ns", Whole()),
    _may("cause", Id(16)),
    _may("caused_ns", Whole()),
)

observer_snapshot: Final = _table(
    "observer_snapshot",
    _seq(),
    _must("observer", Id(32)),
    _must("number", Whole()),
    _must("at_ns", Whole()),
    _must("complete", Boolean()),
    _must("reason", Note()),
    _must("positions", Note()),
    _must("key_id", Id(16)),
    _must("signature", Id(128)),
    sa.Index("observer_snapshot_by_observer", "observer", "seq"),
)

observer_mark: Final = _table(
    "observer_mark",
    _key("observer", Id(32)),
    _must("seen_seq", Whole()),
    _must("number", Whole()),
    _must("at_ns", Whole()),
)

risk_limit: Final = _table(
    "risk_limit",
    _key("version", Whole()),
    _must("name", Id(64)),
    _must("scope", Id(16)),
    _must("subject", Id(64)),
    _must("value", Exact()),
    _must("proposed_by", Id(128)),
    _must("reason", Note()),
    _must("proposed_ns", Whole()),
)

risk_limit_approval: Final = _table(
    "risk_limit_approval",
    _key("version", Whole()),
    _must("approved_by", Id(128)),
    _must("approved_ns", Whole()),
)

risk_mark: Final = _table(
    "risk_mark",
    _key("id", Whole()),
    _must("peak", Exact()),
    _must("day_ns", Whole()),
    _must("day_equity", Exact()),
    _must("since_ns", Whole()),
)
