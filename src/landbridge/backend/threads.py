"""Hand-overs between threads: a mailbox into an event loop, a pool of threads, and a gate that slows a producer.

Every hand-over costs a wake-up, and a wake-up costs more than most small methods; so work that arrives together is
handed over together.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import deque
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager, suppress
from contextvars import copy_context
from queue import SimpleQueue
from typing import Any

from ..broker import SharedLoop
from .fair import FairQueue

__all__ = ["Gate", "LoopThread", "Mailbox", "Pool"]

_log = logging.getLogger(__name__)
_LENT_LIMIT = 256
"""How many places may be lent at a time; beyond, paused streams do keep others waiting."""


class Mailbox:
    """Calls functions in an event loop, in order, for any thread; many posts cost one wake-up.

    Parameters
    ----------
    loop : asyncio.AbstractEventLoop
        Where the functions are called. If it is one whose turn others may borrow, whoever posts calls them himself.

    Attributes
    ----------
    comes_more : callable
        Tells whether further posts are to be expected at once, so that it is better to wake the loop for all of them.
    is_looked_after : callable
        Tells whether somebody will `empty` it in a moment anyway.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._context = copy_context()
        self._shared = loop if isinstance(loop, SharedLoop) else None
        if self._shared is not None:
            self._shared.look_after(self)
        self.comes_more: Callable[[], bool] = _no
        self.is_looked_after: Callable[[], bool] = _no
        self._outgoing: list[tuple[Callable[..., object], tuple[Any, ...]]] = []
        self._posts: deque[tuple[Callable[..., object], tuple[Any, ...]]] = deque()
        self._awake = False

    def post(self, function: Callable[..., object], *args: Any) -> None:
        """Have `function` called in the loop; dropped when the loop has been closed."""
        self._posts.append((function, args))
        if not self.is_looked_after():
            self._wake()

    def post_from(self, sender: asyncio.AbstractEventLoop, function: Callable[..., object], *args: Any) -> None:
        """Do as `post`, at the end of the turn of `sender`, the loop that calls this: a turn costs one wake-up.

        Only one loop may use it.
        """
        if not self._outgoing:
            at_turn_end = sender.at_turn_end if isinstance(sender, SharedLoop) else sender.call_soon
            at_turn_end(self._send)
        self._outgoing.append((function, args))

    def _send(self) -> None:
        self._posts.extend(self._outgoing)
        self._outgoing.clear()
        self._wake()

    def _wake(self) -> None:
        if self._awake:
            return
        shared = self._shared
        if shared is not None and not self.comes_more():
            shared.empty_boxes_if_free()
        if self._posts and not (shared is not None and shared.is_borrowed):
            # Two threads may both get here; a needless wake-up finds an empty box.
            self._awake = True
            try:
                # In a context of our own: what is begun there is not to know who was the first to post.
                self._loop.call_soon_threadsafe(self.empty, context=self._context)
            except RuntimeError:  # the loop has been closed: nobody is left to tell
                self._posts.clear()

    @property
    def is_full(self) -> bool:
        """Whether anything was posted."""
        return bool(self._posts)

    def empty(self) -> None:
        """Call what was posted; in the loop, or in a turn that was borrowed from it."""
        self._awake = False
        posts = self._posts
        for _ in range(len(posts)):
            function, args = posts.popleft()
            try:
                function(*args)
            except (Exception, asyncio.CancelledError):  # one post must not lose the others
                _log.exception("a hand-over between threads failed")


def _no() -> bool:
    return False


