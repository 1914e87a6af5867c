"""Who may call what: a pure decision with a reason that a person can act on.

======================  ====================================================
pattern                 shares with
======================  ====================================================
``awi/anna``            one person
``awi/*`` or ``awi``    everybody of one institute, now and later
``*/*`` or ``*``        everybody in the network
======================  ====================================================

The owner's own institute may always call, but for whom a refusal names. Whatever is not a pattern of this table matches
nobody.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ..errors import InvalidName
from ..names import OWNER_INSTITUTE, check_institute, check_person

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .conditions import Condition
    from .identity import Caller

__all__ = ["Decision", "Rule", "check_pattern", "decide", "until_text"]


_DAY_S = 24 * 3600


@dataclass(frozen=True, slots=True)
class Rule:
    """One thing that an owner allows or refuses.

    Attributes
    ----------
    who : str
        A pattern, as `check_pattern` gives it.
    members : frozenset of str, optional
        Names of methods, classes and data sets; None for all of the module.
    until : float
        When it ends, in seconds since 1970 UTC.
    calls_per_hour, concurrent, bytes_per_hour : int, optional
        How much each caller may use under it.
    conditions : tuple of Condition
        What the arguments must fulfil.
    refuses : bool
        Whether it refuses what others of the rules allow.
    approve : bool
        Whether its owner has to accept what comes of each call before the caller gets it.
    """

    who: str
    members: frozenset[str] | None = None
    until: float = math.inf
    calls_per_hour: int | None = None
    concurrent: int | None = None
    bytes_per_hour: int | None = None
    conditions: tuple[Condition, ...] = ()
    refuses: bool = False
    approve: bool = False

    @property
    def is_limited(self) -> bool:
        """Whether it allows less than everything."""
        limits = (self.calls_per_hour, self.concurrent, self.bytes_per_hour)
        return bool(self.conditions) or any(limit is not None for limit in limits)

    def concerns(self, caller: Caller, member: str) -> bool:
        """Return whether it says anything of `caller` and a member, ``climatology`` or ``Model.step``."""
        if self.members is not None and not {member, member.partition(".")[0]} & self.members:
            return False
        return self.who in (f"{caller.institute}/{caller.person}", f"{caller.institute}/*", "*/*")


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether a call is allowed, and why.

    Attributes
    ----------
    allowed : bool
        True when the call may run.
    reason : str
        One sentence for the audit log; when denied, also what to do about it.
    rules : tuple of Rule
        Rules of which one has to be kept, when it is allowed within limits only; empty when there are none.
    until : float
        When it has to be made anew, in seconds since 1970 UTC.
    approve : bool
        Whether its owner has to accept what comes of the call; when there are `rules`, unless the call keeps one of
        them that does not say so.
    """

    allowed: bool
    reason: str
    rules: tuple[Rule, ...] = ()
    until: float = math.inf
    approve: bool = False


def check_pattern(text: str) -> str:
    """Return the canonical form of a share pattern, ``institute/person`` with ``*`` for everybody.

    Raises
    ------
    InvalidName
        When `text` is no pattern, with the reason.

    Examples
    --------
    >>> check_pattern("awi"), check_pattern("*"), check_pattern("gfz/anna")
    ('awi/*', '*/*', 'gfz/anna')
    """
    if not isinstance(text, str):
        raise InvalidName(text, "share pattern", "it must be a text such as awi/anna, awi/* or */*")
    institute, slash, person = text.partition("/")
    person = person if slash else "*"
    if institute == "*":
        if person != "*":
            # Any institute could issue a person of that name, so this would share with whoever chooses to be called so.
            raise InvalidName(text, "share pattern", "a person is known only together with the institute: awi/anna")
        return "*/*"
    check_institute(institute, reserved=True)
    return f"{institute}/{person if person == '*' else check_person(person)}"


