"""Hints for arrays: NumPy's by dtype; data sets, tables and geometries by class, none of which is imported here."""

from __future__ import annotations

import sys
import typing
from collections.abc import Iterable
from typing import Any, NamedTuple, cast

import numpy as np
from pydantic_core import CoreSchema, core_schema

from .schema import JsonSchema
from .verdict import refuse

__all__ = [
    "ArrayHint",
    "is_array_like",
    "plain_scalars",
    "read_class",
    "read_generic",
    "with_array_like_whole",
]


class ArrayHint(NamedTuple):
    """How arrays of a hint are checked and described."""

    core: CoreSchema
    json: JsonSchema


_BY_CLASS = {
    "xarray": "DataArray Dataset Variable DataTree",
    "pandas": "DataFrame Series Index RangeIndex DatetimeIndex TimedeltaIndex PeriodIndex IntervalIndex "
              "CategoricalIndex MultiIndex Categorical Timestamp Timedelta Period Interval",
    "geopandas": "GeoDataFrame GeoSeries",
    "pyarrow": "Table RecordBatch Array ChunkedArray Schema",
    "polars": "DataFrame Series",
    "shapely": "Geometry BaseGeometry Point LineString LinearRing Polygon MultiPoint MultiLineString MultiPolygon "
               "GeometryCollection",
}  # fmt: skip
"""Package → classes whose objects are checked by ``isinstance`` and described by these two names."""

_ABSTRACT = frozenset({
    np.generic, np.number, np.integer, np.signedinteger, np.unsignedinteger, np.inexact, np.floating,
    np.complexfloating, np.flexible, np.character,
})  # fmt: skip
_MAX_NESTING = 64


def is_array_like(hint: Any) -> bool:
    """Return whether `hint` is ``numpy.typing.ArrayLike``, which takes whatever becomes an array."""
    module = sys.modules.get("numpy.typing")
    return module is not None and hint is module.ArrayLike


def with_array_like_whole(hints: Iterable[Any]) -> list[Any]:
    """Return the members of a union with those of ``ArrayLike``, which Python dissolves in it, put together again."""
    module = sys.modules.get("numpy.typing")
    parts = typing.get_args(module.ArrayLike) if module is not None else ()
    found = list(hints)
    if not parts or not all(part in found for part in parts):
        return found
    return [module.ArrayLike, *(hint for hint in found if hint not in parts)]  # type: ignore[union-attr]


def read_class(cls: type) -> ArrayHint | None:
    """Return what an array class asks for; None for any other class."""
    if cls is np.ndarray:
        return _ndarray(None)
    if issubclass(cls, np.generic):
        return _scalar(cls)
    root = cls.__module__.partition(".")[0]
    name = f"{root}.{cls.__name__}"
    if cls.__name__ in _BY_CLASS.get(root, "").split():
        return ArrayHint(core_schema.is_instance_schema(cls, cls_repr=name), {"x-landbridge": name})
    return None


def read_generic(origin: Any, arguments: tuple[Any, ...]) -> ArrayHint | None:
    """Return what ``numpy.ndarray[shape, numpy.dtype[T]]`` asks for, thus also ``numpy.typing.NDArray[T]``."""
    if origin is np.ndarray:
        inner = getattr(arguments[1], "__args__", ()) if len(arguments) > 1 else ()
        scalar = inner[0] if inner and isinstance(inner[0], type) else None
        return _ndarray(scalar if scalar is not np.generic else None)
    return None


