"""Runs methods: plain functions and generators in threads, coroutines and async generators in a loop of their own.

Decoding, checking, running and encoding happen away from the loop that does the I/O; what comes out is handed to it
through one `Mailbox`. So nothing a method does can delay a heartbeat, but for code that never lets go of Python's lock.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import secrets
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Iterator, Sequence
from enum import Enum
from typing import Any, Protocol

from .. import wire
from ..contract import Method
from ..errors import (
    RAISED_BUILTINS,
    CallCancelled,
    InternalError,
    LandbridgeError,
    Malformed,
    printable,
)
from ..protocol import error_to_meta, raised_to_meta
from .context import CurrentCall, current
from .threads import Gate, LoopThread, Mailbox, Pool

__all__ = ["STREAMS", "Runner", "Running", "Sink", "Style"]

Parts = Sequence[bytes | memoryview]

_log = logging.getLogger(__name__)
_AHEAD_BYTES = 1024 * 1024
"""What a generator may have produced beyond what has been sent, in bytes."""

_ITEM_OVERHEAD = 256

_LARGE_BYTES = 256 * 1024
_LARGE_AT_ONCE = 8
"""How many large values may be on their way from their threads to the loop that sends them."""


class Sink(Protocol):
    """Where the outcome of a running method goes; called in the loop that does the I/O."""

    def item(self, parts: Parts, size: int) -> None:
        """Take one item of a stream."""

    def result(self, parts: Parts, size: int) -> None:
        """Take the value; the method has ended."""

    def finished(self) -> None:
        """Take note that a stream has ended."""

    def failed(self, meta: dict[str, Any]) -> None:
        """Take the error; the method has ended."""


class Style(Enum):
    """How a function has to be run."""

    FUNCTION = "function"
    GENERATOR = "generator"
    COROUTINE = "coroutine"
    ASYNC_GENERATOR = "async generator"

    @classmethod
    def of(cls, method: Method) -> Style:
        """Return how `method` has to be run."""
        if inspect.iscoroutinefunction(method.function):
            return cls.COROUTINE
        if inspect.isasyncgenfunction(method.function):
            return cls.ASYNC_GENERATOR
        return cls.GENERATOR if method.spec.streams else cls.FUNCTION


STREAMS = frozenset({Style.GENERATOR, Style.ASYNC_GENERATOR})


class Running:
    """A method that runs.

    Parameters
    ----------
    method : Method
        What runs.
    style : Style
        How.
    call : CurrentCall
        The call it serves.
    sink : Sink
        Where its outcome goes.
    """

    __slots__ = ("_begun", "_gate", "_lock", "call", "method", "sink", "stop", "style", "task")

    def __init__(self, method: Method, style: Style, call: CurrentCall, sink: Sink) -> None:
        self.method = method
        self.style = style
        self.call = call
        self.sink = sink
        self._gate = Gate(_AHEAD_BYTES) if style in STREAMS else None
        self.stop: Callable[[Running], object] | None = None
        self.task: asyncio.Task[None] | None = None
        self._lock = threading.Lock()
        self._begun = False

    def begin(self) -> bool:
        """Note that the method's code runs from now on; False when it was interrupted before."""
        with self._lock:
            if self.call.cancelled:
                return False
            self._begun = True
            return True

    def sent(self, size: int) -> None:
        """Take note that an item of this size has been sent; the generator may go on."""
        if self._gate is not None:
            self._gate.leave(size + _ITEM_OVERHEAD)

    def must_wait(self, size: int, wake: Callable[[], object]) -> bool:
        """Whether the generator, having handed over an item of this size, is to wait until `wake` is called."""
        return self._gate is not None and not self._gate.enter(size + _ITEM_OVERHEAD, wake)

    def interrupt(self) -> bool:
        """Stop as far as possible: a coroutine is cancelled, a generator ends at its next item, a function is told.

        Returns
        -------
        bool
            True when its code has not begun, and never will.
        """
        with self._lock:
            self.call._cancelled = True
            never_begins = not self._begun
        if self._gate is not None:
            self._gate.open()
        if self.stop is not None:
            self.stop(self)
        return never_begins


