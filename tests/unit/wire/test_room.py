"""Memory for what is being received: real, writable, aligned, and free until it is used."""

from __future__ import annotations

import gc
from pathlib import Path

import numpy as np
import pytest

from landbridge.wire import room

GB = 1 << 30


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


@pytest.mark.parametrize("size", [0, 1, 1000, 1024 * 1024 - 1, 1024 * 1024, 3 * 1024 * 1024 + 17])
def test_there_is_as_much_as_was_asked_for_all_zero_and_writable(size):
    memory = room(size)
    assert memory.nbytes == len(memory) == size
    assert not any(memory[:100])
    memory[:] = b"x" * size
    assert bytes(memory[-10:]) == b"x" * min(size, 10)


@pytest.mark.parametrize("size", [64, 1024 * 1024, 10 * 1024 * 1024])
def test_it_is_aligned_for_every_dtype(size):
    array = np.frombuffer(room(size), np.complex128)
    assert array.flags.aligned
    assert array.ctypes.data % 16 == 0


def test_it_costs_nothing_before_it_is_written_to_and_all_comes_back():
    before = resident()
    memory = room(4 * GB)
    assert resident() - before < 16 * 1024 * 1024
    memory[: 64 * 1024 * 1024] = bytes(64 * 1024 * 1024)
    assert resident() - before > 48 * 1024 * 1024
    del memory
    gc.collect()
    assert resident() - before < 32 * 1024 * 1024


def test_what_was_made_of_it_keeps_it_alive():
    array = np.frombuffer(room(2 * 1024 * 1024), np.float64)
    array[:] = 7.0
    gc.collect()
    others = [room(2 * 1024 * 1024) for _ in range(10)]
    assert array.sum() == 7.0 * array.size
    assert len(others) == 10
