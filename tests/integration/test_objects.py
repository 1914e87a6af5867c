"""Objects of remote classes: they live at one backend, for their caller alone, until nobody holds them."""

from __future__ import annotations

import asyncio
import copy
import gc
import json
import os
import pickle
import secrets
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import landbridge as lb
from integration.identity.attacker import RawClient
from landbridge.backend.objects import OBJECTS_EACH
from landbridge.hub import mint
from landbridge.protocol import RELEASE
from landbridge.settings import local_dir, running_broker

SOURCE = '''
"""Grids."""

import asyncio
import os
import threading
import time
import weakref

import landbridge as lb

__all__ = ["Grid", "alive", "mean"]
ALIVE = weakref.WeakSet()


class Grid:
    """A grid of equal steps.

    Parameters
    ----------
    step : float
        In degrees.
    """

    def __init__(self, step: float = 1.0) -> None:
        if step <= 0:
            raise ValueError("step must be positive")
        self.step, self.count, self.inside, self.most = step, 0, 0, 0
        ALIVE.add(self)

    def cells(self, width: float) -> int:
        """How many cells there are in a width."""
        self.count += 1
        return int(width / self.step)

    async def used(self) -> int:
        return self.count

    def each(self, n: int):
        for i in range(n):
            yield i * self.step

    async def each_soon(self, n: int):
        for i in range(n):
            await asyncio.sleep(0)
            yield i * self.step

    def crowd(self, seconds: float) -> int:
        """The most that have ever run this at a time."""
        self.inside += 1
        self.most = max(self.most, self.inside)
        time.sleep(seconds)
        self.inside -= 1
        return self.most

    def apply(self, f):
        return f(self.step)

    def total(self, values) -> float:
        return float(values.sum())

    def say(self):
        print("step", self.step)

    def where(self) -> int:
        return os.getpid()

    def wait(self, seconds: float) -> float:
        time.sleep(seconds)
        return self.step

    @staticmethod
    def default() -> float:
        return 1.0

    @classmethod
    def kind(cls) -> str:
        return cls.__name__

    def _private(self):
        return "not for others"


def alive(step: float) -> int:
    """How many grids of this step there are."""
    return sum(grid.step == step for grid in ALIVE)

def mean(values: list[float]) -> float:
    return sum(values) / len(values)
'''


@pytest.fixture(scope="module")
def grids(network, net):
    network.serve(SOURCE, "geomar/grids", "--share", "awi/*")
    return net["geomar/grids"]


def until(true, timeout_s: float = 30) -> None:
    """Wait until something that nobody tells of is so."""
    deadline = time.monotonic() + timeout_s
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_an_object_has_its_state_over_calls_and_each_its_own(grids):
    fine, coarse = grids.Grid(0.5), grids.Grid(step=2.0)
    assert [fine.cells(10), fine.cells(20), coarse.cells(10)] == [20, 40, 5]
    assert (fine.used(), coarse.used()) == (2, 1)
    assert grids.Grid().used() == 0


def test_it_looks_like_the_class_and_the_object(grids):
    grid = grids.Grid(0.5)
    assert str(grids.Grid.__signature__) == "(step: float = 1.0)"
    assert "A grid of equal steps." in grids.Grid.__doc__
    assert "In degrees." in grids.Grid.__doc__
    assert grids.Grid.__name__ == type(grid).__name__ == "Grid"
    assert [name for name in dir(grid) if not name.startswith("_")] == dir(grid)
    assert {"cells", "used", "each", "default"} <= set(dir(grid))
    assert "How many cells" in grid.cells.__doc__
    assert "geomar/grids.Grid" in repr(grid)
    with pytest.raises(AttributeError):
        grid.no_such_method  # noqa: B018 - to look it up is the test
    with pytest.raises(AttributeError):
        grid._private  # noqa: B018 - to look it up is the test


