"""The long values of a backend's calls: they come and go through a second connection, its lane."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence

from ..broker import Connection, Lane
from ..broker import Message as Delivered
from ..errors import Busy
from ..protocol import lane_window
from .served import ServedCall
from .usage import RETRY_S, TRANSFERS_EACH

__all__ = ["LongValues"]


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
    calls : mapping of str to ServedCall
        The calls that are open, by call id.
    opened : callable
        Told when the lane is open, after the calls: ``opened(now)``.
    """

    def __init__(
        self,
        connection: Connection,
        inbox: str,
        arrived: Callable[[Delivered], None],
        calls: Mapping[str, ServedCall],
        opened: Callable[[float], None],
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self.lane = Lane(connection, inbox, arrived, self._opened)
        self._calls, self._told = calls, opened
        self._receiving: set[ServedCall] = set()

    def open_for(self, call: ServedCall) -> None:
        """See to it that a call's long values can move, and tell it when they can.

        One more that comes from a caller who sends many already is refused.
        """
        if call.responder.receives_bulk and call not in self._receiving:
            own = sum(each.caller == call.caller for each in self._receiving)
            if own >= TRANSFERS_EACH:
                busy = Busy(call.responder.target, f"{own} long values of {call.caller} are on their way", RETRY_S)
                call.act(call.responder.refuse(busy, self._loop.time()))
                return
            self._receiving.add(call)
            self._share()
        if self.lane.is_open:
            self._opened_for(call)
        else:
            self.lane.open()

    def let_go(self, call: ServedCall) -> None:
        """Take note that a call receives no long value any more: its share is for the others."""
        if call in self._receiving:
            self._receiving.discard(call)
            self._share()

    def send(self, subject: str, parts: Sequence[bytes | memoryview]) -> None:
        """Send a part; without a place to send it to it waits until the caller names one."""
        if subject:
            self.lane.publish(subject, parts)

    def _opened(self) -> None:
        for call in [call for call in self._calls.values() if call.responder.moves_bulk]:
            self._opened_for(call)
        self._told(self._loop.time())

    def _opened_for(self, call: ServedCall) -> None:
        call.act(call.responder.lane_opened(self._loop.time(), lane_window(len(self._receiving))))

    def _share(self) -> None:
        window = lane_window(len(self._receiving))
        for call in self._receiving:
            call.responder.share_lane(window)
