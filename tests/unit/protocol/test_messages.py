"""Messages as bytes: what they look like, and which bytes are refused."""

from __future__ import annotations

import struct
import tracemalloc

import msgpack
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from landbridge.errors import Malformed, ProtocolMismatch
from landbridge.protocol import VERSION, Kind, pack, unpack, version_text

# A busy machine is no failure.
PATIENT = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

INSTANCE = "0123456789abcdef" * 2


def raw(meta: bytes, *, version: int = VERSION, kind: int = 3, length: int | None = None, body: bytes = b"") -> bytes:
    return struct.pack("<BBHI", version, kind, len(meta) if length is None else length, 7) + meta + body


def test_a_message_is_preamble_meta_and_body():
    payload = pack(Kind.CALL, 258, {"granted": 1}) + b"body"
    assert payload == bytes.fromhex("1001 0a00 02010000") + b"\x81\xa7granted\x01" + b"body"
    message = unpack(payload)
    assert (message.kind, message.sequence, message.meta) == (Kind.CALL, 258, {"granted": 1})
    assert bytes(message.body) == b"body"


@pytest.mark.parametrize("kind", list(Kind))
def test_every_kind_works_without_meta_and_body(kind):
    assert unpack(pack(kind, 0))[:3] == (kind, 0, {})
    assert unpack(pack(kind, 0)).body.nbytes == 0


def test_the_body_is_not_copied():
    payload = pack(Kind.PART, 0) + bytes(100)
    assert unpack(payload).body.obj is payload


def test_numbers_wrap_after_32_bits():
    assert unpack(pack(Kind.END, (1 << 32) + 5)).sequence == 5
    assert unpack(pack(Kind.END, (1 << 32) + 5, {"x": 1})).sequence == 5


def test_unknown_fields_are_kept_for_newer_peers_and_do_no_harm():
    assert unpack(pack(Kind.BEAT, 0, {"colour": [1, {"a": None}]})).meta == {"colour": [1, {"a": None}]}


@pytest.mark.parametrize("version", [VERSION + 1])
def test_a_neighbouring_minor_version_is_read(version):
    assert unpack(raw(b"", version=version)).kind is Kind.BEAT


@pytest.mark.parametrize("version", [0x00, 0x0F, 0x12, 0x1F, 0x20, 0xFF])
def test_a_distant_version_is_named(version):
    with pytest.raises(ProtocolMismatch) as caught:
        unpack(raw(b"", version=version))
    assert caught.value.ours == version_text(VERSION)
    assert caught.value.theirs == version_text(version)


@pytest.mark.parametrize("length", range(8))
def test_less_than_a_preamble_is_malformed(length):
    with pytest.raises(Malformed):
        unpack(pack(Kind.BEAT, 0)[:length])


@pytest.mark.parametrize("kind", [0, 15, 99, 255])
def test_an_unknown_kind_is_malformed(kind):
    with pytest.raises(Malformed):
        unpack(raw(b"", kind=kind))


@pytest.mark.parametrize("length", [1, 2, 0xFFFF])
def test_meta_longer_than_its_message_is_malformed(length):
    with pytest.raises(Malformed):
        unpack(raw(b"", length=length))


@pytest.mark.parametrize(
    "meta",
    [
        b"\xc1",  # never used
        b"\x90",  # an array
        b"\xc0",  # nil
        b"\x05",
        b"\xa1a",
        b"\x81",  # a map without its entry
        b"\x81\xa1a",
        b"\x80\x80",  # two maps
        b"\x81\x01\x02",  # a key that is no text
        b"\x81\x90\x02",
        b"\x81\xc4\x01a\x02",  # bytes are no text either
        b"\x81\xa1a\xc7\x01\x05x",  # an extension
        b"\x81\xa1a\xd4\x01x",
        b"\x81\xa1a\xa1\xff",  # not UTF-8
        b"\xdf\xff\xff\xff\xff",  # 4 billion entries
        b"\x81\xa1a\xdd\xff\xff\xff\xff",
        b"\x81\xa1a\xdb\xff\xff\xff\xff",
        b"\x81\xa1a\xc6\xff\xff\xff\xff",
        b"\x81\xa1a" + b"\x91" * 60_000,
        b"\x81\xa1a" + b"\x81\xa1a" * 20_000,
        b"\x81\xa1a\xdc\x01\x01" + b"\xc0" * 257,  # longer than any list of ours
    ],
)  # fmt: skip
def test_meta_that_is_no_small_map_is_malformed(meta):
    with pytest.raises(Malformed):
        unpack(raw(meta))


@pytest.mark.parametrize("kind", ["PART", "RESULT", "ITEM", "END", "INVOKE", "RETURN"])
def test_messages_with_values_have_little_meta(kind):
    assert unpack(raw(msgpack.packb({"x": "x" * 505}), kind=Kind[kind])).kind is Kind[kind]
    with pytest.raises(Malformed, match="longer"):
        unpack(raw(msgpack.packb({"x": "x" * 510}), kind=Kind[kind]))


