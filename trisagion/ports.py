"""What the services ask of the outside, as Protocols. Adapters implement them; services meet nothing else.

The database is the only truth. All access goes through a unit of work: `with database.transaction() as tx:` commits
when the block ends, rolls back when it raises. Reads that decide a write happen in the same transaction as the write,
which holds the write lock from its start on SQLite and row locks or compare-and-set on MySQL. A write that is
repeated with the same key changes nothing.
"""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from trisagion.audit_ports import AuditStore
from trisagion.cohort.types import Epoch, Progress, RunEnd, RunRecord, ShardMark, ShardRow
from trisagion.exit_ports import ExitUnit
from trisagion.ids import ClOrdId, CycleId, IntentKey
from trisagion.lately_ports import LatelyUnit
from trisagion.ledger.types import EquitySample, Position
from trisagion.ledger_ports import EntryStore
from trisagion.market_ports import MarketStore, RegimeStore
from trisagion.observer_ports import IncidentStore, ObservationStore, SnapshotStore
from trisagion.orders.state import OrderState
from trisagion.orders.types import ExecutionReport, Order, OrderLink
from trisagion.risk.load import Load
from trisagion.risk_ports import LimitStore, PastIntent
from trisagion.safety.gates import Gate
from trisagion.safety.modes import Control, Level, Standing
from trisagion.series_ports import SeriesStore
from trisagion.session_ports import CopyStore, EgressStore, MessageStore, OrderIdStore, ReleaseStore, SwitchStore
from trisagion.units import Price, Quantity


@dataclass(frozen=True, slots=True)
class Cycle:
    """A reconciliation cycle. `stage` is "opened", "cancelling", "observing", "decided" or "done".

    It is that of the symbols that are behind the others. `outcome` says how it was done.
    """

    cycle_id: CycleId
    due_ns: int
    stage: str
    outcome: str | None
    version: int


@dataclass(frozen=True, slots=True)
class Decision:
    """What a cycle decided for one symbol, and why: `reasons` are codes with their values, in order of precedence."""

    cycle_id: CycleId
    symbol: str
    direction: int
    live_pnl: float
    kelly_now: float | None
    kelly_past: float | None
    desired: Quantity
    actual: Quantity | None
    delta: Quantity
    intent: IntentKey | None
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TakeProfitStep:
    """One recorded step of a take-profit or draw-down sequence of an epoch."""

    epoch: int
    step: str
    at_ns: int


@dataclass(frozen=True, slots=True)
class Replay:
    """The one replay that a database holds: what it replays, how, and how far it has come."""

    dataset: str
    digest: str
    seed: int
    settings_digest: str
    start_ns: int
    end_ns: int
    now_ns: int
    speed: float
    origin_ns: int
    finished: bool


@dataclass(frozen=True, slots=True)
class ProcessBeat:
    """A process' own word: wall time, tasks done so far, resident memory."""

    name: str
    pid: int
    wall_ns: int
    tasks: int
    rss_bytes: int


