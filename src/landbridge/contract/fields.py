"""Fields of a description that comes from elsewhere: of the right type and size, or `Malformed`."""

from __future__ import annotations

from typing import Any

from ..errors import Malformed, printable

__all__ = ["flag_of", "list_of", "object_of", "text_of"]


def object_of(obj: object, what: str) -> dict[str, Any]:
    """Return `obj` if it is a JSON object; `what` it describes is for the message."""
    if not isinstance(obj, dict):
        raise Malformed(f"{what} must be an object, not {type(obj).__name__}")
    return obj


def list_of(obj: object, what: str, limit: int) -> list[Any]:
    """Return `obj` if it is a list of at most `limit` items."""
    if not isinstance(obj, (list, tuple)):
        raise Malformed(f"{what} must be a list, not {type(obj).__name__}")
    if len(obj) > limit:
        raise Malformed(f"{len(obj)} {what}, at most {limit} are taken")
    return list(obj)


def text_of(entry: dict[str, Any], key: str, limit: int) -> str:
    """Return the text under `key`, made safe to show and cut at `limit` characters; an empty one if there is none."""
    value = entry.get(key, "")
    if not isinstance(value, str):
        raise Malformed(f"{key} must be a text, not {type(value).__name__}")
    return printable(value, limit)


def flag_of(entry: dict[str, Any], key: str) -> bool:
    """Return the flag under `key`; False if there is none."""
    value = entry.get(key, False)
    if not isinstance(value, bool):
        raise Malformed(f"{key} must be true or false, not {type(value).__name__}")
    return value
