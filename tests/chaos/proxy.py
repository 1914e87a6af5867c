"""The way between one process and the broker, which can be cut, stalled, delayed, throttled, or left half open."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import Callable
from typing import Any

__all__ = ["Line"]

_PIECE_BYTES = 64 * 1024
_PIECES_KEPT = 32
_RESET = struct.pack("ii", 1, 0)


class Line:
    """A way to the broker: listens at `url`, and passes on what comes.

    Parameters
    ----------
    broker : callable
        Gives host and port of the broker; asked at each connection, None while there is none.

    Attributes
    ----------
    delay_s : float
        How long each byte is under way.
    bytes_per_s : float
        The most that passes, each way; 0 for no limit.
    refusing : bool
        Whether new connections are closed at once.
    accepted : int
        How many connections were made so far.
    """

    def __init__(self, broker: Callable[[], tuple[str, int] | None]) -> None:
        self.url = ""
        self.delay_s = 0.0
        self.bytes_per_s = 0.0
        self.refusing = False
        self.accepted = 0
        self._broker = broker
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._passages: set[_Passage] = set()
        self._server: asyncio.Server | None = None

    async def open(self) -> None:
        """Begin to listen."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0, limit=_PIECE_BYTES)
        host, port = self._server.sockets[0].getsockname()
        self.url = f"nats://{host}:{port}"

    async def close(self) -> None:
        """Close everything."""
        if self._server is not None:
            self._server.close()
        self.heal()
        self.cut()
        while self._passages:
            await asyncio.sleep(0.01)

    def cut(self, *, reset: bool = True) -> None:
        """Break all connections, both ends told: by a reset, or as if the other had closed."""
        for passage in list(self._passages):
            passage.end(passage.peer, reset=reset)
            passage.end(passage.broker, reset=reset)

    def stall(self) -> None:
        """Let nothing through any more, and tell nobody."""
        self._flowing.clear()

    def half_open(self, *, told: str) -> None:
        """Break all connections, but tell only one end of it: ``peer`` or ``broker``. The other speaks to nobody."""
        for passage in list(self._passages):
            passage.deaf = True
            passage.end(passage.peer if told == "peer" else passage.broker, reset=True)

    def heal(self) -> None:
        """End whatever is wrong; ends that were not told of their break are told now."""
        self.delay_s = self.bytes_per_s = 0.0
        self.refusing = False
        self._flowing.set()
        for passage in list(self._passages):
            if passage.deaf:
                passage.end(passage.peer, reset=True)
                passage.end(passage.broker, reset=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        target = None if self.refusing else self._broker()
        try:
            if target is None:
                raise ConnectionRefusedError
            broker_reader, broker_writer = await asyncio.open_connection(*target, limit=_PIECE_BYTES)
        except OSError:
            writer.transport.abort()
            return
        passage = _Passage(self, writer, broker_writer)
        self._passages.add(passage)
        try:
            async with asyncio.TaskGroup() as ways:
                ways.create_task(passage.carry(reader, broker_writer))
                ways.create_task(passage.carry(broker_reader, writer))
        finally:
            self._passages.discard(passage)
            for end in (writer, broker_writer):
                end.transport.abort()

    async def permit(self, size: int, due: float) -> None:
        """Wait until `size` bytes that are due at `due` may go on."""
        late = due - asyncio.get_running_loop().time()
        if late > 0:
            await asyncio.sleep(late)
        if self.bytes_per_s:
            await asyncio.sleep(size / self.bytes_per_s)
        await self._flowing.wait()


class _Passage:
    """One connection through a line. Once `deaf`, what comes from the end that was not told is thrown away."""

    def __init__(self, line: Line, peer: asyncio.StreamWriter, broker: asyncio.StreamWriter) -> None:
        self.peer, self.broker, self.deaf = peer, broker, False
        self._line = line

    def end(self, writer: asyncio.StreamWriter, *, reset: bool) -> None:
        if writer.transport.is_closing():
            return
        if reset:
            whom: Any = writer.get_extra_info("socket")
            with contextlib.suppress(OSError):
                whom.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        writer.transport.abort()

    async def carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry one way, until it ends; then the other way ends, too, unless nobody is to be told."""
        under_way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(_PIECES_KEPT)
        sending = asyncio.create_task(self._send(under_way, writer))
        try:
            while data := await reader.read(_PIECE_BYTES):
                await under_way.put((asyncio.get_running_loop().time() + self._line.delay_s, data))
        except OSError:
            pass
        finally:
            if self.deaf or writer.transport.is_closing():
                sending.cancel()
            else:
                await under_way.put((0.0, b""))
            with contextlib.suppress(asyncio.CancelledError):
                await sending
        if not self.deaf:
            self.end(self.peer, reset=False)
            self.end(self.broker, reset=False)

    async def _send(self, under_way: asyncio.Queue[tuple[float, bytes]], writer: asyncio.StreamWriter) -> None:
        while True:
            due, data = await under_way.get()
            await self._line.permit(len(data), due)
            if not data:
                return
            if self.deaf or writer.transport.is_closing():
                continue
            writer.write(data)
            with contextlib.suppress(OSError):
                await writer.drain()
