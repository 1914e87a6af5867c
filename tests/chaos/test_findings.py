"""What storms have shown to be wrong, each made as small as it gets. What is mended here becomes an ordinary test."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import threading
from urllib.parse import urlsplit

import pytest

import landbridge as lb
from chaos.proxy import Line
from landbridge.errors import CallLost
from landbridge.protocol import SILENCE_S, Caller, Ended
from landbridge.settings import private_write
from network import running_network

TICK_S = 0.1


def ended_at(caller: Caller, until_s: float, broken_every_s: float) -> float | None:
    """Let time pass with a connection that breaks and comes back again and again; nothing ever comes over it."""
    reconnect_at = broken_every_s
    for tick in range(round(until_s / TICK_S)):
        now = tick * TICK_S
        actions = caller.tick(now)
        if now >= reconnect_at:
            actions += caller.reconnected(now)
            reconnect_at += broken_every_s
        for action in actions:
            if isinstance(action, Ended):
                assert isinstance(action.error, CallLost)
                return now
    return None


def test_a_call_that_nobody_answers_is_given_up_after_its_silence():
    caller = Caller("awi/storm.add", [], 0)
    caller.start(0.0)
    assert ended_at(caller, 60.0, broken_every_s=1000.0) == pytest.approx(SILENCE_S, abs=2 * TICK_S)


def test_a_call_that_nobody_answers_is_given_up_on_a_line_that_breaks_often():
    caller = Caller("awi/storm.add", [], 0)
    caller.start(0.0)
    assert ended_at(caller, 600.0, broken_every_s=SILENCE_S - 1.0) is not None


def test_a_module_that_was_served_is_offline_and_not_unknown_whoever_crashes(tmp_path):
    with running_network(tmp_path) as network:
        backend = network.serve("__all__ = ['one']\ndef one(): return 1\n", "awi/brief")
        with lb.connect() as net:
            assert net.awi.brief.one() == 1
        network.up.kill()
        backend.kill()
        network.start("up", "--json")
        with lb.connect() as net, pytest.raises(lb.ModuleOffline):
            net["awi/brief"]


@pytest.fixture
def line(own_network):
    """A way to the broker of its own, for callers; its loop runs in a thread."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    broker = urlsplit(own_network.up.ready["url"])
    line = Line(lambda: (broker.hostname, broker.port))
    asyncio.run_coroutine_threadsafe(line.open(), loop).result(10)
    line.soon = loop.call_soon_threadsafe
    yield line
    asyncio.run_coroutine_threadsafe(line.close(), loop).result(10)
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


def test_a_network_closes_without_an_error_when_the_broker_takes_nothing_any_more(own_network, line, monkeypatch):
    own_network.serve("__all__ = ['size']\ndef size(data): return len(data)\n", "awi/sizes")
    monkeypatch.setenv("LANDBRIDGE_URL", line.url)
    net = lb.connect()
    size = net.awi.sizes.size
    assert size(b"one") == 3
    line.soon(line.stall)
    calls = [size.start(bytes(500_000)) for _ in range(30)]  # more than the sockets take
    net.close()
    for call in calls:
        with pytest.raises(lb.CallLost, match="closed here"):
            call.result(timeout=10)


_KILLED_WHILE_WRITING = """
import os, pathlib, signal, sys
from landbridge.settings import private_write
os.replace = lambda *names: os.kill(os.getpid(), signal.SIGKILL)
private_write(pathlib.Path(sys.argv[1]), "one")
"""


def test_what_a_killed_writer_left_behind_goes_with_the_next_write(tmp_path):
    file = tmp_path / "keys.json"
    killed = subprocess.run([sys.executable, "-c", _KILLED_WHILE_WRITING, str(file)], check=False, timeout=30)
    assert killed.returncode == -signal.SIGKILL
    private_write(file, "two")
    assert file.read_text() == "two"
    assert [path.name for path in tmp_path.iterdir()] == ["keys.json"]
