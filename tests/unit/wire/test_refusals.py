"""What would not arrive exactly is refused before it is sent, with its place."""

from __future__ import annotations

import collections
import dataclasses
import datetime as dt
import enum
import io
from decimal import Decimal
from pathlib import PureWindowsPath

import msgpack
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import shapely
import shapely.prepared
import xarray as xr

from landbridge.errors import CannotTravel, TooLarge
from landbridge.wire import encode


class Level(enum.IntEnum):
    LOW = 1


class Name(str):
    __slots__ = ()


@dataclasses.dataclass(frozen=True)
class Region:
    west: float = 0.0


Point = collections.namedtuple("Point", "x y")


class OtherZone(dt.tzinfo):
    def utcoffset(self, when):
        return dt.timedelta(0)


def refused(value) -> CannotTravel:
    with pytest.raises(CannotTravel) as caught:
        encode(value)
    return caught.value


UNFIT = [
    (Level.LOW, "enumeration"),
    (Region(), "dataclass"),
    (Point(1, 2), "named tuple"),
    (Name("x"), "subclass of str"),
    (collections.OrderedDict(a=1), "subclass of dict"),
    (collections.defaultdict(int), "subclass of dict"),
    (type("Count", (int,), {})(1), "subclass of int"),
    (object(), "no rule"),
    (len, "code"),
    (int, "class (int)"),
    (lambda: 1, "code"),
    (io.BytesIO(), "no rule"),
    (memoryview(b"abc"), "memoryview"),
    (msgpack.ExtType(1, b"x"), "named tuple"),
    (msgpack.Timestamp(1, 2), "no rule"),
    (ValueError("x"), "exception"),
    (PureWindowsPath("a"), "no rule"),
    (Decimal("1E+99999999"), "exponent"),
    (1 << (8 * 70_000), "integer"),
    ("\ud800", "surrogate"),
    ({"\udfff": 1}, "surrogate"),
    (dt.datetime(2024, 1, 1, tzinfo=OtherZone()), "time zones"),
    (np.longdouble(1), "differs among computers"),
    (np.zeros(2, "g"), "differs among computers"),
    (np.rec.array([(1, 2.0)], dtype=[("a", int), ("b", float)]), "recarray"),
    (np.array([2], "u1").view(bool), "booleans"),
    (np.array([0x110000], "<u4").view("<U1"), "characters"),
    (np.zeros(1, [("a", object)]), "Python objects"),
    (np.zeros(1, [(("title", "a"), "f8")]), "title"),
    (np.array(["a"], np.dtypes.StringDType(na_object="none")), "missing"),
    (pd.arrays.SparseArray([1, 0]), "SparseArray"),
    (pd.offsets.MonthEnd(), "MonthEnd"),
    (type("Stations", (pd.DataFrame,), {})({"a": [1]}), "subclass of pandas.DataFrame"),
    (type("Grid", (xr.Dataset,), {"__slots__": ()})(), "subclass of xarray"),
    (shapely.prepared.prep(shapely.Point(0, 0)), "PreparedGeometry"),
    (pa.RecordBatchReader.from_batches(pa.schema([]), []), "RecordBatchReader"),
    (pl.LazyFrame(), "LazyFrame"),
    (xr.Variable("x", [1]), "Variable"),
]


@pytest.mark.parametrize(
    ("value", "said"), UNFIT, ids=[f"{type(value).__name__}-{at}" for at, (value, _) in enumerate(UNFIT)]
)
def test_unfit_value_is_refused_with_its_reason(value, said):
    error = refused(value)
    assert said in str(error)
    assert error.where.startswith("value")


def test_objects_of_classes_that_nobody_registered_are_refused_with_the_way_out():
    assert "landbridge.register" in str(refused(object()))


def test_a_query_is_refused_with_the_way_out():
    assert ".collect()" in str(refused(pl.LazyFrame()))


@pytest.mark.parametrize(
    ("value", "where"),
    [
        ({"a": [0, 1, 2, object()]}, 'value["a"][3]'),
        ([(1, {"x": Level.LOW})], 'value[0][1]["x"]'),
        ({Level.LOW: 1}, "value, key <Level>"),
        ({"a": {1: memoryview(b"x")}}, 'value["a"][1]'),
        ({"a": ["x", "\ud800"]}, 'value["a"][1]'),
        ([np.array([1, object()], dtype=object)], "value[0][1]"),
        ([np.array([["a", object()]], dtype=object)], "value[0][0, 1]"),
        ([slice(0, object())], "value[0].stop"),
        ({"t": dt.time(1, tzinfo=OtherZone())}, 'value["t"].tzinfo'),
        ({1: xr.Dataset(attrs={"why": [object()]})}, 'value[1].attrs["why"][0]'),
        (xr.Dataset({"sst": ("x", [1], {"ok": 1, "bad": len})}), 'value.sst.attrs["bad"]'),
        ([xr.DataArray([1], dims="x", coords={"x": ("x", [1], {"f": len})})], 'value[0].x.attrs["f"]'),
        (xr.Dataset({"a b": ("x", np.zeros(1, "g"))}), 'value["a b"]'),
        (xr.Dataset({"obj": ("x", np.array([len], dtype=object))}), "value.obj[0]"),
    ],
)
def test_place_of_the_culprit_is_named(value, where):
    assert refused(value).where == where


@pytest.mark.parametrize(
    "wrap",
    [lambda x: [x], lambda x: (x,), lambda x: {"k": x}, lambda x: [(x,)]],
    ids=["list", "tuple", "dict", "mixed"],
)
def test_too_deep_nesting_is_refused(wrap):
    value = 1
    for _ in range(500):
        value = wrap(value)
    assert "nested deeper than 64" in str(refused(value))


def test_sixty_four_levels_travel():
    value = 1
    for _ in range(64):
        value = [value]
    encode(value)
    assert "nested" in str(refused([value]))


def test_value_that_contains_itself_is_refused():
    around: list = []
    around.append({"again": (around,)})
    assert "contains itself" in str(refused(around))


def test_array_that_contains_itself_is_refused():
    array = np.empty(1, dtype=object)
    array[0] = [array]
    assert "contains itself" in str(refused(array))


def test_value_that_grows_like_a_tree_is_refused_early():
    value = [1]
    for _ in range(40):
        value = [value] * 10
    assert "more than 1,048,576 entries" in str(refused(value))


def test_long_list_of_numbers_is_refused_with_advice():
    with pytest.raises(TooLarge, match="NumPy array"):
        encode([0.5] * 200_000)


def test_more_arrays_than_a_receiver_takes_are_refused_with_advice():
    encode([np.zeros(100)] * 4096)
    assert "Join them" in str(refused([np.zeros(100)] * 4097))
