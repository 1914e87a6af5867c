"""The values of the fidelity matrix: arrays of every kind, data sets of every kind, and everything else asked for."""

from __future__ import annotations

import collections
import dataclasses
import datetime as dt
import enum
import io
import math
from decimal import Decimal
from pathlib import PurePosixPath
from typing import Any, NamedTuple
from uuid import UUID
from zoneinfo import ZoneInfo

import cftime
import dask.array
import geopandas as gpd
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyproj
import shapely
import xarray as xr

__all__ = ["ARRAYS", "DATASETS", "GENERAL", "Unfit"]


class Unfit(NamedTuple):
    """A value that has to be refused before sending, with the place that the error must name."""

    value: object
    where: str


class _Basin(enum.Enum):
    NORTH = 1


class _Level(enum.IntEnum):
    LOW = 1


@dataclasses.dataclass
class _Region:
    west: float


_STRUCT = np.dtype([("time", "<M8[s]"), ("position", "<f4", (2,)), ("name", "U3")])
_NUMBERS = np.arange(24.0).reshape(4, 6)
_DAYS = [cftime.Datetime360Day(2001, 2, 30), cftime.Datetime360Day(2001, 3, 1, 12)]


def _objects(*elements: object) -> np.ndarray[Any, Any]:
    array = np.empty(len(elements), dtype=object)
    array[:] = elements
    return array


ARRAYS: dict[str, object] = {
    **{name: np.arange(3).astype(name) for name in ("bool", "int8", "int16", "int32", "int64")},
    **{name: np.arange(3).astype(name) for name in ("uint8", "uint16", "uint32", "uint64")},
    **{name: np.array([1.5, math.nan, -0.0, math.inf]).astype(name) for name in ("float16", "float32", "float64")},
    **{name: np.array([1 + 2j, -0.0j]).astype(name) for name in ("complex64", "complex128")},
    "long double": Unfit(np.zeros(2, np.longdouble), "value"),
    "big-endian integers": np.arange(3, dtype=">i4"),
    "big-endian floats": np.arange(3, dtype=">f8"),
    "datetime64 ns with NaT": np.array(["2001-02-03", "NaT"], "M8[ns]"),
    "datetime64 days": np.array(["0001-01-01", "9999-12-31"], "M8[D]"),
    "datetime64 of 25 s": np.array([1, 2], "M8[25s]"),
    "timedelta64": np.array([1, -5, "NaT"], "m8[h]"),
    "structured": np.array([("2001-01-01", (1, 2), "abc")], _STRUCT),
    "record array": Unfit(np.rec.array([(1, 2.0)], dtype=[("a", int), ("b", float)]), "value"),
    "bytes": np.array([b"a", b"", b"abc"]),
    "text": np.array([["Kiel", "Potsdam"], ["", "ü\U0001f30a"]]),
    "StringDType": np.array(["a", "", "Niño " * 100], np.dtypes.StringDType()),
    "StringDType with missing": np.array(["a", None], np.dtypes.StringDType(na_object=None)),
    "void": np.array([b"ab", b"cd"], "V2"),
    "0-d": np.array(3.5),
    "empty": np.zeros((3, 0, 2), "f4"),
    "order F": np.asfortranarray(_NUMBERS),
    "strided": _NUMBERS[::2, ::3],
    "reversed": _NUMBERS[::-1],
    "transposed": _NUMBERS.reshape(2, 3, 4).transpose(1, 0, 2),
    "broadcast": np.broadcast_to(np.float32(1), (3, 4)),
    "read-only": np.frombuffer(bytes(800), "f8"),
    "masked": np.ma.masked_array([1.0, 2.0], mask=[False, True], fill_value=-1.0),
    "masked without mask": np.ma.masked_array([1, 2]),
    "cftime": _objects(*_DAYS),
    "objects of text": _objects("a", None, "b"),
    "objects": _objects(1, "a", (2, 3), None, 2**80, {"k": [1.5]}),
    "objects of cftime of two calendars": _objects(*_DAYS, cftime.DatetimeNoLeap(1, 1, 1)),
    "code among objects": Unfit(_objects(1, len), "value[1]"),
}

