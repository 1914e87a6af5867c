"""Who runs when there is not room for all: limits of the owner, queues that can be seen, turns between callers."""

from __future__ import annotations

import asyncio
import secrets
import time

import pytest

import landbridge as lb

SOURCE = '''
import asyncio
import os
import time
from pathlib import Path

import landbridge as lb


def crowd(folder: str, seconds: float) -> int:
    """How many run this in the same folder now, whatever the process; the first waits for company once."""
    mine = Path(folder, os.urandom(8).hex())
    mine.touch()
    inside = len(os.listdir(folder))
    met = Path(folder + ".met")
    if inside > 1:
        met.touch()
    deadline = time.monotonic() + 30  # a second worker may take its time to start
    while not met.exists() and time.monotonic() < deadline:
        time.sleep(0.005)
    time.sleep(seconds)
    mine.unlink()
    return inside

two = lb.method(concurrency=2)

@two
def plain(folder: str) -> int:
    return crowd(folder, 0.02)

@two
async def coroutine(folder: str) -> int:
    return await asyncio.to_thread(crowd, folder, 0.02)

@two
def stream(folder: str):
    yield crowd(folder, 0.02)

@lb.method(concurrency=2, process=True)
def apart(folder: str) -> int:
    return crowd(folder, 0.02)


def note(name: str, folder: str) -> str:
    """Write down that it is this one's turn, and wait until all may go."""
    with open(Path(folder, "order"), "a") as order:
        order.write(name + chr(10))
    while not Path(folder, "go").exists():
        time.sleep(0.005)
    return name

@lb.method(concurrency=1, queue=200)
def one(name: str, folder: str) -> str:
    return note(name, folder)

@lb.method(concurrency=1, queue=1)
def narrow(name: str, folder: str) -> str:
    return note(name, folder)

@lb.method(concurrency=1, queue=200, timeout_s=1)
def brief(name: str, folder: str) -> str:
    return note(name, folder)

@lb.method
def threads(name: str, folder: str) -> str:
    return note(name, folder)

@lb.method(process=True)
def workers(name: str, folder: str) -> str:
    return note(name, folder)

@lb.method
def free(x: int) -> int:
    return x
'''


@pytest.fixture(scope="module")
def turns(network, net):
    network.serve(SOURCE, "awi/turns", "--share", "*/*", "--workers", "2")
    return net["awi/turns"]


class Folder:
    """Where methods write down their turns, and look whether they may go on."""

    def __init__(self, path) -> None:
        self._path = path

    def __str__(self) -> str:
        return str(self._path)

    def order(self) -> list[str]:
        try:
            return (self._path / "order").read_text().split()
        except FileNotFoundError:
            return []

    def go(self) -> None:
        (self._path / "go").touch()


@pytest.fixture
def folder(tmp_path):
    folder = Folder(tmp_path)
    yield folder
    folder.go()  # whatever a test leaves behind ends


def until(true, timeout_s: float = 60) -> None:
    """Wait until something that nobody tells of is so."""
    deadline = time.monotonic() + timeout_s
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.parametrize("method", ["plain", "coroutine", "stream", "apart"])
def test_no_more_run_than_the_owner_lets(turns, tmp_path, method):
    calls = [getattr(turns, method).start(str(tmp_path)) for _ in range(12)]
    inside = [next(iter(call)) if method == "stream" else call.result() for call in calls]
    assert max(inside) == 2
    assert len(inside) == 12


def test_a_call_is_told_its_place_in_the_queue(turns, folder):
    calls = [turns.one.start(str(number), str(folder)) for number in range(5)]
    until(lambda: [call.queue_place for call in calls] == [0, 1, 2, 3, 4])
    assert turns.free(7) == 7  # other methods do not wait
    folder.go()
    assert [call.result() for call in calls] == ["0", "1", "2", "3", "4"]
    assert folder.order() == ["0", "1", "2", "3", "4"]


def test_an_asyncio_call_is_told_its_place_too(turns, folder):
    async def main():
        async with lb.AsyncNetwork() as net:
            one = net["awi/turns"].one
            first = one("first", str(folder))
            second = one("second", str(folder))
            while second.queue_place != 1:
                await asyncio.sleep(0.01)
            folder.go()
            return [await first, await second]

    assert asyncio.run(asyncio.wait_for(main(), 60)) == ["first", "second"]


def test_who_finds_the_queue_full_waits_by_itself_and_says_so(turns, folder):
    calls = [turns.narrow.start(str(number), str(folder)) for number in range(4)]
    until(lambda: sum(call.notice.startswith("busy: ") for call in calls) == 2)
    notice = next(call.notice for call in calls if call.notice)
    assert "its owner lets 1 of its calls run at a time, and 1 wait" in notice
    assert "trying again in" in notice
    assert not any(call.done() for call in calls)
    folder.go()
    assert [call.result(timeout=100) for call in calls] == ["0", "1", "2", "3"]
    assert sorted(folder.order()) == ["0", "1", "2", "3"]
    assert [call.notice for call in calls] == [""] * 4


