"""A backend as its supervisor sees it: a process, and a line on which it tells what becomes of it."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .restarts import End, Failure

__all__ = ["STOP", "Child", "start_child"]

STOP = b"stop\n"
"""What a backend is told when it is to end in order."""

_MAX_HEARD_BYTES = 64 * 1024
_MAX_ORDER_BYTES = 128 * 1024
# -P and the path of this interpreter: the folder in which the user happens to be decides nothing that ours does not.
_BOOTSTRAP = f"""
import json, os, sys
descriptor = int(sys.argv[1])
order = json.loads(os.read(descriptor, {_MAX_ORDER_BYTES}))
sys.path[:] = order.pop("path")
sys.argv[:] = ["landbridge", *sys.argv[2:]]
from importlib import import_module
import_module(order.pop("program")).main(descriptor, **order)
"""


class Child:
    """One backend process.

    Attributes
    ----------
    process : Popen
        The process.
    line : socket
        Readable when it has told something; see `hear`.
    line_open : bool
        Whether it may still tell something.
    serving_since : float or None
        When it told that it serves.
    file : Path or None
        Where the module that it serves comes from, if from a file.
    kill_at : float or None
        When it is to be killed because it was told to stop and has not ended.
    started_ns : int
        When it was started, as files tell the time of their changes.
    """

    def __init__(self, process: subprocess.Popen[bytes], line: socket.socket) -> None:
        self.process, self.line = process, line
        self.line_open = True
        self.serving_since: float | None = None
        self.file: Path | None = None
        self.kill_at: float | None = None
        self.started_ns = time.time_ns()
        self._failure: Failure | None = None
        self._heard = b""

    def hear(self, now: float) -> None:
        """Take note of what it has told by now; does not wait."""
        while self.line_open:
            try:
                part = self.line.recv(4096)
            except BlockingIOError:
                break
            except OSError:
                part = b""
            self._heard += part
            # Served code shares the process, and may write what it likes: that is not believed, and not kept.
            self.line_open = bool(part) and len(self._heard) <= _MAX_HEARD_BYTES
        *lines, self._heard = self._heard.split(b"\n")
        for line in lines:
            self._note(line, now)

    def _note(self, line: bytes, now: float) -> None:
        try:
            fact = json.loads(line)
        except (ValueError, RecursionError):
            return
        match fact:
            case {"serving": file}:
                self.serving_since, self.file = now, Path(file) if isinstance(file, str) else None
            case {"failed_for_good": bool(for_good)}:
                self._failure = Failure(for_good)

    def end(self, now: float) -> End | None:
        """Return how it ended; None while it runs."""
        code = self.process.poll()
        if code is None:
            return None
        self.hear(now)
        self.line.close()
        served_s = None if self.serving_since is None else now - self.serving_since
        return End(code, served_s, self._failure)

    def stop(self, *, kill_at: float) -> None:
        """Have it end in order: its calls may end, new ones go elsewhere. One that does not serve yet just ends."""
        self.kill_at = kill_at if self.kill_at is None else min(self.kill_at, kill_at)
        if self.serving_since is None:
            self.process.terminate()
            return
        try:
            self.line.send(STOP)
        except OSError:  # it is ending already
            pass

    def kill(self) -> None:
        """End it at once."""
        self.process.kill()
        self.process.wait()
        self.line.close()


def start_child(
    program: str, order: Mapping[str, Any], words: Sequence[str], sockets: Sequence[socket.socket] = ()
) -> Child:
    """Start a backend and return it; what becomes of it it tells on its line.

    Parameters
    ----------
    program : str
        The Python module whose ``main`` is run: with the number of the line, and `order` as keyword arguments.
    order : mapping
        Arguments that are JSON.
    words : sequence of str
        What people see of it in a list of processes.
    sockets : sequence of socket
        What it gets besides, under the same numbers.
    """
    told = {**order, "program": program, "path": sys.path, "supervisor": os.getpid()}
    ours, theirs = socket.socketpair()
    with theirs:
        ours.sendall(json.dumps(told).encode())
        # What multiprocessing asks too, so that it stays: -W, -X dev and their like; typeshed leaves it out.
        flags = subprocess._args_from_interpreter_flags()  # type: ignore[attr-defined]
        command = [sys.executable, *flags, "-P", "-c", _BOOTSTRAP, str(theirs.fileno()), *words]
        # Ctrl-C in a terminal goes to both of us. Held back until the backend has said that it is not meant.
        held = {signal.SIGINT, signal.SIGHUP}
        before = signal.pthread_sigmask(signal.SIG_BLOCK, held)
        try:
            handed_down = [theirs.fileno(), *(each.fileno() for each in sockets)]
            process = subprocess.Popen(command, pass_fds=handed_down)  # noqa: S603 - this very interpreter
        except BaseException:
            ours.close()
            raise
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
    ours.setblocking(False)
    return Child(process, ours)
