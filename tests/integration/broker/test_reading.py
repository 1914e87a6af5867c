"""What the socket gave, handed on in whatever order things happen."""

from __future__ import annotations

import asyncio
import socket
import struct

import pytest

from landbridge.broker.reading import ChunkReader


async def test_a_connection_that_was_reset_while_nobody_read_is_told_to_the_next_who_reads():
    loop = asyncio.get_running_loop()
    accepted: asyncio.Future[asyncio.StreamWriter] = loop.create_future()
    server = await asyncio.start_server(lambda _, writer: accepted.set_result(writer), "127.0.0.1", 0)
    reader = ChunkReader(65536, loop)
    protocol = asyncio.StreamReaderProtocol(reader, loop=loop)
    transport, _ = await loop.create_connection(lambda: protocol, *server.sockets[0].getsockname())
    reader.hand_on()
    writer = await accepted
    writer.write(b"the last words")
    assert await reader.read() == b"the last words"
    # With no time to linger the system sends a reset instead of an end.
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
    while reader.exception() is None:
        await asyncio.sleep(0)
    with pytest.raises(ConnectionResetError):
        await asyncio.wait_for(reader.read(), 5)
    transport.close()
    server.close()
    await server.wait_closed()