class Pool:
    """Threads that run functions, at most `size` at a time; made when needed, daemons, kept afterwards.

    Daemons, because a method that never returns must not keep the process from ending. A thread that only waits lends
    its place to another, so that paused streams keep nobody from being served. What waits is served in turns, caller
    by caller.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._tasks: FairQueue[Callable[[], None]] = FairQueue()
        # One True for each task that was queued, so that threads wait without a lock; None ends a thread.
        self._tokens: SimpleQueue[bool | None] = SimpleQueue()
        self._threads = self._idle = self._lent = 0
        self._lock = threading.Lock()

    def submit(self, task: Callable[[], None], who: Hashable = None) -> None:
        """Have `task` run in a thread, in the turn of `who`; it must not raise."""
        with self._lock:
            self._tasks.put(who, task)
            try:
                self._start_if_needed()
            except RuntimeError:
                if not self._threads:
                    self._tasks.discard(task)
                    raise
                # No further thread is to be had: it waits for one of those that there are.
        self._tokens.put(True)

    def withdraw(self, task: Callable[[], None]) -> bool:
        """Take a task out that has not begun; False when it has."""
        with self._lock:
            return self._tasks.discard(task)

    def position(self, task: Callable[[], None]) -> int:
        """Return the place of a task that waits, from 1; where many wait, how many they are."""
        with self._lock:
            return self._tasks.place(task)

    @contextmanager
    def lent(self) -> Iterator[None]:
        """Give this thread's place to another task while the thread only waits."""
        with self._lock:
            lends = self._lent < _LENT_LIMIT
            if lends:
                self._lent += 1
                with suppress(RuntimeError):  # no further thread to be had: the task waits, as it did
                    self._start_if_needed()
        try:
            yield
        finally:
            if lends:
                with self._lock:
                    self._lent -= 1

    def _start_if_needed(self) -> None:
        if len(self._tasks) > self._idle and self._threads < self._size + self._lent:
            threading.Thread(target=self._work, name=f"landbridge-{self._threads + 1}", daemon=True).start()
            self._threads += 1
            self._idle += 1

    def close(self) -> None:
        """Let the threads end once they have nothing to do."""
        for _ in range(self._threads):
            self._tokens.put(None)

    def _work(self) -> None:
        while self._tokens.get():
            with self._lock:
                if not len(self._tasks):  # it was withdrawn
                    continue
                task = self._tasks.pop()
                self._idle -= 1
            task()
            del task  # what it holds (arguments, results) must not live until the next one comes
            with self._lock:
                if self._threads > self._size + self._lent:
                    self._threads -= 1
                    return
                self._idle += 1


class LoopThread:
    """An event loop in a thread of its own, where async methods run: code that blocks it blocks no heartbeat."""

    def __init__(self, name: str) -> None:
        self._loop = asyncio.new_event_loop()
        self.mailbox = Mailbox(self._loop)
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_forever()
        finally:
            self._loop.close()

    def close(self, timeout_s: float = 1.0) -> None:
        """Cancel what runs, so that it can tidy up, for at most `timeout_s`; then stop the loop."""
        self.mailbox.post(self._end)
        self._thread.join(timeout_s)

    def _end(self) -> None:
        tasks = asyncio.all_tasks(self._loop)
        if not tasks:
            self._loop.stop()
            return
        for task in tasks:
            task.cancel()
        asyncio.gather(*tasks, return_exceptions=True).add_done_callback(lambda _: self._loop.stop())


class Gate:
    """Slows a producer: what it has handed over and nobody has taken is at most `limit` bytes and one item more.

    One thread enters and waits, or is called back; another leaves.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._inside = 0
        self._lock = threading.Lock()
        self._wake: Callable[[], object] | None = None

    def enter(self, size: int, wake: Callable[[], object]) -> bool:
        """Count `size` bytes in. False when the producer must wait until `wake` is called."""
        with self._lock:
            self._inside += size
            if self._inside <= self._limit:
                return True
            self._wake = wake
            return False

    def leave(self, size: int) -> None:
        """Count `size` bytes out."""
        with self._lock:
            self._inside -= size
            wake, self._wake = (self._wake, None) if self._inside <= self._limit else (None, self._wake)
        if wake is not None:
            wake()

    def open(self) -> None:
        """Let the producer pass whatever is inside: it is to end."""
        with self._lock:
            self._limit = 1 << 62
            wake, self._wake = self._wake, None
        if wake is not None:
            wake()
