"""What notebooks show of a network, a module and a method.

The HTML is made here, from data: text from elsewhere becomes text in it, escaped and bounded, and nothing else. No
scripts, no pictures, nothing loaded from anywhere, so that it also lives on in exported notebooks.
"""

from __future__ import annotations

import html
from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import Enum, EnumMeta
from typing import Any, NamedTuple

from ..contract import DatasetSpec, MethodSpec, ModuleSpec, ParameterSpec, docstring, revive
from ..contract.schema import JsonSchema, describe, named_type
from ..errors import printable

__all__ = [
    "Html",
    "ModuleLine",
    "dataset_html",
    "element",
    "example_call",
    "method_html",
    "module_html",
    "module_lines",
    "network_html",
    "page",
    "reference_html",
    "without_fail",
]

_LINES_SHOWN = 500
_METHODS_SHOWN = 200
_PARAMETERS_SHOWN = 100
_MEMBERS_SHOWN = 20
_DOC_SHOWN = 4000
_VALUE_SHOWN = 200

# Colours are the notebook's own, light or dark; lines are a grey that both bear. Where a viewer drops the style (a
# site that shows notebooks of strangers), headings, lists and tables remain.
_STYLE = """
.landbridge { line-height: 1.45; max-width: 60rem; overflow-x: auto }
.landbridge details { margin: .1em 0 }
.landbridge details > :not(summary) { margin-left: 1.1em }
.landbridge summary { cursor: pointer }
.landbridge ul { margin: .1em 0; padding-left: 1.1em; list-style: none }
.landbridge code, .landbridge pre { background: none; color: inherit; font-family: monospace; font-size: inherit }
.landbridge pre { white-space: pre-wrap; margin: .3em 0; padding: .3em .6em; border: 1px solid rgba(128,128,128,.4) }
.landbridge table { border-collapse: collapse; margin: .4em 0; color: inherit }
.landbridge th, .landbridge td { text-align: left; vertical-align: top; padding: .15em .7em .15em 0;
  border-bottom: 1px solid rgba(128,128,128,.4); background: none; color: inherit }
.landbridge progress { width: 100%; height: .8em }
.landbridge .faint { opacity: .7 }
.landbridge .text { white-space: pre-wrap }
.landbridge .online { color: #2a9d5c }
.landbridge .offline { color: #c05621 }
"""


class Html(str):
    """Text that is HTML already, and of our own making."""

    __slots__ = ()


def element(tag: str, *children: object, limit: int = _DOC_SHOWN, **attributes: str) -> Html:
    """Return an element. Children that are `Html` stand as they are; all others are escaped and cut at `limit`.

    Examples
    --------
    >>> element("b", "a < b", class_="faint")
    '<b class="faint">a &lt; b</b>'
    """
    written = "".join(f' {name.rstrip("_")}="{html.escape(value)}"' for name, value in attributes.items())
    return Html(f"<{tag}{written}>{''.join(_child(child, limit) for child in children)}</{tag}>")


def _child(child: object, limit: int) -> str:
    return child if isinstance(child, Html) else html.escape(printable(child, limit))


def page(*children: object) -> str:
    """Return what a notebook shows: the children, with the style they need and that touches nothing else."""
    return element("div", element("style", Html(_STYLE)), *children, class_="landbridge")


def without_fail(make: Callable[[], str], name: str) -> str:
    """Return what `make` returns, or just `name`.

    Notebooks show an object at the end of whatever else a cell did: that must not fail because somebody far away
    describes a method in a way that nobody thought of.
    """
    try:
        return make()
    except Exception:
        return page(element("code", name, limit=_VALUE_SHOWN))


class ModuleLine(NamedTuple):
    """A module in the overview of a network; `is_online` is None when nobody could be asked."""

    name: str
    is_online: bool | None = None
    version: str = ""
    summary: str = ""


def module_lines(names: Iterable[str], pages: Iterable[object]) -> list[ModuleLine]:
    """Return a line for each module, sorted: with what the catalogue's pages say of it, else with its name alone.

    Examples
    --------
    >>> pages = [[{"module": "awi/sea", "backends": 1, "summary": "The sea.", "version": "2"}]]
    >>> module_lines(["awi/ice"], pages)[1]
    ModuleLine(name='awi/sea', is_online=True, version='2', summary='The sea.')
    """
    lines = {name: ModuleLine(name) for name in names}
    for entry in (entry for page in pages if isinstance(page, list) for entry in page):
        if isinstance(entry, dict) and isinstance(name := entry.get("module"), str):
            online = bool(entry.get("backends"))
            lines[name] = ModuleLine(name, online, str(entry.get("version", "")), str(entry.get("summary", "")))
    return [line for name, line in sorted(lines.items()) if not name.startswith("lb/")]


