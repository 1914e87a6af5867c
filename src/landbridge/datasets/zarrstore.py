"""A remote data set as a store of zarr-python 3: read-only, every key fetched from its owner. The caller's side."""

from __future__ import annotations

import asyncio
import functools
import itertools
import json
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from typing import Any

from ..errors import Malformed, MissingExtra

try:
    from zarr.abc.store import ByteRequest, OffsetByteRequest, RangeByteRequest, Store, SuffixByteRequest
    from zarr.core.buffer import Buffer, BufferPrototype
except ImportError:
    raise MissingExtra("The Zarr view of a data set", "zarr") from None

__all__ = ["Get", "ZarrStore"]

KeyRange = tuple[str, int | None, int | None]
Get = Callable[[list[KeyRange]], Awaitable[list[bytes | None]]]
_Waiting = list[tuple[KeyRange, "asyncio.Future[bytes | None]"]]

_KEYS_AT_ONCE = 64
_BYTES_AT_ONCE = 16 * 1024 * 1024
_CHUNK_BYTES = 1024 * 1024  # what a value of unknown length is taken for; owners make chunks of at most 960 KiB


class ZarrStore(Store):
    """A data set of another institute as a Zarr v3 store; nothing can be written.

    What is asked for in the same turn of the event loop travels as one call, of at most 64 keys or about 16 MB.

    Parameters
    ----------
    get : coroutine function
        Fetches ``[(key, start, stop), ...]``, ranges as Python slices; gives a list of bytes, or None where there is no
        such key, in the same order. The store can be pickled and compared as far as `get` can.
    address : str
        ``institute/module.name``, for `repr`.

    Examples
    --------
    >>> async def get(keys):
    ...     return [b'{"zarr_format": 3, "node_type": "group"}' if key == "zarr.json" else None for key, *_ in keys]
    >>> import zarr
    >>> zarr.open_group(ZarrStore(get, "geomar/sst"), mode="r")
    <Group ZarrStore('geomar/sst')>
    """

    supports_writes = False
    supports_deletes = False
    supports_listing = True

    def __init__(self, get: Get, address: str) -> None:
        super().__init__(read_only=True)
        self._get, self.address = get, address
        self._waiting: dict[asyncio.AbstractEventLoop, _Waiting] = {}

    def __eq__(self, other: object) -> bool:
        """Return whether both fetch the same data set in the same way."""
        return isinstance(other, ZarrStore) and (self.address, self._get) == (other.address, other._get)

    def __hash__(self) -> int:
        return hash((ZarrStore, self.address))

    def __repr__(self) -> str:
        return f"ZarrStore({self.address!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        return ZarrStore, (self._get, self.address)

    def with_read_only(self, read_only: bool = False) -> Store:
        """Return a store of the same data set; it can only be read-only."""
        return ZarrStore(self._get, self.address) if read_only else super().with_read_only(read_only)

    # --- reading --------------------------------------------------------------------------------------------------

    async def get(self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None) -> Buffer | None:
        """Return the value of a key, or the named part of it; None if there is no such key."""
        value = await self._fetch((key, *_slice(byte_range)))
        return None if value is None else prototype.buffer.from_bytes(value)

    async def get_partial_values(
        self, prototype: BufferPrototype, key_ranges: Iterable[tuple[str, ByteRequest | None]]
    ) -> list[Buffer | None]:
        """Return parts of several values, in their order."""
        return list(await asyncio.gather(*(self.get(key, prototype, part) for key, part in key_ranges)))

    async def exists(self, key: str) -> bool:
        """Return whether there is such a key. The value does not travel."""
        return await self._fetch((key, 0, 0)) is not None

    async def _fetch(self, wanted: KeyRange) -> bytes | None:
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[bytes | None] = loop.create_future()
        waiting = self._waiting.setdefault(loop, [])
        waiting.append((wanted, answer))
        if len(waiting) == 1:
            loop.call_soon(self._send, loop)
        return await answer

    def _send(self, loop: asyncio.AbstractEventLoop) -> None:
        waiting = [(wanted, answer) for wanted, answer in self._waiting.pop(loop) if not answer.done()]
        for batch in _batches(waiting):
            task = loop.create_task(self._answer(batch))
            unwanted = functools.partial(_cancel_if_unwanted, batch, task)
            for _, answer in batch:
                answer.add_done_callback(unwanted)

    async def _answer(self, batch: _Waiting) -> None:
        try:
            values = await self._get([wanted for wanted, _ in batch])
            if len(values) != len(batch) or not all(value is None or isinstance(value, bytes) for value in values):
                raise Malformed(f"{self.address} answered {len(batch)} keys with something else than their values")
        except Exception as error:
            for _, answer in batch:
                if not answer.done():
                    answer.set_exception(error)
            return
        for (_, answer), value in zip(batch, values, strict=True):
            if not answer.done():
                answer.set_result(value)

    # --- listing: from the metadata of the root -------------------------------------------------------------------

    async def _grids(self) -> dict[str, tuple[int, ...]]:
        """Return for each array how many chunks it has along each dimension."""
        root = await self._fetch(("zarr.json", None, None))
        if root is None:
            return {}
        try:
            documents = json.loads(root)["consolidated_metadata"]["metadata"]
            return {name: _grid(document) for name, document in documents.items()}
        except (ValueError, KeyError, TypeError, AttributeError, ZeroDivisionError):
            raise Malformed(f"the metadata of {self.address} do not describe a Zarr group") from None

    async def list(self) -> AsyncIterator[str]:
        """Give all keys: of the group, of each array, and of each of its chunks."""
        async for key in self.list_prefix(""):
            yield key

    async def list_prefix(self, prefix: str) -> AsyncIterator[str]:
        """Give all keys that begin with `prefix`."""
        grids = await self._grids()
        if grids and "zarr.json".startswith(prefix):
            yield "zarr.json"
        for name, grid in grids.items():
            if name.startswith(prefix[: len(name)]):
                for key in _keys(name, grid):
                    if key.startswith(prefix):
                        yield key

    async def list_dir(self, prefix: str) -> AsyncIterator[str]:
        """Give the names of keys and folders directly below `prefix`."""
        grids = await self._grids()
        name, *parts = prefix.rstrip("/").split("/")
        if not name:
            for child in ["zarr.json", *grids] if grids else []:
                yield child
        elif name in grids:
            for child in _children(parts, grids[name]):
                yield child

    # --- writing: refused, as by any store that was opened read-only ----------------------------------------------

    async def set(self, key: str, value: Buffer) -> None:
        """Refuse to write."""
        self._check_writable()

    async def set_if_not_exists(self, key: str, value: Buffer) -> None:
        """Refuse to write."""
        self._check_writable()

    async def delete(self, key: str) -> None:
        """Refuse to delete."""
        self._check_writable()

    async def delete_dir(self, prefix: str) -> None:
        """Refuse to delete."""
        self._check_writable()

    async def clear(self) -> None:
        """Refuse to delete."""
        self._check_writable()


