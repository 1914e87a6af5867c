"""Type hints, compiled: each to a validator's schema (how it is checked) and a JSON Schema (how it is described).

Both come from one walk, so that what a module describes is what it accepts. Checking is strict, with what a caller at
another institute cannot avoid: enum members and records arrive as plain values, times may be text, arrays fit lists.
"""

from __future__ import annotations

import collections.abc
import dataclasses
import enum
import inspect
import re
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple, cast

from pydantic_core import CoreSchema, core_schema

from ..errors import NothingToServe, printable
from . import arrays
from .bounds import apply_bounds, apply_predicate, apply_validator, read_notes
from .conversions import read_converted
from .growth import guard_foreign, guard_keys, guard_set, to_list
from .records import read_enum, read_record
from .schema import JsonSchema, describe
from .verdict import refuse

__all__ = ["Compiled", "HintReader"]


class Compiled(NamedTuple):
    """A hint as a validator's schema, as JSON Schema, and its place in a union: exact kinds are tried first."""

    core: CoreSchema
    json: JsonSchema
    rank: int


_EXACT_NAMED, _EXACT, _WIDER, _RECORD, _CONTAINER, _CONVERTED, _ANY = range(7)
_CALLED = cast("Callable[[Any], CoreSchema]", core_schema.no_info_plain_validator_function)

_LISTS = (list, collections.abc.Sequence, collections.abc.MutableSequence, collections.abc.Iterable,
          collections.abc.Collection, collections.abc.Reversible)  # fmt: skip
_SETS = (set, frozenset, collections.abc.Set, collections.abc.MutableSet)
_DICTS = (dict, collections.abc.Mapping, collections.abc.MutableMapping)
_AWAITED = (collections.abc.Awaitable, collections.abc.Coroutine)
_WRAPPERS = tuple(
    getattr(typing, name)
    for name in ("Required", "NotRequired", "ReadOnly", "Final", "ClassVar")
    if hasattr(typing, name)
)


