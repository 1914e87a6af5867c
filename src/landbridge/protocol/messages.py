"""Every message of a call as bytes: a fixed preamble, a small msgpack map, and opaque body bytes.

::

    u8 version | u8 kind | u16 length of meta | u32 sequence number | meta (msgpack map) | body

=========== ==== ========= ========================================================= ===========================
kind        code sent by   meta                                                      body
=========== ==== ========= ========================================================= ===========================
CALL        1    caller    granted, total?, timeout_s?, logs?, codecs?, keep? …      arguments, unless total
PART        2    both      at, crc? (with the last of a value)                       next part of a long value
BEAT        3    both      granted, next, bulk_granted?, bulk_next?, resend?;        none
                           from the backend also instance, place?, approval?
CANCEL      4    caller                                                              none
PROGRESS    5    backend   done, total?, label?                                      none
RESULT      6    backend   total?, after?                                            value, unless total
ITEM        7    backend   total?, after?                                            value, unless total
END         8    backend   after? (after the last item)                              none
ERROR       9    backend   see `failure`; after?                                     none
CANCELLED   10   backend   state: stopped, stopping or running                       none
LOG         11   backend   stream, text                                              none
INVOKE      12   backend   function, ask, total?, after?                             arguments, unless total
RETURN      13   caller    ask, total?, after?                                       value, unless total
RAISED      14   caller    ask, and see `failure`; after?                            none
=========== ==== ========= ========================================================= ===========================

`granted` is how many bytes (see `stream`) the other side may have sent in all since the call began, `next` how many
counted messages have arrived. A value too long for one message is only announced, by its length `total`; its bytes
follow as PART through the second lane (see `bulk`). `after` says which position of that lane must have been reached
before a message is looked at. The backend's first BEAT accepts the call and names the instance that runs it. Unknown
meta fields are ignored.

Messages of one direction of one call are numbered from 0. BEAT, CANCEL, PROGRESS, LOG and PART may get lost without
harm, so they do not count: they carry the number of the next message that does (PART: 0). A number that skips shows a
loss; a BEAT with `resend` asks for everything from `next` and `bulk_next` on again.
"""

from __future__ import annotations

import re
import struct
from enum import IntEnum
from functools import lru_cache
from typing import Any, NamedTuple

import msgpack

from ..errors import Malformed, ProtocolMismatch

__all__ = [
    "ASKED_AT_ONCE",
    "FUNCTIONS_LIMIT",
    "FUNCTION_BYTES",
    "LABEL_LIMIT",
    "LOG_LIMIT",
    "MOST_PROGRESS",
    "UNCOUNTED",
    "VERSION",
    "Kind",
    "Message",
    "pack",
    "unpack",
    "version_text",
]

VERSION = 0x10
"""Major version in the high, minor in the low half of the byte."""

_PREAMBLE = struct.Struct("<BBHI")
_META_LIMIT = 0xFFFF
_SHORT_META = 64
# What carries a value costs credit by its body, and is held as it came: its meta must not be what takes the memory.
_VALUE_META_LIMIT = 512
# Lists and maps of meta are short; without this bound nested headers could each reserve as much as meta is long.
_ENTRIES_LIMIT = 256
_INSTANCE = re.compile(r"[0-9a-f]{32}")


class Kind(IntEnum):
    """Kinds of message; the numbers are the wire form."""

    CALL = 1
    PART = 2
    BEAT = 3
    CANCEL = 4
    PROGRESS = 5
    RESULT = 6
    ITEM = 7
    END = 8
    ERROR = 9
    CANCELLED = 10
    LOG = 11
    INVOKE = 12
    RETURN = 13
    RAISED = 14

    __hash__ = int.__hash__  # an enum's own is a Python function, and each message is looked up in sets of kinds


UNCOUNTED = frozenset({Kind.BEAT, Kind.CANCEL, Kind.PROGRESS, Kind.LOG, Kind.PART})
"""Kinds that may get lost without harm."""

_WITH_VALUES = frozenset({Kind.PART, Kind.RESULT, Kind.ITEM, Kind.END, Kind.INVOKE, Kind.RETURN})

LABEL_LIMIT = 200
"""Longest label of a PROGRESS, in characters."""

LOG_LIMIT = 8000
"""Longest text of a LOG or an ERROR, in characters."""

FUNCTIONS_LIMIT = 64
"""How many functions the arguments of a call may hold."""

ASKED_AT_ONCE = 64
"""Questions of one call that may be open at a time."""

FUNCTION_BYTES = 8 * 1024 * 1024
"""Largest arguments and values of such a function, in bytes."""

MOST_PROGRESS = 1 << 60
"""Largest number that a PROGRESS may carry."""

