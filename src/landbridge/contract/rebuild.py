"""The types of a signature, made again at the caller from their schemas, and results made objects of them again.

Nothing is evaluated. Names that could reach into a class (``__init__``, ``_ignore_`` …) make the type left out: its
values then stay the plain ones that they are on the wire.
"""

from __future__ import annotations

import collections
import contextlib
import copy
import dataclasses
import enum
import typing
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from types import GenericAlias
from typing import Any, cast

from ..errors import LandbridgeError
from .lowering import OWNERS_DEFAULT
from .methodspec import is_parameter_name
from .schema import HOSTILE, JsonSchema, contradiction, describe, hostile, mentions_types, named_type
from .spec import ModuleSpec

__all__ = ["hint_of", "rebuild_types", "revive", "sharing_defaults"]

_SCHEMA = "__landbridge_schema__"
_MADE_FIELDS = "__landbridge_made_fields__"
_MAX_FIELDS = 500
_MAX_MEMBERS = 10_000
_MAX_DEPTH = 32
_MAX_DEFAULTS = 20_000
_MAX_INNER_DEFAULTS = 1000
_BUILTINS: dict[str, Any] = {"integer": int, "number": float, "string": str, "boolean": bool, "null": None}
_MIXINS: dict[str, type] = {"str": str, "int": int, "float": float}


def rebuild_types(spec: ModuleSpec) -> dict[str, type]:
    """Return the classes that the signatures of a module mention, by name.

    Enum classes have the names and values of home. Dataclasses have its fields and defaults, and so have pydantic
    models, which become dataclasses: what their validators would say, the backend says. Types that can not be made
    are left out.

    Examples
    --------
    >>> basin = {"enum": ["n", "s"], "x-landbridge": "enum", "x-enum-names": ["NORTH", "SOUTH"]}
    >>> types = rebuild_types(ModuleSpec("geomar/ocean", types={"Basin": basin}))
    >>> types["Basin"].NORTH.value
    'n'
    """
    with hostile(f"a type of {spec.name}"), sharing_defaults():
        return _rebuild_types(spec)


def _rebuild_types(spec: ModuleSpec) -> dict[str, type]:
    module = f"landbridge.remote.{spec.name.replace('/', '.')}"
    made: dict[str, type] = {}
    for name, schema in spec.types.items():
        cls = _enum_class(name, schema)
        if cls is not None:
            made[name] = cls
    for name, schema in spec.types.items():
        maker = _MAKERS.get(schema.get("x-landbridge", ""))
        if maker is not None and is_parameter_name(name):
            cls = maker(name, schema, made)
            if cls is not None:
                made[name] = cls
    for name, cls in made.items():
        cls.__module__ = module
        cls.__qualname__ = name
        cls.__doc__ = spec.types[name].get("description")
        setattr(cls, _SCHEMA, spec.types[name])
    return made


def _enum_class(name: str, schema: JsonSchema) -> type | None:
    kind = schema.get("x-landbridge")
    values = schema.get("enum" if kind == "enum" else "examples", [])
    names = schema.get("x-enum-names", [])
    if kind not in ("enum", "flag") or len(names) != len(values) or not 0 < len(names) <= _MAX_MEMBERS:
        return None
    aliases = schema.get("x-enum-aliases", {})
    members = dict(zip(names, values, strict=True))
    pairs = [
        *zip(names, values, strict=True),
        *((alias, members[to]) for alias, to in aliases.items() if to in members),
    ]
    if not all(is_parameter_name(member) and not member.startswith("_") and member != "mro" for member, _ in pairs):
        return None
    if len(dict(pairs)) != len(pairs) or not all(
        value is None or type(value) in (str, int, float, bool) for _, value in pairs
    ):
        return None
    if kind == "flag":
        # A negative or huge number would make enum build masks of that many bits.
        if not all(type(value) is int and 0 <= value < 2**64 for value in values):
            return None
        return _made(enum.Flag, name, pairs, boundary=enum.KEEP)
    mixin = _MIXINS.get(schema.get("x-enum-mixin", ""))
    if mixin is None:
        return _made(enum.Enum, name, pairs)
    return _made(enum.Enum, name, pairs, type=mixin) if all(type(value) is mixin for _, value in pairs) else None


def _made(base: Any, name: str, pairs: list[tuple[str, Any]], **options: Any) -> type | None:
    try:
        return cast("type", base(name, pairs, **options))
    except (TypeError, ValueError, AttributeError):  # a member that enum keeps for itself
        return None


def _is_field_name(name: object) -> bool:
    return is_parameter_name(name) and not str(name).startswith("__")


