"""Ctrl-C and SIGTERM for commands that go on until they are told to stop."""

from __future__ import annotations

import asyncio
import signal
import sys

__all__ = ["stop_on_signals"]


def stop_on_signals() -> asyncio.Event:
    """Return an event that Ctrl-C, SIGTERM or a closed terminal sets; a second Ctrl-C ends the process at once."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    numbers = [signal.SIGINT, signal.SIGTERM]
    if sys.platform != "win32" and signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # not under nohup
        numbers.append(signal.SIGHUP)

    def told() -> None:
        stop.set()
        if sys.platform != "win32":
            loop.remove_signal_handler(signal.SIGINT)
            for number in numbers[1:]:
                # A supervisor that asks twice must not turn an end in order, which is bounded, into a crash.
                loop.remove_signal_handler(number)
                signal.signal(number, signal.SIG_IGN)

    for number in numbers:
        if sys.platform == "win32":
            signal.signal(number, lambda *_: loop.call_soon_threadsafe(told))
        else:
            loop.add_signal_handler(number, told)
    return stop
