"""The network's own modules, which run beside its broker: ``lb/catalogue`` and ``lb/id``."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from pathlib import Path
from typing import Any

from ..backend.expose import Exposed, Exposure
from ..backend.service import Backend
from ..broker import Closed, Connection, Event, Reconnected
from ..names import ISSUER_MODULE, SERVICE_PERSON, Address
from ..security import SERVICE_INSTITUTE
from ..settings import local_dir, own_tls
from .access import local_urls
from .backends import audit_folder
from .catalogue import Catalogue, follow, load
from .issue import mint
from .registrar import registrar

__all__ = ["serve_own_modules"]

_log = logging.getLogger(__name__)
_GRACE_S = 1.0
_PAGE = 200
_REGISTRAR = "0" * 32  # there is one in a network: its audit log is always in the same place
_LIFETIME_S = 10 * 365 * 24 * 3600


async def serve_own_modules(url: str, serving: asyncio.Event, stop: asyncio.Event) -> None:
    """Keep the catalogue, and let institutes in; `serving` is set once both can be asked."""
    file = local_dir() / "catalogue.json"
    catalogue = load(file)
    listing = Exposure(
        "The modules of this network.", "", {"modules": Exposed(_listing(catalogue), share=("*/*",))}, ()
    )
    waited_for = {"catalogue", ISSUER_MODULE}

    def ready(module: str) -> None:
        waited_for.discard(module)
        if not waited_for:
            serving.set()

    catalogue_kept = _serve(
        "catalogue", listing, url, stop,
        ready=lambda: ready("catalogue"), urls_now=local_urls,
        beside=lambda connection: follow(catalogue, connection, file),
    )  # fmt: skip
    institutes_let_in = _serve(
        ISSUER_MODULE, registrar(local_dir(), lambda text: _log.warning("%s", text)), url, stop,
        ready=lambda: ready(ISSUER_MODULE), urls_now=local_urls,
        audit=audit_folder(f"{SERVICE_INSTITUTE}/{ISSUER_MODULE}", _REGISTRAR),
    )  # fmt: skip
    tasks = [asyncio.create_task(each) for each in (catalogue_kept, institutes_let_in)]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()


def _listing(catalogue: Catalogue) -> Callable[[], Iterator[list[dict[str, Any]]]]:
    def modules() -> Iterator[list[dict[str, Any]]]:
        """List all modules of the network, those that are offline too, in pages of 200 at most."""
        # In pages, because the texts of some thousand modules are more than one value may hold.
        listed = catalogue.modules(time.time())
        for first in range(0, len(listed), _PAGE):
            yield listed[first : first + _PAGE]

    return modules


async def _serve(
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
    """Serve one of them until `stop` is set.

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
