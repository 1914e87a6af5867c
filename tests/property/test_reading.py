"""Whatever the broker sends, and however the network cuts it: we read what nats-py reads."""

from __future__ import annotations

import asyncio
import itertools

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from nats.protocol.parser import Parser

from landbridge.broker.reading import QuickParser

# A busy machine is no failure.
PATIENT = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

WORDS = st.text(st.sampled_from("abz019.-_*>$é"), min_size=1, max_size=12).map(str.encode)
PAYLOADS = st.binary(max_size=300) | st.integers(60_000, 140_000).map(bytes)


class Reader:
    """Stands for the client: notes what a parser hands on."""

    def __init__(self) -> None:
        self.read: list[object] = []

    def deliver(self, number: int, subject: bytes, reply: bytes, payload: bytes) -> None:
        self.read.append((number, subject, reply, payload, None))

    async def _process_msg(self, *message: object) -> None:
        self.read.append(message)

    async def _process_ping(self) -> None:
        self.read.append("PING")

    async def _process_pong(self) -> None:
        self.read.append("PONG")

    async def _process_err(self, text: str) -> None:
        self.read.append(text)


@st.composite
def operations(draw) -> bytes:
    kind = draw(st.sampled_from(["MSG", "MSG", "MSG", "HMSG", "PING", "PONG", "+OK", "-ERR 'no'"]))
    if kind not in ("MSG", "HMSG"):
        return kind.encode() + b"\r\n"
    headers = b"NATS/1.0\r\n\r\n" if kind == "HMSG" else b""
    payload = headers + draw(PAYLOADS)
    gap = draw(st.sampled_from([b" ", b" ", b"  ", b"\t"]))
    fields = [kind.encode(), draw(WORDS), b"%d" % draw(st.integers(0, 99))]
    fields += [draw(WORDS)] if draw(st.booleans()) else []
    fields += [b"%d" % len(headers)] if headers else []
    return gap.join([*fields, b"%d" % len(payload)]) + b"\r\n" + payload + b"\r\n"


def read(parser_class: type[Parser], chunks: list[bytes]) -> tuple[list[object], type[BaseException] | None]:
    reader = Reader()
    parser = parser_class(reader)

    async def parse() -> None:
        for chunk in chunks:
            await parser.parse(chunk)

    try:
        asyncio.run(parse())
    except Exception as error:
        return reader.read, type(error)
    return reader.read, None


def cut(stream: bytes, places: list[int]) -> list[bytes]:
    at = sorted({place % (len(stream) + 1) for place in places} | {0, len(stream)})
    return [stream[begin:end] for begin, end in itertools.pairwise(at)]


@PATIENT
@given(st.lists(operations(), max_size=8), st.lists(st.integers(0, 10**6), max_size=12))
def test_any_cut_of_any_stream_gives_the_messages_that_nats_py_reads(sent, places):
    stream = b"".join(sent)
    assert read(QuickParser, cut(stream, places)) == read(Parser, [stream])


@PATIENT
@given(st.lists(operations() | st.binary(max_size=60), max_size=6), st.lists(st.integers(0, 10**6), max_size=6))
def test_of_bytes_that_are_no_messages_nothing_is_read_that_nats_py_does_not_read(sent, places):
    chunks = cut(b"".join(sent), places)
    ours, _ = read(QuickParser, chunks)
    theirs, _ = read(Parser, chunks)
    assert ours[: len(theirs)] == theirs[: len(ours)]
