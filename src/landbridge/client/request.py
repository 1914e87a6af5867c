"""A call as its link keeps it: what is needed to try it again, and the attempt that is under way."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..names import Address
from ..protocol import Caller, Send
from .objects import Handle
from .observers import Observer
from .pace import Pace

__all__ = ["Attempt", "Request"]


class Request:
    """A call that was started on a link: what is needed to try again, and how it goes."""

    __slots__ = (
        "again_at", "at", "attempt", "cancelled", "delivered", "extras", "handle", "idempotent", "observer", "parts",
        "size", "target", "timeout_s", "tries", "waited_s", "was_lost",
    )  # fmt: skip

    def __init__(
        self,
        target: Address,
        parts: Sequence[bytes | memoryview],
        size: int,
        observer: Observer,
        timeout_s: float | None,
        idempotent: bool,
        extras: dict[str, Any] | None,
        handle: Handle | None,
        at: float,
    ) -> None:
        self.target, self.parts, self.size, self.observer = target, parts, size, observer
        self.timeout_s, self.idempotent, self.extras, self.at = timeout_s, idempotent, extras, at
        self.handle = handle
        self.tries = 0
        self.delivered = self.cancelled = self.was_lost = False
        self.again_at = self.waited_s = 0.0
        self.attempt: Attempt | None = None


class Attempt:
    """One attempt at a call: most calls need no other."""

    __slots__ = ("answered", "call_id", "caller", "goes", "pace", "pending", "request", "warned")

    def __init__(self, call_id: str, caller: Caller, request: Request) -> None:
        self.call_id, self.caller, self.request = call_id, caller, request
        self.pending: list[Send] = []
        self.pace: Pace[Attempt] | None = None
        self.answered = self.goes = self.warned = False
