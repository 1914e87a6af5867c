"""``landbridge up``: the network of this computer."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import asdict

from ..hub import up as network
from ..settings import RunningBroker
from .console import say, show, show_json
from .ending import UsageError
from .logs import log_to_stderr
from .signals import stop_on_signals

__all__ = ["up"]


def up(*, port: int | None = None, websocket_port: int | None = None, json: bool = False) -> None:
    """Run the network of this computer until Ctrl-C.

    Its broker listens on this computer only. Whoever runs it owns the network: all institutes there are theirs.

    Parameters
    ----------
    port
        Port of the broker; a free one by default.
    websocket_port
        Port of the broker for browsers; a free one by default.
    json
        Print one line of JSON when it runs, and one whenever the broker had to be started again.
    """
    log_to_stderr(logging.WARNING)
    asyncio.run(_up(_chosen("--port", port), _chosen("--websocket-port", websocket_port), json))


def _chosen(option: str, port: int | None) -> int:
    if port is None:
        return -1
    if not 0 < port < 65536:
        raise UsageError(f"{option} {port}: must be from 1 to 65535; leave it out for a free port.")
    return port


async def _up(port: int, websocket_port: int, json: bool) -> None:
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

    await network.run(ready, stop, restarted, port=port, websocket_port=websocket_port)
    say("The network has ended.")


def _welcome(broker: RunningBroker) -> str:
    return (
        f"{broker.network} runs at {broker.url} (websocket {broker.websocket_url}). Ctrl-C ends it.\n"
        "In other terminals:\n"
        "  landbridge serve FILE.py --as INSTITUTE/MODULE\n"
        "  landbridge ls"
    )
