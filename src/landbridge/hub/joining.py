"""Joining with an invitation: an institute makes its keys, a person theirs; both get a profile to work with.

What is made is kept before the issuer is asked. If the answer is lost, or this computer ends in between, joining again
with the same invitation goes on with the same keys, which is what the issuer lets in.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from ..client.access import Access
from ..client.known import check_known, know
from ..client.link import Link
from ..client.lookup import call, describe
from ..client.loop import wait_for
from ..errors import (
    BrokerUnreachable,
    LandbridgeError,
    Malformed,
    ModuleOffline,
    NotConfigured,
    PermissionDenied,
    UnknownModule,
)
from ..names import ISSUER_MODULE, Address, check_person
from ..security import Credentials, Invitation, KeyPair, fingerprint, member_proof, new_key
from ..settings import checked_url, config_dir, private_read, private_write, profile_name, selected_tls
from ..tls import Tls
from .institutes import DAY_S, Institute, institute_of
from .members import Member, Members
from .owner import owner_person

__all__ = ["ask_issuer", "asked_of_issuer", "given", "join", "keep_credentials"]

_TIMEOUT_S = 30.0
_OWN_MEMBERSHIP_S = 10 * 365 * DAY_S
_UNFINISHED = "joining.json"


def join(text: str, profile: str | None = None, person: str | None = None) -> str:
    """Join as whom an invitation invites; returns the name of the profile that was made.

    Parameters
    ----------
    text : str
        The invitation.
    profile : str, optional
        What the profile is to be called; by default as the institute. One of the same person, or of the same institute,
        is replaced.
    person : str, optional
        What whoever joins with an institute is to be called in it; by default as they log in here.

    Raises
    ------
    NotConfigured
        When the invitation cannot be used, or there is a profile of this name of somebody else.
    PermissionDenied
        When the issuer does not let us in: the invitation is over, or was used by somebody else.
    IdentityChanged
        When the institute is known here by another root key.
    BrokerUnreachable, ModuleOffline
        When the network cannot be reached, or the issuer does not run.
    """
    invitation = Invitation.parse(text)
    for url in invitation.urls:
        checked_url(url, "The invitation")
    name = profile_name(profile or invitation.institute)
    _check_is_free(name, invitation)
    tls = _tls(invitation, name)
    if invitation.person is None:
        _join_as_institute(invitation, name, tls, check_person(person or owner_person(), reserved=False))
    else:
        if person is not None:
            raise NotConfigured(f"The invitation is for {invitation.person}, and nobody else. Join without --name.")
        _join_as_person(invitation, invitation.person, name, tls)
    return name


def _check_is_free(name: str, invitation: Invitation) -> None:
    """Refuse to replace the profile of somebody else."""
    if not (_folder() / f"{name}.toml").exists():
        return
    with suppress(LandbridgeError):
        held = Credentials.parse(private_read(_folder() / f"{name}.creds").decode("utf-8", "replace"))
        is_same = (held.network, held.institute) == (invitation.network, invitation.institute)
        is_institutes = institute_of(name) is not None
        if is_same and (is_institutes if invitation.person is None else held.name == invitation.person):
            return
    raise NotConfigured(
        f"There is a profile {name!r} already, of somebody else or of another network, so nothing was changed. Join "
        "with a profile of another name: landbridge join --profile NAME"
    )


def _tls(invitation: Invitation, name: str) -> Tls:
    """Return whom to trust and what to show, as the invitation or else the environment says."""
    tls = selected_tls() or Tls()
    if invitation.ca is None:
        return tls
    authority = _folder() / f"{name}.ca.pem"
    private_write(authority, invitation.ca)
    return replace(tls, ca=authority)


def _join_as_institute(invitation: Invitation, name: str, tls: Tls, person: str) -> None:
    now = int(time.time())
    ours = institute_of(name, _UNFINISHED)
    if ours is None or (ours.network, ours.name) != (invitation.network, invitation.institute):
        # One that comes back keeps its root key, by which the others know it.
        before = institute_of(name)
        if before is not None and (before.network, before.name) != (invitation.network, invitation.institute):
            raise NotConfigured(
                f"This computer has the keys of {before.name} under the profile {name!r}, of another network or name. "
                "Join with a profile of another name: landbridge join --profile NAME"
            )
        ours = (
            before.rotated(secrets.token_bytes, now=now)
            if before is not None
            else Institute.create(name, invitation.network, invitation.institute, secrets.token_bytes, now=now)
        )
        ours.save(_UNFINISHED)
    _ask(invitation, tls, {"charter": ours.charter_text()})
    ours.save()
    key = new_key("user", secrets.token_bytes(32))
    member = Member(person, (), now + _OWN_MEMBERSHIP_S, ours.proof(person, key), now)
    members = wait_for(
        ours.change_members(lambda found: Members(found.invited, {**found.members, key.public: member})), _TIMEOUT_S
    )
    keep_credentials(name, key.seed, given(*ours.member_tokens(key.public, members, now=now)), network=ours.network)
    know(ours.network, ours.name, fingerprint(ours.root.public))
    _write_profile(name, invitation, tls)
    (ours.folder / _UNFINISHED).unlink()


def _join_as_person(invitation: Invitation, person: str, name: str, tls: Tls) -> None:
    institute, network = invitation.institute, invitation.network
    if invitation.root is not None:
        check_known(network, institute, invitation.root)
    unfinished = _folder() / f"{name}.joining"
    key, answer = _let_in(invitation, person, name, tls, unfinished)
    keep_credentials(name, key.seed, answer, network=network, person=person, institute=institute)
    if invitation.root is not None:
        know(network, institute, fingerprint(invitation.root))
    _write_profile(name, invitation, tls)
    unfinished.unlink(missing_ok=True)


def _let_in(invitation: Invitation, person: str, name: str, tls: Tls, unfinished: Path) -> tuple[KeyPair, object]:
    """Return the key with which the issuer lets a person in, and its answer."""

    def ask(key: KeyPair) -> object:
        proof = member_proof(invitation.network, invitation.institute, person, key)
        return _ask(invitation, tls, {"proof": proof})

    creds = _folder() / f"{name}.creds"
    if creds.exists() and not unfinished.exists():  # somebody who is in already, perhaps with this very invitation
        held = KeyPair.from_seed(Credentials.parse(private_read(creds).decode("utf-8", "replace")).seed)
        with suppress(PermissionDenied):  # of a key that was shut out
            return held, ask(held)
    if unfinished.exists():
        key = KeyPair.from_seed(private_read(unfinished))
    else:
        key = new_key("user", secrets.token_bytes(32))
        private_write(unfinished, key.seed)
    return key, ask(key)


def _write_profile(name: str, invitation: Invitation, tls: Tls) -> None:
    # Last, because with it the profile counts as made.
    said: dict[str, object] = {"urls": list(invitation.urls)}
    said |= {part: str(file) for part in ("ca", "certificate", "key") if (file := getattr(tls, part)) is not None}
    lines = (f"{key} = {json.dumps(value)}\n" for key, value in said.items())  # which TOML reads, too
    private_write(_folder() / f"{name}.toml", "".join(lines))


def _ask(invitation: Invitation, tls: Tls, arguments: Mapping[str, object]) -> object:
    held = invitation.credentials
    access = Access(
        invitation.urls, invitation.issuer, invitation.id, lambda: held.jwt, held.sign,
        network=invitation.network, tls=tls,
    )  # fmt: skip
    # Whoever answers a person must prove that it is the institute which has invited them.
    return ask_issuer(access, "join", arguments, root=invitation.root)


def ask_issuer(
    access: Access, method: str, arguments: Mapping[str, object], *, of: str | None = None, root: str | None = None
) -> object:
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
    root : str, optional
        The root key (public) that it must prove; by default that by which the institute is known here.

    Raises
    ------
    IdentityChanged
        When it is not the issuer of the institute that is known here.
    ModuleOffline
        When the issuer does not run.
    BrokerUnreachable
        When the network cannot be reached, or nobody answers in time.
    """
    try:
        return wait_for(asked_of_issuer(access, method, arguments, of=of, root=root), 2 * _TIMEOUT_S)
    except TimeoutError:
        raise BrokerUnreachable(f"The issuer of {of or access.institute} did not answer in time. Try again.") from None


