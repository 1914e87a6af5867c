"""A caller of Landbridge that measures what it is ordered to; what it calls is `work.py`, served as ``bench/work``."""

from __future__ import annotations

import asyncio
import os
import statistics
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

from orders import follow
from timing import WARM_UP, spread
from usage import Watched, memory

import landbridge as lb

_net: lb.Network | None = None
_flood: Flood | None = None


def network() -> lb.Network:
    """Return the one network of this process."""
    global _net
    if _net is None:
        _net = lb.connect()
    return _net


def timed(call: Callable[[int], int], numbers: Iterator[int]) -> list[float]:
    """Call with each number, one after the other; `call` must return it two greater."""
    times = []
    for number in numbers:
        begin = time.perf_counter()
        answer = call(number)
        times.append(time.perf_counter() - begin)
        check(number, answer)
    return times


def check(number: int, answer: int) -> None:
    if answer != number + 2:
        raise ValueError(f"{number} + 2 was answered with {answer!r}")


def latency(method: str, calls: int, watch: dict[str, int]) -> dict[str, Any]:
    """Time calls of the blocking client, one after the other."""
    call = getattr(network().bench.work, method)
    timed(lambda number: call(number, 2), iter(range(WARM_UP)))
    with Watched(watch) as used:
        times = timed(lambda number: call(number, 2), iter(range(calls)))
    return {**spread(times), "cpu_s": used.cpu_s}


def latency_async(method: str, calls: int, watch: dict[str, int]) -> dict[str, Any]:
    """Time calls of the async client, one after the other."""

    async def measure(call: Callable[[int, int], Awaitable[int]]) -> dict[str, Any]:
        times = []
        with Watched(watch) as used:
            for number in range(calls):
                begin = time.perf_counter()
                answer = await call(number, 2)
                times.append(time.perf_counter() - begin)
                check(number, answer)
        return {**spread(times), "cpu_s": used.cpu_s}

    return asyncio.run(with_async(method, measure))


def rate_async(method: str, calls: int, in_flight: int, watch: dict[str, int]) -> dict[str, Any]:
    """Make calls of the async client, `in_flight` at a time."""

    async def measure(call: Callable[[int, int], Awaitable[int]]) -> dict[str, Any]:
        begin = time.perf_counter()
        with Watched(watch) as used:
            await many(call, iter(range(calls)), in_flight)
        return {"per_s": calls / (time.perf_counter() - begin), "cpu_s": used.cpu_s}

    return asyncio.run(with_async(method, measure))


async def with_async(method: str, measure: Callable[..., Awaitable[Any]]) -> Any:
    """Connect, make some calls, and measure."""
    async with lb.AsyncNetwork() as net:
        call = getattr(net.bench.work, method)
        for number in range(WARM_UP):
            await call(number, 2)
        return await measure(call)


async def many(call: Callable[[int, int], Awaitable[int]], numbers: Iterator[int], in_flight: int) -> None:
    async def worker() -> None:
        for number in numbers:
            check(number, await call(number, 2))

    await asyncio.gather(*(worker() for _ in range(in_flight)))


