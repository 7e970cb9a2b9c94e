"""Settings: what wins, what is refused and how it is said, and that children get exactly what their parent has."""

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from trisagion import settings
from trisagion.errors import ConfigError
from trisagion.settings import Settings, Terms, digest, load, origins, references, resolve, to_environment


@pytest.fixture(autouse=True)
def _empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def refusals(text: str = "", environ: dict[str, str] | None = None, **overrides: object) -> list[str]:
    """Return the lines of the error that a file's text, an environment and overrides give."""
    Path("trisagion.toml").write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load(None, environ or {}, {key.replace("__", "."): value for key, value in overrides.items()})
    return str(caught.value).splitlines()


def test_the_defaults_are_the_domain_pages() -> None:
    """Without any layer the numbers of the domain page are in force, exactly."""
    found = load(None, {}, {})
    assert found.sizing.risk_fraction == Decimal("0.0016180339887")
    assert found.reconcile.interval_s == 600
    assert found.reconcile.min_trade_notional == Decimal(20)
    assert (found.reconcile.ledger_age_s, found.reconcile.observer_age_s) == (60, 300)
    assert (found.reconcile.observers, found.reconcile.quorum, found.reconcile.alert_after) == (("venue",), 1, 3)
    assert (found.take_profit.threshold, found.take_profit.reward_multiple) == (Decimal(1), Decimal(5))
    assert (found.selection.live_pnl_min, found.selection.stale_s, found.selection.kelly_runs_min) == (0.2, 600, 10)
    assert (found.sizing.kelly_clip, found.sizing.kelly_floor, found.sizing.probation) == (0.5, -0.98, 0.25)
    assert (found.cohort.clone_share, found.cohort.fee_rate) == (0.5, 0.0004)


def test_each_layer_beats_the_one_below() -> None:
    """Command line over environment over file over default, each shown with its source."""
    Path("trisagion.toml").write_text("[replay]\nseed = 2\nspeed = 20\n\n[cohort]\nruns = 12\n", encoding="utf-8")
    layers: tuple[Path | None, dict[str, str], dict[str, object]] = (
        None,
        {"TRISAGION__REPLAY__SEED": "3", "TRISAGION__REPLAY__SPEED": "30"},
        {"replay.seed": 4},
    )
    found, sources = load(*layers), origins(*layers)
    assert (found.replay.seed, found.replay.speed, found.cohort.runs, found.cohort.shards) == (4, 30.0, 12, 2)
    assert sources["replay.seed"] == "command line"
    assert sources["replay.speed"] == "TRISAGION__REPLAY__SPEED"
    assert sources["cohort.runs"] == "trisagion.toml:6"
    assert sources["cohort.shards"] == "default"


