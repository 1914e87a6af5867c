"""The serving machine: takes requests from the broker, drives a `Responder` for each, runs methods, answers.

One loop does all I/O. What arrives is believed only as far as the broker vouches for it: the caller is read from the
delivered subject, the reply must lie in that caller's own inbox, and only then the owner's policy decides.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import secrets
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

from ..broker import Connection
from ..broker import Message as Delivered
from ..errors import (
    BrokerUnreachable,
    Busy,
    LandbridgeError,
    Malformed,
    ObjectGone,
    PermissionDenied,
    ProtocolMismatch,
    UnknownMember,
)
from ..names import Address
from ..protocol import (
    ANYONE,
    DESCRIBE,
    PRESENCE_S,
    RELEASE,
    RENEW,
    CallSubject,
    Kind,
    Message,
    ObjectSubject,
    Presence,
    call_subscription,
    catalogue_subject,
    check_reply,
    connection_of,
    control_subscription,
    error_to_meta,
    lane_subscription,
    object_subscription,
    pack,
    pack_presence,
    parse_call,
    parse_control,
    parse_object,
    unpack,
)
from ..security import Caller, Decision
from ..tracing import parse_trace
from .approvals import Approvals, Desk
from .congestion import Congestion
from .expose import Exposure
from .finished import Finished, FinishedCall
from .keeping import REFERENCE_VERBS, Keeper, Keeping
from .latecomers import Latecomers
from .longvalues import LongValues
from .metrics import Counts, Metrics
from .objects import KeptObject, Objects
from .offer import Offer, Proves, Served
from .oversight import Oversight, PolicySource
from .questions import answer_questions
from .runner import STREAMS, Runner
from .running import Keep
from .served import ServedCall
from .threads import Mailbox
from .usage import RefusalLog, Usage, held_bytes_each

__all__ = ["Backend"]

Parts = Sequence[bytes | memoryview]
_Subject = TypeVar("_Subject", CallSubject, ObjectSubject)

_log = logging.getLogger(__name__)

_LAST_BEGINNING_S = 2.0
"""How long calls that wait may begin then; whoever waits longer is sent elsewhere."""

_ELSEWHERE_S = 0.5
_STOPPED = "its backend is being stopped"
_CALLS_NAMED = 5
_TICK_S = 0.02
_TICKS_OF_OLD_CALLS = 10
_PLACES_TOLD = 20
_THREADS = 16
_DECISIONS_KEPT = 10_000
_RECOUNT_S = 0.2
# With more calls than these under way, waking the loop for what comes of all of them costs less than a turn for each.
_FEW = 8


_KEPT_FOR = Decision(True, "it was made for whoever asks, or its owner has granted it")
_TO_ALL = Decision(True, "everybody may ask this; the answer tells what is for whoever asks")


class _Decided(NamedTuple):
    """What is called, by whom; None for `served` when the module is asked to describe itself.

    `decision` says why, within which limits, and until when.
    """

    target: str
    caller: Caller
    served: Served | None
    usage: Usage
    counts: Counts
    decision: Decision


class Backend:
    """Serves what one module exposes.

    Parameters
    ----------
    address : Address
        ``institute/module``.
    exposed : Exposure
        What the module exposes.
    instance : str
        Id of this backend, 32 hexadecimal digits.
    share : sequence of str
        Patterns that every method is shared with, on top of its own.
    onward : sequence of str
        Patterns of whom references to results may go on to, on top of those of a method.
    network_owner : bool
        Whether the owner of the (embedded) network may call everything.
    workers : int or None
        How many worker processes there may be; by default as many as this process may use processors.
    keeping : Keeping, optional
        What it takes to keep values here for callers, and to have those of others; without it, they are refused.
    policy : PolicySource, optional
        What the owner has decided beside what the module says.
    audit : Path, optional
        The folder of the audit log; without it, there is none.
    proves : callable, optional
        Gives the proof that the module is of its institute; see `Offer`.
    desk : Desk, optional
        Where the owner is asked whether what came of a call may go; without it, calls that need that are refused.

    Raises
    ------
    NotConfigured
        When what the owner allows cannot be read.
    """

    def __init__(
        self,
        address: Address,
        exposed: Exposure,
        *,
        instance: str,
        share: Sequence[str] = (),
        onward: Sequence[str] = (),
        network_owner: bool = False,
        workers: int | None = None,
        keeping: Keeping | None = None,
        policy: PolicySource | None = None,
        audit: Path | None = None,
        proves: Proves | None = None,
        desk: Desk | None = None,
    ) -> None:
        self.address = address
        self.instance = instance
        self._offer = Offer(address, exposed, share=share, onward=onward, network_owner=network_owner, proves=proves)
        self.name, self.spec = self._offer.name, self._offer.spec
        self._oversight = Oversight(self._offer, policy, audit)
        self._objects = Objects(self.name, instance)
        self._source, self._workers = exposed.source, workers
        self._run = secrets.token_hex(8)
        self._keeper = None if keeping is None else Keeper(self._offer, instance, keeping, time.monotonic)
        asked = [f"_reference.{verb}" for verb in REFERENCE_VERBS] if keeping is not None else []
        counts = {name: Counts() for name in (*self._offer.served, DESCRIBE, *asked)}
        self.metrics = Metrics(self.name, instance, self.spec.version, time.time(), counts)
        self._recounted = 0.0
        self._calls: dict[str, ServedCall] = {}
        # Calls that have just begun are looked after more often: most end before they have to be accepted.
        self._young: dict[str, ServedCall] = {}
        self._congestion: dict[str, Congestion[ServedCall]] = {}
        self._held_bytes_each = held_bytes_each()
        self._approvals = Approvals(self.name, desk, self._held_bytes_each)
        self._finished = Finished(self._held_bytes_each)
        self._latecomers = Latecomers(
            self.name, instance, self._finished, self.publish, self.publish_part, self._learn_rate
        )
        self._long_values: LongValues | None = None
        # What was decided for whom; cleared when the owner allows other things.
        self._decided: dict[CallSubject, _Decided] = {}
        self._usage: dict[Caller, Usage] = {}
        self._refusals = RefusalLog(_log)
        self._connection: Connection | None = None
        self._runner: Runner | None = None
        self._leaving = False

    async def serve(
        self, connection: Connection, ready: Callable[[], None], stop: asyncio.Event, *, grace_s: float
    ) -> None:
        """Serve until `stop` is set; then let running calls end, and tell the others.

        Parameters
        ----------
        connection : Connection
            With a credential that may serve this module.
        ready : callable
            Called once requests can arrive.
        stop : asyncio.Event
            When to end.
        grace_s : float
            How long calls that run then may go on, in seconds.
        """
        self._connection = connection
        self._loop = asyncio.get_running_loop()
        owner, module = self.address.institute, self.address.module
        parts = lane_subscription(owner, module, self.instance)
        long_values = LongValues(connection, parts, self._control_arrived, self._calls, self._latecomers.lane_opened)
        self._long_values, lane = long_values, long_values.lane
        self._congestion = {"line": Congestion(connection, self._go_on), "lane": Congestion(lane, self._go_on)}
        runner = Runner(
            Mailbox(self._loop), _THREADS, name=self.name, source=self._source, workers=self._workers,
            fetch=None if self._keeper is None else self._keeper.fetch,
        )  # fmt: skip
        self._runner = runner
        going_on: list[asyncio.Task[None]] = []
        try:
            for instance in (self.instance, ANYONE):
                await connection.subscribe(control_subscription(owner, module, instance), self._control_arrived)
            if self.spec.classes:
                objects = object_subscription(owner, module, self.instance, "object")
                await connection.subscribe(objects, self._object_called)
            if self._keeper is not None:
                self._keeper.references.take_up(self._loop.time())
                values = object_subscription(owner, module, self.instance, "ref")
                await connection.subscribe(values, self._reference_called)
            await answer_questions(
                connection, self.address, self.spec.summary, self.metrics_now,
                visible=self._offer.callable_by, public=self._offer.callable_by_everybody,
                publish=self.publish, dropped=self._question_dropped,
            )  # fmt: skip
            requests = await connection.subscribe(call_subscription(owner, module), self._request_arrived, queue="lb")
            self._publish_presence()  # before `ready` is told: who connects then finds the module
            await connection.flush()
            going_on += [asyncio.create_task(self._tick()), asyncio.create_task(self._announce())]
            runner.mailbox.comes_more = lambda: len(self._calls) > _FEW
            runner.read(connection)
            ready()
            await _until(stop, going_on)
            with contextlib.suppress(BrokerUnreachable):
                await requests.drain(connection.flush)
            self._leaving = True
            self._publish_presence()
            await self._let_calls_end(connection, grace_s)
        finally:
            for congestion in self._congestion.values():
                congestion.close()
            for task in going_on:
                task.cancel()
            now = self._loop.time()
            for call in list(self._calls.values()):
                call.act(call.responder.shut_down(now))
            self._objects.close()
            if self._keeper is not None:
                self._keeper.references.close()
            runner.close()
            self._approvals.close()
            self._oversight.close()
            await lane.close()

    def reconnected(self) -> None:
        """Take note that the connection is back after a break."""
        now = self._loop.time()
        for call in list(self._calls.values()):
            call.act(call.responder.reconnected(now))
        self._latecomers.reconnected(now)
        self._publish_presence()

    async def _let_calls_end(self, connection: Connection, grace_s: float) -> None:
        """Wait for the calls that somebody waits for, at most `grace_s`, and not for a connection that has ended."""
        now = began = self._loop.time()
        may_begin = True
        while self._is_waited_for(connection, now) and now - began < grace_s:
            await asyncio.sleep(_TICK_S)
            now = self._loop.time()
            if may_begin and now - began >= min(_LAST_BEGINNING_S, grace_s):
                may_begin = False
                for call in list(self._calls.values()):
                    reason = "its backend is being stopped, and had not begun it"
                    call.turn_away(Busy(call.responder.target, reason, _ELSEWHERE_S), now)
                if self._calls:
                    _log.info("waiting up to %g s for %s", grace_s, _told(list(self._calls.values())))
        if self._calls:
            _log.warning("the backend stops; cut short: %s", _told(list(self._calls.values())))

    def _is_waited_for(self, connection: Connection, now: float) -> bool:
        """Whether the end of a call could still reach somebody who wants to hear of it."""
        if connection.has_ended:
            return False
        # While the line is down, silence says nothing about a caller.
        calls = (call for call in self._calls.values() if call.held is None)  # an owner may take days
        return any(call.responder.is_awaited(now) or not connection.connected for call in calls)

    async def _announce(self) -> None:
        while True:
            await asyncio.sleep(PRESENCE_S)
            self._publish_presence()

    def _publish_presence(self) -> None:
        if self._connection is not None and self._connection.connected:
            # Everybody hears it. What the module is about is for those who may call something of it.
            is_public = bool(self._offer.callable_by_everybody())
            about, version = (self.spec.summary[:200], self.spec.version[:40]) if is_public else ("", "")
            presence = Presence(self.instance, not self._leaving, about, version, run=self._run)
            self._connection.publish(
                catalogue_subject(self.address.institute, self.address.module), pack_presence(presence)
            )

    async def _tick(self) -> None:
        old: list[ServedCall] = []
        turn = 0
        while True:
            await asyncio.sleep(_TICK_S)
            now = self._loop.time()
            if not turn:
                old = list(self._calls.values())
                for call in old[:_PLACES_TOLD]:
                    call.tell_place(now)
                self._finished.expire(now)
                self._look_at_policy(now)
                self._approvals.look(now)
                self._objects.expire(now)
                if self._keeper is not None:
                    self._keeper.references.expire(time.monotonic())
            # A part of them each time: were it all at once, what arrives meanwhile would wait.
            for call in old[turn::_TICKS_OF_OLD_CALLS]:
                call.look_after(now)
            turn = (turn + 1) % _TICKS_OF_OLD_CALLS
            for call in list(self._young.values()):
                call.look_after(now)
                if call.responder.is_accepted:
                    self._young.pop(call.call_id, None)

    def _asked(self, delivered: Delivered, parse: Callable[[str], _Subject]) -> tuple[_Subject, str] | None:
        """Return what a request asks for, and its call's id; None when it is to be dropped, or has come before."""
        try:
            subject = parse(delivered.subject)
            call_id = check_reply(delivered.reply, subject.institute, subject.person)
        except Malformed as error:
            # Whoever sent it has no inbox that we could answer into without writing into somebody else's.
            self._refusals.note("somebody", f"dropped a request: {error.reason}", self._loop.time())
            return None
        return None if call_id in self._calls or call_id in self._finished else (subject, call_id)

    def _request_arrived(self, delivered: Delivered) -> None:
        asked = self._asked(delivered, parse_call)
        if asked is None:
            return
        subject, call_id = asked
        try:
            self._open(subject, call_id, delivered)
        except LandbridgeError as error:
            self._refuse(f"{subject.institute}/{subject.person}", subject.method, delivered.reply, error)

    def _object_called(self, delivered: Delivered) -> None:
        """Take a request to a method of an object that lives here."""
        asked = self._asked(delivered, parse_object)
        if asked is None:
            return
        subject, call_id = asked
        caller = Caller(subject.institute, subject.person)
        try:
            if subject.method == RELEASE:
                self._objects.release(subject.object_id, caller)
                return
            kept = self._objects.find(subject.object_id, caller, subject.method, self._loop.time())
            if subject.method == RENEW:
                return
            if self._leaving:
                raise ObjectGone(f"The object of {self.name} whose {subject.method} was called", _STOPPED)
            name = f"{kept.class_name}.{subject.method}"
            call = CallSubject(subject.institute, subject.person, subject.owner, subject.module, name)
            self._open(call, call_id, delivered, kept)
        except LandbridgeError as error:
            self._refuse(f"{subject.institute}/{subject.person}", subject.method, delivered.reply, error)

    def _open(self, subject: CallSubject, call_id: str, delivered: Delivered, kept: KeptObject | None = None) -> None:
        if self._runner is None:
            return
        message = unpack(delivered.payload)
        decided = self._decided.get(subject)
        if decided is None or (decided.decision.until != math.inf and time.time() >= decided.decision.until):
            decided = self._decide_anew(subject)
        target, caller, served, usage, counts, decision = decided
        at_end: Callable[[str], None] | None = None
        if served is not None and self.spec.classes and not served.method.spec.static:
            if kept is not None:
                served, at_end = self._objects.using(served, kept, self._loop.time)
            elif ":" in subject.method:
                raise UnknownMember(self.name, subject.method, None)  # it needs an object
            elif isinstance(served.method.function, type):
                served, at_end = self._objects.constructing(served, caller, self._loop.time)
        keep = None
        if message.meta.get("keep") is True and served is not None:
            keep = self._keeps(served, caller, delivered.reply, target)
        decided = _Decided(target, caller, served, usage, counts, decision)
        call = self._begin(self._runner, decided, call_id, delivered, message, at_end, keep)
        if kept is not None and at_end is not None:
            self._objects.use(kept)
        call.act(call.responder.opened(message, self._loop.time()))

    def _begin(
        self,
        runner: Runner,
        decided: _Decided,
        call_id: str,
        delivered: Delivered,
        message: Message,
        at_end: Callable[[str], None] | None = None,
        keep: Keep | None = None,
    ) -> ServedCall:
        """Return a call that is open from now on; raises `Busy` when there is no room for it."""
        target, caller, served, usage, counts, decision = decided
        usage.check_room(target, caller, is_stream=served is not None and served.style in STREAMS)
        if served is not None:
            for admission in served.admissions:
                admission.check_room(caller)
        # Where the arguments decide whether it needs approval, that is counted once they have been looked at.
        is_counted = decision.approve and all(rule.approve for rule in decision.rules)
        if is_counted:
            self._approvals.check_room(target, caller)
        ration = self._oversight.ration(decision, caller, target, self._loop.time())
        call = ServedCall(
            target, self.instance, served, caller, call_id,
            usage=usage,
            counts=counts,
            trace=parse_trace(message.meta.get("traceparent"), message.meta.get("tracestate")),
            runner=runner,
            office=self,
            loop=self._loop,
            reply=delivered.reply,
            at_end=at_end,
            keep=keep,
            ration=ration,
            why=decision.reason,
            approve=decision.approve if ration is None else ration.approve,
            shows=self._oversight.shows_values,
        )  # fmt: skip
        self._calls[call_id] = self._young[call_id] = call
        call.usage.enter(call)
        call.counts.begun += 1
        if is_counted:
            self._approvals.enter(call)
        return call

    def _look_at_policy(self, now: float) -> None:
        """Follow what the owner allows now, and end what he no longer does."""
        self._oversight.expire(now)
        if not self._oversight.look():
            return
        self._decided.clear()
        for call in list(self._calls.values()):
            if (member := call.member) is not None:
                decision = self._offer.decision(call.caller, member)
                if not decision.allowed:
                    call.act(call.responder.refuse(PermissionDenied(decision.reason), now))
                # And no question for what was kept. Of rules that leave it to the arguments we cannot tell any more
                # which of them the call keeps: to look at one too many is the safe error.
                elif decision.approve and call.responder.target == self._offer.target(member):
                    call.approve_from_now()
                    self._approvals.enter(call)

    def begins(self, call: ServedCall, frame: memoryview | bytearray) -> None:
        """Take note that a call is about to run; raises `Busy` when that must be written down and cannot be."""
        self._oversight.begins(call, frame)

    def admits(self, call: ServedCall) -> None:
        """Count in a call whose outcome has to be accepted, as its arguments have shown; called in threads."""
        self._approvals.admit(call)

    def ask_owner(self, call: ServedCall) -> None:
        """Show the owner what came of a call, and let it go once he has accepted it."""
        self._approvals.ask(call, self._loop)

    def _keeps(self, served: Served, caller: Caller, reply: str, target: str) -> Keep:
        if self._keeper is None or served.style in STREAMS or isinstance(served.method.function, type):
            raise UnknownMember(self.name, f"{served.method.spec.name}.keep", None)
        return self._keeper.keep(caller, connection_of(reply), target.removeprefix(f"{self.name}."))

    def _reference_called(self, delivered: Delivered) -> None:
        """Take a request to a value that is kept here."""
        asked = self._asked(delivered, parse_object)
        if asked is None or self._keeper is None or self._runner is None:
            return
        subject, call_id = asked
        caller, session = Caller(subject.institute, subject.person), connection_of(delivered.reply)
        references = self._keeper.references
        try:
            if subject.method == RELEASE:
                references.release(subject.object_id, caller, session)
            elif subject.method == RENEW:
                references.renew(caller, session, time.monotonic())
            else:
                message = unpack(delivered.payload)
                grant = message.meta.get("grant")
                served = self._keeper.served(subject, session, grant if isinstance(grant, str) else None)
                usage = self._usage.setdefault(caller, Usage(self._held_bytes_each))
                counts = self.metrics.methods[f"_reference.{subject.method}"]
                target = f"{self.name}: reference.{subject.method}"
                decided = _Decided(target, caller, served, usage, counts, _KEPT_FOR)
                call = self._begin(self._runner, decided, call_id, delivered, message)
                call.act(call.responder.opened(message, self._loop.time()))
        except LandbridgeError as error:
            self._refuse(str(caller), subject.method, delivered.reply, error)

    def _decide_anew(self, subject: CallSubject) -> _Decided:
        caller = Caller(subject.institute, subject.person)
        served, decision = None, _TO_ALL
        if subject.method != DESCRIBE:
            served, decision = self._offer.permitted(caller, subject.method)
        if len(self._decided) >= _DECISIONS_KEPT:
            self._decided.clear()
            self._usage = {each: usage for each, usage in self._usage.items() if usage.calls}
        decided = self._decided[subject] = _Decided(
            self._offer.target(subject.method),
            caller,
            served,
            self._usage.setdefault(caller, Usage(self._held_bytes_each)),
            self.metrics.methods[subject.method.replace(":", ".")],
            decision,
        )
        return decided

    def forget(self, call: ServedCall) -> None:
        """Let go of a call that has ended; what it sent last is kept for a while."""
        if self._calls.pop(call.call_id, None) is None:
            return
        self._young.pop(call.call_id, None)
        call.usage.leave(call)
        self._approvals.leave(call)
        self._oversight.ended(call, self._loop.time())
        call.ended()
        if self._long_values is not None:
            self._long_values.let_go(call)
        out = call.responder.out
        if out.keeps:
            now, size = self._loop.time(), out.kept_bytes
            self._finished.keep(FinishedCall(call.call_id, call.caller, call.reply, call.lane_reply, out, size, now))

    def metrics_now(self) -> Metrics:
        """Return what is counted, with those who wait counted anew, at most five times a second."""
        now = time.monotonic()
        if now - self._recounted >= _RECOUNT_S:
            self._recounted = now
            for counts in self.metrics.methods.values():
                counts.waiting = 0
            for call in self._calls.values():
                call.counts.waiting += call.waits or call.held is not None
        return self.metrics

    def _question_dropped(self, reason: str) -> None:
        self._refusals.note("somebody", f"dropped a question: {reason}", self._loop.time())

    def is_full(self, line: str) -> bool:
        """Whether our ``line``, or our ``lane`` for long values, has more to send than it should."""
        return self._congestion[line].is_full

    def wait_for_room(self, call: ServedCall, line: str) -> None:
        """Have the call go on once that line is no longer full."""
        self._congestion[line].wait(call)

    def _go_on(self, call: ServedCall) -> None:
        call.act(call.responder.line_has_room(self._loop.time()))

    def open_lane(self, call: ServedCall) -> None:
        """See to it that parts can come and go, and tell the call when they can."""
        if self._long_values is not None:
            self._long_values.open_for(call)

    def publish_part(self, subject: str, parts: Parts) -> None:
        """Send a part of a long value; without a place to send it to it waits until the caller names one."""
        if self._long_values is not None:
            self._long_values.send(subject, parts)

    def _control_arrived(self, delivered: Delivered) -> None:
        try:
            subject = parse_control(delivered.subject)
            check_reply(delivered.reply, subject.institute, subject.person, subject.call_id)
            message = unpack(delivered.payload)
        except (Malformed, ProtocolMismatch) as error:
            self._refusals.note("somebody", f"dropped a control message: {error.code}", self._loop.time())
            return
        call = self._calls.get(subject.call_id)
        caller = Caller(subject.institute, subject.person)
        if call is None:
            if message.kind is Kind.BEAT:
                self._latecomers.answer(caller, subject, delivered.reply, message, self._loop.time())
        elif call.caller == caller:
            if "bulk_granted" in message.meta:
                call.lane_reply = delivered.reply
            call.received(message, self._loop.time())
            if self._long_values is not None and not call.responder.receives_bulk:
                self._long_values.let_go(call)

    def _learn_rate(self, caller: Caller, bytes_per_s: float) -> None:
        usage = self._usage.get(caller)
        if usage is not None:
            usage.learn_rate(bytes_per_s)

    def describe(self, caller: Caller, wanted: object) -> Parts:
        """Return the encoded spec of what `caller` may call; `wanted` may name one member that has to be in it."""
        return self._offer.describe(caller, wanted)

    def _refuse(self, who: str, method: str, reply: str, error: LandbridgeError) -> None:
        self._refusals.note(who, f"refused {self._offer.target(method)}: {error.code}", self._loop.time())
        self.metrics.refuse(error.code)
        self._oversight.refused(who, method, error.code, str(error))
        self.publish(reply, [pack(Kind.ERROR, 0, error_to_meta(error))])

    def publish(self, subject: str, parts: Parts) -> None:
        """Send one message to a caller."""
        if self._connection is None:
            return
        try:
            self._connection.publish(subject, *parts)
        except LandbridgeError as error:
            # The caller hears nothing, asks again after its own reconnect, and is told what became of the call.
            _log.warning("an answer could not be sent: %s", error)


async def _until(stop: asyncio.Event, tasks: list[asyncio.Task[None]]) -> None:
    """Wait for `stop`; raises what ends one of `tasks` before, as all calls would fall silent without it."""
    stopping = asyncio.ensure_future(stop.wait())
    try:
        done, _ = await asyncio.wait([stopping, *tasks], return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        stopping.cancel()


def _told(calls: Sequence[ServedCall]) -> str:
    """Return how many calls there are and some of them, for the log."""
    some = ", ".join(f"{call.responder.target} for {call.caller}" for call in calls[:_CALLS_NAMED])
    more = ", ..." if len(calls) > _CALLS_NAMED else ""
    return f"{len(calls):,} {'call' if len(calls) == 1 else 'calls'} ({some}{more})"
