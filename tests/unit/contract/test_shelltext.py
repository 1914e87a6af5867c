"""Command line texts become values, or all that is wrong with them at once."""

import dataclasses
import datetime as dt
import enum
from typing import Any, Literal

import numpy as np
import pytest
import xarray as xr

from landbridge.contract import parse_text, read_module
from landbridge.errors import InvalidArguments


class Basin(enum.Enum):
    NORTH = "n"
    SOUTH = "s"


class Level(enum.IntEnum):
    LOW = 1


class Use(enum.Flag):
    READ = 1
    WRITE = 2


@dataclasses.dataclass
class Region:
    west: float
    basin: Basin = Basin.NORTH
    inner: "Region | None" = None


def mean(
    first: int = 0,
    scale: float = 1.0,
    name: str = "",
    fill: bool = False,
    basin: Basin = Basin.NORTH,
    region: Region | None = None,
    years: list[int] = [],  # noqa: B006
    span: tuple[int, str] = (0, ""),
    either: int | float | str | None = None,
    when: dt.datetime | None = None,
    mode: Literal["fast", 3] = "fast",
    level: Level = Level.LOW,
    use: Use = Use.READ,
    z: complex = 0j,
    array: np.ndarray | None = None,
    free: Any = None,
    table: dict[str, int] = {},  # noqa: B006
    data: xr.DataArray | None = None,
    long_name: str = "",
): ...


SPEC, METHODS = read_module("geomar/ocean", None, {"mean": mean})


def parse(**texts):
    return parse_text(SPEC.methods["mean"], SPEC.types, {key.replace("__", "."): text for key, text in texts.items()})


GOOD = [
    ({"first": "2006"}, {"first": 2006}),
    ({"first": "-3"}, {"first": -3}),
    ({"scale": "1e3"}, {"scale": 1000.0}),
    ({"name": "2006"}, {"name": "2006"}),
    ({"name": ""}, {"name": ""}),
    ({"fill": ""}, {"fill": True}),
    ({"fill": "No"}, {"fill": False}),
    ({"no_fill": ""}, {"fill": False}),
    ({"basin": "SOUTH"}, {"basin": "s"}),
    ({"basin": "south"}, {"basin": "s"}),
    ({"basin": "s"}, {"basin": "s"}),
    ({"region__west": "-20", "region__basin": "SOUTH"}, {"region": {"west": -20.0, "basin": "s"}}),
    ({"region__inner__west": "1", "region__west": "2"}, {"region": {"inner": {"west": 1.0}, "west": 2.0}}),
    ({"region": '{"west": 1}'}, {"region": {"west": 1}}),
    ({"region": "none"}, {"region": None}),
    ({"years": ["1", "2"]}, {"years": [1, 2]}),
    ({"years": "[1, 2]"}, {"years": [1, 2]}),
    ({"years": "1"}, {"years": [1]}),
    ({"span": ["1", "x"]}, {"span": [1, "x"]}),
    ({"either": "3"}, {"either": 3}),
    ({"either": "3.5"}, {"either": 3.5}),
    ({"either": "abc"}, {"either": "abc"}),
    ({"either": "null"}, {"either": None}),
    ({"when": "2020-01-01"}, {"when": "2020-01-01"}),
    ({"mode": "3"}, {"mode": 3}),
    ({"level": "LOW"}, {"level": 1}),
    ({"use": "READ|WRITE"}, {"use": "READ|WRITE"}),
    ({"use": "3"}, {"use": 3}),
    ({"z": "1+2j"}, {"z": 1 + 2j}),
    ({"array": ["1", "2.5"]}, {"array": [1.0, 2.5]}),
    ({"free": "[1, 2]"}, {"free": [1, 2]}),
    ({"free": "hello"}, {"free": "hello"}),
    ({"table__a": "1"}, {"table": {"a": 1}}),
    ({"long-name": "x"}, {"long_name": "x"}),
]


@pytest.mark.parametrize(("texts", "values"), GOOD)
def test_texts_are_read_by_schema_and_pass_the_check(texts, values):
    given = parse(**texts)
    assert given == values
    if "region" not in values or values["region"] is None or "west" in values["region"]:
        METHODS["mean"].check(given)


BAD = [
    ({"first": "x"}, "first: must be a whole number; got 'x'"),
    ({"first": "1.5"}, "first: must be a whole number; got '1.5'"),
    ({"first": ["1", "2"]}, "first: is given 2 times, but is no list"),
    ({"frist": "1"}, "frist: is no parameter; did you mean --first?"),
    ({"fill": "maybe"}, "fill: must be true or false; got 'maybe'"),
    ({"no_first": ""}, "no_first: is no parameter; did you mean --first?"),
    ({"basin": "SUOTH"}, "basin: has no member 'SUOTH'; did you mean SOUTH?"),
    ({"region__wset": "1"}, "region.wset: is no field; did you mean 'west'?"),
    ({"region__west": "a"}, "region.west: must be a number; got 'a'"),
    ({"first__x": "1"}, "first.x: has no fields"),
    ({"region": "{1"}, "region: must be Region | None; got '{1'"),
    ({"years": "[1"}, "years: is not valid JSON"),
    ({"years": ["1", "b"]}, "years: must be a whole number; got 'b'"),
    ({"span": ["1"]}, "span: must be given 2 times, or once as JSON: '[...]'"),
    ({"data": "x"}, "data: must be xr.DataArray | None; got 'x'"),
    ({"region": "{}", "region__west": "1"}, None),
    ({"first": "\x1b[31m"}, "first: must be a whole number; got '\\x1b[31m'"),
]


@pytest.mark.parametrize(("texts", "problem"), [case for case in BAD if case[1]])
def test_texts_that_do_not_fit_are_refused(texts, problem):
    with pytest.raises(InvalidArguments) as caught:
        parse(**texts)
    assert str(caught.value.problems[0]).startswith(problem)
    assert len(caught.value.problems) == 1


def test_an_option_and_its_own_field_twice_is_a_problem():
    with pytest.raises(InvalidArguments, match="given twice"):
        parse(region__west="1", region='{"west": 2}')


def test_all_problems_and_missing_ones_at_once():
    def f(first: int, last: int, region: Region): ...

    spec = read_module("a/b", None, {"f": f})[0]
    with pytest.raises(InvalidArguments) as caught:
        parse_text(spec.methods["f"], spec.types, {"first": "x", "lst": "3"}, target="a/b.f")
    assert [p.where for p in caught.value.problems] == ["first", "lst", "last", "region"]
    assert caught.value.target == "a/b.f"


def test_any_name_is_taken_where_the_method_takes_any():
    def f(*args: int, **rest: float): ...

    spec = read_module("a/b", None, {"f": f})[0]
    assert parse_text(spec.methods["f"], {}, {"args": ["1", "2"], "x": "3"}) == {"args": [1, 2], "x": 3.0}


def test_types_that_refer_to_themselves_do_not_loop():
    loop = {"T": {"anyOf": [{"$ref": "#/$defs/T"}, {"$ref": "#/$defs/T"}]}}
    spec = read_module("a/b", None, {"mean": mean})[0].methods["mean"]
    from landbridge.contract import MethodSpec, ParameterSpec

    spec = MethodSpec("f", parameters=(ParameterSpec("x", schema={"$ref": "#/$defs/T"}),))
    with pytest.raises(InvalidArguments):
        parse_text(spec, loop, {"x.y": "1"})
    parse_or_refuse(spec, loop)


def parse_or_refuse(spec, types):
    try:
        parse_text(spec, types, {"x": "1"})
    except InvalidArguments:
        pass