def test_streams_coroutines_functions_and_output_of_objects(grids, capsys):
    grid = grids.Grid(0.5)
    assert list(grid.each(3)) == [0.0, 0.5, 1.0]
    assert list(grid.each_soon(3)) == [0.0, 0.5, 1.0]
    assert grid.apply(lambda step: step * 100) == 50.0
    assert grid.cells.start(4.0).result() == 8
    assert grid.total(np.ones(1_000_000)) == 1e6  # too long for one message
    assert list(grid.cells.map([1, 2, 3])) == [2, 4, 6]
    grid.say.options(logs=True)()
    assert capsys.readouterr().out == "step 0.5\n"


def test_static_and_class_methods_need_no_object(grids):
    assert (grids.Grid.default(), grids.Grid.kind()) == (1.0, "Grid")
    grid = grids.Grid(2.0)
    assert (grid.default(), grid.kind()) == (1.0, "Grid")
    with pytest.raises(AttributeError):
        grids.Grid.cells  # noqa: B018 - to look it up is the test


def test_what_is_wrong_with_an_object_is_said_as_at_home(grids):
    with pytest.raises(ValueError, match="step must be positive") as caught:
        grids.Grid(-1.0)
    assert isinstance(caught.value, lb.RemoteError)
    with pytest.raises(lb.InvalidArguments, match="step"):
        grids.Grid("fine")
    grid = grids.Grid(1.0)
    with pytest.raises(lb.InvalidArguments, match="width"):
        grid.cells("wide")
    with pytest.raises(lb.CannotTravel):
        grids.mean([grid])


def test_one_plain_method_of_an_object_runs_at_a_time_and_others_beside_it(grids):
    grid, other = grids.Grid(), grids.Grid()
    calls = [grid.crowd.start(0.02) for _ in range(8)]
    assert other.cells(1.0) == 1
    assert grid.used() == 0  # a coroutine does not wait for its turn
    assert [call.result() for call in calls] == [1] * 8


def test_an_object_lives_until_its_block_ends(grids):
    with grids.Grid(1.6) as grid:
        assert grid.cells(8) == 5
        assert grids.alive(1.6) == 1
    until(lambda: grids.alive(1.6) == 0)
    with pytest.raises(lb.ObjectGone, match="cells was called is no longer there") as caught:
        grid.cells(8)
    assert isinstance(caught.value, ReferenceError)


def test_an_object_lives_until_nobody_holds_it(grids):
    held = [grids.Grid(1.7) for _ in range(10)]
    assert grids.alive(1.7) == 10
    del held
    until(lambda: grids.alive(1.7) == 0)


def test_whoever_holds_a_method_holds_its_object(grids):
    # Not within an assert, which would hold the object itself.
    once = grids.Grid(1.8).cells(18)
    items = list(grids.Grid(1.8).each(2))
    waited = grids.Grid(1.8).wait.start(0.05)
    assert (once, items, waited.result()) == (10, [0.0, 1.8], 1.8)
    until(lambda: grids.alive(1.8) == 0)
    cells = grids.Grid(1.8).cells
    assert [cells(18), cells.options(timeout_s=60)(18)] == [10, 10]
    assert grids.alive(1.8) == 1
    del cells
    until(lambda: grids.alive(1.8) == 0)


def test_objects_belong_to_this_process(grids):
    grid = grids.Grid()
    for what in (grid, grid.cells):
        with pytest.raises(TypeError, match=r"lives at its backend|belongs to an object"):
            pickle.dumps(what)
    assert copy.copy(grid.cells) is grid.cells
    pid = os.fork()
    if not pid:
        del grid  # in the child: it is its parent's
        gc.collect()
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
    assert grid.cells(1.0) == 1


def test_one_caller_has_so_many_objects(grids):
    with lb.connect(profile="awi/greedy") as net:
        remote = net["geomar/grids"]
        held = [remote.Grid() for _ in range(OBJECTS_EACH)]
        with pytest.raises(lb.Busy, match="awi/greedy has 100 objects"):
            remote.Grid()
        assert grids.Grid(0.5).cells(1.0) == 2
        del held[0]
        gc.collect()
        until(lambda: can_make(remote))


