"""The one file that knows both services and adapters: settings in, use cases out."""

import os
import socket
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, partial
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Final, TypeVar

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from trisagion.adapters.build import build_hash
from trisagion.adapters.db.engine import SqlDatabase, open_database, retrying
from trisagion.adapters.killfile import KillFile
from trisagion.adapters.survivors import load_survivors
from trisagion.adapters.witness import this_process
from trisagion.clock import (
    HOUR_NS,
    MILLISECOND_NS,
    MINUTE_NS,
    SECOND_NS,
    Clock,
    ReplayClock,
    SystemClock,
    floor_ns,
    iso,
)
from trisagion.cohort.supervise import CohortRules
from trisagion.cohort.survivors import Survivor
from trisagion.errors import ConfigError, DataError, OurMistake, quoted
from trisagion.gateway.dialect import Profile
from trisagion.gateway.pace import TokenBucket
from trisagion.ids import ClOrdId
from trisagion.ledger.take_profit import TakeProfitRules
from trisagion.market.types import Instrument
from trisagion.orders.intents import ReconcileRules
from trisagion.orders.types import ExecutionReport
from trisagion.portfolio.clamps import ClampRules
from trisagion.portfolio.exits import ExitRules
from trisagion.portfolio.sizing import SizingRules
from trisagion.risk.limits import Limits
from trisagion.risk.losses import LossRules
from trisagion.risk.panic import Condition, PanicRules
from trisagion.safety.audit import Witness
from trisagion.safety.beats import WatchRules
from trisagion.safety.commands import Signers
from trisagion.safety.modes import Mode
from trisagion.selection.votes import SelectionRules
from trisagion.services import (
    advance_cohort,
    amend_orders,
    book_fills,
    compare_copies,
    detect_regime,
    ingest_market,
    keep_audit,
    keep_messages,
    ledger_check,
    reconcile,
    replay,
    route_orders,
    sweep,
    take_profit,
    tell_missed,
    watch_flag,
    watch_panic,
    watch_switch,
    watch_words,
)
from trisagion.services.adjust_incidents import AdoptRules
from trisagion.services.clamp import Clamping
from trisagion.services.drive_session import FULL
from trisagion.services.outcome import Outcome
from trisagion.services.protect import Protection
from trisagion.services.release import ReleaseRules
from trisagion.services.watch_panic import Panic
from trisagion.session_ports import MessageOutbox
from trisagion.settings import Ib, Settings, resolve, trading_digest
from trisagion.settings import digest as settings_digest
from trisagion.units import plain, price, quantity

T = TypeVar("T")

LOOPBACK: Final = frozenset({"127.0.0.1", "::1", "localhost"})
PRINT_SIGNS: Final = 16
"""Of each hash in a fingerprint: 64 bits, against chance and mistakes; whoever can forge a build needs none."""
CONFIG_SHOWN: Final = 12
"""Digits of the settings' digest in a note of the audit chain."""


AHEAD_NS: Final = HOUR_NS
"""How far a message's instant may lie beyond the end of a replay, or beyond the machine's clock."""


