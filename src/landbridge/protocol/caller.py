"""One call as its caller sees it.

::

    state      event                        next       what is done
    ---------  ---------------------------  ---------  -----------------------------------------------------
    SENT       BEAT                         RUNNING    the rest of the arguments follows
    SENT       nobody received it           SENT       once more, while backends may still be reconnecting
    SENT       … for too long               DONE       ended: ModuleOffline
    SENT       … and then cancel            DONE       ended: CallCancelled, state stopped
    SENT/RUN   ITEM, PROGRESS               same       handed on
    SENT/RUN   RESULT, END, ERROR,          DONE       ended
               CANCELLED
    SENT/RUN   cancel                       LEAVING    CANCEL; the backend says what became of the work
    RUNNING    time limit, silence, loss    DONE       ended: CallTimeout, CallLost; CANCEL
    SENT       time limit, silence          LEAVING    ended; CANCEL follows if a backend shows up after all
    LEAVING    CANCELLED, RESULT, …         DONE       ended, unless it had been before
    LEAVING    nothing for CANCEL_WAIT_S    DONE       ended: CallCancelled, state stopping

Every path leads to DONE, and exactly one `Ended` is given on the way (a property test drives all orders of events).
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import Any

from ..errors import (
    CallCancelled,
    CallLost,
    CallTimeout,
    LandbridgeError,
    Malformed,
    ModuleOffline,
    TooLarge,
    printable,
)
from .actions import Action, Ended, Forget, Item, Progress, Send, Started
from .failure import meta_to_error
from .messages import LABEL_LIMIT, Kind, Message
from .stream import OVERHEAD, PART_BYTES, SMALLEST_WINDOW, VALUE_LIMIT, WINDOW, Incoming, Outgoing

__all__ = ["BEAT_S", "CANCEL_WAIT_S", "OFFLINE_GRACE_S", "SILENCE_S", "Caller", "State"]

SILENCE_S = 15.0
"""A call is given up when nothing, not even a heartbeat, came for this long."""

BEAT_S = 4.0
"""How often each side of an accepted call says that it is there."""

CANCEL_WAIT_S = 3.0
"""How long a caller waits to hear what became of the work it cancelled."""

OFFLINE_GRACE_S = 0.8
"""How long a request is repeated while nobody receives it and the connection is young (see `nobody_received`)."""

_YOUNG_CONNECTION_S = 3.0
_RETRY_S = 0.1
_LONGEST_TIMEOUT_S = 1e9
_STATES = frozenset({"stopped", "stopping", "running"})
_NO_META: dict[str, Any] = {}


class State(Enum):
    """States of a call; see the table above."""

    SENT = "sent"
    RUNNING = "running"
    LEAVING = "leaving"
    DONE = "done"


class Caller:
    """The machine of one call. Each method takes an event and returns what is to be done.

    Parameters
    ----------
    target : str
        ``institute/module.method``, for errors.
    arguments : sequence of bytes
        The encoded arguments, in parts.
    size : int
        Their length together, in bytes.
    timeout_s : float, optional
        The caller's own limit, counted from `start`; one beyond thirty years is none.
    window : int
        Bytes of answer that may be under way at any time.
    """

    __slots__ = (
        "_arguments",
        "_ended",
        "_heard",
        "_in",
        "_leaving_since",
        "_out",
        "_retry_at",
        "_size",
        "_spoke",
        "_started",
        "instance",
        "state",
        "target",
        "timeout_s",
    )

    def __init__(
        self,
        target: str,
        arguments: Sequence[bytes | memoryview],
        size: int,
        *,
        timeout_s: float | None = None,
        window: int = WINDOW,
    ) -> None:
        if size > VALUE_LIMIT:
            raise TooLarge(
                f"The arguments of {target}", size, VALUE_LIMIT,
                "Send less: a selection or a reduction of the data",
            )  # fmt: skip
        self.target = target
        self.timeout_s = timeout_s if timeout_s is None or timeout_s <= _LONGEST_TIMEOUT_S else None
        self.instance = ""
        self.state = State.SENT
        self._arguments = arguments
        self._size = size
        self._in = Incoming(max(window, SMALLEST_WINDOW), VALUE_LIMIT, "result")
        self._out = Outgoing(PART_BYTES + OVERHEAD, PART_BYTES)
        self._started = self._heard = self._spoke = self._leaving_since = 0.0
        self._retry_at: float | None = None
        self._ended = False

    @property
    def has_ended(self) -> bool:
        """Whether its `Ended` has been given."""
        return self._ended

    def start(self, now: float) -> list[Action]:
        """Send the request."""
        self._started = self._heard = self._spoke = now
        meta: dict[str, Any] = {"granted": self._in.grant()}
        if self.timeout_s is not None:
            meta["timeout_s"] = self.timeout_s
        whole = self._out.at_once(Kind.CALL, self._arguments, self._size, meta)
        if whole is not None:
            return [Send("request", whole)]
        self._out.put(Kind.CALL, meta, self._arguments, self._size)
        return [Send("request", parts) for parts in self._out.take()]

    def received(self, message: Message, now: float) -> list[Action]:
        """Take in a message from the backend."""
        if self.state is State.DONE:
            return []
        self._heard = now
        self._retry_at = None
        if not self._in.in_order(message):
            return self._leave(CallLost(f"Part of the answer of {self.target} was lost on the way. Call again."), now)
        try:
            return self._take_in(message, now)
        except LandbridgeError as error:
            return self._leave(error, now)

    def broken(self, error: LandbridgeError, now: float) -> list[Action]:
        """Take note that bytes came which are no message (`unpack` raised `error`): the call ends with it."""
        return [] if self.state is State.DONE else self._leave(error, now)

    def _take_in(self, message: Message, now: float) -> list[Action]:
        kind, meta = message.kind, message.meta
        if kind in (Kind.RESULT, Kind.ITEM, Kind.PART):
            value = self._in.receive(message)
            if value is None:
                return self._beat(now) if self.instance and self._in.grant_is_due() else []
            if value.kind is Kind.RESULT:
                return self._end(value.body, None)
            return [] if self._ended else [Item(value.body, value.cost)]
        if kind is Kind.BEAT:
            return self._beaten(meta, now)
        if kind is Kind.PROGRESS:
            label = printable(meta.get("label", ""), LABEL_LIMIT)
            return [] if self._ended else [Progress(meta.get("done", 0), meta.get("total"), label)]
        if kind is Kind.END:
            return self._end(None, None)
        if kind is Kind.ERROR:
            return self._end(None, meta_to_error(meta, self.target))
        if kind is Kind.CANCELLED:
            state = meta.get("state")
            return self._end(None, CallCancelled(self.target, state if state in _STATES else "stopping"))
        raise Malformed(f"a backend does not send {kind.name}")

    def _beaten(self, meta: dict[str, Any], now: float) -> list[Action]:
        actions: list[Action] = []
        instance = meta.get("instance")
        if not self.instance and instance:
            self.instance = instance
            self._arguments = ()
            if self.state is State.LEAVING:
                return [self._cancel_message(), *(self._end(None, None) if self._ended else ())]
            self.state = State.RUNNING
            actions.append(Started(instance))
        granted = meta.get("granted")
        if granted is not None:
            self._out.grant(granted)
            for parts in self._out.take():
                self._spoke = now
                actions.append(Send("control", parts))
        if self._in.grant_is_due():
            # What came before the first BEAT could not be granted anew: nobody was known to tell it to.
            actions.extend(self._beat(now))
        return actions

    def nobody_received(self, now: float, connected_at: float) -> list[Action]:
        """The broker found no backend. A young connection tries again: backends may be reconnecting, as we just did.

        Nothing was delivered, so that trying again cannot run anything twice.
        """
        if self.state is not State.SENT or self.instance:
            return self._forget_if_left()
        if now - connected_at < _YOUNG_CONNECTION_S and now - self._started < OFFLINE_GRACE_S:
            self._retry_at = now + _RETRY_S
            return []
        return self._fail(ModuleOffline(self.target.partition(".")[0]))

    def tick(self, now: float) -> list[Action]:
        """Let time pass; to be called some times a second."""
        if self.state is State.DONE:
            return []
        if self.timeout_s is not None and not self._ended and now - self._started >= self.timeout_s:
            return self._leave(CallTimeout(self.target, self.timeout_s), now)
        if self.state is State.LEAVING:
            return self._tick_leaving(now)
        if self._retry_at is not None and now >= self._retry_at:
            self._retry_at = None
            self._out = Outgoing(PART_BYTES + OVERHEAD, PART_BYTES)
            started, self._heard = self._started, now
            actions = self.start(now)
            self._started = started
            return actions
        if now - self._heard >= SILENCE_S:
            who = f"instance {self.instance[:8]}, which had accepted it," if self.instance else "the backend"
            silence = CallLost(
                f"{self.target} fell silent: nothing came from {who} for {SILENCE_S:g} s. It crashed, froze or lost "
                "its network; the method may have run, partly, wholly or not at all. Call again if that does no harm."
            )
            return self._leave(silence, now)
        if self.instance and now - self._spoke >= BEAT_S:
            return self._beat(now)
        return []

    def _tick_leaving(self, now: float) -> list[Action]:
        if self._ended:
            # Nobody has taken the call yet: a late BEAT must still find us here, or that backend could not be stopped.
            return self._end(None, None) if now - self._leaving_since >= SILENCE_S else []
        if now - self._leaving_since >= CANCEL_WAIT_S:
            return self._leave(CallCancelled(self.target, "stopping"), now)
        return []

    def cancel(self, now: float) -> list[Action]:
        """Ask the backend to stop; the call ends when it says what became of the work."""
        if self.state is not State.SENT and self.state is not State.RUNNING:
            return []
        if self._retry_at is not None:
            return self._end(None, CallCancelled(self.target, "stopped"))
        self.state, self._leaving_since = State.LEAVING, now
        # Without an instance the message has to wait for the first BEAT, which comes within a moment.
        return [self._cancel_message()] if self.instance else []

    def took(self, cost: int, now: float) -> list[Action]:
        """Take note that an item has been used."""
        self._in.use(cost)
        if self.state is State.RUNNING and self._in.grant_is_due():
            return self._beat(now)
        return []

    def reconnected(self, now: float) -> list[Action]:
        """The connection is back after a break: ask whether the call is still known."""
        if self.state is State.DONE:
            return []
        self._heard = now
        return self._beat(now) if self.instance else []

    def closed(self, reason: str) -> list[Action]:
        """Take note that the connection has ended for good."""
        if self.state is State.DONE:
            return []
        return self._fail(CallLost(f"{self.target} cannot be followed any more: {reason}"))

    def _beat(self, now: float) -> list[Action]:
        self._spoke = now
        return [Send("control", [self._out.head(Kind.BEAT, {"granted": self._in.grant()})])]

    def _cancel_message(self) -> Send:
        return Send("control", [self._out.head(Kind.CANCEL, _NO_META)])

    def _leave(self, error: LandbridgeError, now: float) -> list[Action]:
        """End for the caller now, and have the backend stop, too."""
        actions: list[Action] = [] if self._ended else [Ended(None, error)]
        self._ended = True
        if self.instance:
            self.state = State.DONE
            return [*actions, self._cancel_message(), Forget()]
        if self.state is not State.LEAVING:
            self.state, self._leaving_since = State.LEAVING, now
        return actions

    def _forget_if_left(self) -> list[Action]:
        if self.state is State.LEAVING and not self.instance:
            return self._end(None, CallCancelled(self.target, "stopped"))
        return []

    def _fail(self, error: LandbridgeError) -> list[Action]:
        return self._end(None, error)

    def _end(self, frame: memoryview | bytearray | None, error: LandbridgeError | None) -> list[Action]:
        self.state = State.DONE
        if self._ended:
            return [Forget()]
        self._ended = True
        return [Ended(frame, error), Forget()]
