"""Bounds from ``Annotated``: least and greatest values, lengths, patterns, conditions; and what else stands there."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple, cast

import numpy as np
from pydantic_core import CoreSchema, core_schema

from ..errors import printable
from .schema import JsonSchema
from .verdict import refuse

__all__ = ["Notes", "apply_bounds", "apply_predicate", "apply_validator", "read_notes"]

_Test = Callable[[Any, Any], Any]
_BOUNDS: dict[str, tuple[str, str, _Test]] = {
    "ge": ("minimum", "must be at least {}", lambda value, bound: value >= bound),
    "gt": ("exclusiveMinimum", "must be greater than {}", lambda value, bound: value > bound),
    "le": ("maximum", "must be at most {}", lambda value, bound: value <= bound),
    "lt": ("exclusiveMaximum", "must be less than {}", lambda value, bound: value < bound),
    "multiple_of": ("multipleOf", "must be a multiple of {}", lambda value, bound: value % bound == 0),
}
_LENGTHS: dict[str, tuple[str, str, _Test]] = {
    "min_length": ("min", "must have at least {} items", lambda size, bound: size >= bound),
    "max_length": ("max", "must have at most {} items", lambda size, bound: size <= bound),
}


class Notes(NamedTuple):
    """What ``Annotated`` says of a hint: bounds, what describes it, and conditions of the owner."""

    bounds: dict[str, Any]
    json: JsonSchema
    predicates: list[Callable[[Any], bool]]


class Lazy:
    """Says in ``Annotated[xr.Dataset, lb.lazy]`` that a reference is to arrive as a lazy data set, not as its value."""

    def __repr__(self) -> str:
        """Return how it is written."""
        return "lazy"


lazy = Lazy()


def read_notes(metadata: Iterable[Any]) -> Notes:
    """Return metadata sorted; a plain text is the unit.

    Examples
    --------
    >>> read_notes(("m s-1",)).json
    {'x-unit': 'm s-1'}
    """
    notes = Notes({}, {}, [])
    for note in _flat(metadata):
        if note is lazy:
            notes.json["x-lazy"] = True
            continue
        if isinstance(note, str):
            notes.json.setdefault("x-unit", printable(note, 100))
            continue
        for key in (*_BOUNDS, *_LENGTHS, "pattern"):
            if (bound := getattr(note, key, None)) is not None:
                notes.bounds[key] = bound
        for key, keyword in (("description", "description"), ("documentation", "description"), ("title", "title")):
            if isinstance(text := getattr(note, key, None), str):
                notes.json[keyword] = printable(text, 8000 if keyword == "description" else 200)
        if type(note).__name__ == "Predicate" and callable(note.func):
            notes.predicates.append(note.func)
    return notes


def _flat(metadata: Iterable[Any]) -> Iterable[Any]:
    """Yield metadata one by one; a pydantic Field holds its bounds as metadata of its own."""
    for note in metadata:
        yield note
        inner = getattr(note, "metadata", None)
        if isinstance(inner, (list, tuple)):
            yield from _flat(inner)


def apply_predicate(core: CoreSchema, predicate: Callable[[Any], bool]) -> CoreSchema:
    """Return a schema that also asks a condition of the owner."""
    text = f"must satisfy {getattr(predicate, '__name__', 'the condition of its hint')}"

    def check(value: Any) -> Any:
        if not predicate(value):
            raise refuse(text)
        return value

    return core_schema.no_info_after_validator_function(check, core)


def apply_bounds(
    core: CoreSchema, json: JsonSchema, hint: Any, bounds: Mapping[str, Any]
) -> tuple[CoreSchema, JsonSchema]:
    """Return a schema pair with bounds: the validator's own for numbers and texts, ours for everything else.

    Parameters
    ----------
    core, json : dict
        The compiled hint.
    hint : object
        What was compiled.
    bounds : mapping
        By the names of ``annotated_types``: ``ge``, ``max_length`` …
    """
    if not bounds:
        return core, json
    json = dict(json)
    for key, (keyword, _, _) in _BOUNDS.items():
        if isinstance(bounds.get(key), (int, float)):
            json[keyword] = bounds[key]
    measured = {"string": "Length", "object": "Properties"}.get(cast("str", json.get("type")), "Items")
    for key, (side, _, _) in _LENGTHS.items():
        if key in bounds:
            json[side + measured] = bounds[key]
    if "pattern" in bounds:
        json["pattern"] = getattr(bounds["pattern"], "pattern", bounds["pattern"])
    if hint in (int, float):
        own = {key: bound for key, bound in bounds.items() if key in _BOUNDS}
        return cast("CoreSchema", {**core, **own}), json
    if hint is str:
        own = {key: bound for key, bound in bounds.items() if key in _LENGTHS or key == "pattern"}
        return cast("CoreSchema", {**core, **own}), json
    return core_schema.no_info_after_validator_function(_Bounds(bounds), core), json


def apply_validator(note: Any) -> Callable[[CoreSchema], CoreSchema] | None:
    """Return how a validator of pydantic is put around a schema of ours, which stays strict; None for other kinds."""
    function = getattr(note, "func", None)
    if not callable(function):
        return None
    try:
        takes_value_only = len(inspect.signature(function).parameters) == 1
    except (TypeError, ValueError):  # a builtin such as str.strip has none
        takes_value_only = True
    kind = type(note).__name__
    if kind == "AfterValidator" and takes_value_only:
        return lambda core: core_schema.no_info_after_validator_function(function, core)
    if kind == "BeforeValidator" and takes_value_only:
        return lambda core: core_schema.no_info_before_validator_function(function, core)
    return None


class _Bounds:
    """Bounds on what the validator itself has none for: arrays (each element), times, containers, unions."""

    def __init__(self, bounds: Mapping[str, Any]) -> None:
        self._values = [(says, holds, bounds[key]) for key, (_, says, holds) in _BOUNDS.items() if key in bounds]
        self._sizes = [(says, holds, bounds[key]) for key, (_, says, holds) in _LENGTHS.items() if key in bounds]

    def __call__(self, value: Any) -> Any:
        if value is None:
            return value
        for says, holds, bound in self._values:
            if not _holds_everywhere(holds, value, bound):
                raise refuse(says.format(printable(bound, 80)))
        for says, holds, bound in self._sizes:
            if not holds(len(value), bound):
                raise refuse(says.format(bound))
        return value


def _holds_everywhere(holds: _Test, value: Any, bound: Any) -> bool:
    try:
        held = holds(value, bound)
    except TypeError:
        return False
    if isinstance(held, bool):
        return held
    if hasattr(value, "data_vars"):  # a Dataset: bounds of one number say nothing about all of its variables
        return True
    # NaN marks gaps in data; it is no value beyond a bound.
    return bool(np.all(np.asarray(held) | np.asarray(value != value)))
