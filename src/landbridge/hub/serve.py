"""Serving one module: load it, enter the network as its institute, and answer until told to stop."""

from __future__ import annotations

import asyncio
import gc
import logging
import socket
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from ..backend.expose import Exposure
from ..backend.keeping import Keeping
from ..backend.metrics import prometheus_text
from ..backend.metrics_http import serve_metrics
from ..backend.service import Backend
from ..broker import Closed, Connection, Denied, Disconnected, Event, Reconnected
from ..client.access import Access
from ..errors import BrokerUnreachable, PermissionDenied
from ..names import SERVICE_PERSON, Address, check_institute, check_module
from ..security import check_pattern, decode_jwt
from ..settings import selected_url
from .access import chosen_profile, local_access, resolve, serving_access
from .approvals import FileDesk
from .backends import audit_folder
from .institutes import institute_of
from .policies import FilePolicy, Shares
from .vouching import Vouched

__all__ = ["access_for_serving", "is_own_network", "serve"]

_log = logging.getLogger(__name__)
_GARBAGE_OBJECTS, _GARBAGE_S = 10_000, 0.5
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8  # malloc.h of glibc


def access_for_serving(address: Address, profile: str | None = None) -> Access:
    """Return how to enter the network in order to serve the module at `address`.

    Where the institute's keys are on this computer the credential is issued now; elsewhere it is the profile's.

    Raises
    ------
    PermissionDenied
        When the profile's credential is of another institute, or does not name the module.
    NotConfigured
        When there is no network, or the profile cannot be used.
    """
    check_institute(address.institute, reserved=address.institute in ("lb", "local"))
    check_module(address.module)
    if is_own_network(profile):
        return local_access(address.institute, SERVICE_PERSON, [address.module], url=selected_url())
    access = resolve(profile)
    name = chosen_profile(profile) or ""
    if access.institute != address.institute:
        raise PermissionDenied(
            f"The profile {name!r} is of {access.institute}, so it cannot serve {address}. "
            f"Serve it --as {access.institute}/{address.module}, or choose a profile of {address.institute}."
        )
    ours = institute_of(name)
    if ours is not None:
        return serving_access(ours, address.module)
    modules = decode_jwt(access.user_jwt())["nats"].get("tags", ())
    if f"module:{address.module}" not in modules:
        raise PermissionDenied(
            f"{access.institute}/{access.person} may not serve {address}: the credential of profile {name!r} does not "
            f"name it. Ask {access.institute} for an invitation that does, and join with it on this computer: "
            f"landbridge invite person {access.person} --serve {_served(modules, address.module, access.person)}"
        )
    return access


def _served(tags: Sequence[str], module: str, person: str) -> str:
    """Return what somebody may serve so far and a further module, as `landbridge invite person` takes it."""
    named = [tag.partition(":")[2] for tag in tags if tag.startswith("module:")]
    return ",".join(dict.fromkeys([*(each for each in named if each != person), module]))