def _slice(part: ByteRequest | None) -> tuple[int | None, int | None]:
    if part is None:
        return None, None
    if isinstance(part, RangeByteRequest):
        return part.start, part.end
    if isinstance(part, OffsetByteRequest):
        return part.offset, None
    if isinstance(part, SuffixByteRequest):
        return (-part.suffix, None) if part.suffix else (0, 0)
    raise ValueError(f"Unexpected byte_range, got {part!r}.")


def _batches(waiting: _Waiting) -> Iterator[_Waiting]:
    batch: _Waiting = []
    size = 0
    for wanted, answer in waiting:
        expected = _expected_bytes(wanted)
        if batch and (len(batch) == _KEYS_AT_ONCE or size + expected > _BYTES_AT_ONCE):
            yield batch
            batch, size = [], 0
        batch.append((wanted, answer))
        size += expected
    if batch:
        yield batch


def _expected_bytes(wanted: KeyRange) -> int:
    key, start, stop = wanted
    if start is not None and start < 0:
        return -start
    if stop is not None:
        return max(0, stop - (start or 0))
    return 0 if key.endswith("zarr.json") else _CHUNK_BYTES


def _cancel_if_unwanted(batch: _Waiting, task: asyncio.Task[None], _: object) -> None:
    if all(answer.cancelled() for _, answer in batch):
        task.cancel()


def _grid(document: dict[str, Any]) -> tuple[int, ...]:
    shape, chunks = document["shape"], document["chunk_grid"]["configuration"]["chunk_shape"]
    if not all(type(length) is int and length >= 0 for length in [*shape, *chunks]):
        raise ValueError
    return tuple(math.ceil(length / chunk) for length, chunk in zip(shape, chunks, strict=True))


def _keys(name: str, grid: tuple[int, ...]) -> Iterator[str]:
    yield f"{name}/zarr.json"
    for index in itertools.product(*map(range, grid)):
        yield "/".join([name, "c", *map(str, index)])


def _children(parts: list[str], grid: tuple[int, ...]) -> Iterator[str]:
    """Give what is directly below the folder `parts` of an array: its document and "c", or indices of chunks."""
    if not parts:
        yield "zarr.json"
        if 0 not in grid:
            yield "c"
    elif parts[0] == "c" and len(parts) <= len(grid) and 0 not in grid:
        indices = parts[1:]
        if all(part in map(str, range(length)) for part, length in zip(indices, grid, strict=False)):
            yield from map(str, range(grid[len(indices)]))