def _dataclass(name: str, schema: JsonSchema, made: Mapping[str, type]) -> type | None:
    properties: dict[str, JsonSchema] = schema.get("properties", {})
    if len(properties) > _MAX_FIELDS or not all(map(_is_field_name, properties)):
        return None
    required = set(schema.get("required", ()))
    by_name_only = schema.get("x-landbridge") == "model"
    optional_before = False
    fields = []
    for field_name, field_schema in properties.items():
        computed = field_schema.get("readOnly") is True
        needed = field_name in required and not computed
        # Only a field that is given by name may be required after one that is not.
        by_name = by_name_only or field_schema.get("x-kw-only") is True or (needed and optional_before)
        optional_before = optional_before or not (needed or by_name)
        options: dict[str, Any] = {"kw_only": by_name, "init": not computed}
        if not needed:
            options |= _default_of(field_schema, made)
        fields.append((field_name, hint_of(field_schema, made), dataclasses.field(**options)))
    cls = dataclasses.make_dataclass(name, fields, frozen=schema.get("x-frozen") is True)
    setattr(cls, _MADE_FIELDS, sum(field.default_factory is not dataclasses.MISSING for _, _, field in fields))
    return cls


def _default_of(schema: JsonSchema, made: Mapping[str, type]) -> dict[str, Any]:
    if "default" not in schema or schema.get("readOnly") is True:
        return {"default": OWNERS_DEFAULT}
    value = schema["default"]
    if value is None or (type(value) in (str, int, float, bool) and not mentions_types(schema)):
        return {"default": value}
    size = _size(value)

    def make() -> Any:
        # A class may have itself as default, directly or by others, and defaults may be of many fields each.
        with sharing_defaults(_MAX_INNER_DEFAULTS + size) as making:
            if making.depth >= _MAX_DEPTH or making.left < size:
                return OWNERS_DEFAULT
            making.left -= size
            making.depth += 1
            try:
                return revive(copy.deepcopy(value), schema, made)
            finally:
                making.depth -= 1

    # Made when an object is: `made` then holds every class, also those that come later in the description.
    return {"default_factory": make}


def _size(value: Any) -> int:
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return 1 + sum(map(_size, parts))


def _named_tuple(name: str, schema: JsonSchema, made: Mapping[str, type]) -> type | None:
    names, places = schema.get("x-field-names", []), schema.get("prefixItems", [])
    if len(names) != len(places) or len(names) > _MAX_FIELDS or len(set(names)) < len(names):
        return None
    if not all(is_parameter_name(field) and not field.startswith("_") for field in names):
        return None
    least = schema.get("minItems", len(names))
    defaults = [revive(place.get("default"), place, made) for place in places[max(least, 0) :]]
    cls: Any = cast("Any", collections.namedtuple)(name, names, defaults=defaults)
    cls.__annotations__ = {field: hint_of(place, made) for field, place in zip(names, places, strict=True)}
    return cast("type", cls)


def _typed_dict(name: str, schema: JsonSchema, made: Mapping[str, type]) -> type | None:
    properties = schema.get("properties", {})
    if len(properties) > _MAX_FIELDS:
        return None
    required = schema.get("required", ())
    fields = {
        key: hint_of(place, made) if key in required else typing.NotRequired[hint_of(place, made)]
        for key, place in properties.items()
    }
    return typing.TypedDict(name, fields)  # type: ignore[operator, no-any-return]  # mypy knows the literal form only


_MAKERS: dict[str, Any] = {
    "dataclass": _dataclass,
    "model": _dataclass,
    "namedtuple": _named_tuple,
    "typeddict": _typed_dict,
}


def hint_of(schema: JsonSchema, types: Mapping[str, type]) -> Any:
    """Return the hint that a schema stands for: a class or generic where there is one here, else its text.

    Examples
    --------
    >>> hint_of({"type": "array", "items": {"type": "number"}}, {}), hint_of({"x-landbridge": "xarray.Dataset"}, {})
    (list[float], 'xr.Dataset')
    """
    name = named_type(schema)
    if name is not None:
        return types.get(name, name)
    if not schema:
        return Any
    if "x-landbridge" in schema or "enum" in schema:
        return describe(schema)
    if "anyOf" in schema:
        branches = [hint_of(branch, types) for branch in schema["anyOf"][:50]]
        if not branches or any(isinstance(branch, str) for branch in branches):
            return describe(schema)
        return typing.Union[tuple(branches)]  # noqa: UP007 - of a number of branches known at run time only
    kind = schema.get("type")
    if kind == "array" and "prefixItems" not in schema:
        return _of(list, hint_of(schema.get("items", {}), types), schema)
    if kind == "object":
        values = schema.get("additionalProperties")
        return _of(dict, hint_of(values, types) if isinstance(values, dict) else Any, schema)
    return _BUILTINS[kind] if isinstance(kind, str) and kind in _BUILTINS else describe(schema)


