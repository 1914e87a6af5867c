"""One method from its arguments to its outcome: what happens when it is cancelled in between."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable

import numpy as np
import pytest

from landbridge import wire
from landbridge.backend import execution as module
from landbridge.backend.context import CurrentCall
from landbridge.backend.execution import Execution
from landbridge.backend.running import Running, Style
from landbridge.backend.squeezing import Squeezing
from landbridge.contract import read_module


class Outbox:
    """Keeps what came of a call, and leaves its questions without an answer."""

    def __init__(self) -> None:
        self.endings: list[str] = []
        self.size = 0

    def post(self, function, *args):
        function(*args)

    def invoke(self, function, ask, parts, size):
        self.endings.append("asked")

    def post_from(self, sender, function, *args):
        function(*args)

    def result(self, parts, size):
        self.endings.append("result")
        self.size = size

    def failed(self, meta):
        self.endings.append(meta["code"])


@pytest.fixture
def asks_twice():
    def ask(f: Callable) -> str:
        with contextlib.suppress(Exception):
            f()
        return str(f())

    return read_module("lab/work", "", {"ask": ask})[1]["ask"]


def test_a_method_cancelled_while_its_arguments_are_read_never_waits_for_its_caller(asks_twice, monkeypatch, caplog):
    outbox = Outbox()
    call = CurrentCall("lab/work.ask", "awi/anna", "0" * 32, None, lambda *_: None)
    running = Running(asks_twice, Style.FUNCTION, call, outbox)
    frame = b"".join(wire.encode({"f": wire.Function(0)}))

    decode = wire.decode

    def interrupted(*args, **kwargs):
        running.interrupt()
        return decode(*args, **kwargs)

    monkeypatch.setattr(module.wire, "decode", interrupted)
    thread = threading.Thread(
        target=Execution(outbox, contextlib.nullcontext).run_plain, args=(running, frame), daemon=True
    )
    thread.start()
    thread.join(10)
    assert not thread.is_alive()
    assert outbox.endings == ["internal"]  # whoever cancelled it knows better words
    assert "incident" not in caplog.text


@pytest.fixture
def gives_much():
    def much(n: int):
        return np.zeros(n)

    async def much_in_loop(n: int):
        return np.zeros(n)

    methods = read_module("lab/work", "", {"much": much, "much_in_loop": much_in_loop})[1]
    return methods["much"], methods["much_in_loop"]


@pytest.mark.parametrize("style", [Style.FUNCTION, Style.COROUTINE])
@pytest.mark.parametrize("cancelled", [False, True])
def test_a_value_is_compressed_no_further_once_its_call_is_cancelled(gives_much, style, cancelled, caplog):
    outbox = Outbox()
    call = CurrentCall("lab/work.much", "awi/anna", "0" * 32, None, lambda *_: None)

    def slow_line() -> float:
        if cancelled:
            running.interrupt()  # between the method and its value
        return 1e3

    running = Running(
        gives_much[style is Style.COROUTINE], style, call, outbox, squeezing=Squeezing(["lz4"], slow_line)
    )
    frame = memoryview(bytearray(b"".join(wire.encode({"n": 100_000}))))
    execution = Execution(outbox, contextlib.nullcontext)
    if style is Style.FUNCTION:
        execution.run_plain(running, frame)
    else:
        asyncio.run(execution.run_coroutine(running, frame))
    assert outbox.endings == ["internal" if cancelled else "result"]
    assert outbox.size == 0 if cancelled else 0 < outbox.size < 10_000
    assert "incident" not in caplog.text
