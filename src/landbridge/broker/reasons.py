"""Why a connection did not come about or ended, said so that one knows what to do; never with a secret in it."""

from __future__ import annotations

import socket
import ssl
import time
from typing import NamedTuple
from urllib.parse import urlsplit

from ..errors import LandbridgeError, NotConfigured, printable
from ..tls import Tls
from .channel import PORTS
from .events import expiry_of, refuses_credentials
from .proxy import ProxyFailed, proxy_for

__all__ = ["Cause", "shown", "tls_cause", "unreadable", "why_closed", "why_not_open"]

_NOT_TRUSTED = frozenset({2, 18, 19, 20, 21, 27})
_NOT_YET, _EXPIRED, _OTHER_NAME = 9, 10, frozenset({62, 64})
"""Numbers of OpenSSL (x509_vfy.h) for what is wrong with a certificate."""

_NO_TLS = ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "HTTP_REQUEST", "HTTPS_PROXY_REQUEST", "UNKNOWN_PROTOCOL",
           "PACKET_LENGTH_TOO_LONG", "UNEXPECTED_MESSAGE")  # fmt: skip
_DEMANDS = ("CERTIFICATE_REQUIRED", "HANDSHAKE_FAILURE", "BAD_CERTIFICATE")
_REFUSES = ("BAD_CERTIFICATE", "UNKNOWN_CA", "CERTIFICATE_EXPIRED", "CERTIFICATE_REVOKED", "CERTIFICATE_UNKNOWN",
            "UNSUPPORTED_CERTIFICATE", "ACCESS_DENIED", "HANDSHAKE_FAILURE", "DECRYPT_ERROR")  # fmt: skip


class Cause(NamedTuple):
    """Why an encrypted connection did not come about: at which hop, what happened there, what to do."""

    hop: str
    text: str
    advice: str


