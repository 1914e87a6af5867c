"""One call as the backend sees it.

::

    state       event                          next        what is done
    ----------  -----------------------------  ----------  ---------------------------------------------------
    RECEIVING   CALL with all arguments        RUNNING     run
    RECEIVING   CALL that announces them       RECEIVING   BEAT, which grants their parts
    RECEIVING   PART, the last one             RUNNING     run
    RUNNING     ACCEPT_AFTER_S without result  RUNNING     BEAT: the call is accepted; then one each BEAT_S
    RUNNING     its owner is asked             RUNNING     BEAT: what came of it waits for approval
    RUNNING     item                           RUNNING     ITEM as credit allows; more when credit is left
    RUNNING     result, error, end             FLUSHING    RESULT, ERROR or END as credit allows
    FLUSHING    all sent                       DONE        (what was sent is kept for a caller who missed it)
    any         BEAT that misses something     same        what it misses, and a BEAT
    any         CANCEL before it ran           DONE        CANCELLED: stopped
    RUNNING     CANCEL                         STOPPING    interrupt
    RUNNING     time limit                     STOPPING    ERROR: timeout; interrupt
    RUNNING     caller silent or gone          STOPPING    interrupt
    STOPPING    the code has ended             DONE        CANCELLED: stopped
    STOPPING    CANCEL_GRACE_S passed          STOPPING    CANCELLED: stopping or running, said once

The driver keeps a machine until `Forget`; only the end of the code itself ends STOPPING, so that a place in the
queue is never given away while code still runs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import Enum
from typing import Any

from ..errors import CallLost, CallTimeout, LandbridgeError, Malformed, printable
from .actions import Action, Forget, Interrupt, More, OpenLane, Returned, Run, Send
from .bulk import PART_BYTES, Room
from .caller import BEAT_S, SILENCE_S
from .failure import error_to_meta, meta_to_error
from .messages import LABEL_LIMIT, LOG_LIMIT, MOST_PROGRESS, UNCOUNTED, Kind, Message
from .stream import OVERHEAD, SMALLEST_WINDOW, WINDOW, Incoming, Outgoing, Value

__all__ = ["ACCEPT_AFTER_S", "CALLER_SILENCE_S", "CANCEL_GRACE_S", "KEPT_S", "Phase", "Responder"]

ACCEPT_AFTER_S = 0.05
"""A call that is answered within this time needs no BEAT of its own."""

CALLER_SILENCE_S = 60.0
"""Work is stopped when its caller, who beats each BEAT_S, has not been heard for this long."""

KEPT_S = 300.0
"""A result that its caller does not take, or may have missed, is kept for this long."""

CANCEL_GRACE_S = 1.0
"""How long cancelled code may take to end before the caller is told that it has not ended yet."""

_NO_META: dict[str, Any] = {}
_PLACE_S = 1.0
_ASK_EVERY_S = 1.0


class Phase(Enum):
    """States of a call at the backend; see the table above."""

    RECEIVING = "receiving"
    RUNNING = "running"
    FLUSHING = "flushing"
    STOPPING = "stopping"
    DONE = "done"


class Responder:
    """The machine of one call at the backend. Each method takes an event and returns what is to be done.

    Parameters
    ----------
    target : str
        ``institute/module.method``, for errors.
    instance : str
        Id of this backend, told to the caller so that it can address it.
    interruptible : bool
        Whether the method's code can be stopped from outside (a coroutine can, a thread cannot).
    limit_s : float, optional
        The owner's own time limit for the method.
    arguments_limit : int
        Largest arguments taken, in bytes.
    cancel_grace_s : float
        How long cancelled code may take to end before the caller is told that it has not ended.
    make_room : callable
        Gives memory for arguments that come in parts; see `BulkIn`.
    is_full : callable, optional
        Whether our own line is full; see `Outgoing`.
    """

    __slots__ = (
        "_accepted",
        "_answered",
        "_approval",
        "_asked",
        "_by_owner",
        "_cancel_grace_s",
        "_deadline",
        "_heard",
        "_in",
        "_instance",
        "_interruptible",
        "_limit_s",
        "_moved",
        "_place",
        "_place_told",
        "_questions",
        "_spoke",
        "_started",
        "_stop_since",
        "extras",
        "out",
        "outcome",
        "phase",
        "target",
    )

    def __init__(
        self,
        target: str,
        instance: str,
        *,
        interruptible: bool,
        limit_s: float | None = None,
        arguments_limit: int = 1 << 40,
        cancel_grace_s: float = CANCEL_GRACE_S,
        make_room: Callable[[int], Room] = bytearray,
        is_full: Callable[[str], bool] | None = None,
    ) -> None:
        self.target = target
        self.phase = Phase.RECEIVING
        # What the caller was told: "ok" or the code of an error; empty until then.
        self.outcome = ""
        self._instance = instance
        self._interruptible = interruptible
        self._limit_s = limit_s
        self._cancel_grace_s = cancel_grace_s
        self._in = Incoming(WINDOW, arguments_limit, "arguments", make_room)
        self.out = Outgoing(0, PART_BYTES, is_full)
        # Those that its caller has not answered; made for the first one.
        self._questions: set[int] | tuple[()] = ()
        self._asked = -_ASK_EVERY_S
        self.extras: dict[str, Any] = _NO_META
        self._place = 0
        self._place_told = 0.0
        self._started = self._heard = self._spoke = self._moved = 0.0
        self._deadline: float | None = None
        self._by_owner = False  # whose limit it is
        self._stop_since = 0.0
        self._accepted = self._answered = self._approval = False

    @property
    def deadline(self) -> float | None:
        """When the call must have ended, on the driver's clock; None without a limit."""
        return self._deadline

    @property
    def held_bytes(self) -> int:
        """What is kept for this caller: arguments that are not complete, a value that has not arrived."""
        return self._in.held_bytes + self.out.held_bytes

    @property
    def holds(self) -> bool:
        """Whether `held_bytes` may be more than 0."""
        return self._in.holds or self.out.holds

    def is_awaited(self, now: float) -> bool:
        """Whether its caller waits for it: has not been answered, and was heard as lately as callers are."""
        return not self._answered and now - self._heard < SILENCE_S

    @property
    def is_accepted(self) -> bool:
        """Whether its caller knows who runs it."""
        return self._accepted

    @property
    def receives_bulk(self) -> bool:
        """Whether parts of arguments are expected."""
        return self._in.receives_bulk

    @property
    def moves_bulk(self) -> bool:
        """Whether a long value is under way, in either direction."""
        return self._in.receives_bulk or self.out.bulk is not None

    @property
    def may_produce(self) -> bool:
        """Whether a stream may produce its next item: nothing waits for credit."""
        return self.phase is Phase.RUNNING and not self.out.waiting

    def opened(self, message: Message, now: float) -> list[Action]:
        """Take in the request itself.

        Raises
        ------
        Malformed
            When it is not one.
        TooLarge
            When its arguments are larger than the limit; nothing was allocated for them.
        """
        granted = message.meta.get("granted", 0)
        if message.kind is not Kind.CALL or message.sequence != 0 or granted < SMALLEST_WINDOW:
            raise Malformed("a call does not begin with a CALL that grants a window")
        self.out.begin(granted, min(PART_BYTES, granted // 2 - OVERHEAD))
        self._started = self._heard = self._spoke = self._moved = now
        self._in.order(message)
        self.extras = message.meta
        limit = message.meta.get("timeout_s")
        if self._limit_s is not None and (limit is None or self._limit_s <= limit):
            limit, self._by_owner = self._limit_s, True
        if limit is not None:
            self._deadline = now + limit
        return self._take_in(message, now)

    def received(self, message: Message, now: float) -> list[Action]:
        """Take in a message of the caller."""
        if self.phase is Phase.DONE:
            return []
        self._heard = now
        try:
            if message.kind is Kind.PART:
                return self._take_part(message, now) if self.phase is not Phase.STOPPING else []
            order = self._in.order(message)
            if order < 0 and message.kind not in UNCOUNTED:
                return []  # it came twice
            if order > 0:
                first = self._take_in(message, now) if message.kind in UNCOUNTED else []
                done = bool(first) and isinstance(first[-1], Forget)
                return first if done else [*first, *self._ask_again(now)]
            return self._take_in(message, now)
        except LandbridgeError as error:
            return self.refuse(error, now)

    def _take_in(self, message: Message, now: float) -> list[Action]:
        kind = message.kind
        if kind is Kind.CANCEL:
            return self._cancel("cancelled by its caller", now)
        if kind is Kind.BEAT:
            return self._beaten(message.meta, now)
        if kind is Kind.CALL and message.sequence == 0 and self.phase is Phase.RECEIVING:
            pass  # the request itself
        elif kind not in (Kind.RETURN, Kind.RAISED) or self.phase is Phase.RECEIVING:
            raise Malformed(f"a {kind.name} has no place here")
        elif self.phase is Phase.STOPPING:
            return []  # an answer that nobody waits for
        self._moved = now
        actions = self._hand_on(self._in.receive(message, now))
        if self._in.receives_bulk:
            if not self._in.lane_open:
                return [*actions, OpenLane()]
            return [*actions, self._beat(now)]
        return [*actions, self._beat(now)] if self._in.grant_is_due() else actions

    def _take_part(self, message: Message, now: float) -> list[Action]:
        values = self._in.part(message, now)
        if values is None:
            return self._ask_again(now)
        self._moved = now
        actions = self._hand_on(values)
        # Also once all is here: the caller may let go of it.
        return [*actions, self._beat(now)] if actions or self._in.grant_is_due() else actions

    def _hand_on(self, values: list[Value]) -> list[Action]:
        actions: list[Action] = []
        for kind, meta, body, cost, bulk in values:
            self._in.use(cost, bulk)
            if kind is Kind.CALL:
                self.phase = Phase.RUNNING
                actions.append(Run(body))
            elif self.phase is Phase.RUNNING and self._is_asked(meta.get("ask", 0)):
                error = meta_to_error(meta, "a function of the caller") if kind is Kind.RAISED else None
                actions.append(Returned(meta.get("ask", 0), None if error else body, error))
        return actions

    def _is_asked(self, ask: int) -> bool:
        """Whether the method waits for the answer to this question; each is answered once."""
        if isinstance(self._questions, tuple) or ask not in self._questions:
            return False
        self._questions.discard(ask)
        return True

    def _beaten(self, meta: dict[str, Any], now: float) -> list[Action]:
        again = self.out.heard(meta, now)
        actions: list[Action] = [Send("inbox", parts) for parts in again]
        if meta.get("resend"):
            # It may be what was missed that this call is known here at all.
            actions.append(self._beat(now))
        # Last, because it may be the end.
        return [*actions, *self._flush(now)]

    def _ask_again(self, now: float) -> list[Action]:
        if now - self._asked < _ASK_EVERY_S:
            return []
        self._asked = now
        return [self._beat(now, resend=True)]

    def lane_opened(self, now: float, largest_window: int) -> list[Action]:
        """Take note that the lane for long values is open, for the first time or again after a break."""
        if self.phase is Phase.DONE:
            return []
        actions: list[Action] = []
        first, self._in.lane_open = not self._in.lane_open, True
        if self._in.receives_bulk:
            self.share_lane(largest_window)
            actions.append(self._beat(now, resend=not first))
        if self.out.bulk is not None:
            self.out.bulk.again()
            actions.extend(self._flush(now))  # last, because it may be the end
        return actions

    def share_lane(self, largest_window: int) -> None:
        """Take note how much of the lane this call may fill."""
        if self._in.bulk is not None:
            self._in.bulk.largest_window = largest_window

    def waits(self, place: int, now: float) -> list[Action]:
        """Tell the caller at which place of the queue the call waits; 0 when its code runs. Not told too often."""
        if place == self._place or not self._accepted or self.phase is not Phase.RUNNING:
            self._place = place
            return []
        if place and now - self._place_told < _PLACE_S:
            return []
        self._place, self._place_told = place, now
        return [self._beat(now)]

    def awaits_approval(self, now: float) -> list[Action]:
        """Tell the caller that what came of the call waits until the module's owner has accepted it.

        The owner's time limit is one for the method, which has ended; that of the caller goes on.
        """
        if self.phase is not Phase.RUNNING:
            return []
        self._approval = True
        if self._by_owner:
            limit, self._by_owner = self.extras.get("timeout_s"), False
            self._deadline = None if limit is None else self._started + limit
        return [self._beat(now)]

    def line_has_room(self, now: float) -> list[Action]:
        """Take note that our own line is no longer full: what was held back may go."""
        self.out.held_back = ""
        return self._flush(now) if self.phase in (Phase.RUNNING, Phase.FLUSHING) else []

    def refuse(self, error: LandbridgeError, now: float) -> list[Action]:
        """Answer with an error, unless an answer went out before, and stop the call if it runs."""
        if self.phase is Phase.DONE:
            return []
        return self._answer_and_stop(error_to_meta(error), error.code, now)

    def item(self, parts: Sequence[bytes | memoryview], size: int, now: float) -> list[Action]:
        """Send one item of a stream."""
        return self._put(Kind.ITEM, parts, size, now)

    def result(self, parts: Sequence[bytes | memoryview], size: int, now: float) -> list[Action]:
        """Send the value and be done."""
        if self.phase is Phase.RUNNING:
            whole = self.out.at_once(Kind.RESULT, parts, size)
            if whole is not None:
                self.phase, self.outcome = Phase.DONE, "ok"
                return [Send("inbox", whole), Forget()]
        actions = self._put(Kind.RESULT, parts, size, now)
        return actions if self.phase is not Phase.RUNNING else self._finish(actions, "ok")

    def finished(self, now: float) -> list[Action]:
        """The stream has no further items."""
        if self.phase is not Phase.RUNNING:
            return self.stopped(now)
        self.out.put(Kind.END, _NO_META, (), 0)
        return self._finish(self._flush(now), "ok")

    def failed(self, meta: dict[str, Any], now: float) -> list[Action]:
        """The method has ended with an error; `meta` is what an ERROR message carries."""
        if self.phase is not Phase.RUNNING:
            return self.stopped(now)
        # Behind the items that still wait for credit: the caller gets all that was produced before the error.
        self.out.put(Kind.ERROR, meta, (), 0)
        return self._finish(self._flush(now), meta["code"])

    def progress(self, done: float, total: float | None, label: str, now: float) -> list[Action]:
        """Tell the caller how far the method is; numbers that cannot be meant (NaN, below zero) are not told."""
        if self.phase is not Phase.RUNNING or not 0 <= done <= MOST_PROGRESS:
            return []
        meta: dict[str, Any] = {"done": _plain(done)}
        if total is not None and 0 <= total <= MOST_PROGRESS:
            meta["total"] = _plain(total)
        if label:
            meta["label"] = printable(label, LABEL_LIMIT)
        self._spoke = now
        return [*self._accept(now), Send("inbox", self.out.uncounted(Kind.PROGRESS, meta))]

    def log(self, stream: str, text: str, now: float) -> list[Action]:
        """Send what the method wrote."""
        if self.phase is not Phase.RUNNING:
            return []
        self._spoke = now
        meta = {"stream": printable(stream, 16), "text": printable(text, LOG_LIMIT)}
        return [*self._accept(now), Send("inbox", self.out.uncounted(Kind.LOG, meta))]

    def invoke(
        self, function: int, ask: int, parts: Sequence[bytes | memoryview], size: int, now: float
    ) -> list[Action]:
        """Ask the caller to call a function that it gave."""
        if self.phase is not Phase.RUNNING:
            return []
        if isinstance(self._questions, tuple):
            self._questions = set()
        self._questions.add(ask)
        self.out.put(Kind.INVOKE, {"function": function, "ask": ask}, parts, size)
        # It can only answer whom it knows.
        return [*self._accept(now), *self._flush(now)]

    def _accept(self, now: float) -> list[Action]:
        return [] if self._accepted else [self._beat(now)]

    def stopped(self, now: float) -> list[Action]:
        """The method's code has ended after an interrupt."""
        if self.phase is Phase.DONE:
            return []
        self.phase = Phase.DONE
        return [*self._cancelled("stopped"), Forget()]

    def tick(self, now: float) -> list[Action]:
        """Let time pass; to be called some twenty times a second while calls run."""
        if self.phase is Phase.DONE:
            return []
        if self.phase is Phase.STOPPING:
            late = now - self._stop_since >= self._cancel_grace_s
            return self._cancelled("stopping" if self._interruptible else "running") if late else []
        if self._deadline is not None and now >= self._deadline and self.phase is not Phase.FLUSHING:
            error = CallTimeout(self.target, self._deadline - self._started, self._by_owner)
            return self._answer_and_stop(error_to_meta(error), "its time limit has passed", now)
        # Beats alone are not enough where nothing runs, and memory is held for whoever neither sends on nor takes.
        last = self._heard if self.phase is Phase.RUNNING else self._moved
        if now - last >= (KEPT_S if self.phase is Phase.FLUSHING else CALLER_SILENCE_S) and self._accepted:
            self._answered, self.outcome = True, "lost"
            return self._cancel("its caller has gone", now)
        if self._in.bulk is not None and self._in.bulk.stalled(now):
            return self._ask_again(now)
        # Items that go out do not put off the first BEAT: without it the caller could not cancel.
        due = self._spoke + BEAT_S if self._accepted else self._started + ACCEPT_AFTER_S
        return [self._beat(now)] if now >= due else []

    def reconnected(self, now: float) -> list[Action]:
        """Take note that the connection is back: the caller's silence meanwhile says nothing about the caller.

        What was sent last may not have arrived; the number of a BEAT shows the caller whether it misses anything.
        """
        self._heard = now
        return [self._beat(now, resend=True)] if self._accepted and self.phase is not Phase.DONE else []

    def shut_down(self, now: float) -> list[Action]:
        """End the call because the backend stops."""
        error = CallLost(
            f"The backend of {self.target} was stopped while the call ran. Call again: another may serve it."
        )
        return self.refuse(error, now)

    def _put(self, kind: Kind, parts: Sequence[bytes | memoryview], size: int, now: float) -> list[Action]:
        if self.phase is not Phase.RUNNING:
            return self.stopped(now) if kind is Kind.RESULT else []
        self.out.put(kind, _NO_META, parts, size)
        return self._flush(now)

    def _flush(self, now: float) -> list[Action]:
        if self.phase is Phase.STOPPING:
            return []
        waited = self.out.waiting
        actions: list[Action] = [Send("inbox", parts) for parts in self.out.take()]
        bulk = self.out.bulk
        if bulk is not None and self._in.lane_open:
            actions.extend(Send("lane", parts) for parts in self.out.take_bulk(now))
        if actions:
            self._spoke = self._moved = now
        if bulk is not None and bulk.waiting and not self._in.lane_open:
            actions.append(OpenLane())
        if self.out.waiting:
            # The caller can grant more only when it knows whom to tell. Behind the parts, as its number says.
            return actions if self._accepted else [*actions, self._beat(now)]
        if self.phase is Phase.FLUSHING:
            self.phase = Phase.DONE
            actions.append(Forget())
        elif waited and self.phase is Phase.RUNNING:
            actions.append(More())
        return actions

    def _finish(self, actions: list[Action], outcome: str) -> list[Action]:
        self.outcome = outcome
        actions = [action for action in actions if not isinstance(action, More)]
        self.phase = Phase.FLUSHING if self.out.waiting else Phase.DONE
        return actions if self.out.waiting else [*actions, Forget()]

    def _cancel(self, reason: str, now: float) -> list[Action]:
        if self.phase is Phase.STOPPING:
            return []
        self.out.drop()
        self._in.drop()
        if self.phase is not Phase.RUNNING:
            return self.stopped(now)
        self.phase, self._stop_since = Phase.STOPPING, now
        return [Interrupt(reason)]

    def _cancelled(self, state: str) -> list[Action]:
        if self._answered:
            return []
        self._answered, self.outcome = True, "cancelled"
        return [Send("inbox", self.out.counted(Kind.CANCELLED, {"state": state}))]

    def _answer_and_stop(self, meta: dict[str, Any], reason: str, now: float) -> list[Action]:
        actions: list[Action] = []
        self.out.drop()
        self._in.drop()
        if not self._answered:
            self._answered, self.outcome = True, meta["code"]
            actions.append(Send("inbox", self.out.counted(Kind.ERROR, meta)))
        if self.phase is Phase.RUNNING:
            self.phase, self._stop_since = Phase.STOPPING, now
            return [*actions, Interrupt(reason)]
        if self.phase is Phase.STOPPING:
            return actions
        self.phase = Phase.DONE
        return [*actions, Forget()]

    def _beat(self, now: float, *, resend: bool = False) -> Send:
        self._accepted, self._spoke = True, now
        meta = {"instance": self._instance, **self._in.grants(now)}
        if self._place:
            meta["place"] = self._place
        if self._approval:
            meta["approval"] = True
        if resend:
            meta["resend"] = True
        return Send("inbox", self.out.uncounted(Kind.BEAT, meta))


def _plain(number: float) -> float:
    # Counters that came out of arrays are NumPy scalars, which msgpack does not know.
    return number if type(number) in (int, float) else float(number)
