"""Reading a connection in a thread that does short work itself, and hands reading over when that takes longer.

Most of the time of a small call goes into waking threads. One that reads a request, runs its function and writes the
answer wakes nobody. How long a function takes is not known beforehand: so another thread looks, and reads on in place
of one that has been away for a millisecond.
"""

from __future__ import annotations

import contextlib
import logging
import select
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

if TYPE_CHECKING:
    from .channel import Channel
    from .connection import Connection
    from .shared_loop import SharedLoop

__all__ = ["Reading", "Work"]

_log = logging.getLogger(__name__)
_LONG_S = 0.001
_LOOK_EVERY_S = 0.002
_LOOKS_BEFORE_REST = 25
_ROUNDS_WITHOUT_WORK = 64
_MUCH = 4096

T = TypeVar("T")
_T_contra = TypeVar("_T_contra", contravariant=True)

Work = tuple[Callable[[], None], T]
"""Something short to do, which must not raise; and what it is."""


class Others(Protocol[_T_contra]):
    """Whoever gives work to the thread that reads, and has other threads for what is too much for it."""

    def deliver(self) -> None:
        """Take up what has come of the work, in a turn of the loop."""

    def do(self, work: Sequence[Work[_T_contra]]) -> None:
        """Do work in other threads: too much of it has come at once."""

    def left(self, what: _T_contra) -> None:
        """Take note of work that takes long: from now on another thread reads."""

    def ended(self) -> None:
        """Take note that such work has ended."""


