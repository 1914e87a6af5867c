"""The keys of a network that this computer owns, and the tokens that a broker needs to be told of them.

All are kept in one file, ``keys.json``, readable by its owner only: whoever has it is the operator. Tokens of the
operator and of the accounts are not kept but made from the keys, and come out the same each time: their time is that
of the last change. A server keeps the later of two tokens, and does nothing about one it already has.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ..errors import NotConfigured, PermissionDenied, printable
from ..names import OWNER_INSTITUTE, check_institute
from ..security import (
    ROLES,
    SERVICE_INSTITUTE,
    Charter,
    Credentials,
    KeyPair,
    Role,
    account_jwt,
    direct_user_jwt,
    jobs_exports,
    net_imports,
    new_key,
    operator_jwt,
    read_charter,
    scope,
)
from ..settings import private_read, private_write
from .partners import PartnerInvited, Partners

__all__ = ["KEYS_FILE", "NetworkKeys"]

KEYS_FILE = "keys.json"
_VERSION = 2  # with partners; 1 was that of computers with institutes of their own only
# A broker is told of a changed account in one message; brokers of others take 1 MB unless they are set otherwise.
# Between this and that there is room to shut out members.
_ACCOUNT_JWT_LIMIT = 850_000
_FILE_LIMIT = 4 * 1024 * 1024  # many times the keys of as many institutes as an account's token can hold
_SINGLE = {"operator": "operator", "system": "account", "system_user": "user", "net": "account", "jobs": "account"}
_OWN_INSTITUTES = frozenset({OWNER_INSTITUTE, SERVICE_INSTITUTE})
_FOR_EVER = 2**62  # a token issued later than the time of its revocation would be good again


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
        Of the institutes that this computer owns: by institute and role, the keys that sign its people.
    created, changed : int
        When the network was made and when something of its institutes last changed, in seconds since 1970 UTC.
    as_of : int
        The time by which it is decided what has ended. Of two changes in one second `changed` is later than the clock.
    told : int
        The value of `changed` of which the broker was told last.
    name : str
        What its operator calls it; empty for the network of a computer that was not given a name.
    partners : Partners
        The institutes that take part with keys of their own.
    """

    operator: KeyPair
    system: KeyPair
    system_user: KeyPair
    net: KeyPair
    jobs: KeyPair
    institutes: Mapping[str, Mapping[Role, KeyPair]]
    created: int
    changed: int
    as_of: int = 0
    told: int = 0
    name: str = ""
    partners: Partners = field(default_factory=Partners)

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
            as_of=now,
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
            if not isinstance(found, dict) or found.get("version") not in (1, _VERSION):
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
        return cls(
            **single,
            institutes=institutes,
            created=int(found["created"]),
            changed=int(found["changed"]),
            as_of=int(found.get("as_of", 0)),
            told=int(found.get("told", 0)),
            name=printable(found.get("name", ""), 100),
            partners=Partners.from_json(found["partners"]) if "partners" in found else Partners(),
        )

    def save(self, directory: Path) -> None:
        """Keep the keys in `directory`: whole or not at all, readable by the owner only."""
        content: dict[str, Any] = {"version": _VERSION, "created": self.created, "changed": self.changed}
        content |= {"as_of": self.as_of, "told": self.told}
        content |= {name: getattr(self, name).seed for name in _SINGLE}
        content["institutes"] = {
            name: {role: pair.seed for role, pair in pairs.items()} for name, pairs in self.institutes.items()
        }
        content["name"] = self.name
        content["partners"] = self.partners.to_json()
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
        self.check_owned(name)
        added: dict[Role, KeyPair] = {role: new_key("account", random_bytes(32)) for role in ROLES}
        return self._changed(now, f"{name} cannot join", institutes={**self.institutes, name: added})

    def check_owned(self, name: str) -> None:
        """Refuse, with `PermissionDenied`, to act for an institute that has joined with keys of its own."""
        if name in self.partners.joined:
            raise PermissionDenied(
                f"{name} has joined this network with keys of its own, so only it can say who belongs to it. Use the "
                f"profile that {name} has given you: LANDBRIDGE_PROFILE={name}"
            )

    # Institutes with keys of their own. All return the same keys if nothing changes.

    def invite(self, invitation: str, invited: PartnerInvited, *, now: int) -> NetworkKeys:
        """Return the keys with an invitation, of which the broker need not be told; raises as `Partners.invite`."""
        return replace(self, partners=self.partners.invite(invitation, invited, owned=self.institutes, now=now))

    def join(self, invitation: str, text: str, *, now: int) -> NetworkKeys:
        """Return the keys with an institute that was invited; raises as `Partners.join`.

        Raises
        ------
        PermissionDenied
            When its charter is one for another network, too.
        NotConfigured
            When the network is full.
        """
        name = self._checked(text).institute
        partners = self.partners.join(invitation, text, owned=self.institutes, taken=self._own_keys(), now=now)
        own = {each: pairs for each, pairs in self.institutes.items() if each != name}
        return self._with(partners, now, f"{name} cannot join", institutes=own)

    def rotate(self, text: str, *, now: int) -> NetworkKeys:
        """Return the keys with an institute's new charter; raises as `Partners.rotate`."""
        self._checked(text)
        return self._with(self.partners.rotate(text, taken=self._own_keys(), now=now), now)

    def revoke(self, institute: str, members: Mapping[str, int], *, now: int) -> NetworkKeys:
        """Return the keys with those of members void; raises as `Partners.revoke`."""
        return self._with(self.partners.revoke(institute, members, now=now), now)

    def remove(self, name: str, *, now: int) -> NetworkKeys:
        """Return the keys without an institute and its open invitations: none of its people gets in any more.

        Raises
        ------
        NotConfigured
            When there is none of this name.
        """
        partners = self.partners.remove(name)
        own = {each: pairs for each, pairs in self.institutes.items() if each != name or each in _OWN_INSTITUTES}
        if partners is self.partners and own == self.institutes:
            known = ", ".join(sorted({*self.partners.joined, *self.institutes} - _OWN_INSTITUTES)) or "none"
            raise NotConfigured(
                f"There is no institute {name!r} in this network that could be shut out. There are: {known}."
            )
        return self._changed(now, "", partners=partners, institutes=own)

    def tidy(self, *, now: int) -> NetworkKeys:
        """Return the keys without what has ended since the last change."""
        return self._with(self.partners.tidy(now), now)

    def refresh(self, *, name: str | None = None, now: int) -> NetworkKeys:
        """Return the keys as of now: with a name, without what has ended, and newer than any token a broker may have.

        A broker keeps the token that it has when another is no later. What this version of Landbridge lets roles do may
        be something else than what the last one did.
        """
        return self._changed(now, "", name=self.name if name is None else name, partners=self.partners.tidy(now))

    def _checked(self, text: str) -> Charter:
        charter = read_charter(text)
        if charter.network != self.net.public:
            raise PermissionDenied(
                f"The charter of {charter.institute} was refused: it is one for another network. Join with the "
                "invitation to this one: landbridge join"
            )
        return charter

    def _own_keys(self) -> set[str]:
        own = {pair.public for pair in (self.net, self.jobs, self.system)}
        return own | {pair.public for pairs in self.institutes.values() for pair in pairs.values()}

    def _with(self, partners: Partners, now: int, what: str = "", **changes: Any) -> NetworkKeys:
        return self if partners is self.partners else self._changed(now, what, partners=partners, **changes)

    def _changed(self, now: int, what: str, **changes: Any) -> NetworkKeys:
        # Later than the last change even if the clock was set back: the server would keep the token it has.
        changed = replace(self, **changes, changed=max(now, self.changed + 1), as_of=now)
        # Of who lets more in, `what` says what cannot be. Room is left for those who shut out.
        if what and (size := len(changed.net_jwt())) > _ACCOUNT_JWT_LIMIT:
            raise NotConfigured(
                f"{what}: with the {len(self.institutes) + len(self.partners.joined)} institutes there are, the token "
                f"of the network's account would have {size:,} bytes, and brokers may refuse more than "
                f"{_ACCOUNT_JWT_LIMIT:,}. Nothing was changed. Make another network for further institutes."
            )
        return changed

    def operator_jwt(self) -> str:
        """Return the operator's token, for the broker's configuration."""
        return operator_jwt(self.operator, name="landbridge", system_account=self.system.public, now=self.created)

    def net_jwt(self) -> str:
        """Return the token of the account of calls, which holds the scopes of all institutes."""
        scopes = [
            scope(role, name, pair.public) for name, pairs in self.institutes.items() for role, pair in pairs.items()
        ]
        for name, partner in self.partners.joined.items():
            scopes += [scope(role, name, public) for role, public in partner.keys(self.as_of)]
        return account_jwt(
            self.net.public,
            self.operator,
            name="net",
            now=self.changed,
            signing_keys=scopes,
            imports=net_imports(self.jobs.public),
            revocations=dict.fromkeys(self.partners.void_keys(self.as_of), _FOR_EVER),
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
