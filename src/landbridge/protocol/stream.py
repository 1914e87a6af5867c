"""One direction of a call: counted messages under byte credit, kept until they are known to have arrived.

The receiver says how many bytes it can take in all (`granted`, counted from the start of the call, so that a doubled
or late message does no harm); the sender never goes beyond. A slow reader therefore slows its own stream and nothing
else. Every message costs `OVERHEAD` bytes on top of its body, so that a flood of tiny items is slowed too.

A value that does not fit one message is announced in its place, and its bytes go through the lane of `bulk`. What
comes behind it waits at the receiver until it is whole: so everything is handed on in the order of its sending.

A body is at most half a window, and the receiver grants anew when half a window has been used: so the two can never
wait for each other.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeAlias

from ..errors import Malformed, TooLarge
from .bulk import LARGEST_WINDOW, BulkIn, BulkOut, Room
from .messages import FUNCTION_BYTES, UNCOUNTED, Kind, Message, pack

__all__ = ["OVERHEAD", "SMALLEST_WINDOW", "WINDOW", "Incoming", "Outgoing", "Value"]

WINDOW = 2 * 1024 * 1024
"""Credit at the start of a call, in bytes."""

SMALLEST_WINDOW = 16 * 1024
"""A receiver must take at least this much, or its messages would be mostly overhead."""

OVERHEAD = 64

_MOST_KEPT = LARGEST_WINDOW
"""Bytes of messages that may be kept at a time, however much the other side grants and never says it has."""

_AGAIN_BYTES_PER_S = 4 * 1024 * 1024
"""How much of one call is sent again on request: a request costs its sender next to nothing, and us all it asks for."""

_SHORT_BYTES = 4096
_VALUES = frozenset({Kind.CALL, Kind.RESULT, Kind.ITEM, Kind.INVOKE, Kind.RETURN})

_OF_FUNCTIONS = frozenset({Kind.INVOKE, Kind.RETURN})


class Value(NamedTuple):
    """A whole value, or an end: the message it came as, its bytes, and what using it frees (see `Incoming.use`)."""

    kind: Kind
    meta: dict[str, Any]
    body: memoryview | bytearray
    cost: int
    bulk: bool


_Bytes: TypeAlias = bytes | memoryview
_Queued: TypeAlias = tuple[Kind, dict[str, Any], Sequence[_Bytes], int]


class Outgoing:
    """The sending side.

    Parameters
    ----------
    granted : int
        Bytes the receiver takes before it says more.
    longest : int
        Largest body of a message; longer values go through the other lane.
    is_full : callable, optional
        Whether our own ``line``, or our ``lane`` for long values, has more to send than it should: then nothing is
        added, whatever the other side grants, but a short value that a call begins with.

    Attributes
    ----------
    held_back : str
        What something waits for, if not for the other side: our ``line`` or ``lane``; empty when nothing does.
    """

    __slots__ = (
        "_again_at", "_granted", "_is_full", "_kept", "_kept_bytes", "_longest", "_queue", "_sent", "_sequence", "bulk",
        "held_back",
    )  # fmt: skip

    def __init__(self, granted: int, longest: int, is_full: Callable[[str], bool] | None = None) -> None:
        self._granted = granted
        self._longest = longest
        self._is_full = is_full
        self._again_at = 0.0
        self.held_back = ""
        self._sent = 0
        self._sequence = 0
        # Most calls never queue anything and keep one message, so these are made when they are needed.
        self._queue: deque[_Queued] | tuple[()] = ()
        self._kept: list[list[_Bytes]] | tuple[()] = ()
        self._kept_bytes = 0
        self.bulk: BulkOut | None = None

    def begin(self, granted: int, longest: int) -> None:
        """Take note of what the receiver takes, before anything is sent; see the parameters."""
        self._granted, self._longest = granted, longest

    @property
    def holds(self) -> bool:
        """Whether `held_bytes` may be more than 0; quicker than to count them."""
        return bool(self._queue) or (self.bulk is not None and self.bulk.held_bytes > 0)

    @property
    def held_bytes(self) -> int:
        """How much waits for credit, or for the other side to say that a long value has arrived, in bytes."""
        return sum(left for _, _, _, left in self._queue) + (self.bulk.held_bytes if self.bulk is not None else 0)

    @property
    def waiting(self) -> bool:
        """Whether something has not been sent yet."""
        return bool(self._queue) or (self.bulk is not None and self.bulk.waiting)

    @property
    def keeps(self) -> bool:
        """Whether something may have to be sent again."""
        return bool(self._kept) or (self.bulk is not None and self.bulk.held_bytes > 0)

    @property
    def kept_bytes(self) -> int:
        """How much is kept to be sent again, in bytes."""
        return self._kept_bytes + (self.bulk.held_bytes if self.bulk is not None else 0)

    @property
    def kept(self) -> Sequence[list[_Bytes]]:
        """The messages that are not known to have arrived."""
        return self._kept

    def uncounted(self, kind: Kind, meta: dict[str, Any] | None = None) -> list[_Bytes]:
        """Return a message that may get lost without harm; needs no credit."""
        return [pack(kind, self._sequence, meta)]

    def counted(
        self, kind: Kind, meta: dict[str, Any] | None = None, parts: Sequence[_Bytes] = (), size: int = 0
    ) -> list[_Bytes]:
        """Return the next message that must arrive, with a body of `size` bytes, and keep it until it has."""
        message = [pack(kind, self._sequence, meta), *parts]
        self._sequence += 1
        if isinstance(self._kept, tuple):
            self._kept = []
        self._kept.append(message)
        self._kept_bytes += size + OVERHEAD
        return message

    def at_once(
        self, kind: Kind, parts: Sequence[_Bytes], size: int, meta: dict[str, Any] | None = None
    ) -> list[_Bytes] | None:
        """Return the one message that carries a value, if it needs no other and nothing waits; else None."""
        if self._queue or size > self._longest or self.bulk is not None or not self._fits(size):
            return None
        if size > _SHORT_BYTES and self._is_full is not None and self._is_full("line"):
            return None
        self._sent += size + OVERHEAD
        return self.counted(kind, meta, parts, size)

    def put(self, kind: Kind, meta: dict[str, Any], parts: Sequence[_Bytes], size: int) -> None:
        """Queue a value of `size` bytes for sending, or an end behind all values."""
        if size > self._longest:
            if self.bulk is None:
                self.bulk = BulkOut()
            self.bulk.put(parts, size)
            meta, parts, size = {**meta, "total": size}, (), 0
        elif self.bulk is not None:
            meta = {**meta, "after": self.bulk.end}
        if isinstance(self._queue, tuple):
            self._queue = deque()
        self._queue.append((kind, meta, parts, size))

    def _fits(self, size: int) -> bool:
        return self._sent + size + OVERHEAD <= self._granted and self._kept_bytes < _MOST_KEPT

    def drop(self) -> None:
        """Let go of what waits to be sent: it will not be."""
        self._queue = ()
        self.held_back = ""
        if self.bulk is not None:
            self.bulk.drop()

    def heard(self, meta: dict[str, Any], now: float) -> list[list[_Bytes]]:
        """Take note of what a BEAT of the receiver says; return what it misses, to be sent again.

        Nothing is sent again so soon after so much was that the call would take more of the line than it may.

        Raises
        ------
        Malformed
            When it misses a part that begins where none does.
        """
        self._granted = max(self._granted, meta.get("granted", 0))
        arrived, bulk_next = meta.get("next"), meta.get("bulk_next", 0)
        if self.bulk is not None:
            self.bulk.grant(meta.get("bulk_granted", 0))
            self.bulk.acknowledge(bulk_next, now)
        if arrived is None or isinstance(self._kept, tuple):
            return []
        first = self._sequence - len(self._kept)
        if arrived > first:
            self._kept_bytes -= sum(map(_cost, self._kept[: arrived - first]))
            del self._kept[: arrived - first]
        if not meta.get("resend") or arrived < first:
            return []  # who asks for what had arrived did so before it arrived: the message is old
        if not self._may_send_again(now):
            return []
        self._count_again(self.bulk.rewind(bulk_next) if self.bulk is not None else 0, now)
        return list(self._kept)

    def again(self, now: float) -> list[list[_Bytes]]:
        """Return what is not known to have arrived, but for long values, to be sent again; bounded as in `heard`."""
        if isinstance(self._kept, tuple) or not self._may_send_again(now):
            return []
        self._count_again(0, now)
        return list(self._kept)

    def _may_send_again(self, now: float) -> bool:
        return now >= self._again_at and (self._is_full is None or not self._is_full("line"))

    def _count_again(self, bulk_bytes: int, now: float) -> None:
        self._again_at = now + (self._kept_bytes + bulk_bytes) / _AGAIN_BYTES_PER_S

    def take(self) -> list[list[_Bytes]]:
        """Return the messages that may be sent now, each as a list of byte strings."""
        messages: list[list[_Bytes]] = []
        queue = self._queue
        self.held_back = ""
        if isinstance(queue, tuple):
            return messages
        while queue:
            kind, meta, parts, size = queue[0]
            if not self._fits(size):
                break
            if (self._sequence or size > _SHORT_BYTES) and self._is_full is not None and self._is_full("line"):
                self.held_back = "line"
                break
            self._sent += size + OVERHEAD
            messages.append(self.counted(kind, meta, parts, size))
            queue.popleft()
        return messages

    def take_bulk(self, now: float = 0.0) -> list[list[_Bytes]]:
        """Return the parts that may be sent now through the other lane."""
        if self.bulk is None or not self.bulk.waiting:
            return []
        if self._is_full is not None and self._is_full("lane"):
            self.held_back = "lane"
            return []
        return self.bulk.take(now)

    def measured(self) -> float:
        """Return how fast long values have arrived since this was last asked, in bytes per second; 0 if none has."""
        bytes_per_s = 0.0
        if self.bulk is not None:
            bytes_per_s, self.bulk.bytes_per_s = self.bulk.bytes_per_s, 0.0
        return bytes_per_s


def _cost(message: list[_Bytes]) -> int:
    return sum(part.nbytes if isinstance(part, memoryview) else len(part) for part in message[1:]) + OVERHEAD


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
    make_room : callable
        Gives memory for a value that comes in parts; see `BulkIn`.
    """

    __slots__ = (
        "_expected", "_limit", "_make_room", "_received", "_rooms", "_used", "_waiting", "_what", "_window", "bulk",
        "granted", "lane_open",
    )  # fmt: skip

    def __init__(self, window: int, limit: int, what: str, make_room: Callable[[int], Room]) -> None:
        self.granted = window
        self._window = window
        self._limit, self._what, self._make_room = limit, what, make_room
        self._expected = 0
        self._used = 0
        self._received = 0
        self._waiting: deque[Message] | tuple[()] = ()
        self._rooms: deque[Room] | tuple[()] = ()
        self.bulk: BulkIn | None = None
        self.lane_open = False

    @property
    def holds(self) -> bool:
        """Whether a value that is not whole is here."""
        return self.bulk is not None and self.bulk.held_bytes > 0

    @property
    def held_bytes(self) -> int:
        """How much of a value that is not whole is here, in bytes."""
        return self.bulk.held_bytes if self.bulk is not None else 0

    @property
    def receives_bulk(self) -> bool:
        """Whether parts are expected."""
        return self.bulk is not None and self.bulk.expects

    def order(self, message: Message) -> int:
        """Return 0 for the message that is due, less for one that came before, more when one is missing."""
        off = (message.sequence - self._expected) & 0xFFFFFFFF
        if off == 0:
            if message.kind not in UNCOUNTED:
                self._expected += 1
            return 0
        return off if off < 1 << 31 else off - (1 << 32)

    def receive(self, message: Message, now: float) -> list[Value]:
        """Return what can be handed on with this message: itself, or nothing yet.

        Raises
        ------
        TooLarge
            When a value would be larger than the limit; nothing was allocated for it.
        Malformed
            When more was sent than was granted.
        """
        kind, meta, size = message.kind, message.meta, message.body.nbytes
        if kind in _VALUES or kind is Kind.RAISED or "after" in meta:
            self._received += size + OVERHEAD
            if self._received > self.granted:
                raise Malformed(f"the {self._what} exceed the credit that was given")
            if size > self._limit:
                raise TooLarge(f"A value among the {self._what}", size, self._limit, "Send less, or reduce it first")
        total = meta.get("total") if kind in _VALUES else None
        if total is None and "after" not in meta:
            return [Value(kind, meta, message.body, size + OVERHEAD, False)]
        if self.bulk is None:
            self.bulk = BulkIn(self._limit, self._what, self._make_room)
        if total is not None:
            if not isinstance(total, int) or not total or size:
                raise Malformed("a value that comes in parts does not say how long it is")
            if kind in _OF_FUNCTIONS and total > FUNCTION_BYTES:
                raise TooLarge("What a function of the caller is given, or gives", total, FUNCTION_BYTES, "Send less")
            self.bulk.announce(total, now)
        elif meta["after"] > self.bulk.end:
            raise Malformed("a message waits for bytes that nobody has announced")
        if isinstance(self._waiting, tuple):
            self._waiting, self._rooms = deque(), deque()
        self._waiting.append(message)
        return self._ready(now)

    def part(self, message: Message, now: float) -> list[Value] | None:
        """Return what can be handed on with this part; None when one before it is missing."""
        if self.bulk is None:
            # It has overtaken the message that announces its value.
            self.bulk = BulkIn(self._limit, self._what, self._make_room)
        return self._ready(now) if self.bulk.receive(message, now) else None

    def _ready(self, now: float) -> list[Value]:
        ready: list[Value] = []
        bulk, waiting, rooms = self.bulk, self._waiting, self._rooms
        if bulk is None or isinstance(waiting, tuple) or isinstance(rooms, tuple):
            return ready
        rooms.extend(bulk.whole(now))
        while waiting:
            kind, _, meta, body = waiting[0]
            if kind in _VALUES and "total" in meta:
                if not rooms:
                    break
                ready.append(Value(kind, meta, rooms.popleft(), OVERHEAD, True))
            elif bulk.next >= meta.get("after", 0):
                ready.append(Value(kind, meta, body, body.nbytes + OVERHEAD, False))
            else:
                break
            waiting.popleft()
        return ready

    def drop(self) -> None:
        """Let go of values that are not whole: no value is wanted any more."""
        self.bulk = None
        self._waiting = self._rooms = ()

    def use(self, cost: int, bulk: bool = False) -> None:
        """Take note that a value of this cost has been used, so that its room is free again."""
        self._used += cost
        if bulk and self.bulk is not None:
            self.bulk.take()

    def grant_is_due(self) -> bool:
        """Whether half a window has become free, which is worth a message to the sender."""
        if self._used + self._window - self.granted >= self._window // 2:
            return True
        return self.lane_open and self.bulk is not None and self.bulk.grant_is_due()

    def grants(self, now: float) -> dict[str, Any]:
        """Grant all that is free, and return what a BEAT says of it and of what has arrived."""
        self.granted = self._used + self._window
        meta: dict[str, Any] = {"granted": self.granted, "next": self._expected}
        if self.bulk is not None and self.lane_open:
            meta["bulk_granted"], meta["bulk_next"] = self.bulk.grant(now), self.bulk.next
        return meta
