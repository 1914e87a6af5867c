"""A person's credential: the token that says who it is, and the seed that proves it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from ..errors import LandbridgeError, Malformed, NotConfigured, TooLarge
from .claims import decode_jwt
from .identity import Caller
from .nkey import KeyPair

__all__ = ["MAX_CREDENTIALS_BYTES", "Credentials"]

MAX_CREDENTIALS_BYTES = 64 << 10
"""Longest credential file that is read; the server refuses a token over 4 KB anyway."""

_FORMAT = """-----BEGIN NATS USER JWT-----
{jwt}
------END NATS USER JWT------

************************* IMPORTANT *************************
NKEY Seed printed below can be used to sign and prove identity.
NKEYs are sensitive and should be treated as secrets.

-----BEGIN USER NKEY SEED-----
{seed}
------END USER NKEY SEED------

*************************************************************
"""
_BLOCK = re.compile(r"-{3,}BEGIN ([A-Z ]{1,40})-{3,}\s+([A-Za-z0-9._-]+)\s+-{3,}END \1-{3,}")


@dataclass(frozen=True, slots=True, repr=False)
class Credentials:
    """What one needs to connect to a broker as somebody.

    The repr shows who it is for, never the token or the seed.

    Attributes
    ----------
    jwt : str
        The user's token.
    seed : str
        The user's secret key.
    """

    jwt: str
    seed: str

    def __post_init__(self) -> None:
        claims = _read(self.jwt)
        if KeyPair.from_seed(self.seed).public != claims["sub"]:
            raise _unusable("its token and its secret key do not belong together")

    def __repr__(self) -> str:
        """Return who the credential is for."""
        return f"<Credentials of {self.institute or '?'}/{self.name}>"

    def sign(self, nonce: bytes) -> bytes:
        """Return the raw signature, 64 bytes, that proves to a server that the seed is here."""
        return KeyPair.from_seed(self.seed).sign(nonce)

    def format(self) -> str:
        """Return the text of a standard ``.creds`` file, which every NATS client reads."""
        return _FORMAT.format(jwt=self.jwt, seed=self.seed)

    @classmethod
    def parse(cls, text: str) -> Credentials:
        """Return the credential in the text of a ``.creds`` file.

        Raises
        ------
        NotConfigured
            When it holds none. The text of the error shows neither token nor seed.
        """
        if len(text) > MAX_CREDENTIALS_BYTES:
            raise _unusable(f"it is longer than {MAX_CREDENTIALS_BYTES:,} characters")
        blocks = dict(_BLOCK.findall(text))
        if "NATS USER JWT" not in blocks or "USER NKEY SEED" not in blocks:
            raise _unusable("it does not hold a token (NATS USER JWT) and a secret key (USER NKEY SEED)")
        return cls(blocks["NATS USER JWT"], blocks["USER NKEY SEED"])

    @property
    def name(self) -> str:
        """Name of the person, or of the operator's own user."""
        return str(_read(self.jwt)["name"])

    @property
    def expires(self) -> int | None:
        """When a server stops accepting it, in seconds since 1970 UTC; None if never."""
        found = _read(self.jwt).get("exp")
        return int(found) if found else None

    @property
    def tags(self) -> tuple[str, ...]:
        """Tags of the token, as ``institute:awi`` or ``module:ocean``."""
        return tuple(str(tag) for tag in _read(self.jwt)["nats"].get("tags", ()))

    @property
    def institute(self) -> str | None:
        """Institute that issued it; None for the operator's own users. For addressing, not for deciding anything."""
        return next(iter(self._tagged("institute")), None)

    @property
    def network(self) -> str:
        """The network it is for: public key of its account of calls; empty for the operator's own users."""
        return str(_read(self.jwt)["nats"].get("issuer_account", ""))

    @property
    def issued(self) -> int | None:
        """When it was issued, in seconds since 1970 UTC; None if it does not say."""
        found = _read(self.jwt).get("iat")
        return found if isinstance(found, int) else None

    @property
    def modules(self) -> tuple[str, ...]:
        """Names of the modules it may serve."""
        return self._tagged("module")

    @property
    def caller(self) -> Caller:
        """Who one is for others when connected with it.

        Raises
        ------
        NotConfigured
            When it is not a person's.
        """
        if self.institute is None:
            raise _unusable("it names no institute, so it is not a person's")
        return Caller(self.institute, self.name)

    def _tagged(self, key: str) -> tuple[str, ...]:
        return tuple(tag.partition(":")[2] for tag in self.tags if tag.startswith(f"{key}:"))


def _read(jwt: str) -> dict[str, Any]:
    """Return a user's claims with the shapes that this module relies on."""
    try:
        claims = decode_jwt(jwt)
    except (Malformed, TooLarge):
        raise _unusable("its token is not one of NATS") from None
    nats = claims.get("nats")
    expires = claims.get("exp", 0)
    shapes = (
        isinstance(nats, dict) and nats.get("type") == "user" and isinstance(nats.get("tags", []), list),
        isinstance(claims.get("name"), str) and isinstance(claims.get("sub"), str),
        isinstance(expires, int) and not isinstance(expires, bool),
    )
    if not all(shapes):
        raise _unusable("its token is not that of a user")
    return claims


def _unusable(why: str) -> LandbridgeError:
    return NotConfigured(
        f"The credential cannot be used: {why}. Restore the file, or have a new one issued by your institute."
    )
