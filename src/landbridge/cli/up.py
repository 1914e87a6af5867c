"""``landbridge up``: the network of this computer."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import re
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from cyclopts import Parameter

from ..errors import printable
from ..hub import up as hub
from ..settings import RunningBroker, checked_url
from .console import say, show, show_json
from .ending import UsageError
from .logs import log_to_stderr
from .signals import stop_on_signals

__all__ = ["up"]

_ENCRYPTED = {"nats": "tls", "ws": "wss"}
_HOST = re.compile(r"[A-Za-z0-9_.:-]{1,255}")


def up(
    *,
    network: str | None = None,
    host: str | None = None,
    port: int | None = None,
    websocket_port: int | None = None,
    address: str = "",
    tls_certificate: Path | None = None,
    tls_key: Path | None = None,
    tls_client_ca: Path | None = None,
    unencrypted: bool = False,
    print_config: bool = False,
    broker: Annotated[tuple[str, ...], Parameter(name="--broker")] = (),
    json: bool = False,
) -> None:
    """Run the network of this computer until Ctrl-C.

    Its broker listens on this computer only, if --host says nothing else. Whoever runs it owns the network: institutes
    there are theirs, or those that they have invited (landbridge invite institute NAME).

    Parameters
    ----------
    network
        What the network is called; it keeps the name, and its ports, from then on.
    host
        Address to listen at, such as 0.0.0.0 for all that this computer has; others can connect then. By default
        127.0.0.1, and 0.0.0.0 with --print-config.
    port
        Port of the broker; by default a free one, or the one it had, once others were told of it.
    websocket_port
        Port of the broker for browsers and for wss:// addresses; by default as for port.
    address
        Name under which others reach this computer, such as hub.example.org: what they are told.
    tls_certificate
        File with the certificate of that name and those that signed it, in PEM. Both ports are encrypted with it, and
        it is read anew whenever it has changed.
    tls_key
        File with its key.
    tls_client_ca
        File with the authorities of which whoever connects must show a certificate.
    unencrypted
        Listen elsewhere than on this computer, or use a broker there, without encryption: only where a proxy encrypts.
    print_config
        Print the configuration for a nats-server or a cluster of your own, and end. It holds no secret, and encrypts
        with the files that --tls-certificate and the like name, or without these with some in /etc/nats.
    broker
        Use the nats-servers at this address, which have that configuration, and start none. Several times for several.
    json
        Print one line of JSON when it runs, and one whenever the broker had to be started again or its certificate
        was renewed.
    """
    if broker and (print_config or tls_certificate or address or host is not None or port or websocket_port):
        raise UsageError("--broker: where those servers listen, and how, is in their own configuration.")
    urls = [checked_url(each, "--broker") for each in broker]
    if not unencrypted:
        _check_is_encrypted(urls)
    if host is None:
        host = "0.0.0.0" if print_config else "127.0.0.1"  # noqa: S104 - printed, not listened at
    _check_files(host, tls_certificate, tls_key, unencrypted)
    if not print_config:
        _check_encryption(host, tls_certificate, tls_client_ca, unencrypted)
    if address and not _HOST.fullmatch(address):
        raise UsageError(f"--address {printable(repr(address), 200)}: must be the name of a host, without a port.")
    if network is not None and (not network.strip() or printable(network, 100) != network):
        raise UsageError("--network: a name of 1 to 100 letters and signs that can be shown is wanted.")
    listening = hub.Listening(
        host,
        _chosen("--port", port),
        _chosen("--websocket-port", websocket_port),
        address,
        *(file.absolute() if file else None for file in (tls_certificate, tls_key, tls_client_ca)),
    )
    log_to_stderr(logging.WARNING)
    if print_config:
        show(asyncio.run(hub.configuration(listening, network, encrypted=not unencrypted)))
        return
    asyncio.run(_up(network, listening, urls, json))


def _check_files(host: str, certificate: Path | None, key: Path | None, unencrypted: bool) -> None:
    if not _HOST.fullmatch(host):
        raise UsageError(f"--host {printable(repr(host), 200)}: must be an address of this computer, without a port.")
    if (certificate is None) != (key is None):
        raise UsageError("--tls-certificate and --tls-key: give both, or neither.")
    if unencrypted and certificate is not None:
        raise UsageError("--unencrypted: leave it out, as --tls-certificate has both ports encrypted.")


def _check_encryption(host: str, certificate: Path | None, client_ca: Path | None, unencrypted: bool) -> None:
    if client_ca is not None and certificate is None:
        raise UsageError("--tls-client-ca: needs --tls-certificate and --tls-key, too.")
    if certificate is None and not unencrypted and not _is_near(host):
        raise UsageError(
            f"--host {host}: whoever is on the way could read along, as nothing is encrypted. Give --tls-certificate "
            "and --tls-key; or --unencrypted, if a proxy on this computer or in its own network encrypts."
        )


def _check_is_encrypted(urls: Sequence[str]) -> None:
    for url in urls:
        parts = urlsplit(url)
        if parts.scheme in _ENCRYPTED and not _is_near(parts.hostname or ""):
            raise UsageError(
                f"--broker {printable(url, 200)}: whoever is on the way could read along, as nothing is encrypted. "
                f"Give {_ENCRYPTED[parts.scheme]}:// in place of {parts.scheme}://; or --unencrypted, if what is in "
                "between encrypts."
            )


def _is_near(host: str) -> bool:
    """Whether only programs of this computer can reach it."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _chosen(option: str, port: int | None) -> int:
    if port is None:
        return -1
    if not 0 < port < 65536:
        raise UsageError(f"{option} {port}: must be from 1 to 65535; leave it out for a free port.")
    return port


async def _up(name: str | None, listening: hub.Listening, urls: Sequence[str], json: bool) -> None:
    stop, told = stop_on_signals(), ""

    def ready(broker: RunningBroker) -> None:
        nonlocal told
        told = _addresses(broker)
        if json:
            show_json({"event": "ready", **asdict(broker)})
            return
        show(_welcome(broker))

    def restarted(broker: RunningBroker) -> None:
        nonlocal told
        if json:
            show_json({"event": "restarted", **asdict(broker)})
        where = "at the same address."
        if _addresses(broker) != told:
            where = f"but not where it was, as somebody has taken its place.\n{_addresses(broker)}"
        told = _addresses(broker)
        say(f"The broker had ended and has been started again, {where}")

    def renewed() -> None:
        if json:
            show_json({"event": "certificate_renewed"})
        say("The certificate has changed; the broker uses the new one from now on.")

    if urls:
        await hub.run_beside(ready, stop, urls, name=name)
    else:
        await hub.run(ready, stop, restarted, renewed, listening, name=name)
    say("The network has ended.")


def _addresses(broker: RunningBroker) -> str:
    others = f"\nOthers reach it at {broker.public_url} (websocket {broker.public_websocket_url})."
    here = f"{broker.network} runs at {broker.url} (websocket {broker.websocket_url}). Ctrl-C ends it."
    return here + (others if broker.public_url else "")


def _welcome(broker: RunningBroker) -> str:
    return (
        f"{_addresses(broker)}\nIn other terminals:\n  landbridge serve FILE.py --as INSTITUTE/MODULE\n  landbridge ls"
    )
