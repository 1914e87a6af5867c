"""Types and results at the caller, from a spec alone."""

import dataclasses
import enum
import inspect
import pickle
import sys
import typing
from typing import Annotated, NamedTuple, TypedDict

import pydantic
import pytest

from landbridge.contract import (
    MethodSpec,
    ModuleSpec,
    docstring,
    lower_arguments,
    read_module,
    rebuild_types,
    revive,
    signature,
)
from landbridge.errors import Malformed


class Basin(enum.Enum):
    """An ocean."""

    NORTH = "n"
    SOUTH = "s"
    UP = "n"


class Colour(enum.StrEnum):
    RED = "red"


class Level(enum.IntEnum):
    LOW = 1


class Box(enum.Enum):
    NINO = (-5, 5)


class Use(enum.Flag):
    READ = 1
    WRITE = 2
    BOTH = 3


@dataclasses.dataclass(frozen=True)
class Region:
    """A box."""

    west: float
    east: float = 3.0
    basin: Basin = Basin.SOUTH
    inner: "Region | None" = None
    tags: list[str] = dataclasses.field(default_factory=list)
    secret: object = dataclasses.field(default_factory=object)
    width: float = dataclasses.field(init=False, default=0.0)


class Options(pydantic.BaseModel):
    count: int
    level: Level = Level.LOW


class Point(NamedTuple):
    x: float
    basin: Basin = Basin.NORTH


class Row(TypedDict):
    point: Point
    more: typing.NotRequired[int]


def everything(
    region: Region, options: Options, row: Row, c: Colour = Colour.RED, use: Use = Use.READ, box: Box = Box.NINO
) -> dict[str, list[Region] | Basin | Use | None]: ...


@pytest.fixture(scope="module")
def spec():
    return read_module("geomar/ocean", None, {"everything": everything})[0]


@pytest.fixture(scope="module")
def types(spec):
    return rebuild_types(spec)


def test_enums_have_the_names_and_values_of_home(types):
    assert {name: member.value for name, member in types["Basin"].__members__.items()} == {
        "NORTH": "n",
        "SOUTH": "s",
        "UP": "n",
    }
    assert types["Basin"].__doc__ == "An ocean."
    assert types["Colour"].RED == "red"
    assert types["Level"].LOW + 1 == 2
    assert types["Use"].BOTH == types["Use"].READ | types["Use"].WRITE
    assert lower_arguments(types["Box"].NINO) == "NINO"


def test_dataclasses_have_fields_defaults_and_docstring(types):
    region = types["Region"](1.0)
    assert (region.east, region.inner, region.tags) == (3.0, None, [])
    assert region.basin is types["Basin"].SOUTH
    assert types["Region"](1.0).tags is not region.tags
    assert types["Region"].__doc__ == "A box."
    with pytest.raises(dataclasses.FrozenInstanceError):
        region.west = 2.0


def test_defaults_that_only_the_owner_can_make_are_not_sent(types):
    assert lower_arguments(types["Region"](1.0)) == {"west": 1.0, "east": 3.0, "basin": "s", "inner": None, "tags": []}


def test_models_become_dataclasses_given_by_name(types):
    assert types["Options"](count=1).level is types["Level"].LOW
    with pytest.raises(TypeError):
        types["Options"](1)


def test_types_know_where_they_come_from(types):
    assert types["Region"].__module__ == "landbridge.remote.geomar.ocean"
    assert repr(types["Region"]).endswith("geomar.ocean.Region'>")


def test_values_of_rebuilt_types_pass_at_home(spec, types):
    _, methods = read_module("geomar/ocean", None, {"everything": everything})
    given = {
        "region": types["Region"](1.0, inner=types["Region"](2.0)),
        "options": types["Options"](count=2),
        "row": {"point": types["Point"](1.0)},
        "use": types["Use"].BOTH,
        "box": types["Box"].NINO,
    }
    _, checked = methods["everything"].check(lower_arguments(given))
    assert checked["region"].inner.west == 2.0
    assert checked["options"] == Options(count=2)
    assert checked["row"] == {"point": Point(1.0)}
    assert checked["use"] is Use.BOTH
    assert checked["box"] is Box.NINO


def test_results_are_made_objects_again(spec, types):
    schema = spec.methods["everything"].returns
    region = {"west": 1.0, "east": 2.0, "basin": "n", "inner": None, "tags": [], "secret": None, "width": 1.0}
    made = revive({"a": [region], "b": "s", "c": 3, "d": None}, schema, types)
    assert made["a"][0].basin is types["Basin"].NORTH
    assert made["a"][0].width == 1.0
    assert made["b"] is types["Basin"].SOUTH
    assert made["c"] is types["Use"].BOTH
    assert made["d"] is None


