"""Memory for a frame that is being received."""

from __future__ import annotations

import mmap

__all__ = ["Room", "room"]

_MAPPED_BYTES = 1024 * 1024
# Private: memory that could be shared takes a third longer to fill. Huge pages would take a fifth of the time when
# there are free ones, and six times as long when the system has to make room for them.
_FLAGS = {"flags": mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS} if hasattr(mmap, "MAP_PRIVATE") else {}


class Room(mmap.mmap):
    """Memory of one frame: arrays that are views of it have it for their own, unless they share a buffer."""


def room(size: int) -> memoryview:
    """Return writable memory of `size` bytes, aligned for every dtype, that costs nothing until it is written to.

    Large ones are mappings of their own: whoever announces much and sends little takes none of our memory, and all of
    it goes back to the system when nothing uses it any more.

    Examples
    --------
    >>> len(room(1000))
    1000
    """
    if size < _MAPPED_BYTES:
        return memoryview(bytearray(size))
    return memoryview(Room(-1, size, **_FLAGS))
