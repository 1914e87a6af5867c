"""Functions of the caller as arguments: hints for them, where they may stand, and how they show."""

from __future__ import annotations

import collections.abc
import dataclasses
import functools
import typing
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Concatenate, ParamSpec

import numpy as np
import pytest

from landbridge import wire
from landbridge.cli.methodhelp import method_help
from landbridge.contract import (
    ModuleSpec,
    bind,
    docstring,
    lower_arguments,
    parse_text,
    read_module,
    rebuild_types,
    signature,
)
from landbridge.errors import CannotTravel, InvalidArguments

P = ParamSpec("P")


@dataclasses.dataclass
class State:
    step: int
    neighbours: list[State]
    watch: Callable[[State], None] | None = None


def travelled(method, *args, **kwargs):
    """Return what a method is called with: bound, lowered, encoded, decoded and checked as in a call."""
    spec, methods = read_module("geomar/ocean", None, {"f": method})
    functions = []

    def keep(function):
        functions.append(function)
        return wire.Function(len(functions) - 1)

    arguments = lower_arguments(bind(spec.methods["f"], args, kwargs), keep)
    frame = b"".join(wire.encode(arguments))
    return methods["f"].check(wire.decode(frame, function_of=functions.__getitem__))


def schema_of(hint):
    def f(x): ...

    f.__annotations__ = {"x": hint}
    spec, _ = read_module("geomar/ocean", None, {"f": f})
    assert ModuleSpec.from_json(spec.to_json()) == spec
    return spec.methods["f"].parameters[0].schema


NUMBER = {"type": "number"}
NOTHING = {"type": "null"}
HINTS = [
    (Callable, {}, "Callable"),
    (typing.Callable, {}, "Callable"),
    (collections.abc.Callable, {}, "Callable"),
    (Callable[[float], None], {"x-arguments": [NUMBER], "x-returns": NOTHING}, "Callable[[float], None]"),
    (typing.Callable[[], float], {"x-arguments": [], "x-returns": NUMBER}, "Callable[[], float]"),
    (Callable[..., Any], {"x-returns": {}}, "Callable[..., Any]"),
    (Callable[P, float], {"x-returns": NUMBER}, "Callable[..., float]"),
    (Callable[Concatenate[float, P], float], {"x-returns": NUMBER}, "Callable[..., float]"),
    (
        Callable[[float], Awaitable[None]],
        {"x-arguments": [NUMBER], "x-awaited": True, "x-returns": NOTHING},
        "Callable[[float], Awaitable[None]]",
    ),
    (
        Callable[[], Coroutine[Any, Any, float]],
        {"x-arguments": [], "x-awaited": True, "x-returns": NUMBER},
        "Callable[[], Awaitable[float]]",
    ),
    (
        Callable[[Callable[[float], float]], float],
        {
            "x-arguments": [{"x-landbridge": "function", "x-arguments": [NUMBER], "x-returns": NUMBER}],
            "x-returns": NUMBER,
        },
        "Callable[[Callable[[float], float]], float]",
    ),
]


@pytest.mark.parametrize(("hint", "described", "written"), HINTS)
def test_hints_for_functions_are_described_and_written(hint, described, written):
    schema = schema_of(hint)
    assert schema == {"x-landbridge": "function", **described}

    def f(x): ...

    f.__annotations__ = {"x": hint}
    spec, _ = read_module("geomar/ocean", None, {"f": f})
    assert signature(spec.methods["f"], {}).parameters["x"].annotation == written
    assert f"x : {written}" in docstring(spec.methods["f"])


def test_classes_that_a_function_is_called_with_come_along():
    def run(watch: Callable[[State], None]): ...

    spec, _ = read_module("geomar/ocean", None, {"run": run})
    assert spec.methods["run"].parameters[0].schema["x-arguments"] == [{"$ref": "#/$defs/State"}]
    assert rebuild_types(spec)["State"](1, []).step == 1


def test_a_class_read_by_half_leaves_nothing_behind():
    broken = dataclasses.make_dataclass("Broken", [("a", State), ("b", "Unknown")])

    def run(watch: Callable[[int], None]): ...

    run.__annotations__["watch"] = Callable[[broken], None]
    spec, _ = read_module("geomar/ocean", None, {"run": run})
    assert spec.types == {}


def test_functions_reach_the_method():
    def f(
        progress: Callable[[float], None], *, norm: Callable[..., float] | None = None, more: list[Callable] = ()
    ): ...

    def report(fraction): ...

    square = functools.partial(pow, 2)
    assert travelled(f, report) == ((), {"progress": report})
    found = travelled(f, progress=report, norm=np.sin, more=[square, report, "".join])
    assert found == ((), {"progress": report, "norm": np.sin, "more": [square, report, "".join]})
    assert travelled(f, report, norm=None)[1]["norm"] is None


