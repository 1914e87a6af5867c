"""The long values of a connection's calls: they come and go through a second connection, its lane."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence

from ..broker import Connection, Lane
from ..broker import Message as Delivered
from ..errors import BrokerUnreachable
from ..protocol import SILENCE_S, Action, lane_window
from .request import Attempt

__all__ = ["LongValues"]

_WORTH_TELLING_S = 0.1


class LongValues:
    """Opens the lane when a call needs it, and shares it among those that receive through it.

    Parameters
    ----------
    connection : Connection
        The first connection.
    inbox : str
        Where parts arrive.
    arrived : callable
        Is given what arrives.
    calls : mapping of str to Attempt
        The attempts that are under way, by call id.
    act : callable
        Does what an attempt's machine says.
    """

    def __init__(
        self,
        connection: Connection,
        inbox: str,
        arrived: Callable[[Delivered], None],
        calls: Mapping[str, Attempt],
        act: Callable[[Attempt, Sequence[Action]], None],
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._lane = Lane(connection, inbox, arrived, self._opened)
        self._calls = calls
        self._act = act
        self.receiving: set[Attempt] = set()

    def open_for(self, attempt: Attempt) -> None:
        """See to it that a call's long values can move, and tell its machine when they can."""
        if self._lane.is_open:
            self._opened_for(attempt)
        else:
            self._lane.open()

    def send(self, subject: str, parts: Sequence[bytes | memoryview], reply: str) -> None:
        """Send a part."""
        self._lane.publish(subject, parts, reply)

    def come_here(self, attempt: Attempt) -> bool:
        """Whether a call receives through the lane: where its answers are to go says so to the backend."""
        if attempt.caller.receives_bulk and self._lane.is_open:
            self._receive(attempt)
        return attempt in self.receiving

    def forget(self, attempt: Attempt) -> None:
        """Take note that a call has ended."""
        if attempt in self.receiving:
            self.receiving.discard(attempt)
            self._share()

    def tick(self, now: float) -> None:
        """Say why long values do not move while the lane cannot be opened, and end their calls if that lasts."""
        waited_s = self._lane.waited_s(now)
        if waited_s < _WORTH_TELLING_S:
            return
        for attempt in [attempt for attempt in self._calls.values() if attempt.caller.moves_bulk]:
            attempt.request.observer.noticed("waiting for a second connection to the broker, for a long value")
            if waited_s >= SILENCE_S:
                error = BrokerUnreachable(
                    f"A long value of {attempt.caller.target} could not travel: it needs a second connection to the "
                    f"broker, and for {waited_s:.0f} s there was none ({self._lane.why or 'nobody answered'}). "
                    "The method may have run, partly, wholly or not at all."
                )
                self._act(attempt, attempt.caller.broken(error, now))

    async def close(self) -> None:
        """Close the lane."""
        await self._lane.close()

    def _opened(self) -> None:
        for attempt in [attempt for attempt in self._calls.values() if attempt.caller.moves_bulk]:
            attempt.request.observer.noticed("")
            self._opened_for(attempt)

    def _opened_for(self, attempt: Attempt) -> None:
        if attempt.caller.receives_bulk:
            self._receive(attempt)
        self._act(attempt, attempt.caller.lane_opened(self._loop.time(), lane_window(len(self.receiving))))

    def _receive(self, attempt: Attempt) -> None:
        # Until it ends: between two long items of a stream the backend may already send the next.
        if attempt not in self.receiving:
            self.receiving.add(attempt)
            self._share()

    def _share(self) -> None:
        window = lane_window(len(self.receiving))
        for attempt in self.receiving:
            attempt.caller.share_lane(window)
