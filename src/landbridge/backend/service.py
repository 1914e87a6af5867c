"""The serving machine: takes requests from the broker, drives a `Responder` for each, runs methods, answers.

One loop does all I/O. What arrives is believed only as far as the broker vouches for it: the caller is read from the
delivered subject, the reply must lie in that caller's own inbox, and only then the owner's policy decides.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
from collections.abc import Callable, Sequence
from functools import partial

from .. import wire
from ..broker import Connection
from ..broker import Message as Delivered
from ..contract import read_module
from ..errors import (
    BrokerUnreachable,
    CallLost,
    InternalError,
    LandbridgeError,
    Malformed,
    PermissionDenied,
    ProtocolMismatch,
    UnknownMember,
)
from ..names import Address, nearest
from ..protocol import (
    DESCRIBE,
    PRESENCE_S,
    Action,
    CallSubject,
    Kind,
    Presence,
    call_subscription,
    catalogue_subject,
    check_reply,
    control_subscription,
    error_to_meta,
    pack,
    pack_presence,
    parse_call,
    parse_control,
    unpack,
)
from ..security import Caller, Decision, decide
from .expose import Exposure
from .runner import STREAMS, Runner, Style
from .served import Served, ServedCall
from .threads import Mailbox
from .usage import RefusalLog, Usage

__all__ = ["Backend"]

_log = logging.getLogger(__name__)
_TICK_S = 0.02
_THREADS = 16
_DECISIONS_KEPT = 10_000


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
    network_owner : bool
        Whether the owner of the (embedded) network may call everything.
    """

    def __init__(
        self,
        address: Address,
        exposed: Exposure,
        *,
        instance: str,
        share: Sequence[str] = (),
        network_owner: bool = False,
    ) -> None:
        self.address = address
        self.name = f"{address.institute}/{address.module}"
        self.instance = instance
        self.spec, methods = read_module(
            self.name, exposed.doc, {name: method.function for name, method in exposed.methods.items()},
            version=exposed.version,
            pure=[name for name, method in exposed.methods.items() if method.pure],
        )  # fmt: skip
        self._served = {
            name: Served(
                method, Style.of(method), (*share, *exposed.methods[name].share), exposed.methods[name].timeout_s
            )
            for name, method in methods.items()
        }
        self._network_owner = network_owner
        self._calls: dict[str, ServedCall] = {}
        # What was decided for whom. It stays true while we serve: the owner's patterns are given at the start.
        self._decided: dict[CallSubject, tuple[Caller, Served | None, Usage]] = {}
        self._usage: dict[Caller, Usage] = {}
        self._refusals = RefusalLog(_log)
        self._connection: Connection | None = None
        self._runner: Runner | None = None
        self._leaving = False

    async def serve(self, connection: Connection, ready: Callable[[], None], stop: asyncio.Event) -> None:
        """Serve until `stop` is set; then let running calls end for a moment, and tell the others.

        Parameters
        ----------
        connection : Connection
            With a credential that may serve this module.
        ready : callable
            Called once requests can arrive.
        stop : asyncio.Event
            When to end.
        """
        self._connection = connection
        self._loop = asyncio.get_running_loop()
        self._runner = Runner(Mailbox(self._loop), _THREADS)
        owner, module = self.address.institute, self.address.module
        await connection.subscribe(control_subscription(owner, module, self.instance), self._control_arrived)
        requests = await connection.subscribe(call_subscription(owner, module), self._request_arrived, queue="lb")
        await connection.flush()
        ticking = asyncio.create_task(self._tick())
        announcing = asyncio.create_task(self._announce())
        try:
            ready()
            await stop.wait()
            with contextlib.suppress(BrokerUnreachable):
                await requests.drain(connection.flush)
            self._leaving = True
            self._publish_presence()
            await self._wait_for_calls()
        finally:
            ticking.cancel()
            announcing.cancel()
            now = self._loop.time()
            for call in list(self._calls.values()):
                self._act(call, call.responder.shut_down(now))
            self._runner.close()

    def reconnected(self) -> None:
        """Take note that the connection is back after a break."""
        now = self._loop.time()
        for call in self._calls.values():
            call.responder.reconnected(now)
        self._publish_presence()

    async def _wait_for_calls(self) -> None:
        for _ in range(250):
            if not self._calls:
                return
            await asyncio.sleep(_TICK_S)

    async def _announce(self) -> None:
        while True:
            self._publish_presence()
            await asyncio.sleep(PRESENCE_S)

    def _publish_presence(self) -> None:
        if self._connection is not None and self._connection.connected:
            presence = Presence(self.instance, not self._leaving, self.spec.summary[:200], self.spec.version[:40])
            self._connection.publish(
                catalogue_subject(self.address.institute, self.address.module), pack_presence(presence)
            )

    async def _tick(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(_TICK_S)
            if self._calls:
                now = loop.time()
                for call in list(self._calls.values()):
                    self._act(call, call.responder.tick(now))

    def _request_arrived(self, delivered: Delivered) -> None:
        try:
            subject = parse_call(delivered.subject)
            call_id = check_reply(delivered.reply, subject.institute, subject.person)
        except Malformed as error:
            # Whoever sent it has no inbox that we could answer into without writing into somebody else's.
            self._refusals.note("somebody", f"dropped a request: {error.reason}", self._loop.time())
            return
        if call_id in self._calls:
            return
        try:
            self._open(subject, call_id, delivered)
        except LandbridgeError as error:
            who = f"{subject.institute}/{subject.person}"
            self._refusals.note(who, f"refused {self._target(subject.method)}: {error.code}", self._loop.time())
            self._refuse(delivered.reply, error)

    def _open(self, subject: CallSubject, call_id: str, delivered: Delivered) -> None:
        runner = self._runner
        if runner is None:
            return
        message = unpack(delivered.payload)
        decided = self._decided.get(subject)
        if decided is None:
            decided = self._decide_anew(subject)
        caller, served, usage = decided
        target = self._target(subject.method)
        usage.check_room(target, caller, is_stream=served is not None and served.style in STREAMS)
        call = ServedCall(
            target, self.instance, served, caller, call_id,
            usage=usage,
            runner=runner,
            publish=partial(self._publish, delivered.reply),
            forget=self._forget,
            describe=self._description,
        )  # fmt: skip
        actions = call.responder.opened(message, self._loop.time())
        self._calls[call_id] = call
        call.usage.enter(call)
        self._act(call, actions)

    def _decide_anew(self, subject: CallSubject) -> tuple[Caller, Served | None, Usage]:
        caller = Caller(subject.institute, subject.person)
        served = None if subject.method == DESCRIBE else self._permitted(caller, subject.method)
        if len(self._decided) >= _DECISIONS_KEPT:
            self._decided.clear()
            self._usage = {each: usage for each, usage in self._usage.items() if usage.calls}
        decided = self._decided[subject] = (caller, served, self._usage.setdefault(caller, Usage()))
        return decided

    def _act(self, call: ServedCall, actions: Sequence[Action]) -> None:
        """Have a call do what is to be done; what goes wrong ends this call, and nothing else."""
        try:
            call.act(actions)
        except Exception as error:
            incident = secrets.token_hex(4)
            target = call.responder.target
            _log.exception("incident %s: a call of %s could not be served", incident, target)
            text = f"{target} could not be run: {type(error).__name__} at its backend (incident {incident})."
            call.failed(error_to_meta(InternalError(text, incident)))

    def _forget(self, call_id: str) -> None:
        call = self._calls.pop(call_id, None)
        if call is not None:
            call.usage.leave(call)

    def _target(self, method: str) -> str:
        return f"{self.name}.{method}"

    def _permitted(self, caller: Caller, name: str) -> Served:
        served = self._served.get(name)
        if served is None:
            raise UnknownMember(self.name, name, nearest(name, self._visible(caller)))
        decision = self._decide(caller, name, served)
        if not decision.allowed:
            raise PermissionDenied(decision.reason)
        return served

    def _control_arrived(self, delivered: Delivered) -> None:
        try:
            subject = parse_control(delivered.subject)
            check_reply(delivered.reply, subject.institute, subject.person, subject.call_id)
            message = unpack(delivered.payload)
        except (Malformed, ProtocolMismatch) as error:
            self._refusals.note("somebody", f"dropped a control message: {error.code}", self._loop.time())
            return
        call = self._calls.get(subject.call_id)
        if call is None:
            if message.kind is Kind.BEAT:
                lost = f"The backend of {self.name} no longer knows this call: it ended while the connection was down"
                self._refuse(delivered.reply, CallLost(f"{lost}. Its result is lost; call again if that does no harm."))
        elif call.caller == Caller(subject.institute, subject.person):
            self._act(call, call.responder.received(message, self._loop.time()))

    def _decide(self, caller: Caller, name: str, served: Served) -> Decision:
        return decide(caller, self.address.institute, self._target(name), served.share, self._network_owner)

    def _visible(self, caller: Caller) -> list[str]:
        return [name for name, served in self._served.items() if self._decide(caller, name, served).allowed]

    def _description(self, caller: Caller, wanted: object) -> list[bytes | memoryview]:
        """Return the encoded spec of what `caller` may call; `wanted` may name one member that has to be in it."""
        member = wanted.get("member") if isinstance(wanted, dict) else None
        if isinstance(member, str):
            self._permitted(caller, member)
        visible = self._visible(caller)
        if not visible:
            raise PermissionDenied(
                f"{self.address.institute} has shared nothing of {self.name} with {caller}; ask "
                f"{self.address.institute} to share it: landbridge serve FILE --as {self.name} --share '{caller}'"
            )
        return wire.encode(self.spec.only(visible).to_json())

    def _refuse(self, reply: str, error: LandbridgeError) -> None:
        self._publish(reply, [pack(Kind.ERROR, 0, error_to_meta(error))])

    def _publish(self, subject: str, parts: Sequence[bytes | memoryview]) -> None:
        if self._connection is None:
            return
        try:
            self._connection.publish(subject, *parts)
        except LandbridgeError as error:
            # The caller hears nothing, asks again after its own reconnect, and is told what became of the call.
            _log.warning("an answer could not be sent: %s", error)
