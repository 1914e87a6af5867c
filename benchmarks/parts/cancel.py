"""Cancelling a method that computes without end: how long until it has stopped, and until the next call is served."""

from __future__ import annotations

import inspect

from bench import Bench, say
from processes import HERE, Failed
from report import Part, Row

import landbridge as lb


def measure(bench: Bench) -> list[Part]:
    """Measure calls that are cancelled one after the other."""
    title = "Cancelling what computes"
    row = Row("from cancel() to its answer", "ms")
    served = Row("from cancel() to the next call's answer", "ms")
    if "process" not in inspect.signature(lb.method).parameters:
        row.failed = "skipped: this version has no lb.method(process=True)"
        return [Part(title, "", [row], {})]
    bench.net.serve(HERE / "work_processes.py", "bench/processes")
    caller = bench.net.caller()
    found = []
    say(title.lower())
    try:
        for _ in range(3 if bench.quick else 20):
            found.append(caller.ask(do="cancel", after_s=0.2))
    except Failed as failure:
        row.failed = str(failure)
    caller.stop()
    row.ours = [each["stopped_s"] for each in found]
    served.ours = [each["served_s"] for each in found]
    states = sorted({each["state"] for each in found})
    row.note = f"cancel() said {', '.join(states)}; " if states else ""
    row.note += f"{sum(each['same_process'] for each in found)} of {len(found)} next calls ran in the same process"
    return [Part(title, "", [row, served], {"cancels": found})]
