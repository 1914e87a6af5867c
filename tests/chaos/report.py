"""Writes down what became of storms, in Markdown: the same verdicts give the same page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from chaos.judge import DESCRIBE_S, SILENCE_S, SLACK_S, Promise, Verdict

__all__ = ["page"]

_SHOWN = 10

_TOP = """\
# Faults

Written by `make chaos`. {processes} processes of {callers} callers each (threads that share a connection, or asyncio
tasks that do) call {backends} backends of one module. Between each of these processes and the broker stands a proxy of
our own. A driver kills, freezes and cuts off what it finds, from a seed; every execution writes its start and its end
to a journal; afterwards a judge counts. One fault comes every {every_s:g} s on average, the largest value has
{large_mb:g} MB, and {length_s:g} s are one storm.{workers}

Seeds: {seeds}. {verdict}
"""

_WORKERS = " Some methods run in processes of their own, which are killed, too."

_BOUND = """\
The bound of a call with a time limit is that limit; of one without, the time of its own work and {silence:g} s of
silence, and for each fault that touches it the length of the fault and {silence:g} s more, as a caller's patience
starts anew at each reconnection and each sign of life. To both come {describe:g} s for asking the module
what it offers, and {slack:g} s for a machine that does too much at once.
"""


def page(verdicts: Sequence[Verdict]) -> str:
    """Return the page about these storms, which must have had the same plan but for the seed."""
    plan = verdicts[0].plan
    broken = sum(len(verdict.broken) for verdict in verdicts)
    parts = [
        _TOP.format(
            processes=plan.processes,
            callers=plan.callers,
            backends=plan.backends,
            every_s=plan.every_s,
            large_mb=plan.large_bytes / 1e6,
            length_s=plan.length_s,
            workers=_WORKERS if plan.workers else "",
            seeds=", ".join(str(verdict.plan.seed) for verdict in verdicts),
            verdict=f"Broken promises: {broken}." if broken else "No promise was broken.",
        ),
        "## Promises\n",
        _table(("promise", "looked at", "broken"), map(_promise_row, _together(verdicts))),
        _BOUND.format(silence=SILENCE_S, describe=DESCRIBE_S, slack=SLACK_S),
        "## What went wrong\n",
        _table(("fault", "times"), sorted(_sum(verdict.faults for verdict in verdicts).items())),
        "Started again: "
        + ", ".join(f"{what} {n}" for what, n in sorted(_sum(verdict.restarts for verdict in verdicts).items()))
        + ".\n",
        "## What became of the calls\n",
        _outcomes(_sum(verdict.outcomes for verdict in verdicts)),
        "## How often they were executed\n",
        _executions(_sum(verdict.executions for verdict in verdicts)),
        "## Longest time to an end, in seconds\n",
        _longest(verdicts),
    ]
    if broken:
        parts += ["## Broken\n", *_broken(verdicts)]
    return "\n".join(parts)


def _sum(counters: Iterable[dict]) -> Counter:
    whole: Counter = Counter()
    for counter in counters:
        whole.update(counter)
    return whole


def _together(verdicts: Sequence[Verdict]) -> list[Promise]:
    rows: dict[str, Promise] = {}
    for verdict in verdicts:
        for promise in verdict.promises:
            row = rows.setdefault(promise.text, Promise(promise.text))
            row.checked += promise.checked
            row.broken += promise.broken
    return list(rows.values())


def _promise_row(promise: Promise) -> tuple[str, str, str]:
    return promise.text, f"{promise.checked:,}", str(len(promise.broken))


def _outcomes(counts: Counter[tuple[str, str]]) -> str:
    kinds, outcomes = sorted({kind for kind, _ in counts}), sorted({outcome for _, outcome in counts})
    rows = [(outcome, *(str(counts[kind, outcome] or "") for kind in kinds)) for outcome in outcomes]
    rows.append(("all", *(str(sum(counts[kind, outcome] for outcome in outcomes)) for kind in kinds)))
    return _table(("outcome", *kinds), rows)


def _executions(counts: Counter[tuple[str, int]]) -> str:
    outcomes, times = sorted({outcome for outcome, _ in counts}), sorted({number for _, number in counts})
    rows = [(outcome, *(str(counts[outcome, number] or "") for number in times)) for outcome in outcomes]
    return _table(
        ("outcome", *(("never", "once")[number] if number < 2 else f"{number} times" for number in times)), rows
    )


def _longest(verdicts: Sequence[Verdict]) -> str:
    kinds = sorted({kind for verdict in verdicts for kind in verdict.longest_s})
    rows = [(kind, f"{max(verdict.longest_s.get(kind, 0.0) for verdict in verdicts):.1f}") for kind in kinds]
    return _table(("kind", "longest"), rows)


def _broken(verdicts: Sequence[Verdict]) -> list[str]:
    parts = []
    for verdict in verdicts:
        for promise in verdict.promises:
            if promise.broken:
                shown = "".join(f"    {line}\n" for what in promise.broken[:_SHOWN] for line in what.splitlines())
                more = len(promise.broken) - _SHOWN
                parts.append(f"Seed {verdict.plan.seed}. {promise.text}; not so:\n\n{shown}")
                if more > 0:
                    parts.append(f"and {more} more.\n")
    return parts


def _table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join("| " + " | ".join(map(str, line)) + " |\n" for line in lines)
