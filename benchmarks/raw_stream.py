"""The limit for large values: bytes in parts under a byte credit, on bare nats-py, both directions of it.

The receiver copies each part into its final place, in a buffer whose pages have been touched before, and grants anew
when half a window has been used.
"""

from __future__ import annotations

import asyncio

PART_BYTES = 512 * 1024


def touched(size: int) -> bytearray:
    """Return a buffer whose pages the kernel has given already."""
    buffer = bytearray(size)
    buffer[::4096] = b"\1" * len(range(0, size, 4096))
    return buffer


class Sender:
    """Sends buffers to one subject, never more than was granted."""

    def __init__(self, connection, subject: str) -> None:
        self._connection = connection
        self._subject = subject
        self._granted = 0
        self._more = asyncio.Event()

    def begin(self, window: int) -> None:
        """Take note that a new buffer is to be sent, of which the receiver takes `window` bytes at first."""
        self._granted = window

    async def credit_arrived(self, message) -> None:
        """Take note of how much the receiver takes in all."""
        self._granted = int(message.data)
        self._more.set()

    async def send(self, data: memoryview) -> None:
        """Send all of `data`."""
        for start in range(0, len(data), PART_BYTES):
            part = data[start : start + PART_BYTES]
            while start + len(part) > self._granted:
                self._more.clear()
                await self._more.wait()
            await self._connection.publish(self._subject, part)


class Receiver:
    """Puts what arrives into one buffer, and grants credit at one subject."""

    def __init__(self, connection, subject: str) -> None:
        self._connection = connection
        self._subject = subject
        self.buffer = bytearray()

    def begin(self, buffer: bytearray, window: int) -> None:
        """Expect as many bytes as `buffer` has."""
        self.buffer = buffer
        self._view = memoryview(buffer)
        self._window = window
        self._place = 0
        self._granted = window
        self.first = asyncio.Event()
        self.complete = asyncio.Event()

    async def part_arrived(self, message) -> None:
        """Take one part."""
        self.first.set()
        end = self._place + len(message.data)
        self._view[self._place : end] = message.data
        self._place = end
        if end == len(self.buffer):
            self.complete.set()
        elif self._window - (self._granted - end) >= self._window // 2:
            self._granted = end + self._window
            await self._connection.publish(self._subject, b"%d" % self._granted)
