"""A method that runs: how, for which call, where its outcome goes, and how it is slowed and stopped."""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import Callable, Sequence
from enum import Enum
from typing import Any, Protocol

from ..contract import Method
from ..errors import LandbridgeError
from ..security import Rule
from .asking import Asking
from .context import CurrentCall
from .squeezing import Squeezing
from .threads import Gate

__all__ = ["STREAMS", "Frame", "Keep", "Parts", "Running", "Sink", "Style"]

Parts = Sequence[bytes | memoryview]
Frame = bytes | bytearray | memoryview

Keep = Callable[[object], object]

_AHEAD_BYTES = 1024 * 1024
"""What a generator may have produced beyond what has been sent, in bytes."""

_ITEM_OVERHEAD = 256


class Sink(Protocol):
    """Where the outcome of a running method goes; called in the loop that does the I/O."""

    def item(self, parts: Parts, size: int) -> None:
        """Take one item of a stream."""

    def result(self, parts: Parts, size: int) -> None:
        """Take the value; the method has ended."""

    def finished(self) -> None:
        """Take note that a stream has ended."""

    def failed(self, meta: dict[str, Any]) -> None:
        """Take the error; the method has ended."""

    def invoke(self, function: int, ask: int, parts: Parts, size: int) -> None:
        """Ask the caller to call a function that it gave."""

    def log(self, stream: str, text: str) -> None:
        """Take what the method wrote to ``stdout`` or ``stderr``, or logged (``log``): one or more lines."""


class Style(Enum):
    """How a function has to be run."""

    FUNCTION = "function"
    GENERATOR = "generator"
    COROUTINE = "coroutine"
    ASYNC_GENERATOR = "async generator"

    @classmethod
    def of(cls, method: Method) -> Style:
        """Return how `method` has to be run."""
        if inspect.iscoroutinefunction(method.function):
            return cls.COROUTINE
        if inspect.isasyncgenfunction(method.function):
            return cls.ASYNC_GENERATOR
        return cls.GENERATOR if method.spec.streams else cls.FUNCTION


# Not a set: the hash of an enum takes longer than to look at both.
STREAMS = (Style.GENERATOR, Style.ASYNC_GENERATOR)


def _first(rules: Sequence[Rule]) -> Rule:
    return min(rules, key=lambda rule: rule.approve)


