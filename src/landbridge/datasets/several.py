"""Several files as one data set: what `xarray.open_mfdataset` makes of them, but read without dask where it can be.

Most often the files follow each other along one dimension, and nothing else differs. Then xarray combines stand-ins of
them, which hold all along that dimension and one element along any other, so that dimensions, attributes and
coordinates become what they become there; the large variables are read from the files that hold them. Anything else
goes to `open_mfdataset` itself, whose dask arrays take some milliseconds more for each read.
"""

from __future__ import annotations

import importlib.util
import itertools
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray
from xarray.backends import BackendArray
from xarray.core import indexing

from ..errors import MissingExtra

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["open_several"]

_SAME_BYTES = 1024 * 1024  # variables up to this size are compared to see that files agree on them


def open_several(target: str, paths: list[str], options: dict[str, Any]) -> xr.Dataset:
    """Return several files as one data set, decoded, combined by their coordinates.

    Parameters
    ----------
    target : str
        The data set, for texts.
    paths : list of str
        The files.
    options : dict
        For `xarray.open_dataset`.

    Raises
    ------
    MissingExtra
        dask is needed to combine them, and is not installed.
    """
    parts = [xarray.open_dataset(path, **options) for path in paths]
    combined = parts[0] if len(parts) == 1 else _in_a_row(parts)
    if combined is not None:
        combined.set_close(partial(_close, parts))
        return combined
    _close(parts)
    if importlib.util.find_spec("dask") is None:
        raise MissingExtra(f"Combining the files of {target}, which do not simply follow each other,", "dask")
    return xarray.open_mfdataset(paths, **{**options, "chunks": {}})


def _close(parts: list[xr.Dataset]) -> None:
    for part in parts:
        part.close()


def _in_a_row(parts: list[xr.Dataset]) -> xr.Dataset | None:
    """Combine files that follow each other along one dimension; None if they do not."""
    dim = _dimension(parts)
    if dim is None or not _agree(parts, dim):
        return None
    try:
        combined: Any = xarray.combine_by_coords([_stand_in(part, dim) for part in parts], combine_attrs="override")
    except ValueError:
        return None  # which open_mfdataset says better
    parts = sorted(parts, key=lambda part: part.indexes[dim][0], reverse=_descend(parts, dim))
    first = parts[0]
    if set(combined.variables) != set(first.variables):
        return None
    for name, variable in combined.variables.items():
        held = first.variables[name]
        if variable.dtype != held.dtype or variable.dims not in (held.dims, (dim, *held.dims)):
            return None
    expected = np.concatenate([part.indexes[dim] for part in parts])
    if not np.array_equal(combined.indexes[dim], expected):
        return None  # they were put into another order than this one
    return _with_whole_variables(combined, parts, dim)


def _dimension(parts: list[xr.Dataset]) -> Any:
    """Return the one dimension whose coordinate differs between files."""
    first = parts[0]
    names = set(first.variables)
    if any(set(part.variables) != names or part.indexes.keys() != first.indexes.keys() for part in parts):
        return None
    differ = [
        name for name, index in first.indexes.items() if any(not index.equals(part.indexes[name]) for part in parts[1:])
    ]
    if len(differ) != 1 or any(not part.indexes[differ[0]].size for part in parts):
        return None
    return differ[0]


def _agree(parts: list[xr.Dataset], dim: Any) -> bool:
    """Say whether only what lies along the dimension differs between files."""
    first = parts[0]
    for part in parts[1:]:
        if any(size != part.sizes.get(name) for name, size in first.sizes.items() if name != dim):
            return False
        for name, variable in first.variables.items():
            other = part.variables[name]
            if other.dims != variable.dims or other.dtype != variable.dtype:
                return False
            if dim in variable.dims:
                continue
            if variable.nbytes > _SAME_BYTES or not bool(variable.equals(other)):  # type: ignore[no-untyped-call]
                return False
    return True


def _descend(parts: list[xr.Dataset], dim: Any) -> bool:
    index = next((part.indexes[dim] for part in parts if part.indexes[dim].size > 1), None)
    return index is not None and bool(index[0] > index[-1])


def _stand_in(part: xr.Dataset, dim: Any) -> xr.Dataset:
    small = part.isel({other: slice(0, 1) for other in part.dims if other != dim})
    for name, variable in small.variables.items():
        if dim in variable.dims and name not in small.indexes:
            held = xarray.Variable(variable.dims, np.zeros(variable.shape, variable.dtype), variable.attrs)
            small[name] = held
    return small


def _with_whole_variables(combined: xr.Dataset, parts: list[xr.Dataset], dim: Any) -> xr.Dataset:
    coords: dict[Any, Any] = {}
    data: dict[Any, Any] = {}
    for name, shown in combined.variables.items():
        whole = parts[0].variables[name]
        if name == dim:
            whole = shown
        elif dim in shown.dims:
            each = [_along(part.variables[name], dim, part.sizes[dim]) for part in parts]
            joined = indexing.LazilyIndexedArray(_Joined(each, shown.dims.index(dim)))
            whole = xarray.Variable(shown.dims, joined, shown.attrs, whole.encoding)
        else:
            whole = xarray.Variable(whole.dims, whole._data, shown.attrs, whole.encoding)
        (coords if name in combined.coords else data)[name] = whole
    return xarray.Dataset(data, coords=coords, attrs=combined.attrs)


def _along(variable: Any, dim: Any, length: int) -> Any:
    """Repeat a variable along the dimension if it lacks it, as xarray does with data variables."""
    return variable if dim in variable.dims else variable.set_dims({dim: length, **variable.sizes})


class _Joined(BackendArray):
    """Variables of several files, one after the other along an axis, as xarray's backends hand arrays over."""

    def __init__(self, variables: list[xr.Variable], axis: int) -> None:
        self.variables, self.axis = variables, axis
        self.starts = [0, *itertools.accumulate(variable.shape[axis] for variable in variables)]
        shape = list(variables[0].shape)
        shape[axis] = self.starts[-1]
        self.shape, self.dtype = tuple(shape), variables[0].dtype

    def __getitem__(self, key: Any) -> Any:
        return indexing.explicit_indexing_adapter(key, self.shape, indexing.IndexingSupport.BASIC, self._read)

    def _read(self, key: tuple[Any, ...]) -> Any:
        along = key[self.axis]
        rows = range(self.shape[self.axis])[along if isinstance(along, slice) else slice(along, along + 1)]
        low, high = (min(rows[0], rows[-1]), max(rows[0], rows[-1]) + 1) if rows else (0, 0)
        axis = sum(isinstance(part, slice) for part in key[: self.axis])  # ints before it have dropped theirs
        pieces = []
        for variable, start, stop in zip(self.variables, self.starts[:-1], self.starts[1:], strict=True):
            if (start < high and stop > low) or (not rows and start == 0):
                inside = slice(max(low, start) - start, min(high, stop) - start)
                pieces.append(np.asarray(variable[(*key[: self.axis], inside, *key[self.axis + 1 :])].values))
        found = pieces[0] if len(pieces) == 1 else np.concatenate(pieces, axis)
        return found[(slice(None),) * axis + (slice(None, None, rows.step) if isinstance(along, slice) else 0,)]
