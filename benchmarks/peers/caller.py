"""A caller of either system: connects, then measures what each line on its standard input asks for.

Both systems are measured by this same code, each in a process of its own. A line of input such as
``{"do": "latency", "method": "add", "calls": 400}`` is answered by one line of JSON: the figure, or what went wrong.
The process ends when its standard input does, so that it never outlives whoever started it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import statistics
import sys
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

IN_FLIGHT = 64
WARM_UP = 20


@contextlib.asynccontextmanager
async def hypha(url: str, service: str) -> AsyncIterator[Any]:
    """Connect to a Hypha server; gives the service."""
    from hypha_rpc import connect_to_server

    server = await connect_to_server({"server_url": url})
    yield await server.get_service(service)


@contextlib.asynccontextmanager
async def landbridge() -> AsyncIterator[Any]:
    """Connect to the local Landbridge network; gives the module."""
    import landbridge as lb

    async with lb.AsyncNetwork() as net:
        yield net.bench.work


class Counted:
    """A method that checks each answer and counts how many came, also when a later call fails."""

    def __init__(self, method: Callable[[int, int], Awaitable[int]]) -> None:
        self._method = method
        self.answers = 0

    async def __call__(self, number: int) -> None:
        answer = await self._method(number, 2)
        if answer != number + 2:
            raise ValueError(f"{number} + 2 was answered with {answer!r}")
        self.answers += 1


async def latency(method: Counted, calls: int) -> float:
    """Median seconds of a call, one after the other."""
    times = []
    for number in range(calls):
        begin = time.perf_counter()
        await method(number)
        times.append(time.perf_counter() - begin)
    return statistics.median(times)


async def rate(method: Counted, calls: int) -> float:
    """Calls per second with `IN_FLIGHT` calls under way."""
    numbers = iter(range(calls))

    async def worker() -> None:
        for number in numbers:
            await method(number)

    begin = time.perf_counter()
    await asyncio.gather(*(worker() for _ in range(IN_FLIGHT)))
    return calls / (time.perf_counter() - begin)


async def answer(service: Any, order: dict[str, Any]) -> dict[str, Any]:
    """Measure what the order asks for."""
    method = Counted(getattr(service, order["method"]))
    begin = time.perf_counter()
    try:
        await latency(method, WARM_UP)
        measure = {"latency": latency, "rate": rate}[order["do"]]
        return {"value": await measure(method, order["calls"])}
    except Exception as error:  # a system under test may raise anything: it is reported, not judged, here
        return {
            "error": f"{type(error).__name__}: {error}",
            "answers": method.answers,
            "after_s": time.perf_counter() - begin,
        }


def read_orders(orders: asyncio.Queue[dict[str, Any]], loop: asyncio.AbstractEventLoop) -> None:
    """Pass on the orders as they come in, and leave when no more can: in the midst of a measurement, too."""
    for line in sys.stdin:
        loop.call_soon_threadsafe(orders.put_nowait, json.loads(line))
    os._exit(0)


async def main(system: str, *address: str) -> None:
    orders: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    async with {"hypha": hypha, "landbridge": landbridge}[system](*address) as service:
        threading.Thread(target=read_orders, args=(orders, asyncio.get_running_loop()), daemon=True).start()
        print("ready", flush=True)
        while True:
            print(json.dumps(await answer(service, await orders.get())), flush=True)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
