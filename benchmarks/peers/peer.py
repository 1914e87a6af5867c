"""What is measured of a system and its peer, and how one figure comes about."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import time
import venv
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).resolve().parents[1]))
from bench import say, seconds
from processes import HERE as BENCHMARKS
from processes import START_WITHIN_S, Child, Failed, child

HERE = Path(__file__).resolve().parent
Outcome = dict[str, Any]
"""A ``value``, or an ``error`` and how many ``answers`` came before it; and ``after_s``, how long that took."""


@dataclass(frozen=True)
class Work:
    """One row of the table.

    Attributes
    ----------
    name : str
    unit : str
        ``s`` or ``calls/s``; echoes are measured in seconds and shown as MB/s one way.
    order : dict
        What a caller is told; empty for a process of its own that makes one call.
    """

    name: str
    unit: str
    order: dict[str, Any]

    def times_better(self, ours: float, theirs: float) -> float:
        """How many times better our figure is."""
        return ours / theirs if self.unit == "calls/s" else theirs / ours

    def show(self, value: float) -> str:
        """Return the figure as people read it."""
        if self.unit == "calls/s":
            return f"{value:,.0f}/s"
        if self.order.get("do") == "echo":
            return f"{2 * self.order['size'] / value / 1e6:.3g} MB/s"
        return f"{value * 1e3:.2f} ms"


ECHOES = [
    Work(f"echo float64 {name}, one way", "s", {"do": "echo", "size": size})
    for name, size in (("1 KB", 1000), ("1 MB", 10**6), ("10 MB", 10**7), ("100 MB", 10**8))
]
FIRST = Work("process start to first result", "s", {})


def small_calls(kinds: dict[str, str], calls: int, many: int) -> list[Work]:
    """Return the rows about small calls: one after the other, and 64 in flight."""
    return [
        Work(f"{what}, {kind}", unit, {"do": do, "method": method, "calls": count})
        for what, unit, do, count in (
            ("call p50", "s", "latency", calls),
            ("calls/s, 64 in flight", "calls/s", "rate", many),
        )
        for kind, method in kinds.items()
    ]


@dataclass(frozen=True)
class System:
    """A system that runs, and how to measure it: each figure by a caller of its own, so that none spoils the next.

    Attributes
    ----------
    kind : str
        What `caller.py` and `first.py` call it.
    python : Path
        The Python of its environment.
    folder : Path
        Where its callers run.
    address : callable
        Gives a context with the further arguments of a caller: where to find what it calls.
    patience_s : float
        How long an answer may take.
    env : dict, optional
        The environment of its callers; by default ours.
    cut_off : callable, optional
        Gives how many clients the system has cut off so far.
    """

    kind: str
    python: Path
    folder: Path
    address: Callable[[], contextlib.AbstractContextManager[Sequence[str]]]
    patience_s: float = 120.0
    env: dict[str, str] | None = None
    cut_off: Callable[[], int] = lambda: 0

    def measure(self, work: Work) -> Outcome:
        """Measure one figure."""
        cut_off_before = self.cut_off()
        with self.address() as address:
            begin = time.perf_counter()
            try:
                outcome = self._ask(work, address) if work.order else self._first(address)
            except Failed as failure:
                outcome = {"error": str(failure), "answers": None}
            outcome["after_s"] = time.perf_counter() - begin
        return {**outcome, "cut_off_by_rate_limit": self.cut_off() - cut_off_before}

    def _ask(self, work: Work, address: Sequence[str]) -> Outcome:
        # -P: the files of this folder must not stand in for packages of the same name.
        command = [self.python, "-P", HERE / "caller.py", self.kind, *address]
        with child(command, self.folder, self.env) as caller:
            return caller.ask(self.patience_s, **work.order)

    def _first(self, address: Sequence[str]) -> Outcome:
        command = [str(self.python), "-P", str(HERE / "first.py"), self.kind, *address]
        if self.kind.startswith("landbridge"):
            command = [str(self.python), str(BENCHMARKS / "landbridge_first.py")]
        try:
            return {"value": seconds(command, self.env or dict(os.environ), START_WITHIN_S)}
        except subprocess.SubprocessError as error:
            # Not the error's own text: it holds the command, and with it paths of this machine.
            return {"error": f"no result: {type(error).__name__}", "answers": 0}


def environment(name: str, packages: Sequence[str]) -> Path:
    """Return the Python of a peer's own virtual environment, which is made if it is missing or half made."""
    folder = HERE / f".venv-{name}"
    python, ready = folder / "bin" / "python", folder / ".ready"
    wanted = "\n".join(packages)
    if not ready.exists() or ready.read_text() != wanted:
        say(f"installing {', '.join(packages)}")
        venv.create(folder, with_pip=True, clear=True)
        pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        done = subprocess.run([*pip, *packages], stderr=subprocess.PIPE, text=True)
        if done.returncode:
            raise Failed(f"{name} could not be installed: {done.stderr.strip().splitlines()[-1]}")
        ready.write_text(wanted)
    return python


def free_port() -> int:
    """Return a loopback port that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_until(is_ready: Callable[[], bool], server: Child, name: str) -> None:
    """Wait for a server that does not say when it is ready.

    Raises
    ------
    Failed
        When it ends, or takes too long.
    """
    end = time.monotonic() + START_WITHIN_S
    while not is_ready():
        if server.process.poll() is not None or time.monotonic() > end:
            raise Failed(f"{name} did not start. The end of what it said: {server.said()[-2000:]}")
        time.sleep(0.1)
