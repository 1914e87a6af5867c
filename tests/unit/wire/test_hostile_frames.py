"""Frames made by hand to do harm: each ends in a typed error, and takes little memory on the way."""

from __future__ import annotations

import struct
import threading
import tracemalloc
from uuid import UUID

import msgpack
import numpy as np
import pytest

from landbridge.errors import LandbridgeError, Malformed, ProtocolMismatch, TooLarge
from landbridge.wire import Limits, decode, encode


def ext(tag, payload) -> msgpack.ExtType:
    return msgpack.ExtType(1, msgpack.packb([tag, payload]))


def frame(header, *buffers: bytes, lengths=None, count=None, version=b"\x01\x00") -> bytes:
    if not isinstance(header, bytes):
        header = msgpack.packb(header)
    lengths = list(map(len, buffers)) if lengths is None else lengths
    count = len(lengths) if count is None else count
    head = b"LB" + version + struct.pack("<II", len(header), count) + struct.pack(f"<{len(lengths)}Q", *lengths)
    whole = head + header
    for buffer in buffers:
        whole += bytes(-len(whole) % 64) + buffer
    return whole


def nd(dtype, shape, data, order="C"):
    return ext("nd", [dtype, shape, order, data])


def test_the_frames_of_this_file_are_otherwise_good():
    assert decode(frame({"a": [1, ext("tuple", [2])]})) == {"a": [1, (2,)]}
    assert decode(frame(nd("<f8", [100], 0), np.arange(100.0).tobytes())).sum() == 4950


@pytest.mark.parametrize("version", [b"\x02\x00", b"\x00\x09", b"\x01\x03", b"\xff\xff"])
def test_other_version_is_named(version):
    with pytest.raises(ProtocolMismatch) as caught:
        decode(frame(1, version=version))
    assert caught.value.theirs == f"{version[0]}.{version[1]}"


def test_next_minor_version_is_read():
    assert decode(frame(5, version=b"\x01\x02")) == 5


def test_frame_beyond_the_limit_is_refused():
    with pytest.raises(TooLarge) as caught:
        decode(bytes(2000), limits=Limits(frame_bytes=1000))
    assert (caught.value.size_bytes, caught.value.limit_bytes) == (2000, 1000)


def test_header_beyond_the_limit_is_refused():
    with pytest.raises(TooLarge):
        decode(frame(["x" * 5000]), limits=Limits(header_bytes=1000))


def test_too_many_entries_are_refused():
    with pytest.raises(Malformed, match="more than 100 entries"):
        decode(frame([[1] * 60, [2] * 60]), limits=Limits(items=100))


@pytest.mark.parametrize("limit", [1, 5, 64])
def test_depth_limit_counts_plain_and_tagged_values_alike(limit):
    value = 1
    for level in range(limit):
        value = [value] if level % 2 else (value,)
    assert decode(b"".join(encode(value)), limits=Limits(depth=limit)) == value
    with pytest.raises(Malformed, match="nested deeper"):
        decode(b"".join(encode(value)), limits=Limits(depth=limit - 1))


