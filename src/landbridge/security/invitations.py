"""Invitations: one text that lets whoever has it join, once, as an institute or as a person of one.

The text is ``landbridge-invitation.`` and base64url(JSON). It is a secret until it has been used: inside is a
credential that can ask the issuer of the network (or of the institute) to be let in, and nothing else.
"""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass, field
from typing import Any

from ..errors import LandbridgeError, NotConfigured, printable
from ..names import check_institute, check_invited, check_person
from .claims import decode_jwt
from .credentials import Credentials
from .nkey import kind_of

__all__ = ["LONGEST_INVITATION", "Invitation", "is_invitation"]

LONGEST_INVITATION = 32 * 1024
"""Longest invitation that is read, in characters."""

_PREFIX = "landbridge-invitation."
_MOST_URLS = 20


@dataclass(frozen=True, slots=True)
class Invitation:
    """What an invitation says.

    Attributes
    ----------
    network : str
        Public key of the network's account of calls.
    network_name : str
        What its operator calls it; for people to read.
    urls : tuple of str
        Where its brokers are.
    institute : str
        The institute that is to join, or that the person is to join.
    person : str or None
        The person's name; None when an institute is invited.
    credentials : Credentials
        With which one can ask to be let in.
    root : str or None
        Public half of the root key of the institute that a person is to join, by which to know it.
    ca : str or None
        Certificates (PEM) by which the brokers are known, when not by those of the system.
    """

    network: str
    network_name: str
    urls: tuple[str, ...]
    institute: str
    person: str | None
    credentials: Credentials = field(repr=False)
    root: str | None = None
    ca: str | None = None

    @property
    def id(self) -> str:
        """Who one is in the network with it, and with nothing else: ``_I`` and 32 hexadecimal digits."""
        return self.credentials.name

    @property
    def issuer(self) -> str:
        """The institute whose issuer lets in whoever has it."""
        return self.credentials.caller.institute

    def format(self) -> str:
        """Return the text to be given to whoever is invited, and to nobody else."""
        said: dict[str, Any] = {
            "network": self.network,
            "name": self.network_name,
            "urls": list(self.urls),
            "institute": self.institute,
            "jwt": self.credentials.jwt,
            "seed": self.credentials.seed,
        }
        said |= {
            key: value
            for key, value in (("person", self.person), ("root", self.root), ("ca", self.ca))
            if value is not None
        }
        content = json.dumps(said, separators=(",", ":"), sort_keys=True).encode()
        return _PREFIX + base64.urlsafe_b64encode(content).decode("ascii").rstrip("=")

    @classmethod
    def parse(cls, text: str) -> Invitation:
        """Return what an invitation says; spaces and line breaks in it do not matter.

        Raises
        ------
        NotConfigured
            When it is none. The text of the error shows nothing of it.
        """
        if len(text) > LONGEST_INVITATION:
            raise _unusable(f"it is longer than {LONGEST_INVITATION:,} characters")
        whole = "".join(text.split())
        if not whole.startswith(_PREFIX):
            raise _unusable(f"it does not begin with {_PREFIX}")
        try:
            content = whole.removeprefix(_PREFIX)
            said = json.loads(base64.b64decode(content + "=" * (-len(content) % 4), altchars=b"-_", validate=True))
            return cls._from_json(said)
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError, binascii.Error, LandbridgeError):
            # Without a cause: what json shows of it could be its key.
            raise _unusable("it was cut or changed") from None

    @classmethod
    def _from_json(cls, said: dict[str, Any]) -> Invitation:
        urls, person, name = said["urls"], said.get("person"), said["name"]
        root, ca = said.get("root"), said.get("ca")
        credentials = Credentials(said["jwt"], said["seed"])
        check_invited(credentials.name)
        network = said["network"]
        if kind_of(network) != "account" or decode_jwt(credentials.jwt)["nats"].get("issuer_account") != network:
            raise ValueError
        if not isinstance(urls, list) or not 0 < len(urls) <= _MOST_URLS or not all(type(url) is str for url in urls):
            raise ValueError
        if not isinstance(name, str) or not (ca is None or isinstance(ca, str)):
            raise ValueError
        institute = check_institute(said["institute"])
        issuer = credentials.caller.institute
        if person is not None and (check_person(person, reserved=False) != person or issuer != institute):
            raise ValueError
        if (root is None) != (person is None) or (root is not None and kind_of(root) != "account"):
            raise ValueError
        return cls(network, printable(name, 100), tuple(urls), institute, person, credentials, root, ca)


def is_invitation(text: str) -> bool:
    """Whether there is an invitation in a text, or what was one.

    Examples
    --------
    >>> is_invitation("landbridge-invitation.eyJ"), is_invitation("gfz.invitation")
    (True, False)
    """
    return _PREFIX in text


def _unusable(why: str) -> NotConfigured:
    return NotConfigured(
        f"The invitation cannot be used: {why}. Copy the whole of it, from its first to its last letter; or ask for a "
        "new one."
    )
