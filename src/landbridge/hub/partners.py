"""Which institutes take part in a network with keys of their own, who is invited, and whose keys are void. Pure.

What is said here goes into the token of the network's account, by which the broker knows whom to let in.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from ..errors import NotConfigured, PermissionDenied
from ..names import check_institute
from ..security import Charter, Role, read_charter

__all__ = ["LONGEST_OVERLAP_S", "Partner", "PartnerInvited", "Partners"]

LONGEST_OVERLAP_S = 90 * 24 * 3600
"""How long keys that an institute has replaced may go on being good, in seconds."""

_REVOKED_EACH = 500  # keys of one institute that are void at a time: no institute can fill the token for the others
_REPLACED_EACH = 3


@dataclass(frozen=True, slots=True)
class PartnerInvited:
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
class Partner:
    """An institute that takes part with keys of its own, of which we know the public halves.

    Attributes
    ----------
    text : str
        Its charter, as it was signed.
    replaced : tuple
        Keys that it had before, by role, each with the time until which they are good, too (s since 1970 UTC).
    """

    text: str
    replaced: tuple[tuple[Mapping[Role, str], int], ...] = ()

    @property
    def charter(self) -> Charter:
        """What its charter says."""
        return read_charter(self.text)

    def keys(self, now: int) -> list[tuple[Role, str]]:
        """Return the keys that sign its people, by role: those that it has replaced, too, while they are good."""
        replaced = [each for keys, until in self.replaced if now < until for each in keys.items()]
        return [*self.charter.keys.items(), *replaced]


@dataclass(frozen=True)
class Partners:
    """The institutes of a network that have keys of their own.

    Attributes
    ----------
    joined : mapping of str to Partner
        By name.
    invited : mapping of str to PartnerInvited
        By the id of the invitation.
    revoked : mapping of str to mapping of str to int
        Keys of members that are void, by institute and public key: until when each would have been good. What an
        institute has declared void it alone can let end; another one cannot shorten it by declaring it, too.
    """

    joined: Mapping[str, Partner] = field(default_factory=dict)
    invited: Mapping[str, PartnerInvited] = field(default_factory=dict)
    revoked: Mapping[str, Mapping[str, int]] = field(default_factory=dict)

    def void_keys(self, now: int) -> list[str]:
        """Return the keys of members that nobody may use, sorted."""
        return sorted({key for each in self.revoked.values() for key, until in each.items() if now < until})

    def invite(self, invitation: str, invited: PartnerInvited, *, owned: Collection[str], now: int) -> Partners:
        """Return the register with an invitation, and without those that can no longer be used.

        Parameters
        ----------
        invitation : str
            Its id.
        invited : PartnerInvited
            Who is invited.
        owned : collection of str
            Names of the institutes whose keys whoever runs the network has.
        now : int
            In seconds since 1970 UTC.

        Raises
        ------
        InvalidName
            When an institute may not be called so.
        NotConfigured
            When there is one of this name already, which is not to be replaced.
        """
        name = check_institute(invited.institute)
        if not invited.replace and (name in self.joined or name in owned):
            how = "has joined already" if name in self.joined else "belongs to this computer (landbridge serve --as)"
            raise NotConfigured(
                f"{name} was not invited: it {how}. To let it join anew, with other keys and without any of the people "
                f"it has now: landbridge invite institute {name} --replace"
            )
        kept = {key: each for key, each in self.invited.items() if each.redeem_by > now}
        return replace(self, invited={**kept, invitation: invited})

    def join(self, invitation: str, text: str, *, owned: Collection[str], taken: Collection[str], now: int) -> Partners:
        """Return the register with an institute that was invited; in the place of one of its name.

        It is the same if that very institute is in already: an answer got lost, and it asks again.

        Parameters
        ----------
        invitation : str
            Id of the invitation, as the broker vouches for it.
        text : str
            The institute's charter, for this network.
        owned, now
            As for `invite`.
        taken : collection of str
            Public keys of whoever runs the network.

        Raises
        ------
        PermissionDenied
            When the invitation is unknown, over, for another institute or was used by somebody else; when the charter
            names a key that somebody else has.
        """
        charter = self._checked(text, taken)
        name, invited = charter.institute, self.invited.get(invitation)
        known = self.joined.get(name)
        if invited is not None and invited.root == charter.root and known is not None and known.text == text:
            return self
        if invited is None or now >= invited.redeem_by or invited.root not in ("", charter.root):
            why = (
                "has been used already" if invited is not None and invited.root else "is over, or none of this network"
            )
            raise PermissionDenied(
                f"{name} was not let in: the invitation {why}. Ask whoever runs the network for another one: "
                f"landbridge invite institute {name}"
            )
        if invited.institute != name:
            raise PermissionDenied(f"The invitation is for {invited.institute}, not for {name}. Join with it as it is.")
        if not invited.replace and not invited.root and (name in self.joined or name in owned):
            raise PermissionDenied(
                f"{name} was not let in: there is an institute of this name by now. If it is to be replaced, whoever "
                f"runs the network can say so: landbridge invite institute {name} --replace"
            )
        used = {**self.invited, invitation: replace(invited, root=charter.root)}
        return replace(self, joined={**self.joined, name: Partner(text)}, invited=used)

    def rotate(self, text: str, *, taken: Collection[str], now: int) -> Partners:
        """Return the register with an institute's new charter; those it had are good as long as the new one says.

        With the keys that it has already, only that time changes: it becomes no later.

        Raises
        ------
        PermissionDenied
            When the charter is not one that the institute's root key has signed later than the last one, or names a
            key that somebody else has; or when it has replaced its keys too often lately.
        """
        charter = self._checked(text, taken)
        name, known = charter.institute, self.joined.get(charter.institute)
        if known is not None and known.text == text:
            return self
        if known is None or known.charter.root != charter.root or known.charter.at >= charter.at:
            raise PermissionDenied(
                f"The new keys of {name} were refused: they are not signed by the root key with which it has joined, "
                "or are no newer than those it has. If the root key is lost, ask whoever runs the network for a new "
                f"invitation: landbridge invite institute {name} --replace"
            )
        until = min(charter.replaced_until, now + LONGEST_OVERLAP_S)
        # Those from before that may be known to others end with the last ones, not after them.
        before = [(keys, end) for keys, end in known.replaced if now < end]
        if known.charter.keys != charter.keys:
            before.append((known.charter.keys, until))
        replaced = [(keys, min(end, until)) for keys, end in before if now < min(end, until)]
        if len(replaced) > _REPLACED_EACH:
            raise PermissionDenied(
                f"The new keys of {name} were refused: {_REPLACED_EACH} that it has replaced are still good. Wait "
                "until they end, or make all of them void at once: landbridge rotate --now"
            )
        revoked = self.revoked
        if before and not replaced:  # what those keys have signed is void with them
            revoked = {each: void for each, void in self.revoked.items() if each != name}
        return replace(self, joined={**self.joined, name: Partner(text, tuple(replaced))}, revoked=revoked)

    def revoke(self, institute: str, members: Mapping[str, int], *, now: int) -> Partners:
        """Return the register with keys of members void; the same if all of them are.

        Parameters
        ----------
        institute : str
            Whose members they are.
        members : mapping of str to int
            By public key, until when they would have been good.
        now : int
            In seconds since 1970 UTC.

        Raises
        ------
        PermissionDenied
            When the institute has declared too many void.
        """
        void = {key: until for key, until in self.revoked.get(institute, {}).items() if now < until}
        added = {key: max(until, void.get(key, 0)) for key, until in members.items() if now < until}
        after = {**void, **added}
        if after == self.revoked.get(institute, {}):
            return self
        if len(after) > _REVOKED_EACH:
            raise PermissionDenied(
                f"{institute} has {_REVOKED_EACH} keys of members declared void that would still be good otherwise, "
                "and cannot have more. Make all credentials void at once instead: landbridge rotate --now"
            )
        return replace(self, revoked={**self.revoked, institute: after})

    def remove(self, name: str) -> Partners:
        """Return the register without an institute and its open invitations; the same if there is none.

        Keys that it has declared void stay so: it may come back with the same ones.
        """
        joined = {each: partner for each, partner in self.joined.items() if each != name}
        invited = {key: each for key, each in self.invited.items() if each.institute != name}
        return (
            self if (joined, invited) == (self.joined, self.invited) else replace(self, joined=joined, invited=invited)
        )

    def tidy(self, now: int) -> Partners:
        """Return the register without what has ended; the same if nothing has."""
        joined = {
            name: replace(each, replaced=tuple((keys, end) for keys, end in each.replaced if now < end))
            for name, each in self.joined.items()
        }
        revoked = {
            name: {key: until for key, until in each.items() if now < until} for name, each in self.revoked.items()
        }
        revoked = {name: each for name, each in revoked.items() if each}
        return (
            self if (joined, revoked) == (self.joined, self.revoked) else replace(self, joined=joined, revoked=revoked)
        )

    def _checked(self, text: str, taken: Collection[str]) -> Charter:
        charter = read_charter(text)
        others = {*taken}
        for name, partner in self.joined.items():
            if name != charter.institute:
                others |= {key for keys, _ in partner.replaced for key in keys.values()}
                others |= {*partner.charter.keys.values(), partner.charter.root}
        if others & {*charter.keys.values(), charter.root}:
            raise PermissionDenied(
                f"The charter of {charter.institute} was refused: it names a key that somebody else has. Join with "
                "keys that were made for this: landbridge join"
            )
        return charter

    def to_json(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {
            "joined": {
                name: {"text": each.text, "replaced": [[dict(keys), end] for keys, end in each.replaced]}
                for name, each in self.joined.items()
            },
            "invited": {key: asdict(each) for key, each in self.invited.items()},
            "revoked": {name: dict(each) for name, each in self.revoked.items()},
        }

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> Partners:
        """Return the register that `to_json` wrote; raises what Python does for anything else."""
        joined = {
            check_institute(name): Partner(
                str(each["text"]), tuple((dict(keys), int(end)) for keys, end in each["replaced"])
            )
            for name, each in found["joined"].items()
        }
        invited = {str(key): PartnerInvited(**each) for key, each in found["invited"].items()}
        revoked = {
            str(name): {str(key): int(until) for key, until in each.items()} for name, each in found["revoked"].items()
        }
        return cls(joined, invited, revoked)
