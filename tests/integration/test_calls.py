"""Calls that go well: every kind of method, from Python, as if it were local."""

from __future__ import annotations

import asyncio
import gc
import inspect
import pickle
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import landbridge as lb

OCEAN = '''
"""Sea surface temperature.

More about it.
"""
from __future__ import annotations

import asyncio
import os
import threading
import time
from dataclasses import dataclass
from enum import Enum
from typing import Annotated, Iterator

import numpy as np

import landbridge as lb

__all__ = ["mean", "mean_async", "years", "years_async", "spread", "echo", "who", "wait", "tracked", "seen", "box"]


class Region(Enum):
    """Where."""

    NINO34 = "nino34"
    GLOBAL = "global"


@dataclass(frozen=True)
class Box:
    """A box on the globe."""

    west: Annotated[float, "degrees east"]
    east: float
    name: str = "box"


def mean(first: int, last: int, region: Region = Region.NINO34) -> float:
    """Mean of something.

    Parameters
    ----------
    first, last : int
        Years.
    region : Region
        Where.
    """
    assert isinstance(region, Region)
    return (first + last) / 2 + (1000 if region is Region.GLOBAL else 0)


async def mean_async(first: int, last: int) -> float:
    await asyncio.sleep(0)
    return (first + last) / 2


def years(first: int, last: int) -> Iterator[int]:
    try:
        for year in range(first, last):
            yield year
    finally:
        SEEN.append("years closed")


async def years_async(first: int, last: int):
    try:
        for year in range(first, last):
            yield year
            await asyncio.sleep(0)
    finally:
        SEEN.append("years_async closed")


def spread(*values: float, scale: float = 1.0, **named: float) -> dict[str, float]:
    return {"range": (max(values) - min(values)) * scale, **named}


def echo(value):
    return value


def who():
    call = lb.current_call()
    return call.caller, call.target, os.getpid(), threading.current_thread() is threading.main_thread()


def wait(seconds: float) -> str:
    time.sleep(seconds)
    return "waited"


def tracked(steps: int) -> int:
    total = 0
    for step in lb.track(range(steps), label="steps"):
        time.sleep(0.02)
        total += step
    return total


def box(where: Box) -> Box:
    return Box(where.west + 1, where.east, where.name.upper())


SEEN = []


def seen() -> list[str]:
    return SEEN
'''


@pytest.fixture(scope="module")
def ocean(network, net):
    network.serve(OCEAN, "geomar/ocean")
    return net["geomar/ocean"]


def test_module_lists_its_methods_and_the_types_of_their_signatures(ocean):
    assert dir(ocean) == sorted(dir(ocean)) or dir(ocean)  # order is the module's own
    assert set(dir(ocean)) == {
        "mean", "mean_async", "years", "years_async", "spread", "echo", "who", "wait", "tracked", "seen", "box",
        "Region", "Box",
    }  # fmt: skip


def test_plain_function_with_positional_keyword_and_default_arguments(ocean):
    assert ocean.mean(2006, 2010) == 2008.0
    assert ocean.mean(2006, last=2010, region=ocean.Region.GLOBAL) == 3008.0


def test_signature_and_docstring_are_true(ocean):
    signature = inspect.signature(ocean.mean)
    assert list(signature.parameters) == ["first", "last", "region"]
    assert signature.parameters["first"].annotation is int
    assert signature.parameters["region"].default is ocean.Region.NINO34
    assert ocean.mean.__doc__.startswith("Mean of something.")
    assert "Years." in ocean.mean.__doc__
    assert ocean.mean.__name__ == "mean"
    with pytest.raises(TypeError, match=r"mean\(\) missing 1 required positional argument: 'last'"):
        ocean.mean(2006)


def test_dataclass_goes_there_and_back(ocean):
    back = ocean.box(ocean.Box(170.0, 240.0, "nino"))
    assert back == ocean.Box(171.0, 240.0, "NINO")


def test_variable_arguments(ocean):
    assert ocean.spread(1.0, 5.0, scale=2.0, extra=7.0) == {"range": 8.0, "extra": 7.0}


def test_coroutine_method(ocean):
    assert ocean.mean_async(1, 2) == 1.5


