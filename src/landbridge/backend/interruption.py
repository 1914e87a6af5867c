"""Stops the code that runs in the main thread of a worker: once, and never where that would break something.

A signal does it, because a signal also ends waiting in C (sleeping, reading, taking a lock). Its handler runs between
two steps of Python code in the main thread.
"""

from __future__ import annotations

import dis
import signal
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Any

__all__ = ["Interrupted", "Interruption"]

_AGAIN_S = 0.02
"""How often to look whether an exception has been lost on its way, in seconds."""


class Interrupted(BaseException):
    """The call was cancelled: between two items, or in the middle of its code in a worker."""


@dataclass(slots=True)
class _Call:
    number: int
    tell: Callable[[], object]
    raises: bool
    told: bool = False
    raised: weakref.ref[Interrupted] | None = None

    def interrupted(self) -> Interrupted:
        error = Interrupted()
        self.raised = weakref.ref(error)
        return error


class Interruption:
    """Delivers what was requested for one call to the main thread.

    Made in the main thread, whose handler of SIGINT it becomes: Ctrl-C in a terminal goes to all processes there, and
    whether a worker is to end is for its backend to say.
    """

    def __init__(self) -> None:
        self._main = threading.get_ident()
        self._requested = 0
        self._held = 0
        self._call: _Call | None = None
        self._listen()

    def request(self, number: int) -> None:
        """Interrupt call `number`, for any thread: now, or as soon as it runs; nothing happens if it has ended."""
        self._requested = number
        call = self._call
        if call is not None and call.number == number and call.raises:
            threading.Thread(target=self._insist, args=(call,), daemon=True).start()
        self._signal()

    @contextmanager
    def during(self, number: int, tell: Callable[[], object], *, raises: bool = True) -> Iterator[None]:
        """While the context is open, interrupt what runs in it, between any two steps, if `number` is requested.

        Parameters
        ----------
        number : int
            Which call it is.
        tell : callable
            Called in the main thread then.
        raises : bool
            Whether `Interrupted` is raised there, too; once, unless it is lost on its way.
        """
        self._listen()  # the code that ran before may have taken the signal for itself
        self._call = _Call(number, tell, raises)
        try:
            self._deliver()  # it may have been requested before
            yield
        finally:
            self._call = None

    @contextmanager
    def held(self) -> Iterator[None]:
        """Put it off while the context is open: half a message must not be sent."""
        if threading.get_ident() != self._main:
            yield
            return
        self._held += 1
        try:
            yield
        finally:
            self._held -= 1
            self._deliver()

    def disarm(self) -> None:
        """Let nothing more happen to this call: its outcome is out."""
        self._call = None

    def _signal(self) -> None:
        signal.pthread_kill(self._main, signal.SIGINT)

    def _listen(self) -> None:
        signal.signal(signal.SIGINT, self._arrived)

    def _arrived(self, number: int, frame: FrameType | None) -> None:
        if frame is not None and _jumps_back(frame):
            # From Python 3.12 on, what is raised at the jump to the head of a loop may pass by the `finally` and `with`
            # around it: the compiler leaves such jumps out of their range. One instruction later it does not. (Only
            # there: code that waits in C would go on waiting.)
            frame.f_trace_opcodes = True
            frame.f_trace = self._steps_on
            sys.settrace(_trace_nothing_else)
        else:
            self._deliver()

    def _steps_on(self, frame: FrameType, event: str, argument: object) -> Callable[..., Any] | None:
        if _jumps_back(frame):
            return self._steps_on
        sys.settrace(None)
        frame.f_trace = None
        frame.f_trace_opcodes = False
        self._deliver()
        return None

    def _deliver(self) -> None:
        call = self._call
        if call is not None and call.number == self._requested and not call.told and not self._held:
            call.told = True
            call.tell()
            if call.raises:
                raise call.interrupted()

    def _insist(self, call: _Call) -> None:
        """Raise again what has vanished while the code goes on: Python drops what comes up where an object is freed.

        While it is on its way, and `finally` is run for it, somebody holds it.
        """
        time.sleep(_AGAIN_S)
        while self._call is call:
            if call.raised is not None and call.raised() is None:
                call.raised, call.told = None, False
                self._signal()
            time.sleep(_AGAIN_S)


_JUMP_BACKWARD = dis.opmap["JUMP_BACKWARD"]


def _jumps_back(frame: FrameType) -> bool:
    return sys.version_info >= (3, 12) and frame.f_code.co_code[frame.f_lasti] == _JUMP_BACKWARD


def _trace_nothing_else(frame: FrameType, event: str, argument: object) -> None:
    """Have frames that begin meanwhile run as they do."""
