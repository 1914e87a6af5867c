"""Signed statements: what somebody said, with the proof that the holder of a key said it.

The text is ``base64url(JSON).base64url(Ed25519 signature)``. The JSON says what kind of statement it is and which key
signed it, so that no statement can be taken for one of another kind.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from typing import Any

from ..errors import NotConfigured, PermissionDenied, printable
from .nkey import KeyPair, verify_signature

__all__ = ["LONGEST_STATEMENT", "read_statement", "sign_statement"]

LONGEST_STATEMENT = 8192
"""Longest statement that is read, in characters."""


def sign_statement(kind: str, said: Mapping[str, Any], key: KeyPair) -> str:
    """Return `said`, which JSON must be able to hold, as a statement of the holder of `key`.

    Examples
    --------
    >>> from landbridge.security import new_key
    >>> key = new_key("account", bytes(32))
    >>> read_statement("module", sign_statement("module", {"module": "geomar/ocean"}, key))["module"]
    'geomar/ocean'
    """
    whole = {**said, "kind": kind, "by": key.public}
    text = json.dumps(whole, separators=(",", ":"), sort_keys=True, allow_nan=False).encode()
    return f"{_text(text)}.{_text(key.sign(text))}"


def read_statement(kind: str, text: str, *, by: str | None = None) -> dict[str, Any]:
    """Return what a statement says, and in ``by`` the public key of who said it.

    Parameters
    ----------
    kind : str
        The kind of statement that it must be.
    text : str
        As it came, from anybody.
    by : str, optional
        Whose it must be; by default anybody's.

    Raises
    ------
    PermissionDenied
        When it is no such statement, or the signature is not that of the key that it names.
    """
    try:
        if not isinstance(text, str) or len(text) > LONGEST_STATEMENT:
            raise ValueError
        signed, _, signature = text.partition(".")
        content = _bytes(signed)
        said = json.loads(content)
        if not isinstance(said, dict) or said.get("kind") != kind or not isinstance(said.get("by"), str):
            raise ValueError
        if (by is not None and said["by"] != by) or not verify_signature(said["by"], content, _bytes(signature)):
            raise ValueError
    except (ValueError, RecursionError, binascii.Error, NotConfigured):
        whose = f"by {by[:12]}…" if by is not None else "by the key that it names"
        raise PermissionDenied(
            f"A statement was refused: it is none of kind {printable(kind, 20)!r} signed {whose}. It was changed on "
            "the way, or somebody else made it. Have a new one made."
        ) from None
    return said


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode("ascii").rstrip("=")


def _bytes(text: str) -> bytes:
    return base64.b64decode(text.encode("ascii") + b"=" * (-len(text) % 4), altchars=b"-_", validate=True)
