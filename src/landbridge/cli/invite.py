"""``landbridge invite``: an invitation of an institute into this network, or of a person into this institute."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from cyclopts import Parameter

from ..client.loop import wait_for
from ..hub.access import institute_here
from ..hub.inviting import invite_institute, invite_person, read_authority
from ..hub.members import may_serve
from ..security import Invitation, until_text
from ..settings import checked_url, private_write
from .console import say, show, show_json
from .ending import UsageError
from .times import until

__all__ = ["invite"]

_TIMEOUT_S = 30.0


def invite(
    what: Literal["institute", "person"],
    name: str,
    /,
    *,
    serve: Annotated[tuple[str, ...], Parameter(name="--serve")] = (),
    expires: str | None = None,
    within: str = "7d",
    replace: bool = False,
    url: Annotated[tuple[str, ...], Parameter(name="--url")] = (),
    ca: Path | None = None,
    output: Annotated[Path | None, Parameter(name=("--output", "-o"))] = None,
    profile: str | None = None,
    json: bool = False,
) -> None:
    """Invite an institute into the network of this computer, or a person into your institute.

    The invitation is good once. Send it by a way that others cannot read; whoever has it first can use it.

    Parameters
    ----------
    what
        institute or person.
    name
        What they are to be called: gfz, or anna.
    serve
        Modules that a person may serve, beside one of their own name: ocean,waves.
    expires
        How long a person is to belong to the institute: 90d, 2y, or a date; a year by default.
    within
        How long the invitation can be used: 12h, 7d.
    replace
        Let an institute take the place of one of this name, and have those who know its root key told.
    url
        Where others reach the broker, if not where it listens: nats://HOST:PORT. May be given several times.
    ca
        File with the authority by which the broker is known, if not by those that computers trust; it goes along.
    output
        File to write the invitation to, for you alone to read; by default it is printed.
    profile
        Which institute, if several are run from this computer.
    json
        Print a JSON object.
    """
    now = int(time.time())
    redeem_by = until(within, "--within", now=now)
    if what == "institute":
        if serve or expires is not None or profile is not None:
            raise UsageError("--serve, --expires and --profile are for persons: landbridge invite person NAME")
        urls = [checked_url(each, "--url") for each in url]
        authority = None if ca is None else read_authority(ca)
        work = invite_institute(name, redeem_by=redeem_by, now=now, replace=replace, urls=urls, ca=authority)
        invitation = wait_for(work, _TIMEOUT_S)
        until_when = None
    else:
        if replace or url or ca is not None:
            raise UsageError("--replace, --url and --ca are for institutes: landbridge invite institute NAME")
        modules = [each.strip() for part in serve for each in part.split(",") if each.strip()]
        until_when = until(expires or "1y", "--expires", now=now)
        ours = institute_here(profile)
        work = invite_person(ours, name, modules, until=until_when, redeem_by=redeem_by, now=now)
        invitation = wait_for(work, _TIMEOUT_S)
    _give(invitation, output, redeem_by, until_when, json=json)


def _give(invitation: Invitation, output: Path | None, redeem_by: int, until_when: int | None, *, json: bool) -> None:
    text = invitation.format()
    who = invitation.institute if invitation.person is None else f"{invitation.institute}/{invitation.person}"
    if output is not None:
        private_write(output, text + "\n")
    if json:
        facts = {"who": who, "id": invitation.id, "urls": list(invitation.urls), "redeem_by": until_text(redeem_by)}
        facts |= {} if until_when is None else {"until": until_text(until_when)}
        facts |= {"file": str(output)} if output is not None else {"invitation": text}
        show_json(facts)
    elif output is None:
        show(text)
    ends = "" if until_when is None else f" {who} belongs to {invitation.institute} until {until_text(until_when)}."
    say(
        f"This is the invitation of {who}: a secret until it is used, once, by {until_text(redeem_by)}.{ends}\n"
        "There: landbridge join, and paste it; or landbridge join FILE."
    )
    if invitation.person is not None:
        own = ", ".join(f"{invitation.institute}/{module}" for module in may_serve(invitation.person, ()))
        if own:
            say(f"They may also serve {own}, the module of their own name.")
        say(f"They can join while the issuer of {invitation.institute} runs: landbridge admit")
    if all(_is_here(url) for url in invitation.urls):
        say("It can be used on this computer only: the broker is at an address that others cannot reach (--url).")


def _is_here(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    return host == "localhost" or host == "::1" or host.startswith("127.")
