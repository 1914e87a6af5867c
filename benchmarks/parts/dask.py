"""A mean that dask computes here of data that are far away: what its chunks and threads cost beside the bytes alone."""

from __future__ import annotations

from bench import Bench, say
from fields import MAP, STEPS, write
from report import Part, Row

from parts.slices import BYTES_PER_S, DELAY_S, LINK

STEP_BYTES = MAP[0] * MAP[1] * 4
THREADS = (2, 16)


def measure(bench: Bench) -> list[Part]:
    """Measure each size of chunk with few and with many threads."""
    steps, chunks = (72, (9, 36)) if bench.quick else (552, (9, 138))
    file = write(bench.net.folder / "field.nc", steps if bench.quick else STEPS)
    bench.net.serve(file, "bench/field")
    link = bench.net.link(DELAY_S, BYTES_PER_S)
    caller = bench.net.caller(program="data_caller.py", url=link.ask(do="url"))
    # To import and open.
    caller.ask(do="dask_mean", steps=1, in_chunk=1, threads=1, file=str(file))
    rounds = max(1, bench.rounds // 2)  # a round takes half a minute
    rows = []
    for in_chunk in chunks:
        for threads in THREADS:
            size = f"{in_chunk * STEP_BYTES / 1e6:.0f} MB"
            reach = "<= 1.3" if in_chunk == chunks[-1] else ""
            rows.append(Row(f"chunks of {size}, {threads} threads", "s", reach=reach))
            say(f"dask, {rows[-1].name}")
            for _ in range(rounds):
                order = {"do": "dask_mean", "steps": steps, "in_chunk": in_chunk, "threads": threads}
                rows[-1].ours.append(caller.ask(**order, file=str(file)))
                rows[-1].limit.append(steps * STEP_BYTES / BYTES_PER_S)
    caller.stop()
    title = f"dask: mean of {steps * STEP_BYTES / 1e6:.0f} MB, {LINK}"
    return [Part(title, "bytes alone", rows, {})]
