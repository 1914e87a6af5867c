"""One direction of a call: counted messages, credit, what is sent again, and senders that break the rules."""

from __future__ import annotations

import pytest

from landbridge.errors import Malformed, TooLarge
from landbridge.protocol import LARGEST_WINDOW, OVERHEAD, WINDOW, Incoming, Kind, Message, Outgoing, pack, unpack

PLENTY = 1 << 40


def read(messages: list) -> list[Message]:
    return [unpack(b"".join(parts)) for parts in messages]


def message(kind: Kind, body: bytes = b"", sequence: int = 0, **meta: object) -> Message:
    return Message(kind, sequence, meta, memoryview(body))


def receiver(window: int = 1000, limit: int = 1000) -> Incoming:
    return Incoming(window, limit, "result", bytearray)


def lane(window: int = WINDOW, limit: int = PLENTY) -> Incoming:
    """A receiver whose lane for long values is open."""
    incoming = Incoming(window, limit, "result", bytearray)
    incoming.lane_open = True
    return incoming


def test_a_value_that_fits_goes_as_one_message_without_total():
    sender = Outgoing(PLENTY, 10)
    sender.put(Kind.RESULT, {"x": 1}, [b"01234", b"56789"], 10)
    (only,) = read(sender.take())
    assert only == (Kind.RESULT, 0, {"x": 1}, b"0123456789")
    assert sender.bulk is None


def test_a_longer_value_is_announced_in_its_place_and_goes_through_the_lane():
    sender = Outgoing(PLENTY, 4)
    sender.put(Kind.ITEM, {}, [b"012"], 3)
    sender.put(Kind.ITEM, {}, [b"01234", b"56789"], 10)
    sender.put(Kind.ITEM, {}, [b"3"], 1)
    sender.put(Kind.END, {}, (), 0)
    assert read(sender.take()) == [
        (Kind.ITEM, 0, {}, b"012"),
        (Kind.ITEM, 1, {"total": 10}, b""),
        (Kind.ITEM, 2, {"after": 10}, b"3"),
        (Kind.END, 3, {"after": 10}, b""),
    ]
    assert sender.take_bulk() == []
    sender.heard({"bulk_granted": 100}, 0.0)
    ((kind, sequence, meta, body),) = read(sender.take_bulk())
    assert (kind, sequence, meta["at"], bytes(body)) == (Kind.PART, 0, 0, b"0123456789")


def test_an_empty_value_is_a_message_too():
    sender = Outgoing(PLENTY, 4)
    sender.put(Kind.ITEM, {}, [], 0)
    sender.put(Kind.ITEM, {}, [b""], 0)
    assert [bytes(one.body) for one in read(sender.take())] == [b"", b""]


def test_nothing_goes_beyond_the_credit():
    sender = Outgoing(2 * OVERHEAD + 9, 5)
    for _ in range(2):
        sender.put(Kind.ITEM, {}, [bytes(5)], 5)
    assert len(sender.take()) == 1
    assert sender.waiting
    assert sender.at_once(Kind.ITEM, [], 0) is None
    sender.heard({"granted": 2 * OVERHEAD + 10}, 0.0)
    assert len(sender.take()) == 1
    assert not sender.waiting


def test_a_smaller_grant_is_an_old_message():
    sender = Outgoing(0, 5)
    sender.heard({"granted": OVERHEAD + 5}, 0.0)
    sender.heard({"granted": 3}, 0.0)
    sender.put(Kind.ITEM, {}, [bytes(5)], 5)
    assert len(sender.take()) == 1


def test_only_counted_kinds_take_a_number():
    sender = Outgoing(0, 5)
    messages = [
        sender.uncounted(Kind.BEAT),
        sender.counted(Kind.ITEM),
        sender.uncounted(Kind.BEAT),
        sender.uncounted(Kind.LOG),
        sender.counted(Kind.END),
        sender.uncounted(Kind.CANCEL),
    ]
    assert [one.sequence for one in read(messages)] == [0, 0, 1, 1, 1, 2]
    assert sender.counted(Kind.END) == [pack(Kind.END, 2)]


def test_numbers_go_on_after_32_bits():
    sender, incoming = Outgoing(0, 5), receiver()
    sender._sequence = incoming._expected = 0xFFFFFFFF
    for made in (sender.uncounted, sender.counted, sender.uncounted, sender.counted):
        assert incoming.order(*read([made(Kind.BEAT if made == sender.uncounted else Kind.ITEM)])) == 0
    assert incoming.grants(0.0)["next"] == 0x1_0000_0001
    sender.heard(incoming.grants(0.0), 0.0)
    assert not sender.keeps


