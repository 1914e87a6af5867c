"""What is counted and shown of calls in threads, in worker processes and of objects, and what a restart does to it."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import time
import urllib.request
from urllib.parse import urlsplit

import numpy as np
import pytest

import landbridge as lb
from procfs import is_running

SERVED = """
import sys
sys.modules["numcodecs"] = None  # values keep their size on the line
import os
import time

import numpy as np

import landbridge as lb

in_worker = lb.method(process=True)


@in_worker
def double(values: np.ndarray) -> np.ndarray:
    return 2 * values


@in_worker
def crash() -> None:
    os._exit(3)


@in_worker
def hold(seconds: float) -> None:
    time.sleep(seconds)


@lb.method(concurrency=1, queue=0)
async def alone(seconds: float) -> None:
    import asyncio
    await asyncio.sleep(seconds)


@lb.method
def applied(function, times: int) -> int:
    return sum(len(function(b"x" * 1000)) for _ in range(times))


@lb.method
class Box:
    def __init__(self, width: float) -> None:
        self.width = width

    def area(self, height: float) -> float:
        return self.width * height
"""


@pytest.fixture(scope="module")
def served(network):
    return network.serve(SERVED, "geomar/counted", "--metrics", "--workers", "1")


@pytest.fixture(scope="module")
def counted(net, served):
    return net["geomar/counted"]


class Page:
    """What the page of metrics says; values by name, method and whatever else distinguishes them."""

    def __init__(self, process) -> None:
        with urllib.request.urlopen(process.ready["metrics"], timeout=20) as answer:
            text = answer.read().decode()
        self._values = {}
        for line in text.splitlines():
            if not line.startswith("#"):
                name, labels, value = re.fullmatch(r"landbridge_(\w+)\{(.*)\} (\S+)", line).groups()
                told = [label for label in re.findall(r'\w+="([^"]*)"', labels) if label != "geomar/counted"]
                self._values[name, *told] = float(value)

    def __call__(self, *what: str) -> float:
        return self._values[what]


def wait_for_page(process, holds) -> Page:
    deadline = time.monotonic() + 60
    while not holds(page := Page(process)):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return page


def test_calls_in_workers_are_counted_with_their_bytes_however_long(served, counted):
    before, values = Page(served), np.arange(1e6)
    assert counted.double(values)[-1] == 2 * values[-1]
    page = wait_for_page(served, lambda page: page("calls_ended_total", "double", "ok") == 1)
    for name in ("received_bytes_total", "sent_bytes_total"):
        assert 8e6 <= page(name, "double") - before(name, "double") < 8e6 + 10_000
    assert page("calls_begun_total", "double") == 1


def test_a_worker_that_crashes_is_counted_and_so_are_the_calls_after_it(served, counted):
    ended = Page(served)("calls_ended_total", "double", "ok")
    with pytest.raises(lb.MethodCrashed):
        counted.crash()
    counted.double(np.zeros(3))
    page = wait_for_page(served, lambda page: page("calls_ended_total", "double", "ok") == ended + 1)
    assert page("calls_ended_total", "crash", "crashed") == 1


def test_calls_that_wait_for_a_worker_are_told_apart_from_those_that_run(served, counted):
    calls = [counted.hold.start(600.0) for _ in range(3)]
    wait_for_page(served, lambda page: (page("calls_running", "hold"), page("calls_waiting", "hold")) == (1, 2))
    for call in calls:
        call.cancel()
    wait_for_page(served, lambda page: page("calls_ended_total", "hold", "cancelled") == 3)
    wait_for_page(served, lambda page: page("calls_running", "hold") == page("calls_waiting", "hold") == 0)


def test_whom_the_owners_limit_refuses_is_counted(served, counted):
    call = counted.alone.start(600.0)
    wait_for_page(served, lambda page: page("calls_running", "alone") == 1)
    with pytest.raises(lb.Busy):
        counted.alone.options(timeout_s=0.1)(0.0)
    page = Page(served)
    assert page("requests_refused_total", "busy") == 1
    assert page("calls_begun_total", "alone") == 1
    call.cancel()


def test_what_functions_of_the_caller_are_given_and_answer_is_counted(served, counted):
    assert counted.applied(lambda text: text + text, 5) == 10_000
    page = wait_for_page(served, lambda page: page("calls_ended_total", "applied", "ok") == 1)
    assert page("sent_bytes_total", "applied") > 5_000
    assert page("received_bytes_total", "applied") > 10_000


def test_methods_of_objects_are_counted_each(served, counted):
    with counted.Box(2.0) as box:
        assert box.area(3.0) == 6.0
        page = wait_for_page(served, lambda page: page("calls_ended_total", "Box.area", "ok") == 1)
    assert page("calls_ended_total", "Box", "ok") == 1


def test_a_new_backend_shows_metrics_where_the_one_before_did(network):
    process = network.serve(SERVED, "geomar/again", "--metrics", "--log-format", "json", "--reload")
    url = process.ready["metrics"]
    with lb.connect() as net:
        net["geomar/again"].double(np.zeros(3))
        os.kill(process.pid, signal.SIGKILL)
        while is_running(process.pid):
            time.sleep(0.001)  # what a killed process has accepted already is lost
        # Asked while nobody may be there to answer, so that it is kept for the backend that follows.
        assert Page(process)("calls_begun_total", "geomar/again", "double") == 0
        again = process.next_line()
        assert (again["event"], again["metrics"]) == ("restarted", url)
        net["geomar/again"].double(np.zeros(3))
    assert wait_for_page(process, lambda page: page("calls_ended_total", "geomar/again", "double", "ok") == 1)
    source = network.folder / "served_2" / "again.py"
    source.write_text(SERVED + "\n\n@lb.method\ndef new() -> None: ...\n")
    reloaded = process.next_line()
    assert (reloaded["event"], reloaded["metrics"]) == ("reloaded", url)
    wait_for_page(process, lambda page: ("calls_begun_total", "geomar/again", "new") in page._values)
    assert process.stop() == 0
    parts = urlsplit(url)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((parts.hostname, parts.port), timeout=10)
    said = [json.loads(line) for line in process.stderr.splitlines()]
    assert any("started again" in line["message"] for line in said)
    assert {line["module"] for line in said} == {"geomar/again"}