BAD = {
    "nothing": b"",
    "half a preamble": b"LB\x01\x00\x00",
    "other magic": b"XX" + frame(1)[2:],
    "no header": frame(b""),
    "header cut": frame({"a": 1})[:-1],
    "bytes after the header": frame(1) + b"\0",
    "two values": frame(b"\x01\x02"),
    "header longer than the frame": b"LB\x01\x00" + struct.pack("<II", 2**20, 0),
    "more buffers than bytes": frame(1, lengths=[], count=4096),
    "buffers beyond the limit": frame(1, lengths=[], count=2**32 - 1),
    "huge buffer": frame(1, lengths=[2**64 - 1]),
    "buffer lengths that wrap round": frame(1, b"", lengths=[2**63, 2**63]),
    "buffer cut": frame(nd("<f8", [100], 0), np.arange(100.0).tobytes())[:-1],
    "bytes after the buffers": frame(nd("<f8", [100], 0), bytes(800)) + b"\0",
    "padding that is not zero": frame(nd("|u1", [1], 0), b"x").replace(b"\0x", b"\1x"),
    "buffer nobody uses": frame(1, bytes(8)),
    "buffer used twice": frame([nd("|u1", [800], 0), nd("|u1", [800], 0)], bytes(800)),
    "buffer of no frame": frame(nd("|u1", [800], 0)),
    "buffer by a negative index": frame(nd("|u1", [800], -1), bytes(800)),
    "buffer by a boolean": frame(nd("|u1", [800], False), bytes(800)),
    "unknown tag": frame(ext("os.system", "ls")),
    "tag that is no text": frame(ext(5, 5)),
    "tag without payload": frame(msgpack.ExtType(1, msgpack.packb(["tuple"]))),
    "empty extension": frame(msgpack.ExtType(1, b"")),
    "extension with a tail": frame(msgpack.ExtType(1, msgpack.packb(["tuple", []]) + b"\0")),
    "other extension": frame(msgpack.ExtType(2, b"x")),
    "timestamp": frame(msgpack.Timestamp(1, 2)),
    "timestamp inside": frame([1, {"a": ext("tuple", [msgpack.Timestamp(1, 2)])}]),
    "timestamp as key": frame(b"\x81\xd6\xff\0\0\0\1\x01"),
    "no UTF-8": frame(b"\xa1\xff"),
    "surrogate": frame(b"\xa3\xed\xa0\x80"),
    "reserved byte": frame(b"\xc1"),
    "list as key": frame(b"\x81\x90\x01"),
    "equal keys": frame(b"\x82\x01\x02\x01\x03"),
    "keys 1 and true": frame(b"\x82\x01\x02\xc3\x03"),
    "equal elements": frame(ext("set", [1, 1])),
    "list in a set": frame(ext("set", [[1]])),
    "tuple of a map": frame(ext("tuple", {})),
    "list of four thousand million": frame(b"\xdd\xff\xff\xff\xff"),
    "map of four thousand million": frame(b"\xdf\xff\xff\xff\xff"),
    "text of four thousand million": frame(b"\xdb\xff\xff\xff\xff"),
    "depth bomb of lists": frame(b"\x91" * 100_000 + b"\xc0"),
    "depth bomb of maps": frame(b"\x81\x01" * 100_000 + b"\xc0"),
    "endless integer": frame(ext("int", bytes(70_000))),
    "integer of text": frame(ext("int", "1")),
    "decimal with a huge exponent": frame(ext("decimal", "1E+9999999")),
    "decimal of many digits": frame(ext("decimal", "1" * 70_000)),
    "decimal with spaces": frame(ext("decimal", " 1_0 ")),
    "UUID too short": frame(ext("uuid", b"x")),
    "path with NUL": frame(ext("path", "a\0b")),
    "zone out of the tree": frame(ext("zone", "../../../etc/passwd")),
    "zone by absolute path": frame(ext("zone", "/etc/localtime")),
    "zone that is a folder": frame(ext("zone", "America")),
    "unknown zone": frame(ext("zone", "Mars/Olympus")),
    "date in week form": frame(ext("date", "2024-W01-1")),
    "thirteenth month": frame(ext("date", "2024-13-01")),
    "time zone of another type": frame(ext("datetime", ["2024-01-01T00:00:00.000000", 0, "Europe/Berlin"])),
    "fold of two": frame(ext("datetime", ["2024-01-01T00:00:00.000000", 2, None])),
    "timedelta too long": frame(ext("timedelta", [2**62, 0, 0])),
    "offset too far": frame(ext("timezone", [10**14, None])),
    "range without step": frame(ext("range", [0, 1, 0])),
    "complex of text": frame(ext("complex", ["1", 2.0])),
    "ellipsis of something": frame(ext("ellipsis", 1)),
    "fewer bytes than the shape": frame(nd("<f8", [2**40], b"")),
    "shape that wraps round": frame(nd("<f8", [2**62, 4], b"")),
    "shape that wraps to fit": frame(nd("<f8", [2**61 + 1], bytes(8))),
    "negative shape": frame(nd("<f8", [-1, -1], bytes(8))),
    "shape of floats": frame(nd("<f8", [1.0], bytes(8))),
    "empty but too big": frame(nd("<f8", [2**62, 0, 2**62], b"")),
    "sixty-five dimensions": frame(nd("<f8", [1] * 65, bytes(8))),
    "items without size": frame(nd("|S0", [2**50], b"")),
    "unknown order": frame(nd("<f8", [1], bytes(8), order="K")),
    "object dtype": frame(nd("|O", [1], bytes(8))),
    "dtype by comma": frame(nd("f8,f8", [1], bytes(16))),
    "dtype as expression": frame(nd("(" * 1000, [1], bytes(8))),
    "dtype by name": frame(nd("float64", [1], bytes(8))),
    "long double": frame(nd("<f16", [1], bytes(16))),
    "unit with a zero": frame(nd("<M8[0s]", [1], bytes(8))),
    "item of a gigabyte": frame(nd("|V99999999", [10], b"")),
    "field outside": frame(nd(["struct", 4, False, [["a", "<f8", 0]]], [1], bytes(4))),
    "field before": frame(nd(["struct", 8, False, [["a", "<f8", -8]]], [1], bytes(8))),
    "fields of one name": frame(nd(["struct", 8, False, [["a", "<f4", 0], ["a", "<f4", 4]]], [1], bytes(8))),
    "field of objects": frame(nd(["struct", 8, False, [["a", "|O", 0]]], [1], bytes(8))),
    "struct of negative size": frame(nd(["struct", -8, False, []], [1], b"")),
    "array in an array": frame(nd(["array", "<f8", [2]], [1], bytes(16))),
    "array dtype too big": frame(nd(["struct", 8, False, [["a", ["array", "<f8", [2**40, 2**40]], 0]]], [1], bytes(8))),
    "boolean of two": frame(nd("|b1", [1], b"\x02")),
    "character beyond Unicode": frame(nd("<U1", [1], b"\0\0\x11\0")),
    "character beyond Unicode inside": frame(nd(["struct", 4, False, [["a", "<U1", 0]]], [1], b"\0\0\x11\0")),
    "scalar of text": frame(ext("np", ["<U1", bytes(4)])),
    "scalar too short": frame(ext("np", ["<f8", bytes(4)])),
    "scalar of an array": frame(ext("np", [["array", "<f8", [1]], bytes(8)])),
    "mask of another shape": frame(ext("ma", [nd("<f8", [1], bytes(8)), nd("|b1", [2], bytes(2)), None, False])),
    "mask of another dtype": frame(ext("ma", [nd("<f8", [1], bytes(8)), nd("|u1", [1], bytes(1)), None, False])),
    "mask of text": frame(ext("ma", [nd("<f8", [1], bytes(8)), "mask", None, False])),
    "fewer objects than the shape": frame(ext("objects", [[2**40], "C", [1]])),
    "falling offsets": frame(ext("strings", ["O", [2], "C", struct.pack("<3q", 0, 5, 3), b"abc", None])),
    "offsets beyond the text": frame(ext("strings", ["O", [1], "C", struct.pack("<2q", 0, 9), b"abc", None])),
    "offsets too few": frame(ext("strings", ["O", [2**40], "C", struct.pack("<2q", 0, 3), b"abc", None])),
    "text cut within a letter": frame(ext("strings", ["O", [2], "C", struct.pack("<3q", 0, 1, 2), b"\xc3\xbc", None])),
    "strings of an unknown kind": frame(ext("strings", [["T", True, "x"], [0], "C", bytes(8), b"", None])),
    "missing where none may be": frame(ext("strings", [["T", True, None], [1], "C", bytes(16), b"", b"\1"])),
    "calendar of nobody": frame(ext("cftime", ["maya", False, False, [1, 1, 1, 0, 0, 0, 0]])),
    "31 February": frame(ext("cftime", ["noleap", False, True, [1, 2, 31, 0, 0, 0, 0]])),
    "year too far": frame(ext("cftime", ["noleap", False, True, [2**60, 2, 1, 0, 0, 0, 0]])),
}