def test_the_number_shows_what_is_due_what_came_twice_and_what_is_missing():
    incoming = receiver()
    assert incoming.order(message(Kind.ITEM, sequence=0)) == 0
    assert incoming.order(message(Kind.ITEM, sequence=2)) == 1
    assert incoming.order(message(Kind.BEAT, sequence=3)) == 2
    assert incoming.order(message(Kind.ITEM, sequence=0)) == -1
    assert incoming.order(message(Kind.BEAT, sequence=1)) == 0
    assert incoming.order(message(Kind.ITEM, sequence=1)) == 0


def test_what_counts_is_kept_until_it_has_arrived_and_sent_again_when_asked_for():
    sender = Outgoing(PLENTY, 10)
    first, second = sender.counted(Kind.ITEM, {}, [b"1"], 1), sender.counted(Kind.ITEM, {}, [b"2"], 1)
    assert sender.heard({"next": 1}, 0.0) == []
    assert sender.heard({"next": 1, "resend": True}, 0.0) == [second]
    assert sender.heard({"next": 1, "resend": True}, 1.0) == [second]
    assert first != second
    assert sender.keeps
    assert sender.kept_bytes == 1 + OVERHEAD
    assert sender.kept == [second]
    assert sender.heard({"next": 2, "resend": True}, 0.0) == []
    assert not sender.keeps


def test_what_is_asked_for_again_and_again_is_sent_no_faster_than_a_call_may():
    sender = Outgoing(PLENTY, 1 << 20)
    for _ in range(8):
        sender.counted(Kind.ITEM, {}, [bytes(1 << 20)], 1 << 20)
    sent = 0
    for now in range(10):
        for _ in range(1000):
            sent += len(sender.heard({"next": 0, "resend": True}, now)) + len(sender.again(now))
    assert sent == 8 * 4  # 8 MiB at once, and again each time that a little more than two seconds have passed


def test_nothing_is_added_to_a_line_that_is_full_whatever_the_other_side_grants():
    full = {"line"}
    sender = Outgoing(PLENTY, 5000, lambda line: line in full)
    assert sender.at_once(Kind.ITEM, [bytes(5000)], 5000) is None
    assert sender.at_once(Kind.ITEM, [b"short"], 5) is not None
    sender.put(Kind.ITEM, {}, [b"1"], 1)
    sender.put(Kind.ITEM, {}, [bytes(6000)], 6000)
    assert (sender.take(), sender.held_back) == ([], "line")
    full.clear()
    assert (len(sender.take()), sender.held_back) == (2, "")
    sender.heard({"bulk_granted": 6000}, 0.0)
    full.add("lane")
    assert (sender.take_bulk(), sender.held_back) == ([], "lane")
    assert sender.again(0.0) != []
    full.clear()
    assert (sender.take(), len(sender.take_bulk()), sender.held_back) == ([], 1, "")


def test_a_question_that_comes_late_is_old():
    sender = Outgoing(PLENTY, 10)
    sender.counted(Kind.ITEM)
    sender.counted(Kind.ITEM)
    sender.heard({"next": 1}, 0.0)
    assert sender.heard({"next": 0, "resend": True}, 0.0) == []


def test_more_than_was_sent_cannot_have_arrived():
    sender = Outgoing(PLENTY, 10)
    sender.counted(Kind.ITEM)
    assert sender.heard({"next": 1 << 60, "resend": True}, 0.0) == []
    last = sender.counted(Kind.END)
    assert sender.heard({"next": 1, "resend": True}, 0.0) == [last]


def test_what_nobody_acknowledges_is_kept_up_to_a_limit_whatever_is_granted():
    sender, made = Outgoing(1 << 60, 10_000), 0
    while sender.at_once(Kind.ITEM, [memoryview(bytes(8_000)).cast("d")], 8_000) is not None:
        made += 1
    assert (made - 1) * (8_000 + OVERHEAD) < LARGEST_WINDOW <= made * (8_000 + OVERHEAD)
    sender.put(Kind.END, {}, (), 0)
    assert sender.take() == []
    sender.heard({"next": 1}, 0.0)
    assert len(sender.take()) == 1


def test_what_was_queued_is_dropped_and_what_was_sent_is_kept():
    sender = Outgoing(2 * OVERHEAD, 4)
    sender.put(Kind.ITEM, {}, [bytes(9)], 9)
    sender.put(Kind.ITEM, {}, [bytes(4)], 4)
    assert len(sender.take()) == 1
    assert sender.waiting
    sender.drop()
    assert not sender.waiting
    assert sender.held_bytes == 0
    assert sender.keeps
    assert sender.take_bulk() == []


