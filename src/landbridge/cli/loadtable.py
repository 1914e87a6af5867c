"""From what backends answered to a table of how busy their modules are. Pure: no clock, no terminal."""

from __future__ import annotations

from typing import NamedTuple

from ..client.load import LoadAnswers
from ..protocol import Load, quantile_s
from .console import safe

__all__ = ["Row", "Sample", "Table", "measure", "table_json", "table_lines"]

_HEAD = ("module", "backends", "calls/s", "running", "waiting", "p50", "p95", "errors/s", "in MB/s", "out MB/s")


class Sample(NamedTuple):
    """What was answered at a time, in seconds of any steady clock."""

    at: float
    answers: LoadAnswers


class Row(NamedTuple):
    """How busy one module is; rates are per second, and times in seconds.

    Times are None when no call has ended meanwhile; all but module and backends are 0 when none of them answered.
    """

    module: str
    backends: int
    calls: float
    running: int
    waiting: int
    p50_s: float | None
    p95_s: float | None
    errors: float
    bytes_in: float
    bytes_out: float


class Table(NamedTuple):
    """What is shown: busiest modules first; how many share nothing with us; over how many seconds it was measured."""

    rows: list[Row]
    not_shared: int
    seconds: float


def measure(earlier: Sample, later: Sample) -> Table:
    """Return how busy modules are, from what they had done at two times."""
    seconds = max(later.at - earlier.at, 1e-9)
    rows, not_shared = [], 0
    for module, answers in later.answers.items():
        loads = {instance: load for instance, load in answers.items() if load is not None}
        if answers and not loads:
            not_shared += 1
            continue
        before = earlier.answers.get(module, {})
        done = [_between(before.get(instance), load) for instance, load in loads.items()]
        latency = tuple(sum(column) for column in zip(*(each.latency for each in done), strict=True))
        rows.append(
            Row(
                module,
                len(loads),
                sum(each.ended for each in done) / seconds,
                sum(load.running for load in loads.values()),
                sum(load.waiting for load in loads.values()),
                quantile_s(latency, 0.5),
                quantile_s(latency, 0.95),
                sum(each.errors for each in done) / seconds,
                sum(each.bytes_in for each in done) / seconds,
                sum(each.bytes_out for each in done) / seconds,
            )
        )
    rows.sort(key=lambda row: (-(row.running + row.waiting), -row.calls, row.module))
    return Table(rows, not_shared, seconds)


def _between(before: Load | None, after: Load) -> Load:
    """Return what one backend did between two times; nothing when it is new, or has begun to count anew."""
    latency = [] if before is None else [a - b for a, b in zip(after.latency, before.latency, strict=True)]
    if before is None or min(*latency, after.bytes_in - before.bytes_in, after.bytes_out - before.bytes_out) < 0:
        return after._replace(ended=0, errors=0, bytes_in=0, bytes_out=0, latency=(0,) * len(after.latency))
    return Load(
        after.ended - before.ended,
        max(after.errors - before.errors, 0),
        after.running,
        after.waiting,
        after.bytes_in - before.bytes_in,
        after.bytes_out - before.bytes_out,
        tuple(latency),
    )


def table_lines(table: Table) -> list[str]:
    """Return the lines of a table, without regard to the size of a terminal."""
    cells = [_HEAD, *(_cells(row) for row in table.rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(_HEAD))]
    lines = ["  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]) for row in cells]
    if not table.rows:
        lines.append("No module that is online shares anything with you.")
    if table.not_shared:
        lines.append(f"{table.not_shared} more share nothing with you.")
    return lines


def _cells(row: Row) -> tuple[str, ...]:
    if not row.backends:
        return (safe(row.module), "no answer", *[""] * 8)
    return (
        safe(row.module),
        str(row.backends),
        f"{row.calls:.1f}",
        str(row.running),
        str(row.waiting),
        _time_text(row.p50_s),
        _time_text(row.p95_s),
        f"{row.errors:.1f}",
        f"{row.bytes_in / 1e6:.2f}",
        f"{row.bytes_out / 1e6:.2f}",
    )


def _time_text(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    if seconds <= 0.001:
        return "< 1 ms"
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    return f"{seconds:.1f} s" if seconds < 100 else f"{seconds / 60:.0f} min"


def table_json(table: Table) -> dict[str, object]:
    """Return a table for programs."""
    names = ("calls_per_s", "running", "waiting", "p50_s", "p95_s", "errors_per_s", "bytes_in_per_s", "bytes_out_per_s")
    modules: list[dict[str, object]] = []
    for row in table.rows:
        figures = [round(each, 6) if isinstance(each, float) else each for each in row[2:]]
        modules.append({"module": row.module, "backends": row.backends, **dict(zip(names, figures, strict=True))})
    return {"seconds": round(table.seconds, 3), "modules": modules, "not_shared": table.not_shared}
