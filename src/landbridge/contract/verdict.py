"""What is said of a wrong argument: short, plain, with the value that was given."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from pydantic_core import PydanticCustomError

from ..errors import Problem, printable
from ..names import nearest
from .schema import JsonSchema, resolve

__all__ = ["MAX_PROBLEMS", "place", "problems_from", "refuse", "shown"]

MAX_PROBLEMS = 50

_SAID = {
    "int_type": "must be a whole number (int)",
    "int_from_float": "must be a whole number (int)",
    "float_type": "must be a number (float)",
    "finite_number": "must be a finite number",
    "string_type": "must be a text (str)",
    "bool_type": "must be True or False",
    "list_type": "must be a list",
    "tuple_type": "must be a tuple or a list",
    "set_type": "must be a set or a list",
    "frozen_set_type": "must be a set or a list",
    "dict_type": "must be a dict",
    "none_required": "must be None",
    "callable_type": "must be a function",
    "greater_than_equal": "must be at least {ge}",
    "greater_than": "must be greater than {gt}",
    "less_than_equal": "must be at most {le}",
    "less_than": "must be less than {lt}",
    "multiple_of": "must be a multiple of {multiple_of}",
    "string_too_short": "must have at least {min_length} characters",
    "string_too_long": "must have at most {max_length} characters",
    "string_pattern_mismatch": "must match the pattern {pattern}",
    "is_instance_of": "must be of type {class}",
    "recursion_loop": "nests too deep",
}


def refuse(text: str) -> PydanticCustomError:
    """Return the error by which a validator of ours refuses a value; the given value is added later."""
    return PydanticCustomError("landbridge", "{text}", {"text": text})


def shown(value: object) -> str:
    """Return a value for a message: at most 80 harmless characters, and never a large computation.

    Examples
    --------
    >>> shown("3")
    "'3' (str)"
    """
    kind = type(value)
    if value is None or kind is bool:
        return repr(value)
    if isinstance(value, (str, bytes)):
        text = repr(value[:80])
    elif isinstance(value, int):
        text = repr(value) if value.bit_length() < 300 else "a huge number"
    elif isinstance(value, (list, tuple, set, frozenset, dict)):
        return f"{'an empty' if not value else 'a'} {kind.__name__}" + (f" of {len(value)}" if value else "")
    elif kind in (float, complex) or kind.__module__ in ("datetime", "decimal", "uuid"):
        text = repr(value)
    elif kind.__module__.partition(".")[0] == "numpy":
        text = repr(value) if not getattr(value, "shape", ()) else f"an array of shape {value.shape}, {value.dtype}"  # type: ignore[attr-defined]
        return printable(text, 80)
    elif callable(value):
        return "a function"
    else:
        return printable(f"{'an' if kind.__name__[:1] in 'AEIOUaeiou' else 'a'} {kind.__name__}", 80)
    return f"{printable(text, 80)} ({printable(kind.__name__, 80)})"


def place(location: Iterable[object]) -> str:
    """Return a location as Python writes it.

    Examples
    --------
    >>> place(("region", "west")), place(("years", 3)), place(("table", "a b"))
    ('region.west', 'years[3]', "table['a b']")
    """
    out = ""
    for step in location:
        if step == "[key]":  # the validator's mark for the key of a dict itself
            continue
        if isinstance(step, str) and step.isidentifier():
            out += f".{step}" if out else step
        else:
            out += f"[{step!r}]"
    return printable(out, 200)


def problems_from(
    errors: Iterable[Mapping[str, Any]], schema: JsonSchema, types: Mapping[str, JsonSchema]
) -> list[Problem]:
    """Return a validator's errors as problems.

    Parameters
    ----------
    errors : iterable of dict
        As ``ValidationError.errors`` gives them.
    schema : dict
        Schema of the object that holds all arguments, to suggest names by.
    types : dict
        The shared types it refers to.
    """
    found = []
    for error in errors:
        location, kind = error["loc"], error["type"]
        where = place(location)
        if kind == "missing":
            found.append(Problem(where, "is missing"))
        elif kind == "extra_forbidden":
            found.append(Problem(where, _unknown(location, schema, types)))
        else:
            said = _SAID.get(kind)
            text = said.format(**error.get("ctx", {})) if said else _foreign(error["msg"])
            found.append(Problem(where or "arguments", f"{text}; got {shown(error['input'])}"))
    return found


def _foreign(text: str) -> str:
    for prefix in ("Value error, ", "Assertion failed, "):
        text = text.removeprefix(prefix)
    return printable(text, 300)


def _unknown(location: tuple[Any, ...], schema: JsonSchema, types: Mapping[str, JsonSchema]) -> str:
    known = list(_properties_at(schema, location[:-1], types))
    meant = nearest(str(location[-1]), known)
    what = "is no parameter" if len(location) == 1 else "is no field"
    if meant:
        return f"{what}; did you mean {meant!r}?"
    if not known:
        return f"{what}; there are none"
    return f"{what}; there are {', '.join(known[:10])}{' …' if len(known) > 10 else ''}"


def _properties_at(schema: JsonSchema, steps: tuple[Any, ...], types: Mapping[str, JsonSchema]) -> Mapping[str, Any]:
    schema = resolve(schema, types)
    if "anyOf" in schema:
        branches = (_properties_at(branch, steps, types) for branch in schema["anyOf"])
        return next((properties for properties in branches if properties), {})
    if not steps:
        return schema.get("properties", {})  # type: ignore[no-any-return]
    step, rest = steps[0], steps[1:]
    if step in schema.get("properties", {}):
        return _properties_at(schema["properties"][step], rest, types)
    if isinstance(step, int) and step < len(schema.get("prefixItems", ())):
        return _properties_at(schema["prefixItems"][step], rest, types)
    below = schema.get("items") if isinstance(step, int) else schema.get("additionalProperties")
    return _properties_at(below, rest, types) if isinstance(below, dict) else {}
