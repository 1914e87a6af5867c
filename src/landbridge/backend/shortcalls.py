"""Calls of functions that are short run in the thread that reads them; which are, the last times have shown."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextvars import copy_context

from ..broker import Connection, Reading, SharedLoop, Work
from .context import CurrentCall
from .running import Running, Style
from .threads import Mailbox, Pool

__all__ = ["ShortCalls"]

_SHORT_S = 0.0005
# As processors predict branches: two times in a row say more than one, in which the machine may have been busy.
_EXPECTED_FROM, _SUREST = 2, 3
_LONG_BYTES = 64 * 1024
_MOST_AWAY = 16


class ShortCalls:
    """Runs short functions in the thread that reads the connection.

    Whoever waits for a thread of the pool waits behind what takes long; these calls do not. A function that was short
    and then is not keeps the thread that began it, and counts as long from then on.

    Parameters
    ----------
    mailbox : Mailbox
        Into which the functions put what comes of them.
    pool : Pool
        Runs what is not short after all.
    """

    def __init__(self, mailbox: Mailbox, pool: Pool) -> None:
        self._mailbox, self._pool = mailbox, pool
        self._reading: Reading[CurrentCall] | None = None
        self._shortness: dict[str, int] = {}  # of each method that was run, up to `_SUREST`
        self._away = 0

    def read(self, loop: SharedLoop, connection: Connection) -> None:
        """Have a connection read by a thread that runs short functions."""
        reading = self._reading = Reading(loop, connection, self)
        self._mailbox.is_looked_after = lambda: reading.works

    def close(self) -> None:
        """Leave reading to the loop again; called in its thread."""
        if self._reading is not None:
            self._reading.close()

    def take(self, run: Callable[[], None], running: Running, frame: memoryview | bytearray) -> bool:
        """Have a function run in the thread that reads; False when it is not known to be short, or cannot run there."""
        return (
            self._reading is not None
            and running.style is Style.FUNCTION
            and self._shortness.get(running.call.target, 0) >= _EXPECTED_FROM
            and len(frame) < _LONG_BYTES
            and self._away < _MOST_AWAY
            and self._reading.take(run, running.call)
        )

    def timed(self, run: Callable[[Running, memoryview | bytearray], None]) -> Callable[..., None]:
        """Return what runs a function as `run` does, in a context of its own, and takes note of how long it takes."""

        def timed(running: Running, frame: memoryview | bytearray) -> None:
            began_s = time.monotonic()
            # What it sets (decimals, NumPy's errors) is not to be found by whoever runs in this thread next.
            copy_context().run(run, running, frame)
            if running.has_run:  # and was not refused before
                self._took(running.call.target, time.monotonic() - began_s)

        return timed

    def _took(self, target: str, seconds: float) -> None:
        before = self._shortness.get(target, 0)
        self._shortness[target] = min(before + 1, _SUREST) if seconds < _SHORT_S else max(before - 1, 0)

    # What the thread that reads asks of others

    def deliver(self) -> None:
        """Take up what has come of the functions."""
        self._mailbox.empty()

    def do(self, work: Sequence[Work[CurrentCall]]) -> None:
        """Have functions run by the pool."""
        for run, call in work:
            self._pool.submit(run, call.caller)

    def left(self, call: CurrentCall) -> None:
        """Take note of a call that takes long, in a thread that reads no more."""
        self._shortness[call.target] = 0  # so no further one begins while this one runs
        self._away += 1

    def ended(self) -> None:
        """Take note that such a call has ended."""
        self._away -= 1
