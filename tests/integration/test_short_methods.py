"""Short functions run in the thread that reads the connection; one that is short no longer keeps nobody waiting."""

from __future__ import annotations

import json
import time

import pytest

import landbridge as lb
from network import Network

SOURCE = """
import os, sys, threading, time
from collections.abc import Callable
import landbridge as lb

def where() -> str:
    "Return the thread that runs this."
    return threading.current_thread().name

def waits(file: str) -> str:
    "Sleep as long as there is a file."
    while os.path.exists(file):
        time.sleep(0.002)
    return where()

def computes(file: str) -> str:
    "Keep Python busy as long as there is a file."
    while os.path.exists(file):
        sum(range(1000))
    return where()

def until_cancelled(file: str) -> str:
    "Run until it is cancelled, if there is a file."
    while os.path.exists(file) and not lb.current_call().cancelled:
        time.sleep(0.002)
    return where()

def asks(function: Callable[[int], int], number: int) -> list:
    "Ask the caller, if the number is not 0."
    return [function(number) if number else 0, where()]

def fails(how: str) -> str:
    "End in another way than by returning."
    if how == "exit":
        sys.exit(3)
    if how == "interrupt":
        raise KeyboardInterrupt
    if how:
        raise ValueError(how)
    return where()

def prints(text: str) -> str:
    "Print a text."
    print(text)
    return where()

def threads() -> list:
    "Return the names of all threads."
    return [thread.name for thread in threading.enumerate()]

def size_of(data: bytes) -> list:
    "Return how much came."
    return [len(data), where()]

def items(n: int):
    "Give numbers."
    yield from range(n)

__all__ = ["where", "waits", "computes", "until_cancelled", "asks", "fails", "prints", "threads", "size_of", "items"]
"""
READS = "landbridge-reading"


@pytest.fixture(scope="module")
def backend(network: Network):
    return network.serve(SOURCE, "awi/short")


@pytest.fixture
def short(net, backend):
    return net.awi.short


def made_short(method, *arguments) -> None:
    """Call a method until it runs in the thread that reads: when it is known to be short, and nothing else waits."""
    deadline = time.monotonic() + 60
    while True:
        found = method(*arguments)
        if (found[-1] if isinstance(found, list) else found) == READS:
            return
        assert time.monotonic() < deadline


def test_what_is_known_to_be_short_runs_where_it_is_read(short):
    made_short(short.where)


def test_what_takes_long_runs_elsewhere_from_then_on(short, tmp_path):
    made_short(short.waits, "")
    (file := tmp_path / "busy").touch()
    call = short.waits.start(str(file))
    short.where()
    file.unlink()
    assert call.result(60) == READS
    # It was long, so another thread runs it, and it is short again.
    assert short.waits("") != READS
    made_short(short.waits, "")


@pytest.mark.parametrize("how", ["waits", "computes"])
def test_others_are_served_while_what_was_short_takes_long(short, tmp_path, how):
    method = getattr(short, how)
    for number in range(10):
        made_short(method, "")
        (file := tmp_path / str(number)).touch()
        call = method.start(str(file))
        for _ in range(20):
            assert short.where()
        assert list(short.items(5)) == [0, 1, 2, 3, 4]
        assert not call.done()
        file.unlink()
        assert call.result(60) == READS


def test_a_call_that_came_together_with_a_long_one_does_not_wait_for_it(short, tmp_path):
    made_short(short.waits, "")
    made_short(short.where)
    (file := tmp_path / "busy").touch()
    # Written together, so that they are read together.
    calls = [short.waits.start(str(file)), *(short.where.start() for _ in range(50))]
    for call in calls[1:]:
        assert call.result(60)
    assert not calls[0].done()
    file.unlink()
    assert calls[0].result(60)


def test_what_is_short_does_not_wait_until_what_takes_long_has_ended(short, tmp_path):
    made_short(short.where)
    made_short(short.waits, "")
    (file := tmp_path / "busy").touch()
    calls = [short.waits.start(str(file)) for _ in range(40)]
    waiting, deadline = short.prints.start("what is not known to be short"), time.monotonic() + 60
    while not waiting.queue_place:  # behind those that came before it
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert [short.where() for _ in range(10)] == [READS] * 10
    assert not any(call.done() for call in calls)
    assert sum(not call.queue_place for call in calls) <= 17  # as many as run in the pool, and the one that was short
    file.unlink()
    for call in [*calls, waiting]:
        assert call.result(60)
    # Two threads look after the connection, whatever has become of those that did before.
    while (names := short.threads()).count(READS) > 2:
        assert time.monotonic() < deadline
    assert len(names) < 30


def test_what_was_short_is_cancelled_like_anything_else(short, tmp_path):
    (file := tmp_path / "busy").touch()
    for _ in range(5):
        made_short(short.until_cancelled, "")
        call = short.until_cancelled.start(str(file))
        short.where()
        assert call.cancel() == "stopped"


def test_what_was_short_may_ask_its_caller(short):
    for number in range(1, 6):
        made_short(short.asks, lambda number: number, 0)
        assert short.asks(lambda number: number * 2, number)[0] == number * 2


@pytest.mark.parametrize("how", ["exit", "interrupt", "a reason"])
def test_whatever_a_short_one_raises_ends_its_call_alone(short, how):
    for _ in range(3):
        made_short(short.fails, "")
        with pytest.raises(lb.RemoteError):
            short.fails(how)
    made_short(short.fails, "")


def test_what_a_short_one_prints_goes_to_its_caller(short):
    made_short(short.prints, "nothing")
    call = short.prints.options(logs=True).start("to you")
    call.result(60)
    assert [text for _, text in call.log_lines] == ["to you\n"]


def test_long_arguments_are_not_taken_for_short(short):
    made_short(short.size_of, b"")
    for size in (500_000, 5_000_000):
        came, where = short.size_of(bytes(size))
        assert came == size
        assert where != READS
        made_short(short.size_of, b"")


def test_it_reads_on_from_a_broker_that_was_started_again(own_network, tmp_path):
    own_network.serve(SOURCE, "awi/short")
    with lb.connect() as net:
        short = net.awi.short
        for _ in range(3):
            made_short(short.waits, "")
            (file := tmp_path / "busy").touch()
            call = short.waits.start(str(file))
            short.where()
            own_network.kill_broker()
            while net._link()._connection.connected:  # what was sent now would go into a socket that has ended
                time.sleep(0.001)
            short.where()
            file.unlink()
            assert call.result(60) == READS
            made_short(short.where)


def test_it_ends_in_order_while_a_short_one_takes_long(own_network, tmp_path):
    backend = own_network.serve(SOURCE, "awi/short")
    with lb.connect() as net:
        made_short(net.awi.short.waits, "")
        (file := tmp_path / "busy").touch()
        call = net.awi.short.waits.start(str(file))
        net.awi.short.where()
        backend.signal(15)
        assert not call.done()
        file.unlink()
        assert call.result(60) == READS
    assert backend.wait() == 0


def test_through_a_websocket_the_loop_reads_and_other_threads_run(network, net):
    broker = json.loads((network.folder / "state" / "landbridge" / "local" / "broker.json").read_text())
    network.serve(SOURCE, "awi/through_websocket", LANDBRIDGE_URL=broker["websocket_url"])
    where = net["awi/through_websocket"].where
    assert READS not in [where() for _ in range(50)]


def test_in_the_debug_mode_of_asyncio_the_loop_reads(network, net):
    network.serve(SOURCE, "awi/debugged", PYTHONASYNCIODEBUG="1")
    where = net["awi/debugged"].where
    assert READS not in [where() for _ in range(50)]
