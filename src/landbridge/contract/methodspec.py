"""What a method promises, as frozen values that travel: its parameters, its result, and what is said of them."""

from __future__ import annotations

import functools
import inspect
import keyword
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, cast

from ..errors import InvalidName, Malformed, printable
from ..names import check_member
from .fields import flag_of, list_of, object_of, text_of
from .schema import JsonSchema, clean_schema

__all__ = ["KINDS", "MAX_DOC_CHARS", "BindingPlan", "Kind", "MethodSpec", "ParameterSpec", "is_parameter_name"]

Kind = Literal["positional_only", "positional_or_keyword", "var_positional", "keyword_only", "var_keyword"]
KINDS: dict[str, inspect._ParameterKind] = {
    "positional_only": inspect.Parameter.POSITIONAL_ONLY,
    "positional_or_keyword": inspect.Parameter.POSITIONAL_OR_KEYWORD,
    "var_positional": inspect.Parameter.VAR_POSITIONAL,
    "keyword_only": inspect.Parameter.KEYWORD_ONLY,
    "var_keyword": inspect.Parameter.VAR_KEYWORD,
}

MAX_DOC_CHARS = 64 * 1024
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
        Whether equal arguments always give equal results, and nothing else happens.
    idempotent : bool
        Whether a call may be run again when its outcome was lost, as running it twice does no more than once. What
        is pure is idempotent.
    static : bool
        Whether it is a method of a class that needs no object.
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
    idempotent: bool = False
    static: bool = False

    def __post_init__(self) -> None:
        """Have what is pure be idempotent, too."""
        if self.pure:
            object.__setattr__(self, "idempotent", True)

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
        for key in ("doc", "summary", "returns_doc", "streams", "pure", "idempotent", "static"):
            if value := getattr(self, key):
                out[key] = value
        return out

    @staticmethod
    def from_json(obj: object) -> MethodSpec:
        """Return the spec that `obj`, from anywhere and measured already, describes; else raise `Malformed`."""
        entry = object_of(obj, "a method")
        try:
            name = check_member(cast("str", entry.get("name")))
        except InvalidName as error:
            raise Malformed(f"the name of a method: {error}") from None
        parameters = tuple(_parameter(p) for p in list_of(entry.get("parameters", []), "parameters", _MAX_PARAMETERS))
        _check_order(name, parameters)
        raises = []
        for pair in list_of(entry.get("raises", []), "raises", 100):
            if not (isinstance(pair, (list, tuple)) and len(pair) == 2 and all(isinstance(part, str) for part in pair)):
                raise Malformed("raises must be pairs of type name and text")
            raises.append((printable(pair[0], 200), printable(pair[1], 4000)))
        return MethodSpec(
            name=name,
            doc=text_of(entry, "doc", MAX_DOC_CHARS),
            summary=text_of(entry, "summary", 1000),
            parameters=parameters,
            returns=_schema(entry.get("returns")),
            returns_doc=text_of(entry, "returns_doc", MAX_DOC_CHARS),
            raises=tuple(raises),
            streams=flag_of(entry, "streams"),
            items=_schema(entry.get("items")),
            pure=flag_of(entry, "pure"),
            idempotent=flag_of(entry, "idempotent"),
            static=flag_of(entry, "static"),
        )


def _parameter(obj: object) -> ParameterSpec:
    entry = object_of(obj, "a parameter")
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
        required=flag_of(entry, "required") and not variadic,
        default=_as_text_is_safe(entry.get("default")),
        default_text=None if default_text is None else text_of(entry, "default_text", 1000),
        doc=text_of(entry, "doc", MAX_DOC_CHARS),
        unit=None if unit is None else text_of(entry, "unit", 100),
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
