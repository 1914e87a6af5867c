"""A caller on bare nats-py that measures what it is ordered to; the limit to compare with."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import nats
from orders import follow
from raw_stream import Receiver, Sender, touched
from timing import WARM_UP, spread
from usage import Watched

PAYLOAD = b"x" * 60


async def latency(connection, calls: int, watch: dict[str, int]) -> dict[str, Any]:
    """Time calls, one after the other."""
    times = []
    with Watched(watch) as used:
        for _ in range(calls):
            begin = time.perf_counter()
            await connection.request("echo", PAYLOAD, timeout=10)
            times.append(time.perf_counter() - begin)
    return {**spread(times), "cpu_s": used.cpu_s}


async def rate(connection, calls: int, in_flight: int, watch: dict[str, int]) -> dict[str, Any]:
    """Make calls, `in_flight` at a time."""
    numbers = iter(range(calls))

    async def worker() -> None:
        for _ in numbers:
            await connection.request("echo", PAYLOAD, timeout=10)

    begin = time.perf_counter()
    with Watched(watch) as used:
        await asyncio.gather(*(worker() for _ in range(in_flight)))
    return {"per_s": calls / (time.perf_counter() - begin), "cpu_s": used.cpu_s}


async def echo(connection, size: int, window: int, repeat: int, watch: dict[str, int]) -> dict[str, Any]:
    """Send `size` bytes there and back, `repeat` times; the times are those of the median round."""
    receiver = Receiver(connection, "down.credit")
    sender = Sender(connection, "up.part")
    await connection.subscribe("down.part", cb=receiver.part_arrived)
    await connection.subscribe("up.credit", cb=sender.credit_arrived)
    data, buffer = memoryview(touched(size)), touched(size)
    await connection.request("prepare", b"%d" % size, timeout=60)
    times = []
    with Watched(watch) as used:
        for _ in range(repeat):
            await connection.request("begin", b"%d" % window, timeout=60)
            receiver.begin(buffer, window)
            sender.begin(window)
            begin = time.perf_counter()
            await sender.send(data)
            await receiver.first.wait()
            there = time.perf_counter() - begin
            await receiver.complete.wait()
            times.append((time.perf_counter() - begin, there))
    if buffer != data:
        raise ValueError("the bytes that came back are others")
    both, there = sorted(times)[len(times) // 2]
    return {"s": both, "there_s": there, "back_s": both - there, "cpu_s": used.cpu_s, "rise": used.rise}


Measure = Callable[..., Awaitable[dict[str, Any]]]


async def connected(url: str, measure: Measure, order: dict[str, Any]) -> dict[str, Any]:
    """Connect, make some calls, and measure."""
    connection = await nats.connect(url, pending_size=16 << 20)
    try:
        for _ in range(WARM_UP):
            await connection.request("echo", PAYLOAD, timeout=10)
        return await measure(connection, **order)
    finally:
        await connection.close()


def ordered(url: str, measure: Measure, **order: Any) -> dict[str, Any]:
    return asyncio.run(connected(url, measure, order))


if __name__ == "__main__":
    follow({measure.__name__: partial(ordered, sys.argv[1], measure) for measure in (latency, rate, echo)})
