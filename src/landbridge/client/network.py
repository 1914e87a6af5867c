"""What people hold: a network, its institutes, their modules, and methods that look as if they were local.

Institutes, modules and methods are real attributes, kept current as modules come and go: completion in notebooks and
shells works only on those. A module asks its backend for its members when it is first touched.
"""

from __future__ import annotations

import asyncio
import atexit
import inspect
import os
import threading
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from types import TracebackType
from typing import TYPE_CHECKING, Any

from .. import wire
from ..contract import MethodSpec, ModuleSpec, bind, docstring, lower_arguments, signature
from ..errors import BrokerUnreachable, InvalidName, LandbridgeError, UnknownMember
from ..names import Address, nearest, parse_address
from .access import Access
from .call import Call
from .link import Link
from .loop import io_loop, wait_for
from .types import types_of

__all__ = ["Institute", "Method", "Module", "Network"]

_MAP_IN_FLIGHT = 16
_filling = threading.Lock()
"""Held while a module's members change; user threads fill modules, and the I/O thread has them ask again."""

_OPEN_TIMEOUT_S = 10.0


class Network:
    """A network of institutes. ``net.geomar.ocean`` and ``net["geomar/ocean"]`` are modules.

    Made by `landbridge.connect`. As a context manager it is closed at the end.

    Parameters
    ----------
    access : Access
        Which network, and as whom.
    reopen : callable
        Module-level function that gives the method at an address in another process (for pickling).
    """

    def __init__(self, access: Access, reopen: Callable[..., Any]) -> None:
        self._access = access
        self._reopen = reopen
        self._pid = 0
        self._closed = False
        self._connect()
        _open_networks.add(self)

    def _connect(self) -> Link:
        # Weakly, or the connection would keep alive the network whose end is to close it.
        appeared = weakref.WeakMethod(self._module_appeared)
        link = Link(self._access, lambda name: (method := appeared()) and method(name))
        try:
            wait_for(link.open(), _OPEN_TIMEOUT_S)
        except TimeoutError:
            raise BrokerUnreachable(
                f"The network did not answer within {_OPEN_TIMEOUT_S:g} s. Find out which step fails: landbridge doctor"
            ) from None
        weakref.finalize(self, _drop, link, os.getpid()).atexit = False
        self._link_now, self._pid = link, os.getpid()
        return link

    def _link(self) -> Link:
        if self._closed:
            raise RuntimeError("This network has been closed. Open another one: landbridge.connect()")
        # A forked child has a copy of the object, but no I/O thread and no right to its parent's connection.
        return self._link_now if self._pid == os.getpid() else self._connect()

    def _module_appeared(self, name: str) -> None:
        institute_name, _, module_name = name.partition("/")
        if institute_name == "lb":
            return
        institute = vars(self).get(institute_name)
        if not isinstance(institute, Institute):
            institute = Institute(institute_name)
            vars(self)[institute_name] = institute
        module = vars(institute).get(module_name)
        if isinstance(module, Module):
            _forget(module)
        else:
            vars(institute)[module_name] = _new_module(self, institute_name, module_name)

    def __getitem__(self, address: str) -> Module:
        """Return the module at ``institute/module``, asked anew for its members.

        Raises
        ------
        InvalidName, UnknownModule, ModuleOffline
            When the address has another form, there is no such module, or nobody serves it now.
        """
        where = parse_address(address)
        if where.member is not None:
            raise InvalidName(address, "module", "it names a method, too; write net['institute/module'].method")
        module = _new_module(self, where.institute, where.module)
        _fill(module, self._describe(where))
        return module

    def _describe(self, where: Address) -> ModuleSpec:
        return wait_for(self._link().describe(where))

    def _method(self, address: str) -> Method:
        where = parse_address(address)
        module = _new_module(self, where.institute, where.module)
        _fill(module, self._describe(where))
        found = vars(module).get(where.member or "")
        if not isinstance(found, Method):
            raise UnknownMember(str(module), where.member or "", nearest(where.member or "", vars(module)))
        return found

    def _known(self) -> list[str]:
        return sorted(self._link().modules)

    def _is_dead(self) -> bool:
        """Whether it was closed here, or the connection has ended for good."""
        return self._closed or (self._pid == os.getpid() and self._link_now.dead)

    def close(self) -> None:
        """Disconnect; calls that still run are told to stop."""
        if not self._closed:
            self._closed = True
            if self._pid == os.getpid():
                wait_for(self._link_now.close(), 3.0)

    def __enter__(self) -> Network:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    if TYPE_CHECKING:  # real attributes at run time, which no type checker can know

        def __getattr__(self, name: str) -> Institute: ...

    def __dir__(self) -> list[str]:
        return [*(name for name in list(vars(self)) if not name.startswith("_")), "close"]

    def _ipython_key_completions_(self) -> list[str]:
        return [name for name in self._known() if not name.startswith("lb/")]

    def __repr__(self) -> str:
        known = sorted(name for name in list(self._link_now.modules) if not name.startswith("lb/"))
        state = "closed" if self._closed else ", ".join(known) or "no modules yet"
        return f"<landbridge network as {self._access.institute}/{self._access.person}: {state}>"


