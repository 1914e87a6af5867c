"""Tags for xarray: DataArray, Dataset and DataTree, with coordinates, attributes and which of them are indexes.

A dataset is its variables, the names of those that are coordinates, and its indexes: the name, and the frequency if
there is one, where the index is made from the coordinate again; else the pandas index itself (several levels, a time
zone, intervals …). Lazy and dask arrays are loaded. Of `encoding`, which may hold compressor objects and open files,
goes what is plain data, but for the path of the file.
"""

from __future__ import annotations

import sys
from collections.abc import Hashable, Iterable, Iterator
from functools import lru_cache
from types import NoneType
from typing import Any

import numpy as np

from ..errors import Malformed, MissingExtra
from .columns import pandas, read_column, set_frequency, write_column, write_frequency
from .dtypes import describe
from .frame import Sink, Source
from .places import brief
from .plain import refuse_collisions
from .tags import ENCODERS, LATE, STEPS, Inner, Refused, Step, decodes, fields

__all__: list[str] = []

_TREE_DEPTH = 32
_PLAIN = (NoneType, bool, int, float, complex, str, bytes)


def _register() -> None:
    xarray = sys.modules.get("xarray")
    if xarray is None or not hasattr(xarray, "Dataset"):  # still being imported by another thread
        return
    ENCODERS.update({xarray.Dataset: _dataset, xarray.DataArray: _data_array, xarray.DataTree: _tree})
    STEPS.update({
        xarray.Dataset: _dataset_steps,
        xarray.DataArray: _data_array_steps,
        xarray.DataTree: _tree_steps,
    })  # fmt: skip


LATE["xarray"] = _register


# --- writing ------------------------------------------------------------------------------------------------------


def _dataset(dataset: Any, sink: Sink) -> tuple[str, object]:
    coords = list(dataset.coords)
    indexes, carried = _indexes(dataset)
    variables = [_variable(dataset, name, dataset.variables[name], carried) for name in (*dataset.data_vars, *coords)]
    return "xr.ds", [variables, coords, indexes, dataset.attrs, _travelling(dataset.encoding)]


def _data_array(array: Any, sink: Sink) -> tuple[str, object]:
    indexes, carried = _indexes(array)
    coords = [_variable(array, name, coord.variable, carried) for name, coord in array.coords.items()]
    return "xr.da", [array.name, _variable(array, None, array.variable, set()), coords, indexes]


def _variable(owner: Any, name: Hashable, variable: Any, carried: set[Hashable]) -> list[object]:
    if len(set(variable.dims)) != len(variable.dims):
        raise Refused(owner, "a dimension occurs twice", "Rename one of them", at=_part(name))
    data = None if name in carried else _loaded(owner, name, variable)
    return [name, list(variable.dims), data, variable.attrs, _travelling(variable.encoding)]


def _loaded(owner: Any, name: Hashable, variable: Any) -> object:
    if not isinstance(variable.dtype, np.dtype):
        return Inner(owner, _part(name), write_column(variable.data, owner, _part(name)))
    data = variable._data
    package = type(data).__module__.partition(".")[0]
    if package not in ("numpy", "xarray", "dask"):
        raise Refused(
            owner,
            f"its data are held by {package}.{type(data).__name__}",
            "Convert them to a NumPy array, for example with .as_numpy()",
            at=_part(name),
        )
    array = variable.values
    if type(array) is not np.ndarray:
        array = np.asarray(array)
    if array.dtype.kind not in "OT":
        try:
            describe(array.dtype, array)
        except Refused as refused:
            raise Refused(owner, refused.reason, refused.advice, at=_part(name)) from None
    return array


def _part(name: Hashable) -> str:
    if name is None:
        return ""
    return f".{name}" if isinstance(name, str) and name.isidentifier() else f"[{brief(name)}]"


def _indexes(owner: Any) -> tuple[list[object], set[Hashable]]:
    """Return the indexes, and the names of the coordinates whose values travel in their index."""
    known = sys.modules["xarray"].indexes
    indexes: list[object] = []
    carried: set[Hashable] = set()
    for index, variables in owner.xindexes.group_by_index():
        name = next(iter(variables))
        if type(index) is known.PandasIndex:
            if list(variables) == [index.index.name] and _is_made_again(index.index, index.coord_dtype):
                indexes.append(_with_frequency(owner, name, index.index))
                continue
            dtypes = [index.coord_dtype]
        elif type(index) is known.PandasMultiIndex:
            dtypes = [index.level_coords_dtype[level] for level in index.index.names]
        else:
            raise Refused(
                owner,
                f"its index is a {type(index).__name__}",
                f"Drop it before and set it again after: .drop_indexes({name!r})",
                at=_part(name),
            )
        carried.update(variables)
        indexes.append([index.dim, Inner(owner, f"{_part(name)}.index", index.index), dtypes])
    return indexes, carried


