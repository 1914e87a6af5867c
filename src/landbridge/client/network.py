"""What people hold: a network, its institutes, their modules, and methods that look as if they were local.

Institutes, modules and methods are real attributes, kept current as modules come and go: completion in notebooks and
shells works only on those. A module asks its backend for its members when it is first touched.
"""

from __future__ import annotations

import asyncio
import atexit
import os
import threading
import weakref
from collections.abc import Callable
from concurrent.futures import wait
from types import TracebackType
from typing import TYPE_CHECKING, Any

from ..contract import ModuleSpec
from ..errors import BrokerUnreachable, InvalidName, LandbridgeError, UnknownMember
from ..names import Address, nearest, parse_address
from ..wire import ReferenceData
from .access import Access
from .classes import new_class
from .datasets import OpensDatasets, RemoteDataset, new_dataset
from .link import Link
from .lookup import describe
from .loop import exiting, in_io_thread, io_loop, stay_if_exiting, wait_for
from .method import Method, new_method
from .objects import RemoteClass
from .references import Reference
from .types import types_of

__all__ = ["Institute", "Method", "Module", "Network"]

_OPEN_TIMEOUT_S = 10.0
_CLOSE_TIMEOUT_S = 3.0
_filling = threading.Lock()
"""Held while a module's members change; user threads fill modules, and the I/O thread has them ask again."""

_reconnecting = threading.Lock()
"""Held while a forked child makes a connection of its own."""


class Network:
    """A network of institutes. ``net.geomar.ocean`` and ``net["geomar/ocean"]`` are modules.

    Made by `landbridge.connect`. As a context manager it is closed at the end.

    Parameters
    ----------
    access : Access
        Which network, and as whom.
    reopen : callable
        Module-level function that gives the network (address ""), or what is at an address of it, in another process
        (for pickling).
    open_dataset : callable
        Opens a data set of the network.
    """

    def __init__(self, access: Access, reopen: Callable[..., Any], open_dataset: OpensDatasets) -> None:
        self._access = access
        self._reopen = reopen
        self._open_dataset = open_dataset
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
            stay_if_exiting()
            raise RuntimeError("This network has been closed. Open another one: landbridge.connect()")
        # A forked child has a copy of the object, but no I/O thread and no right to its parent's connection.
        if self._pid != os.getpid():
            with _reconnecting:
                if self._pid != os.getpid():  # no other thread was faster
                    self._connect()
        return self._link_now

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
        return wait_for(describe(self._link(), where))

    def _member(self, address: str) -> Method | RemoteDataset:
        where = parse_address(address)
        module = _new_module(self, where.institute, where.module)
        _fill(module, self._describe(where))
        found = vars(module).get(where.member or "")
        if not isinstance(found, Method | RemoteDataset):
            raise UnknownMember(str(module), where.member or "", nearest(where.member or "", vars(module)))
        return found

    def _refer(self, data: ReferenceData) -> Reference:
        return Reference(self, data)

    def _known(self) -> list[str]:
        return sorted(self._link().modules)

    def _is_dead(self) -> bool:
        """Whether it was closed here, or the connection has ended for good."""
        return self._closed or (self._pid == os.getpid() and self._link_now.dead)

    def close(self) -> None:
        """Disconnect; calls that still run are told to stop."""
        _close([self])

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

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle as whom it was opened; another process opens its own."""
        return self._reopen, ("", self._access.profile, None)

    def __copy__(self) -> Network:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Network:
        return self

    def _ipython_key_completions_(self) -> list[str]:
        return [name for name in self._known() if not name.startswith("lb/")]

    def __repr__(self) -> str:
        known = sorted(name for name in list(self._link_now.modules) if not name.startswith("lb/"))
        state = "closed" if self._closed else ", ".join(known) or "no modules yet"
        return f"<landbridge network as {self._access.institute}/{self._access.person}: {state}>"

    def _repr_html_(self) -> str:
        from .glance import network_glance

        return network_glance(self)


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

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle as an attribute of its network."""
        return getattr, (next(iter(vars(self).values()))._network, self._name)

    def __copy__(self) -> Institute:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Institute:
        return self

    def _repr_html_(self) -> str:
        from .glance import institute_glance

        return institute_glance(self)


class Module:
    """A module of an institute; its methods, data sets, and the types of their signatures, are its attributes.

    It has no other public name, so that nothing a module is called can be in the way.
    """

    __slots__ = ("__dict__", "_network", "_spec", "_where")

    def __init__(self, network: Network, where: Address) -> None:
        self._network = network
        self._where = where
        self._spec: ModuleSpec | None = None

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any: ...

    def __dir__(self) -> list[str]:
        return list(vars(self))

    def __str__(self) -> str:
        return f"{self._where.institute}/{self._where.module}"

    def __repr__(self) -> str:
        members = Method | RemoteClass | RemoteDataset
        names = ", ".join(name for name, value in vars(self).items() if isinstance(value, members))
        return f"<landbridge module {self}: {names}>"

    def _repr_html_(self) -> str:
        from .glance import module_glance

        return module_glance(self)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle as the address, and as whom it is called."""
        return self._network._reopen, (str(self), self._network._access.profile, {})

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
        members[name] = new_method(module._network, module._where._replace(member=name), method, types)
    for name, cls in spec.classes.items():
        members[name] = new_class(module._network, module._where._replace(member=name), cls, types)
    for name, dataset in spec.datasets.items():
        members[name] = new_dataset(module._network, module._where._replace(member=name), dataset)
    about = {"__doc__": spec.doc, "__module__": "landbridge.remote", "__slots__": ()}
    with _filling:
        vars(module).clear()
        vars(module).update(members)
        module.__class__ = type(spec.name, (Module,), about)
        module._spec = spec


def _drop(link: Link, pid: int) -> None:
    """Close the connection of a network that nobody holds any more."""
    if pid == os.getpid():
        asyncio.run_coroutine_threadsafe(link.close(), io_loop())


def _after_fork() -> None:
    # The locks may have been held by threads that do not exist in the child.
    global _filling, _reconnecting
    _filling, _reconnecting = threading.Lock(), threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


_open_networks: weakref.WeakSet[Network] = weakref.WeakSet()


def _close(networks: list[Network]) -> None:
    """Disconnect, all at the same time; what has not ended after a few seconds goes on in the I/O thread."""
    open_here = [network for network in networks if not network._closed and network._pid == os.getpid()]
    for network in networks:
        network._closed = True
    closing = [asyncio.run_coroutine_threadsafe(network._link_now.close(), io_loop()) for network in open_here]
    if not in_io_thread():
        for done in wait(closing, _CLOSE_TIMEOUT_S).done:
            done.result()


@atexit.register
def _close_all() -> None:
    exiting()
    try:
        _close(list(_open_networks))
    except Exception:  # noqa: S110 - the interpreter is ending; nobody is left to tell
        pass
