"""Who belongs to an institute, and who has been invited: what its issuer decides by. Pure: no clock, no files.

A *member* is a key: somebody with a laptop and a server is in twice. What is said here is true of the institute's own
people only, and known to its issuer only; the broker knows who the institute has signed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from ..errors import InvalidName, NotConfigured, PermissionDenied
from ..names import ISSUER_MODULE, check_module, check_person, nearest
from ..security import Charter, read_member_proof

__all__ = ["Invited", "Member", "Members", "may_serve"]

_MOST = 10_000
_REMEMBERED_S = 30 * 24 * 3600


@dataclass(frozen=True, slots=True)
class Invited:
    """Somebody who was invited.

    Attributes
    ----------
    person : str
        Name.
    modules : tuple of str
        What they may serve, beside the module of their own name.
    until : int
        Until when they are to belong to the institute, in seconds since 1970 UTC.
    redeem_by : int
        Until when the invitation can be used.
    used_by : str
        Public key that was let in with it; empty until then.
    """

    person: str
    modules: tuple[str, ...]
    until: int
    redeem_by: int
    used_by: str = ""


@dataclass(frozen=True, slots=True)
class Member:
    """A key that belongs to the institute.

    Attributes
    ----------
    person, modules, until
        As in `Invited`.
    proof : str
        The member's own statement that it is theirs.
    renewed : int
        When its credential was last issued.
    revoked : int
        When it was declared void; 0 if it is good.
    """

    person: str
    modules: tuple[str, ...]
    until: int
    proof: str
    renewed: int
    revoked: int = 0


@dataclass(frozen=True)
class Members:
    """The register of an institute.

    Attributes
    ----------
    invited : mapping of str to Invited
        By the id of the invitation.
    members : mapping of str to Member
        By public key.
    """

    invited: Mapping[str, Invited] = field(default_factory=dict)
    members: Mapping[str, Member] = field(default_factory=dict)

    def invite(self, invitation: str, invited: Invited, *, now: int) -> Members:
        """Return the register with an invitation, and without those that can no longer be used.

        Raises
        ------
        InvalidName
            When the person or a module may not be called so.
        """
        check_person(invited.person, reserved=False)
        if invited.person == ISSUER_MODULE:
            raise InvalidName(invited.person, "person", "it is the name of the institute's issuer")
        for module in invited.modules:
            if check_module(module) == ISSUER_MODULE:
                raise InvalidName(module, "module", "it is the institute's issuer, which landbridge admit runs")
        kept = {each: old for each, old in self.invited.items() if old.redeem_by > now}
        if len(kept) >= _MOST:
            raise NotConfigured(f"{_MOST:,} invitations are open, which is the most there can be. Wait until some end.")
        # Who was here long ago is forgotten: their keys have ended, whether they were revoked or not.
        members = {public: each for public, each in self.members.items() if now < each.until + _REMEMBERED_S}
        return Members({**kept, invitation: invited}, members)

    def admit(self, invitation: str, proof: str, charter: Charter, *, now: int) -> Members:
        """Return the register with one more member, who was invited; the same if that very member is in already.

        Parameters
        ----------
        invitation : str
            Id of the invitation, as the broker vouches for it.
        proof : str
            The member's statement of who they are, signed with their key.
        charter : Charter
            That of the institute.
        now : int
            In seconds since 1970 UTC.

        Raises
        ------
        PermissionDenied
            When the invitation is unknown, over, for somebody else, or was used with another key.
        """
        person, public = read_member_proof(proof, charter.network, charter.institute)
        invited = self.invited.get(invitation)
        if invited is not None and invited.used_by == public:
            return self  # the answer got lost, and they ask again
        if invited is None or now >= invited.redeem_by or now >= invited.until:
            raise PermissionDenied(
                f"The invitation is not one that {charter.institute} would still let in. Ask for a new one there: "
                f"landbridge invite person {person}"
            )
        if invited.used_by:
            raise PermissionDenied(
                f"The invitation has been used already, with another key. If that was not you on another computer, "
                f"tell {charter.institute} at once: somebody has it who should not. They can shut that key out "
                f"(landbridge revoke person {person}) and send you a new invitation."
            )
        if invited.person != person:
            raise PermissionDenied(f"The invitation is for {invited.person}, not for {person}. Join with it as it is.")
        if public in self.members and self.members[public].revoked:
            raise PermissionDenied(
                f"The key of {person} was shut out, so it is not let in again. Join with another one."
            )
        if len(self.members) >= _MOST:
            raise NotConfigured(f"{charter.institute} has {_MOST:,} members, which is the most there can be.")
        member = Member(person, invited.modules, invited.until, proof, now)
        return Members({**self.invited, invitation: replace(invited, used_by=public)}, {**self.members, public: member})

    def renew(self, proof: str, charter: Charter, *, now: int) -> Members:
        """Return the register with a member's credential issued anew.

        Raises
        ------
        PermissionDenied
            When they do not belong to the institute, or no longer.
        """
        person, public = read_member_proof(proof, charter.network, charter.institute)
        member = self.members.get(public)
        if member is None or member.person != person or member.revoked or now >= member.until:
            why = (
                "is not known there"
                if member is None or member.person != person
                else "was revoked" if member.revoked else "has reached the end that was set for it"
            )  # fmt: skip
            raise PermissionDenied(
                f"The credential of {charter.institute}/{person} is not renewed: it {why}. If you should belong to "
                f"{charter.institute}, ask there for an invitation: landbridge invite person {person}"
            )
        return replace(self, members={**self.members, public: replace(member, renewed=now)})

    def revoke(self, person: str, *, now: int) -> tuple[Members, dict[str, int]]:
        """Return the register with all keys and invitations of a person void, and those keys: proof → end.

        Raises
        ------
        NotConfigured
            When there is no such member.
        """
        known = {each.person for each in self.members.values()} | {each.person for each in self.invited.values()}
        if person not in known:
            meant = nearest(person, known)
            hint = f" Did you mean {meant!r}?" if meant else ""
            raise NotConfigured(f"There is no member {person!r}.{hint} Who there is: landbridge whoami --members")
        void = {
            public: replace(member, revoked=now)
            for public, member in self.members.items()
            if member.person == person and not member.revoked
        }
        invited = {each: old for each, old in self.invited.items() if old.person != person}
        # Also those that were revoked before: the broker may not have been told of them.
        ends = {
            member.proof: member.until
            for member in self.members.values()
            if member.person == person and member.until > now
        }
        return Members(invited, {**self.members, **void}), ends

    def revoke_all(self, *, but: str, now: int) -> Members:
        """Return the register with every key void but one (public), and no invitation that is good."""
        void = {
            public: member if public == but or member.revoked else replace(member, revoked=now)
            for public, member in self.members.items()
        }
        return Members({}, void)

    def to_json(self) -> str:
        """Return the text that is kept."""
        kept = {
            "invited": {key: asdict(each) for key, each in self.invited.items()},
            "members": {key: asdict(each) for key, each in self.members.items()},
        }
        return json.dumps(kept, indent=1) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Members:
        """Return the register that `to_json` wrote; raises `ValueError` when it is another text."""
        try:
            kept = json.loads(text)
            return cls(
                {key: Invited(**_entry(each)) for key, each in kept["invited"].items()},
                {key: Member(**_entry(each)) for key, each in kept["members"].items()},
            )
        except (TypeError, KeyError, AttributeError, RecursionError) as error:
            raise ValueError(str(error)) from None


def may_serve(person: str, modules: tuple[str, ...]) -> tuple[str, ...]:
    """Return the modules that a member may serve: that of their own name, if it may be one, and those given.

    Examples
    --------
    >>> may_serve("anna", ("ocean",)), may_serve("karl-heinz", ())
    (('anna', 'ocean'), ())
    """
    try:
        own: tuple[str, ...] = (check_module(person),)
    except InvalidName:  # it has a -
        own = ()
    return tuple(dict.fromkeys((*own, *modules)))


def _entry(fields: dict[str, Any]) -> dict[str, Any]:
    return {**fields, "modules": tuple(fields["modules"])}
