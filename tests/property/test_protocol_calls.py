"""Whole calls: both machines joined by links, over a clock that only the test moves."""

from __future__ import annotations

import hashlib
import random
from collections import deque
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from landbridge.errors import CallCancelled, CallLost, CallTimeout, LandbridgeError, RemoteError
from landbridge.protocol import (
    ACCEPT_AFTER_S,
    CALLER_SILENCE_S,
    LARGEST_WINDOW,
    PART_BYTES,
    SILENCE_S,
    SMALLEST_WINDOW,
    WINDOW,
    Caller,
    Ended,
    Interrupt,
    Invoke,
    Item,
    Kind,
    Message,
    More,
    OpenLane,
    Phase,
    Responder,
    Returned,
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
LOST, ONCE, TWICE, AGAIN_LATER = 0, 1, 2, 3


def content(size: int, seed: int = 0) -> bytes:
    block = hashlib.blake2b(str(seed).encode()).digest()
    return (block * (size // len(block) + 1))[:size]


def once(payload: bytes) -> int:
    """Deliver every message exactly once."""
    return ONCE


class Call:
    """One call, both drivers and the four links between them: a main one and a lane in each direction.

    `fate` says what becomes of a message. The method first asks its caller's function `asks`, yields `items`, then
    returns `result`, or ends the stream if that is None, or raises if it is an exception. Links keep their order; which
    of them goes first, `order` decides.
    """

    def __init__(
        self,
        arguments: bytes,
        items: list[bytes],
        result: bytes | Exception | None,
        *,
        asks: list[bytes] | None = None,
        window: int = WINDOW,
        timeout_s: float | None = None,
        obeys: bool = True,
        works_s: float = 0.0,
        reads_at_once: int = 1_000,
        fate: Callable[[bytes], int] = once,
        order: int = 0,
        breaks: dict[int, str] | None = None,
    ) -> None:
        self.now = 50.0
        self.caller = Caller(TARGET, [arguments], len(arguments), timeout_s=timeout_s, window=window)
        self.responder: Responder | None = None
        self.links: dict[str, deque[bytes]] = {
            name: deque() for name in ("to backend", "lane to backend", "to caller", "lane to caller")
        }
        self.late: list[tuple[str, bytes]] = []
        self.items, self.result, self.asks = deque(items), result, deque(asks or [])
        self.asked: bytes | None = None
        self.obeys, self.works_s, self.reads_at_once, self.fate = obeys, works_s, reads_at_once, fate
        self.order, self.breaks = random.Random(order), breaks or {}
        self.ran_with: bytes | None = None
        self.ready_at: float | None = None
        self.code_runs = self.interrupted = False
        self.got: list[bytes] = []
        self.unread: deque[Item] = deque()
        self.ended: Ended | None = None
        self.ended_at = 0.0

    def run(self, longest_s: float = 400.0) -> Ended:
        self._caller(self.caller.start(self.now))
        until, ticks = self.now + longest_s, 0
        while self.now < until and not (self.caller.state is State.DONE and not self.code_runs):
            self._deliver()
            self.now += TICK_S
            ticks += 1
            if ticks in self.breaks:
                self._break(self.breaks[ticks])
            for name, payload in self.late:
                self.links[name].append(payload)
            self.late.clear()
            self._caller(self.caller.tick(self.now))
            if self.responder is not None:
                self._backend(self.responder.tick(self.now))
        self._deliver()
        assert self.ended is not None, "no end"
        assert not self.code_runs, "the code still runs"
        return self.ended

    def cancel(self) -> None:
        self._caller(self.caller.cancel(self.now))

    def _break(self, which: str) -> None:
        """Cut a connection: what was under way is lost, and its owner hears that it is back."""
        both = ("to backend", "to caller") if "main" in which else ("lane to backend", "lane to caller")
        for name in both:
            self.links[name].clear()
        if which == "caller's main":
            self.caller.disconnected()
            self._caller(self.caller.reconnected(self.now))
        elif which == "caller's lane":
            self._caller(self.caller.lane_opened(self.now, LARGEST_WINDOW))
        elif self.responder is not None and which == "backend's main":
            self._backend(self.responder.reconnected(self.now))
        elif self.responder is not None:
            self._backend(self.responder.lane_opened(self.now, LARGEST_WINDOW))

    def _deliver(self) -> None:
        while True:
            full = [name for name, link in self.links.items() if link]
            if full:
                name = self.order.choice(full)
                message = unpack(self.links[name].popleft())
                if "backend" in name:
                    self._to_backend(message)
                else:
                    self._caller(self.caller.received(message, self.now))
            if len(self.unread) >= self.reads_at_once or (not full and self.unread):
                while self.unread:
                    item = self.unread.popleft()
                    self._caller(self.caller.took(item.cost, item.bulk, self.now))
            elif not full and not self._work():
                return
            self._work()

    def _to_backend(self, message: Message) -> None:
        if self.responder is None:
            if message.kind is Kind.CALL:
                self.responder = Responder(TARGET, INSTANCE, interruptible=True)
                self._backend(self.responder.opened(message, self.now))
        elif self.responder.phase is not Phase.DONE:
            self._backend(self.responder.received(message, self.now))
        elif message.kind is Kind.BEAT:
            # As a backend does with a call that is finished: what it keeps may be what the caller missed.
            out = self.responder.out
            for parts in out.heard(message.meta, self.now) or out.again(self.now):
                self._send("to caller", parts)
            for parts in out.take_bulk():
                self._send("lane to caller", parts)
            if out.keeps:
                self._send("to caller", out.uncounted(Kind.BEAT, {"instance": INSTANCE}))

    def _work(self) -> bool:
        responder = self.responder
        if not self.code_runs or self.ready_at is None or self.now < self.ready_at or responder is None:
            return False
        if self.interrupted:
            if self.obeys:
                self.code_runs = False
                self._backend(responder.stopped(self.now))
            return self.obeys
        if not responder.may_produce or self.asked is not None:
            return False
        if self.asks:
            self.asked = self.asks.popleft()
            self._backend(responder.invoke(3, 7, [self.asked], len(self.asked), self.now))
        elif self.items:
            item = self.items.popleft()
            self._backend(responder.item([item], len(item), self.now))
        else:
            self.code_runs = False
            self._backend(self._outcome(responder))
        return True

    def _outcome(self, responder: Responder) -> list:
        if isinstance(self.result, Exception):
            name = type(self.result).__name__
            return responder.failed(raised_to_meta(name, str(self.result), name, "a1b2"), self.now)
        if self.result is None:
            return responder.finished(self.now)
        return responder.result([self.result], len(self.result), self.now)

    def _send(self, name: str, parts: list) -> None:
        payload = b"".join(parts)
        fate = self.fate(payload)
        self.links[name].extend([payload] * (0 if fate == LOST else 2 if fate == TWICE else 1))
        if fate == AGAIN_LATER:
            self.late.append((name, payload))

    def _caller(self, actions: list) -> None:
        for action in actions:
            if isinstance(action, Send):
                self._send("lane to backend" if action.to == "lane" else "to backend", action.parts)
            elif isinstance(action, OpenLane):
                self._caller(self.caller.lane_opened(self.now, LARGEST_WINDOW))
            elif isinstance(action, Item):
                self.got.append(bytes(action.frame))
                self.unread.append(action)
            elif isinstance(action, Invoke):
                assert (action.function, action.ask) == (3, 7)
                answer = bytes(action.frame)
                self._caller(self.caller.took(action.cost, action.bulk, self.now))
                self._caller(self.caller.returned(7, [answer], len(answer), self.now))
            elif isinstance(action, Ended):
                assert self.ended is None, "ended twice"
                self.ended, self.ended_at = action, self.now

    def _backend(self, actions: list) -> None:
        responder = self.responder
        assert responder is not None
        for action in actions:
            if isinstance(action, Send):
                self._send("lane to caller" if action.to == "lane" else "to caller", action.parts)
            elif isinstance(action, OpenLane):
                self._backend(responder.lane_opened(self.now, LARGEST_WINDOW))
            elif isinstance(action, Run):
                assert self.ran_with is None, "run twice"
                self.ran_with, self.code_runs, self.ready_at = bytes(action.frame), True, self.now + self.works_s
            elif isinstance(action, Returned):
                assert bytes(action.frame) == self.asked
                self.asked = None
            elif isinstance(action, Interrupt):
                self.interrupted = True
                self.ready_at = self.now
            elif isinstance(action, More):
                assert responder.phase is Phase.RUNNING


edges = [0, 1, PART_BYTES - 1, PART_BYTES, PART_BYTES + 1, 2 * PART_BYTES + 1, WINDOW, 5 * PART_BYTES]
sizes = st.sampled_from(edges) | st.integers(0, 3 * PART_BYTES)
small = st.integers(0, 3_000) | st.sampled_from([SMALLEST_WINDOW // 2 - 64, SMALLEST_WINDOW // 2, 40_000])
mixed = small | st.sampled_from([PART_BYTES + 1, 3 * PART_BYTES])
windows = st.sampled_from([0, SMALLEST_WINDOW, SMALLEST_WINDOW + 1, WINDOW]) | st.integers(SMALLEST_WINDOW, 1 << 20)
orders = st.integers(0, 1 << 20)


@settings(PATIENT, max_examples=40)
@given(sizes, sizes, windows, orders)
def test_arguments_and_result_arrive_byte_equal(size, answer, window, order):
    arguments, result = content(size, 1), content(answer, 2)
    call = Call(arguments, [], result, window=window, order=order)
    ended = call.run()
    assert ended.error is None
    assert bytes(ended.frame) == result
    assert call.ran_with == arguments
    assert call.now < 50.0 + 3 * TICK_S, "it had to wait for a clock although nothing was lost"


@settings(PATIENT, max_examples=60)
@given(
    st.lists(mixed, max_size=30), mixed | st.none(), st.lists(mixed, max_size=4), windows, st.integers(1, 10), orders
)
def test_items_arrive_in_order_and_byte_equal(item_sizes, answer, ask_sizes, window, reads_at_once, order):
    items = [content(size, number) for number, size in enumerate(item_sizes)]
    result = None if answer is None else content(answer, 99)
    asks = [content(size, 100 + number) for number, size in enumerate(ask_sizes)]
    call = Call(b"", items, result, asks=asks, window=window, reads_at_once=reads_at_once, order=order)
    ended = call.run()
    assert ended.error is None
    assert (ended.frame if result is None else bytes(ended.frame)) == result
    assert call.got == items
    assert call.now < 50.0 + 3 * TICK_S, "it had to wait for a clock although nothing was lost"


@settings(PATIENT, max_examples=40)
@given(st.lists(mixed, max_size=12), windows, orders)
def test_all_items_before_an_error_arrive(item_sizes, window, order):
    items = [content(size, number) for number, size in enumerate(item_sizes)]
    call = Call(b"", items, KeyError("sst"), window=window, order=order)
    ended = call.run()
    assert isinstance(ended.error, RemoteError)
    assert isinstance(ended.error, KeyError)
    assert call.got == items


def faulty(fates: dict[int, int], *, first: int = 1) -> Callable[[bytes], int]:
    """Deal out fates by the number of the message, from `first`: number 0 is the request."""
    passed = iter(range(1_000_000))

    def fate(payload: bytes) -> int:
        number = next(passed)
        return fates.get(number, ONCE) if number >= first else ONCE

    return fate


arguments_sizes = st.sampled_from([0, 10, PART_BYTES + 1, WINDOW + 1])
answers = st.sampled_from([0, 10, SMALLEST_WINDOW + 1, 3 * PART_BYTES]) | st.none()
breaking = st.dictionaries(
    st.integers(0, 30),
    st.sampled_from(["caller's main", "caller's lane", "backend's main", "backend's lane"]),
    max_size=3,
)


@settings(PATIENT, max_examples=120)
@given(
    arguments_sizes,
    st.lists(mixed, max_size=8),
    answers,
    st.sampled_from([SMALLEST_WINDOW, WINDOW]),
    st.dictionaries(st.integers(1, 60), st.sampled_from([LOST, TWICE, AGAIN_LATER]), max_size=12),
    breaking,
    st.sampled_from([0.0, 1.0]),
    orders,
)
def test_what_is_lost_or_doubled_is_made_good(size, item_sizes, answer, window, fates, breaks, works_s, order):
    # With more losses in a row than heartbeats in SILENCE_S the other side counts as gone.
    for number in [number for number, fate in fates.items() if fate == LOST][3:]:
        del fates[number]
    arguments = content(size, 1)
    items = [content(length, number + 10) for number, length in enumerate(item_sizes)]
    result = None if answer is None else content(answer, 2)
    asks = [content(length, 7) for length in item_sizes[:2]]
    call = Call(
        arguments, items, result, asks=asks, window=window, works_s=works_s, fate=faulty(fates), order=order,
        breaks=breaks,
    )  # fmt: skip
    ended = call.run()
    assert ended.error is None
    assert (ended.frame if result is None else bytes(ended.frame)) == result
    assert call.ran_with == arguments
    assert call.got == items


@settings(PATIENT, max_examples=60)
@given(
    arguments_sizes,
    st.lists(mixed, max_size=8),
    answers,
    st.floats(0, 0.6),
    orders,
    breaking,
    st.sampled_from([None, 3.0, 20.0]),
    st.none() | st.integers(0, 40),
)
def test_however_bad_the_links_a_call_ends_once_with_the_value_or_an_error(
    size, item_sizes, answer, loss, order, breaks, timeout_s, cancel_at
):
    arguments = content(size, 1)
    # A call gives items and an end, or one value.
    items = [content(length, number + 10) for number, length in enumerate(item_sizes)] if answer is None else []
    result = None if answer is None else content(answer, 2)
    dice, passed = random.Random(order), iter(range(1_000_000))

    def fate(payload: bytes) -> int:
        if next(passed) == cancel_at:
            call.cancel()
        return LOST if dice.random() < loss else dice.choice([ONCE, ONCE, TWICE, AGAIN_LATER])

    call = Call(arguments, items, result, timeout_s=timeout_s, fate=fate, order=order, breaks=breaks)
    ended = call.run(longest_s=2_000.0)
    assert call.ran_with in (None, arguments)
    assert call.got == items[: len(call.got)]
    if ended.error is None:
        assert (ended.frame if result is None else bytes(ended.frame)) == result
        assert call.got == items
    else:
        assert isinstance(ended.error, LandbridgeError)


@pytest.mark.parametrize("kind", [Kind.BEAT, Kind.PART, Kind.RESULT, Kind.ITEM])
@pytest.mark.parametrize("which", range(6))
def test_one_lost_message_costs_time_but_not_the_call(kind, which):
    seen = iter(range(1_000_000))

    def fate(payload: bytes) -> int:
        return LOST if payload[1] == kind and next(seen) == which else ONCE

    arguments, result = content(3 * PART_BYTES, 1), content(16 * PART_BYTES, 2)
    call = Call(arguments, [content(100_000, 3)] * 30, result, window=SMALLEST_WINDOW * 4, fate=fate)
    ended = call.run()
    assert ended.error is None
    assert bytes(ended.frame) == result


def test_a_request_that_was_lost_ends_as_lost():
    call = Call(b"x", [], b"y", fate=faulty({0: LOST}, first=0))
    assert isinstance(call.run().error, CallLost)
    assert call.ended_at < 50.0 + SILENCE_S + 3 * TICK_S


@pytest.mark.parametrize("works_s", [0.0, ACCEPT_AFTER_S * 4, 100.0])
@pytest.mark.parametrize("after", [0, 1, 5])
def test_cancel_stops_the_code_and_says_so(works_s, after):
    call = Call(content(PART_BYTES + 1), [content(5_000, 1)] * 50, None, works_s=works_s, window=SMALLEST_WINDOW)
    delivered = iter(range(1_000_000))

    def fate(payload: bytes) -> int:
        if next(delivered) == after:
            call.cancel()
        return ONCE

    call.fate = fate
    ended = call.run()
    assert ended.error is None or (isinstance(ended.error, CallCancelled) and ended.error.state == "stopped")


def test_a_time_limit_ends_the_caller_at_once_and_stops_the_code():
    call = Call(b"", [], b"", works_s=1_000.0, timeout_s=2.0)
    ended = call.run()
    assert isinstance(ended.error, CallTimeout)
    assert call.interrupted
    assert call.now < 50.0 + 2.0 + 3 * TICK_S


def test_code_that_cannot_be_stopped_is_not_said_to_have_stopped():
    call = Call(b"", [], b"", works_s=30.0, obeys=False)
    call._caller(call.caller.start(call.now))
    for _ in range(60):
        call._deliver()
        call.now += TICK_S
        call._caller(call.caller.tick(call.now))
        if call.responder is not None:
            call._backend(call.responder.tick(call.now))
        if call.caller.state is State.RUNNING:
            call.cancel()
    assert isinstance(call.ended.error, CallCancelled)
    assert call.ended.error.state == "stopping"
    assert call.responder.phase is Phase.STOPPING


def test_the_code_of_a_caller_who_vanished_is_stopped():
    call = Call(b"", [], b"", works_s=1_000.0)
    call.fate = lambda payload: ONCE if call.now < 52.0 else LOST
    ended = call.run()
    assert isinstance(ended.error, CallLost)
    assert call.interrupted
    assert call.now < 52.0 + CALLER_SILENCE_S + SILENCE_S
