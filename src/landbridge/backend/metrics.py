"""What a backend counts of its calls, and the text in which monitoring systems read it.

Counting is a few additions for each call; looking, which is rare, does the work. Labels are methods that exist and
codes of a closed set, never words of a caller: so nobody can make the memory or the text grow.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from operator import attrgetter

from ..protocol import LATENCY_BOUNDS_S, Load

__all__ = ["CONTENT_TYPE", "OUTCOMES", "Counts", "Metrics", "load_of", "prometheus_text"]

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
"""Media type of `prometheus_text`."""

OUTCOMES = (
    "ok", "remote_error", "invalid_arguments", "cannot_travel", "too_large", "cancelled", "timeout", "lost", "busy",
    "crashed", "gone", "changed", "denied", "malformed", "internal",
)  # fmt: skip
"""How a call can end: with a value, or with the code of an error. What is none of these counts as ``internal``."""

REFUSALS = ("unknown_member", "denied", "busy", "gone", "too_large", "malformed", "protocol_mismatch", "internal")
"""Why a request can be refused before it has become a call."""


class Counts:
    """What is counted of one method. Its calls are begun once and ended once each, in one thread.

    Attributes
    ----------
    begun : int
        Calls that were taken.
    ended : dict of str to int
        Calls that have ended, by outcome.
    latency : list of int
        How many of them took up to each of `LATENCY_BOUNDS_S`, and at the end how many took longer; not cumulative.
    seconds : float
        How long they took together.
    waiting : int
        Calls that waited for their turn, or for the rest of their arguments, when somebody last looked.
    bytes_in, bytes_out : int
        Size of the arguments that came and of the values that went out.
    last_error : str
        Code of the last error; empty when there was none.
    """

    __slots__ = ("begun", "bytes_in", "bytes_out", "ended", "last_error", "latency", "seconds", "waiting")

    def __init__(self) -> None:
        self.begun = 0
        self.ended = dict.fromkeys(OUTCOMES, 0)
        self.latency = [0] * (len(LATENCY_BOUNDS_S) + 1)
        self.seconds = 0.0
        self.waiting = 0
        self.bytes_in = 0
        self.bytes_out = 0
        self.last_error = ""

    def end(self, outcome: str, seconds: float) -> None:
        """Count the end of a call that took `seconds`; `outcome` is ``ok`` or the code of an error."""
        if outcome not in self.ended:
            outcome = "internal"
        self.ended[outcome] += 1
        if outcome != "ok":
            self.last_error = outcome
        self.latency[bisect_left(LATENCY_BOUNDS_S, seconds)] += 1
        self.seconds += seconds

    @property
    def done(self) -> int:
        """How many calls have ended."""
        return sum(self.latency)

    @property
    def running(self) -> int:
        """How many calls have neither ended nor wait."""
        return max(self.begun - self.done - self.waiting, 0)

    @property
    def errors(self) -> int:
        """How many calls have ended with an error; a call that its caller cancelled did not."""
        return self.done - self.ended["ok"] - self.ended["cancelled"]


@dataclass
class Metrics:
    """What a backend counts.

    Attributes
    ----------
    module : str
        ``institute/module``.
    instance : str
        Id of the backend.
    version : str
        The module's own version.
    started : float
        When it began to serve, in seconds since 1970 UTC.
    methods : dict of str to Counts
        The methods that it serves.
    refused : dict of str to int
        Requests that did not become calls, by code.
    """

    module: str
    instance: str
    version: str
    started: float
    methods: dict[str, Counts]
    refused: dict[str, int] = field(default_factory=lambda: dict.fromkeys(REFUSALS, 0))

    def refuse(self, code: str) -> None:
        """Count a request that did not become a call."""
        self.refused[code if code in self.refused else "internal"] += 1


def load_of(counts: Sequence[Counts]) -> Load:
    """Return the sums over one or more methods."""
    return Load(
        ended=sum(each.done for each in counts),
        errors=sum(each.errors for each in counts),
        running=sum(each.running for each in counts),
        waiting=sum(each.waiting for each in counts),
        bytes_in=sum(each.bytes_in for each in counts),
        bytes_out=sum(each.bytes_out for each in counts),
        latency=tuple(sum(column) for column in zip(*(each.latency for each in counts), strict=True)),
    )


def prometheus_text(metrics: Metrics) -> str:
    """Return all counts in the text format 0.0.4 of Prometheus, which other monitoring systems read, too."""
    return "".join(f"{line}\n" for line in _lines(metrics))


_OF_METHODS = (
    ("calls_begun_total", "counter", "Calls that were taken.", attrgetter("begun")),
    ("calls_running", "gauge", "Calls whose code runs now.", attrgetter("running")),
    ("calls_waiting", "gauge", "Calls that wait for their turn, or for their arguments.", attrgetter("waiting")),
    ("received_bytes_total", "counter", "Size of the arguments that came.", attrgetter("bytes_in")),
    ("sent_bytes_total", "counter", "Size of the values that went out.", attrgetter("bytes_out")),
)


def _lines(metrics: Metrics) -> Iterator[str]:
    module, methods = metrics.module, metrics.methods.items()
    yield from _family("backend_info", "gauge", "The backend itself; always 1.")
    yield _sample("backend_info", 1, module=module, backend=metrics.instance, version=metrics.version)
    yield from _family("backend_start_time_seconds", "gauge", "When the backend began to serve, since 1970 UTC.")
    yield _sample("backend_start_time_seconds", metrics.started, module=module)
    for family, kind, text, value in _OF_METHODS:
        yield from _family(family, kind, text)
        for name, counts in methods:
            yield _sample(family, value(counts), module=module, method=name)
    yield from _family("calls_ended_total", "counter", "Calls that have ended, by outcome: ok or the code of an error.")
    for name, counts in methods:
        for outcome, number in counts.ended.items():
            yield _sample("calls_ended_total", number, module=module, method=name, outcome=outcome)
    yield from _family("call_seconds", "histogram", "How long calls took, from their request to their end.")
    for name, counts in methods:
        limits = (*(f"{bound:g}" for bound in LATENCY_BOUNDS_S), "+Inf")
        for limit, number in zip(limits, accumulate(counts.latency), strict=True):
            yield _sample("call_seconds_bucket", number, module=module, method=name, le=limit)
        yield _sample("call_seconds_sum", counts.seconds, module=module, method=name)
        yield _sample("call_seconds_count", counts.done, module=module, method=name)
    yield from _family("requests_refused_total", "counter", "Requests that did not become calls, by code.")
    for code, number in metrics.refused.items():
        yield _sample("requests_refused_total", number, module=module, code=code)


def _family(name: str, kind: str, text: str) -> Iterator[str]:
    yield f"# HELP landbridge_{name} {text}"
    yield f"# TYPE landbridge_{name} {kind}"


def _sample(name: str, value: float, **labels: str) -> str:
    pairs = ",".join(f'{label}="{_escaped(text)}"' for label, text in labels.items())
    return f"landbridge_{name}{{{pairs}}} {value!r}"


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
