"""Through an HTTP proxy to a broker, with CONNECT: for networks that let nothing out but through one.

The proxy sees whither we go and how much, and nothing of what is said: only encrypted connections go through it. It is
the one that HTTPS_PROXY names, unless NO_PROXY names the broker. Python's own functions for these variables do not read
networks (``10.0.0.0/8``) in NO_PROXY, would send what is for this computer through a proxy, and take 14 ms to import;
so they are read here.

Sources: RFC 9110, section 9.3.6; RFC 7617; for the variables what curl and Go do.
"""

from __future__ import annotations

import asyncio
import base64
import ipaddress
import os
import re
import socket
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import unquote_to_bytes, urlsplit

from ..errors import NotConfigured, printable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..tls import Tls

__all__ = ["Proxy", "ProxyFailed", "connect_through", "dial_through", "proxy_for"]

_HOST = re.compile(r"[A-Za-z0-9_.:-]{1,255}")
_STATUS = re.compile(rb"HTTP/1\.[01] ([1-9][0-9]{2})(?: ([^\r\n]*))?\r?\n")
_MOST_ANSWERED_BYTES = 16 * 1024
_CHECK = "Check HTTPS_PROXY, or ask your network's administrator"


class ProxyFailed(OSError):
    """The proxy did not let us through; `advice` says what to do. No name or password is in its texts."""

    def __init__(self, text: str, advice: str) -> None:
        self.text, self.advice = text, advice
        super().__init__(text)


@dataclass(frozen=True)
class Proxy:
    """A proxy, and the broker that we want to reach through it.

    Attributes
    ----------
    host, port : str and int
        Where the proxy is.
    target : str
        ``host:port`` of the broker.
    login : str
        What the proxy is to be shown of who we are, ready for the header; empty for nothing.
    """

    host: str
    port: int
    target: str
    login: str = field(default="", repr=False)

    def __str__(self) -> str:
        """Return where it is, without a password."""
        return f"{_bracketed(self.host)}:{self.port}"

    def request(self) -> bytes:
        """Return what to send it."""
        login = f"Proxy-Authorization: Basic {self.login}\r\n" if self.login else ""
        return f"CONNECT {self.target} HTTP/1.1\r\nHost: {self.target}\r\n{login}\r\n".encode("ascii")

    def check(self, answer: bytes) -> None:
        """Return if `answer`, a whole header, lets us through.

        Raises
        ------
        ProxyFailed
            When it does not.
        """
        match = _STATUS.match(answer)
        if match is None:
            raise ProxyFailed(
                f"what is there is no HTTP proxy (it answers {printable(repr(answer[:40]), 80)})", f"{_CHECK}."
            )
        status, why = int(match[1]), printable((match[2] or b"").decode("latin-1").strip(), 100)
        said = f"{status} {why}".strip()
        if 200 <= status < 300:
            return
        if status == 407 and self.login:
            raise ProxyFailed(
                f"it does not accept the name and password that HTTPS_PROXY gives ({said})",
                "Correct them; characters such as @ : / must be written as %40 %3A %2F.",
            )
        if status == 407:
            raise ProxyFailed(
                f"it demands a name and password ({said})",
                "Give them: HTTPS_PROXY=http://NAME:PASSWORD@HOST:PORT. Only the scheme Basic is known here.",
            )
        if status in (401, 403, 405):
            raise ProxyFailed(
                f"it does not let us through to {self.target} ({said})",
                f"Ask your network's administrator to allow CONNECT to {self.target}; most allow port 443 only.",
            )
        if status in (502, 503, 504):
            raise ProxyFailed(
                f"it cannot reach {self.target} ({said})",
                "Check the broker's address; if it is within your own network, name it in NO_PROXY.",
            )
        raise ProxyFailed(f"it did not let us through to {self.target} ({said})", f"{_CHECK}.")


