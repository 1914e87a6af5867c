"""Grants: an owner's signed leave for an institute to have a value that the owner keeps for somebody else.

A caller passes a reference to a method at a third institute; the backend there fetches the value itself, and shows the
grant that its owner gave the caller for it. It is a statement signed by the module's own key, good for one value, one
institute and some minutes; and for the one caller who was given it, which the backend there sees to: otherwise, whoever
gets hold of a grant could have any method there that gives back what it is given give back the value.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

from ..errors import PermissionDenied
from .nkey import KeyPair
from .statements import read_statement, sign_statement

__all__ = ["Grant", "granted_to", "read_grant", "sign_grant"]


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
    caller : str
        Who passes the value on to them, as ``institute/person``.
    """

    module: str
    value_id: str
    institute: str
    until: int
    caller: str


def sign_grant(grant: Grant, key: KeyPair) -> str:
    """Return the grant as the text that travels.

    Examples
    --------
    >>> from landbridge.security import new_key
    >>> key = new_key("user", bytes(32))
    >>> grant = Grant("geomar/ocean", "0" * 32, "awi", 1_800_000_000, "gfz/anna")
    >>> read_grant(sign_grant(grant, key), key.public, now=1_700_000_000) == grant
    True
    """
    return sign_statement("grant", asdict(grant), key)


def granted_to(text: str) -> str:
    """Return who may pass a value on with a grant; that its owner has given it, the owner will see.

    Raises
    ------
    PermissionDenied
        When it is no grant.
    """
    return str(read_statement("grant", text).get("caller", ""))


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
    try:
        said = read_statement("grant", text, by=public)
        grant = Grant(said["module"], said["value_id"], said["institute"], said["until"], said["caller"])
    except (PermissionDenied, KeyError):
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
