"""Work on data of any size in bounded memory: small variables are loaded, large ones go through in chunks of dask."""

from __future__ import annotations

import importlib.util
import math
import secrets
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeAlias

import numpy as np
import xarray as xr

from ..errors import TooLarge, printable

__all__ = ["CHUNK_BYTES", "Data", "Memory", "data_variables", "size_bytes"]

Data: TypeAlias = "xr.Dataset | xr.DataArray"

CHUNK_BYTES = 16_000_000
"""About how large the chunks are in which large variables are worked on."""

_SMALL_BYTES = 32_000_000
_OBJECT_BYTES = 64  # what one string is taken to need
_MOST_BLOCKS = 100_000
_MOST_TASKS = 1_000_000
_THREADS = 2
_ARRAY = "landbridge:array"
_PART = "Select a part first, or reduce along other dimensions"


class Memory:
    """What one chain may hold, and how it comes to it.

    Parameters
    ----------
    limit_bytes : int
        The most that all values together may take at a time.
    check : callable
        Called before each chunk is worked on; what it raises ends the work.
    """

    def __init__(self, limit_bytes: int, check: Callable[[], None]) -> None:
        self.limit_bytes = limit_bytes
        self.held_bytes = 0
        self.check = check
        self._small = min(_SMALL_BYTES, limit_bytes // 8)
        self._chunk = max(1, min(CHUNK_BYTES, limit_bytes // 32))
        self._preferred: frozenset[Any] = frozenset()
        self._chunks = importlib.util.find_spec("dask") is not None

    def prefer_whole(self, dims: Iterable[Any]) -> None:
        """Have chunks cut along other dimensions first."""
        self._preferred = frozenset(dims)

    def hold(self, values: Iterable[Data]) -> None:
        """Take note of the values that are kept now."""
        self.held_bytes = _in_memory_bytes(values)

    def reserve(self, what: str, wanted_bytes: int) -> None:
        """Refuse, with `TooLarge`, what has no room beside the values that are kept."""
        if self.held_bytes + wanted_bytes > self.limit_bytes:
            held = f" beside {self.held_bytes:,} bytes that are in use" if self.held_bytes > self._small else ""
            raise TooLarge(f"{what} would take memory{held}", wanted_bytes, self.limit_bytes, _PART)

    def reserve_chunk(self, what: str, wanted_bytes: int) -> None:
        """Refuse, with `TooLarge`, what is too large for one chunk of many."""
        if wanted_bytes > self.limit_bytes // 4:
            raise TooLarge(f"{what} would take memory for one chunk", wanted_bytes, self.limit_bytes // 4, _PART)

    def ready(self, data: Data, whole: Iterable[Any] | None = ()) -> Data:
        """Return `data` so that xarray can work on it: in memory what is small, the rest in chunks.

        Parameters
        ----------
        data : xarray.Dataset or xarray.DataArray
            Some of its variables are lazy.
        whole : iterable of hashable, or None
            Dimensions that may not be in pieces; None for all.

        Raises
        ------
        TooLarge
            When what cannot be in pieces does not fit, and nothing can as dask is not installed here.
        """
        dataset = _as_dataset(data)
        pending = {name: each for name, each in dataset.variables.items() if not each._in_memory}
        kept_whole = set(dataset.dims) if whole is None else set(whole)
        load, room = {}, self._small
        for name, variable in sorted(pending.items(), key=lambda item: size_bytes(item[1])):
            size = size_bytes(variable)
            in_pieces = variable.chunks is not None and any(
                len(lengths) > 1 and dim in kept_whole
                for dim, lengths in zip(variable.dims, variable.chunks, strict=True)
            )
            at_once = bool(kept_whole) and size <= (self.limit_bytes - self.held_bytes) // 4
            if size <= room or at_once or in_pieces or kept_whole >= set(variable.dims):
                load[name] = variable
                room -= size
            elif not self._chunks:
                if self.held_bytes + sum(map(size_bytes, [*load.values(), variable])) > self.limit_bytes:
                    raise TooLarge(
                        f"{_shown(name)} does not fit memory, and its owner has not installed what works in chunks",
                        size,
                        self.limit_bytes,
                        "Select a part first, or ask the owner to install it: pip install 'landbridge[dask]'",
                    )
                load[name] = variable
        changed = self._loaded(load)
        lazy = {name: each for name, each in pending.items() if name not in load and each.chunks is None}
        if lazy:
            lengths = _chunk_lengths(lazy.values(), kept_whole, self._preferred, self._chunk)
            token = secrets.token_hex(16)
            for name, variable in lazy.items():
                size = math.prod(lengths[dim] for dim in variable.dims) * _itemsize(variable)
                self.reserve_chunk(f"{_shown(name)}, which is needed in one piece", size)
                chunks = {dim: lengths[dim] for dim in variable.dims}
                changed[name] = variable.chunk(chunks, name=f"{token}-{len(changed)}")
        return _like(data, _replaced(dataset, changed)) if changed else data

    def settled(self, data: Data, compute: bool) -> Data:
        """Return the outcome of an operation: computed if that is wanted or it is small, else still in chunks."""
        dataset = _as_dataset(data)
        chunked: dict[Any, Any] = {name: each for name, each in dataset.variables.items() if each.chunks is not None}
        tasks = 0
        for name, variable in chunked.items():
            longest = math.prod(max(lengths, default=0) for lengths in variable.chunks or ())
            self.reserve_chunk(_shown(name), longest * _itemsize(variable))
            blocks = math.prod(len(lengths) for lengths in variable.chunks or ())
            if blocks > _MOST_BLOCKS:
                size = size_bytes(variable)
                raise TooLarge(
                    f"{_shown(name)} falls into {blocks:,} chunks", size, size * _MOST_BLOCKS // blocks, _PART
                )
            # Each step adds a layer, or a few, with a task for each chunk; they are counted, not made.
            tasks += blocks * len(variable.data.dask.layers)
            if tasks > _MOST_TASKS:
                size = size_bytes(variable)
                raise TooLarge(
                    f"{_shown(name)} would take {tasks:,} steps in its chunks, of at most {_MOST_TASKS:,},",
                    size,
                    size * _MOST_TASKS // tasks,
                    _PART,
                )
        load, room = {}, self._small
        for name, variable in sorted(chunked.items(), key=lambda item: size_bytes(item[1])):
            if compute or size_bytes(variable) <= room:
                load[name] = variable
                room -= size_bytes(variable)
        outcome = _like(data, _replaced(dataset, self._loaded(load))) if load else data
        taken = _in_memory_bytes([outcome])
        if taken > self.limit_bytes:
            raise TooLarge("a step of the chain gave more than there is memory for", taken, self.limit_bytes, _PART)
        return outcome

    def load(self, data: Data) -> Data:
        """Return `data` with all of it in memory."""
        dataset = _as_dataset(data)
        load = {name: each for name, each in dataset.variables.items() if not each._in_memory}
        return _like(data, _replaced(dataset, self._loaded(load))) if load else data

    def _loaded(self, variables: Mapping[Any, Any]) -> dict[Any, Any]:
        if not variables:
            return {}
        shown = ", ".join(map(_shown, list(variables)[:3])) + (", …" if len(variables) > 3 else "")
        self.reserve(shown, sum(map(size_bytes, variables.values())))
        loaded = {}
        chunked = {name: each for name, each in variables.items() if each.chunks is not None}
        for name, variable in variables.items():
            if name not in chunked:
                self.check()
                loaded[name] = variable.copy(deep=False).load()
        if chunked:
            from dask.base import compute

            arrays = compute(  # type: ignore[no-untyped-call]
                *(each.data for each in chunked.values()),
                scheduler="threads",
                num_workers=_THREADS,
                callbacks=[(None, None, lambda *_: self.check(), None, None)],  # of this work alone
            )
            for (name, variable), array in zip(chunked.items(), arrays, strict=True):
                loaded[name] = variable.copy(deep=False, data=np.asarray(array))
        self.held_bytes += sum(map(size_bytes, loaded.values()))
        return loaded


def _in_memory_bytes(values: Iterable[Data]) -> int:
    arrays = {}
    for value in values:
        for variable in _as_dataset(value).variables.values():
            if variable._in_memory:
                arrays[id(variable._data)] = size_bytes(variable)
    return sum(arrays.values())


def size_bytes(variable: Any) -> int:
    """Return how much memory a variable takes, whether it is loaded or not."""
    return int(variable.size) * _itemsize(variable)


def data_variables(data: Data) -> dict[Any, Any]:
    """Return the variables of the data themselves, without coordinates."""
    if isinstance(data, xr.DataArray):
        return {data.name: data.variable}
    return {name: data.variables[name] for name in data.data_vars}


def _itemsize(variable: Any) -> int:
    return _OBJECT_BYTES if variable.dtype.kind in "OT" else max(1, variable.dtype.itemsize)


def _shown(name: object) -> str:
    return "the array" if name in (None, _ARRAY) else printable(repr(name), 80)


def _as_dataset(data: Data) -> xr.Dataset:
    return data.to_dataset(name=_ARRAY) if isinstance(data, xr.DataArray) else data


def _like(data: Data, dataset: xr.Dataset) -> Data:
    return dataset[_ARRAY].rename(data.name) if isinstance(data, xr.DataArray) else dataset


def _replaced(dataset: xr.Dataset, changed: Mapping[Any, Any]) -> xr.Dataset:
    coords = {name: each for name, each in changed.items() if name in dataset.coords}
    rest = {name: each for name, each in changed.items() if name not in coords}
    return dataset.assign_coords(coords).assign(rest)


def _chunk_lengths(
    variables: Iterable[Any], whole: set[Any], preferred: frozenset[Any], room_bytes: int
) -> dict[Any, int]:
    """Return how long chunks are along each dimension: first dimensions are cut first, as files have them."""
    lengths: dict[Any, int] = {}
    for variable in sorted(variables, key=size_bytes, reverse=True):
        sizes = dict(zip(variable.dims, variable.shape, strict=True))
        free = [dim for dim in variable.dims if dim not in lengths and dim not in whole]
        free.sort(key=lambda dim: dim in preferred)
        chosen = {dim: lengths.get(dim, max(1, size)) for dim, size in sizes.items()}
        for dim in free:
            size = math.prod(chosen.values()) * _itemsize(variable)
            if size > room_bytes:
                chosen[dim] = max(1, chosen[dim] * room_bytes // size)
        lengths.update(chosen)
    return lengths
