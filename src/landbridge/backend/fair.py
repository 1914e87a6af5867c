"""A queue that is fair to everybody: callers take turns, however many calls each of them has waiting."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Hashable
from typing import Generic, TypeVar

__all__ = ["FairQueue"]

T = TypeVar("T", bound=Hashable)
_LOOKED_THROUGH = 200


class FairQueue(Generic[T]):
    """Items in the order in which they are to be served: round robin over those who wait, first come first for each.

    Whoever has a thousand items waiting delays a newcomer by one item. Putting, popping and discarding take constant
    time, and no two items that wait are equal. Not locked: one thread uses it at a time.

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

    __slots__ = ("_lines", "_turns", "_whose")

    def __init__(self) -> None:
        # Of a plain dict whose first keys have gone, finding the first one that is left takes longer and longer.
        self._lines: dict[Hashable, OrderedDict[T, None]] = {}
        self._whose: dict[T, Hashable] = {}
        # Who is next; everybody in it has a line that is not empty, and stands in it once.
        self._turns: deque[Hashable] = deque()

    def __len__(self) -> int:
        return len(self._whose)

    def put(self, who: Hashable, item: T) -> None:
        """Queue an item behind those of the same caller."""
        line = self._lines.get(who)
        if line is None:
            line = self._lines[who] = OrderedDict()
            self._turns.append(who)
        line[item] = None
        self._whose[item] = who

    def pop(self) -> T:
        """Return the item whose turn it is; raises `IndexError` when nothing waits."""
        who = self._turns.popleft()
        line = self._lines[who]
        item, _ = line.popitem(last=False)
        del self._whose[item]
        if line:
            self._turns.append(who)
        else:
            del self._lines[who]
        return item

    def discard(self, item: T) -> bool:
        """Take an item out; False when it does not wait here."""
        if item not in self._whose:
            return False
        who = self._whose.pop(item)
        line = self._lines[who]
        del line[item]
        if not line:
            del self._lines[who]
            self._turns.remove(who)
        return True

    def waiting(self, who: Hashable) -> int:
        """Return how many items of one caller wait."""
        return len(self._lines.get(who, ()))

    def place(self, item: T) -> int:
        """Return the position of an item that waits; where many wait only their number, as looking takes time."""
        return self.position(item) if len(self) <= _LOOKED_THROUGH else len(self)

    def position(self, item: T) -> int:
        """Return the place of an item in the order of serving, from 1; 0 when it does not wait here."""
        if item not in self._whose:
            return 0
        line = self._lines[self._whose[item]]
        ahead, turn = list(line).index(item), self._turns.index(self._whose[item])
        # Each other caller is served once for each round before ours, and once more if its turn comes earlier.
        others = sum(
            min(len(self._lines[other]), ahead + (place < turn))
            for place, other in enumerate(self._turns)
            if place != turn
        )
        return ahead + others + 1
