"""Landbridge: call your colleagues' Python functions, at other institutes, as if they were local.

>>> import landbridge as lb
>>> net = lb.connect()                                        # doctest: +SKIP
>>> net.geomar.ocean.climatology(2006, 2010)                  # doctest: +SKIP

Served modules need nothing of this; they may use `method`, `track` and `current_call`.
"""

from __future__ import annotations

import os
import threading
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import xarray

    from .backend.context import CurrentCall, current_call, track
    from .backend.expose import method
    from .client.aio import AsyncNetwork
    from .client.call import Call, Progress
    from .client.network import Method, Module, Network
    from .client.references import Reference
    from .contract.bounds import lazy
    from .datasets.serving import dataset
    from .datasets.zarrstore import ZarrStore
    from .errors import (
        BrokerFailed,
        BrokerUnreachable,
        Busy,
        CallCancelled,
        CallLost,
        CallTimeout,
        CannotTravel,
        DatasetChanged,
        IdentityChanged,
        InternalError,
        InvalidArguments,
        InvalidName,
        LandbridgeError,
        Malformed,
        MethodCrashed,
        MissingExtra,
        ModuleOffline,
        NotConfigured,
        NothingToServe,
        ObjectGone,
        PermissionDenied,
        ProtocolMismatch,
        RemoteError,
        TooLarge,
        UnknownMember,
        UnknownModule,
    )
    from .wire.registry import register

__version__ = "0.1.0"

# Where each public name lives; loaded when it is first used, so that `import landbridge` costs next to nothing.
_HOMES = {
    "method": "backend.expose",
    "dataset": "datasets.serving",
    "track": "backend.context",
    "current_call": "backend.context",
    "CurrentCall": "backend.context",
    "Network": "client.network",
    "Module": "client.network",
    "Method": "client.network",
    "Call": "client.call",
    "Reference": "client.references",
    "lazy": "contract.bounds",
    "Progress": "client.call",
    "register": "wire.registry",
} | dict.fromkeys(
    (
        "LandbridgeError", "InvalidName", "InvalidArguments", "CannotTravel", "TooLarge", "Malformed",
        "ProtocolMismatch", "UnknownModule", "UnknownMember", "PermissionDenied", "Busy", "ModuleOffline",
        "BrokerUnreachable", "CallLost", "CallTimeout", "CallCancelled", "RemoteError", "InternalError",
        "NothingToServe", "NotConfigured", "BrokerFailed", "MissingExtra", "MethodCrashed", "ObjectGone",
        "DatasetChanged",
        "IdentityChanged",
    ),
    "errors",
)  # fmt: skip

__all__ = [
    "AsyncNetwork",
    "BrokerFailed",
    "BrokerUnreachable",
    "Busy",
    "Call",
    "CallCancelled",
    "CallLost",
    "CallTimeout",
    "CannotTravel",
    "CurrentCall",
    "DatasetChanged",
    "IdentityChanged",
    "InternalError",
    "InvalidArguments",
    "InvalidName",
    "LandbridgeError",
    "Malformed",
    "Method",
    "MethodCrashed",
    "MissingExtra",
    "Module",
    "ModuleOffline",
    "Network",
    "NotConfigured",
    "NothingToServe",
    "ObjectGone",
    "PermissionDenied",
    "Progress",
    "ProtocolMismatch",
    "Reference",
    "RemoteError",
    "TooLarge",
    "UnknownMember",
    "UnknownModule",
    "connect",
    "current_call",
    "dataset",
    "lazy",
    "method",
    "open",
    "register",
    "track",
    "zarr_store",
]

_defaults: dict[str | None, Network] = {}
_defaults_lock = threading.Lock()


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

    return Network(resolve(profile), _reopen, _open_dataset)


