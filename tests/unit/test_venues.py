"""What follows from the choice of a venue: names, modules, paths, shares of messages, and what it does not go with."""

import sys
from datetime import time
from pathlib import Path

import pytest

from trisagion.adapters.egress.forwarder import serve
from trisagion.adapters.venues.ib.configured import ib_config, ib_rule
from trisagion.adapters.venues.ib.ears import IbContract
from trisagion.cli import doctor, preflight
from trisagion.cli.worker import worker_argv
from trisagion.errors import ConfigError, OurMistake
from trisagion.gateway.ib_guard import Making, ResetWindow, VenueRule
from trisagion.gateway.pace import TokenBucket
from trisagion.market.instruments import AAPL, ES
from trisagion.services.drive_session import FULL
from trisagion.settings import Settings, load
from trisagion.wiring import House


def given(**settings: object) -> Settings:
    """Settings; two underscores stand for a dot."""
    return load(None, {}, {key.replace("__", "."): value for key, value in settings.items()})


@pytest.mark.parametrize(
    ("venue", "session", "module"),
    [
        ("fix-sim", "SIM", "workers.sessions.fix"),
        ("ib-sim", "IB", "workers.sessions.ib"),
        ("paper", "PAPER", "workers.sessions.paper"),
    ],
)
def test_each_venue_has_its_session_and_the_worker_that_owns_it(venue: str, session: str, module: str) -> None:
    """By one name in the queue, in the lease and in the executions."""
    settings = given(platform__venue=venue)
    assert House(settings).session_name == session
    argv = worker_argv("session", "s", settings)
    assert (argv[3], argv[argv.index("--queues") + 1]) == (module, f"session.{session}")
    assert worker_argv("desk", "d", settings)[3] == "workers.worker"


def test_a_session_goes_to_its_own_venue_or_to_the_forwarder_before_it() -> None:
    """The host of one is never taken for that of another."""
    both = {"fix__host": "f", "fix__port": 1, "ib__host": "i", "ib__port": 2}
    through = {"egress__use": ["direct"], "egress__port": 3}
    assert House(given(**both)).session_address == ("f", 1)
    assert House(given(platform__venue="ib-sim", **both)).session_address == ("i", 2)
    assert House(given(platform__venue="ib-sim", **both, **through)).session_address == ("127.0.0.1", 3)
    with pytest.raises(OurMistake, match="has no address"):
        _ = House(given(platform__venue="paper")).session_address


def test_a_session_has_the_share_of_messages_that_its_venue_grants() -> None:
    """Empty at first; where the venue grants none, the platform's own."""
    assert House(given(fix__messages_per_s=7)).bucket(1.0) == TokenBucket.empty(7, given().fix.cancel_reserve, 1.0)
    assert House(given(platform__venue="ib-sim")).bucket(1.0).per_s == 40
    assert House(given(platform__venue="paper")).bucket(1.0) == FULL


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        (
            {"platform__venue": "paper", "egress__use": ["direct"]},
            "^egress.use: expected none beside .* paper, .*direct$",
        ),
        (
            {"platform__venue": "paper", "fix__drop_copy": "DC"},
            "^fix.drop_copy: expected none beside .* paper, found 'DC'",
        ),
        ({"platform__venue": "ib-sim", "fix__drop_copy": "DC"}, "^fix.drop_copy: expected none beside .* ib-sim"),
    ],
)
def test_what_has_no_line_is_refused_before_a_run_begins(tmp_path: Path, settings: dict[str, object], why: str) -> None:
    """A drop copy is a FIX session; paths lead to a venue on the other side of a line."""
    with pytest.raises(ConfigError, match=why):
        preflight.examine(given(platform__state=str(tmp_path / "state"), cohort__runs=10, **settings))


def test_what_only_a_fix_venue_can_get_wrong_is_no_hindrance_to_another(tmp_path: Path) -> None:
    """Its version and its password are not looked at."""
    wrong: dict[str, object] = {"fix__version": "4.2", "fix__password": "env:NOT_THERE", "cohort__runs": 10}
    state = str(tmp_path / "state")
    assert preflight.examine(given(platform__venue="paper", platform__state=state, **wrong)) == []


