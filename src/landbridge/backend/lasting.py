"""Encoded values that stay as they are, whatever the method does next to the arrays that they were made of.

Parts of a frame are views of arrays. A method may keep such an array and change it before it has been sent, so parts
are copied; but for large ones whose array nobody else can reach any more.
"""

from __future__ import annotations

import sys
import weakref
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ..wire import Room

if TYPE_CHECKING:
    import numpy as np

__all__ = ["lasting"]

_COPIED_BYTES = 1024 * 1024
"""Parts up to this size are always copied: it costs less than finding out."""


def lasting(parts: Sequence[bytes | memoryview]) -> list[bytes | memoryview]:
    """Return the parts of a frame, copied where anything but `parts` could still change them.

    Whoever calls it must have let go of the value that was encoded: what counts is who else holds its memory.

    Parameters
    ----------
    parts : sequence of bytes or memoryview
        As `wire.encode` gives them.
    """
    large = [part for part in parts if isinstance(part, memoryview) and len(part) > _COPIED_BYTES]
    if not large:
        return [part if _is_bytes(part) else bytes(part) for part in parts]
    held = Counter(id(_root(part)) for part in large)
    return [part if _is_bytes(part) or _is_ours(part, held) else bytes(part) for part in parts]


def _is_bytes(part: bytes | memoryview) -> bool:
    return type(part) is bytes or type(part.obj) is bytes  # type: ignore[union-attr]


def _root(part: memoryview) -> np.ndarray[Any, Any] | None:
    """Return the array that owns the memory of a part, alone or as its buffer of a received frame; None without one."""
    import numpy as np

    root = getattr(part.obj, "base", None)
    return root if type(root) is np.ndarray and (root.flags.owndata or isinstance(root.base, Room)) else None


def _is_ours(part: bytes | memoryview, held: Counter[int]) -> bool:
    if not isinstance(part, memoryview) or len(part) <= _COPIED_BYTES:
        return False
    root = _root(part)
    if root is None or weakref.getweakrefcount(root):
        return False
    # Each part of it holds it once. Views, lists, datasets, frames: whatever else could lead to it holds it, too.
    return sys.getrefcount(root) == _REFERENCES_OF_A_LOCAL + held[id(root)]


def _references_of_a_local() -> int:
    local = object()
    return sys.getrefcount(local)


# Counted, because it is 2 in some versions of Python and 1 in others.
_REFERENCES_OF_A_LOCAL = _references_of_a_local()