class Runner:
    """Runs methods and hands their outcomes to `mailbox`.

    Parameters
    ----------
    mailbox : Mailbox
        Into the loop that does the I/O.
    threads : int
        How many plain functions may run at the same time; further ones wait.
    """

    def __init__(self, mailbox: Mailbox, threads: int) -> None:
        self.mailbox = mailbox
        self._io_loop = asyncio.get_running_loop()
        self._pool = Pool(threads)
        self._large = threading.Semaphore(_LARGE_AT_ONCE)
        self._loop_thread: LoopThread | None = None

    def run(self, running: Running, frame: memoryview | bytearray) -> None:
        """Run a method with encoded arguments."""
        if running.style is Style.COROUTINE:
            self._in_loop(running, self._run_coroutine(running, frame))
        elif running.style is Style.ASYNC_GENERATOR:
            self._in_loop(running, self._run_async_generator(running, frame))
        else:
            self._pool.submit(lambda: self._run_plain(running, frame))

    def close(self) -> None:
        """Let go of the threads."""
        self._pool.close()
        if self._loop_thread is not None:
            self._loop_thread.close()

    def _run_plain(self, running: Running, frame: memoryview | bytearray) -> None:
        if not running.begin():
            return  # cancelled while it waited for a thread, and its caller has been told so
        current.set(running.call)
        try:
            args, kwargs = self._arguments(running, frame)
            try:
                value = running.method.function(*args, **kwargs)
            except BaseException as error:
                raise _Raised(error) from None
            if running.style is Style.GENERATOR:
                self._run_generator(running, value)
            else:
                parts, size = self._encode(running.method.lower(value))
                del value
                if size < _LARGE_BYTES:
                    self.mailbox.post(running.sink.result, parts, size)
                else:
                    # Threads that make large values faster than they can be looked at would fill the memory.
                    self._large.acquire()
                    self.mailbox.post(self._deliver_large, running, parts, size)
        except BaseException as error:  # sys.exit in a method must end the call, not the backend
            self.mailbox.post(running.sink.failed, self._error_meta(running, error))
        finally:
            current.set(None)

    def _deliver_large(self, running: Running, parts: Parts, size: int) -> None:
        try:
            running.sink.result(parts, size)
        finally:
            self._large.release()

    def _run_generator(self, running: Running, items: Any) -> None:
        proceed = threading.Event()
        try:
            for item in _guarded(items):
                parts, size = self._encode(running.method.lower_item(item))
                self.mailbox.post(running.sink.item, parts, size)
                del item, parts
                proceed.clear()
                if running.must_wait(size, proceed.set):
                    with self._pool.lent():
                        proceed.wait()
                if running.call.cancelled:
                    raise _Interrupted
        finally:
            close = getattr(items, "close", None)
            if close is not None:
                close()  # so that its own `finally` runs now, in this thread
        self.mailbox.post(running.sink.finished)

    def _in_loop(self, running: Running, coroutine: Coroutine[Any, Any, None]) -> None:
        if self._loop_thread is None:
            self._loop_thread = LoopThread("landbridge-async")
        running.begin()
        running.stop = self._cancel
        self._loop_thread.mailbox.post_from(self._io_loop, _start, running, coroutine)

    def _cancel(self, running: Running) -> None:
        if self._loop_thread is not None:
            self._loop_thread.mailbox.post_from(self._io_loop, _cancel, running)

    async def _run_coroutine(self, running: Running, frame: memoryview | bytearray) -> None:
        current.set(running.call)
        loop = asyncio.get_running_loop()
        try:
            args, kwargs = self._arguments(running, frame)
            try:
                value = await running.method.function(*args, **kwargs)
            except BaseException as error:
                raise _Raised(error) from None
            parts, size = self._encode(running.method.lower(value))
            # What ends in the same turn is handed over together.
            self.mailbox.post_from(loop, running.sink.result, parts, size)
        except BaseException as error:
            self.mailbox.post_from(loop, running.sink.failed, self._error_meta(running, error))
        finally:
            running.task = None  # it holds this coroutine, which holds `running`: so all can go at once

    async def _run_async_generator(self, running: Running, frame: memoryview | bytearray) -> None:
        current.set(running.call)
        loop = asyncio.get_running_loop()
        try:
            args, kwargs = self._arguments(running, frame)
            items = running.method.function(*args, **kwargs)
            try:
                async for item in _guarded_async(items):
                    parts, size = self._encode(running.method.lower_item(item))
                    self.mailbox.post(running.sink.item, parts, size)
                    proceed = loop.create_future()
                    wake = _setter(self._loop_thread, proceed)
                    if running.must_wait(size, wake):
                        await proceed
            finally:
                await items.aclose()
            self.mailbox.post(running.sink.finished)
        except BaseException as error:
            self.mailbox.post(running.sink.failed, self._error_meta(running, error))
        finally:
            running.task = None

    @staticmethod
    def _arguments(running: Running, frame: memoryview | bytearray) -> tuple[tuple[Any, ...], dict[str, Any]]:
        arguments = wire.decode(frame)
        if not isinstance(arguments, dict) or not all(type(name) is str for name in arguments):
            raise Malformed("the arguments of a call are not a dict with names for keys")
        return running.method.check(arguments)

    @staticmethod
    def _encode(value: object) -> tuple[Parts, int]:
        # Copied: the method, or the next step of its generator, may change an array before it has been sent.
        parts = [bytes(part) if isinstance(part, memoryview) else part for part in wire.encode(value)]
        return parts, wire.size_bytes(parts)

    @staticmethod
    def _error_meta(running: Running, error: BaseException) -> dict[str, Any]:
        if isinstance(error, LandbridgeError):
            return error_to_meta(error)
        if isinstance(error, _Raised):
            error = error.error
        expected = isinstance(error, asyncio.CancelledError | CallCancelled | _Interrupted)
        if running.call.cancelled and expected:
            return error_to_meta(InternalError("The method ended because it was cancelled at the backend."))
        incident = secrets.token_hex(4)
        call = running.call
        _log.error(
            "incident %s: %s raised for %s (call %s)", incident, call.target, call.caller, call.call_id, exc_info=error
        )
        builtin = next((cls.__name__ for cls in type(error).__mro__ if RAISED_BUILTINS.get(cls.__name__) is cls), None)
        try:
            # A KeyError shows the repr of its key, as it does in a traceback at home.
            text = str(error)
        except Exception:
            text = ""
        return raised_to_meta(printable(type(error).__name__, 100), text, builtin, incident)