class HintReader:
    """Compiles the hints of one module; the classes they mention are collected by name.

    Parameters
    ----------
    all_problems : bool
        Look on after the first wrong item of a list or dict. The quick way is for values that nobody has seen yet:
        a million wrong items would else become a million problems.

    Attributes
    ----------
    types : dict of str to dict
        JSON Schema of each class met so far, by its name.
    """

    def __init__(self, *, all_problems: bool = False) -> None:
        self.types: dict[str, JsonSchema] = {}
        self._fail_fast = not all_problems
        self._classes: dict[str, object] = {}
        self._known: dict[object, Compiled] = {}

    def read(self, hint: Any) -> Compiled:
        """Return `hint` compiled.

        Raises
        ------
        NothingToServe
            When it can not be described, with what to change.
        """
        if hint is inspect.Parameter.empty or hint is Any or hint is object:
            return _anything()
        if hint is None or hint is types.NoneType:
            return Compiled(core_schema.none_schema(), {"type": "null"}, _EXACT)
        if isinstance(hint, (str, typing.ForwardRef)):
            raise NothingToServe(f"The type hint {hint!r} is a text that names nothing. Import what it names.")
        if isinstance(hint, typing.TypeVar):
            choices = hint.__constraints__ or ((hint.__bound__,) if hint.__bound__ is not None else ())
            return self._union(choices) if choices else _anything()
        if hasattr(hint, "__supertype__"):  # NewType
            return self.read(hint.__supertype__)
        if arrays.is_array_like(hint):
            return Compiled(core_schema.any_schema(), {"x-landbridge": "array-like"}, _ANY)
        origin = typing.get_origin(hint)
        if type(hint).__name__ == "TypeAliasType" or type(origin).__name__ == "TypeAliasType":
            return self._alias(hint if origin is None else origin)
        if origin is None:
            return self._class(hint)
        arguments = typing.get_args(hint)
        if origin is typing.Annotated:
            return self._annotated(arguments[0], hint.__metadata__)
        if origin in (typing.Union, types.UnionType):
            return self._union(arguments)
        if origin is typing.Literal:
            return self._literal(arguments)
        if origin in _WRAPPERS:
            return self.read(arguments[0])
        return self._generic(origin, arguments)

    # --- classes -----------------------------------------------------------------------------------------------

    def _class(self, hint: Any) -> Compiled:
        simple = _SIMPLE.get(hint) if isinstance(hint, collections.abc.Hashable) else None
        if simple is not None:
            return simple
        converted = read_converted(hint)
        if converted is not None:
            return Compiled(*converted, _CONVERTED)
        if hint in _LISTS or hint in _SETS or hint in _DICTS or hint is tuple or hint is collections.abc.Callable:
            return self._generic(hint, ())
        if not isinstance(hint, type):
            return _anything()  # Self, Never, LiteralString …: nothing that a value could be checked against
        if hint in self._known:
            return self._known[hint]
        found = arrays.read_class(hint)
        if found is not None:
            return Compiled(found.core, found.json, _WIDER)
        if issubclass(hint, enum.Enum):
            name = self.claim(hint)
            core, self.types[name] = read_enum(hint)
            return self._remember(hint, Compiled(core, {"$ref": f"#/$defs/{name}"}, _EXACT_NAMED))
        record = read_record(self, hint)
        if record is not None:
            return record
        if hasattr(hint, "__get_pydantic_core_schema__"):
            return self.by_pydantic(hint)
        return _instances(hint)

    def _remember(self, hint: object, compiled: Compiled) -> Compiled:
        self._known[hint] = compiled
        return compiled

    def begin_record(self, cls: type, core: CoreSchema) -> str:
        """Make `cls` known before its fields are read, so that it may contain itself; return its name."""
        name = self.claim(cls)
        self.types[name] = {}
        self._remember(cls, Compiled(core, {"$ref": f"#/$defs/{name}"}, _RECORD))
        return name

    def compiled(self, cls: type) -> Compiled:
        """Return a class that was begun before."""
        return self._known[cls]

    def claim(self, cls: type) -> str:
        """Return the name under which `cls` is described; two classes can not share one."""
        name = re.sub(r"[^A-Za-z0-9_]", "_", cls.__name__).lstrip("_")[:128]
        if not name[:1].isalpha():
            name = f"T{name}"[:128]
        other = self._classes.setdefault(name, cls)
        if other is not cls:
            raise NothingToServe(
                f"Two classes of the signatures have the same name {name!r}: {_where(other)} and {_where(cls)}. "
                "Callers could not tell them apart. Rename one of them."
            )
        return name

    # --- generics ----------------------------------------------------------------------------------------------

    def _generic(self, origin: Any, arguments: tuple[Any, ...]) -> Compiled:
        if origin is tuple:
            return self._tuple(arguments)
        if origin in _LISTS:
            return self._list(arguments[0] if arguments else Any)
        if origin in _SETS:
            return self._set(origin, arguments[0] if arguments else Any)
        if origin in _DICTS:
            return self._dict(*(arguments or (Any, Any)))
        if origin is collections.abc.Callable:
            return self._function(arguments)
        found = arrays.read_generic(origin, arguments)
        if found is not None:
            return Compiled(found.core, found.json, _WIDER)
        if origin is type:
            return _instances(type)
        return self._class(origin)

    def _list(self, hint: Any) -> Compiled:
        items = self.read(hint)
        core = core_schema.list_schema(items.core, strict=True, fail_fast=self._fail_fast)
        json: JsonSchema = {"type": "array"} | ({"items": items.json} if items.json else {})
        return Compiled(core_schema.no_info_before_validator_function(to_list, core), json, _CONTAINER)

    def _set(self, origin: Any, hint: Any) -> Compiled:
        items = self.read(hint)
        frozen = origin is frozenset
        # Lax in the container, strict in its items: callers in other languages have lists only.
        make = core_schema.frozenset_schema if frozen else core_schema.set_schema
        made = make(items.core, strict=False, fail_fast=self._fail_fast)
        guard = guard_set(items.core, fail_fast=self._fail_fast)
        json: JsonSchema = {"type": "array", "uniqueItems": True, "x-landbridge": "frozenset" if frozen else "set"}
        core = core_schema.no_info_before_validator_function(guard, made)
        return Compiled(core, json | ({"items": items.json} if items.json else {}), _CONTAINER)

    def _tuple(self, arguments: tuple[Any, ...]) -> Compiled:
        json: JsonSchema = {"type": "array", "x-landbridge": "tuple"}
        if not arguments or arguments[-1] is Ellipsis:
            items = self.read(arguments[0] if arguments else Any)
            core = core_schema.tuple_schema([items.core], variadic_item_index=0, fail_fast=self._fail_fast)
            if items.json:
                json["items"] = items.json
        else:
            places = [self.read(argument) for argument in arguments if argument != ()]
            core = core_schema.tuple_schema([place.core for place in places], fail_fast=self._fail_fast)
            json |= {"prefixItems": [p.json for p in places], "minItems": len(places), "maxItems": len(places)}
        return Compiled(core_schema.no_info_before_validator_function(to_list, core), json, _CONTAINER)

    def _dict(self, key_hint: Any, value_hint: Any) -> Compiled:
        keys, values = self.read(key_hint), self.read(value_hint)
        core: CoreSchema = core_schema.dict_schema(keys.core, values.core, strict=True, fail_fast=self._fail_fast)
        guard = guard_keys(keys.core, fail_fast=self._fail_fast)
        if guard is not None:
            core = core_schema.no_info_before_validator_function(guard, core)
        json: JsonSchema = {"type": "object"} | ({"additionalProperties": values.json} if values.json else {})
        if keys.json and keys.json != {"type": "string"}:
            json |= {"x-landbridge": "dict", "x-keys": keys.json}
        return Compiled(core, json, _CONTAINER)

    def _function(self, arguments: tuple[Any, ...]) -> Compiled:
        json: JsonSchema = {"x-landbridge": "function"}
        if arguments:
            tables: tuple[dict[Any, Any], ...] = (self.types, self._classes, self._known)
            known = [set(table) for table in tables]
            try:
                json |= self._called_with(*arguments)
            except NothingToServe:  # what it is called with is told as far as possible; that it is called is enough
                for table, before in zip(tables, known, strict=True):
                    for key in table.keys() - before:  # a class that was read by half
                        del table[key]
        return Compiled(core_schema.callable_schema(), json, _EXACT)

    def _called_with(self, places: Any, returned: Any) -> JsonSchema:
        json: JsonSchema = {}
        if isinstance(places, list):  # else ... or a ParamSpec
            json["x-arguments"] = [self.read(place).json for place in places]
        inner = typing.get_args(returned)
        if typing.get_origin(returned) in _AWAITED and inner:
            json["x-awaited"] = True
            returned = inner[-1]
        return json | {"x-returns": self.read(returned).json}

    def _union(self, hints: Iterable[Any]) -> Compiled:
        choices = [self.read(hint) for hint in arrays.with_array_like_whole(hints)]
        json: JsonSchema = {"anyOf": [choice.json for choice in choices]}
        solid = sorted((c for c in choices if c.json != {"type": "null"}), key=lambda choice: choice.rank)
        rank = max(choice.rank for choice in choices)
        if any(not choice.json for choice in choices):
            json = {}
        if len(solid) == 1:
            core = solid[0].core
        else:
            core = core_schema.union_schema(
                [choice.core for choice in solid],
                mode="left_to_right",
                custom_error_type="choice",
                custom_error_message="{text}",
                custom_error_context={"text": f"must be {printable(describe(json), 300)}"},
            )
        if len(solid) < len(choices):
            core = core_schema.nullable_schema(core)
        return Compiled(core, json, rank)

    def _literal(self, values: tuple[Any, ...]) -> Compiled:
        plain = [value.value if isinstance(value, enum.Enum) else value for value in values]
        # By type too: True == 1 must not make Literal[1] accept True.
        accepted: dict[tuple[type, Any], Any] = {(type(v), v): v for v in values}
        accepted |= {(type(p), p): v for p, v in zip(plain, values, strict=True)}
        accepted |= {(str, value.name): value for value in values if isinstance(value, enum.Enum)}
        text = f"must be one of {', '.join(repr(value) for value in plain[:20])}"

        def check(value: Any) -> Any:
            try:
                return accepted[type(value), value]
            except (KeyError, TypeError):
                raise refuse(text) from None

        json: JsonSchema = {"enum": [value.decode("latin-1") if isinstance(value, bytes) else value for value in plain]}
        return Compiled(_CALLED(check), json, _EXACT_NAMED)

    def _alias(self, alias: Any) -> Compiled:
        if alias in self._known:
            return self._known[alias]
        # An alias that contains itself has no class to refer to; inside itself it takes anything.
        self._known[alias] = _anything()
        return self._remember(alias, self.read(alias.__value__))

    # --- Annotated ---------------------------------------------------------------------------------------------

    def _annotated(self, hint: Any, metadata: tuple[Any, ...]) -> Compiled:
        foreign = [note for note in metadata if hasattr(note, "__get_pydantic_core_schema__")]
        validators = [apply_validator(note) for note in foreign]
        if None in validators:
            return self.by_pydantic(typing.Annotated[(hint, *metadata)])
        notes = read_notes(metadata)
        compiled = self.read(hint)
        core, json = apply_bounds(compiled.core, compiled.json, hint, notes.bounds)
        for predicate in notes.predicates:
            core = apply_predicate(core, predicate)
        for apply in filter(None, validators):
            core = apply(core)
        return Compiled(core, {**json, **notes.json}, compiled.rank)

    def by_pydantic(self, hint: Any) -> Compiled:
        """Return a hint that only pydantic understands: its own types and validators."""
        from pydantic import ConfigDict, TypeAdapter
        from pydantic.errors import PydanticUserError

        takes_config = not (
            isinstance(hint, type) and (hasattr(hint, "model_fields") or dataclasses.is_dataclass(hint))
        )
        try:
            adapter: TypeAdapter[Any] = TypeAdapter(
                hint, config=ConfigDict(arbitrary_types_allowed=True) if takes_config else None
            )
        except PydanticUserError as error:
            raise NothingToServe(f"The type hint {hint!r} can not be checked: {error}") from error
        try:
            json = adapter.json_schema(ref_template="#/$defs/{model}")
        except PydanticUserError:
            json = {"x-landbridge": "object", "title": printable(getattr(hint, "__name__", repr(hint)), 200)}
        for name, schema in json.pop("$defs", {}).items():
            if self.types.setdefault(name, schema) != schema:
                raise NothingToServe(f"Two classes of the signatures have the same name {name!r}. Rename one of them.")
        core = core_schema.no_info_before_validator_function(guard_foreign, _CALLED(adapter.validate_python))
        return Compiled(core, json, _CONVERTED)


def _anything() -> Compiled:
    return Compiled(core_schema.any_schema(), {}, _ANY)


_SIMPLE: Mapping[Any, Compiled] = {
    int: Compiled(core_schema.int_schema(strict=True), {"type": "integer"}, _EXACT),
    float: Compiled(core_schema.float_schema(strict=True), {"type": "number"}, _WIDER),
    str: Compiled(core_schema.str_schema(strict=True), {"type": "string"}, _EXACT),
    bool: Compiled(core_schema.bool_schema(strict=True), {"type": "boolean"}, _EXACT),
}


def _where(cls: object) -> str:
    return f"{getattr(cls, '__module__', '?')}.{getattr(cls, '__qualname__', cls)}"


def _instances(cls: type) -> Compiled:
    """Return any other class: what travels never is one, but a default may be, and a union may name one."""
    name = cls.__name__
    try:
        isinstance(None, cls)
    except TypeError:  # a Protocol that is not runtime-checkable
        return Compiled(core_schema.any_schema(), {"x-landbridge": "object", "title": name}, _ANY)
    core = core_schema.is_instance_schema(cls, cls_repr=name)
    return Compiled(core, {"x-landbridge": "object", "title": name}, _CONVERTED)
