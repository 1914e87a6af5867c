"""Whether what a method gives is compressed on its way to the caller, and how."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from .. import wire

__all__ = ["Squeezing", "squeezing_for"]

_MOST_NAMES = 8


class Squeezing(NamedTuple):
    """What compression of values for one caller depends on.

    Attributes
    ----------
    codecs : sequence of str
        Those that both sides know.
    bytes_per_s : callable
        Tells how fast long values get to the caller, in bytes per second; 0 if nobody knows.
    """

    codecs: Sequence[str]
    bytes_per_s: Callable[[], float]

    def applied(
        self, parts: Sequence[bytes | memoryview], itemsizes: Sequence[int], go_on: Callable[[], object]
    ) -> list[bytes | memoryview]:
        """Return the parts of a frame, with those buffers compressed that arrive sooner so; see `wire.compressed`."""
        return wire.compressed(parts, itemsizes, self.codecs, self.bytes_per_s(), time.perf_counter, go_on)


def squeezing_for(asked: Any, bytes_per_s: Callable[[], float]) -> Squeezing | None:
    """Return how values may be compressed for a caller who says that he reads these codecs; None: they may not.

    Examples
    --------
    >>> squeezing_for("brotli", lambda: 0.0) is None
    True
    """
    codecs = _in_common(asked) if type(asked) is str else ()
    return Squeezing(codecs, bytes_per_s) if codecs else None


@lru_cache(64)
def _in_common(asked: str) -> tuple[str, ...]:
    names = asked.split()[:_MOST_NAMES]
    return tuple(codec for codec in wire.readable() if codec in names)
