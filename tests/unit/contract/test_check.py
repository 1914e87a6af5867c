"""Arguments from elsewhere: what is accepted, as what, and everything that is said about what is not."""

import dataclasses
import datetime as dt
import decimal
import enum
import pathlib
import uuid
from typing import Annotated, Any, Literal, NamedTuple, TypedDict

import geopandas as gpd
import numpy as np
import numpy.typing as npt
import pandas as pd
import polars as pl
import pyarrow as pa
import pydantic
import pytest
import shapely
import xarray as xr
from annotated_types import Ge, Le, MinLen, Predicate

from landbridge.contract import Method, read_module
from landbridge.errors import InvalidArguments


class Basin(enum.Enum):
    NORTH = "n"
    SOUTH = "s"


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


class Box(enum.Enum):
    NINO = (-5, 5)
    AMO = (0, 60)


class Use(enum.Flag):
    READ = 1
    WRITE = 2


@dataclasses.dataclass
class Region:
    west: Annotated[float, Ge(-180), Le(180)]
    east: float = 0.0
    inner: "Region | None" = None
    width: float = dataclasses.field(init=False, default=0.0)

    def __post_init__(self):
        if self.east < self.west:
            raise ValueError("east lies west of west")
        self.width = self.east - self.west


class Options(pydantic.BaseModel):
    count: int = pydantic.Field(ge=1)
    basin: Basin = Basin.NORTH

    @pydantic.field_validator("count")
    @classmethod
    def _odd(cls, value):
        if value % 2 == 0:
            raise ValueError("must be odd")
        return value


class Row(TypedDict):
    name: str


class Point(NamedTuple):
    x: float
    y: float = 0.0


def method(**hints: Any) -> Method:
    source = ", ".join(hints)
    namespace: dict[str, Any] = {}
    exec(f"def f({source}): ...", namespace)
    f = namespace["f"]
    f.__annotations__ = hints
    return read_module("geomar/ocean", None, {"f": f})[1]["f"]


def check(hint: Any, value: Any) -> Any:
    return method(x=hint).check({"x": value})[1]["x"]


def problems(hint: Any, value: Any) -> list[str]:
    with pytest.raises(InvalidArguments) as caught:
        method(x=hint).check({"x": value})
    return [str(problem) for problem in caught.value.problems]


ACCEPTED = [
    (int, 3, 3),
    (int, np.int64(3), 3),
    (int, np.array(3), 3),
    (int, 10**50, 10**50),
    (float, 3, 3.0),
    (float, np.float32(1.5), 1.5),
    (float, float("inf"), float("inf")),
    (bool, np.True_, True),
    (str, "3", "3"),
    (list[float], np.array([1.0, 2.0]), [1.0, 2.0]),
    (list[float], (1, 2), [1.0, 2.0]),
    (list[list[int]], np.array([[1, 2]]), [[1, 2]]),
    (list[int], [np.int32(1)], [1]),
    (list[dt.datetime], np.array(["2020-01-01"], "M8[ns]"), [dt.datetime(2020, 1, 1)]),
    (tuple[int, float], [1, 2], (1, 2.0)),
    (tuple[int, ...], [1, 2, 3], (1, 2, 3)),
    (set[int], [1, 2, 2], {1, 2}),
    (frozenset[str], ["a"], frozenset("a")),
    (dict[int, list[str]], {1: ["a"]}, {1: ["a"]}),
    (int | float, 3, 3),
    (float | int, 3, 3),
    (int | None, None, None),
    (Literal["a", 1], 1, 1),
    (dt.datetime, "2020-01-01T00:00:00Z", dt.datetime(2020, 1, 1, tzinfo=dt.UTC)),
    (dt.datetime, np.datetime64("2020-01-01"), dt.datetime(2020, 1, 1)),
    (dt.date, dt.date(2020, 1, 1), dt.date(2020, 1, 1)),
    (dt.timedelta, "P1D", dt.timedelta(1)),
    (decimal.Decimal, "1.50", decimal.Decimal("1.50")),
    (uuid.UUID, str(uuid.UUID(int=7)), uuid.UUID(int=7)),
    (pathlib.Path, pathlib.PurePosixPath("a/b"), pathlib.Path("a/b")),
    (complex, 2, 2 + 0j),
    (bytes, bytearray(b"a"), b"a"),
    (Basin, "n", Basin.NORTH),
    (Basin, "SOUTH", Basin.SOUTH),
    (Basin, Basin.SOUTH, Basin.SOUTH),
    (Level, 2, Level.HIGH),
    (Box, "NINO", Box.NINO),
    (Use, 3, Use.READ | Use.WRITE),
    (Use, "READ|WRITE", Use.READ | Use.WRITE),
    (Basin | str, "n", Basin.NORTH),
    (Region, {"west": 1, "east": 2}, Region(1.0, 2.0)),
    (Region, {"west": 1, "east": 2, "width": 1.0}, Region(1.0, 2.0)),
    (Region, Region(1.0, 2.0), Region(1.0, 2.0)),
    (Options, {"count": 3, "basin": "s"}, Options(count=3, basin=Basin.SOUTH)),
    (Row, {"name": "a"}, {"name": "a"}),
    (Point, [1], Point(1.0)),
    (Point, {"x": 1, "y": 2}, Point(1.0, 2.0)),
    (list[Region] | None, [{"west": 0}], [Region(0.0)]),
    (Annotated[list[int], MinLen(1)], [1], [1]),
    (Annotated[int, pydantic.Field(ge=3)], 3, 3),
    (Annotated[int, pydantic.AfterValidator(lambda v: v + 1)], 3, 4),
    (np.float32, 1.5, np.float32(1.5)),
    (Any, b"anything", b"anything"),
]


