"""Classes become specs with their methods: what is exposed, how it is called, and what is refused."""

from __future__ import annotations

import abc
import asyncio
import dataclasses
import enum
import functools
import inspect
import logging
from collections.abc import AsyncIterator, Iterator
from typing import Annotated, Generic, NamedTuple, TypedDict, TypeVar

import pydantic
import pytest

from landbridge.contract import (
    ClassSpec,
    MethodSpec,
    ModuleSpec,
    bind,
    class_members,
    docstring,
    read_module,
    rebuild_types,
    signature,
)
from landbridge.errors import InvalidArguments, InvalidName, Malformed, NothingToServe

T = TypeVar("T")


class Basin(enum.Enum):
    NORTH = "n"


@dataclasses.dataclass
class Box:
    west: float
    basin: Basin = Basin.NORTH


class Opened:
    """What all sources can do."""

    def close(self) -> None:
        """Let go."""

    def mean(self) -> float:
        return 0.0


def logged(function):
    @functools.wraps(function)
    def wrapper(*args, **kwargs):
        return function(*args, **kwargs)

    return wrapper


class Grid(Opened):
    """A grid over the sea.

    Longer text.

    Parameters
    ----------
    path : str
        Where it lies.

    Notes
    -----
    Slow.
    """

    units = "K"

    class Inner:
        pass

    def __init__(self, path: str, step: Annotated[float, "m"] = 1.0, *, box: Box | None = None) -> None:
        """Open it.

        Parameters
        ----------
        step : float
            Between two points.
        """
        self.path, self.step, self.box = path, step, box

    def mean(self, first: int, /, *years: int, last: int = 2010) -> list[Box]:
        """Mean over years.

        Raises
        ------
        ValueError
            Without data.
        """
        return [Box(first + sum(years) + last + self.step)]

    def rows(self, count: int) -> Iterator[int]:
        yield from range(count)

    async def fetch(self, name: str) -> str:
        return name + self.path

    async def arriving(self) -> AsyncIterator[float]:
        yield self.step

    @logged
    def wrapped(self, x: int) -> int:
        return x

    @staticmethod
    def parse(text: str) -> int:
        return int(text)

    @classmethod
    def kinds(cls, prefix: str = "") -> str:
        return prefix + cls.__name__

    @property
    def shape(self) -> tuple[int, int]:
        return (1, 2)

    @functools.cached_property
    def size(self) -> int:
        return 2

    def _hidden(self): ...

    def __len__(self) -> int:
        return 3

    def σ(self): ...

    def __repr__(self) -> str:
        return "<grid>"

    shout = str.upper


class Made:
    def __new__(cls, size: int) -> Made:
        return super().__new__(cls)


class Sea(Opened):
    """A sea."""

    def __init__(self, path: str, step: float = 1.0):
        self.path = path

    def at(self, *points: float, **more: int) -> Sea:
        """Look."""


def read(cls, name=None, **options):
    name = name or cls.__name__
    spec, methods = read_module("geomar/ocean", None, {}, classes={name: cls}, **options)
    assert ModuleSpec.from_json(spec.to_json()) == spec
    return spec.classes[name], methods


def test_the_public_functions_of_a_class_and_its_bases_at_home_are_exposed():
    found = class_members(Grid)
    assert list(found.methods) == ["mean", "rows", "fetch", "arriving", "wrapped", "parse", "kinds", "close"]
    assert [name for name, method in found.methods.items() if method.static] == ["parse", "kinds"]


def test_what_is_left_out_is_said():
    assert class_members(Grid, "Sea").notices == (
        "Sea.units is not exposed: it is a value. Expose a method that returns it",
        "Sea.Inner is not exposed: it is a class. Expose it in the module itself",
        "Sea.shape is not exposed: it is a property. Expose a method that returns it",
        "Sea.size is not exposed: it is a property. Expose a method that returns it",
        "Sea.σ is not exposed: it must be an ASCII Python identifier that does not begin with _",
        "Sea.shout is not exposed: it is a method_descriptor, no function of this file. Define a method that calls it",
    )


def test_other_odd_members_are_said_too():
    class Odd:
        __slots__ = ("path",)
        first = functools.partialmethod(print, 1)
        clean = staticmethod(inspect.cleandoc)

    found = class_members(Odd)
    assert found.methods == {}
    assert set(found.notices) == {
        "Odd.path is not exposed: it is a value. Expose a method that returns it",
        "Odd.first is not exposed: it is a partialmethod, no function of this file. Define a method that calls it",
        "Odd.clean is not exposed: it comes from inspect. Define a method that calls it",
    }


def test_methods_of_foreign_bases_are_not_exposed_even_in_front():
    class Handler(logging.Handler, Opened, Generic[T]):
        def emit(self, text: str) -> None: ...

    found = class_members(Handler)
    assert set(found.methods) == {"emit", "mean"}  # close is that of logging, which comes before
    assert found.notices == (
        "Handler does not expose what it inherits from logging.Handler. To expose a method of it, define one in "
        "Handler that calls it",
        "Handler does not expose what it inherits from logging.Filterer. To expose a method of it, define one in "
        "Handler that calls it",
    )