async def serve(
    address: Address,
    exposed: Exposure,
    access: Access,
    *,
    share: Sequence[str] = (),
    onward: Sequence[str] = (),
    network_owner: bool,
    instance: str,
    workers: int | None,
    grace_s: float,
    ready: Callable[[Backend], None],
    stop: asyncio.Event,
    lost: Callable[[str], None],
    keeping: Keeping | None = None,
    metrics: socket.socket | None = None,
    folder: Path | None = None,
) -> None:
    """Serve until `stop` is set.

    Parameters
    ----------
    address : Address
        ``institute/module``.
    exposed : Exposure
        What the module exposes.
    access : Access
        Which network, with a credential that may serve the module.
    share : sequence of str
        Patterns every method is shared with.
    onward : sequence of str
        Patterns of whom references to results may go on to.
    network_owner : bool
        Whether the owner of the (embedded) network may call everything.
    instance : str
        Id of this backend, 32 hexadecimal digits; the same for one that takes the place of one that died.
    workers : int or None
        How many processes run methods with ``process=True``; None for one for each CPU.
    grace_s : float
        How long calls that run may go on once `stop` is set, in seconds.
    ready : callable
        Called once requests can arrive.
    stop : asyncio.Event
        When to end.
    lost : callable
        Told in words when the broker goes away or comes back.
    keeping : Keeping, optional
        What it takes to keep values for callers.
    metrics : socket, optional
        Where metrics are shown until `stop` is set: it listens on this computer.
    folder : Path, optional
        Where what is served lies; the owner's policy file may lie there, too.

    Raises
    ------
    NotConfigured
        When the owner's policy cannot be read.
    PermissionDenied
        When the broker does not let this credential serve the module.
    BrokerUnreachable
        When no broker answers, or the connection has ended for good.
    """
    patterns = [check_pattern(pattern) for pattern in share]
    vouched = None if is_own_network(access.profile) else Vouched(address, access)
    backend = Backend(
        address, exposed,
        instance=instance, share=patterns, onward=onward, network_owner=network_owner, workers=workers, keeping=keeping,
        policy=FilePolicy(str(address), folder), audit=audit_folder(str(address), instance),
        proves=None if vouched is None else vouched.proves,
        desk=FileDesk(str(address)),
    )  # fmt: skip
    Shares(str(address)).served([*backend.spec.methods, *backend.spec.classes, *backend.spec.datasets])
    ended: list[str] = []
    denied: list[str] = []

    def on_event(event: Event) -> None:
        if isinstance(event, Reconnected):
            backend.reconnected()
            lost("the broker is back")
        elif isinstance(event, Disconnected):
            lost("the broker is away; waiting for it")
        elif isinstance(event, Closed):
            ended.append(event.reason)
            stop.set()
        elif isinstance(event, Denied):
            _log.warning("the broker refused to let us %s %s", event.action, event.subject)
            if event.action == "subscribe":
                denied.append(event.subject)
                stop.set()

    connection = await Connection.open(
        access.urls,
        user_jwt=access.user_jwt,
        sign=access.sign,
        name=f"landbridge {address}",
        on_event=on_event,
        urls_now=access.urls_now,
        tls=access.tls,
    )
    # What has been loaded stays; walking all of it again and again in search of garbage took 20 % of a small call.
    gc.collect()
    gc.freeze()
    # Each small call makes and drops some forty objects that could be part of a cycle and are not. Looking for cycles
    # among every 700 took 10 to 20 % of the calls that could be made in a second; `_look_for_garbage` does what is
    # missed so, before it can be much: in half a second.
    gc.set_threshold(_GARBAGE_OBJECTS, 10, 10)
    # A thread that computes lets go of Python's lock after this long, instead of 5 ms; each hand-over to the thread
    # that does the I/O waits one such interval. Much shorter ones cost small calls 10 % when nothing computes.
    sys.setswitchinterval(0.002)
    _keep_freed_memory()

    async def show_metrics(listening: socket.socket) -> None:
        page = serve_metrics(
            lambda: prometheus_text(backend.metrics_now()),
            lambda: "" if connection.connected else "the broker is away",
            listening,
        )
        async with page:
            await stop.wait()

    showing = asyncio.create_task(show_metrics(metrics)) if metrics is not None else None
    looking = asyncio.create_task(_look_for_garbage())
    vouching = None
    if vouched is not None:
        await vouched.ask_first()
        vouching = asyncio.create_task(vouched.keep())
    try:
        await backend.serve(connection, lambda: None if denied else ready(backend), stop, grace_s=grace_s)
    finally:
        stop.set()
        looking.cancel()
        if vouching is not None:
            vouching.cancel()
        if showing is not None:
            await showing
        await connection.close()
    if denied:
        raise PermissionDenied(
            f"The credential of {access.institute}/{access.person} may not serve {address}. "
            f"Ask {access.institute} for one that names the module."
        )
    if ended:
        raise BrokerUnreachable(f"{address} is no longer served: {ended[0]}")


async def _look_for_garbage() -> None:
    """Have cycles found that functions have left, and what they hold, such as large arrays, freed."""
    while True:
        await asyncio.sleep(_GARBAGE_S)
        gc.collect(1)


def _keep_freed_memory() -> None:
    """Have glibc keep some megabytes that were freed, rather than give them back to the system and ask for them again.

    Parts of long values come and go by the thousand. Each was fresh memory from the system, and taking that took a
    third of the time of a transfer. And all threads share one heap: what one of them takes and another gives back
    would otherwise leave gaps in a heap for each, 40 MB after 400,000 calls.
    """
    if sys.platform != "linux":
        return
    import ctypes

    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:  # other C libraries have none
        mallopt(_M_MMAP_THRESHOLD, 4 * 1024 * 1024)
        mallopt(_M_TRIM_THRESHOLD, 16 * 1024 * 1024)
        mallopt(_M_ARENA_MAX, 1)


def is_own_network(profile: str | None = None) -> bool:
    """Whether what `profile` or the environment chooses is the network that this computer owns."""
    chosen = chosen_profile(profile)
    return chosen is None or "/" in chosen
