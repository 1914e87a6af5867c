"""A result that stays at one institute and is given to a method of another: what the caller carries, and how quick."""

from __future__ import annotations

from typing import Any

from bench import Bench, say
from processes import HERE
from report import Part, Row


def measure(bench: Bench) -> list[Part]:
    """Measure in turns: the caller fetches the value; the other institute does."""
    size = 10**7 if bench.quick else 10**8
    bench.net.serve(HERE / "work.py", "other/work")
    caller = bench.net.caller(program="data_caller.py")
    # A way that only counts: of a caller that fetches nothing.
    link = bench.net.link(0.0, 0.0)
    counted = bench.net.caller(program="data_caller.py", url=link.ask(do="url"))
    rate = Row(f"{size / 1e6:.0f} MB from institute to institute, and summed", "MB/s", reach=">= 0.7")
    carried = Row(f"bytes of the caller, both ways, {size / 1e6:.0f} MB passed on", "KB", reach="<= 1")
    figures: list[dict[str, Any]] = []
    caller.ask(do="passed_on", size=10**6)
    counted.ask(do="only_passed_on", size=10**6)
    for number in range(bench.rounds):
        say(f"references, round {number + 1} of {bench.rounds}")
        found = caller.ask(do="passed_on", size=size)
        before = sum(link.ask(do="carried").values())
        counted.ask(do="only_passed_on", size=size)
        found["carried"] = sum(link.ask(do="carried").values()) - before
        figures.append(found)
    for each in (caller, counted):
        each.stop()
    rate.ours = [size / each["pass_s"] for each in figures]
    rate.limit = [size / each["get_s"] for each in figures]
    carried.ours = [each["carried"] for each in figures]
    carried.limit = [1e4] * len(figures)
    return [
        Part("A kept result that is passed on", "fetched here", [rate], {"rounds": figures}),
        Part("What the caller carries of it", "allowed", [carried], {}),
    ]
