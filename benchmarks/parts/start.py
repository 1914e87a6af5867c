"""Starting: a process from its start to its first result, and what is imported on the way."""

from __future__ import annotations

import sys

from bench import Bench, best_seconds, say, seconds
from processes import HERE
from report import Part, Row


def measure(bench: Bench) -> list[Part]:
    """Measure in turns with bare nats-py."""
    ours = [sys.executable, str(HERE / "landbridge_first.py")]
    raw = [sys.executable, str(HERE / "raw_first.py"), bench.raw.url]
    seconds(ours, bench.net.env)  # compiled now, if it was not
    row = Row("process start to first result", "ms", reach="<= 2")
    for number in range(bench.rounds):
        say(f"starting, round {number + 1} of {bench.rounds}")
        row.limit.append(seconds(raw, bench.net.env))
        row.ours.append(seconds(ours, bench.net.env))
    alone = {
        "bare python": ("-c", "pass"),
        "import landbridge": ("-c", "import landbridge"),
        "import landbridge and connect's parts": ("-c", "import landbridge.client.network, landbridge.hub.access"),
        "landbridge --help": ("-m", "landbridge", "--help"),
    }
    rows = [Row(name, "ms", [best_seconds(*arguments)]) for name, arguments in alone.items()]
    return [Part("Starting", "bare nats-py", [row, *rows], {})]
