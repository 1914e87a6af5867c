"""The proxy does to connections what it says, and only to those it is told to."""

from __future__ import annotations

import asyncio
import contextlib
from urllib.parse import urlsplit

import pytest

from chaos.proxy import Line


class Ends:
    """Both ends of a connection through a line."""

    def __init__(self, line, peer, broker):
        self.line = line
        self.peer_reader, self.peer = peer
        self.broker_reader, self.broker = broker

    async def say(self, text: bytes) -> None:
        self.peer.write(text)
        assert await self.heard(text) == text

    async def heard(self, text: bytes, timeout_s: float = 10.0) -> bytes:
        return await asyncio.wait_for(self.broker_reader.readexactly(len(text)), timeout_s)


@contextlib.asynccontextmanager
async def connected():
    arrived = asyncio.Queue()
    server = await asyncio.start_server(lambda *ends: arrived.put_nowait(ends), "127.0.0.1", 0)
    line = Line(lambda: server.sockets[0].getsockname())
    await line.open()
    where = urlsplit(line.url)
    peer = await asyncio.open_connection(where.hostname, where.port)
    ends = Ends(line, peer, await asyncio.wait_for(arrived.get(), 10))
    try:
        await ends.say(b"hello")  # so that the line, too, knows of the connection
        yield ends
    finally:
        await line.close()
        server.close()
        for writer in (ends.peer, ends.broker):
            writer.transport.abort()


async def told(reader: asyncio.StreamReader) -> bool:
    """Whether this end is told that its connection has ended."""
    try:
        return await asyncio.wait_for(reader.read(1), 10) == b""
    except ConnectionResetError:
        return True


async def untold(reader: asyncio.StreamReader) -> bool:
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(reader.read(1), 0.2)
    return True


def test_what_comes_is_passed_on_both_ways_and_large_things_whole():
    async def run():
        async with connected() as ends:
            much = bytes(range(256)) * 40_000
            ends.broker.write(much)
            assert await asyncio.wait_for(ends.peer_reader.readexactly(len(much)), 10) == much

    asyncio.run(run())


@pytest.mark.parametrize("reset", [True, False])
def test_both_ends_are_told_of_a_cut(reset):
    async def run():
        async with connected() as ends:
            ends.line.cut(reset=reset)
            assert await told(ends.peer_reader)
            assert await told(ends.broker_reader)

    asyncio.run(run())


def test_nothing_comes_through_a_stall_and_everything_after_it():
    async def run():
        async with connected() as ends:
            ends.line.stall()
            ends.peer.write(b"later")
            assert await untold(ends.broker_reader)
            ends.line.heal()
            assert await ends.heard(b"later") == b"later"

    asyncio.run(run())


@pytest.mark.parametrize("whom", ["peer", "broker"])
def test_one_end_of_a_half_open_connection_is_told_and_the_other_when_it_heals(whom):
    async def run():
        async with connected() as ends:
            readers = {"peer": ends.peer_reader, "broker": ends.broker_reader}
            writers = {"peer": ends.peer, "broker": ends.broker}
            ends.line.half_open(told=whom)
            assert await told(readers.pop(whom))
            ((other, reader),) = readers.items()
            writers[other].write(b"is anybody there?")
            assert await untold(reader)
            ends.line.heal()
            assert await told(reader)

    asyncio.run(run())


def test_what_is_delayed_comes_late_and_what_is_throttled_slowly():
    async def run():
        clock = asyncio.get_running_loop().time
        async with connected() as ends:
            ends.line.delay_s = 0.2
            begin = clock()
            await ends.say(b"hello")
            assert clock() - begin >= 0.2
            ends.line.heal()
            ends.line.bytes_per_s = 1e6
            begin = clock()
            await ends.say(bytes(200_000))
            assert clock() - begin >= 0.2

    asyncio.run(run())


def test_nobody_gets_through_while_it_refuses_and_when_there_is_no_broker():
    async def run():
        async with connected() as ends:
            where = urlsplit(ends.line.url)
            ends.line.refusing = True
            reader, writer = await asyncio.open_connection(where.hostname, where.port)
            assert await told(reader)
            writer.transport.abort()
            await ends.say(b"who was there before stays")

        line = Line(lambda: None)
        await line.open()
        where = urlsplit(line.url)
        reader, writer = await asyncio.open_connection(where.hostname, where.port)
        assert await told(reader)
        writer.transport.abort()
        await line.close()

    asyncio.run(run())
