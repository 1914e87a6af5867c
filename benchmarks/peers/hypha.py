"""Measures Landbridge beside Hypha, both in the same run, round by round, by the same code.

Prints a table and writes it, with all figures, to ``benchmarks/results/peers.*``. Hypha is measured twice: as shipped,
and tuned, that is with its limits on messages lifted. Look at the last column: it is the median over rounds of how many
times better Landbridge was than the tuned Hypha measured just before or after. A busy machine disturbs both, but not
alike: under heavy foreign load, ratios of rates came out nearly twice as high. The load is part of the report.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.metadata
import json
import os
import platform
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).resolve().parents[1]))
from caller import IN_FLIGHT
from hypha_processes import HERE, PACKAGES, START_WITHIN_S, TUNED, Child, Hypha, child, environment, hypha_server, say
from processes import HERE as BENCHMARKS
from processes import landbridge_network

SYSTEMS = ("landbridge", "hypha tuned", "hypha as shipped")


@dataclass(frozen=True)
class Work:
    """One row of the table; without an order it is a process of its own that makes one call."""

    name: str
    unit: str
    order: dict[str, Any] | None = None

    def times_better(self, ours: float, theirs: float) -> float:
        """How many times better our figure is."""
        return ours / theirs if self.unit == "calls/s" else theirs / ours

    def show(self, value: float) -> str:
        """Return the figure as people read it."""
        return f"{value:,.0f}/s" if self.unit == "calls/s" else f"{value * 1e3:.2f} ms"


def works(calls: int) -> list[Work]:
    kinds = {"async method": "add_async", "plain function": "add"}
    return [
        *(
            Work(f"call p50, {kind}", "s", {"do": "latency", "method": method, "calls": calls})
            for kind, method in kinds.items()
        ),
        *(
            Work(
                f"calls/s, {IN_FLIGHT} in flight, {kind}",
                "calls/s",
                {"do": "rate", "method": method, "calls": calls * 15},
            )
            for kind, method in kinds.items()
        ),
        Work("process start to first result", "s"),
    ]


def first_result(command: list[str], env: dict[str, str]) -> dict[str, Any]:
    """Time a process that makes one call, from its start to its end."""
    begin = time.perf_counter()
    try:
        subprocess.run(command, env=env, check=True, capture_output=True, timeout=START_WITHIN_S)
    except subprocess.SubprocessError as error:
        # Not the error's own text: it holds the command, and with it paths of this machine.
        return {"error": f"no result: {type(error).__name__}", "answers": 0, "after_s": time.perf_counter() - begin}
    return {"value": time.perf_counter() - begin}


def lasting(caller: Child, command: list[str], env: dict[str, str]) -> Callable[[Work], dict[str, Any]]:
    """Measure with one caller that stays for all rounds."""
    return lambda work: caller.ask(work.order) if work.order else first_result(command, env)


def fresh(hypha: Hypha) -> Callable[[Work], dict[str, Any]]:
    """Measure with a service and a caller of their own each time, so that one that was cut off spoils nothing else."""

    def measure(work: Work) -> dict[str, Any]:
        before = hypha.cut_off()
        with hypha.service() as service:
            if work.order is None:
                outcome = first_result(hypha.first(service), dict(os.environ))
            else:
                with hypha.caller(service) as caller:
                    outcome = caller.ask(work.order)
        return {**outcome, "cut_off_by_rate_limit": hypha.cut_off() - before}

    return measure


def measure(rounds: int, rows: list[Work], python: Path) -> dict[str, dict[str, list[dict[str, Any]]]]:
    """Return the outcomes of all rounds, by row and system."""
    outcomes: dict[str, dict[str, list[dict[str, Any]]]] = {
        work.name: {system: [] for system in SYSTEMS} for work in rows
    }
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="peers-bench-")))
        env = stack.enter_context(landbridge_network())
        ours = stack.enter_context(child([sys.executable, "-P", HERE / "caller.py", "landbridge"], folder, env))
        ours.ready()
        tuned = stack.enter_context(hypha_server(python, folder / "tuned", TUNED))
        shipped = stack.enter_context(hypha_server(python, folder / "shipped", {}))
        service = stack.enter_context(tuned.service())
        theirs = stack.enter_context(tuned.caller(service))
        measures = {
            "landbridge": lasting(ours, [sys.executable, str(BENCHMARKS / "landbridge_first.py")], env),
            "hypha tuned": lasting(theirs, tuned.first(service), dict(os.environ)),
            "hypha as shipped": fresh(shipped),
        }
        for number in range(rounds):
            say(f"round {number + 1} of {rounds}")
            for work in rows:
                # To and fro, so that neither is always the one that follows the other.
                for system in SYSTEMS if number % 2 == 0 else reversed(SYSTEMS):
                    outcome = measures[system](work)
                    outcomes[work.name][system].append(outcome)
                    shown = work.show(outcome["value"]) if "value" in outcome else outcome["error"]
                    say(f"  {work.name}: {system}: {shown}")
    return outcomes


def cell(work: Work, outcomes: list[dict[str, Any]]) -> str:
    """Return the median; or, if any round failed, how many did."""
    failed = [outcome for outcome in outcomes if "error" in outcome]
    if failed:
        return f"failed {len(failed)} of {len(outcomes)}"
    return work.show(statistics.median(outcome["value"] for outcome in outcomes))


def failures(work: Work, system: str, outcomes: list[dict[str, Any]]) -> list[str]:
    """Say what happened in the rounds that failed."""
    failed = [outcome for outcome in outcomes if "error" in outcome]
    if not failed:
        return []
    answers = [outcome["answers"] for outcome in failed if outcome["answers"] is not None]
    came = f"{min(answers):,} to {max(answers):,} right answers" if answers else "an unknown number of right answers"
    waited = statistics.median(outcome["after_s"] for outcome in failed)
    limited = sum(outcome.get("cut_off_by_rate_limit", 0) > 0 for outcome in failed)
    said = " ".join(failed[0]["error"].split())[:200]
    return [
        f"{system}, {work.name}: failed in {len(failed)} of {len(outcomes)} rounds, after {came} and {waited:.1f} s.",
        f"    In {limited} of these the server had logged that it disconnects a client for exceeding its rate limit.",
        f"    The caller's error in the first of them: {said}",
    ]


def report(rows: list[Work], outcomes: dict[str, dict[str, list[dict[str, Any]]]]) -> tuple[list[str], list[dict]]:
    """Return the table's lines, and its rows as data."""
    table = [f"{'':42} " + " ".join(f"{system:>17}" for system in SYSTEMS) + "  times better than tuned"]
    notes, results = [], []
    for work in rows:
        by_system = outcomes[work.name]
        pairs = zip(by_system["landbridge"], by_system["hypha tuned"], strict=True)
        ratios = [work.times_better(a["value"], b["value"]) for a, b in pairs if "value" in a and "value" in b]
        better = statistics.median(ratios) if ratios else None
        cells = {system: cell(work, by_system[system]) for system in SYSTEMS}
        shown = f"{better:.1f} ({min(ratios):.1f} to {max(ratios):.1f})" if ratios else "not measured"
        table.append(f"{work.name:42} " + " ".join(f"{cells[system]:>17}" for system in SYSTEMS) + f"  {shown}")
        for system in SYSTEMS:
            notes += failures(work, system, by_system[system])
        results.append(
            {"name": work.name, "unit": work.unit, **cells, "times_better_than_tuned": better, "ratios": ratios}
        )
    return [*table, *notes], results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--calls", type=int, default=400)
    options = parser.parse_args()
    # So that the contexts end what they started, also when this process is told to go.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    rows = works(options.calls)
    python = environment()
    load = os.getloadavg()[0]
    outcomes = measure(options.rounds, rows, python)
    table, results = report(rows, outcomes)
    machine = (
        f"Python {platform.python_version()}, {os.cpu_count()} cores, load {load:.1f} before the run, "
        f"{options.rounds} rounds of {options.calls} calls, "
        f"landbridge {importlib.metadata.version('landbridge')}, {' '.join(PACKAGES[:2])}"
    )
    print(machine, *table, sep="\n")
    folder = BENCHMARKS / "results"
    folder.mkdir(exist_ok=True)
    document = {
        "machine": machine,
        "load_before": load,
        "load_after": os.getloadavg()[0],
        "tuned": TUNED,
        "rows": results,
        "outcomes": outcomes,
    }
    (folder / "peers.json").write_text(json.dumps(document, indent=1) + "\n")
    (folder / "peers.txt").write_text("\n".join([machine, *table]) + "\n")


if __name__ == "__main__":
    main()
