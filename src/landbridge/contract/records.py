"""Enum classes, dataclasses, pydantic models, typed dicts and named tuples of a signature.

All of them arrive as plain values; a method is given the object it declares. Whatever a class refuses itself
(``__post_init__``, validators of a model) is a problem with the argument.
"""

from __future__ import annotations

import dataclasses
import enum
import typing
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from pydantic_core import CoreSchema, SchemaValidator, ValidationError, core_schema

from ..errors import NothingToServe, printable
from .defaults import json_form
from .docs import read_doc
from .lowering import travels_by_name
from .schema import JsonSchema
from .verdict import refuse

if TYPE_CHECKING:
    from .hints import Compiled, HintReader

__all__ = ["read_enum", "read_record"]

_PROCESS = cast("Callable[[Any], CoreSchema]", core_schema.no_info_plain_validator_function)
_NONE = object()


def read_enum(cls: type[enum.Enum]) -> tuple[CoreSchema, JsonSchema]:
    """Return how members of `cls` are checked and described: by value, by name, or as members."""
    json: JsonSchema = {"title": cls.__name__, **_description(cls)}
    if issubclass(cls, enum.Flag):
        json |= {
            "type": "integer",
            "x-landbridge": "flag",
            "x-enum-names": list(cls.__members__),
            "examples": [m.value for m in cls.__members__.values()],
        }
        return _PROCESS(_flag_check(cls)), json
    members = list(cls)
    by_name = travels_by_name(cls)
    values = [m.name if by_name else m.value for m in members]
    kinds = {type(value) for value in values}
    if len(kinds) == 1 and (kind := _JSON_KINDS.get(kinds.pop())):
        json["type"] = kind
    json |= {"enum": values, "x-landbridge": "enum", "x-enum-names": [m.name for m in members]}
    aliases = {name: m.name for name, m in cls.__members__.items() if name != m.name}
    if aliases:
        json["x-enum-aliases"] = aliases
    mixin = next((kind for kind in (str, int, float) if issubclass(cls, kind)), None)
    if mixin and not by_name:
        json["x-enum-mixin"] = mixin.__name__
    return _PROCESS(_enum_check(cls, values)), json


_JSON_KINDS = {str: "string", int: "integer", float: "number", bool: "boolean"}


def _enum_check(cls: type[enum.Enum], values: list[Any]) -> Callable[[Any], Any]:
    by_value = {(type(value), value): member for value, member in zip(values, cls, strict=True)}
    names = dict(cls.__members__)
    said = printable(", ".join(repr(value) for value in values[:20]), 300) + (" …" if len(values) > 20 else "")
    text = f"must be one of {said}"

    def check(value: Any) -> Any:
        # By type and value: 1 == True == 1.0, and none of them stands for another here.
        try:
            return by_value[type(value), value]
        except (KeyError, TypeError):
            pass
        if isinstance(value, cls):
            return value
        if type(value) is str and value in names:
            return names[value]
        raise refuse(text)

    return check


def _flag_check(cls: type[enum.Flag]) -> Callable[[Any], Any]:
    text = f"must be names of {', '.join(cls.__members__)} joined by |, or their number"

    def check(value: Any) -> Any:
        if isinstance(value, cls):
            return value
        try:
            if type(value) is int:
                return cls(value)
            if type(value) is str:
                result = cls(0)
                for name in value.split("|")[:64]:
                    result |= cls[name.strip()]
                return result
        except (ValueError, KeyError):
            pass
        raise refuse(text)

    return check


class _Field(NamedTuple):
    """One field of a record: its hint, whether it must be given, and how it is described."""

    name: str
    hint: Any
    required: bool
    json: JsonSchema


def read_record(reader: HintReader, cls: type) -> Compiled | None:
    """Return `cls` compiled if it is a dataclass, pydantic model, typed dict or named tuple; else None."""
    if hasattr(cls, "__pydantic_root_model__") and cls.__pydantic_root_model__:
        return _root_model(reader, cls)
    if dataclasses.is_dataclass(cls):
        # Those of pydantic keep what Field(...) says elsewhere than dataclasses look.
        make_fields = _model_fields if hasattr(cls, "__pydantic_fields__") else _dataclass_fields
        kind, build = "dataclass", _from_dataclass(cls)
    elif isinstance(getattr(cls, "__pydantic_fields__", None), dict) and hasattr(cls, "model_validate"):
        kind, make_fields, build = "model", _model_fields, _from_model(cls)
    elif typing.is_typeddict(cls):
        kind, make_fields, build = "typeddict", _typed_dict_fields, None
    elif issubclass(cls, tuple) and hasattr(cls, "_fields"):
        kind, make_fields, build = "namedtuple", _named_tuple_fields, _from_fields(cls)
    else:
        return None
    record = _Record(cls, build, takes_places=kind == "namedtuple")
    name = reader.begin_record(cls, _PROCESS(record))
    try:
        fields = make_fields(cls)
    except Exception as error:  # a hint of a class is any text at all, evaluated
        raise NothingToServe(
            f"The type hints of class {cls.__qualname__} can not be resolved: {error}. "
            "Import what they name at the top of its file, outside `if TYPE_CHECKING:`."
        ) from error
    extra = kind == "model" and getattr(cls, "model_config", {}).get("extra") == "allow"
    docs = read_doc(_own_doc(cls)).parameters
    properties: dict[str, JsonSchema] = {}
    for field in fields:
        compiled = reader.read(field.hint)
        record.fields[field.name] = core_schema.typed_dict_field(compiled.core, required=field.required)
        about = {"description": docs[field.name]} if docs.get(field.name) else {}
        properties[field.name] = {**about, **compiled.json, **field.json}
    record.takes_extra = extra
    json: JsonSchema = {"title": cls.__name__, **_description(cls), "x-landbridge": kind}
    if kind == "namedtuple":
        json |= {"type": "array", "prefixItems": list(properties.values()), "x-field-names": list(properties)}
        json |= {"minItems": sum(f.required for f in fields), "maxItems": len(fields)}
    else:
        json |= {"type": "object", "properties": properties, "additionalProperties": bool(extra)}
        json["required"] = [field.name for field in fields if field.required]
    if kind == "dataclass" and cls.__dataclass_params__.frozen:  # type: ignore[attr-defined]
        json["x-frozen"] = True
    reader.types[name] = json
    return reader.compiled(cls)


