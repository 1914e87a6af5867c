"""The methods that the benchmarks call."""

import os
import time
from collections.abc import Iterator

__all__ = ["add", "add_async", "blocks", "echo", "made", "nap", "process_number", "total"]


def add(a: int, b: int) -> int:
    """Return the sum of two whole numbers."""
    return a + b


async def add_async(a: int, b: int) -> int:
    """Return the sum of two whole numbers."""
    return a + b


def nap(seconds: float) -> float:
    """Return after so many seconds, in which a thread is taken but no CPU."""
    time.sleep(seconds)
    return seconds


def echo(value):
    """Return what was given."""
    return value


def made(size: int):
    """Return a new float64 array of so many bytes."""
    import numpy as np  # late: Hypha's environment and those that only add need none

    return np.arange(size // 8, dtype=np.float64)


def total(values) -> float:
    """Return the sum of an array."""
    return float(values.sum())


def process_number() -> int:
    """Return the number of the process that runs this."""
    return os.getpid()


def blocks(count: int, size: int) -> Iterator[bytes]:
    """Give so many items of so many bytes."""
    block = bytes(size)
    for _ in range(count):
        yield block
