"""Measures Landbridge beside its peers: one peer after the other, round by round in turns with it, by the same code.

Prints a table for each and writes it, with all figures, to ``benchmarks/results/peers-NAME.*``. The last column is
the median over rounds of how many times better Landbridge was than the peer measured just before or after. A busy
machine disturbs both, but not alike; the load is part of the report. What fails is reported as it happened.
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
import sys
import tempfile
from pathlib import Path
from types import ModuleType
from typing import Any

sys.path.append(str(Path(__file__).resolve().parents[1]))
import dasf
import hypha
import pyro5
from bench import say
from peer import BENCHMARKS, Outcome, System, Work
from processes import Failed, landbridge_network

PEERS = {"pyro5": pyro5, "hypha": hypha, "dasf": dasf}
_SLOW_S = 30.0
"""What took longer, or failed after longer, is not measured again in later rounds."""


def measure(peer: ModuleType, works: list[Work], rounds: int) -> dict[str, dict[str, list[Outcome]]]:
    """Return the outcomes of all rounds, by row and system."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="peers-bench-")))
        net = stack.enter_context(landbridge_network())
        ours = System(peer.OURS, Path(sys.executable), folder, lambda: contextlib.nullcontext([]), env=net.env)
        systems = {"landbridge": ours, **stack.enter_context(peer.systems(folder))}
        outcomes: dict[str, dict[str, list[Outcome]]] = {work.name: {name: [] for name in systems} for work in works}
        for number in range(rounds):
            say(f"round {number + 1} of {rounds}")
            for work in works:
                # To and fro, so that neither is always the one that follows the other.
                for name in systems if number % 2 == 0 else reversed(systems):
                    shown = not_again(works, work, {each: outcomes[each][name] for each in outcomes})
                    if shown is None:
                        outcome = systems[name].measure(work)
                        outcomes[work.name][name].append(outcome)
                        shown = work.show(outcome["value"]) if "value" in outcome else outcome["error"]
                    say(f"  {work.name}: {name}: {shown}")
        return outcomes


def not_again(works: list[Work], work: Work, outcomes: dict[str, list[Outcome]]) -> str | None:
    """Return why a figure is not to be measured (again): it could take many minutes and would say nothing new."""
    if outcomes[work.name] and outcomes[work.name][-1]["after_s"] > _SLOW_S:
        return "not again, it took too long"
    for smaller in works:
        is_smaller = smaller.order.get("size", 0) < work.order.get("size", 0) and smaller.order.get("do") == "echo"
        if is_smaller and outcomes[smaller.name] and "error" in outcomes[smaller.name][-1]:
            return f"not tried, as {smaller.name} failed"
    return None


def cell(work: Work, outcomes: list[Outcome]) -> str:
    """Return the median; or, if any round failed, how many did."""
    if not outcomes:
        return "not tried"
    failed = sum("error" in outcome for outcome in outcomes)
    if failed:
        return f"failed {failed} of {len(outcomes)}"
    return work.show(statistics.median(outcome["value"] for outcome in outcomes))


def failures(work: Work, system: str, outcomes: list[Outcome]) -> list[str]:
    """Say what happened in the rounds that failed."""
    failed = [outcome for outcome in outcomes if "error" in outcome]
    if not failed:
        return []
    answers = [outcome["answers"] for outcome in failed if outcome["answers"] is not None]
    came = f"{min(answers):,} to {max(answers):,} right answers" if answers else "an unknown number of right answers"
    waited = statistics.median(outcome["after_s"] for outcome in failed)
    limited = sum(outcome["cut_off_by_rate_limit"] > 0 for outcome in failed)
    said = " ".join(failed[0]["error"].split())[:200]
    lines = [
        f"{system}, {work.name}: failed in {len(failed)} of {len(outcomes)} rounds, after {came} and {waited:.1f} s.",
        f"    The caller's error in the first of them: {said}",
    ]
    if limited:
        lines.append(f"    In {limited} of these the server had logged that it cuts a client off for its message rate.")
    return lines


def report(
    works: list[Work], compared: str, outcomes: dict[str, dict[str, list[Outcome]]]
) -> tuple[list[str], list[dict[str, Any]]]:
    """Return the table's lines, and its rows as data."""
    systems = list(outcomes[works[0].name])
    table = [f"{'':42} " + " ".join(f"{system:>17}" for system in systems) + f"  times better than {compared}"]
    notes, results = [], []
    for work in works:
        by_system = outcomes[work.name]
        pairs = zip(by_system["landbridge"], by_system[compared], strict=False)
        ratios = [work.times_better(a["value"], b["value"]) for a, b in pairs if "value" in a and "value" in b]
        cells = {system: cell(work, by_system[system]) for system in systems}
        better = statistics.median(ratios) if ratios else None
        shown = f"{better:.1f} ({min(ratios):.1f} to {max(ratios):.1f})" if ratios else "not measured"
        table.append(f"{work.name:42} " + " ".join(f"{cells[system]:>17}" for system in systems) + f"  {shown}")
        for system in systems:
            notes += failures(work, system, by_system[system])
        results.append({"name": work.name, "unit": work.unit, **cells, "times_better": better, "ratios": ratios})
    return [*table, *notes], results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", action="append", choices=PEERS, help="this peer; may be given several times")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--calls", type=int, default=400)
    options = parser.parse_args()
    # So that the contexts end what they started, also when this process is told to go.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    for name in options.only or PEERS:
        try:
            run(name, PEERS[name], options.rounds, options.calls)
        except Failed as failure:
            print(f"{name} was not measured: {failure}\n")


def run(name: str, peer: ModuleType, rounds: int, calls: int) -> None:
    """Measure beside one peer, print the table and write it."""
    works = peer.works(calls)
    load = os.getloadavg()[0]
    outcomes = measure(peer, works, rounds)
    table, results = report(works, peer.COMPARED, outcomes)
    machine = (
        f"Python {platform.python_version()}, {os.cpu_count()} cores, load {load:.1f} before and "
        f"{os.getloadavg()[0]:.1f} after, {rounds} rounds, landbridge {importlib.metadata.version('landbridge')}, "
        f"{' '.join(peer.PACKAGES[:2])}"
    )
    print(machine, *table, "", sep="\n")
    folder = BENCHMARKS / "results"
    folder.mkdir(exist_ok=True)
    document = {"machine": machine, "rows": results, "outcomes": outcomes}
    (folder / f"peers-{name}.json").write_text(json.dumps(document, indent=1) + "\n")
    (folder / f"peers-{name}.txt").write_text("\n".join([machine, *table]) + "\n")


if __name__ == "__main__":
    main()