class CohortStore(Protocol):
    """Tables shard, shard_progress, shard_mark, run, epoch."""

    def shard_numbers(self) -> Sequence[int]:
        """Return the numbers of all shards, in order."""
        ...

    def shard_head(self, number: int) -> tuple[int, int] | None:
        """Return (at_ns, version) of a shard's checkpoint without its state, None when there is no such shard."""
        ...

    def hold_shard(self, number: int) -> tuple[int, int] | None:
        """Return what `shard_head` does; until the transaction's end nobody else writes the checkpoint."""
        ...

    def shard(self, number: int) -> ShardRow:
        """Return a shard's checkpoint; `StateError` when there is none."""
        ...

    def shards(self) -> Sequence[ShardRow]:
        """Return all checkpoints in order of number."""
        ...

    def add_shard(self, row: ShardRow) -> None:
        """Record a new shard; the same number again changes nothing."""
        ...

    def save_shard(self, row: ShardRow) -> bool:
        """Replace the checkpoint whose version is `row.version - 1`; False when another writer was first."""
        ...

    def put_progress(self, progress: Progress) -> None:
        """Record a shard's progress; the same shard and instant again changes nothing."""
        ...

    def has_come_to(self, number: int, at_ns: int) -> bool:
        """Tell whether a shard's progress at an instant, or at a later one, is recorded."""
        ...

    def progress(self, at_ns: int) -> Sequence[Progress]:
        """Return the progress of all shards at an instant, in order of shard."""
        ...

    def add_mark(self, mark: ShardMark) -> None:
        """Record what a shard's runs had earned; the same shard and instant again changes nothing."""
        ...

    def marks(self) -> Sequence[ShardMark]:
        """Return all marks in order of instant, then shard; P&L with the precision of float32."""
        ...

    def add_runs(self, runs: Sequence[RunRecord]) -> None:
        """Record births; a known run changes nothing."""
        ...

    def end_runs(self, ends: Sequence[RunEnd]) -> None:
        """Record ends; the first end of a run stays."""
        ...

    def run_count(self) -> int:
        """Return how many runs were ever born: the next draw's number."""
        ...

    def births(self, epoch: int) -> tuple[int, int]:
        """Return how many runs were born in an epoch, and how many of them were random draws."""
        ...

    def past_pnls(self, symbol: str) -> Sequence[float]:
        """Return the positive P&Ls of all runs of the symbol's past take-profit epochs, in order of run."""
        ...

    def epoch(self) -> Epoch | None:
        """Return the newest epoch where it is open; in a transaction it is locked until the end, open or not."""
        ...

    def epochs(self) -> Sequence[Epoch]:
        """Return all epochs in order."""
        ...

    def put_epoch(self, epoch: Epoch) -> None:
        """Insert or update an epoch by its number."""
        ...


class CycleStore(Protocol):
    """Tables cycle, decision."""

    def cycle(self, cycle_id: CycleId) -> Cycle | None:
        """Return a cycle."""
        ...

    def open_cycle(self, cycle: Cycle) -> bool:
        """Insert a cycle; False when it is there already."""
        ...

    def save_cycle(self, cycle: Cycle) -> bool:
        """Replace the cycle whose version is `cycle.version - 1`; False when another writer was first."""
        ...

    def unfinished(self) -> Sequence[Cycle]:
        """Return the cycles that are not done, oldest first."""
        ...

    def due_between(self, first_ns: int, last_ns: int) -> Sequence[int]:
        """Return the instants of the cycles that were due from `first_ns` to `last_ns`, in order."""
        ...

    def add_decision(self, decision: Decision) -> None:
        """Record a decision; the same cycle and symbol again changes nothing."""
        ...

    def decided(self, cycle_id: CycleId) -> Mapping[str, IntentKey | None]:
        """Return the intent of each symbol that a cycle has decided on, None where it decided for none."""
        ...

    def last_decisions(self, symbol: str, count: int) -> Sequence[Decision]:
        """Return the newest `count` decisions on a symbol, newest first."""
        ...

    def approved(self, after_ns: int, count: int) -> Sequence[PastIntent]:
        """Return the newest `count` intents that cycles due after an instant approved, by instant, then symbol."""
        ...