_KINDS = {int(kind): kind for kind in Kind}
_NUMBER = (int, float)
_POSITION = (int, 1 << 60)
# Known fields: type and, for integers, the largest value that can be meant.
_FIELDS: dict[str, tuple[Any, int]] = {
    "total": (_NUMBER, MOST_PROGRESS),
    "granted": _POSITION,
    "next": _POSITION,
    "bulk_granted": _POSITION,
    "bulk_next": _POSITION,
    "resend": (bool, 1),
    "at": _POSITION,
    "crc": (int, 0xFFFFFFFF),
    "after": _POSITION,
    "place": (int, 1 << 32),
    "approval": (bool, 1),
    "logs": (bool, 1),
    "keep": (bool, 1),
    "codecs": (str, 64),
    "grant": (str, 2048),
    "stream": (str, 16),
    "text": (str, LOG_LIMIT),
    "function": (int, FUNCTIONS_LIMIT - 1),
    "ask": (int, 1 << 32),
    "traceparent": (str, 55),
    "tracestate": (str, 512),
    "timeout_s": (_NUMBER, 10**9),
    "instance": (str, 32),
    "state": (str, 16),
    "done": (_NUMBER, MOST_PROGRESS),
    "label": (str, LABEL_LIMIT),
}
_NO_META: dict[str, Any] = {}


class Message(NamedTuple):
    """One message, taken apart."""

    kind: Kind
    sequence: int
    meta: dict[str, Any]
    body: memoryview


def version_text(version: int) -> str:
    """Return a version byte as people write it.

    Examples
    --------
    >>> version_text(0x10)
    '1.0'
    """
    return f"{version >> 4}.{version & 0xF}"


_idle: list[Any] = []
"""Packers for the next messages: making one costs more than its work."""


def pack(kind: Kind, sequence: int, meta: dict[str, Any] | None = None) -> bytes:
    """Return the head of a message; body bytes follow it unchanged."""
    if not meta:
        return _PREAMBLE.pack(VERSION, kind, 0, sequence & 0xFFFFFFFF)
    try:
        packer = _idle.pop()
    except IndexError:  # another thread has it, or this is the first
        packer = msgpack.Packer(buf_size=1024)
    packed: bytes = packer.pack(meta)
    if len(packed) > _META_LIMIT:
        raise ValueError(f"meta of {len(packed)} bytes does not fit a message")
    _idle.append(packer)
    return _PREAMBLE.pack(VERSION, kind, len(packed), sequence & 0xFFFFFFFF) + packed


def unpack(payload: bytes) -> Message:
    """Return a message taken apart and checked.

    Raises
    ------
    ProtocolMismatch
        When the sender's version is further than one minor step from ours.
    Malformed
        When the bytes break the rules above.
    """
    if len(payload) < 8:
        raise Malformed(f"a message of {len(payload)} bytes is shorter than its preamble")
    version, code, meta_length, sequence = _PREAMBLE.unpack_from(payload)
    if version != VERSION and (version >> 4 != VERSION >> 4 or abs((version & 0xF) - (VERSION & 0xF)) > 1):
        raise ProtocolMismatch(version_text(VERSION), version_text(version))
    kind = _KINDS.get(code)
    if kind is None:
        raise Malformed(f"message kind {code} is unknown")
    if not meta_length:
        return Message(kind, sequence, _NO_META, memoryview(payload)[8:])
    end = 8 + meta_length
    if end > len(payload):
        raise Malformed(f"meta of {meta_length} bytes is longer than its message")
    if meta_length > _VALUE_META_LIMIT and kind in _WITH_VALUES:
        raise Malformed(f"meta of {meta_length} bytes is longer than a {kind.name} may have")
    packed = payload[8:end]
    # Most calls say the same: what is short is read once. Nobody changes a meta that was read.
    meta = _read_short_meta(packed) if meta_length <= _SHORT_META else _read_meta(packed)
    return Message(kind, sequence, meta, memoryview(payload)[end:])


def _read_meta(packed: bytes) -> dict[str, Any]:
    # msgpack's errors are many, and RecursionError is none of ours.
    try:
        meta = msgpack.unpackb(
            packed,
            strict_map_key=True,
            ext_hook=_no_extension,
            max_array_len=_ENTRIES_LIMIT,
            max_map_len=_ENTRIES_LIMIT,
        )
    except (ValueError, TypeError, RecursionError, msgpack.UnpackException) as error:
        raise Malformed(f"meta is not msgpack ({type(error).__name__})") from None
    if not isinstance(meta, dict):
        raise Malformed("meta is not a map")
    for name, value in meta.items():
        if not isinstance(name, str):
            raise Malformed("a key of meta is not text")
        rule = _FIELDS.get(name)
        if rule is None:
            continue
        kind, limit = rule
        size = len(value) if isinstance(value, str) else value
        if not isinstance(value, kind) or (isinstance(value, bool) is not (kind is bool)) or not 0 <= size <= limit:
            raise Malformed(f"field {name} of meta has a value that cannot be meant")
    # It becomes a token of the subjects that the caller publishes to.
    if "instance" in meta and not _INSTANCE.fullmatch(meta["instance"]):
        raise Malformed("field instance of meta is not 32 hexadecimal digits")
    return meta


@lru_cache(1024)
def _read_short_meta(packed: bytes) -> dict[str, Any]:
    return _read_meta(packed)


def _no_extension(code: int, data: bytes) -> Any:
    raise ValueError("extension types are not used in meta")
