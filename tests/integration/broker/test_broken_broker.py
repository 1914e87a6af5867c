"""A broker that says anything at any moment, and goes when it likes: each end is one of ours, and nothing is left."""

from __future__ import annotations

import asyncio
import json
import random
from contextlib import suppress

import pytest

from integration.broker.fakebroker import INFO, Session, fake_broker
from integration.broker.support import Network, connected
from landbridge.errors import LandbridgeError

PIECES = [
    b"",
    b"\r\n",
    b"PING\r\n",
    b"PONG\r\n",
    b"+OK\r\n",
    b"-ERR 'x'\r\n",
    b"-ERR 'Authorization Violation'\r\n",
    b"-ERR 'Permissions Violation for Publish to \"a\"'\r\n",
    b"MSG a 1 3\r\nabc\r\n",
    b"MSG a 1 300000\r\n" + bytes(1000),
    b"HMSG a 1 r 99 3\r\nabc\r\n",
    b"INFO {}\r\n",
    b'INFO {"tls_required": true}\r\n',
    b'INFO {"max_payload": 1180591620717411303424}\r\n',
    b'INFO {"max_payload": 1}\r\n',
    b"x" * 70_000,
    b"\x82\x05INFO ",
    b"\xff\xfe\x00",
]


async def misbehave(session: Session, chance: random.Random) -> None:
    """Go some steps of the way that a broker goes, then say anything, and go or stay."""
    steps = chance.randrange(4)
    if steps:
        session.say("INFO " + json.dumps({**INFO, "auth_required": True}))
    for _ in range(steps - 1):
        await session.hear(b"PING")
        session.say("PONG")
    for _ in range(chance.randrange(6)):
        session.writer.write(chance.choice(PIECES))
        if chance.random() < 0.5:
            await asyncio.sleep(chance.random() * 0.003)
    match chance.randrange(4):
        case 0:
            session.writer.transport.abort()
        case 1:
            session.writer.close()
        case _:
            await session.serve()


async def use(url: str, user, chance: random.Random) -> None:
    """Do what a connection is for, as long as it lets us."""
    async with connected(url, user, connect_timeout_s=0.1) as peer:
        await peer.connection.subscribe("a", peer.on_message)
        for _ in range(20):
            with suppress(LandbridgeError):
                peer.connection.publish("a", bytes(chance.choice([1, 100, 400_000])))
            if chance.random() < 0.3:
                await asyncio.sleep(chance.random() * 0.004)
        with suppress(LandbridgeError):
            await peer.connection.flush(0.05)
        waiting = asyncio.create_task(peer.connection.writable())
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait([waiting])


@pytest.mark.parametrize("seed", range(60))
async def test_whatever_it_says_and_whenever_it_goes(tmp_path, seed):
    chance = random.Random(seed)
    async with fake_broker(lambda session: misbehave(session, chance)) as url:
        with suppress(LandbridgeError):
            await asyncio.wait_for(use(url, Network(tmp_path).user(), chance), 20)
        ours = [task for task in asyncio.all_tasks() if "landbridge/broker" in repr(task)]
    assert ours == []
