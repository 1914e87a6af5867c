"""Which part of a variable is meant, and how to cut it into blocks.

A key comes from afar: `Selection.parse` checks it against the shape of the variable before anything is done with it.
`blocks` cuts what it selects into boxes that fit in memory, along the chunks of the source where it can;
`landbridge.datasets.reads` says what to read for one of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

import numpy as np

from ..errors import InvalidArguments, Malformed, Problem, printable

__all__ = ["Array", "Entry", "Selection", "blocks", "chunk_grid", "first_in_chunk", "grow"]

Array: TypeAlias = "np.ndarray[Any, Any]"
Entry: TypeAlias = "int | range | Array"
Box: TypeAlias = "tuple[tuple[int, int], ...]"

_MOST_AXES = 64  # of a NumPy array
_FINE_BYTES = 64 * 1024  # chunks smaller than this are taken together: a read costs as much as decompressing them
_VIRTUAL_BYTES = 1024 * 1024  # what is read at once of a variable that has no chunks


# --- which part is meant ------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False, slots=True)
class Selection:
    """A part of a variable that exists: made by `parse`.

    Attributes
    ----------
    shape : tuple of int
        Shape of the result.
    kind : str
        ``outer``: the entries are independent, an int drops its dimension. ``points``: the arrays together name
        points; in the result come their dimensions first, then those of the slices in order.
    entries : tuple
        One for each dimension of the variable: an int, a range, or an int64 array; none negative. For ``points`` the
        arrays have the shape of the points.
    """

    shape: tuple[int, ...]
    kind: str
    entries: tuple[Entry, ...]

    @classmethod
    def parse(cls, key: object, shape: tuple[int, ...]) -> Selection:
        """Check a key that came from afar against the shape of the variable.

        Parameters
        ----------
        key : list
            ``["outer", entries]`` or ``["points", entries]``, an entry for each dimension: an int (not for
            ``points``), a slice of ints and Nones, or an array of integers, of one dimension for ``outer``. Negative
            indices count from the end.
        shape : tuple of int
            Shape of the variable.

        Raises
        ------
        InvalidArguments
            An index out of range, a step of 0, arrays that do not fit together: with dimension, value and size.
        Malformed
            Anything that is no key.

        Examples
        --------
        >>> Selection.parse(["outer", [-1, slice(None, None, 2)]], (3, 5)).shape
        (3,)
        """
        if not isinstance(key, (list, tuple)) or len(key) != 2:
            raise Malformed("the key of a selection is not a list of its kind and its entries")
        kind, entries = key
        if not isinstance(kind, str) or kind not in ("outer", "points"):
            raise Malformed("the kind of a selection is neither 'outer' nor 'points'")
        if not isinstance(entries, (list, tuple)):
            raise Malformed("the entries of a selection are not a list")
        if len(entries) != len(shape):
            raise _refused("key", f"has {len(entries)} entries, but the variable {len(shape)} dimensions")
        checked = tuple(_entry(kind, *each) for each in zip(range(len(shape)), entries, shape, strict=True))
        if kind == "points":
            return _points(checked)
        return cls(tuple(len(entry) for entry in checked if not isinstance(entry, int)), kind, checked)

    @property
    def size(self) -> int:
        """Number of elements of the result."""
        return math.prod(self.shape)

    def part(self, box: Box) -> Selection:
        """Return the selection of a box of the result: (start, stop) for each of its axes."""
        shape = tuple(stop - start for start, stop in box)
        cuts = [slice(*pair) for pair in box]
        points = tuple(cuts[: self.point_axes])
        axes = iter(cuts[self.point_axes :])
        entries: list[Entry] = []
        for entry in self.entries:
            if isinstance(entry, int):
                entries.append(entry)
            elif self.kind == "points" and not isinstance(entry, range):
                entries.append(entry[points])
            else:
                entries.append(entry[next(axes)])
        return Selection(shape, self.kind, tuple(entries))

    @property
    def point_axes(self) -> int:
        """How many axes of the result, the first ones, are those of points."""
        if self.kind != "points":
            return 0
        return len(self.shape) - sum(isinstance(entry, range) for entry in self.entries)


def _refused(where: str, message: str) -> InvalidArguments:
    return InvalidArguments("select", [Problem(where, message)])


def _entry(kind: str, dimension: int, entry: object, size: int) -> Entry:
    where = f"key[{dimension}]"
    if isinstance(entry, slice):
        parts = [_slice_part(part) for part in (entry.start, entry.stop, entry.step)]
        if parts[2] == 0:
            raise _refused(where, f"the slice of dimension {dimension} (size {size}) has step 0")
        return range(*slice(*parts).indices(size))
    if isinstance(entry, (int, np.integer)) and not isinstance(entry, bool) and kind == "outer":
        return _in_range(int(entry), dimension, size)
    if type(entry) is np.ndarray and entry.dtype.kind in "iu":
        return _index_array(kind, dimension, entry, size)
    raise Malformed(f"entry {dimension} of a selection of kind {kind!r} is {printable(type(entry).__name__, 40)}")


def _slice_part(part: object) -> int | None:
    if part is None:
        return None
    if isinstance(part, (int, np.integer)) and not isinstance(part, bool):
        return int(part)
    raise Malformed(f"part of a slice is {printable(type(part).__name__, 40)}, neither an int nor None")


def _in_range(index: int, dimension: int, size: int) -> int:
    if not -size <= index < size:
        value = printable(str(index), 40) if index.bit_length() < 128 else "a number of more than 128 bits"
        raise _refused(f"key[{dimension}]", f"index {value} is out of range: dimension {dimension} has size {size}")
    return index % size


def _index_array(kind: str, dimension: int, indices: Array, size: int) -> Entry:
    if kind == "outer" and indices.ndim != 1:
        raise Malformed(f"entry {dimension} of an outer selection is an array of {indices.ndim} dimensions")
    if indices.size:
        _in_range(int(indices.min()), dimension, size)
        _in_range(int(indices.max()), dimension, size)
    checked = indices.astype(np.int64)
    checked[checked < 0] += size
    return _as_range(checked) if kind == "outer" else checked


def _as_range(indices: Array) -> Entry:
    # Ranges are cut without making arrays, and read without sorting.
    if indices.size == 0:
        return range(0)
    first = int(indices[0])
    step = int(indices[1]) - first if indices.size > 1 else 1
    if step == 0 or (indices.size > 2 and bool((np.diff(indices) != step).any())):
        return indices
    return range(first, first + step * indices.size, step)


def _points(entries: tuple[Entry, ...]) -> Selection:
    arrays = [entry for entry in entries if isinstance(entry, np.ndarray)]
    if not arrays:
        raise Malformed("a selection of points without an array")
    slices = tuple(len(entry) for entry in entries if isinstance(entry, range))
    if max(array.ndim for array in arrays) + len(slices) > _MOST_AXES:
        raise _refused("key", f"the result would have more than {_MOST_AXES} dimensions")
    shapes = [array.shape for array in arrays]
    lengths = [{*at, 1} - {1} for at in _from_the_end(shapes)]
    if any(len(different) > 1 for different in lengths):
        raise _refused("key", f"the index arrays do not fit together: {printable(', '.join(map(str, shapes)), 200)}")
    shape = tuple(different.pop() if different else 1 for different in lengths)
    if math.prod(max(length, 1) for length in shape) >= 2**60:
        raise _refused("key", f"the index arrays name {math.prod(shape)} points")
    spread = (np.broadcast_to(entry, shape) if isinstance(entry, np.ndarray) else entry for entry in entries)
    return Selection(shape + slices, "points", tuple(spread))


def _from_the_end(shapes: list[tuple[int, ...]]) -> list[list[int]]:
    most = max(len(shape) for shape in shapes)
    padded = [(1,) * (most - len(shape)) + shape for shape in shapes]
    return [list(at) for at in zip(*padded, strict=True)]


# --- how a source is read at all ----------------------------------------------------------------------------------


def chunk_grid(
    shape: tuple[int, ...], itemsize: int, chunks: Sequence[int] | None, limit_bytes: int
) -> tuple[int, ...]:
    """Return the lengths by which to group what is read of a variable.

    Those of its chunks, but several together where they are tiny, and parts of one that is beyond the limit. Without
    chunks about 1 MB, so that indices far apart are not bridged by one huge read.

    Examples
    --------
    >>> chunk_grid((1460, 121, 240), 4, None, 2**23)
    (9, 121, 240)
    >>> chunk_grid((1460, 121, 240), 4, (1, 121, 240), 2**23)
    (1, 121, 240)
    """
    if chunks is None:
        return grow((1,) * len(shape), shape, itemsize, min(_VIRTUAL_BYTES, limit_bytes))
    held = tuple(max(1, min(chunk, size)) for chunk, size in zip(chunks, shape, strict=True))
    size_bytes = math.prod(held) * itemsize
    if size_bytes > limit_bytes:
        return grow((1,) * len(shape), held, itemsize, limit_bytes)
    return grow(held, shape, itemsize, _FINE_BYTES) if size_bytes < _FINE_BYTES else held


def grow(chunks: tuple[int, ...], shape: tuple[int, ...], itemsize: int, target_bytes: int) -> tuple[int, ...]:
    """Return multiples of chunks, the last dimensions first, of at most about `target_bytes`.

    Examples
    --------
    >>> grow((1, 121, 240), (1460, 121, 240), 4, 16_000_000)
    (137, 121, 240)
    """
    grown = list(chunks)
    for axis in reversed(range(len(grown))):
        times = target_bytes // (math.prod(grown) * max(itemsize, 1))
        if times < 2:
            break
        whole = max(1, shape[axis])
        grown[axis] = min(whole, grown[axis] * times)
        if grown[axis] < whole:
            break
    return tuple(grown)


# --- cutting what is selected into blocks -------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Axis:
    """One axis of a result, and where it may be cut without reading a chunk twice."""

    length: int
    unit: int  # the most neighbours that lie in one chunk
    border: Callable[[int], int]  # where the chunk begins in which a position lies

    def cuts(self, most: int) -> Iterator[tuple[int, int]]:
        start = 0
        while start < self.length:
            stop = min(start + most, self.length)
            if stop < self.length:
                border = self.border(stop)
                stop = border if border > start else stop
            yield start, stop
            start = stop


def blocks(
    selection: Selection, itemsize: int, limit_bytes: int, chunks: tuple[int, ...]
) -> Iterator[tuple[tuple[int, ...], Selection]]:
    """Cut what is selected into boxes of the result, in C order.

    Parameters
    ----------
    selection : Selection
        What is wanted.
    itemsize : int
        Bytes of an element.
    limit_bytes : int
        How large a box may be; it has one element at least.
    chunks : tuple of int
        What `chunk_grid` gave. Boxes end where chunks end if they can.

    Yields
    ------
    start : tuple of int
        Where the box begins in the result.
    part : Selection
        What to read for it.
    """
    if selection.size == 0:
        return
    if selection.kind == "points":
        itemsize = max(itemsize, 8)  # each point takes an index of that size
    axes = _axes(selection, chunks)
    most = _box_shape(axes, selection.point_axes, max(1, limit_bytes // max(itemsize, 1)))
    for box in _boxes(axes, most):
        yield tuple(start for start, _ in box), selection.part(box)


def _boxes(axes: list[_Axis], most: list[int]) -> Iterator[Box]:
    if not axes:
        yield ()
        return
    for cut in axes[0].cuts(most[0]):
        for rest in _boxes(axes[1:], most[1:]):
            yield (cut, *rest)


def _box_shape(axes: list[_Axis], point_axes: int, limit: int) -> list[int]:
    """Say how long a box may be in each axis: as few chunks as can be, then as many along the last axes as fit.

    Axes of points grow first: they lie in any order, so whatever divides them has all chunks read again.
    """
    first_to_grow = [*reversed(range(point_axes)), *reversed(range(point_axes, len(axes)))]
    most = [axis.unit for axis in axes]
    for axis in reversed(first_to_grow):
        others = math.prod(most) // most[axis]
        most[axis] = max(1, min(most[axis], limit // others))
    for axis in first_to_grow:
        others = math.prod(most) // most[axis]
        most[axis] = max(most[axis], min(axes[axis].length, limit // others))
    return most


def _axes(selection: Selection, chunks: tuple[int, ...]) -> list[_Axis]:
    axes = [_Axis(length, 1, lambda position: position) for length in selection.shape[: selection.point_axes]]
    for entry, chunk in zip(selection.entries, chunks, strict=True):
        if isinstance(entry, range):
            axes.append(_range_axis(entry, chunk))
        elif selection.kind == "outer" and not isinstance(entry, int):
            borders = np.flatnonzero(np.diff(entry // chunk, prepend=-1))
            unit = int(np.diff(borders, append=entry.size).max())
            axes.append(_Axis(entry.size, unit, partial(_last, borders)))
    return axes


def _last(borders: Array, position: int) -> int:
    return int(borders[np.searchsorted(borders, position, side="right") - 1])


def _range_axis(entry: range, chunk: int) -> _Axis:
    def border(position: int) -> int:
        return max(0, first_in_chunk(entry, entry[position] // chunk, chunk))

    return _Axis(len(entry), min(len(entry), -(-chunk // abs(entry.step))), border)


def first_in_chunk(entry: range, number: int, chunk: int) -> int:
    """Return the first position whose value lies in this chunk or, in the direction of the range, behind it."""
    if entry.step > 0:
        return -((entry.start - number * chunk) // entry.step)
    return -(((number + 1) * chunk - 1 - entry.start) // -entry.step)
