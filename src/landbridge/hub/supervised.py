"""A backend's line to its supervisor: what it tells, and what it is told.

The line is a socket that only the two of them hold. The backend tells that it serves, or that it ends with an error;
the supervisor tells it to stop. When the line closes the supervisor is gone, and the backend ends, too. On Linux the
kernel sees to that as well, for code that never lets go of Python's lock.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable

__all__ = ["Line"]


class Line:
    """A backend's line to its supervisor. Made in the main thread, before anything else.

    Parameters
    ----------
    descriptor : int
        Number of the open socket that the supervisor handed down.
    supervisor : int
        Its process.
    """

    def __init__(self, descriptor: int, supervisor: int) -> None:
        _leave_signals_to_supervisor()
        self._socket = socket.socket(fileno=descriptor)
        self._socket.set_inheritable(False)  # what the served code starts is no part of this
        self._supervisor = supervisor
        self._told_to_stop: Callable[[], object] | None = None
        threading.Thread(target=self._listen, name="landbridge-supervised", daemon=True).start()

    def end_with_supervisor(self) -> None:
        """Have the kernel end this process when the supervisor dies, where it offers that."""
        if sys.platform == "linux":
            import ctypes  # which NumPy imports anyway, after the supervisor has started us

            ctypes.CDLL(None).prctl(1, int(signal.SIGKILL))  # 1 is PR_SET_PDEATHSIG
            if os.getppid() != self._supervisor:  # it died before we asked
                os._exit(1)

    @property
    def has_served(self) -> bool:
        """Whether it has told that requests can arrive."""
        return self._told_to_stop is not None

    def serving(self, file: str | None, told_to_stop: Callable[[], object]) -> None:
        """Tell that requests can arrive now.

        Parameters
        ----------
        file : str or None
            Where the module that is served comes from, if from a file.
        told_to_stop : callable
            Called, in another thread, when the supervisor wants the backend to end in order.
        """
        self._told_to_stop = told_to_stop
        self._tell({"serving": file})

    def failed(self, *, for_good: bool) -> None:
        """Tell that the process ends with an error, which it shows, and whether it is of no use to start it again."""
        self._tell({"failed_for_good": for_good})

    def _tell(self, fact: dict[str, object]) -> None:
        try:
            self._socket.sendall(json.dumps(fact).encode() + b"\n")
        except OSError:  # the supervisor is gone; whoever listens for that ends the process
            pass

    def _listen(self) -> None:
        told = False
        while True:
            try:
                heard = self._socket.recv(64)
            except OSError:
                heard = b""
            if not heard:
                os._exit(1)
            if self._told_to_stop is not None and not told:
                told = True
                self._told_to_stop()


def _leave_signals_to_supervisor() -> None:
    """Let Ctrl-C and a closed terminal pass: the supervisor hears of them, too, and tells what is to be done."""
    for number in (signal.SIGINT, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:
            # Not SIG_IGN: programs that the served code starts would inherit that.
            signal.signal(number, lambda number, frame: None)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT, signal.SIGHUP})
