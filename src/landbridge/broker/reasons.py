"""Why a connection did not come about or ended, said so that one knows what to do; never with a secret in it."""

from __future__ import annotations

import socket
import ssl
import time
from urllib.parse import urlsplit

from ..errors import NotConfigured, printable
from .events import expiry_of, refuses_credentials

__all__ = ["shown", "unreadable", "why_closed", "why_not_open"]


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


def why_not_open(error: Exception, url: str, timeout_s: float) -> str:
    """Return why no connection to `url` came about, as the end of a sentence."""
    if isinstance(error, ConnectionRefusedError):
        return "nothing listens there"
    if isinstance(error, socket.gaierror):
        return f"the host name {urlsplit(url).hostname!r} is not known"
    if isinstance(error, ssl.SSLError):
        return f"no secure connection: {printable(error.reason or error, 200)}"
    if isinstance(error, TimeoutError):
        return f"no answer within {timeout_s:g} s"
    said = printable(str(error).removeprefix("nats: ").strip("'"), 200) or type(error).__name__
    return f"it refuses the credentials ({said})" if refuses_credentials(said) else said
