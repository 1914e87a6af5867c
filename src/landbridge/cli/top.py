"""``landbridge top``: how busy the modules of the network are."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import time
from collections import deque
from collections.abc import Callable, Sequence

from ..client.link import Link
from ..client.load import LoadConnection
from ..errors import InvalidName, LandbridgeError
from ..names import parse_address
from .console import show, show_json
from .loadtable import Sample, Table, measure, table_json, table_lines
from .network import connected, listed_modules
from .screen import own_screen
from .signals import stop_on_signals

__all__ = ["top"]

_REFRESH_S = 1.0
_WINDOW_S = 5.0
_LIST_EVERY_S = 5.0
_MODULES_LIMIT = 1000


def top(*, once: bool = False, profile: str | None = None, json: bool = False) -> None:
    """Show how busy the modules of the network are, as far as they are shared with you; q or Ctrl-C ends it.

    Parameters
    ----------
    once
        Print one table, measured over a second, and end; also when the output is no terminal.
    profile
        Which network, and as whom; by default the network of this computer.
    json
        Print one JSON object, measured over a second, and end.
    """
    with connected(profile) as link:
        if not once and not json and sys.stdout.isatty():
            asyncio.run(_live(link))
            return
        table = asyncio.run(_measured(link))
    if json:
        show_json(table_json(table))
    else:
        show("\n".join(table_lines(table)))


def _online(link: Link) -> dict[str, int]:
    """Return which modules are online, and how many backends each has."""
    online: dict[str, int] = {}
    for entry in listed_modules(link):
        with contextlib.suppress(InvalidName):
            if entry["backends"] > 0 and parse_address(entry["module"]).institute != "lb":
                online[entry["module"]] = entry["backends"]
        if len(online) >= _MODULES_LIMIT:
            break
    return online


async def _measured(link: Link) -> Table:
    online = await asyncio.to_thread(_online, link)
    async with LoadConnection(link.access) as connection:
        earlier = await _sample(connection, online)
        await asyncio.sleep(earlier.at + _REFRESH_S - time.monotonic())
        return measure(earlier, await _sample(connection, online))


async def _sample(connection: LoadConnection, online: dict[str, int]) -> Sample:
    at = time.monotonic()
    return Sample(at, await connection.ask(online, _REFRESH_S))


async def _live(link: Link) -> None:
    stop = stop_on_signals()
    async with LoadConnection(link.access) as connection:
        with own_screen(lambda key: stop.set() if key in "qQ" else None) as draw:
            watching = asyncio.create_task(_watch(link, connection, draw))
            stopping = asyncio.create_task(stop.wait())
            await asyncio.wait([watching, stopping], return_when=asyncio.FIRST_COMPLETED)
            stopping.cancel()
            if watching.done():
                watching.result()
            watching.cancel()


async def _watch(link: Link, connection: LoadConnection, draw: Callable[[Sequence[str]], None]) -> None:
    """Draw once a second what was done in the last five, until cancelled."""
    online: dict[str, int] = {}
    listed_at = -_LIST_EVERY_S
    samples: deque[Sample] = deque()
    notice = "measuring"
    while True:
        began = time.monotonic()
        if connection.connected:
            if began - listed_at >= _LIST_EVERY_S:
                try:
                    online, listed_at = await asyncio.to_thread(_online, link), began
                except LandbridgeError:  # the broker has just gone: what is known is shown until it is back
                    if not samples:
                        raise
            samples.append(await _sample(connection, online))
            while samples[-1].at - samples[0].at > _WINDOW_S + _REFRESH_S / 2:
                samples.popleft()
            notice = "" if len(samples) > 1 else "measuring"
        else:
            notice = "The broker is away; waiting for it."
        head = f"{link.access.institute}/{link.access.person} at {time.strftime('%H:%M:%S')}   q ends"
        lines = table_lines(measure(samples[0], samples[-1])) if samples else []
        draw([head, "", *lines, *(["", notice] if notice else [])])
        await asyncio.sleep(began + _REFRESH_S - time.monotonic())