def test_a_named_file_beats_the_folders_own(tmp_path: Path) -> None:
    """The command line's file wins over `TRISAGION_CONFIG`, and that over the working directory's."""
    for name, seed in (("trisagion.toml", 1), ("variable.toml", 2), ("option.toml", 3)):
        Path(name).write_text(f"replay.seed = {seed}\n", encoding="utf-8")
    variable = {"TRISAGION_CONFIG": "variable.toml"}
    assert load(None, {}, {}).replay.seed == 1
    assert load(None, variable, {}).replay.seed == 2
    assert load(tmp_path / "option.toml", variable, {}).replay.seed == 3


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        ("cohort.runs", "0", "expected greater than or equal to 1, found 0"),
        ("cohort.runs", "true", "expected a valid integer, found True"),
        ("cohort.runs", "'5'", "expected a valid integer, found '5'"),
        ("cohort.shards", "501", "expected at most as many shards as runs (500), found 501"),
        ("cohort.clone_share", "1.01", "expected less than or equal to 1, found 1.01"),
        ("cohort.clone_share", "0.91", "expected at most 1 - random_share_min (0.9), found 0.91"),
        ("cohort.random_share_min", "0", "expected greater than 0, found 0"),
        ("cohort.fee_rate", "nan", "expected a finite number, found NaN"),
        ("cohort.start_balance", "inf", "expected a finite number, found Infinity"),
        ("account.equity", "'1e400'", "expected less than or equal to 1000000000000000, found '1e400'"),
        ("account.equity", "'1.000000000000000001'", "more than 18 significant digits in '1.000000000000000001'"),
        ("account.equity", "'٣'", "expected a decimal number in ASCII digits, found '٣'"),
        ("account.equity", "-1", "expected greater than 0, found -1"),
        ("account.currency", "'usd'", "expected pattern '^[A-Z]{3}$', found 'usd'"),
        ("platform.profile", "'flet'", "expected 'embedded' or 'fleet', found 'flet'"),
        ("sizing.allow_long", "1", "expected a valid boolean, found 1"),
        ("sizing.kelly_floor", "-1", "expected greater than -1, found -1"),
        ("reconcile.quorum", "2", "expected at most the number of observers (1), found 2"),
        ("reconcile.observers", "['a', 'a']", "expected each observer once, found a, a"),
        ("take_profit.reward_multiple", "1", "expected above the threshold (1), found 1"),
        ("risk.order_notional_max", "1e9", "expected at most position_notional_max (20000000), found 1000000000"),
        ("portfolio.heat_max", "0", "expected greater than 0, found 0"),
        ("portfolio.kelly_max", "1.5", "expected less than or equal to 1, found 1.5"),
        ("portfolio.returns", "249", "expected greater than or equal to 250, found 249"),
        ("exits.strategies", "'house'", "expected 'cohort', found 'house'"),
        ("exits.scale_out_atr", "[2, 1]", "expected levels that rise from above 0, found 2, 1"),
        ("exits.scale_out_atr", "[1, 2, 3, 4, 5]", "expected shares that sum to 1 at most, found 5 of 0.25"),
        ("killswitch.deadline_s", "1", "expected at least 3 times beat_ms (500), found 1 s"),
        ("killswitch.key_pin", "17", "expected another pin than estop_pin, found 17"),
        ("egress.use", "['a']", "expected names of [egress.paths.NAME] or direct, found a"),
        ("egress.use", "['direct', 'direct']", "expected each path once, found direct, direct"),
        ("egress.tls_pins", "'12:34'", "expected the 64 hexadecimal digits of a SHA-256 fingerprint, found '12:34'"),
        ("fix.port", "65536", "expected less than or equal to 65535, found 65536"),
        ("broker.url", "'ftp://h'", "expected a URL of redis, rediss, redis+socket, amqp, amqps, found 'ftp://h'"),
        ("replay.zone", "'Mars'", "expected a time zone such as \"America/New_York\", found 'Mars'"),
        ("replay.speed", "0", 'expected "max" or a number above 0, found 0'),
        ("replay.speed", "'fast'", "expected \"max\" or a number above 0, found 'fast'"),
        ("replay.tick_size", "0", "expected greater than 0, found 0"),
        ("replay.data", "5", "expected a valid tuple, found 5"),
        ("replay.data", "[]", "expected at least 1 item after validation, not 0, found []"),
        ("cohort.runz", "5", "there is no such setting; did you mean cohort.runs?"),
        ("risk.risk_fraction", "1", "there is no such setting; did you mean sizing.risk_fraction?"),
        ("reconcile.rest_days", "[]", "rest periods are the platform's rule, there is no setting for them"),
    ],
)  # fmt: skip
def test_what_cannot_be_used_is_refused_with_its_place(key: str, value: str, told: str) -> None:
    """One line says where, which setting, what was expected and what was found."""
    section, name = key.split(".")
    assert refusals(f"[{section}]\n{name} = {value}") == [f"trisagion.toml:2: {key}: {told}"]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("runs = 1", "1: runs: there is no such setting; did you mean cohort.runs?"),
        ("[cohrt]\nruns = 5", "1: cohrt: there is no such setting; did you mean cohort?"),
        ("cohort = 5", "1: cohort: expected a table of settings, found a single value"),
        ("[rest]\nnone = true", "1: rest: rest periods are the platform's rule, there is no setting for them"),
        ("# note\n\ncohort.runs = 0", "3: cohort.runs: expected greater than or equal to 1, found 0"),
        ("\ncohort = {runs = 0}", "2: cohort.runs: expected greater than or equal to 1, found 0"),
    ],
)
def test_a_misplaced_table_or_key_is_refused_with_its_line(text: str, line: str) -> None:
    """However the file is laid out, the line is the nearest that can be known."""
    assert refusals(text) == [f"trisagion.toml:{line}"]