def _is_made_again(index: Any, dtype: Any) -> bool:
    """Return whether xarray makes this very pandas index, but for its frequency, from the values of its coordinate."""
    if type(index) is sys.modules["xarray"].CFTimeIndex:
        return isinstance(dtype, np.dtype) and dtype.kind == "O"
    if not isinstance(dtype, np.dtype) or dtype == np.float16:
        return False
    kind, made = _index_of(dtype, len(index) == 0)
    return bool(index.dtype == made) and type(index) is kind


@lru_cache(maxsize=256)
def _index_of(dtype: np.dtype[Any], empty: bool) -> tuple[type, Any]:
    index: Any = sys.modules["xarray"].indexes.PandasIndex(np.zeros(0 if empty else 1, dtype), "x").index
    return type(index), index.dtype


def _with_frequency(owner: Any, name: Hashable, index: Any) -> object:
    """Return what travels for an index that is made again: its name, and its frequency if it has one."""
    if index.dtype.kind not in "mM":  # a CFTimeIndex looks for a frequency whenever it is asked for it
        return name
    try:
        frequency = write_frequency(index)
    except Refused as refused:
        raise Refused(owner, refused.reason, refused.advice, at=f"{_part(name)}.index.freq") from None
    return name if frequency is None else [name, frequency]


def _travelling(encoding: dict[Any, Any]) -> dict[Any, Any]:
    # `source` is a path on the machine that opened the file: of no use elsewhere, and nobody's business there.
    return {key: value for key, value in encoding.items() if type(key) is str and key != "source" and _is_plain(value)}


def _is_plain(value: object, depth: int = 0) -> bool:
    kind = type(value)
    if kind in (list, tuple, set, frozenset) and depth < 4:
        return all(_is_plain(child, depth + 1) for child in value)  # type: ignore[attr-defined]
    if kind is dict and depth < 4:
        return all(_is_plain(child, depth + 1) for pair in value.items() for child in pair)  # type: ignore[attr-defined]
    if isinstance(value, np.dtype):
        try:
            describe(value, value)
        except Refused:
            return value.char == "O"
        return True
    return kind in _PLAIN or (kind.__module__ == "numpy" and isinstance(value, np.generic) and kind in ENCODERS)


def _tree(tree: Any, sink: Sink) -> tuple[str, object]:
    return "xr.tree", [tree.name, [[path, Inner(tree, _part(path), node)] for path, node in _nodes(tree)]]


def _nodes(tree: Any) -> Iterator[tuple[str, Any]]:
    """Go through the datasets of a tree; what only the parents of its root have becomes the root's own."""
    for path, node in tree.subtree_with_keys:
        yield path, node.to_dataset(inherit=node is tree)


def _tree_steps(tree: Any) -> Iterator[Step]:
    yield ".name", tree.name
    for path, node in _nodes(tree):
        yield _part(path), node


def _dataset_steps(dataset: Any) -> Iterator[Step]:
    yield ".attrs", dataset.attrs
    for name, variable in dataset.variables.items():
        yield from _variable_steps(_part(name), name, variable)


def _data_array_steps(array: Any) -> Iterator[Step]:
    yield ".name", array.name
    yield from _variable_steps("", None, array.variable)
    for name, coord in array.coords.items():
        yield from _variable_steps(_part(name), name, coord.variable)


def _variable_steps(place: str, name: Hashable, variable: Any) -> Iterator[Step]:
    yield f"{place} (its name)", name
    yield f"{place}.attrs", variable.attrs
    yield f"{place}.dims", variable.dims
    if variable.dtype == object and type(variable._data).__module__.partition(".")[0] in ("numpy", "xarray"):
        yield place, variable.values


# --- reading ------------------------------------------------------------------------------------------------------


def _xarray() -> Any:
    try:
        import xarray
    except ImportError:
        raise MissingExtra("An xarray object", "xarray") from None
    return xarray


def _read_variable(xarray: Any, payload: object) -> tuple[Hashable, Any]:
    name, dims, data, attrs, encoding = fields(payload, object, list, object, dict, dict)
    if data is None:
        data = _IN_INDEX
    elif type(data) is not np.ndarray:
        data = read_column(data)
    if len(dims) != data.ndim:
        raise Malformed(f"a variable has {len(dims)} dimensions and its data {data.ndim}")
    if len(set(dims)) != len(dims):
        raise Malformed("a dimension occurs twice")
    # Only arrays of NumPy are taken as they are: xarray wraps those of pandas, and would turn None in others into NaN.
    plain = type(data) is np.ndarray
    return name, xarray.Variable(dims, data, attrs=attrs, encoding=encoding, fastpath=plain)


