"""The serving machine: takes requests from the broker, drives a `Responder` for each, runs methods, answers.

One loop does all I/O. What arrives is believed only as far as the broker vouches for it: the caller is read from the
delivered subject, the reply must lie in that caller's own inbox, and only then the owner's policy decides.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from .. import wire
from ..broker import Connection
from ..broker import Message as Delivered
from ..contract import Method, read_module
from ..errors import CallLost, LandbridgeError, Malformed, PermissionDenied, ProtocolMismatch, UnknownMember
from ..names import Address, nearest
from ..protocol import (
    DESCRIBE,
    PRESENCE_S,
    Action,
    CallSubject,
    Forget,
    Interrupt,
    Kind,
    More,
    Presence,
    Responder,
    Run,
    Send,
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
from .context import CurrentCall
from .expose import Exposure
from .runner import Runner, Running, Style
from .threads import Mailbox

__all__ = ["Backend"]

_log = logging.getLogger(__name__)
_TICK_S = 0.02
_PROGRESS_S = 0.1
_THREADS = 16


@dataclass(frozen=True)
class _Served:
    method: Method
    share: tuple[str, ...]
    timeout_s: float | None
    style: Style


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
            name: _Served(
                method, (*share, *exposed.methods[name].share), exposed.methods[name].timeout_s,
                Style.of(method),
            )
            for name, method in methods.items()
        }  # fmt: skip
        self._network_owner = network_owner
        self._calls: dict[str, _Call] = {}
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
        self._runner = Runner(Mailbox(asyncio.get_running_loop()), _THREADS)
        owner, module = self.address.institute, self.address.module
        await connection.subscribe(control_subscription(owner, module, self.instance), self._control_arrived)
        requests = await connection.subscribe(call_subscription(owner, module), self._request_arrived, queue="lb")
        await connection.flush()
        ticking = asyncio.create_task(self._tick())
        announcing = asyncio.create_task(self._announce())
        try:
            ready()
            await stop.wait()
            await requests.unsubscribe()
            self._leaving = True
            self._publish_presence()
            await self._wait_for_calls()
        finally:
            ticking.cancel()
            announcing.cancel()
            now = asyncio.get_running_loop().time()
            for call in list(self._calls.values()):
                call.act(call.responder.shut_down(now))
            self._runner.close()

    def reconnected(self) -> None:
        """Take note that the connection is back after a break."""
        now = asyncio.get_running_loop().time()
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
                    call.act(call.responder.tick(now))

    def _request_arrived(self, delivered: Delivered) -> None:
        try:
            subject = parse_call(delivered.subject)
            call_id = check_reply(delivered.reply, subject.institute, subject.person)
        except Malformed as error:
            # Whoever sent it has no inbox that we could answer into without writing into somebody else's.
            _log.warning("dropped a request: %s", error.reason)
            return
        if call_id in self._calls:
            return
        try:
            self._open(subject, call_id, delivered)
        except LandbridgeError as error:
            _log.info(
                "refused %s.%s for %s/%s: %s", self.name, subject.method, subject.institute, subject.person, error.code
            )
            self._refuse(delivered.reply, error)

    def _open(self, subject: CallSubject, call_id: str, delivered: Delivered) -> None:
        message = unpack(delivered.payload)
        caller = Caller(subject.institute, subject.person)
        served = None if subject.method == DESCRIBE else self._permitted(caller, subject.method)
        target = f"{self.name}.{subject.method}"
        responder = Responder(
            target, self.instance,
            interruptible=served is not None and served.style is not Style.FUNCTION,
            limit_s=served.timeout_s if served is not None else None,
        )  # fmt: skip
        call = _Call(self, served, responder, caller, call_id, delivered.reply)
        now = asyncio.get_running_loop().time()
        actions = responder.opened(message, now)
        self._calls[call_id] = call
        call.act(actions)

    def _permitted(self, caller: Caller, name: str) -> _Served:
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
            _log.warning("dropped a control message: %s", error.code)
            return
        call = self._calls.get(subject.call_id)
        if call is None:
            if message.kind is Kind.BEAT:
                lost = f"The backend of {self.name} no longer knows this call: it ended while the connection was down"
                self._refuse(delivered.reply, CallLost(f"{lost}. Its result is lost; call again if that does no harm."))
        elif call.caller == Caller(subject.institute, subject.person):
            call.act(call.responder.received(message, asyncio.get_running_loop().time()))

    def _decide(self, caller: Caller, name: str, served: _Served) -> Decision:
        target = f"{self.name}.{name}"
        return decide(caller, self.address.institute, target, served.share, self._network_owner)

    def _visible(self, caller: Caller) -> list[str]:
        return [name for name, served in self._served.items() if self._decide(caller, name, served).allowed]

    def _description(self, caller: Caller) -> list[bytes | memoryview]:
        visible = {name: self.spec.methods[name] for name in self._visible(caller)}
        return wire.encode(replace(self.spec, methods=visible).to_json())

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


class _Call:
    """One call: its machine, what runs, and where the answers go. Also the `Sink` of what runs."""

    __slots__ = (
        "_backend",
        "_call_id",
        "_held",
        "_last_progress",
        "_reply",
        "_running",
        "_served",
        "caller",
        "responder",
    )

    def __init__(
        self, backend: Backend, served: _Served | None, responder: Responder, caller: Caller, call_id: str, reply: str
    ) -> None:
        self._backend = backend
        self._served = served
        self.responder = responder
        self.caller = caller
        self._call_id = call_id
        self._reply = reply
        self._running: Running | None = None
        self._held: list[int] = []
        self._last_progress = 0.0

    def act(self, actions: Sequence[Action]) -> None:
        """Do what the machine asks for."""
        for action in actions:
            if type(action) is Send:
                self._backend._publish(self._reply, action.parts)
            elif type(action) is Run:
                self._run(action.frame)
            elif type(action) is Forget:
                self._backend._calls.pop(self._call_id, None)
            elif type(action) is Interrupt:
                if self._running is not None:
                    self._running.interrupt()
            elif type(action) is More:
                self._release()

    def _run(self, frame: memoryview | bytearray) -> None:
        runner, responder = self._backend._runner, self.responder
        if runner is None:
            return
        if self._served is None:
            parts = self._backend._description(self.caller)
            self.result(parts, wire.size_bytes(parts))
            return
        now = asyncio.get_running_loop().time()
        left = None if responder.deadline is None else max(responder.deadline - now, 0.0)
        call = CurrentCall(
            responder.target, str(self.caller), self._call_id, left,
            self._report,
        )  # fmt: skip
        self._running = Running(self._served.method, self._served.style, call, self)
        runner.run(self._running, frame)

    def _report(self, done: float, total: float | None, label: str) -> None:
        """Take what the method says of its progress, in whatever thread it runs."""
        runner = self._backend._runner
        if runner is not None:
            runner.mailbox.post(self._progress, done, total, label)

    def _progress(self, done: float, total: float | None, label: str) -> None:
        now = asyncio.get_running_loop().time()
        if now - self._last_progress < _PROGRESS_S and done != total:
            return
        self._last_progress = now
        self.act(self.responder.progress(done, total, label, now))

    def item(self, parts: Sequence[bytes | memoryview], size: int) -> None:
        self._held.append(size)
        self.act(self.responder.item(parts, size, asyncio.get_running_loop().time()))
        if self.responder.may_produce:
            self._release()

    def _release(self) -> None:
        if self._running is not None:
            for size in self._held:
                self._running.sent(size)
        self._held.clear()

    def result(self, parts: Sequence[bytes | memoryview], size: int) -> None:
        self.act(self.responder.result(parts, size, asyncio.get_running_loop().time()))

    def finished(self) -> None:
        self.act(self.responder.finished(asyncio.get_running_loop().time()))

    def failed(self, meta: Mapping[str, Any]) -> None:
        self.act(self.responder.failed(dict(meta), asyncio.get_running_loop().time()))
