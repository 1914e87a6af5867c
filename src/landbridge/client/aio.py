"""The same network for asyncio: calls are awaited, streams are looped over with ``async for``.

Everything runs in the loop of whoever opened the network, but for looking up the credential, which may read files.
"""

from __future__ import annotations

import asyncio
import inspect
import sys
import weakref
from collections import deque
from collections.abc import AsyncIterator, Callable, Generator
from contextlib import suppress
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any

from .. import wire
from ..contract import ClassSpec, MethodSpec, ModuleSpec, bind, lower_arguments, revive
from ..errors import CallCancelled, InvalidName, LandbridgeError, Malformed, ProtocolMismatch, UnknownMember
from ..names import Address, nearest, parse_address
from ..protocol import Invoke, Item, Log, Progress
from . import functions
from .access import Access
from .aioreferences import AsyncReference
from .link import Link, Request
from .lookup import describe
from .objects import Handle
from .observers import refuse_pickling
from .options import DEFAULT, Options
from .receiving import decoded
from .request import Attempt
from .types import types_of

__all__ = ["AsyncCall", "AsyncInstitute", "AsyncMethod", "AsyncModule", "AsyncNetwork", "AsyncObject"]

_Described = tuple[ModuleSpec, dict[str, type]]


class AsyncNetwork:
    """A network of institutes, for asyncio: ``async with lb.AsyncNetwork() as net: await net.geomar.ocean.mean(1)``.

    Unlike in `Network`, attributes are looked up when they are called: asking a module for its members takes a
    message, and an attribute cannot be awaited.

    Parameters
    ----------
    resolve : callable
        Gives the network and whom to be there; called in a thread when the network is entered.
    """

    def __init__(self, resolve: Callable[[], Access]) -> None:
        self._resolve = resolve
        self._link_open: Link | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._asked: dict[str, asyncio.Task[_Described]] = {}
        self._described: dict[str, _Described] = {}

    async def __aenter__(self) -> AsyncNetwork:
        link = Link(await asyncio.to_thread(self._resolve), self._forget)
        await link.open()
        self._link_open, self._loop = link, asyncio.get_running_loop()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Disconnect; calls that still run are told to stop."""
        if self._link_open is not None:
            self._check_loop()
            await self._link_open.close()

    def _check_loop(self) -> asyncio.AbstractEventLoop:
        """Return the running event loop; refuse to be used in another one, where nobody would ever be woken."""
        loop = asyncio.get_running_loop()
        if loop is not self._loop:
            raise RuntimeError(
                "This network, or a call in it, is used in another event loop than the one that entered it. "
                "Enter one in each loop: async with lb.AsyncNetwork() as net"
            )
        return loop

    @property
    def _link_now(self) -> Link:
        if self._link_open is None:
            raise RuntimeError("This network is not open. Enter it first: async with lb.AsyncNetwork() as net")
        return self._link_open

    def __getattr__(self, name: str) -> AsyncInstitute:
        if name.startswith("_"):
            raise AttributeError(name)
        return AsyncInstitute(self, name)

    def __getitem__(self, address: str) -> AsyncModule:
        """Return the module at ``institute/module``; whether it exists shows when it is called."""
        where = parse_address(address)
        if where.member is not None:
            raise InvalidName(address, "module", "it names a method, too; write net['institute/module'].method")
        return AsyncModule(self, where)

    def __dir__(self) -> list[str]:
        names = {name.partition("/")[0] for name in list(self._link_now.modules)}
        return [*sorted(names - {"lb"}), "close"]

    def _forget(self, name: str) -> None:
        """Have a module asked for its members again: a backend has started, maybe of a newer version."""
        self._described.pop(name, None)

    async def _describe(self, where: Address) -> _Described:
        name = f"{where.institute}/{where.module}"
        task = self._asked.get(name)
        if task is None or task.done():
            task = self._asked[name] = asyncio.create_task(self._ask(name, where))
        # One caller that is cancelled must not take the answer from the others.
        return await asyncio.shield(task)

    async def _ask(self, name: str, where: Address) -> _Described:
        spec = await describe(self._link_now, where._replace(member=None))
        described = self._described[name] = (spec, types_of(spec))
        return described


class AsyncInstitute:
    """An institute; its modules are its attributes."""

    def __init__(self, network: AsyncNetwork, name: str) -> None:
        self._network = network
        self._name = name

    def __getattr__(self, name: str) -> AsyncModule:
        if name.startswith("_"):
            raise AttributeError(name)
        return self._network[f"{self._name}/{name}"]

    def __dir__(self) -> list[str]:
        front = f"{self._name}/"
        return sorted(name[len(front) :] for name in self._network._link_now.modules if name.startswith(front))

    def __repr__(self) -> str:
        return f"<landbridge institute {self._name} (async)>"


class AsyncModule:
    """A module; its methods are its attributes."""

    def __init__(self, network: AsyncNetwork, where: Address) -> None:
        self._network = network
        self._where = where

    def __getattr__(self, name: str) -> AsyncMethod:
        if name.startswith("_"):
            raise AttributeError(name)
        return AsyncMethod(self._network, self._where._replace(member=name))

    def __repr__(self) -> str:
        return f"<landbridge module {self._where} (async)>"


class AsyncMethod:
    """A remote method; calling it starts the call, awaiting the call gives the value."""

    def __init__(
        self, network: AsyncNetwork, address: Address, options: Options = DEFAULT, handle: Handle | None = None
    ) -> None:
        self._network = network
        self._address = address
        self._options = options
        self._handle = handle

    def __call__(self, *args: Any, **kwargs: Any) -> AsyncCall:
        """Call the method."""
        return self.start(*args, **kwargs)

    def start(self, *args: Any, **kwargs: Any) -> AsyncCall:
        """Call the method; must be in the network's loop."""
        return AsyncCall(self._network, self._address, args, kwargs, self._options, self._handle)

    async def keep(self, *args: Any, **kwargs: Any) -> AsyncReference:
        """Call the method, leave its value where it was made, and return a reference, as `Method.keep` does."""
        call = AsyncCall(self._network, self._address, args, kwargs, self._options, self._handle, keeps=True)
        kept = await call
        if not isinstance(kept, AsyncReference) or kept.target != str(self._address):
            raise Malformed(f"{self._address} was to keep its value, and answered with something else")
        return kept

    def options(self, *, timeout_s: float | None = None, logs: bool = False) -> AsyncMethod:
        """Return the same method with other options, as `landbridge.client.network.Method.options` has them."""
        return AsyncMethod(self._network, self._address, Options(timeout_s, logs), self._handle)

    def __repr__(self) -> str:
        return f"<landbridge method {self._address} (async)>"


