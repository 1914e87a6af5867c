"""Tags for xarray: DataArray and Dataset, with coordinates, attributes and which of them are indexes.

A dataset is its variables, the names of those that are coordinates, and the names of those with an index. Lazy and
dask arrays are loaded. Of `encoding`, which may hold compressor objects and open files, goes what is plain data, but
for the path of the file.
"""

from __future__ import annotations

import sys
from collections.abc import Hashable, Iterator
from types import NoneType
from typing import Any

import numpy as np

from ..errors import Malformed, MissingExtra, printable
from .dtypes import describe
from .frame import Sink, Source
from .places import brief
from .plain import refuse_collisions
from .tags import ENCODERS, LATE, STEPS, Refused, Step, decodes, fields

__all__: list[str] = []

_PLAIN = (NoneType, bool, int, float, complex, str, bytes)


def _register() -> None:
    xarray = sys.modules.get("xarray")
    if xarray is None or not hasattr(xarray, "Dataset"):  # still being imported by another thread
        return
    ENCODERS.update({xarray.Dataset: _dataset, xarray.DataArray: _data_array})
    STEPS.update({xarray.Dataset: _dataset_steps, xarray.DataArray: _data_array_steps})


LATE["xarray"] = _register


# --- writing ------------------------------------------------------------------------------------------------------


def _dataset(dataset: Any, sink: Sink) -> tuple[str, object]:
    coords = list(dataset.coords)
    variables = [_variable(dataset, name, dataset.variables[name]) for name in (*dataset.data_vars, *coords)]
    return "xr.ds", [variables, coords, _indexed(dataset), dataset.attrs, _travelling(dataset.encoding)]


def _data_array(array: Any, sink: Sink) -> tuple[str, object]:
    coords = [_variable(array, name, coord.variable) for name, coord in array.coords.items()]
    return "xr.da", [array.name, _variable(array, None, array.variable), coords, _indexed(array)]


def _variable(owner: Any, name: Hashable, variable: Any) -> list[object]:
    if len(set(variable.dims)) != len(variable.dims):
        raise Refused(owner, "a dimension occurs twice", "Rename one of them", at=_part(name))
    data = _loaded(owner, name, variable)
    return [name, list(variable.dims), data, variable.attrs, _travelling(variable.encoding)]


def _loaded(owner: Any, name: Hashable, variable: Any) -> np.ndarray[Any, Any]:
    data = variable._data
    package = type(data).__module__.partition(".")[0]
    if not isinstance(variable.dtype, np.dtype):
        raise Refused(
            owner,
            f"its dtype is pandas' {printable(str(variable.dtype), 40)}",
            "Convert it to a NumPy dtype, for example with .astype(object)",
            at=_part(name),
        )
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
    return array  # type: ignore[no-any-return]


def _part(name: Hashable) -> str:
    if name is None:
        return ""
    return f".{name}" if isinstance(name, str) and name.isidentifier() else f"[{brief(name)}]"


def _indexed(owner: Any) -> list[Hashable]:
    pandas_index = sys.modules["xarray"].indexes.PandasIndex
    for name, index in owner.xindexes.items():
        if type(index) is not pandas_index:
            raise Refused(
                owner,
                f"its index is a {type(index).__name__}",
                f"Drop it before and set it again after: .reset_index({name!r})",
                at=_part(name),
            )
    return list(owner.xindexes)


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
    name, dims, data, attrs, encoding = fields(payload, object, list, np.ndarray, dict, dict)
    if len(dims) != data.ndim:
        raise Malformed(f"a variable has {len(dims)} dimensions and its data {data.ndim}")
    if len(set(dims)) != len(dims):
        raise Malformed("a dimension occurs twice")
    return name, xarray.Variable(dims, data, attrs=attrs, encoding=encoding, fastpath=True)


def _read_coords(xarray: Any, variables: dict[Hashable, Any], indexed: list[Any]) -> Any:
    indexes = {}
    for name in indexed:
        if name not in variables or variables[name].ndim != 1:
            raise Malformed("an index belongs to no coordinate of one dimension")
        indexes[name] = xarray.indexes.PandasIndex.from_variables({name: variables[name]}, options={})
        variables[name] = indexes[name].create_variables({name: variables[name]})[name]
    return xarray.Coordinates(variables, indexes=indexes)


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
    dataset = xarray.Dataset(
        {name: variable for name, variable in variables.items() if name not in coords},
        coords=_read_coords(xarray, coords, indexed),
        attrs=attrs,
    )
    if set(dataset.variables) != set(variables):
        raise Malformed("a variable has the name of a dimension")
    dataset.encoding = encoding
    return dataset


@decodes("xr.da")
def _read_data_array(payload: object, source: Source) -> object:
    name, main, coord_items, indexed = fields(payload, object, list, list, list)
    xarray = _xarray()
    _, variable = _read_variable(xarray, main)
    coords = _read_coords(xarray, _distinct([_read_variable(xarray, item) for item in coord_items]), indexed)
    hash(name)
    array = xarray.DataArray(variable, coords=coords, name=name)
    array.encoding = variable.encoding
    return array