def test_nested_headers_cannot_reserve_memory():
    bomb = b"\x81\xa1a" + b"\xdd\x00\x00\xea\x60" * 900 + b"\xc0" * 60_500
    tracemalloc.start()
    try:
        with pytest.raises(Malformed):
            unpack(raw(bomb))
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "meta",
    [
        {"granted": -1}, {"granted": 1.0}, {"granted": True}, {"granted": "1"}, {"granted": None}, {"granted": [1]},
        {"granted": (1 << 60) + 1},
        {"total": -1}, {"total": False}, {"total": float("nan")}, {"total": float("inf")}, {"total": 1 << 63},
        {"timeout_s": -0.1}, {"timeout_s": float("nan")}, {"timeout_s": float("inf")}, {"timeout_s": {}},
        {"instance": 5}, {"instance": ""}, {"instance": "a.b"}, {"instance": INSTANCE + "\n"}, {"instance": "*"},
        {"instance": INSTANCE.upper()}, {"instance": INSTANCE[1:] + " "}, {"instance": INSTANCE.encode()},
        {"state": "x" * 17}, {"state": 1},
        {"done": -1}, {"done": None}, {"done": float("nan")},
        {"label": "x" * 201}, {"label": b"x"}, {"label": None},
        {"next": -1}, {"next": True}, {"next": (1 << 60) + 1}, {"next": 1.0},
        {"bulk_granted": -1}, {"bulk_granted": "1"}, {"bulk_next": -1}, {"bulk_next": None},
        {"at": -1}, {"at": True}, {"at": (1 << 60) + 1}, {"after": -1}, {"after": 0.5},
        {"crc": -1}, {"crc": 1 << 32}, {"crc": True}, {"crc": "0"},
        {"resend": 1}, {"resend": 0}, {"resend": None}, {"resend": "yes"}, {"logs": 1}, {"logs": "no"},
        {"place": -1}, {"place": (1 << 32) + 1}, {"place": True},
        {"function": -1}, {"function": 64}, {"function": True}, {"ask": -1}, {"ask": (1 << 32) + 1}, {"ask": 1.0},
        {"stream": "x" * 17}, {"stream": 1}, {"text": "x" * 8_001}, {"text": b"x"},
        {"traceparent": "0" * 56}, {"traceparent": 0}, {"tracestate": "x" * 513}, {"tracestate": []},
    ],
)  # fmt: skip
def test_a_field_that_cannot_be_meant_is_malformed(meta):
    with pytest.raises(Malformed):
        unpack(raw(msgpack.packb(meta)))


@pytest.mark.parametrize(
    "meta",
    [
        {"granted": 0}, {"granted": 1 << 60}, {"total": 0}, {"total": 2.5}, {"timeout_s": 0}, {"timeout_s": 1e9},
        {"instance": INSTANCE}, {"state": "stopped"}, {"done": 0}, {"label": ""}, {"label": "Ä" * 200},
        {"next": 1 << 60}, {"bulk_granted": 1 << 60}, {"bulk_next": 0}, {"at": 1 << 60}, {"after": 1 << 60},
        {"crc": 0xFFFFFFFF}, {"resend": True}, {"resend": False}, {"logs": True}, {"place": 1 << 32},
        {"function": 63}, {"ask": 1 << 32}, {"stream": "s" * 16}, {"text": "x" * 8_000}, {"traceparent": "0" * 55},
        {"tracestate": "x" * 512},
    ],
)  # fmt: skip
def test_fields_at_their_limits_are_read(meta):
    assert unpack(raw(msgpack.packb(meta))).meta == meta


def test_meta_too_long_for_a_message_is_not_packed():
    with pytest.raises(ValueError, match="does not fit"):
        pack(Kind.ERROR, 0, {"text": "x" * 70_000})


@settings(PATIENT)
@given(st.binary(max_size=300), st.sampled_from(list(Kind)))
def test_no_bytes_raise_anything_else(noise, kind):
    for payload in (noise, raw(noise, kind=kind), bytes([VERSION]) + noise):
        try:
            message = unpack(payload)
        except (Malformed, ProtocolMismatch):
            continue
        assert isinstance(message.meta, dict)


@settings(PATIENT)
@given(
    st.sampled_from(list(Kind)),
    st.integers(0, 0xFFFFFFFF),
    st.dictionaries(st.text(max_size=5).map("x-{}".format), st.integers(-5, 5) | st.text(max_size=5), max_size=5),
    st.binary(max_size=50),
)
def test_unpack_gives_back_what_was_packed(kind, sequence, meta, body):
    message = unpack(pack(kind, sequence, meta) + body)
    assert message == (kind, sequence, meta, body)
