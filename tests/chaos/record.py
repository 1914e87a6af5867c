"""How big a storm is, and what was seen of it. Only values: made by `storm`, read by `judge`."""

from __future__ import annotations

from dataclasses import dataclass, field

__all__ = ["Happened", "Plan", "Record"]


@dataclass(frozen=True)
class Plan:
    """How big a storm is.

    Attributes
    ----------
    seed : int
        What the weather and all calls are made from.
    length_s : float
        How long it lasts.
    processes, callers : int
        Processes that call, and callers (threads or tasks) in each.
    backends : int
        Backends that share the module.
    every_s : float
        Mean time between two faults.
    large_bytes : int
        Size of the largest value.
    pause_s : float
        What a caller waits between two calls.
    longest_s : float
        The longest that a fault lasts.
    workers : bool
        Whether some methods run in processes of their own, which are killed, too.
    patience_s : float
        How long after the storm the code of calls that ended may still run.
    """

    seed: int
    length_s: float
    processes: int = 5
    callers: int = 4
    backends: int = 3
    every_s: float = 2.0
    large_bytes: int = 7_000_000
    pause_s: float = 0.05
    longest_s: float = 20.0
    workers: bool = False
    patience_s: float = 10.0


@dataclass(frozen=True)
class Happened:
    """A fault that was really done, with the clock that all processes share."""

    kind: str
    victim: str
    begun: float
    ended: float


@dataclass
class Record:
    """What was seen.

    Attributes
    ----------
    calls, journal : list of str
        Lines that the callers and the executions have written.
    faults : list of Happened
        What went wrong.
    killed_callers : dict
        When each caller process that was killed was killed, by its name.
    backend_of : dict
        Which backend each process was, by its number; processes that run single methods are not listed.
    restarts : dict
        How often the broker and the backends were started again.
    usage_before, usage_after : dict
        Files, threads and megabytes of the processes that were there then.
    subscriptions_before, subscriptions_after : dict
        What the broker had for whom: for others than the callers before, for all who were left after.
    calm_at : float
        When everything was healthy again.
    alive_at_end : set of int
        Processes that were there when it was looked for code that still runs.
    left_processes, left_files, left_memory : list of str
        What was still there after the end.
    exits : dict
        How each process ended; None for one that had to be killed.
    complaints : list of str
        What Landbridge itself said in its logs of failures inside it.
    """

    plan: Plan
    calls: list[str] = field(default_factory=list)
    journal: list[str] = field(default_factory=list)
    faults: list[Happened] = field(default_factory=list)
    killed_callers: dict[str, float] = field(default_factory=dict)
    backend_of: dict[int, str] = field(default_factory=dict)
    restarts: dict[str, int] = field(default_factory=dict)
    usage_before: dict[str, dict[str, int]] = field(default_factory=dict)
    usage_after: dict[str, dict[str, int]] = field(default_factory=dict)
    subscriptions_before: dict[str, int] = field(default_factory=dict)
    subscriptions_after: dict[str, int] = field(default_factory=dict)
    calm_at: float = 0.0
    alive_at_end: set[int] = field(default_factory=set)
    left_processes: list[str] = field(default_factory=list)
    left_files: list[str] = field(default_factory=list)
    left_memory: list[str] = field(default_factory=list)
    exits: dict[str, int | None] = field(default_factory=dict)
    complaints: list[str] = field(default_factory=list)
