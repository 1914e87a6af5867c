"""Small calls: their latency, how many a second, and the CPU time that each takes in every process."""

from __future__ import annotations

from typing import Any

from bench import Bench, say
from report import Part, Row

IN_FLIGHT = 64
ROLES = ("caller", "backend", "broker")


def measure(bench: Bench) -> list[Part]:
    """Measure in turns: bare nats-py, then each kind of client and method."""
    calls, many = (50, 1000) if bench.quick else (400, 6000)
    one_by_one = {"do": "latency", "calls": calls, "watch": bench.net.pids}
    at_once = {"do": "rate_async", "calls": many, "in_flight": IN_FLIGHT, "watch": bench.net.pids}
    raw, ours, ours_async = bench.raw.caller(), bench.net.caller(), bench.net.caller()
    works = {
        "raw one by one": (raw, {**one_by_one, "watch": bench.raw.pids}),
        "async client, async method": (ours_async, {**one_by_one, "do": "latency_async", "method": "add_async"}),
        "blocking client, plain function": (ours, {**one_by_one, "method": "add"}),
        "raw at once": (raw, {**at_once, "do": "rate", "watch": bench.raw.pids}),
        "at once, async method": (ours_async, {**at_once, "method": "add_async"}),
        "at once, plain function": (ours_async, {**at_once, "method": "add"}),
    }
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in works}
    for number in range(bench.rounds):
        say(f"small calls, round {number + 1} of {bench.rounds}")
        for name, (caller, order) in works.items():
            found[name].append(caller.ask(**order))
    for caller in (raw, ours, ours_async):
        caller.stop()

    def figures(name: str, key: str) -> list[float]:
        return [each[key] for each in found[name]]

    rows = [
        Row(f"call p50, {name}", "ms", figures(name, "p50_s"), figures("raw one by one", "p50_s"), reach)
        for name, reach in (("async client, async method", "<= 1.5"), ("blocking client, plain function", "<= 2.5"))
    ]
    rows += [
        Row(f"call p99, {name}", "ms", figures(name, "p99_s"), figures("raw one by one", "p99_s"))
        for name in ("async client, async method", "blocking client, plain function")
    ]
    rows += [
        Row(f"calls/s, {IN_FLIGHT} in flight, {kind}", "/s", figures(f"at once, {kind}", "per_s"),
            figures("raw at once", "per_s"), ">= 0.5")
        for kind in ("plain function", "async method")
    ]  # fmt: skip
    cpu = [
        Row(f"{title}, {role}", "us", _cpu_each(found[name], role, count), _cpu_each(found[limit], role, count))
        for title, name, limit, count in (
            ("one by one, async client and method", "async client, async method", "raw one by one", calls),
            ("one by one, blocking client, plain function", "blocking client, plain function", "raw one by one", calls),
            (f"{IN_FLIGHT} in flight, async client and method", "at once, async method", "raw at once", many),
            (f"{IN_FLIGHT} in flight, async client, plain function", "at once, plain function", "raw at once", many),
        )
        for role in ROLES
    ]
    return [
        Part("Small calls", "bare nats-py", rows, found),
        Part("CPU of a small call", "bare nats-py", cpu, {}),
    ]


def _cpu_each(found: list[dict[str, Any]], role: str, calls: int) -> list[float]:
    # Over all rounds together: the kernel counts CPU time in steps that are long beside a round.
    return [sum(each["cpu_s"][role] for each in found) / (calls * len(found))]
