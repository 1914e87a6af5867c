"""The worker process: loads the module that is served, and runs one call of it after the other.

The main thread runs the methods, because only there code can be interrupted. A second thread reads what the backend
says. The process ends when the backend does: the socket closes, and on Linux the kernel kills it.
"""

from __future__ import annotations

import asyncio
import ctypes
import faulthandler
import logging
import os
import secrets
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext, suppress
from datetime import UTC, datetime
from functools import partial
from queue import SimpleQueue
from typing import Any

from ..contract import Method, read_module
from ..errors import InternalError, LandbridgeError, Malformed, MissingExtra, NothingToServe
from ..protocol import error_to_meta, meta_to_error
from ..tracing import TraceContext
from ..wire.frame import size_bytes
from .context import CurrentCall, current
from .execution import Execution, error_meta
from .expose import exposure
from .interruption import Interruption
from .loading import load
from .logs import record_meta
from .output import capture
from .running import STREAMS, Running, Style
from .squeezing import Squeezing
from .workerlink import INLINE_BYTES, Inbox, Kind, Message, in_memory, packed, receive

__all__ = ["main"]

_log = logging.getLogger(__name__)
_PROGRESS_S = 0.05
_LAST_WORDS_S = 1.0
"""How long a method may tidy up when the backend has gone, and then the module, in seconds."""


class _Link:
    """Sends to the backend, from any thread, whole messages only."""

    def __init__(self, connection: socket.socket, interruption: Interruption) -> None:
        self._connection = connection
        self._interruption = interruption
        self._lock = threading.Lock()
        # A process that a method forks must not write between our messages.
        os.register_at_fork(after_in_child=self._mute)
        self._muted = False

    def send(self, kind: Kind, number: int, meta: Mapping[str, Any], parts: Sequence[bytes | memoryview] = ()) -> None:
        size = size_bytes(parts)
        if size <= INLINE_BYTES:
            self._send(b"".join((packed(kind, number, meta, size), *parts)), None, kind)
            return
        descriptor = in_memory(parts)
        try:
            self._send(packed(kind, number, meta, size, in_memory=True), descriptor, kind)
        finally:
            os.close(descriptor)

    def _send(self, data: bytes, descriptor: int | None, kind: Kind) -> None:
        with self._interruption.held(), self._lock:
            if self._muted:
                return
            if descriptor is not None:
                data = data[socket.send_fds(self._connection, [data], [descriptor]) :]
            self._connection.sendall(data)
            if kind in _OUTCOMES:
                self._interruption.disarm()

    def _mute(self) -> None:
        self._muted = True
        self._lock = threading.Lock()


_OUTCOMES = frozenset({Kind.RESULT, Kind.FINISHED, Kind.FAILED})


class _Outbox:
    """Calls the sink at once: it sends to the backend, from whatever thread."""

    def post(self, function: Any, *args: Any) -> None:
        function(*args)

    def post_from(self, sender: asyncio.AbstractEventLoop, function: Any, *args: Any) -> None:
        function(*args)


class _Sink:
    """Sends the outcome of one call to the backend."""

    def __init__(self, link: _Link, number: int) -> None:
        self._link = link
        self._number = number
        self._told = 0.0
        self.ended = False

    def item(self, parts: Sequence[bytes | memoryview], size: int) -> None:
        self._link.send(Kind.ITEM, self._number, {}, parts)

    def result(self, parts: Sequence[bytes | memoryview], size: int) -> None:
        self._end(Kind.RESULT, {}, parts)

    def finished(self) -> None:
        self._end(Kind.FINISHED, {})

    def failed(self, meta: dict[str, Any]) -> None:
        self._end(Kind.FAILED, meta)

    def _end(self, kind: Kind, meta: dict[str, Any], parts: Sequence[bytes | memoryview] = ()) -> None:
        self._link.send(kind, self._number, meta, parts)
        self.ended = True

    def invoke(self, function: int, ask: int, parts: Sequence[bytes | memoryview], size: int) -> None:
        self._link.send(Kind.INVOKE, self._number, {"function": function, "ask": ask}, parts)

    def log(self, stream: str, text: str) -> None:
        self._link.send(Kind.LOG, self._number, {"stream": stream, "text": text})

    def progress(self, done: float, total: float | None, label: str) -> None:
        now = time.monotonic()
        if now - self._told >= _PROGRESS_S or done == total:
            self._told = now
            total = None if total is None else float(total)
            self._link.send(Kind.PROGRESS, self._number, {"done": float(done), "total": total, "label": label})