def test_values_that_do_not_fit_stay_as_they_are(types):
    for value, name in (
        ({"west": 1.0, "new": 2}, "Region"),
        ({}, "Region"),
        ("x", "Basin"),
        (True, "Level"),
        ([1], "Basin"),
        ([1], "Point"),
    ):
        assert revive(value, {"$ref": f"#/$defs/{name}"}, types) is value
    assert revive(1, {"$ref": "#/$defs/Nobody"}, types) == 1


def test_results_without_types_are_not_looked_at(types):
    value = [[1.0]]
    assert revive(value, {"type": "array", "items": {"type": "array"}}, types) is value
    assert revive(value, None, types) is value


def build(**schemas):
    return rebuild_types(ModuleSpec.from_json({"name": "a/b", "types": schemas}))


def enum_of(names, values=None, **more):
    return {"x-landbridge": "enum", "enum": values or list(range(len(names))), "x-enum-names": names, **more}


HOSTILE = {
    "dunder member": enum_of(["__init__"]),
    "sunder member": enum_of(["_ignore_"]),
    "mro": enum_of(["mro"]),
    "no identifier": enum_of(["a b"]),
    "no members": enum_of([]),
    "doubled member": enum_of(["A", "A"]),
    "lengths differ": enum_of(["A", "B"], [1]),
    "member is a list": enum_of(["A"], [[1]]),
    "mixin of another type": enum_of(["A"], [1], **{"x-enum-mixin": "str"}),
    "dunder alias": enum_of(["A"], **{"x-enum-aliases": {"__new__": "A"}}),
    "negative flag": {"x-landbridge": "flag", "examples": [-1], "x-enum-names": ["A"]},
    "huge flag": {"x-landbridge": "flag", "examples": [2**900], "x-enum-names": ["A"]},
    "dunder field": {"x-landbridge": "dataclass", "properties": {"__class__": {}}},
    "code as field": {"x-landbridge": "dataclass", "properties": {"a: int = print(1)\nb": {}}},
    "many fields": {"x-landbridge": "dataclass", "properties": {f"a{n}": {} for n in range(501)}},
    "private place": {"x-landbridge": "namedtuple", "x-field-names": ["_make"], "prefixItems": [{}]},
    "places differ": {"x-landbridge": "namedtuple", "x-field-names": ["a"], "prefixItems": []},
    "unknown kind": {"x-landbridge": "exec"},
}


@pytest.mark.parametrize("schema", HOSTILE.values(), ids=HOSTILE.keys())
def test_types_that_reach_into_python_are_left_out(schema):
    assert build(T=schema) == {}


def test_a_type_that_is_only_itself_does_not_loop():
    types = build(
        T={"anyOf": [{"$ref": "#/$defs/T"}]},
        U={"x-landbridge": "dataclass", "properties": {"u": {"$ref": "#/$defs/U"}}},
    )
    assert revive({"u": 3}, {"$ref": "#/$defs/U"}, types).u == 3
    assert revive({"a": 1}, {"$ref": "#/$defs/T"}, types) == {"a": 1}


def test_required_fields_behind_optional_ones_are_given_by_name():
    properties = {"a": {"default": 1}, "b": {}}
    cls = build(T={"x-landbridge": "dataclass", "properties": properties, "required": ["b"]})["T"]
    assert cls(b=2).a == 1


def test_rebuilt_values_can_be_pickled_where_their_module_is(types, monkeypatch):
    module = type(sys)("landbridge.remote.geomar.ocean")
    module.__dict__.update(types)
    monkeypatch.setitem(sys.modules, module.__name__, module)
    region = types["Region"](1.0)
    assert pickle.loads(pickle.dumps(region)).basin is region.basin


# --- signature and docstring ---------------------------------------------------------------------------------------


def profile(
    lon: Annotated[float, "degrees_east", pydantic.Field(ge=-180, le=180)],
    lat: float = 0,
    /,
    basin: Basin = Basin.NORTH,
    *levels: int,
    box: tuple[int, int] = (1, 2),
    **attributes: str,
) -> Region:
    """Profile at a place.

    Parameters
    ----------
    lon : float
        Longitude.

    Returns
    -------
    Region
        The box.

    Examples
    --------
    >>> profile(1.0)
    """


def test_signature_is_that_of_home():
    spec = read_module("geomar/ocean", None, {"profile": profile})[0]
    types = rebuild_types(spec)
    made = signature(spec.methods["profile"], types)
    home = inspect.signature(profile)
    assert [(p.name, p.kind) for p in made.parameters.values()] == [(p.name, p.kind) for p in home.parameters.values()]
    assert made.parameters["basin"].default is types["Basin"].NORTH
    assert made.parameters["basin"].annotation is types["Basin"]
    assert made.parameters["lon"].annotation is float
    assert repr(made.parameters["box"].default) == "(1, 2)"
    assert made.return_annotation is types["Region"]


