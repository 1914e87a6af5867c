"""Small calls of one caller while another, of another institute, keeps 1,000 calls in flight."""

from __future__ import annotations

from typing import Any

from bench import Bench, say
from processes import Failed
from report import Part, Row

IN_FLIGHT = 1000
FLOODS = {"a plain small function": ("add", [1, 2]), "a function of 5 ms": ("nap", [0.005])}


def measure(bench: Bench) -> list[Part]:
    """Measure in turns: idle, then beside each flood."""
    seconds = 0.5 if bench.quick else 2.0
    rounds = max(1, bench.rounds // 2)
    flooder, other = bench.net.caller("ufz/ben"), bench.net.caller("awi/anna")
    rows, figures = [], {}
    for name, (method, arguments) in FLOODS.items():
        found: list[dict[str, Any]] = []
        failed = ""
        for number in range(rounds):
            say(f"beside a flood of {name}, round {number + 1} of {rounds}")
            try:
                idle = other.ask(do="for_a_while", seconds=seconds)
                flooder.ask(do="flood_begin", method=method, arguments=arguments, in_flight=IN_FLIGHT)
                busy = other.ask(do="for_a_while", seconds=seconds)
                found.append({"idle": idle, "busy": busy, "flood": flooder.ask(do="flood_end")})
            except Failed as failure:
                failed = str(failure)
                break
        figures[name] = found
        # The mean, too: calls that come between two bursts of answers are quick, and so many that they make the median.
        for statistic in ("p50", "mean", "p99"):
            row = Row(f"call {statistic} beside {IN_FLIGHT:,} of {name}", "ms", failed=failed)
            row.limit = [each["idle"][f"{statistic}_s"] for each in found]
            row.ours = [each["busy"][f"{statistic}_s"] for each in found]
            rows.append(row)
    flooder.stop()
    other.stop()
    return [Part("Small calls beside another caller's flood", "idle", rows, figures)]
