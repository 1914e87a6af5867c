"""One call that is being served: drives its `Responder`, runs its method, sends its answers."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from .. import wire
from ..errors import Busy, InternalError, LandbridgeError, PermissionDenied
from ..protocol import (
    Action,
    Forget,
    Interrupt,
    Message,
    More,
    OpenLane,
    Phase,
    Responder,
    Returned,
    Run,
    Send,
    error_to_meta,
)
from ..security import Caller, Rule
from ..tracing import TraceContext
from .admission import Admission
from .context import CurrentCall
from .logs import call_fields
from .metrics import Counts
from .offer import Served
from .office import Held, Office
from .quotas import Ration
from .runner import Runner, Running, Style
from .running import Keep
from .squeezing import squeezing_for
from .usage import RETRY_S, Usage

__all__ = ["ServedCall"]

Parts = Sequence[bytes | memoryview]

_log = logging.getLogger(__name__)
_DESCRIBE_LIMIT = 4096
"""Largest arguments of a request to describe, in bytes: anybody may ask, so it must cost little."""

_PROGRESS_S = 0.1
"""Progress is told at most this often, in seconds."""

_BEFORE_IT_RAN = frozenset({"invalid_arguments", "denied", "malformed"})
"""Codes of errors with the arguments, which the caller has: they tell nothing of what its owner has."""


class ServedCall:
    """One call at the backend; also the `Sink` of the method that runs for it.

    Parameters
    ----------
    target : str
        ``institute/module.method``.
    instance : str
        Id of this backend.
    served : Served or None
        What is called; None when the module is asked to describe itself.
    caller : Caller
        Who calls.
    call_id : str
        Id of the call.
    usage : Usage
        What the caller takes up; bytes that are held for this call are counted there.
    counts : Counts
        What is counted of the method.
    trace : TraceContext or None
        The caller's place in a trace.
    runner : Runner
        What runs the method.
    office : Office
        The backend.
    loop : asyncio.AbstractEventLoop
        The one that all of this runs in.
    reply : str
        The inbox of the call.
    at_end : callable or None
        Told the outcome when nothing will happen any more.
    keep : callable or None
        Takes the value where it stays here, and returns what goes to the caller instead.
    ration : Ration or None
        What it uses of what a rule allows.
    why : str
        Why it may run.
    approve : bool
        Whether its owner has to accept what comes of it, unless its arguments keep a rule that does not say so.
    shows : bool
        Whether its arguments are to be shown to its owner.

    Attributes
    ----------
    held : Held or None
        What came of it, while it waits for its owner.
    shown : dict of str to object or None
        What its owner is shown of the arguments, once they were decoded.
    verdict : dict of str to str
        What he has decided, and when, as it is written down.
    lane_reply : str
        Where the caller last said that it takes parts of long values.
    arguments_bytes : int
        Size of the arguments, once they are whole.
    arguments_held : int
        What of them is held: all, until the call has ended or waits for its owner.
    has_ended : bool
        Whether nothing will happen any more.
    """

    __slots__ = (
        "_always_approve",
        "_approve",
        "_approved",
        "_asked_at",
        "_at_end",
        "_began",
        "_entered",
        "_frame",
        "_held",
        "_holds",
        "_keep",
        "_keeping",
        "_keeps_late",
        "_last_progress",
        "_loop",
        "_office",
        "_runner",
        "_running",
        "_served",
        "_shows",
        "_trace",
        "_turn_at",
        "arguments_bytes",
        "arguments_digest",
        "arguments_held",
        "bytes_out",
        "call_id",
        "caller",
        "counts",
        "has_ended",
        "held",
        "lane_reply",
        "ration",
        "reply",
        "responder",
        "shown",
        "usage",
        "verdict",
        "why",
    )

    def __init__(
        self,
        target: str,
        instance: str,
        served: Served | None,
        caller: Caller,
        call_id: str,
        *,
        usage: Usage,
        counts: Counts,
        trace: TraceContext | None,
        runner: Runner,
        office: Office,
        loop: asyncio.AbstractEventLoop,
        reply: str,
        at_end: Callable[[str], object] | None = None,
        keep: Keep | None = None,
        ration: Ration | None = None,
        why: str = "",
        approve: bool = False,
        shows: bool = False,
    ) -> None:
        self._keep = keep
        self._keeps_late = self._keeping = self._approved = False
        self._asked_at = 0.0
        self._approve, self._shows = approve, shows or approve
        self._always_approve = False
        self.held: Held | None = None
        self.shown: dict[str, Any] | None = None
        self.verdict: dict[str, str] = {}
        self.ration, self.why = ration, why
        self.bytes_out = 0
        self.arguments_digest = ""
        self.caller = caller
        self.responder = Responder(
            target,
            instance,
            interruptible=served is not None and (served.process or served.style is not Style.FUNCTION),
            limit_s=served.timeout_s if served is not None else None,
            arguments_limit=usage.limit_bytes if served is not None else _DESCRIBE_LIMIT,
            make_room=wire.room,
            is_full=office.is_full,
        )
        self._served = served
        self.call_id = call_id
        self.usage = usage
        self._office = office
        self.reply = reply
        self.lane_reply = ""
        self._loop = loop
        self.counts = counts
        self._began = self._loop.time()
        self._trace = trace.child(secrets.token_hex(8)) if trace is not None else None
        self._runner = runner
        self._running: Running | None = None
        self._at_end = at_end
        # The arguments, while they wait for a turn, and how many admissions have let them in.
        self._frame: memoryview | bytearray | None = None
        self._entered = 0
        self._turn_at = 0.0
        self.arguments_bytes = self.arguments_held = 0
        self.has_ended = False
        self._held: list[int] = []
        self._holds = False
        self._last_progress = 0.0

    def act(self, actions: Sequence[Action]) -> None:
        """Do what the machine asks for; what goes wrong ends this call, and nothing else."""
        try:
            self._act(actions)
        except Exception as error:
            self._broken(error)

    def received(self, message: Message, now: float) -> None:
        """Take in a message of the caller."""
        try:
            self._act(self.responder.received(message, now))
        except Exception as error:
            self._broken(error)
        if rate := self.responder.out.measured():
            self.usage.learn_rate(rate)

    def _broken(self, error: BaseException) -> None:
        incident, responder = secrets.token_hex(4), self.responder
        _log.error("incident %s: a call of %s could not be served", incident, responder.target, exc_info=error)
        text = f"{responder.target} could not be run: {type(error).__name__} at its backend (incident {incident})."
        failure, now = InternalError(text, incident), self._loop.time()
        if self._running is None and responder.phase is Phase.RUNNING:
            self._act(responder.failed(error_to_meta(failure), now))  # no code runs that could end it
        else:
            self._act(responder.refuse(failure, now))
        if responder.phase is Phase.DONE:
            self._end()

    def _end(self) -> None:
        self.has_ended = True
        self._note_shown()
        self.held = None
        self._running = None  # it knows us, too; so both can go at once
        self._leave()
        self._office.forget(self)

    def _act(self, actions: Sequence[Action]) -> None:
        for action in actions:
            if type(action) is Send:
                if action.to == "inbox":
                    self._office.publish(self.reply, action.parts)
                else:
                    self._office.publish_part(self.lane_reply, action.parts)
            elif type(action) is Run:
                self._run(action.frame)
            elif type(action) is Forget:
                self._end()
            elif type(action) is Interrupt:
                self._withdraw()
                if self._running is None or self._running.interrupt():
                    self.act(self.responder.stopped(self._loop.time()))
            elif type(action) is More:
                self._release()
            elif type(action) is Returned:
                if action.frame is not None:
                    self.counts.bytes_in += len(action.frame)
                if self._running is not None:
                    self._running.answered(action.ask, action.frame, action.error)
            elif type(action) is OpenLane:
                self._office.open_lane(self)
        if self.responder.out.held_back:
            self._office.wait_for_room(self, self.responder.out.held_back)
        waits = self.held is not None
        if (self._holds or waits or self.responder.holds) and self.responder.phase is not Phase.DONE:
            held = self.responder.held_bytes + (self.held.size if self.held is not None else 0)
            self._holds = held > 0
            if not self.usage.hold(self.call_id, held) and held:
                reason = f"more than {self.usage.limit_bytes:,} bytes are held for {self.caller} at once"
                retry_s = RETRY_S if self.responder.phase is Phase.RECEIVING else None  # otherwise it has run
                self.act(self.responder.refuse(Busy(self.responder.target, reason, retry_s), self._loop.time()))

    @property
    def style(self) -> Style:
        """How its method is run; describing a module is a plain function."""
        return self._served.style if self._served is not None else Style.FUNCTION

    @property
    def member(self) -> str | None:
        """What of the module is called; None for what was kept, and for the question what there is."""
        return None if self._served is None or self._served.member == "" else self._served.member

    @property
    def waits(self) -> bool:
        """Whether its method's code has not begun: it waits for its turn, or for the rest of the arguments."""
        begun = self._asked_at or (self._running is not None and self._running.begun)
        return not begun and self.responder.phase in (Phase.RECEIVING, Phase.RUNNING)

    @property
    def needs_approval(self) -> bool:
        """Whether its owner has to accept what comes of it, by what is known so far."""
        return self._approve if self._running is None else self._running.held

    def seconds(self, now: float) -> float:
        """Return how long the call has taken so far, or took before its owner was asked."""
        return (self._asked_at or now) - self._began

    def ended(self) -> None:
        """Count and log the end of the call: nothing will happen any more."""
        seconds, outcome = self.seconds(self._loop.time()), self.responder.outcome
        self.counts.end(outcome, seconds)
        if self._at_end is not None:
            self._at_end(outcome)
        if _log.isEnabledFor(logging.DEBUG):
            fields = {**call_fields(self._current(None)), "outcome": outcome, "seconds": round(seconds, 6)}
            _log.debug(
                "%s for %s: %s after %.3f s (call %s)",
                self.responder.target, self.caller, outcome, seconds, self.call_id,
                extra={"call_fields": fields},
            )  # fmt: skip

    def _current(self, deadline: datetime | None) -> CurrentCall:
        responder = self.responder
        wants_log = bool(responder.extras.get("logs"))
        return CurrentCall(
            responder.target, str(self.caller), self.call_id, deadline, self._report, wants_log, self._trace
        )

    def _run(self, frame: memoryview | bytearray) -> None:
        self.arguments_bytes = len(frame)
        self.arguments_held = self.arguments_bytes
        self.usage.held_bytes += self.arguments_held
        self.counts.bytes_in += self.arguments_bytes
        if self._served is None:
            self._answer_description(frame)
            return
        try:
            self._office.begins(self, frame)
        except Busy as error:
            self.act(self.responder.refuse(error, self._loop.time()))
            return
        if not self._served.admissions:
            self._begin(self._served, frame)
            return
        self._frame = frame
        self._enter(self._served)

    def _enter(self, served: Served) -> None:
        """Ask for the turns that are still needed, and run with all of them; `_take_turn` goes on with what waits."""
        for admission in served.admissions[self._entered :]:
            try:
                if not admission.enter(self.caller, self):
                    return
            except Busy as error:
                self.act(self.responder.refuse(error, self._loop.time()))
                return
            self._entered += 1
        frame, self._frame, self._turn_at = self._frame, None, self._loop.time()
        if frame is not None:
            self._begin(served, frame)

    def _take_turn(self) -> None:
        """Go on: one more admission has let it in."""
        try:
            self._entered += 1
            if self._served is not None:
                self._enter(self._served)
        except Exception as error:
            self._broken(error)

    def _waits_for(self) -> Admission[ServedCall] | None:
        """Return where it waits for a turn; None when it does not."""
        if self._served is None or self._frame is None or self._entered == len(self._served.admissions):
            return None
        return self._served.admissions[self._entered]

    def _withdraw(self) -> None:
        """Wait for a turn no longer."""
        admission = self._waits_for()
        if admission is not None:
            admission.withdraw(self)
        self._frame = None

    def _leave(self) -> None:
        """Give its turns to those who wait for them."""
        if self._served is None or not self._served.admissions:
            return
        self._withdraw()
        entered, self._entered = self._entered, 0
        seconds = self._loop.time() - (self._turn_at or self._began)
        for admission in self._served.admissions[:entered]:
            for call in admission.leave(self, seconds):
                call._take_turn()

    def look_after(self, now: float) -> None:
        """Let time pass."""
        try:
            if not self.responder.is_accepted:
                self.responder.waits(self._place(), now)
            self._act(self.responder.tick(now))
        except Exception as error:
            self._broken(error)

    def tell_place(self, now: float) -> None:
        """Tell the caller where in the queue its call is, if that has changed."""
        self.act(self.responder.waits(self._place(), now))

    def turn_away(self, error: LandbridgeError, now: float) -> None:
        """End the call with `error` if its code has not begun, and have it never begin."""
        if self.waits and (self._running is None or self._running.withdraw()):
            self.act(self.responder.refuse(error, now))

    def _place(self) -> int:
        admission = self._waits_for()
        if admission is not None:
            return admission.position(self)
        return self._runner.position(self._running) if self._running is not None else 0

    def _begin(self, served: Served, frame: memoryview | bytearray) -> None:
        responder, now = self.responder, self._loop.time()
        if responder.deadline is not None and now >= responder.deadline:
            self.act(responder.tick(now))  # its time is over: it never begins, even if nobody has looked at it since
            return
        deadline = None
        if responder.deadline is not None:
            deadline = datetime.now(UTC) + timedelta(seconds=responder.deadline - now)
        # A lease that ran while its owner is asked might be over when he has answered.
        self._keeps_late = self._keep is not None and (served.process or self._approve)
        codecs = responder.extras.get("codecs")
        self._running = Running(
            served.method,
            served.style,
            self._current(deadline),
            self,
            process=served.process,
            memory_limit=served.memory_limit,
            function=served.function,
            keep=None if self._keeps_late else self._keep,
            # What a worker gives to be kept is read here, and what its owner has to accept is, too.
            squeezing=None if self._keep or self._approve else squeezing_for(codecs, self._rate),
            rules=() if self.ration is None else self.ration.rules,
            held=self._approve,
            always_held=self._always_approve,
            counts=self._keeps_one_of,
            shows=self._shows,
        )
        self._runner.run(self._running, frame)

    def _keeps_one_of(self, rules: Sequence[Rule]) -> Rule:
        """Count the call under one of the rules that it keeps, in whatever thread its arguments are looked at."""
        rule = rules[0] if self.ration is None else self.ration.keep(rules, self._loop.time())
        if rule.approve:
            self._office.admits(self)
        return rule

    def _rate(self) -> float:
        return self.usage.bytes_per_s

    def _answer_description(self, frame: memoryview | bytearray) -> None:
        try:
            parts = self._office.describe(self.caller, wire.decode(frame))
        except LandbridgeError as error:
            self.failed(error_to_meta(error))
        else:
            self.result(parts, wire.size_bytes(parts))

    def _report(self, done: float, total: float | None, label: str) -> None:
        """Take what the method says of its progress, in whatever thread it runs."""
        if not self._may_tell:
            return
        # Decided here: a loop that says it at each step would keep the other thread busy with what is not told.
        now = self._loop.time()
        if now - self._last_progress >= _PROGRESS_S or done == total:
            self._last_progress = now
            self._runner.mailbox.post(self._progress, done, total, label)

    def _progress(self, done: float, total: float | None, label: str) -> None:
        self.act(self.responder.progress(done, total, label, self._loop.time()))

    @property
    def _may_tell(self) -> bool:
        """Whether anything may go to the caller before the call has ended, from threads that it may have left, too."""
        return self._running is not None and not self._running.held

    @property
    def _makes_object(self) -> bool:
        """Whether a constructor runs: of what it makes the caller gets a name, and nothing that is in it."""
        return self._served is not None and isinstance(self._served.method.function, type)

    def approve_from_now(self) -> None:
        """Have its owner accept what comes of it: he has changed his mind while it runs, or waits to.

        The rules that it was let in by may not say so, and it may keep one of them: that counts no more.
        """
        self._approve = self._always_approve = self._shows = True
        running = self._running
        if running is not None:
            running.always_held = running.shows = True
            if running.take_keep() is not None:
                self._keeps_late = True  # once he has accepted it

    def _hold(self, held: Held) -> bool:
        """Keep what came of the method until its owner has decided; False when he has, or nobody waits for it."""
        if self._running is None or self.responder.phase is not Phase.RUNNING:
            return False
        self._note_shown()
        self._running = None  # its code has ended
        self._leave()
        self.usage.held_bytes -= self.arguments_held  # nothing has them any more
        self.arguments_held = 0
        self.held, self._asked_at = held, self._loop.time()
        self.act(self.responder.awaits_approval(self._asked_at))
        if self.responder.phase is Phase.RUNNING:
            self._office.ask_owner(self)
        return True

    def _note_shown(self) -> None:
        if self._running is not None:
            self.shown = self._running.shown

    def let_go(self) -> None:
        """Send what came of the method: its owner has accepted it."""
        held, self.held = self.held, None
        if held is None:
            return
        self._approved = True
        if held.error is None:
            self.result(held.parts, held.size)
        else:
            self.failed(held.error)

    def _count_out(self, size: int) -> None:
        if self.responder.phase is Phase.RUNNING:  # what comes of a call that has been answered is not sent
            self.counts.bytes_out += size
            self.bytes_out += size

    def item(self, parts: Parts, size: int) -> None:
        """Send one item of a stream."""
        self._count_out(size)
        self._held.append(size)
        self.act(self.responder.item(parts, size, self._loop.time()))
        if self.responder.may_produce:
            self._release()

    def _release(self) -> None:
        if self._running is not None:
            for size in self._held:
                self._running.sent(size)
        self._held.clear()

    def result(self, parts: Parts, size: int) -> None:
        """Send the value."""
        if self.needs_approval and not self._makes_object and not self._approved:
            if self._keep is not None and (self._keeping or not self._keeps_late):
                self._refuse_unseen()
                return
            if self._hold(Held(parts, size, None)):
                return
        if self._keep is not None and self._keeps_late and not self._keeping:
            self._keeping = True
            try:
                self._loop.run_in_executor(None, self._keep_foreign, self._keep, parts)
            except RuntimeError as error:  # no thread is to be had
                self._not_kept(error)
            return
        self._count_out(size)
        self.act(self.responder.result(parts, size, self._loop.time()))

    def _keep_foreign(self, keep: Keep, parts: Parts) -> None:
        """Keep what a worker sent, and tell the caller; in a thread, because it is copied."""
        try:
            instead = wire.encode(keep(wire.decode(wire.joined(parts))))
        except LandbridgeError as error:
            self._runner.mailbox.post(self.failed, error_to_meta(error))
        except BaseException as error:  # no memory for the copy, say: nobody else would end the call
            self._runner.mailbox.post(self._not_kept, error)
        else:
            self._runner.mailbox.post(self.result, instead, wire.size_bytes(instead))

    def _not_kept(self, error: BaseException) -> None:
        self._note_shown()
        self._running = None  # its code has ended
        self._broken(error)

    def _refuse_unseen(self) -> None:
        """Refuse a value that was kept before its owner wanted to see it: what would go is a name for it."""
        self._note_shown()
        self._running = None  # its code has ended
        owner = self.responder.target.partition("/")[0]
        text = (
            f"{owner} wants to see what comes of {self.responder.target} since the value of this call was kept, and "
            "cannot see it any more. Call it again."
        )
        self.act(self.responder.refuse(PermissionDenied(text), self._loop.time()))

    def finished(self) -> None:
        """Tell that the stream has ended."""
        self.act(self.responder.finished(self._loop.time()))

    def failed(self, meta: dict[str, Any]) -> None:
        """Send the error."""
        has_run = meta["code"] not in _BEFORE_IT_RAN and (self._running is None or not self._running.is_refused)
        if has_run and self.needs_approval and self._hold(Held((), 0, meta)):
            return
        self.act(self.responder.failed(meta, self._loop.time()))

    def invoke(self, function: int, ask: int, parts: Parts, size: int) -> None:
        """Ask the caller to call a function that it gave."""
        if not self._may_tell:
            what = f"{self.responder.target} called a function of its caller before its owner has approved anything"
            self.act(self.responder.refuse(PermissionDenied(f"{what}. Call it without."), self._loop.time()))
            return
        try:
            self.usage.check_may_ask(self)
        except Busy as error:
            self.act(self.responder.refuse(error, self._loop.time()))
            return
        self._count_out(size)
        self.act(self.responder.invoke(function, ask, parts, size, self._loop.time()))

    def log(self, stream: str, text: str) -> None:
        """Send what the method printed or logged."""
        if self._may_tell:
            self.act(self.responder.log(stream, text, self._loop.time()))
