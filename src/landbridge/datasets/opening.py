"""From what an owner says of a data set to a lazy `xarray.Dataset`."""

from __future__ import annotations

import datetime
import enum
import math
import uuid
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, replace
from types import NoneType
from typing import Any

import numpy as np
import xarray
from xarray.backends.common import AbstractDataStore
from xarray.backends.store import StoreBackendEntrypoint
from xarray.core import indexing

from ..errors import LandbridgeError, Malformed, printable
from ..names import Address
from ..wire.plain import refuse_collisions
from .accessor import Origin
from .remote import AsksOwner, RemoteArray, RemoteSource
from .rounding import ROUNDED_ATTRIBUTE, keepbits_by_name

__all__ = ["Opened", "open_lazily"]

_MOST_DIMENSIONS = 64
_MOST_VARIABLES = 100_000
_MOST_BYTES = 2**62  # of a variable; no length of a dimension is beyond this either
_NAMES = (str, bytes, bool, int, float, NoneType, np.generic, datetime.date, datetime.timedelta, uuid.UUID, enum.Enum)
"""What variables and dimensions are called, and tuples of it: xarray takes anything that can be hashed."""
_NAME_DEPTH = 4
_AS_USUAL = {
    "mask_and_scale": True, "decode_times": True, "concat_characters": True, "decode_coords": True,
    "decode_timedelta": None,
}  # fmt: skip
"""How data sets are decoded beside the data."""


@dataclass(frozen=True)
class Opened:
    """A data set that was opened: one version of it.

    Attributes
    ----------
    source : AsksOwner
        Where it is.
    version : str
        Which version was opened; selections are of this version, or fail.
    raw : bool
        Whether packed numbers, times and missing values are still to be decoded, as in a file.
    attrs, encoding : dict
        Of the data set.
    variables : dict
        All variables in the order of the owner, the large ones lazy.
    coords : list
        The names of those that are coordinates.
    indexes : dict
        The indexes of decoded data sets.
    """

    source: AsksOwner
    version: str
    raw: bool
    attrs: dict[Any, Any]
    encoding: dict[Any, Any]
    variables: dict[Hashable, Any]
    coords: list[Hashable]
    indexes: Mapping[Any, Any]

    def __dask_tokenize__(self) -> tuple[Any, ...]:
        return self.source.__dask_tokenize__(), self.version


def opened(source: AsksOwner) -> Opened:
    """Open a data set.

    Raises
    ------
    Malformed
        When what the owner says of it is no description of a data set.
    """
    match source.open():
        case {
            "version": str(version),
            "raw": bool(raw),
            "dataset": xarray.Dataset() as small,
            "lazy": list(lazy),
            "variables": list(names),
            "coords": list(coords),
        } if len(names) <= _MOST_VARIABLES:
            pass
        case _:
            raise Malformed(f"{source.address} does not describe itself as a data set")
    for each in (names, coords):
        if not all(map(_is_name, each)):
            raise Malformed(f"{source.address} names its variables by what is no name")
        refuse_collisions(each)
    found: dict[Hashable, Any] = {name: small.variables[name].to_base_variable() for name in small.variables}
    indexed: dict[Hashable, Any] = {name: small.variables[name] for name in small.xindexes}
    named = set(names)
    for each in lazy:
        name, variable = _lazy_variable(source, version, each)
        if name not in named or name in found:
            raise Malformed(f"{source.address} names its variables in two ways")
        found[name] = variable
    if len(found) != len(names) or named != set(found) or not named.issuperset(coords):
        raise Malformed(f"{source.address} names its variables in two ways")
    if not raw:
        found.update(indexed)
    _check_sizes(source.address, found)
    if raw and not all(isinstance(name, str) for each in found for name in (each, *found[each].dims)):
        raise Malformed(f"{source.address} has a variable or dimension whose name is no text, as no file has")
    ordered = {name: found[name] for name in names}
    return Opened(source, version, raw, small.attrs, small.encoding, ordered, coords, small.xindexes)


def _lazy_variable(source: AsksOwner, version: str, described: object) -> tuple[Hashable, xarray.Variable]:
    match described:
        case [name, list(dims), list(shape), np.dtype() as dtype, dict(attrs), dict(encoding), chunks] if (
            _is_name(name)
            and all(map(_is_name, dims))
            and len(dims) == len(shape) <= _MOST_DIMENSIONS
            and all(type(length) is int and length >= 0 for length in shape)
            and (chunks is None or _are_chunks(chunks, dims))
        ):
            array = RemoteArray(source, version, name, tuple(shape), dtype)
        case _:
            raise Malformed(f"{source.address} describes a variable in another form")
    # Lengths beside a 0 count too: NumPy takes none that are larger.
    if math.prod(max(1, length) for length in shape) * max(1, dtype.itemsize) >= _MOST_BYTES:
        raise Malformed(f"{source.address} describes a variable that no memory could hold")
    if chunks is not None:
        encoding = {**encoding, "preferred_chunks": chunks}
    return name, xarray.Variable(dims, indexing.LazilyIndexedArray(array), attrs, encoding)