_IN_INDEX = np.empty(0)
"""Stands for the values of a coordinate until its index, which has them, is read."""


def _read_coords(xarray: Any, variables: dict[Hashable, Any], indexed: list[Any]) -> Any:
    indexes = {}
    for entry in indexed:
        if type(entry) is list and len(entry) == 3:
            index = _read_index(xarray, entry)
            made = index.create_variables(variables)
        else:
            name, frequency = fields(entry, object, str) if type(entry) is list else (entry, None)
            if name not in variables or variables[name].ndim != 1 or variables[name]._data is _IN_INDEX:
                raise Malformed("an index belongs to no coordinate of one dimension")
            index = xarray.indexes.PandasIndex.from_variables({name: variables[name]}, options={})
            if frequency is not None:
                set_frequency(index.index, frequency)
            made = index.create_variables({name: variables[name]})
        for name, variable in made.items():
            if name in indexes or name not in variables or variables[name].dims != variable.dims:
                raise Malformed("the coordinates of an index are not there")
            indexes[name], variables[name] = index, variable
    return xarray.Coordinates(variables, indexes=indexes)


def _read_index(xarray: Any, payload: list[Any]) -> Any:
    dim, index, dtypes = fields(payload, object, object, list)
    pd = pandas()
    if not isinstance(index, pd.Index) or len(dtypes) != index.nlevels:
        raise Malformed("an index of a dataset is none of pandas")
    for level, dtype in enumerate(dtypes):
        if not isinstance(dtype, (np.dtype, pd.api.extensions.ExtensionDtype)):
            raise Malformed("the dtype of a coordinate is none")
        if isinstance(dtype, np.dtype) and dtype.kind != "O" and dtype != index.get_level_values(level).dtype:
            index.get_level_values(level).to_numpy().astype(dtype)  # which xarray would do when it is looked at
    if isinstance(index, pd.MultiIndex):
        return xarray.indexes.PandasMultiIndex(index, dim, dict(zip(index.names, dtypes, strict=True)))
    return xarray.indexes.PandasIndex(index, dim, coord_dtype=dtypes[0])


def _check_all_there(variables: Iterable[Any]) -> None:
    if any(variable._data is _IN_INDEX for variable in variables):
        raise Malformed("a variable has no values, and no index has them")


def _distinct(pairs: list[tuple[Hashable, Any]]) -> dict[Hashable, Any]:
    # xarray keeps the dimensions of all variables in one dict, beside that of the variables.
    refuse_collisions([name for name, _ in pairs])
    refuse_collisions([dim for _, variable in pairs for dim in variable.dims])
    variables = dict(pairs)
    if len(variables) != len(pairs):
        raise Malformed("two variables have one name")
    return variables


@decodes("xr.ds")
def _read_dataset(payload: object, source: Source) -> object:
    items, coord_names, indexed, attrs, encoding = fields(payload, list, list, list, dict, dict)
    xarray = _xarray()
    variables = _distinct([_read_variable(xarray, item) for item in items])
    coords = {name: variables[name] for name in coord_names}
    made_coords = _read_coords(xarray, coords, indexed)
    data = {name: variable for name, variable in variables.items() if name not in coords}
    _check_all_there((*data.values(), *coords.values()))
    dataset = xarray.Dataset(data, coords=made_coords, attrs=attrs)
    if set(dataset.variables) != set(variables):
        raise Malformed("a variable has the name of a dimension")
    dataset.encoding = encoding
    return dataset


@decodes("xr.da")
def _read_data_array(payload: object, source: Source) -> object:
    name, main, coord_items, indexed = fields(payload, object, list, list, list)
    xarray = _xarray()
    _, variable = _read_variable(xarray, main)
    variables = _distinct([_read_variable(xarray, item) for item in coord_items])
    coords = _read_coords(xarray, variables, indexed)
    _check_all_there((variable, *variables.values()))
    hash(name)
    array = xarray.DataArray(variable, coords=coords, name=name)
    array.encoding = variable.encoding
    return array


@decodes("xr.tree")
def _read_tree(payload: object, source: Source) -> object:
    name, nodes = fields(payload, (NoneType, str), list)
    xarray = _xarray()
    datasets = {}
    for node in nodes:
        path, dataset = fields(node, str, xarray.Dataset)
        parts = path.split("/")
        if path in datasets or len(parts) > _TREE_DEPTH or (path != "." and not {"", ".", ".."}.isdisjoint(parts)):
            raise Malformed("a path in a tree of datasets is none, or is there twice")
        datasets[path] = dataset
    if "." not in datasets:
        raise Malformed("a tree of datasets has no root")
    return xarray.DataTree.from_dict({"/" if path == "." else path: node for path, node in datasets.items()}, name=name)
