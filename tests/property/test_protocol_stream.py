"""Laws of one direction of a call: bytes arrive equal, credit is never exceeded, and nobody waits for ever."""

from __future__ import annotations

import itertools

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from landbridge.errors import LandbridgeError
from landbridge.protocol import (
    OVERHEAD,
    PART_BYTES,
    SMALLEST_WINDOW,
    VALUE_LIMIT,
    Incoming,
    Kind,
    Message,
    Outgoing,
    unpack,
)

# A busy machine is no failure.
PATIENT = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

LIMIT = 300_000
windows = st.integers(SMALLEST_WINDOW, 200_000)


def sizes_around(window: int) -> st.SearchStrategy[int]:
    part = window // 2 - OVERHEAD
    edges = [0, 1, part - 1, part, part + 1, 2 * part, 2 * part + 1, window, window + 1]
    return st.sampled_from(edges) | st.integers(0, LIMIT)


def content(size: int, seed: int) -> bytes:
    return bytes((seed + place) & 0xFF for place in range(min(size, 251))) * (size // 251 + 1)


def split(body: bytes, cuts: list[int]) -> list[memoryview]:
    places = sorted({0, len(body), *(cut % (len(body) + 1) for cut in cuts)})
    return [memoryview(body)[first:last] for first, last in itertools.pairwise(places)]


@settings(PATIENT)
@given(st.data(), windows, st.booleans())
def test_values_arrive_equal_within_credit_and_without_deadlock(data, window, lazy):
    values = data.draw(
        st.lists(st.tuples(sizes_around(window), st.lists(st.integers(0, LIMIT), max_size=4)), max_size=8)
    )
    sender = Outgoing(window, min(PART_BYTES, window // 2 - OVERHEAD))
    receiver = Incoming(window, VALUE_LIMIT, "result")
    sent = [content(size, seed)[:size] for seed, (size, _) in enumerate(values)]
    for body, (_, cuts) in zip(sent, values, strict=True):
        sender.put(Kind.ITEM, {}, split(body, cuts), len(body))

    arrived, unused, cost = [], [], 0
    while True:
        messages = [unpack(b"".join(parts)) for parts in sender.take()]
        for message in messages:
            cost += message.body.nbytes + OVERHEAD
            assert cost <= receiver.granted
            assert receiver.in_order(message)
            value = receiver.receive(message)
            if value is not None:
                arrived.append(bytes(value.body))
                unused.append(value.cost)
        if not sender.waiting:
            break
        # A slow reader uses one value at a time and grants only when that is due; a quick one uses all it has.
        for _ in range(1 if lazy else len(unused)):
            if unused:
                receiver.use(unused.pop(0))
        due = receiver.grant_is_due()
        assert messages or unused or due, "both sides wait for each other"
        if due:
            sender.grant(receiver.grant())
    assert arrived == sent


@settings(PATIENT)
@given(windows, st.lists(st.integers(0, 5_000), max_size=60), st.lists(st.integers(0, 1 << 60), max_size=10))
def test_late_and_doubled_grants_never_lower_the_credit(window, sizes, grants):
    sender = Outgoing(window, min(PART_BYTES, window // 2 - OVERHEAD))
    for size in sizes:
        sender.put(Kind.ITEM, {}, [bytes(size)], size)
    credit, sent = window, 0
    for granted in [*grants, *sorted(grants, reverse=True)]:
        sender.grant(granted)
        credit = max(credit, granted)
        sent += sum(len(b"".join(parts)) - 8 + OVERHEAD for parts in sender.take())
        assert sent <= credit


@settings(PATIENT)
@given(
    st.lists(
        st.tuples(st.sampled_from([Kind.ITEM, Kind.RESULT, Kind.PART]), st.integers(0, 40_000), st.integers(0, 1 << 50))
    )
)
def test_no_sequence_of_messages_makes_a_receiver_hold_more_than_the_limit(messages):
    receiver = Incoming(1 << 20, 100_000, "result")
    for sequence, (kind, size, total) in enumerate(messages):
        try:
            value = receiver.receive(Message(kind, sequence, {"total": total}, memoryview(bytes(size))))
        except LandbridgeError:
            return
        if value is not None:
            assert len(value.body) <= 100_000
            receiver.use(value.cost)
            receiver.grant()