def test_a_run_on_the_simulated_tws_says_that_makers_are_guarded(tmp_path: Path) -> None:
    """Unless the user has said so; a live session refuses them by default."""
    state: dict[str, object] = {"platform__state": str(tmp_path / "state"), "cohort__runs": 10}
    [note] = preflight.examine(given(platform__venue="ib-sim", **state))
    assert note.startswith("ib.maker: guarded on the bundled TWS: ")
    assert preflight.examine(given(platform__venue="ib-sim", ib__maker="guarded", **state)) == []
    assert given().ib.maker == "refuse"


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"ib__account": "U1234567"}, "^ib.account: expected one for paper, found 'U1234567', which is live"),
        ({"ib__environment": "live"}, "^ib.account: expected one for live, found 'DU1000001', which is paper"),
        ({"ib__port": 7496}, "^ib.port: expected one for paper, found 7496, which is for live"),
    ],
)
def test_an_account_a_port_and_an_environment_that_do_not_agree_are_refused(
    tmp_path: Path, settings: dict[str, object], why: str
) -> None:
    """Before anything starts, and the worker that would own the session refuses them too."""
    ib = given(platform__venue="ib-sim", platform__state=str(tmp_path / "state"), cohort__runs=10, **settings)
    with pytest.raises(ConfigError, match=why):
        preflight.examine(ib)
    with pytest.raises(ConfigError, match=why):
        ib_config(ib.ib, [ES], ("127.0.0.1", 4000), tmp_path)


def test_a_contract_is_the_instrument_but_for_what_the_settings_say_of_it(tmp_path: Path) -> None:
    """A multiplier makes a future; the windows of the nightly reset are by the clock of their zone."""
    told = {"ES": {"exchange": "CME", "last_trade_date": "201309", "local_symbol": "ESU3"}}
    settings = given(ib__contracts=told, ib__reset_windows="01:00-02:00", ib__reset_zone="UTC")
    made = ib_config(settings.ib, [ES, AAPL], ("h", 1), tmp_path)
    assert made.contracts == {
        "ES": IbContract("ES", "FUT", "CME", "USD", "ESU3", "201309", ES.multiplier, ES.tick_size),
        "AAPL": IbContract("AAPL", "STK", "SIM", "USD", "", "", AAPL.multiplier, AAPL.tick_size),
    }
    assert made.reset_windows == (ResetWindow(time(1), time(2), "UTC"),)
    assert (made.host, made.port, made.account) == ("h", 1, "DU1000001")
    routes = {"ES": "CME", "AAPL": "SIM"}
    assert ib_rule(settings.ib, made) == VenueRule(Making.REFUSE, routes, made.reset_windows)
    assert ib_rule(given(ib__maker="guarded").ib, made).making is Making.GUARDED


def test_no_forwarder_serves_a_venue_without_a_line(sqlite_url: str) -> None:
    """It would listen for nobody."""
    settings = given(platform__venue="paper", egress__use=["direct"], egress__port=1, database__url=sqlite_url)
    with pytest.raises(ConfigError, match=r"^platform.venue: expected one that a line leads to, found 'paper'"):
        serve(settings)


@pytest.mark.parametrize(
    ("venue", "told"), [("fix-sim", "fix-sim by quickfix"), ("ib-sim", "ib-sim by ib_"), ("paper", "paper needs no")]
)
def test_the_doctor_looks_for_what_the_venue_needs(venue: str, told: str) -> None:
    """And for nothing that another one would."""
    findings = {finding.name: finding for finding in doctor.examine(None, [f"platform.venue={venue}"])}
    assert findings["venue"].ok
    assert findings["venue"].detail.startswith(told)


def test_the_doctor_says_how_to_get_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both libraries that would do, and the command."""
    monkeypatch.setitem(sys.modules, "ib_async", None)
    monkeypatch.setitem(sys.modules, "ib_insync", None)
    findings = {finding.name: finding for finding in doctor.examine(None, ["platform.venue=ib-sim"])}
    assert not findings["venue"].ok
    assert "install ib_async or ib_insync: pip install 'trisagion[ib]'" in findings["venue"].detail
