"""Law: damaged frames give a typed error or a value, nothing else, and never much memory or time."""

from __future__ import annotations

import copy
import random
import resource
import struct
import sys
import warnings
from pathlib import Path

import msgpack
import numpy as np
import pytest
import xarray as xr

from landbridge.errors import Malformed, ProtocolMismatch, TooLarge
from landbridge.wire import Limits, decode, encode

VECTORS = Path(__file__).parents[2] / "spec" / "vectors" / "values"
FRAMES = 40_000
ODD = (
    None, True, -1, 0, 1, 2, 7, 2**31, 2**63, -(2**63), 0.5, float("nan"), "", "x", "C", "F", "|O", "<f8", "|b1",
    "<M8[D]", "|S0", "<U1", b"", bytes(8), b"\xff" * 16, [], [0], [1, 1], {}, {"a": 1}, "tuple", "nd", "xr.ds",
    "strings", "np",
)  # fmt: skip
TELLING = (b"\xdd\xff\xff\xff\xff", b"\xdf\x00\x0f\xff\xff", b"\xc9\xff\xff\xff\xff\x01", b"\xd3", b"\xc0", b"\x91")


def good_frames() -> list[bytes]:
    frames = [path.read_bytes() for path in sorted(VECTORS.glob("*.bin")) if path.stat().st_size < 4000]
    rich = {
        "deep": [{"a": (1, {2, 3}, [None] * 20)}] * 4,
        "arrays": [np.arange(200.0), np.array(["x", "yy"] * 40), np.arange(3), b"q" * 600],
        "strings": np.array(["Kiel", "Potsdam", None] * 30, dtype=object),
    }
    dataset = xr.Dataset(
        {"t": (("time", "x"), np.ones((3, 60)), {"units": "K"}), "n": ("x", np.arange(60))},
        {"time": np.arange(3).astype("M8[ns]"), "area": ("x", np.ones(60))},
    )
    return frames + 5 * [b"".join(encode(value)) for value in (rich, dataset, dataset.t)]


def damaged(dice: random.Random, frames: list[bytes]) -> bytes:
    """Return a good frame with a few injuries, mostly in the header, where they do not only change numbers."""
    frame = dice.choice(frames)
    header_len, n_buffers = struct.unpack_from("<II", frame, 4)
    start = 12 + (17 if frame[3] else 8) * n_buffers
    if dice.random() < 0.15:
        return _injured(dice, frame, frames)
    header = frame[start : start + header_len]
    if dice.random() < 0.5:
        header = _rearranged(dice, header)
    else:
        for _ in range(dice.choice((1, 1, 1, 2, 3))):
            header = _injured(dice, header, frames)
    # Frame it again, so that the damage is found inside and not by the lengths outside.
    end = start + header_len
    rest = frame[end + -end % 64 :] if n_buffers else b""
    whole = frame[:4] + struct.pack("<II", len(header), n_buffers) + frame[12:start] + header
    return whole + (bytes(-len(whole) % 64) + rest if n_buffers else b"")


def _tree(data: bytes) -> object:
    return msgpack.unpackb(data, strict_map_key=False, ext_hook=lambda _, inner: Tagged(_tree(inner)), use_list=True)


def _packed(tree: object) -> bytes:
    return msgpack.packb(tree, default=lambda tagged: msgpack.ExtType(1, _packed(tagged.pair)))


class Tagged:
    def __init__(self, pair: object) -> None:
        self.pair = pair


def _rearranged(dice: random.Random, header: bytes) -> bytes:
    """Return a header in which whole values were exchanged: good msgpack, but wrong or odd payloads."""
    tree = [_tree(header)]
    places: list[tuple[object, object]] = []
    open_: list[object] = [tree]
    while open_:
        node = open_.pop()
        inner = node.pair if isinstance(node, Tagged) else node
        if isinstance(inner, list | dict):
            places += [(inner, key) for key in (range(len(inner)) if isinstance(inner, list) else inner)]
            open_ += inner if isinstance(inner, list) else inner.values()
    for _ in range(dice.choice((1, 1, 2, 3))):
        holder, key = dice.choice(places)
        other, other_key = dice.choice(places)
        # A copy, because a value may be put into itself.
        holder[key] = copy.deepcopy(dice.choice(ODD) if dice.random() < 0.6 else other[other_key])
    return _packed(tree[0])


def _injured(dice: random.Random, data: bytes, frames: list[bytes]) -> bytes:
    at = dice.randrange(len(data)) if data else 0
    wound = dice.randrange(7)
    if wound == 0:
        return data[:at] + bytes((dice.randrange(256),)) + data[at + 1 :]
    if wound == 1:
        return data[:at] + bytes((data[at] ^ (1 << dice.randrange(8)),)) + data[at + 1 :] if data else data
    if wound == 2:
        return data[:at] + data[at + dice.randrange(1, 9) :]
    if wound == 3:
        return data[:at] + dice.randbytes(dice.randrange(1, 9)) + data[at:]
    if wound == 4:
        return data[:at] + data[at : at + dice.randrange(1, 40)] * 2 + data[at:]
    if wound == 5:
        telling = (
            b"\xdd\xff\xff\xff\xff",
            b"\xdf\x00\x0f\xff\xff",
            b"\xc9\xff\xff\xff\xff\x01",
            b"\xd3",
            b"\xc0",
            b"\x91",
        )
        return data[:at] + dice.choice(telling) + data[at + dice.randrange(3) :]
    other = dice.choice(frames)
    cut = dice.randrange(len(other))
    return data[:at] + other[cut : cut + dice.randrange(1, 60)] + data[at + dice.randrange(60) :]


@pytest.mark.parametrize("seed", range(4))
def test_damaged_frame_gives_a_typed_error_or_a_value(seed):
    dice = random.Random(seed)
    frames = good_frames()
    outcomes = {"value": 0, "error": 0}
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # xarray and cftime warn of odd but possible content
        for _ in range(FRAMES // 4):
            frame = damaged(dice, frames)
            try:
                decode(bytearray(frame), limits=Limits(raw_bytes=2**24))
            except (Malformed, ProtocolMismatch, TooLarge):
                outcomes["error"] += 1
            else:
                outcomes["value"] += 1
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown * (1 if sys.platform == "darwin" else 1024) < 200 * 2**20
    assert outcomes["error"] > outcomes["value"] > 0