def _is_name(name: object, depth: int = 0) -> bool:
    if type(name) is tuple and depth < _NAME_DEPTH:
        return all(_is_name(part, depth + 1) for part in name)
    return isinstance(name, _NAMES)


def _are_chunks(chunks: object, dims: list[Any]) -> bool:
    return (
        isinstance(chunks, dict)
        and chunks.keys() <= set(dims)
        and all(type(length) is int and 1 <= length < _MOST_BYTES for length in chunks.values())
    )


def _check_sizes(address: Address, variables: Mapping[Hashable, Any]) -> None:
    refuse_collisions([dim for variable in variables.values() for dim in variable.dims])
    sizes: dict[Hashable, int] = {}
    for variable in variables.values():
        for dim, length in zip(variable.dims, variable.shape, strict=True):
            if sizes.setdefault(dim, length) != length:
                raise Malformed(f"{address} has two lengths of the dimension {dim!r:.60}")


class _Undecoded(AbstractDataStore):
    """What xarray's decoding starts from: the variables as they are in the file."""

    def __init__(self, opened: Opened) -> None:
        self._opened = opened

    def get_variables(self) -> dict[Hashable, Any]:
        return self._opened.variables

    def get_attrs(self) -> dict[Any, Any]:
        return self._opened.attrs

    def get_encoding(self) -> dict[Any, Any]:
        return self._opened.encoding

    def close(self) -> None:
        pass


def _rounded(opened: Opened, keepbits: object) -> Opened:
    """Return a data set whose large variables arrive with fewer bits, and say so."""
    found = dict(opened.variables)
    for name, bits in keepbits_by_name(keepbits, found, opened.coords, opened.attrs).items():
        variable = found[name]
        array = getattr(variable._data, "array", None)
        if isinstance(array, RemoteArray):  # the others have arrived already
            lazy = indexing.LazilyIndexedArray(array.rounded(bits))
            attrs = {**variable.attrs, ROUNDED_ATTRIBUTE: bits}
            found[name] = xarray.Variable(variable.dims, lazy, attrs, variable.encoding)
    return replace(opened, variables=found)


def open_lazily(opened: Opened, keepbits: object = None, **decoding: Any) -> xarray.Dataset:
    """Return an opened data set as xarray knows it.

    Parameters
    ----------
    opened : Opened
        The data set.
    keepbits : int or dict, optional
        How many bits of the mantissa of floats its owner keeps; see `keepbits_by_name`.
    **decoding
        How to decode one that comes from files, as `xarray.open_dataset` has it: ``decode_times``, ``mask_and_scale``,
        ``drop_variables`` and so on. One that was decoded by its owner only knows ``drop_variables``.
    """
    if keepbits is not None:
        opened = _rounded(opened, keepbits)
    dropped = decoding.pop("drop_variables", None)
    dropped = [dropped] if isinstance(dropped, str) else list(dropped or ())
    as_usual = not opened.raw or all(_AS_USUAL[name] is value for name, value in decoding.items())
    try:
        dataset = _decoded(opened, dropped, decoding)
    except (LandbridgeError, MemoryError):
        raise
    except Exception as error:
        said = _why_never(opened, error) if as_usual else _why_never(opened)
        if not said:
            raise  # it opens without these options, so xarray says what is wrong with them
    else:
        said = ""
    if said:  # raised here, without xarray's error as its context: what the owner says has led to it
        raise Malformed(f"{opened.source.address} describes a data set that xarray cannot open: {said}")
    dataset.encoding = {**opened.encoding, "source": f"landbridge://{opened.source.address}"}
    if isinstance(opened.source, RemoteSource):
        dataset.set_close(Origin.of(dataset, opened.source, opened.version, dropped, as_usual))
    return dataset


def _decoded(opened: Opened, dropped: list[Any], decoding: dict[str, Any]) -> xarray.Dataset:
    if opened.raw:
        return StoreBackendEntrypoint().open_dataset(_Undecoded(opened), drop_variables=dropped, **decoding)
    coords = {name: opened.variables[name] for name in opened.variables if name in opened.coords}
    data = {name: variable for name, variable in opened.variables.items() if name not in coords}
    dataset = xarray.Dataset(data, xarray.Coordinates(coords, dict(opened.indexes)), opened.attrs)
    return dataset.drop_vars(dropped, errors="ignore")


def _why_never(opened: Opened, error: Exception | None = None) -> str:
    """Return why a data set cannot be opened without options either, or nothing if it can."""
    if error is None:
        try:
            _decoded(opened, [], {})
        except LandbridgeError:
            raise
        except Exception as found:
            error = found
    return "" if error is None else printable(" ".join(f"{type(error).__name__}: {error}".split()), 300)