def _ndarray(scalar: type[np.generic] | None) -> ArrayHint:
    dtype = None if scalar is None or scalar in _ABSTRACT else np.dtype(scalar)
    name = "" if scalar is None else f" of {scalar.__name__}"
    text = f"must be an array{name}"

    def check(value: Any) -> Any:
        array = value
        if not isinstance(value, np.ndarray):
            if not _is_numeric(value):
                raise refuse(text)
            try:
                array = np.asarray(value)
            except (ValueError, OverflowError):
                raise refuse(f"{text}; these lists have different lengths") from None
            if dtype is not None and array.size == 0:
                array = array.astype(dtype)
        if scalar is None or (dtype is None and np.issubdtype(array.dtype, scalar)):
            return array
        if dtype is None:
            raise refuse(text)
        if array.dtype == dtype or (dtype.kind in "OSUmM" and array.dtype.kind == dtype.kind):
            return array
        # A list of Python numbers has no width of its own; an array's dtype may widen, never narrow.
        is_list = array is not value
        if not np.can_cast(array.dtype, dtype, "same_kind" if is_list else "safe"):
            raise refuse(text)
        cast_array = array.astype(dtype)
        if is_list and dtype.kind in "iu" and not np.array_equal(cast_array, array):
            raise refuse(f"{text}; a number does not fit it")
        return cast_array

    json: JsonSchema = {"type": "array", "x-landbridge": "ndarray"}
    if scalar is not None:
        json["x-dtype"] = scalar.__name__
    return ArrayHint(_called(check), json)


def _is_numeric(value: Any, depth: int = 0) -> bool:
    # Asked before np.asarray: a list with one long text would become an array that gives each item that length.
    if isinstance(value, (list, tuple)):
        if depth >= _MAX_NESTING:
            return False
        kinds = set(map(type, value))
        if kinds <= {int, float, bool, complex}:
            return True
        return all(_is_numeric(item, depth + 1) for item in value)
    return isinstance(value, (int, float, complex, np.number, np.bool_))


def _called(check: Any) -> CoreSchema:
    return cast("CoreSchema", core_schema.no_info_plain_validator_function(check))


def _scalar(cls: type[np.generic]) -> ArrayHint:
    if issubclass(cls, (np.datetime64, np.timedelta64)):
        what = "time" if issubclass(cls, np.datetime64) else "duration"
        json: JsonSchema = {"x-landbridge": f"numpy.{cls.__name__}"}
        inner: CoreSchema = core_schema.any_schema()
    elif issubclass(cls, np.bool_):
        what, json, inner = "bool", {"type": "boolean"}, core_schema.bool_schema(strict=True)
    elif issubclass(cls, np.integer):
        what, json, inner = "whole number", {"type": "integer"}, core_schema.int_schema(strict=True)
    elif issubclass(cls, np.floating):
        what, json, inner = "number", {"type": "number"}, core_schema.float_schema(strict=True)
    elif issubclass(cls, np.complexfloating):
        what, json, inner = "complex number", {"x-landbridge": "complex"}, core_schema.any_schema()
    else:
        return ArrayHint(core_schema.any_schema(), {"x-landbridge": "object", "title": cls.__name__})

    def convert(value: Any) -> Any:
        if isinstance(value, cls) or cls in _ABSTRACT:
            return value
        if what in ("time", "duration") and isinstance(value, (int, float)):
            raise refuse(f"must be a {what} (np.{cls.__name__})")
        try:
            return cls(value)
        except (ValueError, OverflowError, TypeError):
            raise refuse(f"must be a {what} (np.{cls.__name__})") from None

    return ArrayHint(core_schema.no_info_after_validator_function(convert, inner), json)


def plain_scalars(value: Any, budget: list[int], depth: int = 0) -> Any:
    """Return `value` with NumPy scalars in plain containers made Python ones; `budget` counts down the items seen."""
    if isinstance(value, np.generic):
        if isinstance(value, (np.datetime64, np.timedelta64)):
            value = value.astype(f"{value.dtype.kind}8[us]")
        return value.item()
    if isinstance(value, np.ndarray) and value.ndim == 0 and value.dtype.kind in "biufcmMSU":
        return plain_scalars(value[()], budget, depth)
    if isinstance(value, np.ndarray):
        budget[0] -= value.size  # where a list is declared, each of its items may be wrong
        return value
    kind = type(value)
    if kind not in (list, tuple, dict, set, frozenset) or depth > _MAX_NESTING:
        return value
    budget[0] -= len(value)
    if kind is dict:
        return {plain_scalars(k, budget, depth + 1): plain_scalars(v, budget, depth + 1) for k, v in value.items()}
    return kind(plain_scalars(item, budget, depth + 1) for item in value)
