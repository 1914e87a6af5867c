"""Running the network of this computer: its keys, its broker, its catalogue; all end together."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ..broker import PINNED, Server, ServerConfig, cluster_configuration_text, start_server
from ..errors import BrokerFailed, LandbridgeError, NotConfigured
from ..names import OWNER_INSTITUTE
from ..security import SERVICE_INSTITUTE
from ..settings import (
    RunningBroker,
    forget_broker,
    hold_up_lock,
    local_dir,
    own_tls,
    private_read,
    private_write,
    record_broker,
)
from .issue import change_keys, keys_lock, tell
from .keys import KEYS_FILE, NetworkKeys
from .owner import owner_person
from .services import serve_own_modules

__all__ = ["Listening", "configuration", "run", "run_beside"]

_log = logging.getLogger(__name__)
_WATCH_S = 0.2
_RESTART_WAIT_S = 0.2
_TIDY_S = 60.0
_PORTS = "ports.json"
_USUAL_CERTIFICATE, _USUAL_KEY = Path("/etc/nats/fullchain.pem"), Path("/etc/nats/privkey.pem")
_USUAL_PORT, _USUAL_WEBSOCKET_PORT = 4222, 443


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
    restarted: Callable[[RunningBroker], None],
    renewed: Callable[[], None],
    listening: Listening,
    *,
    name: str | None = None,
) -> None:
    """Run the network of this computer until `stop` is set.

    Parameters
    ----------
    ready : callable
        Called once programs can connect.
    stop : asyncio.Event
        When to end.
    restarted : callable
        Given the broker when it crashed and has been started again; elsewhere, if somebody has taken the place.
    renewed : callable
        Told when the broker has been given a new certificate.
    listening : Listening
        Where the broker listens, and how it is encrypted. A port that is free for it to choose is the one it had
        before, if others were told of it.
    name : str, optional
        What the network is called from now on.

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
        server, broker = await _start(_as_before(listening), name)
        keeper: asyncio.Task[None] | None = None
        try:
            serving = asyncio.Event()
            keeper = asyncio.create_task(serve_own_modules(broker.url, serving, stop))
            await _first(asyncio.create_task(serving.wait()), keeper)
            ready(broker)
            tidied_at = time.monotonic()
            while not stop.is_set():
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(stop.wait(), _WATCH_S)
                if time.monotonic() - tidied_at > _TIDY_S:
                    tidied_at = time.monotonic()
                    await _tidy()
                if keeper.done():
                    keeper.result()
                if server.poll() is not None and not stop.is_set():
                    _log.error("the broker ended with exit code %s; starting it again", server.poll())
                    server, broker = await _start_again(broker, listening)
                    restarted(broker)
                try:
                    if await asyncio.to_thread(server.renew_certificate):
                        renewed()
                except (NotConfigured, OSError) as error:
                    _log.error("the broker goes on with the certificate it has: %s", error)
        finally:
            stop.set()
            if keeper is not None:
                await asyncio.wait([keeper], timeout=3.0)
                keeper.cancel()
            await asyncio.to_thread(server.stop)


async def run_beside(
    ready: Callable[[RunningBroker], None], stop: asyncio.Event, urls: Sequence[str], *, name: str | None = None
) -> None:
    """Run what belongs to the network of this computer, but for the broker, until `stop` is set.

    Parameters
    ----------
    ready, stop, name
        As for `run`.
    urls : sequence of str
        Where its brokers are, which run with the configuration that `configuration` gives.

    Raises
    ------
    NotConfigured
        When a network runs already.
    BrokerUnreachable
        When no broker is there, or it has another network's configuration.
    """
    with hold_up_lock():
        directory = local_dir()
        (directory / "broker" / PINNED).unlink(missing_ok=True)  # of a broker that ran here before
        async with keys_lock(directory):
            keys = _keys(directory, name)
            await tell(urls, keys)
            replace(keys, told=keys.changed).save(directory)
            websockets = [url for url in urls if url.startswith("ws")]
            broker = RunningBroker(
                url=urls[0],
                websocket_url=(websockets or urls)[0],
                pid=os.getpid(),
                server_id="",
                started=_now(),
                network=keys.name or f"{owner_person()}'s network",
            )
            record_broker(broker)
        serving, stopping = asyncio.Event(), asyncio.create_task(stop.wait())
        keeper = asyncio.create_task(serve_own_modules(broker.url, serving, stop))
        try:
            await _first(asyncio.create_task(serving.wait()), keeper)
            ready(broker)
            while not stop.is_set():
                await asyncio.wait([keeper, stopping], timeout=_TIDY_S, return_when=asyncio.FIRST_COMPLETED)
                if keeper.done():
                    keeper.result()
                await _tidy()
        finally:
            stop.set()
            await asyncio.wait([keeper, stopping], timeout=3.0)
            keeper.cancel()