def test_a_class_is_described_with_its_constructor_and_methods():
    spec, _ = read(Grid)
    assert (spec.name, spec.summary) == ("Grid", "A grid over the sea.")
    assert spec.doc.endswith("Notes\n-----\nSlow.")
    assert spec.init.name == "Grid"
    assert spec.init.returns is None
    assert [(p.name, p.doc, p.unit) for p in spec.init.parameters] == [
        ("path", "Where it lies.", None),
        ("step", "Between two points.", "m"),
        ("box", "", None),
    ]
    assert [p.name for p in spec.methods["mean"].parameters] == ["first", "years", "last"]
    assert spec.methods["mean"].raises == (("ValueError", "Without data."),)
    assert spec.methods["close"].summary == "Let go."
    assert [name for name, method in spec.methods.items() if method.streams] == ["rows", "arriving"]
    assert spec.methods["fetch"].returns == {"type": "string"}
    assert [name for name, method in spec.methods.items() if method.static] == ["parse", "kinds"]
    assert spec.methods["kinds"].parameters[0].name == "prefix"


def call(method, obj, *args, **kwargs):
    args, kwargs = method.check(bind(method.spec, args, kwargs))
    return method.lower(method.function(*(() if method.spec.static else (obj,)), *args, **kwargs))


def test_what_is_read_runs():
    _, methods = read(Grid)
    args, kwargs = methods["Grid"].check({"path": "sst.nc", "box": {"west": 3.0, "basin": "n"}})
    grid = methods["Grid"].function(*args, **kwargs)
    assert (type(grid), grid.path, grid.box) == (Grid, "sst.nc", Box(3.0))
    assert call(methods["Grid.mean"], grid, 1, 2, 3, last=4) == [{"west": 11.0, "basin": "n"}]
    assert list(methods["Grid.rows"].function(grid, 2)) == [0, 1]
    assert asyncio.run(methods["Grid.fetch"].function(grid, "a")) == "asst.nc"
    assert inspect.iscoroutinefunction(methods["Grid.fetch"].function)
    assert inspect.isasyncgenfunction(methods["Grid.arriving"].function)
    assert call(methods["Grid.wrapped"], grid, x=3) == 3
    assert call(methods["Grid.parse"], None, "3") == 3
    assert call(methods["Grid.kinds"], None, prefix="a ") == "a Grid"
    with pytest.raises(InvalidArguments, match=r"geomar/ocean.Grid.mean was not run.*\n.*first: must be a whole"):
        call(methods["Grid.mean"], grid, "x")


def test_binding_says_what_a_constructor_misses():
    spec, _ = read(Grid)
    with pytest.raises(TypeError, match=r"Grid\(\) missing 1 required positional argument: 'path'"):
        bind(spec.init, (), {})


def test_flags_are_given_by_full_name():
    spec, methods = read(Grid, pure=["Grid.mean", "close"], idempotent=["Grid", "Grid.rows"])
    assert (spec.methods["mean"].pure, spec.methods["close"].pure) == (True, False)
    assert spec.init.idempotent
    assert methods["Grid.rows"].spec.idempotent
    assert not methods["Grid.fetch"].spec.idempotent


def test_types_of_methods_come_along_and_go_with_their_class():
    def mean(basin: Basin) -> float: ...

    class Empty:
        pass

    spec, _ = read_module("geomar/ocean", None, {"mean": mean}, classes={"Grid": Grid, "Empty": Empty})
    assert list(spec.types) == ["Basin", "Box"]
    assert rebuild_types(spec)["Box"](2.0).basin.value == "n"
    assert spec.only(["mean", "Grid", "Empty"]) == spec
    few = spec.only(["Empty", "mean"])
    assert (list(few.methods), list(few.classes), list(few.types)) == (["mean"], ["Empty"], ["Basin"])
    assert list(spec.only(["Grid"]).types) == ["Basin", "Box"]
    with pytest.raises(KeyError):
        spec.only(["Grid.mean"])


def test_all_that_can_be_called_has_a_name():
    class Empty:
        pass

    spec, methods = read_module("geomar/ocean", None, {"f": lambda: 1}, classes={"Grid": Opened, "Empty": Empty})
    assert list(spec.callables()) == ["f", "Grid", "Grid.close", "Grid.mean", "Empty"]
    assert {name: method.spec for name, method in methods.items()} == spec.callables()
    assert methods["Empty"].check({}) == ((), {})


def test_new_says_what_a_class_without_init_takes():
    spec, methods = read(Made)
    assert str(signature(spec, {})) == "(size: int)"
    assert isinstance(methods["Made"].function(3), Made)


def test_a_class_may_have_another_name_in_its_module():
    spec, methods = read(Grid, "Sea")
    assert (spec.name, spec.init.name) == ("Sea", "Sea")
    assert "Sea.mean" in methods


