"""``landbridge join``: an invitation becomes a profile."""

from __future__ import annotations

import getpass
import sys
from pathlib import Path

from ..errors import NotConfigured
from ..hub.institutes import institute_of
from ..hub.joining import join as join_network
from ..hub.renewal import read_credentials
from ..security import LONGEST_INVITATION, fingerprint, is_invitation
from ..settings import read_profile
from .console import say, show, show_json
from .ending import UsageError

__all__ = ["join"]


def join(invitation: str | None = None, /, *, profile: str | None = None, json: bool = False) -> None:
    """Join a network with an invitation, as an institute or as a person of one.

    Parameters
    ----------
    invitation
        File with the invitation; without it, what is piped in, or else you are asked to paste it.
    profile
        What the profile is to be called, by which you choose this network; by default as the institute.
    json
        Print a JSON object.
    """
    name = join_network(_read(invitation), profile)
    credentials = read_credentials(read_profile(name))
    ours = institute_of(name)
    if json:
        facts = {"profile": name, "who": str(credentials.caller), "serves": list(credentials.modules)}
        show_json(facts | ({} if ours is None else {"fingerprint": fingerprint(ours.root.public)}))
        return
    show(f"You have joined as {credentials.caller}. Profile: {name}")
    if ours is None:
        say(f"See what there is: landbridge ls --profile {name}")
        return
    say(
        f"{ours.name} is known by the fingerprint {fingerprint(ours.root.public)}: tell it to those who ask.\n"
        f"Its keys are on this computer only; keep a copy of {ours.folder} where nobody else can read it.\n"
        f"Serve something:    landbridge serve FILE.py --as {ours.name}/MODULE --profile {name}\n"
        f"Invite your people: landbridge invite person NAME, and let them in: landbridge admit"
    )


def _read(invitation: str | None) -> str:
    if invitation is not None and is_invitation(invitation):
        raise UsageError(
            "an invitation is a secret, and others can see command lines. Give it in a file, or without any words: "
            "landbridge join, and paste it. If others may have seen it, ask for a new one."
        )
    if invitation is not None:
        try:
            with open(Path(invitation), encoding="utf-8", errors="replace") as file:
                return file.read(LONGEST_INVITATION + 1)
        except OSError as error:
            raise NotConfigured(f"The invitation cannot be read from {invitation}: {error.strerror}.") from None
    if sys.stdin.isatty():
        return getpass.getpass("Paste the invitation (it is not shown), and press Enter: ")
    return sys.stdin.read(LONGEST_INVITATION + 1)