class House:
    """One process' view of the platform. Nothing is opened before it is used, so a fork after making it is harmless."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._copies = advance_cohort.ShardCopies()
        self._end_ns: int | None = None
        self._slot_ns = 0

    @cached_property
    def database(self) -> SqlDatabase:
        """The database."""
        renewed = partial(resolve, self.settings.database.url, os.environ)
        if not (url := renewed()):
            raise ConfigError(
                "database.url: expected the URL of a run's database; `trisagion run` sets it for its workers"
            )
        return open_database(url, self.signers, renewed)

    def retrying(self, use_case: Callable[[], T]) -> T:
        """Run a use case again when another writer was in the way or the database was away for a moment.

        What it repeats is keyed, so nothing happens twice.
        """
        return retrying(use_case)

    @cached_property
    def fingerprint(self) -> str:
        """Build and configuration as one word; every process of a platform has the same."""
        return f"{build_hash()[:PRINT_SIGNS]}.{trading_digest(self.settings)[:PRINT_SIGNS]}"

    def is_current(self) -> bool:
        """Tell whether this build and configuration may trade."""
        with self.database.snapshot() as tx:
            return tx.control.fingerprint() in {None, self.fingerprint}

    def tell(self, kind: str, subject: str, text: str) -> None:
        """Add an event of now."""
        now_ns = self.now_ns()
        with self.database.transaction() as tx:
            tx.control.add_event(kind, subject, {"text": text}, now_ns)

    @property
    def session_name(self) -> str:
        """The name of the one venue session, by which its executions are known too."""
        return self.settings.session

    @property
    def session_address(self) -> tuple[str, int]:
        """Where the session connects: the venue, or the forwarder that reaches it by the paths that are configured."""
        given, line = self.settings.egress, self.settings.line
        if line is None:
            raise OurMistake("a venue in the session's own process has no address")
        return ("127.0.0.1", given.port) if given.use else (line.host, line.port)

    def bucket(self, now_s: float) -> TokenBucket:
        """Return the session's share of messages, of which nothing may be used up yet; a venue in process sets none."""
        line = self.settings.line
        if line is None:
            return FULL
        return TokenBucket.empty(line.messages_per_s, line.cancel_reserve, now_s, line.messages_per_min)

    @cached_property
    def profile(self) -> Profile:
        """How the venue speaks; what the settings leave open is as usual in its version.

        Raises
        ------
        ConfigError
            There is no such venue, or its positions are to be observed and it cannot be asked for them.
        """
        given = self.settings.fix
        own = {
            "post_only_code": None if given.post_only_code is None else str(given.post_only_code),
            "liquidity_tag": given.liquidity_tag,
            "mass_status": given.mass_status,
            "positions": given.positions,
        }
        own = {name: value for name, value in own.items() if value is not None}
        profile = Profile.of(given.version, post_only=given.post_only, **own)
        if not profile.positions and reconcile.VENUE in self.settings.reconcile.observers:
            raise ConfigError(
                f"reconcile.observers: expected others than {reconcile.VENUE}, for this venue (FIX {profile.version}) "
                "cannot be asked for positions and no position would ever be confirmed, found "
                + ", ".join(self.settings.reconcile.observers)
            )
        return profile

    @cached_property
    def cohort_rules(self) -> CohortRules:
        """How the cohort is kept."""
        given = self.settings.cohort
        return CohortRules(
            desired_runs=given.runs,
            shards=given.shards,
            runs_per_leverage_max=given.runs_per_leverage_max,
            random_share_min=given.random_share_min,
            clone_share=given.clone_share,
            channel_share=given.channel_share,
            start_balance=given.start_balance,
            fee_rate=given.fee_rate,
        )

    def survivors(self, instruments: Sequence[Instrument]) -> tuple[Survivor, ...]:
        """Return the parameter sets that the first cohort begins with."""
        given = self.settings.cohort.survivors
        return load_survivors(Path(given), instruments) if given else ()

    @cached_property
    def limits(self) -> Limits:
        """What the account may do."""
        given = self.settings.risk
        return Limits(
            account=self.settings.platform.account,
            order_notional_max=given.order_notional_max,
            position_notional_max=given.position_notional_max,
            orders_max=given.orders_max,
            quote_age_ns_max=given.quote_age_ms * MILLISECOND_NS,
            order_qty_max=given.order_qty_max,
            open_notional_max=given.open_notional_max,
            gross_leverage_max=given.gross_leverage_max,
            price_collar=given.price_collar,
            collar_atr_max=given.collar_atr_max,
            short_qty_max=given.short_qty_max,
            alike_orders_max=given.alike_orders_max,
            order_trade_ratio_max=given.order_trade_ratio_max,
            same_side_fills_max=given.same_side_fills_max,
            rejects_max=given.rejects_max,
            restricted=frozenset(given.restricted),
        )

    @cached_property
    def cycle_rules(self) -> reconcile.CycleRules:
        """How a cycle decides."""
        given = self.settings
        return reconcile.CycleRules(
            account=given.platform.account,
            session=self.session_name,
            reconcile=ReconcileRules(
                min_trade_notional=given.reconcile.min_trade_notional,
                ledger_age_s_max=given.reconcile.ledger_age_s,
                observer_age_s_max=given.reconcile.observer_age_s,
                observers=tuple(given.reconcile.observers),
                quorum=given.reconcile.quorum,
            ),
            selection=SelectionRules(
                live_pnl_min=given.selection.live_pnl_min,
                stale_s=given.selection.stale_s,
                kelly_runs_min=given.selection.kelly_runs_min,
            ),
            sizing=SizingRules(**given.sizing.model_dump()),
            limits=self.limits,
            alert_after=given.reconcile.alert_after,
            drop_copy=given.fix.drop_copy,
            interval_ns=given.reconcile.interval_s * SECOND_NS,
            adopt=AdoptRules(frozenset(given.reconcile.adopt), given.reconcile.adopt_notional_max),
            keys={
                name: Ed25519PublicKey.from_public_bytes(bytes.fromhex(source.public_key))
                for name, source in given.observe.sources.items()
                if name in given.reconcile.observers
            },
            fingerprint=self.fingerprint,
            protection=self.protection,
            clamping=self.clamping,
        )

    @cached_property
    def clamping(self) -> Clamping:
        """How sizes are clamped. Raises `ConfigError` where a crisis is to count and nobody would tell of it."""
        rules = ClampRules(**self.settings.portfolio.model_dump())
        if rules.crisis_share is not None and self.settings.regime.gate != "state":
            found = plain(rules.crisis_share)
            raise ConfigError(f'portfolio.crisis_share: expected none without regime.gate = "state", found {found}')
        if not rules.has_tail:
            return Clamping(rules)
        # Distributions and optimisers: loaded by who needs them.
        return Clamping(rules, import_module("trisagion.portfolio.tails").worst)

    @cached_property
    def watch_rules(self) -> take_profit.WatchRules:
        """How profit and draw-down are watched."""
        given, risk = self.settings.take_profit, self.settings.risk
        return take_profit.WatchRules(
            TakeProfitRules(threshold=given.threshold, reward_multiple=given.reward_multiple),
            self.cohort_rules,
            self.settings.replay.seed,
            LossRules(risk.drawdown_soft, risk.drawdown_hard, risk.daily_loss),
            self.fingerprint,
            self.protection,
            self.panic,
        )

    @cached_property
    def panic(self) -> Panic:
        """What is so far from ordinary that it pauses."""
        given = self.settings.panic
        rules = PanicRules(
            conditions=frozenset(Condition(name) for name in given.conditions),
            slippage_max=given.slippage_max,
            quote_age_ns_max=given.quote_age_ms * MILLISECOND_NS,
            spread_max=given.spread_max,
            spread_ns=given.spread_min * MINUTE_NS,
            errors_max=given.errors_max,
            errors_ns=given.errors_s * SECOND_NS,
            loss_marks=given.loss_marks,
            loss_alpha=given.loss_alpha,
        )
        return Panic(rules, self.settings.platform.account, self.session_name)

    @cached_property
    def protection(self) -> Protection | None:
        """How positions are protected; None where no strategy's are."""
        given = self.settings.exits
        if not given.strategies:
            return None
        rules = ExitRules(
            trail_atr=given.trail_atr,
            break_even_atr=given.break_even_atr,
            scale_out_atr=given.scale_out_atr,
            scale_out_share=given.scale_out_share,
            time_stop_ns=given.time_stop_s * SECOND_NS,
            atr_bars=given.atr_bars,
            bar_min=given.bar_min,
        )
        interval_ns = self.settings.reconcile.interval_s * SECOND_NS
        return Protection(rules, interval_ns, self.settings.platform.account, self.session_name)

    @cached_property
    def switch_rules(self) -> WatchRules | None:
        """How the hardware kill switch is listened to; None where there is none."""
        given = self.settings.killswitch
        if not given.name:
            return None
        key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(given.public_key))
        return WatchRules(given.name, key, given.deadline_s * SECOND_NS, Mode(given.mode))

    @property
    def release_people(self) -> int:
        """How many people a release takes: two, but one where the venue is on this machine and no live account."""
        line, asked = self.settings.line, self.settings.safety.release_people
        live = line is not None and (line.host not in LOOPBACK or (isinstance(line, Ib) and line.environment == "live"))
        return asked or (2 if live else 1)

    @cached_property
    def operators(self) -> Mapping[str, Ed25519PublicKey]:
        """The keys by which people sign their commands; none: commands are not signed."""
        given = self.settings.safety.operators
        return {
            name: Ed25519PublicKey.from_public_bytes(bytes.fromhex(each.public_key)) for name, each in given.items()
        }

    @cached_property
    def signers(self) -> Signers | None:
        """Whose signatures a release and a limit take; None where nobody has a key."""
        return Signers(self.operators, self.release_people) if self.operators else None

    @property
    def release_rules(self) -> ReleaseRules:
        """What a release takes."""
        given = self.settings.reconcile
        heard_ns_max = (given.interval_s + given.observer_age_s) * SECOND_NS
        return ReleaseRules(self.release_people, self.limits, tuple(given.observers), given.quorum, heard_ns_max)

    @cached_property
    def flag(self) -> watch_flag.Flag:
        """What says whether a file demands a stop; nothing ever does where none is named."""
        named = self.settings.safety.kill_file
        return KillFile(Path(named)).raised if named else watch_flag.never

    @cached_property
    def book_rules(self) -> book_fills.BookRules:
        """How reports are answered."""
        return book_fills.BookRules(
            self.settings.platform.account, self.limits, self.settings.risk.reprices_max, self.panic
        )

    def clock(self) -> Clock:
        """The platform's clock: the replay's where the database holds one, else the machine's."""
        with self.database.snapshot() as tx:
            known = tx.control.replay()
        if known is None or not known.speed:
            return SystemClock()
        return ReplayClock(known.start_ns, known.speed, known.origin_ns)

    def now_ns(self) -> int:
        """The instant that the platform has come to: the replay's last complete step, else the machine's time."""
        with self.database.snapshot() as tx:
            known = tx.control.replay()
        return SystemClock().now_ns() if known is None else known.now_ns

    def present_ns(self, rung_ns: int) -> int:
        """Return the instant to judge by of what was rung at `rung_ns`: a message may come hours late.

        In a replay the data have come no further than what is rung; then it is `rung_ns`.
        """
        return max(rung_ns, self.now_ns())

    def expect_instant(self, now_ns: int) -> None:
        """Refuse with `DataError` an instant that the data cannot have come to.

        Believed, it would stand for the present: until it has passed nothing is marked, no shard moves, and every order
        comes too late.
        """
        if self._end_ns is None:
            with self.database.snapshot() as tx:
                known = tx.control.replay()
            self._end_ns = None if known is None else known.end_ns
        latest_ns = (SystemClock().now_ns() if self._end_ns is None else self._end_ns) + AHEAD_NS
        if now_ns > latest_ns:
            raise DataError(f"expected an instant up to {iso(latest_ns)}, found {now_ns}")

    def ingest(self, text: str, now_ns: int) -> Outcome:
        """Store a published minute, which is that of the message's instant."""
        steps = ingest_market.read_steps(text)
        if steps[0].at_ns != now_ns:
            raise DataError(f"expected the minute of the message's instant, found that of {steps[0].at_ns}")
        return ingest_market.ingest(self.database, steps)

    def detect(self, symbol: str, now_ns: int) -> tuple[Outcome, ...]:
        """Compute a minute's features."""
        if self.settings.regime.gate == "entropy":
            return detect_regime.detect(self.database, symbol, now_ns)
        judged = self._judging
        outcomes = detect_regime.detect(
            self.database, symbol, now_ns, partial(judged.judge, self.database, self._judge_rules)
        )
        return *outcomes, judged.due(self._judge_rules, symbol, now_ns)

    def refit(self, subject: str, now_ns: int) -> Outcome:
        """Fit a model again; `subject` names symbol and model."""
        symbol, model = _words(subject, 2)
        if model not in self._judging.MODELS:
            raise DataError(f"expected a model of {', '.join(self._judging.MODELS)}, found {quoted(model)}")
        with self.database.snapshot() as tx:
            newest_ns, _ = tx.market.heads(tx.market.instrument(symbol).symbol)
        if now_ns > newest_ns:
            raise DataError(f"expected an instant whose bars are closed, up to {newest_ns}, found {now_ns}")
        outcome: Outcome = self._judging.refit(self.database, symbol, model, now_ns)
        return outcome

    def give_up_refit(self, subject: str, now_ns: int, why: str) -> Outcome:
        """Record that a model could not be fitted."""
        symbol, model = _words(subject, 2)
        outcome: Outcome = self._judging.give_up(self.database, symbol, model, now_ns, why)
        return outcome

    @property
    def _judging(self) -> ModuleType:
        # Optimisers and distributions: seconds of import and tens of megabytes that most workers never use.
        return import_module("trisagion.services.judge_regime")

    @cached_property
    def _judge_rules(self) -> object:
        given = self.settings.regime
        return self._judging.JudgeRules(given.refit_s * SECOND_NS, frozenset(given.open_in))

    def advance(self, shard: int, now_ns: int) -> Outcome:
        """Move a shard up to the present."""
        checkpoint_ns = self.settings.reconcile.interval_s * SECOND_NS
        return advance_cohort.advance(self.database, self._copies, shard, now_ns, checkpoint_ns)

    def supervise(self, due_ns: int) -> Outcome:
        """Replace ended runs and close a cycle."""
        return advance_cohort.supervise_cohort(self.database, self.cohort_rules, self.settings.replay.seed, due_ns)

    def cycle(self, due_ns: int) -> tuple[Outcome, ...]:
        """Move a reconciliation cycle on."""
        owner = f"{socket.gethostname()}:{os.getpid()}"
        return reconcile.cycle(self.database, self.cycle_rules, owner, due_ns)

    def flattening(self, now_ns: int) -> bool:
        """Tell whether something waits to be flat before the next cycle is due."""
        return replay.flattening(self.database, self.settings.platform.account, self.session_name, now_ns)

    def watch(self, now_ns: int) -> tuple[Outcome, ...]:
        """Mark the account; carry on a take-profit. The minutes go on where beat does not: it tells of missed slots."""
        self._tell_missed(now_ns)
        return take_profit.watch(self.database, self.watch_rules, now_ns)

    def route(self, order: str, now_ns: int) -> Outcome:
        """Check, price and route an order."""
        name, print_ = self.session_name, self.fingerprint
        return route_orders.route(self.database, self.limits, name, ClOrdId(order), now_ns, fingerprint=print_)

    def amend(self, subject: str, now_ns: int) -> Outcome:
        """Ask for a working order to be replaced; `subject` names the order, its quantity in all and its price."""
        order, qty, px = _words(subject, 3)
        return amend_orders.amend(
            self.database,
            self.limits,
            ClOrdId(order),
            qty=quantity(qty),
            price=price(px),
            now_ns=now_ns,
            fingerprint=self.fingerprint,
        )

    def sweep(self, now_ns: int) -> tuple[Outcome, ...]:
        """Find what was left undone, with what cannot be read out of the way."""
        self.watch_switch(now_ns)
        self._tell_missed(now_ns)
        sweep.set_aside(self.database, now_ns)
        ledger_check.check_new(self.database, now_ns)
        return sweep.sweep(self.database)

    def _tell_missed(self, now_ns: int) -> None:
        """Look once in a slot for earlier ones that passed without a cycle."""
        interval_ns = self.settings.reconcile.interval_s * SECOND_NS
        slot_ns = floor_ns(now_ns, interval_ns)
        if slot_ns > self._slot_ns:
            tell_missed.tell_missed(self.database, interval_ns, now_ns)
            self._slot_ns = slot_ns

    def watch_switch(self, now_ns: int) -> None:
        """Look at the kill file, at the hardware kill switch, and for releases that nobody signed."""
        watch_flag.watch(self.database, self.flag, now_ns)
        if self.signers is not None:
            watch_words.watch(self.database, now_ns)
        if self.switch_rules is not None:
            watch_switch.watch(self.database, self.switch_rules, now_ns)

    def watch_panic(self, now_ns: int) -> None:
        """Look for what is far from ordinary where no replay's marks do."""
        watch_panic.between_marks(self.database, self.panic, now_ns)

    def book(self, report: ExecutionReport) -> tuple[Outcome, ...]:
        """Apply an execution report."""
        return book_fills.book(self.database, self.book_rules, report)

    def chain_audit(self) -> Outcome:
        """Link a batch of audit records."""
        return keep_audit.chain(self.database, f"pid:{os.getpid()}")

    def note_start(self, operator: str, run: str, facts: Mapping[str, str]) -> None:
        """Record that a platform is started or taken up again."""
        keep_audit.note_start(self.database, self.witness(), operator, run, facts)

    def witness(self) -> Witness:
        """Return who makes notes in this process."""
        return this_process(settings_digest(self.settings)[:CONFIG_SHOWN])

    def last_kept(self, session: str) -> int:
        """Return the number of the last message of a session that the database has."""
        return keep_messages.last_kept(self.database, session)

    def keep_messages(self, outbox: MessageOutbox, session: str, kept: int) -> int:
        """Copy messages of a session that the database lacks."""
        return keep_messages.keep(self.database, outbox, session, kept)

    def compare_copies(self, now_ns: int) -> tuple[Outcome, ...]:
        """Hold the drop copy against what is booked; nothing where there is none."""
        if not self.settings.fix.drop_copy:
            return ()
        wall_ns = SystemClock().now_ns()
        return compare_copies.compare(self.database, self.book_rules, self.session_name, wall_ns, now_ns)


def _words(subject: str, count: int) -> list[str]:
    words = subject.split(" ")
    if len(words) != count or not all(words):
        raise DataError(f"expected a subject of {count} words, found {quoted(subject)}")
    return words
