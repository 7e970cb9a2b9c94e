"""The sections of the settings, each a table of the file, and what is special about some of them."""

from decimal import Decimal
from typing import Annotated, Final, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    ValidationInfo,
    field_validator,
)

from trisagion.settings import fields
from trisagion.settings.calendar import Calendar
from trisagion.settings.exits import Exits
from trisagion.settings.fields import Amount, Count, Exact, Flag, Fraction, Name, Number, Seconds, Share, Text
from trisagion.settings.killswitch import Killswitch
from trisagion.settings.observe import Observe
from trisagion.settings.panic import Panic
from trisagion.settings.portfolio import Portfolio
from trisagion.settings.risk import Risk
from trisagion.settings.safety import Safety
from trisagion.settings.section import Section
from trisagion.units import plain

DATABASE_SCHEMES: Final = ("sqlite", "mysql", "mysql+mysqldb", "mysql+pymysql", "mariadb", "mariadb+pymysql")
BROKER_SCHEMES: Final = ("redis", "rediss", "redis+socket", "amqp", "amqps")

SECRETS: Final = frozenset(
    {
        "database.url",
        "database.writer_password",
        "database.gateway_password",
        "database.audit_password",
        "database.reader_password",
        "broker.url",
        "fix.password",
        "audit.key",
        "killswitch.private_key",
    }
)
"""Refused values of these are not repeated: they may hold what should have been a reference.

In a table, which has no place here, that goes for each `password`, `private_key` and `token`.
"""

PLACE: Final = frozenset(
    {
        "platform.profile",
        "platform.state",
        "platform.environment",
        "database.url",
        "database.writer_password",
        "database.gateway_password",
        "database.audit_password",
        "database.reader_password",
        "database.gateway_connections",
        "database.writer_connections",
        "database.audit_connections",
        "database.reader_connections",
        "broker.url",
        "fix.host",
        "ib.host",
        "ib.port",
        "ib.client_id",
        "ib.heartbeat_s",
        "fix.port",
        "fix.heartbeat_s",
        "fix.username",
        "fix.password",
        "egress.paths",
        "egress.use",
        "egress.port",
        "egress.connect_s",
        "egress.probe_s",
        "egress.quiet_s",
        "egress.healthy_s",
        "egress.tls",
        "egress.tls_name",
        "egress.tls_ca",
        "egress.tls_pins",
        "egress.tls_certificate",
        "egress.tls_key",
        "audit.anchors",
        "audit.key",
        "fleet.cohort_workers",
        "observe.sources",
        "replay.speed",
        *(f"killswitch.{name}" for name in Killswitch.model_fields),
        *(f"safety.{name}" for name in Safety.model_fields),
    }
)
"""Where, with how many hands, how fast, and what may stop it.

None of these may change a decision, so they are no part of the digest.
"""

PEOPLE: Final = frozenset({"safety.operators", "safety.release_people"})
"""Whose word loosens what was stopped."""

CONTENT: Final = frozenset({"cohort.survivors"})
"""Names of files: what they hold is part of the digest, not where they lie."""

TABLES: Final = frozenset(
    {"calendar.exchanges", "egress.paths", "ib.contracts", "observe.sources", "replay.instruments", "safety.operators"}
)
"""Tables that `--set` reaches into, as `replay.instruments.NQ.tick_size=0.25`."""

DIRECT: Final = "direct"
"""The path without a proxy; it needs no table."""

PATHS_MAX: Final = 16

FIX_SIM: Final = "fix-sim"
IB_SIM: Final = "ib-sim"
PAPER: Final = "paper"
"""The venues, see `Platform.venue`."""

LINES: Final = {FIX_SIM: "fix", IB_SIM: "ib"}
"""The section of each venue that is reached by a line; the other ones are within the session's own process."""

LEVERAGE_MAX: Final = 10_000
"""Above what any venue grants."""

INSTRUMENTS_MAX: Final = 64
"""Each minute of all of them travels in one message, and each cycle decides on all of them in one transaction."""

PerMinute = Annotated[
    Annotated[int, Field(strict=True, ge=1, le=6_000_000)] | None, BeforeValidator(fields.empty_is_none)
]
FeeRate = Annotated[Exact, Field(ge=0, lt=1)]


