"""Encoding and decoding alone, without a network: what a value costs both ends together, beside the least it could."""

from __future__ import annotations

import io
import mmap
import time
from collections.abc import Callable
from typing import Any

import msgpack
import numpy as np
import pandas as pd
import pyarrow as pa
from bench import Bench, say
from report import Part, Row

from landbridge import wire

SIZES = {"1 KB": 10**3, "1 MB": 10**6, "100 MB": 10**8}


def measure(bench: Bench) -> list[Part]:
    """Measure in turns: the limit, then ours."""
    rounds = bench.rounds if bench.quick else max(bench.rounds, 7)  # each takes a second
    arrays = []
    for name, size in SIZES.items():
        say(f"encoding f4 of {name}")
        array = np.random.default_rng(1).random(size // 4, dtype=np.float32)
        # Nothing that makes an object of Python is as quick as copying 1 KB.
        row = Row(f"f4 {name}", "us" if size < 10**6 else "ms", reach="<= 1.5" if size >= 10**6 else "")
        in_turns(row, rounds, array, there_and_back, copied_afresh, max(1, 2 * 10**8 // (size + 10**5)))
        arrays.append(row)
    say("encoding a table, and dicts")
    frame = table_of(10**4 if bench.quick else 10**6)
    table = Row(f"{len(frame):,} rows: f8, text, category, time with zone", "ms", reach="<= 1.2")
    in_turns(table, rounds, frame, there_and_back, by_arrow)
    dicts = Row("10,000 dicts of four", "ms")
    stations = [{"name": f"s{n}", "lat": n / 200.0, "deep": n % 2 == 0, "depths": [n, n + 1]} for n in range(10_000)]
    in_turns(dicts, rounds, stations, there_and_back, by_msgpack)
    return [
        Part("Encoding and decoding an array", "a fresh copy", arrays, {}),
        Part("Encoding and decoding a table", "Arrow IPC", [table], {}),
        Part("Encoding and decoding plain values", "msgpack", [dicts], {}),
    ]


def in_turns(
    row: Row, rounds: int, value: Any, ours: Callable[[Any], object], limit: Callable[[Any], object], repeat: int = 1
) -> None:
    """Fill a row: each figure is the mean of `repeat` calls."""
    ours(value)
    limit(value)
    for _ in range(rounds):
        row.limit.append(seconds(limit, value, repeat))
        row.ours.append(seconds(ours, value, repeat))


def seconds(call: Callable[[Any], object], value: Any, repeat: int) -> float:
    begin = time.perf_counter()
    for _ in range(repeat):
        call(value)
    return (time.perf_counter() - begin) / repeat


def there_and_back(value: Any) -> object:
    """Encode, put all of it into fresh memory, as a receiver does, and decode."""
    return wire.decode(wire.joined(wire.encode(value)))


def by_msgpack(value: Any) -> object:
    return msgpack.unpackb(msgpack.packb(value))


def copied_afresh(array: np.ndarray) -> object:
    """Copy once, into memory that the kernel has not given yet; of small arrays, into a new bytes object."""
    if array.nbytes < 10**6:
        return array.tobytes()
    # Private, as memory that a program asks for is: what can be shared takes longer to fill.
    fresh = mmap.mmap(-1, array.nbytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    memoryview(fresh)[:] = memoryview(array).cast("B")
    return fresh


def table_of(rows: int) -> pd.DataFrame:
    """Return a table of what the tables of measurements have: numbers, names, kinds and times."""
    rng = np.random.default_rng(1)
    return pd.DataFrame(
        {
            "value": rng.random(rows),
            "name": pd.array([f"station {n % 5000}" for n in range(rows)], dtype="str"),
            "kind": pd.Categorical.from_codes(rng.integers(0, 4, rows), ["a", "b", "c", "d"]),
            "time": pd.date_range("2006-01-01", periods=rows, freq="min", tz="Europe/Berlin"),
        }
    )


def by_arrow(frame: pd.DataFrame) -> pd.DataFrame:
    """Write as Arrow writes a table, and read it as what comes from strangers: checked in full."""
    table = pa.Table.from_pandas(frame)
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, table.schema) as stream:
        stream.write_table(table)
    back = pa.ipc.open_stream(sink.getvalue()).read_all()
    back.validate(full=True)
    return back.to_pandas()
