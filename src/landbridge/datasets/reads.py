"""What to read of a file for one block of a selection, and where what was read belongs.

File libraries are quick with contiguous boxes and slow with everything else (one call into C for each element), and
they decompress a whole chunk for one value of it. So only contiguous boxes are asked for, and what lies in one chunk
is picked in memory from one read.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from .selection import Array, Selection, first_in_chunk

__all__ = ["Read", "place", "reads"]


@dataclass(frozen=True, eq=False, slots=True)
class Read:
    """One read, and what becomes of it: ``out[target] = data.transpose(axes)[picked]``.

    Attributes
    ----------
    slices : tuple of slice
        What to read: a contiguous box, for each dimension of the variable start and stop.
    axes : tuple of int
        The order of the dimensions in which `picked` is applied.
    picked, target : tuple
        NumPy indices into what was read, and into the block (of which `place` knows the shape).
    """

    slices: tuple[slice, ...]
    axes: tuple[int, ...]
    picked: tuple[Any, ...]
    target: tuple[Any, ...]


@dataclass(frozen=True, eq=False, slots=True)
class _Group:
    """Indices along one dimension that are read together."""

    start: int
    stop: int
    picked: slice | Array
    target: slice | Array


def reads(selection: Selection, chunks: tuple[int, ...], itemsize: int, limit_bytes: int) -> Iterator[Read]:
    """Say what to read for one block: contiguous boxes, in the order of the source, no chunk twice.

    Parameters
    ----------
    selection : Selection
        A block of what is wanted.
    chunks : tuple of int
        What `chunk_grid` gave.
    itemsize : int
        Bytes of an element.
    limit_bytes : int
        How large a read may be; reads of one chunk of `chunks` may be larger.
    """
    if selection.size == 0:
        return
    limit = max(1, limit_bytes // max(itemsize, 1))
    if selection.kind == "points":
        yield from _point_reads(selection, chunks, limit)
        return
    entries = [range(entry, entry + 1) if isinstance(entry, int) else entry for entry in selection.entries]
    axes = tuple(range(len(entries)))
    for groups in _product(_grouped(entries, list(chunks), limit)):
        slices = tuple(slice(group.start, group.stop) for group in groups)
        picked = _mesh(tuple(group.picked for group in groups))
        yield Read(slices, axes, picked, _mesh(tuple(group.target for group in groups)))


def place(
    selection: Selection, plan: Iterator[Read], dtype: np.dtype[Any], read: Callable[[tuple[slice, ...]], Array]
) -> Array:
    """Read a block: call `read` with each box of the plan, and put what it gives in its place.

    Returns
    -------
    numpy.ndarray
        Of the selection's shape and the given dtype.
    """
    if selection.kind == "points":
        npoints = math.prod(selection.shape[: selection.point_axes])
        shape: tuple[int, ...] = (npoints, *selection.shape[selection.point_axes :])
    else:
        shape = tuple(1 if isinstance(entry, int) else len(entry) for entry in selection.entries)
    out: Array | None = None
    for step in plan:
        found = read(step.slices).transpose(step.axes)[(*step.picked, ...)]  # with ... also 0-d is an array
        if out is None and found.shape == shape and not any(isinstance(part, np.ndarray) for part in step.target):
            return np.ascontiguousarray(found, dtype).reshape(selection.shape)  # all of it, from one read
        if out is None:
            out = np.empty(shape, dtype)
        out[step.target] = found
    if out is None:
        out = np.empty(shape, dtype)
    return out.reshape(selection.shape)


def _product(dimensions: list[list[_Group]]) -> Iterator[tuple[_Group, ...]]:
    if not dimensions:
        yield ()
        return
    for group in dimensions[0]:
        for rest in _product(dimensions[1:]):
            yield (group, *rest)


def _mesh(indices: tuple[slice | Array, ...]) -> tuple[Any, ...]:
    if all(isinstance(index, slice) for index in indices):
        return indices
    return np.ix_(*(_numbers(index) if isinstance(index, slice) else index for index in indices))


def _numbers(index: slice) -> Array:
    stop = -1 if index.stop is None else index.stop
    return np.arange(index.start, stop, index.step or 1)


def _grouped(entries: Sequence[range | Array], chunks: list[int], limit: int) -> list[list[_Group]]:
    """Group the indices of each dimension so that no product of them, one read, is beyond the limit."""
    groups = [_groups(entry, chunk, None) for entry, chunk in zip(entries, chunks, strict=True)]
    extents = [max(group.stop - group.start for group in along) for along in groups]
    for axis, (entry, chunk) in enumerate(zip(entries, chunks, strict=True)):
        if math.prod(extents) > limit:
            others = math.prod(extents) // extents[axis]
            groups[axis] = _groups(entry, chunk, max(chunk, limit // others))
            extents[axis] = max(group.stop - group.start for group in groups[axis])
    return groups


def _groups(entry: range | Array, chunk: int, most: int | None) -> list[_Group]:
    """Group indices that lie in the same chunk or in neighbouring ones, as long as that is at most `most` long."""
    if isinstance(entry, range) and most is None and abs(entry.step) <= chunk:
        return [_range_group(entry, 0, len(entry))]  # no chunk between the first and the last is left out
    if isinstance(entry, range):
        runs = _range_runs(entry, chunk)
        return [_range_group(entry, first, last) for first, last in _merged(runs, most)]
    order = np.argsort(entry, kind="stable")
    ascending = entry[order]
    return [_array_group(ascending, order, *bounds) for bounds in _merged(_array_runs(ascending, chunk), most)]


# A run is what lies in one chunk: (first position, last + 1, lowest index, highest + 1, number of the chunk).
_Run: TypeAlias = "tuple[int, int, int, int, int]"


def _merged(runs: Iterator[_Run], most: int | None) -> Iterator[tuple[int, int]]:
    held: _Run | None = None
    for run in runs:
        if held is None:
            held = run
            continue
        low, high = min(held[2], run[2]), max(held[3], run[3])
        if abs(run[4] - held[4]) <= 1 and (most is None or high - low <= most):
            held = (held[0], run[1], low, high, run[4])
        else:
            yield held[:2]
            held = run
    if held is not None:
        yield held[:2]


def _range_runs(entry: range, chunk: int) -> Iterator[_Run]:
    position, direction = 0, 1 if entry.step > 0 else -1
    while position < len(entry):
        number = entry[position] // chunk
        end = min(len(entry), max(position + 1, first_in_chunk(entry, number + direction, chunk)))
        low, high = sorted((entry[position], entry[end - 1]))
        yield position, end, low, high + 1, number
        position = end


def _array_runs(ascending: Array, chunk: int) -> Iterator[_Run]:
    numbers = ascending // chunk
    borders = [*np.flatnonzero(np.diff(numbers, prepend=-1)).tolist(), ascending.size]
    for first, last in itertools.pairwise(borders):
        yield first, last, int(ascending[first]), int(ascending[last - 1]) + 1, int(numbers[first])


def _range_group(entry: range, first: int, last: int) -> _Group:
    low, high = sorted((entry[first], entry[last - 1]))
    start = entry[first] - low
    stop = start + entry.step * (last - first)
    return _Group(low, high + 1, slice(start, stop if stop >= 0 else None, entry.step), slice(first, last))


def _array_group(ascending: Array, order: Array, first: int, last: int) -> _Group:
    low, high = int(ascending[first]), int(ascending[last - 1])
    places = order[first:last]
    together = bool((np.diff(places) == 1).all())
    target = slice(int(places[0]), int(places[0]) + last - first) if together else places
    return _Group(low, high + 1, ascending[first:last] - low, target)


def _point_reads(selection: Selection, chunks: tuple[int, ...], limit: int) -> Iterator[Read]:
    dimensions = range(len(chunks))
    along = [dim for dim in dimensions if isinstance(selection.entries[dim], range)]
    across = [dim for dim in dimensions if dim not in along]
    order, borders, coords = _by_chunk([selection.entries[dim] for dim in across], [chunks[dim] for dim in across])
    lows = [np.minimum.reduceat(coord, borders[:-1]) for coord in coords]
    highs = [np.maximum.reduceat(coord, borders[:-1]) + 1 for coord in coords]
    sizes = [(high - low).tolist() for high, low in zip(highs, lows, strict=True)]
    extent = max(map(math.prod, zip(*sizes, strict=True)))
    ranges: list[Any] = [selection.entries[dim] for dim in along]
    sliced = _grouped(ranges, [chunks[dim] for dim in along], max(1, limit // extent))
    slices: list[slice] = [slice(0)] * len(chunks)
    for number, (first, last) in enumerate(itertools.pairwise(borders)):
        for dim, low, high in zip(across, lows, highs, strict=True):
            slices[dim] = slice(int(low[number]), int(high[number]))
        inside = [coord[first:last] - low[number] for coord, low in zip(coords, lows, strict=True)]
        for groups in _product(sliced):
            for dim, group in zip(along, groups, strict=True):
                slices[dim] = slice(group.start, group.stop)
            picked = (*inside, *(group.picked for group in groups))
            target = (order[first:last], *(group.target for group in groups))
            yield Read(tuple(slices), (*across, *along), picked, target)


def _by_chunk(arrays: list[Any], chunks: list[int]) -> tuple[Array, list[int], list[Array]]:
    """Sort points by the chunk they lie in: their order, where each chunk begins, and their sorted coordinates."""
    coords = [array.ravel() for array in arrays]
    numbers = [coord // chunk for coord, chunk in zip(coords, chunks, strict=True)]
    order = np.lexsort(numbers[::-1])
    changes = np.zeros(order.size, bool)
    changes[0] = True
    for number in numbers:
        ordered = number[order]
        changes[1:] |= ordered[1:] != ordered[:-1]
    return order, [*np.flatnonzero(changes).tolist(), order.size], [coord[order] for coord in coords]
