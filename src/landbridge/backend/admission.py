"""Who may run now: the limits of one method on how many of its calls run at a time, and how many may wait."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Generic, TypeVar

from ..errors import Busy
from .fair import FairQueue

__all__ = ["Admission"]

T = TypeVar("T", bound=Hashable)

_FIRST_GUESS_S = 1.0
_WEIGHT = 0.2
_SHORTEST_RETRY_S = 0.2
_LONGEST_RETRY_S = 30.0


class Admission(Generic[T]):
    """Calls of one method: at most `concurrency` run, at most `queue` wait, and callers take turns.

    Decides only. Whoever uses it starts what `enter` and `leave` say, and tells when that has ended. Not locked: one
    thread uses it at a time.

    Parameters
    ----------
    target : str
        ``institute/module.method``, for the text of `Busy`.
    concurrency : int
        How many calls run at a time, at least 1.
    queue : int
        How many more may wait; 0 for none.

    Examples
    --------
    >>> admission = Admission[str]("geomar/ocean.mean", concurrency=1, queue=8)
    >>> admission.enter("anna", "a1"), admission.enter("anna", "a2"), admission.enter("ben", "b1")
    (True, False, False)
    >>> admission.position("b1")
    2
    >>> admission.leave("a1", seconds=0.5)
    ['a2']
    """

    __slots__ = ("_concurrency", "_lasts_s", "_line", "_queue", "_running", "_target")

    def __init__(self, target: str, *, concurrency: int, queue: int) -> None:
        if concurrency < 1:
            raise ValueError(f"concurrency={concurrency} of {target}: must be at least 1")
        if queue < 0:
            raise ValueError(f"queue={queue} of {target}: must be at least 0")
        self._target, self._concurrency, self._queue = target, concurrency, queue
        self._running: set[T] = set()
        self._line = FairQueue[T]()
        # How long calls lasted lately; what is newer counts more.
        self._lasts_s: float | None = None

    def enter(self, who: Hashable, item: T) -> bool:
        """Let a call in; True when it runs now, False when it waits until a `leave` names it.

        Parameters
        ----------
        who : hashable
            Whose call it is; those who wait take turns.
        item : hashable
            The call; no other one inside is equal to it.

        Raises
        ------
        Busy
            When too many wait already. `retry_after_s` says when there may be room.
        """
        # Nobody waits while a place is free: `leave` and `withdraw` hand out every place at once.
        if len(self._running) < self._concurrency:
            self._running.add(item)
            return True
        self.check_room(who)
        self._line.put(who, item)
        return False

    def check_room(self, who: Hashable) -> None:
        """Refuse a call that could not even wait, before anything is kept for it; raises `Busy` as `enter` does.

        Nobody gets more than half of the queue: others are to find room in it, too.
        """
        if len(self._running) < self._concurrency:
            return
        if len(self._line) >= self._queue or self._line.waiting(who) >= (self._queue + 1) // 2:
            waiting = f", and {len(self._line)} wait" if self._queue else ""
            raise Busy(
                self._target,
                f"its owner lets {self._concurrency} of its calls run at a time{waiting}",
                self._retry_after_s(),
            )

    def leave(self, item: T, seconds: float) -> list[T]:
        """Take note that a running call has ended after `seconds`, and return those that may run now.

        A call that does not run here changes nothing.
        """
        if item not in self._running:
            return []
        self._running.remove(item)
        self._lasts_s = seconds if self._lasts_s is None else self._lasts_s + _WEIGHT * (seconds - self._lasts_s)
        started = []
        while self._line and len(self._running) < self._concurrency:
            started.append(self._line.pop())
            self._running.add(started[-1])
        return started

    def withdraw(self, item: T) -> bool:
        """Take out a call that waits; False when it does not wait here, for it runs already or was never let in."""
        return self._line.discard(item)

    def position(self, item: T) -> int:
        """Return the place of a call that waits, from 1; 0 when it runs. Where many wait, how many they are."""
        return 0 if item in self._running else self._line.place(item)

    def _retry_after_s(self) -> float:
        """Return when all that wait now have probably had their turn; places that get free before are for others."""
        lasts_s = _FIRST_GUESS_S if self._lasts_s is None else self._lasts_s
        ahead = len(self._line) + 1
        expected_s = lasts_s * ahead / self._concurrency
        return round(min(max(expected_s, _SHORTEST_RETRY_S), _LONGEST_RETRY_S), 1)
