"""The module ``INSTITUTE/id``: lets in whom the institute has invited, renews credentials, vouches for modules.

It runs where the institute's keys are, with `landbridge admit`. Its members need it when they join and once a day; what
runs meanwhile does not need it.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from ..backend.context import current_call
from ..backend.execution import own_errors
from ..backend.expose import Exposed, Exposure
from ..errors import InvalidName, NotConfigured, PermissionDenied
from ..names import check_invited, check_module
from ..security import attest_module, read_member_proof
from .institutes import DAY_S, Institute, institute_of
from .joining import given
from .members import may_serve

__all__ = ["ATTESTED_S", "issuer"]

ATTESTED_S = 30 * DAY_S
"""How long the institute's word for a module's key holds, in seconds; it is asked for anew daily."""


def issuer(institute: Institute, told: Callable[[str], None]) -> Exposure:
    """Return what the issuer of an institute exposes.

    Parameters
    ----------
    institute : Institute
        Whose issuer it is.
    told : callable
        Told in words whom it has let in.
    """

    def now_ours() -> Institute:
        # Read anew: its keys may have been changed meanwhile, by another process.
        ours = institute_of(institute.profile)
        if ours is None:
            raise NotConfigured(f"The keys of {institute.name} are no longer on this computer.")
        return ours

    async def join(proof: str) -> dict[str, str]:
        """Let in a person who was invited, once.

        Parameters
        ----------
        proof
            Their statement of who they are, signed with their own key.
        """
        with own_errors():
            ours, now = now_ours(), int(time.time())
            try:
                invitation = check_invited(_person_of(ours))
            except InvalidName:
                raise PermissionDenied(
                    f"Only who has an invitation can join {ours.name}. Ask there for one: landbridge invite person NAME"
                ) from None
            charter = ours.charter
            members = await ours.change_members(lambda members: members.admit(invitation, proof, charter, now=now))
            public = members.invited[invitation].used_by
            told(f"{ours.name}/{members.members[public].person} has joined")
            return given(*ours.member_tokens(public, members, now=now))

    async def renew(proof: str) -> dict[str, str]:
        """Issue a member's credential anew.

        Parameters
        ----------
        proof
            Their statement of who they are, signed with their own key.
        """
        with own_errors():
            ours, now = now_ours(), int(time.time())
            person = _person_of(ours)
            named, public = read_member_proof(proof, ours.network, ours.name)
            if named != person:
                raise PermissionDenied(f"{ours.name}/{person} cannot have the credential of {named} renewed.")
            charter = ours.charter
            members = await ours.change_members(lambda members: members.renew(proof, charter, now=now))
            return given(*ours.member_tokens(public, members, now=now))

    def attest(module: str, key: str) -> str:
        """Return the institute's word that a key is that of a module, for a member who may serve it.

        Parameters
        ----------
        module
            Name of the module.
        key
            Its public key.
        """
        with own_errors():
            ours, now = now_ours(), int(time.time())
            person = _person_of(ours)
            try:
                check_module(module)
            except InvalidName as error:
                raise PermissionDenied(str(error)) from None
            members = ours.members().members.values()
            if not any(
                member.person == person
                and not member.revoked
                and now < member.until
                and module in may_serve(person, member.modules)
                for member in members
            ):
                raise PermissionDenied(
                    f"{ours.name}/{person} may not serve {ours.name}/{module}. Ask {ours.name} for an invitation that "
                    f"names it: landbridge invite person {person} --serve {module}"
                )
            return attest_module(ours.network, ours.name, module, key, ours.root, until=now + ATTESTED_S)

    return Exposure(
        f"Lets in whom {institute.name} has invited, and renews credentials. See landbridge join.",
        "",
        {each.__name__: Exposed(each) for each in (join, renew, attest)},
        (),
    )


def _person_of(ours: Institute) -> str:
    """Return who calls; whoever is of another institute is refused, though the module may be shared with them."""
    call = current_call()
    institute, _, person = (call.caller if call is not None else "").partition("/")
    if institute != ours.name:
        raise PermissionDenied(f"{institute}/{person} is not of {ours.name}, so its issuer does nothing for them.")
    return person
