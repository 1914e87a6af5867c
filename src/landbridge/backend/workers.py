"""The worker processes of a backend: started when needed, one call at a time each, killed and replaced one by one.

Everything here happens in the loop that does the I/O, and nothing here waits. A thread for each worker starts it and
waits for its end; it lives as long as its worker, because the kernel ties a child to the thread that made it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from ..errors import InternalError, LandbridgeError, Malformed, MethodCrashed
from ..protocol import CANCEL_GRACE_S, error_to_meta, meta_to_error
from .execution import cancelled_meta
from .fair import FairQueue
from .logs import call_fields, log_from_worker
from .running import Frame, Running
from .threads import Mailbox, Pool
from .workerlink import INLINE_BYTES, Inbox, Kind, Message, in_memory, packed, receive

__all__ = ["GRACE_S", "Workers"]

_log = logging.getLogger(__name__)

GRACE_S = 0.8 * CANCEL_GRACE_S
"""How long an interrupted method may take to end before its worker is killed, in seconds: so that it has stopped before
its caller would be told that it has not."""

_RETRY_S = 10.0
"""After a worker could not be started, calls fail at once for so long, in seconds."""

_CLOSE_S = 2.0
_COPIERS = 2

# -P: nothing in the current folder may pass for a module of Python; the path is that of this process.
_MAIN = (
    "import json, sys; sys.path[:] = json.loads(sys.argv.pop()); "
    "from landbridge.backend.worker import main; main(sys.argv[1:])"
)


class _Worker:
    """One process, and the call that it runs."""

    __slots__ = (
        "connection", "failed", "inbox", "keeper", "killing", "number", "outgoing", "process", "ready", "remote",
        "running", "sent", "why",
    )  # fmt: skip

    def __init__(self, keep: Callable[[_Worker], None]) -> None:
        self.connection, self.remote = socket.socketpair()
        self.connection.setblocking(False)
        self.process: subprocess.Popen[bytes] | None = None
        self.inbox = Inbox()
        self.outgoing: list[tuple[bytes, int | None]] = []
        self.ready = False
        self.number = 0
        self.running: Running | None = None
        self.sent = False  # whether the call has been sent
        self.killing: asyncio.TimerHandle | None = None
        self.failed = False  # it has said that it cannot load the module
        self.why = ""  # we ended it ourselves, and why
        self.keeper = threading.Thread(target=keep, args=(self,), name="landbridge-keeper", daemon=True)
        self.keeper.start()


class Workers:
    """Runs methods in worker processes.

    Parameters
    ----------
    mailbox : Mailbox
        Into the loop that calls all this; outcomes are handed to it.
    name : str
        ``institute/module``.
    source : str
        What the workers load.
    size : int or None
        How many there may be; by default as many as this process may use processors.
    """

    def __init__(self, mailbox: Mailbox, name: str, source: str, size: int | None = None) -> None:
        self._mailbox = mailbox
        self._name = name
        self._source = source
        self._size = size or _processors()
        self._loop = asyncio.get_running_loop()
        self._queue: FairQueue[Running] = FairQueue()
        self._frames: dict[Running, memoryview | bytearray] = {}
        self._workers: list[_Worker] = []  # those that are wanted
        self._leaving: list[_Worker] = []  # those that have been killed and have not ended
        self._idle: list[_Worker] = []
        self._copiers = Pool(_COPIERS)
        self._broken: dict[str, Any] | None = None
        self._broken_until = 0.0
        self._closed = False

    def submit(self, running: Running, frame: memoryview | bytearray) -> None:
        """Run a method with encoded arguments, in its caller's turn."""
        if self._is_broken() and not self._workers:
            self._mailbox.post(running.sink.failed, self._broken)
            return
        running.stop = self._interrupt
        running.pass_on, running.pass_answer = self._taken, self._answered
        self._frames[running] = frame
        self._queue.put(running.call.caller, running)
        self._assign()

    def position(self, running: Running) -> int:
        """Return the place of a method among those that wait for a worker, from 1; 0 when it runs."""
        return self._queue.place(running) if running in self._frames else 0

    def close(self) -> None:
        """End all workers; those that run something are given no time."""
        self._closed = True
        workers = [*self._workers, *self._leaving]
        for worker in workers:
            idle = worker in self._idle
            self._disconnect(worker)  # so that it ends by itself if it is idle, and tidies up
            if not idle:
                self._kill(worker, "was ended")
        until = time.monotonic() + _CLOSE_S
        for worker in workers:
            worker.keeper.join(max(until - time.monotonic(), 0))
            self._kill(worker, "was ended")
        self._copiers.close()

    # --- who runs what ------------------------------------------------------------------------------------------

    def _assign(self) -> None:
        while len(self._queue) and self._idle:
            running = self._queue.pop()
            frame = self._frames.pop(running)
            if running.begin():
                self._give(self._idle.pop(), running, frame)
        if self._is_broken():
            return
        starting = sum(not worker.ready for worker in self._workers)
        for _ in range(min(len(self._queue) - starting, self._size - len(self._workers))):
            self._start()

    def _is_broken(self) -> bool:
        return self._broken is not None and self._loop.time() < self._broken_until

    def _give(self, worker: _Worker, running: Running, frame: memoryview | bytearray) -> None:
        worker.number += 1
        worker.running, worker.sent = running, False
        call = running.call
        meta = {
            "method": running.method.spec.name,
            "target": call.target,
            "caller": call.caller,
            "call": call.call_id,
            "deadline": call.deadline.timestamp() if call.deadline is not None else None,
            "wants_log": call.wants_log,
            "trace": call.trace,
            "memory_limit": running.memory_limit,
            "codecs": list(running.squeezing.codecs) if running.squeezing is not None else [],
            "bytes_per_s": running.squeezing.bytes_per_s() if running.squeezing is not None else 0.0,
        }
        if len(frame) <= INLINE_BYTES:
            worker.sent = True
            self._send(worker, packed(Kind.RUN, worker.number, meta, len(frame)) + frame)
        else:
            head = packed(Kind.RUN, worker.number, meta, len(frame), in_memory=True)
            self._copiers.submit(partial(self._copy, worker, worker.number, head, memoryview(frame)))

    def _copy(self, worker: _Worker, number: int, head: bytes, frame: memoryview) -> None:
        """Copy large arguments to where the worker finds them; in a thread, because it takes time."""
        try:
            descriptor = in_memory([frame])
        except OSError as error:
            self._mailbox.post(self._not_copied, worker, number, error)
        else:
            self._mailbox.post(self._copied, worker, number, head, descriptor)

    def _copied(self, worker: _Worker, number: int, head: bytes, descriptor: int) -> None:
        running = worker.running
        if worker.number != number or running is None or running.call.cancelled:
            os.close(descriptor)
            self._fail_unsent(worker, number, cancelled_meta())
            return
        worker.sent = True
        self._send(worker, head, descriptor)

    def _not_copied(self, worker: _Worker, number: int, error: OSError) -> None:
        _log.error("the arguments of a call of %s could not be handed to a worker: %s", self._name, error)
        text = f"The backend of {self._name} has no room for the arguments of this call: {error.strerror}."
        self._fail_unsent(worker, number, error_to_meta(InternalError(text)))

    def _fail_unsent(self, worker: _Worker, number: int, meta: dict[str, Any]) -> None:
        running = worker.running
        if running is not None and worker.number == number:
            self._release(worker)
            self._mailbox.post(running.sink.failed, meta)

    def _release(self, worker: _Worker) -> None:
        """Take note that a worker has ended its call, and may have the next one."""
        worker.running = None
        if worker.killing is not None:
            worker.killing.cancel()
            worker.killing = None
        if worker in self._workers:
            self._idle.append(worker)
            self._assign()

    def _interrupt(self, running: Running) -> None:
        if self._queue.discard(running):
            del self._frames[running]
            return
        worker = next((worker for worker in self._workers if worker.running is running), None)
        if worker is None or worker.killing is not None:
            return
        if worker.sent:
            self._send(worker, packed(Kind.CANCEL, worker.number, {}))
        worker.killing = self._loop.call_later(GRACE_S, self._kill, worker, "was ended because its call was cancelled")

    def _taken(self, running: Running, size: int) -> None:
        for worker in self._workers:
            if worker.running is running:
                self._send(worker, packed(Kind.TAKEN, worker.number, {"size": size}))

    def _answered(self, running: Running, ask: int, frame: Frame | None, error: LandbridgeError | None) -> None:
        meta: dict[str, Any] = {"ask": ask}
        if error is not None:
            meta |= {"error": error_to_meta(error), "target": running.call.target}
        for worker in self._workers:
            if worker.running is not running:
                continue
            if frame is None or len(frame) <= INLINE_BYTES:
                body = b"" if frame is None else bytes(frame)
                self._send(worker, packed(Kind.ANSWER, worker.number, meta, len(body)) + body)
            else:
                head = packed(Kind.ANSWER, worker.number, meta, len(frame), in_memory=True)
                self._send(worker, head, in_memory([memoryview(frame)]))

    # --- what workers say ---------------------------------------------------------------------------------------

    def _readable(self, worker: _Worker) -> bool:
        """Take in what a worker has sent; False when there is nothing more for now."""
        try:
            data, descriptors = receive(worker.connection)
        except (BlockingIOError, InterruptedError):
            return False
        except OSError:
            data, descriptors = b"", []
        if not data:
            self._disconnect(worker)
            self._leave(worker)
            if worker.killing is None:  # most likely it has ended; if its code closed the socket, that is the end, too
                why = "closed its connection to the backend"
                worker.killing = self._loop.call_later(GRACE_S, self._kill, worker, why)
            return False
        try:
            for message in worker.inbox.feed(data, descriptors):
                self._take(worker, message)
        except (OSError, LookupError, TypeError, ValueError) as error:
            _log.error("a worker of %s is ended: %s", self._name, error)
            self._disconnect(worker)
            self._kill(worker, "was ended because it sent what is no message")
            return False
        return True

    def _take(self, worker: _Worker, message: Message) -> None:
        kind, meta = message.kind, message.meta
        if kind is Kind.READY:
            worker.ready, self._broken = True, None
            self._idle.append(worker)
            self._assign()
        elif kind is Kind.UNLOADABLE:
            worker.failed = True
            self._leave(worker)
            self._could_not_start(meta)
        elif kind is Kind.RECORD:
            of_call = worker.running if message.number == worker.number else None
            log_from_worker(meta, of_call.call if of_call is not None else None)
        elif worker.running is not None and message.number == worker.number:
            self._take_of_call(worker, worker.running, message)

    def _take_of_call(self, worker: _Worker, running: Running, message: Message) -> None:
        kind, meta, sink, post = message.kind, message.meta, running.sink, self._mailbox.post
        if kind is Kind.PROGRESS:
            running.call.progress(meta["done"], meta["total"], meta["label"])
        elif kind is Kind.LOG:
            post(sink.log, meta["stream"], meta["text"])
        elif kind is Kind.ITEM:
            post(sink.item, [message.body], len(message.body))
        elif kind is Kind.INVOKE:
            if not isinstance(meta["function"], int) or not isinstance(meta["ask"], int):
                raise Malformed("a worker asks a question without a number")
            post(sink.invoke, meta["function"], meta["ask"], [message.body], len(message.body))
        elif kind is Kind.RESULT:
            post(sink.result, [message.body], len(message.body))
            self._release(worker)
        elif kind is Kind.FINISHED:
            post(sink.finished)
            self._release(worker)
        elif kind is Kind.FAILED:
            # What a method has written to the socket itself may be anything: the call is to end all the same.
            post(sink.failed, error_to_meta(meta_to_error(meta, running.call.target)))
            self._release(worker)

    def _send(self, worker: _Worker, data: bytes, descriptor: int | None = None) -> None:
        worker.outgoing.append((data, descriptor))
        if len(worker.outgoing) == 1:
            self._flush(worker)

    def _flush(self, worker: _Worker) -> None:
        connection = worker.connection
        try:
            while worker.outgoing:
                data, descriptor = worker.outgoing[0]
                if descriptor is None:
                    count = connection.send(data)
                else:
                    count = socket.send_fds(connection, [data], [descriptor])
                    os.close(descriptor)
                if count < len(data):
                    worker.outgoing[0] = (data[count:], None)
                else:
                    del worker.outgoing[0]
        except (BlockingIOError, InterruptedError):
            self._loop.add_writer(connection, self._writable, worker)
        except OSError:  # it has gone; what it said before, and how it ended, is still to come
            self._forget_outgoing(worker)

    def _writable(self, worker: _Worker) -> None:
        self._loop.remove_writer(worker.connection)
        self._flush(worker)

    # --- their beginning and end --------------------------------------------------------------------------------

    def _start(self) -> None:
        try:
            worker = _Worker(self._keep)
        except (OSError, RuntimeError) as error:  # no further socket or thread is to be had
            self._could_not_start(
                error_to_meta(InternalError(f"A worker of {self._name} could not be started: {error}"))
            )
            return
        self._workers.append(worker)
        self._loop.add_reader(worker.connection, self._readable, worker)
        meta = {"source": self._source, "name": self._name, "level": logging.getLogger().level}
        self._send(worker, packed(Kind.LOAD, 0, meta))

    def _keep(self, worker: _Worker) -> None:
        """Start a worker and wait for its end; in a thread of its own."""
        command = [sys.executable, "-P", *(f"-W{option}" for option in sys.warnoptions), "-c", _MAIN]
        remote = worker.remote.fileno()
        try:
            with worker.remote:
                process = worker.process = subprocess.Popen(  # noqa: S603 - this very interpreter
                    [*command, str(remote), str(os.getpid()), json.dumps(sys.path)],
                    stdin=subprocess.DEVNULL,
                    pass_fds=(remote,),
                    # With whatever its methods start, it is killed as one group; and Ctrl-C is for us to answer.
                    start_new_session=True,
                )
        except OSError as error:
            self._mailbox.post(self._ended, worker, None, f"could not be started ({error.strerror})")
            return
        if worker.why:  # it was killed before it began
            process.kill()
        self._mailbox.post(self._ended, worker, process.wait(), "")

    def _kill(self, worker: _Worker, why: str) -> None:
        """End a worker at once."""
        worker.why = worker.why or why
        if worker.process is not None and worker.process.returncode is None:
            with contextlib.suppress(OSError):
                os.killpg(worker.process.pid, signal.SIGKILL)
        self._leave(worker)

    def _leave(self, worker: _Worker) -> None:
        """Take a worker out that is to end; if it ran something, another takes its place at once."""
        if worker in self._workers:
            self._workers.remove(worker)
            self._leaving.append(worker)
            if worker in self._idle:
                self._idle.remove(worker)
            if worker.running is not None and not self._closed:
                self._start()

    def _ended(self, worker: _Worker, code: int | None, why: str) -> None:
        while worker.connection.fileno() >= 0 and self._readable(worker):
            pass
        self._disconnect(worker)
        self._leave(worker)
        self._leaving.remove(worker)
        running, worker.running = worker.running, None
        if worker.killing is not None:
            worker.killing.cancel()
        how = why or (worker.why if worker.why and code == -signal.SIGKILL else _how(code or 0, running))
        if self._closed:
            return
        if not worker.ready and not worker.failed:
            text = f"A worker of {self._name} {how} before its module was loaded. Tell its owner."
            self._could_not_start(error_to_meta(InternalError(text)))
        if running is not None and running.call.cancelled:
            self._mailbox.post(running.sink.failed, cancelled_meta())
        elif running is not None:
            _log.error(
                "the worker that ran %s for %s %s", running.call.target, running.call.caller, how,
                extra={"call_fields": call_fields(running.call)},
            )  # fmt: skip
            self._mailbox.post(running.sink.failed, error_to_meta(MethodCrashed(running.call.target, how)))
        self._assign()

    def _could_not_start(self, meta: dict[str, Any]) -> None:
        """Fail what waits, unless other workers are there for it: starting again and again would help nobody."""
        _log.error("%s", meta["text"])
        self._broken, self._broken_until = meta, self._loop.time() + _RETRY_S
        while len(self._queue) and not self._workers:
            running = self._queue.pop()
            del self._frames[running]
            self._mailbox.post(running.sink.failed, meta)

    def _disconnect(self, worker: _Worker) -> None:
        if worker.connection.fileno() >= 0:
            self._loop.remove_reader(worker.connection)
            self._loop.remove_writer(worker.connection)
            worker.connection.close()
        worker.inbox.close()
        self._forget_outgoing(worker)

    @staticmethod
    def _forget_outgoing(worker: _Worker) -> None:
        for _, descriptor in worker.outgoing:
            if descriptor is not None:
                os.close(descriptor)
        worker.outgoing.clear()


def _processors() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _how(code: int, running: Running | None) -> str:
    """Return how a process ended, in words that follow its name.

    Examples
    --------
    >>> _how(3, None)
    'ended with exit code 3'
    >>> _how(-11, None)
    'was killed by signal 11 (SIGSEGV)'
    """
    if code >= 0:
        return f"ended with exit code {code}"
    try:
        name = f" ({signal.Signals(-code).name})"
    except ValueError:
        name = ""
    how = f"was killed by signal {-code}{name}"
    limit = running.memory_limit if running is not None else None
    if limit is not None and -code in (signal.SIGSEGV, signal.SIGABRT, signal.SIGKILL, signal.SIGBUS):
        return f"{how}, perhaps because it passed its memory limit of {limit:,} bytes"
    if -code == signal.SIGKILL:
        return f"{how}, which is also what happens when the computer runs out of memory"
    return how
