"""What an Arrow IPC stream from elsewhere must look like before a library for Arrow may see it.

Such a library believes much: that a short text which a thousand places share is meant a thousand times, that a
compressed buffer has the size it names, that extension types may run the code registered for their name. So the
messages are walked here, in plain Python, and only these streams pass: one schema of plain types, then dictionaries
and record batches without compression, then the end. Content is validated by the library afterwards.

An IPC message is a FlatBuffers table. Of that format we need: a table begins with the distance back to its vtable,
which holds its own size and, by the number of the field, where in the table a field is (0: it is not there).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from ..errors import Malformed

__all__ = ["MAX_BATCHES_WITH_DICTIONARIES", "MAX_DEPTH", "MAX_FIELDS", "check_stream"]

MAX_FIELDS = 16_384
MAX_DEPTH = 16
MAX_BATCHES_WITH_DICTIONARIES = 64
"""Every batch is validated together with the dictionaries that it refers to."""

_MAX_BATCHES = 65_536
_MAX_METADATA_BYTES = 4 * 2**20
_SCHEMA, _DICTIONARY_BATCH, _RECORD_BATCH = 1, 2, 3
_TIMESTAMP = 10
# By the numbers of Schema.fbs: null, integers, floats, binary, text, boolean, decimal, date, time, timestamp,
# interval, list, struct, fixed-size binary and list, map, duration, large binary, text and list. Not there: unions,
# run-end encoding, and views, which can show the same content many times.
_TYPES = frozenset({1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 15, 16, 17, 18, 19, 20, 21})


class _Table:
    """A FlatBuffers table, as far as it is needed here; whatever lies outside the message is `struct.error`."""

    __slots__ = ("_at", "_data", "_slots")

    def __init__(self, data: memoryview, at: int) -> None:
        vtable = at - _number("<i", data, at)
        size = _number("<H", data, vtable)
        self._data, self._at = data, at
        self._slots = struct.unpack(
            f"<{max(size - 4, 0) // 2}H", data[vtable + 4 : vtable + 4 + (max(size - 4, 0) & ~1)]
        )

    def scalar(self, slot: int, form: str) -> int:
        offset = self._slots[slot] if slot < len(self._slots) else 0
        return _number(form, self._data, self._at + offset) if offset else 0

    def _target(self, slot: int) -> int:
        offset = self._slots[slot] if slot < len(self._slots) else 0
        if not offset:
            return 0
        at = self._at + offset
        return at + _number("<I", self._data, at)

    def has(self, slot: int) -> bool:
        return self._target(slot) != 0

    def table(self, slot: int) -> _Table:
        return _Table(self._data, self._target(slot))

    def text(self, slot: int) -> bytes:
        at = self._target(slot)
        if not at:
            return b""
        size = _number("<I", self._data, at)
        return _slice(self._data, at + 4, size)

    def tables(self, slot: int) -> Iterator[_Table]:
        at = self._target(slot)
        if at:
            count = _number("<I", self._data, at)
            for place in range(at + 4, at + 4 + 4 * count, 4):
                yield _Table(self._data, place + _number("<I", self._data, place))


def _number(form: str, data: memoryview, at: int) -> int:
    if at < 0:
        raise struct.error("before the start")
    number: int = struct.unpack_from(form, data, at)[0]
    return number


def _slice(data: memoryview, at: int, size: int) -> bytes:
    if size > len(data) - at:
        raise struct.error("beyond the end")
    return bytes(data[at : at + size])


def check_stream(data: bytes | memoryview) -> None:
    """Refuse an Arrow IPC stream that has anything but plain types, and record batches without compression.

    Raises
    ------
    Malformed
        With the rule that is broken.
    """
    try:
        _check(memoryview(data))
    except struct.error:
        raise Malformed("an Arrow stream is cut or points outside itself") from None


def _check(data: memoryview) -> None:
    at = batches = 0
    dictionaries = False
    while True:
        marker, size = struct.unpack_from("<Ii", data, at)
        at += 8
        if marker != 0xFFFFFFFF or size < 0 or size % 8 or size > _MAX_METADATA_BYTES:
            raise Malformed("a message of an Arrow stream has no right beginning")
        if not size:
            break
        metadata = data[at : at + size]
        message = _Table(metadata, _number("<I", metadata, 0))
        kind, body = message.scalar(1, "<B"), message.scalar(3, "<q")
        at += size + body
        if body < 0 or body % 8 or at > len(data):
            raise Malformed("a message of an Arrow stream has no right size")
        if message.has(4):
            raise Malformed("a message of an Arrow stream has metadata of its own")
        if batches == 0 and not dictionaries and kind == _SCHEMA and at == 8 + size:
            _check_schema(message.table(2), size)
            continue
        if at == 8 + size + body:
            raise Malformed("an Arrow stream does not begin with its schema")
        batch = message.table(2)
        if kind == _DICTIONARY_BATCH:
            dictionaries = True
            if batch.scalar(2, "<B"):
                raise Malformed("an Arrow stream has a dictionary in pieces")
            batch = batch.table(1)
        elif kind == _RECORD_BATCH:
            batches += 1
        else:
            raise Malformed("an Arrow stream has a message of another kind")
        if batch.has(3):
            raise Malformed("an Arrow stream is compressed")
        if batches > (MAX_BATCHES_WITH_DICTIONARIES if dictionaries else _MAX_BATCHES):
            raise Malformed("an Arrow stream has too many batches")
    if at != len(data):
        raise Malformed("bytes follow an Arrow stream")


def _check_schema(schema: _Table, size: int) -> None:
    if schema.scalar(0, "<h"):
        raise Malformed("an Arrow stream is big-endian")
    # Nothing is shared in an honest schema, so that its texts are no longer, in sum, than all of it.
    left = [MAX_FIELDS, size - _check_metadata(schema, 2, size)]
    for field in schema.tables(1):
        _check_field(field, left, 0)


def _check_field(field: _Table, left: list[int], depth: int) -> None:
    name = field.text(0)
    left[0] -= 1
    left[1] -= len(name)
    left[1] -= _check_metadata(field, 6, left[1])
    if left[0] < 0 or left[1] < 0:
        raise Malformed("an Arrow schema has too many columns, or texts in several places at once")
    if depth > MAX_DEPTH:
        raise Malformed("an Arrow schema is nested too deeply")
    try:
        name.decode()
    except UnicodeDecodeError:
        raise Malformed("a name in an Arrow schema is no UTF-8") from None
    kind = field.scalar(2, "<B")
    if kind not in _TYPES:
        raise Malformed("an Arrow schema has a type that does not travel")
    if kind == _TIMESTAMP and field.has(3):
        left[1] -= len(field.table(3).text(1))  # its time zone
    for child in field.tables(5):
        _check_field(child, left, depth + 1)


def _check_metadata(table: _Table, slot: int, left: int) -> int:
    """Return the size of the texts of a table's metadata, which are at most `left` long."""
    used = 0
    for pair in table.tables(slot):
        key, value = pair.text(0), pair.text(1)
        used += len(key) + len(value) + 8
        if used > left:
            raise Malformed("an Arrow schema has texts in several places at once")
        if key.startswith(b"ARROW:extension:"):
            raise Malformed("an Arrow schema has an extension type")
    return used
