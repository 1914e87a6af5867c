"""Results and items travel compressed when that is faster, to callers who can read them, and arrive as they are."""

from __future__ import annotations

import asyncio
import json
import threading
from urllib.parse import urlsplit

import pytest

from chaos.proxy import Line
from network import Network

SOURCE = '''
import numpy as np
import xarray as xr
import landbridge as lb

def field(mb: int):
    """Return values as of a grid: smooth, with two decimals."""
    return np.sin(np.arange(mb * 250_000) / 3000).round(2).astype("f4").reshape(mb, -1)

@lb.method
def result(mb: int):
    return field(mb)

@lb.method(process=True)
def result_apart(mb: int):
    return field(mb)

@lb.method
async def result_in_loop(mb: int):
    return field(mb)

@lb.method
def stream(n: int):
    for number in range(n):
        yield field(1) + np.float32(number)

@lb.method(process=True)
def stream_apart(n: int):
    for number in range(n):
        yield field(1) + np.float32(number)

@lb.method
async def stream_in_loop(n: int):
    for number in range(n):
        yield field(1) + np.float32(number)

@lb.method
def noise(mb: int):
    return np.random.default_rng(1).bytes(mb * 1_000_000)

@lb.method
def text(n: int):
    return "Kiel, 54.3, 10.1; " * n

@lb.method
def kept():
    return warm()

@lb.dataset
def warm():
    values = np.random.default_rng(1).normal(280, 5, (40, 100, 250)).astype("f4")
    values[0, 0] = np.nan
    return xr.Dataset({"t": (("time", "lat", "lon"), values)}, {"lat": np.linspace(-80, 80, 100)})
'''

CALLER = """
import json, re, sys, urllib.request, zlib
import numpy as np
import xarray as xr
if {hidden}:
    sys.modules["numcodecs"] = None
import landbridge as lb

def sent_bytes():
    page = urllib.request.urlopen({metrics!r}, timeout=10).read().decode()
    return sum(int(count) for count in re.findall(r"landbridge_sent_bytes_total.* (\\d+)", page))

ocean = lb.connect().awi.fields
told = {{}}
ocean.noise(2)  # so that the backend knows how slow the line is

def note(name, call, values):
    told[name] = [zlib.crc32(b"".join(values)), call.bytes_received, call.bytes_saved]

for name in ("result", "result_apart", "result_in_loop"):
    call = getattr(ocean, name).start(4)
    value = call.result()
    assert value.flags.writeable
    note(name, call, [value.tobytes()])
for name in ("stream", "stream_apart", "stream_in_loop"):
    call = getattr(ocean, name).start(5)
    note(name, call, [item.tobytes() for item in call])
call = ocean.noise.start(2)
note("noise", call, [call.result()])
call = ocean.text.start(50_000)
note("text", call, [call.result().encode()])
kept = ocean.result.keep(4)
told["kept"] = [zlib.crc32(kept.get().tobytes()), 0, 0]
kept = ocean.result_apart.keep(4)
told["kept apart"] = [zlib.crc32(kept.get().tobytes()), 0, 0]
exact = lb.open("awi/fields.warm")
for name, dataset in (
    ("exactly", exact),
    ("rounded", lb.open("awi/fields.warm", keepbits=6)),
    ("in chunks", xr.open_dataset("landbridge://awi/fields.warm", engine="landbridge", chunks={{}}, keepbits=6)),
    ("kept", ocean.kept.keep().open(keepbits=6)),
):
    before = sent_bytes()
    t = dataset.t.load()
    error = float(abs(t / exact.t - 1).max())
    told["data set " + name] = [error, sent_bytes() - before, 0]
    assert dataset.lat.identical(exact.lat) and bool(t.isnull().equals(exact.t.isnull())), name
    assert t.attrs.get("_QuantizeBitRoundNumberOfSignificantBits") == (None if name == "exactly" else 6), name
print(json.dumps(told))
"""


@pytest.fixture(scope="module")
def slow_url(network: Network):
    broker = urlsplit(network.up.ready["url"])
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    line = Line(lambda: (broker.hostname, broker.port))
    line.bytes_per_s = 10e6
    try:
        asyncio.run_coroutine_threadsafe(line.open(), loop).result(10)
        yield line.url
        asyncio.run_coroutine_threadsafe(line.close(), loop).result(10)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


@pytest.fixture(scope="module")
def told(network: Network, slow_url: str) -> list[dict]:
    metrics = network.serve(SOURCE, "awi/fields", "--metrics").ready["metrics"]
    answers = []
    for hidden in (False, True):
        ran = network.python(CALLER.format(hidden=hidden, metrics=metrics), LANDBRIDGE_URL=slow_url)
        assert ran.returncode == 0, ran.stderr
        answers.append(json.loads(ran.stdout))
    return answers


def test_a_value_is_the_same_whether_or_not_its_caller_reads_compressed_frames(told):
    plain, squeezed = told[1], told[0]
    assert squeezed.keys() == plain.keys()
    for name, (checksum, _, _) in squeezed.items():
        assert checksum == plain[name][0], name
    assert squeezed["kept"][0] == squeezed["kept apart"][0] == squeezed["result"][0]


@pytest.mark.parametrize(
    "name", ["result", "result_apart", "result_in_loop", "stream", "stream_apart", "stream_in_loop", "text"]
)
def test_fewer_bytes_travel_and_the_call_tells_how_many_were_saved(told, name):
    (_, received, saved), (_, plain, _) = told[0][name], told[1][name]
    assert received < plain * 0.75
    assert abs(received + saved - plain) < 1000  # what the frames themselves need


def test_a_caller_without_the_package_gets_what_is_not_compressed(told):
    assert [saved for _, _, saved in told[1].values()] == [0] * len(told[1])


def test_noise_travels_as_it_is(told):
    assert told[0]["noise"][1:] == told[1]["noise"][1:]


@pytest.mark.parametrize("name", ["rounded", "in chunks", "kept"])
def test_a_data_set_of_which_few_bits_are_asked_for_travels_in_few_bytes(told, name):
    (exact, all_bytes, _), (error, sent_bytes, _) = told[0]["data set exactly"], told[0][f"data set {name}"]
    assert exact == 0 < error <= 2**-7 * 1.001  # the ratio of two float32
    assert 0 < sent_bytes < all_bytes * 0.3