class _Worker:
    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._interruption = Interruption()
        self._link = _Link(connection, self._interruption)
        self._inbox = Inbox()
        self._tasks: SimpleQueue[Message | None] = SimpleQueue()
        self._execution = Execution(_Outbox(), nullcontext, copies=False)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._methods: dict[str, Method] = {}
        self._running: tuple[int, Running] | None = None
        self._ended = threading.Event()
        self._base_bytes = 0

    def run(self) -> None:
        """Do what the backend says until it goes."""
        threading.Thread(target=self._read, name="landbridge-link", daemon=True).start()
        first = self._tasks.get()
        if first is None or not self._load(first.meta):
            return
        self._link.send(Kind.READY, 0, {})
        del first
        while (message := self._tasks.get()) is not None:
            self._run(message)
            del message  # what it holds (arguments) must not live until the next one comes
        if self._loop is not None:
            self._loop.close()

    def end(self) -> None:
        """Say that nothing runs any more."""
        self._ended.set()

    # --- the reading thread -------------------------------------------------------------------------------------

    def _read(self) -> None:
        number = 0
        # MemoryError: the method has taken all that its limit leaves, so that this call is lost, and the worker.
        with suppress(OSError, MemoryError, Malformed):
            while True:
                data, descriptors = receive(self._connection)
                if not data:
                    break
                for message in self._inbox.feed(data, descriptors):
                    if message.kind in (Kind.LOAD, Kind.RUN):
                        number = message.number
                        self._tasks.put(message)
                    elif message.kind is Kind.CANCEL:
                        self._interruption.request(message.number)
                    elif message.kind is Kind.TAKEN:
                        self._taken(message)
                    elif message.kind is Kind.ANSWER:
                        self._answered(message)
        # The backend has gone, and nobody wants anything of us any more.
        self._tasks.put(None)
        self._interruption.request(number)
        self._ended.wait(_LAST_WORDS_S)
        time.sleep(_LAST_WORDS_S)  # for what the module does at its exit; Python stops this thread after that
        with suppress(OSError):
            os.killpg(0, signal.SIGKILL)  # with whatever the method may have started

    def _taken(self, message: Message) -> None:
        if self._running is not None and self._running[0] == message.number:
            self._running[1].sent(message.meta["size"])

    def _answered(self, message: Message) -> None:
        running, meta = self._running, message.meta
        if running is not None and running[0] == message.number:
            error = meta_to_error(meta["error"], meta["target"]) if "error" in meta else None
            running[1].answered(meta["ask"], None if error else message.body, error)

    # --- the main thread ----------------------------------------------------------------------------------------

    def _load(self, meta: dict[str, Any]) -> bool:
        root = logging.getLogger()
        root.setLevel(meta["level"])
        root.addHandler(_Records(self._link, self._logged_in))
        try:
            self._methods = _methods_of(meta["source"], meta["name"])
        except BaseException as error:
            self._link.send(Kind.UNLOADABLE, 0, _unloadable(meta["name"], error))
            return False
        capture()
        self._base_bytes = _data_bytes()
        return True

    def _run(self, message: Message) -> None:
        number, meta = message.number, message.meta
        sink = _Sink(self._link, number)
        deadline = datetime.fromtimestamp(meta["deadline"], UTC) if meta["deadline"] is not None else None
        trace = TraceContext(*meta["trace"]) if meta["trace"] is not None else None
        call = CurrentCall(
            meta["target"], meta["caller"], meta["call"], deadline, sink.progress, meta["wants_log"], trace
        )
        method = self._methods.get(meta["method"])
        if method is None:
            text = f"{call.target} is no longer in the file that is served. Serve it again."
            sink.failed(error_to_meta(InternalError(text)))
            return
        # Compressed here, where the value is: less goes to the backend, which has enough to do.
        rate: float = meta["bytes_per_s"]
        squeezing = Squeezing(meta["codecs"], lambda: rate) if meta["codecs"] else None
        running = Running(method, Style.of(method), call, sink, squeezing=squeezing)
        self._running = (number, running)
        _limit_memory(self._base_bytes, meta["memory_limit"])
        try:
            self._run_interruptibly(number, running, message.body)
        except BaseException as error:
            if not sink.ended:
                sink.failed(error_meta(running, error))
        finally:
            _limit_memory(self._base_bytes, None)
            self._running = None

    def _logged_in(self) -> int:
        """Return the number of the call in whose code this is asked; 0 outside."""
        number, running = self._running or (0, None)
        return number if running is not None and current.get() is running.call else 0

    def _run_interruptibly(self, number: int, running: Running, body: memoryview) -> None:
        call = running.call
        if running.style in (Style.FUNCTION, Style.GENERATOR):
            # Not before it is raised: `lb.track` would raise, too, and this would then break into what tidies up.
            with self._interruption.during(number, partial(setattr, call, "_cancelled", True)):
                self._execution.run_plain(running, body)
            return
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
            asyncio.set_event_loop(self._loop)
        loop = self._loop
        run = self._execution.run_async_generator if running.style in STREAMS else self._execution.run_coroutine
        task = loop.create_task(run(running, body))

        def stop() -> None:
            running.interrupt()
            loop.call_soon(task.cancel)  # a turn later: one that has not begun would be cancelled without having run

        def cancel() -> None:
            # No lock may be taken here: the very code that this breaks into may hold it.
            call._cancelled = True
            loop.call_soon_threadsafe(stop)

        with self._interruption.during(number, cancel, raises=False):
            loop.run_until_complete(task)


