"""One build and one configuration trade: the operator's. Whoever is another one decides, routes and sends nothing."""

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest

from tests.builders import (
    COHORT_RULES,
    CYCLE_RULES,
    LIMITS,
    PATIENT,
    SESSION,
    TUESDAY_NS,
    Desk,
    an_intended_order,
    qty,
    voting,
)
from tests.fakes import FakeSession
from trisagion.adapters.build import PACKAGES, build_hash
from trisagion.cli.worker import refuse_another_platform
from trisagion.errors import ConfigError, StaleBuild
from trisagion.gateway.settling import SETTLED
from trisagion.ledger.take_profit import TakeProfitRules
from trisagion.orders.state import OrderState
from trisagion.services.amend_orders import amend
from trisagion.services.drive_session import SessionDriver
from trisagion.services.fingerprint import register
from trisagion.services.reconcile import cycle
from trisagion.services.route_orders import route
from trisagion.services.take_profit import WatchRules, watch
from trisagion.settings import load, trading_digest
from trisagion.units import Price
from trisagion.wiring import House

_S = OrderState
DUE = TUESDAY_NS


@pytest.fixture
def ready(shared: Desk) -> Desk:
    """Give an account with all that a cycle, a watch, a routing and a session have to do, on either server."""
    shared.enter(voting(DUE, 20), at_ns=DUE)
    shared.mark(DUE)
    shared.observe(DUE)
    return shared


def drain(desk: Desk, fingerprint: str) -> FakeSession:
    """Have a session's owner send what there is; return the session also when it is refused."""
    session = FakeSession()
    driver = SessionDriver(desk.database, session, SESSION, "one", settling=SETTLED, fingerprint=fingerprint)
    driver.lease()
    try:
        driver.drain(DUE)
    except StaleBuild:
        session.asked.append(("refused", ""))
    return session


def decide(desk: Desk, fingerprint: str) -> object:
    """Move a cycle."""
    return cycle(desk.database, replace(CYCLE_RULES, fingerprint=fingerprint), "tester", DUE)


def mark(desk: Desk, fingerprint: str) -> object:
    """Watch for a take-profit."""
    return watch(desk.database, WatchRules(TakeProfitRules(), COHORT_RULES, 1, PATIENT, fingerprint), DUE)


def send_on(desk: Desk, fingerprint: str) -> object:
    """Route an order."""
    return route(desk.database, LIMITS, SESSION, an_intended_order(DUE, _S.NEW).cl_ord_id, DUE, fingerprint=fingerprint)


def change(desk: Desk, fingerprint: str) -> object:
    """Want an order replaced."""
    name, price = an_intended_order(DUE, _S.NEW).cl_ord_id, Price(Decimal(4000))
    return amend(desk.database, LIMITS, name, qty=qty(2), price=price, now_ns=DUE, fingerprint=fingerprint)


@pytest.mark.parametrize("act", [decide, mark, send_on, change])
def test_another_build_than_the_registered_one_does_nothing(ready: Desk, act: Callable[[Desk, str], object]) -> None:
    """Where none is registered nothing was begun, and any may; then the registered one alone."""
    act(ready, "a.a")
    register(ready.database, "a.a", "tester", DUE)
    act(ready, "a.a")
    register(ready.database, "b.a", "tester", DUE)
    before = ready.everything()
    for stale in ("a.a", "b.b", ""):
        with pytest.raises(StaleBuild, match=r"expected build and configuration b\.a, as registered, found"):
            act(ready, stale)
    assert ready.everything() == before


def test_a_session_of_another_build_sends_cancels_alone(ready: Desk) -> None:
    """An order stays routed and a cancel leaves: what takes risk away is nobody's privilege."""
    routed = an_intended_order(DUE, _S.ROUTED)
    working = an_intended_order(DUE, _S.NEW, attempt=1, cancel_reason="superseded")
    ready.put(routed, working)
    register(ready.database, "b.a", "tester", DUE)
    assert drain(ready, "a.a").asked == [("cancel", working.cl_ord_id), ("refused", "")]
    assert ready.order(routed.cl_ord_id).state is _S.ROUTED
    assert drain(ready, "b.a").asked == [("new", routed.cl_ord_id)]


def test_registering_is_recorded_and_the_same_again_changes_nothing(shared: Desk) -> None:
    """The first one is no news; another one is an event with the operator."""
    register(shared.database, "a.a", "one", DUE)
    assert shared.events("build") == []
    register(shared.database, "b.a", "two", DUE)
    register(shared.database, "b.a", "three", DUE)
    [event] = shared.events("build.registered b.a")
    assert '"before": "a.a"' in event and '"operator": "two"' in event


def test_a_worker_of_other_settings_is_refused_before_it_takes_a_task(
    shared: Desk, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The operator's own settings pass; another limit is another configuration, another place is not."""
    monkeypatch.setenv("URL_OF_THE_PLATFORM", database_url)
    environ = {"TRISAGION__DATABASE__URL": "env:URL_OF_THE_PLATFORM"}
    ours = load(None, environ, {"broker.url": "redis://nowhere"})
    register(shared.database, House(ours).fingerprint, "tester", DUE)
    refuse_another_platform(ours)
    refuse_another_platform(load(None, environ, {"broker.url": "redis://elsewhere", "fix.host": "192.0.2.1"}))
    with pytest.raises(ConfigError, match="install what the others run, with the same settings"):
        refuse_another_platform(load(None, environ, {"risk.orders_max": 7}))


def test_the_digest_is_of_what_trading_depends_on() -> None:
    """Limits, rules and the venue's words, not places, secrets or the data of a replay."""
    plain = trading_digest(load(None, {}, {}))
    for same in ({"fix.port": 4711}, {"replay.speed": 60}, {"replay.data": ["aapl"]}, {"broker.url": "redis://b"}):
        assert trading_digest(load(None, {}, dict(same))) == plain
    others = (
        {"risk.orders_max": 7},
        {"replay.seed": 8},
        {"reconcile.interval_s": 300},
        {"take_profit.threshold": "0.5"},
    )
    assert len({plain, *(trading_digest(load(None, {}, dict(other))) for other in others)}) == 5


def test_the_build_is_every_python_file_by_name_and_content(tmp_path: Path) -> None:
    """A changed byte, a new file, another name; caches and compiled kernels are none of it."""

    def made(name: str, **files: str) -> str:
        for package in PACKAGES:
            (tmp_path / name / package).mkdir(parents=True)
        for path, text in {"a.py": "1", "b.py": "2", **files}.items():
            (tmp_path / name / "trisagion" / path).write_text(text)
        return build_hash(tmp_path / name)

    first = made("first")
    assert made("again", **{"_kernel.so": "x"}) == first
    assert (
        len({first, made("changed", **{"a.py": "3"}), made("more", **{"c.py": ""}), made("named", **{"d.py": "1"})})
        == 4
    )
    assert len(build_hash()) == 64
