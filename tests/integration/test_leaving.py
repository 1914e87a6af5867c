"""Callers who go, give up or wait: nothing runs for those who have gone, nothing is kept, and every wait ends."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import signal
import time
import weakref
from dataclasses import replace

import pytest

import landbridge as lb
from landbridge import wire
from landbridge.broker import Reconnected
from landbridge.client import longvalues, lookup
from landbridge.client.link import Link
from landbridge.client.observers import Collecting
from landbridge.client.pace import UNANSWERED
from landbridge.names import parse_address
from landbridge.protocol import Kind, unpack

SOURCE = """
import sys
sys.modules["numcodecs"] = None  # values keep their size on the line
import time
from collections.abc import Callable
import numpy as np
import landbridge as lb

__all__ = ["ask", "note", "noted", "zeros", "long_items", "wait", "stopped"]
NOTED, STOPPED = [], []

def ask(function: Callable[[], None]) -> None:
    function()

def note(number: int) -> None:
    NOTED.append(number)

def noted() -> list[int]:
    return NOTED

def zeros(count: int):
    return np.zeros(count)

def long_items(count: int, size: int):
    for number in range(count):
        yield np.full(size, number, np.uint8)
        time.sleep(0.1)

def wait(seconds: float) -> None:
    try:
        for _ in lb.track(range(int(seconds * 20))):
            time.sleep(0.05)
    except BaseException as error:
        STOPPED.append(type(error).__name__)
        raise

def stopped() -> list[str]:
    return STOPPED
"""


def until(true, seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it did not come to be"
        time.sleep(0.01)


@pytest.fixture(scope="module")
def leaving(network, net):
    network.serve(SOURCE, "awi/leaving")
    return net["awi/leaving"]


def test_calls_that_were_never_sent_stop_at_once_and_never_run(own_network):
    process = own_network.serve(SOURCE, "awi/frozen")
    net = lb.connect()
    frozen = net.awi.frozen
    frozen.noted()
    process.signal(signal.SIGSTOP)
    calls = [frozen.note.start(number) for number in range(UNANSWERED + 50)]
    assert calls[-1].cancel() == "stopped"
    with pytest.raises(lb.CallCancelled):
        calls[-1].result()
    net.close()
    for call in calls:
        with pytest.raises((lb.CallCancelled, lb.CallLost)):
            call.result()
    assert calls[UNANSWERED].error.state == "stopped"
    process.signal(signal.SIGCONT)
    with lb.connect() as net:
        assert set(net.awi.frozen.noted()) <= set(range(UNANSWERED))


def test_a_call_that_begins_while_the_broker_is_away_says_so_and_can_be_stopped(own_network):
    own_network.serve(SOURCE, "awi/leaving")
    with lb.connect() as net:
        note, noted = net.awi.leaving.note, net.awi.leaving.noted
        own_network.up.signal(signal.SIGSTOP)  # so that it does not start the broker again
        own_network.kill_broker()
        until(lambda: not net._link()._connection.connected)
        stays, goes = note.start(1), note.start(2)
        until(lambda: goes.notice == "the broker is away; waiting for it")
        assert goes.cancel() == "stopped"
        own_network.up.signal(signal.SIGCONT)
        stays.result(timeout=60)
        assert stays.notice == ""
        assert noted() == [1]


@pytest.mark.parametrize("count", [10, 1_000_000])
def test_a_value_is_gone_when_nobody_holds_it(leaving, count):
    gc.collect()
    gc.disable()
    try:
        value = weakref.ref(leaving.zeros(count))
        # The I/O thread may just be on its way out of what told the call that it has ended.
        until(lambda: value() is None)
    finally:
        gc.enable()


def test_whatever_ends_a_blocking_call_from_outside_stops_the_remote_work(leaving):
    class Alarm(Exception):
        pass

    def ring(*_: object) -> None:
        raise Alarm

    before = signal.signal(signal.SIGALRM, ring)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.5)
        with pytest.raises(Alarm):
            leaving.wait(30.0)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    until(leaving.stopped)


def test_a_call_whose_long_value_cannot_come_ends_and_says_why(leaving, net, monkeypatch):
    monkeypatch.setattr(longvalues, "SILENCE_S", 1.5)
    nowhere = replace(net._access, urls_now=lambda: ("nats://127.0.0.1:1",))
    notices = []

    class Noticing(Collecting):
        def noticed(self, notice: str) -> None:
            notices.append(notice)

    async def scenario():
        link = Link(nowhere)
        await link.open()
        try:
            parts = wire.encode({"count": 1_000_000})
            observer = Noticing()
            link.start(parse_address("awi/leaving.zeros"), parts, wire.size_bytes(parts), observer, None)
            with pytest.raises(lb.BrokerUnreachable, match=r"awi/leaving.zeros.*second connection.*127\.0\.0\.1:1"):
                await asyncio.wait_for(observer.next(), 30)
            # What is short still goes.
            assert await lookup.call(link, parse_address("awi/leaving.noted"), {}, timeout_s=20) == []
        finally:
            await link.close()

    asyncio.run(scenario())
    assert any("second connection" in notice for notice in notices)


def test_long_items_of_a_stream_come_through_the_lane_alone(leaving, net):
    came = []

    class Watching(Link):
        def _answer_arrived(self, delivered):
            with contextlib.suppress(lb.LandbridgeError):
                if unpack(delivered.payload).kind is Kind.PART:
                    came.append(delivered.subject.split(".")[3])
            super()._answer_arrived(delivered)

    async def scenario():
        link = Watching(net._access)
        await link.open()
        try:
            parts = wire.encode({"count": 5, "size": 1_000_000})
            observer = Collecting()
            where = parse_address("awi/leaving.long_items")
            request = link.start(where, parts, wire.size_bytes(parts), observer, 60.0)
            count = 0
            while (item := await observer.next()) is not None:
                link.took(request, item)
                # Between two items as well the backend hears where the next one is to go.
                link._connection_event(Reconnected("the same"))
                count += 1
            assert count == 5
            assert set(came) == {link._lane_id}
            assert not link._long.receiving
        finally:
            await link.close()

    asyncio.run(scenario())


def test_a_network_whose_closing_was_cancelled_closes_all_the_same(leaving):
    async def scenario():
        net = lb.AsyncNetwork()
        await net.__aenter__()
        call = net.awi.leaving.wait.start(30.0)
        while call.progress is None:
            await asyncio.sleep(0.01)
        link = net._link_now
        closing = asyncio.create_task(net.close())
        await asyncio.sleep(0)
        closing.cancel()
        await asyncio.wait([closing])
        await net.close()  # waits for the one that is under way
        assert link._connection.has_ended
        assert call.done()
        assert len(asyncio.all_tasks()) == 1

    asyncio.run(scenario())


def test_a_coroutine_that_a_method_called_ends_with_the_call(leaving):
    async def scenario():
        asked, ended = asyncio.Event(), asyncio.Event()

        async def waits() -> None:
            asked.set()
            try:
                await asyncio.Event().wait()
            finally:
                ended.set()

        async with lb.AsyncNetwork() as net:
            call = net.awi.leaving.ask.start(waits)
            await asyncio.wait_for(asked.wait(), 20)
            await call.cancel()
            await asyncio.wait_for(ended.wait(), 20)

    asyncio.run(scenario())