class OrderStore(Protocol):
    """Tables orders (the outbox), order_link (its further ClOrdIDs) and execution (the inbox)."""

    def add(self, order: Order) -> bool:
        """Insert an order; False when its id is there already."""
        ...

    def order(self, cl_ord_id: ClOrdId) -> Order | None:
        """Return an order, locked against other writers until the transaction ends."""
        ...

    def save(self, order: Order) -> None:
        """Replace the order whose version is `order.version - 1`; `StaleOwner` when another writer was first."""
        ...

    def in_states(self, states: frozenset[OrderState]) -> Sequence[Order]:
        """Return the orders in any of the states, in order of creation, then id.

        One that cannot be read and was never sent is left out; one that the venue may know is `StateError`.
        """
        ...

    def set_aside(self, now_ns: int) -> Sequence[tuple[str, str]]:
        """Deny the orders that cannot be read and were never sent; return each with what is wrong with it.

        One whose state is no word of ours becomes UNKNOWN.
        """
        ...

    def loads(self, intents: Sequence[IntentKey]) -> tuple[Load, dict[IntentKey, Load]]:
        """Return what all live orders amount to, and for each of some intents its part that was not sent yet."""
        ...

    def outbox(self, session: str, count: int) -> Sequence[Order]:
        """Return what a session has to send: working orders to be cancelled or replaced, then routed ones.

        Each in order of creation, then id, `count` at most.
        """
        ...

    def locked(self, names: Sequence[ClOrdId]) -> Sequence[Order]:
        """Return the orders of some ids in order of creation, locked against other writers as `order` does.

        Without those that another transaction holds.
        """
        ...

    def ask(self, names: Sequence[ClOrdId], state: OrderState, now_ns: int) -> None:
        """Move orders that this transaction has locked to a state, in one write.

        With the next version, an instant of at least `now_ns`, and nothing wanted of them any more.
        """
        ...

    def waiting(self, count: int) -> Sequence[Order]:
        """Return the oldest `count` first attempts that wait for the gateway, locked as `order` does.

        Without those that another transaction holds. Of equal age: in order of id.
        """
        ...

    def route(self, names: Sequence[ClOrdId], session: str, price: Price, now_ns: int) -> None:
        """Move orders that this transaction has locked to ROUTED, to a session at a price, in one write.

        With the next version; `now_ns` is the instant of each.
        """
        ...

    def attempts(self, intent: IntentKey) -> Sequence[Order]:
        """Return the orders of an intent in order of attempt."""
        ...

    def add_execution(self, report: ExecutionReport, learned_ns: int) -> bool:
        """Record an execution report by (venue, exec_id); False when it is there already.

        Then it must not be booked again.
        """
        ...

    def execution(self, venue: str, exec_id: str) -> ExecutionReport | None:
        """Return a recorded execution report."""
        ...

    def add_link(self, link: OrderLink) -> None:
        """Record a ClOrdID that a replace gives to an order; the same again changes nothing."""
        ...

    def link(self, cl_ord_id: ClOrdId) -> OrderLink | None:
        """Return what a ClOrdID beyond an order's first one belongs to."""
        ...

    def execution_count(self, venue: str) -> int:
        """Return how many execution reports of a venue were recorded."""
        ...


class LedgerStore(EntryStore, ObservationStore, Protocol):
    """Tables ledger_position, equity, take_profit, and those of `EntryStore` and `ObservationStore`."""

    def position(self, symbol: str) -> Position:
        """Return a position, flat when there was no fill."""
        ...

    def positions(self) -> Sequence[Position]:
        """Return all positions in order of symbol."""
        ...

    def moved_ns(self, symbol: str) -> int:
        """Return the instant of the newest entry that changed a position of our own account, 0 when there is none."""
        ...

    def save_position(self, position: Position) -> None:
        """Insert or replace a position."""
        ...

    def add_equity(self, sample: EquitySample) -> None:
        """Record a sample; the same instant and symbol again change nothing."""
        ...

    def first_equities(self, after_ns: int, count: int) -> Sequence[EquitySample]:
        """Return a sample of each of the first `count` instants with `at_ns > after_ns`."""
        ...

    def equities(self, at_ns: int) -> Sequence[EquitySample]:
        """Return all samples of an instant, in order of symbol."""
        ...

    def last_equity(self) -> EquitySample | None:
        """Return a sample of the newest instant."""
        ...

    def add_step(self, step: TakeProfitStep) -> bool:
        """Record a step of a take-profit sequence; False when it is there already."""
        ...

    def steps(self, epoch: int) -> Sequence[TakeProfitStep]:
        """Return the recorded steps of an epoch's sequence in the order of their recording."""
        ...


