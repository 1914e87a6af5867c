"""Grants: an owner's signed leave for an institute to have a value that the owner keeps for somebody else.

A caller passes a reference to a method at a third institute; the backend there fetches the value itself, and shows the
grant that its owner gave the caller for it. The text is ``base64url(JSON).base64url(Ed25519 signature)``, signed by the
module's own key, and good for one value, one institute and some minutes. Nobody but its owner has to understand it.
"""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import asdict, dataclass

from ..errors import PermissionDenied
from .nkey import KeyPair, verify_signature

__all__ = ["Grant", "read_grant", "sign_grant"]

_LONGEST = 2048


@dataclass(frozen=True, slots=True)
class Grant:
    """What a grant says.

    Attributes
    ----------
    module : str
        ``institute/module`` that keeps the value.
    value_id : str
        The value.
    institute : str
        Whose backends may have it.
    until : int
        When it ends, in seconds since 1970 UTC.
    """

    module: str
    value_id: str
    institute: str
    until: int


def sign_grant(grant: Grant, key: KeyPair) -> str:
    """Return the grant as the text that travels.

    Examples
    --------
    >>> from landbridge.security import new_key
    >>> key = new_key("user", bytes(32))
    >>> grant = Grant("geomar/ocean", "0" * 32, "awi", 1_800_000_000)
    >>> read_grant(sign_grant(grant, key), key.public, now=1_700_000_000) == grant
    True
    """
    said = json.dumps(asdict(grant), separators=(",", ":"), sort_keys=True).encode()
    return f"{_text(said)}.{_text(key.sign(said))}"


def read_grant(text: str, public: str, *, now: float) -> Grant:
    """Return what a grant says that we gave.

    Parameters
    ----------
    text : str
        As it was shown to us, by anybody.
    public : str
        The public half of the key that signed it.
    now : float
        In seconds since 1970 UTC.

    Raises
    ------
    PermissionDenied
        When we did not sign it, or it has ended.
    """
    said, _, signature = text.partition(".")
    try:
        signed = _bytes(said)
        if len(text) > _LONGEST or not verify_signature(public, signed, _bytes(signature)):
            raise ValueError
        grant = Grant(**json.loads(signed))
    except (ValueError, TypeError, binascii.Error):
        raise PermissionDenied(
            "The grant that was shown for a reference is not one of its owner's. Pass the reference itself to the "
            "method; its grant is asked for on the way."
        ) from None
    if now >= grant.until:
        raise PermissionDenied(
            f"The grant for a reference of {grant.module} ended {now - grant.until:.0f} s ago. Call again: the "
            "reference is given a new one."
        )
    return grant


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode("ascii").rstrip("=")


def _bytes(text: str) -> bytes:
    return base64.b64decode(text.encode("ascii") + b"=" * (-len(text) % 4), altchars=b"-_", validate=True)