class Running:
    """A method that runs, or waits to.

    Parameters
    ----------
    method : Method
        Checks the arguments and makes the value plain.
    style : Style
        How.
    call : CurrentCall
        The call it serves.
    sink : Sink
        Where its outcome goes.
    process : bool
        Whether it runs in a worker process.
    memory_limit : int or None
        How much memory it may take there, in bytes.
    function : callable, optional
        What runs, when it is not what `method` says: a method bound to its object.
    keep : callable, optional
        Takes the value where it stays here, and returns what goes to the caller instead; see `take_keep`.
    squeezing : Squeezing, optional
        How what it gives may be compressed; without it, it never is.
    rules : tuple of Rule
        Rules of which the arguments must fulfil the conditions of one, if there are any.
    held : bool
        Whether its owner has to accept what comes of it; not any more once it keeps a rule that does not say so.
    always_held : bool
        Whether he has to whatever rule it keeps: he has said so since it was let in.
    counts : callable
        Counts the call under one of the rules that it keeps, and returns that; raises `Busy` when none has room.
    shows : bool
        Whether its owner wants to see the arguments.

    Attributes
    ----------
    stop : callable or None
        Set by what runs it: called when it is interrupted.
    pass_on : callable or None
        Set by what runs it elsewhere: told the sizes of items that have been sent.
    waits : callable or None
        What waits for a thread on its behalf.
    pass_answer : callable or None
        Set by what runs it elsewhere: told what functions of the caller answered.
    task : asyncio.Task or None
        What runs it in a loop.
    asking : Asking or None
        Its questions to functions of its caller, if it was given any.
    has_run : bool
        Whether its function has been called, in a thread of this process.
    is_refused : bool
        Whether there was no room for it under any of the rules that it keeps.
    fetched : list or None
        The values of references among its arguments, in their order, once they were fetched.
    shown : dict of str to object or None
        What its owner is shown of the arguments, once they were decoded.
    """

    __slots__ = (
        "_begun", "_counts", "_gate", "_held", "_lock", "always_held", "asking", "call", "fetched", "function",
        "has_run", "is_refused", "keep", "memory_limit", "method", "pass_answer", "pass_on", "process", "rules",
        "shown", "shows", "sink", "squeezing", "stop", "style", "task", "waits",
    )  # fmt: skip

    def __init__(
        self,
        method: Method,
        style: Style,
        call: CurrentCall,
        sink: Sink,
        *,
        process: bool = False,
        memory_limit: int | None = None,
        function: Callable[..., Any] | None = None,
        keep: Keep | None = None,
        squeezing: Squeezing | None = None,
        rules: tuple[Rule, ...] = (),
        held: bool = False,
        always_held: bool = False,
        counts: Callable[[Sequence[Rule]], Rule] = _first,
        shows: bool = False,
    ) -> None:
        self.method = method
        self.rules = rules
        self._held, self.always_held, self.shows = held, always_held, shows
        self.shown: dict[str, Any] | None = None
        self._counts = counts
        self.keep = keep
        self.squeezing = squeezing
        self.function = function or method.function
        self.style = style
        self.call = call
        self.sink = sink
        self.process = process
        self.memory_limit = memory_limit
        self.stop: Callable[[Running], object] | None = None
        self.pass_on: Callable[[Running, int], object] | None = None
        self.pass_answer: Callable[[Running, int, Frame | None, LandbridgeError | None], object] | None = None
        self.waits: Callable[[], None] | None = None
        self.task: asyncio.Task[None] | None = None
        self.asking: Asking | None = None
        self.fetched: list[object] | None = None
        self._gate = Gate(_AHEAD_BYTES) if style in STREAMS and not process else None
        self._lock = threading.Lock()
        self._begun = self.has_run = self.is_refused = False

    def begin(self) -> bool:
        """Note that the method's code runs from now on; False when it was interrupted before."""
        with self._lock:
            if self.call.cancelled:
                return False
            self._begun = True
            return True

    def withdraw(self) -> bool:
        """Have its code never begin; False when it has begun, and goes on."""
        with self._lock:
            if not self._begun:
                self.call._cancelled = True
            return not self._begun

    def take_keep(self) -> Keep | None:
        """Return what keeps the value, for whoever does it now, or does it later; None for all others."""
        with self._lock:
            keep, self.keep = self.keep, None
            return keep

    @property
    def held(self) -> bool:
        """Whether its owner has to accept what comes of it."""
        return self._held or self.always_held

    def keeps(self, rules: Sequence[Rule]) -> None:
        """Take note which rules the arguments keep; one of them counts. Raises `Busy` when none has room."""
        # A mark of its own, as this is called in a thread: what the owner has said meanwhile is not overwritten.
        self.is_refused = True
        self._held = self._counts(rules).approve
        self.is_refused = False

    @property
    def begun(self) -> bool:
        """Whether the method's code has begun."""
        return self._begun

    def sent(self, size: int) -> None:
        """Take note that an item of this size has been sent; the generator may go on."""
        if self._gate is not None:
            self._gate.leave(size + _ITEM_OVERHEAD)
        elif self.pass_on is not None:
            self.pass_on(self, size)

    def answered(self, ask: int, frame: Frame | None, error: LandbridgeError | None) -> None:
        """Give the method what a function of its caller answered."""
        if self.asking is not None:
            self.asking.answered(ask, frame, error)
        elif self.pass_answer is not None:
            self.pass_answer(self, ask, frame, error)

    def must_wait(self, size: int, wake: Callable[[], object]) -> bool:
        """Whether the generator, having handed over an item of this size, is to wait until `wake` is called."""
        return self._gate is not None and not self._gate.enter(size + _ITEM_OVERHEAD, wake)

    def interrupt(self) -> bool:
        """Stop as far as possible.

        A coroutine is cancelled, a generator ends at its next item, a function in a thread is told; what runs in a
        worker process is stopped, with the process if need be.

        Returns
        -------
        bool
            True when its code has not begun, and never will.
        """
        with self._lock:
            self.call._cancelled = True
            never_begins = not self._begun
        if self._gate is not None:
            self._gate.open()
        if self.asking is not None:
            self.asking.end(cancelled=True)
        if self.stop is not None:
            self.stop(self)
        return never_begins