class _Interrupted(BaseException):
    """The call was cancelled between two items, or before it began."""


class _Raised(BaseException):
    """Carries what the method itself raised, so that it is not taken for an error with its arguments or result."""

    def __init__(self, error: BaseException) -> None:
        self.error = error


def _guarded(items: Iterable[Any]) -> Iterator[Any]:
    try:
        yield from items
    except GeneratorExit:
        raise
    except BaseException as error:
        raise _Raised(error) from None


async def _guarded_async(items: AsyncIterator[Any]) -> AsyncIterator[Any]:
    try:
        async for item in items:
            yield item
    except GeneratorExit:
        raise
    except BaseException as error:
        raise _Raised(error) from None


def _start(running: Running, coroutine: Coroutine[Any, Any, None]) -> None:
    running.task = asyncio.get_running_loop().create_task(coroutine)


def _cancel(running: Running) -> None:
    if running.task is not None:
        # A turn later: a coroutine that has not begun would be cancelled without ever having run, and tell nobody.
        asyncio.get_running_loop().call_soon(running.task.cancel)


def _setter(loop_thread: LoopThread | None, future: asyncio.Future[None]) -> Callable[[], None]:
    def set_result() -> None:
        if not future.done():
            future.set_result(None)

    def wake() -> None:
        if loop_thread is not None:
            loop_thread.mailbox.post(set_result)

    return wake
