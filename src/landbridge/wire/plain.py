"""Tags for the types of the standard library."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from decimal import Decimal
from pathlib import PosixPath, PurePosixPath
from types import EllipsisType
from typing import Any
from uuid import UUID

from ..errors import Malformed
from .frame import Sink, Source
from .tags import STEPS, Refused, Step, decodes, encodes, fields

__all__ = ["Blob", "mapping", "matching", "refuse_collisions"]

_INT_BYTES = 64 * 1024
_DECIMAL_TEXT = 64 * 1024
_DECIMAL_EXPONENT = 1_000_000
_MAX_ALIKE = 64


class Blob:
    """Marks a bytes, bytearray or long str that must not stay in the header."""

    __slots__ = ("value",)

    def __init__(self, value: bytes | bytearray | str) -> None:
        self.value = value


@encodes(Blob)
def _blob(blob: Blob, sink: Sink) -> tuple[str, object]:
    value = blob.value
    return type(value).__name__, sink.put(memoryview(value.encode() if type(value) is str else value))  # type: ignore[arg-type]


@decodes("bytes")
def _bytes(payload: object, source: Source) -> bytes:
    return bytes(source.take(payload))


@decodes("bytearray")
def _bytearray(payload: object, source: Source) -> bytearray:
    return bytearray(source.take(payload))


@decodes("str")
def _str(payload: object, source: Source) -> str:
    return str(source.take(payload), "utf-8")


@encodes(int)
def _big_int(value: int, sink: Sink) -> tuple[str, object]:
    """Write an integer beyond 64 bits; msgpack writes all others itself."""
    length = value.bit_length() // 8 + 1
    if length > _INT_BYTES:
        raise Refused(value, f"it is an integer of more than {_INT_BYTES:,} bytes", "Send it as bytes")
    return "int", value.to_bytes(length, "little", signed=True)


@decodes("int")
def _int(payload: object, source: Source) -> int:
    if type(payload) is not bytes or len(payload) > _INT_BYTES:
        raise Malformed("an integer is no bytes, or too many of them")
    return int.from_bytes(payload, "little", signed=True)


@encodes(complex)
def _complex(value: complex, sink: Sink) -> tuple[str, object]:
    return "complex", [value.real, value.imag]


@decodes("complex")
def _read_complex(payload: object, source: Source) -> complex:
    return complex(*fields(payload, float, float))


def mapping(pairs: list[tuple[Any, Any]]) -> dict[Any, Any]:
    """Return the dict of a received map, refusing keys that are equal or chosen to collide."""
    if len(pairs) > _MAX_ALIKE:
        refuse_collisions([key for key, _ in pairs])
    result = dict(pairs)
    if len(result) != len(pairs):
        raise Malformed("two keys of a map are equal")
    return result


def refuse_collisions(keys: list[Any]) -> None:
    """Refuse keys of which more than `_MAX_ALIKE` different ones have the same hash.

    The hashes of numbers, tuples and UUIDs are not salted. Some 40,000 keys of one hash, which fit a header, would
    keep a processor busy for minutes. With this bound, and as smaller maps can not pass it, the keys of a whole frame
    cost at most as many comparisons each, however they are spread over its maps.
    """
    distinct = len(set(map(hash, keys)))
    if distinct > len(keys) - _MAX_ALIKE:
        return
    crowded = {number for number, count in Counter(map(hash, keys)).items() if count > _MAX_ALIKE}
    different: dict[int, list[Any]] = {number: [] for number in crowded}
    for key in keys:
        alike = different.get(hash(key))
        if alike is not None and key not in alike:
            alike.append(key)
            if len(alike) > _MAX_ALIKE:
                raise Malformed(f"more than {_MAX_ALIKE} keys of a map or set collide")


@encodes(tuple)
def _tuple(value: tuple[object, ...], sink: Sink) -> tuple[str, object]:
    return "tuple", list(value)


@decodes("tuple")
def _read_tuple(payload: object, source: Source) -> tuple[object, ...]:
    return tuple(_elements(payload))


def _elements(payload: object) -> list[Any]:
    if type(payload) is not list:
        raise Malformed("a tuple or set is not a list of elements")
    return payload


@encodes(set, frozenset)
def _set(value: set[object] | frozenset[object], sink: Sink) -> tuple[str, object]:
    return type(value).__name__, value


def _distinct(payload: object) -> set[Any]:
    elements = _elements(payload)
    if len(elements) > _MAX_ALIKE:
        refuse_collisions(elements)
    result = set(elements)
    if len(result) != len(elements):
        raise Malformed("two elements of a set are equal")
    return result


@decodes("set")
def _read_set(payload: object, source: Source) -> set[Any]:
    return _distinct(payload)


@decodes("frozenset")
def _read_frozenset(payload: object, source: Source) -> frozenset[Any]:
    return frozenset(_distinct(payload))


@encodes(range)
def _range(value: range, sink: Sink) -> tuple[str, object]:
    return "range", [value.start, value.stop, value.step]


@decodes("range")
def _read_range(payload: object, source: Source) -> range:
    return range(*fields(payload, int, int, int))


@encodes(slice)
def _slice(value: slice, sink: Sink) -> tuple[str, object]:
    return "slice", [value.start, value.stop, value.step]


@decodes("slice")
def _read_slice(payload: object, source: Source) -> slice:
    return slice(*fields(payload, object, object, object))


def _slice_steps(value: slice) -> Iterator[Step]:
    return iter(((".start", value.start), (".stop", value.stop), (".step", value.step)))


STEPS[slice] = _slice_steps


@encodes(EllipsisType)
def _ellipsis(value: EllipsisType, sink: Sink) -> tuple[str, object]:
    return "ellipsis", None


@decodes("ellipsis")
def _read_ellipsis(payload: object, source: Source) -> EllipsisType:
    if payload is not None:
        raise Malformed("an ellipsis has a payload")
    return ...


_DECIMAL = re.compile(r"-?(?:[0-9]+(?:\.[0-9]+)?(?:E[+-][0-9]{1,7})?|Infinity|s?NaN[0-9]*)")


@encodes(Decimal)
def _decimal(value: Decimal, sink: Sink) -> tuple[str, object]:
    exponent = value.as_tuple().exponent
    if (type(exponent) is int and abs(exponent) > _DECIMAL_EXPONENT) or len(text := str(value)) > _DECIMAL_TEXT:
        raise Refused(value, f"its exponent is beyond {_DECIMAL_EXPONENT:,}, or it has too many digits")
    return "decimal", text


@decodes("decimal")
def _read_decimal(payload: object, source: Source) -> Decimal:
    value = Decimal(matching(payload, _DECIMAL, _DECIMAL_TEXT))
    exponent = value.as_tuple().exponent
    if type(exponent) is int and abs(exponent) > _DECIMAL_EXPONENT:
        raise Malformed("the exponent of a decimal is out of range")
    return value


def matching(payload: object, pattern: re.Pattern[str], longest: int = 64) -> str:
    """Return received text if it has the form of `pattern`, else raise `Malformed`."""
    if type(payload) is not str or len(payload) > longest or not pattern.fullmatch(payload):
        raise Malformed(f"{payload!r:.60} does not have the form its tag asks for")
    return payload


@encodes(UUID)
def _uuid(value: UUID, sink: Sink) -> tuple[str, object]:
    return "uuid", value.bytes


@decodes("uuid")
def _read_uuid(payload: object, source: Source) -> UUID:
    if type(payload) is not bytes or len(payload) != 16:
        raise Malformed("a UUID is not 16 bytes")
    return UUID(bytes=payload)


@encodes(PurePosixPath, PosixPath)
def _path(value: PurePosixPath, sink: Sink) -> tuple[str, object]:
    text = str(value)
    if "\0" in text or len(text) > 4096 or not _is_unicode(text):
        raise Refused(value, "it is a path with a NUL or bytes that are no Unicode, or longer than 4096 characters")
    return "path", text


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


@decodes("path")
def _read_path(payload: object, source: Source) -> PurePosixPath:
    if type(payload) is not str or "\0" in payload or len(payload) > 4096:
        raise Malformed("a path is not text, is too long, or holds a NUL")
    return PurePosixPath(payload)
