"""One direction of a call: parts, credit, and senders that break the rules."""

from __future__ import annotations

import numpy as np
import pytest

from landbridge.errors import Malformed, TooLarge
from landbridge.protocol import OVERHEAD, Incoming, Kind, Message, Outgoing, pack, unpack

PLENTY = 1 << 40


def taken(sender: Outgoing) -> list[Message]:
    return [unpack(b"".join(parts)) for parts in sender.take()]


def message(kind: Kind, body: bytes = b"", sequence: int = 0, **meta: object) -> Message:
    return Message(kind, sequence, meta, memoryview(body))


def test_a_value_that_fits_goes_as_one_message_without_total():
    sender = Outgoing(PLENTY, 10)
    sender.put(Kind.RESULT, {"x": 1}, [b"01234", b"56789"], 10)
    (only,) = taken(sender)
    assert only == (Kind.RESULT, 0, {"x": 1}, b"0123456789")


def test_a_longer_value_says_its_total_and_goes_on_as_parts():
    sender = Outgoing(PLENTY, 4)
    sender.put(Kind.ITEM, {}, [b"01234", b"", b"56789"], 10)
    messages = taken(sender)
    assert [(one.kind, one.sequence, one.meta, bytes(one.body)) for one in messages] == [
        (Kind.ITEM, 0, {"total": 10}, b"0123"),
        (Kind.PART, 1, {}, b"4567"),
        (Kind.PART, 2, {}, b"89"),
    ]


def test_views_of_wider_items_are_cut_at_bytes():
    array = np.arange(6, dtype=np.float64).reshape(2, 3)
    sender = Outgoing(PLENTY, 20)
    empty = memoryview(np.empty((3, 0)))
    sender.put(Kind.RESULT, {}, [empty, memoryview(array), memoryview(np.array(2.5)), array.data.cast("B")], 104)
    bodies = [bytes(one.body) for one in taken(sender)]
    assert b"".join(bodies) == array.tobytes() + np.array(2.5).tobytes() + array.tobytes()
    assert [len(body) for body in bodies] == [20, 20, 20, 20, 20, 4]


def test_an_empty_value_is_a_message_too():
    sender = Outgoing(PLENTY, 4)
    sender.put(Kind.ITEM, {}, [], 0)
    sender.put(Kind.ITEM, {}, [b""], 0)
    assert [bytes(one.body) for one in taken(sender)] == [b"", b""]


def test_nothing_goes_beyond_the_credit():
    sender = Outgoing(2 * OVERHEAD + 9, 5)
    sender.put(Kind.ITEM, {}, [bytes(10)], 10)
    assert len(taken(sender)) == 1
    assert sender.waiting
    sender.grant(2 * OVERHEAD + 10)
    assert len(taken(sender)) == 1
    assert not sender.waiting


def test_a_smaller_grant_is_an_old_message():
    sender = Outgoing(0, 5)
    sender.grant(OVERHEAD + 5)
    sender.grant(3)
    sender.put(Kind.ITEM, {}, [bytes(5)], 5)
    assert len(taken(sender)) == 1


def test_only_counted_kinds_take_a_number():
    sender = Outgoing(0, 5)
    heads = [sender.head(kind) for kind in (Kind.BEAT, Kind.ITEM, Kind.BEAT, Kind.PROGRESS, Kind.END, Kind.CANCEL)]
    assert [unpack(head).sequence for head in heads] == [0, 0, 1, 1, 1, 2]


def test_numbers_go_on_after_32_bits():
    sender, receiver = Outgoing(0, 5), Incoming(100, 100, "result")
    sender._sequence = receiver._expected = 0xFFFFFFFF
    for kind in (Kind.BEAT, Kind.ITEM, Kind.BEAT, Kind.ITEM):
        assert receiver.in_order(unpack(sender.head(kind)))


def test_a_gap_in_the_numbers_shows_a_loss():
    receiver = Incoming(1000, 1000, "result")
    assert receiver.in_order(message(Kind.ITEM, sequence=0))
    assert not receiver.in_order(message(Kind.ITEM, sequence=2))
    assert not receiver.in_order(message(Kind.BEAT, sequence=2))
    assert not receiver.in_order(message(Kind.ITEM, sequence=0))
    assert receiver.in_order(message(Kind.BEAT, sequence=1))
    assert receiver.in_order(message(Kind.ITEM, sequence=1))


def test_parts_are_put_together():
    receiver = Incoming(1000, 1000, "result")
    assert receiver.receive(message(Kind.RESULT, b"abc", total=7)) is None
    assert receiver.receive(message(Kind.PART, b"de")) is None
    value = receiver.receive(message(Kind.PART, b"fg"))
    assert (value.kind, bytes(value.body), value.cost) == (Kind.RESULT, b"abcdefg", 2 + OVERHEAD)


def test_using_a_value_frees_its_room():
    receiver = Incoming(1000, 1000, "result")
    value = receiver.receive(message(Kind.ITEM, bytes(600)))
    assert not receiver.grant_is_due()
    receiver.use(value.cost)
    assert receiver.grant_is_due()
    assert receiver.grant() == receiver.granted == 1000 + 600 + OVERHEAD
    assert not receiver.grant_is_due()


@pytest.mark.parametrize("total", [1001, 1 << 40, 1 << 60])
def test_a_huge_declared_value_is_refused_before_anything_is_allocated(total):
    receiver = Incoming(1000, 1000, "result")
    with pytest.raises(TooLarge) as caught:
        receiver.receive(message(Kind.RESULT, b"abc", total=total))
    assert caught.value.size_bytes == total
    assert len(receiver._buffer) == 0


def test_a_huge_first_message_is_refused():
    with pytest.raises(TooLarge):
        Incoming(5000, 1000, "result").receive(message(Kind.RESULT, bytes(1001)))


@pytest.mark.parametrize("total", [2, 0, -1, 7.0, "7", None, [7]])
def test_a_total_that_cannot_be_is_malformed(total):
    with pytest.raises(Malformed):
        Incoming(1000, 1000, "result").receive(message(Kind.RESULT, b"abc", total=total))


def test_more_than_was_granted_is_malformed():
    receiver = Incoming(3 * OVERHEAD, 1000, "result")
    for _ in range(3):
        receiver.receive(message(Kind.ITEM))
    with pytest.raises(Malformed, match="credit"):
        receiver.receive(message(Kind.ITEM))


@pytest.mark.parametrize(
    "messages",
    [
        [message(Kind.PART, b"abc")],
        [message(Kind.RESULT, b"abc"), message(Kind.PART, b"abc")],
        [message(Kind.RESULT, b"", total=5)],
        [message(Kind.RESULT, b"abc", total=5), message(Kind.PART, b"")],
        [message(Kind.RESULT, b"abc", total=5), message(Kind.PART, b"abc")],
        [message(Kind.RESULT, b"abc", total=5), message(Kind.ITEM, b"ab")],
        [message(Kind.RESULT, b"abc", total=5), message(Kind.PART, b"ab"), message(Kind.PART, b"a")],
    ],
)
def test_parts_that_belong_to_no_value_are_malformed(messages):
    receiver = Incoming(1000, 1000, "result")
    for one in messages[:-1]:
        receiver.receive(one)
    with pytest.raises(Malformed):
        receiver.receive(messages[-1])


def test_a_packed_head_carries_the_number():
    assert Outgoing(0, 5).head(Kind.END) == pack(Kind.END, 0)
