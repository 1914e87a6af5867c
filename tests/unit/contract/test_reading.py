"""Live functions become specs: hints, docstrings, kinds of functions, and what is refused."""

from __future__ import annotations

import dataclasses
import enum
import functools
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple, TypedDict

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
from annotated_types import Ge, Le

from landbridge.contract import ModuleSpec, ParameterSpec, arguments_schema, read_module
from landbridge.errors import InvalidName, NothingToServe

if TYPE_CHECKING:
    from decimal import Decimal as OnlyForTypes


class Basin(enum.Enum):
    """An ocean."""

    NORTH = "n"
    SOUTH = "s"
    ARCTIC = "n"


@dataclasses.dataclass(frozen=True)
class Region:
    """A box.

    Attributes
    ----------
    west : float
        Western edge.
    """

    west: Annotated[float, "degrees_east", Ge(-180), Le(180)]
    basin: Basin = Basin.NORTH
    inner: Region | None = None


class Options(pydantic.BaseModel):
    count: int = pydantic.Field(ge=1, description="How many.")
    names: list[str] = []


class Point(NamedTuple):
    x: float
    y: float = 0.0


class Table(TypedDict, total=False):
    column: list[Point]


def read(function: Callable[..., Any], name: str = "f"):
    spec, methods = read_module("geomar/ocean", None, {name: function})
    return spec, methods[name]


def parameters(function: Callable[..., Any]) -> dict[str, ParameterSpec]:
    return {p.name: p for p in read(function)[1].spec.parameters}


def climatology(
    first: int,
    last: int = 2010,
    /,
    region: Region = Region(0.0),
    *years: int,
    depth: Annotated[float, "m", Ge(0)] = 5,
    **attributes: str,
) -> xr.DataArray:
    """Monthly mean temperature.

    Longer text.

    Parameters
    ----------
    first, last : int
        The years.
    depth : float
        Below the surface.

    Returns
    -------
    DataArray
        One value each month.

    Raises
    ------
    ValueError
        If there are no data.

    Notes
    -----
    Slow.
    """


def test_names_kinds_and_defaults_are_those_of_the_function():
    found = parameters(climatology)
    assert [(p.name, p.kind, p.required) for p in found.values()] == [
        ("first", "positional_only", True),
        ("last", "positional_only", False),
        ("region", "positional_or_keyword", False),
        ("years", "var_positional", False),
        ("depth", "keyword_only", False),
        ("attributes", "var_keyword", False),
    ]
    assert found["last"].default == 2010
    assert found["region"].default == {"west": 0.0, "basin": "n", "inner": None}


def test_docstring_is_taken_apart():
    spec = read(climatology)[1].spec
    assert spec.summary == "Monthly mean temperature."
    assert [p.doc for p in spec.parameters[:2]] == ["The years.", "The years."]
    assert spec.returns_doc == "One value each month."
    assert spec.raises == (("ValueError", "If there are no data."),)
    assert "Longer text." in spec.doc
    assert "Slow." in spec.doc
    assert "Below the surface" not in spec.doc


def test_units_and_bounds_come_from_annotated():
    depth = parameters(climatology)["depth"]
    assert depth.unit == "m"
    assert depth.schema == {"type": "number", "minimum": 0, "x-unit": "m"}


def test_classes_of_the_signature_are_described_once_by_name():
    spec, _ = read(climatology)
    assert list(spec.types) == ["Region", "Basin"]
    assert spec.types["Region"]["properties"]["west"]["description"] == "Western edge."
    assert spec.types["Region"]["properties"]["inner"]["anyOf"][0] == {"$ref": "#/$defs/Region"}
    assert spec.types["Region"]["x-frozen"] is True
    assert spec.types["Basin"]["x-enum-names"] == ["NORTH", "SOUTH"]
    assert spec.types["Basin"]["x-enum-aliases"] == {"ARCTIC": "NORTH"}


def test_models_typed_dicts_and_named_tuples_are_described():
    def f(options: Options, table: Table): ...

    types = read(f)[0].types
    assert types["Options"]["properties"]["count"] == {"description": "How many.", "type": "integer", "minimum": 1}
    assert types["Table"]["x-landbridge"] == "typeddict"
    assert types["Table"]["required"] == []
    assert types["Point"]["x-field-names"] == ["x", "y"]


@pytest.mark.parametrize(
    ("hint", "schema"),
    [
        (npt.NDArray[np.float32], {"type": "array", "x-landbridge": "ndarray", "x-dtype": "float32"}),
        (np.ndarray, {"type": "array", "x-landbridge": "ndarray"}),
        (xr.Dataset, {"x-landbridge": "xarray.Dataset"}),
        (xr.DataTree, {"x-landbridge": "xarray.DataTree"}),
        (pd.DataFrame, {"x-landbridge": "pandas.DataFrame"}),
        (pd.Series | None, {"anyOf": [{"x-landbridge": "pandas.Series"}, {"type": "null"}]}),
        (pd.Index, {"x-landbridge": "pandas.Index"}),
        (pd.Timestamp, {"x-landbridge": "pandas.Timestamp"}),
        (gpd.GeoDataFrame, {"x-landbridge": "geopandas.GeoDataFrame"}),
        (pa.Table, {"x-landbridge": "pyarrow.Table"}),
        (pl.DataFrame, {"x-landbridge": "polars.DataFrame"}),
        (shapely.Polygon, {"x-landbridge": "shapely.Polygon"}),
        (shapely.geometry.base.BaseGeometry, {"x-landbridge": "shapely.BaseGeometry"}),
        (dict[int, Any], {"type": "object", "x-landbridge": "dict", "x-keys": {"type": "integer"}}),
        (tuple[int, ...], {"type": "array", "x-landbridge": "tuple", "items": {"type": "integer"}}),
        (Any, {}),
        (npt.ArrayLike, {"x-landbridge": "array-like"}),
        (npt.ArrayLike | None, {"anyOf": [{"x-landbridge": "array-like"}, {"type": "null"}]}),
    ],
)  # fmt: skip
def test_hints_have_a_schema(hint, schema):
    def f(x): ...

    f.__annotations__["x"] = hint
    assert parameters(f)["x"].schema == schema


