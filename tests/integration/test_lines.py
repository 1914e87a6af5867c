"""Lines that are cut and processes that are killed: what was accepted arrives whole, and nothing runs twice unasked."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest

import landbridge as lb
from chaos.proxy import Line
from landbridge.settings import running_broker

SOURCE = '''
import sys
import time
import zlib
from pathlib import Path

import numpy as np

import landbridge as lb

sys.modules["numcodecs"] = None  # so that as much is on the line as the tests count on
RUNS = {}


def ran(name: str) -> None:
    RUNS[name] = RUNS.get(name, 0) + 1

@lb.method
def add(a: int, b: int) -> int:
    return a + b

@lb.method
def runs(name: str) -> int:
    return RUNS.get(name, 0)

def held(folder: str) -> int:
    """Say in a file that it runs, wait for another one, and return how often this has been run."""
    folder = Path(folder)
    with open(folder / "runs", "a") as runs:
        runs.write("x")
    while not (folder / "go").exists():
        time.sleep(0.005)
    return len((folder / "runs").read_text())

@lb.method
def hold(folder: str) -> int:
    return held(folder)

@lb.method(idempotent=True)
def hold_again(folder: str) -> int:
    return held(folder)

@lb.method
def result(name: str, n: int):
    ran(name)
    return np.arange(n, dtype=np.float64)

@lb.method(process=True)
def result_apart(n: int):
    return np.arange(n, dtype=np.float64)

@lb.method
def argument(name: str, value) -> int:
    ran(name)
    return zlib.crc32(value)

@lb.method
def stream(name: str, n: int, size: int):
    ran(name)
    for i in range(n):
        yield np.full(size, float(i))

@lb.method
def ask(name: str, f, n: int) -> list:
    ran(name)
    return [f(i) for i in range(n)]

@lb.method(idempotent=True)
def ask_again(folder: str, f) -> list:
    with open(Path(folder, "runs"), "a") as runs:
        runs.write("x")
    run = len(Path(folder, "runs").read_text())
    return [f(f"run {run}"), f("last")]

@lb.method
class Box:
    def __init__(self) -> None:
        self.opened = 0

    def hold(self, folder: str) -> int:
        self.opened += held(folder)
        return self.opened
'''


class Watched(Line):
    """A line that does something once so many bytes have passed."""

    def __init__(self, broker) -> None:
        super().__init__(broker)
        self._due: list[tuple[int, Callable[[], object]]] = []
        self._passed = 0

    def after(self, passed: int, act: Callable[[], object]) -> None:
        """Call `act` once so many further bytes have passed."""
        self._due.append((self._passed + passed, act))

    async def permit(self, size: int, due: float) -> None:
        await super().permit(size, due)
        self._passed += size
        ready = [act for at, act in self._due if at <= self._passed]
        self._due = [(at, act) for at, act in self._due if at > self._passed]
        for act in ready:
            act()


class Ways:
    """Lines in a loop of their own thread."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._lines: list[Watched] = []

    def line(self) -> Watched:
        line = Watched(broker)
        self._lines.append(line)
        self.call(line.open())
        return line

    def call(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(20)

    def do(self, function: Callable[..., object], *args) -> None:
        """Call a function of a line in its loop, and wait until it has been."""

        async def act():
            function(*args)

        self.call(act())

    def break_off(self, line: Line) -> None:
        """Cut a line, and let nobody in until it is healed."""
        line.refusing = True
        self.do(line.cut)

    def heal(self) -> None:
        for line in self._lines:
            self.do(line.heal)

    def close(self) -> None:
        for line in self._lines:
            self.call(line.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()


def broker() -> tuple[str, int] | None:
    running = running_broker()
    where = urlsplit(running.url) if running is not None else None
    return None if where is None else (where.hostname, where.port)


@pytest.fixture(scope="module")
def ways(network):
    ways = Ways()
    yield ways
    ways.close()


@pytest.fixture(autouse=True)
def healed(ways):
    """Whatever a test leaves behind, the next one finds lines that are whole."""
    yield
    ways.heal()


@pytest.fixture(scope="module")
def callers_line(ways):
    return ways.line()


@pytest.fixture(scope="module")
def backends_line(ways):
    return ways.line()


@pytest.fixture(scope="module")
def remote(network, callers_line):
    """A module whose caller comes through a line."""
    network.serve(SOURCE, "awi/near")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LANDBRIDGE_URL", callers_line.url)
        net = lb.connect()
    with net:
        yield net["awi/near"]


@pytest.fixture(scope="module")
def far(network, net, backends_line):
    """A module whose backend comes through a line."""
    network.serve(SOURCE, "awi/far", LANDBRIDGE_URL=backends_line.url)
    return net["awi/far"]


@pytest.fixture(params=["the caller's", "the backend's"])
def whose(request):
    """A module, and the line that its caller or its backend comes through."""
    if request.param == "the caller's":
        return request.getfixturevalue("remote"), request.getfixturevalue("callers_line")
    return request.getfixturevalue("far"), request.getfixturevalue("backends_line")


def until(true, timeout_s: float = 60) -> None:
    """Wait until something that nobody tells of is so."""
    deadline = time.monotonic() + timeout_s
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def has_run(folder: Path, times: int = 1) -> bool:
    return (folder / "runs").exists() and len((folder / "runs").read_text()) >= times


def test_a_result_that_was_ready_while_a_line_was_cut_arrives(ways, whose, net, tmp_path):
    module, line = whose
    call = module.hold.start(str(tmp_path))
    until(lambda: has_run(tmp_path))
    ways.break_off(line)
    (tmp_path / "go").touch()
    if module == net["awi/near"]:
        assert [net["awi/near"].add(i, 1) for i in range(5)] == [1, 2, 3, 4, 5]  # it is out before these
    else:
        threading.Event().wait(0.3)  # nobody can ask that backend
    ways.do(line.heal)
    assert call.result(timeout=60) == 1


def test_a_call_of_an_object_outlasts_a_cut(ways, whose, tmp_path):
    module, line = whose
    box = module.Box()
    call = box.hold.start(str(tmp_path))
    until(lambda: has_run(tmp_path))
    ways.break_off(line)
    (tmp_path / "go").touch()
    ways.do(line.heal)
    assert call.result(timeout=60) == 1
    assert box.hold(str(tmp_path)) == 3


CUT_AT = 20_000_000


def test_a_line_cut_in_the_middle_of_a_result(whose):
    module, line = whose
    line.after(CUT_AT, line.cut)
    value = module.result.start("result", 7_500_000).result(timeout=100)
    assert np.array_equal(value, np.arange(7_500_000.0))
    assert module.runs("result") == 1


def test_a_line_cut_in_the_middle_of_a_result_of_a_worker(whose):
    module, line = whose
    line.after(CUT_AT, line.cut)
    value = module.result_apart.start(5_000_000).result(timeout=100)
    assert np.array_equal(value, np.arange(5_000_000.0))


def test_a_line_cut_in_the_middle_of_an_argument(whose):
    module, line = whose
    line.after(CUT_AT, line.cut)
    value = np.arange(7_500_000.0)
    assert module.argument.start("argument", value).result(timeout=100) == zlib.crc32(value)
    assert module.runs("argument") == 1


def test_a_line_cut_again_and_again_in_a_stream_of_large_items(whose):
    module, line = whose
    for times in range(1, 4):
        line.after(times * 12_000_000, line.cut)
    for number, block in enumerate(module.stream("large", 30, 250_000)):
        assert block.size == 250_000
        assert block[0] == block[-1] == number
    assert number == 29
    assert module.runs("large") == 1


def test_a_line_cut_again_and_again_in_a_stream_of_small_items(whose):
    module, line = whose
    for times in range(1, 4):
        line.after(times * 400_000, line.cut)
    items = [block[0] for block in module.stream("small", 2000, 100)]
    assert items == [float(i) for i in range(2000)]
    assert module.runs("small") == 1


def test_a_line_cut_while_the_method_waits_for_a_function(ways, whose):
    module, line = whose
    asked = []

    def f(number: int) -> int:
        asked.append(number)
        if number in (3, 7):
            ways.do(line.cut)
        return number * 10

    assert module.ask.start("ask", f, 12).result(timeout=100) == [number * 10 for number in range(12)]
    assert asked == list(range(12))
    assert module.runs("ask") == 1


def test_a_line_that_stands_still_in_the_middle_of_a_result(whose):
    module, line = whose
    stalled = threading.Event()
    line.after(CUT_AT, lambda: (line.stall(), stalled.set()))
    call = module.result.start("stalled", 7_500_000)
    assert stalled.wait(60)
    assert not call.done()
    line._server.get_loop().call_soon_threadsafe(line.heal)
    assert call.result(timeout=100)[-1] == 7_499_999.0
    assert module.runs("stalled") == 1


def test_a_call_made_while_the_line_is_down_is_answered_when_it_is_back(ways, remote, callers_line):
    assert remote.add(1, 2) == 3
    ways.break_off(callers_line)
    connection = remote._network._link()._connection
    until(lambda: not connection.connected)
    calls = [remote.add.start(number, 1) for number in range(5)]
    large = remote.argument.start("down", np.zeros(1_000_000))
    until(lambda: all(call.notice for call in [*calls, large]))
    assert calls[0].notice == "the broker is away; waiting for it"
    ways.do(callers_line.heal)
    assert [call.result(timeout=60) for call in calls] == [1, 2, 3, 4, 5]
    assert large.result(timeout=60) == zlib.crc32(bytes(8_000_000))
    assert (calls[0].notice, large.notice) == ("", "")
    assert remote.runs("down") == 1


def test_a_call_cancelled_while_the_line_is_down_never_runs(ways, remote, callers_line):
    ways.break_off(callers_line)
    until(lambda: not remote._network._link()._connection.connected)
    call = remote.result.start("never", 1)
    assert call.cancel() == "stopped"
    ways.do(callers_line.heal)
    assert remote.add.start(1, 2).result(timeout=60) == 3
    assert remote.runs("never") == 0


def test_a_broker_killed_in_the_middle_of_large_values(network, whose):
    module, line = whose
    killed = threading.Event()
    line.after(CUT_AT, lambda: (network.kill_broker(), killed.set()))
    value = np.arange(5_000_000.0)
    argument = module.argument.start("broker", value)
    result = module.result.start("broker", 5_000_000)
    assert argument.result(timeout=100) == zlib.crc32(value)
    assert np.array_equal(result.result(timeout=100), value)
    assert killed.is_set()
    assert module.runs("broker") == 2


def test_an_idempotent_method_of_a_killed_backend_is_run_again(network, net, tmp_path):
    process = network.serve(SOURCE, "awi/killed")
    call = net["awi/killed"].hold_again.start(str(tmp_path))
    until(lambda: has_run(tmp_path))
    os.kill(process.pid, signal.SIGKILL)
    assert process.next_line()["event"] == "restarted"
    until(lambda: has_run(tmp_path, 2))
    assert not call.done()
    (tmp_path / "go").touch()
    assert call.result(timeout=60) == 2


@pytest.mark.parametrize("face", ["blocking", "asyncio"])
def test_what_a_function_gives_to_a_run_that_was_lost_is_not_given_to_the_next_one(network, net, tmp_path, face):
    process = network.serve(SOURCE, f"awi/asking_{face}")
    first_asked, first_goes, second_asked = (threading.Event() for _ in range(3))

    def f(text: str) -> str:
        if text == "run 1":
            first_asked.set()
            assert first_goes.wait(60)
        elif face == "asyncio":  # there each question has a thread of its own
            second_asked.set()
        return f"for {text}"

    def disturb() -> None:
        assert first_asked.wait(60)
        os.kill(process.pid, signal.SIGKILL)
        process.next_line()
        until(lambda: has_run(tmp_path, 2))
        if face == "asyncio":
            assert second_asked.wait(60)
        first_goes.set()

    async def awaited() -> list[str]:
        async with lb.AsyncNetwork() as other:
            return await other[f"awi/asking_{face}"].ask_again(str(tmp_path), f)

    thread = threading.Thread(target=disturb)
    thread.start()
    if face == "asyncio":
        given = asyncio.run(asyncio.wait_for(awaited(), 60))
    else:
        given = net[f"awi/asking_{face}"].ask_again.start(str(tmp_path), f).result(timeout=60)
    thread.join(20)
    assert given == ["for run 2", "for last"]


def test_another_method_of_a_killed_backend_is_lost_and_not_run_again(network, net, tmp_path):
    process = network.serve(SOURCE, "awi/lost")
    call = net["awi/lost"].hold.start(str(tmp_path))
    until(lambda: has_run(tmp_path))
    os.kill(process.pid, signal.SIGKILL)
    with pytest.raises(lb.CallLost, match="may have run"):
        call.result(timeout=60)
    assert net["awi/lost"].add(1, 2) == 3
    assert (tmp_path / "runs").read_text() == "x"


def test_what_is_kept_for_lines_that_are_down_is_bounded(network, net):
    process = network.serve(SOURCE, "awi/bounded", LANDBRIDGE_MEMORY_BYTES="100000000")
    bounded = net["awi/bounded"]
    bounded.add(1, 2)
    before = resident(process.pid)
    for _ in bounded.result.map(["kept"] * 2000, [12_500] * 2000):
        pass
    # 64 MB are kept of 200; gaps between values, and what is on its way on a busy machine, come on top.
    assert resident(process.pid) - before < 64 * 2**20 + 80 * 2**20
    assert bounded.runs("kept") == 2000


def resident(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096
