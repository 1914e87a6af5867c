"""Memory does not grow with the number of calls: at the caller, at the backend, in the broker."""

from __future__ import annotations

import json
import time
from pathlib import Path

import landbridge as lb
from network import Network

CALLS = 100_000

CALLER = """
import asyncio, json, sys
import landbridge as lb

def resident(pid):
    with open(f"/proc/{pid}/statm") as file:
        return int(file.read().split()[1]) * 4096

async def main(pids):
    async with lb.AsyncNetwork() as net:
        add = net.awi.sums.add
        async def some(count):
            for number in range(count):
                assert await add(number, 1) == number + 1
        sizes = []
        for _ in range(5):  # the first fifth fills what is kept for callers whose line was down
            await asyncio.gather(*(some(CALLS // 5 // 50) for _ in range(50)))
            sizes.append({name: resident(pid) for name, pid in pids.items()})
        print(json.dumps(sizes))

asyncio.run(main({"caller": "self", **json.loads(sys.argv[1])}))
"""


def test_a_hundred_thousand_calls_leave_no_memory_behind(network: Network) -> None:
    backend = network.serve("__all__ = ['add']\ndef add(a: int, b: int) -> int: return a + b\n", "awi/sums")
    broker = json.loads((network.folder / "state" / "landbridge" / "local" / "broker.json").read_text())["pid"]
    pids = json.dumps({"backend": backend.pid, "broker": broker})
    run = network.python(f"CALLS = {CALLS}\nimport sys\nsys.argv = ['', {pids!r}]\n{CALLER}", timeout_s=110)
    assert run.returncode == 0, run.stderr
    sizes = json.loads(run.stdout)
    for name in ("caller", "backend", "broker"):
        # 80,000 calls: two hundred bytes that each of them left would be 16 MB. Gaps between what is kept of the last
        # 20,000 take some MB at first, and no more later.
        assert sizes[-1][name] - sizes[0][name] < 16 * 2**20, sizes


def test_cycles_that_functions_leave_are_freed_soon_though_nothing_is_called_any_more(network: Network) -> None:
    source = """
        import numpy as np
        __all__ = ["tangle"]

        class Knot:
            pass

        def tangle() -> int:
            knot = Knot()
            knot.itself, knot.field = knot, np.ones(2**22)
            return knot.field.nbytes
    """
    backend = network.serve(source, "awi/knots")
    with lb.connect() as net:
        held = sum(net.awi.knots.tangle() for _ in range(20))
    deadline = time.monotonic() + 60
    while resident(backend.pid) > held // 4:
        assert time.monotonic() < deadline
        time.sleep(0.1)


def resident(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096
