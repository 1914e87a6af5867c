"""How a variable of xarray becomes an array of Zarr v3: its type, chunks, attributes, and the bytes of a chunk.

Follows the Zarr v3 core specification (https://zarr-specs.readthedocs.io/en/latest/v3/core/index.html) and, for the
types `string` and `bytes`, the registered extensions (https://github.com/zarr-developers/zarr-extensions). The rule is
that xarray decodes the array to what it decodes the variable to. Attributes are JSON, so what JSON would lose is
decoded here, at the owner: characters that form strings, and scales that are not float64. Times become numbers (CF).
"""

from __future__ import annotations

import base64
import itertools
import math
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import CannotTravel, printable

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["CHUNK_BYTES", "LeftOut", "ZarrArray", "chunk_shape", "json_attributes", "json_value", "zarr_array"]

Array = np.ndarray[Any, Any]
Read = Callable[[tuple[slice, ...]], Array]

CHUNK_BYTES = 960 * 1024
"""Largest chunk, uncompressed: with its envelope it still fits one message of a broker with default limits (1 MiB)."""

_NUMBERS = (
    *("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
    *("float16", "float32", "float64", "complex64", "complex128"),
)
_VARIABLE_LENGTH = ("string", "bytes")
_TEXT_BYTES = 64  # what a string of unknown length is taken for when chunks are chosen
_NOT_A_TIME = int(np.iinfo(np.int64).min)
_TIME_UNITS = {"s": "seconds", "ms": "milliseconds", "us": "microseconds", "ns": "nanoseconds"}


class LeftOut(Exception):
    """Why a variable or an attribute has no place in a Zarr store; never leaves this package."""


@dataclass(frozen=True)
class ZarrArray:
    """One array of the store.

    Attributes
    ----------
    dims : tuple of str
    shape, chunks : tuple of int
        Lengths of the array and of each of its chunks; chunks are at least 1 long.
    data_type : str
        Name of the Zarr v3 data type.
    fill : bool, int, float, complex, str or bytes
        What pads the chunks at the edge.
    attributes : dict
        JSON values.
    load : callable
        Gives the values of a selection of slices, as they are stored.
    """

    dims: tuple[str, ...]
    shape: tuple[int, ...]
    chunks: tuple[int, ...]
    data_type: str
    fill: Any
    attributes: dict[str, Any]
    load: Read

    def document(self) -> dict[str, Any]:
        """Return the array metadata document, the content of `zarr.json`."""
        if self.data_type in _VARIABLE_LENGTH:
            codec: dict[str, Any] = {"name": "vlen-utf8" if self.data_type == "string" else "vlen-bytes"}
        elif np.dtype(self.data_type).itemsize > 1:
            codec = {"name": "bytes", "configuration": {"endian": "little"}}
        else:
            codec = {"name": "bytes"}
        return {
            "zarr_format": 3,
            "node_type": "array",
            "shape": list(self.shape),
            "data_type": self.data_type,
            "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": list(self.chunks)}},
            "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
            "fill_value": _json_fill(self.fill),
            "codecs": [codec],
            "attributes": self.attributes,
            "dimension_names": list(self.dims),
        }

    def chunk(self, index: tuple[int, ...]) -> bytes:
        """Return the encoded chunk at `index`, which lies in the grid. At the edge it is padded with `fill`."""
        starts = [i * length for i, length in zip(index, self.chunks, strict=True)]
        stops = [min(s + c, n) for s, c, n in zip(starts, self.chunks, self.shape, strict=True)]
        block = self.load(tuple(map(slice, starts, stops)))
        text = self.data_type in _VARIABLE_LENGTH
        dtype = np.dtype(object) if text else np.dtype(self.data_type).newbyteorder("<")
        if block.shape != self.chunks:
            padded = np.full(self.chunks, self.fill, dtype)
            padded[tuple(slice(length) for length in block.shape)] = block
            block = padded
        if text:
            return _variable_length(block.ravel().tolist())
        return block.astype(dtype, copy=False).tobytes()