class Platform(Section):
    """Which way of running, on which venue, where the state is kept, and the account's name in order ids.

    The venue is the bundled one by FIX (`fix-sim`) or as a TWS of Interactive Brokers (`ib-sim`), or one within the
    session's own process (`paper`): [choosing a venue](venues.md#choosing-a-venue). `environment` is what an entry of
    the vault must be for: a paper platform opens no live secret, nor a live one a paper secret.
    """

    profile: Literal["embedded", "fleet"] = "embedded"
    venue: Literal["fix-sim", "ib-sim", "paper"] = FIX_SIM
    state: Annotated[Text, Field(min_length=1)] = ".trisagion"
    account: Name = "TRIS1"
    environment: Literal["paper", "live"] = "paper"


class Database(Section):
    """Empty: a SQLite file in the run's directory. A server's users share so many connections, on all machines.

    The passwords: of users that `trisagion db init --users` makes.
    """

    url: Annotated[Text, AfterValidator(fields.url(DATABASE_SCHEMES))] = ""
    writer_password: Annotated[Text, AfterValidator(fields.secret)] = ""
    gateway_password: Annotated[Text, AfterValidator(fields.secret)] = ""
    audit_password: Annotated[Text, AfterValidator(fields.secret)] = ""
    reader_password: Annotated[Text, AfterValidator(fields.secret)] = ""
    gateway_connections: Count = 200
    writer_connections: Count = 12_000
    audit_connections: Count = 20
    reader_connections: Count = 50


class Broker(Section):
    """Empty: a private Redis on this machine."""

    url: Annotated[Text, AfterValidator(fields.url(BROKER_SCHEMES))] = ""


class Account(Section):
    """What the account holds at the start of a replay."""

    equity: Amount = Decimal(10_000_000)
    currency: Annotated[Text, Field(pattern=r"^[A-Z]{3}$")] = "USD"


class Regime(Section):
    """What tells whether a market can be traded, for every run: `entropy` its own threshold, `state` the classifier.

    The classifier's models are fitted again every `refit_s` of data time, one at a time and `fit_s_max` at most.
    """

    gate: Literal["entropy", "state"] = "entropy"
    open_in: Annotated[tuple[Literal["trending", "mean_reverting", "noisy", "crisis"], ...], Field(min_length=1)] = (
        "trending",
    )
    refit_s: Annotated[int, Field(strict=True, ge=60, le=604_800, multiple_of=60)] = 600
    fit_s_max: Annotated[int, Field(strict=True, ge=1, le=3_600)] = 30


class Cohort(Section):
    """The live population; `channel_share` of the draws, `fee_rate` of the notional; `start_balance` in runs' money."""

    runs: Count = 500
    shards: Annotated[int, Field(strict=True, ge=1, le=1024)] = 2
    runs_per_leverage_max: Count = 45
    # What neither clones nor survivors may take from the random draws: exploration never dies.
    random_share_min: Annotated[Number, Field(gt=0, le=1)] = 0.1
    clone_share: Share = 0.5
    # The random draws that enter by Donchian channel or z-score; the others enter by the market weight.
    channel_share: Share = 0.0
    # A file that `trisagion cohort export` wrote: its runs are the first ones of the first cohort.
    survivors: Text = ""
    start_balance: Annotated[Number, Field(gt=0, le=1e12)] = 100_000_000.0
    fee_rate: Annotated[Number, Field(ge=0, le=0.1)] = 0.0004

    @field_validator("shards")
    @classmethod
    def _no_empty_shard(cls, shards: int, info: ValidationInfo) -> int:
        if shards > info.data.get("runs", shards):
            raise ValueError(f"expected at most as many shards as runs ({info.data['runs']}), found {shards}")
        return shards

    @field_validator("clone_share")
    @classmethod
    def _leaves_room_for_random_draws(cls, share: float, info: ValidationInfo) -> float:
        floor = info.data.get("random_share_min", 0.0)
        if share + floor > 1:
            raise ValueError(f"expected at most 1 - random_share_min ({1 - floor:g}), found {share:g}")
        return share


class Selection(Section):
    """Which runs have earned capital; `live_pnl_min` is in the runs' own money."""

    live_pnl_min: Annotated[Number, Field(ge=0)] = 0.2
    stale_s: Seconds = 600
    kelly_runs_min: Annotated[int, Field(strict=True, ge=2, le=100_000)] = 10