class AsyncObject:
    """An object that lives at a backend; its methods are its attributes. ``async with`` ends its life there."""

    def __init__(self, network: AsyncNetwork, handle: Handle, lease: Handle, spec: ClassSpec) -> None:
        self._network = network
        self._handle = handle
        self._lease = lease
        weakref.finalize(handle, _let_go, asyncio.get_running_loop(), network._link_now, lease).atexit = False
        for name, method in spec.methods.items():
            address = handle.where._replace(member=f"{spec.name}.{name}")
            vars(self)[name] = AsyncMethod(network, address, handle=None if method.static else handle)

    async def __aenter__(self) -> AsyncObject:
        return self

    async def __aexit__(self, *_: object) -> None:
        self._network._link_now.leases.release(self._lease)

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> AsyncMethod: ...

    def __repr__(self) -> str:
        return f"<landbridge object of {self._handle.where} (async)>"


def _let_go(loop: asyncio.AbstractEventLoop, link: Link, lease: Handle) -> None:
    """Release an object that nobody holds any more; from whatever thread found that out."""
    with suppress(RuntimeError):  # the loop has been closed, and the connection with it
        loop.call_soon_threadsafe(link.leases.release, lease)


class _NoGrantYet(Exception):
    """A reference is to go to an institute for which its owner has not been asked for a grant."""