def test_a_default_that_a_given_value_makes_impossible_is_named() -> None:
    """Pairs of settings are judged together."""
    assert refusals("[take_profit]\nthreshold = 5") == [
        "default: take_profit.reward_multiple: expected above the threshold (5), found 5"
    ]


def test_all_problems_are_told_at_once() -> None:
    """Names and values, from every layer, one line each."""
    lines = refusals("[cohort]\nruns = 0\nrums = 1", {"TRISAGION__FIX__PORT": "-1"}, replay__seed="x")
    assert [line.split(": ")[:2] for line in lines] == [
        ["trisagion.toml:3", "cohort.rums"],
        ["trisagion.toml:2", "cohort.runs"],
        ["TRISAGION__FIX__PORT", "fix.port"],
        ["command line", "replay.seed"],
    ]


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        ("[fix]\npassword = 'hunter2'", "hunter2"),
        ("[fix]\npassword = 20451", "20451"),
        ("[database]\nurl = 'mysql://trader:hunter2@db/t'", "hunter2"),
        ("[database]\nurl = 'mysql://db/t?passwd=hunter2'", "hunter2"),
        ("[broker]\nurl = 'redis://:hunter2@cache/0'", "hunter2"),
    ],
)
def test_a_secret_in_the_open_is_refused_and_not_repeated(text: str, secret: str) -> None:
    """Secrets come by reference; the refusal must not carry one into a log."""
    lines = refusals(text)
    assert len(lines) == 1
    assert secret not in lines[0]


def test_references_stay_references_until_they_are_resolved(tmp_path: Path) -> None:
    """A `Settings` can be shown and logged: it holds `env:` and `file:` texts, never what they point to."""
    (tmp_path / "secret").write_text("hunter2\n", encoding="utf-8")
    found = load(None, {}, {"fix.password": "env:FIX_PASSWORD", "database.url": f"file:{tmp_path / 'secret'}"})
    assert "hunter2" not in repr(found) + str(to_environment(found))
    assert resolve(found.fix.password, {"FIX_PASSWORD": "correct horse"}) == "correct horse"
    assert resolve(found.database.url, {}) == "hunter2"
    assert resolve("sqlite:///x.db", {}) == "sqlite:///x.db"
    with pytest.raises(ConfigError, match="FIX_PASSWORD"):
        resolve(found.fix.password, {})
    with pytest.raises(ConfigError, match="absent"):
        resolve(f"file:{tmp_path / 'absent'}", {})


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "expected a configuration file, found none"),
        (b"[cohort\nruns = 1", "expected TOML"),
        (b"\xff\xfe", "expected text in UTF-8"),
    ],
)
def test_a_named_file_that_cannot_be_read_is_refused(content: bytes | None, message: str, tmp_path: Path) -> None:
    """A named file must exist and be TOML in UTF-8."""
    path = tmp_path / "other.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match=message):
        load(path, {}, {})


@pytest.mark.parametrize(
    ("variable", "text", "value"),
    [
        ("REPLAY__SYMBOL", "007", "007"),
        ("REPLAY__SYMBOL", '"ES"', "ES"),
        ("REPLAY__DATA", "1e5", ("1e5",)),
        ("REPLAY__DATA", "my file.csv\n[x]", ("my file.csv\n[x]",)),
        ("REPLAY__DATA", '["es", "NQ=nq.csv"]', ("es", "NQ=nq.csv")),
        ("SIZING__ALLOW_SHORT", "false", False),
        ("SIZING__RISK_FRACTION", "0.1", Decimal("0.1")),
        ("SIZING__RISK_FRACTION", '"0.1"', Decimal("0.1")),
        ("RECONCILE__OBSERVERS", '["venue", "drop_copy"]', ("venue", "drop_copy")),
        ("COHORT__START_BALANCE", "1_000", 1000.0),
        ("REPLAY__SPEED", "max", "max"),
        ("REPLAY__TICK_SIZE", "", None),
    ],
)
def test_a_variable_is_read_as_toml_or_as_its_own_text(variable: str, text: str, value: object) -> None:
    """Numbers, switches and lists are read; text needs no quotes and stays what it is."""
    section, key = variable.lower().split("__")
    found = load(None, {f"TRISAGION__{variable}": text}, {})
    assert getattr(getattr(found, section), key) == value


TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=20)
CHANGES = st.fixed_dictionaries(
    {
        "replay.seed": st.integers(0, 2**63 - 1),
        "replay.speed": st.one_of(st.just("max"), st.floats(1e-6, 1e9)),
        "cohort.clone_share": st.floats(0, 0.9),
        "sizing.risk_fraction": st.decimals("1e-9", 1, places=9),
        "sizing.allow_short": st.booleans(),
        "reconcile.observers": st.lists(st.from_regex(r"\A[a-z_]{1,9}\Z"), min_size=1, max_size=3, unique=True).map(
            tuple
        ),
    }
)


@given(CHANGES, TEXTS)
@example({}, "\x7f")
@example({}, '"quoted"')
@example({}, "😀\t\\")
@example({}, "true")
def test_children_get_exactly_what_their_parent_has(changes: dict[str, Any], data: str) -> None:
    """The environment carries every setting, whatever it is; a file beside the child changes nothing."""
    Path("trisagion.toml").unlink(missing_ok=True)
    terms = {"A.B": {"tick_size": "0.25", "leverage_max": 3}}
    proxies = {"a": {"kind": "socks5", "host": "h", "port": 1, "user": "u", "password": "env:P"}}
    tree: dict[str, dict[str, Any]] = {
        "replay": {"data": [data, "es"], "instruments": terms},
        "egress": {"paths": proxies, "use": ["direct", "a"]},
    }
    for key, value in changes.items():
        section, name = key.split(".")
        tree.setdefault(section, {})[name] = value
    parent = Settings.model_validate(tree)
    variables = to_environment(parent)
    Path("trisagion.toml").write_text("[cohort]\nruns = 1\nnonsense = 1\n", encoding="utf-8")
    child = load(None, variables, {})
    assert child == parent
    assert digest(child) == digest(parent)


