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
    SENT/RUN   a gap, or a reconnection     same       BEAT that asks for what is missing
    SENT       silence for 2 s              SENT       BEAT to all backends: who has the call?
    RUNNING    time limit, silence, gone    DONE       ended: CallTimeout, CallLost; CANCEL
    SENT       time limit, silence          LEAVING    ended; CANCEL follows if a backend shows up after all
    LEAVING    CANCELLED, RESULT, …         DONE       ended, unless it had been before
    LEAVING    END                          DONE       ended: CallCancelled, state stopped
    LEAVING    nothing for CANCEL_WAIT_S    DONE       ended: CallCancelled, state stopping

Every path leads to DONE, and exactly one `Ended` is given on the way (a property test drives all orders of events).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import Enum
from typing import Any

from ..errors import (
    CallCancelled,
    CallLost,
    CallTimeout,
    LandbridgeError,
    Malformed,
    ModuleOffline,
    printable,
)
from .actions import Action, Ended, Forget, Invoke, Item, Log, OpenLane, Progress, Send, Started, Waits
from .bulk import PART_BYTES, STUCK_S, Room
from .failure import meta_to_error
from .messages import ASKED_AT_ONCE, LABEL_LIMIT, LOG_LIMIT, UNCOUNTED, Kind, Message
from .stream import OVERHEAD, SMALLEST_WINDOW, WINDOW, Incoming, Outgoing, Value

__all__ = ["AWAY_S", "BEAT_S", "CANCEL_WAIT_S", "SILENCE_S", "Caller", "State"]

SILENCE_S = 15.0
"""A call is given up when nothing, not even a heartbeat, came for this long."""

AWAY_S = 60.0
"""While the caller's own connection is down the other side cannot be heard; then it is given up after this long."""

BEAT_S = 4.0
"""How often each side of an accepted call says that it is there."""

CANCEL_WAIT_S = 3.0
"""How long a caller waits to hear what became of the work it cancelled."""