class _Record:
    """Checks one record; compiled at its first use, when every class that it contains is known."""

    def __init__(self, cls: type, build: Callable[[dict[str, Any]], Any] | None, *, takes_places: bool) -> None:
        self.fields: dict[str, core_schema.TypedDictField] = {}
        self.takes_extra = False
        self._cls = cls
        self._build = build
        self._takes_places = takes_places
        self._validate: Callable[[Any], dict[str, Any]] | None = None

    def __call__(self, value: Any) -> Any:
        if self._build is not None and isinstance(value, self._cls):
            return value
        if self._takes_places and isinstance(value, (list, tuple)) and len(value) <= len(self.fields):
            value = dict(zip(self.fields, value, strict=False))
        if type(value) is not dict:
            raise refuse(f"must be a {self._cls.__name__}, or a dict of its fields")
        if len(value) > len(self.fields) + 100 and not self.takes_extra:
            raise refuse(f"must be a {self._cls.__name__}, which has {len(self.fields)} fields, not {len(value)}")
        if self._validate is None:
            extra = "allow" if self.takes_extra else "forbid"
            schema = core_schema.typed_dict_schema(self.fields, extra_behavior=cast("Any", extra))
            self._validate = SchemaValidator(schema).validate_python
        fields = self._validate(value)
        if self._build is None:
            return fields
        try:
            return self._build(fields)
        except (ValidationError, AssertionError):
            raise
        except Exception as error:  # the owner's __post_init__ may refuse in any way it likes
            raise refuse(f"is no {self._cls.__name__}: {printable(error, 300)}") from error


def _dataclass_fields(cls: type) -> list[_Field]:
    hints = typing.get_type_hints(cls, include_extras=True)
    found = []
    for field in dataclasses.fields(cls):
        json: JsonSchema = {}
        required = field.init and field.default is field.default_factory  # both MISSING
        default: Any = field.default
        if field.default_factory in (list, dict):  # others may do anything, so they only run when an object is made
            default = field.default_factory()
        if not required and field.init and default is not dataclasses.MISSING:
            json = _default(default)
        if not field.init:
            json["readOnly"] = True
        if field.kw_only is True:
            json["x-kw-only"] = True
        found.append(_Field(field.name, hints[field.name], required, json))
    return found


def _from_dataclass(cls: Any) -> Callable[[dict[str, Any]], Any]:
    # What the class computes itself comes along with a result; sent back, it is computed again.
    computed = tuple(field.name for field in dataclasses.fields(cls) if not field.init)

    def build(fields: dict[str, Any]) -> Any:
        for name in computed:
            fields.pop(name, None)
        return cls(**fields)

    return build


def _model_fields(cls: type) -> list[_Field]:
    found = []
    for name, info in cast("dict[str, Any]", cls.__pydantic_fields__).items():  # type: ignore[attr-defined]
        hint = typing.Annotated[(info.annotation, *info.metadata)] if info.metadata else info.annotation
        json = {} if info.is_required() else _default(info.default)
        if info.default_factory is not None:
            json = {"default": info.default_factory()} if info.default_factory in (list, dict) else {}
        if info.description:
            json["description"] = printable(info.description, 8000)
        found.append(_Field(name, hint, info.is_required(), json))
    return found


def _from_model(cls: Any) -> Callable[[dict[str, Any]], Any]:
    return lambda fields: cls.model_validate(fields, by_name=True, by_alias=False)


def _root_model(reader: HintReader, cls: Any) -> Compiled:
    inner = reader.read(cls.__pydantic_fields__["root"].annotation)

    def build(value: Any, handler: Callable[[Any], Any]) -> Any:
        return value if isinstance(value, cls) else cls.model_validate(handler(value))

    return inner._replace(core=core_schema.no_info_wrap_validator_function(build, inner.core))


def _typed_dict_fields(cls: type) -> list[_Field]:
    hints = typing.get_type_hints(cls, include_extras=True)
    needed = cast("frozenset[str]", cls.__required_keys__)  # type: ignore[attr-defined]
    return [_Field(name, hint, name in needed, {}) for name, hint in hints.items()]


def _named_tuple_fields(cls: Any) -> list[_Field]:
    hints = typing.get_type_hints(cls, include_extras=True)
    defaults = cls._field_defaults
    return [
        _Field(name, hints.get(name, Any), name not in defaults, _default(defaults[name]) if name in defaults else {})
        for name in cls._fields
    ]


def _from_fields(cls: Any) -> Callable[[dict[str, Any]], Any]:
    return lambda fields: cls(**fields)


def _default(value: object) -> JsonSchema:
    form = json_form(value)
    return {} if form is None else {"default": form.value}


def _own_doc(cls: type) -> str | None:
    doc = cls.__dict__.get("__doc__")
    # Dataclasses and named tuples without a docstring get their signature as one, which says nothing here.
    return None if not isinstance(doc, str) or doc.startswith(f"{cls.__name__}(") else doc


def _description(cls: type) -> JsonSchema:
    body = read_doc(_own_doc(cls)).body
    return {"description": printable(body, 8000)} if body else {}