def test_the_digest_changes_with_every_setting_that_can_change_a_decision(tmp_path: Path) -> None:
    """Another seed is another replay; another folder, password, port or pace is not."""
    plain = Settings()
    survivors = tmp_path / "survivors.json"
    survivors.write_text("{}", encoding="utf-8")
    other: dict[str, object] = {
        "platform.account": "TRIS2", "platform.venue": "paper",
        "account.equity": 2, "account.currency": "EUR", "cohort.runs": 501, "calendar.exchanges": {"ES": "CMES"},
        "cohort.shards": 5, "cohort.runs_per_leverage_max": 46, "cohort.clone_share": 0.4,
        "cohort.random_share_min": 0.2,
        "cohort.channel_share": 0.5, "cohort.survivors": str(survivors), "cohort.start_balance": 1.0,
        "cohort.fee_rate": 0.0,
        "selection.live_pnl_min": 0.3, "selection.stale_s": 601, "selection.kelly_runs_min": 11,
        "sizing.risk_fraction": "0.1", "sizing.kelly_clip": 0.4, "sizing.kelly_floor": -0.9,
        "sizing.probation": 0.2, "sizing.allow_long": False, "sizing.allow_short": False,
        "sizing.margin_fraction": "0.4", "reconcile.interval_s": 601, "reconcile.min_trade_notional": 21,
        "reconcile.ledger_age_s": 61, "reconcile.observer_age_s": 301, "reconcile.observers": ["a"],
        "reconcile.adopt": ["ES"], "reconcile.adopt_notional_max": 1,
        "reconcile.alert_after": 4, "take_profit.threshold": "1.1", "take_profit.reward_multiple": 6,
        "portfolio.kelly_max": "0.25", "portfolio.volatility_max": "0.2", "portfolio.crisis_share": "0.5",
        "portfolio.concentration_max": "0.05", "portfolio.correlation_max": "0.8", "portfolio.heat_max": "0.2",
        "portfolio.leverage_max": 2, "portfolio.var_max": "0.02", "portfolio.es_max": "0.03",
        "portfolio.returns": 501, "portfolio.half_life_min": 61, "portfolio.day_min": 390,
        "exits.strategies": "cohort", "exits.trail_atr": 4, "exits.break_even_atr": 2,
        "exits.scale_out_share": "0.2", "exits.scale_out_atr": [1, 2], "exits.time_stop_s": 3600,
        "exits.atr_bars": 15, "exits.bar_min": 6,
        "risk.position_notional_max": 20000001, "risk.order_notional_max": 5000001, "risk.orders_max": 51,
        "risk.quote_age_ms": 251, "risk.reprices_max": 6, "risk.order_qty_max": 7, "risk.open_notional_max": 8,
        "risk.gross_leverage_max": 2, "risk.price_collar": "0.1", "risk.collar_atr_max": 7, "risk.short_qty_max": 0,
        "risk.alike_orders_max": 2, "risk.order_trade_ratio_max": 50, "risk.restricted": "NQ", "risk.rejects_max": 6,
        "risk.same_side_fills_max": 21, "risk.drawdown_soft": "0.16", "risk.drawdown_hard": "0.21",
        "risk.daily_loss": "0.02", "panic.conditions": "losses", "panic.slippage_max": 4, "panic.quote_age_ms": 501,
        "panic.spread_max": 4, "panic.spread_min": 31, "panic.errors_max": 11, "panic.errors_s": 61,
        "panic.loss_marks": 31, "panic.loss_alpha": 1e-7, "fix.sender": "A", "fix.target": "B",
        "fix.messages_per_min": 300, "ib.messages_per_min": 300, "fix.messages_per_s": 50, "fix.cancel_reserve": "0.3",
        "fix.post_only_code": 0, "fix.drop_copy": "TRISAGION-DC", "fix.version": "4.2", "fix.post_only": "59=P",
        "fix.liquidity_tag": 9730, "fix.mass_status": True, "fix.positions": True,
        "ib.account": "DU2", "ib.environment": "live", "ib.maker": "guarded", "ib.messages_per_s": 41,
        "ib.cancel_reserve": "0.3", "ib.reset_windows": "01:00-02:00", "ib.reset_zone": "UTC",
        "ib.contracts": {"ES": {"sec_type": "FUT"}},
        "replay.data": "aapl",
        "replay.zone": "UTC", "replay.symbol": "X", "replay.tick_size": 1, "replay.multiplier": 50,
        "replay.fee_rate": 0, "replay.seed": 2, "replay.instruments": {"ES": {"leverage_max": 5}},
        "regime.gate": "state", "regime.open_in": ["crisis"], "regime.refit_s": 1200, "regime.fit_s_max": 31,
    }  # fmt: skip
    place: dict[str, object] = {
        "platform.profile": "fleet", "platform.state": "x", "platform.environment": "live",
        "database.url": "sqlite:///x", "broker.url": "redis://h/0",
        "fix.host": "h", "fix.port": 1, "fix.heartbeat_s": 11, "fix.username": "u", "fix.password": "env:P",
        "database.writer_password": "env:W", "database.gateway_password": "env:G",
        "database.audit_password": "env:A", "database.reader_password": "env:R",
        "ib.host": "h", "ib.port": 1, "ib.client_id": 2, "ib.heartbeat_s": 11,
        "fleet.cohort_workers": 3, "replay.speed": 2,
        "database.gateway_connections": 9, "database.writer_connections": 9, "database.audit_connections": 9,
        "database.reader_connections": 9,
        "egress.paths": {"a": {"kind": "http", "host": "h", "port": 1}}, "egress.use": ["direct"], "egress.port": 1,
        "egress.connect_s": 5, "egress.probe_s": 0, "egress.quiet_s": 1, "egress.healthy_s": 1, "egress.tls": True,
        "egress.tls_name": "h", "egress.tls_ca": "x", "egress.tls_pins": ["0" * 64], "egress.tls_certificate": "x",
        "egress.tls_key": "x", "audit.anchors": "x", "audit.key": "env:K",
        "killswitch.mode": "emergency", "killswitch.public_key": "0" * 64, "killswitch.private_key": "env:K",
        "killswitch.beat_ms": 501, "killswitch.deadline_s": 6, "killswitch.driver": "rpi",
        "killswitch.debounce_ms": 31, "killswitch.cool_down_s": 11, "killswitch.self_test_s": 121,
        "killswitch.estop_pin": 1, "killswitch.tamper_pin": 2, "killswitch.key_pin": 3, "killswitch.red_pin": 4,
        "killswitch.yellow_pin": 7, "killswitch.green_pin": 8, "killswitch.buzzer_pin": 9, "safety.kill_file": "/KILL",
        "safety.release_people": 2, "safety.operators": {"ann": {"public_key": "0" * 64}},
        "observe.sources": {"broker": {"public_key": "0" * 64}},
    }  # fmt: skip
    assert set(other) | set(place) | {"reconcile.quorum", "killswitch.name"} == set(settings.flatten(plain))
    digests = {key: digest(load(None, {}, {key: value})) for key, value in other.items()}
    assert digest(plain) not in digests.values()
    assert len(set(digests.values())) == len(other)
    assert {digest(load(None, {}, {key: value})) for key, value in place.items()} == {digest(plain)}


