"""``landbridge revoke``: whom a module that this computer serves is shared with no longer."""

from __future__ import annotations

from ..security import check_pattern
from .ending import UsageError
from .share import rules_of, told

__all__ = ["revoke"]


def revoke(address: str, /, *who: str, json: bool = False) -> None:
    """Refuse what this computer serves to somebody, whatever else is shared; running calls are ended within a second.

    It comes before everything that the module itself says. landbridge share with the same words takes it back.

    Parameters
    ----------
    address
        ``institute/module``, or ``institute/module.member`` for one method, class or data set.
    who
        ``awi/anna``, ``awi/*``, or ``*/*`` for everybody, your own institute too.
    json
        Print a JSON list of all rules.
    """
    if not who:
        raise UsageError("say whom, as in: landbridge revoke geomar/ocean 'awi/*'\nSee: landbridge revoke --help")
    shares, members = rules_of(address)
    told(shares, shares.revoke([check_pattern(each) for each in who], members), json=json)
