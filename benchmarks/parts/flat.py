"""Memory over many calls: whether any process grows with the number of calls it has seen."""

from __future__ import annotations

import statistics

from bench import Bench, say
from report import Part, Row

ROLES = ("caller", "backend", "broker")
SAMPLES = 20


def measure(bench: Bench) -> list[Part]:
    """Fit a line to the memory of each process, after the first third of the calls."""
    calls = 4000 if bench.quick else 100_000
    rows, figures = [], {}
    for name, in_flight in (("async client, 64 in flight", 64), ("blocking client, map", None)):
        say(f"memory over {calls:,} calls, {name}")
        caller = bench.net.caller()
        found = caller.ask(do="flat", calls=calls, samples=SAMPLES, watch=bench.net.pids, in_flight=in_flight)
        caller.stop()
        figures[name] = found
        late = found[SAMPLES // 3 :]
        for role in ROLES:
            slope, _ = statistics.linear_regression([each["calls"] for each in late], [each[role] for each in late])
            rows.append(Row(f"{name}, {role}", "bytes", [slope], note=_from_to(found, late, role)))
    return [Part(f"Growth of memory per call, over {calls:,} calls", "", rows, figures)]


def _from_to(found: list[dict[str, float]], late: list[dict[str, float]], role: str) -> str:
    first, warm, last = (each[role] / 1e6 for each in (found[0], late[0], found[-1]))
    return f"{first:.1f} MB at first, {warm:.1f} MB when warm, {last:.1f} MB at last"
