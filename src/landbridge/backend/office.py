"""What a call that is served asks of the backend, and what it leaves with it while its owner decides."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

if TYPE_CHECKING:
    from ..security import Caller
    from .served import ServedCall

__all__ = ["Held", "Office"]

Parts = Sequence[bytes | memoryview]


class Held(NamedTuple):
    """What came of a call and waits for its owner: the encoded value and its size, or what an ERROR would carry."""

    parts: Parts
    size: int
    error: dict[str, Any] | None


class Office(Protocol):
    """What a call asks of the backend that serves it."""

    def publish(self, subject: str, parts: Parts) -> None:
        """Send one message."""

    def publish_part(self, subject: str, parts: Parts) -> None:
        """Send one part of a long value."""

    def is_full(self, line: str) -> bool:
        """Whether our ``line``, or our ``lane`` for long values, has more to send than it should."""

    def wait_for_room(self, call: ServedCall, line: str) -> None:
        """Have the call go on once that line is no longer full."""

    def open_lane(self, call: ServedCall) -> None:
        """See to it that parts can come and go, and tell the call when they can."""

    def begins(self, call: ServedCall, frame: memoryview | bytearray) -> None:
        """Take note that a call is about to run with these arguments; raises `Busy` when it may not yet."""

    def admits(self, call: ServedCall) -> None:
        """Count in a call whose arguments have shown that its owner has to accept what comes of it.

        Raises `Busy` when too much waits for him. Called in threads.
        """

    def ask_owner(self, call: ServedCall) -> None:
        """Show the owner what came of a call, and let it go once he has accepted it."""

    def forget(self, call: ServedCall) -> None:
        """Let go of a call: nothing will happen any more."""

    def describe(self, caller: Caller, wanted: object) -> Parts:
        """Return what the module says of itself to `caller`, who sent these arguments."""
