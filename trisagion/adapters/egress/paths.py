"""Reaches a venue through one path: directly, through SOCKS5 or HTTP CONNECT, with TLS to the venue on top.

Names are resolved by the proxy, not here. A proxy's answer to CONNECT is read to its empty line and not a byte further:
what follows belongs to the venue.
"""

import asyncio
import base64
import hashlib
import socket
import ssl
from dataclasses import dataclass, field
from pathlib import Path as File
from typing import Final, Literal

from python_socks import ProxyConnectionError, ProxyError, ProxyType
from python_socks.async_.asyncio import Proxy

from trisagion.adapters.password import Password
from trisagion.errors import ConfigError, TrisagionError
from trisagion.gateway.egress import Fault

FAILURES: Final = (OSError, ProxyError, UnicodeError)
"""What a way may raise; the last one for a name that cannot be asked for, as one with an empty label."""

ANSWER_BYTES_MAX: Final = 8192
"""Of a proxy's answer to CONNECT; Apache and nginx take no longer header either."""

REASON_MAX: Final = 80
"""Characters of it that are repeated."""


class Unreached(TrisagionError):
    """A path did not lead to the venue."""

    def __init__(self, fault: Fault, why: str) -> None:
        super().__init__(why)
        self.fault = fault


@dataclass(frozen=True, slots=True)
class Way:
    """A path. `host`, `port`, `user` and `password` are the proxy's; a direct one has none."""

    name: str
    kind: Literal["direct", "socks5", "http"]
    host: str = ""
    port: int = 0
    user: str = ""
    password: Password = field(default_factory=Password, repr=False)


@dataclass(frozen=True, slots=True)
class Tls:
    """How the venue is known: by a name that its certificate must have, and by fingerprints (SHA-256, hex) if given."""

    context: ssl.SSLContext
    name: str
    pins: frozenset[str] = frozenset()


def tls(name: str, ca: str, pins: tuple[str, ...], certificate: str, key: str) -> Tls:
    """Return how to check a venue's certificate, which is always checked: by the file of CAs, else by the system's.

    Raises
    ------
    ConfigError
        A file cannot be read, or is none of certificates and keys.
    """
    for setting, path in (("tls_ca", ca), ("tls_certificate", certificate), ("tls_key", key)):
        if path:
            _refuse_unreadable(f"egress.{setting}", path)
    setting = "tls_ca"
    try:
        context = ssl.create_default_context(cafile=ca or None)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if certificate:
            setting = "tls_certificate"
            context.load_cert_chain(certificate, key or None, password="")
    except ssl.SSLError as error:
        raise ConfigError(f"egress.{setting}: expected a file of PEM that fits, found: {error}") from None
    return Tls(context, name, frozenset(pins))


def _refuse_unreadable(setting: str, path: str) -> None:
    try:
        with File(path).open("rb"):
            pass
    except OSError as error:
        raise ConfigError(f"{setting}: expected a readable file, found: {error.strerror} ({path})") from None


async def reach(
    way: Way, host: str, port: int, secured: Tls | None, limit_s: float
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Return a connection to the venue; `Unreached` says why there is none after `limit_s` at most."""
    try:
        async with asyncio.timeout(limit_s):
            connected = await _tunnel(way, host, port, limit_s)
            # asyncio does so for sockets that say that they are TCP; the library's do not say so.
            connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if secured is None:
                return await asyncio.open_connection(sock=connected)
            streams = await asyncio.open_connection(
                sock=connected, ssl=secured.context, server_hostname=secured.name, ssl_shutdown_timeout=1.0
            )
    except FAILURES as error:
        raise _unreached(error, limit_s) from None
    wrong = _wrong_pin(streams[1], secured.pins)
    if wrong is not None:
        streams[1].transport.abort()
        raise Unreached(Fault.TLS, f"expected a certificate with a pinned fingerprint, found {wrong}")
    return streams


async def probe(way: Way, host: str, port: int, limit_s: float) -> None:
    """Go as far as the venue's port and turn round: no byte reaches the venue."""
    try:
        async with asyncio.timeout(limit_s):
            connected = await _tunnel(way, host, port, limit_s)
    except FAILURES as error:
        raise _unreached(error, limit_s) from None
    connected.close()


def _unreached(error: Exception, limit_s: float) -> Unreached:
    why = str(error) or type(error).__name__
    if isinstance(error, TimeoutError):
        return Unreached(Fault.TIMEOUT, f"no connection within {limit_s:g} s")
    if isinstance(error, ssl.SSLError):
        return Unreached(Fault.TLS, getattr(error, "verify_message", "") or why)
    if isinstance(error, ProxyError):
        return Unreached(Fault.PROXY, why)
    reset = isinstance(error, ConnectionError) and not isinstance(error, ConnectionRefusedError | ProxyConnectionError)
    return Unreached(Fault.RESET if reset else Fault.REFUSED, why)


def _wrong_pin(writer: asyncio.StreamWriter, pins: frozenset[str]) -> str | None:
    certificate = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    found = hashlib.sha256(certificate).hexdigest()
    return found if pins and found not in pins else None


async def _tunnel(way: Way, host: str, port: int, limit_s: float) -> socket.socket:
    if way.kind == "direct":
        return await _connect(host, port)
    if way.kind == "http":
        return await _through_http(way, host, port)
    proxy = Proxy(ProxyType.SOCKS5, way.host, way.port, way.user or None, way.password() or None, rdns=True)
    connected: socket.socket = await proxy.connect(host, port, timeout=limit_s)
    return connected


async def _connect(host: str, port: int) -> socket.socket:
    """Connect to the first address of a name that answers."""
    loop = asyncio.get_running_loop()
    addresses = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    failed: OSError = OSError(f"{host} has no address")
    for family, kind, protocol, _, address in addresses:
        connecting = socket.socket(family, kind, protocol)
        connecting.setblocking(False)
        try:
            await loop.sock_connect(connecting, address)
        except OSError as error:
            connecting.close()
            failed = error
        except BaseException:
            connecting.close()
            raise
        else:
            return connecting
    raise failed


async def _through_http(way: Way, host: str, port: int) -> socket.socket:
    """Ask a proxy for a tunnel (RFC 9110, section 9.3.6)."""
    connected = await _connect(way.host, way.port)
    try:
        target = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        lines = [f"CONNECT {target} HTTP/1.1", f"Host: {target}"]
        if way.user:
            known_as = base64.b64encode(f"{way.user}:{way.password()}".encode()).decode()
            lines.append(f"Proxy-Authorization: Basic {known_as}")
        refusal = await _asked(connected, "\r\n".join([*lines, "", ""]).encode())
    except BaseException:
        connected.close()
        raise
    if refusal is not None:
        connected.close()
        raise ProxyError(refusal)
    return connected


async def _asked(connected: socket.socket, request: bytes) -> str | None:
    """Send a request for a tunnel; return why there is none."""
    loop = asyncio.get_running_loop()
    await loop.sock_sendall(connected, request)
    answer = b""
    while not answer.endswith(b"\r\n\r\n"):
        byte = await loop.sock_recv(connected, 1)
        answer += byte
        if not byte or len(answer) > ANSWER_BYTES_MAX:
            return f"expected an answer to CONNECT, found {answer[:REASON_MAX]!r}"
    version, _, status = answer.partition(b"\r\n")[0].decode("latin-1").partition(" ")
    return None if version.startswith("HTTP/1.") and status.startswith("2") else f"{version} {status}"[:REASON_MAX]
