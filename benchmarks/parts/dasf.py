"""What DASF does to a value on its way, done here without its broker: reported beside our whole way, with the network.

It packs a Dataset as NetCDF3 in base64 in JSON, and that once more in base64 in JSON, in fragments of 512 KB, before
each of which it sleeps for 50 ms. Of DASF itself `make bench-peers` tells.
"""

from __future__ import annotations

import base64
import json
import time

import numpy as np
import xarray as xr
from bench import Bench, say
from report import Part, Row

FRAGMENT_BYTES = 512_000
SLEEP_S = 0.05


def measure(bench: Bench) -> list[Part]:
    """Measure in turns: packed and unpacked as DASF does; there and back with us."""
    size = 10**6 if bench.quick else 10**7
    dataset = xr.Dataset({"a": ("x", np.random.default_rng(1).random(size // 4, dtype=np.float32))})
    caller = bench.net.caller(program="data_caller.py")
    caller.ask(do="one_way", size=size, each=size)
    rows = [Row(f"Dataset of {size / 1e6:.0f} MB, {how}", "MB/s") for how in ("without its sleep", "with its sleep")]
    for number in range(bench.rounds):
        say(f"as DASF packs, round {number + 1} of {bench.rounds}")
        took_s, fragments = packed_and_unpacked(dataset)
        ours_s = caller.ask(do="one_way", size=size, each=size)
        for row, slept_s in zip(rows, (0.0, fragments * SLEEP_S), strict=True):
            row.limit.append(size / (took_s + slept_s))
            row.ours.append(size / ours_s)
    caller.stop()
    return [Part("Beside DASF's way of packing, one way", "packing alone", rows, {})]


def packed_and_unpacked(dataset: xr.Dataset) -> tuple[float, int]:
    """Return how long it takes to pack and to unpack, and how many fragments it makes."""
    begin = time.perf_counter()
    payload = json.dumps({"properties": {"data": base64.b64encode(dataset.to_netcdf(engine="scipy")).decode()}})
    text = base64.b64encode(payload.encode()).decode()
    fragments = [
        json.dumps({"payload": text[first : first + FRAGMENT_BYTES]}) for first in range(0, len(text), FRAGMENT_BYTES)
    ]
    back = json.loads(base64.b64decode("".join(json.loads(fragment)["payload"] for fragment in fragments)))
    found = xr.load_dataset(base64.b64decode(back["properties"]["data"]), engine="scipy")
    took = time.perf_counter() - begin
    xr.testing.assert_identical(found, dataset)
    return took, len(fragments)