@pytest.mark.parametrize("name", BAD)
@pytest.mark.parametrize("container", [bytes, bytearray])
def test_broken_frame_is_malformed(name, container):
    with pytest.raises((Malformed, TooLarge)):
        decode(container(BAD[name]))


def variable(name, dims, data, attrs=None):
    return [name, dims, data, attrs or {}, {}]


X = nd("<f8", [2], bytes(16))
BAD_DATASETS = {
    "dimension twice": [[variable("a", ["x", "x"], nd("<f8", [1, 1], bytes(8)))], [], [], {}, {}],
    "too few dimensions": [[variable("a", [], X)], [], [], {}, {}],
    "sizes that differ": [[variable("a", ["x"], X), variable("b", ["x"], nd("<f8", [1], bytes(8)))], [], [], {}, {}],
    "variable twice": [[variable("a", ["x"], X), variable("a", ["x"], X)], [], [], {}, {}],
    "coordinate that is missing": [[variable("a", ["x"], X)], ["b"], [], {}, {}],
    "index that is missing": [[variable("a", ["x"], X)], [], ["x"], {}, {}],
    "index over two dimensions": [[variable("x", ["x", "y"], nd("<f8", [1, 1], bytes(8)))], ["x"], ["x"], {}, {}],
    "data that is no array": [[variable("a", ["x"], [1, 2])], [], [], {}, {}],
    "attributes that are no map": [[["a", ["x"], X, [], {}]], [], [], {}, {}],
    "dimension that is a list": [[variable("a", [[]], X)], [], [], {}, {}],
}