def decide(
    caller: Caller,
    owner_institute: str,
    module: str,
    member: str,
    rules: Iterable[Rule],
    *,
    network_owner: bool = False,
    now: float = 0.0,
    approve: bool = False,
    one_value: bool = True,
) -> Decision:
    """Decide whether `caller` may use a member of a module.

    Parameters
    ----------
    caller : Caller
        Who asks, read from the delivered subject.
    owner_institute : str
        Institute that serves the module.
    module : str
        ``institute/module``; used in the reason only.
    member : str
        What is asked for: ``climatology``, ``Model.step``, or ``sst.select`` of a data set.
    rules : iterable of Rule
        What its owner allows and refuses, in any order.
    network_owner : bool
        True on an embedded network: its owner, institute ``local``, may then call everything.
    now : float
        Seconds since 1970 UTC.
    approve : bool
        Whether the module itself says that its owner has to accept what comes of each call of others.
    one_value : bool
        Whether the member answers with one value. What comes bit by bit cannot be accepted before it goes, so rules
        that demand this allow nothing then.

    Examples
    --------
    >>> from landbridge.security import Caller, Rule
    >>> decide(Caller("awi", "bob"), "geomar", "geomar/ocean", "mean", [Rule("awi/anna")]).allowed
    False
    >>> decide(Caller("awi", "bob"), "geomar", "geomar/ocean", "mean", [Rule("awi/*")]).reason
    'geomar/ocean.mean is shared with awi/*'
    """
    what = f"{module}.{member}"
    if network_owner and caller.institute == OWNER_INSTITUTE:
        return Decision(True, f"{caller} owns this network")
    concerning = [rule for rule in rules if rule.concerns(caller, member)]
    current = [rule for rule in concerning if now < rule.until]
    if approve:
        # It holds for all who need a share, whichever that is.
        current = [rule if rule.refuses else replace(rule, approve=True) for rule in current]
    until = min((rule.until for rule in current), default=math.inf)
    refusals = [rule for rule in current if rule.refuses]
    if refusals:
        return Decision(False, _refused(caller, owner_institute, what, refusals[0]), until=until)
    if caller.institute == owner_institute:
        return Decision(True, f"{caller} belongs to {owner_institute}, which serves {what}", until=until)
    if not current:
        ended = max((rule for rule in concerning if not rule.refuses), key=lambda rule: rule.until, default=None)
        return Decision(False, _not_shared(caller, owner_institute, module, member, ended))
    allowing = [rule for rule in current if one_value or not rule.approve]
    if not allowing:
        return Decision(False, _cannot_wait(owner_institute, module, member, current[0]), until=until)
    unlimited = [rule for rule in allowing if not rule.is_limited]
    free = [rule for rule in unlimited if not rule.approve]
    approve = not free and any(rule.approve for rule in allowing)
    is_plain = bool(free) or (bool(unlimited) and all(rule.approve for rule in allowing))
    shared = f"{what} is shared with {(free or unlimited or allowing)[0].who}"
    return Decision(True, shared, () if is_plain else tuple(allowing), until, approve)


def until_text(until: float) -> str:
    """Return an end as people read it.

    Examples
    --------
    >>> until_text(1806537600.0), until_text(1806541200.0)
    ('the end of 2027-03-31', '2027-04-01 01:00 UTC')
    """
    if until % _DAY_S == 0:
        return time.strftime("the end of %Y-%m-%d", time.gmtime(until - _DAY_S))
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(until))


def _refused(caller: Caller, owner: str, what: str, rule: Rule) -> str:
    end = "" if rule.until == math.inf else f" until {until_text(rule.until)}"
    return f"{owner} does not let {rule.who} call {what}{end}, and so not {caller}; ask {owner}"


def _cannot_wait(owner: str, module: str, member: str, rule: Rule) -> str:
    return (
        f"{owner} shares {module}.{member} with {rule.who} only if it can look at each result before it goes, and this "
        f"comes bit by bit; ask {owner} for a method that returns one value, or to share it without: "
        f"landbridge share {module}.{member.partition('.')[0]} '{rule.who}'"
    )


def _not_shared(caller: Caller, owner: str, module: str, member: str, ended: Rule | None) -> str:
    what = f"{module}.{member}"
    if ended is not None:
        said = f"{owner} had shared {what} with {ended.who} until {until_text(ended.until)}"
    else:
        said = f"{owner} has not shared {what} with {caller}"
    shared = f"{module}.{member.partition('.')[0]}"  # a class or data set is shared with all that it has
    return f"{said}; ask {owner} to share it: landbridge share {shared} '{caller}'"
