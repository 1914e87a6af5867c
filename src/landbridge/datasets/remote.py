"""The reader's side of a data set: arrays that fetch what is asked of them, and nothing else."""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
from xarray.backends import BackendArray
from xarray.core import indexing

from ..client.method import Method
from ..client.network import Network
from ..client.references import Reference
from ..contract import MethodSpec, ParameterSpec
from ..errors import CallLost, Malformed
from ..names import Address

__all__ = ["AsksOwner", "Part", "RemoteArray", "RemoteSource", "ZarrGet", "fill", "travelling"]

_TRIES = 4
"""How often a selection is fetched when its backend dies under it: data sets are only read, so that does no harm."""

_SPECS = {
    "open": MethodSpec("open", idempotent=True, static=True),
    "get": MethodSpec(
        "get",
        parameters=(ParameterSpec("keys"), ParameterSpec("version", required=False)),
        idempotent=True,
        static=True,
    ),
    "select": MethodSpec(
        "select",
        parameters=(ParameterSpec("version"), ParameterSpec("wanted")),
        streams=True,
        idempotent=True,
        static=True,
    ),
    "compute": MethodSpec(
        "compute",
        parameters=(ParameterSpec("version"), ParameterSpec("expression")),
        idempotent=True,
        static=True,
    ),
}


class Part(NamedTuple):
    """A part of a variable that is to be fetched.

    Attributes
    ----------
    name : hashable
        The variable.
    key : list
        Which part; `travelling` tells the form.
    into : numpy.ndarray
        Where it is put: an array of its shape and dtype.
    keepbits : int, optional
        How many bits of the mantissa of each float its owner keeps; None for all, exactly.
    """

    name: object
    key: list[Any]
    into: np.ndarray[Any, Any]
    keepbits: int | None = None

    def travelling(self) -> list[Any]:
        """Return the form in which it is asked for."""
        return [self.name, self.key] if self.keepbits is None else [self.name, self.key, self.keepbits]


class AsksOwner(Protocol):
    """What a data set is read through: `RemoteSource`, or, at its owner, what answers at once."""

    @property
    def address(self) -> Address:
        """What the data set is called."""

    def open(self) -> object:
        """Return what the owner says of the data set."""

    def select(self, version: str, wanted: Sequence[Part]) -> None:
        """Fetch parts of variables."""

    def __dask_tokenize__(self) -> tuple[Any, ...]:
        """Return what tells it from other data sets."""


@dataclass(frozen=True)
class RemoteSource:
    """Where a data set is, and how its owner is asked.

    Attributes
    ----------
    network : Network
        The network it is in; pickled as whom it was opened, so that other processes open their own.
    address : Address
        ``institute/module.name``.
    reference : Reference, optional
        The kept value that is read as a data set; held, so that it stays.
    """

    network: Network
    address: Address
    reference: Reference | None = None

    def open(self) -> object:
        """Return what the owner says of the data set; as it arrived, so not to be believed yet."""
        return self._verb("open")()

    def get(self, keys: list[Any], version: str | None) -> tuple[str, list[bytes | None]]:
        """Return values of the data set as a Zarr store, and of which version they are.

        Parameters
        ----------
        keys : list of (str, int or None, int or None)
            Each a key and the slice of its value.
        version : str or None
            The version that was opened; None for the current one.
        """
        match self._verb("get")([list(each) for each in keys], version):
            case {"version": str(found), "values": list(values)} if all(
                value is None or isinstance(value, bytes) for value in values
            ):
                return found, values
        raise Malformed(f"{self.address} answers keys with something else than their values")

    def select(self, version: str, wanted: Sequence[Part]) -> None:
        """Fetch parts of variables, all with one call.

        Parameters
        ----------
        version : str
            The version of the data set that was opened.
        wanted : sequence of Part
            Which parts, and where they are put.

        Raises
        ------
        DatasetChanged
            When the data set is no longer the one that was opened.
        LandbridgeError
            When the owner cannot be reached, or says no.
        """
        asked = [part.travelling() for part in wanted]
        arrays = [part.into for part in wanted]
        for tries in range(1, _TRIES + 1):
            try:
                # Closed even while an error is kept whose traceback holds it: then the owner stops to send.
                with contextlib.closing(self._verb("select")(version, asked)) as blocks:
                    fill(arrays, blocks, str(self.address))
            except CallLost:
                if tries == _TRIES:
                    raise
            else:
                return

    def compute(self, version: str, steps: list[Any]) -> Any:
        """Have a chain of operations evaluated beside the data, with one call; see `landbridge.datasets.operations`.

        Parameters
        ----------
        version : str
            The version of the data set that was opened.
        steps : list
            The chain.

        Returns
        -------
        xarray.Dataset or xarray.DataArray
        """
        found = self._verb("compute")(version, steps)
        if type(found).__name__ not in ("Dataset", "DataArray") or not type(found).__module__.startswith("xarray."):
            raise Malformed(f"{self.address} answers a chain with something else than data")
        return found

    def _verb(self, verb: str) -> Method:
        if self.reference is not None:
            return self.reference._method(_SPECS[verb])
        where = self.address._replace(member=f"{self.address.member}.{verb}")
        return Method(self.network, where, _SPECS[verb], {})

    def __dask_tokenize__(self) -> tuple[str, ...]:
        return str(self.address), "" if self.reference is None else self.reference._data.value_id