@pytest.mark.parametrize(("hint", "value", "expected"), ACCEPTED)
def test_values_that_fit_are_made_what_the_hint_declares(hint, value, expected):
    given = check(hint, value)
    assert given == expected
    assert type(given) is type(expected)


REFUSED = [
    (int, "3", "x: must be a whole number (int); got '3' (str)"),
    (int, 1.5, "x: must be a whole number (int); got 1.5 (float)"),
    (int, True, "x: must be a whole number (int); got True"),
    (int, np.True_, "x: must be a whole number (int); got True"),
    (int, None, "x: must be a whole number (int); got None"),
    (float, "1.5", "x: must be a number (float); got '1.5' (str)"),
    (float, 10**400, "x: must be a number (float); got a huge number (int)"),
    (str, 3, "x: must be a text (str); got 3 (int)"),
    (bool, 1, "x: must be True or False; got 1 (int)"),
    (list[int], "abc", "x: must be a list; got 'abc' (str)"),
    (list[int], [1, "2"], "x[1]: must be a whole number (int); got '2' (str)"),
    (list[int], range(10**12), "x: would make lists of more than 1,048,576 entries in all; send an array; got a range"),
    (tuple[int, int], [1], "x[1]: is missing"),
    (dict[str, int], {"a b": "1"}, "x['a b']: must be a whole number (int); got '1' (str)"),
    (Literal[1], True, "x: must be one of 1; got True"),
    (int | str, 1.5, "x: must be int | str; got 1.5 (float)"),
    (dt.date, "2020-13-01", "x: must be a date or its ISO text; got '2020-13-01' (str)"),
    (dt.datetime, "yesterday", "x: must be a datetime or its ISO text; got 'yesterday' (str)"),
    (Basin, "north", "x: must be one of 'n', 's'; got 'north' (str)"),
    (Level, True, "x: must be one of 1, 2; got True"),
    (Level, 1.0, "x: must be one of 1, 2; got 1.0 (float)"),
    (Basin, [], "x: must be one of 'n', 's'; got an empty list"),
    (Use, 9, "x: must be names of READ, WRITE joined by |, or their number; got 9 (int)"),
    (Region, {"west": 200}, "x.west: must be at most 180.0; got 200 (int)"),
    (Region, {"wset": 1, "west": 0}, "x.wset: is no field; did you mean 'west'?"),
    (Region, {"west": 2, "east": 1}, "x: is no Region: east lies west of west; got a dict of 2"),
    (Region, "here", "x: must be a Region, or a dict of its fields; got 'here' (str)"),
    (Region, {"west": 0, "inner": {"west": "a"}}, "x.inner.west: must be a number (float); got 'a' (str)"),
    (Options, {"count": 2}, "x.count: must be odd; got 2 (int)"),
    (Options, {"count": "3"}, "x.count: must be a whole number (int); got '3' (str)"),
    (Row, {}, "x.name: is missing"),
    (Point, [1, 2, 3], "x: must be a Point, or a dict of its fields; got a list of 3"),
    (Annotated[int, Ge(3)], 2, "x: must be at least 3; got 2 (int)"),
    (Annotated[list[int], MinLen(2)], [1], "x: must have at least 2 items; got a list of 1"),
    (Annotated[str, pydantic.Field(pattern="^a+$")], "b", "x: must match the pattern ^a+$; got 'b' (str)"),
    (Annotated[int, Predicate(str.isalpha)], 3, None),
    (Annotated[int, pydantic.AfterValidator(lambda v: v + 1)], "3", "x: must be a whole number (int); got '3' (str)"),
    (xr.DataArray, 3, "x: must be of type xarray.DataArray; got 3 (int)"),
    (pd.DataFrame, 3, "x: must be of type pandas.DataFrame; got 3 (int)"),
    (pd.Timestamp, 3, "x: must be of type pandas.Timestamp; got 3 (int)"),
    (pa.Table | pl.DataFrame, 3, "x: must be pa.Table | pl.DataFrame; got 3 (int)"),
    (gpd.GeoDataFrame, 3, "x: must be of type geopandas.GeoDataFrame; got 3 (int)"),
    (shapely.Polygon, shapely.Point(0, 0), "x: must be of type shapely.Polygon; got a Point"),
]  # fmt: skip


