"""NumPy dtypes as plain data, and back from a stranger's description.

A simple dtype is its NumPy type string (``<f8``, ``|S5``, ``<M8[ns]``). A received string is matched against the
whole grammar before NumPy sees it: fuzzing ``numpy.dtype(text)`` reached Python's own expression parser.
"""

from __future__ import annotations

import re
from operator import itemgetter
from typing import Any, TypeAlias

import numpy as np

from ..errors import Malformed
from .frame import Sink, Source
from .tags import Refused, decodes, encodes, fields

__all__ = ["Described", "check_content", "describe", "has_gaps", "rebuild"]

Described: TypeAlias = str | list[Any]

_SIMPLE = re.compile(
    r"\|b1|\|[iu]1|[<>](?:[iu][248]|f[248]|c8|c16)"
    r"|\|[SV][0-9]{1,8}|[<>]U[0-9]{1,8}"
    r"|[<>][mM]8(?:\[(?:[1-9][0-9]{0,8})?(?:Y|M|W|D|h|m|s|ms|us|ns|ps|fs|as)\])?"
)
_DEPTH = 16
_FIELDS = 1024


def describe(dtype: np.dtype[Any], culprit: object) -> Described:
    """Return a dtype as plain data; `culprit` is the value to blame if there is no exact description."""
    text = _KNOWN.get(dtype)
    if text is not None:
        return text
    if dtype.names is not None:
        return ["struct", dtype.itemsize, dtype.isalignedstruct, _field_list(dtype, culprit)]
    if dtype.subdtype is not None:
        base, shape = dtype.subdtype
        return ["array", describe(base, culprit), list(shape)]
    text = dtype.str
    if dtype.char in "gG":
        raise Refused(
            culprit,
            f"the format of {dtype.name} differs among computers",
            "Convert it to float64 or complex128",
        )
    if dtype.hasobject:
        raise Refused(culprit, "its struct holds Python objects", "Use fields of fixed size")
    # Types of other packages, such as bfloat16, call themselves |V2.
    if not _SIMPLE.fullmatch(text) or np.dtype(text) != dtype or dtype.isbuiltin == 2:
        raise Refused(culprit, f"its dtype {dtype.name} has no exact form on the wire", "Convert it to a NumPy dtype")
    return text


_KNOWN = {np.dtype(char): np.dtype(char).str for char in "?bBhHiIlLqQefdFD"}
_REBUILT = {text: dtype for dtype, text in _KNOWN.items()}


def _field_list(dtype: np.dtype[Any], culprit: object) -> list[list[Any]]:
    described = []
    table: Any = dtype.fields
    for name in dtype.names or ():
        base, offset, *title = table[name]
        if title:
            raise Refused(culprit, f"field {name!r} of its dtype has a title", "Use a dtype without titles")
        described.append([name, describe(base, culprit), offset])
    return described


def rebuild(described: object, depth: int = 0) -> np.dtype[Any]:
    """Return the dtype of a received description.

    Raises
    ------
    Malformed
        When it is none that this package writes.
    """
    if type(described) is str:
        known = _REBUILT.get(described)
        if known is not None:
            return known
        if not _SIMPLE.fullmatch(described):
            raise Malformed(f"{described[:40]!r} is not a dtype that travels")
        return np.dtype(described)
    if depth >= _DEPTH:
        raise Malformed("a dtype is nested too deeply")
    if type(described) is list and len(described) == 3 and described[0] == "array":
        _, base, shape = described
        if type(shape) is not list or not 0 < len(shape) <= 32 or any(type(n) is not int or n < 0 for n in shape):
            raise Malformed("the shape of a dtype is wrong")
        return np.dtype((rebuild(base, depth + 1), tuple(shape)))
    kind, itemsize, aligned, field_list = fields(described, str, int, bool, list)
    if kind != "struct" or len(field_list) > _FIELDS or not 0 <= itemsize < 2**31:
        raise Malformed("a dtype is neither simple, nor an array, nor a struct")
    names, formats, offsets = [], [], []
    for entry in field_list:
        name, base, offset = fields(entry, str, object, int)
        dtype = rebuild(base, depth + 1)
        if not 0 <= offset <= itemsize - dtype.itemsize:
            raise Malformed("a field of a dtype lies outside its struct")
        names.append(name)
        formats.append(dtype)
        offsets.append(offset)
    if len(set(names)) != len(names):
        raise Malformed("two fields of a dtype have one name")
    spec: Any = {"names": names, "formats": formats, "offsets": offsets, "itemsize": itemsize}
    return np.dtype(spec, align=aligned)  # type: ignore[no-any-return]


def has_gaps(dtype: np.dtype[Any]) -> bool:
    """Return whether items have bytes that belong to no field; they may hold whatever was in memory before."""
    if dtype.subdtype is not None:
        return has_gaps(dtype.subdtype[0])
    if dtype.names is None or dtype.fields is None:
        return False
    end = 0
    for offset, base in sorted(((dtype.fields[n][1], dtype.fields[n][0]) for n in dtype.names), key=itemgetter(0)):
        if offset > end or has_gaps(base):
            return True
        end = max(end, offset + base.itemsize)
    return end < dtype.itemsize


def check_content(array: np.ndarray[Any, Any]) -> str | None:
    """Return what is wrong with the bytes of an array: NumPy itself trusts booleans and code points blindly."""
    dtype = array.dtype
    if dtype.names is not None:
        return next((wrong for name in dtype.names if (wrong := check_content(array[name]))), None)
    if dtype.kind == "b" and array.size and array.view(np.uint8).max() > 1:
        return "it has booleans that are neither 0 nor 1"
    if dtype.kind == "U" and array.size and dtype.itemsize:
        codes = np.ascontiguousarray(array).reshape(-1).view(np.dtype(np.uint32).newbyteorder(dtype.byteorder))
        if codes.max() > 0x10FFFF:
            return "it has characters beyond Unicode"
    return None


def _encode_dtype(dtype: np.dtype[Any], sink: Sink) -> tuple[str, object]:
    return "dtype", "|O" if dtype.char == "O" else describe(dtype, dtype)


@decodes("dtype")
def _decode_dtype(payload: object, source: Source) -> np.dtype[Any]:
    return np.dtype(object) if payload == "|O" else rebuild(payload)


# Every kind of dtype is a class of its own; the one of StringDType is left out, because it can hold any object.
encodes(
    np.dtype,
    *(cls for name in np.dtypes.__all__ if name != "StringDType" and isinstance(cls := getattr(np.dtypes, name), type)),
)(_encode_dtype)
