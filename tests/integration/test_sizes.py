"""Values from nothing to a gigabyte, streams of any length: exact, in order, and in bounded memory at both ends."""

from __future__ import annotations

import asyncio
import os
import time
import zlib
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import landbridge as lb

SOURCE = """
import sys
import zlib

import numpy as np

sys.modules["numcodecs"] = None  # values keep their size on the line, and what waits is as large as it looks
__all__ = ["add", "blocks", "count", "crc", "echo", "echo_soon", "make", "produced", "runs"]
PRODUCED = []
RUNS = []


def add(a: int, b: int) -> int:
    return a + b

def echo(value):
    RUNS.append("echo")
    return value

async def echo_soon(value):
    return value

def crc(value) -> int:
    RUNS.append("crc")
    return zlib.crc32(memoryview(value).cast("B"))

def make(n: int):
    return np.arange(n, dtype=np.float64)

def count(n: int):
    yield from range(n)

def blocks(n: int, size: int):
    global PRODUCED
    PRODUCED = mine = []  # a run before that is just being stopped may still make one
    for i in range(n):
        mine.append(i)
        yield np.full(size, float(i))

def produced() -> int:
    return len(PRODUCED)

def runs() -> int:
    return len(RUNS)
"""

GB = 10**9
BEYOND = 64 * 2**20
"""What a transfer may take beyond the value itself, in bytes."""


@pytest.fixture(scope="module")
def server(network):
    return network.serve(SOURCE, "awi/sizes")


@pytest.fixture(scope="module")
def sizes(net, server):
    return net["awi/sizes"]


class Peak:
    """The most memory that a process has had since this was made."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        Path(f"/proc/{pid}/clear_refs").write_text("5")
        self._before = self._peak()

    def _peak(self) -> int:
        status = Path(f"/proc/{self._pid}/status").read_text()
        return int(status.partition("VmHWM:")[2].split()[0]) * 1024

    @property
    def rise(self) -> int:
        return self._peak() - self._before


def available() -> int:
    return int(Path("/proc/meminfo").read_text().partition("MemAvailable:")[2].split()[0]) * 1024


@pytest.mark.timeout(240)
@pytest.mark.skipif(available() < 6 * GB, reason="needs 6 GB of free memory")
def test_a_gigabyte_there_and_a_gigabyte_back_take_no_more_memory_than_they_are(network, server, sizes):
    sizes.add(1, 2)
    peak = Peak(server.pid)
    there = network.python(BIG + "there()", timeout_s=100)
    assert there.returncode == 0, there.stderr
    rise, crc = map(int, there.stdout.split())
    assert crc == zlib.crc32(np.arange(GB // 8, dtype=np.float64))
    assert rise < BEYOND  # beyond the argument, which the script has anyway
    assert peak.rise < GB + BEYOND
    peak = Peak(server.pid)
    back = network.python(BIG + "back()", timeout_s=100)
    assert back.returncode == 0, back.stderr
    rise, same = map(int, back.stdout.split())
    assert same
    assert rise < GB + BEYOND
    assert peak.rise < GB + BEYOND


BIG = """
import os
from pathlib import Path

import numpy as np

import landbridge as lb

def peak():
    return int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0]) * 1024

def there():
    value = np.arange(125_000_000, dtype=np.float64)
    before = peak()
    crc = sizes.crc(value)
    print(peak() - before, crc)

def back():
    before = peak()
    value = sizes.make(125_000_000)
    rise = peak() - before
    ends = value[0] == 0.0 and value[-1] == 124_999_999.0 and value.size == 125_000_000
    print(rise, int(ends and bool((np.diff(value[::1000]) == 1000.0).all())))

