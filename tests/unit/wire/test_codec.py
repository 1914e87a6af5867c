"""The two functions as a whole: threads, imports, kinds of memory."""

from __future__ import annotations

import mmap
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from landbridge.errors import Malformed
from landbridge.wire import decode, encode, size_bytes

SOURCE = Path(__file__).parents[3] / "src"


def test_threads_do_not_mix_their_frames():
    def work(number: int) -> bool:
        value = [number, (number, {number: (number,)}), bytearray(600), np.full(200, number)]
        return all(repr(decode(b"".join(encode(value)))) == repr(value) for _ in range(50))

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(32)))


@pytest.mark.parametrize("value", ["{'first': 2006}", "__import__('numpy').arange(3)"])
def test_plain_values_and_arrays_import_nothing_heavy(value):
    script = (
        "import sys; from landbridge.wire import encode, decode;"
        f"decode(b''.join(encode({value})));"
        "print(sorted({'xarray', 'pandas', 'cftime', 'pydantic'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], env={"PYTHONPATH": str(SOURCE)}, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_frame_in_a_file_is_read_where_it_lies(tmp_path):
    path = tmp_path / "value.lb"
    path.write_bytes(b"".join(encode({"data": np.arange(1000.0)})))
    with path.open("r+b") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY) as mapped:
        view = memoryview(mapped)
        value = decode(view)
        assert value["data"].sum() == 499500
        assert np.shares_memory(value["data"], np.frombuffer(view, "u1"))
        del value
        view.release()


def test_read_only_view_gives_writable_arrays():
    value = decode(memoryview(b"".join(encode(np.arange(1000.0)))))
    value[0] = 1


def test_memory_of_another_shape_is_refused():
    frame = bytearray(b"".join(encode(np.arange(1000))))
    with pytest.raises(Malformed):
        decode(memoryview(frame)[::2])
    with pytest.raises(Malformed):
        decode(memoryview(frame[: len(frame) // 4 * 4]).cast("i"))


def test_size_is_that_of_the_joined_frame():
    parts = encode({"a": np.arange(1000), "b": "x", "c": bytes(1001)})
    assert size_bytes(parts) == len(b"".join(parts))


def test_same_value_gives_the_same_frame_again():
    value = {"a": {3, 1, 2}, "b": (1, np.arange(100))}
    assert b"".join(encode(value)) == b"".join(encode(value))
