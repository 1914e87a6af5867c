"""Short functions run in the thread that reads the connection; one that is short no longer keeps nobody waiting."""

from __future__ import annotations

import json
import time

import pytest

import landbridge as lb
from network import Network

SOURCE = """
import contextvars, decimal, os, sys, threading, time
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

def sets(what: str) -> str:
    "Leave settings behind in the thread that runs this."
    found = [str(decimal.Decimal(1) / 3), SETTING.get()]
    if what:
        decimal.getcontext().prec = 3
        SETTING.set(what)
    assert found == ["0.3333333333333333333333333333", "none"], found
    return where()

async def finds() -> list:
    "Return the settings that a coroutine begins with."
    return [str(decimal.Decimal(1) / 3), SETTING.get()]

def items(n: int):
    "Give numbers."
    yield from range(n)

SETTING = contextvars.ContextVar("SETTING", default="none")
__all__ = "sets finds where waits computes until_cancelled asks fails prints threads size_of items".split()
"""
READS = "landbridge-reading"


@pytest.fixture(scope="module")
def backend(network: Network):
    return network.serve(SOURCE, "awi/short")


@pytest.fixture
def short(net, backend):
    return net.awi.short


@pytest.fixture
def file(tmp_path):
    """Return a file that keeps methods busy; it is gone at the end, whatever has failed."""
    file = tmp_path / "busy"
    yield file
    file.unlink(missing_ok=True)


def made_short(method, *arguments) -> None:
    """Call a method until it runs in the thread that reads, several times: then it is known to be short."""
    deadline, times = time.monotonic() + 60, 0
    while times < 4:
        found = method(*arguments)
        times = times + 1 if (found[-1] if isinstance(found, list) else found) == READS else 0
        assert time.monotonic() < deadline


def test_what_is_known_to_be_short_runs_where_it_is_read(short):
    made_short(short.where)


def test_what_takes_long_runs_elsewhere_from_then_on(short, file):
    made_short(short.waits, "")
    file.touch()
    call = short.waits.start(str(file))
    short.where()
    file.unlink()
    assert call.result(60) == READS
    # It was long, so another thread runs it, and it is short again.
    assert short.waits("") != READS
    made_short(short.waits, "")


@pytest.mark.parametrize("how", ["waits", "computes"])
def test_others_are_served_while_what_was_short_takes_long(short, file, how):
    method = getattr(short, how)
    for _number in range(10):
        made_short(method, "")
        file.touch()
        call = method.start(str(file))
        for _ in range(20):
            assert short.where()
        assert list(short.items(5)) == [0, 1, 2, 3, 4]
        assert not call.done()
        file.unlink()
        assert call.result(60) == READS


def test_a_call_that_came_together_with_a_long_one_does_not_wait_for_it(short, file):
    made_short(short.waits, "")
    made_short(short.where)
    file.touch()
    # Written together, so that they are read together.
    calls = [short.waits.start(str(file)), *(short.where.start() for _ in range(50))]
    for call in calls[1:]:
        assert call.result(60)
    assert not calls[0].done()
    file.unlink()
    assert calls[0].result(60)


def test_what_is_short_does_not_wait_until_what_takes_long_has_ended(short, file):
    deadline = time.monotonic() + 100
    while not short_beside_long(short, file):
        # A machine that is busy makes a short method look long now and then; then it waits like others.
        assert time.monotonic() < deadline
    # Two threads look after the connection, whatever has become of those that did before.
    while (names := short.threads()).count(READS) > 2:
        assert time.monotonic() < deadline
    assert len(names) < 30


def short_beside_long(short, file) -> bool:
    """Fill all places with what takes long; return whether what is short is served all the same."""
    made_short(short.where)
    made_short(short.waits, "")
    file.touch()
    calls = [short.waits.start(str(file)) for _ in range(40)]
    # Such arguments are never taken for short, however often this is tried.
    waiting, deadline = short.size_of.start(bytes(100_000)), time.monotonic() + 60
    while not waiting.queue_place:  # behind those that came before it
        assert time.monotonic() < deadline
        time.sleep(0.01)
    brief = short.where.start()
    while not brief.done() and not brief.queue_place:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    served = brief.done()
    assert not any(call.done() for call in calls)
    assert sum(not call.queue_place for call in calls) <= 17  # as many as run in the pool, and the one that was short
    file.unlink()
    for call in [*calls, waiting, brief]:
        assert call.result(60)
    return served


def test_what_was_short_is_cancelled_like_anything_else(short, file):
    file.touch()
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


def test_what_one_sets_is_not_found_by_the_next(short):
    for _ in range(3):
        made_short(short.sets, "mine")
        assert short.finds() == ["0.3333333333333333333333333333", "none"]


def test_what_is_refused_before_it_runs_says_nothing_of_how_long_it_takes(short, file):
    for _ in range(10):
        with pytest.raises(lb.InvalidArguments):
            short.size_of(7)
    assert short.size_of(b"")[1] != READS


def test_long_arguments_are_not_taken_for_short(short):
    made_short(short.size_of, b"")
    for size in (500_000, 5_000_000):
        came, where = short.size_of(bytes(size))
        assert came == size
        assert where != READS
        made_short(short.size_of, b"")


def test_a_renewed_connection_leaves_none_behind_that_takes_requests(own_network):
    """The backend's credentials are read anew before they expire; requests must not go into the connection before."""
    renewing = """
        import threading
        import landbridge as lb
        from landbridge.backend import service

        __all__ = ["short", "renew"]
        opened = []
        serve = service.Backend.serve

        async def noted(self, connection, *args, **kwargs):
            opened.append((self, connection))
            await serve(self, connection, *args, **kwargs)

        service.Backend.serve = noted

        def short() -> str:
            return threading.current_thread().name

        def renew() -> None:
            backend, connection = opened[0]
            backend._loop.call_soon_threadsafe(lambda: connection._spawn(connection._connect_anew()))
    """
    own_network.serve(renewing, "awi/renewing")
    with lb.connect() as net:
        module = net.awi.renewing
        for _ in range(5):
            made_short(module.short)
            module.renew()
            for _ in range(20):
                assert module.short.options(timeout_s=10)()


def test_it_reads_on_from_a_broker_that_was_started_again(own_network, file):
    own_network.serve(SOURCE, "awi/short")
    with lb.connect() as net:
        short = net.awi.short
        for _ in range(3):
            made_short(short.waits, "")
            file.touch()
            call = short.waits.start(str(file))
            short.where()
            own_network.kill_broker()
            while net._link()._connection.connected:  # what was sent now would go into a socket that has ended
                time.sleep(0.001)
            short.where()
            file.unlink()
            assert call.result(60) == READS
            made_short(short.where)


def test_it_ends_in_order_while_a_short_one_takes_long(own_network, file):
    backend = own_network.serve(SOURCE, "awi/short")
    with lb.connect() as net:
        made_short(net.awi.short.waits, "")
        file.touch()
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
