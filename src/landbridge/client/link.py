"""One connection of a caller: drives a `Caller` for each call, hands its events on, and keeps the catalogue.

Everything here runs in the loop that the connection belongs to.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import secrets
from collections.abc import Callable, Sequence

from .. import wire
from ..broker import Closed, Connection, Denied, Event, Reconnected
from ..broker import Message as Delivered
from ..contract import ModuleSpec
from ..errors import (
    BrokerUnreachable,
    CallLost,
    CallTimeout,
    LandbridgeError,
    Malformed,
    ModuleOffline,
    PermissionDenied,
    ProtocolMismatch,
    TooLarge,
    UnknownModule,
)
from ..names import Address, nearest
from ..protocol import (
    CATALOGUE_SUBSCRIPTION,
    DESCRIBE,
    SMALLEST_WINDOW,
    WINDOW,
    Action,
    Caller,
    Ended,
    Forget,
    Item,
    Progress,
    Send,
    call_subject,
    control_subject,
    inbox_subject,
    inbox_subscription,
    parse_catalogue,
    unpack,
    unpack_presence,
)
from .access import Access
from .observers import Collecting, Observer, Waiting

__all__ = ["CATALOGUE", "Link"]

_log = logging.getLogger(__name__)
_TICK_S = 0.1
_INSTANCES_KEPT = 1000
_ITEMS_KEPT = 100_000
_ITEMS_KEPT_BYTES = 64 * 1024 * 1024
_DESCRIBE_TIMEOUT_S = 4.5
_CLOSE_TICKS = 100
_CREDIT_BYTES = 32 * 1024 * 1024
"""What all calls of one connection may have under way together: half of what the broker holds before it cuts us."""

CATALOGUE = Address("lb", "catalogue", "modules")
"""The method of the broker's own module that lists all modules, those offline too: a stream of pages."""


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
        self.modules: dict[str, set[str]] = {}
        self._on_module = on_module
        self._connection: Connection | None = None
        self._conn_id = secrets.token_hex(16)
        self._calls: dict[str, _Entry] = {}
        self._ticking: asyncio.Task[None] | None = None
        self._known_names: dict[Address, tuple[str, str]] = {}
        self._inbox = inbox_subscription(access.institute, access.person, self._conn_id)
        self._id_place = slice(len(self._inbox) - 3, len(self._inbox) - 3 + 32)
        self._closed = ""
        self._closing = False

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
        )
        await self._connection.subscribe(self._inbox, self._answer_arrived)
        await self._connection.subscribe(CATALOGUE_SUBSCRIPTION, self._presence_arrived)
        self._ticking = asyncio.create_task(self._tick())
        # Where nobody keeps a catalogue, or not well, the modules' own announcements tell within seconds.
        with contextlib.suppress(LandbridgeError):
            self._take_catalogue(await self.items(CATALOGUE, {}, timeout_s=5.0))

    @property
    def dead(self) -> bool:
        """Whether the connection has ended for good."""
        return bool(self._closed)

    async def close(self) -> None:
        """End all calls, tell their backends, and disconnect."""
        if self._connection is None or self._closing:
            return
        self._closing = True
        now = self._loop.time()
        for entry in list(self._calls.values()):
            self._act(entry, entry.caller.cancel(now))
        # A backend that has a call but has not said so yet can only be told to stop once it has.
        for _ in range(_CLOSE_TICKS):
            if all(entry.caller.instance for entry in self._calls.values()):
                break
            await asyncio.sleep(_TICK_S / 10)
        self._closed = "the connection was closed here"
        self._end_all(self._closed)
        if self._ticking is not None:
            self._ticking.cancel()
        await self._connection.close()

    def start(
        self,
        target: Address,
        parts: Sequence[bytes | memoryview],
        size: int,
        observer: Observer,
        timeout_s: float | None,
    ) -> str:
        """Start a call and return its id; `observer` is told what happens.

        Raises
        ------
        TooLarge
            When the arguments are larger than this version sends.
        """
        window = max(SMALLEST_WINDOW, min(WINDOW, _CREDIT_BYTES // (len(self._calls) + 1)))
        name, _ = self._names(target)
        caller = Caller(name, parts, size, timeout_s=timeout_s, window=window)
        call_id = secrets.token_hex(16)
        entry = _Entry(caller, observer, target, call_id)
        if self._closing or self._closed:
            why = self._closed or "the connection is being closed here"
            observer.ended(None, BrokerUnreachable(f"{name} was not called: {why}"))
            return call_id
        self._calls[call_id] = entry
        self._act(entry, caller.start(self._loop.time()))
        return call_id

    def cancel(self, call_id: str) -> None:
        """Ask for a call to be stopped."""
        entry = self._calls.get(call_id)
        if entry is not None:
            self._act(entry, entry.caller.cancel(self._loop.time()))

    def took(self, call_id: str, cost: int) -> None:
        """Take note that an item has been used, so that further ones may come."""
        entry = self._calls.get(call_id)
        if entry is not None:
            self._act(entry, entry.caller.took(cost, self._loop.time()))

    async def call(self, target: Address, arguments: dict[str, object], *, timeout_s: float | None = None) -> object:
        """Call a method and return its value as it travelled."""
        parts = wire.encode(arguments)
        waiting = Waiting(self._loop)
        self.start(target, parts, wire.size_bytes(parts), waiting, timeout_s)
        return wire.decode(await waiting.future)

    async def items(self, target: Address, arguments: dict[str, object], *, timeout_s: float | None) -> list[object]:
        """Call a stream and return its items as they travelled, all at once.

        Raises
        ------
        Malformed, TooLarge
            When there are more of them than is sensibly kept at once; the method is told to stop.
        """
        parts = wire.encode(arguments)
        collecting = Collecting()
        call_id = self.start(target, parts, wire.size_bytes(parts), collecting, timeout_s)
        items: list[object] = []
        size = 0
        try:
            while (item := await collecting.next()) is not None:
                size += len(item.frame)
                if len(items) >= _ITEMS_KEPT:
                    raise Malformed(f"{target} gives more than {_ITEMS_KEPT:,} items")
                if size > _ITEMS_KEPT_BYTES:
                    raise TooLarge(f"The items of {target}", size, _ITEMS_KEPT_BYTES, "Ask for fewer")
                items.append(wire.decode(item.frame))
                self.took(call_id, item.cost)
        finally:
            self.cancel(call_id)  # does nothing once it has ended
        return items

    async def describe(self, where: Address) -> ModuleSpec:
        """Ask a module what this caller may see of it.

        Parameters
        ----------
        where : Address
            The module; with a member, that one is asked for in particular.

        Raises
        ------
        UnknownModule, ModuleOffline
            When there is no such module, or nobody serves it now.
        UnknownMember, PermissionDenied
            When there is no such member, or it is not shared with this caller.
        """
        name = f"{where.institute}/{where.module}"
        wanted: dict[str, object] = {} if where.member is None else {"member": where.member}
        try:
            described = await self.call(where._replace(member=DESCRIBE), wanted, timeout_s=_DESCRIBE_TIMEOUT_S)
        except CallTimeout:
            raise CallLost(
                f"{name} did not say within {_DESCRIBE_TIMEOUT_S:g} s what it offers: its backend is frozen, overloaded"
                f" or cut off. Ask {where.institute} to look after it, or see what else is online: landbridge ls"
            ) from None
        spec = ModuleSpec.from_json(described)
        if spec.name != name:
            raise Malformed(f"{name} describes itself as {spec.name}")
        return spec

    def offline_error(self, name: str) -> LandbridgeError:
        """Return what to say when nobody receives a request to module `name`."""
        if name in self.modules or name.startswith("lb/"):
            return ModuleOffline(name)
        return UnknownModule(name, nearest(name, self.modules), sorted(self.modules))

    def _take_catalogue(self, pages: list[object]) -> None:
        listed = (entry for page in pages if isinstance(page, list) for entry in page)
        for entry in itertools.islice(listed, _ITEMS_KEPT):
            if isinstance(entry, dict) and isinstance(entry.get("module"), str):
                institute, _, module = entry["module"].partition("/")
                with contextlib.suppress(Malformed):
                    parse_catalogue(f"lb.cat.{institute}.{module}")
                    self._note(f"{institute}/{module}", None)

    def _note(self, name: str, instance: str | None) -> None:
        """Take note of a module, and of a backend of it; whoever holds it is told when either is new."""
        known = self.modules.get(name)
        if known is not None and (instance is None or instance in known):
            return
        known = self.modules.setdefault(name, set())
        if instance is not None:
            if len(known) >= _INSTANCES_KEPT:
                known.clear()
            known.add(instance)
        if self._on_module is not None:
            self._on_module(name)

    def _presence_arrived(self, delivered: Delivered) -> None:
        try:
            institute, module = parse_catalogue(delivered.subject)
            presence = unpack_presence(delivered.payload)
        except Malformed as error:
            _log.debug("ignored a catalogue entry: %s", error.reason)
            return
        if presence.serving:
            self._note(f"{institute}/{module}", presence.instance)

    def _answer_arrived(self, delivered: Delivered) -> None:
        # What comes here matches our own subscription: everything before the id is known.
        entry = self._calls.get(delivered.subject[self._id_place])
        if entry is None:
            return
        now = self._loop.time()
        try:
            connection = self._connection
            if delivered.no_responders and connection is not None:
                self._act(entry, entry.caller.nobody_received(now, connection.connected_at))
            else:
                self._act(entry, entry.caller.received(unpack(delivered.payload), now))
        except ProtocolMismatch as error:
            self._act(entry, entry.caller.broken(error, now))
        except Malformed as error:
            # Not a message of ours: the call goes on, and silence ends it if nothing better comes.
            _log.warning("ignored an answer: %s", error.reason)

    def _connection_event(self, event: Event) -> None:
        now = asyncio.get_running_loop().time()
        if isinstance(event, Reconnected):
            for entry in list(self._calls.values()):
                self._send_pending(entry)
                self._act(entry, entry.caller.reconnected(now))
        elif isinstance(event, Closed):
            self._closed = event.reason
            self._end_all(event.reason)
        elif isinstance(event, Denied) and event.action == "publish":
            self._denied(event.subject)

    def _denied(self, subject: str) -> None:
        """Fail the calls whose request the broker refused, rather than let them wait for their silence."""
        me = f"{self.access.institute}/{self.access.person}"
        for entry in list(self._calls.values()):
            if self._names(entry.target)[1] == subject:
                error = PermissionDenied(
                    f"The broker lets {me} call nothing under {subject!r}. Ask whoever issued the credential."
                )
                self._drop(entry, error)

    def _end_all(self, reason: str) -> None:
        for entry in list(self._calls.values()):
            self._act(entry, entry.caller.closed(reason))

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(_TICK_S)
            if self._calls:
                now = self._loop.time()
                for entry in list(self._calls.values()):
                    self._act(entry, entry.caller.tick(now))

    def _act(self, entry: _Entry, actions: Sequence[Action]) -> None:
        for action in actions:
            if type(action) is Send:
                self._send(entry, action)
            elif type(action) is Ended:
                error = action.error
                if isinstance(error, ModuleOffline):
                    error = self.offline_error(f"{entry.target.institute}/{entry.target.module}")
                entry.observer.ended(action.frame, error)
            elif type(action) is Item:
                entry.observer.item_arrived(action)
            elif type(action) is Progress:
                entry.observer.progressed(action)
            elif type(action) is Forget:
                self._calls.pop(entry.call_id, None)

    def _names(self, target: Address) -> tuple[str, str]:
        """Return the target as text, and the subject of requests to it."""
        names = self._known_names.get(target)
        if names is None:
            subject = call_subject(
                self.access.institute, self.access.person, target.institute, target.module, target.member or ""
            )
            names = self._known_names[target] = (str(target), subject)
        return names

    def _send(self, entry: _Entry, send: Send) -> None:
        access, target, connection = self.access, entry.target, self._connection
        if connection is None:
            return
        if send.to == "request" and not connection.connected:
            # Kept here, not in the connection: a call that ends meanwhile must not run when the broker is back.
            entry.pending.append(send)
            return
        reply = inbox_subject(access.institute, access.person, self._conn_id, entry.call_id, 0)
        if send.to == "request":
            subject = self._names(target)[1]
        else:
            subject = control_subject(
                access.institute, access.person, target.institute, target.module, entry.caller.instance,
                entry.call_id, "message",
            )  # fmt: skip
        try:
            connection.publish(subject, *send.parts, reply=reply)
        except LandbridgeError as error:
            self._drop(entry, error)

    def _send_pending(self, entry: _Entry) -> None:
        pending, entry.pending = entry.pending, []
        if not entry.caller.has_ended:
            for send in pending:
                self._send(entry, send)

    def _drop(self, entry: _Entry, error: LandbridgeError) -> None:
        if self._calls.pop(entry.call_id, None) is not None and not entry.caller.has_ended:
            entry.observer.ended(None, error)


class _Entry:
    __slots__ = ("call_id", "caller", "observer", "pending", "target")

    def __init__(self, caller: Caller, observer: Observer, target: Address, call_id: str) -> None:
        self.caller = caller
        self.observer = observer
        self.target = target
        self.call_id = call_id
        self.pending: list[Send] = []
