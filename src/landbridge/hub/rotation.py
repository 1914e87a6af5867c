"""What an institute asks of whoever runs the network: to take its other keys, to shut out a member."""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping

from ..client.access import Access
from ..client.loop import wait_for
from ..errors import BrokerUnreachable, LandbridgeError
from ..security import MOST_REVOKED, SERVICE_INSTITUTE, KeyPair, sign_revocation, sign_rotation
from ..settings import read_profile
from .institutes import Institute, institute_of
from .joining import ask_issuer
from .members import Members
from .owner import owner_person
from .renewal import read_credentials, renew

__all__ = ["replace_keys", "shut_out"]

_NEXT_FILE = "next.json"
_OVERLAP_S = 120
_TIMEOUT_S = 30.0


def replace_keys(ours: Institute, *, keep_s: int, now: int) -> None:
    """Have an institute sign its people with other keys from now on.

    The new keys are kept before the network is told. If this computer ends in between, doing it again goes on with the
    same ones: without them, an institute whose old keys are void could not even ask.

    Parameters
    ----------
    ours : Institute
        With the keys of now.
    keep_s : int
        How long these are good, too, in seconds; 0 makes them void at once, and with them all members but this one.
    now : int
        In seconds since 1970 UTC.

    Raises
    ------
    PermissionDenied
        When the network does not take them.
    BrokerUnreachable, ModuleOffline
        When it cannot be asked.
    """
    unfinished = institute_of(ours.profile, _NEXT_FILE)
    anew = unfinished or ours.rotated(secrets.token_bytes, now=now)
    anew.save(_NEXT_FILE)
    # First both are good: whoever asks with a key that is void at that moment would be cut off before the answer.
    arguments = {"rotation": sign_rotation(anew.charter_text, max(keep_s, _OVERLAP_S), anew.root)}
    try:
        _ask(ours, "rotate", arguments)
    except BrokerUnreachable:
        if unfinished is None:
            raise
        _ask(anew, "rotate", arguments)  # it was taken the last time, so what the old keys sign is no longer good
    if keep_s < _OVERLAP_S:
        _ask(anew, "rotate", {"rotation": sign_rotation(anew.charter_text, keep_s, anew.root)})
    anew.save()
    (ours.folder / _NEXT_FILE).unlink()
    profile = read_profile(ours.profile)
    if keep_s <= 0:
        own = KeyPair.from_seed(read_credentials(profile).seed).public
        wait_for(anew.change_members(lambda members: members.revoke_all(but=own, now=now)), _TIMEOUT_S)
    renew(profile)


def shut_out(ours: Institute, person: str, *, now: int) -> LandbridgeError | None:
    """Let a person belong to the institute no longer: not renewed any more, and cut off by the broker now.

    Returns
    -------
    LandbridgeError or None
        Why the broker could not be told; what they have then is good until it expires. None when they are cut off.

    Raises
    ------
    NotConfigured
        When there is no such member.
    """
    ends: dict[str, int] = {}

    def without(members: Members) -> Members:
        after, void = members.revoke(person, now=now)
        ends.update(void)
        return after

    wait_for(ours.change_members(without), _TIMEOUT_S)
    try:
        void = list(ends.items())
        for first in range(0, len(void), MOST_REVOKED):
            some = dict(void[first : first + MOST_REVOKED])
            _ask(ours, "revoke", {"revocation": sign_revocation(ours.network, ours.name, some, ours.root)})
    except LandbridgeError as error:
        return error
    return None


def _ask(ours: Institute, method: str, arguments: Mapping[str, object]) -> object:
    held = ours.own_credentials(owner_person(), (), now=int(time.time()))
    urls = read_profile(ours.profile).urls
    access = Access(urls, ours.name, held.name, lambda: held.jwt, held.sign, network=ours.network)
    return ask_issuer(access, method, arguments, of=SERVICE_INSTITUTE)
