"""The lane for long values: parts, checksums, credit in bytes, what is sent again, windows and patience."""

from __future__ import annotations

import heapq
import zlib

import numpy as np
import pytest

from landbridge.errors import CallLost, Malformed, TooLarge
from landbridge.protocol import (
    BULK_WINDOW,
    LARGEST_WINDOW,
    PART_BYTES,
    BulkIn,
    BulkOut,
    Kind,
    Message,
    lane_window,
    unpack,
)

PLENTY = 1 << 40
MB = 1 << 20


def read(messages: list) -> list[Message]:
    return [unpack(b"".join(parts)) for parts in messages]


def part(at: int, body: bytes, **meta: object) -> Message:
    return Message(Kind.PART, 0, {"at": at, **meta}, memoryview(body))


def sending(*values: bytes, granted: int = 0) -> BulkOut:
    out = BulkOut()
    for value in values:
        out.put([value], len(value))
    out.grant(granted)
    return out


def receiving(*totals: int, limit: int = PLENTY) -> BulkIn:
    lane = BulkIn(limit, "result", bytearray)
    for total in totals:
        lane.announce(total, 0.0)
    lane.grant(0.0)
    return lane


def test_a_value_is_cut_into_parts_that_say_where_they_lie():
    value = np.random.default_rng(0).bytes(PART_BYTES + 10)
    first, last = read(sending(value, granted=PLENTY).take())
    assert first[:3] == (Kind.PART, 0, {"at": 0})
    assert last.meta == {"at": PART_BYTES, "crc": zlib.crc32(value)}
    assert bytes(first.body) + bytes(last.body) == value


def test_the_next_value_goes_on_where_the_last_one_ended_with_a_checksum_of_its_own():
    one, two = read(sending(b"first", b"second", granted=PLENTY).take())
    assert one.meta == {"at": 0, "crc": zlib.crc32(b"first")}
    assert two.meta == {"at": 5, "crc": zlib.crc32(b"second")}