_RETRY_S = 0.1
_ASK_AFTER_S = 2.0
_ASK_EVERY_S = 1.0
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
        Bytes of answer that may be under way at any time, but for long values.
    limit : int
        Largest value taken, in bytes.
    make_room : callable
        Gives memory for a value that comes in parts; see `BulkIn`.
    extras : dict, optional
        Further fields of CALL: whether to send what the method prints, what traces this call is part of.
    """

    __slots__ = (
        "_answered",
        "_approval",
        "_arguments",
        "_asked",
        "_away",
        "_ended",
        "_extras",
        "_heard",
        "_in",
        "_leaving_since",
        "_out",
        "_place",
        "_questions",
        "_restarted_at",
        "_retry_at",
        "_sent_at",
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
        limit: int = 1 << 40,
        make_room: Callable[[int], Room] = bytearray,
        extras: dict[str, Any] | None = None,
    ) -> None:
        self.target = target
        self.timeout_s = timeout_s if timeout_s is None or timeout_s <= _LONGEST_TIMEOUT_S else None
        self.instance = ""
        self.state = State.SENT
        self._arguments = arguments
        self._size = size
        self._extras = extras
        self._in = Incoming(max(window, SMALLEST_WINDOW), limit, "result", make_room)
        self._out = Outgoing(PART_BYTES + OVERHEAD, PART_BYTES)
        self._started = self._sent_at = self._heard = self._answered = self._spoke = self._leaving_since = 0.0
        self._asked = -_ASK_EVERY_S
        self._retry_at: float | None = None
        self._restarted_at: float | None = None
        self._place = 0
        self._questions = 0
        self._ended = self._away = self._approval = False

    @property
    def has_ended(self) -> bool:
        """Whether its `Ended` has been given."""
        return self._ended

    @property
    def waits_for_approval(self) -> bool:
        """Whether what came of it waits until the owner of the module has accepted it."""
        return self._approval

    @property
    def receives_bulk(self) -> bool:
        """Whether it waits for parts of a long value."""
        return self._in.receives_bulk

    @property
    def moves_bulk(self) -> bool:
        """Whether a long value is under way, in either direction."""
        return self._in.receives_bulk or (self._out.bulk is not None and self._out.bulk.held_bytes > 0)

    def start(self, now: float) -> list[Action]:
        """Send the request."""
        self._started = self._sent_at = self._heard = self._answered = self._spoke = now
        return self._request()

    def _request(self) -> list[Action]:
        meta: dict[str, Any] = {"granted": self._in.granted}
        if self.timeout_s is not None:
            meta["timeout_s"] = self.timeout_s
        if self._extras:
            meta |= self._extras
        whole = self._out.at_once(Kind.CALL, self._arguments, self._size, meta)
        if whole is not None:
            return [Send("request", whole)]
        self._out.put(Kind.CALL, meta, self._arguments, self._size)
        return [*(Send("request", parts) for parts in self._out.take()), OpenLane()]

    def not_sent(self, now: float) -> None:
        """Take note that the request has not gone out yet: nobody can have answered it."""
        self._sent_at = self._heard = self._answered = now

    def received(self, message: Message, now: float) -> list[Action]:
        """Take in a message from the backend."""
        if self.state is State.DONE:
            return []
        self._heard = self._answered = now
        self._retry_at = self._restarted_at = None
        try:
            if message.kind is Kind.PART:
                return self._take_part(message, now)
            order = self._in.order(message)
            if order < 0 and message.kind not in UNCOUNTED:
                return []  # it came twice
            if order > 0:
                # It says what it says, if it is one that may get lost; for the others the one that is missing is due.
                first = self._take_in(message, now) if message.kind is Kind.BEAT else []
                done = bool(first) and isinstance(first[-1], Forget)
                return first if done else [*first, *self._ask_again(now)]
            return self._take_in(message, now)
        except LandbridgeError as error:
            return self._leave(error, now)

    def broken(self, error: LandbridgeError, now: float) -> list[Action]:
        """Take note that bytes came which are no message (`unpack` raised `error`): the call ends with it."""
        return [] if self.state is State.DONE else self._leave(error, now)

    def _take_in(self, message: Message, now: float) -> list[Action]:
        kind, meta = message.kind, message.meta
        if kind is Kind.RESULT or kind is Kind.ITEM or kind is Kind.END or kind is Kind.ERROR or kind is Kind.INVOKE:
            actions = self._hand_on(self._in.receive(message, now), now)
            if self.state is not State.DONE and self._in.receives_bulk:
                actions.extend(self._beat_if_due(now) if self._in.lane_open else [OpenLane()])
            return actions
        if kind is Kind.BEAT:
            return self._beaten(meta, now)
        if kind is Kind.PROGRESS:
            label = printable(meta.get("label", ""), LABEL_LIMIT)
            return [] if self._ended else [Progress(meta.get("done", 0), meta.get("total"), label)]
        if kind is Kind.LOG:
            if not self._extras or not self._extras.get("logs"):
                return []  # nobody asked for it, and whoever waits for a value is not to read what others want him to
            stream, text = printable(meta.get("stream", ""), 16), printable(meta.get("text", ""), LOG_LIMIT)
            return [] if self._ended else [Log(stream, text)]
        if kind is Kind.CANCELLED:
            state = meta.get("state")
            return self._end(None, CallCancelled(self.target, state if state in _STATES else "stopping"))
        raise Malformed(f"a backend does not send {kind.name}")

    def _take_part(self, message: Message, now: float) -> list[Action]:
        values = self._in.part(message, now)
        if values is None:
            return self._ask_again(now)
        actions = self._hand_on(values, now)
        return actions if self.state is State.DONE else [*actions, *self._beat_if_due(now)]

    def _hand_on(self, values: list[Value], now: float) -> list[Action]:
        actions: list[Action] = []
        for kind, meta, body, cost, bulk in values:
            if kind is Kind.RESULT:
                # The backend keeps a long value until it hears that it has arrived.
                last = self._beat(now) if bulk else []
                return [*actions, *last, *self._end(body, None)]
            if kind is Kind.END:
                # Items that came since it was cancelled were not handed on: what ends here is not the whole stream.
                error = CallCancelled(self.target, "stopped") if self.state is State.LEAVING else None
                return [*actions, *self._beat(now), *self._end(None, error)]
            if kind is Kind.ERROR:
                return [*actions, *self._end(None, meta_to_error(meta, self.target))]
            if self._ended or self.state is State.LEAVING:
                self._in.use(cost, bulk)
            elif kind is Kind.ITEM:
                actions.append(Item(body, cost, bulk))
            elif self._questions >= ASKED_AT_ONCE:
                raise Malformed(f"the method asks its caller more than {ASKED_AT_ONCE} questions at a time")
            else:
                self._questions += 1
                actions.append(Invoke(meta.get("function", 0), meta.get("ask", 0), body, cost, bulk))
        return actions

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
        place, approval = meta.get("place", 0), meta.get("approval", False)
        if (place, approval) != (self._place, self._approval) and not self._ended:
            self._place, self._approval = place, approval
            actions.append(Waits(place, approval))
        if not self.instance:
            return actions
        again = self._out.heard(meta, now)
        actions.extend(Send("control", parts) for parts in again)
        actions.extend(self._flush(now))
        # What came before the first BEAT could not be granted anew: nobody was known to tell it to.
        actions.extend(self._beat_if_due(now))
        return actions

    def _flush(self, now: float) -> list[Action]:
        actions: list[Action] = [Send("control", parts) for parts in self._out.take()]
        if self._in.lane_open:
            actions.extend(Send("lane", parts) for parts in self._out.take_bulk(now))
        if actions:
            self._spoke = now
        if not self._in.lane_open and self._out.bulk is not None and self._out.bulk.waiting:
            actions.append(OpenLane())
        return actions

    def lane_opened(self, now: float, largest_window: int) -> list[Action]:
        """Take note that the lane for long values is open, for the first time or again after a break."""
        if self.state is State.DONE:
            return []
        actions: list[Action] = []
        first, self._in.lane_open = not self._in.lane_open, True
        if self.instance:
            if self._out.bulk is not None:
                self._out.bulk.again()
                actions.extend(self._flush(now))
            if self._in.receives_bulk:
                self.share_lane(largest_window)
                actions.extend(self._beat(now, resend=not first))
        return actions

    def share_lane(self, largest_window: int) -> None:
        """Take note how much of the lane this call may fill."""
        if self._in.bulk is not None:
            self._in.bulk.largest_window = largest_window

    def nobody_received(self, now: float, grace_s: float) -> list[Action]:
        """The broker found no backend. For `grace_s` from its sending the request is repeated: one may be on its way.

        It was delivered to nobody, so that trying again cannot run anything twice.
        """
        if self.state is not State.SENT or self.instance:
            return self._forget_if_left()
        if now - self._sent_at < grace_s:
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
            self._retry_at, self._heard = None, now
            self._out = Outgoing(PART_BYTES + OVERHEAD, PART_BYTES)
            return self._request()
        # However often the line breaks and comes back: each time gives the backend time to be heard, but not for ever.
        if now - self._answered >= AWAY_S:
            what = f"for {AWAY_S:g} s our connection to the broker was down, or broke again and again"
            return self._leave(self._lost(what), now)
        if self._away:
            return []
        if now - self._heard >= SILENCE_S:
            who = f"instance {self.instance[:8]}, which had accepted it," if self.instance else "the backend"
            what = f"{who} fell silent: nothing came for {SILENCE_S:g} s. It crashed, froze or lost its network"
            return self._leave(self._lost(what), now)
        return self._look_after_backend(now)

    def _look_after_backend(self, now: float) -> list[Action]:
        if not self.instance:
            if self._restarted_at is not None and now - self._restarted_at >= _ASK_EVERY_S:
                return self._leave(self._lost("its backend ended and was started anew"), now)
            # Whoever has a call says so within a moment. Its word, or the request, was lost with a connection.
            silent = self._retry_at is None and now - max(self._heard, self._asked) >= _ASK_AFTER_S
            return self._ask_again(now) if silent else []
        if self._in.bulk is not None:
            if self._in.bulk.is_stuck(now):
                what = f"no part of a long value came for {STUCK_S:g} s, although its backend is there"
                return self._leave(self._lost(what), now)
            if self._in.bulk.stalled(now):
                return self._ask_again(now)
        return self._beat(now) if now - self._spoke >= BEAT_S else []

    def _lost(self, what: str) -> CallLost:
        return CallLost(
            f"{self.target} is lost: {what}. The method may have run, partly, wholly or not at all. "
            "Call again if that does no harm."
        )

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
        return [self._cancel_message()]

    def took(self, cost: int, bulk: bool, now: float) -> list[Action]:
        """Take note that an item, or the arguments of a function, have been used."""
        self._in.use(cost, bulk)
        return self._beat_if_due(now) if self.state is State.RUNNING else []

    def returned(self, ask: int, parts: Sequence[bytes | memoryview], size: int, now: float) -> list[Action]:
        """Answer a question of the method: the function it called has returned."""
        return self._answer(Kind.RETURN, {"ask": ask}, parts, size, now)

    def raised(self, ask: int, meta: dict[str, Any], now: float) -> list[Action]:
        """Answer a question of the method: the function it called has raised; `meta` is as an ERROR carries it."""
        return self._answer(Kind.RAISED, {**meta, "ask": ask}, (), 0, now)

    def _answer(
        self, kind: Kind, meta: dict[str, Any], parts: Sequence[bytes | memoryview], size: int, now: float
    ) -> list[Action]:
        if self.state is not State.SENT and self.state is not State.RUNNING:
            return []
        self._questions -= 1
        self._out.put(kind, meta, parts, size)
        # The BEAT that names the backend may have been lost; then the answer waits for the next one.
        return self._flush(now) if self.instance else []

    def disconnected(self) -> None:
        """Take note that our own connection is down: silence says nothing about the backend."""
        self._away = True

    def reconnected(self, now: float) -> list[Action]:
        """The connection is back after a break: ask for what was said meanwhile."""
        self._away = False
        if self.state is State.DONE:
            return []
        self._heard, self._asked = now, now
        return self._beat(now, resend=True)

    def backend_restarted(self, now: float) -> list[Action]:
        """Take note that the backend that has the call, or the only one there is, was started anew.

        It is asked whether it knows the call. If it never said that it took it, it does so within a moment, or the one
        before it had it.
        """
        if self.state is State.SENT and self._restarted_at is None:
            self._restarted_at = now
            return self._beat(now, resend=True)
        return self._beat(now) if self.instance and self.state is not State.DONE else []

    def closed(self, reason: str) -> list[Action]:
        """Take note that the connection has ended for good."""
        if self.state is State.DONE:
            return []
        return self._fail(CallLost(f"{self.target} cannot be followed any more: {reason}"))

    def _beat(self, now: float, *, resend: bool = False) -> list[Action]:
        self._spoke = now
        meta = self._in.grants(now)
        if resend:
            meta["resend"] = True
        to = "control" if self.instance else "anyone"
        return [Send(to, self._out.uncounted(Kind.BEAT, meta))] if self.instance or resend else []

    def _beat_if_due(self, now: float) -> list[Action]:
        return self._beat(now) if self.instance and self._in.grant_is_due() else []

    def _ask_again(self, now: float) -> list[Action]:
        """Ask for what was lost on the way; of the whole module, as long as nobody has said who has the call."""
        if now - self._asked < _ASK_EVERY_S:
            return []
        self._asked = now
        return self._beat(now, resend=True)

    def _cancel_message(self) -> Send:
        # To all backends, as long as nobody has said who has the call; once more when that is known.
        to = "control" if self.instance else "anyone"
        return Send(to, self._out.uncounted(Kind.CANCEL, _NO_META))

    def _leave(self, error: LandbridgeError, now: float) -> list[Action]:
        """End for the caller now, and have the backend stop, too."""
        actions: list[Action] = [] if self._ended else [Ended(None, error)]
        self._ended = True
        if self.instance:
            self.state = State.DONE
            return [*actions, self._cancel_message(), Forget()]
        if self.state is not State.LEAVING:
            self.state, self._leaving_since = State.LEAVING, now
            actions.append(self._cancel_message())
        return actions

    def _forget_if_left(self) -> list[Action]:
        if self.state is State.LEAVING and not self.instance:
            return self._end(None, CallCancelled(self.target, "stopped"))
        return []

    def _fail(self, error: LandbridgeError) -> list[Action]:
        return self._end(None, error)

    def _end(self, frame: Room | None, error: LandbridgeError | None) -> list[Action]:
        self.state = State.DONE
        if self._ended:
            return [Forget()]
        self._ended = True
        return [Ended(frame, error), Forget()]
