"""Whole calls: both machines joined by a link, over a clock that only the test moves."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from landbridge.errors import CallCancelled, CallLost, CallTimeout, LandbridgeError, RemoteError
from landbridge.protocol import (
    ACCEPT_AFTER_S,
    CALLER_SILENCE_S,
    OVERHEAD,
    PART_BYTES,
    SILENCE_S,
    SMALLEST_WINDOW,
    VALUE_LIMIT,
    WINDOW,
    Caller,
    Ended,
    Forget,
    Interrupt,
    Item,
    Kind,
    More,
    Phase,
    Responder,
    Run,
    Send,
    State,
    raised_to_meta,
    unpack,
)

# A busy machine is no failure.
PATIENT = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

INSTANCE = "0123456789abcdef" * 2
TARGET = "geomar/ocean.climatology"
TICK_S = 0.05


def content(size: int, seed: int = 0) -> bytes:
    block = hashlib.blake2b(str(seed).encode()).digest()
    return (block * (size // len(block) + 1))[:size]


def once(payload: bytes) -> int:
    """Deliver every message exactly once."""
    return 1


class Call:
    """One call, both drivers and the link between them.

    `copies` says how often a message arrives (0: lost). The method yields `items`, then returns `result`, or ends
    the stream if that is None, or raises if it is an exception.
    """

    def __init__(
        self,
        arguments: bytes,
        items: list[bytes],
        result: bytes | Exception | None,
        *,
        window: int = WINDOW,
        timeout_s: float | None = None,
        obeys: bool = True,
        works_s: float = 0.0,
        reads_at_once: int = 1_000,
        copies: Callable[[bytes], int] = once,
    ) -> None:
        self.now = 50.0
        self.caller = Caller(TARGET, [arguments], len(arguments), timeout_s=timeout_s, window=window)
        self.responder: Responder | None = None
        self.to_backend: deque[bytes] = deque()
        self.to_caller: deque[bytes] = deque()
        self.items, self.result = deque(items), result
        self.obeys, self.works_s, self.reads_at_once, self.copies = obeys, works_s, reads_at_once, copies
        self.ran_with: bytes | None = None
        self.ready_at: float | None = None
        self.code_runs = self.interrupted = False
        self.got: list[bytes] = []
        self.unread: deque[int] = deque()
        self.ended: Ended | None = None
        self.kinds: list[Kind] = []

    def run(self, longest_s: float = 400.0) -> Ended:
        self._act(self.caller.start(self.now))
        until = self.now + longest_s
        while self.now < until and not (self.caller.state is State.DONE and not self.code_runs and not self.to_backend):
            self._deliver()
            self.now += TICK_S
            self._act(self.caller.tick(self.now))
            if self.responder is not None:
                self._act(self.responder.tick(self.now))
        assert self.ended is not None, "no end"
        assert not self.code_runs, "the code still runs"
        return self.ended

    def cancel(self) -> None:
        self._act(self.caller.cancel(self.now))

    def _deliver(self) -> None:
        moved = True
        while moved:
            moved = bool(self.to_backend or self.to_caller or self.unread)
            if self.to_backend:
                message = unpack(self.to_backend.popleft())
                if self.responder is None and message.kind is Kind.CALL:
                    self.responder = Responder(TARGET, INSTANCE, interruptible=True)
                    self._act(self.responder.opened(message, self.now))
                elif self.responder is not None:
                    self._act(self.responder.received(message, self.now))
            if self.to_caller:
                message = unpack(self.to_caller.popleft())
                self.kinds.append(message.kind)
                self._act(self.caller.received(message, self.now))
            if len(self.unread) >= self.reads_at_once or not (self.to_backend or self.to_caller):
                while self.unread:
                    self._act(self.caller.took(self.unread.popleft(), self.now))
            self._work()

    def _work(self) -> None:
        if not self.code_runs or self.ready_at is None or self.now < self.ready_at:
            return
        responder = self.responder
        if self.interrupted:
            if self.obeys:
                self.code_runs = False
                self._act(responder.stopped(self.now))
            return
        if not responder.may_produce:
            return
        if self.items:
            item = self.items.popleft()
            self._act(responder.item([item], len(item), self.now))
            return
        self.code_runs = False
        if isinstance(self.result, Exception):
            meta = raised_to_meta(type(self.result).__name__, str(self.result), type(self.result).__name__, "a1b2")
            self._act(responder.failed(meta, self.now))
        elif self.result is None:
            self._act(responder.finished(self.now))
        else:
            self._act(responder.result([self.result], len(self.result), self.now))

    def _act(self, actions: list) -> None:
        for action in actions:
            if isinstance(action, Send):
                payload = b"".join(action.parts)
                link = self.to_caller if action.to == "inbox" else self.to_backend
                link.extend([payload] * self.copies(payload))
            elif isinstance(action, Run):
                self.ran_with, self.code_runs, self.ready_at = bytes(action.frame), True, self.now + self.works_s
            elif isinstance(action, Interrupt):
                self.interrupted = True
                self.ready_at = self.now
            elif isinstance(action, Item):
                self.got.append(bytes(action.frame))
                self.unread.append(action.cost)
            elif isinstance(action, Ended):
                assert self.ended is None, "ended twice"
                self.ended = action
            elif isinstance(action, More):
                assert self.responder.phase is Phase.RUNNING
            elif isinstance(action, Forget):
                pass


edges = [0, 1, PART_BYTES - 1, PART_BYTES, PART_BYTES + 1, 2 * PART_BYTES + 1, WINDOW, WINDOW + OVERHEAD, VALUE_LIMIT]
sizes = st.sampled_from(edges) | st.integers(0, 3 * PART_BYTES)
small = st.integers(0, 3_000) | st.sampled_from([SMALLEST_WINDOW // 2 - OVERHEAD, SMALLEST_WINDOW // 2, 40_000])
windows = st.sampled_from([0, SMALLEST_WINDOW, SMALLEST_WINDOW + 1, WINDOW]) | st.integers(SMALLEST_WINDOW, 1 << 20)


@settings(PATIENT, max_examples=40)
@given(sizes, sizes, windows)
def test_arguments_and_result_arrive_byte_equal(size, answer, window):
    arguments, result = content(size, 1), content(answer, 2)
    call = Call(arguments, [], result, window=window)
    ended = call.run()
    assert ended.error is None
    assert bytes(ended.frame) == result
    assert call.ran_with == arguments
    assert call.now < 50.0 + 3 * TICK_S, "it had to wait for a clock although nothing was lost"


@settings(PATIENT, max_examples=60)
@given(st.lists(small, max_size=40), small | st.none(), windows, st.integers(1, 10))
def test_items_arrive_in_order_and_byte_equal(item_sizes, answer, window, reads_at_once):
    items = [content(size, number) for number, size in enumerate(item_sizes)]
    result = None if answer is None else content(answer, 99)
    call = Call(b"", items, result, window=window, reads_at_once=reads_at_once)
    ended = call.run()
    assert ended.error is None
    assert (ended.frame if result is None else bytes(ended.frame)) == result
    assert call.got == items
    assert call.now < 50.0 + 3 * TICK_S, "it had to wait for a clock although nothing was lost"


@settings(PATIENT, max_examples=60)
@given(st.lists(small, max_size=20), windows)
def test_all_items_before_an_error_arrive(item_sizes, window):
    items = [content(size, number) for number, size in enumerate(item_sizes)]
    call = Call(b"", items, KeyError("sst"), window=window)
    ended = call.run()
    assert isinstance(ended.error, RemoteError)
    assert isinstance(ended.error, KeyError)
    assert call.got == items


@settings(PATIENT, max_examples=150)
@given(
    st.sampled_from([0, 10, PART_BYTES + 1, WINDOW + 1]),
    st.lists(small, max_size=8),
    st.sampled_from([0, 10, SMALLEST_WINDOW + 1, 3 * PART_BYTES]) | st.none(),
    st.sampled_from([SMALLEST_WINDOW, WINDOW]),
    st.dictionaries(st.integers(0, 30), st.sampled_from([0, 2]), max_size=4),
    st.sampled_from([0.0, 1.0]),
)
def test_a_link_that_loses_and_doubles_gives_the_value_or_an_error_never_a_wrong_value(
    size, item_sizes, answer, window, faults, works_s
):
    arguments = content(size, 1)
    items = [content(length, number + 10) for number, length in enumerate(item_sizes)]
    result = None if answer is None else content(answer, 2)
    passed = iter(range(1_000_000))
    call = Call(
        arguments, items, result, window=window, works_s=works_s, copies=lambda payload: faults.get(next(passed), 1)
    )
    ended = call.run()
    assert call.ran_with in (None, arguments)
    assert call.got == items[: len(call.got)]
    if ended.error is None:
        assert (ended.frame if result is None else bytes(ended.frame)) == result
        assert call.got == items
    else:
        assert faults, "an error although nothing went wrong"
        assert isinstance(ended.error, LandbridgeError)


@pytest.mark.parametrize("kind", [Kind.BEAT, Kind.PROGRESS])
@pytest.mark.parametrize("which", range(6))
def test_a_lost_heartbeat_costs_time_but_not_the_call(kind, which):
    seen = iter(range(1_000_000))

    def copies(payload: bytes) -> int:
        return 0 if payload[1] == kind and next(seen) == which else 1

    arguments, result = content(3 * PART_BYTES, 1), content(VALUE_LIMIT, 2)
    call = Call(arguments, [content(100_000, 3)] * 30, result, window=SMALLEST_WINDOW * 4, copies=copies)
    ended = call.run()
    assert ended.error is None
    assert bytes(ended.frame) == result


@pytest.mark.parametrize("works_s", [0.0, ACCEPT_AFTER_S * 4, 100.0])
@pytest.mark.parametrize("after", [0, 1, 5])
def test_cancel_stops_the_code_and_says_so(works_s, after):
    call = Call(content(PART_BYTES + 1), [content(5_000, 1)] * 50, None, works_s=works_s, window=SMALLEST_WINDOW)
    delivered = iter(range(1_000_000))

    def copies(payload: bytes) -> int:
        if next(delivered) == after:
            call.cancel()
        return 1

    call.copies = copies
    ended = call.run()
    assert ended.error is None or (isinstance(ended.error, CallCancelled) and ended.error.state == "stopped")


def test_a_time_limit_ends_the_caller_at_once_and_stops_the_code():
    call = Call(b"", [], b"", works_s=1_000.0, timeout_s=2.0)
    ended = call.run()
    assert isinstance(ended.error, CallTimeout)
    assert call.interrupted
    assert call.now < 50.0 + 2.0 + 3 * TICK_S


def test_code_that_cannot_be_stopped_is_not_said_to_have_stopped():
    call = Call(b"", [], b"", works_s=30.0)
    call.obeys = False
    call._act(call.caller.start(call.now))
    for _ in range(40):
        call._deliver()
        call.now += TICK_S
        call._act([*call.caller.tick(call.now), *(call.responder.tick(call.now) if call.responder else [])])
        if call.caller.state is State.RUNNING:
            call.cancel()
    assert isinstance(call.ended.error, CallCancelled)
    assert call.ended.error.state == "stopping"
    assert call.responder.phase is Phase.STOPPING


def test_the_code_of_a_caller_who_vanished_is_stopped():
    call = Call(b"", [], b"", works_s=1_000.0)
    call.copies = lambda payload: int(call.now < 52.0)
    ended = call.run()
    assert isinstance(ended.error, CallLost)
    assert call.interrupted
    assert call.now < 52.0 + CALLER_SILENCE_S + SILENCE_S
