"""What a module promises, as frozen values that travel: its methods, their parameters, and the types they mention.

A `ModuleSpec` is made at the backend by `landbridge.contract.read_module`, goes out as JSON, and is all that a caller
ever knows of a module. Types are JSON Schema (2020-12) with these additional keywords:

====================  ==============================================================================================
``x-landbridge``      what JSON has no type for: ``enum``, ``flag``, ``dataclass``, ``model``, ``typeddict``,
                      ``namedtuple``, ``ndarray``, ``xarray.DataArray``, ``datetime``, ``tuple``, ``set``, ``complex`` …
``x-unit``            unit of a number or array, as its author wrote it
``x-dtype``           dtype of an ndarray
``x-enum-names``      names of the members, in the order of ``enum``
``x-enum-aliases``    further names of members: alias → name
``x-enum-mixin``      ``str``, ``int`` or ``float`` if members are also that
``x-frozen``          the dataclass is frozen
``x-kw-only``         the field is given by name only
``x-field-names``     names of the places of a named tuple
``x-keys``            schema of the keys of a dict whose keys are not strings
====================  ==============================================================================================
"""

from __future__ import annotations

import functools
import inspect
import keyword
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, NamedTuple, cast

from ..errors import InvalidName, Malformed, printable
from ..names import check_member, parse_address
from .schema import JsonSchema, clean_schema, clean_types, measure, named_type

__all__ = ["KINDS", "MAX_DOC_CHARS", "Kind", "MethodSpec", "ModuleSpec", "ParameterSpec", "is_parameter_name"]

Kind = Literal["positional_only", "positional_or_keyword", "var_positional", "keyword_only", "var_keyword"]
KINDS: dict[str, inspect._ParameterKind] = {
    "positional_only": inspect.Parameter.POSITIONAL_ONLY,
    "positional_or_keyword": inspect.Parameter.POSITIONAL_OR_KEYWORD,
    "var_positional": inspect.Parameter.VAR_POSITIONAL,
    "keyword_only": inspect.Parameter.KEYWORD_ONLY,
    "var_keyword": inspect.Parameter.VAR_KEYWORD,
}

MAX_DOC_CHARS = 64 * 1024
_MAX_METHODS = 2000
_MAX_PARAMETERS = 500


def is_parameter_name(name: object) -> bool:
    """Return whether `name` may name a parameter: any identifier Python takes, Greek letters too.

    Examples
    --------
    >>> is_parameter_name("σ"), is_parameter_name("lambda"), is_parameter_name("a b")
    (True, False, False)
    """
    if not isinstance(name, str) or len(name) > 128 or not name.isidentifier() or keyword.iskeyword(name):
        return False
    # Python folds identifiers, so that any other form would name something that nobody can write.
    return name.isascii() or unicodedata.normalize("NFKC", name) == name


@dataclass(frozen=True)
class ParameterSpec:
    """One parameter of a method.

    Attributes
    ----------
    name : str
        As in the function.
    kind : str
        ``positional_only``, ``positional_or_keyword``, ``var_positional``, ``keyword_only`` or ``var_keyword``.
    schema : dict
        JSON Schema of the value (of each value for the ``var_`` kinds); empty: any value that can travel.
    required : bool
        Whether a call must give it.
    default : object
        The default in JSON form, if it has one; None otherwise.
    default_text : str or None
        How Python writes the default, where the JSON form is not exactly the default.
    doc : str
        What the docstring says of it.
    unit : str or None
        Its unit, from ``Annotated[float, "m s-1"]``.
    """

    name: str
    kind: Kind = "positional_or_keyword"
    schema: JsonSchema = field(default_factory=dict)
    required: bool = True
    default: Any = None
    default_text: str | None = None
    doc: str = ""
    unit: str | None = None

    @property
    def is_variadic(self) -> bool:
        """Whether it takes any number of values: ``*args`` or ``**kwargs``."""
        return self.kind in ("var_positional", "var_keyword")

    @property
    def has_default(self) -> bool:
        """Whether the function has a default for it."""
        return not self.required and not self.is_variadic

    def to_json(self) -> dict[str, Any]:
        """Return the JSON form, without what is as usual."""
        out: dict[str, Any] = {"name": self.name, "kind": self.kind, "schema": self.schema, "required": self.required}
        if self.has_default:
            out["default"] = self.default
        for key, value in (("default_text", self.default_text), ("doc", self.doc), ("unit", self.unit)):
            if value:
                out[key] = value
        return out


class BindingPlan(NamedTuple):
    """What binding needs of a signature, computed once."""

    positional: tuple[str, ...]
    by_name: frozenset[str]
    required: frozenset[str]
    var_positional: str | None
    takes_any_name: bool