def proxy_for(scheme: str, host: str, port: int, tls: Tls, environment: Mapping[str, str] = os.environ) -> Proxy | None:
    """Return the proxy through which a broker is to be reached, or None.

    Only encrypted connections (``tls``, ``wss``) go through one, and none to this computer itself.

    Parameters
    ----------
    scheme, host, port : str, str and int
        Of the broker's address.
    tls : Tls
        Whom to trust there: whose certificate is pinned is on this computer, at whichever address.
    environment : mapping of str to str
        Has HTTPS_PROXY and NO_PROXY; their names in small letters count first, as elsewhere.

    Raises
    ------
    NotConfigured
        When HTTPS_PROXY is no address of a proxy that can be used.
    """
    if scheme not in ("tls", "wss"):
        return None
    given = environment.get("https_proxy", environment.get("HTTPS_PROXY"))
    if not given or tls.pinned is not None or _is_near(host):
        return None
    without = environment.get("no_proxy", environment.get("NO_PROXY", ""))
    if any(_names(entry, host, port) for entry in re.split(r"[,\s]+", without) if entry):
        return None
    return _parsed(given, _target(host, port))


def _is_near(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    with suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return False


def _names(entry: str, host: str, port: int) -> bool:
    """Return whether an entry of NO_PROXY names a broker.

    Examples
    --------
    >>> [_names(entry, "hub.example.org", 443) for entry in ("*", ".example.org", "example.org", "ample.org", "hub.*")]
    [True, True, True, False, False]
    >>> [_names(entry, "10.1.2.3", 443) for entry in ("10.0.0.0/8", "10.1.2.3:443", "10.1.2.3:80", "10.1.2")]
    [True, True, False, False]
    """
    if entry == "*":
        return True
    with suppress(ValueError):
        return ipaddress.ip_address(host) in ipaddress.ip_network(entry, strict=False)
    name, colon, its_port = entry.rpartition(":")
    if colon and its_port.isascii() and its_port.isdigit():
        if int(its_port[:6]) != port:
            return False
        entry = name
    entry = entry.strip("[]").lstrip(".").removeprefix("*.").lower()
    host = host.lower().rstrip(".")
    if host == entry or not entry:
        return bool(entry)
    return host.endswith("." + entry) and not host.replace(".", "").isdigit()  # the end of a number means nothing


def _target(host: str, port: int) -> str:
    if not host.isascii():
        with suppress(UnicodeError):
            host = host.encode("idna").decode("ascii")
    if not _HOST.fullmatch(host):  # what else is in it could be read as further lines of the request
        raise NotConfigured(
            f"{printable(repr(host), 120)} is no name of a host, so no proxy is asked for it. Correct it."
        )
    return f"{_bracketed(host)}:{port}"


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _parsed(given: str, target: str) -> Proxy:
    # Nothing of what is given is shown: a password may be in it.
    try:
        parts = urlsplit(given if "://" in given else f"http://{given}")
        host, port = parts.hostname or "", 80 if parts.port is None else parts.port
    except ValueError:
        raise _unusable("it cannot be read as an address") from None
    if parts.path not in ("", "/") or parts.query or parts.fragment:  # its end may be that of a password
        raise _unusable("more than an address is there; / ? # in a name or password are written %2F %3F %23")
    if parts.scheme != "http":
        raise _unusable(f"{printable(repr(parts.scheme), 40)} proxies are not known here, only http ones")
    if not _HOST.fullmatch(host) or not port or not _may_be_looked_up(host):
        raise _unusable("it names no host and port")
    login = ""
    if parts.username or parts.password:
        login = _login(parts.username or "", parts.password or "")
    return Proxy(host, port, target, login)


def _login(name: str, password: str) -> str:
    try:  # bytes that are no UTF-8 are sent as they are
        pair = [unquote_to_bytes(each.encode(errors="surrogateescape")) for each in (name, password)]
    except UnicodeError:
        raise _unusable("its name or password is no text") from None
    return base64.b64encode(b":".join(pair)).decode("ascii")


def _may_be_looked_up(host: str) -> bool:
    try:
        return bool(host.encode("idna"))  # as the functions for it do
    except UnicodeError:
        return False


def _unusable(why: str) -> NotConfigured:
    return NotConfigured(
        f"HTTPS_PROXY does not name a proxy that can be used: {why}. It must look like http://HOST:PORT, or "
        "http://NAME:PASSWORD@HOST:PORT; NO_PROXY names the brokers that need none."
    )


class _Answer:
    """The header of a proxy's answer as it comes, byte by byte: what follows it is the broker's already."""

    def __init__(self) -> None:
        self._taken = bytearray()

    def ends_with(self, byte: bytes) -> bool:
        """Take a byte, and return whether the header ends with it."""
        if not byte:
            raise ProxyFailed(
                "it hung up in the middle of its answer" if self._taken else "it hung up without an answer",
                f"{_CHECK}.",
            )
        self._taken += byte
        if len(self._taken) > _MOST_ANSWERED_BYTES:
            raise ProxyFailed("its answer has no end, so it is no HTTP proxy", f"{_CHECK}.")
        if len(self._taken) == 5 and self._taken != b"HTTP/":
            raise ProxyFailed(
                f"what is there is no HTTP proxy (it begins with {printable(repr(bytes(self._taken)), 60)})",
                f"{_CHECK}.",
            )
        return self._taken.endswith((b"\r\n\r\n", b"\n\n"))

    def __bytes__(self) -> bytes:
        return bytes(self._taken)


def dial_through(proxy: Proxy, timeout_s: float) -> socket.socket:
    """Return a socket that ends at the broker, and waits no longer than `timeout_s` for anything.

    Raises
    ------
    ProxyFailed
        When the proxy cannot be reached or does not let us through.
    """
    try:
        stream = socket.create_connection((proxy.host, proxy.port), timeout=timeout_s)
    except (OSError, UnicodeError) as error:
        raise _not_reached(error) from error
    try:
        stream.sendall(proxy.request())
        answer, deadline = _Answer(), time.monotonic() + timeout_s
        while not answer.ends_with(stream.recv(1)):
            if time.monotonic() > deadline:
                raise TimeoutError
        proxy.check(bytes(answer))
    except BaseException as error:
        stream.close()
        if isinstance(error, ProxyFailed) or not isinstance(error, OSError):
            raise
        raise _not_answered(error) from error
    return stream


async def connect_through(proxy: Proxy) -> socket.socket:
    """Return a socket as `dial_through` does, for the running loop; whoever waits says how long.

    Raises
    ------
    ProxyFailed
        When the proxy cannot be reached or does not let us through.
    """
    loop = asyncio.get_running_loop()
    stream = await _connected(loop, proxy)
    try:
        await loop.sock_sendall(stream, proxy.request())
        answer = _Answer()
        while not answer.ends_with(await loop.sock_recv(stream, 1)):
            pass
        proxy.check(bytes(answer))
    except BaseException as error:
        stream.close()
        if isinstance(error, ProxyFailed) or not isinstance(error, OSError):
            raise
        raise _not_answered(error) from error
    return stream


async def _connected(loop: asyncio.AbstractEventLoop, proxy: Proxy) -> socket.socket:
    last: OSError = OSError("its name has no address")
    try:
        found = await loop.getaddrinfo(proxy.host, proxy.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise _not_reached(error) from error
    for family, kind, protocol, _, where in found:
        stream = socket.socket(family, kind, protocol)
        stream.setblocking(False)
        try:
            await loop.sock_connect(stream, where)
        except OSError as error:
            stream.close()
            last = error
        except BaseException:
            stream.close()
            raise
        else:
            return stream
    raise _not_reached(last) from last


def _not_reached(error: OSError | UnicodeError) -> ProxyFailed:
    if isinstance(error, ConnectionRefusedError):
        why = "nothing listens there"
    elif isinstance(error, TimeoutError):
        why = "no answer in time"
    elif isinstance(error, socket.gaierror | UnicodeError):
        why = "its name is not known"
    else:
        why = printable(error, 200)
    return ProxyFailed(f"it cannot be reached: {why}", f"{_CHECK}; without a proxy in your network, unset it.")


def _not_answered(error: OSError) -> ProxyFailed:
    why = "it does not answer" if isinstance(error, TimeoutError) else f"it hung up ({printable(error, 200)})"
    return ProxyFailed(why, f"{_CHECK}.")
