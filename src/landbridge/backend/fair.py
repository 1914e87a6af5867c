"""A queue that is fair to everybody: callers take turns, however many calls each of them has waiting."""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable
from typing import Generic, TypeVar

__all__ = ["FairQueue"]

T = TypeVar("T")


class FairQueue(Generic[T]):
    """Items in the order in which they are to be served: round robin over those who wait, first come first for each.

    Whoever has a thousand items waiting delays a newcomer by one item. Putting and popping take constant time.
    Not locked: one thread uses it at a time.

    Examples
    --------
    >>> queue = FairQueue[str]()
    >>> for who, item in [("anna", "a1"), ("anna", "a2"), ("anna", "a3"), ("ben", "b1")]:
    ...     queue.put(who, item)
    >>> queue.position("b1")
    2
    >>> [queue.pop() for _ in range(len(queue))]
    ['a1', 'b1', 'a2', 'a3']
    """

    __slots__ = ("_length", "_lines", "_turns")

    def __init__(self) -> None:
        self._lines: dict[Hashable, deque[T]] = {}
        # Who is next; everybody in it has a line that is not empty, and stands in it once.
        self._turns: deque[Hashable] = deque()
        self._length = 0

    def __len__(self) -> int:
        return self._length

    def put(self, who: Hashable, item: T) -> None:
        """Queue an item behind those of the same caller."""
        line = self._lines.get(who)
        if line is None:
            line = self._lines[who] = deque()
            self._turns.append(who)
        line.append(item)
        self._length += 1

    def pop(self) -> T:
        """Return the item whose turn it is; raises `IndexError` when nothing waits."""
        who = self._turns.popleft()
        line = self._lines[who]
        item = line.popleft()
        self._length -= 1
        if line:
            self._turns.append(who)
        else:
            del self._lines[who]
        return item

    def discard(self, item: T) -> bool:
        """Take an item out; False when it does not wait here. Takes time in proportion to what waits."""
        for who, line in self._lines.items():
            if item in line:
                line.remove(item)
                self._length -= 1
                if not line:
                    del self._lines[who]
                    self._turns.remove(who)
                return True
        return False

    def waiting(self, who: Hashable) -> int:
        """Return how many items of one caller wait."""
        return len(self._lines.get(who, ()))

    def position(self, item: T) -> int:
        """Return the place of an item in the order of serving, from 1; 0 when it does not wait here."""
        for turn, who in enumerate(self._turns):
            line = self._lines[who]
            if item in line:
                ahead = line.index(item)
                # Each other caller is served once for each round before ours, and once more if its turn comes earlier.
                others = sum(
                    min(len(self._lines[other]), ahead + (place < turn))
                    for place, other in enumerate(self._turns)
                    if place != turn
                )
                return ahead + others + 1
        return 0