def _of(container: type, items: Any, schema: JsonSchema) -> Any:
    if items is Any:
        return container
    if isinstance(items, str):
        return describe(schema)
    return GenericAlias(container, (str, items) if container is dict else (items,))


def revive(value: Any, schema: JsonSchema | None, types: Mapping[str, type]) -> Any:
    """Return a plain value made what its schema says: members of enums, dataclasses, named tuples.

    A value that does not fit its schema stays as it is. Nothing is looked at where the schema refers to no type.

    Parameters
    ----------
    value : object
        As it arrived.
    schema : dict or None
        Schema of the result.
    types : mapping of str to type
        As `rebuild_types` made them.
    """
    try:
        if not schema or not types or not mentions_types(schema):
            return value
        with sharing_defaults():
            return _revive(value, schema, types)
    except LandbridgeError:
        raise
    except HOSTILE as error:
        raise contradiction("the objects of a result or default", error) from error


class _Making:
    """Objects being made: how deep one inside another, and how much of defaults they may still get."""

    __slots__ = ("depth", "left")

    def __init__(self, left: int) -> None:
        self.depth, self.left = 0, left


_making: ContextVar[_Making | None] = ContextVar("making", default=None)


@contextlib.contextmanager
def sharing_defaults(limit: int = _MAX_DEFAULTS) -> Iterator[_Making]:
    """Let all objects made within share one bound on how much their defaults may grow to."""
    making = _making.get()
    if making is not None:
        yield making
        return
    token = _making.set(_Making(limit))
    try:
        yield cast("_Making", _making.get())
    finally:
        _making.reset(token)


def _revive(value: Any, schema: JsonSchema, types: Mapping[str, type]) -> Any:
    name = named_type(schema)
    if name is not None:
        cls = types.get(name)
        return value if cls is None else _object(value, cls, types)
    if not mentions_types(schema):
        return value
    if "anyOf" in schema:
        revived = (_revive(value, branch, types) for branch in schema["anyOf"])
        return next((made for made in revived if made is not value), value)
    if type(value) is dict:
        return _revive_dict(value, schema, types)
    if type(value) not in (list, tuple, set, frozenset):
        return value
    if "prefixItems" in schema:
        places = schema["prefixItems"]
        if len(places) != len(value) or type(value) not in (list, tuple):
            return value
        revived_items = [_revive(item, place, types) for item, place in zip(value, places, strict=True)]
    else:
        items = schema.get("items", {})
        revived_items = [_revive(item, items, types) for item in value]
    same = all(made is item for made, item in zip(revived_items, value, strict=True))
    return value if same else type(value)(revived_items)


def _revive_dict(value: dict[Any, Any], schema: JsonSchema, types: Mapping[str, type]) -> dict[Any, Any]:
    properties, keys, others = (
        schema.get("properties", {}),
        schema.get("x-keys", {}),
        schema.get("additionalProperties"),
    )
    others = others if isinstance(others, dict) else {}
    made = {_revive(k, keys, types): _revive(item, properties.get(k, others), types) for k, item in value.items()}
    same = all(a is b and c is d for (a, c), (b, d) in zip(made.items(), value.items(), strict=False))
    return value if same and len(made) == len(value) else made


def _object(value: Any, cls: type, types: Mapping[str, type]) -> Any:
    """Return the object of a rebuilt class, or the value where it does not fit."""
    schema: JsonSchema = getattr(cls, _SCHEMA, {})
    if isinstance(cls, enum.EnumMeta):
        try:
            member: enum.Enum = cls(value)
        except (ValueError, TypeError):
            return value
        # Enum finds 1 for True and for 1.0; those are other values.
        return member if type(member.value) is type(value) else value
    kind = schema.get("x-landbridge")
    if kind == "namedtuple":
        places = schema.get("prefixItems", [])
        if type(value) not in (list, tuple) or len(value) != len(places):
            return value
        return cls(*(_revive(item, place, types) for item, place in zip(value, places, strict=True)))
    if type(value) is not dict:
        return value
    properties = schema.get("properties", {})
    if not (set(schema.get("required", ())) <= value.keys() <= properties.keys()):
        return value
    fields = {key: _revive(item, properties[key], types) for key, item in value.items()}
    if kind == "typeddict":
        return fields
    computed = {key: fields.pop(key) for key in list(fields) if properties[key].get("readOnly") is True}
    if len(fields) < len(properties):
        making = _making.get()
        if making is not None:
            making.left -= getattr(cls, _MADE_FIELDS, 0)  # each costs, also once there is nothing left for it
    made = cls(**fields)
    for key, item in computed.items():
        object.__setattr__(made, key, item)  # also where the class is frozen: this is how it is made
    return made