def echo(size: int, repeat: int, watch: dict[str, int]) -> dict[str, Any]:
    """Send a float64 array there and back, `repeat` times; gives the median time."""
    import numpy as np

    call = network().bench.work.echo
    call(1)
    array = np.arange(size // 8, dtype=np.float64)
    times = []
    with Watched(watch) as used:
        for _ in range(repeat):
            answer = None  # so that two are never held at a time
            begin = time.perf_counter()
            answer = call(array)
            times.append(time.perf_counter() - begin)
    if answer.dtype != array.dtype or not np.array_equal(answer, array):
        raise ValueError("the array that came back is another")
    return {"s": statistics.median(times), "cpu_s": used.cpu_s, "rise": used.rise}


def stream(count: int, size: int, watch: dict[str, int]) -> dict[str, Any]:
    """Go through a stream of `count` items of `size` bytes and keep none."""
    call = network().bench.work.blocks
    for _ in call(3, 8):
        pass
    begin = time.perf_counter()
    with Watched(watch) as used:
        received = sum(len(item) for item in call(count, size))
    if received != count * size:
        raise ValueError(f"{received:,} bytes came instead of {count * size:,}")
    return {"s": time.perf_counter() - begin, "cpu_s": used.cpu_s, "rise": used.rise}


def beside(size: int, whole: bool, calls: int) -> dict[str, Any]:
    """Time small calls while `size` bytes come in through the same client, as one array or as a stream of 512 KB.

    They go on until the transfer ends; before it, `calls` are timed while nothing else happens.
    """
    work = network().bench.work
    failures: list[Exception] = []

    def transfer() -> None:
        try:
            if whole:
                work.made(size)
            else:
                for _ in work.blocks(size // 2**19, 2**19):
                    pass
        except Exception as error:  # told by the thread that waits for it
            failures.append(error)

    def small(number: int) -> int:
        return work.add(number, 2)

    timed(small, iter(range(WARM_UP)))
    idle = timed(small, iter(range(calls)))
    thread = threading.Thread(target=transfer)
    begin = time.perf_counter()
    thread.start()
    busy = timed(small, iter(lambda: 1 if thread.is_alive() else 0, 0))
    thread.join()
    if failures:
        raise failures[0]
    return {"idle": spread(idle), "busy": spread(busy), "calls": len(busy), "s": time.perf_counter() - begin}


class Flood:
    """Keeps calls in flight, by the async client in a thread of its own, until told to end."""

    def __init__(self, method: str, arguments: list[Any], in_flight: int) -> None:
        self._method = method
        self._arguments = arguments
        self._in_flight = in_flight
        self._ending = False
        self._error: Exception | None = None
        self.answers = 0
        self.begun = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            asyncio.run(self._calls())
        except Exception as error:  # told by `end`
            self._error = error
            self.begun.set()

    async def _calls(self) -> None:
        async with lb.AsyncNetwork() as net:
            call = getattr(net.bench.work, self._method)
            await call(*self._arguments)

            async def worker() -> None:
                while not self._ending:
                    await call(*self._arguments)
                    self.answers += 1

            workers = [asyncio.create_task(worker()) for _ in range(self._in_flight)]
            while not self.answers and not any(worker.done() for worker in workers):
                await asyncio.sleep(0.01)
            self.begun.set()
            await asyncio.gather(*workers)

    def end(self) -> None:
        """Begin no more calls, and wait for those under way."""
        self._ending = True
        self._thread.join()
        if self._error is not None:
            raise self._error


def flood_begin(method: str, arguments: list[Any], in_flight: int) -> dict[str, Any]:
    """Begin to keep calls in flight."""
    global _flood
    _flood = Flood(method, arguments, in_flight)
    _flood.begun.wait()
    return {}


def flood_end() -> dict[str, Any]:
    """End the flood; gives how many calls were answered."""
    flood = _flood
    flood.end()
    return {"answers": flood.answers}


def for_a_while(seconds: float) -> dict[str, Any]:
    """Time calls of the blocking client, one after the other, for so many seconds but for 20 calls at least."""
    call = network().bench.work.add
    timed(lambda number: call(number, 2), iter(range(10)))
    end = time.perf_counter() + seconds
    left = iter(lambda: 0 if time.perf_counter() < end else -1, -1)
    times = timed(lambda number: call(number, 2), iter(range(20)))
    times += timed(lambda number: call(number, 2), left)
    return {**spread(times), "calls": len(times)}


def cancel(after_s: float) -> dict[str, Any]:
    """Cancel a method that computes; gives the time until it was stopped, and until the next call was served."""
    work = network()["bench/processes"]
    worker = work.number()
    call = work.burn.start()
    time.sleep(after_s)  # so that it computes
    begin = time.perf_counter()
    state = call.cancel()
    stopped = time.perf_counter()
    served_by = work.number()
    return {
        "state": state,
        "stopped_s": stopped - begin,
        "served_s": time.perf_counter() - begin,
        "same_process": served_by == worker,
    }


def flat(calls: int, samples: int, watch: dict[str, int], in_flight: int | None) -> list[dict[str, float]]:
    """Make many calls, and give the memory of all processes after each of `samples` equal shares of them.

    With `in_flight` by the async client and of the async method; without by `map` of the blocking client.
    """
    pids = {"caller": os.getpid(), **watch}
    each = calls // samples
    seen: list[dict[str, float]] = []

    def sample() -> None:
        seen.append({"calls": len(seen) * each, **{role: memory(pid) for role, pid in pids.items()}})

    async def measure(call: Callable[[int, int], Awaitable[int]]) -> None:
        sample()
        for _ in range(samples):
            await many(call, iter(range(each)), in_flight)
            sample()

    if in_flight is not None:
        asyncio.run(with_async("add_async", measure))
        return seen
    call = network().bench.work.add
    sample()
    for _ in range(samples):
        for number, answer in enumerate(call.map(range(each), b=2)):
            check(number, answer)
        sample()
    return seen


if __name__ == "__main__":
    measures = (
        latency, latency_async, rate_async, echo, stream, beside, flood_begin, flood_end, for_a_while, cancel, flat,
    )  # fmt: skip
    follow({measure.__name__: measure for measure in measures})
