"""``landbridge share``: whom a module that this computer serves is shared with, from now on."""

from __future__ import annotations

import math
from typing import Any

from ..errors import NotConfigured, UnknownMember
from ..hub.policies import Shares
from ..names import Address, nearest, parse_address
from ..security import Rule, check_pattern, end_of, until_text
from .console import say, show, show_json, table
from .ending import UsageError

__all__ = ["rules_of", "share", "told"]


def share(
    address: str,
    /,
    *who: str,
    until: str | None = None,
    calls_per_hour: int | None = None,
    concurrent: int | None = None,
    approve: bool = False,
    json: bool = False,
) -> None:
    """Share what this computer serves with others; it takes effect within a second. Without WHO: show what is shared.

    What the module itself says (share=), --share of landbridge serve, and landbridge.toml beside it hold, too.

    Parameters
    ----------
    address
        ``institute/module``, or ``institute/module.member`` for one method, class or data set.
    who
        ``awi/anna``, ``awi/*``, or ``*/*`` for everybody.
    until
        Last day, as 2027-03-31, or a time (UTC), as 2027-03-31T12:00.
    calls_per_hour
        How many calls each of them may make in an hour.
    concurrent
        How many calls of each of them may run at a time.
    approve
        Hold back what comes of each of their calls until it is accepted: landbridge approve.
    json
        Print a JSON list of all rules.
    """
    shares, member = rules_of(address)
    if not who:
        told(shares, shares.read(), json=json)
        return
    for limit, name in ((calls_per_hour, "--calls-per-hour"), (concurrent, "--concurrent")):
        if limit is not None and limit < 1:
            raise UsageError(f"{name} is {limit}, and must be at least 1")
    try:
        end = math.inf if until is None else end_of(until)
    except ValueError as error:
        raise UsageError(f"--until is {error}") from None
    added = [Rule(check_pattern(each), member, end, calls_per_hour, concurrent, approve=approve) for each in who]
    rules = shares.share(added)
    for rule in added:
        refusal = next((each for each in rules if each.refuses and _covers(each, rule)), None)
        if refusal is not None:
            say(
                f"{rule.who} still may not call it: {refusal.who} is refused, which comes first. "
                f"Lift that: landbridge share {_named(address, refusal)} '{refusal.who}'"
            )
        wider = next((each for each in rules if not (each.refuses or each.approve) and _covers(each, rule)), None)
        if rule.approve and wider is not None:
            say(
                f"Calls of {rule.who} still go through unseen: {_named(address, wider)} is shared with {wider.who} "
                f"without --approve, and one share is enough. Change that: landbridge share {_named(address, wider)} "
                f"'{wider.who}' --approve"
            )
    told(shares, rules, json=json)


def rules_of(address: str) -> tuple[Shares, frozenset[str] | None]:
    """Return what is shared of a module, and the member that `address` names.

    Raises
    ------
    NotConfigured
        When the module has never been served from this computer.
    UnknownMember
        When it had no such member the last time.
    """
    where = parse_address(address)
    module = f"{where.institute}/{where.module}"
    shares = Shares(module)
    members = shares.members
    if members is None:
        raise NotConfigured(
            f"{module} has not been served from this computer, so it cannot be shared from here. Serve it first: "
            f"landbridge serve FILE --as {module}"
        )
    if where.member is None:
        return shares, None
    if where.member.partition(".")[0] not in members:
        raise UnknownMember(module, where.member, nearest(where.member, members))
    return shares, frozenset([where.member])


def told(shares: Shares, rules: tuple[Rule, ...], *, json: bool) -> None:
    """Show rules."""
    if json:
        show_json([_facts(rule) for rule in rules])
    elif rules:
        show(table(("who", "may call", "until", "within"), [_line(rule) for rule in rules]))
    else:
        say("Nothing has been shared from here. What the module itself says holds (share=, --share, landbridge.toml).")


def _line(rule: Rule) -> tuple[str, str, str, str]:
    what = "everything" if rule.members is None else ", ".join(sorted(rule.members))
    limits = [
        f"{rule.calls_per_hour:,} calls an hour" if rule.calls_per_hour is not None else "",
        f"{rule.concurrent} at a time" if rule.concurrent is not None else "",
        "each to be approved" if rule.approve else "",
    ]
    until = "" if rule.until == math.inf else until_text(rule.until)
    return rule.who, f"not {what}" if rule.refuses else what, until, ", ".join(filter(None, limits))


def _facts(rule: Rule) -> dict[str, Any]:
    return {
        "who": rule.who,
        "members": None if rule.members is None else sorted(rule.members),
        "refused": rule.refuses,
        "until": None if rule.until == math.inf else until_text(rule.until),
        "calls_per_hour": rule.calls_per_hour,
        "concurrent": rule.concurrent,
        "approve": rule.approve,
    }


def _covers(wider: Rule, rule: Rule) -> bool:
    """Return whether a rule is about all that another is about."""
    people = wider.who in ("*/*", rule.who, f"{rule.who.partition('/')[0]}/*")
    return people and (wider.members is None or (rule.members is not None and rule.members <= wider.members))


def _named(address: str, rule: Rule) -> str:
    where: Address = parse_address(address)
    member = "" if rule.members is None else f".{min(rule.members)}"
    return f"{where.institute}/{where.module}{member}"
