"""How much each caller has used of what a rule allows: calls and bytes in an hour, and calls at a time."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ..errors import Busy
from ..security import Caller, Rule

__all__ = ["Quotas"]

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
    used : _Used
        Where it is counted.
    rules : tuple of Rule
        Those whose conditions its arguments may fulfil; empty when they need not be looked at.
    approve : bool
        Whether its owner has to accept what comes of it, unless it fulfils one of `rules` that does not say so.
    """

    __slots__ = ("_used", "approve", "rules")

    def __init__(self, used: _Used, rules: tuple[Rule, ...], approve: bool) -> None:
        self._used, self.rules, self.approve = used, rules, approve

    def end(self, size: int, now: float) -> None:
        """Count the call out, which has given so many bytes."""
        self._used.running -= 1
        if self._used.bytes is not None:
            self._used.bytes.wait_s(0, now)
            self._used.bytes.take(size)


class Quotas:
    """What callers have used of what rules allow; time is given to each method, in seconds."""

    def __init__(self) -> None:
        self._used: dict[tuple[Rule, Caller], _Used] = {}

    def enter(self, rules: Iterable[Rule], caller: Caller, target: str, now: float) -> Ration:
        """Count a call in under a rule that has room for it; `Ration.end` has to follow.

        Raises
        ------
        Busy
            When none has; it says which limit is reached, and when to try again.
        """
        waits: list[tuple[float, str]] = []
        with_room: list[tuple[Rule, _Used]] = []
        for rule in rules:
            used = self._used_of(rule, caller, now)
            wait = _wait(rule, used, now)
            if wait is None:
                with_room.append((rule, used))
            else:
                waits.append(wait)
        if not with_room:
            retry_s, limit = min(waits, default=(_SOON_S, "nothing"))
            raise Busy(target, f"its owner allows {caller} {limit}", retry_s)
        open_to_all = [(rule, used) for rule, used in with_room if not rule.conditions]
        free = [(rule, used) for rule, used in open_to_all if not rule.approve]
        approve = not free and any(rule.approve for rule, _ in with_room)
        is_plain = bool(free) or (bool(open_to_all) and all(rule.approve for rule, _ in with_room))
        used = (free or open_to_all or with_room)[0][1]
        if used.calls is not None:
            used.calls.take(1)
        used.running += 1
        used.last = now
        return Ration(used, () if is_plain else tuple(rule for rule, _ in with_room), approve)

    def expire(self, now: float) -> None:
        """Forget who has used nothing for an hour: his rations are whole again."""
        for key in [key for key, used in self._used.items() if not used.running and now - used.last > 2 * _HOUR_S]:
            del self._used[key]

    def _used_of(self, rule: Rule, caller: Caller, now: float) -> _Used:
        used = self._used.get((rule, caller))
        if used is None:
            calls = None if rule.calls_per_hour is None else _Bucket(rule.calls_per_hour, now)
            size = None if rule.bytes_per_hour is None else _Bucket(rule.bytes_per_hour, now)
            used = self._used[rule, caller] = _Used(calls, size, last=now)
        return used


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
