"""Who may call what: a pure decision with a reason that a person can act on.

======================  ====================================================
pattern                 shares with
======================  ====================================================
``awi/anna``            one person
``awi/*`` or ``awi``    everybody of one institute, now and later
``*/*`` or ``*``        everybody in the network
======================  ====================================================

The owner's own institute may always call. Whatever is not a pattern of this table matches nobody.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..errors import InvalidName
from ..names import OWNER_INSTITUTE, check_institute, check_person

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .identity import Caller

__all__ = ["Decision", "check_pattern", "decide"]


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether a call is allowed, and why.

    Attributes
    ----------
    allowed : bool
        True when the call may run.
    reason : str
        One sentence for the audit log; when denied, also what to do about it.
    """

    allowed: bool
    reason: str


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


def decide(caller: Caller, owner_institute: str, member: str, shares: Sequence[str], network_owner: bool) -> Decision:
    """Decide whether `caller` may use `member`.

    Parameters
    ----------
    caller : Caller
        Who asks, read from the delivered subject.
    owner_institute : str
        Institute that serves the module.
    member : str
        Whole address of what is asked for, ``geomar/ocean.climatology``; used in the reason only.
    shares : sequence of str
        Patterns under which the owner shared it. What `check_pattern` would refuse matches nobody.
    network_owner : bool
        True on an embedded network: its owner, institute ``local``, may then call everything.

    Examples
    --------
    >>> from landbridge.security import Caller
    >>> decide(Caller("awi", "bob"), "geomar", "geomar/ocean.mean", ["awi/anna"], False).allowed
    False
    >>> decide(Caller("awi", "bob"), "geomar", "geomar/ocean.mean", ["awi/*"], False).reason
    'geomar/ocean.mean is shared with awi/*'
    """
    if caller.institute == owner_institute:
        return Decision(True, f"{caller} belongs to {owner_institute}, which serves {member}")
    if network_owner and caller.institute == OWNER_INSTITUTE:
        return Decision(True, f"{caller} owns this network")
    for pattern in (str(caller), f"{caller.institute}/*", caller.institute, "*/*", "*"):
        if pattern in shares:
            return Decision(True, f"{member} is shared with {pattern}")
    module = member.partition(".")[0]
    return Decision(
        False,
        f"{owner_institute} has not shared {member} with {caller}; ask {owner_institute} to share it: "
        f"landbridge serve FILE --as {module} --share '{caller}'",
    )