def zarr_array(variable: xr.Variable, joins: bool, read: Read, source_chunks: Mapping[str, int] | None) -> ZarrArray:
    """Return how `variable` is stored. Objects are read once as a whole, to know their type; nothing else is read.

    Parameters
    ----------
    variable : xarray.Variable
        Decoded or not.
    joins : bool
        Whether xarray joins the characters along its last dimension to strings.
    read : callable
        Gives the values of a selection of slices of `variable`.
    source_chunks : mapping of str to int, or None
        How the source is chunked; None if it is not.

    Raises
    ------
    LeftOut
        If Zarr can not hold it.
    """
    if len(set(variable.dims)) < len(variable.dims):
        raise LeftOut("a dimension occurs twice")
    if not isinstance(variable.dtype, np.dtype):
        raise LeftOut(f"the type {printable(variable.dtype, 40)} is one of pandas")
    stored = _stored(variable, joins, read)
    attributes, fill = _with_fill(stored)
    shape = variable.shape[: len(stored.dims)]
    itemsize = _TEXT_BYTES if stored.data_type in _VARIABLE_LENGTH else np.dtype(stored.data_type).itemsize
    chunks = chunk_shape(shape, [(source_chunks or {}).get(dim) for dim in stored.dims], itemsize)
    return ZarrArray(stored.dims, shape, chunks, stored.data_type, fill, attributes, stored.load)


