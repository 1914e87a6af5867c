"""Reading what comes: compressed too, as every call says that this side takes it so."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import Any

from .. import wire
from ..settings import memory_bytes

__all__ = ["codecs_meta", "decoded", "largest_bytes"]

_NONE: dict[str, Any] = {}


@lru_cache(1)
def largest_bytes() -> int:
    """Return how large a value may be that this side takes, on its way and decompressed, in bytes."""
    return memory_bytes() * 3 // 4


@lru_cache(1)
def codecs_meta() -> dict[str, Any]:
    """Return what each call says of the codecs that this side reads; nothing if it reads none."""
    names = wire.readable()
    return {"codecs": " ".join(names)} if names else _NONE


def decoded(frame: memoryview | bytearray, reference_of: Any = None) -> object:
    """Return a value that came; see `wire.decode`."""
    return wire.decode(frame, limits=_limits(), reference_of=reference_of)


@lru_cache(1)
def _limits() -> wire.Limits:
    return replace(wire.DEFAULT, raw_bytes=largest_bytes())
