"""Tags for NumPy: arrays of every kind, and scalars."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from itertools import accumulate, pairwise
from types import NoneType
from typing import Any, TypeAlias

import numpy as np

from ..errors import Malformed
from . import cftimes
from .dtypes import check_content, describe, has_gaps, rebuild
from .frame import Part, Sink, Source
from .shapes import Order, object_array, order_of, read_shape
from .tags import STEPS, Refused, Step, decodes, encodes, fields

__all__ = ["Array", "pack_bytes", "put_pieces", "take_pieces"]

Array: TypeAlias = np.ndarray[Any, Any]


@encodes(np.ndarray, np.memmap)
def _array(array: Array, sink: Sink) -> tuple[str, object]:
    dtype = array.dtype
    if dtype.kind == "O":
        return _objects(array, sink)
    if dtype.kind == "T":
        return _string_array(array, sink)
    described = describe(dtype, array)
    order = order_of(array)
    return "nd", [described, list(array.shape), order, sink.put(pack_bytes(array, order), array.dtype.itemsize)]


def pack_bytes(array: Array, order: Order) -> Part:
    """Return the items of an array in memory order `order`, as a view if they lie that way."""
    dtype = array.dtype
    if dtype.kind in "bUV":
        if has_gaps(dtype):
            array = _without_gaps(array)
        if wrong := check_content(array):
            raise Refused(array, wrong)
    if not array.nbytes:
        return b""
    if order == "F":
        array = array.T
    flat = (array if array.flags.c_contiguous else array.copy(order="C")).reshape(-1)
    return flat.view(np.uint8).data  # as bytes, because datetime64 and others have no buffer of their own


def _without_gaps(array: Array) -> Array:
    clean = np.zeros(array.shape, array.dtype, order=order_of(array))
    for name in array.dtype.names or ():
        part = array[name]
        clean[name] = _without_gaps(part) if part.dtype.names is not None else part
    return clean


@decodes("nd")
def _read_array(payload: object, source: Source) -> Array:
    described, shape, order, reference = fields(payload, object, list, str, object)
    dtype = rebuild(described)
    if dtype.subdtype is not None:
        raise Malformed("the dtype of an array is an array")
    count = read_shape(shape, order)
    data = source.take(reference)
    if count * dtype.itemsize != len(data):
        raise Malformed(f"an array of {count} items of {dtype.itemsize} bytes has {len(data)} bytes")
    if not dtype.itemsize and count > 2**20:
        raise Malformed("an array has a million items without content")
    array: Array = np.ndarray(tuple(shape), dtype, buffer=data, order=order)
    if not ((array.flags.writeable or source.read_only) and array.flags.aligned):
        array = array.copy(order=order)
    if dtype.kind in "bUV" and (wrong := check_content(array)):
        raise Malformed(f"an array cannot be right: {wrong}")
    return array


# --- scalars ------------------------------------------------------------------------------------------------------

_SCALARS = [
    np.bool_, np.int8, np.int16, np.int32, np.int64, np.longlong, np.uint8, np.uint16, np.uint32, np.uint64,
    np.ulonglong, np.intc, np.uintc, np.float16, np.float32, np.float64, np.complex64, np.complex128, np.datetime64,
    np.timedelta64, np.void,
]  # fmt: skip


@encodes(*_SCALARS)
def _scalar(value: np.generic, sink: Sink) -> tuple[str, object]:
    array = np.asarray(value)
    return "np", [describe(array.dtype, value), sink.put(pack_bytes(array, "C"))]


@decodes("np")
def _read_scalar(payload: object, source: Source) -> object:
    described, reference = fields(payload, object, object)
    dtype = rebuild(described)
    data = source.take(reference)
    if len(data) != dtype.itemsize or dtype.kind in "SU" or dtype.subdtype is not None:
        raise Malformed("a NumPy scalar has a wrong size or dtype")
    array: Array = np.ndarray((), dtype, buffer=bytearray(data))
    if dtype.kind in "bV" and (wrong := check_content(array)):
        raise Malformed(f"a NumPy scalar cannot be right: {wrong}")
    return array[()]


# Fixed-width arrays drop trailing NULs, so that these two cannot go by way of an array.
@encodes(np.str_)
def _np_str(value: np.str_, sink: Sink) -> tuple[str, object]:
    try:
        return "np.str", sink.put(str.encode(value))  # str(value) would drop trailing NULs
    except UnicodeEncodeError:
        raise Refused(value, "it is text with half of a surrogate pair, which is not Unicode") from None


@decodes("np.str")
def _read_np_str(payload: object, source: Source) -> np.str_:
    return np.str_(str(source.take(payload), "utf-8"))


@encodes(np.bytes_)
def _np_bytes(value: np.bytes_, sink: Sink) -> tuple[str, object]:
    return "np.bytes", sink.put(bytes(value))


@decodes("np.bytes")
def _read_np_bytes(payload: object, source: Source) -> np.bytes_:
    return np.bytes_(bytes(source.take(payload)))


# --- masked arrays ------------------------------------------------------------------------------------------------


@encodes(np.ma.MaskedArray)
def _masked(array: Any, sink: Sink) -> tuple[str, object]:
    if array._baseclass is not np.ndarray:
        raise Refused(array, f"it masks a {array._baseclass.__name__}", "Mask a plain numpy.ndarray")
    mask = None if array.mask is np.ma.nomask else np.asarray(array.mask)
    fill = None if array._fill_value is None else np.asarray(array._fill_value)
    return "ma", [np.asarray(array.data), mask, fill, bool(array.hardmask)]


@decodes("ma")
def _read_masked(payload: object, source: Source) -> object:
    data, mask, fill, hard = fields(payload, np.ndarray, (NoneType, np.ndarray), (NoneType, np.ndarray), bool)
    if mask is not None and (mask.shape != data.shape or mask.dtype != np.ma.make_mask_descr(data.dtype)):
        raise Malformed("the mask of an array does not fit it")
    if fill is not None and fill.shape != ():
        raise Malformed("the fill value of a masked array is no single value")
    masked: Any = np.ma.MaskedArray(data, mask=np.ma.nomask if mask is None else mask, hard_mask=hard)
    if fill is not None:
        masked.set_fill_value(fill[()])
    return masked


@encodes(type(np.ma.masked))
def _masked_constant(value: object, sink: Sink) -> tuple[str, object]:
    return "masked", None


@decodes("masked")
def _read_masked_constant(payload: object, source: Source) -> object:
    return np.ma.masked


# --- arrays of objects and of strings -----------------------------------------------------------------------------


def _objects(array: Array, sink: Sink) -> tuple[str, object]:
    if array.dtype != object:
        raise Refused(array, "its struct holds Python objects", "Use fields of fixed size")
    order = order_of(array)
    elements = array.ravel(order).tolist()
    kinds = set(map(type, elements))
    if kinds and kinds <= {str, NoneType}:
        try:
            return "strings", ["O", list(array.shape), order, *_text_parts(elements, sink)]
        except UnicodeEncodeError as error:
            raise Refused(error.object, "it is text with half of a surrogate pair, which is not Unicode") from None
    if len(kinds) == 1 and (packed := cftimes.pack_array(elements, kinds.pop())):
        return "cftimes", [list(array.shape), order, *packed]
    return "objects", [list(array.shape), order, elements]


def _object_steps(array: Array) -> Iterable[Step]:
    return _element_steps(array) if array.dtype.char == "O" else ()


def _element_steps(array: Array) -> Iterator[Step]:
    for index, element in np.ndenumerate(array):
        yield f"[{', '.join(map(str, index))}]", element


STEPS[np.ndarray] = STEPS[np.memmap] = _object_steps


def _masked_steps(array: np.ma.MaskedArray[Any, Any]) -> Iterable[Step]:
    return _object_steps(np.asarray(array.data))


STEPS[np.ma.MaskedArray] = _masked_steps


@decodes("objects")
def _read_objects(payload: object, source: Source) -> Array:
    shape, order, elements = fields(payload, list, str, list)
    return object_array(elements, shape, order)


def _string_array(array: Array, sink: Sink) -> tuple[str, object]:
    dtype: Any = array.dtype
    missing = getattr(dtype, "na_object", _UNSET)
    if missing is _UNSET:
        kind = None
    elif missing is None:
        kind = "none"
    elif type(missing) is float and math.isnan(missing):
        kind = "nan"
    else:
        raise Refused(array, f"its StringDType marks missing text by {missing!r:.40}", "Use None or nan as na_object")
    order = order_of(array)
    parts = _text_parts(array.ravel(order).tolist(), sink)
    return "strings", [["T", dtype.coerce, kind], list(array.shape), order, *parts]


_UNSET = object()


def _text_parts(elements: list[Any], sink: Sink) -> list[bytes | int | None]:
    return put_pieces([element.encode() if type(element) is str else None for element in elements], sink)


def put_pieces(pieces: list[bytes | None], sink: Sink) -> list[bytes | int | None]:
    """Put pieces as Arrow lays out strings: offsets (int64), content, one byte per missing piece (None: no one)."""
    offsets = np.array([0, *accumulate(0 if piece is None else len(piece) for piece in pieces)], dtype="<i8")
    absent = bytes(piece is None for piece in pieces)
    return [
        sink.put(offsets.view(np.uint8).data, offsets.itemsize),
        sink.put(b"".join(piece for piece in pieces if piece)),
        sink.put(absent) if any(absent) else None,
    ]


def take_pieces(
    offsets_at: object, content_at: object, absent_at: object, source: Source
) -> tuple[Array, bytes | memoryview, bytes | memoryview | None]:
    """Return what `put_pieces` wrote: offsets, content, and one byte per missing piece, that fit one another."""
    raw, content = source.take(offsets_at), source.take(content_at)
    absent = source.take(absent_at) if absent_at is not None else None
    if len(raw) % 8 or not raw or (absent is not None and len(absent) != len(raw) // 8 - 1):
        raise Malformed("the offsets of strings do not fit their number")
    offsets = np.frombuffer(raw, "<i8")
    if offsets[0] != 0 or offsets[-1] != len(content) or (offsets[1:] < offsets[:-1]).any():
        raise Malformed("the offsets of strings are not rising from 0 to their end")
    return offsets, content, absent


@decodes("strings")
def _read_strings(payload: object, source: Source) -> Array:
    target, shape, order, offsets_at, texts_at, absent_at = fields(
        payload, (str, list), list, str, object, object, object
    )
    count = read_shape(shape, order)
    offsets, found, missing_ones = take_pieces(offsets_at, texts_at, absent_at, source)
    if len(offsets) != count + 1:
        raise Malformed("the offsets of strings do not fit their number")
    texts, absent = bytes(found), None if missing_ones is None else bytes(missing_ones)
    elements: list[Any] = [str(texts[start:stop], "utf-8") for start, stop in pairwise(offsets.tolist())]
    if target == "O":
        return object_array(_with_missing(elements, absent, None), shape, order)
    _, coerce, kind = fields(target, str, bool, (NoneType, str))
    if target[0] != "T" or kind not in (None, "none", "nan") or (absent is not None and kind is None):
        raise Malformed("strings are of an unknown kind")
    missing: Any = math.nan if kind == "nan" else None
    dtypes: Any = np.dtypes
    dtype = dtypes.StringDType(coerce=coerce) if kind is None else dtypes.StringDType(coerce=coerce, na_object=missing)
    flat: Array = np.empty(count, dtype)
    for index, element in enumerate(_with_missing(elements, absent, missing)):
        flat[index] = element
    return flat.reshape(tuple(shape), order=order)


def _with_missing(elements: list[Any], absent: bytes | None, missing: object) -> list[Any]:
    if absent is None:
        return elements
    return [missing if gone else element for element, gone in zip(elements, absent, strict=True)]