def open(
    address: str,
    *,
    profile: str | None = None,
    chunks: int | str | dict[Any, Any] | None = None,
    keepbits: int | dict[str, int] | None = None,
    **options: Any,
) -> xarray.Dataset:
    """Open a colleague's data set, lazily: the data stay where they are, and each selection fetches what it needs.

    ``xr.open_dataset("landbridge://geomar/sst", engine="landbridge")`` is the same.

    Parameters
    ----------
    address : str
        ``institute/module.name``; or ``institute/module`` for its data set ``data``, as of one that serves a file, or
        for its only one.
    profile : str, optional
        Which network, and as whom; see `connect`.
    chunks : int, str or dict, optional
        Have dask fetch it in chunks: ``{}`` for those the owner advises, of some 16 MB.
    keepbits : int or dict, optional
        Have the owner round floats to so many bits of their mantissa (1 to 52), so that less travels: of all variables,
        or of some by name (``{"sst": 9}``). The relative error is at most ``2**-(keepbits + 1)``. Coordinates and what
        belongs to them, missing values, and what is no float stay exact; what is rounded has the attribute
        ``_QuantizeBitRoundNumberOfSignificantBits`` of the netCDF library. Without it nothing is ever rounded.
    **options
        Others of `xarray.open_dataset`: ``decode_times``, ``mask_and_scale``, ``drop_variables`` and so on.

    Returns
    -------
    xarray.Dataset
        As `xarray.open_dataset` would give it beside the data.

    Raises
    ------
    UnknownModule, UnknownMember, InvalidName
        When there is no such data set.
    PermissionDenied
        When it is not shared with you.
    DatasetChanged
        Later, by what reads from it, when its files were written to since it was opened.
    MissingExtra
        When xarray is not installed here.
    ValueError
        When `keepbits` is no number of bits, or names what cannot be rounded.
    """
    return _open_dataset(_default_network(profile), address, chunks=chunks, keepbits=keepbits, **options)


def zarr_store(address: str, *, profile: str | None = None) -> ZarrStore:
    """Return a colleague's data set as a read-only Zarr v3 store, for zarr-python and what builds on it.

    For xarray, `open` is better: it fetches exactly what is selected, a store fetches whole chunks.

    Parameters
    ----------
    address : str
        As in `open`.
    profile : str, optional
        Which network, and as whom; see `connect`.

    Raises
    ------
    MissingExtra
        When zarr or xarray is not installed here.
    """
    return _engine().zarr_store_at(_default_network(profile), address)  # type: ignore[no-any-return] # of a module


def _open_dataset(network: Network, data: str | Reference, **options: Any) -> xarray.Dataset:
    return _engine().open_at(network, data, **options)  # type: ignore[no-any-return] # of a module


def _engine() -> Any:
    try:
        return import_module(".engine", __name__)
    except ImportError as error:
        from .errors import MissingExtra

        raise MissingExtra("Opening a data set", "xarray") from error


def _default_network(profile: str | None = None) -> Network:
    """Return the network that ``landbridge.remote`` imports and unpickled methods use; connected when first needed."""
    with _defaults_lock:
        network = _defaults.get(profile)
        if network is None or network._is_dead():
            network = _defaults[profile] = connect(profile)
        return network


def _reopen(address: str, profile: str | None, options: dict[str, Any]) -> Any:
    """Return the method or module at `address`, or the network itself (what pickled ones become)."""
    from .client.datasets import RemoteDataset

    network = _default_network(profile)
    if not address:
        return network
    if "." not in address:
        return network[address]
    member = network._member(address)
    return member if isinstance(member, RemoteDataset) else member.options(**options)


def _after_fork() -> None:
    # The lock may have been held by a thread that does not exist in the child.
    global _defaults_lock
    _defaults_lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def _async_network() -> type:
    from .client import aio
    from .hub.access import resolve

    class AsyncNetwork(aio.AsyncNetwork):
        __doc__ = aio.AsyncNetwork.__doc__

        def __init__(self, profile: str | None = None) -> None:
            super().__init__(lambda: resolve(profile))

    AsyncNetwork.__qualname__ = "AsyncNetwork"
    return AsyncNetwork


def __getattr__(name: str) -> Any:
    if name == "AsyncNetwork":
        value = globals()[name] = _async_network()
        return value
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'landbridge' has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f".{home}", __name__), name)
    return value


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
