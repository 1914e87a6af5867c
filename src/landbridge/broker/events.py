"""What a connection tells about itself, and what the broker's refusals mean."""

from __future__ import annotations

import base64
import json
import re
from dataclasses import dataclass
from typing import Literal

__all__ = ["Closed", "Denied", "Disconnected", "Event", "Reconnected", "denied_by", "expiry_of", "refuses_credentials"]


@dataclass(frozen=True, slots=True)
class Disconnected:
    """The broker is not there; the connection is looking for it. What was under way may be lost."""

    reason: str


@dataclass(frozen=True, slots=True)
class Reconnected:
    """The broker is there again, with every subscription. What it said in between was not received."""

    server_id: str


@dataclass(frozen=True, slots=True)
class Closed:
    """The connection has ended for good, and not because this side closed it; `reason` says what to do."""

    reason: str


@dataclass(frozen=True, slots=True)
class Denied:
    """The broker refused one publish or subscription; the connection goes on."""

    action: Literal["publish", "subscribe"]
    subject: str


Event = Disconnected | Reconnected | Closed | Denied

_DENIED = re.compile(r'permissions violation for (publish|subscription) to "([!#-~]*)"', re.IGNORECASE)
_REFUSALS = ("authorization violation", "authentication expired", "authentication revoked", "user authentication")


def denied_by(text: str) -> Denied | None:
    r"""Return what a permission error of the broker refuses, or None if `text` is another error.

    Examples
    --------
    >>> denied_by("Permissions Violation for Publish to \"lb.call.SST\"")
    Denied(action='publish', subject='lb.call.SST')
    """
    match = _DENIED.search(text)
    if not match:
        return None
    return Denied("publish" if match.group(1).lower() == "publish" else "subscribe", match.group(2))


def refuses_credentials(text: str) -> bool:
    """Return whether an error of the broker means that it does not accept who we are (any more).

    Examples
    --------
    >>> refuses_credentials("'User Authentication Expired'"), refuses_credentials("'Authentication Timeout'")
    (True, False)
    """
    lowered = text.lower()
    return any(refusal in lowered for refusal in _REFUSALS)


def expiry_of(user_jwt: str) -> float | None:
    """Return when credentials expire, in seconds since 1970, or None when they do not say (nothing is verified)."""
    try:
        body = user_jwt.split(".")[1]
        expiry = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4))).get("exp")
    except (IndexError, ValueError, AttributeError, RecursionError):
        return None
    # What lies beyond the year 30,000 is no date, and could not be shown as one.
    return float(expiry) if isinstance(expiry, int | float) and 0 < expiry < 2**40 else None
