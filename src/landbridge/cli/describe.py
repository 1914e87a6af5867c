"""``landbridge describe``: what a module offers, and how a method is called."""

from __future__ import annotations

import textwrap
from typing import Any

from ..contract import ClassSpec, DatasetSpec, MethodSpec, ModuleSpec, docstring
from ..contract.schema import JsonSchema
from ..contract.schema import describe as type_text
from ..names import parse_address
from .console import safe, show, show_json
from .methodhelp import signature_text
from .network import connected, described, method_of

__all__ = ["describe"]


def describe(address: str, /, *, profile: str | None = None, json: bool = False) -> None:
    """Show what a module offers, how one of its methods is called, or what a class of it has.

    Parameters
    ----------
    address
        institute/module, institute/module.method or institute/module.Class.
    profile
        Which network, and as whom; by default the network of this computer.
    json
        Print the whole description, with the JSON Schema of all types.
    """
    where = parse_address(address)
    with connected(profile) as link:
        spec = described(link, where)
        me = f"{link.access.institute}/{link.access.person}"
    if where.member is None:
        show_json(spec.to_json()) if json else show(safe(_module(spec)))
        return
    if where.member in spec.datasets:
        dataset = spec.datasets[where.member]
        show_json({"module": spec.name, **dataset.to_json()}) if json else show(safe(_dataset(spec, dataset)))
        return
    cls = spec.classes.get(where.member)
    method = method_of(spec, where.member, me) if cls is None else cls.init
    if json:
        show_json({"module": spec.name, **(cls or method).to_json(), "types": spec.types})
    else:
        show(safe(_method(spec, method) if cls is None else _class(spec, cls)))


def _module(spec: ModuleSpec) -> str:
    head = f"{spec.name}{f' {spec.version}' if spec.version else ''}"
    lines = [head, *_paragraph(spec.doc or spec.summary), ""]
    for name, method in spec.methods.items():
        lines.append(textwrap.indent(f"{name}{signature_text(method)}", "  "))
        if method.summary:
            lines.extend(textwrap.wrap(method.summary, 100, initial_indent=" " * 6, subsequent_indent=" " * 6))
    for name, cls in spec.classes.items():
        lines.append(textwrap.indent(f"class {name}{signature_text(cls.init)}", "  "))
        if cls.summary:
            lines.extend(textwrap.wrap(cls.summary, 100, initial_indent=" " * 6, subsequent_indent=" " * 6))
        lines += [textwrap.indent(f".{each}{signature_text(method)}", " " * 6) for each, method in cls.methods.items()]
    for name, dataset in spec.datasets.items():
        lines.append(f'  data set {name}: landbridge.open("{spec.name}.{name}") in Python')
        if dataset.summary:
            lines.extend(textwrap.wrap(dataset.summary, 100, initial_indent=" " * 6, subsequent_indent=" " * 6))
    if spec.methods or spec.classes:
        lines += ["", f"More of one of them: landbridge describe {spec.name}.{'METHOD' if spec.methods else 'CLASS'}"]
    elif not spec.datasets:
        lines.append("  It shows you no methods: its owner has not shared any with you.")
    return "\n".join(lines)


def _dataset(spec: ModuleSpec, dataset: DatasetSpec) -> str:
    address = f"{spec.name}.{dataset.name}"
    said = dataset.doc or "Its owner says nothing of it."
    return f'data set {address}\n\n{said}\n\nHow to read it, in Python: landbridge.open("{address}")'


def _class(spec: ModuleSpec, cls: ClassSpec) -> str:
    parts = [f"class {spec.name}.{cls.name}{signature_text(cls.init)}", cls.doc or cls.summary, docstring(cls.init)]
    for name, method in cls.methods.items():
        parts.append(f".{name}{signature_text(method)}")
        if docstring(method):
            parts.append(textwrap.indent(docstring(method), "    "))
    return "\n\n".join(part for part in parts if part)


def _method(spec: ModuleSpec, method: MethodSpec) -> str:
    parts = [f"{spec.name}.{method.name}{signature_text(method)}", docstring(method)]
    mentioned = _mentioned(spec, method)
    if mentioned:
        title = "Types"
        parts.append("\n".join([title, "-" * len(title), *(_type(name, spec.types[name]) for name in mentioned)]))
    parts.append(f"How to write its arguments in a shell: landbridge call {spec.name}.{method.name} --help")
    return "\n\n".join(part for part in parts if part)


def _paragraph(text: str) -> list[str]:
    return ["", text] if text else []


def _mentioned(spec: ModuleSpec, method: MethodSpec) -> list[str]:
    """Return the names of the types that a method needs, those inside of others, too."""
    ahead: list[Any] = [parameter.schema for parameter in method.parameters]
    ahead += [method.returns, method.items]
    found: dict[str, None] = {}
    while ahead:
        part = ahead.pop(0)
        if isinstance(part, dict):
            name = str(part.get("$ref", "")).rpartition("/")[2]
            if name in spec.types and name not in found:
                found[name] = None
                ahead.append(spec.types[name])
            ahead.extend(part.values())
        elif isinstance(part, list):
            ahead.extend(part)
    return list(found)


def _type(name: str, schema: JsonSchema) -> str:
    lines = [f"{name} : {schema.get('x-landbridge', schema.get('type', 'object'))}"]
    if schema.get("description"):
        lines.append(textwrap.indent(schema["description"], "    "))
    values = schema.get("enum") or schema.get("examples") or []
    for label, value in zip(schema.get("x-enum-names", ()), values, strict=False):
        lines.append(f"    {label} = {value!r}" if label != value else f"    {label}")
    required = schema.get("required", ())
    for field, inner in schema.get("properties", {}).items():
        unit = f", in {inner['x-unit']}" if inner.get("x-unit") else ""
        default = "" if field in required or "default" not in inner else f", default {inner['default']!r}"
        lines.append(f"    {field} : {type_text(inner)}{unit}{default}")
    return "\n".join(lines)