@pytest.mark.parametrize("name", ["years", "years_async"])
def test_generator_streams_its_items(ocean, name):
    assert list(getattr(ocean, name)(0, 1000)) == list(range(1000))


@pytest.mark.parametrize("name", ["years", "years_async"])
def test_leaving_the_loop_stops_the_remote_generator(ocean, name):
    for year in getattr(ocean, name)(0, 10**9):
        if year == 100:
            break
    deadline = time.monotonic() + 10
    while f"{name} closed" not in ocean.seen()[-3:] and time.monotonic() < deadline:
        time.sleep(0.02)
    assert f"{name} closed" in ocean.seen()


def test_the_backend_knows_who_calls(ocean):
    caller, target, _, in_main_thread = ocean.who()
    assert caller.startswith("local/")
    assert target == "geomar/ocean.who"
    assert not in_main_thread


def test_arrays_of_some_megabytes_travel_in_parts_and_arrive_writable(ocean):
    sent = np.random.default_rng(1).random((900, 1000))
    back = ocean.echo(sent)
    np.testing.assert_array_equal(back, sent)
    assert back.flags.writeable


def test_values_of_any_size_travel_both_ways(ocean):
    sent = np.random.default_rng(1).random((5000, 1000))
    back = ocean.echo(sent)
    np.testing.assert_array_equal(back, sent)
    assert back.flags.writeable


def test_what_was_given_to_start_may_be_changed_at_once(ocean):
    sent = np.ones(1_000_000)
    call = ocean.echo.start(sent)
    sent[:] = 0
    np.testing.assert_array_equal(call.result(), np.ones(1_000_000))


def test_start_gives_a_call_whose_result_can_be_waited_for(ocean):
    call = ocean.wait.start(0.3)
    assert not call.done()
    with pytest.raises(TimeoutError, match="it goes on"):
        call.result(timeout=0.05)
    assert call.result() == "waited"
    assert call.done()
    assert call.result() == "waited"  # as often as one likes
    assert call.cancel() == "finished"
    assert call.bytes_sent > 0
    assert call.bytes_received > 0
    assert 0.3 <= call.seconds < 30


def test_map_gives_results_in_order_with_constant_keywords(ocean):
    assert list(ocean.mean.map(range(50), range(50), region=ocean.Region.GLOBAL)) == [1000.0 + n for n in range(50)]
    assert list(ocean.mean.map([], [])) == []


def test_time_limit_ends_the_call_with_a_typed_error(ocean):
    with pytest.raises(lb.CallTimeout, match=r"within 0.2 s") as caught:
        ocean.wait.options(timeout_s=0.2)(30.0)
    assert isinstance(caught.value, TimeoutError)


def test_cancel_says_honestly_that_a_thread_runs_on(ocean):
    call = ocean.wait.start(3.0)
    with pytest.raises(TimeoutError):
        call.result(timeout=0.5)  # its code has begun by then, or cancelling would keep it from beginning
    assert call.cancel() == "running"
    with pytest.raises(lb.CallCancelled, match="cannot be interrupted"):
        call.result()


def test_cancel_stops_tracked_loops_and_coroutines(ocean):
    call = ocean.tracked.start(10_000)
    next(call.events())
    assert call.cancel() == "stopped"


def test_progress_reaches_the_caller(ocean):
    call = ocean.tracked.start(25)
    events = list(call.events())
    assert call.result() == sum(range(25))
    assert events[-1].done == 25
    assert {(event.total, event.label) for event in events} == {(25, "steps")}


def test_many_threads_share_one_network(ocean):
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda n: ocean.mean(n, n), range(200))) == [float(n) for n in range(200)]


def test_blocking_calls_work_inside_a_running_loop(ocean):
    async def notebook_cell():
        return ocean.mean(1, 3)

    assert asyncio.run(notebook_cell()) == 2.0


def test_asyncio_network(ocean):
    async def main():
        async with lb.AsyncNetwork() as net:
            remote = net.geomar.ocean
            first = await remote.mean(1, 3)
            several = await asyncio.gather(*(remote.mean_async(n, n) for n in range(100)))
            items = [year async for year in remote.years(0, 500)]
            with pytest.raises(lb.UnknownMember, match="Did you mean 'mean'"):
                await remote.meann(1, 2)
            with pytest.raises(TypeError, match="async for"):
                await remote.years(0, 5)
            call = remote.tracked(10_000)
            while call.progress is None:
                await asyncio.sleep(0.01)
            state = await call.cancel()
            return first, several, items, state

    first, several, items, state = asyncio.run(main())
    assert first == 2.0
    assert several == [float(n) for n in range(100)]
    assert items == list(range(500))
    assert state == "stopped"


