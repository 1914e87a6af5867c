"""Enum members, dataclasses, models and named tuples become plain values, which is how they travel.

The same on both sides: results at the backend, arguments at the caller, whose functions stay there and are stood for.
What is plain already is returned as it is, without a copy; what is neither is left for the wire to refuse with its
place.
"""

from __future__ import annotations

import dataclasses
import enum
import functools
import math
from collections.abc import Callable, Iterable
from typing import Any

from ..errors import printable

__all__ = ["OWNERS_DEFAULT", "OwnersDefault", "lower_arguments", "travels_by_name"]

_PLAIN = frozenset({type(None), bool, int, float, complex, str, bytes, bytearray, range, slice})
_MAX_INT_BITS = 1000  # as in a description
_CONTAINERS = frozenset({list, tuple, dict, set, frozenset})

StandIn = Callable[[Any], object]
"""Returns what travels in the place of something that stays: a function of the caller, a reference."""


class OwnersDefault(enum.Enum):
    """Stands in a rebuilt dataclass for a default that only its owner can make; it is not sent."""

    OWNERS_DEFAULT = "default"

    def __repr__(self) -> str:
        """Return what people see in a signature."""
        return "<owner's default>"


OWNERS_DEFAULT = OwnersDefault.OWNERS_DEFAULT


def lower_arguments(value: Any, stand_in: StandIn | None = None) -> Any:
    """Return `value` with enum members, dataclasses, models and named tuples anywhere in it made plain.

    Parameters
    ----------
    value : object
        An argument, a dict of them, or a result.
    stand_in : callable, optional
        Called with everything in `value` that is not plain and cannot be made so, once for each; returns what travels
        in its place, or the thing itself. Without it, functions are left for the wire to refuse.

    Returns
    -------
    object
        `value` itself if nothing in it needed a change.

    Examples
    --------
    >>> import enum
    >>> Basin = enum.Enum("Basin", {"NORTH": "n", "SOUTH": "s"})
    >>> lower_arguments({"basins": [Basin.NORTH], "first": 2006})
    {'basins': ['n'], 'first': 2006}
    >>> kept = []
    >>> def keep(value):
    ...     kept.append(value)
    ...     return f"function {len(kept) - 1}"
    >>> lower_arguments({"progress": print, "first": 2006}, keep), kept
    ({'progress': 'function 0', 'first': 2006}, [<built-in function print>])
    """
    kind = type(value)
    if kind in _PLAIN:
        return value
    if kind in _CONTAINERS:
        if _is_flat(value.values() if kind is dict else value) and (kind is not dict or _is_flat(value)):
            return value
    elif stand_in is None and kind.__module__.partition(".")[0] in ("numpy", "xarray", "pandas", "datetime"):
        return value
    return _lower(value, {}, stand_in)


def _is_flat(items: Iterable[Any]) -> bool:
    # set(map(type, …)) runs in C: a list of a million numbers costs 15 ms, not 100.
    return set(map(type, items)) <= _PLAIN


def _lower(value: Any, seen: dict[int, tuple[Any, Any]], stand_in: StandIn | None) -> Any:
    """Lower one value; `seen` ends cycles (left for the wire to refuse) and does what is shared only once."""
    kind = type(value)
    if kind in _PLAIN:
        return value
    if kind not in _CONTAINERS and isinstance(value, enum.Enum):
        if isinstance(value, enum.Flag):
            return value._value_  # the plain attribute: .value costs 0.5 us more
        return value._name_ if travels_by_name(type(value)) else value._value_
    if id(value) in seen:
        return seen[id(value)][1]
    # The value is kept beside its answer: an object made by a property would else leave its id to the next one.
    seen[id(value)] = (value, value)
    if kind in _CONTAINERS:
        try:
            lowered = _lower_container(value, seen, stand_in)
        except TypeError:  # a record in a set, or as a key: a dict can be neither, so it is left for the wire to refuse
            lowered = value
        seen[id(value)] = (value, lowered)
        return lowered
    parts = _parts(value)
    if parts is None:
        if stand_in is None or isinstance(value, type):
            return value
        lowered = stand_in(value)
    elif isinstance(parts, tuple):
        lowered = tuple(_lower(part, seen, stand_in) for part in parts)
    elif isinstance(parts, dict):
        lowered = {key: _lower(part, seen, stand_in) for key, part in parts.items() if part is not OWNERS_DEFAULT}
    else:
        lowered = _lower(parts[0], seen, stand_in)
    seen[id(value)] = (value, lowered)
    return lowered


def _parts(value: Any) -> dict[str, Any] | tuple[Any, ...] | list[Any] | None:
    """Return fields by name, a named tuple's by place, the one value of a root model in a list, or None."""
    cls = type(value)
    if dataclasses.is_dataclass(cls):
        return {f.name: getattr(value, f.name) for f in dataclasses.fields(cls) if hasattr(value, f.name)}
    if isinstance(value, tuple) and hasattr(cls, "_fields"):
        return tuple(value)
    fields = getattr(cls, "__pydantic_fields__", None)
    if isinstance(fields, dict):
        if getattr(cls, "__pydantic_root_model__", False):
            return [value.root]
        extra = getattr(value, "__pydantic_extra__", None) or {}
        return {name: getattr(value, name) for name in fields} | extra
    return None


def _lower_container(value: Any, seen: dict[int, tuple[Any, Any]], stand_in: StandIn | None) -> Any:
    if type(value) is dict:
        pairs = {_lower(key, seen, stand_in): _lower(item, seen, stand_in) for key, item in value.items()}
        same = all(a is b and c is d for (a, c), (b, d) in zip(pairs.items(), value.items(), strict=False))
        # Two keys that become one (a member and its own value) would lose an entry: left for the wire to refuse.
        return value if same or len(pairs) < len(value) else pairs
    if _is_flat(value):
        return value
    items = list(value)
    lowered = [_lower(item, seen, stand_in) for item in items]
    if all(map(_is, lowered, items)):
        return value
    made = type(value)(lowered)
    return made if len(made) == len(value) else value


def _is(a: object, b: object) -> bool:
    return a is b


@functools.lru_cache(maxsize=512)
def travels_by_name(cls: type[enum.Enum]) -> bool:
    """Return whether members of `cls` travel by name: where a value is not one that JSON keeps exactly.

    Examples
    --------
    >>> import enum
    >>> travels_by_name(enum.Enum("Basin", {"NORTH": "n"})), travels_by_name(enum.Enum("Box", {"NINO": (5, -5)}))
    (False, True)
    """
    return not all(_is_json_scalar(member.value) for member in cls)


def _is_json_scalar(value: object) -> bool:
    kind = type(value)
    if kind is str:
        return printable(value, 10_000) == value
    if kind is int:
        return value.bit_length() <= _MAX_INT_BITS  # type: ignore[attr-defined, no-any-return]
    return value is None or kind is bool or (kind is float and math.isfinite(value))  # type: ignore[arg-type]
