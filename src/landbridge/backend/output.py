"""What a method prints and logs, handed to the caller who asked for it; it always goes where it went before, too."""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from ..errors import printable
from .context import current

__all__ = ["MESSAGE_CHARACTERS", "CallOutput", "capture"]

MESSAGE_CHARACTERS = 8000
"""Longest text of one message."""

_BURST = 500
_PER_S = 100
"""How many messages a call may send: so many at once, and so many a second."""


class CallOutput:
    r"""The lines of one call: whole ones, in order, bounded in length and rate.

    Parameters
    ----------
    send : callable
        Takes the name of the stream (``stdout``, ``stderr`` or ``log``) and a text of one or more lines.
    clock : callable
        Gives the time in seconds.

    Examples
    --------
    >>> output = CallOutput(lambda stream, text: print(stream, repr(text)))
    >>> output.write("stdout", "one\ntw")
    stdout 'one\n'
    >>> output.close()
    stdout 'tw'
    """

    __slots__ = ("_begun", "_clock", "_dropped", "_filled", "_lock", "_room", "_send", "_thread")

    def __init__(self, send: Callable[[str, str], object], clock: Callable[[], float] = time.monotonic) -> None:
        self._send = send
        self._clock = clock
        self._begun: dict[str, str] = {}  # lines that have no end yet
        self._room = float(_BURST)
        self._filled = clock()
        self._dropped = 0
        self._lock = threading.Lock()
        self._thread = 0

    def write(self, stream: str, text: str) -> None:
        """Take what was written to a stream."""
        if self._thread == threading.get_ident():
            return  # sending printed something
        with self._lock:
            self._thread = threading.get_ident()
            try:
                whole, newline, rest = (self._begun.pop(stream, "") + text).rpartition("\n")
                if len(rest) >= MESSAGE_CHARACTERS:
                    whole, newline, rest = whole + newline + rest, "", ""
                if rest:
                    self._begun[stream] = rest
                self._pass_on(stream, whole + newline)
            finally:
                self._thread = 0

    def close(self) -> None:
        """Send lines without an end, and say how many were left out."""
        with self._lock:
            self._thread = threading.get_ident()
            try:
                for stream, rest in self._begun.items():
                    self._pass_on(stream, rest)
                self._begun.clear()
                self._say_dropped()
            finally:
                self._thread = 0

    def _pass_on(self, stream: str, text: str) -> None:
        for start in range(0, len(text), MESSAGE_CHARACTERS):
            part = text[start : start + MESSAGE_CHARACTERS]
            now = self._clock()
            self._room = min(self._room + (now - self._filled) * _PER_S, _BURST)
            self._filled = now
            if self._room < 1:
                self._dropped += part.count("\n") or 1
                continue
            self._room -= 1
            self._say_dropped()
            self._send(stream, printable(part, MESSAGE_CHARACTERS))

    def _say_dropped(self) -> None:
        if self._dropped:
            dropped, self._dropped = self._dropped, 0
            self._send("log", f"... {dropped:,} lines not shown\n")


class _Stream:
    """Stands for ``sys.stdout`` or ``sys.stderr``: all goes to the real one, and a copy to the call it belongs to."""

    def __init__(self, real: Any, name: str) -> None:
        self._real = real
        self._name = name

    def write(self, text: str) -> Any:
        written = self._real.write(text)
        call = current.get()
        if call is not None and call._output is not None:
            call._output.write(self._name, text)
        return written

    def writelines(self, lines: Any) -> None:
        for line in lines:
            self.write(line)

    def __iter__(self) -> Any:
        return iter(self._real)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)


class _Handler(logging.Handler):
    """Hands log records to the call they belong to, but for our own: tracebacks stay at the backend."""

    def emit(self, record: logging.LogRecord) -> None:
        last = logging.lastResort
        if last is not None and len(logging.root.handlers) == 1 and record.levelno >= last.level:
            last.handle(record)  # which logging does by itself only where nobody listens
        call = current.get()
        if call is None or call._output is None or record.name.partition(".")[0] == "landbridge":
            return
        try:
            text = self.format(record)
        except Exception:
            self.handleError(record)
        else:
            call._output.write("log", text + "\n")


def capture() -> Callable[[], None]:
    """Begin to hand over what methods print and log in this process; return what ends it.

    Only code that runs in the call's own context is heard: its thread or task, not threads that it starts itself.
    """
    if isinstance(sys.stdout, _Stream):
        return lambda: None
    out, err = _Stream(sys.stdout, "stdout"), _Stream(sys.stderr, "stderr")
    handler = _Handler()
    handler.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))
    sys.stdout, sys.stderr = out, err
    logging.getLogger().addHandler(handler)

    def end() -> None:
        logging.getLogger().removeHandler(handler)
        if sys.stdout is out:
            sys.stdout = out._real
        if sys.stderr is err:
            sys.stderr = err._real

    return end