class ControlStore(Protocol):
    """Tables control, control_level, gate, event, lease, replay, process, fingerprint."""

    def control(self) -> Control:
        """Return the mode in force for everything; a store without a row answers PAUSE."""
        ...

    def standing(self) -> Standing:
        """Return the word for everything, and those for a part of it or for a while."""
        ...

    def overruled(self) -> Sequence[tuple[Control, Control]]:
        """Return each last row that nobody has signed and that is looser than what stands, with what stands."""
        ...

    def last(self, level: Level, name: str) -> int:
        """Return the number of the last row about a place, 0 for none."""
        ...

    def count_after(self, level: Level, name: str, number: int) -> int:
        """Return how many rows about a place come after a row; what others are just writing is waited for."""
        ...

    def set_mode(self, control: Control) -> None:
        """Append a transition."""
        ...

    def gate(self, session: str) -> Gate:
        """Return a session's gate; it is open when nothing was ever said of it."""
        ...

    def gates(self) -> Sequence[Gate]:
        """Return every gate that was ever touched, in order of session."""
        ...

    def last_of(self, session: str) -> int:
        """Return the number of the last row about a session's gate, 0 for none."""
        ...

    def overruled_gates(self) -> Sequence[tuple[Gate, Gate]]:
        """Return each gate that its last row calls open and nobody has signed open, with what shut it."""
        ...

    def set_gate(self, gate: Gate) -> None:
        """Append a shutting or an opening."""
        ...

    def in_force(self, session: str) -> tuple[Standing, Gate]:
        """Return all modes that are in force, and a session's gate."""
        ...

    def add_event(self, kind: str, subject: str, detail: Mapping[str, str], now_ns: int) -> None:
        """Append to the event log."""
        ...

    def acquire(self, lease: str, owner: str, ttl_s: float) -> int | None:
        """Take or renew a lease by the database's time; return its fencing token, None while another owner holds it."""
        ...

    def wall_ns(self) -> int:
        """Return the instant by the database's own clock, to the microsecond (SQLite: to the millisecond, of ours)."""
        ...

    def holds(self, lease: str, token: int) -> bool:
        """Tell whether the token is still the newest of its lease and not expired."""
        ...

    def release(self, lease: str, token: int) -> None:
        """Give a lease back."""
        ...

    def fingerprint(self) -> str | None:
        """Return the build and configuration that may trade, None when nobody has said so yet."""
        ...

    def register(self, fingerprint: str, operator: str, now_ns: int) -> None:
        """Let a build and configuration trade, and no other one from now on."""
        ...

    def replay(self) -> Replay | None:
        """Return the replay of this database."""
        ...

    def put_replay(self, replay: Replay) -> None:
        """Insert or replace the replay."""
        ...

    def beat(self, beat: ProcessBeat) -> None:
        """Insert or replace a process' word."""
        ...

    def beats(self) -> Sequence[ProcessBeat]:
        """Return the word of every process, in order of name."""
        ...


class Transaction(ExitUnit, LatelyUnit, Protocol):
    """All stores within one transaction."""

    def part(self) -> AbstractContextManager[None]:
        """Open a part of the transaction that is undone by itself when it raises; what came before it stays.

        Not when another writer was in the way or the server went away: then all of it is undone.
        """
        ...

    @property
    def market(self) -> MarketStore:
        """What was observed."""
        ...

    @property
    def series(self) -> SeriesStore:
        """The history of bars and quotes."""
        ...

    @property
    def regime(self) -> RegimeStore:
        """Fitted models and the state of the market."""
        ...

    @property
    def cohort(self) -> CohortStore:
        """The virtual runs."""
        ...

    @property
    def cycles(self) -> CycleStore:
        """Reconciliation."""
        ...

    @property
    def orders(self) -> OrderStore:
        """Outbox and inbox."""
        ...

    @property
    def ledger(self) -> LedgerStore:
        """The account."""
        ...

    @property
    def messages(self) -> MessageStore:
        """What was said on the FIX sessions."""
        ...

    @property
    def copies(self) -> CopyStore:
        """What a drop copy told."""
        ...

    @property
    def incidents(self) -> IncidentStore:
        """Where there is no consensus."""
        ...

    @property
    def snapshots(self) -> SnapshotStore:
        """What observers outside the platform say."""
        ...

    @property
    def control(self) -> ControlStore:
        """Modes, events, leases and processes."""
        ...

    @property
    def audit(self) -> AuditStore:
        """The audit chain."""
        ...

    @property
    def egress(self) -> EgressStore:
        """The paths of sessions to their venues."""
        ...

    @property
    def order_ids(self) -> OrderIdStore:
        """Numbers that are never given twice."""
        ...

    @property
    def limits(self) -> LimitStore:
        """The versions of the account's limits."""
        ...

    @property
    def releases(self) -> ReleaseStore:
        """The proposals to release what was stopped."""
        ...

    @property
    def switches(self) -> SwitchStore:
        """The hardware kill switches."""
        ...


class Database(Protocol):
    """Gives transactions."""

    def transaction(self) -> AbstractContextManager[Transaction]:
        """Open a unit of work that may write."""
        ...

    def snapshot(self) -> AbstractContextManager[Transaction]:
        """Open a unit of work that only reads; what it reads is consistent."""
        ...

    def version(self) -> int | None:
        """Return a number that changes when another connection has written; None where the server has none."""
        ...