@pytest.mark.parametrize("hint", [Iterator[int], Generator[int, None, None], AsyncIterator[int]])
def test_iterator_hints_mean_streams(hint):
    def f(): ...

    f.__annotations__["return"] = hint
    spec = read(f)[1].spec
    assert spec.streams
    assert spec.items == {"type": "integer"}
    assert spec.returns is None


def test_generators_without_hint_stream_too():
    def f():
        yield 1

    async def g():
        yield 1

    assert read(f)[1].spec.streams
    assert read(g)[1].spec.streams


def test_async_functions_describe_what_they_return():
    async def f() -> float: ...

    assert read(f)[1].spec.returns == {"type": "number"}


def test_decorated_partial_bound_and_callable_objects_show_the_function_below():
    def twice(function):
        @functools.wraps(function)
        def inner(*args, **kwargs):
            return function(*args, **kwargs)

        return inner

    class Model:
        def run(self, steps: int): ...
        def __call__(self, steps: int): ...

    def f(steps: int, scale: float = 1.0): ...

    expected = ParameterSpec("steps", schema={"type": "integer"})
    for function in (twice(f), functools.partial(f, scale=2.0), Model().run, Model()):
        assert parameters(function)["steps"] == expected
    assert parameters(functools.partial(f, scale=2.0))["scale"].default == 2.0


def test_a_default_of_none_widens_its_hint():
    def f(year: int = None): ...  # noqa: RUF013

    assert parameters(f)["year"].schema == {"anyOf": [{"type": "integer"}, {"type": "null"}]}


def test_defaults_without_a_json_form_are_shown_as_python_writes_them():
    def f(a=(1, 2), b=np.mean, c=float("inf"), d=object()): ...  # noqa: B008

    found = parameters(f)
    assert (found["a"].default, found["a"].default_text) == ([1, 2], "(1, 2)")
    assert [found[name].default_text for name in "bcd"] == ["mean", "inf", "<object>"]


@pytest.mark.parametrize(
    "doc",
    [
        "",
        "   ",
        "Args:\n  x",
        "Parameters\n----------\n",
        ":param",
        "\x1b[31mred",
        ":raises:\n",
        "@param x:\n@@",
        "x" * 100_000,
    ],
)
def test_no_docstring_is_a_reason_not_to_serve(doc):
    def f(x): ...

    f.__doc__ = doc
    spec = read(f)[1].spec
    assert len(spec.doc) <= 64 * 1024
    assert "\x1b" not in spec.doc


def test_google_style_is_read():
    def f(x):
        """Do.

        Args:
            x: The thing.
        """

    assert parameters(f)["x"].doc == "The thing."


def test_a_hint_that_is_imported_for_checkers_only_is_named():
    def f(x: OnlyForTypes): ...

    with pytest.raises(NothingToServe, match=r"'OnlyForTypes' of the parameter 'x'.*TYPE_CHECKING"):
        read(f)


def test_two_classes_of_one_name_are_refused():
    def make():
        class Basin(enum.Enum):
            A = 1

        return Basin

    def f(a, b): ...

    f.__annotations__.update(a=Basin, b=make())
    with pytest.raises(NothingToServe, match=r"same name 'Basin'.*Rename"):
        read(f)


@pytest.mark.parametrize(("thing", "text"), [(max, "no signature"), (dict, "is a class"), (3, "not callable")])
def test_what_is_no_function_with_a_signature_is_refused(thing, text):
    with pytest.raises(NothingToServe, match=text):
        read(thing)


def test_private_names_are_refused():
    with pytest.raises(InvalidName):
        read(climatology, "_hidden")


def test_a_module_too_large_for_callers_is_refused_at_home():
    def f(): ...

    f.__doc__ = "x" * 60_000
    with pytest.raises(NothingToServe, match="Shorten its docstrings"):
        read_module("geomar/ocean", None, {f"f{n}": f for n in range(30)})


def test_reading_gives_the_spec_that_callers_will_have():
    spec, methods = read_module("geomar/ocean", "Doc.", {"climatology": climatology}, version="1", pure={"climatology"})
    assert ModuleSpec.from_json(spec.to_json()) == spec
    assert spec.methods["climatology"] == methods["climatology"].spec
    assert spec.methods["climatology"].pure


def test_methods_that_may_be_run_again_are_told():
    def f(): ...

    spec, methods = read_module("a/b", None, {"f": f, "g": f, "h": f}, pure=["f"], idempotent=["g"])
    assert [method.idempotent for method in spec.methods.values()] == [True, True, False]
    assert methods["g"].spec.idempotent


def test_arguments_schema_holds_all_parameters():
    schema = arguments_schema(read(climatology)[1].spec)
    assert schema["required"] == ["first"]
    assert schema["additionalProperties"] == {"type": "string"}
    assert schema["properties"]["years"] == {"type": "array", "items": {"type": "integer"}}
