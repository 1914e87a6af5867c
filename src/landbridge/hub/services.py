"""The network's own modules, which run beside its broker: ``lb/catalogue`` and ``lb/id``."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from pathlib import Path

from ..backend.expose import Exposure
from ..backend.service import Backend
from ..broker import Closed, Connection, Event, Reconnected
from ..names import SERVICE_PERSON, Address
from ..security import SERVICE_INSTITUTE
from ..settings import local_dir, own_tls
from .issue import mint

__all__ = ["serve_own"]

_log = logging.getLogger(__name__)
_GRACE_S = 1.0
_LIFETIME_S = 10 * 365 * 24 * 3600


async def serve_own(
    module: str,
    exposed: Exposure,
    url: str,
    stop: asyncio.Event,
    *,
    ready: Callable[[], None],
    urls_now: Callable[[], Sequence[str]],
    beside: Callable[[Connection], AbstractAsyncContextManager[None]] | None = None,
    audit: Path | None = None,
) -> None:
    """Serve one of the network's own modules until `stop` is set.

    Parameters
    ----------
    module : str
        Its name.
    exposed : Exposure
        What it offers.
    url : str
        Where the broker is.
    stop : asyncio.Event
        When to end; set when it can no longer be served.
    ready : callable
        Called once requests can arrive.
    urls_now : callable
        Tells where the broker is after it was lost.
    beside : callable, optional
        Gives, for the connection, a context that is open as long as the module is served.
    audit : Path, optional
        The folder of its audit log.
    """
    address = Address(SERVICE_INSTITUTE, module)
    credentials = await mint(
        local_dir(), SERVICE_INSTITUTE, SERVICE_PERSON, [module],
        now=int(time.time()), random=secrets.token_bytes, lifetime_s=_LIFETIME_S, urls=[],
    )  # fmt: skip
    backend = Backend(address, exposed, instance=secrets.token_hex(16), share=["*/*"], audit=audit)

    def on_event(event: Event) -> None:
        if isinstance(event, Reconnected):
            backend.reconnected()
        elif isinstance(event, Closed):
            _log.error("%s is no longer served: %s", address, event.reason)
            stop.set()

    connection = await Connection.open(
        [url],
        user_jwt=lambda: credentials.jwt,
        sign=credentials.sign,
        name=f"landbridge {address}",
        on_event=on_event,
        urls_now=urls_now,
        tls=own_tls(),
    )
    try:
        async with beside(connection) if beside is not None else nullcontext():
            await backend.serve(connection, ready, stop, grace_s=_GRACE_S)
    finally:
        await connection.close()
