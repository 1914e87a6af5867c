"""Laws of one direction of a call: bytes arrive equal, credit is never exceeded, and nobody waits for ever."""

from __future__ import annotations

import itertools
import random

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from landbridge.errors import CallLost, LandbridgeError
from landbridge.protocol import (
    BULK_WINDOW,
    LARGEST_WINDOW,
    OVERHEAD,
    PART_BYTES,
    SMALLEST_WINDOW,
    BulkIn,
    BulkOut,
    Incoming,
    Kind,
    Message,
    Outgoing,
    unpack,
)

# A busy machine is no failure.
PATIENT = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

LIMIT = 9_000_000
windows = st.integers(SMALLEST_WINDOW, 200_000)


def sizes_around(window: int) -> st.SearchStrategy[int]:
    longest = window // 2 - OVERHEAD
    edges = [0, 1, longest - 1, longest, longest + 1, window, PART_BYTES, PART_BYTES + 1, BULK_WINDOW, LIMIT]
    return st.sampled_from(edges) | st.integers(0, LIMIT)


def content(size: int, seed: int) -> bytes:
    return (bytes((seed + place) & 0xFF for place in range(251)) * (size // 251 + 1))[:size]


def split(body: bytes, cuts: list[int]) -> list[memoryview]:
    places = sorted({0, len(body), *(cut % (len(body) + 1) for cut in cuts)})
    return [memoryview(body)[first:last] for first, last in itertools.pairwise(places)]


def read(messages: list) -> list[Message]:
    return [unpack(b"".join(parts)) for parts in messages]


def open_lane(window: int) -> Incoming:
    receiver = Incoming(window, LIMIT, "result", bytearray)
    receiver.lane_open = True
    return receiver


@settings(PATIENT, max_examples=60)
@given(st.data(), windows, st.booleans())
def test_values_arrive_equal_within_credit_and_without_deadlock(data, window, lazy):
    values = data.draw(
        st.lists(st.tuples(sizes_around(window), st.lists(st.integers(0, LIMIT), max_size=4)), max_size=8)
    )
    sender, receiver = Outgoing(window, min(PART_BYTES, window // 2 - OVERHEAD)), open_lane(window)
    sent = [content(size, seed) for seed, (size, _) in enumerate(values)]
    for body, (_, cuts) in zip(sent, values, strict=True):
        sender.put(Kind.ITEM, {}, split(body, cuts), len(body))
    arrived, unused, cost, now = [], [], 0, 0.0
    while len(arrived) < len(sent) or unused:
        now += 0.01
        messages, parts = read(sender.take()), read(sender.take_bulk())
        for message in messages:
            cost += message.body.nbytes + OVERHEAD
            assert cost <= receiver.granted
            assert receiver.order(message) == 0
            unused += receiver.receive(message, now)
        for part in parts:
            assert part.meta["at"] + part.body.nbytes <= receiver.bulk.granted
            unused += receiver.part(part, now)
        # A slow reader uses one value at a time; a quick one uses all it has.
        used = unused[:1] if lazy else unused
        unused = unused[len(used) :]
        for value in used:
            arrived.append(bytes(value.body))
            receiver.use(value.cost, value.bulk)
        due = receiver.grant_is_due()
        assert messages or parts or used or due, "both sides wait for each other"
        if due:
            assert sender.heard(receiver.grants(now), now) == []
    assert arrived == sent
    sender.heard(receiver.grants(now), now)
    assert not sender.keeps
    assert not sender.waiting


@settings(PATIENT)
@given(
    windows,
    st.lists(st.integers(0, 12_000), max_size=60),
    st.lists(st.tuples(st.integers(0, 1 << 20), st.integers(0, 1 << 20)), max_size=10),
)
def test_late_and_doubled_grants_never_lower_the_credit(window, sizes, grants):
    sender = Outgoing(window, min(PART_BYTES, window // 2 - OVERHEAD))
    for size in sizes:
        sender.put(Kind.ITEM, {}, [bytes(size)], size)
    credit, sent, bulk_credit = window, 0, 0
    for granted, bulk_granted in [*grants, *grants, *reversed(grants)]:
        sender.heard({"granted": granted, "bulk_granted": bulk_granted}, 0.0)
        credit, bulk_credit = max(credit, granted), max(bulk_credit, bulk_granted)
        sent += sum(message.body.nbytes + OVERHEAD for message in read(sender.take()))
        assert sent <= credit
        for part in read(sender.take_bulk()):
            assert part.meta["at"] + part.body.nbytes <= bulk_credit


@settings(PATIENT)
@given(
    st.lists(st.integers(1, 1_500_000), min_size=1, max_size=4),
    st.lists(
        st.tuples(st.sampled_from(["grant", "ack", "rewind", "again", "lie"]), st.integers(0, 1 << 23)), max_size=30
    ),
)
def test_whatever_is_acknowledged_or_asked_for_again_every_byte_stands_where_it_stood(sizes, events):
    out = BulkOut()
    values = [content(size, seed) for seed, size in enumerate(sizes)]
    run = b"".join(values)
    for value in values:
        out.put([value], len(value))
    ends, acknowledged, granted = {0}, 0, 0
    for name, number in events:
        if name == "grant":
            granted = max(granted, number)
            out.grant(number)
        elif name == "ack":
            acknowledged = max(acknowledged, sorted(ends)[number % len(ends)])
            out.acknowledge(acknowledged)
        elif name == "rewind":
            later = sorted(end for end in ends if end >= acknowledged)
            out.rewind(later[number % len(later)])
        elif name == "again":
            out.again()
        else:
            # A place that no part ends at is neither believed nor, when it is asked for, sent from.
            if number not in ends:
                out.acknowledge(number)
                try:
                    out.rewind(number)
                except LandbridgeError:
                    pass
        for part in read(out.take()):
            at, body = part.meta["at"], bytes(part.body)
            assert at in ends
            assert run[at : at + len(body)] == body
            assert at + len(body) <= granted
            ends.add(at + len(body))
        kept = sum(size for size, end in zip(sizes, itertools.accumulate(sizes), strict=True) if end > acknowledged)
        assert out.held_bytes == kept


@settings(PATIENT)
@given(
    st.lists(st.integers(1, 400_000), min_size=1, max_size=6),
    st.integers(0, 1 << 20),
    st.none() | st.integers(0, 1 << 22),
)
def test_parts_in_any_disorder_give_the_value_and_a_wrong_byte_gives_none(sizes, seed, damaged):
    dice = random.Random(seed)
    out, lane = BulkOut(), BulkIn(LIMIT, "result", bytearray)
    values = [content(size, seed) for seed, size in enumerate(sizes)]
    for value in values:
        out.put([value], len(value))
    announced, arrived, now = 0, [], 0.0
    try:
        while len(arrived) < len(values):
            now += 1.0
            if announced < len(values) and (not lane.expects or dice.random() < 0.3):
                lane.announce(len(values[announced]), now)
                announced += 1
            out.grant(lane.grant(now))
            parts = [part for part in read(out.take()) for _ in range(dice.choice([0, 1, 1, 2]))]
            if dice.random() < 0.3:
                dice.shuffle(parts)
            for part in parts:
                at, end = part.meta["at"], part.meta["at"] + part.body.nbytes
                if damaged is not None and at <= damaged < end:
                    body = bytearray(part.body)
                    body[damaged - at] ^= 0x40
                    part = part._replace(body=memoryview(body))
                lane.receive(part, now)
            for value in lane.whole(now):
                arrived.append(value)
                lane.take()
            out.acknowledge(lane.next)
            out.rewind(lane.next)
    except CallLost:
        assert damaged is not None
        assert damaged < sum(sizes)
    else:
        assert arrived == values
        assert damaged is None or damaged >= sum(sizes)
    assert arrived == values[: len(arrived)]


@settings(PATIENT, max_examples=60)
@given(st.lists(st.integers(1, 8 << 20), min_size=1, max_size=5))
def test_a_reader_who_sleeps_holds_one_value_and_a_window(sizes):
    lane, held = BulkIn(1 << 30, "result", bytearray), 0
    out = BulkOut()
    for size in sizes:
        out.put([bytes(size)], size)
        lane.announce(size, 0.0)
    now = 0.0
    while True:
        now += 0.1
        out.grant(lane.grant(now))
        parts = read(out.take())
        for part in parts:
            lane.receive(part, now)
            held += part.body.nbytes
        lane.whole(now)
        if not parts:
            break
    assert held <= sizes[0] + LARGEST_WINDOW
    assert lane.next >= sizes[0]


@settings(PATIENT)
@given(
    st.lists(
        st.tuples(
            st.sampled_from([Kind.ITEM, Kind.RESULT, Kind.PART, Kind.END, Kind.ERROR, Kind.RAISED]),
            st.integers(0, 40_000),
            st.none() | st.integers(0, 200_000),
            st.none() | st.integers(0, 200_000),
            st.integers(0, 200_000),
        ),
        max_size=40,
    )
)
def test_no_sequence_of_messages_makes_a_receiver_hold_more_than_the_limit(messages):
    limit, rooms = 100_000, []
    receiver = Incoming(1 << 20, limit, "result", lambda size: rooms.append(size) or bytearray(size))
    receiver.lane_open = True
    came = 0
    for sequence, (kind, size, total, after, at) in enumerate(messages):
        said = {"total": total, "after": after, "at": at}
        meta = {name: value for name, value in said.items() if value is not None}
        message = Message(kind, sequence, meta, memoryview(bytes(size)))
        try:
            if kind is Kind.PART:
                values = receiver.part(message, 0.0) or []
                came += 1
            else:
                values = receiver.receive(message, 0.0)
        except LandbridgeError:
            return
        assert all(room <= limit for room in rooms)
        assert len(rooms) <= came, "room was made before a byte had come"
        assert receiver.held_bytes <= limit + BULK_WINDOW
        for value in values:
            assert len(value.body) <= limit
            receiver.use(value.cost, value.bulk)
        receiver.grants(0.0)
