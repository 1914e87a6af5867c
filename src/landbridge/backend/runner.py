"""Runs methods: in threads, in a loop of their own, or in worker processes.

Decoding, checking, running and encoding happen away from the loop that does the I/O; what comes out is handed to it
through one `Mailbox`. So nothing a method does can delay a heartbeat, but for code that never lets go of Python's lock.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from functools import partial
from typing import TYPE_CHECKING, Any

from .. import wire
from ..broker import Connection, SharedLoop
from .execution import Execution, Fetch, error_meta
from .output import capture
from .running import STREAMS, Running, Sink, Style
from .shortcalls import ShortCalls
from .threads import LoopThread, Mailbox, Pool

if TYPE_CHECKING:
    from .workers import Workers

__all__ = ["STREAMS", "Runner", "Running", "Sink", "Style"]


class Runner:
    """Runs methods and hands their outcomes to `mailbox`.

    Parameters
    ----------
    mailbox : Mailbox
        Into the loop that does the I/O.
    threads : int
        How many plain functions may run at the same time; further ones wait.
    name : str
        ``institute/module`` of the methods.
    source : str or None
        What worker processes load to have them; None if there are none that need a worker.
    workers : int or None
        How many worker processes there may be; by default as many as this process may use processors.
    fetch : callable, optional
        Gets the values of references among the arguments.
    """

    def __init__(
        self,
        mailbox: Mailbox,
        threads: int,
        *,
        name: str = "",
        source: str | None = None,
        workers: int | None = None,
        fetch: Fetch | None = None,
    ) -> None:
        self.mailbox = mailbox
        self._io_loop = asyncio.get_running_loop()
        self._pool = Pool(threads)
        self._execution = Execution(mailbox, self._pool.lent, fetch=fetch)
        self._short = ShortCalls(mailbox, self._pool)
        self._run_plain = self._short.timed(self._execution.run_plain)
        self._loop_thread: LoopThread | None = None
        self._name, self._source, self._size = name, source, workers
        self._workers: Workers | None = None
        self._end_capture = capture()

    def run(self, running: Running, frame: memoryview | bytearray) -> None:
        """Run a method with encoded arguments."""
        plain = running.style in (Style.FUNCTION, Style.GENERATOR)
        if running.process and (running.rules or running.held or running.shows):
            # A worker knows nothing of rules, nor of its owner.
            self._pool.submit(partial(self._check_here, running, frame), running.call.caller)
        elif (running.process or not plain) and wire.may_hold_references(frame):
            # Fetching takes as long as it takes: the loop of coroutines is everybody's, and workers cannot do it.
            self._pool.submit(partial(self._fetch, running, frame), running.call.caller)
        else:
            self._run(running, frame)

    def _run(self, running: Running, frame: memoryview | bytearray) -> None:
        if running.process:
            self._in_workers(running, frame)
        elif running.style is Style.COROUTINE:
            self._in_loop(running, self._execution.run_coroutine(running, frame))
        elif running.style is Style.ASYNC_GENERATOR:
            self._in_loop(running, self._execution.run_async_generator(running, frame))
        else:
            task = running.waits = partial(self._run_plain, running, frame)
            running.stop = self._withdraw
            if not self._short.take(task, running, frame):
                self._pool.submit(task, running.call.caller)

    def read(self, connection: Connection) -> None:
        """Have a connection read by a thread that runs short functions itself, if its loop can be shared."""
        if isinstance(self._io_loop, SharedLoop) and not self._io_loop.get_debug():
            self._short.read(self._io_loop, connection)

    def position(self, running: Running) -> int:
        """Return the place of a method among those that wait for a thread or worker, from 1; 0 when it runs."""
        if running.process:
            return self._workers.position(running) if self._workers is not None else 0
        task = running.waits
        return self._pool.position(task) if task is not None else 0

    def close(self) -> None:
        """Let go of the threads, and end the workers."""
        self._end_capture()
        self._short.close()
        self._pool.close()
        if self._loop_thread is not None:
            self._loop_thread.close()
        if self._workers is not None:
            self._workers.close()

    def _withdraw(self, running: Running) -> None:
        task, running.waits = running.waits, None
        if task is not None:
            self._pool.withdraw(task)

    def _in_workers(self, running: Running, frame: memoryview | bytearray) -> None:
        if self._workers is None:
            from .workers import Workers

            if self._source is None:
                raise ValueError(f"{running.call.target} needs a worker, and nothing says what a worker is to load")
            self._workers = Workers(self.mailbox, self._name, self._source, self._size)
        self._workers.submit(running, frame)

    def _fetch(self, running: Running, frame: memoryview | bytearray) -> None:
        """Have a method run that is given references, once there are the values they stand for."""
        try:
            if running.process:
                frame = self._execution.with_values(running, frame)
            else:
                self._execution.fetch(running, frame)
        except BaseException as error:
            self.mailbox.post(running.sink.failed, error_meta(running, error))
        else:
            self.mailbox.post(self._run_fetched, running, frame)

    def _check_here(self, running: Running, frame: memoryview | bytearray) -> None:
        """Have a method run in a worker if its arguments are as its owner demands."""
        try:
            if wire.may_hold_references(frame):
                frame = self._execution.with_values(running, frame)
            self._execution.check(running, frame)
        except BaseException as error:
            self.mailbox.post(running.sink.failed, error_meta(running, error))
        else:
            self.mailbox.post(self._run_fetched, running, frame)

    def _run_fetched(self, running: Running, frame: memoryview | bytearray) -> None:
        if not running.call.cancelled:  # or its caller has been told that it never runs
            self._run(running, frame)

    def _in_loop(self, running: Running, coroutine: Coroutine[Any, Any, None]) -> None:
        if self._loop_thread is None:
            self._loop_thread = LoopThread("landbridge-async")
        running.begin()
        running.stop = self._cancel
        self._loop_thread.mailbox.post_from(self._io_loop, _start, running, coroutine)

    def _cancel(self, running: Running) -> None:
        if self._loop_thread is not None:
            self._loop_thread.mailbox.post_from(self._io_loop, _cancel, running)


def _start(running: Running, coroutine: Coroutine[Any, Any, None]) -> None:
    running.task = asyncio.get_running_loop().create_task(coroutine)


def _cancel(running: Running) -> None:
    if running.task is not None:
        # A turn later: a coroutine that has not begun would be cancelled without ever having run, and tell nobody.
        asyncio.get_running_loop().call_soon(running.task.cancel)
