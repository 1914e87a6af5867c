"""A remote class that looks as if it were local: calling it makes an object at a backend."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..contract import ClassSpec
from ..names import Address
from .loop import io_loop
from .method import new_method
from .objects import Handle, RemoteClass, RemoteObject, class_about
from .options import DEFAULT

if TYPE_CHECKING:
    from .network import Network

__all__ = ["new_class"]


def new_class(network: Network, where: Address, spec: ClassSpec, types: dict[str, type]) -> RemoteClass:
    """Return the class at an address, with the signatures and docstrings that `spec` tells of."""
    construct = new_method(network, where, spec.init, types)
    methods = {
        name: new_method(network, where._replace(member=f"{spec.name}.{name}"), method, types)
        for name, method in spec.methods.items()
    }

    def make(*args: Any, **kwargs: Any) -> RemoteObject:
        link = network._link()
        handle = Handle.made(where, construct(*args, **kwargs))
        lease = handle.lease()
        io_loop().call_soon_threadsafe(link.leases.keep, lease)
        made: RemoteObject = object_class(network, link, handle, lease)
        vars(made).update((name, method._with(DEFAULT, handle)) for name, method in methods.items())
        return made

    about = class_about(spec, types)
    object_class = type(spec.name, (RemoteObject,), {**about, "__signature__": None, "__slots__": ()})
    proxy: RemoteClass = type(spec.name, (RemoteClass,), {**about, "__slots__": ()})(spec, make)
    vars(proxy).update(__name__=spec.name, __qualname__=spec.name)
    vars(proxy).update((name, method) for name, method in methods.items() if spec.methods[name].static)
    return proxy
