"""Docstrings of any style, taken apart into what each field of a spec holds."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

import docstring_parser
from docstring_parser.common import DocstringMeta

from ..errors import printable
from .methodspec import MAX_DOC_CHARS

__all__ = ["ParsedDoc", "read_doc"]


class ParsedDoc(NamedTuple):
    """A docstring in parts.

    Attributes
    ----------
    summary : str
        The first paragraph, on one line.
    body : str
        The whole text without the sections that the other fields hold.
    parameters : dict of str to str
        What is said of each parameter, attribute or field.
    returns : str
        What is said of the result or of the items that are yielded.
    raises : tuple of (str, str)
        Exceptions and when they occur.
    """

    summary: str = ""
    body: str = ""
    parameters: Mapping[str, str] = MappingProxyType({})
    returns: str = ""
    raises: tuple[tuple[str, str], ...] = ()


def read_doc(text: str | None) -> ParsedDoc:
    r"""Return a docstring in parts; one that follows no style is a body with a summary.

    Examples
    --------
    >>> read_doc("Mean.\n\nArgs:\n    first: the first year").parameters
    {'first': 'the first year'}
    """
    if not isinstance(text, str) or not text.strip():
        return ParsedDoc()
    clean = printable(inspect.cleandoc(text), MAX_DOC_CHARS)
    plain = ParsedDoc(_one_line(clean.split("\n\n", 1)[0]), clean)
    try:
        parsed = docstring_parser.parse(clean)
    except Exception:  # whatever a parser of seven styles stumbles over: a docstring is never a reason not to serve
        return plain
    if not parsed.meta:
        return plain
    parameters = {name: _short(p.description) for p in parsed.params for name in _names(p.arg_name)}
    returned = next((r for r in (parsed.returns, *parsed.many_returns) if r is not None and r.description), None)
    raises = tuple((printable(r.type_name or "", 200), _short(r.description)) for r in parsed.raises if r.type_name)
    parts = [parsed.short_description, parsed.long_description, *map(_section, parsed.meta)]
    return ParsedDoc(
        summary=_one_line(parsed.short_description or ""),
        body=printable("\n\n".join(part for part in parts if part), MAX_DOC_CHARS),
        parameters=parameters,
        returns=_short(returned.description) if returned else "",
        raises=raises[:100],
    )


def _names(name: str) -> list[str]:
    """Split ``x1, x2``; the stars of ``*args`` are no part of the name."""
    return [part.strip().lstrip("*\\") for part in name.split(",")]


def _short(text: str | None) -> str:
    return printable((text or "").strip(), 4000)


def _one_line(text: str) -> str:
    return printable(" ".join(text.split()), 1000)


_TITLES = {"notes": "Notes", "note": "Notes", "examples": "Examples", "example": "Examples", "see_also": "See Also",
           "references": "References", "warnings": "Warnings", "warning": "Warnings"}  # fmt: skip


def _section(meta: DocstringMeta) -> str:
    """Return a section that no field of a spec holds, as numpydoc writes it."""
    title = _TITLES.get(meta.args[0]) if meta.args else None
    if title is None:
        return ""
    snippet = getattr(meta, "snippet", None)
    text = "\n".join(part for part in (snippet, meta.description) if part)
    return f"{title}\n{'-' * len(title)}\n{text}" if text else ""
