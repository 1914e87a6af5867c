"""``landbridge trust``: by which root keys institutes are known here."""

from __future__ import annotations

import re

from ..client.known import forget as forget_institute
from ..client.known import know, known_institutes
from ..client.lookup import charter_of
from ..client.loop import wait_for
from ..errors import NotConfigured
from ..names import check_institute
from ..security import fingerprint
from .console import say, show, show_json, table
from .ending import UsageError
from .network import connected

__all__ = ["trust"]

_FINGERPRINT = re.compile(r"[a-z2-7]{4}(-[a-z2-7]{4}){5}")


def trust(
    institute: str | None = None,
    print_of_root: str | None = None,
    /,
    *,
    forget: bool = False,
    profile: str | None = None,
    json: bool = False,
) -> None:
    """Show by which fingerprint an institute is known here, or know it by another one from now on.

    An institute is known from the first time that one of its modules is asked. If its root key is another one later,
    nothing of it is called until you say so.

    Parameters
    ----------
    institute
        Which one; without it, all that are known are shown.
    print_of_root
        Its fingerprint, as landbridge whoami shows it there. Have it told to you by another way than this network.
    forget
        Know the institute no longer: it takes part without keys of its own now, or the next root key is to be learned.
    profile
        Which network, and as whom; by default the network of this computer, or the only one you have joined.
    json
        Print JSON.
    """
    if print_of_root is not None and not _FINGERPRINT.fullmatch(print_of_root):
        raise UsageError(f"{print_of_root!r} is no fingerprint: six groups of four letters and digits are wanted.")
    if forget and (institute is None or print_of_root is not None):
        raise UsageError("--forget: say which institute, and no fingerprint.")
    with connected(profile) as link:
        network = link.access.network
        if not network:
            raise NotConfigured("The credential does not say which network it is for, so nothing can be known of it.")
        known = known_institutes().get(network, {})
        if institute is None:
            _show_all(known, json=json)
            return
        charter = wait_for(charter_of(link, check_institute(institute)))
        now = "" if charter is None else fingerprint(charter.root)
    if forget:
        _check_written(forget_institute(network, institute))
        say(f"{institute} is not known here any more.")
        return
    if print_of_root is not None:
        _check_written(know(network, institute, print_of_root))
        say(f"{institute} is known by {print_of_root} from now on.")
        if now != print_of_root:
            say(f"Whoever has its name in the network now has another root key ({now or 'none'}): that is refused.")
    facts = {"institute": institute, "known": print_of_root or known.get(institute, ""), "now": now}
    if json:
        show_json(facts)
    elif print_of_root is None:
        show(f"known here       {facts['known'] or 'not yet'}\nin the network   {now or 'has no root key there'}")
        if now and now != facts["known"]:
            say(f"If {institute} has told you that this is its fingerprint: landbridge trust {institute} {now}")


def _check_written(is_written: bool) -> None:
    if not is_written:
        raise NotConfigured("What is known of institutes is being changed by another program just now. Try again.")


def _show_all(known: dict[str, str], *, json: bool) -> None:
    if json:
        show_json([{"institute": name, "known": each} for name, each in sorted(known.items())])
    elif known:
        show(table(("institute", "known by"), sorted(known.items())))
    else:
        say("No institute of this network is known yet.")
