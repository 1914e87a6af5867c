"""Says whether the promises were kept in a storm. Pure: from what was seen to a verdict with numbers."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

from chaos.record import Happened, Plan, Record
from chaos.weather import BREAKS

__all__ = ["Call", "Promise", "Run", "Verdict", "bound_s", "judge"]

SILENCE_S = 15.0
"""Within this time after the last that was heard, a call is given up (spec/call.md)."""

CALLER_SILENCE_S = 60.0
"""After this a backend stops the code of a caller who was not heard."""

DESCRIBE_S = 4.5
"""What asking a module for its members may take, before the call itself."""

SLACK_S = 5.0
"""For a machine that does too much at once."""

AT_ONCE_S = 5.0
MORE_FILES = 6
MORE_THREADS = 24
MORE_MEGABYTES = 64

GOOD = frozenset({"value", "left", "raised"})
NEVER_RAN = frozenset({"offline", "busy", "unreachable", "invalid_arguments", "cannot_travel", "denied"})


@dataclass
class Call:
    """One call as its caller saw it; `ended` and `outcome` are missing when the caller was killed before."""

    token: str
    kind: str
    method: str
    own_s: float
    limit_s: float | None
    begun: float
    ended: float | None = None
    outcome: str = ""
    detail: str = ""

    @property
    def caller(self) -> str:
        """The process that called, and which of its lives."""
        return self.token.partition("-")[0]

    @property
    def seconds(self) -> float:
        return (self.ended or self.begun) - self.begun


@dataclass
class Run:
    """One execution, as it was written down where it ran."""

    pid: int
    begun: float
    ended: float | None = None


@dataclass
class Promise:
    """One promise: how often it was looked at, and what was found broken."""

    text: str
    checked: int = 0
    broken: list[str] = field(default_factory=list)

    def check(self, kept: bool, what: str) -> None:
        self.checked += 1
        if not kept:
            self.broken.append(what)


@dataclass
class Verdict:
    """What became of a storm."""

    plan: Plan
    outcomes: Counter[tuple[str, str]]
    executions: Counter[tuple[str, int]]
    faults: Counter[str]
    restarts: dict[str, int]
    longest_s: dict[str, float]
    promises: list[Promise]

    @property
    def broken(self) -> list[str]:
        return [f"{promise.text}: {what}" for promise in self.promises for what in promise.broken]


def judge(record: Record) -> Verdict:
    """Return the verdict on a storm."""
    calls, runs = _calls(record.calls), _runs(record.journal)
    by_kind: dict[str, list[Call]] = defaultdict(list)
    for call in calls:
        by_kind[call.kind].append(call)
    return Verdict(
        plan=record.plan,
        outcomes=Counter((call.kind, call.outcome or "its caller was killed") for call in calls),
        executions=Counter((call.outcome or "its caller was killed", len(runs[call.token])) for call in calls),
        faults=Counter(fault.kind for fault in record.faults),
        restarts=record.restarts,
        longest_s={kind: max(call.seconds for call in each) for kind, each in by_kind.items()},
        promises=[*_about_calls(record, calls, runs), *_about_leftovers(record, runs)],
    )


def bound_s(call: Call, runs: list[Run], faults: Iterable[Happened], backend_of: dict[int, str]) -> float:
    """Return within which time a call must have ended.

    Its own time limit, or its own work and one silence. Without a limit, a fault that touches it may add its own
    length and another silence: the caller's clock starts anew at each reconnection, and at each sign of life.
    """
    own = f"caller {call.caller.partition('.')[0]}"
    touching = [
        fault
        for fault in faults
        if call.ended is not None and fault.begun <= call.ended and fault.ended + SILENCE_S >= call.begun
    ]
    # A caller that is frozen itself does nothing meanwhile, whatever its time limit.
    bound = (
        DESCRIBE_S
        + SLACK_S
        + sum(fault.ended - fault.begun for fault in touching if fault.kind == "freeze caller" and fault.victim == own)
    )
    if call.limit_s is not None:
        return bound + call.limit_s
    bound += call.own_s + SILENCE_S
    where = {"backends", *(backend_of.get(run.pid, "any") for run in runs)}
    for fault in touching:
        if fault.victim in ("broker", own):
            bound += fault.ended - fault.begun + (SILENCE_S if fault.kind in BREAKS else 0.0)
        elif fault.victim in where or (fault.victim.startswith("backend") and (not runs or "any" in where)):
            bound += fault.ended - fault.begun + SILENCE_S
    return bound


def _calls(lines: list[str]) -> list[Call]:
    calls: dict[str, Call] = {}
    for line in lines:
        entry = json.loads(line)
        if "begun" in entry:
            calls[entry["token"]] = Call(**entry)
        else:
            call = calls[entry["token"]]
            call.ended, call.outcome, call.detail = entry["ended"], entry["outcome"], entry["detail"]
    return list(calls.values())


def _runs(lines: list[str]) -> dict[str, list[Run]]:
    runs: dict[str, list[Run]] = defaultdict(list)
    for line in lines:
        what, token, pid, at = line.split()
        if what == "start":
            runs[token].append(Run(int(pid), float(at)))
        else:
            open_here = [run for run in runs[token] if run.pid == int(pid) and run.ended is None]
            open_here[0].ended = float(at)
    return runs


def _fits(call: Call) -> bool:
    """Whether an outcome is one that such a call may have."""
    if call.outcome in ("lost", "offline", "unreachable", "busy", "crashed"):
        return call.kind != "calm"
    if call.outcome == "timeout":
        return call.limit_s is not None
    if call.kind in ("cancel", "worker cancel"):
        return call.outcome.startswith("cancelled: ")
    if call.kind == "leave":
        return call.outcome == "left"
    if call.kind == "fail":
        return call.outcome == "raised"
    return call.outcome == "value" and call.kind != "timeout"


def _about_calls(record: Record, calls: list[Call], runs: dict[str, list[Run]]) -> list[Promise]:
    ended = Promise("Every call ended, but for those whose caller was killed")
    bounded = Promise("Every call ended within its bound")
    fitting = Promise("Every call ended in the right value or in a typed error that fits")
    once = Promise("No call was executed more than once, unless it may be")
    exactly = Promise(
        "What gave a value, a whole stream or the method's own error was executed exactly once (at least, if it may be)"
    )
    never = Promise("What was said never to have run did not run")
    stopped = Promise("What was said to be stopped ran no more")
    calm = Promise(f"After the storm every call gave its value within {AT_ONCE_S:g} s")
    for call in calls:
        found = runs[call.token]
        what = f"{call.token} {call.kind} {call.method}: {call.outcome} after {call.seconds:.1f} s {call.detail[:300]}"
        ended.check(call.ended is not None or call.caller in record.killed_callers, what)
        once.check(len(found) <= 1 or call.kind == "again", f"{what}: {len(found)} executions")
        if call.ended is None:
            continue
        limit = bound_s(call, found, record.faults, record.backend_of)
        bounded.check(call.seconds <= limit, f"{what}, bound {limit:.1f} s")
        fitting.check(_fits(call), what)
        if call.outcome in GOOD:
            whole = [run for run in found if run.ended is not None or call.outcome == "left"]
            kept = len(found) == len(whole) == 1 or (call.kind == "again" and len(whole) >= 1)
            exactly.check(kept, f"{what}: {len(found)} executions")
        if call.outcome in NEVER_RAN:
            never.check(not found, f"{what}: {len(found)} executions")
        if call.outcome == "cancelled: stopped":
            over = all(run.ended is not None and run.ended <= call.ended for run in found)
            stopped.check(over, f"{what}: {found}")
        if call.kind == "calm":
            calm.check(call.outcome == "value" and call.seconds <= AT_ONCE_S, what)
    return [ended, bounded, fitting, once, exactly, never, stopped, calm]


def _about_leftovers(record: Record, runs: dict[str, list[Run]]) -> list[Promise]:
    code = Promise(f"{record.plan.patience_s:g} s after the storm no code ran any more for calls that had ended")
    for token, each in runs.items():
        if record.plan.patience_s < CALLER_SILENCE_S and token.partition("-")[0] in record.killed_callers:
            continue
        for run in each:
            if run.pid in record.alive_at_end:
                code.check(run.ended is not None, f"{token} still runs in {run.pid}")
    ends = Promise("Every process that was told to end did so in order")
    for name, exit_code in record.exits.items():
        ends.check(exit_code == 0, f"{name}: exit code {exit_code}")
    left = Promise("No process, file or shared memory was left behind")
    left.checked = 3
    left.broken = [*record.left_processes, *record.left_files, *record.left_memory]
    subs = Promise("When the callers had gone, the broker had no subscription more than the backends had before")
    for name in record.subscriptions_before.keys() | record.subscriptions_after.keys():
        before, after = record.subscriptions_before.get(name, 0), record.subscriptions_after.get(name, 0)
        subs.check(after <= before, f"{name}: {before}, then {after}")
    # Pieces below 32 MB stay with the allocator of whichever thread had them.
    megabytes = MORE_MEGABYTES + 2 * record.plan.large_bytes // 1_000_000
    usage = Promise(
        f"At the end nobody had more than {MORE_FILES} files, {MORE_THREADS} threads and {megabytes} MB beyond "
        "what its like had at the start"
    )
    # Most are killed now and then, so those of one role are compared, not each with itself.
    for name, after in record.usage_after.items():
        likes = [each for like, each in record.usage_before.items() if like.split()[0] == name.split()[0]]
        most = {key: max((each[key] for each in likes), default=0) for key in after}
        allowed = {"files": MORE_FILES, "threads": MORE_THREADS, "megabytes": megabytes}
        usage.check(all(after[key] <= most[key] + allowed[key] for key in allowed), f"{name}: {after}, before {most}")
    inside = Promise("Nothing failed inside that should have been foreseen (from all logs)")
    inside.checked = len(record.exits)
    inside.broken = list(record.complaints)
    return [code, ends, left, subs, usage, inside]
