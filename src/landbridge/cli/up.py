"""``landbridge up``: the network of this computer."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import asdict

from ..errors import printable
from ..hub import up as hub
from ..settings import RunningBroker
from .console import say, show, show_json
from .ending import UsageError
from .logs import log_to_stderr
from .signals import stop_on_signals

__all__ = ["up"]


def up(
    *, network: str | None = None, port: int | None = None, websocket_port: int | None = None, json: bool = False
) -> None:
    """Run the network of this computer until Ctrl-C.

    Its broker listens on this computer only. Whoever runs it owns the network: institutes there are theirs, or those
    that they have invited (landbridge invite institute NAME).

    Parameters
    ----------
    network
        What the network is called; it keeps the name, and its ports, from then on.
    port
        Port of the broker; by default a free one, or the one it had, once others were told of it.
    websocket_port
        Port of the broker for browsers; as port.
    json
        Print one line of JSON when it runs, and one whenever the broker had to be started again.
    """
    log_to_stderr(logging.WARNING)
    if network is not None and (not network.strip() or printable(network, 100) != network):
        raise UsageError("--network: a name of 1 to 100 letters and signs that can be shown is wanted.")
    asyncio.run(_up(network, _chosen("--port", port), _chosen("--websocket-port", websocket_port), json))


def _chosen(option: str, port: int | None) -> int:
    if port is None:
        return -1
    if not 0 < port < 65536:
        raise UsageError(f"{option} {port}: must be from 1 to 65535; leave it out for a free port.")
    return port


async def _up(name: str | None, port: int, websocket_port: int, json: bool) -> None:
    stop = stop_on_signals()

    def ready(broker: RunningBroker) -> None:
        if json:
            show_json({"event": "ready", **asdict(broker)})
            return
        show(_welcome(broker))

    def restarted() -> None:
        if json:
            show_json({"event": "restarted"})
        say("The broker had ended and has been started again, at the same address.")

    await hub.run(ready, stop, restarted, name=name, port=port, websocket_port=websocket_port)
    say("The network has ended.")


def _welcome(broker: RunningBroker) -> str:
    return (
        f"{broker.network} runs at {broker.url} (websocket {broker.websocket_url}). Ctrl-C ends it.\n"
        "In other terminals:\n"
        "  landbridge serve FILE.py --as INSTITUTE/MODULE\n"
        "  landbridge ls"
    )