class Institute:
    """An institute; its modules are its attributes."""

    # In slots, so that `vars` has nothing but the modules.
    __slots__ = ("__dict__", "_name")

    def __init__(self, name: str) -> None:
        self._name = name

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Module: ...

    def __dir__(self) -> list[str]:
        return list(vars(self))

    def __repr__(self) -> str:
        return f"<landbridge institute {self._name}: {', '.join(vars(self))}>"


class Module:
    """A module of an institute; its methods, and the types of their signatures, are its attributes.

    It has no other public name, so that nothing a module is called can be in the way.
    """

    __slots__ = ("__dict__", "_network", "_where")

    def __init__(self, network: Network, where: Address) -> None:
        self._network = network
        self._where = where

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any: ...

    def __dir__(self) -> list[str]:
        return list(vars(self))

    def __str__(self) -> str:
        return f"{self._where.institute}/{self._where.module}"

    def __repr__(self) -> str:
        names = ", ".join(name for name, value in vars(self).items() if isinstance(value, Method))
        return f"<landbridge module {self}: {names}>"

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle as the address, and as whom it is called."""
        return self._network._reopen, (str(self), self._network._access.profile, None)

    def __copy__(self) -> Module:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Module:
        return self


class _Untouched(Module):
    """A module that has not been asked for its members yet. The first touch turns it into a plain `Module`.

    Classes with ``__getattr__`` get no completion in IPython, which does not run foreign code for it; so this one
    takes itself away.
    """

    __slots__ = ()

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        _fill(self, self._network._describe(self._where))
        return getattr(self, name)

    def __dir__(self) -> list[str]:
        try:
            _fill(self, self._network._describe(self._where))
        except LandbridgeError:
            return []
        return list(vars(self))

    def __repr__(self) -> str:
        return f"<landbridge module {self}>"


def _new_module(network: Network, institute: str, module: str) -> Module:
    # The class bears the module's name, so that Python's own AttributeError says what has no such attribute.
    cls: type[Module] = type(f"{institute}/{module}", (_Untouched,), {"__slots__": ()})
    return cls(network, Address(institute, module))


def _forget(module: Module) -> None:
    """Have a module ask for its members again: a backend has started, maybe of a newer version."""
    with _filling:
        if not isinstance(module, _Untouched):
            module.__class__ = type(str(module), (_Untouched,), {"__slots__": ()})
            vars(module).clear()


def _fill(module: Module, spec: ModuleSpec) -> None:
    members: dict[str, Any] = dict(types := types_of(spec))
    for name, method in spec.methods.items():
        members[name] = _new_method(module._network, module._where._replace(member=name), method, types)
    about = {"__doc__": spec.doc, "__module__": "landbridge.remote", "__slots__": ()}
    with _filling:
        vars(module).clear()
        vars(module).update(members)
        module.__class__ = type(spec.name, (Module,), about)


class Method:
    """A remote method. Call it as if it were local.

    ============  ==========================================================================
    ``m(...)``    call, wait, return the value (or, for a generator, an iterator)
    ``m.start``   call, return a `Call` at once
    ``m.map``     call for each tuple of zipped iterables; values in order
    ``m.options`` the same method with other options
    ============  ==========================================================================
    """

    __slots__ = ("__dict__", "__weakref__", "_address", "_network", "_spec", "_timeout_s", "_types")

    def __init__(
        self,
        network: Network,
        address: Address,
        spec: MethodSpec,
        types: dict[str, type],
        timeout_s: float | None = None,
    ) -> None:
        self._network = network
        self._address = address
        self._spec = spec
        self._types = types
        self._timeout_s = timeout_s

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the method and wait for its value."""
        call = self.start(*args, **kwargs)
        return iter(call) if self._spec.streams else call.result()

    def start(self, *args: Any, **kwargs: Any) -> Call:
        """Call the method and return at once."""
        arguments = lower_arguments(bind(self._spec, args, kwargs))
        # Copied: the caller may change an array as soon as this returns.
        parts = [bytes(part) if isinstance(part, memoryview) else part for part in wire.encode(arguments)]
        call = Call(str(self._address), self._spec, self._types, self._network)
        link = self._network._link()
        io_loop().call_soon_threadsafe(call.begin, link, self._address, parts, wire.size_bytes(parts), self._timeout_s)
        return call

    def map(self, *iterables: Iterable[Any], **constant: Any) -> Iterator[Any]:
        """Call the method for each tuple of the zipped iterables; the values come in order.

        At most 16 calls are under way at a time. Leaving the loop cancels those that are.

        Parameters
        ----------
        *iterables : iterable
            Positional arguments, one from each for every call, as `concurrent.futures.Executor.map` has it.
        **constant
            Keyword arguments of every call.
        """
        if self._spec.streams:
            raise TypeError(f"{self._address} is a stream; map needs a method that returns one value")
        if not iterables:
            raise TypeError("map needs at least one iterable")
        rows = zip(*iterables, strict=False)
        started: deque[Call] = deque()
        try:
            started.extend(self.start(*row, **constant) for row in islice(rows, _MAP_IN_FLIGHT))
        except BaseException:
            for call in started:
                call._request_cancel()
            raise
        return self._mapped(rows, started, constant)

    def _mapped(self, rows: Iterator[tuple[Any, ...]], started: deque[Call], constant: dict[str, Any]) -> Iterator[Any]:
        try:
            while started:
                value = started[0].result()
                started.popleft()
                started.extend(self.start(*row, **constant) for row in islice(rows, 1))
                yield value
        finally:
            for call in started:
                call._request_cancel()

    def options(self, *, timeout_s: float | None = None) -> Method:
        """Return the same method with other options.

        Parameters
        ----------
        timeout_s : float, optional
            Time limit for each call, in seconds; None (as without options): as long as the backend shows that it works.
        """
        if timeout_s is not None and not timeout_s > 0:
            raise ValueError(f"timeout_s must be more than 0 s, not {timeout_s!r}")
        method = type(self)(self._network, self._address, self._spec, self._types, timeout_s)
        vars(method).update(vars(self))
        return method

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle as the address, and as whom it is called."""
        return self._network._reopen, (str(self._address), self._network._access.profile, self._timeout_s)

    def __copy__(self) -> Method:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Method:
        return self

    def __repr__(self) -> str:
        return f"<landbridge method {self._address}{inspect.signature(self)}>"


def _new_method(network: Network, address: Address, spec: MethodSpec, types: dict[str, type]) -> Method:
    shape = signature(spec, types)
    cls = type(
        spec.name,
        (Method,),
        {"__doc__": docstring(spec), "__signature__": shape, "__module__": "landbridge.remote", "__slots__": ()},
    )
    method: Method = cls(network, address, spec, types)
    vars(method).update(__name__=spec.name, __qualname__=spec.name)
    return method


def _drop(link: Link, pid: int) -> None:
    """Close the connection of a network that nobody holds any more."""
    if pid == os.getpid():
        asyncio.run_coroutine_threadsafe(link.close(), io_loop())


_open_networks: weakref.WeakSet[Network] = weakref.WeakSet()


@atexit.register
def _close_all() -> None:
    for network in list(_open_networks):
        try:
            network.close()
        except Exception:  # noqa: S110 - the interpreter is ending; nobody is left to tell
            pass
