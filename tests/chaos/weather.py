"""What goes wrong in a storm, from one seed. Pure: the same seed gives the same faults at the same times."""

from __future__ import annotations

import random
from dataclasses import dataclass

__all__ = ["BREAKS", "Fault", "forecast"]

_LIKELY = {
    "cut": 24,
    "stall": 12,
    "half open": 8,
    "refuse": 8,
    "delay": 12,
    "throttle": 6,
    "freeze backend": 10,
    "kill backend": 8,
    "kill all backends": 2,
    "stop backend": 5,
    "kill caller": 4,
    "freeze caller": 5,
    "kill broker": 5,
    "kill network": 2,
    "kill worker": 8,
}

BREAKS = frozenset({"cut", "half open", "refuse", "stall", "kill broker", "kill network"})
"""Faults that make whoever they hit connect anew, or may do so."""


@dataclass(frozen=True)
class Fault:
    """One fault.

    Attributes
    ----------
    at_s : float
        When, from the start of the storm.
    kind : str
        What happens.
    victim : str
        Whom it hits: ``caller 2``, ``backend 0``, ``backends`` (all), ``worker`` or ``broker``.
    lasts_s : float
        How long, in seconds; 0 for what is over at once.
    amount : float
        Delay in seconds, or bytes a second; for others, which of two ways (see `storm`).
    """

    at_s: float
    kind: str
    victim: str
    lasts_s: float = 0.0
    amount: float = 0.0


def forecast(
    seed: int, length_s: float, callers: int, backends: int, every_s: float, longest_s: float, workers: bool
) -> list[Fault]:
    """Return the faults of a storm in the order of their times; one every `every_s` seconds on average.

    A freeze lasts at most `longest_s`, and what happens to a line 0.6 of that. ``kill broker`` kills the server, which
    its keeper starts again; ``kill network`` kills the keeper.
    """
    chance = random.Random(f"{seed}/weather")
    likely = {kind: weight for kind, weight in _LIKELY.items() if workers or kind != "kill worker"}
    faults = []
    at_s = 1.0
    while at_s < length_s:
        (kind,) = chance.choices(list(likely), list(likely.values()))
        faults.append(_fault(kind, round(at_s, 2), chance, callers, backends, longest_s))
        at_s += chance.expovariate(1 / every_s)
    return faults


def _fault(kind: str, at_s: float, chance: random.Random, callers: int, backends: int, longest_s: float) -> Fault:
    backend = f"backend {chance.randrange(backends)}"
    caller = f"caller {chance.randrange(callers)}"
    line = chance.choice((backend, caller))
    lasts_s = round(chance.uniform(0.3, 0.6 * longest_s), 2)
    if kind in ("kill broker", "kill network"):
        return Fault(at_s, kind, "broker")
    if kind == "kill all backends":
        return Fault(at_s, kind, "backends", amount=float(chance.randrange(2)))
    if kind == "kill worker":
        return Fault(at_s, kind, "worker")
    if kind in ("kill backend", "stop backend"):
        return Fault(at_s, kind, backend, amount=float(chance.randrange(2)))
    if kind == "kill caller":
        return Fault(at_s, kind, caller)
    if kind in ("freeze backend", "freeze caller"):
        return Fault(
            at_s, kind, backend if kind == "freeze backend" else caller, round(chance.uniform(0.5, longest_s), 2)
        )
    if kind == "cut":
        return Fault(at_s, kind, line, amount=float(chance.randrange(2)))
    if kind == "half open":
        return Fault(at_s, kind, line, lasts_s, amount=float(chance.randrange(2)))
    if kind == "refuse":
        return Fault(at_s, kind, line, round(lasts_s / 2, 2))
    if kind == "delay":
        return Fault(at_s, kind, line, lasts_s, amount=chance.choice((0.005, 0.05, 0.2)))
    if kind == "throttle":
        return Fault(at_s, kind, line, lasts_s, amount=chance.choice((100e3, 1e6, 5e6)))
    return Fault(at_s, kind, line, lasts_s)
