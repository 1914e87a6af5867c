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

'''

CALLER = """
import json, sys, zlib
import numpy as np
if {hidden}:
    sys.modules["numcodecs"] = None
import landbridge as lb

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
    network.serve(SOURCE, "awi/fields")
    answers = []
    for hidden in (False, True):
        ran = network.python(CALLER.format(hidden=hidden), LANDBRIDGE_URL=slow_url)
        assert ran.returncode == 0, ran.stderr
        answers.append(json.loads(ran.stdout))
    return answers


def test_a_value_is_the_same_whether_or_not_its_caller_reads_compressed_frames(told):
    plain, squeezed = told[1], told[0]
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