class _Records(logging.Handler):
    """Hands log records to the backend, which has its log where its owner looks for it."""

    def __init__(self, link: _Link, logged_in: Callable[[], int]) -> None:
        super().__init__()
        self._link = link
        self._logged_in = logged_in

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._link.send(Kind.RECORD, self._logged_in(), record_meta(record))
        except Exception:
            self.handleError(record)


def _methods_of(source: str, name: str) -> dict[str, Method]:
    exposed = exposure(load(source))
    functions = {
        each: method.function for each, method in exposed.methods.items() if not isinstance(method.function, type)
    }
    return read_module(name, exposed.doc, functions)[1]


def _unloadable(name: str, error: BaseException) -> dict[str, Any]:
    if isinstance(error, NothingToServe | MissingExtra):
        return error_to_meta(InternalError(f"A worker of {name} could not load its module: {error}"))
    incident = secrets.token_hex(4)
    _log.error("incident %s: a worker of %s could not load its module", incident, name, exc_info=error)
    said = type(error).__name__ if not isinstance(error, LandbridgeError) else error.code
    text = (
        f"A worker of {name} could not load its module: {said}. Its owner finds the traceback as incident {incident}."
    )
    return error_to_meta(InternalError(text, incident))


def _limit_memory(base_bytes: int, limit_bytes: int | None) -> None:
    if sys.platform != "linux":
        return  # said when it was served
    import resource

    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    wanted = hard if limit_bytes is None else base_bytes + limit_bytes
    if hard != resource.RLIM_INFINITY:
        wanted = min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (wanted, hard))


def _data_bytes() -> int:
    """Return how much memory this process may write to and shares with nobody: what RLIMIT_DATA counts."""
    if sys.platform != "linux":
        return 0
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[5]) * os.sysconf("SC_PAGE_SIZE")


def _end_with(parent: int) -> None:
    """Have the kernel end this process when its parent ends, whatever this one does then."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, int(signal.SIGKILL))  # PR_SET_PDEATHSIG
    if os.getppid() != parent:
        os._exit(1)


def main(arguments: Sequence[str]) -> None:
    """Run a worker, given the descriptor of its socket and the number of the process that started it."""
    descriptor, parent = map(int, arguments)
    _end_with(parent)
    faulthandler.enable()
    sys.setswitchinterval(0.002)
    worker = _Worker(socket.socket(fileno=descriptor))
    try:
        with suppress(BrokenPipeError, ConnectionResetError):  # the backend has gone
            worker.run()
    finally:
        worker.end()
