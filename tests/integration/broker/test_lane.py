"""The connection for long values: opened when it is needed, opened again when it breaks, closed with its owner."""

from __future__ import annotations

import asyncio
import contextlib
from contextlib import asynccontextmanager

from integration.broker.support import Peer, connected
from landbridge.broker import Connection, Lane, start_server
from landbridge.errors import BrokerUnreachable


class Opened(Peer):
    """What comes through a lane, and when it was said to be open."""

    def __init__(self, main) -> None:
        super().__init__()
        self.times = 0
        self.opened = asyncio.Event()
        self.lane = Lane(main, "parts.*", self.on_message, self._opened)

    def _opened(self) -> None:
        self.times += 1
        self.opened.set()

    async def is_open(self) -> None:
        """Wait until it says that it is open, again if it has said so before."""
        await asyncio.wait_for(self.opened.wait(), 20)
        self.opened.clear()


@asynccontextmanager
async def lane(server, user):
    async with connected(server.url, user) as main:
        opened = Opened(main.connection)
        try:
            yield opened, main
        finally:
            await opened.lane.close()


async def test_nothing_is_opened_before_it_is_needed_and_then_once(network, server):
    user = network.user()
    async with lane(server, user) as (opened, _):
        assert not opened.lane.is_open
        opened.lane.publish("parts.a", [b"into nothing"])
        asked = user.asked
        for _ in range(3):
            opened.lane.open()
        await opened.is_open()
        opened.lane.open()
        await asyncio.sleep(0)
        assert (opened.lane.is_open, opened.times, user.asked) == (True, 1, asked + 1)


async def test_parts_come_and_go(network, server):
    async with lane(server, network.user()) as (opened, main):
        opened.lane.open()
        await opened.is_open()
        await main.connection.subscribe("other", main.on_message)
        await main.connection.flush()
        main.connection.publish("parts.a", b"to us")
        assert (await opened.message()).payload == b"to us"
        opened.lane.publish("other", [b"one ", memoryview(b"message")], reply="parts.b")
        message = await main.message()
        assert (message.payload, message.reply) == (b"one message", "parts.b")


async def test_a_lane_whose_broker_was_away_says_that_it_is_open_again_and_hears(network):
    server = start_server(network.config())
    port = int(server.url.rpartition(":")[2])
    with contextlib.ExitStack() as stack:
        stack.callback(server.stop)
        async with lane(server, network.user()) as (opened, _):
            opened.lane.open()
            await opened.is_open()
            server.stop()
            stack.enter_context(start_server(network.config(port=port)))
            await opened.is_open()
            opened.lane.publish("parts.a", [b"after the break"])
            assert (await opened.message()).payload == b"after the break"


async def test_closing_ends_it_for_good_also_while_it_opens(network, server):
    async with lane(server, network.user()) as (opened, main):
        opened.lane.open()
        await opened.lane.close()
        opened.lane.open()
        await main.connection.flush()
        assert (opened.lane.is_open, opened.times) == (False, 0)
    async with lane(server, network.user()) as (opened, main):
        opened.lane.open()
        await opened.is_open()
        await opened.lane.close()
        opened.lane.publish("parts.a", [b"too late"])
        await main.connection.flush()
        assert opened.messages == []


async def test_a_connection_that_opened_by_half_is_closed(network, server, monkeypatch):
    siblings: list[Connection] = []
    tried = asyncio.Event()
    sibling = Connection.sibling

    async def noted(self, on_event):
        siblings.append(await sibling(self, on_event))
        return siblings[-1]

    async def lost(self, timeout_s=5.0):
        tried.set()
        raise BrokerUnreachable("The connection to the broker was lost.")

    async def waits(self, timeout_s=5.0):
        tried.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(Connection, "sibling", noted)
    for flush in (lost, waits):
        async with connected(server.url, network.user()) as main:
            opened = Opened(main.connection)
            with monkeypatch.context() as patch:
                patch.setattr(Connection, "flush", flush)
                tried.clear()
                opened.lane.open()
                await asyncio.wait_for(tried.wait(), 20)
                await opened.lane.close()
    assert [connection.has_ended for connection in siblings] == [True, True]


async def test_whatever_keeps_it_from_opening_it_is_tried_again(network, server):
    user = network.user()
    fails = True

    def urls_now():
        if fails:
            raise OSError("network drive is away")
        return [server.url]

    async with connected(server.url, user) as main:
        main.connection._urls_now = urls_now
        opened = Opened(main.connection)
        loop = asyncio.get_running_loop()
        assert opened.lane.waited_s(loop.time()) == 0.0
        opened.lane.open()
        while not opened.lane.why:
            await asyncio.sleep(0.01)
        assert opened.lane.why == "network drive is away"
        assert opened.lane.waited_s(loop.time() + 100) > 100
        fails = False
        await opened.is_open()
        assert opened.lane.waited_s(loop.time() + 100) == 0.0
        await opened.lane.close()


async def test_it_is_not_opened_any_more_when_the_main_connection_has_ended(network, server):
    user = network.user()
    async with connected(server.url, user) as main:
        main.connection._urls_now = lambda: ["nats://127.0.0.1:1"]
        opened = Opened(main.connection)
        opened.lane.open()
        while not opened.lane.why:
            await asyncio.sleep(0.01)
        opening = opened.lane._opening
        main.connection._fail("Authentication Expired")
        await asyncio.wait_for(opening, 20)
        await opened.lane.close()