def test_who_may_not_wait_so_long_is_told_at_once_that_it_is_busy(turns, folder):
    calls = [turns.narrow.start(str(number), str(folder)) for number in range(2)]
    until(lambda: calls[1].queue_place == 1)
    with pytest.raises(lb.Busy) as caught:
        turns.narrow.options(timeout_s=0.1)("late", str(folder))
    assert caught.value.retry_after_s > 0.1
    folder.go()
    assert [call.result() for call in calls] == ["0", "1"]
    assert "late" not in folder.order()


def test_cancelling_a_call_that_waits_stops_it_before_it_has_run(turns, folder):
    calls = [turns.one.start(str(number), str(folder)) for number in range(4)]
    until(lambda: calls[3].queue_place == 3)
    assert calls[1].cancel() == "stopped"
    until(lambda: calls[3].queue_place == 2)
    folder.go()
    assert [calls[number].result() for number in (0, 2, 3)] == ["0", "2", "3"]
    with pytest.raises(lb.CallCancelled, match="has stopped"):
        calls[1].result()
    assert folder.order() == ["0", "2", "3"]


def test_cancelling_a_call_that_waits_to_try_again_stops_it(turns, folder):
    calls = [turns.narrow.start(str(number), str(folder)) for number in range(3)]
    until(lambda: any(call.notice for call in calls))
    refused = next(call for call in calls if call.notice)
    assert refused.cancel() == "stopped"
    folder.go()
    assert len([call.result() for call in calls if call is not refused]) == 2
    assert len(folder.order()) == 2


def test_a_time_limit_passes_while_waiting_too(turns, folder):
    first = turns.one.start("first", str(folder))
    until(folder.order)
    with pytest.raises(lb.CallTimeout):
        turns.one.options(timeout_s=0.3)("late", str(folder))
    folder.go()
    assert first.result() == "first"
    assert turns.one("last", str(folder)) == "last"
    assert folder.order() == ["first", "last"]


def test_the_owners_time_limit_is_of_the_waiting_too(turns, folder):
    calls = [turns.brief.start(str(number), str(folder)) for number in range(3)]
    for call in calls:
        with pytest.raises(lb.CallTimeout, match="its owner limits"):
            call.result(timeout=60)
    folder.go()
    assert folder.order() == ["0"]


@pytest.mark.parametrize(("method", "at_once"), [("one", 1), ("threads", 16), ("workers", 2)])
def test_a_flood_of_one_caller_does_not_keep_another_behind_all_of_it(turns, folder, method, at_once):
    with lb.connect(profile="gfz/flood") as theirs, lb.connect(profile="awi/anna") as hers:
        flood = [getattr(theirs["awi/turns"], method).start(f"f{number}", str(folder)) for number in range(60)]
        until(lambda: len(folder.order()) == at_once)
        until(lambda: any(call.queue_place for call in flood))
        call = getattr(hers["awi/turns"], method).start("hers", str(folder))
        until(lambda: call.queue_place)
        assert call.queue_place <= 2
        folder.go()
        assert call.result() == "hers"
        assert [each.result() for each in flood] == [f"f{number}" for number in range(60)]
        if at_once == 1:  # of several that go on at the same time, the system may let the first be the last to write
            assert folder.order().index("hers") <= at_once + 2


def test_one_caller_takes_no_more_than_half_of_a_queue(turns, folder):
    with lb.connect(profile="gfz/flood") as theirs, lb.connect(profile="awi/anna") as hers:
        flood = [theirs["awi/turns"].one.start(f"f{number}", str(folder)) for number in range(120)]
        until(lambda: sum(call.notice.startswith("busy: ") for call in flood) == 19)
        call = hers["awi/turns"].one.start("hers", str(folder))
        until(lambda: call.queue_place)
        assert call.notice == ""
        for each in flood[1:]:
            each._request_cancel()
        folder.go()
        assert call.result() == "hers"


def test_whoever_leaves_does_not_keep_its_place(turns, folder):
    first = turns.one.start("first", str(folder))
    until(folder.order)
    with lb.connect(profile=f"gfz/g{secrets.token_hex(4)}") as net:
        left = [net["awi/turns"].one.start("left", str(folder)) for _ in range(3)]
        until(lambda: left[2].queue_place)
    last = turns.one.start("last", str(folder))
    until(lambda: last.queue_place == 1)
    folder.go()
    assert [first.result(), last.result()] == ["first", "last"]
    assert folder.order() == ["first", "last"]