@dataclass(frozen=True)
class MethodSpec:
    """One method of a module.

    Attributes
    ----------
    name : str
        Its name in the module.
    doc : str
        The docstring without the sections that the other fields hold.
    summary : str
        First sentence of it.
    parameters : tuple of ParameterSpec
        In the order of the signature.
    returns : dict or None
        JSON Schema of the result; None without a hint.
    returns_doc : str
        What the docstring says of the result.
    raises : tuple of (str, str)
        Exceptions the docstring names, and when they occur.
    streams : bool
        Whether it gives items one by one (a generator).
    items : dict or None
        JSON Schema of each item, if it streams and has a hint.
    pure : bool
        Whether equal arguments always give equal results.
    """

    name: str
    doc: str = ""
    summary: str = ""
    parameters: tuple[ParameterSpec, ...] = ()
    returns: JsonSchema | None = None
    returns_doc: str = ""
    raises: tuple[tuple[str, str], ...] = ()
    streams: bool = False
    items: JsonSchema | None = None
    pure: bool = False

    @functools.cached_property
    def plan(self) -> BindingPlan:
        """What `landbridge.contract.bind` looks up for every call."""
        of_kind: dict[str, list[str]] = {kind: [] for kind in KINDS}
        for parameter in self.parameters:
            of_kind[parameter.kind].append(parameter.name)
        return BindingPlan(
            positional=(*of_kind["positional_only"], *of_kind["positional_or_keyword"]),
            by_name=frozenset(of_kind["positional_or_keyword"] + of_kind["keyword_only"]),
            required=frozenset(p.name for p in self.parameters if p.required),
            var_positional=of_kind["var_positional"][0] if of_kind["var_positional"] else None,
            takes_any_name=bool(of_kind["var_keyword"]),
        )

    def to_json(self) -> dict[str, Any]:
        """Return the JSON form, without what is as usual."""
        out: dict[str, Any] = {"name": self.name, "parameters": [p.to_json() for p in self.parameters]}
        if self.returns is not None:
            out["returns"] = self.returns
        if self.items is not None:
            out["items"] = self.items
        if self.raises:
            out["raises"] = [list(pair) for pair in self.raises]
        for key in ("doc", "summary", "returns_doc", "streams", "pure"):
            if value := getattr(self, key):
                out[key] = value
        return out


@dataclass(frozen=True)
class ModuleSpec:
    """All that a caller knows of a module.

    Attributes
    ----------
    name : str
        ``institute/module``.
    doc : str
        Docstring of the module.
    summary : str
        First sentence of it.
    version : str
        As its owner states it.
    methods : mapping of str to MethodSpec
        Its methods, in the order of the owner.
    types : dict of str to dict
        Schemas of the classes that the signatures mention, by class name: the ``$defs`` of all other schemas.
    """

    name: str
    doc: str = ""
    summary: str = ""
    version: str = ""
    methods: Mapping[str, MethodSpec] = field(default_factory=dict)
    types: dict[str, JsonSchema] = field(default_factory=dict)

    def only(self, names: Iterable[str]) -> ModuleSpec:
        """Return the spec with these methods, and with no types but those that they mention.

        Examples
        --------
        >>> spec = ModuleSpec("geomar/ocean", methods={"mean": MethodSpec("mean"), "raw": MethodSpec("raw")})
        >>> list(spec.only(["mean"]).methods)
        ['mean']
        """
        methods = {name: self.methods[name] for name in names}
        wanted: set[str] = set()
        to_read: list[Any] = [method.to_json() for method in methods.values()]
        while to_read:
            part = to_read.pop()
            if isinstance(part, dict):
                name = named_type(part)
                if name in self.types and name not in wanted:
                    wanted.add(name)
                    to_read.append(self.types[name])
                to_read.extend(part.values())
            elif isinstance(part, list | tuple):
                to_read.extend(part)
        return replace(self, methods=methods, types={name: self.types[name] for name in self.types if name in wanted})

    def to_json(self) -> dict[str, Any]:
        """Return the form that travels: dicts, lists, texts, numbers, None."""
        out: dict[str, Any] = {"name": self.name}
        for key in ("doc", "summary", "version"):
            if value := getattr(self, key):
                out[key] = value
        out["methods"] = [method.to_json() for method in self.methods.values()]
        out["types"] = dict(self.types)
        return out

    @staticmethod
    def from_json(obj: object) -> ModuleSpec:
        """Return the spec that `obj`, from anywhere, describes.

        Keys that are not known are left out, so that a newer backend may say more.

        Parameters
        ----------
        obj : object
            What `to_json` gave, as it arrived.

        Raises
        ------
        Malformed
            When sizes, names, types or nesting are not those of a spec.

        Examples
        --------
        >>> spec = ModuleSpec("geomar/ocean", methods={"mean": MethodSpec("mean")})
        >>> ModuleSpec.from_json(spec.to_json()) == spec
        True
        """
        measure(obj)
        top = _dict(obj, "a module")
        types = clean_types(_dict(top.get("types", {}), "types"))
        methods = [_method(entry) for entry in _list(top.get("methods", []), "methods", _MAX_METHODS)]
        if len({method.name for method in methods}) < len(methods):
            raise Malformed("two methods of a module have the same name")
        name = top.get("name")
        try:
            address = parse_address(name) if isinstance(name, str) else None
        except InvalidName as error:
            raise Malformed(f"the name of a module: {error}") from None
        if address is None or address.member is not None:
            raise Malformed("a module's name must look like institute/module")
        return ModuleSpec(
            name=str(address),
            doc=_text(top, "doc", MAX_DOC_CHARS),
            summary=_text(top, "summary", 1000),
            version=_text(top, "version", 100),
            methods={method.name: method for method in methods},
            types=types,
        )