@pytest.mark.parametrize(("hint", "value", "text"), [case for case in REFUSED if case[2]])
def test_values_that_do_not_fit_are_refused_with_their_place(hint, value, text):
    assert problems(hint, value) == [text]


def test_all_problems_are_told_at_once():
    checked = method(first=int, region=Region, years=list[int], basin=Basin)
    with pytest.raises(InvalidArguments) as caught:
        checked.check({"frist": 1, "region": {"east": "x"}, "years": [1, "2", 3, None], "basin": "?"})
    assert sorted(problem.where for problem in caught.value.problems) == sorted(
        ["first", "frist", "region.west", "region.east", "years[1]", "years[3]", "basin"]
    )
    assert "frist: is no parameter; did you mean 'first'?" in str(caught.value)
    assert caught.value.target == "geomar/ocean.f"


def test_a_million_wrong_items_are_not_a_million_problems():
    many = ["x"] * 1_000_000
    assert problems(list[int], many) == ["x[0]: must be a whole number (int); got 'x' (str)"]
    assert len(problems(list[int], ["x"] * 5000)) == 51
    assert len(problems(dict[str, int], {str(n): "x" for n in range(100_000)})) == 1
    assert len(problems(list[int], np.array(many))) == 1


def test_a_million_unknown_names_are_one_problem():
    with pytest.raises(InvalidArguments) as caught:
        method(x=int).check({f"a{n}": 1 for n in range(200_000)})
    assert len(caught.value.problems) == 1
    assert len(problems(Region, {f"a{n}": 1 for n in range(200_000)})) == 1


def test_given_values_are_shown_harmless_and_short():
    (text,) = problems(int, "\x1b[31m" + "a" * 10_000)
    assert "\x1b" not in text
    assert len(text) < 200


@pytest.mark.parametrize("arguments", [None, [1], "first"])
def test_arguments_that_are_no_mapping_are_refused(arguments):
    with pytest.raises(InvalidArguments, match="must come by name"):
        method(x=int).check(arguments)


def test_names_that_are_no_texts_are_refused():
    with pytest.raises(InvalidArguments):
        method(x=int).check({1: 2})


def test_deep_nesting_ends_in_an_answer():
    deep: Any = 0.0
    for _ in range(3000):
        deep = {"west": 0.0, "inner": deep}
    assert problems(Region, deep)


def test_values_without_a_hint_are_not_touched():
    value = np.float32(1.5)
    with pytest.raises(InvalidArguments):
        method(x=Any, y=int).check({"x": value, "y": "1"})
    assert method(x=Any, y=int).check({"x": value, "y": np.int8(1)}) == ((), {"x": value, "y": 1})
    assert type(method(x=Any, y=int).check({"x": value, "y": np.int8(1)})[1]["x"]) is np.float32


