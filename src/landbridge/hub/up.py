"""Running the network of this computer: its keys, its broker, its catalogue; all end together."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import secrets
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

from ..backend.expose import Exposed, Exposure
from ..broker import Server, ServerConfig, start_server
from ..errors import BrokerFailed, LandbridgeError, NotConfigured
from ..names import ISSUER_MODULE, OWNER_INSTITUTE
from ..security import SERVICE_INSTITUTE
from ..settings import (
    RunningBroker,
    forget_broker,
    hold_up_lock,
    local_dir,
    private_read,
    private_write,
    record_broker,
)
from .access import local_urls
from .backends import audit_folder
from .catalogue import Catalogue, follow, load
from .issue import change_keys, keys_lock
from .keys import KEYS_FILE, NetworkKeys
from .owner import owner_person
from .registrar import registrar
from .services import serve_own

__all__ = ["run"]

_log = logging.getLogger(__name__)
_WATCH_S = 0.2
_RESTART_WAIT_S = 0.2
_TIDY_S = 3600.0
_PAGE = 200
_PORTS = "ports.json"
_REGISTRAR = "0" * 32  # there is one in a network: its audit log is always in the same place


async def run(
    ready: Callable[[RunningBroker], None],
    stop: asyncio.Event,
    restarted: Callable[[], None],
    *,
    name: str | None = None,
    port: int = -1,
    websocket_port: int = -1,
) -> None:
    """Run the network of this computer until `stop` is set.

    Parameters
    ----------
    name : str, optional
        What it is called from now on.
    ready : callable
        Called once programs can connect.
    stop : asyncio.Event
        When to end.
    restarted : callable
        Told when the broker crashed and has been started again.
    port, websocket_port : int
        Where the broker listens; -1 for a free port, or for the one it had before if others were told of it.

    Raises
    ------
    NotConfigured
        When a network runs already.
    BrokerFailed, MissingExtra
        When the broker does not start, or is not installed.
    """
    with hold_up_lock():
        server, broker = await _start(name, *_ports(port, websocket_port))
        keeper: asyncio.Task[None] | None = None
        try:
            serving = asyncio.Event()
            keeper = asyncio.create_task(_serve_own_modules(broker.url, serving, stop))
            await _first(asyncio.create_task(serving.wait()), keeper)
            ready(broker)
            tidied_at = time.monotonic()
            while not stop.is_set():
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(stop.wait(), _WATCH_S)
                if time.monotonic() - tidied_at > _TIDY_S:
                    tidied_at = time.monotonic()
                    with contextlib.suppress(LandbridgeError):  # a broker that is away is told when it starts
                        await change_keys(local_dir(), lambda keys: keys.tidy(now=int(time.time())))
                if keeper.done():
                    keeper.result()
                if server.poll() is not None and not stop.is_set():
                    _log.error("the broker ended with exit code %s; starting it again", server.poll())
                    server, broker = await _start_again(broker)
                    restarted()
        finally:
            stop.set()
            if keeper is not None:
                await asyncio.wait([keeper], timeout=3.0)
                keeper.cancel()
            await asyncio.to_thread(server.stop)


async def _start(name: str | None, port: int, websocket_port: int) -> tuple[Server, RunningBroker]:
    directory = local_dir()
    now = int(time.time())
    # Institutes that join meanwhile would be unknown to the broker: they wait for the record that we write at the end.
    async with keys_lock(directory):
        if (directory / KEYS_FILE).exists():
            keys = NetworkKeys.load(directory)
        else:
            keys = NetworkKeys.create(secrets.token_bytes, now=now)
        for own in (SERVICE_INSTITUTE, OWNER_INSTITUTE):
            keys = keys.add_institute(own, secrets.token_bytes, now=now)
        keys = keys.refresh(name=name, now=now)
        keys.save(directory)
        config = ServerConfig(
            operator_jwt=keys.operator_jwt(),
            system_account=keys.system.public,
            accounts=keys.account_jwts(),
            directory=directory / "broker",
            port=port,
            websocket_port=websocket_port,
        )
        server = await asyncio.to_thread(start_server, config)
        broker = RunningBroker(
            url=server.url,
            websocket_url=server.websocket_url,
            pid=server.pid,
            server_id=server.server_id,
            started=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            network=keys.name or f"{owner_person()}'s network",
        )
        record_broker(broker)
        private_write(directory / _PORTS, json.dumps([_port(broker.url), _port(broker.websocket_url)]))
    return server, broker


def _ports(port: int, websocket_port: int) -> tuple[int, int]:
    """Return where to listen: a network that others were invited to stays where it is."""
    directory = local_dir()
    if not (directory / KEYS_FILE).exists():
        return port, websocket_port
    keys = NetworkKeys.load(directory)
    if not (keys.invited or keys.joined or keys.name):
        return port, websocket_port
    try:
        before, websocket_before = json.loads(private_read(directory / _PORTS))
        return (before if port == -1 else port), (websocket_before if websocket_port == -1 else websocket_port)
    except (NotConfigured, ValueError, TypeError):
        return port, websocket_port


async def _start_again(broker: RunningBroker) -> tuple[Server, RunningBroker]:
    """Start the broker where it was, so that everybody finds it; elsewhere if somebody has taken the place."""
    forget_broker()
    await asyncio.sleep(_RESTART_WAIT_S)
    try:
        return await _start(None, _port(broker.url), _port(broker.websocket_url))
    except BrokerFailed as error:
        _log.warning("it could not be started where it was: %s", error)
        return await _start(None, -1, -1)


def _port(url: str) -> int:
    return int(url.rpartition(":")[2].strip("/"))


async def _first(waiting: asyncio.Task[Any], other: asyncio.Task[None]) -> None:
    """Wait for `waiting`, but not longer than `other` lives; what that raised is raised here."""
    await asyncio.wait([waiting, other], return_when=asyncio.FIRST_COMPLETED)
    if not waiting.done():
        waiting.cancel()
        other.result()


async def _serve_own_modules(url: str, serving: asyncio.Event, stop: asyncio.Event) -> None:
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

    catalogue_kept = serve_own(
        "catalogue", listing, url, stop,
        ready=lambda: ready("catalogue"), urls_now=local_urls,
        beside=lambda connection: follow(catalogue, connection, file),
    )  # fmt: skip
    institutes_let_in = serve_own(
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
