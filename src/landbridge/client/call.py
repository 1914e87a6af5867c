"""A call that was started: its result, how far it is, and how to stop it."""

from __future__ import annotations

import os
import time
from collections.abc import Generator, Iterator
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any

from .. import wire
from ..contract import MethodSpec, revive
from ..errors import CallCancelled, LandbridgeError, ProtocolMismatch
from ..protocol import Item, Progress
from ..terminal import Bar
from .loop import in_io_thread, io_loop

if TYPE_CHECKING:
    from .link import Link

__all__ = ["Call", "Progress"]

_CANCEL_WAIT_S = 5.0
_EVENTS_KEPT = 1000


class _End:
    """Stands in the queue behind everything else."""


_END = _End()


class Call:
    """A call that runs at the backend. Made by ``method.start(...)``.

    Attributes
    ----------
    target : str
        ``institute/module.method``.
    progress : Progress or None
        What the method last said of itself: `done`, `total` (None if unknown), `label`.
    bytes_sent, bytes_received : int
        What has travelled so far: the arguments, and the value or items.
    """

    def __init__(self, target: str, spec: MethodSpec, types: dict[str, type], network: object) -> None:
        self.target = target
        # Held while the call runs: a network that nobody holds disconnects.
        self._network: object | None = network
        self._pid = os.getpid()
        self.progress: Progress | None = None
        self.bytes_sent = 0
        self.bytes_received = 0
        self._spec = spec
        self._types = types
        self._link: Link | None = None
        self._call_id = ""
        # Filled by the I/O thread, emptied by whoever waits, whom it wakes with a single hand-over.
        self._arrived: SimpleQueue[Progress | Item | _End] = SimpleQueue()
        self._frame: memoryview | bytearray | None = None
        self._error: LandbridgeError | None = None
        self._ended = False
        self._started_at = time.monotonic()
        self._ended_at = 0.0
        self._value: Any = None
        self._has_value = False

    def __repr__(self) -> str:
        state = "ended" if self._ended else "running"
        return f"<landbridge call {self.target}: {state}>"

    @property
    def seconds(self) -> float:
        """How long the call has taken so far, or took in all."""
        return (self._ended_at if self._ended else time.monotonic()) - self._started_at

    def done(self) -> bool:
        """Whether the call has ended, in whatever way."""
        return self._ended

    def result(self, timeout: float | None = None) -> Any:
        """Wait for the value and return it; a bar shows progress if somebody looks at stderr.

        Ctrl-C cancels the remote work.

        Parameters
        ----------
        timeout : float, optional
            How long to wait, in seconds. The call itself goes on when it passes.

        Raises
        ------
        TimeoutError
            When `timeout` passed.
        LandbridgeError
            What became of the call instead of a value.
        """
        if self._spec.streams:
            raise TypeError(f"{self.target} is a stream: loop over the call instead of asking for its result")
        self._wait(timeout)
        if self._error is not None:
            raise self._error
        if not self._has_value:
            if self._frame is None:
                raise self._changed("now is a stream")
            self._value = revive(wire.decode(self._frame), self._spec.returns, self._types)
            self._has_value, self._frame = True, None
        return self._value

    def cancel(self) -> str:
        """Stop the remote work, and return what became of it.

        Returns
        -------
        str
            ``stopped``: no code runs any more. ``stopping``: it was asked to, and has not answered yet. ``running``:
            its code cannot be interrupted and runs on. ``finished``: it had ended before.
        """
        if self._ended:
            return self._error.state if isinstance(self._error, CallCancelled) else "finished"
        self._request_cancel()
        deadline = time.monotonic() + _CANCEL_WAIT_S
        while not self._ended and time.monotonic() < deadline:
            self._next(deadline - time.monotonic())
        if isinstance(self._error, CallCancelled):
            return self._error.state
        return "finished" if self._ended else "stopping"

    def events(self) -> Iterator[Progress]:
        """Go through what the method says of its progress, as it comes, until the call has ended.

        Raises
        ------
        TypeError
            For a stream, whose items come the same way: loop over the call, and look at `progress`.
        """
        if self._spec.streams:
            raise TypeError(f"{self.target} is a stream: loop over the call, and look at its .progress")
        return self._events()

    def _events(self) -> Iterator[Progress]:
        while True:
            event = self._next(None)
            if event is None:
                return
            if isinstance(event, Progress):
                yield event

    def __iter__(self) -> Iterator[Any]:
        """Go through the items of a stream as they come; leaving the loop stops the remote generator."""
        if not self._spec.streams:
            raise TypeError(f"{self.target} returns one value: ask for its result instead of looping over it")
        return _Stream(self)

    def _items(self) -> Generator[Any, None, None]:
        try:
            with Bar(self._spec.name) as bar:
                while True:
                    event = self._next(None)
                    if event is None:
                        break
                    if isinstance(event, Progress):
                        bar.update(event.done, event.total, event.label or None)
                        continue
                    value = revive(wire.decode(event.frame), self._spec.items, self._types)
                    io_loop().call_soon_threadsafe(self.took_in_loop, event.cost)
                    bar.close()
                    yield value
            if self._error is not None:
                raise self._error
            if self._frame is not None:
                raise self._changed("now returns one value")
        finally:
            if not self._ended:
                self._request_cancel()

    def _changed(self, what: str) -> LandbridgeError:
        return ProtocolMismatch.of_method(self.target, what)

    def _wait(self, timeout: float | None) -> None:
        deadline = None if timeout is None else time.monotonic() + timeout
        if self._ended and self._arrived.empty():
            return
        try:
            with Bar(self._spec.name) as bar:
                while not self._ended:
                    left = None if deadline is None else deadline - time.monotonic()
                    if left is not None and left <= 0:
                        raise TimeoutError(
                            f"{self.target} has not ended after the {timeout:g} s that result() waits; it goes on."
                        )
                    event = self._next(left)
                    if isinstance(event, Progress):
                        bar.update(event.done, event.total, event.label or None)
        except KeyboardInterrupt:
            self._request_cancel()
            raise

    def _next(self, timeout: float | None) -> Progress | Item | None:
        """Return the next event; None at the end, or when `timeout` passed."""
        if self._pid != os.getpid():
            raise RuntimeError(f"{self.target} was called before this process was forked; its parent gets the answer.")
        if in_io_thread():
            raise RuntimeError("Waiting for a call in Landbridge's own I/O thread would wait for ever.")
        try:
            event = self._arrived.get(timeout=None if timeout is None else max(timeout, 0))
        except Empty:
            return None
        if isinstance(event, _End):
            self._arrived.put(event)  # for whoever else waits
            return None
        return event

    def _request_cancel(self) -> None:
        # Through the loop in any case: the call itself may still be waiting there to begin. In a forked child it is the
        # parent's call, which goes on.
        if self._pid == os.getpid():
            io_loop().call_soon_threadsafe(self.cancel_in_loop)

    # What follows is called in the I/O thread.

    def begin(self, link: Link, target: Any, parts: Any, size: int, timeout_s: float | None) -> None:
        """Start the call on `link`."""
        self._link = link
        self.bytes_sent = size
        try:
            self._call_id = link.start(target, parts, size, self, timeout_s)
        except LandbridgeError as error:
            self.ended(None, error)

    def cancel_in_loop(self) -> None:
        """Ask for the call to be stopped."""
        if self._link is not None:
            self._link.cancel(self._call_id)

    def took_in_loop(self, cost: int) -> None:
        """Take note that an item has been used."""
        if self._link is not None:
            self._link.took(self._call_id, cost)

    def progressed(self, progress: Progress) -> None:
        """Take note of how far the method is."""
        self.progress = progress
        if self._arrived.qsize() < _EVENTS_KEPT:
            self._arrived.put(progress)

    def item_arrived(self, item: Item) -> None:
        """Take one item of a stream."""
        self.bytes_received += len(item.frame)
        self._arrived.put(item)

    def ended(self, frame: memoryview | bytearray | None, error: LandbridgeError | None) -> None:
        """Take the outcome."""
        self._frame, self._error = frame, error
        self.bytes_received += len(frame) if frame is not None else 0
        self._ended_at = time.monotonic()
        self._ended = True
        self._network = None
        self._arrived.put(_END)


class _Stream(Iterator[Any]):
    """The items of a stream. Dropped or closed before its end, it has the remote generator stopped."""

    def __init__(self, call: Call) -> None:
        self._call = call
        self._items = call._items()

    def __next__(self) -> Any:
        return next(self._items)

    def close(self) -> None:
        """Stop the remote generator, as `close` of a generator does."""
        self._items.close()
        if not self._call.done():
            self._call._request_cancel()

    def __del__(self) -> None:
        # A generator that was never begun does not run its `finally`, so this is done here.
        if not self._call.done():
            self._call._request_cancel()
