"""Paths through real proxies and through one that breaks, and the check of a venue's certificate."""

import asyncio
import hashlib
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.integration.proxies import LOOPBACK, FaultyProxy, free_port, microsocks, served, tinyproxy
from trisagion.adapters.egress.paths import Tls, Unreached, Way, probe, reach, tls
from trisagion.adapters.password import Password
from trisagion.errors import ConfigError
from trisagion.gateway.egress import Fault

LIMIT_S = 20.0
SHORT_S = 0.3
QUESTION = bytes(range(256)) * 400
USER, PASSWORD = "anna", "s:e c&r=e%t"
"""What a URL or a header could mistake for something else."""


@asynccontextmanager
async def venue(context: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """Echo what is said, on a free port."""

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while chunk := await reader.read(65_536):
            writer.write(chunk)
            await writer.drain()

    port = free_port()
    async with served(echo, port, context):
        yield port


async def echoed(way: Way, port: int, secured: Tls | None = None, host: str = LOOPBACK) -> bytes:
    """Say something to a venue along a path and return what comes back."""
    reader, writer = await reach(way, host, port, secured, LIMIT_S)
    writer.write(QUESTION)
    try:
        return await asyncio.wait_for(reader.readexactly(len(QUESTION)), LIMIT_S)
    finally:
        writer.transport.abort()
        await asyncio.sleep(0)


def fault(way: Way, secured: Tls | None = None, *, port: int | None = None, limit_s: float = LIMIT_S) -> Fault:
    """Return why a venue that is there, or whatever is at a port, is not reached."""

    async def go() -> Fault:
        async with venue() as own:
            with pytest.raises(Unreached) as caught:
                await reach(way, LOOPBACK, port or own, secured, limit_s)
            assert str(caught.value)
            assert PASSWORD not in str(caught.value)
            return caught.value.fault

    return asyncio.run(go())


def test_a_direct_path_needs_nobody() -> None:
    """And a venue that is not there refuses."""

    async def go() -> bytes:
        async with venue() as port:
            return await echoed(Way("d", "direct"), port)

    assert asyncio.run(go()) == QUESTION
    assert fault(Way("d", "direct"), port=free_port()) is Fault.REFUSED


@pytest.mark.proxies
@pytest.mark.parametrize("kind", ["socks5", "http"])
@pytest.mark.parametrize("user", ["", "bob"])
def test_a_real_proxy_carries_a_connection(kind: str, user: str, tmp_path: Path) -> None:
    """Microsocks and tinyproxy, with and without a user; a wrong password is refused by the proxy, also a new one."""
    port = free_port()
    running = microsocks(port, user, "secret") if kind == "socks5" else tinyproxy(port, tmp_path, user, "secret")
    known = ["secret"]
    way = Way("p", "socks5" if kind == "socks5" else "http", LOOPBACK, port, user, Password(lambda: known[-1]))

    async def go() -> bytes:
        async with venue() as there:
            await probe(way, LOOPBACK, there, LIMIT_S)
            return await echoed(way, there, host="localhost")

    with running:
        assert asyncio.run(go()) == QUESTION
        assert fault(way, port=free_port()) is Fault.PROXY
        if user:
            known.append(PASSWORD)
            assert fault(way) is Fault.PROXY


@pytest.mark.parametrize("kind", ["socks5", "http"])
def test_a_proxy_is_given_the_name_of_the_venue_and_any_password(kind: str) -> None:
    """It resolves the name, not we; a probe goes as far and says nothing; its answer may come byte by byte."""

    async def go(way: Way) -> bytes:
        async with venue() as port:
            await probe(way, "venue.invalid", port, LIMIT_S)
            return await echoed(way, port, host="venue.invalid")

    with FaultyProxy(USER, PASSWORD) as proxy:
        proxy.mode = "pieces"
        way = Way("p", "socks5" if kind == "socks5" else "http", LOOPBACK, proxy.port, USER, Password(lambda: PASSWORD))
        assert asyncio.run(go(way)) == QUESTION
        assert [host for host, _ in proxy.asked] == ["venue.invalid", "venue.invalid"]


@pytest.mark.parametrize("kind", ["socks5", "http"])
@pytest.mark.parametrize(
    ("mode", "told"),
    [("stall", {Fault.TIMEOUT}), ("garbage", {Fault.PROXY, Fault.RESET}), ("refuse", {Fault.REFUSED})],
)
def test_a_proxy_that_does_not_do_its_work_is_told_apart(kind: str, mode: str, told: set[Fault]) -> None:
    """By what it did: no answer in time, an answer that is none, nobody there."""
    with FaultyProxy() as proxy:
        proxy.mode = mode
        if mode == "refuse":
            proxy.refuse()
        way = Way("p", "socks5" if kind == "socks5" else "http", LOOPBACK, proxy.port)
        assert fault(way, limit_s=SHORT_S if mode == "stall" else LIMIT_S) in told


@pytest.mark.parametrize("kind", ["socks5", "http"])
def test_a_proxy_refuses_wrong_words(kind: str) -> None:
    """Its answer is the reason, and has no password in it."""
    with FaultyProxy(USER, "right") as proxy:
        way = Way("p", "socks5" if kind == "socks5" else "http", LOOPBACK, proxy.port, USER, Password(lambda: PASSWORD))
        assert fault(way) is Fault.PROXY
        assert PASSWORD not in repr(way)


@pytest.mark.parametrize("host", ["venue.invalid", "venue..example"])
def test_a_name_that_nobody_knows_is_refused(host: str) -> None:
    """By the resolver of this machine, for a direct path; or before it is asked."""

    async def go() -> Fault:
        with pytest.raises(Unreached) as caught:
            await reach(Way("d", "direct"), host, 1, None, LIMIT_S)
        return caught.value.fault

    assert asyncio.run(go()) is Fault.REFUSED


def fingerprint(papers: Path) -> str:
    """Return the venue's fingerprint."""
    pem = (papers / "venue.pem").read_text(encoding="ascii")
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem)).hexdigest()


