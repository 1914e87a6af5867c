"""Landbridge: call your colleagues' Python functions, at other institutes, as if they were local.

>>> import landbridge as lb
>>> net = lb.connect()                                        # doctest: +SKIP
>>> net.geomar.ocean.climatology(2006, 2010)                  # doctest: +SKIP

Served modules need nothing of this; they may use `method`, `track` and `current_call`.
"""

from __future__ import annotations

import threading
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .backend.context import CurrentCall, current_call, track
    from .backend.expose import method
    from .client.call import Call, Progress
    from .client.network import Method, Module, Network
    from .errors import (
        BrokerFailed,
        BrokerUnreachable,
        CallCancelled,
        CallLost,
        CallTimeout,
        CannotTravel,
        InternalError,
        InvalidArguments,
        InvalidName,
        LandbridgeError,
        Malformed,
        MissingExtra,
        ModuleOffline,
        NotConfigured,
        NothingToServe,
        PermissionDenied,
        ProtocolMismatch,
        RemoteError,
        TooLarge,
        UnknownMember,
        UnknownModule,
    )

__version__ = "0.1.0"

# Where each public name lives; loaded when it is first used, so that `import landbridge` costs next to nothing.
_HOMES = {
    "method": "backend.expose",
    "track": "backend.context",
    "current_call": "backend.context",
    "CurrentCall": "backend.context",
    "Network": "client.network",
    "Module": "client.network",
    "Method": "client.network",
    "Call": "client.call",
    "Progress": "client.call",
} | dict.fromkeys(
    (
        "LandbridgeError", "InvalidName", "InvalidArguments", "CannotTravel", "TooLarge", "Malformed",
        "ProtocolMismatch", "UnknownModule", "UnknownMember", "PermissionDenied", "ModuleOffline", "BrokerUnreachable",
        "CallLost", "CallTimeout", "CallCancelled", "RemoteError", "InternalError", "NothingToServe", "NotConfigured",
        "BrokerFailed", "MissingExtra",
    ),
    "errors",
)  # fmt: skip

__all__ = [
    "AsyncNetwork",
    "BrokerFailed",
    "BrokerUnreachable",
    "Call",
    "CallCancelled",
    "CallLost",
    "CallTimeout",
    "CannotTravel",
    "CurrentCall",
    "InternalError",
    "InvalidArguments",
    "InvalidName",
    "LandbridgeError",
    "Malformed",
    "Method",
    "MissingExtra",
    "Module",
    "ModuleOffline",
    "Network",
    "NotConfigured",
    "NothingToServe",
    "PermissionDenied",
    "Progress",
    "ProtocolMismatch",
    "RemoteError",
    "TooLarge",
    "UnknownMember",
    "UnknownModule",
    "connect",
    "current_call",
    "method",
    "track",
]

_default: list[Network] = []
_default_lock = threading.Lock()


def connect(profile: str | None = None) -> Network:
    """Connect to a network.

    Parameters
    ----------
    profile : str, optional
        Which network, and as whom: the name of a stored profile or, on the network that ``landbridge up`` runs on this
        computer, who to be there, as ``institute/person``. By default what the environment says in
        ``LANDBRIDGE_PROFILE`` or ``LANDBRIDGE_URL``, else the owner of this computer's network.

    Returns
    -------
    Network
        Its institutes are attributes: ``net.geomar.ocean.climatology(2006, 2010)``.

    Raises
    ------
    NotConfigured
        When nothing says which network, and none runs here.
    BrokerUnreachable
        When no broker answers, or it refuses the credential.
    """
    from .client.network import Network
    from .hub.access import resolve

    return Network(resolve(profile), reopen)


def AsyncNetwork(profile: str | None = None) -> Any:
    """Return a network for asyncio, to be used as ``async with lb.AsyncNetwork() as net``; parameters as `connect`."""
    from .client import aio
    from .hub.access import resolve

    return aio.AsyncNetwork(resolve(profile))


def default_network() -> Network:
    """Return the network that ``landbridge.remote`` imports and unpickled methods use; connected when first needed."""
    with _default_lock:
        if not _default or _default[0].closed:
            _default[:] = [connect()]
        return _default[0]


def reopen(address: str) -> Any:
    """Return the method or module at `address` in the default network (what pickled ones become)."""
    network = default_network()
    return network._method(address) if "." in address else network[address]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'landbridge' has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f".{home}", __name__), name)
    return value


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
