"""Messages between processes: whole or not at all, whatever the pieces; bounded; nothing left open."""

from __future__ import annotations

import os
import socket

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from landbridge.backend.workerlink import INLINE_BYTES, Inbox, Kind, in_memory, packed, receive
from landbridge.errors import Malformed

messages = st.lists(
    st.tuples(
        st.sampled_from(Kind),
        st.integers(0, 2**32 - 1),
        st.dictionaries(st.text(max_size=5), st.one_of(st.none(), st.integers(-9, 9), st.text(max_size=9)), max_size=3),
        st.binary(max_size=300),
    ),
    max_size=6,
)


@given(messages, st.data())
def test_messages_come_out_as_they_went_in_whatever_the_pieces(sent, data):
    stream = b"".join(packed(kind, number, meta, len(body)) + body for kind, number, meta, body in sent)
    inbox, got = Inbox(), []
    while stream:
        size = data.draw(st.integers(1, len(stream)))
        got += inbox.feed(stream[:size])
        stream = stream[size:]
    assert [(m.kind, m.number, m.meta, bytes(m.body)) for m in got] == sent


@given(st.binary(max_size=200))
def test_nonsense_is_refused_or_waits_for_more(data):
    inbox = Inbox()
    try:
        for message in inbox.feed(data):
            assert isinstance(message.meta, dict)
    except Malformed:
        pass


@pytest.mark.parametrize(
    "head",
    [
        packed(Kind.RESULT, 1, {}, INLINE_BYTES + 1),
        packed(Kind.RESULT, 1, {"text": "x" * 2**21})[:20],
        packed(Kind.RESULT, 1, {}, 2**63, in_memory=True),
        b"\xff" + packed(Kind.RESULT, 1, {})[1:],
        packed(Kind.RESULT, 1, {})[:8] + (1).to_bytes(4, "little") + bytes(8) + b"\xc1",
        packed(Kind.RESULT, 1, {})[:8] + (1).to_bytes(4, "little") + bytes(8) + msgpack.packb(1),
    ],
)
def test_what_no_worker_of_ours_sends_is_refused_before_memory_is_taken(head):
    with pytest.raises(Malformed):
        list(Inbox().feed(head))


def test_large_bodies_pass_through_memory_without_a_name_and_can_be_written_to():
    here, there = socket.socketpair()
    before = len(os.listdir("/proc/self/fd"))
    with here, there:
        parts = [b"abc" * 100_000, memoryview(bytearray(b"d" * 100_000)), b"", b"e"]
        size = sum(map(len, parts))
        descriptor = in_memory(parts)
        socket.send_fds(here, [packed(Kind.RUN, 3, {"a": 1}, size, in_memory=True)], [descriptor])
        os.close(descriptor)
        here.sendall(packed(Kind.CANCEL, 4, {}))
        inbox, got = Inbox(), []
        while len(got) < 2:
            got += inbox.feed(*receive(there))
        assert [m.number for m in got] == [3, 4]
        assert bytes(got[0].body) == b"".join(bytes(part) for part in parts)
        got[0].body[0:1] = b"z"
        got.clear()
        assert len(os.listdir("/proc/self/fd")) == before


def test_a_body_that_is_shorter_than_announced_is_refused_and_closed():
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(Malformed, match="shorter than announced"):
        list(Inbox().feed(packed(Kind.RESULT, 1, {}, 400_000, in_memory=True), [in_memory([b"x" * 1000])]))
    assert len(os.listdir("/proc/self/fd")) == before


def test_descriptors_whose_message_never_came_are_closed():
    inbox = Inbox()
    descriptor = in_memory([b"x"])
    assert not list(inbox.feed(packed(Kind.RESULT, 1, {}, 400_000, in_memory=True)[:10], [descriptor]))
    inbox.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)
