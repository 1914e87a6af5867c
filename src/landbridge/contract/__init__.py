"""What a module promises: from functions and classes to a spec that travels, and from it to signatures and types.

Backends read and check (`read_module`, `class_members`, `Method`); callers bind, lower and revive by the `ModuleSpec`
alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .binding import bind
from .lowering import lower_arguments
from .methodspec import MethodSpec, ParameterSpec
from .rebuild import rebuild_types, revive
from .shelltext import parse_text
from .signature import docstring, signature
from .spec import ClassSpec, DatasetSpec, ModuleSpec

if TYPE_CHECKING:
    from .check import Method, arguments_schema
    from .classes import class_members
    from .reading import read_module

__all__ = [
    "ClassSpec",
    "DatasetSpec",
    "Method",
    "MethodSpec",
    "ModuleSpec",
    "ParameterSpec",
    "arguments_schema",
    "bind",
    "class_members",
    "docstring",
    "lower_arguments",
    "parse_text",
    "read_module",
    "rebuild_types",
    "revive",
    "signature",
]


def __getattr__(name: str) -> Any:
    # The backend's half needs pydantic_core and docstring_parser (80 ms); callers never do.
    if name == "read_module":
        from .reading import read_module

        return read_module
    if name in ("Method", "arguments_schema"):
        from . import check

        return getattr(check, name)
    if name == "class_members":
        from .classes import class_members

        return class_members
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
