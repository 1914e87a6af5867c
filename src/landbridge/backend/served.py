"""One call that is being served: drives its `Responder`, runs its method, sends its answers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from .. import wire
from ..contract import Method
from ..errors import Busy, LandbridgeError
from ..protocol import VALUE_LIMIT, Action, Forget, Interrupt, More, Phase, Responder, Run, Send, error_to_meta
from ..security import Caller
from .context import CurrentCall
from .runner import Runner, Running, Style
from .usage import HELD_BYTES_EACH, Usage

__all__ = ["Served", "ServedCall"]

Parts = Sequence[bytes | memoryview]

_DESCRIBE_LIMIT = 4096
"""Largest arguments of a request to describe, in bytes: anybody may ask, so it must cost little."""

_PROGRESS_S = 0.1
"""Progress is told at most this often, in seconds."""


@dataclass(frozen=True)
class Served:
    """A method as it is served.

    Attributes
    ----------
    method : Method
        What checks the arguments and what is run.
    style : Style
        How it is run.
    share : tuple of str
        Patterns it is shared with.
    timeout_s : float or None
        The owner's time limit.
    """

    method: Method
    style: Style
    share: tuple[str, ...]
    timeout_s: float | None


class ServedCall:
    """One call at the backend; also the `Sink` of the method that runs for it.

    Parameters
    ----------
    target : str
        ``institute/module.method``.
    instance : str
        Id of this backend.
    served : Served or None
        What is called; None when the module is asked to describe itself.
    caller : Caller
        Who calls.
    call_id : str
        Id of the call.
    usage : Usage
        What the caller takes up; bytes that are held for this call are counted there.
    runner : Runner
        What runs the method.
    publish : callable
        Sends the parts of one message to the caller.
    forget : callable
        Told the id once nothing will happen any more.
    describe : callable
        Gives what the module says of itself to a caller that sent these arguments.
    """

    __slots__ = (
        "_describe",
        "_forget",
        "_held",
        "_holds",
        "_last_progress",
        "_loop",
        "_publish",
        "_runner",
        "_running",
        "_served",
        "call_id",
        "caller",
        "responder",
        "usage",
    )

    def __init__(
        self,
        target: str,
        instance: str,
        served: Served | None,
        caller: Caller,
        call_id: str,
        *,
        usage: Usage,
        runner: Runner,
        publish: Callable[[Parts], object],
        forget: Callable[[str], object],
        describe: Callable[[Caller, object], Parts],
    ) -> None:
        self.caller = caller
        self.responder = Responder(
            target,
            instance,
            interruptible=served is not None and served.style is not Style.FUNCTION,
            limit_s=served.timeout_s if served is not None else None,
            arguments_limit=VALUE_LIMIT if served is not None else _DESCRIBE_LIMIT,
        )
        self._served = served
        self.call_id = call_id
        self.usage = usage
        self._publish = publish
        self._forget = forget
        self._describe = describe
        self._loop = asyncio.get_running_loop()
        self._runner = runner
        self._running: Running | None = None
        self._held: list[int] = []
        self._holds = False
        self._last_progress = 0.0

    def act(self, actions: Sequence[Action]) -> None:
        """Do what the machine asks for."""
        for action in actions:
            if type(action) is Send:
                self._publish(action.parts)
            elif type(action) is Run:
                self._run(action.frame)
            elif type(action) is Forget:
                self._running = None  # it knows us, too; so both can go at once
                self._forget(self.call_id)
            elif type(action) is Interrupt:
                if self._running is not None and self._running.interrupt():
                    self.act(self.responder.stopped(self._loop.time()))
            elif type(action) is More:
                self._release()
        if (self._holds or self.responder.holds) and self.responder.phase is not Phase.DONE:
            held = self.responder.held_bytes
            self._holds = held > 0
            if not self.usage.hold(self.call_id, held) and held:
                reason = f"more than {HELD_BYTES_EACH:,} bytes are held for {self.caller}, who does not take them"
                self.act(self.responder.refuse(Busy(self.responder.target, reason), self._loop.time()))

    @property
    def style(self) -> Style:
        """How its method is run; describing a module is a plain function."""
        return self._served.style if self._served is not None else Style.FUNCTION

    def _run(self, frame: memoryview | bytearray) -> None:
        if self._served is None:
            self._answer_description(frame)
            return
        responder = self.responder
        deadline = None
        if responder.deadline is not None:
            deadline = datetime.now(UTC) + timedelta(seconds=responder.deadline - self._loop.time())
        call = CurrentCall(responder.target, str(self.caller), self.call_id, deadline, self._report)
        self._running = Running(self._served.method, self._served.style, call, self)
        self._runner.run(self._running, frame)

    def _answer_description(self, frame: memoryview | bytearray) -> None:
        try:
            parts = self._describe(self.caller, wire.decode(frame))
        except LandbridgeError as error:
            self.failed(error_to_meta(error))
        else:
            self.result(parts, wire.size_bytes(parts))

    def _report(self, done: float, total: float | None, label: str) -> None:
        """Take what the method says of its progress, in whatever thread it runs."""
        self._runner.mailbox.post(self._progress, done, total, label)

    def _progress(self, done: float, total: float | None, label: str) -> None:
        now = self._loop.time()
        if now - self._last_progress >= _PROGRESS_S or done == total:
            self._last_progress = now
            self.act(self.responder.progress(done, total, label, now))

    def item(self, parts: Parts, size: int) -> None:
        """Send one item of a stream."""
        self._held.append(size)
        self.act(self.responder.item(parts, size, self._loop.time()))
        if self.responder.may_produce:
            self._release()

    def _release(self) -> None:
        if self._running is not None:
            for size in self._held:
                self._running.sent(size)
        self._held.clear()

    def result(self, parts: Parts, size: int) -> None:
        """Send the value."""
        self.act(self.responder.result(parts, size, self._loop.time()))

    def finished(self) -> None:
        """Tell that the stream has ended."""
        self.act(self.responder.finished(self._loop.time()))

    def failed(self, meta: dict[str, Any]) -> None:
        """Send the error."""
        self.act(self.responder.failed(meta, self._loop.time()))
