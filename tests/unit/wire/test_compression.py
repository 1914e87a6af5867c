"""Compressed buffers: which are compressed, what arrives, and what is refused."""

from __future__ import annotations

import struct
import sys
from time import perf_counter

import numpy as np
import pytest

from landbridge.errors import Malformed, MissingExtra, TooLarge
from landbridge.wire import Limits, compressed, decode, encode, joined, readable, saved_bytes, size_bytes
from landbridge.wire.compression import pays, squeezed
from landbridge.wire.frame import buffers_of, frame_parts, split_frame

MB = 1024 * 1024
SLOW = 1e3  # bytes per second: whatever becomes smaller is worth it
PLENTY = Limits(raw_bytes=2**30)
SMOOTH = np.sin(np.arange(300_000, dtype="f4") / 1000).round(2)


def frame_of(value, codecs=("lz4", "zstd"), bytes_per_s=SLOW, go_on=lambda: None):
    itemsizes = []
    parts = encode(value, itemsizes=itemsizes)
    return joined(compressed(parts, itemsizes, codecs, bytes_per_s, perf_counter, go_on))


def forced(value, codec):
    itemsizes = []
    header, buffers = buffers_of(encode(value, itemsizes=itemsizes))
    bodies = [squeezed(raw, size, codec, lambda: None) for raw, size in zip(buffers, itemsizes, strict=True)]
    return bytearray(b"".join(frame_parts(header, buffers, bodies)))


@pytest.mark.parametrize("codec", readable())
@pytest.mark.parametrize("dtype", ["u1", "<i2", ">i4", "<f4", "<f8", "<c16", "<M8[s]", "S3", "<U2"])
def test_arrays_of_every_size_of_item_arrive_as_they_were(codec, dtype):
    array = (np.arange(400_000) % 100).astype(dtype).reshape(4, -1)
    frame = frame_of({"a": array, "small": array[:, :50], "t": np.asfortranarray(array)}, [codec])
    assert frame[3] == 1
    assert len(frame) < array.nbytes
    back = decode(frame, limits=PLENTY)
    for name, expected in (("a", array), ("small", array[:, :50]), ("t", array)):
        assert back[name].dtype == array.dtype
        assert back[name].tobytes() == expected.tobytes()
        assert back[name].flags.writeable
        assert back[name].flags.aligned


