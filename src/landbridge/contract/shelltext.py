"""Arguments written in a shell, read by the schema of the method: ``--first 2006 --region.west -20 --no-fill``."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from ..errors import InvalidArguments, Problem, printable
from ..names import nearest
from .methodspec import MethodSpec, ParameterSpec
from .schema import JsonSchema, describe, needs_function, resolve

__all__ = ["parse_text"]

_TRUE = frozenset({"", "true", "yes", "on", "1"})
_FALSE = frozenset({"false", "no", "off", "0"})
_NULL = frozenset({"null", "none"})
_MAX_JSON_CHARS = 16 * 1024 * 1024
_TABLES_AND_FIELDS = ("xarray.", "pandas.", "geopandas.", "pyarrow.", "polars.", "shapely.")
_CANNOT = ("ndarray", "array-like", "object")
_STAYS_HERE = "is a function, which can not be written in a shell; call it from Python"


def parse_text(
    spec: MethodSpec, types: Mapping[str, JsonSchema], texts: Mapping[str, str | list[str]], *, target: str = ""
) -> dict[str, Any]:
    """Return the values that the texts of a command line stand for.

    Parameters
    ----------
    spec : MethodSpec
        The method that is called.
    types : mapping of str to dict
        Schemas of the shared types: `ModuleSpec.types`.
    texts : mapping of str to str or list of str
        By option without its dashes: a parameter (``first``), a field of one (``region.west``), or ``no-`` and the
        name of a flag. An option that was given several times has a list.
    target : str
        ``institute/module.method`` for messages; the method's name otherwise.

    Returns
    -------
    dict
        Values by parameter, as the backend checks them: what only it can know (ranges, patterns) it says.

    Raises
    ------
    InvalidArguments
        With all problems at once.

    Examples
    --------
    >>> from landbridge.contract import ParameterSpec
    >>> years = ParameterSpec("years", schema={"type": "array", "items": {"type": "integer"}})
    >>> fill = ParameterSpec("fill", schema={"type": "boolean"})
    >>> parse_text(MethodSpec("mean", parameters=(years, fill)), {}, {"years": ["2006", "2007"], "no-fill": ""})
    {'years': [2006, 2007], 'fill': False}
    """
    reader = _Reader(spec, types)
    for option, given in texts.items():
        reader.take(option, given if isinstance(given, list) else [given])
    reader.require()
    if reader.problems:
        raise InvalidArguments(target or spec.name, reader.problems)
    return reader.values


class _Unreadable(Exception):
    pass


class _Reader:
    def __init__(self, spec: MethodSpec, types: Mapping[str, JsonSchema]) -> None:
        self.values: dict[str, Any] = {}
        self.problems: list[Problem] = []
        self._types = types
        self._parameters = {p.name: p for p in spec.parameters if p.kind != "var_keyword"}
        self._others = next((p for p in spec.parameters if p.kind == "var_keyword"), None)
        self._texts = _Texts(types)

    def take(self, option: str, given: list[str]) -> None:
        head, *inner = option.lstrip("-").split(".")
        name = self._named(head)
        if name is None and head.startswith(("no-", "no_")):
            name = self._named(head[3:])
            if name is not None and not inner and self._texts.is_flag(self._parameters[name].schema):
                self._set(name, (), False)
                return
            name = None
        if name is None:
            if self._others is None:
                meant = nearest(head, self._parameters)
                hint = f"did you mean --{meant}?" if meant else f"there are {', '.join(self._parameters) or 'none'}"
                self.problems.append(Problem(printable(option, 100), f"is no parameter; {hint}"))
                return
            name, schema = head.replace("-", "_"), self._others.schema
        else:
            schema = _value_schema(self._parameters[name])
        steps = [step.replace("-", "_") for step in inner]
        try:
            value = self._texts.read(self._texts.inside(schema, steps), given)
        except _Unreadable as error:
            self.problems.append(Problem(printable(".".join([name, *steps]), 200), str(error)))
        else:
            self._set(name, tuple(steps), value)

    def _named(self, head: str) -> str | None:
        return next((name for name in (head, head.replace("-", "_")) if name in self._parameters), None)

    def _set(self, name: str, steps: tuple[str, ...], value: Any) -> None:
        path = (name, *steps)
        place = self.values
        for step in path[:-1]:
            place = place.setdefault(step, {})
            if not isinstance(place, dict):
                break
        if not isinstance(place, dict) or path[-1] in place:
            self.problems.append(Problem(printable(".".join(path), 200), "is given twice"))
        else:
            place[path[-1]] = value

    def require(self) -> None:
        wrong = {problem.where.partition(".")[0] for problem in self.problems}
        for name, parameter in self._parameters.items():
            if parameter.required and name not in self.values and name not in wrong:
                is_function = parameter.schema.get("x-landbridge") == "function"
                said = _STAYS_HERE if is_function else f"is missing: --{name} {describe(parameter.schema)}"
                self.problems.append(Problem(name, said))


def _value_schema(parameter: ParameterSpec) -> JsonSchema:
    return {"type": "array", "items": parameter.schema} if parameter.kind == "var_positional" else parameter.schema


class _Texts:
    """Reads texts by schema."""

    def __init__(self, types: Mapping[str, JsonSchema]) -> None:
        self._types = types

    def is_flag(self, schema: JsonSchema) -> bool:
        return any(branch.get("type") == "boolean" for branch in self._branches(schema))

    def _branches(self, schema: JsonSchema) -> list[JsonSchema]:
        """Return the alternatives of a schema, references resolved; nested ones are opened, to a bound."""
        found: list[JsonSchema] = []
        ahead = [(schema, 0)]
        while ahead and len(found) < 100:
            each, depth = ahead.pop(0)
            each = resolve(each, self._types)
            if "anyOf" in each and depth < 10:
                ahead[:0] = [(branch, depth + 1) for branch in each["anyOf"]]
            else:
                found.append(each)
        return found

    def inside(self, schema: JsonSchema, steps: list[str]) -> JsonSchema:
        """Return the schema of a field, so many steps down."""
        for step in steps:
            branches = [branch for branch in self._branches(schema) if branch.get("type") == "object" or not branch]
            properties = {name: field for branch in branches for name, field in branch.get("properties", {}).items()}
            if step in properties:
                schema = properties[step]
                continue
            if not branches:
                raise _Unreadable("has no fields")
            others = next((b["additionalProperties"] for b in branches if b.get("additionalProperties")), None)
            if properties and others is None:
                meant = nearest(step, properties)
                raise _Unreadable(
                    f"is no field; did you mean {meant!r}?"
                    if meant
                    else f"is no field; there are {', '.join(list(properties)[:20])}"
                )
            schema = others if isinstance(others, dict) else {}
        return schema

    def read(self, schema: JsonSchema, given: list[str]) -> Any:
        branches = self._branches(schema)
        # Text takes everything, so it is tried last; a list before single values when there are several.
        branches.sort(key=_looseness)
        said = None
        for branch in branches:
            try:
                return self._read_one(branch, given)
            except _Unreadable as error:
                said = said or str(error)
        if needs_function(schema):
            raise _Unreadable(_STAYS_HERE)
        if len(branches) == 1 and said:
            raise _Unreadable(said)
        raise _Unreadable(f"must be {describe(schema)}; got {_shown(given[-1] if given else '')}")

    def _read_one(self, schema: JsonSchema, given: list[str]) -> Any:
        special = schema.get("x-landbridge", "")
        if special == "function":
            raise _Unreadable(_STAYS_HERE)
        if special.startswith(_TABLES_AND_FIELDS) or (special in _CANNOT and special != "ndarray"):
            raise _Unreadable(f"is a {describe(schema)}, which can not be written in a shell; call it from Python")
        if schema.get("type") == "array":
            return self._read_list(schema, given)
        if len(given) != 1:
            raise _Unreadable(f"is given {len(given)} times, but is no list")
        text = given[0]
        if "enum" in schema:
            return _member(schema, text)
        if not schema:
            return _free(text)
        kind = schema.get("type")
        if special == "complex":
            return _number(text, complex, "a complex number such as 1+2j")
        if isinstance(kind, list):
            return self.read({"anyOf": [{"type": each} for each in kind]}, given)
        if special == "flag" and not text.strip().lstrip("-").isdigit():
            return text
        reader = _READERS.get(kind or "")
        return text if reader is None else reader(text)

    def _read_list(self, schema: JsonSchema, given: list[str]) -> list[Any]:
        if len(given) == 1 and given[0].lstrip().startswith("["):
            return _json(given[0], list)  # type: ignore[no-any-return]
        places = schema.get("prefixItems")
        if places is not None and len(places) != len(given):
            raise _Unreadable(f"must be given {len(places)} times, or once as JSON: '[...]'")
        items = schema.get("items", {"type": "number"} if schema.get("x-landbridge") == "ndarray" else {})
        schemas = places if places is not None else [items] * len(given)
        return [self.read(item, [text]) for item, text in zip(schemas, given, strict=True)]


def _looseness(schema: JsonSchema) -> int:
    if "enum" in schema:
        return 0
    kind = schema.get("type")
    order = {"null": 1, "integer": 2, "number": 3, "boolean": 4, "array": 5, "object": 5, "string": 7}
    return order.get(kind, 6) if isinstance(kind, str) else 8


def _shown(text: str) -> str:
    return printable(repr(text[:80]), 80)


def _member(schema: JsonSchema, text: str) -> Any:
    values = schema["enum"]
    names = dict(zip(schema.get("x-enum-names", ()), values, strict=False))
    names |= {alias: names[name] for alias, name in schema.get("x-enum-aliases", {}).items() if name in names}
    for value in values:
        if text == value or (not isinstance(value, str) and text == json.dumps(value)):
            return value
    if text in names:
        return names[text]
    folded = {name.casefold(): value for name, value in names.items()}
    if text.casefold() in folded:
        return folded[text.casefold()]
    known = [str(name) for name in (names or values)]
    meant = nearest(text, known)
    hint = f"; did you mean {meant}?" if meant else f"; there are {', '.join(known[:20])}"
    raise _Unreadable(printable(f"has no member {_shown(text)}{hint}", 400))


def _number(text: str, make: Callable[[str], Any], what: str) -> Any:
    try:
        return make(text.strip())
    except ValueError:
        raise _Unreadable(f"must be {what}; got {_shown(text)}") from None


def _integer(text: str) -> int:
    return _number(text, int, "a whole number")  # type: ignore[no-any-return]


def _float(text: str) -> float:
    return _number(text, float, "a number")  # type: ignore[no-any-return]


def _boolean(text: str) -> bool:
    word = text.strip().casefold()
    if word in _TRUE:
        return True
    if word in _FALSE:
        return False
    raise _Unreadable(f"must be true or false; got {_shown(text)}")


def _null(text: str) -> None:
    if text.strip().casefold() not in _NULL:
        raise _Unreadable(f"must be null; got {_shown(text)}")


def _object(text: str) -> dict[str, Any]:
    return _json(text, dict)  # type: ignore[no-any-return]


_READERS: dict[str, Callable[[str], Any]] = {
    "integer": _integer,
    "number": _float,
    "boolean": _boolean,
    "null": _null,
    "object": _object,
}


def _json(text: str, kind: type) -> Any:
    if len(text) > _MAX_JSON_CHARS:
        raise _Unreadable(f"is longer than {_MAX_JSON_CHARS:,} characters")
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _Unreadable(f"is not valid JSON ({printable(error, 100)}); got {_shown(text)}") from None
    if not isinstance(value, kind):
        raise _Unreadable(f"must be a JSON {'list' if kind is list else 'object'}; got {_shown(text)}")
    return value


def _free(text: str) -> Any:
    """Return what a text stands for where anything is taken: JSON if it is some, else the text."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text