def network_html(title: str, lines: Sequence[ModuleLine]) -> str:
    """Return a tree of institutes and their modules.

    Parameters
    ----------
    title : str
        What stands above, if anything.
    lines : sequence of ModuleLine
        The modules; those of one institute stand together.
    """
    shown = lines[:_LINES_SHOWN]
    trees = []
    for institute in dict.fromkeys(line.name.partition("/")[0] for line in shown):
        modules = [_line(line) for line in shown if line.name.partition("/")[0] == institute]
        count = f" {len(modules)} module" + ("" if len(modules) == 1 else "s")
        head = element("summary", element("b", institute), element("span", count, class_="faint"))
        trees.append(element("details", head, element("ul", *modules), open=""))
    if not shown:
        trees.append(element("div", "No modules yet. Serve one: landbridge serve FILE --as INSTITUTE/NAME"))
    return page(*_paragraph(title), *trees, *_rest(len(lines) - len(shown), "modules"))


def _line(line: ModuleLine) -> Html:
    version = f" {line.version}" if line.version else ""
    name = line.name.partition("/")[2]
    return element(
        "li", _dot(line.is_online), element("b", name), element("span", version, class_="faint", limit=40),
        element("span", f"  {line.summary}", limit=_VALUE_SHOWN),
    )  # fmt: skip


def _dot(is_online: bool | None) -> Html:
    if is_online is None:
        return Html("")
    word = "online" if is_online else "offline"
    return element("span", f"{'●' if is_online else '○'} {word} ", class_=word)


def _paragraph(text: str) -> list[Html]:
    return [element("div", text, class_="text")] if text else []


def _rest(count: int, what: str) -> list[Html]:
    return [element("div", f"… and {count} more {what}", class_="faint")] if count > 0 else []


def module_html(name: str, spec: ModuleSpec | None, types: Mapping[str, type], trouble: str = "") -> str:
    """Return a module: what it says of itself, and its methods.

    Parameters
    ----------
    name : str
        ``institute/module``.
    spec : ModuleSpec or None
        What is known of it; None if it could not be asked.
    types : mapping of str to type
        The classes of its signatures here; members of enums are listed.
    trouble : str
        Why it could not be asked just now; empty if it was.
    """
    head = [element("b", name)]
    if spec is not None and spec.version:
        head.append(element("span", f" {spec.version}", class_="faint", limit=40))
    parts = [element("div", _dot(None if trouble else True), *head)]
    parts += _paragraph(trouble)
    if spec is None:
        return page(*parts)
    first, _, more = spec.doc.partition("\n\n")
    parts += _paragraph(first or spec.summary)
    if more:
        parts.append(_folded("More", *_paragraph(more)))
    shown = list(spec.methods.values())[:_METHODS_SHOWN]
    for method in shown:
        title = element("summary", _code(_shape(method, types)), element("span", f"  {method.summary}"))
        more = method.doc.partition("\n\n")[2]
        parts.append(element("details", title, *_paragraph(more), *_about(f"{name}.{method.name}", method, types)))
    for dataset in list(spec.datasets.values())[:_METHODS_SHOWN]:
        title = element("summary", _code(f"{dataset.name}()"), element("span", f"  data set: {dataset.summary}"))
        more = dataset.doc.partition("\n\n")[2]
        opened = element("pre", f'landbridge.open("{name}.{dataset.name}")')
        parts.append(element("details", title, *_paragraph(more), opened))
    if not shown and not spec.datasets:
        parts.append(element("div", "It shows you no methods: its owner has not shared any with you."))
    return page(*parts, *_rest(len(spec.methods) - len(shown), "methods"))


def method_html(address: str, method: MethodSpec, types: Mapping[str, type]) -> str:
    """Return a method: signature, parameters with types, bounds, units and defaults, result, and how to call it.

    Parameters
    ----------
    address : str
        ``institute/module.method``.
    method : MethodSpec
        The method.
    types : mapping of str to type
        The classes of its signature here; members of enums are listed.
    """
    path = address.rpartition(".")[0]
    title = element("div", _code(f"{path}."), element("b", _code(_shape(method, types))))
    return page(title, *_paragraph(method.doc or method.summary), *_about(address, method, types))


def dataset_html(address: str, dataset: DatasetSpec) -> str:
    """Return a data set: what its owner says of it, and how it is opened."""
    title = element("div", element("b", address), " — a data set that stays with its owner")
    return page(title, *_paragraph(dataset.doc), element("pre", f'landbridge.open("{address}")'))


def reference_html(target: str, summary: Mapping[str, Any]) -> str:
    """Return a value that stays where it was made: what its owner says of it."""
    told = {key: value for key, value in summary.items() if key != "preview"}
    rows = [element("tr", element("th", key), element("td", _said(value))) for key, value in told.items()]
    title = element("div", "kept at ", element("b", target))
    preview = summary.get("preview")
    shown = [element("pre", preview)] if isinstance(preview, str) and preview else []
    return page(title, element("table", *rows), *shown)


def _said(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key}: {each}" for key, each in list(value.items())[:_MEMBERS_SHOWN])
    return f"{value:,}" if type(value) is int else str(value)


def _code(text: str) -> Html:
    return element("code", text)


