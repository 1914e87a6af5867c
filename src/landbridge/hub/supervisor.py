"""Keeping a backend alive: a small process that starts it, starts it again when it dies, and ends with it.

It is the process that the user started. It owns the signals and decides; the backend is its child and does the work.
Nothing heavy is imported here: all of it would delay the first start, and stay in memory beside the backend.
"""

from __future__ import annotations

import os
import selectors
import signal
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from ..errors import CallLost, NothingToServe, printable
from .backends import Instances
from .child import Child, start_child
from .restarts import End, GiveUp, Passed, Restarts, how_it_ended
from .watch import Snapshot, snapshot

__all__ = ["supervise"]

_WATCH_S = 0.3
_PATIENCE_S = 1.0
_FULL_S = 10.0
_HANGS_S = 10.0
"""A backend that was told to stop is killed so long after its grace, in seconds: it hangs."""


def supervise(
    program: str,
    options: Mapping[str, Any],
    *,
    name: str,
    words: Sequence[str],
    reload: bool,
    grace_s: float,
    say: Callable[[str], None],
    sockets: Sequence[socket.socket] = (),
) -> int:
    """Keep a backend running until a signal ends it in order; return the exit code.

    Must be called in the main thread of a process that does nothing else.

    Parameters
    ----------
    program : str
        The Python module whose ``main`` is the backend.
    options : mapping
        What ``main`` is told; must be JSON.
    name : str
        ``institute/module``, for what is said.
    words : sequence of str
        What people see of the backend in a list of processes.
    reload : bool
        Whether to start it anew when its source changes. The one before serves until the new one does.
    grace_s : float
        How long a backend that is told to stop may let its calls go on, in seconds; it is told so, too.
    say : callable
        Tells people what happened.
    sockets : sequence of socket
        Handed down to each backend, under the numbers that they have here; closed when the end begins.

    Raises
    ------
    KeyboardInterrupt
        When it was told to end before it served, or by a second Ctrl-C at once.
    NothingToServe
        When the backend has died again and again without ever serving.
    CallLost
        When the backend died while its last calls were to end.
    """
    with _signals() as (told, wakeup):

        def start(order: dict[str, str]) -> Child:
            return start_child(program, {**options, **order, "grace_s": grace_s}, words, sockets)

        supervisor = _Supervisor(start, name, reload, grace_s, say, sockets)
        try:
            return supervisor.run(told, wakeup)
        finally:
            for child in supervisor.children():
                child.kill()


@contextmanager
def _signals() -> Iterator[tuple[list[int], socket.socket]]:
    """Give the list that signals to end are put into, and a socket that wakes up for each, and for ended children."""
    told: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        if number != signal.SIGCHLD:
            told.append(number)

    numbers = [signal.SIGINT, signal.SIGTERM, signal.SIGCHLD]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # not under nohup
        numbers.append(signal.SIGHUP)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        theirs.setblocking(False)
        signal.set_wakeup_fd(theirs.fileno(), warn_on_full_buffer=False)
        for number in numbers:
            signal.signal(number, note)
        try:
            yield told, ours
        finally:
            for number in numbers:
                # Python gives up its handlers before the process ends: a signal must not turn the end into a crash.
                signal.signal(number, signal.SIG_DFL if number == signal.SIGCHLD else signal.SIG_IGN)
            signal.set_wakeup_fd(-1)


