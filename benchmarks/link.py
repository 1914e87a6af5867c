"""A way to the broker that is as slow as a link between institutes: a process that passes on what comes, later.

Unlike the line of the tests of faults it keeps to a timetable: when a piece leaves follows from when it came and from
how much is before it, not from how long a sleep took. So it passes what it says, and its rate can be a limit. All
connections through it share its rate, each way.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import threading

from orders import follow

_PIECE_BYTES = 16 * 1024
_PIECES_KEPT = 64


class Way:
    """One direction of the link.

    Parameters
    ----------
    delay_s : float
        How long each byte is under way.
    bytes_per_s : float
        The most that passes; 0 for no limit.

    Attributes
    ----------
    carried : int
        Bytes that were sent into it so far.
    """

    def __init__(self, delay_s: float, bytes_per_s: float) -> None:
        self.carried = 0
        self._delay_s, self._bytes_per_s = delay_s, bytes_per_s
        self._free_at = 0.0

    def arrival(self, size: int) -> float:
        """Return when `size` bytes arrive that are sent now, behind all that were sent before."""
        now = asyncio.get_running_loop().time()
        self.carried += size
        self._free_at = max(now, self._free_at) + (size / self._bytes_per_s if self._bytes_per_s else 0.0)
        return self._free_at + self._delay_s

    async def carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry what comes from one end to the other, until the one closes."""
        under_way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(_PIECES_KEPT)
        sending = asyncio.create_task(_send(under_way, writer))
        try:
            while data := await reader.read(_PIECE_BYTES):
                await under_way.put((self.arrival(len(data)), data))
        except OSError:
            pass
        finally:
            await under_way.put((0.0, b""))
            await sending
            writer.close()


async def _send(under_way: asyncio.Queue[tuple[float, bytes]], writer: asyncio.StreamWriter) -> None:
    while True:
        due, data = await under_way.get()
        if not data:
            return
        late = due - asyncio.get_running_loop().time()
        if late > 0:
            await asyncio.sleep(late)
        with contextlib.suppress(OSError):
            writer.write(data)
            await writer.drain()


class Link:
    """The process's one link, in a thread of its own."""

    def __init__(self, broker: str, delay_s: float, bytes_per_s: float) -> None:
        self._broker = broker.rpartition("/")[2].rpartition(":")
        self._up, self._down = Way(delay_s, bytes_per_s), Way(delay_s, bytes_per_s)
        self._listening = threading.Event()
        self._url = ""
        threading.Thread(target=lambda: asyncio.run(self._listen()), daemon=True).start()
        self._listening.wait()

    def url(self) -> str:
        """Return where it listens."""
        return self._url

    def carried(self) -> dict[str, int]:
        """Return how many bytes went to the broker, and how many came from it."""
        return {"up": self._up.carried, "down": self._down.carried}

    async def _listen(self) -> None:
        server = await asyncio.start_server(self._accept, "127.0.0.1", 0, limit=_PIECE_BYTES)
        self._url = f"nats://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        self._listening.set()
        await server.serve_forever()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        host, _, port = self._broker
        try:
            broker_reader, broker_writer = await asyncio.open_connection(host, int(port), limit=_PIECE_BYTES)
        except OSError:
            writer.close()
            return
        await asyncio.gather(self._up.carry(reader, broker_writer), self._down.carry(broker_reader, writer))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("broker", help="its address, as in nats://127.0.0.1:4222")
    parser.add_argument("delay_s", type=float, help="how long each byte is under way")
    parser.add_argument("bytes_per_s", type=float, help="the most that passes, each way; 0 for no limit")
    options = parser.parse_args()
    link = Link(options.broker, options.delay_s, options.bytes_per_s)
    follow({"url": link.url, "carried": link.carried})
