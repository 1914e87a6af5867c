"""Uses that are legal, unlikely, and once went wrong."""

from __future__ import annotations

import asyncio
import gc
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from threading import Thread

import numpy as np
import pytest

import landbridge as lb

ODD = """
import asyncio
import time
from enum import Enum
from pathlib import Path

import numpy as np

import landbridge as lb

__all__ = ["blocks", "plain", "wait", "total", "basin", "who", "tidy", "small", "ran", "Basin", "tracked"]
RAN = []


class Basin(Enum):
    NORTH = "n"
    SOUTH = "s"


def blocks(n: int):
    for k in range(n):
        yield np.full(20_000, float(k))


def small(n: int):
    yield from range(n)


def plain(a: int) -> int:
    RAN.append(a)
    return a


def ran() -> list[int]:
    return RAN


def wait(seconds: float) -> str:
    time.sleep(seconds)
    return "waited"


def total(a: np.ndarray) -> float:
    return float(a.sum())


def basin(name: str) -> Basin:
    return Basin[name]


def who() -> str:
    return lb.current_call().caller


def tracked(n: int) -> int:
    for _ in lb.track(range(n)):
        time.sleep(0.01)
    return n


async def tidy(file: str):
    try:
        await asyncio.sleep(600)
    finally:
        Path(file).write_text("tidied up")
"""


@pytest.fixture(scope="module")
def odd(network, net):
    network.serve(ODD, "awi/odd", "--share", "*/*")
    return net["awi/odd"]


def until(what, timeout_s: float = 15.0):
    deadline = time.monotonic() + timeout_s
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_more_streams_than_threads_can_be_looped_over_together(odd):
    streams = [odd.blocks(30) for _ in range(20)]
    assert [row[0][0] for row in zip(*streams, strict=True)] == [float(k) for k in range(30)]


def test_paused_streams_keep_nobody_waiting(odd):
    streams = [odd.blocks(1000) for _ in range(20)]
    assert [next(stream)[0] for stream in streams] == [0.0] * 20
    assert odd.plain.options(timeout_s=10)(1) == 1
    for stream in streams:
        stream.close()


def test_a_stream_that_is_dropped_before_it_is_looped_over_is_stopped(odd):
    calls = [odd.blocks.start(1000) for _ in range(3)]
    for call in calls:
        iter(call)  # and dropped
    gc.collect()
    until(lambda: all(call.done() for call in calls))


def test_a_stream_has_no_events_to_go_through(odd):
    call = odd.small.start(5)
    with pytest.raises(TypeError, match="loop over the call"):
        call.events()
    assert list(call) == [0, 1, 2, 3, 4]


def test_awaiting_a_stream_is_refused_at_once_however_long_it_is(odd):
    async def main():
        async with lb.AsyncNetwork() as net:
            with pytest.raises(TypeError, match="async for"):
                await asyncio.wait_for(net.awi.odd.blocks(10_000), 20)

    asyncio.run(main())


def test_closing_while_a_module_is_described_ends_the_call(network):
    process = network.serve(ODD, "awi/frozen")
    process.signal(signal.SIGSTOP)

    async def main():
        async with lb.AsyncNetwork() as net:
            call = net.awi.frozen.plain(1)
            await asyncio.sleep(0.2)
        with pytest.raises(lb.LandbridgeError):
            await asyncio.wait_for(call, 10)

    try:
        asyncio.run(main())
    finally:
        process.signal(signal.SIGCONT)


def test_one_awaiter_that_gives_up_does_not_cancel_for_the_others(odd):
    async def main():
        async with lb.AsyncNetwork() as net:
            call = net.awi.odd.wait(0.5)

            async def get():
                return await call

            waiting = asyncio.create_task(get())
            await asyncio.sleep(0)
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(get(), 0.05)
            assert await waiting == "waited"

    asyncio.run(main())


def test_the_first_async_call_sends_what_its_arguments_were(odd):
    async def main():
        async with lb.AsyncNetwork() as net:
            array = np.zeros(4)
            call = net.awi.odd.total(array)
            array[:] = 1
            return await call

    assert asyncio.run(main()) == 0.0


def test_an_async_network_says_that_it_must_be_entered():
    net = lb.AsyncNetwork()
    assert isinstance(net, lb.AsyncNetwork)
    with pytest.raises(RuntimeError, match="Enter it first"):
        dir(net)


def test_types_stay_the_same_classes(net, odd):
    before = net.awi.odd.Basin
    net._module_appeared("awi/odd")  # as when another backend announces itself
    assert net.awi.odd.Basin is before
    assert net["awi/odd"].Basin is before
    assert odd.basin("NORTH") is before.NORTH