class _Supervisor:
    """What there is: a backend that serves, perhaps a newer one that starts, and older ones whose last calls end."""

    def __init__(
        self,
        start: Callable[[dict[str, str]], Child],
        name: str,
        reload: bool,
        grace_s: float,
        say: Callable[[str], None],
        sockets: Sequence[socket.socket],
    ) -> None:
        self._start, self._name, self._reload, self._say, self._sockets = start, name, reload, say, sockets
        self._grace_s = grace_s
        self._restarts = Restarts()
        self._instances = Instances(name)
        self._instance = self._instances.claim()
        self._current: Child | None = None
        self._newer: Child | None = None
        self._newer_instance = ""
        self._instance_of: dict[Child, str] = {}
        self._leaving: list[Child] = []
        self._has_served = False
        self._again_at: float | None = None
        self._file: Path | None = None
        self._seen: Snapshot = {}
        # How it all ends, once that is known: an error, or an exit code.
        self._ending: Exception | KeyboardInterrupt | int | None = None
        self._patient_until: float | None = None

    def children(self) -> list[Child]:
        """Return all backends that have not ended."""
        return [child for child in (self._current, self._newer, *self._leaving) if child is not None]

    def run(self, told: list[int], wakeup: socket.socket) -> int:
        """Supervise until all has ended; `told` gets the signals, `wakeup` is readable when there may be one."""
        self._current = self._start({"instance": self._instance, "event": "serving"})
        self._instance_of[self._current] = self._instance
        while self._ending is None or self.children():
            self._wait(wakeup)
            now = time.monotonic()
            # What backends tell comes first: a signal that was sent when one served must find it serving.
            for child in self.children():
                child.hear(now)
            self._take_over(now)
            while told:
                self._end(told.pop(0), now)
            self._kill_what_hangs(now)
            self._bury(now)
            if self._ending is None:
                self._look_for_changes(now)
                self._start_again(now)
            elif self._patient_until is not None and now >= self._patient_until:
                self._patient_until = None
                self._say(f"Waiting for calls that still run, for {self._grace_s:g} s at most. Ctrl-C ends them now.")
        if isinstance(self._ending, BaseException):
            raise self._ending
        if self._ending == 0:
            self._say(f"{self._name} is no longer served.")
        return self._ending

    def _wait(self, wakeup: socket.socket) -> None:
        """Wait until something has happened, or is to be done."""
        now = time.monotonic()
        moments = [self._again_at, self._patient_until, *(child.kill_at for child in self.children())]
        waits = [moment - now for moment in moments if moment is not None]
        if self._reload and self._ending is None:
            waits.append(_WATCH_S)
        with selectors.DefaultSelector() as selector:
            selector.register(wakeup, selectors.EVENT_READ)
            for child in self.children():
                if child.line_open:
                    selector.register(child.line, selectors.EVENT_READ)
            selector.select(max(min(waits), 0) if waits else None)
        try:
            wakeup.recv(4096)
        except BlockingIOError:
            pass

    def _take_over(self, now: float) -> None:
        """Take note of who serves now; a newer backend that does takes the place of the one before."""
        if self._newer is not None and self._newer.serving_since is not None:
            if self._current is not None:
                self._stop(self._current, now)
                self._leaving.append(self._current)
            self._current, self._newer, self._instance = self._newer, None, self._newer_instance
        current = self._current
        if current is not None and current.serving_since is not None:
            self._has_served = True
            if self._reload and current.file is not None and self._file != current.file:
                self._file, self._seen = current.file, snapshot(current.file)
                changed_ns, _ = self._seen.get(str(current.file), (0, 0))
                if changed_ns > current.started_ns:  # it may have been read before
                    del self._seen[str(current.file)]

    def _end(self, number: int, now: float) -> None:
        """Do what a signal says: end in order, and at a second Ctrl-C at once."""
        if self._ending is None:
            # Who asks for the end before anything served gets no success.
            self._ending = 0 if self._has_served else KeyboardInterrupt()
            self._again_at = None
            self._patient_until = now + _PATIENCE_S
            for each in self._sockets:  # or who asks there now would wait for an answer that nobody gives
                each.close()
            for child in self.children():
                self._stop(child, now)
        elif number == signal.SIGINT:
            raise KeyboardInterrupt

    def _stop(self, child: Child, now: float) -> None:
        child.stop(kill_at=now + self._grace_s + _HANGS_S)

    def _kill_what_hangs(self, now: float) -> None:
        for child in self.children():
            if child.kill_at is not None and now >= child.kill_at:
                child.kill_at = None
                self._say(f"The backend of {self._name} was told to stop and hangs. It is killed.")
                child.process.kill()

    def _bury(self, now: float) -> None:
        """Take note of backends that have ended, and decide what follows."""
        for child in self.children():
            end = child.end(now)
            if end is None:
                continue
            instance = self._instance_of.pop(child)
            if child is not self._current:  # what takes the place of that has its id
                self._instances.give_back(instance)
            if child is self._current:
                self._current = None
                self._current_ended(end, now)
            elif child is self._newer:
                self._newer = None
                self._newer_ended(end, now)
            else:
                self._leaving.remove(child)
                if end.code != 0 and end.served_s is not None:
                    self._say(f"The backend from before the change {how_it_ended(end)}; its last calls are lost.")

    def _current_ended(self, end: End, now: float) -> None:
        if self._ending is not None:
            if self._ending == 0 and end.code != 0 and end.served_s is not None:
                self._ending = CallLost(
                    f"{self._name} is no longer served. Its backend {how_it_ended(end)} before its last calls had "
                    "ended: they are lost."
                )
        elif self._newer is not None:
            self._say(f"The backend of {self._name} {how_it_ended(end)}. The new one is starting.")
        else:
            self._decide(end, now)

    def _newer_ended(self, end: End, now: float) -> None:
        if self._ending is not None:
            return
        if self._current is None:
            self._decide(end, now)
        else:
            self._say(f"The new version {how_it_ended(end)}. The one before goes on serving {self._name}.")

    def _decide(self, end: End, now: float) -> None:
        match self._restarts.after(end):
            case Passed(code):
                self._ending = code if code > 0 else 1
            case GiveUp(times):
                self._ending = NothingToServe(
                    f"{self._name} is not served: its backend has ended {times} times before it served; the last one "
                    f"{how_it_ended(end)}. Load the file with Python alone to see what happens."
                )
            case again:
                when = f"in {again.wait_s:g} s" if again.wait_s else "now"
                self._say(f"The backend of {self._name} {how_it_ended(end)}. It is started again {when}.")
                self._again_at = now + again.wait_s

    def _start_again(self, now: float) -> None:
        if self._again_at is not None and now >= self._again_at:
            self._again_at = None
            self._current = self._started("restarted" if self._has_served else "serving", self._instance)
            if self._current is None:
                self._say(f"It is tried again in {_FULL_S:g} s.")
                self._again_at = now + _FULL_S

    def _started(self, event: str, instance: str) -> Child | None:
        """Start a further backend; None when the system lets us start no process, which it may again soon."""
        try:
            child = self._start({"instance": instance, "event": event})
        except OSError as error:
            self._say(f"No process could be started for {self._name}: {printable(error, 200)}.")
            return None
        self._instance_of[child] = instance
        return child

    def _look_for_changes(self, now: float) -> None:
        if self._file is None:
            return
        seen = snapshot(self._file)
        if seen == self._seen:
            return
        changed = sorted({path for path, _ in self._seen.items() ^ seen.items()})
        self._seen = seen
        self._restarts.changed()
        self._say(f"Changed: {', '.join(os.path.basename(path) for path in changed[:3])}. Starting the new version.")
        if self._newer is not None:
            self._newer.kill()
            self._newer = None
        if self._current is None:
            self._again_at = now
        else:
            # Both may serve for a moment, so it has an id of its own.
            self._newer_instance = self._instances.claim()
            self._newer = self._started("reloaded", self._newer_instance)
            if self._newer is None:
                self._say("The one before goes on serving. Save the file once more to try it again.")
