"""Who is told what happens to a call, and the two simple kinds of them."""

from __future__ import annotations

import asyncio
from typing import Protocol

from ..errors import LandbridgeError, Malformed
from ..protocol import Item, Progress

__all__ = ["Collecting", "Observer", "Waiting"]


class Observer(Protocol):
    """Who is told what happens to a call; called in the link's loop."""

    def progressed(self, progress: Progress) -> None:
        """Take note of how far the method is."""

    def item_arrived(self, item: Item) -> None:
        """Take one item of a stream."""

    def ended(self, frame: memoryview | bytearray | None, error: LandbridgeError | None) -> None:
        """Take the outcome; comes exactly once."""


class Waiting:
    """Observes a call whose value is all that matters."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.future: asyncio.Future[memoryview | bytearray] = loop.create_future()

    def progressed(self, progress: Progress) -> None:
        """Leave it."""

    def item_arrived(self, item: Item) -> None:
        """Leave it."""

    def ended(self, frame: memoryview | bytearray | None, error: LandbridgeError | None) -> None:
        """Give the value or the error to whoever waits."""
        if self.future.done():
            return
        if error is not None:
            self.future.set_exception(error)
        elif frame is not None:
            self.future.set_result(frame)
        else:
            self.future.set_exception(Malformed("a stream ended where one value was expected"))


class Collecting:
    """Observes a stream whose items are wanted one after the other, and nothing else."""

    def __init__(self) -> None:
        self._arrived: asyncio.Queue[Item | LandbridgeError | None] = asyncio.Queue()

    async def next(self) -> Item | None:
        """Return the next item, None at the end; raises what the call ended with."""
        event = await self._arrived.get()
        if isinstance(event, LandbridgeError):
            raise event
        return event

    def progressed(self, progress: Progress) -> None:
        """Leave it."""

    def item_arrived(self, item: Item) -> None:
        """Keep it for `next`."""
        self._arrived.put_nowait(item)

    def ended(self, frame: memoryview | bytearray | None, error: LandbridgeError | None) -> None:
        """Keep the end for `next`."""
        if frame is not None:
            error = Malformed("one value came where a stream was expected")
        self._arrived.put_nowait(error)