def test_a_method_that_has_become_another_kind_of_method_says_so(network, net):
    old = network.serve("__all__ = ['f']\ndef f():\n    yield 1\n", "awi/kind")
    streaming = net["awi/kind"].f
    assert list(streaming()) == [1]
    old.stop()
    network.serve("__all__ = ['f']\ndef f(): return 1\n", "awi/kind")
    plain = net["awi/kind"].f
    assert plain() == 1
    with pytest.raises(lb.ProtocolMismatch, match="now returns one value"):
        list(streaming())


def test_a_call_keeps_its_network_while_it_runs(odd):
    call = lb.connect().awi.odd.wait.start(0.5)
    gc.collect()
    assert call.result(timeout=20) == "waited"
    assert [int(block[0]) for block in lb.connect().awi.odd.blocks(20)] == list(range(20))


def test_pickled_methods_keep_their_caller_and_time_limit(network, odd):
    run = network.python("""
        import copy, pickle
        import landbridge as lb
        method = lb.connect("awi/anna")["awi/odd"].who.options(timeout_s=30)
        assert copy.deepcopy(method) is method
        again = pickle.loads(pickle.dumps(method))
        print(again(), again._options.timeout_s)
    """)
    assert run.stdout == "awi/anna 30\n", run.stderr


def test_a_forked_child_neither_waits_for_nor_cancels_its_parents_calls(network, odd):
    run = network.python("""
        import os, warnings
        warnings.simplefilter("ignore", DeprecationWarning)
        import landbridge as lb
        net = lb.connect()
        call = net.awi.odd.wait.start(1.0)
        stream = net.awi.odd.blocks(200)
        next(stream)
        pid = os.fork()
        if pid == 0:
            stream.close()
            try:
                call.result()
            except RuntimeError as error:
                print("child:", "forked" in str(error), flush=True)
            os._exit(0)
        os.waitpid(pid, 0)
        print("parent:", call.result(), len(list(stream)))
    """)
    assert run.stdout.splitlines() == ["child: True", "parent: waited 199"], run.stderr


def test_cancelling_a_call_that_still_waits_for_a_thread_says_stopped(odd):
    running = [odd.wait.start(2.0) for _ in range(16)]
    queued = odd.plain.start(4711)
    time.sleep(0.3)
    assert queued.cancel() == "stopped"
    assert {call.result() for call in running} == {"waited"}
    assert 4711 not in odd.ran()


def test_map_that_is_refused_half_way_cancels_what_it_started(odd):
    with pytest.raises(TypeError):
        odd.tracked.map([10_000, 10_000], [1, 2])  # too many arguments, found at the first row
    with pytest.raises(lb.CannotTravel):
        odd.tracked.map([10_000, object()])
    until(
        lambda: not odd._network._link()._calls or all(c.caller.has_ended for c in odd._network._link()._calls.values())
    )


def test_an_orderly_stop_loses_no_request(own_network):
    first = own_network.serve(ODD, "awi/odd")
    own_network.serve(ODD, "awi/odd")
    with lb.connect() as net, ThreadPoolExecutor(32) as pool:
        plain = net.awi.odd.plain
        results = [pool.submit(plain.options(timeout_s=60), number) for number in range(3000)]
        stopping = Thread(target=first.stop)
        stopping.start()
        assert [result.result() for result in results] == list(range(3000))
        stopping.join()


def test_async_methods_tidy_up_when_their_backend_stops(own_network, tmp_path):
    process = own_network.serve(ODD, "awi/odd", "--grace", "0.5")
    file = tmp_path / "state.txt"
    with lb.connect() as net:
        call = net.awi.odd.tidy.start(str(file))
        time.sleep(0.5)
        assert process.stop() == 0
        assert file.read_text() == "tidied up"
        with pytest.raises(lb.CallLost):
            call.result(timeout=20)


def test_what_was_given_up_while_the_broker_was_away_does_not_run_later(own_network):
    own_network.serve(ODD, "awi/odd")
    with lb.connect() as net:
        odd = net.awi.odd
        assert odd.plain(1) == 1
        own_network.up.signal(signal.SIGSTOP)  # so that it does not start the broker again
        own_network.kill_broker()
        until(lambda: not net._link()._connection.connected)
        with pytest.raises(lb.CallTimeout):
            odd.plain.options(timeout_s=0.5)(2)
        own_network.up.signal(signal.SIGCONT)
        until(lambda: net._link()._connection.connected, 30)
        assert odd.plain.options(timeout_s=30)(3) == 3
        assert odd.ran() == [1, 3]
