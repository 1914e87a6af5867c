"""The module ``lb/id``: lets invited institutes into the network, takes their new keys, and shuts out whom they name.

It runs beside the broker, with the keys of the network. Whoever calls is whom the broker says; what they want done in
the name of an institute must be signed by its root key, too, so that no person of an institute can do it.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from ..backend.context import current_call
from ..backend.execution import own_errors
from ..backend.expose import Exposed, Exposure
from ..errors import PermissionDenied
from ..security import SERVICE_INSTITUTE, read_charter, read_revocation, read_rotation
from .issue import change_keys
from .keys import NetworkKeys

__all__ = ["LONGEST_OVERLAP_S", "registrar"]

LONGEST_OVERLAP_S = 90 * 24 * 3600
"""How long keys that an institute has replaced may go on being good, in seconds."""

_LONGEST_MEMBERSHIP_S = 20 * 366 * 24 * 3600


def registrar(keys_dir: Path, changed: Callable[[str], None]) -> Exposure:
    """Return what ``lb/id`` exposes.

    Parameters
    ----------
    keys_dir : Path
        Where the keys of the network are kept.
    changed : callable
        Told in words what has changed.
    """

    async def join(charter: str) -> dict[str, str]:
        """Let an institute into the network, once, with the invitation that it was sent.

        Parameters
        ----------
        charter
            With which keys it takes part, signed by its root key.
        """
        with own_errors():
            institute, invitation = _caller()
            if institute != SERVICE_INSTITUTE:
                raise PermissionDenied("Only who has an invitation can join. Ask whoever runs the network for one.")
            now = int(time.time())
            keys = await change_keys(keys_dir, lambda keys: keys.join(invitation, charter, now=now))
            joined = read_charter(charter).institute
            changed(f"{joined} has joined the network")
            return {"institute": joined, "network": keys.name}

    async def rotate(rotation: str) -> None:
        """Take other keys of an institute.

        Parameters
        ----------
        rotation
            Its new charter, and how long the keys before are good, too, signed by its root key.
        """
        with own_errors():
            institute, _ = _caller()
            charter, keep_s = read_rotation(rotation)
            named = read_charter(charter).institute
            if named != institute:
                raise PermissionDenied(f"{institute} cannot change the keys of {named}. Its own people can.")
            now = int(time.time())
            until = now + max(0, min(keep_s, LONGEST_OVERLAP_S))
            work = change_keys(
                keys_dir, lambda keys: keys.rotate(charter, keep_until=until, now=now), takes_away=keep_s <= 0
            )
            await work
            changed(f"{institute} has changed its keys")

    async def revoke(revocation: str) -> int:
        """Shut out members of an institute, their live connections too. Returns how many keys are void now.

        Parameters
        ----------
        revocation
            Their keys, signed by the institute's root key.
        """
        with own_errors():
            institute, _ = _caller()
            now = int(time.time())

            def without(keys: NetworkKeys) -> NetworkKeys:
                joined = keys.joined.get(institute)
                if joined is None:
                    raise PermissionDenied(f"{institute} has no root key here, so nothing it signs can be checked.")
                void = read_revocation(revocation, keys.net.public, institute, joined.charter.root)
                ends = {key: min(until, now + _LONGEST_MEMBERSHIP_S) for key, until in void.items()}
                return keys.revoke(institute, ends, now=now)

            keys = await change_keys(keys_dir, without, takes_away=True)
            changed(f"{institute} has shut out a member")
            return sum(each.institute == institute for each in keys.revoked.values())

    def institutes() -> dict[str, str]:
        """Return the charters of the institutes that take part with keys of their own, by name."""
        return {name: joined.text for name, joined in NetworkKeys.load(keys_dir).joined.items()}

    methods: tuple[Callable[..., object] | Callable[..., Awaitable[object]], ...] = (join, rotate, revoke, institutes)
    return Exposure(
        "Lets institutes into this network. See landbridge invite, join, rotate, revoke and trust.",
        "",
        {each.__name__: Exposed(each, share=("*/*",)) for each in methods},
        (),
    )


def _caller() -> tuple[str, str]:
    call = current_call()
    institute, _, person = (call.caller if call is not None else "").partition("/")
    return institute, person
