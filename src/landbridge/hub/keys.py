"""The keys of a network that this computer owns, and the tokens that a broker needs to be told of them.

All are kept in one file, ``keys.json``, readable by its owner only: whoever has it is the operator. Tokens of the
operator and of the accounts are not kept but made from the keys, and come out the same each time: their time is that
of the last change. A server keeps the later of two tokens, and does nothing about one it already has.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
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

__all__ = ["KEYS_FILE", "Invited", "Joined", "NetworkKeys", "Revoked"]

KEYS_FILE = "keys.json"
_VERSION = 1
# A broker is told of a changed account in one message; brokers of others take 1 MB unless they are set otherwise.
_ACCOUNT_JWT_LIMIT = 900_000
_FILE_LIMIT = 4 * 1024 * 1024  # many times the keys of as many institutes as an account's token can hold
_SINGLE = {"operator": "operator", "system": "account", "system_user": "user", "net": "account", "jobs": "account"}
_OWN_INSTITUTES = frozenset({OWNER_INSTITUTE, SERVICE_INSTITUTE})
_REVOKED_EACH = 500  # keys of one institute that are void at a time: no institute can fill the token for the others
_FOR_EVER = 2**62  # a token issued later than the time of its revocation would be good again


@dataclass(frozen=True, slots=True)
class Invited:
    """An invitation of an institute.

    Attributes
    ----------
    institute : str
        Its name.
    redeem_by : int
        Until when it can be used, in seconds since 1970 UTC.
    replace : bool
        Whether it may take the place of an institute of this name.
    root : str
        The root key with which it was used; empty until then.
    """

    institute: str
    redeem_by: int
    replace: bool = False
    root: str = ""


@dataclass(frozen=True, slots=True)
class Joined:
    """An institute that has joined with keys of its own, of which we know the public halves.

    Attributes
    ----------
    text : str
        Its charter, as it was signed.
    before : mapping of str to str
        Keys that it had before, by role; without any, it has changed them never, or long ago.
    before_until : int
        Until when those are good, too, in seconds since 1970 UTC.
    """

    text: str
    before: Mapping[Role, str] = field(default_factory=dict)
    before_until: int = 0

    @property
    def charter(self) -> Charter:
        """What its charter says."""
        return read_charter(self.text)

    def keys(self, now: int) -> list[tuple[Role, str]]:
        """Return the keys that sign its people, by role: those from before, too, while they are good."""
        before = self.before if now < self.before_until else {}
        return [*self.charter.keys.items(), *before.items()]


@dataclass(frozen=True, slots=True)
class Revoked:
    """A member's key that is void: who says so, and until when (s since 1970 UTC) it would have been good."""

    institute: str
    until: int


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
    name : str
        What its operator calls it; empty for the network of a computer that was not given a name.
    joined : mapping of str to Joined
        The institutes that were invited and have joined, by name.
    revoked : mapping of str to Revoked
        The keys of members that are void, as ``institute/public key``: who was shut out by one institute could have
        another one declare the same key void, for a moment only, and would be let in again if that took its place.
    invited : mapping of str to Invited
        The invitations of institutes, by id.
    """

    operator: KeyPair
    system: KeyPair
    system_user: KeyPair
    net: KeyPair
    jobs: KeyPair
    institutes: Mapping[str, Mapping[Role, KeyPair]]
    created: int
    changed: int
    name: str = ""
    joined: Mapping[str, Joined] = field(default_factory=dict)
    revoked: Mapping[str, Revoked] = field(default_factory=dict)
    invited: Mapping[str, Invited] = field(default_factory=dict)

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
        joined = {
            check_institute(name): Joined(str(each["text"]), dict(each["before"]), int(each["before_until"]))
            for name, each in found.get("joined", {}).items()
        }
        return cls(
            **single,
            institutes=institutes,
            created=int(found["created"]),
            changed=int(found["changed"]),
            name=printable(found.get("name", ""), 100),
            joined=joined,
            revoked={key: Revoked(**each) for key, each in found.get("revoked", {}).items()},
            invited={key: Invited(**each) for key, each in found.get("invited", {}).items()},
        )

    def save(self, directory: Path) -> None:
        """Keep the keys in `directory`: whole or not at all, readable by the owner only."""
        content: dict[str, Any] = {"version": _VERSION, "created": self.created, "changed": self.changed}
        content |= {name: getattr(self, name).seed for name in _SINGLE}
        content["institutes"] = {
            name: {role: pair.seed for role, pair in pairs.items()} for name, pairs in self.institutes.items()
        }
        content["name"] = self.name
        content["joined"] = {name: asdict(each) for name, each in self.joined.items()}
        content["revoked"] = {key: asdict(each) for key, each in self.revoked.items()}
        content["invited"] = {key: asdict(each) for key, each in self.invited.items()}
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
        return self._changed(f"{name} cannot join", now, institutes={**self.institutes, name: added})

    def check_owned(self, name: str) -> None:
        """Refuse, with `PermissionDenied`, to act for an institute that has joined with keys of its own."""
        if name in self.joined:
            raise PermissionDenied(
                f"{name} has joined this network with keys of its own, so only it can say who belongs to it. Use the "
                f"profile that {name} has given you: LANDBRIDGE_PROFILE={name}"
            )

    def invite(self, invitation: str, invited: Invited, *, now: int) -> NetworkKeys:
        """Return the keys with an invitation of an institute, and without those that can no longer be used.

        Raises
        ------
        InvalidName
            When an institute may not be called so.
        NotConfigured
            When there is one of this name already, which is not to be replaced.
        """
        name = check_institute(invited.institute)
        if not invited.replace and (name in self.joined or name in self.institutes):
            how = "has joined already" if name in self.joined else "belongs to this computer (landbridge serve --as)"
            raise NotConfigured(
                f"{name} was not invited: it {how}. To let it join anew, with other keys and without any of the people "
                f"it has now: landbridge invite institute {name} --replace"
            )
        kept = {key: each for key, each in self.invited.items() if each.redeem_by > now}
        return replace(self, invited={**kept, invitation: invited})

    def join(self, invitation: str, text: str, *, now: int) -> NetworkKeys:
        """Return the keys with an institute that was invited; in the place of one of its name. The same if it is in.

        Parameters
        ----------
        invitation : str
            Id of the invitation, as the broker vouches for it.
        text : str
            The institute's charter.
        now : int
            In seconds since 1970 UTC.

        Raises
        ------
        PermissionDenied
            When the invitation is unknown, over, for another institute or was used by somebody else; when the charter
            is none for this network, or names a key that somebody else has.
        NotConfigured
            When the network is full.
        """
        charter = self._checked(text)
        name, invited = charter.institute, self.invited.get(invitation)
        if invited is not None and invited.root == charter.root and self._is_in(charter):
            return self  # the answer got lost, and they ask again
        if invited is None or now >= invited.redeem_by or invited.root or invited.institute != name:
            used = "has been used already" if invited is not None and invited.root else "is over, or none for it"
            raise PermissionDenied(
                f"{name} was not let in: the invitation {used}. Ask whoever runs the network for another one: "
                f"landbridge invite institute {name}"
            )
        if not invited.replace and (name in self.joined or name in self.institutes):
            raise PermissionDenied(
                f"{name} was not let in: there is an institute of this name by now. Ask it, or the "
                f"operator of the network: landbridge invite institute {name} --replace"
            )
        own = {each: pairs for each, pairs in self.institutes.items() if each != name}
        joined = {**self.joined, name: Joined(text)}
        invitations = {**self.invited, invitation: replace(invited, root=charter.root)}
        return self._changed(f"{name} cannot join", now, institutes=own, joined=joined, invited=invitations)

    def _is_in(self, charter: Charter) -> bool:
        joined = self.joined.get(charter.institute)
        return joined is not None and joined.charter.root == charter.root

    def rotate(self, text: str, *, keep_until: int, now: int) -> NetworkKeys:
        """Return the keys with an institute's new charter; those it had are good until `keep_until`, too.

        With the charter that it has, only that time changes: it becomes no later.

        Raises
        ------
        PermissionDenied
            When the charter is not one that the institute's root key has signed later than the last one.
        """
        charter = self._checked(text)
        known = self.joined.get(charter.institute)
        if known is not None and known.text == text:  # asked again: how long the ones before are good may change
            same = replace(known, before_until=min(known.before_until, keep_until))
            return self._changed("The keys cannot be changed", now, joined={**self.joined, charter.institute: same})
        if known is None or known.charter.root != charter.root or known.charter.at >= charter.at:
            raise PermissionDenied(
                f"The new keys of {charter.institute} were refused: they are not signed by the root key with which it "
                "has joined, or are no newer than those it has. If the root key is lost, ask whoever runs the network "
                f"for a new invitation: landbridge invite institute {charter.institute} --replace"
            )
        before = {role: public for role, public in known.charter.keys.items() if public not in charter.keys.values()}
        joined = {**self.joined, charter.institute: Joined(text, before, keep_until)}
        return self._changed("The keys cannot be changed", now, joined=joined)

    def remove(self, name: str, *, now: int) -> NetworkKeys:
        """Return the keys without an institute: none of its people gets in any more.

        Whom it has shut out stays out, should it come again with the same keys.

        Raises
        ------
        NotConfigured
            When there is none of this name.
        """
        if name in _OWN_INSTITUTES or not (name in self.joined or name in self.institutes):
            known = ", ".join(sorted({*self.joined, *self.institutes} - _OWN_INSTITUTES)) or "none"
            raise NotConfigured(
                f"There is no institute {name!r} in this network that could be removed. There are: {known}."
            )
        return self._changed(
            f"{name} cannot be removed",
            now,
            joined={each: joined for each, joined in self.joined.items() if each != name},
            institutes={each: pairs for each, pairs in self.institutes.items() if each != name},
        )

    def revoke(self, institute: str, members: Mapping[str, int], *, now: int) -> NetworkKeys:
        """Return the keys with those of members (by public key: until when they would have been good) declared void.

        Raises
        ------
        PermissionDenied
            When the institute has declared too many void.
        """
        added = {f"{institute}/{key}": Revoked(institute, until) for key, until in members.items() if until > now}
        revoked = {key: each for key, each in {**self.revoked, **added}.items() if each.until > now}
        if sum(each.institute == institute for each in revoked.values()) > _REVOKED_EACH:
            raise PermissionDenied(
                f"{institute} has {_REVOKED_EACH} keys of members declared void that would still be good otherwise, "
                "and cannot have more. Make all credentials void at once instead: landbridge rotate --now"
            )
        return self._changed("Keys cannot be declared void", now, revoked=revoked)

    def refresh(self, *, name: str | None = None, now: int) -> NetworkKeys:
        """Return the keys as of now: with a name, without what has ended, and newer than any token a broker may have.

        A broker keeps the token that it has when another is no later. What this version of Landbridge lets roles do may
        be something else than what the last one did.
        """
        revoked = {key: each for key, each in self.revoked.items() if each.until > now}
        called = self.name if name is None else name
        return replace(self, name=called, revoked=revoked, changed=max(now, self.changed + 1))

    def tidy(self, *, now: int) -> NetworkKeys:
        """Return the keys without what has ended since the last change; the same if nothing has."""
        replaced = any(each.before and self.changed < each.before_until <= now for each in self.joined.values())
        if replaced or any(each.until <= now for each in self.revoked.values()):
            return self.refresh(now=now)
        return self

    def _checked(self, text: str) -> Charter:
        charter = read_charter(text)
        own = {pair.public for pair in (self.net, self.jobs, self.system)}
        taken = own | {pair.public for pairs in self.institutes.values() for pair in pairs.values()}
        for name, joined in self.joined.items():
            if name != charter.institute:
                taken |= {*joined.charter.keys.values(), *joined.before.values(), joined.charter.root}
        if charter.network != self.net.public or taken & {*charter.keys.values(), charter.root}:
            raise PermissionDenied(
                f"The charter of {charter.institute} was refused: it is one for another network, or names a key that "
                "somebody else has. Join with keys that were made for this: landbridge join"
            )
        return charter

    def _changed(self, what: str, now: int, **changes: Any) -> NetworkKeys:
        # Later than the last change even if the clock was set back: the server would keep the token it has.
        changed = replace(self, **changes, changed=max(now, self.changed + 1))
        size = len(changed.net_jwt())
        if size > _ACCOUNT_JWT_LIMIT and size > len(self.net_jwt()):
            raise NotConfigured(
                f"{what}: with the {len(self.institutes) + len(self.joined)} institutes there are, the token of the "
                f"network's account would have {size:,} bytes, and brokers may refuse more than "
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
        for name, joined in self.joined.items():
            scopes += [scope(role, name, public) for role, public in joined.keys(self.changed)]
        return account_jwt(
            self.net.public,
            self.operator,
            name="net",
            now=self.changed,
            signing_keys=scopes,
            imports=net_imports(self.jobs.public),
            revocations={key.rpartition("/")[2]: _FOR_EVER for key in self.revoked},
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