class Reading(Generic[T]):
    """Reads what comes through a connection, in one thread at a time.

    Parameters
    ----------
    loop : SharedLoop
        The loop of the connection; what comes is handled in turns that are borrowed from it.
    connection : Connection
        The connection. What nobody else can read (TLS, websockets) the loop goes on reading.
    others : Others
        Has the threads for what takes longer.

    Attributes
    ----------
    works : bool
        Whether a thread does work, and will have all delivered that has come of it and others' in a moment.
    """

    def __init__(self, loop: SharedLoop, connection: Connection, others: Others[T]) -> None:
        self._loop, self._others = loop, others
        self._channel: Channel | None = None
        self._descriptor: int | None = None
        self._sleeper, self._waker = socket.socketpair()
        self._sleeper.setblocking(False)
        self._waker.setblocking(False)
        self._seat = threading.Lock()  # held to decide who reads
        self._reader: threading.Thread | None = None
        self._last_reader: threading.Thread | None = None
        self._work: deque[Work[T]] = deque()
        self._doing: T | None = None
        self._rounds = 0  # how often something was read, and nothing to do came of it
        self._began_s = 0.0  # when the reader began to work; 0 while it does not
        self._is_handling = self._ended = self._watcher_rests = False
        self._rest = threading.Event()
        self.works = False
        connection.follow_channels(self._follow)

    def take(self, task: Callable[[], None], what: T) -> bool:
        """Have `task` done by the thread that reads, right after what it reads now; False when no thread does yet."""
        if self._is_handling:
            self._work.append((task, what))
        elif self._descriptor is None and self._channel is not None and not self._ended:
            self._begin(self._channel)  # so it will from the next one on
        return self._is_handling

    def close(self) -> None:
        """Let the loop read again, and the threads end; called in the loop's thread."""
        with self._seat:
            self._last_reader, self._reader, self._ended = self._reader, None, True
        self._leave_it_to_the_loop()
        self._channel, self.works = None, False
        self._rest.set()
        self._rouse()
        if self._last_reader is None:
            self._close_bell()

    def _close_bell(self) -> None:
        self._sleeper.close()
        self._waker.close()

    def _follow(self, channel: Channel) -> None:
        """Take note of another channel, which its loop reads at first; called in the loop's thread."""
        self._channel, self._descriptor = channel, None

    def _begin(self, channel: Channel) -> None:
        """Read in place of the loop; called in a turn of it."""
        self._descriptor, self._rounds = channel.let_others_read(), 0
        if self._descriptor is None:
            self._channel = None  # nobody but its loop can read it, which need not be asked again
            return
        if self._reader is None:
            self._reader = _thread(self._read)
            try:
                self._reader.start()
                _thread(self._watch).start()
            except RuntimeError:  # no further thread is to be had
                self._reader = None
        if self._reader is None:
            self._leave_it_to_the_loop()
        self._rouse()

    def _leave_it_to_the_loop(self) -> None:
        """Read no more; called in a turn of the loop."""
        if self._descriptor is not None and self._channel is not None:
            self._channel.read_again()
        self._descriptor = None

    def _rouse(self) -> None:
        with contextlib.suppress(OSError):  # it is full of what wakes the other end, or that has ended
            self._waker.send(b".")

    # The thread that reads

    def _read(self) -> None:
        me = threading.current_thread()
        poller, watched = select.poll(), None
        poller.register(self._sleeper, select.POLLIN)
        while self._reader is me:
            if watched != self._descriptor:
                if watched is not None:
                    poller.unregister(watched)
                watched = self._descriptor
                if watched is not None:
                    poller.register(watched, select.POLLIN)
            for descriptor, _ in poller.poll():
                if descriptor == watched:
                    self._handle(me)
                else:
                    with contextlib.suppress(BlockingIOError):
                        self._sleeper.recv(_MUCH)
            if self._work:
                self._do(me)
        if self._last_reader is me:
            self._close_bell()

    def _handle(self, me: threading.Thread) -> None:
        """Read what has come, in a turn of the loop."""
        self._loop.borrow()
        channel = self._channel
        try:
            if channel is None or channel.is_lost:
                self._channel = self._descriptor = None
            elif self._reader is me and self._descriptor is not None:
                self._is_handling = True
                channel.read_now()
                self._rounds = 0 if self._work else self._rounds + 1
                if self._rounds >= _ROUNDS_WITHOUT_WORK:
                    self._leave_it_to_the_loop()  # so that one thread less is between what comes and who does it
        except Exception as error:
            _log.exception("reading the connection failed")
            if channel is not None:
                channel.drop(f"it could not be read: {type(error).__name__}")
        finally:
            self._is_handling = False
            self._loop.give_back()

    def _do(self, me: threading.Thread) -> None:
        """Do the work that has come of what was read, but not for long."""
        began_s = self._began_s = time.monotonic()
        self.works = not self._ended
        if self._watcher_rests:
            self._rest.set()
        work, late = self._work, False
        while self._reader is me and not late:
            try:
                task, self._doing = work.popleft()
            except IndexError:  # all is done, or others do it
                break
            try:
                task()
            except BaseException:
                _log.exception("work in the thread that reads failed")
            del task  # what it holds must not live until the next one comes
            late = time.monotonic() - began_s > _LONG_S
        with self._seat:
            if self._ended:
                self.works = False
                work.clear()
                return
            if self._reader is not me:
                self._others.ended()
                return  # who reads now has handed on what was left
            self._began_s, self._doing, self.works = 0.0, None, False
            left = [*work]
            work.clear()
        self._hand_on(left)

    def _hand_on(self, left: Sequence[Work[T]]) -> None:
        try:
            if left:
                self._others.do(left)
        except Exception:
            _log.exception("work that came with what took long is lost")
        self._loop.borrow()
        try:
            self._others.deliver()
        finally:
            self._loop.give_back()

    # The thread that looks whether the other one is away

    def _watch(self) -> None:
        looks = 0
        while not self._ended:
            began_s = self._began_s
            looks = 0 if began_s else looks + 1
            if looks > _LOOKS_BEFORE_REST:
                self._watcher_rests = True
                if not self._began_s:  # it might have begun before it saw that we rest
                    self._rest.wait()
                self._rest.clear()
                self._watcher_rests, looks = False, 0
            time.sleep(_LOOK_EVERY_S)
            if began_s and time.monotonic() - began_s > _LONG_S and self._take_over(began_s):
                self._read()
                return

    def _take_over(self, began_s: float) -> bool:
        """Read in place of the thread that has worked since then; False when it reads again."""
        with self._seat:
            if self._began_s != began_s or self._ended or self._doing is None:
                return False
            try:
                _thread(self._watch).start()
            except RuntimeError:  # no further thread is to be had: then it reads when its work is done
                return False
            doing = self._doing  # looked at last: starting a thread lets the other one go on
            self._reader = threading.current_thread()
            self._began_s, self._doing, self.works = 0.0, None, False
            left = [*self._work]
            self._work.clear()
            if doing is not None:
                self._others.left(doing)
        self._hand_on(left)
        return True


def _thread(work: Callable[[], None]) -> threading.Thread:
    return threading.Thread(target=work, name="landbridge-reading", daemon=True)