net = lb.connect()
sizes = net["awi/sizes"]
sizes.add(1, 2)
"""


@pytest.mark.parametrize("method", ["echo", "echo_soon"])
def test_a_hundred_megabytes_to_and_fro(sizes, method):
    value = np.random.default_rng(1).random(12_500_000)
    back = getattr(sizes, method)(value)
    assert np.array_equal(back, value)


@pytest.mark.timeout(600)
def test_all_items_of_a_long_stream_arrive_in_order_and_memory_stays_flat(sizes, server):
    there, here = Peak(server.pid), Peak(os.getpid())
    due = 0
    for item in sizes.count(1_000_000):
        assert item == due
        due += 1
    assert due == 1_000_000
    assert there.rise < BEYOND / 2
    assert here.rise < BEYOND / 2


def test_items_of_three_megabytes(sizes, server):
    there, here = Peak(server.pid), Peak(os.getpid())
    for number, block in enumerate(sizes.blocks(60, 375_000)):
        assert block.size == 375_000
        assert block[0] == block[-1] == number
    assert number == 59
    assert there.rise < BEYOND
    assert here.rise < BEYOND


@pytest.mark.parametrize("size", [1_000, 50_000, 400_000])
def test_a_reader_that_waits_holds_its_stream_and_nothing_else(sizes, size):
    number = 400_000_000 // (8 * size) if size > 1_000 else 20_000
    stream = sizes.blocks(number, size)
    assert next(stream)[0] == 0.0
    before, now = -1, sizes.produced()
    while before != now:
        time.sleep(0.3)  # nobody tells that nothing more is coming
        before, now = now, sizes.produced()
        assert sizes.add(1, 2) == 3
    assert now * 8 * size < 24 * 2**20
    assert now < number
    for due in range(1, 100):
        assert next(stream)[0] == due
    assert sizes.produced() >= 100
    stream.close()


def test_an_asyncio_reader_that_waits_holds_its_stream_too(sizes):
    async def main():
        async with lb.AsyncNetwork() as net:
            remote = net["awi/sizes"]
            stream = aiter(remote.blocks(1000, 50_000))
            await anext(stream)
            before, now = -1, await remote.produced()
            while before != now:
                await asyncio.sleep(0.3)
                before, now = now, await remote.produced()
            assert now * 400_000 < 24 * 2**20
            for due in range(1, 100):
                assert (await anext(stream))[0] == due
            await stream.aclose()

    asyncio.run(asyncio.wait_for(main(), 100))


ODD = {
    "empty": np.zeros((0,)),
    "empty of several dimensions": np.zeros((0, 3, 2), dtype=np.int16),
    "of no dimension": np.array(1.5),
    "a scalar": np.float32(0.1),
    "large in Fortran's order": np.asfortranarray(np.arange(600_000.0).reshape(1000, 600)),
    "every second of many": np.arange(1_200_000)[::2],
    "backwards": np.arange(300_000.0)[::-1],
    "of bools": np.arange(2_000_000) % 3 == 0,
    "of big-endian numbers": np.arange(200_000, dtype=">f8"),
    "of times": np.arange("1950-01", "2020-01", dtype="datetime64[D]"),
    "with not a number": np.full(100_000, np.nan),
}


@pytest.mark.parametrize("value", ODD.values(), ids=ODD.keys())
def test_odd_arrays_arrive_as_they_are(sizes, value):
    back = sizes.echo(value)
    assert type(back) is type(value)
    assert (back.dtype, back.shape) == (value.dtype, value.shape)
    assert np.array_equal(back, value, equal_nan=value.dtype.kind == "f")


def test_a_large_value_of_many_kinds(sizes):
    value = {
        "text": "ö" * 1_000_000,
        "bytes": bytes(range(256)) * 10_000,
        "list": list(range(100_000)),
        "arrays": [np.full(200_000, float(i)) for i in range(5)],
        "none": [None, True, 1 << 100, 1.5],
    }
    back = sizes.echo(value)
    assert all(np.array_equal(one, other) for one, other in zip(back.pop("arrays"), value.pop("arrays"), strict=True))
    assert back == value


def test_a_dataset_of_twenty_megabytes(sizes):
    rng = np.random.default_rng(2)
    dataset = xr.Dataset(
        {"sst": (("time", "lat", "lon"), rng.random((60, 180, 232)), {"units": "degC"})},
        coords={"time": np.arange("2006-01", "2011-01", dtype="datetime64[M]").astype("datetime64[ns]")},
        attrs={"title": "made up"},
    )
    assert dataset.nbytes > 20_000_000
    back = sizes.echo(dataset)
    xr.testing.assert_identical(back, dataset)


def test_a_large_value_may_be_changed_once_start_has_returned(sizes):
    value = np.arange(7_500_000.0)
    call = sizes.crc.start(value)
    expected = zlib.crc32(value)
    value[:] = -1.0
    assert call.result() == expected


def test_several_large_values_of_one_client_at_once(sizes):
    values = [np.full(2_500_000, float(i)) for i in range(8)]
    calls = [sizes.echo.start(value) for value in values]
    assert sizes.add(1, 2) == 3
    for call, value in zip(calls, values, strict=True):
        assert np.array_equal(call.result(), value)


def test_large_values_of_a_cancelled_call_are_let_go_of(sizes, server):
    def resident() -> int:
        return int(Path(f"/proc/{server.pid}/statm").read_text().split()[1]) * 4096

    def until(true) -> None:
        deadline = time.monotonic() + 60
        while not true():
            assert time.monotonic() < deadline
            time.sleep(0.005)

    before = resident()
    call = sizes.make.start(50_000_000)
    until(lambda: resident() - before > 300_000_000)
    assert call.cancel() in ("stopped", "finished")
    until(lambda: resident() - before < BEYOND)
    stream = sizes.blocks(100, 2_500_000)
    assert next(stream)[0] == 0.0
    stream.close()
    until(lambda: resident() - before < BEYOND)
    assert sizes.add(1, 2) == 3


def test_arguments_beyond_the_limit_of_the_receiver_are_refused_and_nothing_runs(network, net):
    small = network.serve(SOURCE, "awi/small", LANDBRIDGE_MEMORY_BYTES=str(100 * 2**20))
    remote = net["awi/small"]
    remote.add(1, 2)
    peak = Peak(small.pid)
    with pytest.raises(lb.TooLarge) as caught:
        remote.crc(np.zeros(9_000_000))
    assert caught.value.size_bytes > 72_000_000
    assert caught.value.limit_bytes == 64 * 2**20
    assert "67,108,864" in str(caught.value)
    assert isinstance(caught.value, ValueError)
    assert remote.runs() == 0
    assert peak.rise < 16 * 2**20  # it was refused before it was received
    assert remote.crc(np.zeros(1_000_000)) == zlib.crc32(bytes(8_000_000))


def test_a_result_beyond_the_limit_of_the_caller_is_refused(network, server):
    run = network.python(
        """
        import landbridge as lb
        net = lb.connect()
        sizes = net["awi/sizes"]
        try:
            sizes.make(4_000_000)
        except lb.TooLarge as error:
            print(error.size_bytes > 32_000_000, error.limit_bytes)
        print(sizes.make(1_000_000).size)
        """,
        LANDBRIDGE_MEMORY_BYTES=str(20_000_000),
    )
    assert run.stdout == "True 15000000\n1000000\n", run.stderr


def test_ten_thousand_calls_at_once(sizes):
    calls = [sizes.add.start(number, 1) for number in range(10_000)]
    assert [call.result() for call in calls] == list(range(1, 10_001))


def test_ten_thousand_calls_at_once_with_asyncio(sizes):
    async def main():
        async with lb.AsyncNetwork() as net:
            add = net["awi/sizes"].add
            return await asyncio.gather(*(add(number, 1) for number in range(10_000)))

    assert asyncio.run(asyncio.wait_for(main(), 110)) == list(range(1, 10_001))