@pytest.mark.parametrize("name", BAD_DATASETS)
def test_broken_dataset_is_malformed(name):
    with pytest.raises(Malformed):
        decode(frame(ext("xr.ds", BAD_DATASETS[name])))


def test_deep_tags_do_not_overflow_a_small_stack():
    bomb = b"\xc0"
    for _ in range(3000):
        bomb = msgpack.packb(msgpack.ExtType(1, msgpack.packb("tuple").join([b"\x92", b"\x91"]) + bomb))
    raised = []

    def run():
        try:
            decode(frame(bomb))
        except LandbridgeError as error:
            raised.append(error)

    before = threading.stack_size(512 * 1024)  # as on macOS
    try:
        thread = threading.Thread(target=run)
        thread.start()
        thread.join()
    finally:
        threading.stack_size(before)
    assert isinstance(raised[0], Malformed)


def peak_bytes(data: bytes) -> int:
    tracemalloc.start()
    try:
        with pytest.raises(LandbridgeError):
            decode(data)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("opening", [b"\xdd\x00\x0e\xff\xff", b"\xdc\xff\xff"])
def test_announced_but_missing_entries_take_no_memory(opening):
    header = opening * 900 + b"\xc0" * (2**20 - 900 * len(opening))
    assert peak_bytes(frame(header)) < 8 * 2**20


def test_many_arrays_of_one_buffer_take_no_memory():
    header = [nd("|u1", [10**6], 0)] * 1000
    assert peak_bytes(frame(header, bytes(10**6))) < 8 * 2**20


@pytest.mark.parametrize("kind", ["map", "set"])
def test_keys_that_collide_are_refused(kind):
    prime = 2**61 - 1
    keys = [ext("uuid", UUID(int=number * prime).bytes) for number in range(20_000)]
    packed = msgpack.Packer()
    if kind == "map":
        header = packed.pack_map_header(len(keys)) + b"".join(msgpack.packb(key) + b"\x01" for key in keys)
    else:
        inner = msgpack.packb(["set", keys])
        header = msgpack.packb(msgpack.ExtType(1, inner))
    with pytest.raises(Malformed, match="collide"):
        decode(frame(header))


def test_many_honest_keys_are_read():
    keys = {UUID(int=number) for number in range(5000)}
    assert decode(b"".join(encode(keys))) == keys


def tuples_of_one_hash(count: int) -> list[tuple[int, ...]]:
    return [tuple(-1 - (number >> bit & 1) for bit in range(count.bit_length())) for number in range(count)]


@pytest.mark.parametrize("kind", ["map", "set"])
@pytest.mark.parametrize("keys", [tuples_of_one_hash(100), [number * (2**61 - 1) for number in range(100)]])
def test_few_colliding_keys_among_many_honest_ones_are_refused(kind, keys):
    keys = [*keys, *range(10**6, 10**6 + 900)]
    value = dict.fromkeys(keys) if kind == "map" else set(keys)
    with pytest.raises(Malformed, match="collide"):
        decode(b"".join(encode(value)))


def test_grid_of_negative_cells_is_read():
    cells = {(-1 - i, -1 - j, -1.0 - k): 0.5 for i in range(5) for j in range(5) for k in range(5)}
    assert decode(b"".join(encode(cells))) == cells


@pytest.mark.parametrize("what", ["variables", "dimensions"])
def test_names_of_a_dataset_that_collide_are_refused(what):
    names = [number * (2**61 - 1) for number in range(100)]
    packed = [number if number < 2**64 else ext("int", number.to_bytes(16, "little", signed=True)) for number in names]
    if what == "variables":
        items = [variable(name, [], nd("<f8", [], bytes(8))) for name in packed]
    else:
        items = [variable(f"v{i}", [name], nd("<f8", [1], bytes(8))) for i, name in enumerate(packed)]
    with pytest.raises(Malformed, match="collide"):
        decode(frame(ext("xr.ds", [items, [], [], {}, {}])))
