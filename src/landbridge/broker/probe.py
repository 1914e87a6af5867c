"""What answers at a broker's address, hop by hop: proxy or name and TCP, TLS, websocket, and the server itself.

The connection that calls are made over does all this at once and tells one reason; here each hop has its own.
"""

from __future__ import annotations

import base64
import contextlib
import json
import secrets
import socket
import ssl
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

from ..errors import NotConfigured, printable
from ..tls import Tls
from .channel import PORTS
from .launcher import MINIMUM_VERSION
from .proxy import Proxy, ProxyFailed, dial_through, proxy_for
from .reasons import tls_cause

__all__ = ["Hop", "HopFailed", "probe"]

Hop = Callable[[str, str], None]
"""Is told the name of a hop that was passed, and what was found there."""

_TIMEOUT_S = 5.0
_MAX_INFO_BYTES = 64 * 1024


class HopFailed(Exception):
    """A hop that failed; `hop` names it, `advice` says what to do."""

    def __init__(self, hop: str, text: str, advice: str) -> None:
        self.hop, self.text, self.advice = hop, text, advice
        super().__init__(text)


def probe(url: str, passed: Hop, tls: Tls) -> None:
    """Go to the broker at `url` as far as it lets strangers, and tell each hop.

    Parameters
    ----------
    url : str
        The broker's address.
    passed : callable
        Is told each hop that was passed, and what was found.
    tls : Tls
        Whom to trust where the connection is encrypted, and what to show there.

    Raises
    ------
    HopFailed
        At the first hop that fails.
    """
    with _named(
        "address", f"{url!r} is no address of a broker", "It must look like nats://HOST:PORT (or tls, ws, wss)."
    ):
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port or PORTS[parts.scheme]
    with contextlib.ExitStack() as stack:
        proxy = _proxy(parts.scheme, host, port, tls)
        stream = stack.enter_context(_direct(host, port, passed) if proxy is None else _through(proxy, passed))
        if parts.scheme in ("ws", "wss"):
            if parts.scheme == "wss":
                stream = stack.enter_context(_encrypt(stream, host, tls, passed))
            with _handshake(host, tls):
                _upgrade(stream, parts.netloc)
            if parts.scheme == "wss":
                _tell_certificate(tls, passed)
            passed("websocket", f"{host}:{port} speaks websocket")
            with _handshake(host, tls):
                info = _greeting(stream, host, port, is_websocket=True)
            _check_version(info, passed)
            return
        info = _greeting(stream, host, port, is_websocket=False)
        if parts.scheme == "tls" or info.get("tls_required"):
            if not (info.get("tls_required") or info.get("tls_available")):
                raise HopFailed(
                    "tls", "the broker offers no TLS, which a tls:// address demands",
                    "Nothing was sent. Whoever runs the broker must give it a certificate; or somebody on the way "
                    "poses as it.",
                )  # fmt: skip
            stream = stack.enter_context(_encrypt(stream, host, tls, passed))
            with _handshake(host, tls):
                stream.sendall(b"PING\r\n")
                stream.recv(1)  # whatever it is: a broker that wants another certificate says so only now
            _tell_certificate(tls, passed)
        _check_version(info, passed)


@contextlib.contextmanager
def _named(
    hop: str, text: str, advice: str = "Check the address and port; another program may listen there."
) -> Iterator[None]:
    try:
        yield
    except ssl.SSLError:
        raise  # `_handshake` knows more of it
    except (OSError, ValueError, KeyError, RecursionError) as error:
        why = "no answer in time" if isinstance(error, TimeoutError) else printable(error, 300)
        raise HopFailed(hop, f"{text}: {why}", advice) from error


def _proxy(scheme: str, host: str, port: int, tls: Tls) -> Proxy | None:
    try:
        return proxy_for(scheme, host, port, tls)
    except NotConfigured as error:
        raise HopFailed("proxy", str(error), "") from error


def _through(proxy: Proxy, passed: Hop) -> socket.socket:
    try:
        stream = dial_through(proxy, _TIMEOUT_S)
    except ProxyFailed as error:
        raise HopFailed("proxy", f"{proxy} (HTTPS_PROXY): {error.text}", error.advice) from error
    passed("proxy", f"{proxy} (HTTPS_PROXY) lets us through to {proxy.target}")
    return stream


def _direct(host: str, port: int, passed: Hop) -> socket.socket:
    found = _resolve(host, port)
    numbers = sorted({str(each[4][0]) for each in found})
    if numbers != [host]:
        passed("name", f"{host} is {', '.join(numbers)}")
    stream = _dial(host, port)
    passed("tcp", f"connected to {host}:{port}")
    return stream


def _resolve(host: str, port: int) -> list[Any]:
    with _named("name", f"{host!r} has no address", "Check the name, and that this computer has a network."):
        return list(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))