def can_make(remote) -> bool:
    try:
        remote.Grid()
    except lb.Busy:
        return False
    return True


def test_nobody_else_can_use_or_release_an_object(grids):
    with lb.connect(profile="awi/anna") as hers, lb.connect(profile="awi/bob") as his:
        grid, other = hers["geomar/grids"].Grid(0.5), his["geomar/grids"].Grid(2.0)
        handle = grid._handle
        other.cells._handle = handle  # he knows where it is
        with pytest.raises(lb.ObjectGone):
            other.cells(10)
        done = threading.Event()
        loop = his._link()._loop
        loop.call_soon_threadsafe(lambda: (his._link().tell(handle, RELEASE), done.set()))
        assert done.wait(20)
        assert other.used() == 0  # behind the release
        assert grid.cells(10) == 20


def test_the_broker_lets_nobody_call_in_the_name_of_another(grids):
    with lb.connect(profile="awi/anna") as hers:
        grid = hers["geomar/grids"].Grid(0.5)
        handle = grid._handle
        credentials = asyncio.run(mint(local_dir(), "awi", "bob", (), now=int(time.time()), random=secrets.token_bytes))
        bob = RawClient.of(running_broker().url, credentials)
        try:
            where = f"geomar.grids.{handle.instance}.object.{handle.object_id}.{RELEASE}"
            assert bob.refuses_publish(f"lb.ctl.awi.anna.{where}")
            assert not bob.refuses_publish(f"lb.ctl.awi.bob.{where}")
        finally:
            bob.close()
        assert grid.cells(10) == 20


def test_objects_of_a_backend_that_was_killed_or_stopped_are_gone(network, net):
    process = network.serve(SOURCE, "geomar/fragile")
    remote = net["geomar/fragile"]
    grid = remote.Grid(0.5)
    call = grid.wait.start(600.0)
    assert grid.used() == 0
    os.kill(process.pid, signal.SIGKILL)
    assert process.next_line()["event"] == "restarted"
    with pytest.raises(lb.CallLost):
        call.result(timeout=60)
    with pytest.raises(lb.ObjectGone, match="Make a new one"):
        grid.cells(1.0)
    again = remote.Grid(0.5)
    assert again.cells(1.0) == 2
    assert process.stop() == 0
    with pytest.raises(lb.ObjectGone, match="its backend has gone"):
        again.cells(1.0)


def test_an_object_stays_at_the_backend_that_made_it(network, net):
    processes = [network.serve(SOURCE, "geomar/twice") for _ in range(2)]
    remote = net["geomar/twice"]
    held = [remote.Grid() for _ in range(20)]
    places = [grid.where() for grid in held]
    assert set(places) == {process.pid for process in processes}
    assert [grid.where() for grid in held] == places


def test_with_asyncio(grids):
    async def main():
        async with lb.AsyncNetwork() as net:
            remote = net["geomar/grids"]
            grid = await remote.Grid(0.25)
            assert await grid.cells(2.0) == 8
            assert await grid.used() == 1
            assert [item async for item in grid.each(3)] == [0.0, 0.25, 0.5]
            assert await grid.default() == 1.0
            once = await (await remote.Grid(0.25)).cells(2.0)  # not within an assert, which would hold the object
            assert once == 8
            async with await remote.Grid(0.25) as other:
                assert await other.cells(2.0) == 8
            with pytest.raises(lb.ObjectGone):
                await other.cells(1.0)
            with pytest.raises(ValueError, match="step must be positive"):
                await remote.Grid(-1.0)
            making = remote.Grid(0.25)
            assert await making is await making
            del making
            del grid, other
            gc.collect()
            while await remote.alive(0.25):
                await asyncio.sleep(0.01)

    asyncio.run(asyncio.wait_for(main(), 60))


