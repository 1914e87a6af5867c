"""The types of modules' signatures: one class for each, however often a module is described."""

from __future__ import annotations

import json

from ..contract import ModuleSpec, rebuild_types

__all__ = ["types_of"]

_KEPT = 1000
_made: dict[tuple[str, str], dict[str, type]] = {}


def types_of(spec: ModuleSpec) -> dict[str, type]:
    """Return the types of a module by name; the same classes as before, as long as their schemas are the same.

    A member of an enum that was imported a moment ago must still equal the one that a call returns now.
    """
    key = spec.name, json.dumps(spec.types, sort_keys=True, default=str)
    found = _made.get(key)
    if found is None:
        if len(_made) >= _KEPT:
            _made.clear()
        found = _made.setdefault(key, rebuild_types(spec))
    return found