def tls_cause(error: ssl.SSLError, host: str, tls: Tls) -> Cause:
    """Return what `error` means, which came while we encrypted a connection to `host`, or right after it."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return _certificate_cause(error, host, tls)
    reason = error.reason or ""
    if "ALERT" in reason and tls.certificate is None and reason.endswith(_DEMANDS):
        seems = ", it seems" if reason.endswith("HANDSHAKE_FAILURE") else ""  # TLS 1.2 has no alert of its own for this
        return Cause(
            "client certificate", f"the broker demands a certificate of ours{seems}, and none is configured ({reason})",
            "Ask whoever runs the broker for one, and name it: certificate and key in the profile, or "
            "LANDBRIDGE_CERTIFICATE and LANDBRIDGE_KEY.",
        )  # fmt: skip
    if "ALERT" in reason and tls.certificate is not None and reason.endswith(_REFUSES):
        return Cause(
            "client certificate", f"the broker does not accept our certificate in {tls.certificate} ({reason})",
            "It may have expired, or be of another authority than the broker asks for: ask whoever runs it for a new "
            "one.",
        )  # fmt: skip
    if reason in _NO_TLS:
        return Cause(
            "tls", f"what is there does not begin with encryption ({reason})",
            "Check port and address: wss:// is for the port of websockets, tls:// for the other one. If the broker is "
            "not encrypted at all, they are ws:// and nats://, and whoever is on the way can read along.",
        )  # fmt: skip
    return Cause("tls", printable(reason or error, 200), "Ask whoever runs the broker what its log says.")


def _certificate_cause(error: ssl.SSLCertVerificationError, host: str, tls: Tls) -> Cause:
    number, said = error.verify_code, printable(error.verify_message, 200)
    if number in _NOT_TRUSTED and tls.pinned is not None:
        return Cause(
            "tls", f"its certificate is not that of the broker of this computer ({said})",
            "Another program may have taken its port: end landbridge up and start it again.",
        )  # fmt: skip
    if number in _NOT_TRUSTED:
        return Cause(
            "tls", f"its certificate is of an authority that is not trusted here ({said})",
            "If it is your institute's own, name the file of its certificate: ca in the profile, or LANDBRIDGE_CA. "
            "Else somebody on the way may pose as the broker.",
        )  # fmt: skip
    if number in _OTHER_NAME:
        return Cause(
            "tls", f"its certificate is for another name than {printable(host, 200)} ({said})",
            "Use the address that is in the certificate, or have whoever runs the broker get one for this name.",
        )  # fmt: skip
    if number in (_EXPIRED, _NOT_YET):
        return Cause(
            "tls", f"its certificate {'has expired' if number == _EXPIRED else 'is not valid yet'} ({said})",
            "Whoever runs the broker must renew it; or the clock of this computer is wrong.",
        )  # fmt: skip
    return Cause("tls", f"its certificate is not accepted ({said})", "Whoever runs the broker must renew it.")


def why_closed(reason: str, user_jwt: str) -> str:
    """Return what to tell of a connection that ended for `reason` while `user_jwt` was in use."""
    said = printable(reason.removeprefix("nats: ").strip("'"), 200)
    expiry = expiry_of(user_jwt)
    if "expired" in reason.lower() or (expiry is not None and expiry <= time.time()):
        when = f" at {time.strftime('%Y-%m-%d %H:%M:%S', time.gmtime(expiry))} UTC" if expiry else ""
        return f"The credentials expired{when} and were not renewed. Get new ones: landbridge join"
    if refuses_credentials(reason):
        return (
            f"The broker refuses the credentials ({said}): they were revoked, or are not of this network. "
            "Ask whoever runs it for new ones: landbridge join"
        )
    return (
        f"The broker ended the connection ({said}), again after each reconnect. "
        "Ask whoever runs it what it refuses, then connect again."
    )


def unreadable(error: Exception) -> NotConfigured:
    """Return the error for credentials that cannot be had."""
    # Only of errors of files the text is known to hold no secret.
    why = printable(error, 200) if isinstance(error, OSError) else type(error).__name__
    return NotConfigured(f"The credentials could not be read or used: {why}. Get new ones: landbridge join")


def shown(url: str) -> str:
    """Return `url` without a password that may be in it."""
    head, _, host = url.rpartition("@")
    return printable(f"{head.partition('//')[0]}//{host}" if head else url, 200)


def why_not_open(error: Exception, url: str, timeout_s: float, tls: Tls) -> str:
    """Return why no connection to `url` came about, as the end of a sentence."""
    proxy = _proxy(url, tls)
    if isinstance(error, ProxyFailed):
        return f"the proxy {proxy} (HTTPS_PROXY): {error.text}. {error.advice.rstrip('.')}"
    through = f" through the proxy {proxy} (HTTPS_PROXY)" if proxy else ""
    return _why(error, url, timeout_s, tls, through)


def _why(error: Exception, url: str, timeout_s: float, tls: Tls, through: str) -> str:
    if isinstance(error, ConnectionRefusedError):
        return "nothing listens there"
    if isinstance(error, socket.gaierror):
        return f"the host name {urlsplit(url).hostname!r} is not known"
    if isinstance(error.__cause__, ssl.SSLError):  # of a channel that was lost
        error = error.__cause__
    if isinstance(error, ssl.SSLError):
        cause = tls_cause(error, urlsplit(url).hostname or "", tls)
        return f"no secure connection{through}: {cause.text}. {cause.advice.rstrip('.')}"
    if isinstance(error, TimeoutError):
        return f"no answer{through} within {timeout_s:g} s"
    said = printable(str(error).removeprefix("nats: ").strip("'"), 200) or type(error).__name__
    return f"it refuses the credentials ({said})" if refuses_credentials(said) else said + through


def _proxy(url: str, tls: Tls) -> str:
    """Return where the proxy is through which `url` is reached; empty without one."""
    try:
        parts = urlsplit(url)
        proxy = proxy_for(parts.scheme, parts.hostname or "", parts.port or PORTS.get(parts.scheme, 0), tls)
    except (ValueError, LandbridgeError):
        return ""
    return str(proxy) if proxy is not None else ""
