"""How many requests to one module may be out without an answer: the rest wait here, where they delay nobody else."""

from __future__ import annotations

from typing import Generic, TypeVar

from ..protocol import SILENCE_S

__all__ = ["UNANSWERED", "Pace"]

T = TypeVar("T")

UNANSWERED = 128
"""Requests that no backend has answered or accepted yet; enough to keep one busy, too few to keep others from it.

A backend accepts within 0.05 s, so that long calls do not count.
"""


class Pace(Generic[T]):
    """Lets requests to one module go, `UNANSWERED` at a time, in order."""

    __slots__ = ("_held", "_moved_at", "_out")

    def __init__(self) -> None:
        self._out: set[T] = set()
        self._held: dict[T, None] = {}
        self._moved_at = 0.0

    def may_go(self, request: T, now: float) -> bool:
        """Whether a request may be sent now; otherwise it is held, and stays so until `next` gives it back."""
        if len(self._out) < UNANSWERED and request not in self._held:
            self._out.add(request)
            self._moved_at = now
            return True
        self._held[request] = None
        return False

    def answered(self, request: T, now: float) -> None:
        """Take note that a request has been answered or has ended; one that was held is held no more."""
        if request in self._out:
            self._out.discard(request)
            self._moved_at = now
        else:
            self._held.pop(request, None)

    def next(self, now: float) -> T | None:
        """Return one that was held and may go now."""
        if not self._held or len(self._out) >= UNANSWERED:
            return None
        request = next(iter(self._held))
        del self._held[request]
        self._out.add(request)
        self._moved_at = now
        return request

    def moves(self, now: float) -> bool:
        """Whether requests that are held may hope: something was answered lately."""
        return now - self._moved_at < SILENCE_S / 2
