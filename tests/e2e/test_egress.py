"""A platform whose session goes through proxies: the result is the same, and no order is lost when a path dies."""

import json
import signal
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from tests.e2e.platforms import EARLY, Platform, agree, in_state, trisagion
from tests.integration.proxies import LOOPBACK, FaultyProxy
from trisagion.adapters.db import SqlDatabase
from trisagion.orders.state import OrderState

pytestmark = [pytest.mark.e2e, pytest.mark.redis, pytest.mark.timeout(240)]

Make = Callable[..., Platform]


def through(*proxies: FaultyProxy) -> list[str]:
    """Have the session go through proxies, the first one first, and by itself in the end."""
    names = [f"p{number}" for number in range(len(proxies))]
    tables = [
        f'egress.paths.{name}={{kind = "socks5", host = "{LOOPBACK}", port = {proxy.port}}}'
        for name, proxy in zip(names, proxies, strict=True)
    ]
    return [*EARLY, *tables, f"egress.use={json.dumps([*names, 'direct'])}"]


def paths(run: Platform) -> dict[str, dict[str, object]]:
    """Return what `trisagion egress` says of each path."""
    told = trisagion("egress", "--json", "--state", str(run.state))
    assert told.returncode == 0, told.stderr
    return {path["path"]: path for path in json.loads(told.stdout)}


def test_a_proxy_on_the_way_changes_nothing(undisturbed: Platform, tape: Path, platform: Make) -> None:
    """To the last digit the history of a run that is connected directly; every byte went through the proxy."""
    with FaultyProxy() as proxy:
        run = platform().go("--data", str(tape), sets=through(proxy))
        run.end()
    assert run.traded() == undisturbed.traded()
    found = paths(run)
    assert (bool(found["p0"]["carried"]), found["direct"]["carried"]) == (True, 0)


def test_no_order_is_lost_when_its_path_dies_with_it_on_its_way(tape: Path, platform: Make) -> None:
    """A proxy resets while an order is asked for, the next while its cancel is; then the forwarder is killed."""
    with FaultyProxy() as first, FaultyProxy() as second:
        run = platform().go("--data", str(tape), sets=through(first, second))
        with run.trading() as database:
            for proxy, asked in ((first, OrderState.PENDING_NEW), (second, OrderState.PENDING_CANCEL)):
                run.moves_on(database, 5)
                run.hold_in_doubt(database, asked)
                proxy.refuse()
                run.kill("venue", signal.SIGCONT)
                run.until(partial(_none_is, database, asked), f"no order is {asked}")
            run.moves_on(database, 2)
            run.kill("egress")
        run.end()
    agree(run)
    found = paths(run)
    assert [int(str(found[name]["carried"])) > 0 for name in ("p0", "p1", "direct")] == [True, True, True]


def _none_is(database: SqlDatabase, state: OrderState) -> bool:
    return not in_state(database, state)
