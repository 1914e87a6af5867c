"""``landbridge call … --help``: how the arguments of a method far away are written in a shell."""

from __future__ import annotations

import inspect
import shutil
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from ..contract import MethodSpec, ModuleSpec, ParameterSpec, docstring, signature
from ..contract.schema import JsonSchema, describe, needs_function, resolve
from .console import safe, width_of
from .input import fields_of, is_flag

__all__ = ["call_help", "method_help", "signature_text"]

_LINE_COLUMNS = 100

_OWN_OPTIONS = (
    ("-o, --output FILE", "Write the value to a file: .nc, .npy, .csv, .json or .txt."),
    ("--json", "Print the value as JSON; a stream as one line for each item."),
    ("--timeout-s SECONDS", "Time limit; without it, as long as the backend shows that it works."),
    ("--profile NAME", "Which network, and as whom; by default the network of this computer."),
    ("-h, --help", "Show this, and with a method what it takes."),
)
_VALUES = (
    ("@FILE", "A value from a file: .json, .txt, .csv (columns), .npy or .nc."),
    ("-", "A value from stdin: JSON or text."),
    ("--OPTION.FIELD", "One field of a value: --region.west -20."),
    ("several times", "A list, item by item; or once as JSON: --years '[2006, 2007]'."),
    ("--", "What follows is the method's, also what is called like an option of this command."),
)


def call_help() -> str:
    """Return the help of the command itself."""
    parts = [
        "Usage: landbridge call INSTITUTE/MODULE.METHOD [ARGUMENTS] [OPTIONS]",
        "Call a method and print its value, or write it to a file. Ctrl-C stops the remote work.",
        "What a method takes: landbridge call INSTITUTE/MODULE.METHOD --help",
        _section("Options", _OWN_OPTIONS),
        _section("Values", _VALUES),
    ]
    return "\n\n".join(parts)


def method_help(spec: ModuleSpec, method: MethodSpec) -> str:
    """Return how one method is called from a shell: its options with types, bounds, units, defaults and meaning."""
    required = " ".join(f"--{p.name} {p.name.upper()}" for p in method.parameters if p.required and not p.is_variadic)
    usage = f"Usage: landbridge call {spec.name}.{method.name}{f' {required}' if required else ''} [OPTIONS]"
    arguments = [line for parameter in method.parameters for line in _lines(parameter, spec.types)]
    about, _, _ = docstring(
        replace(method, parameters=(), returns=None, items=None, returns_doc="", raises=())
    ).partition("\n\nParameters\n")
    result = (method.items if method.streams else method.returns) or {}
    gives = ("Gives one by one: " if method.streams else "Returns: ") + describe(result)
    if method.returns_doc:
        gives += f". {' '.join(method.returns_doc.split())}"
    parts = [
        usage,
        about,
        _section("Arguments", arguments) if arguments else "It takes no arguments.",
        gives if result or method.returns_doc else "",
        _section("Options of landbridge call", _OWN_OPTIONS),
        "How values are written (files, stdin, lists): landbridge call --help",
    ]
    return safe("\n\n".join(part for part in parts if part))


def signature_text(method: MethodSpec) -> str:
    """Return the signature as a person would write it; a long one with a line for each parameter.

    Examples
    --------
    >>> first = ParameterSpec("first", schema={"type": "integer"})
    >>> signature_text(MethodSpec("mean", parameters=(first,), returns={"x-landbridge": "xarray.DataArray"}))
    '(first: int) -> xr.DataArray'
    """
    shape = signature(method, {})
    parameters = [parameter.replace(annotation=_bare(parameter.annotation)) for parameter in shape.parameters.values()]
    shape = shape.replace(parameters=parameters, return_annotation=_bare(shape.return_annotation))
    text = str(shape)
    if len(text) <= _LINE_COLUMNS:
        return text
    lines = []
    for number, parameter in enumerate(parameters):
        kinds = {each.kind for each in parameters[:number]}
        if parameter.kind is parameter.KEYWORD_ONLY and not kinds & {parameter.KEYWORD_ONLY, parameter.VAR_POSITIONAL}:
            lines.append("*")
        lines.append(str(parameter))
        if parameter.kind is parameter.POSITIONAL_ONLY and not any(
            each.kind is parameter.POSITIONAL_ONLY for each in parameters[number + 1 :]
        ):
            lines.append("/")
    arrow = "" if shape.return_annotation is shape.empty else f" -> {inspect.formatannotation(shape.return_annotation)}"
    return "(\n" + "".join(f"    {line},\n" for line in lines) + ")" + arrow


class _Bare:
    """A hint that is text; Python would show it in quotes."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __repr__(self) -> str:
        return self._text


def _bare(hint: Any) -> Any:
    return _Bare(hint) if isinstance(hint, str) else hint


def _lines(parameter: ParameterSpec, types: Mapping[str, JsonSchema]) -> Iterator[tuple[str, str]]:
    if parameter.kind == "var_keyword":
        yield f"--NAME {describe(parameter.schema)}", _about(parameter, "Any further name.", types)
        return
    if parameter.kind == "var_positional":
        yield f"{parameter.name.upper()} …", _about(parameter, "Any number of values.", types)
        return
    if needs_function(parameter.schema) and not parameter.required:
        return  # a shell can not give one
    if is_flag(parameter.schema, types):
        yield f"--{parameter.name}, --no-{parameter.name}", _about(parameter, "", types)
        return
    yield f"--{parameter.name} {parameter.name.upper()}", _about(parameter, "", types)
    for name, field in fields_of(parameter.schema, types).items():
        inner = ParameterSpec(
            f"{parameter.name}.{name}", schema=field, required=False, default=field.get("default"),
            doc=field.get("description", ""), unit=field.get("x-unit"),
        )  # fmt: skip
        has_default = "default" in field
        yield (
            f"--{inner.name} {name.upper()}",
            _about(inner if has_default else replace(inner, required=True), "", types),
        )


def _about(parameter: ParameterSpec, more: str, types: Mapping[str, JsonSchema]) -> str:
    # The contract's own words for type, bounds, unit and default stand in the docstring it makes.
    entry = docstring(MethodSpec("_", parameters=(replace(parameter, doc=""),))).strip().splitlines()[2]
    what = entry.partition(" : ")[2]
    members = _members(parameter.schema, types)
    texts = [
        f"{what[:1].upper()}{what[1:]}." if what.startswith("default") else f"[{what}]" if what else "",
        f"One of {', '.join(members)}." if members else "",
        more,
        " ".join(parameter.doc.split()),
        "Required." if parameter.required and not parameter.is_variadic and "." not in parameter.name else "",
    ]
    return " ".join(text for text in texts if text)


def _members(schema: JsonSchema, types: Mapping[str, JsonSchema]) -> list[str]:
    found = resolve(schema, types)
    if "x-enum-names" not in found:
        return []
    return [str(name) for name in found["x-enum-names"][:20]] + (["…"] if len(found["x-enum-names"]) > 20 else [])


def _section(title: str, lines: list[tuple[str, str]] | tuple[tuple[str, str], ...]) -> str:
    columns = max(shutil.get_terminal_size((100, 24)).columns, 60)
    left = min(max(width_of(label) for label, _ in lines), 28)
    out = [f"{title}:"]
    for label, text in lines:
        wrapped = textwrap.wrap(text, columns - left - 5) or [""]
        if width_of(label) > left:
            out.append(f"  {label}")
        else:
            out.append(f"  {label}{' ' * (left - width_of(label))}   {wrapped.pop(0)}".rstrip())
        out.extend(" " * (left + 5) + line for line in wrapped)
    return "\n".join(out)
