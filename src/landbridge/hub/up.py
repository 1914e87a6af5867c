"""Running the network of this computer: its keys, its broker, its catalogue; all end together."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ..backend.expose import Exposed, Exposure
from ..backend.service import Backend
from ..broker import Closed, Connection, Event, Reconnected, Server, ServerConfig, start_server
from ..errors import BrokerFailed, NotConfigured
from ..names import SERVICE_PERSON, Address
from ..settings import RunningBroker, forget_broker, hold_up_lock, local_dir, own_tls, record_broker
from .access import local_urls, owner_person
from .catalogue import Catalogue, follow, load
from .issue import keys_lock, mint
from .keys import KEYS_FILE, NetworkKeys

__all__ = ["Listening", "run"]

_log = logging.getLogger(__name__)
_WATCH_S = 0.2
_RESTART_WAIT_S = 0.2
_CATALOGUE = Address("lb", "catalogue")
_PAGE = 200
_GRACE_S = 1.0


@dataclass(frozen=True)
class Listening:
    """Where the broker listens, and how it is encrypted.

    Attributes
    ----------
    host : str
        Address to listen at; by default only programs of this computer can connect.
    port, websocket_port : int
        Ports; -1 for free ones.
    address : str
        Name or address under which others reach this computer, if they do.
    certificate, key : Path, optional
        Files with the certificate of that name and its key: both or none.
    client_ca : Path, optional
        File with the authorities of the certificates that whoever connects must show.
    """

    host: str = "127.0.0.1"
    port: int = -1
    websocket_port: int = -1
    address: str = ""
    certificate: Path | None = None
    key: Path | None = None
    client_ca: Path | None = None


async def run(
    ready: Callable[[RunningBroker], None],
    stop: asyncio.Event,
    restarted: Callable[[], None],
    renewed: Callable[[], None],
    listening: Listening,
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
    renewed : callable
        Told when the broker has been given a new certificate.
    listening : Listening
        Where the broker listens, and how it is encrypted.

    Raises
    ------
    NotConfigured
        When a network runs already, or a file for encryption cannot be used.
    BrokerFailed, MissingExtra
        When the broker does not start, or is not installed.
    """
    if listening.client_ca is not None and own_tls().certificate is None:
        raise NotConfigured(
            "Whoever connects shall show a certificate, and this computer has none to show: the catalogue could not "
            "connect. Name one of the same authority: LANDBRIDGE_CERTIFICATE and LANDBRIDGE_KEY, here and wherever "
            "programs of this computer use the network."
        )
    with hold_up_lock():
        server, broker = await _start(listening)
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
                    server, broker = await _start_again(broker, listening)
                    restarted()
                try:
                    if server.renew_certificate():
                        renewed()
                except (NotConfigured, OSError) as error:
                    _log.error("the broker goes on with the certificate it has: %s", error)
        finally:
            stop.set()
            if keeper is not None:
                await asyncio.wait([keeper], timeout=3.0)
                keeper.cancel()
            await asyncio.to_thread(server.stop)


async def _start(listening: Listening, *, again: bool = False) -> tuple[Server, RunningBroker]:
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
            host=listening.host,
            port=listening.port,
            websocket_port=listening.websocket_port,
            tls_certificate=listening.certificate,
            tls_key=listening.key,
            tls_client_ca=listening.client_ca,
        )
        server = await asyncio.to_thread(start_server, config, again=again)
        broker = RunningBroker(
            url=server.url,
            websocket_url=server.websocket_url,
            pid=server.pid,
            server_id=server.server_id,
            started=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            network=f"{owner_person()}'s network",
            public_url=_public(server.url, listening.address),
            public_websocket_url=_public(server.websocket_url, listening.address),
        )
        record_broker(broker)
    return server, broker


def _public(url: str, address: str) -> str:
    if not address:
        return ""
    host = f"[{address}]" if ":" in address else address
    return f"{url.partition('//')[0]}//{host}:{_port(url)}"


async def _start_again(broker: RunningBroker, listening: Listening) -> tuple[Server, RunningBroker]:
    """Start the broker where it was, so that everybody finds it; elsewhere if somebody has taken the place."""
    forget_broker()
    await asyncio.sleep(_RESTART_WAIT_S)
    try:
        same = replace(listening, port=_port(broker.url), websocket_port=_port(broker.websocket_url))
        return await _start(same, again=True)
    except BrokerFailed as error:
        _log.warning("it could not be started where it was: %s", error)
        return await _start(replace(listening, port=-1, websocket_port=-1), again=True)


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
        directory, _CATALOGUE.institute, SERVICE_PERSON, [_CATALOGUE.module],
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
        [url],
        user_jwt=lambda: credentials.jwt,
        sign=credentials.sign,
        name="landbridge catalogue",
        on_event=on_event,
        urls_now=local_urls,
        tls=own_tls(),
    )
    try:
        async with follow(catalogue, connection, directory / "catalogue.json"):
            await backend.serve(connection, serving.set, stop, grace_s=_GRACE_S)
    finally:
        await connection.close()


def _listing(catalogue: Catalogue) -> Callable[[], Iterator[list[dict[str, Any]]]]:
    def modules() -> Iterator[list[dict[str, Any]]]:
        """List all modules of the network, those that are offline too, in pages of 200 at most."""
        # In pages, because the texts of some thousand modules are more than one value may hold.
        listed = catalogue.modules(time.time())
        for first in range(0, len(listed), _PAGE):
            yield listed[first : first + _PAGE]

    return modules