@dataclass
class ZarrGet:
    """Fetches keys of a data set for `landbridge.datasets.zarrstore.ZarrStore`: all of the version seen first.

    Attributes
    ----------
    source : RemoteSource
        The data set.
    version : str, optional
        Which version of it is read; None until something has been.
    """

    source: RemoteSource
    version: str | None = None

    async def __call__(self, keys: list[tuple[str, int | None, int | None]]) -> list[bytes | None]:
        """Return the values."""
        found, values = await asyncio.to_thread(self.source.get, keys, self.version)
        self.version = self.version or found
        return values


def fill(arrays: list[np.ndarray[Any, Any]], blocks: Iterator[object], target: str) -> None:
    """Put the blocks that the owner sends for a selection into the arrays that were made for it.

    Raises
    ------
    Malformed
        When a block does not fit, or is not the next one in C order, or when blocks are missing: no element of an
        array is left as it was.
    """
    filled = [_Filled(array.shape) for array in arrays]
    for received in blocks:
        match received:
            case [int(position), list(start), np.ndarray() as block] if 0 <= position < len(arrays):
                array = arrays[position]
            case _:
                raise Malformed(f"a block of {target} has another form")
        place = tuple(slice(first, first + length) for first, length in zip(start, block.shape, strict=False))
        fits = len(start) == block.ndim == array.ndim and all(type(first) is int and first >= 0 for first in start)
        if not fits or array[place].shape != block.shape or not _is_same_dtype(block.dtype, array.dtype):
            raise Malformed(f"a block of {target} does not fit what was asked for")
        if not filled[position].goes_on(start, block.shape):
            raise Malformed(f"a block of {target} is empty, comes twice, or is not the next one")
        array[place] = block
    if not all(each.is_whole for each in filled):
        raise Malformed(f"{target} sent fewer elements than were asked for")


class _Filled:
    """Knows how far an array is filled by boxes in C order, from the last box alone.

    Each axis is cut from 0 to its end, and the later axes anew within each cut. So a box begins where the last one
    ended on the last axis that is not at its end, has the cuts of the last one before that axis, and begins at 0
    after it: then no element is in two boxes, and all are in one when every axis is at its end.
    """

    __slots__ = ("_shape", "_start", "_stop")

    def __init__(self, shape: tuple[int, ...]) -> None:
        self._shape = list(shape)
        self._start: list[int] = []
        self._stop: list[int] | None = None

    def goes_on(self, start: list[int], shape: tuple[int, ...]) -> bool:
        """Say whether a box that lies in the array is the next one, and if so, count it as filled."""
        if self.is_whole or 0 in shape:
            return False
        stop = [first + length for first, length in zip(start, shape, strict=True)]
        if self._stop is None:
            is_next = not any(start)
        else:
            axis = max(axis for axis, size in enumerate(self._shape) if self._stop[axis] < size)
            is_next = (
                start == [*self._start[:axis], self._stop[axis], *[0] * (len(start) - axis - 1)]
                and stop[:axis] == self._stop[:axis]
            )
        if is_next:
            self._start, self._stop = start, stop
        return is_next

    @property
    def is_whole(self) -> bool:
        """Whether no element is missing; an array without elements needs no box."""
        return 0 in self._shape or self._stop == self._shape


