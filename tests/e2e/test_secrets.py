"""Canaries: secrets that a whole platform is given, and that none of what it writes may show, crashes included."""

import base64
import json
import os
import re
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.e2e.platforms import EARLY, ROOT, TRISAGION, Platform
from trisagion.adapters.servers import mariadb
from trisagion.cli import rundir

pytestmark = [pytest.mark.e2e, pytest.mark.redis, pytest.mark.timeout(400)]

CANARIES = {
    "fix.password": "canary/Fix+Password=1?",
    "egress.paths.far.password": "canary/Proxy+Password=2?",
    "vault": "canary/Vault+Entry=3?",
    "database": "canaryDatabasePassword4",
    "unused": "canary/Of+The+Environment=5?",
}
"""With signs that base64, URLs and JSON write otherwise."""


def guises(secret: str) -> dict[str, bytes]:
    """Return the forms in which a secret might be written."""
    data = secret.encode()
    found = {
        "plain": data,
        "hex": data.hex().encode(),
        "url": quote(secret, safe="").encode(),
        "repr": repr(secret)[1:-1].encode(),
    }
    # Base64 of what holds it, wherever in its groups of three it begins, without the digits that its neighbours share.
    for shift in range(3):
        digits = base64.b64encode(b"\0" * shift + data)
        found[f"base64+{shift}"] = digits[4 if shift else 0 : -4]
    return found


def shown(files: Iterator[tuple[str, bytes]]) -> list[str]:
    """Name every place that shows a canary."""
    forms = [(name, how, form) for name, secret in CANARIES.items() for how, form in guises(secret).items()]
    return [f"{where}: {name} ({how})" for where, data in files for name, how, form in forms if form in data]


def written(folder: Path, besides: set[Path]) -> Iterator[tuple[str, bytes]]:
    """Yield all files of a platform: logs, stores, broker, databases, reports, output."""
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path not in besides:
            yield str(path.relative_to(folder)), path.read_bytes()


def dump(path: Path) -> Iterator[tuple[str, bytes]]:
    """Yield a SQLite database as text."""
    with sqlite3.connect(path) as connection:
        yield "dump", "\n".join(connection.iterdump()).encode()


def processes(run: Platform) -> Iterator[tuple[str, bytes]]:
    """Yield the command line of every process: any user of the machine can read it."""
    for name, pid in {"supervisor": run.pid, **run.processes()}.items():
        yield f"cmdline of {name}", Path(f"/proc/{pid}/cmdline").read_bytes()


def dumping(run: Platform) -> list[str]:
    """Name the processes that would leave their memory, and the secrets in it, in a file when they crash."""
    limits = {name: Path(f"/proc/{pid}/limits").read_text() for name, pid in run.processes().items()}
    return [name for name, text in limits.items() if not re.search(r"^Max core file size +0 +0 ", text, re.MULTILINE)]


@pytest.fixture
def given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Plant the canaries; return the settings that refer to them."""
    monkeypatch.setenv("CANARY_PROXY", CANARIES["egress.paths.far.password"])
    monkeypatch.setenv("CANARY_UNUSED", CANARIES["unused"])
    monkeypatch.setenv("TRISAGION_VAULT", str(tmp_path / "apart" / "vault"))
    for arguments, secret in (
        (["init"], ""),
        (["put", "fix", "--venue", "SIM"], CANARIES["fix.password"]),
        (["put", "other"], CANARIES["vault"]),
    ):
        subprocess.run([*TRISAGION, "vault", *arguments], input=secret, cwd=ROOT, text=True, check=True, timeout=60)
    return [
        *EARLY,
        "fix.username=trader",
        "fix.password=vault:fix",
        "egress.paths.far.kind=socks5",
        "egress.paths.far.host=127.0.0.1",
        "egress.paths.far.port=9",
        "egress.paths.far.user=trader",
        "egress.paths.far.password=env:CANARY_PROXY",
        'egress.use=["far", "direct"]',
    ]


def test_a_canary_is_seen_in_each_of_its_guises() -> None:
    """What searches for them finds them: a test that finds nothing must be able to."""
    for secret in CANARIES.values():
        texts = {
            "plain": secret,
            "hex": f"x{secret.encode().hex()}",
            "url": f"u:{quote(secret, safe='')}@h",
            **{f"base64 {pad}": base64.b64encode(f"{'u' * pad}{secret}@host".encode()).decode() for pad in range(3)},
        }
        for how, text in texts.items():
            assert shown(iter([(how, text.encode())])), (secret, how)


def test_no_secret_shows_in_anything_that_a_platform_writes(
    given: list[str], tape: Path, platform: Callable[..., Platform], tmp_path: Path
) -> None:
    """Run directory, FIX stores, broker, database, report, output and command lines, with two processes killed.

    And the audit chain of all that is whole, and agrees with the tables.
    """
    run = platform().go("--data", str(tape), sets=given)
    with run.trading() as database:
        run.moves_on(database, 5)
        seen = shown(processes(run)) + dumping(run)
        for victim in ("session", "desk"):
            run.kill(victim)
            run.moves_on(database, 3)
        seen += shown(written(run.state, set()))
        subprocess.run(
            [*TRISAGION, "kill", "--state", str(run.state)], cwd=ROOT, capture_output=True, check=True, timeout=100
        )
    run.end(3)
    seen += shown(written(run.state, set())) + shown(dump(run.run / rundir.DATABASE))
    seen += shown(written(tmp_path / "apart", set()))
    assert seen == []
    assert len(list(written(run.state, set()))) > 15
    told = json.loads(done([*TRISAGION, "audit", "verify", "--state", str(run.state), "--json"]))
    with sqlite3.connect(run.run / rundir.DATABASE) as connection:
        [(executions,)] = connection.execute("SELECT COUNT(*) FROM execution")
    assert told["whole"] and told["waiting"] == 0 and told["anchors"] >= 2, told
    assert told["rows"]["orders"] > executions > 0 and told["rows"]["control"] > 5, told


def done(command: list[str]) -> str:
    """Run a command; return what it said."""
    return subprocess.run(command, cwd=ROOT, capture_output=True, check=True, text=True, timeout=100).stdout


@pytest.mark.mariadb
def test_no_error_about_a_database_shows_its_password(tmp_path: Path, short_directory: Path) -> None:
    """A server that refuses us, one that is not there, and a URL that is none: through every command that connects."""
    secret = CANARIES["database"]
    with mariadb(tmp_path / "data", short_directory / "s") as url:
        host = url.rpartition("@")[2]
        urls = [
            f"mysql://nobody:{secret}@{host}",
            f"mysql://nobody:{secret}@127.0.0.1:9/x",
            f"nothing://u:{secret}@h/x",
        ]
        for index, each in enumerate(urls):
            state = tmp_path / f"state{index}"
            done = subprocess.run(
                [*TRISAGION, "run", "--state", str(state), "--set", "database.url=env:CANARY_URL"],
                cwd=ROOT,
                env={**os.environ, "CANARY_URL": each},
                capture_output=True,
                text=True,
                check=False,
                timeout=100,
            )
            assert done.returncode != 0, done.stdout
            said = (done.stdout + done.stderr).encode()
            assert shown(iter([("said", said), *written(state, set())])) == [], done.stderr
            assert b"Traceback" not in said, (sys.executable, done.stderr)