async def asked_of_issuer(
    access: Access, method: str, arguments: Mapping[str, object], *, of: str | None = None, root: str | None = None
) -> object:
    """Return what `ask_issuer` does, in the loop of callers."""
    target = Address(of or access.institute, ISSUER_MODULE, method)
    link = Link(replace(access, profile=None))
    await link.open()
    try:
        await describe(link, target._replace(member=None), root=root)
        return await call(link, target, dict(arguments), timeout_s=_TIMEOUT_S)
    except UnknownModule:  # as it seems to who may not hear what modules there are
        raise ModuleOffline(f"{target.institute}/{target.module}") from None
    finally:
        await link.close()


def given(work: str, enrol: str) -> dict[str, str]:
    """Return what an issuer answers to who joins or renews."""
    return {"work": work, "enrol": enrol}


def keep_credentials(
    profile: str,
    seed: str,
    answer: object,
    *,
    network: str,
    person: str | None = None,
    institute: str | None = None,
) -> Credentials:
    """Keep what an issuer has given for a profile, and return the credential to work with.

    Raises
    ------
    Malformed
        When it is not a credential for our key, for this network, and for whom we are.
    """
    if not isinstance(answer, dict) or not all(isinstance(answer.get(key), str) for key in ("work", "enrol")):
        raise Malformed("what the issuer answered is no credential")
    try:
        work, enrol = Credentials(answer["work"], seed), Credentials(answer["enrol"], seed)
    except NotConfigured as error:
        raise Malformed(f"what the issuer answered: {error}") from None
    for each in (work, enrol):
        is_ours = (person, institute) in ((None, None), (each.name, each.institute))
        if each.network != network or not is_ours:
            raise Malformed("the issuer has answered with the credential of somebody else, or of another network")
    private_write(_folder() / f"{profile}.enrol", enrol.format())
    private_write(_folder() / f"{profile}.creds", work.format())
    return work


def _folder() -> Path:
    return config_dir() / "profiles"
