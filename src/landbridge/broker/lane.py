"""A second connection to the same broker, for long values: what is small never queues behind them.

It is opened when it is first needed, as most callers and many backends never need it.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from ..errors import LandbridgeError, printable
from .events import Closed, Event, Reconnected

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .connection import Connection
    from .messages import Message

__all__ = ["Lane"]

_log = logging.getLogger(__name__)
_RETRY_S = 1.0
_WHY_LIMIT = 500


class Lane:
    """The second connection of whoever holds `main`.

    Parameters
    ----------
    main : Connection
        Whose brokers and credentials it uses.
    subject : str
        Where parts for us arrive.
    callback : callable
        Is given them.
    opened : callable
        Told when the lane is open, and when it is again after a break: what was under way may be lost then.

    Attributes
    ----------
    why : str
        Why it could not be opened, the last time it was tried.
    """

    def __init__(
        self, main: Connection, subject: str, callback: Callable[[Message], None], opened: Callable[[], None]
    ) -> None:
        self._main, self._subject, self._callback, self._opened = main, subject, callback, opened
        self._connection: Connection | None = None
        self._opening: asyncio.Task[None] | None = None
        self._opening_since = 0.0
        self._closed = False
        self.why = ""

    @property
    def is_open(self) -> bool:
        """Whether messages can be sent; it may be waiting for its broker to come back."""
        return self._connection is not None

    def waited_s(self, now: float) -> float:
        """Return for how many seconds it has been opening while the main connection stood; 0.0 if it does not."""
        if self._opening is None:
            return 0.0
        if not self._main.connected:
            self._opening_since = now  # the broker is away for both
        return now - self._opening_since

    @property
    def is_full(self) -> bool:
        """Whether so much waits to be sent that whoever can wait should; `writable` tells when to go on."""
        return self._connection is not None and self._connection.is_full

    async def writable(self) -> None:
        """Wait until what was published has gone to the operating system."""
        if self._connection is not None:
            await self._connection.writable()

    def open(self) -> None:
        """Begin to open the lane, unless it is open; `opened` is called when it is, now or later."""
        if self._connection is None and self._opening is None and not self._closed:
            loop = asyncio.get_running_loop()
            self._opening_since, self.why = loop.time(), ""
            self._opening = loop.create_task(self._open())

    async def _open(self) -> None:
        while not self._main.has_ended:
            try:
                connection = await self._connect()
            except Exception as error:  # where the broker is may be read from a file: whatever it is, it may pass
                if not self.why:
                    _log.warning("the connection for long values could not be opened, trying again: %s", error)
                self.why = printable(error, _WHY_LIMIT)
                await asyncio.sleep(_RETRY_S)
            else:
                self._connection, self._opening = connection, None
                self._opened()
                return

    async def _connect(self) -> Connection:
        connection = await self._main.sibling(self._event)
        try:
            await connection.subscribe(self._subject, self._callback)
            await connection.flush()
        except BaseException:
            await connection.close()
            raise
        return connection

    def _event(self, event: Event) -> None:
        if self._connection is None:
            return  # it is being opened: who opens it sees for himself
        if isinstance(event, Reconnected):
            self._opened()
        elif isinstance(event, Closed):
            self._connection = None
            self.open()

    def publish(self, subject: str, parts: Sequence[bytes | memoryview], reply: str = "") -> None:
        """Send one message; what cannot be sent now is asked for again by whoever misses it."""
        if self._connection is None:
            return
        try:
            self._connection.publish(subject, *parts, reply=reply)
        except LandbridgeError as error:
            _log.debug("a part was not sent: %s", error)

    async def close(self) -> None:
        """Close the connection; nothing opens it again."""
        self._closed = True
        if self._opening is not None:
            self._opening.cancel()
            await asyncio.wait({self._opening})
        if self._connection is not None:
            await self._connection.close()
