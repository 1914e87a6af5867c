"""The institutes that have joined networks from this computer: their keys, and who belongs to them.

::

    $XDG_STATE_HOME/landbridge/institutes/PROFILE/keys.json       root key, and the keys that sign its people
                                                  members.json    who belongs to it

Whoever has these files is the institute. Each institute has the profile of whoever runs it on this computer.
"""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..errors import NotConfigured
from ..names import check_institute
from ..security import (
    ROLES,
    Charter,
    Credentials,
    KeyPair,
    Role,
    member_proof,
    new_key,
    read_charter,
    sign_charter,
    user_jwt,
)
from ..settings import private_read, private_write, state_dir
from .locks import alone_with
from .members import Members, may_serve

__all__ = ["DAY_S", "INSTITUTE_FILE", "WORK_LIFETIME_S", "Institute", "institute_of", "institutes_here"]

DAY_S = 24 * 3600

WORK_LIFETIME_S = 7 * DAY_S
"""How long a member's credential is valid, in seconds; it is renewed daily, so an issuer may be away for six days."""

INSTITUTE_FILE = "keys.json"
_LIMIT_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Institute:
    """An institute that this computer can act for.

    Attributes
    ----------
    profile : str
        The profile of whoever runs it here.
    network : str
        Public key of the network's account of calls.
    name : str
        Its name.
    root : KeyPair
        Its root key, which callers know it by.
    keys : mapping of str to KeyPair
        By role, the keys that sign its people.
    at : int
        When these were made, in seconds since 1970 UTC.
    """

    profile: str
    network: str
    name: str
    root: KeyPair
    keys: Mapping[Role, KeyPair]
    at: int

    @classmethod
    def create(cls, profile: str, network: str, name: str, random: Callable[[int], bytes], *, now: int) -> Institute:
        """Return an institute with new keys; `random` is as `secrets.token_bytes`."""
        root = new_key("account", random(32))
        return cls(profile, network, check_institute(name), root, _new_keys(random), now)

    def rotated(self, random: Callable[[int], bytes], *, now: int) -> Institute:
        """Return it with other keys to sign its people; the root key stays."""
        return replace(self, keys=_new_keys(random), at=max(now, self.at + 1))

    def as_of(self, at: int) -> Institute:
        """Return it with the same keys, as if they had been made at another time: for a later charter of them."""
        return replace(self, at=at)

    def charter_text(self, *, replaced_until: int = 0) -> str:
        """Return its charter, signed; `replaced_until` says how long keys that it had before are good, too."""
        publics: dict[Role, str] = {role: pair.public for role, pair in self.keys.items()}
        return sign_charter(self.network, self.name, publics, self.root, at=self.at, replaced_until=replaced_until)

    @property
    def charter(self) -> Charter:
        """What its charter says."""
        return read_charter(self.charter_text())

    @property
    def folder(self) -> Path:
        """Where its keys and its register are."""
        return _folder(self.profile)

    def save(self, file: str = INSTITUTE_FILE) -> None:
        """Keep the keys: whole or not at all, readable by the owner only."""
        content: dict[str, Any] = {"version": 1, "network": self.network, "institute": self.name, "at": self.at}
        content |= {"root": self.root.seed, "keys": {role: pair.seed for role, pair in self.keys.items()}}
        private_write(self.folder / file, json.dumps(content, indent=1) + "\n")

    # Signing

    def credential(
        self, public: str, person: str, modules: Sequence[str], *, until: int, now: int, role: Role = "serve"
    ) -> str:
        """Return the token of one of its people, for the key `public`, valid until `until` at most."""
        return user_jwt(
            public, self.keys[role],
            issuer_account=self.network, institute=self.name, person=person, modules=modules, now=now, expires=until,
        )  # fmt: skip

    def own_credentials(self, person: str, modules: Sequence[str], *, now: int) -> Credentials:
        """Return a credential with a new key for one of its own services, which nobody else is told of."""
        user = new_key("user", secrets.token_bytes(32))
        token = self.credential(user.public, person, modules, until=now + WORK_LIFETIME_S, now=now)
        return Credentials(token, user.seed)

    def proof(self, person: str, key: KeyPair) -> str:
        """Return the statement by which a member says that `key` is theirs."""
        return member_proof(self.network, self.name, person, key)

    def member_tokens(self, public: str, members: Members, *, now: int) -> tuple[str, str]:
        """Return what a member is given: the token to work with, and the one to have it renewed with."""
        member = members.members[public]
        work = self.credential(
            public, member.person, may_serve(member.person, member.modules),
            until=min(now + WORK_LIFETIME_S, member.until), now=now,
        )  # fmt: skip
        return work, self.credential(public, member.person, (), until=member.until, now=now, role="enrol")

    # Who belongs to it

    def members(self) -> Members:
        """Return who belongs to it now.

        Raises
        ------
        NotConfigured
            When the register was damaged.
        """
        path = self.folder / "members.json"
        if not path.exists():
            return Members()
        try:
            return Members.from_json(private_read(path, limit_bytes=_LIMIT_BYTES).decode("utf-8", "replace"))
        except ValueError:
            raise NotConfigured(
                f"The register of {self.name}'s members cannot be used: {path} is damaged. Restore it from a backup."
            ) from None

    async def change_members(self, changed: Callable[[Members], Members]) -> Members:
        """Change the register; other processes and tasks wait meanwhile. What `changed` raises is raised here.

        Raises
        ------
        NotConfigured
            When somebody else has been changing it for 20 s.
        """
        file = self.folder / "members.json"
        async with alone_with(file):
            before = self.members()
            after = changed(before)
            if after is not before:
                await asyncio.to_thread(private_write, file, after.to_json())
            return after


def institute_of(profile: str, file: str = INSTITUTE_FILE) -> Institute | None:
    """Return the institute that whoever has this profile can act for; None when it is that of a person only.

    Parameters
    ----------
    profile : str
        Name of the profile.
    file : str
        Where in its folder the keys are.

    Raises
    ------
    NotConfigured
        When its keys were damaged or are open to others. The text shows no key.
    """
    path = _folder(profile) / file
    if not path.exists():
        return None
    raw = private_read(path)
    try:
        found = json.loads(raw)
        keys: dict[Role, KeyPair] = {role: _pair(found["keys"][role]) for role in ROLES}
        if found["version"] != 1:
            raise ValueError
        return Institute(
            profile, str(found["network"]), check_institute(found["institute"]), _pair(found["root"]), keys,
            int(found["at"]),
        )  # fmt: skip
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError, NotConfigured):
        # Without a cause: what json shows of a broken file could be a key.
        raise NotConfigured(
            f"The keys of an institute cannot be used: {path} is damaged or of another version. Restore it from a "
            "backup; or ask whoever runs the network for a new invitation: landbridge invite institute NAME --replace"
        ) from None


def institutes_here() -> list[str]:
    """Return the profiles with which this computer can act for an institute."""
    folder = state_dir() / "institutes"
    return sorted(path.parent.name for path in folder.glob(f"*/{INSTITUTE_FILE}")) if folder.is_dir() else []


def _folder(profile: str) -> Path:
    return state_dir() / "institutes" / profile


def _new_keys(random: Callable[[int], bytes]) -> dict[Role, KeyPair]:
    return {role: new_key("account", random(32)) for role in ROLES}


def _pair(seed: object) -> KeyPair:
    if not isinstance(seed, str):
        raise TypeError("a seed is text")
    pair = KeyPair.from_seed(seed)
    if pair.kind != "account":
        raise ValueError("a key of another kind")
    return pair
