"""References: what travels of a value that stays where it was made."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from types import NoneType
from typing import Any

from ..errors import Malformed
from .frame import Sink, Source, header_of
from .tags import decodes, encodes, fields

__all__ = ["ReferenceData", "ReferenceOf", "may_hold_references"]

_ID = re.compile(r"[0-9a-f]{32}")
_MODULE = re.compile(r"[a-z][a-z0-9_]{0,62}/[a-z][a-z0-9_]{0,62}")
_MEMBER = re.compile(r"[A-Za-z][A-Za-z0-9_.]{0,255}")
_GRANT_CHARS = 2048


@dataclass(frozen=True, slots=True)
class ReferenceData:
    """What travels of a value that a backend keeps.

    Attributes
    ----------
    module : str
        ``institute/module`` that keeps it.
    member : str
        What made it: the name of a method, or ``Class.method``.
    instance, value_id : str
        The backend, and the value there: 32 hexadecimal digits each.
    summary : dict
        What its owner says of it: ``type``, ``bytes``, ``dims`` and so on, as plain values.
    grant : str or None
        The owner's leave for somebody else to have it.
    """

    module: str
    member: str
    instance: str
    value_id: str
    summary: dict[str, Any] = field(default_factory=dict)
    grant: str | None = None


ReferenceOf = Callable[[ReferenceData], object]
"""Returns what a receiver puts in the place of a reference."""


_MARK = b"\x92\xa3ref"
"""How a tagged reference begins: ``msgpack(["ref", …])``."""


def may_hold_references(frame: bytes | bytearray | memoryview) -> bool:
    """Return whether a frame may hold references: False is certain, True costs a closer look.

    Examples
    --------
    >>> from landbridge.wire import encode
    >>> may_hold_references(b"".join(encode({"first": 2006})))
    False
    """
    return _MARK in header_of(frame)


@encodes(ReferenceData)
def _reference(value: ReferenceData, sink: Sink) -> tuple[str, object]:
    return "ref", [value.module, value.member, value.instance, value.value_id, value.summary, value.grant]


@decodes("ref")
def read_reference(payload: object, source: Source) -> ReferenceData:
    """Return a received reference, each part of it checked."""
    module, member, instance, value_id, summary, grant = fields(payload, str, str, str, str, dict, (str, NoneType))
    if not _MODULE.fullmatch(module) or not _MEMBER.fullmatch(member):
        raise Malformed("a reference names no module and member")
    if not _ID.fullmatch(instance) or not _ID.fullmatch(value_id):
        raise Malformed("a reference holds an id that is not 32 hexadecimal digits")
    if grant is not None and (len(grant) > _GRANT_CHARS or not grant.isascii()):
        raise Malformed("the grant of a reference is none")
    if not all(type(key) is str for key in summary):
        raise Malformed("the summary of a reference has keys that are no texts")
    return ReferenceData(module, member, instance, value_id, summary, grant)