def chunk_shape(shape: tuple[int, ...], source: list[int | None], itemsize: int) -> tuple[int, ...]:
    """Return the lengths of chunks of at most `CHUNK_BYTES`: the source's, merged or split along leading dimensions.

    Examples
    --------
    >>> chunk_shape((1460, 121, 240), [1, 121, 240], 4)
    (8, 121, 240)
    >>> chunk_shape((1460, 121, 240), [None, None, None], 8)
    (4, 121, 240)
    """
    chunks = [max(1, min(length, part or length)) for length, part in zip(shape, source, strict=True)]
    room = CHUNK_BYTES // max(1, itemsize)
    for axis, length in enumerate(chunks):
        most = max(1, room * length // math.prod(chunks))
        chunks[axis] = math.ceil(length / math.ceil(length / most))  # parts of about the same length
    for axis, length in enumerate(shape):
        times = room // math.prod(chunks)
        if times > 1:
            chunks[axis] = max(1, min(length, chunks[axis] * times))
        if chunks[axis] < length:
            break
    return tuple(chunks)


# --- what is stored of a variable ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Stored:
    """What is stored: not yet in chunks, its attributes not yet JSON; `missing` is the text of a missing value."""

    dims: tuple[str, ...]
    data_type: str
    attrs: dict[Any, Any]
    load: Read
    missing: str | None = None
    fill: int | None = None


def _dims(variable: xr.Variable) -> tuple[str, ...]:
    if not all(isinstance(dim, str) for dim in variable.dims):
        raise LeftOut("a dimension has a name that is no text")
    return tuple(map(str, variable.dims))


def _stored(variable: xr.Variable, joins: bool, read: Read) -> _Stored:
    kind, attrs = variable.dtype.kind, dict(variable.attrs)
    if kind == "M":
        units = f"{_TIME_UNITS[np.datetime_data(variable.dtype)[0]]} since 1970-01-01"
        return _times(variable, read, units=units, calendar="proleptic_gregorian")
    if kind == "m":
        return _times(variable, read, units=_TIME_UNITS[np.datetime_data(variable.dtype)[0]])
    if kind == "U":
        return _Stored(_dims(variable), "string", attrs, read)
    if kind == "S":
        return _characters(variable, joins, read)
    if kind in "OT":
        return _objects(variable, read)
    if variable.dtype.name not in _NUMBERS:
        raise LeftOut(f"the type {printable(variable.dtype, 80)} has no counterpart")
    if kind in "iuf" and not _survives_json(variable):
        return _decoded(variable, read, joins=False, mask_and_scale=True)
    return _Stored(_dims(variable), variable.dtype.name, attrs, read)


def _times(variable: xr.Variable, read: Read, **encoding: object) -> _Stored:
    """Store times as int64 since a fixed day, in the unit they have, so that every chunk is encoded alike."""
    import xarray as xr

    def encode(values: Array) -> xr.Variable:
        dims = [f"d{axis}" for axis in range(values.ndim)]
        block = xr.Variable(dims, values, encoding={**encoding, "dtype": np.dtype("int64")})
        return xr.conventions.encode_cf_variable(block)

    first = read((slice(0, 1),) * variable.ndim) if variable.dtype.kind == "O" else np.zeros(1, variable.dtype)
    added = encode(first).attrs
    for key in added:
        if key in variable.attrs:
            raise LeftOut(f"its attribute {key!r} would be read as that of a time")

    def load(selection: tuple[slice, ...]) -> Array:
        return np.asarray(encode(read(selection)).values)

    return _Stored(_dims(variable), "int64", {**variable.attrs, **added}, load, fill=_NOT_A_TIME)


def _characters(variable: xr.Variable, joins: bool, read: Read) -> _Stored:
    """Store bytes as texts if they say how they are encoded, and without a mark for missing ones.

    xarray compares the mark to texts in vain, and JSON has no bytes; usually it is NUL, which ends the bytes anyway.
    """
    decoded = _decoded(variable, read, joins, mask_and_scale=False)
    attrs = {key: value for key, value in decoded.attrs.items() if key not in ("_FillValue", "missing_value")}
    return replace(decoded, attrs=attrs)


def _decoded(variable: xr.Variable, read: Read, joins: bool, mask_and_scale: bool) -> _Stored:
    """Store what xarray decodes each block to."""
    import xarray as xr

    name = "landbridge:block"  # not the variable's own, which may make it an index

    def decode(values: Array) -> xr.Variable:
        alone = xr.Dataset({name: xr.Variable(variable.dims, values, variable.attrs)})
        return xr.decode_cf(alone, joins, mask_and_scale, decode_times=False, decode_coords=False)[name].variable

    lengths = [*(min(1, length) for length in variable.shape[:-1]), *variable.shape[-1:]]
    sample = decode(np.zeros(lengths, variable.dtype))
    rest = tuple(slice(length) for length in variable.shape[len(sample.dims) :])

    def load(selection: tuple[slice, ...]) -> Array:
        return np.asarray(decode(read(selection + rest)).values)

    data_type = {"S": "bytes", "O": "string"}.get(sample.dtype.kind, sample.dtype.name)
    return _Stored(_dims(sample), data_type, dict(sample.attrs), load)


def _objects(variable: xr.Variable, read: Read) -> _Stored:
    import pandas as pd

    values = read(tuple(slice(length) for length in variable.shape))
    absent = np.asarray(pd.isnull(values))
    elements = np.atleast_1d(values)[~np.atleast_1d(absent)].tolist()
    kinds = {type(element) for element in elements}
    if all(issubclass(kind, str) for kind in kinds):
        attrs = dict(variable.attrs)
        if not absent.any():
            return _Stored(_dims(variable), "string", attrs, read)
        texts = set(elements)
        marks = itertools.chain(["", "NA"], (f"missing {number}" for number in itertools.count()))
        missing = next(mark for mark in marks if mark not in texts)

        def load(selection: tuple[slice, ...]) -> Array:
            block = read(selection).astype(object)
            block[np.asarray(pd.isnull(block))] = missing
            return block

        return _Stored(_dims(variable), "string", {**attrs, "missing_value": missing}, load, missing)
    if not absent.any() and all(issubclass(kind, bytes) for kind in kinds):
        return _Stored(_dims(variable), "bytes", dict(variable.attrs), read)
    calendars = {getattr(element, "calendar", None) for element in elements}
    if not absent.any() and len(calendars) == 1 and {kind.__module__.partition(".")[0] for kind in kinds} == {"cftime"}:
        return _times(variable, read, units="microseconds since 1970-01-01", calendar=calendars.pop())
    names = ", ".join(sorted(kind.__name__ for kind in kinds)[:4])
    raise LeftOut(f"its objects ({printable(names, 80)}) have no counterpart" + ", some missing" * bool(absent.any()))


def _survives_json(variable: xr.Variable) -> bool:
    """Return whether xarray decodes numbers the same once scales and marks of missing values are numbers of JSON."""
    attrs = variable.attrs
    if any(key in attrs and not _is_finite_float64(attrs[key]) for key in ("scale_factor", "add_offset")):
        return False
    marks = np.ravel(attrs.get("missing_value", 0))
    if marks.dtype.kind not in "iuf":
        return False
    marks = marks[~np.isnan(marks)]
    with np.errstate(all="ignore"):
        return bool(np.all(np.isfinite(marks)) and np.all(marks.astype(variable.dtype) == marks))


def _is_finite_float64(value: object) -> bool:
    return isinstance(value, float) and math.isfinite(value)  # np.float64 is a float


# --- attributes ---------------------------------------------------------------------------------------------------


def _with_fill(stored: _Stored) -> tuple[dict[str, Any], Any]:
    """Return the attributes as JSON, `_FillValue` as xarray's Zarr backend reads it, and the fill value of Zarr."""
    attrs = dict(stored.attrs)
    marks = [attrs.pop(key) for key in ("_FillValue", "missing_value") if key in attrs]
    attributes = json_attributes(attrs)
    if stored.data_type == "bytes":
        return attributes, b""
    if stored.data_type == "string":
        texts = sorted({str(mark) for value in marks for mark in np.ravel(value)})
        if texts:
            attributes["missing_value"] = texts[0] if len(texts) == 1 else texts
        return attributes, stored.missing or ""
    dtype = np.dtype(stored.data_type)
    empty = stored.fill if stored.fill is not None else dtype.type(np.nan if dtype.kind in "fc" else 0).item()
    missing = json_value([mark for mark in np.ravel(stored.attrs.get("missing_value", [])).tolist() if mark == mark])
    if missing:
        attributes["missing_value"] = missing if len(missing) > 1 else missing[0]
    fill = _number(stored.attrs.get("_FillValue"), dtype)
    if fill is None:
        return attributes, empty
    if dtype.kind == "f":
        attributes["_FillValue"] = _float64_base64(fill)
    elif dtype.kind == "c":
        attributes["_FillValue"] = [_float64_base64(fill.real), _float64_base64(fill.imag)]
    else:
        attributes["_FillValue"] = fill
        if not np.iinfo(dtype).min <= fill <= np.iinfo(dtype).max:  # an unsigned mark of what is stored signed
            return attributes, empty
    return attributes, fill


def _number(value: Any, dtype: np.dtype[Any]) -> Any:
    """Return a `_FillValue` as a Python number of the kind of `dtype`, or None: NaN on integers means nothing."""
    number = np.asarray(value).item() if np.size(value) == 1 else None
    if isinstance(number, bool) or not isinstance(number, (int, float, complex)) or dtype.kind == "b":
        return None
    if dtype.kind == "c":
        return complex(number)
    if isinstance(number, complex):
        return None
    if dtype.kind == "f":
        return float(number)
    return int(number) if math.isfinite(number) and number == int(number) else None


def _float64_base64(number: float) -> str:
    return base64.standard_b64encode(struct.pack("<d", number)).decode()


def json_attributes(attrs: Mapping[Any, Any]) -> dict[str, Any]:
    """Return attributes as JSON values; what JSON can not hold is shown as text."""
    return {str(key): json_value(value) for key, value in attrs.items()}


def json_value(value: Any) -> Any:
    """Return an attribute as a JSON value. NaN and infinities become the texts that Zarr has for them, bytes text.

    Examples
    --------
    >>> import numpy as np
    >>> json_value({"range": np.array([1.5, np.inf], "f4"), "n": np.int16(3)})
    {'range': [1.5, 'Infinity'], 'n': 3}
    """
    if isinstance(value, (np.ndarray, np.generic)):
        value = value.tolist()
    if isinstance(value, float):
        return _json_float(value)
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, Mapping):
        return {str(key): json_value(child) for key, child in value.items()}
    if isinstance(value, (list, tuple)):
        return [json_value(child) for child in value]
    return printable(value)


def _json_float(value: float) -> float | str:
    if math.isnan(value):
        return "NaN"
    return value if math.isfinite(value) else "Infinity" if value > 0 else "-Infinity"


def _json_fill(fill: Any) -> Any:
    if isinstance(fill, complex):
        return [_json_float(fill.real), _json_float(fill.imag)]
    return json_value(fill)


# --- chunks of texts and bytes ------------------------------------------------------------------------------------


def _variable_length(elements: list[Any]) -> bytes:
    """Return a chunk of the codecs `vlen-utf8` and `vlen-bytes`: the count, then each length and its bytes."""
    parts = [struct.pack("<I", len(elements))]
    for element in elements:
        try:
            part = element.encode() if isinstance(element, str) else bytes(element)
        except UnicodeEncodeError:
            raise CannotTravel(
                printable(repr(element), 40),
                "it holds half a surrogate pair, which UTF-8 can not write",
                "Decode the file's texts with the encoding they were written in",
            ) from None
        parts += [struct.pack("<I", len(part)), part]
    return b"".join(parts)
