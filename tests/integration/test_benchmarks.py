"""The benchmarks run, and leave nothing behind when they are killed."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from procfs import children_of, is_running

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the benchmarks read /proc")

RUN = Path(__file__).parents[2] / "benchmarks" / "run.py"


@contextlib.contextmanager
def running(folder: Path, *options: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, str(RUN), "--quick", "--results", str(folder / "results"), *options]
    env = {**os.environ, "TMPDIR": str(folder)}
    process = subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    with process:
        try:
            yield process
        finally:
            process.kill()


def descendants(pid: int) -> set[int]:
    children = children_of(pid)
    return children.union(*(descendants(child) for child in children))


def test_quick_rows_are_measured_and_written(tmp_path: Path) -> None:
    with running(tmp_path, "--only", "small") as process:
        said, told = process.communicate(timeout=100)
    assert process.returncode == 0, told
    document = json.loads((tmp_path / "results" / "latest.json").read_text())
    rows = {row["name"]: row for part in document["parts"] for row in part["rows"]}
    measured = rows["call p50, blocking client, plain function"]
    assert measured["ours"][0] > 0
    assert measured["ratio"] == pytest.approx(measured["ours"][0] / measured["limit"][0])
    assert "64 in flight, async client and method, broker" in said
    # What a run starts in its folders is gone with it.
    assert [path.name for path in tmp_path.iterdir()] == ["results"]


DATA_PARTS = {
    "wire": "f4 100 MB",
    "slices": "point series",
    "zarr": "64 chunks of 1 MB, 16 in flight, beside one echo of all",
    "dask": "chunks of 4 MB, 16 threads",
    "references": "10 MB from institute to institute, and summed",
    "mixed": "echo of a Dataset of 20 variables, 10 MB",
    "compression": "OSTIA SST, 100 Mbit",
    "dasf": "Dataset of 1 MB, with its sleep",
}


@pytest.mark.parametrize("part", DATA_PARTS)
def test_data_are_measured(tmp_path: Path, part: str) -> None:
    with running(tmp_path, "--only", part) as process:
        _, told = process.communicate(timeout=100)
    assert process.returncode == 0, told
    document = json.loads((tmp_path / "results" / "latest.json").read_text())
    rows = {row["name"]: row for found in document["parts"] for row in found["rows"]}
    assert DATA_PARTS[part] in rows
    assert all(row["ours"] and min(row["ours"]) > 0 and not row["failed"] for row in rows.values())
    # What is no matter of time holds in each run.
    counted = [row for found in document["parts"] for row in found["rows"] if row["unit"] in ("calls", "KB")]
    assert all(row["reached"] for row in counted), counted
    assert bool(counted) == (part in ("slices", "references"))
    assert [path.name for path in tmp_path.iterdir()] == ["results"]


def test_whatever_a_killed_benchmark_started_ends(tmp_path: Path) -> None:
    with running(tmp_path, "--only", "flood") as process:
        next(line for line in process.stderr if "round 1" in line)  # so both networks and the callers run
        started = descendants(process.pid)
        assert len(started) >= 7
        process.send_signal(signal.SIGKILL)
        process.wait()
        deadline = time.monotonic() + 30
        while left := {pid for pid in started if is_running(pid)}:
            assert time.monotonic() < deadline, f"{left} of {started} outlived the benchmark"
            time.sleep(0.05)
