"""Objects that live at a backend: what stands for them here, and how their lease is kept."""

from __future__ import annotations

import os
import weakref
from collections import Counter
from typing import TYPE_CHECKING, Any

from ..contract import ClassSpec, docstring, signature
from ..errors import Malformed
from ..names import Address
from ..protocol import LEASE_S, RELEASE, RENEW, HeldKind
from .loop import io_loop

if TYPE_CHECKING:
    from collections.abc import Callable

    from .link import Link
    from .network import Network

__all__ = ["Handle", "Leases", "RemoteClass", "RemoteObject", "class_about", "release"]

_RENEW_S = LEASE_S / 3


class Handle:
    """Where an object lives. What is held here of an object holds its handle: once nothing does, it is released.

    Attributes
    ----------
    where : Address
        Its class, or what made the value.
    instance, object_id : str
        The backend, and the object there.
    kind : str
        ``object``, or ``ref`` for a value that is kept.
    """

    __slots__ = ("__weakref__", "instance", "kind", "object_id", "where")

    def __init__(self, where: Address, instance: str, object_id: str, kind: HeldKind = "object") -> None:
        self.where, self.instance, self.object_id, self.kind = where, instance, object_id, kind

    @classmethod
    def made(cls, where: Address, made: object) -> Handle:
        """Return the handle of what a constructor has made, as it answered; raises `Malformed`."""
        match made:
            case {"object": str(object_id), "instance": str(instance)} if _is_id(object_id) and _is_id(instance):
                return cls(where, instance, object_id)
        raise Malformed(f"{where} makes something that is no object")

    @property
    def backend(self) -> tuple[str, str, str]:
        """The backend: institute, module and instance, as others may give their instances the same id."""
        return self.where.institute, self.where.module, self.instance

    def lease(self) -> Handle:
        """Return a copy for `Leases`: what renews the lease must not be what holds the object."""
        return Handle(self.where, self.instance, self.object_id, self.kind)


def _is_id(text: str) -> bool:
    return len(text) == 32 and all(digit in "0123456789abcdef" for digit in text)


class Leases:
    """Keeps the leases of the objects and kept values of one link; in the link's loop."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._leases: set[Handle] = set()
        self._held: Counter[tuple[str, ...]] = Counter()  # several may stand for one kept value
        self._renewed_at = 0.0

    def keep(self, lease: Handle) -> None:
        """Renew the lease of an object from now on."""
        self._leases.add(lease)
        self._held[*lease.backend, lease.object_id] += 1

    def release(self, lease: Handle) -> None:
        """Let the backend let go of an object."""
        if lease in self._leases:
            self._leases.discard(lease)
            self._held[*lease.backend, lease.object_id] -= 1
            if not self._held[*lease.backend, lease.object_id]:
                del self._held[*lease.backend, lease.object_id]
                self._link.tell(lease, RELEASE)

    def tick(self, now: float) -> None:
        """Let time pass."""
        if self._leases and now - self._renewed_at >= _RENEW_S:
            self._renewed_at = now
            for lease in self._leases:
                if lease.kind == "object":
                    self._link.tell(lease, RENEW)
            # One message keeps all values that a backend keeps for this connection.
            kept = {lease.backend: lease for lease in self._leases if lease.kind == "ref"}
            for lease in kept.values():
                self._link.tell(lease, RENEW)


class RemoteClass:
    """A class of a module. Calling it makes an object, which lives at one backend until nobody here holds it.

    Its static methods and class methods are attributes, as at home.
    """

    __slots__ = ("__dict__", "_make", "_spec")

    def __init__(self, spec: ClassSpec, make: Callable[..., RemoteObject]) -> None:
        self._spec = spec
        self._make = make

    def __call__(self, *args: Any, **kwargs: Any) -> RemoteObject:
        """Make an object there, and return what stands for it."""
        return self._make(*args, **kwargs)

    def __dir__(self) -> list[str]:
        return list(vars(self))

    def __repr__(self) -> str:
        return f"<landbridge class {self._spec.name}>"


class RemoteObject:
    """An object that lives at a backend; its methods are its attributes, and it has no other public name.

    It lives until nobody here holds it or a method of it, a ``with`` block around it ends, or this process has not been
    heard of for ten minutes.
    """

    __slots__ = ("__dict__", "__weakref__", "_finalizer", "_handle", "_network")

    def __init__(self, network: Network, link: Link, handle: Handle, lease: Handle) -> None:
        self._network = network
        self._handle = handle
        self._finalizer = weakref.finalize(handle, release, link, lease, os.getpid())
        self._finalizer.atexit = (
            False  # the connection ends then, and the backend lets go of them when it does not hear
        )

    def __enter__(self) -> RemoteObject:
        return self

    def __exit__(self, *_: object) -> None:
        self._finalizer()

    def __dir__(self) -> list[str]:
        return list(vars(self))

    def __reduce__(self) -> tuple[Any, ...]:
        raise TypeError(f"{self!r} lives at its backend for this process alone, so it cannot be pickled")

    def __repr__(self) -> str:
        return f"<landbridge object of {self._handle.where}>"


def release(link: Link, lease: Handle, pid: int) -> None:
    """Let go of what nobody here holds any more; in a forked child it is its parent's."""
    if pid == os.getpid():
        io_loop().call_soon_threadsafe(link.leases.release, lease)


def class_about(spec: ClassSpec, types: dict[str, type]) -> dict[str, Any]:
    """Return what makes a proxy of a class look like the class: signature and docstring."""
    doc = "\n\n".join(part for part in (spec.doc or spec.summary, docstring(spec.init)) if part)
    return {"__doc__": doc, "__signature__": signature(spec.init, types), "__module__": "landbridge.remote"}
