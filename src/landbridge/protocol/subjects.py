"""Addresses ↔ broker subjects. What a subject says about its sender is true: the broker lets nobody publish another's.

::

    lb.call.<i>.<p>.<I>.<M>.<method>                    a request; i, p = institute and person of the caller
    lb.ctl.<i>.<p>.<I>.<M>.<instance>.call.<id>.<op>    to the one backend that runs the call, or (ANYONE) to all
    lb.ctl.<i>.<p>.<I>.<M>.<instance>.object.<id>.<method>  a request to a method of an object at this backend
    _INBOX.<i>.<p>.<conn>.<id>.<n>                      everything the caller gets back
    lb.cat.<I>.<M>                                      presence of a module

A backend reads the *delivered* subject with `parse_call` or `parse_control` and holds the reply against it with
`check_reply`: a reply anywhere but in the caller's own inbox would make the backend a tool for writing into the
inboxes of others.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Literal, NamedTuple

from ..errors import InvalidName, Malformed
from ..names import check_institute, check_member, check_module, check_person

__all__ = [
    "ANYONE",
    "CATALOGUE_SUBSCRIPTION",
    "DESCRIBE",
    "LEASE_S",
    "MESSAGE",
    "PART",
    "RELEASE",
    "RENEW",
    "CallSubject",
    "ControlSubject",
    "HeldKind",
    "ObjectSubject",
    "call_subject",
    "call_subscription",
    "catalogue_subject",
    "check_reply",
    "connection_of",
    "control_subject",
    "control_subscription",
    "inbox_subject",
    "inbox_subscription",
    "lane_subscription",
    "object_subject",
    "object_subscription",
    "parse_call",
    "parse_catalogue",
    "parse_control",
    "parse_object",
]

DESCRIBE = "_describe"
"""The method every module has: what the caller may see of it."""

ANYONE = "0" * 32
"""Stands for the instance where every backend of a module is meant: who has this call?"""

RENEW, RELEASE = "_renew", "_release"
"""The methods that every object has: prolong its lease, end it."""

LEASE_S = 600.0
"""An object is kept for this long after its caller last used it or renewed its lease."""

MESSAGE = "message"
PART = "part"
"""The two operations of control subjects: parts of long values go through a connection of their own."""

CATALOGUE_SUBSCRIPTION = "lb.cat.*.*"
"""What announces itself, everywhere in the network."""

_WHO = r"([a-z_][A-Za-z0-9_-]{0,62})"
_REPLY = re.compile(rf"_INBOX\.{_WHO}\.{_WHO}\.([0-9a-f]{{32}})\.([0-9a-f]{{32}})\.[0-9]{{1,6}}")
_ID = re.compile(r"[0-9a-f]{32}")
_OPERATION = re.compile(r"[a-z]{1,16}")


HeldKind = Literal["object", "ref"]
"""What a backend holds for its callers: objects of its classes, and results that stay with it."""


class CallSubject(NamedTuple):
    """Who calls what."""

    institute: str
    person: str
    owner: str
    module: str
    method: str


class ObjectSubject(NamedTuple):
    """Who calls which method of which object, or asks what of which reference."""

    institute: str
    person: str
    owner: str
    module: str
    instance: str
    kind: HeldKind
    object_id: str
    method: str


class ControlSubject(NamedTuple):
    """Who tells which running call what."""

    institute: str
    person: str
    owner: str
    module: str
    instance: str
    call_id: str
    operation: str


def call_subject(institute: str, person: str, owner: str, module: str, method: str) -> str:
    """Return the subject of a request.

    Examples
    --------
    >>> call_subject("awi", "bob", "geomar", "ocean", "climatology")
    'lb.call.awi.bob.geomar.ocean.climatology'
    """
    return f"lb.call.{institute}.{person}.{owner}.{module}.{method}"


def call_subscription(owner: str, module: str) -> str:
    """Return what a backend subscribes to for requests."""
    return f"lb.call.*.*.{owner}.{module}.*"


def control_subject(
    institute: str, person: str, owner: str, module: str, instance: str, call_id: str, operation: str
) -> str:
    """Return the subject that reaches the backend running a call."""
    return f"lb.ctl.{institute}.{person}.{owner}.{module}.{instance}.call.{call_id}.{operation}"


def control_subscription(owner: str, module: str, instance: str) -> str:
    """Return what one backend subscribes to for its running calls."""
    return f"lb.ctl.*.*.{owner}.{module}.{instance}.call.*.{MESSAGE}"


def lane_subscription(owner: str, module: str, instance: str) -> str:
    """Return what one backend subscribes to for parts of long arguments."""
    return f"lb.ctl.*.*.{owner}.{module}.{instance}.call.*.{PART}"


def inbox_subject(institute: str, person: str, connection: str, call_id: str, number: int) -> str:
    """Return where the answers to one call go: 0 for those to its request, 1 for those to control messages."""
    return f"_INBOX.{institute}.{person}.{connection}.{call_id}.{number}"


def inbox_subscription(institute: str, person: str, connection: str) -> str:
    """Return what a calling connection subscribes to."""
    return f"_INBOX.{institute}.{person}.{connection}.*.*"


def catalogue_subject(owner: str, module: str) -> str:
    """Return where a module announces itself."""
    return f"lb.cat.{owner}.{module}"


@lru_cache(4096)  # the same callers call the same methods
def parse_call(subject: str) -> CallSubject:
    """Return who calls what, every token checked.

    Raises
    ------
    Malformed
        When the subject has another shape or a token may not be a name.
    """
    tokens = subject.split(".", 8)
    if len(tokens) != 7 or tokens[0] != "lb" or tokens[1] != "call":
        raise Malformed("not the subject of a request")
    try:
        check_institute(tokens[2], reserved=True)
        check_person(tokens[3])
        check_institute(tokens[4], reserved=True)
        check_module(tokens[5])
        if tokens[6] != DESCRIBE:
            _check_method(tokens[6])
    except InvalidName as error:
        raise Malformed(f"the subject holds {error.name}, which may not name {error.what}") from None
    return CallSubject(*tokens[2:])


def _check_method(token: str) -> None:
    """Check a method, or a static method of a class: ``Grid:mean``."""
    owner, colon, method = token.partition(":")
    check_member(owner)
    if colon:
        check_member(method)


def object_subject(
    institute: str, person: str, owner: str, module: str, instance: str, kind: HeldKind, object_id: str, method: str
) -> str:
    """Return the subject of a request to a method of an object, or to a reference."""
    return f"lb.ctl.{institute}.{person}.{owner}.{module}.{instance}.{kind}.{object_id}.{method}"


def object_subscription(owner: str, module: str, instance: str, kind: HeldKind) -> str:
    """Return what one backend subscribes to for the methods of its objects, or for its references."""
    return f"lb.ctl.*.*.{owner}.{module}.{instance}.{kind}.*.*"


def parse_object(subject: str) -> ObjectSubject:
    """Return who asks what of which object or reference, checked; raises `Malformed` as `parse_call` does."""
    tokens = subject.split(".", 11)
    if len(tokens) != 10 or tokens[0] != "lb" or tokens[1] != "ctl" or tokens[7] not in ("object", "ref"):
        raise Malformed("not the subject of a request to an object")
    try:
        check_institute(tokens[2], reserved=True)
        check_person(tokens[3])
        check_institute(tokens[4], reserved=True)
        check_module(tokens[5])
        if tokens[9] not in (RENEW, RELEASE):
            check_member(tokens[9])
    except InvalidName as error:
        raise Malformed(f"the subject holds {error.name}, which may not name {error.what}") from None
    if not _ID.fullmatch(tokens[6]) or not _ID.fullmatch(tokens[8]):
        raise Malformed("the subject holds an id that is not 32 hexadecimal digits")
    kind: HeldKind = "object" if tokens[7] == "object" else "ref"
    return ObjectSubject(tokens[2], tokens[3], tokens[4], tokens[5], tokens[6], kind, tokens[8], tokens[9])


def parse_control(subject: str) -> ControlSubject:
    """Return who tells which running call what, every token checked; raises `Malformed` as `parse_call` does."""
    tokens = subject.split(".", 11)
    if len(tokens) != 10 or tokens[0] != "lb" or tokens[1] != "ctl" or tokens[7] != "call":
        raise Malformed("not the subject of a control message")
    try:
        check_institute(tokens[2], reserved=True)
        check_person(tokens[3])
        check_institute(tokens[4], reserved=True)
        check_module(tokens[5])
    except InvalidName as error:
        raise Malformed(f"the subject holds {error.name}, which may not name {error.what}") from None
    if not _ID.fullmatch(tokens[6]) or not _ID.fullmatch(tokens[8]):
        raise Malformed("the subject holds an id that is not 32 hexadecimal digits")
    if not _OPERATION.fullmatch(tokens[9]):
        raise Malformed("the subject holds an operation that is not a word of lower-case letters")
    return ControlSubject(tokens[2], tokens[3], tokens[4], tokens[5], tokens[6], tokens[8], tokens[9])


def parse_catalogue(subject: str) -> tuple[str, str]:
    """Return owner and name of the module that announces itself; raises `Malformed` as `parse_call` does."""
    tokens = subject.split(".", 5)
    if len(tokens) != 4 or tokens[0] != "lb" or tokens[1] != "cat":
        raise Malformed("not the subject of a catalogue entry")
    try:
        return check_institute(tokens[2], reserved=True), check_module(tokens[3])
    except InvalidName as error:
        raise Malformed(f"the subject holds {error.name}, which may not name {error.what}") from None


def connection_of(reply: str) -> str:
    """Return the connection that an inbox belongs to, of a reply that `check_reply` has let pass.

    Examples
    --------
    >>> connection_of("_INBOX.awi.bob." + "c" * 32 + "." + "a" * 32 + ".0") == "c" * 32
    True
    """
    return reply.split(".", 4)[3]


def check_reply(reply: str, institute: str, person: str, call_id: str | None = None) -> str:
    """Return the call's id if `reply` lies in the inbox of exactly this caller.

    Parameters
    ----------
    reply : str
        The reply subject as delivered.
    institute, person : str
        The caller, as read from the delivered subject.
    call_id : str, optional
        The id it must carry (for control messages).

    Raises
    ------
    Malformed
        When it lies anywhere else. The message must then be dropped without an answer.
    """
    match = _REPLY.fullmatch(reply)
    if match is None or match[1] != institute or match[2] != person:
        raise Malformed("the reply subject is not in the caller's own inbox")
    if call_id is not None and match[4] != call_id:
        raise Malformed("the reply subject belongs to another call")
    return match[4]