def test_signature_of_what_the_caller_need_not_have_is_text():
    spec = ModuleSpec.from_json(
        {"name": "a/b", "methods": [{"name": "f", "returns": {"x-landbridge": "xarray.DataArray"}},
                                    {"name": "g", "streams": True, "items": {"$ref": "#/$defs/Gone"}}]}
    )  # fmt: skip
    assert str(signature(spec.methods["f"], {})) == "() -> 'xr.DataArray'"
    assert str(signature(spec.methods["g"], {})) == "() -> 'Iterator[Gone]'"


def test_docstring_has_units_bounds_and_sections_in_order():
    method = read_module("geomar/ocean", None, {"profile": profile})[0].methods["profile"]
    text = docstring(method)
    assert "lon : float, at least -180, at most 180, in degrees_east\n    Longitude." in text
    assert "*levels : int" in text
    order = [
        text.index(part) for part in ("Profile at", "Parameters", "Returns", "    The box.", "Examples", ">>> profile")
    ]
    assert order == sorted(order)


def hostile_spec(types, **parameter):
    method = {"name": "f", "parameters": [{"name": "x", "required": False, "default": {}, **parameter}]}
    return ModuleSpec.from_json({"name": "gfz/hostile", "methods": [method], "types": types})


def by_default(field, other, **more):
    properties = {field: {"$ref": f"#/$defs/{other}", "default": {}}}
    return {"x-landbridge": "dataclass", "type": "object", "properties": properties, **more}


def test_defaults_that_lead_back_to_themselves_end():
    spec = hostile_spec({"A": by_default("b", "B"), "B": by_default("a", "A")}, schema={"$ref": "#/$defs/A"})
    types = rebuild_types(spec)
    default = signature(spec.methods["f"], types).parameters["x"].default
    depth = 0
    while dataclasses.is_dataclass(default):
        default = default.b if type(default) is types["A"] else default.a
        depth += 1
    assert 10 < depth < 40
    assert repr(default) == "<owner's default>"
    assert "owner's default" in repr(types["A"]())
    assert type(revive({}, {"$ref": "#/$defs/A"}, types)) is types["A"]


def test_defaults_of_many_fields_each_are_bounded_together():
    fields = {f"f{number}": {"$ref": "#/$defs/A", "default": {}} for number in range(20)}
    spec = hostile_spec({"A": {"x-landbridge": "dataclass", "type": "object", "properties": fields}})
    types = rebuild_types(spec)
    assert type(types["A"]()) is types["A"]
    assert type(revive([{}] * 3, {"items": {"$ref": "#/$defs/A"}}, types)[2]) is types["A"]


@pytest.mark.parametrize("where", ["default", "schema", "enum"])
def test_integer_that_python_will_not_write_is_malformed(where):
    parameter = {"default": 10**5000} if where == "default" else {"schema": {"default": 10**5000}}
    types = {"E": {"x-landbridge": "enum", "enum": [10**5000], "x-enum-names": ["A"]}} if where == "enum" else {}
    with pytest.raises(Malformed, match="bits"):
        hostile_spec(types, **(parameter if where != "enum" else {}))


def test_enum_of_huge_numbers_travels_by_name():
    class Huge(enum.Enum):
        BIG = 10**5000
        SMALL = 1

    def f(x: Huge = Huge.BIG): ...

    spec, methods = read_module("a/b", None, {"f": f})
    assert spec.types["Huge"]["enum"] == ["BIG", "SMALL"]
    assert methods["f"].check({"x": lower_arguments(Huge.BIG)}) == ((), {"x": Huge.BIG})


def test_named_tuple_without_places_is_empty():
    spec = hostile_spec({"T": {"x-landbridge": "namedtuple"}}, schema={"$ref": "#/$defs/T"}, default=[])
    types = rebuild_types(spec)
    assert revive([], {"$ref": "#/$defs/T"}, types) == ()
    assert revive([1], {"$ref": "#/$defs/T"}, types) == [1]
    assert signature(spec.methods["f"], types).parameters["x"].default == ()


def test_value_of_a_type_that_contradicts_itself_stays_plain():
    hostile = {"x-landbridge": "dataclass", "properties": {"a": {}}, "required": ["a", "gone"]}
    types = rebuild_types(hostile_spec({"A": hostile}))
    assert revive({"a": 1}, {"$ref": "#/$defs/A"}, types) == {"a": 1}


def test_fields_that_no_class_can_have_are_malformed():
    spec = ModuleSpec("a/b", types={"A": {"x-landbridge": "dataclass", "properties": 5}})
    with pytest.raises(Malformed, match="a type of a/b"):
        rebuild_types(spec)
    broken = ModuleSpec("a/b", methods={"f": MethodSpec("f", returns={"anyOf": 5}, parameters=(), raises=((1, 2),))})
    with pytest.raises(Malformed, match="signature of f"):
        signature(broken.methods["f"], {})
    with pytest.raises(Malformed, match="docstring of f"):
        docstring(broken.methods["f"])
    with pytest.raises(Malformed, match="objects of a result"):
        revive([1], {"anyOf": 5}, {"A": int})
