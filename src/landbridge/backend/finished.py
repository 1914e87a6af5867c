"""Calls that have ended here: what was sent last is kept, for callers whose connection was down when it went out."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import takewhile

from ..protocol import KEPT_S, Outgoing
from ..security import Caller

__all__ = ["CALLS_KEPT", "MESSAGES_BYTES", "Finished", "FinishedCall"]

CALLS_KEPT = 20_000
"""How many calls are kept of each kind: those that ended with one message, and those with long values."""

MESSAGES_BYTES = 256 * 1024 * 1024
"""How much is kept of values that came in one message."""


@dataclass(slots=True)
class FinishedCall:
    """One call that has ended.

    Attributes
    ----------
    call_id : str
        Its id.
    caller : Caller
        Who called.
    reply : str
        Where the answers go.
    lane_reply : str
        Where parts of long values go; empty if nobody has said.
    out : Outgoing
        What was sent and may have to be sent again.
    size : int
        How much that is, in bytes.
    ended_at : float
        When, on the loop's clock.
    """

    call_id: str
    caller: Caller
    reply: str
    lane_reply: str
    out: Outgoing
    size: int
    ended_at: float


class Finished:
    """Keeps calls that have ended for `KEPT_S`, bounded in number and bytes; the oldest go first.

    Long values are kept until their callers say that they have arrived, and apart from all others: nobody says so of
    what came in one message, and ever more of that must not push out a value that is still under way.

    Parameters
    ----------
    limit_bytes : int
        How much may be kept of long values; of all others together it is at most `MESSAGES_BYTES`.
    """

    def __init__(self, limit_bytes: int) -> None:
        self._long = _Shelf(limit_bytes)
        self._short = _Shelf(min(limit_bytes, MESSAGES_BYTES))

    def __len__(self) -> int:
        return len(self._short.calls) + len(self._long.calls)

    @property
    def held_bytes(self) -> int:
        """How much is kept, in bytes."""
        return self._short.held_bytes + self._long.held_bytes

    def keep(self, call: FinishedCall) -> None:
        """Keep a call that has ended now."""
        (self._short if call.out.bulk is None else self._long).keep(call)

    def find(self, call_id: str, caller: Caller) -> FinishedCall | None:
        """Return the call of this caller, if it is kept."""
        call = self._short.calls.get(call_id) or self._long.calls.get(call_id)
        return call if call is not None and call.caller == caller else None

    def __contains__(self, call_id: str) -> bool:
        return call_id in self._short.calls or call_id in self._long.calls

    def drop(self, call_id: str) -> None:
        """Let go of a call: all of it has arrived, or its time is over."""
        (self._short if call_id in self._short.calls else self._long).drop(call_id)

    def expire(self, now: float) -> None:
        """Let go of what has been kept long enough."""
        for shelf in (self._short, self._long):
            shelf.expire(now)

    def since(self, moment: float) -> Iterator[FinishedCall]:
        """Go through the calls that have ended since then, the latest first; those with long values come last."""
        for shelf in (self._short, self._long):
            yield from takewhile(lambda call: call.ended_at >= moment, reversed(list(shelf.calls.values())))


class _Shelf:
    """Some of the calls. Whoever fills more than half of it makes room out of his own."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self.held_bytes = 0
        # Of a plain dict whose first keys have gone, finding the first one that is left takes longer and longer.
        self.calls: OrderedDict[str, FinishedCall] = OrderedDict()
        self._of: dict[Caller, OrderedDict[str, None]] = {}
        self._bytes_of: dict[Caller, int] = {}

    def keep(self, call: FinishedCall) -> None:
        self.calls[call.call_id] = call
        self.held_bytes += call.size
        own = self._of.get(call.caller)
        if own is None:
            own = self._of[call.caller] = OrderedDict()
        own[call.call_id] = None
        self._bytes_of[call.caller] = self._bytes_of.get(call.caller, 0) + call.size
        while len(self.calls) > CALLS_KEPT or (self.held_bytes > self._limit_bytes and len(self.calls) > 1):
            mostly = 2 * len(own) > len(self.calls) or 2 * self._bytes_of[call.caller] > self.held_bytes
            self.drop(next(iter(own if mostly and len(own) > 1 else self.calls)))

    def drop(self, call_id: str) -> None:
        call = self.calls.pop(call_id)
        self.held_bytes -= call.size
        own = self._of[call.caller]
        del own[call_id]
        self._bytes_of[call.caller] -= call.size
        if not own:
            del self._of[call.caller], self._bytes_of[call.caller]

    def expire(self, now: float) -> None:
        while self.calls:
            call_id, call = next(iter(self.calls.items()))
            if now - call.ended_at < KEPT_S:
                return
            self.drop(call_id)
