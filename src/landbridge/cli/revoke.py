"""``landbridge revoke``: with whom nothing is shared any more, and who no longer belongs to an institute or network."""

from __future__ import annotations

import time

from ..client.loop import wait_for
from ..errors import BrokerFailed, BrokerUnreachable
from ..hub.access import institute_here
from ..hub.issue import change_keys
from ..hub.rotation import shut_out
from ..security import check_pattern
from ..settings import local_dir
from .console import say, show_json
from .ending import UsageError
from .share import rules_of, told

__all__ = ["revoke"]

_TIMEOUT_S = 30.0


def revoke(what: str, /, *who: str, profile: str | None = None, json: bool = False) -> None:
    """Refuse what this computer serves to somebody, or shut somebody out: running calls end within a second.

    landbridge revoke geomar/ocean 'awi/*' comes before everything that the module itself says; landbridge share with
    the same words takes it back. After landbridge revoke person anna, she belongs to your institute no longer; only a
    new invitation lets her in again. So it is with landbridge revoke institute gfz and this network.

    Parameters
    ----------
    what
        ``institute/module``, or ``institute/module.member`` for one method, class or data set; person; institute.
    who
        ``awi/anna``, ``awi/*``, or ``*/*`` for everybody, your own institute too; the name of a person or institute.
    profile
        Which institute a person belongs to, if several are run from this computer.
    json
        Print a JSON list of all rules, or an object that says who was shut out.
    """
    if what in ("person", "institute"):
        if len(who) != 1:
            raise UsageError(f"say whom, one at a time, as in: landbridge revoke {what} NAME")
        (_shut_out_person if what == "person" else _shut_out_institute)(who[0], profile, json=json)
        return
    address = what
    if not who:
        raise UsageError("say whom, as in: landbridge revoke geomar/ocean 'awi/*'\nSee: landbridge revoke --help")
    shares, members = rules_of(address)
    told(shares, shares.revoke([check_pattern(each) for each in who], members), json=json)


def _shut_out_person(person: str, profile: str | None, *, json: bool) -> None:
    ours = institute_here(profile)
    why_not = shut_out(ours, person, now=int(time.time()))
    if why_not is not None:
        raise BrokerUnreachable(
            f"{ours.name}/{person} is let in and renewed no longer, but not cut off yet, because the network could not "
            f"be told: {str(why_not).rstrip('.')}. What they have to work with ends by itself within 7 days. Run the "
            "same command again to cut them off."
        )
    if json:
        show_json({"person": f"{ours.name}/{person}", "revoked": True})
    else:
        say(f"{ours.name}/{person} is shut out. To let them in again: landbridge invite person {person}")


def _shut_out_institute(name: str, profile: str | None, *, json: bool) -> None:
    if profile is not None:
        raise UsageError("--profile is for persons: institutes are shut out where the network runs.")
    now = int(time.time())
    try:
        wait_for(change_keys(local_dir(), lambda keys: keys.remove(name, now=now), takes_away=True), _TIMEOUT_S)
    except (BrokerUnreachable, BrokerFailed, TimeoutError) as error:
        raise BrokerUnreachable(
            f"{name} is shut out for good, but its people are not cut off yet, because the broker could not be told: "
            f"{str(error).rstrip('.')}. landbridge up tells it within a minute of its coming back."
        ) from error
    if json:
        show_json({"institute": name, "revoked": True})
    else:
        say(f"{name} is shut out, with all of its people. To let it in again: landbridge invite institute {name}")