def test_a_file_counts_by_what_it_holds_in_the_digest(tmp_path: Path) -> None:
    """A copy is the same replay, another content under the same name is not; one that is gone is refused."""
    paths = [tmp_path / name for name in ("a", "b", "c")]
    for path, text in zip(paths, ("{}", "{}", "[]"), strict=True):
        path.write_text(text, encoding="utf-8")
    first, copy, other = (digest(load(None, {}, {"cohort.survivors": str(path)})) for path in paths)
    assert first == copy != other
    with pytest.raises(ConfigError, match=r"cohort.survivors: .*/d: expected a readable file, found: No such file"):
        digest(load(None, {}, {"cohort.survivors": str(tmp_path / "d")}))


def test_a_number_written_otherwise_has_the_same_digest() -> None:
    """`1.0`, `1` and `"1.00"` are one number."""
    forms: tuple[object, ...] = (Decimal("1.0"), 1, "1.00", '"1.00"')
    assert len({digest(load(None, {}, {"take_profit.threshold": form})) for form in forms}) == 1


def test_settings_do_not_change_after_they_were_made() -> None:
    """Frozen, to the last section."""
    with pytest.raises(ValueError, match="frozen"):
        Settings().cohort.runs = 1


@pytest.mark.parametrize("text", ["data = 'es.csv'", "data = ['es.csv']"])
def test_one_file_need_not_be_a_list(text: str) -> None:
    """As a text or as the list of it, it is one instrument."""
    Path("trisagion.toml").write_text(f"[replay]\n{text}\n", encoding="utf-8")
    assert load(None, {}, {}).replay.data == ("es.csv",)
    assert load(None, {}, {"replay.data": "a.csv"}).replay.data == ("a.csv",)


def test_one_symbol_cannot_name_several_instruments() -> None:
    """Each is named where its file is."""
    assert refusals("[replay]\ndata = ['a.csv', 'b.csv']\nsymbol = 'A'") == [
        "trisagion.toml:3: replay.symbol: expected none beside 2 instruments (name each: SYMBOL=FILE), found 'A'"
    ]


def test_the_terms_of_one_instrument_come_from_its_own_table_and_the_command_line() -> None:
    """Value by value; a symbol may have a dot."""
    Path("trisagion.toml").write_text(
        "[replay.instruments.NQ]\ntick_size = 0.25\nmultiplier = 20\n[replay.instruments.'A.B']\nfee_rate = 0\n",
        encoding="utf-8",
    )
    given: dict[str, object] = {
        "replay.instruments.NQ.multiplier": "2",
        "replay.instruments.A.B.leverage_max": "5",
        "replay.instruments.ES": "{tick_size = 1}",
    }
    found, sources = load(None, {}, given).replay.instruments, origins(None, {}, given)
    assert found["NQ"] == Terms(tick_size=Decimal("0.25"), multiplier=Decimal(2))
    assert found["A.B"] == Terms(fee_rate=Decimal(0), leverage_max=Decimal(5))
    assert found["ES"].tick_size == 1
    assert (sources["replay.instruments"], origins(None, {}, {})["replay.instruments"]) == (
        "command line",
        "trisagion.toml:1",
    )


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[replay.instruments.NQ]\ntick_size = 0", "NQ.tick_size: expected greater than 0, found 0"),
        ("[replay.instruments.NQ]\ntick = 1", "NQ.tick: there is no such setting"),
        ("[replay.instruments.nq]\ntick_size = 1", "nq: expected pattern '^[A-Z0-9._-]{1,32}$', found 'nq'"),
        ("[replay.instruments]\nNQ = 1", "NQ: expected a valid dictionary or instance of Terms, found 1"),
    ],
)
def test_terms_that_cannot_be_used_are_refused_with_their_symbol(text: str, told: str) -> None:
    """The line is that of the first table; symbol and name say the rest."""
    assert refusals(text) == [f"trisagion.toml:1: replay.instruments.{told}"]