def test_cancelling_a_task_that_awaits_a_call_stops_the_remote_work(ocean):
    async def main():
        async with lb.AsyncNetwork() as net:
            call = net.geomar.ocean.tracked(10_000)
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(call, 0.5)
            while not call.done():
                await asyncio.sleep(0.01)
            with pytest.raises(lb.CallCancelled):
                await call

    asyncio.run(main())


def test_methods_and_modules_pickle_as_addresses(network, ocean):
    there = pickle.dumps((ocean, ocean.mean)).hex()
    run = network.python(f"""
        import pickle
        ocean, mean = pickle.loads(bytes.fromhex("{there}"))
        print(mean(1, 3), ocean.mean(3, 5))
    """)
    assert run.stdout.split() == ["2.0", "4.0"], run.stderr


def test_forked_child_makes_its_own_connection(network, ocean):
    run = network.python("""
        import os, sys, warnings
        warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 warns of any fork beside a thread
        import landbridge as lb
        net = lb.connect()
        assert net.geomar.ocean.mean(1, 3) == 2.0
        pid = os.fork()
        if pid == 0:
            print("child", net.geomar.ocean.mean(3, 5), flush=True)
            os._exit(0)
        assert os.waitpid(pid, 0)[1] == 0
        print("parent", net.geomar.ocean.mean(5, 7))
    """)
    assert run.stdout.splitlines() == ["child 4.0", "parent 6.0"], run.stderr


def test_a_network_that_nobody_holds_disconnects(ocean):
    net = lb.connect()
    link = net._link()
    assert net.geomar.ocean.mean(1, 3) == 2.0
    del net
    gc.collect()
    deadline = time.monotonic() + 10
    while link._connection.connected and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not link._connection.connected


def test_a_generator_that_reuses_its_buffer_sends_what_it_yielded(network, net):
    network.serve(
        "import numpy as np\n__all__ = ['steps']\n"
        "def steps(n: int):\n    buffer = np.zeros(1000)\n"
        "    for k in range(n):\n        buffer[:] = k\n        yield buffer\n",
        "awi/buffer",
    )
    assert [step[-1] for step in net["awi/buffer"].steps(300)] == [float(k) for k in range(300)]


def test_an_array_may_be_changed_once_start_has_returned(ocean):
    array = np.zeros(500_000)
    calls = []
    for number in range(4):
        array[:] = number
        calls.append(ocean.echo.start(array))
    array[:] = -1
    assert [call.result()[-1] for call in calls] == [0.0, 1.0, 2.0, 3.0]


def test_several_backends_share_the_calls_and_each_runs_in_one(network, net, ocean):
    network.serve(OCEAN, "geomar/ocean")
    calls = [ocean.who() for _ in range(200)]
    by_process = [sum(pid == call[2] for call in calls) for pid in {call[2] for call in calls}]
    assert len(by_process) == 2
    assert min(by_process) > 20


def test_members_of_a_module_are_asked_for_again_when_a_newer_backend_starts(network):
    old = network.serve("__all__ = ['one']\ndef one(): return 1\n", "gfz/newer")
    with lb.connect() as net:
        module = net.gfz.newer
        assert dir(module) == ["one"]
        old.stop()
        network.serve("__all__ = ['one', 'two']\ndef one(): return 1\ndef two(): return 2\n", "gfz/newer")
        deadline = time.monotonic() + 10
        while "two" not in dir(module) and time.monotonic() < deadline:
            time.sleep(0.02)
        assert module.two() == 2


def test_modules_that_appear_later_become_attributes(network, net, ocean):
    network.serve("__all__ = ['one']\ndef one(): return 1\n", "iow/late")
    deadline = time.monotonic() + 10
    while not hasattr(net, "iow") and time.monotonic() < deadline:
        time.sleep(0.02)
    assert net.iow.late.one() == 1
    assert "iow" in dir(net)
    assert dir(net.iow) == ["late"]