def _dial(host: str, port: int) -> socket.socket:
    advice = (
        "Start it in another terminal: landbridge up"
        if host in ("127.0.0.1", "localhost", "::1")
        else f"Ask your network's administrator whether a firewall stops connections to {host}, port {port}, TCP."
    )
    with _named("tcp", f"cannot connect to {host}:{port}", advice):
        return socket.create_connection((host, port), timeout=_TIMEOUT_S)


@contextlib.contextmanager
def _handshake(host: str, tls: Tls) -> Iterator[None]:
    """Make what goes wrong in the body the outcome of the hop that it belongs to."""
    try:
        yield
    except ssl.SSLError as error:
        raise HopFailed(*tls_cause(error, host, tls)) from error
    except OSError as error:
        why = "no answer in time" if isinstance(error, TimeoutError) else printable(error, 300)
        raise HopFailed(
            "tls", f"no secure connection: {why}", "Check the port; another program may listen there."
        ) from error


def _encrypt(stream: socket.socket, host: str, tls: Tls, passed: Hop) -> ssl.SSLSocket:
    try:
        context = tls.context()
    except NotConfigured as error:
        raise HopFailed("tls", str(error), "") from error
    with _handshake(host, tls):
        secured = context.wrap_socket(stream, server_hostname=host)
    certificate = secured.getpeercert() or {}
    passed("tls", f"{secured.version()}, certificate valid until {certificate.get('notAfter', '?')}")
    return secured


def _tell_certificate(tls: Tls, passed: Hop) -> None:
    if tls.certificate is not None:
        passed("client certificate", f"the broker has nothing against that in {tls.certificate}")


def _upgrade(stream: socket.socket, netloc: str) -> None:
    key = base64.b64encode(secrets.token_bytes(16)).decode()
    request = (
        f"GET / HTTP/1.1\r\nHost: {netloc}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
    advice = "A proxy on the way may not let websockets through; ask your network's administrator."
    with _named("websocket", "the upgrade to websocket was refused", advice):
        stream.sendall(request.encode("ascii"))
        answer = _until(stream, b"\r\n\r\n")
        status = answer.split(b"\r\n", 1)[0].decode("latin-1")
        if status.split(" ")[1:2] == ["400"] and not isinstance(stream, ssl.SSLSocket):
            raise HopFailed(
                "tls", f"{netloc} does not take unencrypted requests (answered {printable(status, 100)})",
                "Its address probably begins with wss:// in place of ws://.",
            )  # fmt: skip
        if status.split(" ")[1:2] != ["101"]:
            raise ValueError(f"answered {printable(status, 100)!r}")


def _greeting(stream: socket.socket, host: str, port: int, *, is_websocket: bool) -> dict[str, Any]:
    with _named(
        "server", f"{host}:{port} does not greet as a NATS server does",
        "Check the address and port; another program may listen there, or one that is spoken to as wss://.",
    ):  # fmt: skip
        return _info(stream, is_websocket)


def _info(stream: socket.socket, is_websocket: bool) -> dict[str, Any]:
    line = _frame(stream) if is_websocket else _until(stream, b"\r\n")
    if not line.startswith(b"INFO "):
        raise ValueError(f"it begins with {line[:40]!r}")
    info = json.loads(line[5:])
    if not isinstance(info, dict):
        raise ValueError("what it says of itself has another form")
    return info


def _until(stream: socket.socket, end: bytes) -> bytes:
    """Return the bytes up to `end`, one by one so that nothing behind it is taken."""
    taken = bytearray()
    while not taken.endswith(end):
        taken += _exactly(stream, 1)
        if len(taken) > _MAX_INFO_BYTES:
            raise ValueError("the first line has no end")
    return bytes(taken)


def _frame(stream: socket.socket) -> bytes:
    """Return the payload of one websocket frame (RFC 6455, section 5.2); servers do not mask."""
    _, length = _exactly(stream, 2)
    if length >= 126:
        length = int.from_bytes(_exactly(stream, 2 if length == 126 else 8), "big")
    if length > _MAX_INFO_BYTES:
        raise ValueError("the first message is too long")
    return _exactly(stream, length)


def _exactly(stream: socket.socket, size: int) -> bytes:
    taken = bytearray()
    while len(taken) < size:
        part = stream.recv(size - len(taken))
        if not part:
            raise ValueError("it closed the connection")
        taken += part
    return bytes(taken)


def _check_version(info: dict[str, Any], passed: Hop) -> None:
    version = printable(info.get("version", "?"), 40)
    try:
        numbers = tuple(int(part) for part in version.split("-")[0].split("."))
    except ValueError:
        numbers = ()
    needed = ".".join(map(str, MINIMUM_VERSION))
    if numbers < MINIMUM_VERSION:
        raise HopFailed(
            "server", f"nats-server {version} is older than {needed}, and has known security holes",
            "Whoever runs the broker must upgrade it.",
        )  # fmt: skip
    limit = info.get("max_payload")
    passed("server", f"nats-server {version}" + (f", messages up to {limit:,} bytes" if type(limit) is int else ""))