def _shape(method: MethodSpec, types: Mapping[str, type]) -> str:
    """Return the signature without types, which stand in the table below."""
    texts: list[str] = []
    kinds = [parameter.kind for parameter in method.parameters]
    for number, parameter in enumerate(method.parameters):
        if parameter.kind == "keyword_only" and not {"keyword_only", "var_positional"} & set(kinds[:number]):
            texts.append("*")
        default = f"={_default(parameter, types)}" if parameter.has_default else ""
        texts.append(f"{_stars(parameter)}{parameter.name}{default}")
        if parameter.kind == "positional_only" and "positional_only" not in kinds[number + 1 :]:
            texts.append("/")
    return f"{method.name}({', '.join(texts)})"


def _stars(parameter: ParameterSpec) -> str:
    return {"var_positional": "*", "var_keyword": "**"}.get(parameter.kind, "")


def _default(parameter: ParameterSpec, types: Mapping[str, type]) -> str:
    if parameter.default_text is not None:
        return printable(parameter.default_text, _VALUE_SHOWN)
    value = revive(parameter.default, parameter.schema, types)
    text = f"{type(value).__name__}.{value.name}" if isinstance(value, Enum) else repr(value)
    return printable(text, _VALUE_SHOWN)


def _about(address: str, method: MethodSpec, types: Mapping[str, type]) -> list[Html]:
    parts: list[Html] = []
    shown = method.parameters[:_PARAMETERS_SHOWN]
    if shown:
        columns = ["Parameter", "Type", "Unit", "Default", "Meaning"]
        rows = [element("tr", *(element("th", column) for column in columns))]
        rows += [element("tr", *(element("td", cell) for cell in _cells(parameter, types))) for parameter in shown]
        parts.append(element("table", *rows))
        parts += _rest(len(method.parameters) - len(shown), "parameters")
    result = (method.items if method.streams else method.returns) or {}
    if result or method.returns_doc:
        gives = "Gives one by one: " if method.streams else "Returns: "
        unit = f", in {result['x-unit']}" if result.get("x-unit") else ""
        doc = f". {method.returns_doc}" if method.returns_doc else ""
        parts.append(element("div", gives, _code(describe(result)), f"{unit}{doc}", class_="text"))
    if method.raises:
        listed = [element("li", _code(name), f": {text}" if text else "") for name, text in method.raises]
        parts.append(_folded("Raises", element("ul", *listed)))
    return [*parts, element("pre", example_call(address, method))]


def _cells(parameter: ParameterSpec, types: Mapping[str, type]) -> tuple[object, ...]:
    # The contract's own words for type and bounds stand in the docstring it makes.
    bare = ParameterSpec("_", schema=parameter.schema)
    kind = docstring(MethodSpec("_", parameters=(bare,))).splitlines()[2].partition(" : ")[2]
    cls = types.get(named_type(parameter.schema) or "")
    if isinstance(cls, EnumMeta):
        members = [str(name) for name in cls.__members__]
        kind += f": {', '.join(members[:_MEMBERS_SHOWN])}" + (", …" if len(members) > _MEMBERS_SHOWN else "")
    default: str = "required" if parameter.required else ""
    if parameter.has_default:
        default = _code(_default(parameter, types))
    return _code(f"{_stars(parameter)}{parameter.name}"), _code(kind), parameter.unit or "", default, parameter.doc


def example_call(address: str, method: MethodSpec) -> str:
    """Return a line that calls the method with what it needs; parameters without a plain example stand by their names.

    Examples
    --------
    >>> depth = ParameterSpec("depth", schema={"type": "number", "minimum": 10})
    >>> example_call("awi/sea.at", MethodSpec("at", parameters=(depth, ParameterSpec("region"))))
    'net.awi.sea.at(depth=10.0, region=region)'
    """
    path, _, name = address.replace("/", ".").rpartition(".")
    texts = []
    for parameter in (parameter for parameter in method.parameters if parameter.required):
        value = _example(parameter.schema)
        written = parameter.name if value is None else printable(repr(value), _VALUE_SHOWN)
        texts.append(written if parameter.kind == "positional_only" else f"{parameter.name}={written}")
    call = f"net.{path}.{name}({', '.join(texts)})"
    return f"for item in {call}:\n    print(item)" if method.streams else call


def _example(schema: JsonSchema) -> Any:
    """Return a value that fits a simple schema; None where none is plain."""
    for key in ("examples", "enum"):
        if isinstance(schema.get(key), list) and schema[key] and "x-landbridge" not in schema:
            return schema[key][0]
    if schema.get("type") in ("integer", "number") and ("minimum" in schema or not _has_bounds(schema)):
        number = schema.get("minimum", 1)
        return float(number) if schema["type"] == "number" else number
    if schema.get("type") == "boolean":
        return True
    return None


def _has_bounds(schema: JsonSchema) -> bool:
    return any(key in schema for key in ("maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"))


def _folded(title: str, *body: Html) -> Html:
    return element("details", element("summary", title), *body)