def test_signature_and_docstring_of_a_class():
    spec, _ = read(Sea)
    assert str(signature(spec, {})) == "(path: str, step: float = 1.0)"
    assert str(signature(spec.methods["at"], {})) == "(*points: float, **more: int) -> 'Sea'"
    assert docstring(spec) == (
        "A sea.\n\nParameters\n----------\npath : str\nstep : float, default 1.0\n\n"
        "Methods\n-------\nat(*points, **more)\n    Look.\nclose()\n    Let go.\nmean()"
    )
    assert docstring(spec.init).startswith("Parameters\n")


def test_sections_of_a_class_stay_behind_its_methods():
    text = docstring(read(Grid)[0])
    assert text.index("Parameters") < text.index("Methods") < text.index("Notes")
    assert text.startswith("A grid over the sea.\n\nLonger text.\n\nParameters")


class Model(pydantic.BaseModel):
    x: int


class Point(NamedTuple):
    x: int


class Row(TypedDict):
    x: int


class Shape(abc.ABC):
    @abc.abstractmethod
    def area(self) -> float: ...


@pytest.mark.parametrize(
    ("cls", "text"),
    [
        (Basin, "geomar/ocean.Basin is an enumeration: its objects travel as values"),
        (Box, "is a dataclass"),
        (Model, "is a model"),
        (Point, "is a typed dict or named tuple"),
        (Row, "is a typed dict or named tuple"),
        (Shape, "is abstract: nobody can make one without area"),
        (type("Table", (dict,), {}), "no signature that Python can read"),
    ],
)
def test_what_is_no_class_of_objects_is_refused(cls, text):
    with pytest.raises(NothingToServe, match=text):
        read(cls)


def test_a_private_name_is_refused():
    with pytest.raises(InvalidName):
        read(Grid, "_Grid")


def test_a_class_and_a_type_of_one_name_are_refused():
    other = enum.Enum("Grid", {"A": 1})

    def f(x): ...

    f.__annotations__["x"] = other
    with pytest.raises(NothingToServe, match="same name 'Grid'"):
        read_module("geomar/ocean", None, {"f": f}, classes={"Grid": Grid})


def test_a_method_without_self_is_refused():
    class Odd:
        def broken(): ...

    with pytest.raises(NothingToServe, match=r"geomar/ocean.Odd.broken has no signature"):
        read(Odd)


def module(*classes, **changes):
    return {"name": "geomar/ocean", "classes": list(classes)} | changes


def one(**changes):
    return {"name": "Grid", "init": {"name": "Grid"}, "methods": []} | changes


MALFORMED = {
    "classes no list": {"name": "geomar/ocean", "classes": {}},
    "class no object": module(3),
    "no name": module({"init": {"name": "Grid"}}),
    "no constructor": module({"name": "Grid"}),
    "constructor of another": module(one(init={"name": "Other"})),
    "constructor of no object": module(one(init=[])),
    "private class": module(one(name="_Grid", init={"name": "_Grid"})),
    "private method": module(one(methods=[{"name": "__init__"}])),
    "methods no list": module(one(methods={})),
    "methods of one name": module(one(methods=[{"name": "a"}, {"name": "a"}])),
    "classes of one name": module(one(), one()),
    "class and method of one name": module(one(), methods=[{"name": "Grid"}]),
    "class and type of one name": module(one(), types={"Grid": {}}),
    "constructor that streams": module(one(init={"name": "Grid", "streams": True})),
    "constructor that is static": module(one(init={"name": "Grid", "static": True})),
    "static no flag": module(one(methods=[{"name": "a", "static": 1}])),
    "doc no text": module(one(doc=1)),
    "many classes": module(*[one(name=f"A{n}", init={"name": f"A{n}"}) for n in range(2001)]),
    "many methods": module(one(methods=[{"name": f"a{n}"} for n in range(2001)])),
    "many methods in all": module(
        *[one(name=c, init={"name": c}, methods=[{"name": f"a{n}"} for n in range(700)]) for c in "ABC"]
    ),
    "large": module(one(doc="x" * 2_000_000)),
}


@pytest.mark.parametrize("obj", MALFORMED.values(), ids=MALFORMED.keys())
def test_what_is_no_class_is_refused(obj):
    with pytest.raises(Malformed):
        ModuleSpec.from_json(obj)


def test_texts_lose_their_control_characters():
    spec = ModuleSpec.from_json(module(one(doc="\x1b[2J", summary="\x07", methods=[{"name": "a", "doc": "\x9b"}])))
    assert "\x1b" not in repr(spec)
    assert spec.classes["Grid"].methods["a"].doc == "\ufffd"


def test_a_module_without_classes_says_nothing_of_them():
    assert "classes" not in ModuleSpec("geomar/ocean").to_json()
    assert ModuleSpec.from_json({"name": "geomar/ocean"}).classes == {}
    grid = ClassSpec("Grid", "", "", MethodSpec("Grid"))
    assert ModuleSpec.from_json(module(one())) == ModuleSpec("geomar/ocean", classes={"Grid": grid})
