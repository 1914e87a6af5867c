"""Calls that have something to send while our own line to the broker is full: they go on in turns when it is not.

A backend makes answers faster than its line carries them, and whoever asks for them grants what he likes: what is
queued must not grow until the memory is full.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

__all__ = ["Congestion"]

T = TypeVar("T")
_AWAY_S = 0.1


class Line(Protocol):
    """A connection, as far as it matters here."""

    @property
    def is_full(self) -> bool:
        """Whether so much waits to be sent that whoever can wait should."""

    async def writable(self) -> None:
        """Wait until what was published has gone."""


class Congestion(Generic[T]):
    """Those that wait for one line.

    Parameters
    ----------
    line : Line
        What they wait for.
    go_on : callable
        Has one of them go on; it may come to wait again.
    """

    def __init__(self, line: Line, go_on: Callable[[T], object]) -> None:
        self._line, self._go_on = line, go_on
        self._waiting: OrderedDict[T, None] = OrderedDict()
        self._task: asyncio.Task[None] | None = None

    @property
    def is_full(self) -> bool:
        """Whether more should not be sent now."""
        return self._line.is_full

    def wait(self, call: T) -> None:
        """Have a call go on when there is room, in its turn."""
        self._waiting[call] = None
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run())

    def close(self) -> None:
        """Let nobody go on any more."""
        if self._task is not None:
            self._task.cancel()

    async def _run(self) -> None:
        while self._waiting:
            while self._line.is_full:
                await self._line.writable()
                if self._line.is_full:  # the broker is away
                    await asyncio.sleep(_AWAY_S)
            self._go_on(self._waiting.popitem(last=False)[0])
        self._task = None
