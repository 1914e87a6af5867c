"""When two values are the same: by type, dtype, shape, order, attributes, encoding, indexes, frequency and flags."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyproj
import shapely
import xarray as xr

__all__ = ["assert_exact"]


def assert_exact(back: Any, value: Any, place: str = "value") -> None:
    """Assert that `back` is the same as `value` in every respect that anybody could see."""
    assert type(back) is type(value), place
    for kinds, check in _CHECKS:
        if isinstance(value, kinds):
            check(back, value, place)
            return
    assert back == value, place


def _array(back: Any, value: Any, place: str) -> None:
    assert back.dtype == value.dtype, place
    assert back.dtype.byteorder == value.dtype.byteorder, place
    assert back.shape == value.shape, place
    if value.dtype.kind in "OT":
        for at, (one, other) in enumerate(zip(back.ravel().tolist(), value.ravel().tolist(), strict=True)):
            assert_exact(one, other, f"{place}[{at}]")
    elif value.dtype.names is not None:
        assert repr(back) == repr(value), place  # bytes between fields are no part of the value
    else:
        assert np.ascontiguousarray(back).tobytes() == np.ascontiguousarray(value).tobytes(), place
    assert back.flags.fnc == value.flags.fnc, place


def _masked(back: Any, value: Any, place: str) -> None:
    _array(np.asarray(back.data), np.asarray(value.data), place)
    assert (back.mask is np.ma.nomask) == (value.mask is np.ma.nomask), place
    _array(np.asarray(back.mask), np.asarray(value.mask), f"{place}.mask")
    assert repr(back.fill_value) == repr(value.fill_value), place
    assert back.hardmask == value.hardmask, place


def _scalar(back: Any, value: Any, place: str) -> None:
    assert back.dtype == value.dtype, place
    assert back.tobytes() == value.tobytes(), place


def _float(back: Any, value: Any, place: str) -> None:
    assert back.hex() == value.hex() or (math.isnan(back) and math.isnan(value)), place


def _complex(back: Any, value: Any, place: str) -> None:
    _float(back.real, value.real, place)
    _float(back.imag, value.imag, place)


def _decimal(back: Any, value: Any, place: str) -> None:
    assert back.as_tuple() == value.as_tuple(), place


def _map(back: Any, value: Any, place: str) -> None:
    assert len(back) == len(value), place
    for (one_key, one), (key, other) in zip(back.items(), value.items(), strict=True):
        assert_exact(one_key, key, f"{place}, a key")
        assert_exact(one, other, f"{place}[{key!r}]")


def _sequence(back: Any, value: Any, place: str) -> None:
    assert len(back) == len(value), place
    for at, (one, other) in enumerate(zip(back, value, strict=True)):
        assert_exact(one, other, f"{place}[{at}]")


def _index(back: Any, value: Any, place: str) -> None:
    pd.testing.assert_index_equal(back, value, exact=True, check_names=True)
    assert back.identical(value), place
    assert back.dtype == value.dtype, place
    assert repr(back.dtype) == repr(value.dtype), place
    assert getattr(back, "freq", None) == getattr(value, "freq", None), place
    _sequence(list(back.names), list(value.names), f"{place}.names")
    if isinstance(value, pd.MultiIndex):
        for one, other in zip(back.levels, value.levels, strict=True):
            _index(one, other, f"{place}.levels")
        _sequence([c.tolist() for c in back.codes], [c.tolist() for c in value.codes], f"{place}.codes")
    elif value.dtype == object:
        _array(back.to_numpy(), value.to_numpy(), place)


def _column(back: Any, value: Any, place: str) -> None:
    assert back.dtype == value.dtype, place
    assert repr(back.dtype) == repr(value.dtype), place
    if isinstance(value.dtype, np.dtype):
        _array(np.asarray(back), np.asarray(value), place)
    elif isinstance(value.dtype, pd.CategoricalDtype):
        assert_exact(back.dtype.categories, value.dtype.categories, f"{place}.categories")
        assert back.dtype.ordered == value.dtype.ordered, place
        codes = [pd.Categorical(column).codes for column in (back, value)]
        _array(*codes, f"{place}.codes")
    elif value.dtype.name == "geometry":
        assert_exact(back.crs, value.crs, f"{place}.crs")
        _sequence(list(back), list(value), place)
    else:
        assert type(pd.Series(back).array) is type(pd.Series(value).array), place
        pd.testing.assert_extension_array_equal(pd.Series(back).array, pd.Series(value).array)


def _labelled(back: Any, value: Any, place: str) -> None:
    assert_exact(back.attrs, value.attrs, f"{place}.attrs")
    assert back.flags == value.flags, place
    _index_exact(back.index, value.index, f"{place}.index")


def _index_exact(back: Any, value: Any, place: str) -> None:
    assert type(back) is type(value), place
    _index(back, value, place)


def _series(back: Any, value: Any, place: str) -> None:
    _labelled(back, value, place)
    assert_exact(back.name, value.name, f"{place}.name")
    _column(back.array, value.array, place)


def _frame(back: Any, value: Any, place: str) -> None:
    _labelled(back, value, place)
    _index_exact(back.columns, value.columns, f"{place}.columns")
    assert back.shape == value.shape, place
    for at in range(value.shape[1]):
        _column(back.iloc[:, at].array, value.iloc[:, at].array, f"{place}[{value.columns[at]!r}]")
    if hasattr(value, "active_geometry_name"):
        assert back.active_geometry_name == value.active_geometry_name, place


def _variable(back: Any, value: Any, place: str) -> None:
    assert type(back) is type(value), place
    assert back.dims == value.dims, place
    assert back.dtype == value.dtype, place
    assert_exact(back.attrs, value.attrs, f"{place}.attrs")
    assert_exact(dict(back.encoding), dict(value.encoding), f"{place}.encoding")
    if isinstance(value.dtype, np.dtype):
        _array(np.asarray(back.values), np.asarray(value.values), place)
    else:
        _column(back.data, value.data, place)


def _indexes(back: Any, value: Any, place: str) -> None:
    assert set(back.xindexes) == set(value.xindexes), place
    for name in value.xindexes:
        assert type(back.xindexes[name]) is type(value.xindexes[name]), f"{place}.{name}"
        _index_exact(back.xindexes[name].index, value.xindexes[name].index, f"{place}.{name}")


def _dataset(back: Any, value: Any, place: str) -> None:
    xr.testing.assert_identical(back, value)
    assert list(back.data_vars) == list(value.data_vars), place
    assert list(back.coords) == list(value.coords), place
    assert_exact(back.attrs, value.attrs, f"{place}.attrs")
    assert_exact(dict(back.encoding), dict(value.encoding), f"{place}.encoding")
    for name in value.variables:
        _variable(back.variables[name], value.variables[name], f"{place}.{name}")
    _indexes(back, value, place)


def _data_array(back: Any, value: Any, place: str) -> None:
    xr.testing.assert_identical(back, value)
    assert_exact(back.name, value.name, f"{place}.name")
    assert list(back.coords) == list(value.coords), place
    _variable(back.variable, value.variable, place)
    for name in value.coords:
        _variable(back.coords[name].variable, value.coords[name].variable, f"{place}.{name}")
    _indexes(back, value, place)


def _tree(back: Any, value: Any, place: str) -> None:
    assert back.name == value.name, place
    assert [path for path, _ in back.subtree_with_keys] == [path for path, _ in value.subtree_with_keys], place
    for (path, one), (_, other) in zip(back.subtree_with_keys, value.subtree_with_keys, strict=True):
        _dataset(one.to_dataset(inherit=False), other.to_dataset(inherit=False), f"{place}[{path!r}]")


def _arrow(back: Any, value: Any, place: str) -> None:
    assert back.equals(value) if not isinstance(value, pa.Scalar) else back == value, place
    if isinstance(value, (pa.Table, pa.RecordBatch)):
        assert back.schema.equals(value.schema, check_metadata=True), place
    elif isinstance(value, (pa.Schema, pa.Field)):
        assert back.equals(value, check_metadata=True), place
    elif hasattr(value, "type"):
        assert back.type == value.type, place


def _polars(back: Any, value: Any, place: str) -> None:
    if isinstance(value, pl.DataFrame):
        assert back.schema == value.schema, place
    else:
        assert (back.name, back.dtype) == (value.name, value.dtype), place
    assert back.equals(value, null_equal=True), place


def _geometry(back: Any, value: Any, place: str) -> None:
    assert shapely.equals_identical(back, value), place
    for read in (shapely.has_z, shapely.has_m, shapely.get_srid, shapely.is_empty):
        assert read(back) == read(value), place


def _crs(back: Any, value: Any, place: str) -> None:
    assert back == value, place
    assert back.to_epsg() == value.to_epsg(), place


def _timestamp(back: Any, value: Any, place: str) -> None:
    assert back == value, place
    assert (back.unit, back.fold, repr(back)) == (value.unit, value.fold, repr(value)), place
    assert type(back.tzinfo) is type(value.tzinfo), place


def _described(back: Any, value: Any, place: str) -> None:
    assert back == value, place
    assert repr(back) == repr(value), place


def _missing(back: Any, value: Any, place: str) -> None:
    assert back is value, place


def _parts_equal(back: Any, value: Any, place: str) -> None:
    _column(back, value, place)


_CHECKS: list[tuple[Any, Any]] = [
    (np.ma.core.MaskedConstant, _missing),
    (np.ma.MaskedArray, _masked),
    (np.ndarray, _array),
    (np.generic, _scalar),
    (pd.DataFrame, _frame),
    (pd.Series, _series),
    (pd.Index, _index),
    (pd.api.extensions.ExtensionArray, _parts_equal),
    ((type(pd.NaT), type(pd.NA)), _missing),
    (pd.Timestamp, _timestamp),
    ((pd.Timedelta, pd.Period, pd.Interval, pd.api.extensions.ExtensionDtype), _described),
    (xr.Dataset, _dataset),
    (xr.DataArray, _data_array),
    (xr.DataTree, _tree),
    ((pa.Table, pa.RecordBatch, pa.ChunkedArray, pa.Array, pa.Schema, pa.Field, pa.DataType, pa.Scalar), _arrow),
    ((pl.DataFrame, pl.Series), _polars),
    (shapely.Geometry, _geometry),
    (pyproj.CRS, _crs),
    (dict, _map),
    ((list, tuple), _sequence),
    (float, _float),
    (complex, _complex),
    (Decimal, _decimal),
]