_GRID = xr.Dataset(
    {"t": (("time", "lat", "lon"), np.arange(24, dtype="f4").reshape(2, 3, 4), {"units": "K"})},
    {"time": np.array(["2006-01", "2006-02"], "M8[ns]"), "lat": [1.0, 2.0, 3.0], "lon": np.arange(4)},
    attrs={"title": "grid", "valid": np.array([270.0, 310.0]), "flags": [1, (2,)]},
)


def _packed() -> xr.Dataset:
    made = xr.Dataset({"t": ("x", [1.0, 2.0])})
    made.t.encoding = {"dtype": np.dtype("i2"), "scale_factor": 0.01, "_FillValue": np.int16(-1), "chunksizes": (2,)}
    made.encoding = {"unlimited_dims": {"x"}}
    return made


class _OwnIndex(xr.Index):
    @classmethod
    def from_variables(cls, variables, *, options):
        return cls()

    def create_variables(self, variables=None):
        return dict(variables or {})


_LEVELS = pd.MultiIndex.from_product([[1.0, 2.0], ["a", "b"]], names=["depth", "station"])
_MONTHS = pd.date_range("2006-01-31", periods=3, freq="ME")

DATASETS: dict[str, object] = {
    "empty": xr.Dataset(),
    "grid": _GRID,
    "data array": _GRID.t,
    "data array without name": xr.DataArray([1.0], dims="x"),
    "coordinates without index": xr.Dataset({"a": ("x", [1, 2])}, {"area": ("x", [3, 4])}).assign_coords(
        y=xr.Variable("x", [1, 2])
    ),
    "dimension coordinate without index": xr.Dataset(coords={"x": [1, 2]}).drop_indexes("x"),
    "MultiIndex": xr.Dataset({"t": ("z", np.arange(4.0))}, coords=xr.Coordinates.from_pandas_multiindex(_LEVELS, "z")),
    "stacked": _GRID.stack(point=("lat", "lon")),
    "MultiIndex in a data array": _GRID.t.stack(point=("lat", "lon")),
    "cftime of 360 days": xr.Dataset({"a": ("time", [1, 2])}, {"time": _DAYS}),
    "cftime at a frequency": xr.Dataset(
        {"a": ("time", np.arange(12))},
        {"time": xr.date_range("2001-01-01", periods=12, freq="MS", calendar="noleap", use_cftime=True)},
    ),
    "empty coordinates": xr.Dataset(coords={"x": np.array([], "U3"), "time": np.array([], "M8[ns]"), "y": []}),
    "coordinate by another name than its dimension": xr.Dataset(
        {"a": ("x", [1, 2])}, {"label": ("x", ["p", "q"])}
    ).set_xindex("label"),
    "packed encoding": _packed(),
    "complex and structured": xr.Dataset({"c": ("x", np.array([1j, 2])), "s": ("x", np.zeros(2, _STRUCT))}),
    "names that are integers": xr.Dataset({5: ("x", [1, 2]), ("a", 1): ("x", [3, 4])}),
    "frequency of a time index": xr.Dataset({"a": ("time", [1, 2, 3])}, {"time": _MONTHS}),
    "time index with a zone": xr.Dataset(coords={"time": _MONTHS.tz_localize("Europe/Berlin")}),
    "pandas categories": xr.Dataset({"kind": ("x", pd.Categorical(["a", "b", None], ordered=True))}),
    "pandas integers with missing": xr.Dataset({"n": ("x", pd.array([1, None], dtype="Int64"))}),
    "categorical index": xr.Dataset({"a": ("x", [1, 2])}, {"x": pd.CategoricalIndex(["a", "b"], ["b", "a"])}),
    "interval index": xr.Dataset(coords={"x": pd.interval_range(0, 2)}),
    "period index": xr.Dataset(coords={"x": pd.period_range("2024", periods=2, freq="M")}),
    "range index": xr.Dataset(coords={"x": pd.RangeIndex(3)}),
    "text labels": xr.Dataset(coords={"x": ["a", "bc"], "y": np.array(["d", None], dtype=object)}),
    "tree": xr.DataTree.from_dict({"/": _GRID, "/b/c": _packed(), "/a": xr.Dataset({"v": 1})}, name="root"),
    "tree with inherited coordinates": xr.DataTree.from_dict(
        {"/": xr.Dataset(coords={"x": [1, 2]}), "/in": xr.Dataset({"a": ("x", [3, 4])})}
    ),
    "index of one's own": Unfit(
        xr.Dataset(coords={"x": [1, 2]}).drop_indexes("x").set_xindex("x", _OwnIndex), "value.x"
    ),
    "frequency without a text": Unfit(
        [xr.Dataset(coords={"time": pd.date_range("2024", periods=2, freq=pd.DateOffset(months=2))})],
        "value[0].time.index.freq",
    ),
    "code in attributes": Unfit(xr.Dataset({"a": ("x", [1], {"f": len})}), 'value.a.attrs["f"]'),
    "code in a tree": Unfit(
        xr.DataTree.from_dict({"/a/b": xr.Dataset({"v": ("x", _objects(len))})}), 'value["a/b"].v[0]'
    ),
}


