"""Small calls while a large value or a flood of other calls is under way, beside the same calls when all is idle."""

from __future__ import annotations

from typing import Any

from bench import Bench, say
from processes import Failed
from report import Part, Row


def measure(bench: Bench) -> list[Part]:
    """Measure small calls beside transfers through the same client."""
    size = 10**8 if bench.quick else 10**9
    rounds = max(1, bench.rounds // 2)
    rows, figures = [], {}
    for name, whole in (("a stream of 512 KB items", False), ("one array", True)):
        caller = bench.net.caller()
        found: list[dict[str, Any]] = []
        failed = ""
        for number in range(rounds):
            say(f"small calls beside {name}, round {number + 1} of {rounds}")
            try:
                found.append(caller.ask(do="beside", size=size, whole=whole, calls=100 if bench.quick else 400))
            except Failed as failure:
                failed = str(failure)
                break
        caller.stop()
        figures[name] = found
        for statistic, reach in (("p50", "<= 10"), ("mean", ""), ("p99", "")):
            row = Row(f"call {statistic} beside {size // 10**6:,} MB, {name}", "ms", reach=reach, failed=failed)
            row.limit = [each["idle"][f"{statistic}_s"] for each in found]
            row.ours = [each["busy"][f"{statistic}_s"] for each in found]
            rows.append(row)
    return [Part("Small calls beside a transfer, same client", "idle", rows, figures)]
