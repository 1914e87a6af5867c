"""Running the network of this computer: its keys, its broker, its catalogue; all end together."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from ..backend.expose import Exposed, Exposure
from ..backend.service import Backend
from ..broker import Closed, Connection, Event, Reconnected, Server, ServerConfig, start_server
from ..names import Address
from ..settings import RunningBroker, hold_up_lock, local_dir, record_broker
from .access import owner_person
from .catalogue import Catalogue, follow, load
from .issue import keys_lock, mint
from .keys import KEYS_FILE, NetworkKeys

__all__ = ["run"]

_log = logging.getLogger(__name__)
_WATCH_S = 0.2
_RESTART_WAIT_S = 0.2
_CATALOGUE = Address("lb", "catalogue")


async def run(
    ready: Callable[[RunningBroker], None],
    stop: asyncio.Event,
    restarted: Callable[[], None],
    *,
    port: int = -1,
    websocket_port: int = -1,
) -> None:
    """Run the network of this computer until `stop` is set.

    Parameters
    ----------
    ready : callable
        Called once programs can connect.
    stop : asyncio.Event
        When to end.
    restarted : callable
        Told when the broker crashed and has been started again.
    port, websocket_port : int
        Where the broker listens; -1 for a free port.

    Raises
    ------
    NotConfigured
        When a network runs already.
    BrokerFailed, MissingExtra
        When the broker does not start, or is not installed.
    """
    with hold_up_lock():
        server, broker = await _start(port, websocket_port)
        keeper: asyncio.Task[None] | None = None
        try:
            serving = asyncio.Event()
            keeper = asyncio.create_task(_keep_catalogue(broker.url, serving, stop))
            await _first(asyncio.create_task(serving.wait()), keeper)
            ready(broker)
            while not stop.is_set():
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(stop.wait(), _WATCH_S)
                if keeper.done():
                    keeper.result()
                if server.poll() is not None and not stop.is_set():
                    _log.error("the broker ended with exit code %s; starting it again", server.poll())
                    await asyncio.sleep(_RESTART_WAIT_S)
                    # On the same ports, so that everybody finds it again by themselves.
                    server, broker = await _start(_port(broker.url), _port(broker.websocket_url))
                    restarted()
        finally:
            stop.set()
            if keeper is not None:
                await asyncio.wait([keeper], timeout=3.0)
                keeper.cancel()
            await asyncio.to_thread(server.stop)


async def _start(port: int, websocket_port: int) -> tuple[Server, RunningBroker]:
    directory = local_dir()
    now = int(time.time())
    # Institutes that join meanwhile would be unknown to the broker: they wait for the record that we write at the end.
    async with keys_lock(directory):
        if (directory / KEYS_FILE).exists():
            keys = NetworkKeys.load(directory)
        else:
            keys = NetworkKeys.create(secrets.token_bytes, now=now)
        for own in (_CATALOGUE.institute, "local"):
            keys = keys.add_institute(own, secrets.token_bytes, now=now)
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
            network=f"{owner_person()}'s network",
        )
        record_broker(broker)
    return server, broker


def _port(url: str) -> int:
    return int(url.rpartition(":")[2].strip("/"))


async def _first(waiting: asyncio.Task[Any], other: asyncio.Task[None]) -> None:
    """Wait for `waiting`, but not longer than `other` lives; what that raised is raised here."""
    await asyncio.wait([waiting, other], return_when=asyncio.FIRST_COMPLETED)
    if not waiting.done():
        waiting.cancel()
        other.result()


async def _keep_catalogue(url: str, serving: asyncio.Event, stop: asyncio.Event) -> None:
    directory = local_dir()
    credentials = await mint(
        directory, _CATALOGUE.institute, "_M", [_CATALOGUE.module],
        now=int(time.time()), random=secrets.token_bytes, lifetime_s=10 * 365 * 24 * 3600, urls=[],
    )  # fmt: skip
    catalogue = load(directory / "catalogue.json")
    exposed = Exposure(
        "The modules of this network.", "", {"modules": Exposed(_listing(catalogue), share=("*/*",))}, ()
    )
    backend = Backend(_CATALOGUE, exposed, instance=secrets.token_hex(16), share=["*/*"])

    def on_event(event: Event) -> None:
        if isinstance(event, Reconnected):
            backend.reconnected()
        elif isinstance(event, Closed):
            _log.error("the catalogue is no longer kept: %s", event.reason)
            stop.set()

    connection = await Connection.open(
        [url], user_jwt=lambda: credentials.jwt, sign=credentials.sign, name="landbridge catalogue", on_event=on_event
    )
    try:
        async with follow(catalogue, connection, directory / "catalogue.json"):
            await backend.serve(connection, serving.set, stop)
    finally:
        await connection.close()


def _listing(catalogue: Catalogue) -> Callable[[], list[dict[str, Any]]]:
    def modules() -> list[dict[str, Any]]:
        """List all modules of the network, those that are offline too."""
        return catalogue.modules(time.time())

    return modules
