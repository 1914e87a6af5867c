"""A server that speaks NATS badly, as the test tells it: for what a real one does rarely or never."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager, suppress

INFO = {"server_id": "FAKE", "version": "2.15.1", "max_payload": 1 << 20, "headers": True, "nonce": "abc"}


class Session:
    """One client at the fake broker."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> None:
        self.reader, self.writer, self.number = reader, writer, number
        self.lines: list[bytes] = []

    def say(self, *lines: str | bytes) -> None:
        for line in lines:
            self.writer.write((line.encode() if isinstance(line, str) else line) + b"\r\n")

    async def hear(self, start: bytes) -> bytes:
        """Return the next line that begins with `start`; b"" at the end. Others are noted, PINGs not answered."""
        while line := await self.reader.readline():
            self.lines.append(line.rstrip(b"\r\n"))
            if line.startswith(start):
                return self.lines[-1]
        return b""

    async def greet(self, *answer: str, **info) -> None:
        """Take a client in: INFO, CONNECT, PING and `answer` (PONG if none is given)."""
        self.say("INFO " + json.dumps({**INFO, "auth_required": True, **info}))
        await self.hear(b"PING")
        self.say(*(answer or ["PONG"]))

    async def serve(self) -> None:
        """Answer PINGs until the client goes."""
        while await self.hear(b"PING"):
            self.say("PONG")


@asynccontextmanager
async def fake_broker(script: Callable[[Session], Awaitable[None]]):
    """Run `script` for each client; gives the address."""
    tasks: set[asyncio.Task] = set()
    sessions: list[Session] = []

    async def run(session: Session) -> None:
        with suppress(OSError, asyncio.CancelledError):
            await script(session)
        session.writer.close()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        sessions.append(Session(reader, writer, len(sessions) + 1))
        tasks.add(asyncio.get_running_loop().create_task(run(sessions[-1])))

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    try:
        yield f"nats://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for session in sessions:
            session.writer.transport.abort()
        await asyncio.sleep(0)  # in which asyncio closes them
