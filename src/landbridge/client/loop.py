"""The thread that does the I/O of the blocking face: one for each process, a daemon, made when first needed.

A thread of its own, rather than the caller's loop, is what lets Ctrl-C return at once while the cancel message still
goes out, and lets a blocking call work where a loop is running already, as in a notebook.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

__all__ = ["exiting", "in_io_thread", "io_loop", "stay_if_exiting", "wait_for"]

T = TypeVar("T")

_loop: asyncio.AbstractEventLoop | None = None
_thread: threading.Thread | None = None
_pid = 0
_lock = threading.Lock()
_is_exiting = False


def io_loop() -> asyncio.AbstractEventLoop:
    """Return the loop of this process's I/O thread; a forked child gets its own."""
    global _loop, _thread, _pid
    if _loop is not None and _pid == os.getpid():
        return _loop
    with _lock:
        if _loop is None or _pid != os.getpid():
            _loop = asyncio.new_event_loop()
            # In Python's development mode asyncio tells on stderr of every step that took long, such as first imports.
            _loop.slow_callback_duration = 10.0
            _pid = os.getpid()
            _thread = threading.Thread(target=_run, args=(_loop,), name="landbridge-io", daemon=True)
            _thread.start()
        return _loop


def _run(loop: asyncio.AbstractEventLoop) -> None:
    asyncio.set_event_loop(loop)
    loop.run_forever()


def in_io_thread() -> bool:
    """Whether this code runs in the I/O thread, where waiting for an answer would wait for itself."""
    return threading.current_thread() is _thread


def wait_for(work: Coroutine[Any, Any, T], timeout_s: float | None = None) -> T:
    """Run `work` in the I/O thread and wait; on Ctrl-C the work is cancelled and the wait ends at once."""
    if in_io_thread():
        work.close()
        raise RuntimeError("A blocking call from Landbridge's own I/O thread would wait for itself for ever.")
    future = asyncio.run_coroutine_threadsafe(work, io_loop())
    try:
        return future.result(timeout_s)
    except BaseException:
        future.cancel()
        stay_if_exiting()
        raise


def exiting() -> None:
    """Take note that the interpreter is ending: from now on daemon threads that wait for a call do not come back."""
    global _is_exiting
    _is_exiting = True


def stay_if_exiting() -> None:
    """Keep a daemon thread where it is when the interpreter is ending, as Python itself does.

    Else it would run on with the error of a connection that was closed under it, and print a traceback at the end of a
    program that went well.
    """
    if _is_exiting and threading.current_thread().daemon and not in_io_thread():
        threading.Event().wait()


def _after_fork() -> None:
    # The lock may have been held by a thread that does not exist in the child.
    global _lock
    _lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
