"""An event loop whose turn other threads may take while it waits, instead of waking its thread for each message.

What belongs to a loop may be touched by its thread alone, and every hand-over to it costs two wake-ups of a thread,
more than most small calls take otherwise. The thread of this loop lets go of a lock while it waits for something to
happen; whoever holds the lock may do meanwhile what a callback may do.
"""

from __future__ import annotations

import asyncio
import selectors
import threading
from collections.abc import Callable, Coroutine
from contextvars import Context, copy_context
from functools import partial
from typing import Any, Protocol, TypeVar, TypeVarTuple, Unpack

__all__ = ["SharedLoop"]


_T = TypeVar("_T")
_Ts = TypeVarTuple("_Ts")


class _Turn:
    """Who may touch what belongs to the loop: one thread at a time, and the loop's own before others."""

    def __init__(self) -> None:
        self._held = threading.Lock()
        self._next = threading.Lock()
        self._held.acquire()  # until the loop waits for the first time

    def take(self) -> None:
        # Python's locks are not fair: whoever gives one back and wants it again would keep the others out.
        with self._next:
            self._held.acquire()

    def take_if_free(self) -> bool:
        return not self._next.locked() and self._held.acquire(blocking=False)

    def give(self) -> None:
        self._held.release()


class _Selector(selectors.DefaultSelector):
    def __init__(self, turn: _Turn, end_turn: Callable[[], bool]) -> None:
        super().__init__()
        self._turn, self._end_turn = turn, end_turn

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if self._end_turn():
            timeout = 0
        self._turn.give()
        try:
            found = super().select(timeout)
        finally:
            self._turn.take()
        # Meanwhile others may have closed what is named here, or opened something else in its place.
        registered = self.get_map()
        return [each for each in found if registered.get(each[0].fd) is each[0]]


class Box(Protocol):
    """Something into which any thread puts what the loop is to do."""

    @property
    def is_full(self) -> bool:
        """Whether anything is in it."""

    def empty(self) -> None:
        """Do what is in it."""


class SharedLoop(asyncio.SelectorEventLoop):
    """An event loop whose turn other threads may borrow while it waits.

    Who has borrowed it does what a callback would do: briefly, and without waiting. Callbacks that are scheduled then
    are called by the loop's own thread, but for those given to `at_turn_end`.
    """

    def __init__(self) -> None:
        self._turn = _Turn()
        self._is_borrowed = self._was_scheduled = False
        self._running_before: asyncio.AbstractEventLoop | None = None
        self._last_of_turn: list[Callable[[], object]] = []
        self._boxes: list[Box] = []
        self._context = copy_context()  # what is begun in a borrowed turn knows nothing of who has borrowed it
        super().__init__(_Selector(self._turn, self._end_own_turn))

    def borrow(self) -> None:
        """Wait until it is this thread's turn; `give_back` has to follow soon."""
        self._turn.take()
        self._begin()

    def borrow_if_free(self) -> bool:
        """Take the turn if nobody has it; True when this thread has it now, and has to `give_back`."""
        if self.get_debug() or not self._turn.take_if_free():
            return False  # asyncio's debug mode refuses what other threads do
        self._begin()
        return True

    def _begin(self) -> None:
        self._is_borrowed, self._was_scheduled = True, False
        self._running_before = asyncio._get_running_loop()
        asyncio._set_running_loop(self)

    def give_back(self) -> None:
        """End a turn that was borrowed."""
        self._end_turn()
        # Who put something into a box meanwhile has relied on us. If others have their turn now, they see to it.
        while self._has_full_box() and self.borrow_if_free():
            self._empty_boxes()
            self._end_turn()

    def empty_boxes_if_free(self) -> None:
        """Empty the boxes in a turn of this thread, if nobody has the turn."""
        if self.borrow_if_free():
            self._empty_boxes()
            self.give_back()

    def _end_turn(self) -> None:
        try:
            self._do_last_of_turn()
        finally:
            asyncio._set_running_loop(self._running_before)
            self._running_before = None
            wake, self._is_borrowed = self._was_scheduled, False
            self._turn.give()
        if wake:
            self.call_soon_threadsafe(_nothing)

    def _end_own_turn(self) -> bool:
        """End a turn of the loop's own thread; True when there is something to do before it may wait."""
        if not self._last_of_turn and not self._has_full_box():
            return False
        self._was_scheduled = False
        self._empty_boxes()
        self._do_last_of_turn()
        return self._was_scheduled

    def at_turn_end(self, callback: Callable[[], object]) -> None:
        """Have `callback` called when this turn ends, in the thread whose turn it is."""
        self._last_of_turn.append(callback)

    def _do_last_of_turn(self) -> None:
        while self._last_of_turn:
            self._guarded(self._last_of_turn.pop())

    def look_after(self, box: Box) -> None:
        """Have a box emptied at the end of each turn; who finds `is_borrowed` after filling it may rely on that."""
        self._boxes.append(box)

    def _has_full_box(self) -> bool:
        return any(box.is_full for box in self._boxes)

    def _empty_boxes(self) -> None:
        for box in self._boxes:
            self._guarded(partial(self._context.run, box.empty))

    def _guarded(self, callback: Callable[[], object]) -> None:
        try:
            callback()
        except (Exception, asyncio.CancelledError) as error:  # as asyncio does with what callbacks raise
            self.call_exception_handler({"message": "what was to be done at the end of a turn", "exception": error})

    @property
    def is_borrowed(self) -> bool:
        """Whether another thread than the loop's has its turn."""
        return self._is_borrowed

    def call_soon(
        self, callback: Callable[[Unpack[_Ts]], object], *args: *_Ts, context: Context | None = None
    ) -> asyncio.Handle:
        """Have `callback` called by the loop's own thread, as `asyncio.AbstractEventLoop.call_soon` does."""
        self._was_scheduled = True
        return super().call_soon(callback, *args, context=self._own(context))

    def call_at(
        self, when: float, callback: Callable[[Unpack[_Ts]], object], *args: *_Ts, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """Have `callback` called at a time, as `asyncio.AbstractEventLoop.call_at` does."""
        self._was_scheduled = True
        return super().call_at(when, callback, *args, context=self._own(context))

    def create_task(self, coro: Coroutine[Any, Any, _T], **options: Any) -> asyncio.Task[_T]:  # type: ignore[override] # its options differ by version
        """Have a coroutine run by the loop's own thread, as `asyncio.AbstractEventLoop.create_task` does."""
        return super().create_task(coro, **{**options, "context": self._own(options.get("context"))})

    def _own(self, context: Context | None) -> Context | None:
        return self._context.copy() if context is None and self._is_borrowed else context


def _nothing() -> None:
    """Be called by the loop, which looks for what else there is to do then."""
