"""One connection of a caller: drives a `Caller` for each call, and hands its events on.

Everything here runs in the loop that the connection belongs to.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from .. import wire
from ..broker import Closed, Connection, Denied, Disconnected, Event, Reconnected
from ..broker import Message as Delivered
from ..errors import (
    BrokerUnreachable,
    Busy,
    CallCancelled,
    CallLost,
    CallTimeout,
    LandbridgeError,
    Malformed,
    ModuleOffline,
    ObjectGone,
    PermissionDenied,
    ProtocolMismatch,
)
from ..names import Address
from ..protocol import (
    ANYONE,
    CATALOGUE_SUBSCRIPTION,
    DESCRIBE,
    MESSAGE,
    PART,
    SMALLEST_WINDOW,
    WINDOW,
    Action,
    Caller,
    Ended,
    Forget,
    Invoke,
    Item,
    Kind,
    Log,
    OpenLane,
    Progress,
    Send,
    Waits,
    call_subject,
    control_subject,
    inbox_subject,
    inbox_subscription,
    object_subject,
    offline_grace_s,
    pack,
    unpack,
)
from ..tracing import outgoing_trace
from .access import Access
from .again import again_in
from .directory import Directory
from .longvalues import LongValues
from .lookup import CATALOGUE, items
from .objects import Handle, Leases
from .observers import Observer
from .pace import Pace
from .receiving import codecs_meta, largest_bytes
from .request import Attempt, Request

__all__ = ["Link", "Request"]

_log = logging.getLogger(__name__)
_TICK_S = 0.1
_DESCRIPTION_BYTES = 16 * 1024 * 1024
_CLOSE_TICKS = 100
_CREDIT_BYTES = 32 * 1024 * 1024
"""What all calls of one connection may have under way together: half of what the broker holds before it cuts us."""

_AGAIN_OFFLINE_S = 15.0
_IDS_AT_ONCE = 64
_AWAY = "the broker is away; waiting for it"
_APPROVAL = "waiting for the owner's approval"


class Link:
    """One connection of a caller.

    Parameters
    ----------
    access : Access
        Which network, and as whom.
    on_module : callable, optional
        Told ``institute/module`` whenever a module or a new backend of it shows up.
    """

    def __init__(self, access: Access, on_module: Callable[[str], None] | None = None) -> None:
        self.access = access
        self.directory = Directory(on_module, self._backend_restarted)
        self._connection: Connection | None = None
        self._conn_id = secrets.token_hex(16)
        self._lane_id = secrets.token_hex(16)
        self._long: LongValues | None = None
        self._calls: dict[str, Attempt] = {}
        self.leases = Leases(self)
        self._waiting: set[Request] = set()
        self._paces: dict[tuple[str, str], Pace[Attempt]] = {}
        self._deaf_since: float | None = None
        self._was_cut = False
        self._ids = _fresh_ids()
        self._limit_bytes = largest_bytes()
        self._ticking: asyncio.Task[None] | None = None
        self._known_names: dict[Address, tuple[str, str]] = {}
        self._inbox = inbox_subscription(access.institute, access.person, self._conn_id)
        self._id_place = slice(len(self._inbox) - 3, len(self._inbox) - 3 + 32)
        self._closed = ""
        self._closing = False
        self._closer: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Connect, and learn what modules there are.

        Raises
        ------
        BrokerUnreachable
            When no broker answers or it refuses the credential.
        """
        self._loop = asyncio.get_running_loop()
        try:
            await self._connect()
        except BaseException:
            await self.close()
            raise

    async def _connect(self) -> None:
        access = self.access
        self._connection = await Connection.open(
            access.urls,
            user_jwt=access.user_jwt,
            sign=access.sign,
            name=f"landbridge {access.institute}/{access.person}",
            on_event=self._connection_event,
            urls_now=access.urls_now,
            tls=access.tls,
        )
        await self._connection.subscribe(self._inbox, self._answer_arrived)
        parts = inbox_subscription(access.institute, access.person, self._lane_id)
        self._long = LongValues(self._connection, parts, self._answer_arrived, self._calls, self._act)
        await self._connection.subscribe(CATALOGUE_SUBSCRIPTION, self._presence_arrived)
        self._ticking = asyncio.create_task(self._tick())
        # Where nobody keeps a catalogue, or not well, the modules' own announcements tell within seconds.
        with contextlib.suppress(LandbridgeError):
            self.directory.take_catalogue(await items(self, CATALOGUE, {}, timeout_s=5.0), self._loop.time())

    @property
    def modules(self) -> Mapping[str, set[str]]:
        """The modules that are known, those offline too: their backends by ``institute/module``."""
        return self.directory.modules

    @property
    def dead(self) -> bool:
        """Whether the connection has ended for good."""
        return bool(self._closed)

    async def close(self) -> None:
        """End all calls, tell their backends, and disconnect; once begun it is finished, whoever is cancelled."""
        if self._connection is None:
            return
        if self._closer is None:
            self._closing = True
            self._closer = self._loop.create_task(self._close(self._connection))
        await asyncio.shield(self._closer)

    async def _close(self, connection: Connection) -> None:
        for request in [*self._waiting, *(attempt.request for attempt in self._calls.values())]:
            self.cancel(request)
        # A backend that has a call but has not said so yet can only be told to stop once it has.
        for _ in range(_CLOSE_TICKS):
            if all(attempt.caller.instance for attempt in self._calls.values()):
                break
            await asyncio.sleep(_TICK_S / 10)
        self._closed = "the connection was closed here"
        self._end_all(self._closed)
        if self._ticking is not None:
            self._ticking.cancel()
        if self._long is not None:
            await self._long.close()
        await connection.close()

    def start(
        self,
        target: Address,
        parts: Sequence[bytes | memoryview],
        size: int,
        observer: Observer,
        timeout_s: float | None,
        *,
        idempotent: bool = False,
        extras: dict[str, Any] | None = None,
        handle: Handle | None = None,
    ) -> Request:
        """Start a call; `observer` is told what happens.

        Parameters
        ----------
        target : Address
            The method.
        parts, size : sequence of bytes, int
            The encoded arguments, and their length in bytes.
        observer : Observer
            Is told what happens.
        timeout_s : float or None
            The caller's time limit.
        idempotent : bool
            Whether it does no harm to run the method once more when its backend was lost.
        extras : dict, optional
            Further fields of CALL, beside the place in a trace of whoever calls.
        handle : Handle, optional
            The object whose method it is.
        """
        trace = outgoing_trace()
        if trace is not None:
            extras = {**(extras or {}), **trace.to_meta()}
        request = Request(target, parts, size, observer, timeout_s, idempotent, extras, handle, self._loop.time())
        if self._closing or self._closed:
            why = self._closed or "the connection is being closed here"
            observer.ended(None, BrokerUnreachable(f"{target} was not called: {why}"))
        else:
            self._try(request, self._loop.time())
        return request

    def _try(self, request: Request, now: float) -> None:
        target, left_s = request.target, request.timeout_s
        if left_s is not None and request.tries:
            left_s = max(left_s - (now - request.at), 0.001)
        caller = Caller(
            self._names(target)[0],
            request.parts,
            request.size,
            timeout_s=left_s,
            window=max(SMALLEST_WINDOW, min(WINDOW, _CREDIT_BYTES // (len(self._calls) + 1))),
            limit=self._limit_bytes if target.member != DESCRIBE else _DESCRIPTION_BYTES,
            make_room=wire.room,
            extras={**codecs_meta(), **(request.extras or {})},
        )
        request.tries += 1
        attempt = request.attempt = Attempt(next(self._ids), caller, request)
        self._calls[attempt.call_id] = attempt
        self._act(attempt, caller.start(now))

    def cancel(self, request: Request) -> None:
        """Ask for a call to be stopped; it is not tried again."""
        request.cancelled = True
        attempt, name = request.attempt, self._names(request.target)[0]
        if request in self._waiting:
            # What was lost may still run where it was lost.
            self._end(request, None, CallCancelled(name, "stopping" if request.was_lost else "stopped"))
        elif attempt is not None and attempt.pending:
            self._drop(attempt, CallCancelled(name, "stopping" if request.was_lost else "stopped"))
        elif attempt is not None:
            self._act(attempt, attempt.caller.cancel(self._loop.time()))

    def took(self, request: Request, what: Item | Invoke) -> None:
        """Take note that an item, or the arguments of a function, have been used, so that further ones may come."""
        attempt = request.attempt
        if attempt is not None:
            self._act(attempt, attempt.caller.took(what.cost, what.bulk, self._loop.time()))

    def returned(self, request: Request, ask: int, parts: Sequence[bytes | memoryview], size: int) -> None:
        """Give the method the value of a function it called."""
        if request.attempt is not None:
            now = self._loop.time()
            self._act(request.attempt, request.attempt.caller.returned(ask, parts, size, now))

    def raised(self, request: Request, ask: int, meta: dict[str, Any]) -> None:
        """Give the method the error that a function it called ended with, as an ERROR message carries it."""
        if request.attempt is not None:
            self._act(request.attempt, request.attempt.caller.raised(ask, meta, self._loop.time()))

    def _presence_arrived(self, delivered: Delivered) -> None:
        self.directory.presence_arrived(delivered, self._loop.time())

    def _backend_restarted(self, module: str, instance: str, is_only: bool) -> None:
        for attempt in list(self._calls.values()):
            target, held_by = attempt.request.target, attempt.caller.instance
            here = f"{target.institute}/{target.module}" == module and not attempt.pending
            if here and (held_by == instance or (is_only and not held_by)):
                self._act(attempt, attempt.caller.backend_restarted(self._loop.time()))

    def _answer_arrived(self, delivered: Delivered) -> None:
        # What comes here matches our own subscription: everything before the id is known.
        attempt = self._calls.get(delivered.subject[self._id_place])
        if attempt is None:
            return
        now = self._loop.time()
        try:
            connection = self._connection
            if not delivered.no_responders:
                if not attempt.answered:
                    self._was_answered(attempt, now)
                self._act(attempt, attempt.caller.received(unpack(delivered.payload), now))
            elif delivered.subject.endswith(".0") and connection is not None:
                grace_s = self._offline_grace_s(attempt.request, now - connection.connected_at, now)
                self._act(attempt, attempt.caller.nobody_received(now, grace_s))
        except ProtocolMismatch as error:
            self._act(attempt, attempt.caller.broken(error, now))
        except Malformed as error:
            # Not a message of ours: the call goes on, and silence ends it if nothing better comes.
            if not attempt.warned:  # once: whoever sends such answers may send them without end
                attempt.warned = True
                _log.warning("ignored an answer to a call of %s: %s", attempt.request.target, error.reason)

    def _offline_grace_s(self, request: Request, age_s: float, now: float) -> float:
        """Return how long the backends of a module that nobody serves now are given to be there (again)."""
        if request.tries > 1:
            return _AGAIN_OFFLINE_S
        module = f"{request.target.institute}/{request.target.module}"
        was_there = self.directory.was_there(module, now)
        is_kept = request.handle is not None and request.handle.kind == "ref"
        return offline_grace_s(was_there, request.handle is not None, age_s, was_cut=self._was_cut, is_kept=is_kept)

    def _connection_event(self, event: Event) -> None:
        now = asyncio.get_running_loop().time()
        if isinstance(event, Reconnected):
            if self._deaf_since is not None:
                self.directory.was_deaf(now - self._deaf_since)
                self._deaf_since = None
            for attempt in list(self._calls.values()):
                attempt.request.observer.noticed(_APPROVAL if attempt.caller.waits_for_approval else "")
                sent = not attempt.pending
                self._send_pending(attempt)
                actions = attempt.caller.reconnected(now)
                self._act(attempt, actions if sent else ())
        elif isinstance(event, Disconnected):
            self._deaf_since, self._was_cut = now, True
            for attempt in list(self._calls.values()):
                attempt.caller.disconnected()
                attempt.request.observer.noticed(_AWAY)
        elif isinstance(event, Closed):
            self._closed = event.reason
            self._end_all(event.reason)
        elif isinstance(event, Denied) and event.action == "publish":
            self._denied(event.subject)

    def _denied(self, subject: str) -> None:
        """Fail the calls whose request the broker refused, rather than let them wait for their silence."""
        me = f"{self.access.institute}/{self.access.person}"
        for attempt in list(self._calls.values()):
            if self._request_subject(attempt.request) == subject:
                error = PermissionDenied(
                    f"The broker lets {me} call nothing under {subject!r}. Ask whoever issued the credential."
                )
                self._drop(attempt, error)

    def _end_all(self, reason: str) -> None:
        for attempt in list(self._calls.values()):
            self._act(attempt, attempt.caller.closed(reason))
        for request in list(self._waiting):
            self._end(request, None, CallLost(f"{request.target} was not called again: {reason}"))

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(_TICK_S)
            # A function of its own: the last call, and its value, would otherwise live here until the next.
            self._let_time_pass(self._loop.time())

    def _let_time_pass(self, now: float) -> None:
        for attempt in list(self._calls.values()):
            if attempt.pending and self._may_hope(attempt, now):
                attempt.caller.not_sent(now)
            self._act(attempt, attempt.caller.tick(now))
        if self._long is not None:
            self._long.tick(now)
        self.leases.tick(now)
        for request in [request for request in self._waiting if now >= request.again_at]:
            self._waiting.discard(request)
            request.observer.noticed("")
            self._try(request, now)

    def _may_hope(self, attempt: Attempt, now: float) -> bool:
        away = self._connection is None or not self._connection.connected
        return away or attempt.pace is None or attempt.pace.moves(now)

    def _act(self, attempt: Attempt, actions: Sequence[Action]) -> None:
        request = attempt.request
        for action in actions:
            if type(action) is Send:
                self._send(attempt, action)
            elif type(action) is Ended:
                self._ended(attempt, action.frame, action.error)
            elif type(action) is Item:
                request.delivered = True
                request.observer.item_arrived(action)
            elif type(action) is Progress:
                request.observer.progressed(action)
            elif type(action) is Forget:
                self._forget(attempt)
            elif type(action) is OpenLane and self._long is not None:
                self._long.open_for(attempt)
            elif type(action) is Waits:
                request.observer.waits(action.place)
                if action.approval:
                    request.observer.noticed(_APPROVAL)
            elif type(action) is Log:
                request.observer.logged(action)
            elif type(action) is Invoke:
                request.observer.invoked(action)

    def _ended(self, attempt: Attempt, frame: memoryview | bytearray | None, error: LandbridgeError | None) -> None:
        request = attempt.request
        if request.attempt is not attempt:
            return  # what was to be done before this could not be, and ended it
        if error is not None:
            now = self._loop.time()
            if isinstance(error, ModuleOffline) and request.handle is not None:
                error = ObjectGone(f"What {request.target} was asked of", "its backend has gone")
            elif isinstance(error, ModuleOffline):
                error = self.directory.offline_error(f"{request.target.institute}/{request.target.module}")
            elif isinstance(error, Busy) and request.cancelled:
                error = CallCancelled(attempt.caller.target, "stopped")
            elif isinstance(error, CallTimeout) and request.timeout_s is not None and request.tries > 1:
                error = CallTimeout(attempt.caller.target, request.timeout_s)  # for all attempts together
            elif isinstance(error, CallLost) and attempt.pending and not self._closed:
                error = CallLost(
                    f"{attempt.caller.target} was not sent: the calls before it have had no answer from its "
                    "backends for some seconds. The method has not run. Call again later."
                )
            wait = None if self._closing or self._closed or request.cancelled else again_in(error, request, now)
            if wait is not None:
                request.was_lost = request.was_lost or isinstance(error, CallLost)
                request.again_at, request.attempt = now + wait[0], None
                self._waiting.add(request)
                request.observer.waits(0)
                request.observer.noticed(wait[1])
                return
        self._end(request, frame, error)

    def _end(self, request: Request, frame: memoryview | bytearray | None, error: LandbridgeError | None) -> None:
        self._waiting.discard(request)
        request.attempt, request.parts, request.handle = None, (), None
        request.observer.ended(frame, error)

    def _forget(self, attempt: Attempt) -> None:
        self._calls.pop(attempt.call_id, None)
        if not attempt.answered:
            self._goes_no_more(attempt, self._loop.time())
        if self._long is not None:
            self._long.forget(attempt)

    def _was_answered(self, attempt: Attempt, now: float) -> None:
        if attempt.pace is not None:
            attempt.pace.answered(attempt, now)
        self._goes_no_more(attempt, now)

    def _goes_no_more(self, attempt: Attempt, now: float) -> None:
        """Let the next ones go, if that makes room."""
        attempt.answered = True
        pace = attempt.pace
        if pace is None:
            return
        pace.ended(attempt, now)
        # A backend is not given work whose caller is about to go.
        while not self._closing and (following := pace.next(now)) is not None:
            if following.caller.has_ended:
                pace.ended(following, now)
            else:
                following.goes = True
                following.caller.not_sent(now)
                self._send_pending(following)

    def _names(self, target: Address) -> tuple[str, str]:
        """Return the target as text, and the subject of requests to it."""
        names = self._known_names.get(target)
        if names is None:
            subject = call_subject(
                self.access.institute, self.access.person, target.institute, target.module,
                (target.member or "").replace(".", ":"),
            )  # fmt: skip
            names = self._known_names[target] = (str(target), subject)
        return names

    def _send(self, attempt: Attempt, send: Send) -> None:
        access, target, connection, long = self.access, attempt.request.target, self._connection, self._long
        if connection is None or long is None:
            return
        if send.to == "request":
            # Kept here, not in the connection: a call that ends meanwhile must not run when the broker is back.
            if not connection.connected or not self._may_go(attempt):
                attempt.pending.append(send)
                if not connection.connected:
                    attempt.request.observer.noticed(_AWAY)
                return
            subject = self._request_subject(attempt.request)
            reply = inbox_subject(access.institute, access.person, self._conn_id, attempt.call_id, 0)
        else:
            instance = ANYONE if send.to == "anyone" else attempt.caller.instance
            subject = control_subject(
                access.institute, access.person, target.institute, target.module, instance, attempt.call_id,
                PART if send.to == "lane" else MESSAGE,
            )  # fmt: skip
            inbox = self._lane_id if long.come_here(attempt) else self._conn_id
            reply = inbox_subject(access.institute, access.person, inbox, attempt.call_id, 1)
        if send.to == "lane":
            long.send(subject, send.parts, reply)
            return
        try:
            connection.publish(subject, *send.parts, reply=reply)
        except LandbridgeError as error:
            self._drop(attempt, error)

    def _request_subject(self, request: Request) -> str:
        handle = request.handle
        if handle is None:
            return self._names(request.target)[1]
        return self._subject_of(handle, request.target.member or "")

    def _subject_of(self, handle: Handle, method: str) -> str:
        access, where = self.access, handle.where
        return object_subject(
            access.institute, access.person, where.institute, where.module, handle.instance, handle.kind,
            handle.object_id, method.rpartition(".")[2],
        )  # fmt: skip

    def tell(self, handle: Handle, method: str) -> None:
        """Prolong or end the lease of an object; nothing comes of it here."""
        if self._connection is not None and self._connection.connected:
            access = self.access
            reply = inbox_subject(access.institute, access.person, self._conn_id, secrets.token_hex(16), 0)
            self._connection.publish(self._subject_of(handle, method), pack(Kind.CALL, 0, {"granted": 0}), reply=reply)

    def _may_go(self, attempt: Attempt) -> bool:
        target = attempt.request.target
        if attempt.goes or target.member == DESCRIBE:
            return True
        pace = attempt.pace
        if pace is None:
            module = (target.institute, target.module)
            pace = self._paces.get(module)
            if pace is None:
                pace = self._paces[module] = Pace()
            attempt.pace = pace
        attempt.goes = pace.may_go(attempt, self._loop.time())
        return attempt.goes

    def _send_pending(self, attempt: Attempt) -> None:
        pending, attempt.pending = attempt.pending, []
        if not attempt.caller.has_ended:
            for send in pending:
                self._send(attempt, send)

    def _drop(self, attempt: Attempt, error: LandbridgeError) -> None:
        if attempt.call_id in self._calls:
            self._forget(attempt)
            if not attempt.caller.has_ended:
                self._ended(attempt, None, error)


def _fresh_ids() -> Iterator[str]:
    """Give ids that nobody can guess; the operating system is asked for many at a time, as each asking costs 0.5 µs."""
    while True:
        digits = secrets.token_hex(16 * _IDS_AT_ONCE)
        for begin in range(0, len(digits), 32):
            yield digits[begin : begin + 32]