def test_views_of_wider_items_are_cut_at_bytes():
    array = np.arange(PART_BYTES // 4, dtype=np.float64).reshape(2, -1)
    views = [memoryview(np.empty((3, 0))), memoryview(array), memoryview(np.array(2.5)), array.data.cast("B")]
    out = BulkOut()
    out.put(views, 2 * array.nbytes + 8)
    out.grant(PLENTY)
    parts = read(out.take())
    assert b"".join(bytes(one.body) for one in parts) == array.tobytes() + np.array(2.5).tobytes() + array.tobytes()
    assert max(one.body.nbytes for one in parts) == PART_BYTES


def test_nothing_goes_beyond_the_credit_and_no_crumbs_are_sent():
    out = sending(bytes(PART_BYTES))
    assert out.take() == []
    out.grant(16_383)
    assert out.take() == []
    out.grant(16_384)
    assert [one.body.nbytes for one in read(out.take())] == [16_384]
    out.grant(10)
    assert out.take() == []
    out.grant(PART_BYTES)
    assert [one.meta["at"] for one in read(out.take())] == [16_384]
    assert not out.waiting


def test_the_last_bytes_of_a_value_are_sent_however_few():
    out = sending(bytes(10), granted=10)
    assert [one.body.nbytes for one in read(out.take())] == [10]


def test_how_fast_parts_arrive_is_measured_while_there_is_something_to_send():
    out = sending(bytes(8 * MB), granted=PLENTY)
    out.take(10.0)
    out.acknowledge(4 * MB, 12.0)
    assert out.bytes_per_s == 2 * MB
    out.acknowledge(8 * MB, 13.0)
    assert out.bytes_per_s == 4 * MB
    out.put([bytes(2 * MB)], 2 * MB)
    out.take(1000.0)  # nothing was under way in between
    out.acknowledge(10 * MB, 1001.0)
    assert out.bytes_per_s == 2 * MB


def test_what_had_arrived_before_it_was_looked_at_is_not_taken_for_a_fast_line():
    out = sending(bytes(8 * MB), granted=PLENTY)
    out.take(0.0)
    out.acknowledge(4 * MB, 1.0)
    out.acknowledge(6 * MB, 1.001)
    assert out.bytes_per_s == 4 * MB
    out.acknowledge(7 * MB, 1.5)
    assert out.bytes_per_s == 6 * MB


def test_too_little_to_measure_and_what_is_sent_again_say_nothing():
    out = sending(bytes(2 * MB), granted=PLENTY)
    out.take(0.0)
    out.acknowledge(PART_BYTES, 0.001)
    assert out.bytes_per_s == 0
    out.rewind(PART_BYTES)
    out.acknowledge(2 * PART_BYTES, 5.0)
    assert out.bytes_per_s == 0
    short = sending(bytes(1000), granted=PLENTY)
    short.take(0.0)
    short.acknowledge(1000, 1.0)
    assert short.bytes_per_s == 0


def test_a_value_is_let_go_of_when_all_of_it_has_arrived():
    out = sending(bytes(100), bytes(50), granted=PLENTY)
    out.take()
    assert out.held_bytes == 150
    out.acknowledge(100)
    assert out.held_bytes == 50
    out.acknowledge(150)
    assert out.held_bytes == 0
    assert not out.waiting


def test_what_nobody_acknowledges_is_kept_up_to_a_limit_whatever_is_granted():
    value = bytes(4 * MB)
    out = sending(*[value] * 8, granted=1 << 60)
    assert sum(one.body.nbytes for one in read(out.take())) == LARGEST_WINDOW
    out.acknowledge(4 * MB)
    assert sum(one.body.nbytes for one in read(out.take())) == 4 * MB


def test_what_has_not_been_sent_cannot_have_arrived():
    out = sending(bytes(100))
    out.acknowledge(PLENTY)
    assert out.held_bytes == 100
    out.grant(100)
    assert len(out.take()) == 1


def test_dropped_values_are_neither_kept_nor_sent():
    out = sending(bytes(PART_BYTES), granted=20_000)
    out.take()
    out.drop()
    out.rewind(0)
    out.again()
    out.grant(PLENTY)
    assert (out.take(), out.held_bytes, out.waiting) == ([], 0, False)


@pytest.mark.parametrize("behind", [0, 1, 2, 3])
def test_sending_again_from_any_part_gives_the_same_bytes_and_checksum(behind):
    value = np.random.default_rng(behind).bytes(3 * PART_BYTES + 7)
    out = sending(value, granted=PLENTY)
    before = read(out.take())
    place = before[behind].meta["at"]
    out.rewind(place)
    assert read(out.take()) == before[behind:]


def test_a_part_that_was_cut_shorter_at_first_is_known_under_both_cuts():
    value = np.random.default_rng(1).bytes(PART_BYTES)
    out = sending(value, granted=20_000)
    out.take()
    out.grant(PLENTY)
    out.take()
    out.rewind(0)
    (whole,) = read(out.take())
    assert whole.meta == {"at": 0, "crc": zlib.crc32(value)}
    out.rewind(20_000)
    (rest,) = read(out.take())
    assert rest.meta == {"at": 20_000, "crc": zlib.crc32(value)}


def test_a_place_where_no_part_begins_cannot_be_asked_for():
    out = sending(bytes(PART_BYTES), granted=PLENTY)
    out.take()
    with pytest.raises(Malformed):
        out.rewind(7)


def test_our_side_of_the_lane_was_cut_so_all_that_is_not_known_to_have_arrived_goes_again():
    out = sending(bytes(3 * PART_BYTES), granted=PLENTY)
    parts = read(out.take())
    out.acknowledge(PART_BYTES)
    out.again()
    assert read(out.take()) == parts[1:]


def test_a_question_that_comes_late_or_twice_does_no_harm():
    out = sending(bytes(3 * PART_BYTES), granted=PLENTY)
    parts = read(out.take())
    out.acknowledge(2 * PART_BYTES)
    for old in (0, PART_BYTES, 7):
        out.rewind(old)
        out.acknowledge(old)
    assert out.take() == []
    out.again()
    assert read(out.take()) == parts[2:]


@pytest.mark.parametrize("position", [1, PART_BYTES - 1, PART_BYTES + 1, 4 * PART_BYTES, PLENTY])
def test_a_place_that_cannot_be_reached_is_not_believed(position):
    out = sending(bytes(3 * PART_BYTES), granted=2 * PART_BYTES)
    parts = read(out.take())
    out.acknowledge(PART_BYTES)
    out.acknowledge(position)
    out.again()
    assert read(out.take()) == parts[1:]
    out.grant(PLENTY)
    out.take()
    out.again()
    assert [one.meta["at"] for one in read(out.take())] == [PART_BYTES, 2 * PART_BYTES]


def test_parts_are_put_together():
    lane = receiving(5)
    assert lane.receive(part(0, b"abc"), 0.0)
    assert lane.whole(0.0) == []
    assert lane.held_bytes == 5  # the memory of a short value is taken at once
    assert lane.receive(part(3, b"de", crc=zlib.crc32(b"abcde")), 0.0)
    assert lane.whole(0.0) == [b"abcde"]
    assert (lane.held_bytes, lane.expects, lane.next) == (0, False, 5)


def test_parts_that_come_twice_are_taken_once_and_a_gap_is_told():
    lane = receiving(6)
    assert lane.receive(part(0, b"ab"), 0.0)
    assert lane.receive(part(0, b"ab"), 0.0)
    assert not lane.receive(part(4, b"ef", crc=0), 0.0)
    assert lane.receive(part(2, b"cd"), 0.0)
    assert lane.receive(part(4, b"ef", crc=zlib.crc32(b"abcdef")), 0.0)
    assert lane.whole(0.0) == [b"abcdef"]


def test_parts_may_overtake_the_announcement_of_their_value():
    lane = receiving(3)
    lane.receive(part(0, b"abc", crc=zlib.crc32(b"abc")), 0.0)
    lane.receive(part(3, b"xy", crc=zlib.crc32(b"xy")), 0.0)
    assert lane.whole(0.0) == [b"abc"]
    assert lane.held_bytes == 2
    lane.announce(2, 0.0)
    assert lane.whole(0.0) == [b"xy"]


def test_crumbs_that_overtake_their_announcement_cannot_take_memory_without_end():
    lane = receiving(1)
    for at in range(5000):
        lane.receive(part(at, b"x", crc=zlib.crc32(b"x")), 0.0)
    assert len(lane.whole(0.0)) == 1
    for at in range(5000, 10_000):
        lane.receive(part(at, b"x"), 0.0)
    assert lane.held_bytes < 5000


def test_a_value_that_differs_from_its_checksum_is_lost():
    lane = receiving(3)
    lane.receive(part(0, b"abc", crc=zlib.crc32(b"abd")), 0.0)
    with pytest.raises(CallLost, match="checksum"):
        lane.whole(0.0)


@pytest.mark.parametrize("wrong", [part(0, b"abcd"), part(0, b"abc")])
def test_a_value_without_a_checksum_or_with_too_much_is_not_believed(wrong):
    lane = receiving(3)
    lane.receive(wrong, 0.0)
    with pytest.raises((CallLost, Malformed)):
        lane.whole(0.0)


@pytest.mark.parametrize(
    "wrong", [part(0, b""), Message(Kind.PART, 0, {}, memoryview(b"x")), part(BULK_WINDOW, b"x"), part(1 << 60, b"x")]
)
def test_a_part_that_lies_nowhere_or_beyond_the_credit_is_malformed(wrong):
    with pytest.raises(Malformed):
        receiving(10 * MB).receive(wrong, 0.0)


def test_room_is_made_when_the_first_part_is_here_and_never_beyond_the_limit():
    asked: list[int] = []
    lane = BulkIn(100, "result", lambda size: asked.append(size) or bytearray(size))
    with pytest.raises(TooLarge):
        lane.announce(101, 0.0)
    lane.announce(100, 0.0)
    lane.grant(0.0)
    assert asked == []
    lane.receive(part(0, b"x"), 0.0)
    lane.whole(0.0)
    assert asked == [100]


def test_the_reader_who_has_not_taken_a_value_is_sent_one_window_beyond_it_and_no_more():
    lane = receiving(20 * MB, 50 * MB)
    at, crc = 0, 0
    while at < lane.granted:
        body = bytes(min(PART_BYTES, 20 * MB - at if at < 20 * MB else PART_BYTES, lane.granted - at))
        crc = zlib.crc32(body, crc)
        lane.receive(part(at, body, **({"crc": crc} if at + len(body) == 20 * MB else {})), 0.0)
        lane.whole(0.0)
        at += len(body)
        if lane.grant_is_due():
            lane.grant(0.0)
    assert at == 20 * MB + BULK_WINDOW
    lane.take()
    assert lane.grant_is_due()
    assert lane.grant(0.0) == at + BULK_WINDOW


def window_after(size: int, *, rtt: float, line: float) -> int:
    """Return how far a lane grants ahead once so much has come over a line of `line` bytes a second."""
    out, lane, value = BulkOut(), receiving(), bytes(PART_BYTES)
    for _ in range(size // PART_BYTES):
        out.put([value], PART_BYTES)
        lane.announce(PART_BYTES, 0.0)
    line_free_at = 0.0
    events: list[tuple[float, int, Message | int]] = [(rtt / 2, 0, lane.grant(0.0))]  # when, a place, what
    while events:
        now, number, event = heapq.heappop(events)
        if isinstance(event, int):
            out.grant(event)
            out.acknowledge(number)
            for one in read(out.take()):
                line_free_at = max(line_free_at, now) + one.body.nbytes / line
                heapq.heappush(events, (line_free_at + rtt / 2, one.meta["at"], one))
            continue
        lane.receive(event, now)
        for _ in lane.whole(now):
            lane.take()
        if lane.grant_is_due():
            heapq.heappush(events, (now + rtt / 2, lane.next, lane.grant(now)))
    assert lane.next == size
    lane.announce(1, now)
    return lane.grant(now) - lane.next


@pytest.mark.parametrize(
    ("rtt", "line", "least", "most"),
    [
        (0.0005, 5e8, BULK_WINDOW, 1.25 * BULK_WINDOW),
        (0.02, 5e6, BULK_WINDOW, 1.5 * BULK_WINDOW),
        (0.05, 1e8, 5 * MB, LARGEST_WINDOW),
        (0.1, 1e9, LARGEST_WINDOW, LARGEST_WINDOW),
    ],
)
def test_the_window_grows_on_long_lines_only(rtt, line, least, most):
    assert least <= window_after(128 * MB, rtt=rtt, line=line) <= most


def test_lanes_share_what_the_broker_holds_for_a_connection():
    assert lane_window(0) == lane_window(1) == lane_window(2) == LARGEST_WINDOW
    assert lane_window(4) == LARGEST_WINDOW // 2
    assert lane_window(1000) == 128 * 1024
    lane = BulkIn(PLENTY, "result", bytearray)
    lane.largest_window = lane_window(1000)
    lane.announce(MB, 0.0)
    assert lane.grant(0.0) == 128 * 1024


def asked_at(lane: BulkIn, first: float, last: float) -> list[float]:
    """Return when the lane asks for a late part, looked at ten times a second."""
    return [tenth / 10 for tenth in range(int(first * 10), int(last * 10)) if lane.stalled(tenth / 10)]


def test_a_late_part_is_asked_for_and_then_less_often():
    assert asked_at(receiving(100), 0, 80) == [5.0, 15.0, 35.0, 55.0, 75.0]


def test_nothing_is_asked_for_where_nothing_is_due():
    assert asked_at(receiving(), 0, 100) == []
    ungranted = BulkIn(PLENTY, "result", bytearray)
    ungranted.announce(100, 0.0)
    assert asked_at(ungranted, 0, 100) == []


def test_a_slow_line_is_not_asked_for_what_is_on_its_way():
    lane = receiving(100)
    for at in range(20):
        assert asked_at(lane, 4 * at, 4 * at + 4) == []
        lane.receive(part(at, b"x"), 4.0 * at + 4)
        lane.whole(4.0 * at + 4)
    # 4 s between parts: 16 s without one are worth a question.
    assert asked_at(lane, 80, 100) == [96.0]


def test_a_line_slower_than_patience_is_learned_after_a_few_questions():
    lane = receiving(100)
    asked = []
    for at in range(20):
        asked += asked_at(lane, 30 * at, 30 * at + 30)
        lane.receive(part(at, b"x"), 30.0 * at + 30)
        lane.whole(30.0 * at + 30)
    assert max(asked) < 60


def test_a_pause_between_values_or_for_lack_of_credit_teaches_no_patience():
    lane = receiving(1)
    lane.receive(part(0, b"x", crc=zlib.crc32(b"x")), 1.0)
    assert lane.whole(1.0) == [b"x"]
    lane.take()
    lane.announce(2 * MB, 1000.0)
    lane.receive(part(1, b"x"), 1000.1)
    lane.whole(1000.1)
    assert asked_at(lane, 1000.1, 1006) == [1005.1]

    full = receiving(MB, 2 * BULK_WINDOW)
    full.receive(part(0, bytes(MB), crc=zlib.crc32(bytes(MB))), 0.1)
    full.whole(0.1)
    full.grant(0.1)
    full.receive(part(MB, bytes(BULK_WINDOW)), 0.2)
    full.whole(0.2)
    assert full.next == full.granted
    full.take()
    full.grant(1000.0)
    full.receive(part(MB + BULK_WINDOW, b"x"), 1000.1)
    full.whole(1000.1)
    assert asked_at(full, 1000.1, 1006) == [1005.1]


def test_patience_that_losses_cost_comes_back_with_a_line_that_flows():
    lane = receiving(100)
    assert asked_at(lane, 0, 14) == [5.0]
    lane.receive(part(0, b"x"), 14.0)
    for tenth in range(1, 5):
        lane.receive(part(tenth, b"x"), 14 + tenth / 10)
    lane.whole(14.4)
    assert asked_at(lane, 14.4, 21) == pytest.approx([19.4], abs=0.11)


@pytest.mark.parametrize("error", [MemoryError(), OSError(12, "Cannot allocate memory")])
def test_a_value_for_which_there_is_no_memory_ends_in_an_error_of_ours(error):
    def no_room(size: int) -> bytearray:
        raise error

    lane = BulkIn(PLENTY, "result", no_room)
    lane.announce(4 * MB, 0.0)
    lane.grant(0.0)
    lane.receive(part(0, b"x"), 0.0)
    with pytest.raises(TooLarge, match=r"4,194,304 bytes.*memory"):
        lane.whole(0.0)
