"""The second lane of a call, for values too long for one message: a run of bytes under credit, resumed where it broke.

All long values that one side sends in a call follow each other in one run of bytes. Everything is said in positions
of this run, counted from the start of the call: a part says where it lies (`at`), the receiver says up to where it
takes bytes (`bulk_granted`) and up to where it has them (`bulk_next`). So whatever was lost or doubled on the way is
sent again from `bulk_next`, and no message does harm by coming twice. The last part of each value carries the CRC-32
(RFC 1952, section 8) of the whole value.

Parts go through a connection of their own: small messages never queue behind them.
"""

from __future__ import annotations

import zlib
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from ..errors import CallLost, Malformed, TooLarge
from .messages import Kind, Message, pack

__all__ = ["BULK_WINDOW", "LARGEST_WINDOW", "PART_BYTES", "STUCK_S", "BulkIn", "BulkOut", "Room", "lane_window"]

PART_BYTES = 512 * 1024
"""Largest body of one message: below the broker's default limit of 1 MB."""

BULK_WINDOW = 8 * 1024 * 1024
"""Bytes of long values that may be under way at first; it grows with the time that a message takes to and fro."""

LARGEST_WINDOW = 16 * 1024 * 1024
_LANE_BYTES = 32 * 1024 * 1024
_SMALLEST_LANE_WINDOW = 128 * 1024
_SMALLEST_PART = 16 * 1024
_MOST_EARLY = 4096
_SHORT_BYTES = 1024 * 1024
_SHORTEST_MEASURE_S = 0.01
_PATIENCE_S = 5.0
_LONGEST_PATIENCE_S = 20.0

STUCK_S = 120.0
"""A long value is given up when no part of it came for this long, although the other side says that it is there."""

Room: TypeAlias = memoryview | bytearray
"""Writable memory that one value is received into."""

_Bytes: TypeAlias = bytes | memoryview


