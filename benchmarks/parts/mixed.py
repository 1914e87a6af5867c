"""A Dataset of 20 variables of many kinds there and back, beside the same bytes in a credit stream on bare nats-py."""

from __future__ import annotations

from bench import Bench, say
from report import Part, Row

from parts.bulk import WINDOWS


def measure(bench: Bench) -> list[Part]:
    """Measure in turns: the raw stream with its better window, then the Dataset."""
    size = 10**7 if bench.quick else 10**8
    raw, ours = bench.raw.caller(), bench.net.caller(program="data_caller.py")
    row = Row(f"echo of a Dataset of 20 variables, {size / 1e6:.0f} MB", "MB/s", reach=">= 0.7")
    ours.ask(do="mixed_one_way", size=10**6)
    order = {"do": "echo", "size": size, "repeat": 1, "watch": {}}
    window = min(WINDOWS, key=lambda each: raw.ask(window=each, **order)["s"])
    for number in range(bench.rounds):
        say(f"mixed Dataset, round {number + 1} of {bench.rounds}")
        row.limit.append(2 * size / raw.ask(window=window, **order)["s"])
        found = ours.ask(do="mixed_one_way", size=size)
        row.ours.append(found["bytes"] / found["s"])
    for each in (raw, ours):
        each.stop()
    return [Part("A Dataset there and back, one way", "raw stream", [row], {})]
