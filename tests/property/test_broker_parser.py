"""Whatever a broker sends, and however the network cuts it: the same is read, and never more is held than came."""

from __future__ import annotations

import asyncio
import itertools

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from nats.protocol.parser import Parser as NatsPyParser

from landbridge.broker.parser import BadProtocol, Parser

# A busy machine is no failure.
PATIENT = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

WORDS = st.text(st.sampled_from("abz019.-_*>$é"), min_size=1, max_size=12).map(str.encode)
PAYLOADS = st.binary(max_size=300) | st.integers(60_000, 140_000).map(bytes)


class Reader:
    """Notes what a parser tells, ours or that of nats-py."""

    def __init__(self) -> None:
        self.read: list[object] = []

    def message(self, number, subject, reply, payload, no_responders) -> None:
        self.read.append((number, subject, reply, payload, no_responders))

    def info(self, info) -> None:
        self.read.append(info)

    def ping(self) -> None:
        self.read.append("PING")

    def pong(self) -> None:
        self.read.append("PONG")

    def refused(self, text) -> None:
        self.read.append(text)

    async def _process_msg(self, number, subject, reply, payload, headers) -> None:
        nobody = headers is not None and not payload and headers.startswith(b"NATS/1.0 503")
        self.message(number, subject, reply, payload, nobody)

    async def _process_ping(self) -> None:
        self.ping()

    async def _process_pong(self) -> None:
        self.pong()

    async def _process_err(self, text) -> None:
        self.refused(text.strip("'"))

    async def _process_info(self, info) -> None:
        self.info(info)


@st.composite
def operations(draw) -> bytes:
    kind = draw(st.sampled_from(["MSG", "MSG", "MSG", "HMSG", "PING", "PONG", "+OK", "-ERR 'no'", 'INFO {"a": [1]}']))
    if kind not in ("MSG", "HMSG"):
        return kind.encode() + b"\r\n"
    headers = draw(st.sampled_from([b"NATS/1.0\r\n\r\n", b"NATS/1.0 503\r\n\r\n"])) if kind == "HMSG" else b""
    payload = headers + draw(PAYLOADS)
    gap = draw(st.sampled_from([b" ", b" ", b"  ", b"\t"]))
    fields = [kind.encode(), draw(WORDS), b"%d" % draw(st.integers(0, 99))]
    fields += [draw(WORDS)] if draw(st.booleans()) else []
    fields += [b"%d" % len(headers)] if headers else []
    return gap.join([*fields, b"%d" % len(payload)]) + b"\r\n" + payload + b"\r\n"


def give(parser: Parser, chunk: bytes) -> None:
    """Have the parser receive a chunk as a socket would give it: as much as there is room for, each time."""
    while chunk:
        room = parser.buffer()
        count = min(len(room), len(chunk))
        room[:count] = chunk[:count]
        parser.received(count)
        chunk = chunk[count:]


def read(chunks: list[bytes]) -> tuple[list[object], bool]:
    """Return what was told, and whether all of it was understood."""
    reader = Reader()
    parser = Parser(reader)
    came = 0
    for chunk in chunks:
        came += len(chunk)
        try:
            give(parser, chunk)
        except BadProtocol:
            return reader.read, False
        assert parser.unread <= came
        assert len(parser._buffer) <= max(64 * 1024, 4 * came)
    return reader.read, True


def read_by_nats_py(stream: bytes) -> list[object]:
    reader = Reader()
    asyncio.run(NatsPyParser(reader).parse(stream))
    return reader.read


def cut(stream: bytes, places: list[int]) -> list[bytes]:
    at = sorted({place % (len(stream) + 1) for place in places} | {0, len(stream)})
    return [stream[begin:end] for begin, end in itertools.pairwise(at)]


@PATIENT
@given(st.lists(operations(), max_size=8), st.lists(st.integers(0, 10**6), max_size=12))
def test_any_cut_of_any_stream_gives_what_nats_py_reads(sent, places):
    stream = b"".join(sent)
    assert read(cut(stream, places)) == (read_by_nats_py(stream), True)


@PATIENT
@given(st.lists(operations() | st.binary(max_size=60), max_size=6), st.lists(st.integers(0, 10**6), max_size=6))
@example([b"MSG a 1 99999999999999999999\r\n"], [])
@example([b"MSG a 1 999999999\r\n"], [])
@example([b"HMSG a 1 9 3\r\nabc\r\n"], [])
@example([b"MSG a 1 3\r\nabcd\r\n"], [])
@example([b"x" * 70_000], [1])
@example([b'INFO {"a":' + b"[" * 60_000 + b"\r\n"], [])
def test_of_any_bytes_the_cut_decides_nothing(sent, places):
    stream = b"".join(sent)
    told, understood = read(cut(stream, places))
    assert (told, understood) == read([stream])
    assert all(type(each) in (tuple, dict, str) for each in told)


def test_one_byte_at_a_time_is_read_as_well():
    stream = b"INFO {}\r\nMSG a 1 5\r\nhello\r\nHMSG a 1 r 12 12\r\nNATS/1.0\r\n\r\n\r\nPING\r\n-ERR 'x'\r\n"
    assert read([bytes([each]) for each in stream]) == read([stream])


def test_what_is_only_announced_takes_no_memory_and_a_long_message_gives_its_own_back():
    parser = Parser(Reader())
    give(parser, b"MSG a 1 60000000\r\n")
    assert len(parser._buffer) == 64 * 1024
    for _ in range(60):
        give(parser, bytes(1_000_000))
    assert len(parser._buffer) > 60_000_000
    give(parser, b"\r\n")
    parser.buffer()
    assert len(parser._buffer) == 64 * 1024


def test_a_line_in_small_pieces_is_looked_through_once():
    looked = 0

    class Counted(bytearray):
        def find(self, *where):
            nonlocal looked
            begin, end = where[1:] if len(where) == 3 else (0, len(self))
            looked += end - begin
            return super().find(*where)

    parser = Parser(Reader())
    parser._buffer = Counted(len(parser._buffer))
    parser._view = memoryview(parser._buffer)
    line = b"MSG " + b"a" * 30_000
    for place in range(len(line)):
        give(parser, line[place : place + 1])
    assert looked < 3 * len(line)
