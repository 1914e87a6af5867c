"""One direction of a call: values cut into parts at the sender, put together at the receiver, under byte credit.

The receiver says how many bytes it can take in all (`granted`, counted from the start of the call, so that a doubled
or late message does no harm); the sender never goes beyond. A slow reader therefore slows its own stream and nothing
else. Every part costs `OVERHEAD` bytes on top of its body, so that a flood of tiny items is slowed too.

Parts are at most half a window, and the receiver grants anew when half a window has been used: so the two can never
wait for each other.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any, NamedTuple, TypeAlias

from ..errors import Malformed, TooLarge
from .messages import UNCOUNTED, Kind, Message, pack

__all__ = ["OVERHEAD", "PART_BYTES", "SMALLEST_WINDOW", "VALUE_LIMIT", "WINDOW", "Incoming", "Outgoing", "Value"]

PART_BYTES = 512 * 1024
"""Largest body of one message: below the broker's default limit of 1 MB."""

WINDOW = 2 * 1024 * 1024
"""Credit at the start of a call, in bytes."""

SMALLEST_WINDOW = 16 * 1024
"""A receiver must take at least this much, or its parts would be mostly overhead."""

VALUE_LIMIT = 8 * 1024 * 1024
"""Largest value that this version sends or takes, in bytes."""

OVERHEAD = 64


class Value(NamedTuple):
    """A whole value: the kind it came as, its bytes, and what using it frees (see `Incoming.use`)."""

    kind: Kind
    body: memoryview | bytearray
    cost: int


_Queued: TypeAlias = tuple[Kind, dict[str, Any], Sequence[bytes | memoryview], int]


class Outgoing:
    """The sending side.

    Parameters
    ----------
    granted : int
        Bytes the receiver takes before it says more.
    part_bytes : int
        Largest body of a message.
    """

    __slots__ = ("_granted", "_part_bytes", "_queue", "_sent", "_sequence")

    def __init__(self, granted: int, part_bytes: int) -> None:
        self._granted = granted
        self._part_bytes = part_bytes
        self._sent = 0
        self._sequence = 0
        # Most calls never queue anything, so the queue is made when the first value has to wait.
        self._queue: deque[_Queued] | tuple[()] = ()

    @property
    def held_bytes(self) -> int:
        """How much waits for credit, in bytes."""
        return sum(left for _, _, _, left in self._queue)

    @property
    def waiting(self) -> bool:
        """Whether something waits for credit."""
        return bool(self._queue)

    def head(self, kind: Kind, meta: dict[str, Any] | None = None) -> bytes:
        """Return a message without body, or the head of one; needs no credit."""
        if kind in UNCOUNTED:
            return pack(kind, self._sequence, meta)
        self._sequence += 1
        return pack(kind, self._sequence - 1, meta)

    def at_once(
        self, kind: Kind, parts: Sequence[bytes | memoryview], size: int, meta: dict[str, Any] | None = None
    ) -> list[bytes | memoryview] | None:
        """Return the one message that carries a value, if it needs no other and nothing waits; else None."""
        if self._queue or size > self._part_bytes or self._sent + size + OVERHEAD > self._granted:
            return None
        self._sent += size + OVERHEAD
        return [self.head(kind, meta), *parts]

    def put(self, kind: Kind, meta: dict[str, Any], parts: Sequence[bytes | memoryview], size: int) -> None:
        """Queue a value of `size` bytes for sending."""
        if size > self._part_bytes:
            meta = {**meta, "total": size}
            parts = [_as_bytes(view) for view in (memoryview(part) for part in parts) if view.nbytes]
        if isinstance(self._queue, tuple):
            self._queue = deque()
        self._queue.append((kind, meta, parts, size))

    def drop(self) -> None:
        """Let go of what waits for credit: it will not be sent."""
        self._queue = ()

    def grant(self, granted: int) -> None:
        """Take note of what the receiver can take in all; a smaller number than before is an old message."""
        self._granted = max(self._granted, granted)

    def take(self) -> list[list[bytes | memoryview]]:
        """Return the messages that may be sent now, each as a list of byte strings."""
        messages: list[list[bytes | memoryview]] = []
        queue = self._queue
        if isinstance(queue, tuple):
            return messages
        while queue:
            kind, meta, parts, left = queue[0]
            length = min(left, self._part_bytes)
            if self._sent + length + OVERHEAD > self._granted:
                break
            self._sent += length + OVERHEAD
            if length == left:
                messages.append([self.head(kind, meta), *parts])
                queue.popleft()
            else:
                body, rest = _cut(parts, length)
                messages.append([self.head(kind, meta), *body])
                queue[0] = (Kind.PART, {}, rest, left - length)
        return messages


