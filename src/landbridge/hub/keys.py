"""The keys of a network that this computer owns, and the tokens that a broker needs to be told of them.

All are kept in one file, ``keys.json``, readable by its owner only: whoever has it is the operator. Tokens of the
operator and of the accounts are not kept but made from the keys, and come out the same each time: their time is that
of the last change. A server keeps the later of two tokens, and does nothing about one it already has.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..errors import NotConfigured
from ..names import OWNER_INSTITUTE, check_institute
from ..security import (
    ROLES,
    SERVICE_INSTITUTE,
    Credentials,
    KeyPair,
    Role,
    account_jwt,
    direct_user_jwt,
    jobs_exports,
    net_imports,
    new_key,
    operator_jwt,
    scope,
)
from ..settings import private_read, private_write

__all__ = ["KEYS_FILE", "NetworkKeys"]

KEYS_FILE = "keys.json"
_VERSION = 1
# A broker is told of a changed account in one message; brokers of others take 1 MB unless they are set otherwise.
_ACCOUNT_JWT_LIMIT = 900_000
_FILE_LIMIT = 4 * 1024 * 1024  # many times the keys of as many institutes as an account's token can hold
_SINGLE = {"operator": "operator", "system": "account", "system_user": "user", "net": "account", "jobs": "account"}
_OWN_INSTITUTES = frozenset({OWNER_INSTITUTE, SERVICE_INSTITUTE})


@dataclass(frozen=True, slots=True)
class NetworkKeys:
    """All keys of one network.

    Attributes
    ----------
    operator : KeyPair
        Signs the accounts.
    system, system_user : KeyPair
        Account and user that may tell a running broker about a changed account.
    net, jobs : KeyPair
        Accounts of calls and of stored jobs.
    institutes : mapping of str to mapping of str to KeyPair
        By institute and role, the keys that sign the institute's people.
    created, changed : int
        When the network was made and when an institute last joined, in seconds since 1970 UTC.
    """

    operator: KeyPair
    system: KeyPair
    system_user: KeyPair
    net: KeyPair
    jobs: KeyPair
    institutes: Mapping[str, Mapping[Role, KeyPair]]
    created: int
    changed: int

    @classmethod
    def create(cls, random_bytes: Callable[[int], bytes], *, now: int) -> NetworkKeys:
        """Return the keys of a new network without institutes; `random_bytes` is as `secrets.token_bytes`."""
        return cls(
            operator=new_key("operator", random_bytes(32)),
            system=new_key("account", random_bytes(32)),
            system_user=new_key("user", random_bytes(32)),
            net=new_key("account", random_bytes(32)),
            jobs=new_key("account", random_bytes(32)),
            institutes={},
            created=now,
            changed=now,
        )

    @classmethod
    def load(cls, directory: Path) -> NetworkKeys:
        """Return the keys kept in `directory`.

        Raises
        ------
        NotConfigured
            When there are none, when others may read them, or when the file was damaged. The text shows no key.
        """
        path = directory / KEYS_FILE
        if not path.exists():
            raise NotConfigured(
                f"This computer owns no network yet: there is no {path}. Make one and start it: landbridge up"
            )
        raw = private_read(path, limit_bytes=_FILE_LIMIT)
        try:
            found = json.loads(raw)
            if not isinstance(found, dict) or found.get("version") != _VERSION:
                raise ValueError("not this version of the file")
            return cls._from_json(found)
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError, NotConfigured):
            # Without a cause: what json shows of a broken file could be a key.
            raise NotConfigured(
                f"The keys of this computer's network cannot be used: {path} is damaged or of another version. "
                "Restore it from a backup; or move its folder away and make a new network: landbridge up"
            ) from None

    @classmethod
    def _from_json(cls, found: Mapping[str, Any]) -> NetworkKeys:
        single = {name: _pair(found[name], kind) for name, kind in _SINGLE.items()}
        institutes = {
            check_institute(name, reserved=True): {role: _pair(seeds[role], "account") for role in ROLES}
            for name, seeds in found["institutes"].items()
        }
        return cls(**single, institutes=institutes, created=int(found["created"]), changed=int(found["changed"]))

    def save(self, directory: Path) -> None:
        """Keep the keys in `directory`: whole or not at all, readable by the owner only."""
        content: dict[str, Any] = {"version": _VERSION, "created": self.created, "changed": self.changed}
        content |= {name: getattr(self, name).seed for name in _SINGLE}
        content["institutes"] = {
            name: {role: pair.seed for role, pair in pairs.items()} for name, pairs in self.institutes.items()
        }
        private_write(directory / KEYS_FILE, json.dumps(content, indent=1) + "\n")

    def add_institute(self, name: str, random_bytes: Callable[[int], bytes], *, now: int) -> NetworkKeys:
        """Return the keys with those of one more institute; the same if it is there already.

        Raises
        ------
        InvalidName
            When `name` may not name an institute, nor is one of the network's own (``local``, ``lb``).
        NotConfigured
            When the network is full: a broker would not take the token of its account any more.
        """
        check_institute(name, reserved=name in _OWN_INSTITUTES)
        if name in self.institutes:
            return self
        added: dict[Role, KeyPair] = {role: new_key("account", random_bytes(32)) for role in ROLES}
        # Later than the last change even if the clock was set back: the server would keep the token it has.
        changed = max(now, self.changed + 1)
        joined = replace(self, institutes={**self.institutes, name: added}, changed=changed)
        size = len(joined.net_jwt())
        if size > _ACCOUNT_JWT_LIMIT:
            raise NotConfigured(
                f"{name} cannot join: with the {len(self.institutes)} institutes there are, the token of the network's "
                f"account would have {size:,} bytes, and brokers may refuse more than {_ACCOUNT_JWT_LIMIT:,}. "
                "Nothing was changed. Make another network for further institutes."
            )
        return joined

    def operator_jwt(self) -> str:
        """Return the operator's token, for the broker's configuration."""
        return operator_jwt(self.operator, name="landbridge", system_account=self.system.public, now=self.created)

    def net_jwt(self) -> str:
        """Return the token of the account of calls, which holds the scopes of all institutes."""
        scopes = [
            scope(role, name, pair.public) for name, pairs in self.institutes.items() for role, pair in pairs.items()
        ]
        return account_jwt(
            self.net.public,
            self.operator,
            name="net",
            now=self.changed,
            signing_keys=scopes,
            imports=net_imports(self.jobs.public),
        )

    def account_jwts(self) -> dict[str, str]:
        """Return the token of each account by its public key, for the broker to know from the start."""
        system = account_jwt(self.system.public, self.operator, name="SYS", now=self.created)
        jobs = account_jwt(
            self.jobs.public, self.operator, name="jobs", now=self.created, exports=jobs_exports(), jetstream=True
        )
        return {self.system.public: system, self.jobs.public: jobs, self.net.public: self.net_jwt()}

    def system_user_credentials(self) -> Credentials:
        """Return the credential with which a changed account is told to a running broker; it can do nothing else."""
        token = direct_user_jwt(
            self.system_user.public,
            self.system,
            name="issuer",
            publish=["$SYS.REQ.CLAIMS.UPDATE"],
            subscribe=["_INBOX.>"],
            now=self.created,
        )
        return Credentials(token, self.system_user.seed)


def _pair(seed: object, kind: str) -> KeyPair:
    if not isinstance(seed, str):
        raise TypeError("a seed is text")
    pair = KeyPair.from_seed(seed)
    if pair.kind != kind:
        raise ValueError("a key of another kind")
    return pair
