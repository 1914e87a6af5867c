"""A screen of its own in the terminal, for commands that draw again and again; the terminal is as before at the end."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress

__all__ = ["own_screen", "unseen"]

_ENTER, _LEAVE = "\x1b[?1049h\x1b[?25l", "\x1b[?25h\x1b[?1049l"
_HOME, _REST_OF_LINE, _REST_OF_SCREEN = "\x1b[H", "\x1b[K", "\x1b[J"


@contextmanager
def own_screen(key_pressed: Callable[[str], object]) -> Iterator[Callable[[Sequence[str]], None]]:
    """Give a function that draws lines of plain ASCII text, cut to the terminal; drawn again when that is resized.

    For a running event loop, with stdout at a terminal. Drawing raises `BrokenPipeError` when the terminal has gone.

    Parameters
    ----------
    key_pressed : callable
        Told each character that is typed.
    """
    shown: Sequence[str] = ()

    def draw(lines: Sequence[str]) -> None:
        nonlocal shown
        shown = lines
        columns, rows = shutil.get_terminal_size()
        text = f"{_REST_OF_LINE}\n".join(line[:columns] for line in lines[:rows])
        try:
            _write(f"{_HOME}{text}{_REST_OF_LINE}{_REST_OF_SCREEN}")
        except OSError:
            raise BrokenPipeError from None

    def leave() -> None:
        with suppress(OSError):
            _write(_LEAVE)

    with ExitStack() as stack:
        stack.enter_context(_single_keys(key_pressed))
        if sys.platform != "win32":
            loop = asyncio.get_running_loop()
            loop.add_signal_handler(signal.SIGWINCH, lambda: draw(shown))
            stack.callback(loop.remove_signal_handler, signal.SIGWINCH)
        stack.callback(leave)
        _write(_ENTER)
        yield draw


@contextmanager
def unseen() -> Iterator[None]:
    """Have what is typed or pasted not shown, in lines of any length: a terminal cuts them after some 1,000 letters."""
    if sys.platform == "win32":
        yield
        return
    import termios

    keyboard = sys.stdin.fileno()
    before = termios.tcgetattr(keyboard)
    after = termios.tcgetattr(keyboard)
    after[3] &= ~(termios.ECHO | termios.ICANON)
    try:
        termios.tcsetattr(keyboard, termios.TCSADRAIN, after)
        yield
    finally:
        termios.tcsetattr(keyboard, termios.TCSADRAIN, before)


def _write(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


@contextmanager
def _single_keys(key_pressed: Callable[[str], object]) -> Iterator[None]:
    """Have keys told at once and not shown, if stdin is a terminal."""
    if sys.platform == "win32" or sys.stdin is None or not sys.stdin.isatty():
        yield
        return
    import termios
    import tty

    keyboard = sys.stdin.fileno()
    loop = asyncio.get_running_loop()

    def typed() -> None:
        try:
            keys = os.read(keyboard, 256)
        except OSError:
            keys = b""
        if not keys:
            loop.remove_reader(keyboard)
        for key in keys.decode("latin-1"):
            key_pressed(key)

    before = termios.tcgetattr(keyboard)
    try:
        tty.setcbreak(keyboard)
        loop.add_reader(keyboard, typed)
        yield
    finally:
        loop.remove_reader(keyboard)
        with suppress(termios.error):
            termios.tcsetattr(keyboard, termios.TCSADRAIN, before)
