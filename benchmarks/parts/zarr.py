"""The Zarr view of a data set, whole chunks one after the other and many at a time, beside plain arrays."""

from __future__ import annotations

from bench import Bench, say
from processes import HERE
from report import Part, Row
from work_data import CHUNK_BYTES, CHUNKS

WAYS = {"1 in flight, beside echoes of one chunk": (1, 1), "16 in flight, beside one echo of all": (16, CHUNKS)}


def measure(bench: Bench) -> list[Part]:
    """Measure in turns: arrays there and back, then chunks."""
    bench.net.serve(HERE / "work_data.py", "bench/data")
    caller = bench.net.caller(program="data_caller.py")
    size = CHUNKS * CHUNK_BYTES
    rows = {name: Row(f"{CHUNKS} chunks of 1 MB, {name}", "MB/s", reach=">= 0.6") for name in WAYS}
    for number in range(bench.rounds + 1):
        say(f"Zarr, {f'round {number} of {bench.rounds}' if number else 'to begin with'}")
        for name, (in_flight, together) in WAYS.items():
            echo_s = caller.ask(do="one_way", size=size, each=together * CHUNK_BYTES)
            took_s = caller.ask(do="zarr_chunks", in_flight=in_flight)
            if number:
                rows[name].limit.append(size / echo_s)
                rows[name].ours.append(size / took_s)
    caller.stop()
    return [Part("Chunks through lb.zarr_store", "echo, one way", list(rows.values()), {})]
