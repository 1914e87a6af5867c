"""Joining with an invitation: an institute makes its keys, a person theirs; both get a profile to work with.

What is made is kept before the issuer is asked. If the answer is lost, or this computer ends in between, joining again
with the same invitation goes on with the same keys, which is what the issuer lets in.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from ..client.access import Access
from ..client.known import know, known_institutes
from ..client.link import Link
from ..client.lookup import call
from ..client.loop import wait_for
from ..errors import BrokerUnreachable, Malformed, NotConfigured
from ..names import ISSUER_MODULE, Address
from ..security import Credentials, Invitation, KeyPair, fingerprint, member_proof, new_key
from ..settings import config_dir, private_read, private_write, profile_name
from .institutes import DAY_S, Institute, institute_of
from .members import Member, Members
from .owner import owner_person

__all__ = ["ask_issuer", "given", "join", "keep_credentials"]

_TIMEOUT_S = 30.0
_OWN_MEMBERSHIP_S = 10 * 365 * DAY_S


def join(text: str, profile: str | None = None) -> str:
    """Join as whom an invitation invites; returns the name of the profile that was made.

    Parameters
    ----------
    text : str
        The invitation.
    profile : str, optional
        What the profile is to be called; by default as the institute.

    Raises
    ------
    NotConfigured
        When the invitation cannot be used, or there is a profile of this name already.
    PermissionDenied
        When the issuer does not let us in: the invitation is over, or was used by somebody else.
    BrokerUnreachable, ModuleOffline
        When the network cannot be reached, or the issuer does not run.
    """
    invitation = Invitation.parse(text)
    name = profile_name(profile or invitation.institute)
    if (_folder() / f"{name}.toml").exists():
        raise NotConfigured(
            f"There is a profile {name!r} already, so nothing was changed. Join with a profile of another name: "
            f"landbridge join --profile NAME"
        )
    if invitation.person is None:
        _join_as_institute(invitation, name)
    else:
        _join_as_person(invitation, invitation.person, name)
    # Last, because from then on the profile counts as made.
    private_write(_folder() / f"{name}.toml", f"urls = {json.dumps(list(invitation.urls))}\n")
    return name


def _join_as_institute(invitation: Invitation, name: str) -> None:
    ours, now = institute_of(name), int(time.time())
    if ours is None or (ours.network, ours.name) != (invitation.network, invitation.institute):
        if ours is not None:
            raise NotConfigured(
                f"This computer has the keys of {ours.name} under the profile {name!r}, which belong to another "
                "network. Join with a profile of another name: landbridge join --profile NAME"
            )
        ours = Institute.create(name, invitation.network, invitation.institute, secrets.token_bytes, now=now)
        ours.save()
    _ask(invitation, {"charter": ours.charter_text})
    key, person = new_key("user", secrets.token_bytes(32)), owner_person()
    member = Member(person, (), now + _OWN_MEMBERSHIP_S, ours.proof(person, key), now)
    members = wait_for(
        ours.change_members(lambda found: Members(found.invited, {**found.members, key.public: member})), _TIMEOUT_S
    )
    keep_credentials(name, key.seed, given(*ours.member_tokens(key.public, members, now=now)))
    know(ours.network, ours.name, fingerprint(ours.root.public))


def _join_as_person(invitation: Invitation, person: str, name: str) -> None:
    unfinished = _folder() / f"{name}.joining"
    if unfinished.exists():
        key = KeyPair.from_seed(private_read(unfinished))
    else:
        key = new_key("user", secrets.token_bytes(32))
        private_write(unfinished, key.seed)
    proof = member_proof(invitation.network, invitation.institute, person, key)
    answer = _ask(invitation, {"proof": proof})
    keep_credentials(name, key.seed, answer, person=person, institute=invitation.institute)
    unfinished.unlink()
    # Anybody can write an invitation. An institute that is known here already is known by another key only when whoever
    # works here says so (landbridge trust).
    known = known_institutes().get(invitation.network, {})
    if invitation.root is not None and invitation.institute not in known:
        know(invitation.network, invitation.institute, fingerprint(invitation.root))


def _ask(invitation: Invitation, arguments: Mapping[str, object]) -> object:
    credentials = invitation.credentials
    access = Access(invitation.urls, invitation.issuer, invitation.id, lambda: credentials.jwt, credentials.sign)
    return ask_issuer(access, "join", arguments)


def ask_issuer(access: Access, method: str, arguments: Mapping[str, object], *, of: str | None = None) -> object:
    """Call a method of the issuer of an institute (``institute/id``), and return its value as it travelled.

    Parameters
    ----------
    access : Access
        As whom.
    method : str
        What is called.
    arguments : mapping
        By name.
    of : str, optional
        Whose issuer; by default that of whose we are.

    Raises
    ------
    ModuleOffline
        When the issuer does not run.
    BrokerUnreachable
        When the network cannot be reached, or nobody answers in time.
    """

    async def ask() -> object:
        link = Link(replace(access, profile=None))
        await link.open()
        try:
            target = Address(of or access.institute, ISSUER_MODULE, method)
            return await call(link, target, dict(arguments), timeout_s=_TIMEOUT_S)
        finally:
            await link.close()

    try:
        return wait_for(ask(), 2 * _TIMEOUT_S)
    except TimeoutError:
        raise BrokerUnreachable(f"The issuer of {access.institute} did not answer in time. Try again.") from None


def given(work: str, enrol: str) -> dict[str, str]:
    """Return what an issuer answers to who joins or renews."""
    return {"work": work, "enrol": enrol}


def keep_credentials(
    profile: str, seed: str, answer: object, *, person: str | None = None, institute: str | None = None
) -> Credentials:
    """Keep what an issuer has given for a profile, and return the credential to work with.

    Raises
    ------
    Malformed
        When it is not a credential for our key, and for whom we are.
    """
    if not isinstance(answer, dict) or not all(isinstance(answer.get(key), str) for key in ("work", "enrol")):
        raise Malformed("what the issuer answered is no credential")
    try:
        work, enrol = Credentials(answer["work"], seed), Credentials(answer["enrol"], seed)
    except NotConfigured as error:
        raise Malformed(f"what the issuer answered: {error}") from None
    for each in (work, enrol):
        if (person, institute) != (None, None) and (each.name, each.institute) != (person, institute):
            raise Malformed("the issuer has answered with the credential of somebody else")
    private_write(_folder() / f"{profile}.enrol", enrol.format())
    private_write(_folder() / f"{profile}.creds", work.format())
    return work


def _folder() -> Path:
    return config_dir() / "profiles"