def _as_bytes(view: memoryview) -> memoryview:
    # Slices of a view count its items; only those of a view of bytes count bytes.
    return view if view.ndim == 1 and view.itemsize == 1 else view.cast("B")


def _cut(parts: Sequence[bytes | memoryview], length: int) -> tuple[list[bytes | memoryview], list[bytes | memoryview]]:
    taken: list[bytes | memoryview] = []
    for place, part in enumerate(parts):
        if len(part) > length:
            return [*taken, part[:length]], [part[length:], *parts[place + 1 :]]
        taken.append(part)
        length -= len(part)
    return taken, []


class Incoming:
    """The receiving side.

    Parameters
    ----------
    window : int
        Bytes that may be on their way or waiting to be used at any time.
    limit : int
        Largest value taken, in bytes.
    what : str
        How the values are called in errors: ``arguments`` or ``result``.
    """

    __slots__ = (
        "_buffer", "_expected", "_kind", "_limit", "_received", "_total", "_used", "_what", "_window", "granted",
    )  # fmt: skip

    def __init__(self, window: int, limit: int, what: str) -> None:
        self.granted = window
        self._window = window
        self._limit = limit
        self._what = what
        self._expected = 0
        self._used = 0
        self._received = 0
        self._kind: Kind | None = None
        self._buffer = bytearray()
        self._total = 0

    @property
    def holds(self) -> bool:
        """Whether an unfinished value is here."""
        return self._kind is not None

    @property
    def held_bytes(self) -> int:
        """How much of an unfinished value is here, in bytes."""
        return len(self._buffer)

    def in_order(self, message: Message) -> bool:
        """Whether this message is the next one; False means that one was lost on the way."""
        if message.sequence != self._expected & 0xFFFFFFFF:
            return False
        if message.kind not in UNCOUNTED:
            self._expected += 1
        return True

    def receive(self, message: Message) -> Value | None:
        """Return a value once its last part is here.

        Raises
        ------
        TooLarge
            When the value would be larger than the limit; nothing was allocated for it.
        Malformed
            When parts do not fit together, or more was sent than was granted.
        """
        size = message.body.nbytes
        self._received += size + OVERHEAD
        if self._received > self.granted:
            raise Malformed(f"the {self._what} exceed the credit that was given")
        if message.kind is Kind.PART:
            return self._continue(message.body, size)
        if self._kind is not None:
            raise Malformed("a new value began before the last one was complete")
        total = message.meta.get("total", size)
        if not isinstance(total, int) or total < size:
            raise Malformed("a value says it is shorter than its first part")
        if total > self._limit:
            raise TooLarge(f"A value among the {self._what}", total, self._limit, "Send less, or reduce it first")
        if total == size:
            return Value(message.kind, message.body, size + OVERHEAD)
        self._kind, self._buffer, self._total = message.kind, bytearray(), total
        return self._continue(message.body, size)

    def _continue(self, body: memoryview, size: int) -> Value | None:
        if self._kind is None or not size or len(self._buffer) + size > self._total:
            raise Malformed("a part belongs to no value")
        # It grows with what arrives: whoever only announces much would otherwise fill our memory with one message.
        self._buffer += body
        if len(self._buffer) < self._total:
            # It lies in its final place, whose size the limit bounds: room for the next part is free at once.
            self._used += size + OVERHEAD
            return None
        value = Value(self._kind, self._buffer, size + OVERHEAD)
        self._kind, self._buffer = None, bytearray()
        return value

    def use(self, cost: int) -> None:
        """Take note that a value of this cost has been used, so that its room is free again."""
        self._used += cost

    def grant_is_due(self) -> bool:
        """Whether half a window has become free, which is worth a message to the sender."""
        return self._used + self._window - self.granted >= self._window // 2

    def grant(self) -> int:
        """Grant all that is free, and return the number to tell the sender."""
        self.granted = self._used + self._window
        return self.granted