def test_terms_count_in_the_digest_whatever_their_order() -> None:
    """A table has no order."""
    one, other = ({name: {"tick_size": 1} for name in names} for names in (("A", "B"), ("B", "A")))
    assert digest(load(None, {}, {"replay.instruments": one})) == digest(load(None, {}, {"replay.instruments": other}))


def test_a_proxy_is_a_table_by_its_name() -> None:
    """Set whole or value by value; used in the order that is asked for, whatever their names."""
    Path("trisagion.toml").write_text(
        "[egress]\nuse = ['b', 'direct', 'a']\n"
        "[egress.paths.a]\nkind = 'http'\nhost = 'a.example'\nport = 3128\n"
        "[egress.paths.b]\nkind = 'socks5'\nhost = '::1'\nport = 1080\nuser = 'u'\npassword = 'env:P'\n",
        encoding="utf-8",
    )
    found = load(None, {}, {"egress.paths.a.port": "8080", "egress.tls_pins": ":".join(["AB"] * 32)})
    assert found.egress.use == ("b", "direct", "a")
    assert (found.egress.paths["a"].port, found.egress.paths["b"].password) == (8080, "env:P")
    assert found.egress.tls_pins == ("ab" * 32,)
    assert references(found)["egress.paths.b.password"] == "env:P"
    assert load(None, to_environment(found), {}) == found


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[egress.paths.a]\nport = 1\nhost = 'h'", "a.kind: expected a value, found none"),
        (
            "[egress.paths.a]\nkind = 'socks4'\nport = 1\nhost = 'h'",
            "a.kind: expected 'socks5' or 'http', found 'socks4'",
        ),
        (
            "[egress.paths.a]\nkind = 'http'\nport = 0\nhost = 'h'",
            "a.port: expected greater than or equal to 1, found 0",
        ),
        (
            "[egress.paths.a]\nkind = 'http'\nport = 1\nhost = 'h'\npassword = 'hunter2'",
            ('a.password: expected a reference to the secret, "env:NAME", "file:PATH" or "vault:NAME", '
            "found the secret itself"),
        ),
        (
            "[egress.paths.a]\nkind = 'http'\nport = 1\nhost = 'h'\npassword = 7",
            "a.password: expected a valid string, found something that is not shown",
        ),
        (
            "[egress.paths]\na = 'socks5://u:hunter2@h:1'",
            "a: expected a valid dictionary or instance of Proxy, found something that is not shown",
        ),
    ],
)  # fmt: skip
def test_a_proxy_that_cannot_be_used_is_refused_and_nothing_secret_repeated(text: str, told: str) -> None:
    """By its name and the setting's."""
    assert refusals(text) == [f"trisagion.toml:1: egress.paths.{told}"]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[observe.sources.venue]\npublic_key = 'K'", "expected another name than venue, which the platform's own"),
        ("[observe.sources.a]\npublic_key = 'K'\nprivate_key = '9d61'", "a.private_key: expected a reference to the"),
        ("[observe.sources.a]\npublic_key = 'K'\ntoken = 7", "a.token: expected a valid string, found something that"),
        ("[observe.sources.a]\nat = 'x'", "a.public_key: expected a value, found none"),
        (
            "[observe.sources]\na = '9d61'",
            "a: expected a valid dictionary or instance of Source, found something that is",
        ),
    ],
)
def test_an_observer_that_cannot_be_is_refused_and_nothing_secret_repeated(text: str, told: str) -> None:
    """By its name and the setting's."""
    [refusal] = refusals(text.replace("'K'", f"'{'0' * 64}'"))
    assert told in refusal and "9d61" not in refusal


def test_no_proxy_is_named_as_the_way_without_one() -> None:
    """It would shadow it."""
    text = "[egress.paths.direct]\nkind = 'http'\nport = 1\nhost = 'h'"
    told = "egress.paths: expected another name than direct, which is the way without a proxy"
    assert refusals(text) == [f"trisagion.toml:1: {told}"]