def _method(obj: object) -> MethodSpec:
    entry = _dict(obj, "a method")
    try:
        name = check_member(cast("str", entry.get("name")))
    except InvalidName as error:
        raise Malformed(f"the name of a method: {error}") from None
    parameters = tuple(_parameter(p) for p in _list(entry.get("parameters", []), "parameters", _MAX_PARAMETERS))
    _check_order(name, parameters)
    raises = []
    for pair in _list(entry.get("raises", []), "raises", 100):
        if not (isinstance(pair, (list, tuple)) and len(pair) == 2 and all(isinstance(part, str) for part in pair)):
            raise Malformed("raises must be pairs of type name and text")
        raises.append((printable(pair[0], 200), printable(pair[1], 4000)))
    return MethodSpec(
        name=name,
        doc=_text(entry, "doc", MAX_DOC_CHARS),
        summary=_text(entry, "summary", 1000),
        parameters=parameters,
        returns=_schema(entry.get("returns")),
        returns_doc=_text(entry, "returns_doc", MAX_DOC_CHARS),
        raises=tuple(raises),
        streams=_flag(entry, "streams"),
        items=_schema(entry.get("items")),
        pure=_flag(entry, "pure"),
    )


def _parameter(obj: object) -> ParameterSpec:
    entry = _dict(obj, "a parameter")
    name, kind = entry.get("name"), entry.get("kind", "positional_or_keyword")
    if not is_parameter_name(name):
        raise Malformed(f"{printable(repr(name), 120)} may not name a parameter")
    if not isinstance(kind, str) or kind not in KINDS:
        raise Malformed(f"{printable(repr(kind), 120)} is no kind of parameter")
    variadic = kind in ("var_positional", "var_keyword")
    default_text = entry.get("default_text")
    unit = entry.get("unit")
    return ParameterSpec(
        name=cast("str", name),
        kind=cast("Kind", kind),
        schema=_schema(entry.get("schema", {})) or {},
        required=_flag(entry, "required") and not variadic,
        default=_as_text_is_safe(entry.get("default")),
        default_text=None if default_text is None else _text(entry, "default_text", 1000),
        doc=_text(entry, "doc", MAX_DOC_CHARS),
        unit=None if unit is None else _text(entry, "unit", 100),
    )


def _check_order(method: str, parameters: Sequence[ParameterSpec]) -> None:
    # What inspect.Signature would refuse later, in the middle of somebody's completion.
    order = list(KINDS)
    places = [order.index(p.kind) for p in parameters]
    names = {p.name for p in parameters}
    doubled = any(places.count(order.index(kind)) > 1 for kind in ("var_positional", "var_keyword"))
    if places != sorted(places) or doubled or len(names) < len(parameters):
        raise Malformed(f"the parameters of {method} are not in an order that Python knows, or are doubled")
    optional = False
    for p in parameters:
        if p.kind in ("positional_only", "positional_or_keyword"):
            if optional and p.required:
                raise Malformed(f"the parameters of {method} have a required one after an optional one")
            optional = optional or not p.required


def _as_text_is_safe(value: Any) -> Any:
    # A default is shown to people, so its texts must be as harmless as all others. Depth was measured before.
    if isinstance(value, str):
        return printable(value, 10_000)
    if isinstance(value, (list, tuple)):
        return [_as_text_is_safe(item) for item in value]
    if isinstance(value, dict):
        return {printable(key, 200): _as_text_is_safe(item) for key, item in value.items()}
    return value


def _schema(obj: object) -> JsonSchema | None:
    return None if obj is None else clean_schema(obj)


def _dict(obj: object, what: str) -> dict[str, Any]:
    if not isinstance(obj, dict):
        raise Malformed(f"{what} must be an object, not {type(obj).__name__}")
    return obj


def _list(obj: object, what: str, limit: int) -> list[Any]:
    if not isinstance(obj, (list, tuple)):
        raise Malformed(f"{what} must be a list, not {type(obj).__name__}")
    if len(obj) > limit:
        raise Malformed(f"{len(obj)} {what}, at most {limit} are taken")
    return list(obj)


def _text(entry: dict[str, Any], key: str, limit: int) -> str:
    value = entry.get(key, "")
    if not isinstance(value, str):
        raise Malformed(f"{key} must be a text, not {type(value).__name__}")
    return printable(value, limit)


def _flag(entry: dict[str, Any], key: str) -> bool:
    value = entry.get(key, False)
    if not isinstance(value, bool):
        raise Malformed(f"{key} must be true or false, not {type(value).__name__}")
    return value