def test_imported_as_a_class(network, grids):
    run = network.python("""
        from landbridge.remote.geomar.grids import Grid, mean
        with Grid(0.5) as grid:
            print(grid.cells(10), list(grid.each(2)), Grid.default(), mean([1.0, 2.0]))
    """)
    assert run.stdout == "20 [0.0, 0.5] 1.0 1.5\n", run.stderr


def test_described_in_a_shell(network, grids):
    run = network.run("describe", "geomar/grids")
    assert run.returncode == 0, run.stderr
    assert "Grid" in run.stdout
    assert "A grid of equal steps." in run.stdout
    run = network.run("describe", "geomar/grids.Grid")
    assert run.returncode == 0, run.stderr
    assert run.stdout.startswith("class geomar/grids.Grid(step")
    for said in ("In degrees.", ".cells(width", "How many cells there are in a width.", ".default()"):
        assert said in run.stdout
    run = network.run("describe", "geomar/grids.Grid", "--json")
    assert json.loads(run.stdout)["name"] == "Grid"
    assert repr(grids) == "<landbridge module geomar/grids: alive, mean, Grid>"


def test_many_threads_make_and_use_objects(grids):
    def use(number: int) -> int:
        with grids.Grid(1.0 / number) as grid:
            return sum(grid.cells(1.0) for _ in range(5))

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(use, range(1, 33))) == [5 * int(1.0 / (1.0 / number)) for number in range(1, 33)]


SLOW = '''
import os
import threading
import time

import landbridge as lb

__all__ = ["Slow", "alive"]
COUNTS = {"alive": 0}


class Slow:
    """Takes its time to come and to go."""

    def __init__(self, made: str, seconds: float) -> None:
        COUNTS["alive"] += 1
        open(made, "w").close()
        self.seconds = seconds
        time.sleep(seconds)

    def __del__(self) -> None:
        time.sleep(self.seconds)
        COUNTS["alive"] -= 1


def alive() -> int:
    return COUNTS["alive"]


@lb.method(concurrency=1)
class Inside:
    """How many are inside at a time, of all objects together."""

    now = 0

    def enter(self) -> int:
        Inside.now += 1
        time.sleep(0.02)
        inside, Inside.now = Inside.now, Inside.now - 1
        return inside
'''


def test_an_object_whose_constructor_was_cancelled_goes_and_nobody_waits_for_that(network, net, tmp_path):
    network.serve(SLOW, "geomar/slow")

    async def cancelled():
        async with lb.AsyncNetwork() as net:
            remote = net["geomar/slow"]
            making = asyncio.ensure_future(remote.Slow(str(tmp_path / "made"), 1.0))
            while not (tmp_path / "made").exists():
                await asyncio.sleep(0.01)
            making.cancel()
            await asyncio.wait([making])
            assert await remote.alive() == 1

    asyncio.run(cancelled())
    until(lambda: net["geomar/slow"].alive() == 0)


def test_the_limit_of_a_class_holds_for_all_its_objects_together(network, net):
    remote = net["geomar/slow"]
    objects = [remote.Inside() for _ in range(4)]
    calls = [each.enter.start() for each in objects for _ in range(3)]
    assert [call.result() for call in calls] == [1] * 12


def test_a_backend_that_finds_the_broker_again_later_than_its_callers_is_waited_for_with_its_objects(own_network):
    process = own_network.serve(SOURCE, "awi/grids")
    with lb.connect() as net:
        grids = net.awi.grids
        grid = grids.Grid(2.0)
        assert grid.cells(10.0) == 5
        process.signal(signal.SIGSTOP)
        try:
            own_network.kill_broker()
            until(lambda: not net._link()._connection.connected)
            until(lambda: net._link()._connection.connected)
            calls = [grid.cells.start(8.0), grids.mean.start([1.0, 3.0])]
            time.sleep(5.0)  # longer than a backend is given that was started anew
            assert [call.state for call in calls] == ["running", "running"]
        finally:
            process.signal(signal.SIGCONT)
        assert [call.result(timeout=30) for call in calls] == [4, 2.0]
        assert grid.cells.start(6.0).result(timeout=30) == 3
