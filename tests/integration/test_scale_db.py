"""The short form of `python -m bench.scale_db`: 300 slots, each with its connection; their speed is not judged."""

import pytest

from bench.scale_db import Scale, run
from trisagion.errors import ConfigError

pytestmark = pytest.mark.mariadb

SHORT = Scale(300, 2, ramp_s=2.0, hold_s=2.0, units=2, active=2, rate_s=0.5, turns=1, each=3)


def test_hundreds_of_direct_connections_work_at_once_without_an_error() -> None:
    """All are connected from the first transaction to the last figure, and every slot does its share."""
    found = run(SHORT)
    assert found.connected >= SHORT.connections
    assert len(found.took) == SHORT.connections * SHORT.units
    assert min(found.took) > 0
    assert all(rate > 0 for rate in (*found.ours, *found.raw))
    assert found.server_bytes > 0
    assert found.clients_bytes > 0


def test_more_connections_than_files_are_told_with_what_to_raise() -> None:
    """Before anything is started."""
    with pytest.raises(ConfigError, match="ulimit -n: expected 10000000500 open files a process, found"):
        run(Scale(10**10, 1, ramp_s=0.0, hold_s=0.0, units=1, active=1, rate_s=0.0, turns=0, each=0))