class Sizing(Section):
    """How much capital; all but the two switches are fractions."""

    risk_fraction: Fraction = Decimal("0.0016180339887")
    kelly_clip: Annotated[Number, Field(gt=0, le=1)] = 0.5
    kelly_floor: Annotated[Number, Field(gt=-1, le=0)] = -0.98
    probation: Share = 0.25
    allow_long: Flag = True
    allow_short: Flag = True
    margin_fraction: Fraction = Decimal("0.5")


class Reconcile(Section):
    """When positions are compared, who observes them, and how many observers must agree with the ledger."""

    interval_s: Seconds = 600
    min_trade_notional: Annotated[Exact, Field(ge=0, le=10**15)] = Decimal("20.0")
    ledger_age_s: Seconds = 60
    observer_age_s: Seconds = 300
    observers: Annotated[tuple[Name, ...], Field(min_length=1, max_length=16)] = ("venue",)
    quorum: Count = 1
    alert_after: Count = 3
    # Symbols of which the observers' view is booked without a person, as long as the difference is worth no more.
    adopt: Annotated[tuple[Name, ...], BeforeValidator(fields.one_is_a_list), Field(max_length=INSTRUMENTS_MAX)] = ()
    adopt_notional_max: Annotated[Exact, Field(ge=0, le=10**15)] = Decimal(0)

    @field_validator("observers")
    @classmethod
    def _each_once(cls, observers: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(observers)) != len(observers):
            raise ValueError(f"expected each observer once, found {', '.join(observers)}")
        return observers

    @field_validator("quorum")
    @classmethod
    def _attainable(cls, quorum: int, info: ValidationInfo) -> int:
        observers = info.data.get("observers")
        if observers is not None and quorum > len(observers):
            raise ValueError(f"expected at most the number of observers ({len(observers)}), found {quorum}")
        return quorum


class TakeProfit(Section):
    """`threshold` is a fraction of the baseline; the draw-down reset lies at `threshold / reward_multiple` below it."""

    threshold: Annotated[Exact, Field(gt=0, le=100)] = Decimal("1.0")
    reward_multiple: Annotated[Exact, Field(gt=0, le=1000)] = Decimal(5)

    @field_validator("reward_multiple")
    @classmethod
    def _draw_down_is_reachable(cls, multiple: Decimal, info: ValidationInfo) -> Decimal:
        threshold = info.data.get("threshold")
        if threshold is not None and threshold >= multiple:
            raise ValueError(f"expected above the threshold ({plain(threshold)}), found {plain(multiple)}")
        return multiple


class Fix(Section):
    """The FIX session; port 0 takes a free one.

    At most `messages_per_s` orders, replaces, cancels and questions go out, and in a minute at most `messages_per_min`
    where one is set; of both `cancel_reserve` is kept from new orders and replaces. `username` and `password` go into
    the Logon (553, 554). The others say what this venue does differently ([versions and
    venues](orders.md#versions-and-venues)); what is empty is as usual in the version.
    `drop_copy` is our CompID on a second session, on which the venue repeats all executions; empty: there is none.
    """

    sender: Name = "TRISAGION"
    target: Name = "SIM"
    host: Annotated[Text, Field(pattern=r"^[A-Za-z0-9.:_-]{1,253}$")] = "127.0.0.1"
    port: Annotated[int, Field(strict=True, ge=0, le=65_535)] = 0
    heartbeat_s: Annotated[int, Field(strict=True, ge=1, le=300)] = 10
    messages_per_s: Annotated[int, Field(strict=True, ge=1, le=100_000)] = 200
    messages_per_min: PerMinute = None
    cancel_reserve: Annotated[Exact, Field(ge=0, lt=1)] = Decimal("0.2")
    version: Annotated[
        Text, Field(pattern=r"^(4\.2|4\.4|5\.0SP2)$", description='`"4.2"`, `"4.4"` or `"5.0SP2"` (over FIXT.1.1)')
    ] = "4.4"
    post_only: Annotated[
        Text,
        Field(
            pattern=r"^[0-9]{1,5}=[A-Za-z0-9]{1,16}$",
            description="how a maker order is marked: `TAG=VALUE`, the tag 18, 59 or user-defined",
        ),
    ] = "18=6"
    post_only_code: Annotated[
        Annotated[int, Field(strict=True, ge=0, le=9_999)] | None, BeforeValidator(fields.empty_is_none)
    ] = None
    liquidity_tag: Annotated[
        Literal[851, 1057, 9730] | None,
        BeforeValidator(fields.empty_is_none),
        Field(description="the tag that says who made a trade: `851`, `1057`, `9730` or nothing"),
    ] = None
    mass_status: Annotated[Flag | None, BeforeValidator(fields.empty_is_none)] = None
    positions: Annotated[Flag | None, BeforeValidator(fields.empty_is_none)] = None
    username: Annotated[Text, Field(pattern=r"^[!-~]{0,64}$")] = ""
    password: Annotated[Text, AfterValidator(fields.secret)] = ""
    drop_copy: Annotated[Text, Field(pattern=r"^[A-Za-z0-9._-]{0,32}$")] = ""

    @field_validator("drop_copy")
    @classmethod
    def _another_name(cls, name: str, info: ValidationInfo) -> str:
        if name and name in {info.data.get("sender"), info.data.get("target")}:
            raise ValueError(f"expected a CompID of its own beside sender and target, found {name!r}")
        return name


