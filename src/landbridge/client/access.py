"""What it takes to enter a network: where it is and who one is there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from ..tls import Tls

__all__ = ["Access"]


@dataclass(frozen=True)
class Access:
    """Where a network is and who one is there.

    Attributes
    ----------
    urls : tuple of str
        Addresses of its brokers.
    institute, person : str
        Who one is; the broker holds one to it.
    user_jwt : callable
        Gives the credential's token, read anew at each connection.
    sign : callable
        Signs the broker's challenge with the credential's key.
    network : str
        Which network it is: the public key of its account of calls; empty where nobody knows.
    profile : str, optional
        What was asked for, so that another process can ask for the same.
    urls_now : callable, optional
        Tells before each reconnect where the broker is now, if that may change.
    tls : Tls
        Whom to trust where the connection is encrypted, and what to show there.
    """

    urls: tuple[str, ...]
    institute: str
    person: str
    user_jwt: Callable[[], str] = field(repr=False)
    sign: Callable[[bytes], bytes] = field(repr=False)
    network: str = ""
    profile: str | None = None
    urls_now: Callable[[], tuple[str, ...]] | None = field(default=None, repr=False)
    tls: Tls = field(default_factory=Tls)
