"""Laws of compressed buffers: what arrives is what was sent; what was damaged is a typed error, and never a crash."""

from __future__ import annotations

import random
import resource
import struct
import sys
from collections import Counter
from time import perf_counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from landbridge.wire import Limits, compressed, decode, encode, joined, readable
from property.damage import outcomes_of

EACH = 12_000
MEMORY_BYTES = 2 * 2**30
PLENTY = Limits(raw_bytes=2**28)
DTYPES = ["u1", "<i2", "<f4", ">f8", "<c16", "S3", "<M8[ms]"]


def frame_of(value: object, codecs: list[str]) -> bytearray:
    itemsizes: list[int] = []
    parts = encode(value, itemsizes=itemsizes)
    return bytearray(joined(compressed(parts, itemsizes, codecs, 1e3, perf_counter, lambda: None)))


@st.composite
def arrays(draw):
    dtype = np.dtype(draw(st.sampled_from(DTYPES)))
    size = draw(st.integers(0, 3 * 2**20))
    pattern = draw(st.binary(min_size=1, max_size=2000))
    noise = np.random.default_rng(draw(st.integers(0, 9))).bytes(draw(st.integers(0, size // 2)))
    data = noise + (pattern * (size // len(pattern) + 1))[: size - len(noise)]
    return np.frombuffer(data[: len(data) // dtype.itemsize * dtype.itemsize], dtype)


@settings(max_examples=60, deadline=None)
@given(array=arrays(), other=arrays(), codecs=st.sampled_from([["lz4"], ["zstd"], ["lz4", "zstd"]]))
def test_what_arrives_is_what_was_sent(array, other, codecs):
    back, second, text = decode(frame_of([array, other, "x" * 70_000], codecs), limits=PLENTY)
    assert back.dtype == array.dtype
    assert back.tobytes() == array.tobytes()
    assert second.tobytes() == other.tobytes()
    assert text == "x" * 70_000


@pytest.mark.parametrize("codec", readable())
def test_damaged_compressed_buffers_give_a_typed_error_or_a_value(codec):
    counts = outcomes_of(__file__, codec)
    assert counts["error"] + counts["value"] == EACH
    assert counts["error"] > 1000


def injured(dice: random.Random, frame: bytearray) -> bytearray:
    broken = bytearray(frame)
    for _ in range(dice.choice((1, 1, 2, 5, 20))):
        # Where rules are dense: the table, the beginning of a buffer; and anywhere.
        at = dice.choice((dice.randrange(12, 64), dice.randrange(64, 160), dice.randrange(len(broken))))
        at = min(at, len(broken) - 1)
        wound = dice.randrange(4)
        if wound == 0:
            broken[at] = dice.randrange(256)
        elif wound == 1:
            broken[at] ^= 1 << dice.randrange(8)
        else:
            odd = struct.pack("<I", dice.choice((0, 1, 2**31 - 1, 2**31, 2**32 - 1, len(broken), dice.getrandbits(32))))
            at = min(at, len(broken) - 4)
            broken[at : at + 4] = odd
    if dice.random() < 0.2:  # cut, with lengths that fit what is left
        del broken[dice.randrange(64, len(broken)) :]
        last = struct.unpack_from("<I", broken, 8)[0] - 1
        if last == 0:
            broken[12:20] = struct.pack("<Q", max(len(broken) - 128, 0))
    return broken


def main(codec: str, seed: int = 0, count: int = EACH) -> None:
    """Damage frames, and print how many gave what."""
    from landbridge.errors import Malformed, ProtocolMismatch, TooLarge

    dice = random.Random(f"{codec} {seed}")
    noisy = np.random.default_rng(0).standard_normal(40_000).astype("f4").round(0)
    values = [
        np.arange(20_000, dtype="f4"), np.zeros(300_000), noisy, "text " * 20_000,
        {"a": noisy[:20_000], "b": np.arange(20_000)}, np.arange(400_000, dtype="<i4") // 10,
    ]  # fmt: skip
    frames = [frame_of(value, [codec]) for value in values]
    assert all(frame[3] == 1 for frame in frames)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    outcomes: Counter[str] = Counter(error=0, value=0)
    for _ in range(count):
        try:
            value = decode(injured(dice, dice.choice(frames)), limits=PLENTY)
        except (Malformed, ProtocolMismatch, TooLarge):
            outcomes["error"] += 1
        else:
            outcomes["value"] += 1
            repr(value)
    print(*(f"{name}={count}" for name, count in outcomes.items()), sep="\n")


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))