ARRAYS = [
    (npt.NDArray[np.float64], [[1, 2], [3, 4]], "float64"),
    (npt.NDArray[np.float64], np.zeros(2, "f4"), "float64"),
    (npt.NDArray[np.float32], [1.5], "float32"),
    (npt.NDArray[np.integer], np.zeros(2, "u1"), "uint8"),
    (npt.NDArray[np.int8], [], "int8"),
    (npt.NDArray[np.datetime64], np.array(["2020"], "M8[ns]"), "datetime64[ns]"),
    (np.ndarray, np.zeros(2, "c16"), "complex128"),
    (Annotated[np.ndarray, "m", Ge(0)], np.array([1, np.nan]), "float64"),
]


@pytest.mark.parametrize(("hint", "value", "dtype"), ARRAYS)
def test_arrays_may_be_lists_and_widen(hint, value, dtype):
    given = check(hint, value)
    assert isinstance(given, np.ndarray)
    assert str(given.dtype) == dtype


WRONG_ARRAYS = [
    (npt.NDArray[np.float32], np.zeros(2)),
    (npt.NDArray[np.int8], [300]),
    (npt.NDArray[np.integer], [1.5]),
    (npt.NDArray[np.float64], ["1"]),
    (np.ndarray, [[1], [1, 2]]),
    (np.ndarray, ["a" * 1_000_000, *[""] * 100_000]),  # an array of these would be 400 GB
    (np.ndarray, "text"),
    (Annotated[np.ndarray, Ge(0)], np.array([1, -1])),
]


@pytest.mark.parametrize(("hint", "value"), WRONG_ARRAYS)
def test_arrays_that_would_lose_something_are_refused(hint, value):
    assert len(problems(hint, value)) == 1


@pytest.mark.parametrize(
    ("hint", "value"),
    [
        (xr.DataArray | None, xr.DataArray([1.0])),
        (pd.DataFrame, pd.DataFrame({"a": [1]})),
        (pd.Series, pd.Series([1])),
        (pd.Index, pd.RangeIndex(3)),
        (pd.Timestamp, pd.Timestamp("2024")),
        (gpd.GeoDataFrame | pd.DataFrame, gpd.GeoDataFrame({"a": [1]})),
        (pa.Table, pa.table({"a": [1]})),
        (pa.Array, pa.array([1])),
        (pl.DataFrame, pl.DataFrame({"a": [1]})),
        (shapely.Geometry, shapely.Point(0, 0)),
        (shapely.geometry.base.BaseGeometry, shapely.Point(0, 0)),
        (list[shapely.Point], shapely.Point(0, 0)),
    ],
)
def test_data_sets_tables_and_geometries_pass_as_they_are(hint, value):
    if hint == list[shapely.Point]:
        assert check(hint, [value])[0] is value
    else:
        assert check(hint, value) is value


def test_positional_only_and_var_positional_come_into_place():
    def f(a, b=1, /, c=2, *args: int, d=3, **rest: int): ...

    checked = read_module("geomar/ocean", None, {"f": f})[1]["f"]
    assert checked.check({"a": 0}) == ((0,), {})
    assert checked.check({"a": 0, "c": 5, "z": 9}) == ((0,), {"c": 5, "z": 9})
    assert checked.check({"a": 0, "args": [7, 8], "d": 4}) == ((0, 1, 2, 7, 8), {"d": 4})
    with pytest.raises(InvalidArguments, match=r"args\[1\]: must be a whole number"):
        checked.check({"a": 0, "args": [7, "8"]})
    with pytest.raises(InvalidArguments, match=r"z: must be a whole number"):
        checked.check({"a": 0, "z": "9"})


def test_results_are_lowered_anywhere_in_plain_containers():
    def f(): ...

    lower = read_module("geomar/ocean", None, {"f": f})[1]["f"].lower
    result = {"a": [Region(0.0, 1.0)], "b": (Basin.NORTH, Box.AMO), "c": {Level.LOW}, Basin.SOUTH: Options(count=1)}
    assert lower(result) == {
        "a": [{"west": 0.0, "east": 1.0, "inner": None, "width": 1.0}],
        "b": ("n", "AMO"),
        "c": {1},
        "s": {"count": 1, "basin": "n"},
    }  # fmt: skip
    array = np.zeros(3)
    assert lower(array) is array
