"""Methods in threads and in the loop of the backend: their output, their copies, their turns."""

from __future__ import annotations

import contextlib
import sys
import textwrap
import threading

import numpy as np
import pytest

from backstage import stage
from landbridge import wire
from landbridge.backend.execution import Fetched

WORK = """
import asyncio
import logging
import sys
import threading
import numpy as np

__all__ = ["speaks", "speaks_soon", "speaks_in_steps", "fresh", "kept", "kept_in_steps", "waits", "go", "begun"]
__all__ += ["notes_soon", "noted_soon"]
KEPT = np.zeros(2**18)
GO = threading.Event()
BEGUN = threading.Event()

def speaks(name: str):
    print("hello", name)
    logging.getLogger("work").error("logged %s", name)
    sys.stderr.write("no end")

async def speaks_soon(name: str):
    await asyncio.sleep(0)
    speaks(name)

def speaks_in_steps(name: str):
    yield 1
    speaks(name)
    yield 2

def fresh(n: int):
    array = np.ones(n)
    FRESH.append(array.__array_interface__["data"][0])
    return array

FRESH = []

def kept():
    KEPT[:] += 1
    return KEPT

def kept_in_steps(n: int):
    array = np.zeros(2**18)
    for i in range(n):
        array[:] = i
        yield array

NOTED = []

async def notes_soon(value):
    NOTED.append(value)

async def noted_soon() -> list:
    return NOTED

def waits() -> str:
    BEGUN.set()
    GO.wait(60)
    return "waited"

def go():
    GO.set()

def begun() -> bool:
    return BEGUN.wait(60)
"""


@contextlib.contextmanager
def opened_stage(tmp_path):
    file = tmp_path / "in_threads.py"
    file.write_text(textwrap.dedent(WORK), encoding="utf-8")
    with stage(file, threads=2) as opened:
        yield opened
    del sys.modules["in_threads"]


@pytest.fixture
def work(tmp_path):
    with opened_stage(tmp_path) as opened:
        yield opened


@pytest.mark.parametrize("method", ["speaks", "speaks_soon", "speaks_in_steps"])
def test_what_a_method_prints_and_logs_comes_before_its_end_if_it_was_asked_for(tmp_path, method):
    with opened_stage(tmp_path) as work:  # here, because pytest puts other streams in place before each test
        outcome = work.start(method, name="anna", logs=True)
        outcome.result_value()
        silent = work.start(method, name="ben")
        silent.result_value()
    assert outcome.logs == [("stdout", "hello anna\n"), ("log", "ERROR work: logged anna\n"), ("stderr", "no end")]
    assert silent.logs == []


def test_a_large_result_that_nobody_else_has_is_sent_from_where_it_lies(work):
    outcome = work.start("fresh", n=13 * 2**20)
    outcome.until(lambda: outcome.endings)
    large = max(outcome.parts, key=len)
    place = np.frombuffer(large, np.uint8).__array_interface__["data"][0]
    assert work.methods["fresh"].function.__globals__["FRESH"] == [place]


def test_a_large_result_that_its_module_keeps_does_not_change_on_its_way(work):
    first = work.start("kept")
    first.until(lambda: first.endings)
    second = work.start("kept")
    second.until(lambda: second.endings)
    assert first.result_value()[0] == 1
    assert second.result_value()[0] == 2
    assert [item[0] for item in work.call("kept_in_steps", n=4)] == [0, 1, 2, 3]


def test_a_call_that_waits_for_a_thread_has_a_place_and_can_be_withdrawn(work):
    running = [work.start("waits"), work.start("waits")]
    work.methods["begun"].function()
    while work.in_loop(lambda: any(work.runner.position(each.running) for each in running)):
        pass  # both threads are to have taken theirs
    second = work.start("speaks", caller="awi/anna", name="anna")
    third = work.start("fresh", caller="awi/ben", n=1)
    assert work.in_loop(lambda: [work.runner.position(each.running) for each in (second, third)]) == [1, 2]
    second.interrupt()
    assert second.never_began
    assert work.in_loop(lambda: work.runner.position(third.running)) == 1
    work.methods["go"].function()
    assert [each.result_value() for each in running] == ["waited", "waited"]
    third.result_value()
    assert second.endings == ["never began"]


def test_a_call_that_is_stopped_while_its_references_are_fetched_never_runs(tmp_path):
    file = tmp_path / "work.py"
    file.write_text(textwrap.dedent(WORK))
    fetching, go_on = threading.Event(), threading.Event()

    def fetch(data, call, lazily):
        fetching.set()
        go_on.wait(60)
        return Fetched("value", 5)

    reference = wire.ReferenceData("geomar/ocean", "field", "a" * 32, "b" * 32)
    with stage(file, fetch=fetch) as work:
        stopped = work.start("notes_soon", value=reference)
        assert fetching.wait(60)
        stopped.interrupt()
        assert stopped.never_began
        go_on.set()
        work.start("notes_soon", value=reference).result_value()  # goes the same way, behind it
        assert work.call("noted_soon") == ["value"]
