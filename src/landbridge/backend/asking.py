"""Functions of the caller, callable from the method that was given them: each call is a question to the caller."""

from __future__ import annotations

import asyncio
import itertools
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager
from typing import Any

from .. import wire
from ..errors import Busy, CallCancelled, LandbridgeError, TooLarge
from ..protocol import ASKED_AT_ONCE, FUNCTION_BYTES

__all__ = ["Asking"]

Ask = Callable[[int, int, Sequence["bytes | memoryview"], int], object]


class Asking:
    """The questions of one running method. They end with its call, whatever the method has kept.

    Parameters
    ----------
    target : str
        ``institute/module.method``, for errors.
    ask : callable
        Sends a question: index of the function, number of the question, encoded arguments, their size.
    """

    def __init__(self, target: str, ask: Ask) -> None:
        self._target, self._ask = target, ask
        self._numbers = itertools.count()
        self._open: dict[int, Future[bytes | bytearray | memoryview]] = {}
        self._lock = threading.Lock()
        self._ended = self._cancelled = False

    def _put(self, index: int, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Future[bytes | bytearray | memoryview]:
        # Copied: the method may change an array before it has been sent.
        parts = [bytes(part) if isinstance(part, memoryview) else part for part in wire.encode([list(args), kwargs])]
        size = wire.size_bytes(parts)
        if size > FUNCTION_BYTES:
            raise TooLarge(f"What {self._target} gives to a function of its caller", size, FUNCTION_BYTES, "Give less")
        answer: Future[bytes | bytearray | memoryview] = Future()
        with self._lock:
            if self._cancelled:
                raise CallCancelled(self._target, "stopping")
            if self._ended:
                raise RuntimeError(f"The call of {self._target} that this function belongs to has ended.")
            if len(self._open) >= ASKED_AT_ONCE:
                raise Busy(self._target, f"{ASKED_AT_ONCE} questions to its caller are open")
            number = next(self._numbers)
            self._open[number] = answer
        self._ask(index, number, parts, size)
        return answer

    def blocking(self, index: int, lent: Callable[[], AbstractContextManager[None]]) -> Callable[..., Any]:
        """Return what stands for function `index` in code that may wait; `lent` is entered meanwhile."""

        def function_of_the_caller(*args: Any, **kwargs: Any) -> Any:
            answer = self._put(index, args, kwargs)
            with lent():
                frame = answer.result()
            return wire.decode(frame)

        return function_of_the_caller

    def awaited(self, index: int) -> Callable[..., Any]:
        """Return what stands for function `index` in a coroutine, where it has to be awaited."""

        async def function_of_the_caller(*args: Any, **kwargs: Any) -> Any:
            return wire.decode(await asyncio.wrap_future(self._put(index, args, kwargs)))

        return function_of_the_caller

    def answered(
        self, number: int, frame: bytes | bytearray | memoryview | None, error: LandbridgeError | None
    ) -> None:
        """Give a question its answer: the encoded value, or an error; nobody may be waiting for it any more."""
        with self._lock:
            answer = self._open.pop(number, None)
        if answer is not None and answer.set_running_or_notify_cancel():
            if error is not None:
                answer.set_exception(error)
            elif frame is not None:
                answer.set_result(frame)

    def end(self, *, cancelled: bool = False) -> None:
        """End all questions: the call has ended, or is to end because it was `cancelled`."""
        with self._lock:
            self._ended = True
            self._cancelled = self._cancelled or cancelled
            unanswered, self._open = self._open, {}
        for answer in unanswered.values():
            if answer.set_running_or_notify_cancel():
                answer.set_exception(CallCancelled(self._target, "stopping"))