def _with_attrs(labelled: Any, **attrs: object) -> Any:
    labelled.attrs = attrs
    return labelled


_BERLIN = ZoneInfo("Europe/Berlin")
_HOURS = pd.date_range("2024-10-26", periods=4, freq="h", tz=_BERLIN)
_MIXED = pd.DataFrame(
    {
        "float": [1.5, math.nan, -0.0],
        "other": [1.0, 2.0, 3.0],
        "int8": np.arange(3, dtype="i1"),
        "bool": [True, False, True],
        "complex": [1j, 2, 3],
        "text": ["a", None, "c"],
        "objects": pd.Series(["a", 1, None], dtype=object),
        "objects that are text": pd.Series(["a", "b", "c"], dtype=object),
        "category": pd.Categorical(["x", "y", None], categories=["y", "x", "z"], ordered=True),
        "zone": pd.date_range("2024", periods=3, tz="Europe/Berlin"),
        "time": pd.date_range("2024", periods=3),
        "duration": pd.to_timedelta([1, None, 3], unit="h"),
        "Int64": pd.array([1, None, 3], dtype="Int64"),
        "period": pd.period_range("2024", periods=3, freq="M"),
        "interval": pd.interval_range(0, 3),
    }
)
_POINTS = gpd.GeoSeries([shapely.Point(1, 2), None, shapely.LinearRing([(0, 0), (1, 0), (1, 1)])], crs="EPSG:4326")
_AREAS = gpd.GeoDataFrame({"name": ["a", "b", "c"], "geometry": _POINTS, "n": [1, 2, 3]})
_TABLE = pa.table(
    {"i": [1, None], "s": ["a", "b"], "l": [[1], None], "d": pa.array(["x", "y"]).dictionary_encode()},
    metadata={"pandas": "{}"},
)
_ARROW = pd.ArrowDtype(pa.list_(pa.int64()))


def _wkt(text: str) -> Any:
    return shapely.from_wkt(text)