class IbTerms(Section):
    """The contract that one symbol is at Interactive Brokers; what is empty is taken from the instrument."""

    sec_type: Literal["", "STK", "FUT", "CASH", "CFD", "CRYPTO"] = ""
    exchange: Annotated[Text, Field(pattern=r"^[A-Z0-9.]{0,32}$")] = ""
    currency: Annotated[Text, Field(pattern=r"^([A-Z]{3})?$")] = ""
    local_symbol: Annotated[Text, Field(pattern=r"^[A-Za-z0-9 ./_-]{0,32}$")] = ""
    last_trade_date: Annotated[Text, Field(pattern=r"^([0-9]{6}([0-9]{2})?)?$")] = ""
    multiplier: Annotated[Amount | None, BeforeValidator(fields.empty_is_none)] = None
    tick_size: Annotated[Amount | None, BeforeValidator(fields.empty_is_none)] = None


class Ib(Section):
    """The session of Interactive Brokers, with a TWS or an IB Gateway; port 0 takes a free one, of the simulator.

    IB takes 50 messages a second. All that is said counts in `messages_per_s`, and new orders leave eight of them to
    questions: one for the positions is five messages. The protocol, as spoken here, has no post-only: `maker` says
    whether orders that are to make are refused, or sent at least one tick behind the opposite quote. In the
    `reset_windows`, each `HH:MM-HH:MM` by the clock of `reset_zone`, IB restarts its servers, and nothing new is sent.
    """

    host: Annotated[Text, Field(pattern=r"^[A-Za-z0-9.:_-]{1,253}$")] = "127.0.0.1"
    port: Annotated[int, Field(strict=True, ge=0, le=65_535)] = 0
    # 0 would see and move orders that people make by hand.
    client_id: Annotated[int, Field(strict=True, ge=1, le=2**31 - 1)] = 1
    account: Annotated[Text, Field(pattern=r"^[A-Z]{1,3}[0-9]{1,12}$")] = "DU1000001"
    environment: Literal["paper", "live"] = "paper"
    maker: Literal["refuse", "guarded"] = "refuse"
    messages_per_s: Annotated[int, Field(strict=True, ge=1, le=50)] = 40
    messages_per_min: PerMinute = None
    cancel_reserve: Annotated[Exact, Field(ge=0, lt=1)] = Decimal("0.2")
    heartbeat_s: Annotated[int, Field(strict=True, ge=1, le=300)] = 10
    reset_windows: Annotated[
        tuple[Annotated[Text, Field(pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]-([01][0-9]|2[0-3]):[0-5][0-9]$")], ...],
        BeforeValidator(fields.one_is_a_list),
        Field(max_length=16, description="a list of `HH:MM-HH:MM`, which may go past midnight"),
    ] = ("23:40-00:50",)
    reset_zone: Annotated[Text, Field(min_length=1), AfterValidator(fields.zone)] = "America/New_York"
    contracts: Annotated[
        dict[Annotated[str, Field(pattern=r"^[A-Z0-9._-]{1,32}$")], IbTerms],
        Field(
            description="a table `[ib.contracts.SYMBOL]` for each that differs from its instrument, with some of "
            + ", ".join(f"`{name}`" for name in IbTerms.model_fields)
        ),
    ] = Field(default_factory=dict)


class Proxy(Section):
    """One proxy of the user's own."""

    kind: Literal["socks5", "http"]
    host: Annotated[Text, Field(pattern=r"^[A-Za-z0-9.:_-]{1,253}$")]
    port: Annotated[int, Field(strict=True, ge=1, le=65_535)]
    # RFC 1929 and RFC 7617: at most 255 bytes, and a colon would end the user's name.
    user: Annotated[Text, Field(pattern=r"^[^:\x00-\x20]{0,255}$")] = ""
    password: Annotated[Text, AfterValidator(fields.secret)] = ""


class Egress(Section):
    """The ways out of the venue session, the best first in `use`; none: the session connects by itself.

    `direct` is the way without a proxy. A connection takes `connect_s` at most; idle paths are probed every `probe_s`
    (0: never); a better path is gone back to when it has been well for `healthy_s` and the session quiet for `quiet_s`.
    With `tls` the venue's certificate is always checked, and `tls_pins` (SHA-256) besides.
    """

    paths: Annotated[
        dict[Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,32}$")], Proxy],
        Field(
            description="a table `[egress.paths.NAME]` for each proxy, with "
            + ", ".join(f"`{name}`" for name in Proxy.model_fields)
        ),
    ] = Field(default_factory=dict)
    use: Annotated[tuple[Name, ...], BeforeValidator(fields.one_is_a_list), Field(max_length=PATHS_MAX)] = ()
    # Where the forwarder listens on loopback; 0 takes a free one.
    port: Annotated[int, Field(strict=True, ge=0, le=65_535)] = 0
    connect_s: Annotated[int, Field(strict=True, ge=1, le=60)] = 4
    probe_s: Annotated[int, Field(strict=True, ge=0, le=86_400)] = 30
    quiet_s: Seconds = 60
    healthy_s: Seconds = 120
    tls: Flag = False
    # What the certificate must be made out to, and what is asked for by SNI; empty: the host of the session.
    tls_name: Annotated[Text, Field(pattern=r"^[A-Za-z0-9.:_-]{0,253}$")] = ""
    tls_ca: Text = ""
    tls_pins: Annotated[
        tuple[Annotated[Text, AfterValidator(fields.fingerprint)], ...],
        BeforeValidator(fields.one_is_a_list),
        Field(max_length=16, description="a list of SHA-256 fingerprints of certificates, in hexadecimal"),
    ] = ()
    tls_certificate: Text = ""
    tls_key: Text = ""

    @field_validator("paths")
    @classmethod
    def _direct_is_taken(cls, paths: dict[str, Proxy]) -> dict[str, Proxy]:
        if DIRECT in paths:
            raise ValueError(f"expected another name than {DIRECT}, which is the way without a proxy")
        return paths

    @field_validator("use")
    @classmethod
    def _each_is_known(cls, use: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        known = {DIRECT, *info.data.get("paths", use)}
        if unknown := [name for name in use if name not in known]:
            raise ValueError(f"expected names of [egress.paths.NAME] or {DIRECT}, found {', '.join(unknown)}")
        if len(set(use)) != len(use):
            raise ValueError(f"expected each path once, found {', '.join(use)}")
        return use


class Audit(Section):
    """The audit chain's anchors: the directory of their files, and the Ed25519 private key (PEM) that signs them.

    Empty: `anchors` and a key of its own in the state directory, which protect against nobody who can write there.
    """

    anchors: Text = ""
    key: Annotated[Text, AfterValidator(fields.secret)] = ""


class Fleet(Section):
    """How many processes of this machine advance the cohort."""

    cohort_workers: Annotated[int, Field(strict=True, ge=1, le=1024)] = 2


class Terms(Section):
    """Terms of one instrument; what is empty is that of all instruments."""

    tick_size: Annotated[Amount | None, BeforeValidator(fields.empty_is_none)] = None
    multiplier: Annotated[Amount | None, BeforeValidator(fields.empty_is_none)] = None
    fee_rate: Annotated[FeeRate | None, BeforeValidator(fields.empty_is_none)] = None
    leverage_max: Annotated[
        Annotated[Exact, Field(gt=0, le=LEVERAGE_MAX)] | None, BeforeValidator(fields.empty_is_none)
    ] = None


class Replay(Section):
    """Which data is replayed, one entry for each instrument. What is empty is taken from it, or assumed."""

    data: Annotated[
        tuple[Annotated[Text, Field(min_length=1)], ...],
        BeforeValidator(fields.one_is_a_list),
        Field(
            min_length=1,
            max_length=INSTRUMENTS_MAX,
            description="`es`, `aapl`, a file, or SYMBOL=FILE; a list of them for several instruments",
        ),
    ] = ("es",)
    zone: Annotated[Text, AfterValidator(fields.zone)] = ""
    symbol: Annotated[Text, Field(pattern=r"^[A-Z0-9._-]{0,32}$")] = ""
    tick_size: Annotated[Amount | None, BeforeValidator(fields.empty_is_none)] = None
    multiplier: Annotated[Amount | None, BeforeValidator(fields.empty_is_none)] = None
    fee_rate: Annotated[FeeRate | None, BeforeValidator(fields.empty_is_none)] = None
    # Before the three above, for the instrument of that symbol: [replay.instruments.NQ] and below it tick_size = 0.25
    instruments: Annotated[
        dict[Annotated[str, Field(pattern=r"^[A-Z0-9._-]{1,32}$")], Terms],
        Field(
            description="a table `[replay.instruments.SYMBOL]` for each that differs, with some of "
            + ", ".join(f"`{name}`" for name in Terms.model_fields)
        ),
    ] = Field(default_factory=dict)
    seed: Annotated[int, Field(strict=True, ge=0, lt=2**63)] = 1
    speed: Annotated[Annotated[float, Field(gt=0)] | Literal["max"], BeforeValidator(fields.speed)] = "max"

    @field_validator("symbol")
    @classmethod
    def _of_one(cls, symbol: str, info: ValidationInfo) -> str:
        count = len(info.data.get("data", ()))
        if symbol and count > 1:
            raise ValueError(f"expected none beside {count} instruments (name each: SYMBOL=FILE), found {symbol!r}")
        return symbol


class Settings(Section):
    """All settings of a process, and of every process that it starts."""

    platform: Platform = Platform()
    database: Database = Database()
    broker: Broker = Broker()
    account: Account = Account()
    calendar: Calendar = Calendar()
    regime: Regime = Regime()
    cohort: Cohort = Cohort()
    selection: Selection = Selection()
    sizing: Sizing = Sizing()
    portfolio: Portfolio = Portfolio()
    reconcile: Reconcile = Reconcile()
    take_profit: TakeProfit = TakeProfit()
    exits: Exits = Exits()
    risk: Risk = Risk()
    panic: Panic = Panic()
    fix: Fix = Fix()
    ib: Ib = Ib()
    egress: Egress = Egress()
    audit: Audit = Audit()
    killswitch: Killswitch = Killswitch()
    safety: Safety = Safety()
    observe: Observe = Observe()
    fleet: Fleet = Fleet()
    replay: Replay = Replay()

    @property
    def line(self) -> Fix | Ib | None:
        """The section of the venue session; None where the venue is within the session's own process."""
        sections: dict[str, Fix | Ib] = {"fix": self.fix, "ib": self.ib}
        return sections.get(LINES.get(self.platform.venue, ""))

    @property
    def session(self) -> str:
        """The name of the venue session, and of the venue by which its executions are known.

        That of Interactive Brokers has no client id in it: an execution is the same one whoever hears of it.
        """
        return {FIX_SIM: self.fix.target, IB_SIM: "IB"}.get(self.platform.venue, "PAPER")


def _section_model(section: str) -> type[Section]:
    model = Settings.model_fields[section].annotation
    assert isinstance(model, type), section
    assert issubclass(model, Section), section
    return model


SECTIONS: Final = {section: _section_model(section) for section in Settings.model_fields}
KEYS: Final = tuple(f"{section}.{name}" for section, model in SECTIONS.items() for name in model.model_fields)
assert set(KEYS) >= PLACE | SECRETS | CONTENT | TABLES
