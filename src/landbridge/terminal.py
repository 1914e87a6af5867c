"""What a person sees at a terminal: progress bars, on stderr, and only if somebody is looking."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import TextIO

from .errors import printable

__all__ = ["Bar", "bar_text", "terminal"]

_REDRAW_S = 0.1
_WIDTH = 30


def bar_text(done: float, total: float | None, label: str, elapsed_s: float) -> str:
    """Return one line that shows how far something is.

    Examples
    --------
    >>> bar_text(5, 10, "years", 2.0)
    'years  50% ███████████████                5/10  2 s'
    >>> bar_text(5, None, "", 2.0)
    '5  2 s'
    """
    front = f"{printable(label, 40)} " if label else ""
    if not total:
        return f"{front}{done:g}  {elapsed_s:.0f} s"
    share = min(done / total, 1.0)
    blocks = "█" * round(share * _WIDTH)
    return f"{front}{share:4.0%} {blocks:<{_WIDTH}} {done:g}/{total:g}  {elapsed_s:.0f} s"


class Bar:
    """A bar on stderr that redraws itself at most ten times a second, and is not there when nobody looks.

    Use it as a context manager, so that the line is cleared whatever happens.

    Parameters
    ----------
    label : str
        What is being done.
    """

    def __init__(self, label: str = "") -> None:
        self._label = label
        self._started = time.monotonic()
        self._drawn = 0.0
        self._length = 0
        self._stream = terminal()

    def update(self, done: float, total: float | None = None, label: str | None = None) -> None:
        """Show how far it is."""
        if self._stream is None:
            return
        now = time.monotonic()
        if now - self._drawn < _REDRAW_S and done != total:
            return
        self._draw(bar_text(done, total, self._label if label is None else label, now - self._started), now)

    def say(self, text: str) -> None:
        """Show a few words where the bar would be."""
        now = time.monotonic()
        if self._stream is not None and now - self._drawn >= _REDRAW_S:
            front = f"{printable(self._label, 40)}: " if self._label else ""
            self._draw(f"{front}{printable(text, 100)}  {now - self._started:.0f} s", now)

    def _draw(self, text: str, now: float) -> None:
        self._drawn = now
        self._write("\r" + text.replace("\n", " ").ljust(self._length))
        self._length = len(text)

    def close(self) -> None:
        """Clear the line."""
        if self._length:
            self._write("\r" + " " * self._length + "\r")
            self._length = 0

    def _write(self, text: str) -> None:
        if self._stream is None:
            return
        try:
            self._stream.write(text)
            self._stream.flush()
        except Exception:  # the terminal has gone: the work that the bar tells of goes on
            self._stream = None

    def __enter__(self) -> Bar:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def terminal() -> TextIO | None:
    """Return stderr if it is a terminal."""
    try:
        return sys.stderr if sys.stderr.isatty() else None
    except Exception:  # pytest, notebooks and windows without a console put all kinds of things there, or None
        return None