def lane_window(receiving: int) -> int:
    """Return the largest window when so many calls receive long values through one connection.

    Together they stay at half of what the broker holds for a connection before it cuts it.
    """
    return min(LARGEST_WINDOW, max(_LANE_BYTES // max(receiving, 1), _SMALLEST_LANE_WINDOW))


class BulkOut:
    """The sending side. A value is kept until the receiver says that it has all of it.

    Attributes
    ----------
    end : int
        Where the last value ends.
    bytes_per_s : float
        How fast parts arrived when that was last measured; 0 if it was not.
    """

    __slots__ = ("_arrived", "_crc", "_granted", "_marks", "_sent", "_timed", "_values", "bytes_per_s", "end")

    def __init__(self) -> None:
        self.end = 0
        self.bytes_per_s = 0.0
        # Where and when the sending that is under way began: nothing is measured while there is nothing to send.
        self._timed: tuple[int, float] | None = None
        self._arrived = 0
        self._granted = 0
        self._sent = 0
        self._values: deque[_Value] = deque()
        # The checksum so far, at each place where a part that may have to be sent again begins.
        self._marks: dict[int, int] = {}
        self._crc = 0

    @property
    def waiting(self) -> bool:
        """Whether something has not been sent yet."""
        return self._sent < self.end

    @property
    def held_bytes(self) -> int:
        """How much is kept: not sent, or not known to have arrived."""
        return sum(value.size for value in self._values)

    def put(self, parts: Sequence[_Bytes], size: int) -> None:
        """Append a value of `size` bytes to the run."""
        # Empty ones first: a view of an empty array of several dimensions cannot even be cast.
        views = [_as_bytes(view) for view in (memoryview(part) for part in parts) if view.nbytes]
        self._values.append(_Value(self.end, size, views))
        self.end += size

    def drop(self) -> None:
        """Let go of everything: nothing more will be sent."""
        self._values.clear()
        self._marks.clear()
        self._sent = self.end

    def grant(self, granted: int) -> None:
        """Take note up to where the receiver takes bytes; a smaller number than before is an old message."""
        self._granted = max(self._granted, granted)

    def acknowledge(self, position: int, now: float = 0.0) -> None:
        """Let go of the values that have arrived whole; a place where no part ends is none that anybody can be at."""
        if position > self._sent and position in self._marks:
            self._sent, self._crc = position, self._marks[position]
        if position < self._arrived or (position != self._sent and position not in self._marks):
            return
        self._arrived = position
        self._measure(now)
        values = self._values
        while values and values[0].begin + values[0].size <= position:
            values.popleft()
        for mark in [mark for mark in self._marks if mark < position]:
            del self._marks[mark]

    def _measure(self, now: float) -> None:
        if self._timed is None:
            return
        begin, since = self._timed
        size, seconds = self._arrived - begin, now - since
        idle = self._arrived == self._sent
        # Much that arrives in no time had arrived before, and was only not looked at.
        if size >= PART_BYTES and (idle or seconds >= _SHORTEST_MEASURE_S):
            self.bytes_per_s = size / max(seconds, _SHORTEST_MEASURE_S / 10)
            self._timed = self._arrived, now
        if idle:
            self._timed = None

    def rewind(self, position: int) -> int:
        """Send again from `position`, where the receiver misses a part; a smaller one than before is an old message.

        Returns
        -------
        int
            How many bytes are sent again.

        Raises
        ------
        Malformed
            When no part that is still kept begins there.
        """
        if not self._arrived <= position < self._sent or not self._values:
            return 0
        crc = self._marks.get(position)
        if crc is None:
            raise Malformed(f"no part begins at position {position}")
        self._timed = None
        self._marks[self._sent] = self._crc  # it may have got further than it says
        size, self._sent, self._crc = self._sent - position, position, crc
        return size

    def again(self) -> None:
        """Send again what is not known to have arrived: our side of the lane was cut."""
        self.rewind(self._arrived)

    def take(self, now: float = 0.0) -> list[list[_Bytes]]:
        """Return the parts that may be sent now, each as the byte strings of one message."""
        messages: list[list[_Bytes]] = []
        began = self._sent
        while self._sent < self.end:
            value = next(value for value in self._values if self._sent < value.begin + value.size)
            offset = self._sent - value.begin
            left = value.size - offset
            # However much is granted: what has not arrived is kept.
            room = min(self._granted, self._arrived + LARGEST_WINDOW) - self._sent
            length = min(left, PART_BYTES, room)
            if length < min(left, _SMALLEST_PART):
                break
            body = value.cut(offset, length)
            crc = 0 if not offset else self._crc
            self._marks[self._sent] = crc
            for piece in body:
                crc = zlib.crc32(piece, crc)
            self._crc = crc
            meta: dict[str, Any] = {"at": self._sent}
            if length == left:
                meta["crc"] = crc
            messages.append([pack(Kind.PART, 0, meta), *body])
            self._sent += length
        if messages and self._timed is None:
            self._timed = began, now
        return messages


class _Value:
    """One value to be sent: where it begins in the run, and its bytes in several views."""

    __slots__ = ("_starts", "_views", "begin", "size")

    def __init__(self, begin: int, size: int, views: list[memoryview]) -> None:
        self.begin, self.size, self._views = begin, size, views
        starts, place = [], 0
        for view in views:
            starts.append(place)
            place += len(view)
        self._starts = starts

    def cut(self, offset: int, length: int) -> list[_Bytes]:
        taken: list[_Bytes] = []
        for start, view in zip(self._starts, self._views, strict=True):
            if start + len(view) <= offset:
                continue
            if start >= offset + length:
                break
            taken.append(view[max(offset - start, 0) : offset + length - start])
        return taken


def _as_bytes(view: memoryview) -> memoryview:
    # Slices of a view count its items; only those of a view of bytes count bytes.
    return view if view.ndim == 1 and view.itemsize == 1 and view.format == "B" else view.cast("B")


class BulkIn:
    """The receiving side: each value is received into memory of its own, which is taken as it fills.

    Parameters
    ----------
    limit : int
        Largest value taken, in bytes.
    what : str
        How the values are called in errors: ``arguments`` or ``result``.
    make_room : callable
        Gives writable memory of so many bytes. It should cost nothing before it is written to: whoever only announces
        much would otherwise take our memory with one message.
    """

    __slots__ = (
        "_announced", "_asked_at", "_crc", "_early", "_early_bytes", "_ends", "_filled", "_limit", "_make_room",
        "_measured", "_measured_at", "_moved_at", "_patience_s", "_room", "_rtt", "_what", "_window", "end", "granted",
        "granted_at", "largest_window", "next",
    )  # fmt: skip

    def __init__(self, limit: int, what: str, make_room: Callable[[int], Room]) -> None:
        self._limit, self._what, self._make_room = limit, what, make_room
        self._window = BULK_WINDOW
        self.largest_window = LARGEST_WINDOW
        self.next = self.end = 0
        self.granted = 0
        self.granted_at = 0.0
        self._announced: deque[int] = deque()
        self._room: Room | None = None
        self._filled = 0
        self._crc = 0
        # Parts overtake the message that announces their value: the two come through different connections.
        self._early: deque[Message] = deque()
        self._early_bytes = 0
        self._ends: deque[int] = deque()
        self._rtt: float | None = None
        self._measured, self._measured_at = 0, 0.0
        self._moved_at = 0.0
        self._patience_s = _PATIENCE_S
        self._asked_at = -1.0

    @property
    def held_bytes(self) -> int:
        """How much of a value that is not whole is here, in bytes; a short one takes its memory as a whole."""
        short = min(len(self._room), _SHORT_BYTES) if self._room is not None else 0
        return max(self._filled, short) + self._early_bytes

    @property
    def expects(self) -> bool:
        """Whether a value that was announced is not whole yet."""
        return bool(self._announced)

    def announce(self, total: int, now: float) -> None:
        """Take note that a value of `total` bytes follows those before.

        Raises
        ------
        TooLarge
            When it is larger than the limit; nothing was allocated for it.
        """
        if total > self._limit:
            raise TooLarge(f"A value among the {self._what}", total, self._limit, "Send less, or reduce it first")
        if not self._announced:
            self._moved_at = now
        self._announced.append(total)
        self.end += total

    def receive(self, message: Message, now: float) -> bool:
        """Take in a part; False when one before it is missing, so that it has to be sent again.

        Raises
        ------
        Malformed
            When more was sent than was granted.
        """
        at, size = message.meta.get("at"), message.body.nbytes
        if not isinstance(at, int) or not size:
            raise Malformed("a part does not say where it lies")
        if at + size > self.granted:
            raise Malformed(f"the {self._what} exceed the credit that was given")
        if self._rtt is None:
            self._rtt, self._measured_at = now - self.granted_at, now
        due = self.next + self._early_bytes
        # Crumbs without number would cost far more memory than they hold; who sends none never has so many early.
        if at == due and len(self._early) < _MOST_EARLY:
            if self._announced:
                self._learn(now - self._moved_at)
            self._moved_at = now
            self._early.append(message)
            self._early_bytes += size
        elif at > due:
            self._asked_at = now
        return at <= due

    def whole(self, now: float) -> list[Room]:
        """Put what has come where it belongs, and return the values that are whole now.

        Raises
        ------
        Malformed
            When a part fits no value.
        CallLost
            When a value is not what was sent.
        """
        values: list[Room] = []
        while self._early and self._announced:
            message = self._early.popleft()
            self._early_bytes -= message.body.nbytes
            room = self._fill(message)
            if room is not None:
                values.append(room)
        self._widen(now)
        return values

    def _fill(self, message: Message) -> Room | None:
        total, size = self._announced[0], message.body.nbytes
        if self._filled + size > total:
            raise Malformed("a part is longer than its value")
        if self._room is None:
            try:
                self._room = self._make_room(total)
            except (MemoryError, OSError):
                advice = "This process cannot get so much memory at once now: ask for less, or free some"
                raise TooLarge(f"A value among the {self._what}", total, total - 1, advice) from None
        memoryview(self._room)[self._filled : self._filled + size] = message.body
        self._crc = zlib.crc32(message.body, self._crc)
        self._filled += size
        self.next += size
        if self._filled < total:
            return None
        if message.meta.get("crc") != self._crc:
            raise CallLost(f"A value among the {self._what} was damaged on the way: its checksum differs. Call again.")
        room, self._room, self._filled, self._crc = self._room, None, 0, 0
        self._announced.popleft()
        self._ends.append(self.next)
        return room

    def take(self) -> None:
        """Take note that the program has taken the first value that it had not taken yet."""
        self._ends.popleft()

    def _widen(self, now: float) -> None:
        """Let as much be under way as arrives in two round trips, if that is more than the window."""
        rtt, elapsed = self._rtt or 0.0, now - self._measured_at
        if elapsed > max(rtt, 0.002):
            wanted = int(2 * rtt * (self.next - self._measured) / elapsed)
            self._window = max(self._window, min(wanted, LARGEST_WINDOW))
            self._measured, self._measured_at = self.next, now

    def _free_up_to(self) -> int:
        # One value may wait for the program, however long it is, and a window beyond it: so a reader who sleeps holds
        # no more than that, and one who does not is never waited for.
        used = self._ends[0] if self._ends else self.next
        return used + min(self._window, self.largest_window)

    def grant_is_due(self) -> bool:
        """Whether half a window has become free, which is worth a message to the sender."""
        window = min(self._window, self.largest_window)
        return bool(self._announced) and self._free_up_to() - self.granted >= window // 2

    def grant(self, now: float) -> int:
        """Grant all that is free, and return the number to tell the sender."""
        free = self._free_up_to()
        if free > self.granted:
            if self.granted - self.next < _SMALLEST_PART:
                self._moved_at = now  # it could not send on before
            self.granted, self.granted_at = free, now
        return self.granted

    def stalled(self, now: float) -> bool:
        """Whether a part is so late that it is worth asking for it again; said once, and again after longer."""
        waited = now - max(self._moved_at, self._asked_at)
        if not self._announced or self.granted == self.next or waited < self._patience_s:
            return False
        self._asked_at = now
        self._patience_s = max(self._patience_s, min(2 * self._patience_s, _LONGEST_PATIENCE_S))
        return True

    def is_stuck(self, now: float) -> bool:
        """Whether the sender could send, was asked for it again and again, and has not for `STUCK_S`."""
        if not self._announced:
            return False
        least = min(self._announced[0] - self._filled, _SMALLEST_PART)
        return self.granted - self.next >= least and now - max(self._moved_at, self.granted_at) >= STUCK_S

    def _learn(self, gap: float) -> None:
        # On a slow line parts are far between, and asking for them again would only add to what is under way. Of a
        # part that was asked for nobody knows whether it was on its way before.
        if self._asked_at > self._moved_at:
            self._patience_s = max(self._patience_s, min(4 * gap, 2 * self._patience_s))
        else:
            self._patience_s = max(_PATIENCE_S, self._patience_s / 2, 4 * gap)