def test_functions_reach_a_method_without_hints_at_any_depth():
    def f(x, *rest, **named): ...

    args, kwargs = travelled(f, {"a": [len, {"b": (print,)}]}, abs, name=[max])
    assert args == ({"a": [len, {"b": (print,)}]}, abs)
    assert kwargs == {"name": [max]}


def test_functions_reach_fields_of_records():
    def f(state: State): ...

    _, kwargs = travelled(f, State(1, [State(2, [], print)], len))
    assert kwargs["state"] == State(1, [State(2, [], print)], len)


def test_one_function_given_twice_is_one():
    kept = []
    lower_arguments({"a": print, "b": [print, {"c": print}]}, kept.append)
    assert kept == [print]


WRONG = [
    (int, "x: must be a whole number (int); got a function"),
    (list[float], "x: must be a list; got a function"),
    (list[int], "x[0]: must be a whole number (int); got a function"),
    (str | None, "x: must be a text (str); got a function"),
    (State, "x: must be a State, or a dict of its fields; got a function"),
    (np.ndarray, "x: must be an array; got a function"),
    (dict[str, int], "x.a: must be a whole number (int); got a function"),
]


@pytest.mark.parametrize(("hint", "problem"), WRONG)
def test_a_function_where_another_type_is_wanted_is_a_problem_at_its_place(hint, problem):
    def f(x): ...

    f.__annotations__ = {"x": hint}
    value = [print] if "[0]" in problem else {"a": print} if ".a" in problem else print
    with pytest.raises(InvalidArguments) as caught:
        travelled(f, value)
    assert str(caught.value.problems[0]) == problem


def test_other_values_are_no_functions():
    def f(x: Callable[[float], None], y: Callable | None = None): ...

    with pytest.raises(InvalidArguments) as caught:
        travelled(f, "print", 3)
    assert [str(problem) for problem in caught.value.problems] == [
        "x: must be a function; got 'print' (str)",
        "y: must be a function; got 3 (int)",
    ]


@pytest.mark.parametrize("cls", [float, State, np.float32])
def test_a_class_does_not_travel_as_a_function(cls):
    def f(x): ...

    with pytest.raises(CannotTravel, match=r'value\["x"\].* class .*give one that calls the class'):
        travelled(f, cls)


def test_a_call_takes_64_functions():
    def f(x): ...

    many = [functools.partial(pow, number) for number in range(65)]
    assert travelled(f, many[:64])[1] == {"x": many[:64]}
    with pytest.raises(CannotTravel, match=r'value\["x"\]\[64\].* takes 64'):
        travelled(f, many)


def test_results_hold_no_functions():
    _, methods = read_module("geomar/ocean", None, {"f": lambda: print})
    with pytest.raises(CannotTravel, match="code"):
        wire.encode(methods["f"].lower([print]))


def test_a_default_that_is_a_function_shows_by_its_name():
    def f(progress: Callable[[float], None] = print): ...

    spec, methods = read_module("geomar/ocean", None, {"f": f})
    assert str(signature(spec.methods["f"], {})) == "(progress: 'Callable[[float], None]' = print)"
    assert methods["f"].check({}) == ((), {})


def run(first: int, watch: Callable[[float], None], norm: Callable | None = None, mode: str | Callable = "l2"): ...


SPEC, _ = read_module("geomar/ocean", None, {"run": run})


def problems_in_a_shell(**texts):
    with pytest.raises(InvalidArguments) as caught:
        parse_text(SPEC.methods["run"], {}, texts)
    return [str(problem) for problem in caught.value.problems]


def test_a_shell_can_give_no_function():
    said = "is a function, which can not be written in a shell; call it from Python"
    assert problems_in_a_shell(first="1") == [f"watch: {said}"]
    assert problems_in_a_shell(first="1", watch="print", norm="x") == [f"watch: {said}", f"norm: {said}"]


def test_what_else_fits_can_be_written():
    def f(norm: Callable | None, mode: str | Callable = "l2"): ...

    spec, _ = read_module("geomar/ocean", None, {"f": f})
    found = parse_text(spec.methods["f"], {}, {"norm": "null", "mode": "max"})
    assert found == {"norm": None, "mode": "max"}


def test_a_function_with_a_default_is_left_out_in_a_shell():
    def f(first: int, watch: Callable[[int], None] = print): ...

    spec, _ = read_module("geomar/ocean", None, {"f": f})
    assert parse_text(spec.methods["f"], {}, {"first": "1"}) == {"first": 1}
    assert "--first" in method_help(spec, spec.methods["f"])
    assert "--watch" not in method_help(spec, spec.methods["f"])
