"""A call that was started: its result, how far it is, and how to stop it."""

from __future__ import annotations

import contextvars
import os
import sys
import threading
import time
import weakref
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any

from .. import wire
from ..contract import MethodSpec, revive
from ..errors import CallCancelled, LandbridgeError, ProtocolMismatch
from ..names import Address
from ..protocol import Invoke, Item, Log, Progress
from .functions import Functions, encoded, raised_meta
from .loop import in_io_thread, io_loop, stay_if_exiting
from .objects import Handle
from .observers import refuse_pickling
from .options import DEFAULT, Options
from .receiving import decoded
from .watching import View, shown

if TYPE_CHECKING:
    from .link import Link, Request
    from .request import Attempt

__all__ = ["Call", "Progress"]

_CANCEL_WAIT_S = 5.0
_EVENTS_KEPT = 1000
_LINES_KEPT = 200


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
    bytes_saved : int
        How much more the value or items would have been, had they not been compressed on their way.
    queue_place : int
        The call's place in the backend's queue, from 1; 0 when it runs.
    notice : str
        Why nothing moves now, in words: the broker is away, the backend is busy, the owner has to approve what came of
        the call. Empty when it does.
    log_lines : deque of (str, str)
        The last lines that the method wrote, if they were asked for: stream (``stdout``, ``stderr``, ``log``) and text.
    """

    def __init__(
        self,
        target: str,
        spec: MethodSpec,
        types: dict[str, type],
        network: object,
        functions: Functions | None = None,
    ) -> None:
        self.target = target
        # Held while the call runs: a network that nobody holds disconnects.
        self._network: object | None = network
        # Where references come from; weakly, as the call is to hold the network only while it runs.
        self._refer = weakref.WeakMethod(network._refer) if hasattr(network, "_refer") else None
        self._pid = os.getpid()
        self.progress: Progress | None = None
        self.bytes_sent = 0
        self.bytes_received = 0
        self.bytes_saved = 0
        self.queue_place = 0
        self.notice = ""
        self.log_lines: deque[tuple[str, str]] = deque(maxlen=_LINES_KEPT)
        # When the progress that is under way began to be told, and where it stood then.
        self._pace_from: tuple[float, float] | None = None
        self._cancel_asked = False
        self._spec = spec
        self._types = types
        self._link: Link | None = None
        self._request: Request | None = None
        # Filled by the I/O thread, emptied by whoever waits, whom it wakes with a single hand-over.
        self._arrived: SimpleQueue[Progress | Item | Log | _End] = SimpleQueue()
        self._frame: memoryview | bytearray | None = None
        self._error: LandbridgeError | None = None
        self._ended = False
        self._started_at = time.monotonic()
        self._ended_at = 0.0
        self._is_drained = False  # whether all that came before the end has been looked at: lines of the method
        self._value: Any = None
        self._has_value = False
        self._functions = functions or Functions()
        # So that what they print goes where it would go if they were called here, as to the cell of a notebook.
        self._context = contextvars.copy_context()
        self._asked: SimpleQueue[tuple[Invoke, Attempt] | None] | None = None

    def __repr__(self) -> str:
        return f"<landbridge call {self.target}: {self.state}>"

    def _repr_html_(self) -> str:
        """Return the card of the call as it stands now."""
        from .card import call_html
        from .html import without_fail

        return without_fail(lambda: call_html(self), self.target)

    def __reduce__(self) -> tuple[Any, ...]:
        """Refuse, and say what to pickle instead."""
        refuse_pickling(self.target)

    @property
    def state(self) -> str:
        """``running``, ``stopping`` (asked to, and not yet answered), ``done``, ``failed`` or ``cancelled``."""
        if not self._ended:
            return "stopping" if self._cancel_asked else "running"
        if self._error is None:
            return "done"
        return "cancelled" if isinstance(self._error, CallCancelled) else "failed"

    @property
    def error(self) -> LandbridgeError | None:
        """What the call ended with instead of a value; None while it runs."""
        return self._error

    @property
    def seconds_left(self) -> float | None:
        """How long it may still take, at the pace so far; None if nothing tells."""
        pace, progress = self._pace_from, self.progress
        if self._ended or pace is None or progress is None or not progress.total:
            return None
        since, first = pace
        if progress.done <= first:
            return None
        return (time.monotonic() - since) * max(progress.total - progress.done, 0) / (progress.done - first)

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
        if not self._is_drained:
            with shown(self) as view:
                self._wait(timeout, view)
        return self._outcome()

    def _outcome(self) -> Any:
        self._raise_error()
        frame = self._frame  # looked at first: another thread may be here, too
        if not self._has_value:
            if frame is None:
                raise self._changed("now is a stream")
            self._value = revive(self._decoded(frame), self._spec.returns, self._types)
            self._has_value = True
            self._frame = None
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
        self._wait_for_end(_CANCEL_WAIT_S)
        if isinstance(self._error, CallCancelled):
            return self._error.state
        return "finished" if self._ended else "stopping"

    def _wait_for_end(self, timeout_s: float) -> None:
        deadline = time.monotonic() + timeout_s
        while not self._ended and (left := deadline - time.monotonic()) > 0:
            self._next(left)

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
            if isinstance(event, _End):
                return
            if isinstance(event, Progress):
                yield event
            else:
                _print(event)

    def __iter__(self) -> Iterator[Any]:
        """Go through the items of a stream as they come; leaving the loop stops the remote generator."""
        if not self._spec.streams:
            raise TypeError(f"{self.target} returns one value: ask for its result instead of looping over it")
        return _Stream(self)

    def _items(self) -> Generator[Any, None, None]:
        with shown(self) as view:
            try:
                while True:
                    event = self._next(view.refresh_s)
                    if isinstance(event, _End):
                        break
                    view.look()
                    if not isinstance(event, Item):
                        _print(event, view)
                        continue
                    value = revive(self._decoded(event.frame), self._spec.items, self._types)
                    io_loop().call_soon_threadsafe(self.took_in_loop, event)
                    view.pause()
                    yield value
            finally:
                if not self._ended:
                    self._request_cancel()
        self._raise_error()
        if self._frame is not None:
            raise self._changed("now returns one value")

    def _decoded(self, frame: memoryview | bytearray) -> object:
        return decoded(frame, self._referred)

    def _referred(self, data: wire.ReferenceData) -> object:
        refer = None if self._refer is None else self._refer()
        if refer is None:
            raise RuntimeError(f"{self.target} gives a reference, and nobody holds the network that it is in any more.")
        return refer(data)

    def _raise_error(self) -> None:
        if self._error is not None:
            stay_if_exiting()
            raise self._error

    def _changed(self, what: str) -> LandbridgeError:
        return ProtocolMismatch.of_method(self.target, what)

    def _wait(self, timeout: float | None, view: View) -> None:
        deadline = None if timeout is None else time.monotonic() + timeout
        try:
            while True:
                left = None if deadline is None else max(deadline - time.monotonic(), 0)
                event = self._next(view.refresh_s if left is None else min(left, view.refresh_s or left))
                if isinstance(event, _End):
                    self._is_drained = True
                    return
                if event is None and deadline is not None and time.monotonic() >= deadline:
                    raise TimeoutError(
                        f"{self.target} has not ended after the {timeout:g} s that result() waits; it goes on."
                    )
                view.look()
                _print(event, view)
        except KeyboardInterrupt:
            self._request_cancel()
            raise

    def _next(self, timeout: float | None) -> Progress | Item | Log | _End | None:
        """Return the next event; None when `timeout` passed."""
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
        stay_if_exiting()
        return event

    def _request_cancel(self) -> None:
        # Through the loop in any case: the call itself may still be waiting there to begin. In a forked child it is the
        # parent's call, which goes on.
        if self._pid == os.getpid():
            self._cancel_asked = True
            io_loop().call_soon_threadsafe(self.cancel_in_loop)

    # What follows is called in the I/O thread.

    def begin(
        self,
        link: Link,
        target: Address,
        parts: Sequence[bytes | memoryview],
        size: int,
        options: Options = DEFAULT,
        handle: Handle | None = None,
        extras: dict[str, Any] | None = None,
    ) -> None:
        """Start the call on `link`."""
        self._link = link
        self.bytes_sent = size
        idempotent = self._spec.idempotent or self._spec.pure
        self._request = link.start(
            target,
            parts,
            size,
            self,
            options.timeout_s,
            idempotent=idempotent,
            extras={**options.extras(), **extras} if extras else options.extras(),
            handle=handle,
        )

    def cancel_in_loop(self) -> None:
        """Ask for the call to be stopped."""
        if self._link is not None and self._request is not None:
            self._link.cancel(self._request)

    def took_in_loop(self, item: Item) -> None:
        """Take note that an item has been used."""
        if self._link is not None and self._request is not None:
            self._link.took(self._request, item)

    def waits(self, place: int) -> None:
        """Take note of the call's place in the backend's queue."""
        self.queue_place = place

    def noticed(self, notice: str) -> None:
        """Take note of why nothing moves now."""
        self.notice = notice

    def logged(self, log: Log) -> None:
        """Take a line that the method wrote."""
        self.log_lines.append((log.stream, log.text))
        if self._arrived.qsize() < _EVENTS_KEPT:
            self._arrived.put(log)

    def invoked(self, invoke: Invoke) -> None:
        """Have a function that was given to the call called, by a thread of its own: here nobody may wait."""
        if self._asked is None:
            self._asked = SimpleQueue()
            threading.Thread(target=self._answer, args=(self._asked,), name="landbridge-functions", daemon=True).start()
        if self._request is not None and self._request.attempt is not None:
            self._asked.put((invoke, self._request.attempt))

    def _answer(self, asked: SimpleQueue[tuple[Invoke, Attempt] | None]) -> None:
        while (question := asked.get()) is not None:
            invoke, attempt = question
            try:
                function, args, kwargs = self._functions.find(invoke.function, invoke.frame)
                parts = encoded(self._context.run(function, *args, **kwargs))
            except BaseException as error:  # the method is told, whatever it was
                self._tell(invoke, attempt, "raised", raised_meta(error))
            else:
                self._tell(invoke, attempt, "returned", parts, wire.size_bytes(parts))

    def _tell(self, invoke: Invoke, attempt: Attempt, how: str, *what: Any) -> None:
        def tell() -> None:
            # A method that is run again asks anew: what the lost run asked for must not answer that.
            if self._link is not None and self._request is not None and self._request.attempt is attempt:
                self._link.took(self._request, invoke)
                getattr(self._link, how)(self._request, invoke.ask, *what)

        io_loop().call_soon_threadsafe(tell)

    def progressed(self, progress: Progress) -> None:
        """Take note of how far the method is."""
        before, self.progress = self.progress, progress
        if before is None or before.total != progress.total or before.done > progress.done:
            self._pace_from = time.monotonic(), progress.done
        if self._arrived.qsize() < _EVENTS_KEPT:
            self._arrived.put(progress)

    def item_arrived(self, item: Item) -> None:
        """Take one item of a stream."""
        self._count(item.frame)
        self._arrived.put(item)

    def _count(self, frame: memoryview | bytearray) -> None:
        self.bytes_received += len(frame)
        self.bytes_saved += wire.saved_bytes(frame)

    def ended(self, frame: memoryview | bytearray | None, error: LandbridgeError | None) -> None:
        """Take the outcome."""
        self._frame, self._error = frame, error
        if frame is not None:
            self._count(frame)
        self._ended_at = time.monotonic()
        self._ended = True
        self._request = None  # which knows us: the value is to go when nobody holds it, not when cycles are looked for
        if self._asked is not None:
            self._asked.put(None)
        self._network = None
        self._arrived.put(_END)


def _print(event: Progress | Item | Log | None, view: View | None = None) -> None:
    """Let a line of the method come out as it would have come out at home."""
    if isinstance(event, Log):
        if view is not None:
            view.pause()
        print(event.text.rstrip("\n"), file=sys.stdout if event.stream == "stdout" else sys.stderr)


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
