"""Questions of a method to functions of its caller: answered, bounded, and ended with the call."""

from __future__ import annotations

import asyncio
import contextlib
import threading

import numpy as np
import pytest

from landbridge import wire
from landbridge.backend.asking import Asking
from landbridge.errors import Busy, CallCancelled, TooLarge, remote_error
from landbridge.protocol import ASKED_AT_ONCE, FUNCTION_BYTES


class Caller:
    """The other side: keeps what was asked, and answers when it is told to."""

    def __init__(self) -> None:
        self.asked: list[tuple[int, int, object]] = []
        self.came = threading.Semaphore(0)
        self.asking = Asking("awi/work.minimize", self._ask)

    def _ask(self, index, number, parts, size):
        frame = b"".join(parts)
        assert len(frame) == size
        self.asked.append((index, number, wire.decode(frame)))
        self.came.release()

    def answer(self, number, value):
        self.asking.answered(number, b"".join(wire.encode(value)), None)


@pytest.fixture
def caller():
    return Caller()


@contextlib.contextmanager
def in_thread(function, *args):
    """Call `function` in a thread; gives a list that has its value or error once the context has ended."""
    outcome: list[object] = []

    def run():
        try:
            outcome.append(function(*args))
        except Exception as error:
            outcome.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield outcome
    finally:
        thread.join(20)
        assert not thread.is_alive()


def test_a_function_is_called_with_what_it_was_given_and_returns_what_it_gave(caller):
    lent = []

    @contextlib.contextmanager
    def lending():
        lent.append("begin")
        yield
        lent.append("end")

    function = caller.asking.blocking(3, lending)
    with in_thread(lambda: function(1, [2], scale=0.5)) as outcome:
        assert caller.came.acquire(timeout=20)
        assert caller.asked == [(3, 0, [[1, [2]], {"scale": 0.5}])]
        caller.answer(0, "done")
    assert outcome == ["done"]
    assert lent == ["begin", "end"]  # the thread is somebody else's while it only waits


def test_an_error_of_the_function_is_raised_where_it_was_called(caller):
    error = remote_error("a function of the caller", "KeyError", "'sst'", "", "KeyError")
    with in_thread(caller.asking.blocking(0, contextlib.nullcontext)) as outcome:
        assert caller.came.acquire(timeout=20)
        caller.asking.answered(0, None, error)
    assert outcome == [error]


def test_answers_find_their_questions_in_whatever_order_they_come(caller):
    async def run():
        function = caller.asking.awaited(0)
        calls = [asyncio.ensure_future(function(number)) for number in range(10)]
        await asyncio.sleep(0)
        for _, number, (args, _) in reversed(caller.asked):
            caller.answer(number, args[0] * 10)
        return await asyncio.gather(*calls)

    assert asyncio.run(run()) == [number * 10 for number in range(10)]


def test_an_array_may_be_changed_once_it_has_been_given(caller):
    array = np.zeros(100_000)
    frames = []
    asking = Asking("awi/work.minimize", lambda index, number, parts, size: frames.append(parts))

    async def run():
        call = asyncio.ensure_future(asking.awaited(0)(array))
        await asyncio.sleep(0)
        array[:] = -1
        asking.end()
        with pytest.raises(CallCancelled):
            await call

    asyncio.run(run())
    (((given,), _),) = [wire.decode(b"".join(parts)) for parts in frames]
    assert not given.any()


def test_what_is_too_large_is_refused_where_it_is_given_and_nothing_is_asked(caller):
    function = caller.asking.blocking(0, contextlib.nullcontext)
    with pytest.raises(TooLarge) as caught:
        function(bytes(FUNCTION_BYTES))
    assert caught.value.limit_bytes == FUNCTION_BYTES
    assert caller.asked == []


def test_so_many_questions_may_be_open_at_a_time(caller):
    async def run():
        function = caller.asking.awaited(0)
        calls = [asyncio.ensure_future(function(number)) for number in range(ASKED_AT_ONCE)]
        await asyncio.sleep(0)
        with pytest.raises(Busy, match="64 questions"):
            await function(0)
        caller.answer(0, "room")
        last = asyncio.ensure_future(function(0))
        await asyncio.sleep(0)
        caller.asking.end()
        ends = await asyncio.gather(*calls, last, return_exceptions=True)
        assert ends[0] == "room"
        assert all(isinstance(end, CallCancelled) for end in ends[1:])

    asyncio.run(run())


def test_all_questions_end_with_the_call_and_none_is_asked_after_it(caller):
    function = caller.asking.blocking(0, contextlib.nullcontext)
    with in_thread(function) as outcome:
        assert caller.came.acquire(timeout=20)
        caller.asking.end()
    assert isinstance(outcome[0], CallCancelled)
    with pytest.raises(RuntimeError, match=r"The call of awi/work.minimize .* has ended"):
        function()
    assert len(caller.asked) == 1


def test_answers_that_nobody_waits_for_do_no_harm(caller):
    caller.answer(7, "what?")

    async def run():
        call = asyncio.ensure_future(caller.asking.awaited(0)())
        await asyncio.sleep(0)
        call.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await call
        caller.answer(0, "too late")

    asyncio.run(run())


def test_whoever_asks_after_the_call_was_cancelled_hears_that(caller):
    caller.asking.end(cancelled=True)
    caller.asking.end()
    with pytest.raises(CallCancelled):
        caller.asking.blocking(0, contextlib.nullcontext)()
    assert caller.asked == []
