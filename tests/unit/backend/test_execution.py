"""One method from its arguments to its outcome: what happens when it is cancelled in between."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable

import pytest

from landbridge import wire
from landbridge.backend import execution as module
from landbridge.backend.context import CurrentCall
from landbridge.backend.execution import Execution
from landbridge.backend.running import Running, Style
from landbridge.contract import read_module


class Outbox:
    """Keeps what came of a call, and leaves its questions without an answer."""

    def __init__(self) -> None:
        self.endings: list[str] = []

    def post(self, function, *args):
        function(*args)

    def invoke(self, function, ask, parts, size):
        self.endings.append("asked")

    def result(self, parts, size):
        self.endings.append("result")

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