def _is_same_dtype(arrived: np.dtype[Any], expected: np.dtype[Any]) -> bool:
    return arrived == expected or np.can_cast(arrived, expected, "equiv")


def travelling(key: indexing.ExplicitIndexer, shape: tuple[int, ...]) -> tuple[list[Any], tuple[int, ...]]:
    """Return the form in which xarray's `key` travels, and the shape of what it selects from an array of `shape`.

    Examples
    --------
    >>> travelling(indexing.BasicIndexer((slice(2, 4), 0)), (10, 5))
    (['outer', [slice(2, 4, 1), 0]], (2,))
    """
    entries: list[Any] = []
    lengths: list[int] = []
    pointed: list[np.ndarray[Any, Any]] = []
    for entry, size in zip(key.tuple, shape, strict=True):
        if isinstance(entry, slice):
            first, last, step = entry.indices(size)
            # A step back to the first element ends at -1, which a slice would count from the other end.
            entries.append(slice(first, None if last < 0 else last, step))
            lengths.append(len(range(first, last, step)))
        elif isinstance(entry, np.ndarray):
            indices = entry.astype(np.int64, copy=False)
            entries.append(indices)
            if isinstance(key, indexing.VectorizedIndexer):
                pointed.append(indices)
            else:
                lengths.append(indices.size)
        else:
            entries.append(int(entry))
    if pointed:
        return ["points", entries], (*np.broadcast_shapes(*(each.shape for each in pointed)), *lengths)
    return ["outer", entries], tuple(lengths)


class RemoteArray(BackendArray):
    """A variable of a remote data set: indexing it fetches the part, with one call.

    Parameters
    ----------
    source : AsksOwner
        The data set.
    version : str
        Which version of it.
    name : hashable
        The variable.
    shape : tuple of int
        Its shape.
    dtype : numpy.dtype
        Its dtype.
    keepbits : int, optional
        How many bits of the mantissa of each float are kept; None for all.
    """

    __slots__ = ("dtype", "keepbits", "name", "shape", "source", "version")

    def __init__(
        self,
        source: AsksOwner,
        version: str,
        name: object,
        shape: tuple[int, ...],
        dtype: np.dtype[Any],
        keepbits: int | None = None,
    ) -> None:
        self.source, self.version, self.name, self.shape, self.dtype = source, version, name, shape, dtype
        self.keepbits = keepbits

    def rounded(self, keepbits: int) -> RemoteArray:
        """Return the same variable, of which that many bits are kept."""
        return RemoteArray(self.source, self.version, self.name, self.shape, self.dtype, keepbits)

    def __getitem__(self, key: indexing.ExplicitIndexer) -> np.ndarray[Any, Any]:
        travels, shape = travelling(key, self.shape)
        selected: np.ndarray[Any, Any] = np.empty(shape, self.dtype)
        if math.prod(shape):
            self.source.select(self.version, [Part(self.name, travels, selected, self.keepbits)])
        return selected

    async def async_getitem(self, key: indexing.ExplicitIndexer) -> np.ndarray[Any, Any]:
        """Return the part in a coroutine, so that those of several variables are fetched at the same time."""
        return await asyncio.to_thread(self.__getitem__, key)

    def __dask_tokenize__(self) -> tuple[Any, ...]:
        return self.source.__dask_tokenize__(), self.version, self.name, self.keepbits
