"""Making invitations: of institutes by whoever runs the network, of persons by whoever runs an institute."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from pathlib import Path

from ..errors import InvalidName, NotConfigured
from ..security import SERVICE_INSTITUTE, Credentials, Invitation, new_key, user_jwt
from ..settings import local_dir, read_profile, running_broker
from .institutes import Institute
from .issue import change_keys
from .members import Invited, may_serve
from .partners import PartnerInvited
from .renewal import read_credentials

__all__ = ["invite_institute", "invite_person", "read_authority"]

_LONGEST_AUTHORITY = 12_000


async def invite_institute(
    name: str,
    *,
    redeem_by: int,
    now: int,
    replace: bool = False,
    urls: Sequence[str] = (),
    ca: str | None = None,
) -> Invitation:
    """Invite an institute into the network of this computer.

    Parameters
    ----------
    name : str
        What it is to be called there.
    redeem_by, now : int
        Until when the invitation can be used, and the time of now, in seconds since 1970 UTC.
    replace : bool
        Whether it may take the place of an institute of this name.
    urls : sequence of str
        Where others reach the broker; by default where it listens, under the name for others.
    ca : str, optional
        Certificates (PEM) by which the broker is known, when not by those of the system.

    Raises
    ------
    NotConfigured
        When there is an institute of this name already, or nothing says where the broker is.
    """
    where = tuple(urls) or _urls()
    invitation = f"_I{secrets.token_hex(16)}"
    invited = PartnerInvited(name, redeem_by, replace)
    keys = await change_keys(local_dir(), lambda keys: keys.invite(invitation, invited, now=now))
    user = new_key("user", secrets.token_bytes(32))
    token = user_jwt(
        user.public, keys.institutes[SERVICE_INSTITUTE]["enrol"],
        issuer_account=keys.net.public, institute=SERVICE_INSTITUTE, person=invitation, now=now, expires=redeem_by,
    )  # fmt: skip
    return Invitation(keys.net.public, keys.name, where, name, None, Credentials(token, user.seed), ca=ca)


async def invite_person(
    institute: Institute, person: str, modules: Sequence[str], *, until: int, redeem_by: int, now: int
) -> Invitation:
    """Invite a person into an institute.

    Parameters
    ----------
    institute : Institute
        Which, with its keys.
    person : str
        What they are to be called there.
    modules : sequence of str
        What they may serve, beside the module of their own name.
    until : int
        Until when they are to belong to it, in seconds since 1970 UTC.
    redeem_by, now : int
        As in `invite_institute`.

    Raises
    ------
    InvalidName
        When the person or a module may not be called so, or the name is that of whoever runs the institute.
    TooLarge
        When there are too many modules.
    """
    invitation = f"_I{secrets.token_hex(16)}"
    profile = read_profile(institute.profile)
    if person == read_credentials(profile).name:
        raise InvalidName(person, "person", "it is yours, here; another computer of yours needs a name of its own")
    user = new_key("user", secrets.token_bytes(32))
    # As it will be signed when they join: what a broker would not take must not use up the invitation.
    institute.credential(user.public, person, may_serve(person, tuple(modules)), until=until, now=now)
    invited = Invited(person, tuple(modules), until, redeem_by)
    await institute.change_members(lambda members: members.invite(invitation, invited, now=now))
    token = institute.credential(user.public, invitation, (), until=redeem_by, now=now, role="enrol")
    return Invitation(
        institute.network, institute.name, profile.urls, institute.name, person, Credentials(token, user.seed),
        institute.root.public, None if profile.tls.ca is None else read_authority(profile.tls.ca),
    )  # fmt: skip


def _urls() -> tuple[str, ...]:
    broker = running_broker()
    if broker is None:
        raise NotConfigured(
            "No network runs on this computer, so an invitation could not say where it is. Start it in another "
            "terminal: landbridge up; or say where others reach it: --url nats://HOST:PORT"
        )
    return (broker.public_url or broker.url, broker.public_websocket_url or broker.websocket_url)


def read_authority(file: Path) -> str:
    """Return certificates in PEM; raises `NotConfigured` when the file holds none, or more than an invitation can."""
    try:
        with open(file, encoding="ascii") as opened:
            text = opened.read(_LONGEST_AUTHORITY + 1)
    except (OSError, ValueError):
        text = ""
    if "-----BEGIN CERTIFICATE-----" not in text or "PRIVATE KEY" in text or len(text) > _LONGEST_AUTHORITY:
        raise NotConfigured(
            f"{file} cannot go into an invitation: it must hold certificates in the format PEM, without a key, and no "
            f"more than {_LONGEST_AUTHORITY:,} characters. Name the file with that of the authority only."
        )
    return text
