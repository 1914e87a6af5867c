"""What one caller takes up at a backend, and how much that may be: nobody is to keep a backend from the others."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from ..errors import Busy
from ..settings import memory_bytes
from .running import STREAMS, Style

if TYPE_CHECKING:
    from ..security import Caller
    from .served import ServedCall

__all__ = ["CALLS_EACH", "RETRY_S", "STREAMS_EACH", "TRANSFERS_EACH", "RefusalLog", "Usage", "held_bytes_each"]

CALLS_EACH = 20_000
"""Calls of one caller that may be open at a time."""

STREAMS_EACH = 64
"""Streams of one caller, and functions that ask him, that may be open at a time: each may keep a thread."""

TRANSFERS_EACH = 500
"""Long values that may be on their way from one caller at a time: each takes a mapping, and a process has 65,530."""


RETRY_S = 1.0
"""When whoever was refused because he takes up too much may try again, in seconds."""


def held_bytes_each() -> int:
    """Return how many bytes are held for one caller: arguments that are not whole or wait, values not yet taken."""
    return max(memory_bytes() // 4, 64 * 1024 * 1024)


class RefusalLog:
    """Logs what callers bring about, mostly refusals: the first at once, then one line in `EVERY_S`, with how many.

    Whoever is refused could otherwise fill the owner's disk with lines about it.
    """

    EVERY_S = 10.0
    _SOURCES_KEPT = 1000

    def __init__(self, log: logging.Logger) -> None:
        self._log = log
        self._seen: dict[str, tuple[float, int]] = {}

    def is_due(self, source: str, now: float) -> bool:
        """Whether a line about `source` would be written now."""
        return now - self._seen.get(source, (-self.EVERY_S, 0))[0] >= self.EVERY_S

    def note(self, source: str, what: str, now: float) -> None:
        """Take note of something that `source` brought about; `what` says what, and why."""
        last, silent = self._seen.get(source, (-self.EVERY_S, 0))
        if now - last < self.EVERY_S:
            self._seen[source] = (last, silent + 1)
            return
        if len(self._seen) >= self._SOURCES_KEPT:
            self._seen.clear()
        self._seen[source] = (now, 0)
        self._log.warning("%s: %s%s", source, what, f" (and {silent:,} more since the last line)" if silent else "")


class Usage:
    """What one caller takes up: open calls, streams among them, bytes held; and how fast values get to him.

    Parameters
    ----------
    limit_bytes : int
        How many bytes may be held.

    Attributes
    ----------
    bytes_per_s : float
        How fast long values have arrived at him of late, in bytes per second; 0 as long as none has.
    """

    __slots__ = ("_asking", "_held", "bytes_per_s", "calls", "held_bytes", "limit_bytes", "streams")

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self.calls = 0
        self.streams = 0
        self.held_bytes = 0
        self.bytes_per_s = 0.0
        self._held: dict[str, int] = {}
        self._asking: set[str] = set()

    def check_room(self, target: str, caller: Caller, *, is_stream: bool) -> None:
        """Refuse a further call, before anything is kept for it; raises `Busy`."""
        if self.calls >= CALLS_EACH:
            raise Busy(target, f"{CALLS_EACH:,} calls of {caller} are open at this backend")
        if is_stream and self.streams >= STREAMS_EACH:
            raise Busy(target, _too_many_wait(caller))
        if self.held_bytes >= self.limit_bytes:
            what = "arguments of calls that have not ended, and values that were not taken"
            raise Busy(target, f"{self.held_bytes:,} bytes are held for {caller}: {what}", RETRY_S)

    def enter(self, call: ServedCall) -> None:
        """Count a call in."""
        self.calls += 1
        self.streams += call.style in STREAMS

    def leave(self, call: ServedCall) -> None:
        """Count a call out."""
        self.calls -= 1
        self.streams -= call.style in STREAMS or call.call_id in self._asking
        self._asking.discard(call.call_id)
        self.held_bytes -= call.arguments_held + self._held.pop(call.call_id, 0)

    def check_may_ask(self, call: ServedCall) -> None:
        """Note that a call asks its caller, who alone decides how long it waits; raises `Busy`."""
        if call.style is not Style.FUNCTION or call.call_id in self._asking:
            return
        if self.streams >= STREAMS_EACH:
            raise Busy(call.responder.target, _too_many_wait(call.caller))
        self._asking.add(call.call_id)
        self.streams += 1

    def learn_rate(self, bytes_per_s: float) -> None:
        """Take note how fast a value has arrived.

        What is slow may be somebody who does not take what comes, so that a rate rises faster than it falls.

        Examples
        --------
        >>> usage = Usage(1000)
        >>> usage.learn_rate(10e6)
        >>> usage.learn_rate(20e6)
        >>> usage.bytes_per_s
        15000000.0
        >>> usage.learn_rate(5e6)
        >>> usage.bytes_per_s
        12500000.0
        """
        before = self.bytes_per_s or bytes_per_s
        self.bytes_per_s = before + (bytes_per_s - before) * (0.5 if bytes_per_s > before else 0.25)

    def hold(self, call_id: str, size: int) -> bool:
        """Note how many bytes are held for a call; False when that is more than one caller may have."""
        before = self._held.pop(call_id, 0)
        if size:
            self._held[call_id] = size
        self.held_bytes += size - before
        return self.held_bytes <= self.limit_bytes


def _too_many_wait(caller: Caller) -> str:
    return f"{STREAMS_EACH} streams of {caller}, or functions that ask {caller}, are open at this backend"
