"""Memory of a transfer: how far each process rises above what it has when idle, in processes that did nothing else."""

from __future__ import annotations

from typing import Any

from bench import Bench, say
from processes import Failed, landbridge_network
from report import Part, Row

MB = 10**6
ITEM_BYTES = 512 * 1024
ROLES = ("caller", "backend", "broker")


def measure(bench: Bench) -> list[Part]:
    """Measure an array there and back, and a stream of which nobody keeps anything; neither counts the argument."""
    size, items = (10**8, 200) if bench.quick else (10**9, 2000)
    cases: dict[str, tuple[dict[str, Any], int]] = {
        f"echo of {size // MB:,} MB": (
            {"do": "echo", "size": size, "repeat": 1}, size + 64 * MB,
        ),
        f"stream of {items:,} items of 512 KB": ({"do": "stream", "count": items, "size": ITEM_BYTES}, 96 * MB),
    }  # fmt: skip
    rows, figures = [], {}
    for name, (order, allowed) in cases.items():
        say(f"memory, {name}")
        with landbridge_network() as net:
            try:
                figures[name] = net.caller().ask(**order, watch=net.pids)
            except Failed as failure:
                rows.append(Row(name, "MB", reach="<= 1", failed=str(failure)))
                continue
        for role in ROLES:
            # A broker keeps nothing whole: it has the room of a stream in either case.
            limit = min(allowed, 96 * MB) if role == "broker" else allowed
            rows.append(Row(f"{name}, {role}", "MB", [figures[name]["rise"][role]], [limit], "<= 1"))
    return [Part("Memory above idle", "allowed", rows, figures)]
