"""How many requests to one module may be out without an answer: the rest wait here, where they delay nobody else."""

from __future__ import annotations

from collections import OrderedDict
from typing import Generic, TypeVar

from ..protocol import SILENCE_S

__all__ = ["UNANSWERED", "Pace"]

T = TypeVar("T")

UNANSWERED = 64
"""Requests that no backend has answered or accepted yet; enough to keep one busy.

A backend accepts within 0.05 s, so that long calls do not count.
"""

FEWEST, MOST = 16, 128
"""How many they may be while further ones wait here: whoever has a crowd waiting is to leave others their turn."""


class Pace(Generic[T]):
    """Lets requests to one module go, so many at a time, in order.

    While requests wait here, there may be as many out as are answered in at most twice the shortest time seen: then
    they travel, far away perhaps. What takes longer queues at the backend, before the requests of everybody else. (The
    limits of TCP Vegas, Brakmo and Peterson 1995, are found likewise.)
    """

    __slots__ = ("_held", "_moved_at", "_out", "_shortest_s", "_window")

    def __init__(self) -> None:
        self._out: dict[T, float] = {}
        # Of a plain dict whose first keys have gone, finding the first one that is left takes longer and longer.
        self._held: OrderedDict[T, None] = OrderedDict()
        self._moved_at = 0.0
        self._window = FEWEST
        self._shortest_s = float("inf")

    def may_go(self, request: T, now: float) -> bool:
        """Whether a request may be sent now; otherwise it is held, and stays so until `next` gives it back."""
        if len(self._out) < UNANSWERED and not self._held:
            self._out[request] = self._moved_at = now
            return True
        self._held[request] = None
        return False

    def answered(self, request: T, now: float) -> None:
        """Take note that a request has been answered."""
        sent_at = self._out.get(request)
        if sent_at is not None:
            took_s = now - sent_at
            self._shortest_s = min(self._shortest_s, took_s)
            if self._held:
                step = 1 if took_s <= 2 * self._shortest_s else -1
                self._window = min(max(self._window + step, FEWEST), MOST)
        self.ended(request, now)

    def ended(self, request: T, now: float) -> None:
        """Take note that a request has been answered or has ended; one that was held is held no more."""
        if self._out.pop(request, None) is not None:
            self._moved_at = now
        else:
            self._held.pop(request, None)

    def next(self, now: float) -> T | None:
        """Return one that was held and may go now."""
        if not self._held or len(self._out) >= self._window:
            return None
        request, _ = self._held.popitem(last=False)
        self._out[request] = self._moved_at = now
        return request

    def moves(self, now: float) -> bool:
        """Whether requests that are held may hope: something was answered lately."""
        return now - self._moved_at < SILENCE_S / 2