async def configuration(listening: Listening, name: str | None = None, *, encrypted: bool = True) -> str:
    """Return the configuration with which others run nats-servers for the network of this computer; see `run_beside`.

    The network is founded if this computer has none.

    Parameters
    ----------
    listening : Listening
        Where the servers listen, and the files that they encrypt with, which are not looked at.
    name : str, optional
        What the network is called from now on.
    encrypted : bool
        Whether they encrypt; where `listening` names no files, the usual places of such stand for them.
    """
    if encrypted and listening.certificate is None:
        listening = replace(listening, certificate=_USUAL_CERTIFICATE, key=_USUAL_KEY)
    directory = local_dir()
    async with keys_lock(directory):
        keys = _keys(directory, name)
    port = _USUAL_PORT if listening.port == -1 else listening.port
    websocket_port = _USUAL_WEBSOCKET_PORT if listening.websocket_port == -1 else listening.websocket_port
    return cluster_configuration_text(_config(keys, replace(listening, port=port, websocket_port=websocket_port)))


def _keys(directory: Path, name: str | None) -> NetworkKeys:
    """Return the keys of this computer's network, as of now; whoever asks holds their lock."""
    now = int(time.time())
    if (directory / KEYS_FILE).exists():
        keys = NetworkKeys.load(directory)
    else:
        keys = NetworkKeys.create(secrets.token_bytes, now=now)
    for own in (SERVICE_INSTITUTE, OWNER_INSTITUTE):
        keys = keys.add_institute(own, secrets.token_bytes, now=now)
    keys = keys.refresh(name=name, now=now)
    keys.save(directory)
    return keys


def _config(keys: NetworkKeys, listening: Listening) -> ServerConfig:
    return ServerConfig(
        operator_jwt=keys.operator_jwt(),
        system_account=keys.system.public,
        accounts=keys.account_jwts(),
        directory=local_dir() / "broker",
        host=listening.host,
        port=listening.port,
        websocket_port=listening.websocket_port,
        tls_certificate=listening.certificate,
        tls_key=listening.key,
        tls_client_ca=listening.client_ca,
    )


async def _tidy() -> None:
    with contextlib.suppress(LandbridgeError):  # a broker that is away is told when it starts
        await change_keys(local_dir(), lambda keys: keys.tidy(now=int(time.time())))


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


async def _start(listening: Listening, name: str | None = None, *, again: bool = False) -> tuple[Server, RunningBroker]:
    directory = local_dir()
    # Institutes that join meanwhile would be unknown to the broker: they wait for the record that we write at the end.
    async with keys_lock(directory):
        keys = _keys(directory, name)
        config = _config(keys, listening)
        server = await asyncio.to_thread(start_server, config, again=again)
        replace(keys, told=keys.changed).save(directory)
        broker = RunningBroker(
            url=server.url,
            websocket_url=server.websocket_url,
            pid=server.pid,
            server_id=server.server_id,
            started=_now(),
            network=keys.name or f"{owner_person()}'s network",
            public_url=_public(server.url, listening.address),
            public_websocket_url=_public(server.websocket_url, listening.address),
        )
        record_broker(broker)
        private_write(directory / _PORTS, json.dumps([_port(broker.url), _port(broker.websocket_url)]))
    return server, broker


def _as_before(listening: Listening) -> Listening:
    """Return where to listen: a network that others were invited to stays where it is."""
    directory = local_dir()
    if not (directory / KEYS_FILE).exists():
        return listening
    keys = NetworkKeys.load(directory)
    if not (keys.partners.invited or keys.partners.joined or keys.name):
        return listening
    try:
        port, websocket_port = json.loads(private_read(directory / _PORTS))
    except (NotConfigured, ValueError, TypeError):
        return listening
    return replace(
        listening,
        port=int(port) if listening.port == -1 else listening.port,
        websocket_port=int(websocket_port) if listening.websocket_port == -1 else listening.websocket_port,
    )


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