@pytest.fixture
def ask(papers: Path) -> Callable[..., bytes | Fault]:
    """Give what says something to a venue with a certificate, and returns its answer or what was wrong."""

    def asking(
        shown: str = "venue",
        name: str = "venue.example",
        ca: str = "ca",
        pins: tuple[str, ...] = (),
        own: str = "",
        *,
        demanded: bool = False,
        kind: str = "direct",
    ) -> bytes | Fault:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(papers / f"{shown}.pem", papers / f"{shown}.key")
        if demanded:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(papers / "ca.pem")
        files = (str(papers / f"{own}.pem"), str(papers / f"{own}.key")) if own else ("", "")
        secured = tls(name, str(papers / f"{ca}.pem"), pins, *files)

        async def go(way: Way) -> bytes | Fault:
            async with venue(context) as port:
                try:
                    return await echoed(way, port, secured)
                except Unreached as error:
                    return error.fault
                except (ssl.SSLError, asyncio.IncompleteReadError):
                    # TLS 1.3 lets us believe that we are in, and closes.
                    return Fault.TLS

        if kind == "direct":
            return asyncio.run(go(Way("d", "direct")))
        with FaultyProxy() as proxy:
            return asyncio.run(go(Way("p", "socks5", LOOPBACK, proxy.port)))

    return asking


@pytest.mark.parametrize(
    "case",
    [
        {"shown": "expired"},
        {"name": "other.example"},
        {"ca": "stranger"},
        {"pins": ("0" * 64,)},
        {"demanded": True},
        {"shown": "expired", "kind": "socks5"},
    ],
    ids=str,
)
def test_a_certificate_that_is_not_the_venues_is_refused(
    ask: Callable[..., bytes | Fault], case: dict[str, object]
) -> None:
    """Run out, of another name, of an unknown authority, with another fingerprint; and ours, where it is demanded."""
    assert ask(**case) is Fault.TLS


@pytest.mark.parametrize(
    "case", [{}, {"kind": "socks5"}, {"own": "client", "demanded": True}, {"pins": ("0" * 64, "its own")}], ids=str
)
def test_a_certificate_that_is_the_venues_is_accepted(
    ask: Callable[..., bytes | Fault], papers: Path, case: dict[str, object]
) -> None:
    """On every path, with a certificate of ours where it is demanded, with one of several fingerprints."""
    if "pins" in case:
        case = {"pins": ("0" * 64, fingerprint(papers))}
    assert ask(**case) == QUESTION


@pytest.mark.parametrize("broken", ["ca", "certificate", "key"])
def test_papers_that_cannot_be_used_are_refused_before_anything_is_connected(
    papers: Path, tmp_path: Path, broken: str
) -> None:
    """With the setting that names them."""
    files = {"ca": papers / "ca.pem", "certificate": papers / "client.pem", "key": papers / "client.key"}
    files[broken] = tmp_path / "missing"
    with pytest.raises(ConfigError, match=rf"^egress.tls_{broken}: expected a readable file"):
        tls("venue.example", str(files["ca"]), (), str(files["certificate"]), str(files["key"]))
    files[broken] = papers / "venue.key"
    with pytest.raises(ConfigError, match=r"^egress.tls_(ca|certificate): expected"):
        tls("venue.example", str(files["ca"]), (), str(files["certificate"]), str(files["key"]))