class AsyncCall:
    """A call that runs at the backend: await it for its value, or loop over it with ``async for`` if it is a stream."""

    __slots__ = (
        "_address",
        "_answering",
        "_awaiting",
        "_begun",
        "_class",
        "_ended",
        "_error",
        "_frame",
        "_functions",
        "_grants_asked",
        "_handle",
        "_items",
        "_keeps",
        "_made",
        "_network",
        "_options",
        "_request",
        "_spec",
        "_types",
        "_waiting",
        "notice",
        "progress",
        "queue_place",
        "target",
    )

    def __init__(
        self,
        network: AsyncNetwork,
        address: Address,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        options: Options,
        handle: Handle | None = None,
        keeps: bool = False,
    ) -> None:
        self._keeps = keeps
        loop = network._check_loop()
        self.target = str(address)
        self.progress: Progress | None = None
        self.queue_place = 0
        self.notice = ""
        self._functions = functions.Functions()
        self._answering: set[asyncio.Task[None]] | tuple[()] = ()  # made for the first function that is called
        self._network = network
        self._address = address
        self._options = options
        self._handle = handle
        self._class: ClassSpec | None = None
        self._made: AsyncObject | None = None
        self._request: Request | None = None
        self._spec: MethodSpec | None = None
        self._types: dict[str, type] = {}
        self._ended = False
        self._frame: memoryview | bytearray | None = None
        self._error: Exception | None = None
        self._items: deque[Item] | tuple[()] = ()  # made when the first item comes
        # One future for each task that waits, as one that is cancelled must not take the outcome from the others.
        self._waiting: list[asyncio.Future[None]] = []
        self._awaiting = 0
        self._begun: asyncio.Task[None] | None = None
        self._grants_asked = False
        described = network._described.get(f"{address.institute}/{address.module}")
        try:
            if described is not None:
                self._start(described, args, kwargs)
                return
        except _NoGrantYet:
            pass
        self._begun = loop.create_task(self._begin(*self._copied(args, kwargs)))

    def _copied(
        self, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any], list[AsyncReference]]:
        """Return the arguments, and the references among them: the caller may change an array while we ask for more."""
        references: dict[str, AsyncReference] = {}

        def stand_in(value: Any) -> object:
            if isinstance(value, AsyncReference):
                references[value._data.value_id] = value
                return value._data
            return self._functions.stand_in(value) if callable(value) else value

        args, kwargs = wire.decode(  # type: ignore[misc]
            b"".join(wire.encode(lower_arguments([list(args), kwargs], stand_in))),
            function_of=self._functions.__getitem__,
            reference_of=lambda data: references[data.value_id],
        )
        return args, kwargs, list(references.values())

    async def _begin(self, args: tuple[Any, ...], kwargs: dict[str, Any], references: list[AsyncReference]) -> None:
        try:
            described = await self._network._describe(self._address)
            for reference in references:
                await reference._ask_grant(self._address.institute)
            self._grants_asked = True
            self._start(described, args, kwargs)
        except asyncio.CancelledError:
            self._end(None, CallCancelled(self.target, "stopped"))
            raise
        except Exception as error:
            self._end(None, error)

    def _start(self, described: _Described, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if self._ended:
            return
        spec, self._types = described
        name = self._address.member or ""
        method = spec.callables().get(name) if spec.classes else spec.methods.get(name)
        self._class = spec.classes.get(name)
        if method is None:
            self._begun = asyncio.get_running_loop().create_task(self._ask_why(spec, name))
            return
        self._spec = method
        # Copied: the caller may change an array as soon as this returns.
        encoded = wire.encode(lower_arguments(bind(method, args, kwargs), self._stand_in))
        parts = [bytes(part) if isinstance(part, memoryview) else part for part in encoded]
        self._request = self._network._link_now.start(
            self._address,
            parts,
            wire.size_bytes(parts),
            self,
            self._options.timeout_s,
            idempotent=method.idempotent or method.pure,
            extras={**self._options.extras(), "keep": True} if self._keeps else self._options.extras(),
            handle=self._handle,
        )

    def _stand_in(self, value: Any) -> object:
        if isinstance(value, AsyncReference):
            granted = value._granted(self._address.institute)
            if not granted and not self._grants_asked:
                raise _NoGrantYet
            return granted or value._data
        return self._functions.stand_in(value) if callable(value) else value

    def _decoded(self, frame: memoryview | bytearray) -> object:
        return decoded(frame, partial(AsyncReference, self._network))

    async def _ask_why(self, spec: ModuleSpec, name: str) -> None:
        """End with the module's own word on a method that it does not show us: unknown, or not shared with us."""
        try:
            if name in spec.datasets:
                said = f'it is a data set; open it with landbridge.open("{self.target}") and load with .load_async()'
                raise InvalidName(self.target, "method", said)
            await describe(self._network._link_now, self._address)
            raise UnknownMember(spec.name, name, nearest(name, spec.methods))
        except Exception as error:
            self._end(None, error)

    def __await__(self) -> Generator[Any, None, Any]:
        while not self._ended:
            self._refuse_stream()
            self._awaiting += 1
            try:
                yield from self._change()
            except asyncio.CancelledError:
                if self._awaiting == 1:  # nobody else wants the value
                    self._request_cancel()
                raise
            finally:
                self._awaiting -= 1
        if self._error is not None:
            raise self._error
        self._refuse_stream()
        if self._frame is None or self._spec is None:
            raise ProtocolMismatch.of_method(self.target, "now is a stream")
        value = revive(self._decoded(self._frame), self._spec.returns, self._types)
        if self._class is None:
            return value
        if self._made is None:  # whoever awaits it again gets the same object, which is released once
            handle = Handle.made(self._address, value)
            lease = handle.lease()
            self._network._link_now.leases.keep(lease)
            self._made = AsyncObject(self._network, handle, lease, self._class)
        return self._made

    def _refuse_stream(self) -> None:
        if self._spec is not None and self._spec.streams:
            self._request_cancel()
            raise TypeError(f"{self.target} is a stream: loop over it with `async for` instead of awaiting it")

    def _change(self) -> asyncio.Future[None]:
        waiting: asyncio.Future[None] = self._network._check_loop().create_future()
        self._waiting.append(waiting)
        return waiting

    def __aiter__(self) -> AsyncIterator[Any]:
        return self._each()

    async def _each(self) -> AsyncIterator[Any]:
        self._network._check_loop()
        try:
            while True:
                while not isinstance(self._items, tuple) and self._items:
                    item = self._items.popleft()
                    schema = self._spec.items if self._spec is not None else None
                    value = revive(self._decoded(item.frame), schema, self._types)
                    if self._request is not None:
                        self._network._link_now.took(self._request, item)
                    yield value
                if not self._ended:
                    await self._change()
                    continue
                if self._error is not None:
                    raise self._error
                if self._frame is not None:
                    raise TypeError(f"{self.target} returns one value: await it instead of looping over it")
                return
        finally:
            self._request_cancel()

    def __reduce__(self) -> tuple[Any, ...]:
        """Refuse, and say what to pickle instead."""
        refuse_pickling(self.target)

    def done(self) -> bool:
        """Whether the call has ended, in whatever way."""
        return self._ended

    async def cancel(self) -> str:
        """Stop the remote work and return what became of it, as `Call.cancel` does."""
        self._network._check_loop()
        self._request_cancel()
        try:
            async with asyncio.timeout(5.0):
                while not self._ended:
                    await self._change()
        except TimeoutError:
            return "stopping"
        return self._error.state if isinstance(self._error, CallCancelled) else "finished"

    def _request_cancel(self) -> None:
        if self._ended:
            return
        if self._request is not None:
            self._network._link_now.cancel(self._request)
        else:
            self._end(None, CallCancelled(self.target, "stopped"))

    def _end(self, frame: memoryview | bytearray | None, error: Exception | None) -> None:
        if not self._ended:
            self._ended, self._frame, self._error = True, frame, error
            self._request = None  # which knows us: the value is to go when nobody holds it
            for task in self._answering:
                task.cancel()  # nobody waits any more for what the method's functions give
            self._wake()

    def _wake(self) -> None:
        for waiting in self._waiting:
            if not waiting.done():
                waiting.set_result(None)
        self._waiting.clear()

    def progressed(self, progress: Progress) -> None:
        """Take note of how far the method is."""
        self.progress = progress

    def waits(self, place: int) -> None:
        """Take note of the call's place in the backend's queue."""
        self.queue_place = place

    def noticed(self, notice: str) -> None:
        """Take note of why nothing moves now."""
        self.notice = notice

    def logged(self, log: Log) -> None:
        """Show a line that the method wrote."""
        print(log.text.rstrip("\n"), file=sys.stdout if log.stream == "stdout" else sys.stderr)

    def invoked(self, invoke: Invoke) -> None:
        """Have a function that was given to the call called: a coroutine here, another in a thread."""
        attempt = self._request.attempt if self._request is not None else None
        task = asyncio.get_running_loop().create_task(self._answer(invoke, attempt))
        if isinstance(self._answering, tuple):
            self._answering = set()
        self._answering.add(task)
        task.add_done_callback(self._answering.discard)

    async def _answer(self, invoke: Invoke, attempt: Attempt | None) -> None:
        try:
            function, args, kwargs = self._functions.find(invoke.function, invoke.frame)
            if inspect.iscoroutinefunction(function):
                value = await function(*args, **kwargs)
            else:
                value = await asyncio.to_thread(function, *args, **kwargs)
            parts = functions.encoded(value)
        except BaseException as error:  # the method is told, whatever it was
            answer = partial(Link.raised, meta=functions.raised_meta(error))
        else:
            answer = partial(Link.returned, parts=parts, size=wire.size_bytes(parts))
        # A method that is run again asks anew: what the lost run asked for must not answer that.
        if self._request is not None and attempt is not None and self._request.attempt is attempt:
            link = self._network._link_now
            link.took(self._request, invoke)
            answer(link, self._request, invoke.ask)

    def item_arrived(self, item: Item) -> None:
        """Take one item of a stream."""
        if isinstance(self._items, tuple):
            self._items = deque()
        self._items.append(item)
        self._wake()

    def ended(self, frame: memoryview | bytearray | None, error: LandbridgeError | None) -> None:
        """Take the outcome."""
        self._end(frame, error)
