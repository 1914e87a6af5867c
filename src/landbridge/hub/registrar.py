"""The module ``lb/id``: lets invited institutes into the network, takes their new keys, and shuts out whom they name.

It runs beside the broker, with the keys of the network. Whoever calls is whom the broker says; what they want done in
the name of an institute must be signed by its root key, too, so that no person of an institute can do it.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Awaitable, Callable
from pathlib import Path

from ..backend.context import current_call
from ..backend.execution import own_errors
from ..backend.expose import Exposed, Exposure
from ..errors import Busy, PermissionDenied
from ..names import ISSUER_MODULE
from ..security import SERVICE_INSTITUTE, read_charter, read_revocation
from .issue import change_keys
from .keys import NetworkKeys

__all__ = ["registrar"]

_CHANGES, _CHANGES_WITHIN_S = 60, 600
_LONGEST_MEMBERSHIP_S = 20 * 366 * 24 * 3600


def registrar(keys_dir: Path, told: Callable[[str], None]) -> Exposure:
    """Return what ``lb/id`` exposes.

    Parameters
    ----------
    keys_dir : Path
        Where the keys of the network are kept.
    told : callable
        Told in words what has changed.
    """
    pace = _Pace()

    async def change(
        institute: str, decide: Callable[[NetworkKeys], NetworkKeys], what: str, *, takes_away: bool = False
    ) -> NetworkKeys:
        is_news = False

        def decided(keys: NetworkKeys) -> NetworkKeys:
            nonlocal is_news
            after = decide(keys)
            if after is not keys:
                # Only what its root key has signed comes so far: nobody else can use up how often it may.
                pace.check(institute, int(time.time()))
                is_news = True
            return after

        keys = await change_keys(keys_dir, decided, takes_away=takes_away)
        if is_news:
            told(f"{institute} {what}")
        return keys

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
            now, joined = int(time.time()), read_charter(charter).institute
            keys = await change(joined, lambda keys: keys.join(invitation, charter, now=now), "has joined the network")
            return {"institute": joined, "network": keys.name}

    async def rotate(charter: str) -> None:
        """Take other keys of an institute.

        Parameters
        ----------
        charter
            The new keys, and until when those before are good, signed by its root key.
        """
        with own_errors():
            institute, _ = _caller()
            read = read_charter(charter)
            if read.institute != institute:
                raise PermissionDenied(f"{institute} cannot change the keys of {read.institute}. Its own people can.")
            now = int(time.time())
            shuts_out = read.replaced_until <= now
            what = "has changed its keys"
            await change(institute, lambda keys: keys.rotate(charter, now=now), what, takes_away=shuts_out)

    async def revoke(revocation: str) -> None:
        """Shut out members of an institute, their live connections too.

        Parameters
        ----------
        revocation
            Their keys, signed by the institute's root key.
        """
        with own_errors():
            institute, _ = _caller()
            now = int(time.time())

            def without(keys: NetworkKeys) -> NetworkKeys:
                partner = keys.partners.joined.get(institute)
                if partner is None:
                    raise PermissionDenied(f"{institute} has no root key here, so nothing it signs can be checked.")
                void = read_revocation(revocation, keys.net.public, institute, partner.charter.root)
                ends = {key: min(until, now + _LONGEST_MEMBERSHIP_S) for key, until in void.items()}
                return keys.revoke(institute, ends, now=now)

            await change(institute, without, "has shut out a member", takes_away=True)

    def charter(institute: str) -> str:
        """Return the charter of an institute that takes part with keys of its own; empty for any other.

        Parameters
        ----------
        institute
            Its name.
        """
        with own_errors():
            partner = NetworkKeys.load(keys_dir).partners.joined.get(institute)
            return "" if partner is None else partner.text

    methods: tuple[Callable[..., object] | Callable[..., Awaitable[object]], ...] = (join, rotate, revoke, charter)
    return Exposure(
        "Lets institutes into this network. See landbridge invite, join, rotate, revoke and trust.",
        "",
        {each.__name__: Exposed(each, share=("*/*",)) for each in methods},
        (),
    )


class _Pace:
    """How often institutes may change something: each change is told to all brokers, and written to a disk."""

    def __init__(self) -> None:
        self._changes: dict[str, deque[int]] = {}

    def check(self, institute: str, now: int) -> None:
        """Take note of a change; raises `Busy` when there are too many."""
        lately = self._changes.setdefault(institute, deque(maxlen=_CHANGES))
        if len(lately) == _CHANGES and 0 <= now - lately[0] < _CHANGES_WITHIN_S:
            raise Busy(
                f"{SERVICE_INSTITUTE}/{ISSUER_MODULE}", f"{institute} has changed something {_CHANGES} times lately",
                _CHANGES_WITHIN_S - (now - lately[0]),
            )  # fmt: skip
        lately.append(now)


def _caller() -> tuple[str, str]:
    call = current_call()
    institute, _, person = (call.caller if call is not None else "").partition("/")
    return institute, person