@pytest.mark.parametrize("codec", readable())
@pytest.mark.parametrize("size", [64 * 1024, MB - 4, MB, MB + 4, 5 * MB + 8])
def test_pieces_of_every_length_are_put_together(codec, size):
    array = np.resize(SMOOTH, size // 4)
    assert decode(frame_of(array, [codec]), limits=PLENTY).tobytes() == array.tobytes()


@pytest.mark.parametrize("codec", readable())
def test_a_long_buffer_is_handed_on_in_few_parts(codec):
    array = np.resize(SMOOTH, 40 * MB // 4)
    itemsizes = []
    parts = compressed(encode(array, itemsizes=itemsizes), itemsizes, [codec], SLOW, perf_counter, lambda: None)
    assert len(parts) < 8
    assert decode(joined(parts), limits=PLENTY).tobytes() == array.tobytes()


def test_text_is_compressed_too():
    text = "Tiefe Temperatur Salzgehalt " * 10_000
    frame = frame_of([text, text.encode()])
    assert len(frame) < len(text) / 10
    assert decode(frame, limits=PLENTY) == [text, text.encode()]


def test_a_frame_in_which_nothing_is_compressed_is_of_version_1_0_byte_for_byte():
    noise = np.frombuffer(np.random.default_rng(0).bytes(MB), "u1")
    value = {"noise": noise, "short": np.zeros(1000), "n": 1}
    assert bytes(frame_of(value)) == b"".join(encode(value))


def test_what_saves_less_than_a_tenth_stays_as_it_is():
    noise = np.random.default_rng(0).bytes(MB)
    assert pays(noise, 1, readable(), SLOW, perf_counter) is None
    assert pays(bytes(MB), 1, readable(), SLOW, perf_counter) is not None
    assert pays(bytes(64 * 1024 - 1), 1, readable(), SLOW, perf_counter) is None


@pytest.mark.parametrize(
    ("bytes_per_s", "packing_s", "codec"),
    [
        (12e6, 0.0001, "lz4"),  # a line of 100 Mbit/s, a quick processor
        (100e6, 0.0001, "lz4"),
        (0, 0.0001, "lz4"),  # nobody knows: taken for 100 MB/s
        (100e6, 0.01, None),  # a busy processor: it would take longer than the line
        (290e6, 0.0005, None),
        (310e6, 0.0, None),
    ],
)
def test_it_pays_when_the_line_is_slower_than_the_processor(bytes_per_s, packing_s, codec):
    times = iter([0.0, packing_s])
    assert pays(SMOOTH.tobytes(), 4, ["lz4"], bytes_per_s, lambda: next(times)) == codec


def test_zstd_is_taken_on_slow_lines_only():
    table = b"".join(b"%d,%d\n" % (n, n % 7) for n in range(100_000))
    times = [0.0, 0.00001, 0.0, 0.00002]
    clock = iter(times)
    assert pays(table, 1, ["lz4", "zstd"], 1e6, lambda: next(clock)) == "zstd"
    clock = iter(times)
    assert pays(table, 1, ["lz4", "zstd"], 90e6, lambda: next(clock)) == "lz4"


def test_codecs_that_are_unknown_here_are_not_used():
    assert pays(bytes(MB), 1, ["lzma", "brotli"], SLOW, perf_counter) is None
    assert pays(bytes(MB), 1, [], SLOW, perf_counter) is None


def test_a_promise_that_the_sample_does_not_keep_is_given_up():
    dice = np.random.default_rng(0)
    data = dice.bytes(12 * MB)
    asked = []
    assert squeezed(data, 1, "lz4", lambda: asked.append(1)) is None
    assert len(asked) < 12


def test_compression_ends_when_it_is_told_to():
    class Stopped(BaseException):
        pass

    asked = []

    def go_on():
        asked.append(1)
        if len(asked) == 3:
            raise Stopped

    with pytest.raises(Stopped):
        frame_of(np.resize(SMOOTH, 5 * MB), go_on=go_on)
    assert len(asked) == 3


def test_what_was_saved_is_told_without_reading_the_value():
    value = [SMOOTH, b"x" * 700]
    frame = frame_of(value)
    # What the table of codecs takes is not in it.
    assert 0 <= saved_bytes(frame) - (size_bytes(encode(value)) - len(frame)) < 200
    assert saved_bytes(b"".join(encode(value))) == 0
    for damaged in (b"", b"LB", bytes(frame[:20]), b"x" * 100, bytes(12) + b"\x01" * 50):
        assert saved_bytes(damaged) == 0


# --- what is refused ------------------------------------------------------------------------------------------------


def test_who_has_not_said_what_it_reads_takes_no_compressed_frame():
    with pytest.raises(TooLarge) as caught:
        decode(frame_of(SMOOTH))
    assert (caught.value.size_bytes, caught.value.limit_bytes) == (SMOOTH.nbytes, 0)


def test_more_than_the_limit_is_refused_before_memory_is_taken():
    frame = bytearray(frame_of(bytes(MB)))
    frame[21:29] = struct.pack("<Q", 2**63)
    with pytest.raises(TooLarge, match="compressed buffers"):
        split_frame(frame, PLENTY)
    frame[21:29] = struct.pack("<Q", 2**29)
    with pytest.raises(Malformed, match="compressed bytes cannot be"):
        decode(frame, limits=PLENTY)


@pytest.mark.parametrize("codec", readable())
@pytest.mark.parametrize("more", [-4, 4, -4 * 1000, 4 * 100_000])
def test_a_stream_that_is_shorter_or_longer_than_it_says_is_malformed(codec, more):
    frame = forced(SMOOTH, codec)
    frame[21:29] = struct.pack("<Q", SMOOTH.nbytes + more)
    with pytest.raises(Malformed):
        decode(frame, limits=PLENTY)


@pytest.mark.parametrize("codec", readable())
def test_a_bomb_fills_no_more_than_it_was_given(codec):
    # One piece of a buffer of 1000 bytes that stands for a whole 100 MB, in a form that says so and in one that lies.
    from numcodecs import lz4, zstd

    bomb = lz4.compress(bytes(100 * MB)) if codec == "lz4" else zstd.compress(bytes(100 * MB), 1)
    lying = bytearray(bomb)
    if codec == "lz4":
        lying[:4] = struct.pack("<I", 1000)
    else:  # a frame of 4-byte content size: magic, descriptor, window, size
        at = 5 + (not bomb[4] & 0x20)
        lying[at : at + 4] = struct.pack("<I", 1000)
    header, _ = buffers_of(encode(bytes(1000)))
    for piece in (bomb, bytes(lying)):
        body = b"\x01" + struct.pack("<I", len(piece)) + piece
        table = struct.pack("<QBQ", len(body), {"lz4": 1, "zstd": 2}[codec], 1000)
        first = b"LB\x01\x01" + struct.pack("<II", len(header), 1) + table + header
        with pytest.raises(Malformed):
            decode(first + bytes(-len(first) % 64) + body, limits=PLENTY)


@pytest.mark.parametrize(
    ("at", "odd", "said"),
    [
        (20, b"\x09", "codec 9"),
        (20, b"\x00", "of codec 0"),
        (21, bytes(8), "says that it was 0"),
        (64, b"\x03", "items of 3 bytes"),
        (65, b"\xff\xff\xff\x7f", "cut off"),
        (65, bytes(4), "cut off"),
    ],
)
def test_what_breaks_a_rule_is_malformed(at, odd, said):
    frame = forced(np.arange(1000, dtype="<f4"), "lz4")
    assert decode(bytes(frame), limits=PLENTY)[-1] == 999
    frame[at : at + len(odd)] = odd
    with pytest.raises(Malformed, match=said):
        decode(frame, limits=PLENTY)


def test_without_the_package_nothing_is_offered_and_what_comes_names_what_to_install(monkeypatch):
    frame = frame_of(SMOOTH)
    for name in [name for name in sys.modules if name.partition(".")[0] == "numcodecs"]:
        monkeypatch.setitem(sys.modules, name, None)
    readable.cache_clear()
    try:
        assert readable() == ()
        with pytest.raises(MissingExtra, match=r"landbridge\[compress\]"):
            decode(frame, limits=PLENTY)
    finally:
        readable.cache_clear()
