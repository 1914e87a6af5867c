"""Measures what Landbridge costs beside named limits, all in the same run, round by round.

Prints tables and writes them, with all figures, to ``benchmarks/results/``. Look at the ratios: each is the median over
rounds of Landbridge's figure by that of the limit measured just before, so that a busy machine disturbs both. Nothing
fails when a figure is worse than it should be; the table says so.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench import Bench
from parts import (
    beside,
    bulk,
    cancel,
    compression,
    dasf,
    dask,
    flat,
    flood,
    joining,
    memory,
    mixed,
    references,
    slices,
    small,
    start,
    wire,
    zarr,
)
from processes import HERE, landbridge_network, raw_network

PARTS = {
    "small": small,
    "start": start,
    "bulk": bulk,
    "memory": memory,
    "beside": beside,
    "flood": flood,
    "cancel": cancel,
    "flat": flat,
    "wire": wire,
    "slices": slices,
    "zarr": zarr,
    "dask": dask,
    "references": references,
    "joining": joining,
    "mixed": mixed,
    "compression": compression,
    "dasf": dasf,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", action="append", choices=PARTS, help="measure this part; may be given several times")
    parser.add_argument("--quick", action="store_true", help="few calls, no gigabytes: to see that it works")
    parser.add_argument("--results", type=Path, default=HERE / "results", help="folder to write to")
    parser.add_argument("--rounds", type=int, help="how often each figure is measured (7; 1 with --quick)")
    options = parser.parse_args()
    # So that the contexts end what they started, also when this process is told to go.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    rounds = options.rounds or (1 if options.quick else 7)
    load = os.getloadavg()[0]
    found = []
    # A network for each part: none finds what another has left.
    for name in options.only or PARTS:
        with landbridge_network() as net, raw_network() as raw:
            found += PARTS[name].measure(Bench(net, raw, rounds, options.quick))
    machine = (
        f"Python {platform.python_version()}, {os.cpu_count()} cores, load {load:.1f} before and "
        f"{os.getloadavg()[0]:.1f} after, {rounds} rounds{', quick' if options.quick else ''}"
    )
    lines = [machine, *(line for part in found for line in part.lines())]
    print(*lines, sep="\n")
    write(options.results, lines, {"machine": machine, "parts": [part.data() for part in found]})


def write(folder: Path, lines: list[str], document: dict[str, Any]) -> None:
    folder.mkdir(exist_ok=True)
    document["at"] = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    (folder / "latest.json").write_text(json.dumps(document, indent=1) + "\n")
    (folder / "latest.txt").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
