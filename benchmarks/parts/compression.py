"""Real fields with compression and without, at callers that have the package for it or not; and rounded."""

from __future__ import annotations

import os
import statistics
from pathlib import Path

from bench import Bench, say
from counts import counted
from processes import HERE, Child
from report import Part, Row

from parts.slices import BYTES_PER_S

# Noise cannot be made smaller: it must not become slower either.
REACH = {"straight": "<= 1.1", "100 Mbit": "<= 0.8"}
# Klöwer et al. (2021) find 7 to 12 bits of real information in such fields.
ROUNDED = {"OSTIA SST": (7, 10), "ERA-Interim u": (7, 10)}
REPEAT = {"straight": 20, "100 Mbit": 3}


def measure(bench: Bench) -> list[Part]:
    """Measure in turns: without, then with; exact, then rounded."""
    fields = ["OSTIA SST", "NEMO SST", "noise"]
    if (Path(os.environ.get("LANDBRIDGE_TEST_DATA", "")) / "eraint_uvz.nc").is_file():
        fields.append("ERA-Interim u")
    backend = bench.net.serve(HERE / "work_data.py", "bench/data")
    parts = []
    for way, reach in REACH.items():
        # Nothing is under way for long: what is measured is what compression saves of the bytes.
        url = "" if way == "straight" else bench.net.link(0.0, BYTES_PER_S).ask(do="url")
        ours = bench.net.caller(program="data_caller.py", url=url)
        limit = bench.net.caller(program="data_caller.py", url=url, options=["--no-compression"])
        rows = []
        for field in fields:
            say(f"compression of {field}, {way}")
            row = Row(f"{field}, {way}", "ms", reach="<= 1.1" if field == "noise" else reach)
            orders = {"do": "fetched", "name": field, "repeat": 1 if bench.quick else REPEAT[way]}
            saved = []
            for number in range(bench.rounds + 1):
                without, found = limit.ask(**orders), ours.ask(**orders)
                if number:  # the first is for what is read and imported when it is first needed
                    row.limit.append(without["s"])
                    row.ours.append(found["s"])
                    saved.append(found["saved"] / found["bytes"])
            row.note = f"{found['bytes'] / 1e6:.1f} MB, of which {statistics.median(saved):.0%} did not travel"
            rows.append(row)
        for each in (ours, limit):
            each.stop()
        parts.append(Part(f"Fields with compression, {way}", "without", rows, {}))
    return [*parts, rounded(bench, backend, [field for field in fields if field in ROUNDED])]


def rounded(bench: Bench, backend: Child, fields: list[str]) -> Part:
    """Measure what a data set takes on a slow line of which fewer bits are asked for."""
    caller = bench.net.caller(program="data_caller.py", url=bench.net.link(0.0, BYTES_PER_S).ask(do="url"))
    rows = []
    for field in fields:
        for keepbits in ROUNDED[field]:
            say(f"{field} with {keepbits} bits")
            row, sent = Row(f"{field}, keepbits={keepbits}", "ms", reach=""), []
            for number in range(bench.rounds + 1):
                exact = caller.ask(do="read", name=field, keepbits=None)
                before = counted(backend, "sent_bytes")
                found = caller.ask(do="read", name=field, keepbits=keepbits)
                sent.append(counted(backend, "sent_bytes") - before)
                if number:
                    row.limit.append(exact["s"])
                    row.ours.append(found["s"])
            row.note = (
                f"{found['bytes'] / 1e6:.1f} MB, of which {statistics.median(sent) / found['bytes']:.0%} travelled"
            )
            rows.append(row)
    caller.stop()
    return Part("Data sets of which fewer bits are asked for, 100 Mbit", "exactly", rows, {})
