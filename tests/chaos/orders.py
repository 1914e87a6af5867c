"""What the callers of a storm call, from one seed. Pure: the same seed gives the same orders."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

__all__ = ["KINDS", "Order", "orders", "warm_up"]

KINDS = {
    "small": 40,
    "again": 10,
    "large": 6,
    "stream": 12,
    "leave": 4,
    "progress": 8,
    "cancel": 8,
    "fail": 8,
    "timeout": 4,
    "connect": 3,
    "worker": 8,
    "worker cancel": 4,
}
"""How often each kind of call is made, as weights.

``again`` is a small call of a method that may be executed again; ``leave`` a stream whose reader goes away early;
``connect`` opens a connection of its own for one small call. ``worker`` calls run in a process of their own, and are
made only where there are such.
"""


@dataclass(frozen=True)
class Order:
    """One call.

    Attributes
    ----------
    kind : str
        One of `KINDS`, or ``calm``: a small call after the storm.
    token : str
        Names the call in the journal; no two calls have the same.
    method : str
        What is called.
    arguments : dict
        By name, without the token.
    limit_s : float or None
        Time limit that the caller sets.
    own_s : float
        How long it takes by itself when nothing goes wrong, in seconds.
    after_s : float
        When to cancel, or how long the reader of a stream pauses now and then.
    take : int
        How many items a reader takes before it leaves.
    """

    kind: str
    token: str
    method: str
    arguments: dict[str, Any] = field(default_factory=dict)
    limit_s: float | None = None
    own_s: float = 0.0
    after_s: float = 0.0
    take: int = 0


def orders(seed: int, caller: str, large_bytes: int, *, workers: bool) -> Iterator[Order]:
    """Give the endless calls of one caller."""
    chance = random.Random(f"{seed}/{caller}")
    number = 0
    kinds = _kinds(workers)
    while True:
        (kind,) = chance.choices(list(kinds), list(kinds.values()))
        yield _order(kind, f"{caller}-{number}", chance, large_bytes)
        number += 1


def warm_up(seed: int, caller: str, large_bytes: int, *, workers: bool) -> list[Order]:
    """Return one call of each kind, the large one as large as it may be."""
    chance = random.Random(f"{seed}/{caller}/warm")
    kinds = [kind for kind in _kinds(workers) if kind != "connect"]
    made = [_order(kind, f"{caller}-warm{number}", chance, large_bytes) for number, kind in enumerate(kinds)]
    return [
        Order("large", order.token, "echo", {"size": large_bytes, "seed": 1}, own_s=5.0)
        if order.kind == "large" and caller.endswith("-0")  # one of each process takes its memory to the utmost
        else order
        for order in made
    ]


def _kinds(workers: bool) -> dict[str, int]:
    return {kind: weight for kind, weight in KINDS.items() if workers or not kind.startswith("worker")}


def _order(kind: str, token: str, chance: random.Random, large_bytes: int) -> Order:
    suffix = chance.choice(("", "_async"))
    limit_s = chance.choice((None, 25.0))
    if kind in ("small", "connect", "again"):
        arguments = {"a": chance.randrange(1 << 40), "b": chance.randrange(1 << 40)}
        if kind == "connect":  # connecting and learning what there is have limits of their own: 5 s each
            return Order(kind, token, "add", arguments, own_s=15.0)
        return Order(kind, token, "add_again" if kind == "again" else "add" + suffix, arguments, limit_s)
    if kind == "large":
        # Evenly by the number of digits, so that all sizes of messages and parts come up.
        size = round(large_bytes ** chance.uniform(0.5, 1.0))
        arguments = {"size": size, "seed": chance.randrange(1 << 30)}
        return Order(kind, token, "echo" + suffix, arguments, limit_s, own_s=5.0)
    if kind in ("stream", "leave"):
        items, size = chance.choice(((200, 100), (60, 10_000), (20, 300_000), (4, 2_000_000)))
        take = chance.randrange(1, items) if kind == "leave" else items
        pause = chance.choice((0.0, 0.0, 0.0, 0.1))
        arguments = {"items": items, "size": size}
        return Order(kind, token, "count" + suffix, arguments, limit_s, own_s=10.0, after_s=pause, take=take)
    if kind == "worker":
        seconds = round(chance.uniform(0.05, 2.0), 2)
        return Order(kind, token, "crunch", {"seconds": seconds}, limit_s, own_s=seconds + 15.0)
    if kind == "worker cancel":
        after_s = chance.choice((0.0, 0.05, 0.2, 1.0, 3.0))
        return Order(kind, token, "crunch", {"seconds": 300.0}, own_s=after_s, after_s=after_s)
    if kind == "progress":
        seconds = round(chance.uniform(0.2, 4.0), 2)
        return Order(kind, token, "work" + suffix, {"seconds": seconds}, limit_s, own_s=seconds + 5.0)
    if kind == "cancel":
        after_s = chance.choice((0.0, 0.001, 0.01, 0.05, 0.2, 1.0, 3.0))
        return Order(kind, token, "work" + suffix, {"seconds": 300.0}, own_s=after_s, after_s=after_s)
    if kind == "timeout":
        method, limit_s = chance.choice((("nap", 0.5), ("nap", 2.0), ("work", 1.0), ("work_async", 1.0)))
        return Order(kind, token, method, {"seconds": limit_s + 2.0}, limit_s)
    return Order(kind, token, "fail", {}, limit_s)