def test_using_a_value_frees_its_room():
    incoming = receiver()
    (value,) = incoming.receive(message(Kind.ITEM, bytes(600)), 0.0)
    assert not incoming.grant_is_due()
    incoming.use(value.cost, value.bulk)
    assert incoming.grant_is_due()
    assert incoming.grants(0.0) == {"granted": 1000 + 600 + OVERHEAD, "next": 0}
    assert not incoming.grant_is_due()


@pytest.mark.parametrize("total", [1001, 1 << 40, 1 << 60])
def test_a_huge_announced_value_is_refused_before_anything_is_allocated(total):
    asked: list[int] = []
    incoming = Incoming(1000, 1000, "result", lambda size: asked.append(size) or bytearray(size))
    with pytest.raises(TooLarge) as caught:
        incoming.receive(message(Kind.RESULT, total=total), 0.0)
    assert caught.value.size_bytes == total
    assert asked == []


def test_a_huge_message_is_refused():
    with pytest.raises(TooLarge):
        receiver(5000).receive(message(Kind.RESULT, bytes(1001)), 0.0)


@pytest.mark.parametrize(("body", "total"), [(b"", 0), (b"", 7.0), (b"", "7"), (b"", [7]), (b"abc", 7)])
def test_an_announcement_that_cannot_be_is_malformed(body, total):
    with pytest.raises(Malformed):
        receiver().receive(message(Kind.RESULT, body, total=total), 0.0)


def test_more_than_was_granted_is_malformed():
    incoming = receiver(3 * OVERHEAD)
    for _ in range(3):
        incoming.receive(message(Kind.ITEM), 0.0)
    with pytest.raises(Malformed, match="credit"):
        incoming.receive(message(Kind.ITEM), 0.0)


def test_what_comes_behind_a_long_value_waits_until_it_is_whole():
    sender, incoming = Outgoing(PLENTY, 4), lane()
    for body in (b"ab", bytes(range(10)), b"cd", bytes(range(20)), b""):
        sender.put(Kind.ITEM, {}, [body], len(body))
    sender.put(Kind.END, {}, (), 0)
    values = [value for one in read(sender.take()) for value in incoming.receive(one, 0.0)]
    assert [bytes(value.body) for value in values] == [b"ab"]
    sender.heard(incoming.grants(0.0), 0.0)
    parts = read(sender.take_bulk())
    assert [value.kind for value in incoming.part(parts[0], 0.1)] == [Kind.ITEM, Kind.ITEM]
    assert incoming.receives_bulk
    assert [(value.kind, value.bulk) for value in incoming.part(parts[1], 0.2)] == [
        (Kind.ITEM, True),
        (Kind.ITEM, False),
        (Kind.END, False),
    ]
    assert not incoming.receives_bulk
    assert incoming.held_bytes == 0


def test_an_error_without_a_place_behind_long_values_jumps_the_queue():
    incoming = lane()
    assert incoming.receive(message(Kind.ITEM, total=10), 0.0) == []
    ((kind, *_),) = incoming.receive(message(Kind.ERROR, code="lost"), 0.0)
    assert kind is Kind.ERROR


@pytest.mark.parametrize("kind", [Kind.ITEM, Kind.END, Kind.ERROR])
def test_what_waits_for_bytes_that_nobody_announced_is_malformed(kind):
    incoming = lane()
    incoming.receive(message(Kind.ITEM, total=10), 0.0)
    assert incoming.receive(message(kind, after=10), 0.0) == []
    with pytest.raises(Malformed, match="announced"):
        incoming.receive(message(kind, after=11), 0.0)


@pytest.mark.parametrize("kind", [Kind.ITEM, Kind.END, Kind.ERROR, Kind.RAISED])
def test_whatever_waits_costs_credit(kind):
    incoming = lane(100 * OVERHEAD)
    incoming.receive(message(Kind.ITEM, total=10), 0.0)
    for _ in range(99):
        incoming.receive(message(kind, after=10), 0.0)
    with pytest.raises(Malformed, match="credit"):
        incoming.receive(message(kind, after=10), 0.0)


def test_a_part_of_nothing_that_was_granted_is_malformed():
    with pytest.raises(Malformed, match="credit"):
        lane().part(message(Kind.PART, b"abc", at=0), 0.0)
