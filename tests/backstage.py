"""A backend without a network: methods of a file run by the real `Runner`, their outcomes recorded."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from landbridge import wire
from landbridge.backend.context import CurrentCall
from landbridge.backend.expose import exposure
from landbridge.backend.loading import load
from landbridge.backend.runner import Runner, Running, Style
from landbridge.backend.threads import Mailbox
from landbridge.contract import read_module
from landbridge.protocol import meta_to_error

NAME = "lab/work"


class Outcome:
    """One call, and what came of it; also its sink."""

    def __init__(self, stage: Stage, target: str) -> None:
        self.stage = stage
        self.target = target
        self.items: list[Any] = []
        self.parts: list[Any] = []
        self.logs: list[tuple[str, str]] = []
        self.progress: list[tuple[float, float | None, str]] = []
        self.endings: list[str] = []
        self.takes_items = True
        self.running: Running | None = None
        self.never_began: bool | None = None
        self._value: Any = None
        self._meta: dict[str, Any] = {}
        self._changed = threading.Condition()

    # --- the sink

    def item(self, parts, size):
        self.items.append(wire.decode(b"".join(parts), limits=wide()))
        if self.takes_items:
            self.running.sent(size)
        self._note()

    def result(self, parts, size):
        self.parts = list(parts)
        self._end("result")

    def finished(self):
        self._end("finished")

    def failed(self, meta):
        self._meta = meta
        self._end("failed")

    def log(self, stream, text):
        self.logs.append((stream, text))
        self._note()

    def report(self, done, total, label):
        self.progress.append((done, total, label))
        self._note()

    def _end(self, how):
        self.endings.append(how)
        self._note()

    def _note(self):
        with self._changed:
            self._changed.notify_all()

    # --- the test

    def until(self, true: Callable[[], Any], timeout_s: float = 60) -> None:
        """Wait until something recorded makes `true` so."""
        with self._changed:
            assert self._changed.wait_for(true, timeout_s), f"{self.target}: not within {timeout_s} s"

    def result_value(self, timeout_s: float = 60) -> Any:
        """Wait for the end; return the value (of a stream its items) or raise the error."""
        self.until(lambda: self.endings, timeout_s)
        if self.endings[0] == "failed":
            raise meta_to_error(self._meta, self.target)
        if self.endings[0] == "finished":
            return self.items
        return wire.decode(b"".join(self.parts), limits=wide())

    def interrupt(self) -> None:
        self.stage.in_loop(self._interrupt)

    def _interrupt(self) -> None:
        self.never_began = self.running.interrupt()
        if self.never_began:
            self._end("never began")


class Stage:
    """A runner in a loop of its own thread, and the methods of one file."""

    def __init__(self, file: Path, workers: int | None = None, threads: int = 4, fetch: Any = None) -> None:
        exposed = exposure(load(str(file)))
        functions = {name: method.function for name, method in exposed.methods.items()}
        self.exposed = exposed.methods
        _, self.methods = read_module(NAME, "", functions)
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()
        self.runner: Runner = self.in_loop(
            lambda: Runner(Mailbox(self.loop), threads, name=NAME, source=exposed.source, workers=workers, fetch=fetch)
        )

    def in_loop(self, function: Callable[[], Any]) -> Any:
        """Return what `function` returns when it is called in the loop."""

        async def call() -> Any:
            return function()

        return asyncio.run_coroutine_threadsafe(call(), self.loop).result(60)

    def start(self, method: str, /, *, caller: str = "awi/anna", logs: bool = False, **arguments: Any) -> Outcome:
        outcome = Outcome(self, f"{NAME}.{method}")
        call = CurrentCall(outcome.target, caller, "0" * 32, None, outcome.report, wants_log=logs)
        rules = self.exposed[method]
        outcome.running = Running(
            self.methods[method], Style.of(self.methods[method]), call, outcome,
            process=rules.process, memory_limit=rules.memory_limit,
        )  # fmt: skip
        frame = bytearray(b"".join(wire.encode(arguments)))
        self.in_loop(lambda: self.runner.run(outcome.running, frame))
        return outcome

    def call(self, method: str, /, **arguments: Any) -> Any:
        return self.start(method, **arguments).result_value()

    def close(self) -> None:
        self.in_loop(self.runner.close)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(10)
        self.loop.close()


def wide() -> Any:
    from dataclasses import replace

    from landbridge.wire.frame import DEFAULT

    return replace(DEFAULT, frame_bytes=2**40)


@contextlib.contextmanager
def stage(file: Path, **options: Any) -> Iterator[Stage]:
    opened = Stage(file, **options)
    try:
        yield opened
    finally:
        opened.close()
