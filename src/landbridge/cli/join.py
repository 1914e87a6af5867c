"""``landbridge join``: an invitation becomes a profile."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path

from ..errors import NotConfigured, printable
from ..hub.institutes import institute_of
from ..hub.joining import join as join_network
from ..hub.renewal import read_credentials
from ..security import LONGEST_INVITATION, Invitation, fingerprint, is_invitation
from ..settings import read_profile
from .console import say, show, show_json
from .ending import UsageError
from .screen import unseen

__all__ = ["join"]

_LONGEST_NAME = 500


def join(
    invitation: str | None = None,
    /,
    *,
    profile: str | None = None,
    name: str | None = None,
    json: bool = False,
) -> None:
    """Join a network with an invitation, as an institute or as a person of one.

    Parameters
    ----------
    invitation
        File with the invitation; without it, what is piped in, or else you are asked to paste it.
    profile
        What the profile is to be called, by which you choose this network; by default as the institute.
    name
        What you are to be called in an institute that you join for; by default as you log in here.
    json
        Print a JSON object.
    """
    text = _read(invitation)
    made = join_network(text, profile, name)
    network = Invitation.parse(text).network_name or "the network"
    credentials = read_credentials(read_profile(made))
    ours = institute_of(made)
    if json:
        facts = {
            "profile": made,
            "network": network,
            "who": str(credentials.caller),
            "serves": list(credentials.modules),
        }
        show_json(facts | ({} if ours is None else {"fingerprint": fingerprint(ours.root.public)}))
        return
    show(f"You have joined {network} as {credentials.caller}. Profile: {made}")
    if ours is None:
        say(f"See what there is: landbridge ls --profile {made}")
        return
    say(
        f"{ours.name} is known by the fingerprint {fingerprint(ours.root.public)}: tell it to those who ask.\n"
        f"Its keys are on this computer only; keep a copy of {ours.folder} where nobody else can read it.\n"
        f"Serve something:    landbridge serve FILE.py --as {ours.name}/MODULE --profile {made}\n"
        f"Invite your people: landbridge invite person NAME, and let them in: landbridge admit"
    )


def _read(invitation: str | None) -> str:
    if invitation is not None and (is_invitation(invitation) or len(invitation) > _LONGEST_NAME):
        raise UsageError(
            "an invitation is a secret, and others can see command lines. Give it in a file, or without any words: "
            "landbridge join, and paste it. If others may have seen it, ask for a new one."
        )
    if invitation is not None:
        try:
            with open(Path(invitation), encoding="utf-8", errors="replace") as file:
                return file.read(LONGEST_INVITATION + 1)
        except OSError as error:
            shown = printable(repr(invitation), _LONGEST_NAME)
            raise NotConfigured(f"The invitation cannot be read from the file {shown}: {error.strerror}.") from None
    return _pasted() if sys.stdin.isatty() else sys.stdin.read(LONGEST_INVITATION + 1)


def _pasted() -> str:
    """Return what is pasted, which is not shown: up to the end of the invitation, in however many lines it comes."""
    text = ""
    with unseen():  # before anybody is told to paste
        say("Paste the invitation (it is not shown), and press Enter:")
        while len(text) <= LONGEST_INVITATION:
            line = sys.stdin.readline()
            text += line
            if not line.strip():  # an empty one, or the end
                break
            with contextlib.suppress(NotConfigured):
                Invitation.parse(text)
                break
    return text
