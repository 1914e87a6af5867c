"""From a spec to what Python shows of a function or class: its signature and its docstring."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from .methodspec import KINDS, MethodSpec, ParameterSpec
from .rebuild import hint_of, revive, sharing_defaults
from .schema import JsonSchema, describe, hostile
from .spec import ClassSpec

__all__ = ["docstring", "signature"]


_STARS = {"var_positional": "*", "var_keyword": "**"}


class _Written:
    """A default that is shown as its owner's Python writes it, and never sent."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def __repr__(self) -> str:
        return self._text

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Written) and other._text == self._text

    def __hash__(self) -> int:
        return hash(self._text)


def signature(spec: MethodSpec | ClassSpec, types: Mapping[str, type]) -> inspect.Signature:
    """Return the signature of a method: true names, kinds and defaults, hints as classes where there are any here.

    Parameters
    ----------
    spec : MethodSpec or ClassSpec
        The method; the signature of a class is what making an object takes.
    types : mapping of str to type
        Classes of its module, from `landbridge.contract.rebuild_types`.

    Returns
    -------
    inspect.Signature
        Hints of types that the caller need not have (``xr.DataArray``) are texts.

    Examples
    --------
    >>> from landbridge.contract import ParameterSpec
    >>> first = ParameterSpec("first", schema={"type": "integer"})
    >>> signature(MethodSpec("mean", parameters=(first,), returns={"x-landbridge": "xarray.DataArray"}), {})
    <Signature (first: int) -> 'xr.DataArray'>
    """
    with hostile(f"the signature of {spec.name}"), sharing_defaults():
        return _signature(spec.init if isinstance(spec, ClassSpec) else spec, types)


def _signature(method: MethodSpec, types: Mapping[str, type]) -> inspect.Signature:
    parameters = [_parameter(parameter, types) for parameter in method.parameters]
    returns: Any = inspect.Signature.empty
    if method.streams:
        items = hint_of(method.items or {}, types)
        returns = f"Iterator[{items if isinstance(items, str) else describe(method.items or {})}]"
    elif method.returns:
        returns = hint_of(method.returns, types)
    return inspect.Signature(parameters, return_annotation=returns)


def _parameter(parameter: ParameterSpec, types: Mapping[str, type]) -> inspect.Parameter:
    default: Any = inspect.Parameter.empty
    if parameter.has_default:
        if parameter.default_text is not None:
            default = _Written(parameter.default_text)
        else:
            default = revive(copy.deepcopy(parameter.default), parameter.schema, types)
    hint = hint_of(parameter.schema, types) if parameter.schema else inspect.Parameter.empty
    return inspect.Parameter(parameter.name, KINDS[parameter.kind], default=default, annotation=hint)


def docstring(spec: MethodSpec | ClassSpec) -> str:
    """Return the docstring of a method or class in numpydoc form.

    Examples
    --------
    >>> from landbridge.contract import ParameterSpec
    >>> depth = ParameterSpec("depth", schema={"type": "number", "minimum": 0}, doc="Below the surface.", unit="m")
    >>> text = docstring(MethodSpec("at", doc="Temperature at a depth.", parameters=(depth,)))
    >>> text.splitlines()[4:]
    ['depth : float, at least 0, in m', '    Below the surface.']
    """
    with hostile(f"the docstring of {spec.name}"):
        if not isinstance(spec, ClassSpec):
            return _docstring(spec)
        made = replace(spec.init, doc=spec.doc or spec.init.doc, summary=spec.summary or spec.init.summary)
        return _docstring(made, "\n".join(map(_brief, spec.methods.values())))


def _docstring(method: MethodSpec, methods: str = "") -> str:
    body, sections = _split(method.doc or method.summary)
    parts = [body]
    if method.parameters:
        parts.append(_section("Parameters", "\n".join(map(_entry, method.parameters))))
    result = method.items if method.streams else method.returns
    if result or method.returns_doc:
        text = describe(result or {}) + _unit_text(result or {}) + _indented(method.returns_doc)
        parts.append(_section("Yields" if method.streams else "Returns", text))
    if method.raises:
        parts.append(_section("Raises", "\n".join(name + _indented(text) for name, text in method.raises)))
    if methods:
        parts.append(_section("Methods", methods))
    return "\n\n".join(part for part in (*parts, sections) if part)


def _brief(method: MethodSpec) -> str:
    given = ", ".join(_STARS.get(parameter.kind, "") + parameter.name for parameter in method.parameters)
    return f"{method.name}({given})" + _indented(method.summary)


def _split(text: str) -> tuple[str, str]:
    """Return the text before and from the first section that stands below the parameters in numpydoc."""
    lines = text.split("\n")
    for number, line in enumerate(lines[1:]):
        if line and set(line) == {"-"} and len(line) == len(lines[number]):
            return "\n".join(lines[:number]).rstrip(), "\n".join(lines[number:])
    return text, ""


def _section(title: str, text: str) -> str:
    return f"{title}\n{'-' * len(title)}\n{text}"


def _entry(parameter: ParameterSpec) -> str:
    what = [describe(parameter.schema) if parameter.schema else "", *_bounds(parameter.schema)]
    if parameter.unit:
        what.append(f"in {parameter.unit}")
    if parameter.has_default:
        shown = parameter.default_text if parameter.default_text is not None else repr(parameter.default)
        what.append(f"default {shown}")
    line = ", ".join(part for part in what if part)
    return f"{_STARS.get(parameter.kind, '')}{parameter.name}{' : ' if line else ''}{line}" + _indented(parameter.doc)


_BOUNDS = {
    "minimum": "at least {}",
    "exclusiveMinimum": "greater than {}",
    "maximum": "at most {}",
    "exclusiveMaximum": "less than {}",
    "multipleOf": "a multiple of {}",
    "minLength": "at least {} characters",
    "maxLength": "at most {} characters",
    "minItems": "at least {} items",
    "maxItems": "at most {} items",
    "pattern": "matching {}",
}


def _bounds(schema: JsonSchema) -> list[str]:
    if "prefixItems" in schema:  # its length shows in the type
        return []
    return [said.format(schema[key]) for key, said in _BOUNDS.items() if key in schema]


def _unit_text(schema: JsonSchema) -> str:
    unit = schema.get("x-unit")
    return f", in {unit}" if unit else ""


def _indented(text: str) -> str:
    return "".join(f"\n    {line}" if line.strip() else "\n" for line in text.split("\n")) if text else ""
