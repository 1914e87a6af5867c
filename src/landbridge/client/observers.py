"""Who is told what happens to a call, and the two simple kinds of them."""

from __future__ import annotations

import asyncio
from typing import NoReturn, Protocol

from ..errors import LandbridgeError, Malformed
from ..protocol import Invoke, Item, Log, Progress

__all__ = ["Collecting", "Observer", "Waiting", "refuse_pickling"]


class Observer(Protocol):
    """Who is told what happens to a call; called in the link's loop."""

    def progressed(self, progress: Progress) -> None:
        """Take note of how far the method is."""

    def waits(self, place: int) -> None:
        """Take note of the call's place in the backend's queue; 0: it runs."""

    def logged(self, log: Log) -> None:
        """Take a line that the method wrote."""

    def noticed(self, notice: str) -> None:
        """Take note of why nothing moves now, in words; empty when it does again."""

    def item_arrived(self, item: Item) -> None:
        """Take one item of a stream."""

    def invoked(self, invoke: Invoke) -> None:
        """Call a function that was among the arguments."""

    def ended(self, frame: memoryview | bytearray | None, error: LandbridgeError | None) -> None:
        """Take the outcome; comes exactly once."""


class Plain:
    """Observes nothing; the kinds below are interested in a little more."""

    def progressed(self, progress: Progress) -> None:
        """Leave it."""

    def waits(self, place: int) -> None:
        """Leave it."""

    def logged(self, log: Log) -> None:
        """Leave it."""

    def noticed(self, notice: str) -> None:
        """Leave it."""

    def item_arrived(self, item: Item) -> None:
        """Leave it."""

    def invoked(self, invoke: Invoke) -> None:
        """Leave it: no function was among the arguments."""


class Waiting(Plain):
    """Observes a call whose value is all that matters."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.future: asyncio.Future[memoryview | bytearray] = loop.create_future()

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


class Collecting(Plain):
    """Observes a stream whose items are wanted one after the other, and nothing else."""

    def __init__(self) -> None:
        self._arrived: asyncio.Queue[Item | LandbridgeError | None] = asyncio.Queue()

    async def next(self) -> Item | None:
        """Return the next item, None at the end; raises what the call ended with."""
        event = await self._arrived.get()
        if isinstance(event, LandbridgeError):
            raise event
        return event

    def item_arrived(self, item: Item) -> None:
        """Keep it for `next`."""
        self._arrived.put_nowait(item)

    def ended(self, frame: memoryview | bytearray | None, error: LandbridgeError | None) -> None:
        """Keep the end for `next`."""
        if frame is not None:
            error = Malformed("one value came where a stream was expected")
        self._arrived.put_nowait(error)


def refuse_pickling(target: str) -> NoReturn:
    """Say why the handle of a call cannot be pickled, and what can."""
    raise TypeError(
        f"The call of {target} cannot be pickled or copied: its answer comes to this process alone. "
        "Pass on its result, or the method, which pickles."
    )
