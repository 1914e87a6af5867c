"""How much each caller has used of what a rule allows: calls and bytes in an hour, and calls at a time."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ..errors import Busy
from ..security import Caller, Rule

__all__ = ["Quotas", "Ration"]

_HOUR_S = 3600.0
_SOON_S = 1.0


class _Bucket:
    """Holds what may be used of an hour's ration, and is filled evenly."""

    __slots__ = ("_at", "_left", "_ration")

    def __init__(self, ration: int, now: float) -> None:
        self._ration = self._left = float(ration)
        self._at = now

    def wait_s(self, amount: float, now: float) -> float:
        """Return how long it takes until so much is there; 0 when it is."""
        self._left = min(self._ration, self._left + (now - self._at) * self._ration / _HOUR_S)
        self._at = now
        return max(0.0, (amount - self._left) * _HOUR_S / self._ration)

    def take(self, amount: float) -> None:
        self._left -= amount


@dataclass(slots=True)
class _Used:
    calls: _Bucket | None
    bytes: _Bucket | None
    running: int = 0
    last: float = 0.0


class Ration:
    """What one call uses of what a rule allows.

    Parameters
    ----------
    quotas : Quotas
        Where it is counted.
    rules : tuple of Rule
        Those whose conditions its arguments may fulfil; empty when they need not be looked at.
    approve : bool
        Whether its owner has to accept what comes of it, unless it keeps one of `rules` that does not say so.
    caller : Caller
        Who calls.
    target : str
        What is called.
    """

    __slots__ = ("_caller", "_ended", "_quotas", "_target", "_used", "approve", "rules")

    def __init__(self, quotas: Quotas, rules: tuple[Rule, ...], approve: bool, caller: Caller, target: str) -> None:
        self._quotas, self.rules, self.approve = quotas, rules, approve
        self._caller, self._target = caller, target
        self._used: _Used | None = None
        self._ended = False

    def keep(self, rules: Sequence[Rule], now: float) -> Rule:
        """Count the call under one of the rules that its arguments keep, and return that; called in threads.

        One that demands no approval comes first, if it has room.

        Raises
        ------
        Busy
            When none of them has room.
        """
        with self._quotas.lock:
            waits: list[tuple[float, str]] = []
            if self._used is not None:
                return rules[0]  # there is no other, and it was counted when it was let in
            for rule in sorted(rules, key=lambda rule: rule.approve):
                used = self._quotas.used_of(rule, self._caller, now)
                wait = _wait(rule, used, now)
                if wait is None:
                    self.count(used, now)
                    return rule
                waits.append(wait)
        raise _no_room(self._target, self._caller, waits)

    def count(self, used: _Used, now: float) -> None:
        """Count the call in, with the lock; not one that has ended meanwhile."""
        if self._ended:
            return
        self._used = used
        if used.calls is not None:
            used.calls.take(1)
        used.running += 1
        used.last = now

    def end(self, size: int, now: float) -> None:
        """Count the call out, which has given so many bytes."""
        with self._quotas.lock:
            used, self._ended = self._used, True
            if used is None:
                return
            used.running -= 1
            if used.bytes is not None:
                used.bytes.wait_s(0, now)
                used.bytes.take(size)


class Quotas:
    """What callers have used of what rules allow; time is given to each method, in seconds."""

    def __init__(self) -> None:
        self._used: dict[tuple[Rule, Caller], _Used] = {}
        # Which rule a call keeps is seen where its arguments are decoded, in a thread.
        self.lock = threading.Lock()

    def enter(self, rules: Iterable[Rule], caller: Caller, target: str, now: float) -> Ration:
        """Let a call in under rules of which one has room for it; `Ration.end` has to follow.

        Where its arguments tell which of several rules it keeps, it is counted by `Ration.keep`; otherwise at once.

        Raises
        ------
        Busy
            When none has; it says which limit is reached, and when to try again.
        """
        rules = tuple(rules)
        with self.lock:
            waits: list[tuple[float, str]] = []
            with_room: list[tuple[Rule, _Used]] = []
            for rule in rules:
                used = self.used_of(rule, caller, now)
                wait = _wait(rule, used, now)
                if wait is None:
                    with_room.append((rule, used))
                else:
                    waits.append(wait)
            if not with_room:
                raise _no_room(target, caller, waits)
            open_to_all = [(rule, used) for rule, used in with_room if not rule.conditions]
            free = [(rule, used) for rule, used in open_to_all if not rule.approve]
            all_held = all(rule.approve for rule in rules)
            plain = free or (open_to_all if all_held else [])
            approve = not free and any(rule.approve for rule in rules)
            ration = Ration(self, () if plain else rules, approve, caller, target)
            if plain or len(rules) == 1:
                ration.count((plain or with_room)[0][1], now)
            return ration

    def expire(self, now: float) -> None:
        """Forget who has used nothing for an hour: his rations are whole again."""
        with self.lock:
            idle = [key for key, used in self._used.items() if not used.running and now - used.last > 2 * _HOUR_S]
            for key in idle:
                del self._used[key]

    def used_of(self, rule: Rule, caller: Caller, now: float) -> _Used:
        """Return what a caller has used of what a rule allows; with the lock."""
        used = self._used.get((rule, caller))
        if used is None:
            calls = None if rule.calls_per_hour is None else _Bucket(rule.calls_per_hour, now)
            size = None if rule.bytes_per_hour is None else _Bucket(rule.bytes_per_hour, now)
            used = self._used[rule, caller] = _Used(calls, size, last=now)
        return used


def _no_room(target: str, caller: Caller, waits: list[tuple[float, str]]) -> Busy:
    retry_s, limit = min(waits, default=(_SOON_S, "nothing"))
    return Busy(target, f"its owner allows {caller} {limit}", retry_s)


def _wait(rule: Rule, used: _Used, now: float) -> tuple[float, str] | None:
    """Return how long a call has to wait under a rule, and for what; None when it need not."""
    if rule.concurrent is not None and used.running >= rule.concurrent:
        return _SOON_S, f"{rule.concurrent} calls at a time"
    if used.calls is not None and (wait_s := used.calls.wait_s(1, now)):
        return wait_s, f"{rule.calls_per_hour:,} calls an hour"
    # What a call will give is not known before: it may overdraw, and the next one waits for it.
    if used.bytes is not None and (wait_s := used.bytes.wait_s(1, now)):
        return wait_s, f"{rule.bytes_per_hour:,} bytes an hour"
    return None