GENERAL: dict[str, object] = {
    # Python
    "nothing": None,
    "booleans": [True, False],
    "integers": [0, -1, 2**63 - 1, -(2**63), 2**64 - 1],
    "integers of any size": [2**64, -(2**200)],
    "floats": [0.1, -0.0, math.inf, math.nan, 5e-324],
    "complex": 1 - 2j,
    "text": "Niño – \U0001f30a",
    "long text": "a" * 70_000,
    "bytes": b"\x00\xff",
    "long bytes": bytes(1000),
    "bytearray": bytearray(b"abc"),
    "list": [1, [2.5, None], []],
    "tuple": (1, ("a",)),
    "set": {1, "a", (2,)},
    "frozenset": frozenset({1, 2}),
    "dict with keys of many types": {1: "a", (1, 2): "b", None: "c", 2.5: "d", True if False else "t": 0},
    "range": range(0, 10, 2),
    "slice": slice(1, None, 2),
    "ellipsis": ...,
    "decimal": Decimal("1.10"),
    "decimal infinity": Decimal("-Infinity"),
    "UUID": UUID(int=5),
    "path": PurePosixPath("data/sst.nc"),
    "date": dt.date(2006, 4, 1),
    "datetime": dt.datetime(2006, 4, 1, 12, 30, 0, 5),
    "datetime in UTC": dt.datetime(2006, 4, 1, tzinfo=dt.UTC),
    "datetime at an offset": dt.datetime(2006, 4, 1, tzinfo=dt.timezone(dt.timedelta(hours=-3), "X")),
    "datetime in a zone": dt.datetime(2024, 10, 27, 2, 30, fold=1, tzinfo=_BERLIN),
    "time": dt.time(23, 59, 59),
    "timedelta": dt.timedelta(days=-1, microseconds=1),
    "time zone": dt.timezone(dt.timedelta(hours=1)),
    "IANA zone": _BERLIN,
    "enumeration": Unfit(_Basin.NORTH, "value"),
    "integer enumeration": Unfit([_Level.LOW], "value[0]"),
    "dataclass": Unfit({"r": _Region(1.0)}, 'value["r"]'),
    "named tuple": Unfit(collections.namedtuple("P", "x")(1), "value"),
    "ordered dict": Unfit(collections.OrderedDict(a=1), "value"),
    "function": Unfit([len], "value[0]"),
    "class": Unfit(int, "value"),
    "open file": Unfit(io.BytesIO(), "value"),
    # NumPy
    "NumPy scalars": [np.float32(0.5), np.int8(-1), np.bool_(True), np.complex64(1j)],
    "NumPy times": [np.datetime64("2006-04", "M"), np.timedelta64(3, "h"), np.datetime64("NaT")],
    "NumPy text": [np.str_("Kiel"), np.bytes_(b"a\0")],
    "NumPy void": np.array([(1, 2.0)], "i4,f8")[0],
    "NumPy dtypes": [np.dtype(">f4"), np.dtype("O"), _STRUCT],
    "masked": np.ma.masked,
    # cftime
    "date of 360 days": _DAYS[0],
    "date of a year zero": cftime.DatetimeProlepticGregorian(0, 1, 1, has_year_zero=True),
    # pandas scalars
    "Timestamp": pd.Timestamp("2024-01-01 12:00:00.123456789"),
    "Timestamp in seconds": pd.Timestamp("2024-01-01").as_unit("s"),
    "Timestamp in UTC": pd.Timestamp("2024-01-01", tz="UTC"),
    "Timestamp in the second 02:30": pd.Timestamp("2024-10-27 01:30", tz="UTC").tz_convert(_BERLIN),
    "Timestamp with a fold": pd.Timestamp(2024, 1, 1, fold=1),
    "Timedelta": pd.Timedelta("1D 5ns"),
    "Timedelta in seconds": pd.Timedelta(5, "s").as_unit("s"),
    "NaT and NA": [pd.NaT, pd.NA],
    "Period": pd.Period("2024Q1", "Q-NOV"),
    "Interval": [pd.Interval(0, 1.5, "both"), pd.Interval(pd.Timestamp("2024"), pd.Timestamp("2025"))],
    "offset": Unfit([pd.offsets.MonthEnd()], "value[0]"),
    # pandas dtypes and arrays
    "pandas dtypes": [pd.Int8Dtype(), pd.UInt64Dtype(), pd.Float32Dtype(), pd.BooleanDtype(), pd.StringDtype("python"),
                      pd.DatetimeTZDtype("us", "UTC"), pd.PeriodDtype("M"), pd.IntervalDtype("int64", "left"), _ARROW,
                      pd.CategoricalDtype(["b", "a"], ordered=True)],
    "dtype without categories": Unfit({"d": pd.CategoricalDtype()}, 'value["d"]'),
    "nullable arrays": [pd.array([1, None], dtype="UInt8"), pd.array([1.5, None], dtype="Float32"),
                        pd.array([True, None], dtype="boolean")],
    "text arrays": [pd.array(["a", None, ""], dtype=pd.StringDtype(storage, na))
                    for storage in ("python", "pyarrow") for na in (pd.NA, np.nan)],
    "sliced text": pd.array(["Kiel", None, "Potsdam", "AWI"], dtype="str")[1:3],
    "text of no rows": pd.array([], dtype="str"),
    "text in pieces": pd.concat([pd.Series(["a", None]), pd.Series(["b"])], ignore_index=True),
    "Arrow-backed arrays": [pd.array([[1], None], dtype=_ARROW),
                            pd.array([1, None], dtype=pd.ArrowDtype(pa.timestamp("us", "Europe/Berlin")))],
    "Categorical": pd.Categorical(["a", None, "b"], categories=["b", "a", "c"], ordered=True),
    "Categorical of times": pd.Categorical(pd.date_range("2024", periods=2, freq="D")),
    "arrays of times": [pd.date_range("2024", periods=2, tz=_BERLIN).array, pd.timedelta_range("1h", periods=2).array],
    "PeriodArray": pd.period_range("2024", periods=2, freq="2D").array,
    "IntervalArray": pd.arrays.IntervalArray.from_breaks([0.0, 1.0, 2.0], closed="neither"),
    "NumpyExtensionArray": pd.arrays.NumpyExtensionArray(np.array([1.0, 2.0])),
    "SparseArray": Unfit(pd.DataFrame({"s": pd.arrays.SparseArray([0, 1])}), 'value["s"]'),
    # indexes
    "RangeIndex": pd.RangeIndex(2, 20, 3, name="n"),
    "Index of numbers": pd.Index([3, 1, 1], dtype="i2", name=("a", 1)),
    "Index of text": pd.Index(["a", "b"], name="x"),
    "Index of objects": pd.Index([1, "a", (2, 3), None], dtype=object),
    "Index of tuples": pd.Index([(1, 2), (3, 4)], tupleize_cols=False),
    "Index of nullable integers": pd.Index([1, None], dtype="Int64"),
    "DatetimeIndex": pd.DatetimeIndex(["2024-01-01", "NaT"], name="t"),
    "DatetimeIndex with a frequency": pd.date_range("2024", periods=3, freq="W-SUN"),
    "DatetimeIndex with zone and frequency": _HOURS,
    "TimedeltaIndex": pd.timedelta_range("1h", periods=3, freq="90min"),
    "PeriodIndex": pd.period_range("2024", periods=3, freq="Y-MAR"),
    "CategoricalIndex": pd.CategoricalIndex(["a", "b"], categories=["b", "a"], ordered=True, name="c"),
    "IntervalIndex": pd.interval_range(pd.Timestamp("2024"), periods=2),
    "MultiIndex": pd.MultiIndex.from_arrays([[1, 2], ["a", None], _HOURS[:2]], names=["n", None, "n"]),
    "frequency without a text": Unfit([pd.date_range("2024", periods=2, freq=pd.DateOffset(months=2))],
                                      "value[0].freq"),
    # tables
    "Series": pd.Series([1.5, 2.5], index=["a", "b"], name="s"),
    "Series with attributes": _with_attrs(pd.Series([1], name=("a", 1)), units="K", n=(1, 2)),
    "Series of objects": pd.Series([1, "a", None, [2]], dtype=object, index=[5, 5, 6, 7]),
    "Series without duplicates": pd.Series([1, 2]).set_flags(allows_duplicate_labels=False),
    "DataFrame of everything": _MIXED,
    "DataFrame of one dtype": pd.DataFrame(np.arange(6.0).reshape(2, 3), columns=list("abc")),
    "DataFrame of no columns": pd.DataFrame(index=pd.RangeIndex(3)),
    "DataFrame of no rows": _MIXED.iloc[:0],
    "rows of a DataFrame": _MIXED.iloc[[2, 0]],
    "DataFrame with attributes": _with_attrs(pd.DataFrame({"a": [1]}), units={"a": "K"}),
    "labels that are no text": pd.DataFrame([[1, 2.0, "x"]], columns=[1, ("a", 2), None]),
    "labels twice": pd.DataFrame([[1, 2.0, 3]], columns=["a", "a", "b"]),
    "levels of labels": pd.DataFrame([[1, 2.0]], columns=pd.MultiIndex.from_product([["a"], [1, 2]], names=["x", "y"])),
    "index with levels": _MIXED.set_index(["text", "int8"]),
    "times of a year with a zone": pd.DataFrame({"v": range(4)}, index=_HOURS),
    "object in a column": Unfit([pd.DataFrame({"a": [1], "b": [object()]})], 'value[0]["b"][0]'),
    "code in attributes": Unfit(_with_attrs(pd.DataFrame(), f=len), 'value.attrs["f"]'),
    # Arrow
    "Arrow table": _TABLE,
    "Arrow table of no columns": pa.table({}),
    "Arrow table in chunks": pa.concat_tables([_TABLE, _TABLE.slice(1)]),
    "Arrow batch": _TABLE.to_batches()[0],
    "Arrow batch of no rows": _TABLE.to_batches()[0].slice(0, 0),
    "Arrow arrays": [pa.array([1, None]), pa.array([], pa.string()), pa.array([{"a": [1]}, None]),
                     pa.array([[("k", 1)]], pa.map_(pa.string(), pa.int8())), pa.nulls(3),
                     pa.array([Decimal("1.10")]), pa.array([b"ab"], pa.binary(2)), pa.array([1.5], pa.float16())],
    "Arrow chunks": [pa.chunked_array([[1], [2, 3]]), pa.chunked_array([], pa.int8())],
    "Arrow scalars": [pa.scalar(5), pa.scalar(None, pa.list_(pa.int8())), pa.scalar("a"), pa.scalar({"a": 1})],
    "Arrow schema": _TABLE.schema,
    "Arrow types": [pa.int8(), pa.timestamp("us", "+01:00"), pa.list_(pa.field("x", pa.int8(), nullable=False), 2)],
    "Arrow field": pa.field("a", pa.int8(), nullable=False, metadata={"k": "v"}),
    "Arrow view": Unfit({"t": pa.table({"v": pa.array(["x"], pa.string_view())})}, 'value["t"]["v"]'),
    # polars
    "polars table": pl.DataFrame({
        "i": [1, None], "s": ["a", None], "l": [[1], []], "st": [{"a": 1}, {"a": 2}], "d": [Decimal("1.1"), None],
        "c": pl.Series(["a", "b"], dtype=pl.Categorical), "t": [dt.time(1), None],
        "z": pl.Series([dt.datetime(2020, 1, 1)] * 2, dtype=pl.Datetime("ns", "Europe/Berlin")),
    }),
    "polars table of no columns": pl.DataFrame(),
    "polars series": [pl.Series("x", [1, 2]), pl.Series("e", [], dtype=pl.Int8), pl.Series("", [None])],
    "polars query": Unfit(pl.LazyFrame(), "value"),
    "polars enumeration": Unfit([pl.DataFrame({"e": pl.Series(["a"], dtype=pl.Enum(["a"]))})], 'value[0]["e"]'),
    # geometries
    "points": [shapely.Point(1, 2), shapely.Point(), shapely.Point(1, 2, 3), _wkt("POINT M (1 2 3)"),
               _wkt("POINT ZM (1 2 3 4)"), shapely.set_srid(shapely.Point(1, 2), 4326)],
    "lines": [shapely.LineString([(0, 0), (1, 1)]), shapely.LinearRing([(0, 0, 5), (1, 0, 5), (1, 1, 5)]),
              shapely.LinearRing(), _wkt("LINESTRING Z EMPTY")],
    "areas": [shapely.box(0, 0, 1, 1), shapely.Point(0, 0).buffer(2).difference(shapely.Point(0, 0).buffer(1))],
    "collections": [_wkt("MULTIPOINT ((1 1), (2 2))"), _wkt("MULTIPOLYGON (((0 0, 1 0, 1 1, 0 0)))"),
                    shapely.GeometryCollection([shapely.Point(1, 1, 1), shapely.LineString([(0, 0), (1, 1)])])],
    "ring in a collection": Unfit([shapely.GeometryCollection([shapely.LinearRing([(0, 0), (1, 0), (1, 1)])])],
                                  "value[0]"),
    "point of NaN": Unfit({"p": shapely.Point(math.nan, math.nan)}, 'value["p"]'),
    "GeoSeries": _POINTS,
    "GeoSeries without a system": gpd.GeoSeries([shapely.Point(1, 2)], index=["a"], name="g"),
    "GeoDataFrame": _AREAS,
    "GeoDataFrame of two geometries": _AREAS.assign(
        other=gpd.GeoSeries([shapely.Point(0, 0)] * 3, crs="EPSG:3857")
    ).set_geometry("other"),
    "GeoDataFrame without geometry": gpd.GeoDataFrame({"a": [1]}),
    "DataFrame with geometries": pd.DataFrame(_AREAS),
    "coordinate systems": [pyproj.CRS("EPSG:4326"), pyproj.CRS.from_proj4("+proj=laea +lat_0=10 +lon_0=20")],
    "geometry without a form in a table": Unfit(
        [gpd.GeoDataFrame({"geometry": [shapely.Point(1, 1), shapely.Point(math.nan, math.nan)]})],
        'value[0]["geometry"][1]',
    ),
    # others
    "lazy dask array": Unfit([dask.array.zeros(3)], "value[0]"),
    "xarray variable": Unfit(xr.Variable("x", [1]), "value"),
    "everything in a dict": {"t": _MIXED, "g": [_POINTS, {"x": _GRID}], ("k", 1): (pd.NaT, _TABLE)},
}  # fmt: skip
