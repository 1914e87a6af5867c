"""Where the CPU time of calls goes, at the caller and at the backend: samples both with py-spy, which it needs.

py-spy is not among our requirements: install it in an environment of its own and name it with ``--py-spy``. Shares are
of the samples in which a thread held Python's lock, by the file and by the function that ran, C code counted to its
Python caller; so copying counts, while waiting and what the kernel does for a socket do not. Where the time of one call
goes is told in docs/decisions/0005.
"""

from __future__ import annotations

import argparse
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

from processes import Landbridge, landbridge_network

SHOWN = 14


def order(what: str, size: int, seconds: float) -> dict[str, Any]:
    """Return an order that keeps a caller busy for about as long as it is sampled."""
    many = int(seconds * 10**8) // size + 1
    orders: dict[str, dict[str, Any]] = {
        "small": {"do": "for_a_while", "seconds": seconds + 3},
        "echo": {"do": "echo", "size": size, "repeat": many, "watch": {}},
        "stream": {"do": "stream", "count": many, "size": size, "watch": {}},
    }
    return orders[what]


def sampled(py_spy: str, seconds: float, net: Landbridge, what: dict[str, Any]) -> dict[str, Counter[str]]:
    """Return how often each innermost frame was seen, by role."""
    caller = net.caller()
    caller.ask(do="for_a_while", seconds=0.5)
    with tempfile.TemporaryDirectory(prefix="where-") as folder:
        files = {role: Path(folder) / role for role in ("caller", "backend")}
        pids = {"caller": caller.pid, "backend": net.pids["backend"]}
        how = ["--format", "raw", "--nonblocking", "--gil", "--rate", "200", "--duration", str(int(seconds))]
        samplers = [
            subprocess.Popen(
                [py_spy, "record", *how, "--pid", str(pids[role]), "--output", str(file)],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            for role, file in files.items()
        ]
        caller.ask(**what)
        for sampler in samplers:
            sampler.wait()
        return {role: frames(file.read_text()) for role, file in files.items()}


def frames(stacks: str) -> Counter[str]:
    """Return the innermost frames of py-spy's raw format, as ``function (file:line)``, and how often each was seen."""
    seen: Counter[str] = Counter()
    for line in stacks.splitlines():
        stack, _, count = line.rpartition(" ")
        seen[stack.rpartition(";")[2]] += int(count)
    return seen


def by(seen: Counter[str], *, line: bool) -> Counter[str]:
    """Return the same by file, or by function and file."""
    grouped: Counter[str] = Counter()
    for frame, count in seen.items():
        function, _, place = frame.partition(" (")
        file = place.rpartition(":")[0] or place.rstrip(")")
        grouped[f"{file}: {function}" if line else file] += count
    return grouped


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("small", "echo", "stream"))
    parser.add_argument("--py-spy", default="py-spy")
    parser.add_argument("--size", type=int, default=7 * 10**6, help="bytes of an array or item (echo, stream)")
    parser.add_argument("--seconds", type=float, default=10)
    options = parser.parse_args()
    # So that the context ends what it started, also when this process is told to go.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with landbridge_network() as net:
        found = sampled(options.py_spy, options.seconds, net, order(options.what, options.size, options.seconds))
    for role, seen in found.items():
        for title, grouped in (("file", by(seen, line=False)), ("function", by(seen, line=True))):
            print(f"\n{role}, {seen.total():,} samples, by {title}")
            for name, count in grouped.most_common(SHOWN):
                print(f"{count / seen.total():6.1%}  {name}")


if __name__ == "__main__":
    main()
