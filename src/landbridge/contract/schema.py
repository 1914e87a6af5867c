"""JSON Schema as it arrives from elsewhere: bounded, reduced to the keywords we know, and walked without loops."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Mapping
from typing import Any

from ..errors import InvalidName, LandbridgeError, Malformed, printable
from ..names import check_member

__all__ = [
    "HOSTILE",
    "JsonSchema",
    "clean_schema",
    "clean_types",
    "contradiction",
    "describe",
    "hostile",
    "measure",
    "mentions_types",
    "named_type",
    "needs_function",
    "resolve",
]

JsonSchema = dict[str, Any]

MAX_SPEC_BYTES = 1024 * 1024
MAX_INT_BITS = 1000  # Python refuses to write one of some 14,000 bits
_MAX_DEPTH = 64
_MAX_SCHEMA_DEPTH = 32
_MAX_TYPES = 1000
_REF = "#/$defs/"

_TEXTS = {"title": 200, "description": 8000, "format": 100, "pattern": 1000, "x-landbridge": 100, "x-unit": 100,
          "x-dtype": 200, "x-enum-mixin": 20}  # fmt: skip
_NUMBERS = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf")
_COUNTS = ("minItems", "maxItems", "minLength", "maxLength", "minProperties", "maxProperties")
_FLAGS = ("uniqueItems", "readOnly", "deprecated", "x-frozen", "x-kw-only", "x-lazy", "x-awaited")
_VALUES = ("default", "const")
_VALUE_LISTS = ("enum", "examples")
_NAME_LISTS = ("required", "x-enum-names", "x-field-names")
_SCHEMAS = ("items", "contains", "not", "x-keys", "x-returns")
_SCHEMA_LISTS = ("anyOf", "oneOf", "allOf", "prefixItems", "x-arguments")
_JSON_TYPES = frozenset({"null", "boolean", "integer", "number", "string", "array", "object"})


@contextlib.contextmanager
def hostile(what: str) -> Iterator[None]:
    """Turn whatever Python makes of a description that contradicts itself into `Malformed`.

    Examples
    --------
    >>> with hostile("the types of a module"):
    ...     {}["items"]
    Traceback (most recent call last):
    landbridge.errors.Malformed: Received bytes that are not a valid Landbridge message: the types of a module ...
    """
    try:
        yield
    except LandbridgeError:
        raise
    except HOSTILE as error:
        raise contradiction(what, error) from error


HOSTILE = (RecursionError, ValueError, KeyError, TypeError, AttributeError)


def contradiction(what: str, error: Exception) -> Malformed:
    """Return the error for a description that Python stumbled over."""
    return Malformed(f"{what} can not be made ({type(error).__name__}: {printable(error, 200)})")


def measure(obj: object, limit_bytes: int = MAX_SPEC_BYTES) -> None:
    """Refuse what is not plain JSON, too deep or larger than `limit_bytes`, without recursion.

    Raises
    ------
    Malformed
        With the limit that was passed, or the type that JSON has not.
    """
    left = limit_bytes
    stack: list[tuple[object, int]] = [(obj, 0)]
    while stack:
        value, depth = stack.pop()
        kind = type(value)
        if kind is str:
            left -= len(value) + 2  # type: ignore[arg-type]
        elif kind is int:
            if value.bit_length() > MAX_INT_BITS:  # type: ignore[attr-defined]
                raise Malformed(f"a description holds an integer of more than {MAX_INT_BITS:,} bits")
            left -= 2 + value.bit_length() // 3  # type: ignore[attr-defined]
        elif kind is dict or kind is list or kind is tuple:
            if depth >= _MAX_DEPTH:
                raise Malformed(f"a description nests deeper than {_MAX_DEPTH} levels")
            left -= 2 + len(value)  # type: ignore[arg-type]
            if left >= 0:
                if isinstance(value, dict):
                    for key, item in value.items():
                        if type(key) is not str:
                            raise Malformed(f"a description has a key of type {type(key).__name__}")
                        left -= len(key) + 2
                        stack.append((item, depth + 1))
                else:
                    stack.extend((item, depth + 1) for item in value)  # type: ignore[attr-defined]
        elif value is None or kind is bool:
            left -= 4
        elif kind is float and math.isfinite(value):  # type: ignore[arg-type]
            left -= 8
        else:
            raise Malformed(f"a description holds a value that JSON has not: {printable(repr(value), 80)}")
        if left < 0:
            raise Malformed(f"a description is larger than {limit_bytes:,} bytes")


def clean_types(types: Mapping[str, object]) -> dict[str, JsonSchema]:
    """Return the shared type schemas, each cleaned, under names that may be class names."""
    if len(types) > _MAX_TYPES:
        raise Malformed(f"{len(types)} types in a description, at most {_MAX_TYPES} are taken")
    for name in types:
        _check_type_name(name)
    return {name: clean_schema(schema) for name, schema in types.items()}


def clean_schema(obj: object, depth: int = 0) -> JsonSchema:
    """Return a schema from elsewhere with the keywords we know, of the right types; others are left out.

    ``$ref`` may only name a shared type: ``#/$defs/<name>``. Patterns are texts to show; they are never run here.

    Raises
    ------
    Malformed
        When a known keyword has a value of another type, or schemas nest too deep.
    """
    if obj is True:  # JSON Schema's other way to write {}
        return {}
    if not isinstance(obj, dict):
        raise Malformed(f"a schema must be an object, not {type(obj).__name__}")
    if depth > _MAX_SCHEMA_DEPTH:
        raise Malformed(f"a schema nests deeper than {_MAX_SCHEMA_DEPTH} levels")
    return {key: value for key, raw in obj.items() if (value := _keyword(key, raw, depth)) is not _LEFT_OUT}


_LEFT_OUT = object()


def _keyword(key: str, value: Any, depth: int) -> Any:
    if key == "$ref":
        if not isinstance(value, str) or not value.startswith(_REF):
            raise Malformed("a schema refers to something outside its module")
        return _REF + _check_type_name(value[len(_REF) :])
    if key == "type":
        kinds = value if isinstance(value, list) else [value]
        if not kinds or not all(isinstance(kind, str) and kind in _JSON_TYPES for kind in kinds):
            raise Malformed(f"{printable(repr(value), 80)} is no type of JSON Schema")
        return value
    if key in _TEXTS:
        return printable(_typed(key, value, str), _TEXTS[key])
    if key in _FLAGS:
        return _typed(key, value, bool)
    if key in _NUMBERS or key in _COUNTS:
        if isinstance(value, bool) or not isinstance(value, (int, float) if key in _NUMBERS else int):
            raise Malformed(f"{key} in a schema must be a number")
        return value
    if key in _VALUES:
        return _harmless(value)
    if key in _VALUE_LISTS:
        return [_harmless(item) for item in _typed(key, value, list)]
    if key in _NAME_LISTS:
        return [printable(_typed(key, item, str), 200) for item in _typed(key, value, list)]
    if key == "x-enum-aliases":
        names = _typed(key, value, dict)
        return {printable(alias, 200): printable(_typed(key, name, str), 200) for alias, name in names.items()}
    if key in _SCHEMAS:
        return clean_schema(value, depth + 1)
    if key in _SCHEMA_LISTS:
        return [clean_schema(item, depth + 1) for item in _typed(key, value, list)]
    if key == "additionalProperties":
        return value if isinstance(value, bool) else clean_schema(value, depth + 1)
    if key == "properties":
        items = _typed(key, value, dict).items()
        return {printable(name, 200): clean_schema(schema, depth + 1) for name, schema in items}
    return _LEFT_OUT


def _typed(key: str, value: Any, kind: type) -> Any:
    if not isinstance(value, kind):
        raise Malformed(f"{key} in a schema must be of type {kind.__name__}, not {type(value).__name__}")
    return value


def _harmless(value: Any) -> Any:
    if isinstance(value, str):
        return printable(value, 10_000)
    if isinstance(value, (list, tuple)):
        return [_harmless(item) for item in value]
    if isinstance(value, dict):
        return {printable(key, 200): _harmless(item) for key, item in value.items()}
    return value


def _check_type_name(name: object) -> str:
    try:
        return check_member(name)  # type: ignore[arg-type]  # it says what is wrong with what is no text
    except InvalidName as error:
        raise Malformed(f"the name of a type: {error}") from None


def named_type(schema: Mapping[str, Any]) -> str | None:
    """Return the name of the shared type that `schema` is, or None.

    Examples
    --------
    >>> named_type({"$ref": "#/$defs/Region"})
    'Region'
    """
    ref = schema.get("$ref")
    return ref[len(_REF) :] if isinstance(ref, str) and ref.startswith(_REF) else None


def resolve(schema: JsonSchema, types: Mapping[str, JsonSchema]) -> JsonSchema:
    """Return what a reference stands for; any other schema as it is. One step: types never are references."""
    name = named_type(schema)
    return schema if name is None else types.get(name, {})


def needs_function(schema: Mapping[str, Any]) -> bool:
    """Return whether nothing but a function of the caller, or None, fits `schema`.

    Examples
    --------
    >>> needs_function({"anyOf": [{"x-landbridge": "function"}, {"type": "null"}]})
    True
    """
    branches = [branch for branch in schema.get("anyOf", [schema]) if branch != {"type": "null"}]
    return bool(branches) and all(branch.get("x-landbridge") == "function" for branch in branches)


def _children(schema: Mapping[str, Any]) -> Iterator[JsonSchema]:
    for key in _SCHEMAS:
        if isinstance(schema.get(key), dict):
            yield schema[key]
    for key in _SCHEMA_LISTS:
        yield from schema.get(key, ())
    if isinstance(schema.get("additionalProperties"), dict):
        yield schema["additionalProperties"]
    yield from schema.get("properties", {}).values()


def mentions_types(schema: Mapping[str, Any]) -> bool:
    """Return whether a shared type occurs anywhere in `schema`.

    Examples
    --------
    >>> mentions_types({"type": "array", "items": {"type": "number"}})
    False
    """
    return "$ref" in schema or any(mentions_types(child) for child in _children(schema))


_SIMPLE = {"integer": "int", "number": "float", "string": "str", "boolean": "bool", "null": "None"}
_WRITTEN = {"ndarray": "np.ndarray", "array-like": "ArrayLike"}
_MODULES = {"xarray": "xr", "pandas": "pd", "numpy": "np", "geopandas": "gpd", "pyarrow": "pa", "polars": "pl"}


def describe(schema: Mapping[str, Any]) -> str:
    """Return the type as one would write it as a hint, for messages and signatures.

    Examples
    --------
    >>> describe({"anyOf": [{"type": "array", "items": {"type": "number"}}, {"type": "null"}]})
    'list[float] | None'
    >>> describe({"x-landbridge": "xarray.DataArray"})
    'xr.DataArray'
    """
    name = named_type(schema)
    if name is not None:
        return name
    special = schema.get("x-landbridge")
    if special == "ndarray" and "x-dtype" in schema:
        return f"NDArray[np.{schema['x-dtype']}]"
    if special in ("tuple", "set", "frozenset"):
        return _describe_container(schema, special)
    if special == "dict":
        return f"dict[{describe(schema.get('x-keys', {}))}, {describe(schema.get('additionalProperties') or {})}]"
    if special == "object":
        return str(schema.get("title", "object"))
    if special == "function":
        return _describe_function(schema)
    if special is not None:
        module, dot, rest = str(special).partition(".")
        return f"{_MODULES.get(module, module)}.{rest}" if dot else _WRITTEN.get(module, module)
    for key in ("anyOf", "oneOf"):
        if key in schema:
            return " | ".join(dict.fromkeys(describe(branch) for branch in schema[key])) or "object"
    if "enum" in schema:
        return f"Literal[{', '.join(repr(value) for value in schema['enum'][:20])}]"
    kind = schema.get("type")
    if isinstance(kind, list):
        return " | ".join(_SIMPLE.get(each, "object") for each in kind)
    if kind == "array":
        return _describe_container(schema, "list")
    if kind == "object":
        values = schema.get("additionalProperties")
        return f"dict[str, {describe(values)}]" if isinstance(values, dict) and values else "dict"
    return _SIMPLE.get(kind, "Any") if isinstance(kind, str) else "Any"


def _describe_function(schema: Mapping[str, Any]) -> str:
    if not schema.keys() & {"x-arguments", "x-returns"}:
        return "Callable"
    places = schema.get("x-arguments")
    taken = "..." if places is None else f"[{', '.join(describe(place) for place in places)}]"
    given = describe(schema.get("x-returns", {}))
    return f"Callable[{taken}, {f'Awaitable[{given}]' if schema.get('x-awaited') else given}]"


def _describe_container(schema: Mapping[str, Any], container: str) -> str:
    if "prefixItems" in schema:
        return f"{container}[{', '.join(describe(item) for item in schema['prefixItems']) or '()'}]"
    items = schema.get("items")
    if not items:
        return container
    return f"{container}[{describe(items)}{', ...' if container == 'tuple' else ''}]"
