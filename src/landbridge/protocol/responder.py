"""One call as the backend sees it.

::

    state       event                          next        what is done
    ----------  -----------------------------  ----------  ---------------------------------------------------
    RECEIVING   CALL with all arguments        RUNNING     run
    RECEIVING   CALL with a part of them       RECEIVING   BEAT, which grants the rest
    RECEIVING   PART, the last one             RUNNING     run
    RUNNING     ACCEPT_AFTER_S without result  RUNNING     BEAT: the call is accepted; then one each BEAT_S
    RUNNING     item                           RUNNING     ITEM as credit allows; more when credit is left
    RUNNING     result, error, end             FLUSHING    RESULT, ERROR or END as credit allows
    FLUSHING    all sent                       DONE
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

from collections.abc import Sequence
from enum import Enum
from typing import Any

from ..errors import CallLost, CallTimeout, LandbridgeError, Malformed, TooLarge, printable
from .actions import Action, Forget, Interrupt, More, Run, Send
from .caller import BEAT_S
from .failure import error_to_meta
from .messages import LABEL_LIMIT, MOST_PROGRESS, Kind, Message
from .stream import OVERHEAD, PART_BYTES, SMALLEST_WINDOW, VALUE_LIMIT, WINDOW, Incoming, Outgoing

__all__ = ["ACCEPT_AFTER_S", "CALLER_SILENCE_S", "CANCEL_GRACE_S", "Phase", "Responder"]

ACCEPT_AFTER_S = 0.05
"""A call that is answered within this time needs no BEAT of its own."""

CALLER_SILENCE_S = 60.0
"""Work is stopped when its caller, who beats each BEAT_S, has not been heard for this long."""

CANCEL_GRACE_S = 1.0
"""How long cancelled code may take to end before the caller is told that it has not ended yet."""

_NO_META: dict[str, Any] = {}


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
    """

    __slots__ = (
        "_accepted",
        "_answered",
        "_by_owner",
        "_deadline",
        "_heard",
        "_in",
        "_instance",
        "_interruptible",
        "_limit_s",
        "_moved",
        "_out",
        "_spoke",
        "_started",
        "_stop_since",
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
        arguments_limit: int = VALUE_LIMIT,
    ) -> None:
        self.target = target
        self.phase = Phase.RECEIVING
        self._instance = instance
        self._interruptible = interruptible
        self._limit_s = limit_s
        self._in = Incoming(WINDOW, arguments_limit, "arguments")
        self._out = Outgoing(0, PART_BYTES)
        self._started = self._heard = self._spoke = self._moved = 0.0
        self._deadline: float | None = None
        self._by_owner = False  # whose limit it is
        self._stop_since = 0.0
        self._accepted = self._answered = False

    @property
    def deadline(self) -> float | None:
        """When the call must have ended, on the driver's clock; None without a limit."""
        return self._deadline

    @property
    def held_bytes(self) -> int:
        """What is kept for this caller: arguments that are not complete, a value that waits for credit."""
        return self._in.held_bytes + self._out.held_bytes

    @property
    def holds(self) -> bool:
        """Whether `held_bytes` is more than 0."""
        return self._in.holds or self._out.waiting

    @property
    def may_produce(self) -> bool:
        """Whether a stream may produce its next item: nothing waits for credit."""
        return self.phase is Phase.RUNNING and not self._out.waiting

    def opened(self, message: Message, now: float) -> list[Action]:
        """Take in the request itself.

        Raises
        ------
        Malformed
            When it is not one.
        """
        granted = message.meta.get("granted", 0)
        if message.kind is not Kind.CALL or message.sequence != 0 or granted < SMALLEST_WINDOW:
            raise Malformed("a call does not begin with a CALL that grants a window")
        self._out = Outgoing(granted, min(PART_BYTES, granted // 2 - OVERHEAD))
        self._started = self._heard = self._spoke = self._moved = now
        limit = message.meta.get("timeout_s")
        if self._limit_s is not None and (limit is None or self._limit_s <= limit):
            limit, self._by_owner = self._limit_s, True
        if limit is not None:
            self._deadline = now + limit
        return self.received(message, now)

    def received(self, message: Message, now: float) -> list[Action]:
        """Take in a message of the caller."""
        if self.phase is Phase.DONE:
            return []
        self._heard = now
        if not self._in.in_order(message):
            return self.refuse(CallLost(f"A message to {self.target} was lost on the way. Call again."), now)
        try:
            return self._take_in(message, now)
        except LandbridgeError as error:
            return self.refuse(error, now)

    def _take_in(self, message: Message, now: float) -> list[Action]:
        if message.kind is Kind.CANCEL:
            return self._cancel("cancelled by its caller", now)
        granted = message.meta.get("granted")
        if granted is not None:
            self._out.grant(granted)
        if message.kind is Kind.BEAT:
            return self._flush(now)
        if message.kind not in (Kind.CALL, Kind.PART) or self.phase is not Phase.RECEIVING:
            raise Malformed(f"a {message.kind.name} has no place here")
        self._moved = now
        value = self._in.receive(message)
        if value is not None:
            self.phase = Phase.RUNNING
            return [Run(value.body)]
        return [self._beat(now)] if not self._accepted or self._in.grant_is_due() else []

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
            whole = self._out.at_once(Kind.RESULT, parts, size)
            if whole is not None:
                self.phase = Phase.DONE
                return [Send("inbox", whole), Forget()]
        actions = self._put(Kind.RESULT, parts, size, now)
        return actions if self.phase is not Phase.RUNNING else self._finish(actions)

    def finished(self, now: float) -> list[Action]:
        """The stream has no further items."""
        if self.phase is not Phase.RUNNING:
            return self.stopped(now)
        self._out.put(Kind.END, _NO_META, (), 0)
        return self._finish(self._flush(now))

    def failed(self, meta: dict[str, Any], now: float) -> list[Action]:
        """The method has ended with an error; `meta` is what an ERROR message carries."""
        if self.phase is not Phase.RUNNING:
            return self.stopped(now)
        # Behind the items that still wait for credit: the caller gets all that was produced before the error.
        self._out.put(Kind.ERROR, meta, (), 0)
        return self._finish(self._flush(now))

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
        first = [] if self._accepted else [self._beat(now)]
        return [*first, Send("inbox", [self._out.head(Kind.PROGRESS, meta)])]

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
            late = now - self._stop_since >= CANCEL_GRACE_S
            return self._cancelled("stopping" if self._interruptible else "running") if late else []
        if self._deadline is not None and now >= self._deadline and self.phase is not Phase.FLUSHING:
            error = CallTimeout(self.target, self._deadline - self._started, self._by_owner)
            return self._answer_and_stop(error_to_meta(error), "its time limit has passed", now)
        # Beats alone are not enough where nothing runs, and memory is held for whoever neither sends on nor takes.
        last = self._heard if self.phase is Phase.RUNNING else self._moved
        if now - last >= CALLER_SILENCE_S and self._accepted:
            self._answered = True
            return self._cancel("its caller has gone", now)
        # Items that go out do not put off the first BEAT: without it the caller could not cancel.
        due = self._spoke + BEAT_S if self._accepted else self._started + ACCEPT_AFTER_S
        return [self._beat(now)] if now >= due else []

    def reconnected(self, now: float) -> None:
        """Take note that the connection is back: the caller's silence meanwhile says nothing about the caller."""
        self._heard = now

    def shut_down(self, now: float) -> list[Action]:
        """End the call because the backend stops."""
        error = CallLost(
            f"The backend of {self.target} was stopped while the call ran. Call again: another may serve it."
        )
        return self.refuse(error, now)

    def _put(self, kind: Kind, parts: Sequence[bytes | memoryview], size: int, now: float) -> list[Action]:
        if self.phase is not Phase.RUNNING:
            return self.stopped(now) if kind is Kind.RESULT else []
        if size > VALUE_LIMIT:
            advice = "Return less: a selection or a reduction, or a generator that yields it in pieces"
            return self._answer_and_stop(
                error_to_meta(TooLarge(f"The result of {self.target}", size, VALUE_LIMIT, advice)), "too large", now,
                still_runs=kind is Kind.ITEM,
            )  # fmt: skip
        self._out.put(kind, _NO_META, parts, size)
        return self._flush(now)

    def _flush(self, now: float) -> list[Action]:
        if self.phase is Phase.STOPPING:
            return []
        waited = self._out.waiting
        actions: list[Action] = [Send("inbox", parts) for parts in self._out.take()]
        if actions:
            self._spoke = self._moved = now
        if self._out.waiting:
            # The caller can grant more only when it knows whom to tell. Behind the parts, as its number says.
            return actions if self._accepted else [*actions, self._beat(now)]
        if self.phase is Phase.FLUSHING:
            self.phase = Phase.DONE
            actions.append(Forget())
        elif waited and self.phase is Phase.RUNNING:
            actions.append(More())
        return actions

    def _finish(self, actions: list[Action]) -> list[Action]:
        actions = [action for action in actions if not isinstance(action, More)]
        self.phase = Phase.FLUSHING if self._out.waiting else Phase.DONE
        return actions if self._out.waiting else [*actions, Forget()]

    def _cancel(self, reason: str, now: float) -> list[Action]:
        if self.phase is Phase.STOPPING:
            return []
        if self.phase is not Phase.RUNNING:
            return self.stopped(now)
        self.phase, self._stop_since = Phase.STOPPING, now
        self._out.drop()
        return [Interrupt(reason)]

    def _cancelled(self, state: str) -> list[Action]:
        if self._answered:
            return []
        self._answered = True
        return [Send("inbox", [self._out.head(Kind.CANCELLED, {"state": state})])]

    def _answer_and_stop(
        self, meta: dict[str, Any], reason: str, now: float, *, still_runs: bool = True
    ) -> list[Action]:
        actions: list[Action] = []
        self._out.drop()
        if not self._answered:
            self._answered = True
            actions.append(Send("inbox", [self._out.head(Kind.ERROR, meta)]))
        if self.phase is Phase.RUNNING and still_runs:
            self.phase, self._stop_since = Phase.STOPPING, now
            return [*actions, Interrupt(reason)]
        if self.phase is Phase.STOPPING:
            return actions
        self.phase = Phase.DONE
        return [*actions, Forget()]

    def _beat(self, now: float) -> Send:
        self._accepted, self._spoke = True, now
        meta = {"instance": self._instance, "granted": self._in.grant()}
        return Send("inbox", [self._out.head(Kind.BEAT, meta)])


def _plain(number: float) -> float:
    # Counters that came out of arrays are NumPy scalars, which msgpack does not know.
    return number if type(number) in (int, float) else float(number)
