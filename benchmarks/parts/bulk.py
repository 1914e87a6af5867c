"""Large arrays there and back, beside the same bytes in a credit stream on bare nats-py."""

from __future__ import annotations

from typing import Any

from bench import Bench, say
from processes import Failed
from report import Part, Row

WINDOWS = (2 * 2**20, 8 * 2**20)
SIZES = {"1 MB": 10**6, "100 MB": 10**8, "1 GB": 10**9}
ROLES = ("caller", "backend", "broker")


def measure(bench: Bench) -> list[Part]:
    """Measure in turns, one size after the other."""
    rows, cpu, figures = [], [], {}
    for name, size in SIZES.items():
        if bench.quick and size > 10**8:
            continue
        repeat = max(1, 2 * 10**7 // size)
        window, raw, ours, failed = _rounds(bench, name, size, repeat)
        figures[name] = {"window": window, "raw": raw, "landbridge": ours}
        # One way, as there and back are one after the other.
        row = Row(f"echo float64 {name}, one way", "MB/s", reach=">= 0.7", failed=failed)
        row.limit = [2 * size / each["s"] for each in raw]
        row.ours = [2 * size / each["s"] for each in ours]
        rows.append(row)
        for role in ROLES:
            cost = Row(f"echo float64 {name}, {role}", "s", failed=failed)
            cost.limit = [each["cpu_s"][role] / (repeat * size / 1e9) for each in raw]
            cost.ours = [each["cpu_s"][role] / (repeat * size / 1e9) for each in ours]
            cpu.append(cost)
    return [
        Part("Large arrays", "raw stream", rows, figures),
        Part("CPU seconds for 1 GB there and back", "raw stream", [row for row in cpu if not row.failed], {}),
    ]


def _rounds(
    bench: Bench, name: str, size: int, repeat: int
) -> tuple[int, list[dict[str, Any]], list[dict[str, Any]], str]:
    """Return the better window of the raw stream, what was found of it and of us, and why we failed, if we did."""
    raw, ours = bench.raw.caller(), bench.net.caller()
    raw_order = {"do": "echo", "size": size, "repeat": repeat, "watch": bench.raw.pids}
    order = {"do": "echo", "size": size, "repeat": repeat, "watch": bench.net.pids}
    say(f"echo of {name}: which window is the better one for the raw stream")
    first = {window: raw.ask(window=window, **raw_order) for window in WINDOWS}
    window = min(first, key=lambda each: first[each]["s"])
    found_raw, found, failed = [], [], ""
    # Fewer rounds than of small calls: each moves gigabytes.
    for number in range(max(1, bench.rounds // 2)):
        say(f"echo of {name}, round {number + 1} of {max(1, bench.rounds // 2)}")
        found_raw.append(raw.ask(window=window, **raw_order))
        try:
            found.append(ours.ask(**order))
        except Failed as failure:
            failed = str(failure)
            say(f"  {failed}")
            break
        say(
            f"  {2 * size / found[-1]['s'] / 1e6:,.0f} MB/s, raw stream {2 * size / found_raw[-1]['s'] / 1e6:,.0f} MB/s"
        )
    raw.stop()
    ours.stop()
    return window, found_raw, found, failed
